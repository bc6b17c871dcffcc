//! What injection costs: scrubbing 10 MiB, looking for placeholders, arming. `cargo bench -p inject`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::format_push_string,
    reason = "helpers of tests fail like tests; bodies are lists"
)]

mod bodies;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bodies::{FRAME, SIZE, bodies, needles, now, token};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use inject::{Entry, Index, Look, NeedleCache, Put, Scrubber, arm, scrub_headers};
use model::canonical::{CanonicalRequest, Host, Length, Origin, Scheme, clean};
use model::scheme::hmac::HmacSpec;
use model::{AgentName, CredentialName, SchemeSpec, ServiceName, SessionId, Timestamp};
use secret::{Credential, Field, Lease, Material, Secret};

const HOLDER: &str = "ghp_aaaaBBBBccccDDDDeeeeFFFFggggHHHHiiii";

/// Processor time that `work` takes so many times.
fn spent(times: u64, mut work: impl FnMut()) -> Duration {
    let start = now();
    for _ in 0..times {
        work();
    }
    now().saturating_sub(start)
}

fn scrubbing(bench: &mut Criterion) {
    let sets =
        [("1", needles(1, 36)), ("12", needles(12, 36)), ("200", needles(200, 36)), ("1 of 8 octets", needles(1, 4))];
    let mut group = bench.benchmark_group("scrub 10 MiB");
    group.throughput(Throughput::Bytes(SIZE as u64));
    for (kind, body) in bodies() {
        let frames: Vec<Bytes> = body.chunks(FRAME).map(Bytes::copy_from_slice).collect();
        // What it costs to read every octet once, to compare with: the machine, not the code, decides that.
        group.bench_function(format!("{kind}, read once"), |bench| {
            bench.iter(|| {
                frames
                    .iter()
                    .map(|frame| frame.iter().fold(0u8, |sum, octet| sum ^ octet))
                    .fold(0, |sum, octet| sum ^ black_box(octet))
            });
        });
        for (count, set) in &sets {
            group.bench_function(format!("{kind}, needles: {count}"), |bench| {
                bench.iter_custom(|times| {
                    spent(times, || {
                        let mut scrubber = Scrubber::new(set);
                        for frame in &frames {
                            scrubber.push(frame.clone()).for_each(|frame| drop(black_box(frame)));
                        }
                        assert_eq!(scrubber.hits(), 0);
                    })
                });
            });
        }
    }
    group.finish();
    let event = Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\" hello\"},\"index\":0}]}\n\n");
    bench.bench_function("scrub one event", |bench| {
        let mut scrubber = Scrubber::new(&sets[0].1);
        bench.iter_custom(|times| {
            spent(times, || scrubber.push(event.clone()).for_each(|frame| drop(black_box(frame))))
        });
    });
    bench.bench_function("scrub 20 headers", |bench| {
        let mut map = headers();
        bench.iter_custom(|times| {
            spent(times, || {
                black_box(scrub_headers(&mut map, &sets[0].1));
            })
        });
    });
    bench.bench_function("make needles", |bench| bench.iter(|| black_box(needles(1, 36))));
}

fn headers() -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert("authorization", HeaderValue::from_static("Bearer ghp_aaaaBBBBccccDDDDeeeeFFFFggggHHHHiiii"));
    for at in 0..19 {
        let name = HeaderName::try_from(format!("x-header-{at}")).expect("name");
        map.insert(name, HeaderValue::from_static("application/vnd.github+json; charset=utf-8, text/html"));
    }
    map
}

fn request() -> CanonicalRequest {
    let origin = Origin { scheme: Scheme::Https, host: Host::parse("api.github.com").expect("host"), port: 443 };
    let cleaned = clean(headers()).expect("clean");
    let target = "/repos/myorg/myrepo/pulls?state=open&per_page=100";
    CanonicalRequest::new(Method::GET, origin, target, cleaned, Length::Empty).expect("canonical")
}

fn requests(bench: &mut Criterion) {
    let index = Index::new();
    let agent = AgentName::new("bot").expect("name");
    let service = ServiceName::new("github").expect("name");
    let own = |text: String, name: String| Entry {
        part: model::Part::Value,
        minted: None,
        text: text.into(),
        credential: CredentialName::new(&name).expect("name"),
        service: Some(service.clone()),
        session: SessionId::from_bits(1),
        agent: agent.clone(),
    };
    let mut entries = vec![own(HOLDER.to_owned(), "c".to_owned())];
    entries.extend((0..9).map(|at| own(token(at + 900, 36), format!("c{at}"))));
    let session = index.open(SessionId::from_bits(1), &agent, entries).expect("room");
    let schemes = [
        SchemeSpec::Bearer { header: "authorization".into(), words: vec!["Bearer".into(), "token".into()] },
        SchemeSpec::Basic { username: Some("x-access-token".into()), value_as_username: false },
    ];
    let given = request();
    let look = Look { request: &given, service: Some(&service), schemes: &schemes, session: &session, body: None };
    assert!(index.sight(look).presented.is_some());
    bench.bench_function("sight, 20 headers", |bench| {
        bench.iter_custom(|times| spent(times, || drop(black_box(index.sight(look)))));
    });
    let material = Arc::new(Material::token(Secret::new(token(1, 36).into_bytes())));
    let credential = Credential::new(CredentialName::new("c").expect("name"), 1, material, Lease::default());
    let cache = NeedleCache::new();
    bench.bench_function("arm, 20 headers", |bench| {
        bench.iter_batched(
            request,
            |request| {
                let needles = cache.of(&credential, &schemes[0]);
                arm(
                    request,
                    Put { spec: &schemes[0], credential: &credential, now: Timestamp::default() },
                    needles,
                    None,
                )
                .expect("armed")
            },
            criterion::BatchSize::SmallInput,
        );
    });
}

/// A request that is signed anew (AWS): a body of 4 KiB, hashed and checked.
fn signing(bench: &mut Criterion) {
    let body = Bytes::from(vec![b'x'; 4 * 1024]);
    let part = |field, text: &str| (field, Secret::new(text.as_bytes().to_vec()));
    let parts = vec![part(Field::Value, &token(2, 36)), part(Field::KeyId, "AKIAIOSFODNN7EXAMPLE")];
    let name = CredentialName::new("aws").expect("name");
    let credential = Credential::new(name, 1, Arc::new(Material::new(parts)), Lease::default());
    let spec = SchemeSpec::Sigv4 {};
    let (cache, moment) = (NeedleCache::new(), Timestamp::parse("2026-11-20T18:38:47Z").expect("time"));
    let request = || {
        let mut map = headers();
        map.remove("authorization");
        let scope = "AKIAI44QH8DHBEXAMPLE/20261120/us-east-1/dynamodb/aws4_request";
        let signed = "content-type;host;x-amz-date;x-amz-target";
        for (name, value) in [
            ("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature=00")),
            ("x-amz-date", "20261120T183847Z".to_owned()),
            ("x-amz-target", "DynamoDB_20120810.PutItem".to_owned()),
            ("content-type", "application/x-amz-json-1.0".to_owned()),
        ] {
            map.insert(HeaderName::from_static(name), HeaderValue::from_str(&value).expect("value"));
        }
        let host = Host::parse("dynamodb.us-east-1.amazonaws.com").expect("host");
        let origin = Origin { scheme: Scheme::Https, host, port: 443 };
        let length = Length::Known(body.len() as u64);
        CanonicalRequest::new(Method::POST, origin, "/", clean(map).expect("clean"), length).expect("canonical")
    };
    bench.bench_function("sign, 4 KiB body", |bench| {
        bench.iter_batched(
            request,
            |request| {
                let put = Put { spec: &spec, credential: &credential, now: moment };
                arm(request, put, cache.of(&credential, &spec), Some(body.clone())).expect("armed")
            },
            criterion::BatchSize::SmallInput,
        );
    });
}

/// The same with a shared key, as exchanges want it.
fn signing_shared(bench: &mut Criterion) {
    let body = Bytes::from(vec![b'x'; 4 * 1024]);
    let part = |field, text: &str| (field, Secret::new(text.as_bytes().to_vec()));
    let parts = vec![part(Field::Value, &token(2, 44)), part(Field::KeyId, &token(3, 32))];
    let name = CredentialName::new("exchange").expect("name");
    let credential = Credential::new(name, 1, Arc::new(Material::new(parts)), Lease::default());
    let spec: HmacSpec = serde_json::from_value(serde_json::json!({
        "sign": "{timestamp}{method}{target}{body}", "encoding": "base64",
        "headers": { "cb-access-key": "{key_id}", "cb-access-sign": "{signature}", "cb-access-timestamp": "{timestamp}" }
    }))
    .expect("a scheme");
    let spec = SchemeSpec::Hmac(Box::new(spec));
    let (cache, moment) = (NeedleCache::new(), Timestamp::parse("2026-11-20T18:38:47Z").expect("time"));
    let request = || {
        let mut map = headers();
        map.remove("authorization");
        map.insert("cb-access-key", HeaderValue::from_static("placeholder-of-the-same-length00"));
        let origin = Origin { scheme: Scheme::Https, host: Host::parse("api.exchange.test").expect("host"), port: 443 };
        let length = Length::Known(body.len() as u64);
        CanonicalRequest::new(Method::POST, origin, "/orders", clean(map).expect("clean"), length).expect("canonical")
    };
    bench.bench_function("sign with a shared key, 4 KiB body", |bench| {
        bench.iter_batched(
            request,
            |request| {
                let put = Put { spec: &spec, credential: &credential, now: moment };
                arm(request, put, cache.of(&credential, &spec), Some(body.clone())).expect("armed")
            },
            criterion::BatchSize::SmallInput,
        );
    });
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = all; config = config(); targets = scrubbing, requests, signing, signing_shared }
criterion_main!(all);

//! Classification with the largest service, GitHub (1,200 operations). Bar: p50 under 2 us.

#![expect(clippy::expect_used, reason = "a bench may stop")]

use std::hint::black_box;

use catalog::Catalog;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Host, Length, Origin, Scheme, clean};

fn request(method: Method, host: &str, target: &str, body: &str) -> CanonicalRequest {
    let origin = Origin { scheme: Scheme::Https, host: Host::parse(host).expect("a host"), port: 443 };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    let length = if body.is_empty() { Length::Empty } else { Length::Known(body.len() as u64) };
    CanonicalRequest::new(method, origin, target, clean(headers).expect("clean"), length).expect("canonical")
}

fn classify(criterion: &mut Criterion) {
    let catalog = Catalog::builtin();
    let pull = r#"{"title":"Tidy the catalogue","head":"agent/tidy","base":"main","draft":false,"body":"long text"}"#;
    let rows = [
        ("get_repo", Method::GET, "api.github.com", "/repos/myorg/myrepo", ""),
        ("get_contents", Method::GET, "api.github.com", "/repos/myorg/myrepo/contents/src/lib.rs?ref=main", ""),
        ("create_pull", Method::POST, "api.github.com", "/repos/myorg/myrepo/pulls", pull),
        ("unknown_path", Method::GET, "api.github.com", "/repos/myorg/myrepo/not/known/at/all", ""),
        ("unknown_host", Method::GET, "nobody.example", "/repos/myorg/myrepo", ""),
        ("git_fetch", Method::GET, "github.com", "/myorg/myrepo.git/info/refs?service=git-upload-pack", ""),
    ];
    for (name, method, host, target, body) in rows {
        let request = request(method, host, target, body);
        let view = if body.is_empty() { BodyView::Empty } else { BodyView::Whole(body.as_bytes()) };
        criterion.bench_function(name, |bench| bench.iter(|| catalog.classify(black_box(&request), black_box(view))));
    }
    criterion.bench_function("start_index", |bench| bench.iter(Catalog::builtin));
    criterion.bench_function("start_github", |bench| {
        bench.iter(|| Catalog::builtin().service("github").map(|service| service.hosts().len()));
    });
    criterion.bench_function("vocabulary", |bench| bench.iter(|| Catalog::builtin().vocabulary().services.len()));
}

criterion_group!(benches, classify);
criterion_main!(benches);

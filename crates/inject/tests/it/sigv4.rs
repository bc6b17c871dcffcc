//! Signature Version 4 against what others made: a table of requests that botocore signed with two pairs of keys (made by
//! `tests/e2e/clients/sigv4_table.py`), and the examples of AWS's own documentation.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use inject::{Armed, InjectError, NeedleCache, Put, arm};
use model::canonical::{CanonicalRequest, Host, Length, Origin, Scheme, clean};
use model::{CredentialName, SchemeSpec, Timestamp};
use proptest::prelude::*;
use secret::{Credential, Field, Lease, Material, Secret};
use serde_json::Value;

const TABLE: &str = include_str!("../data/sigv4.jsonl");
const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const HOLDER: &str = "AKIAI44QH8DHBEXAMPLE";
const TOKEN: &str = "FwoGZXIvYXdzE+/=EXAMPLETOKEN0123456789";

fn keys(token: Option<&str>) -> Credential {
    let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
    let mut fields = vec![(Field::Value, secret(KEY)), (Field::KeyId, secret(KEY_ID))];
    fields.extend(token.map(|token| (Field::SessionToken, secret(token))));
    Credential::new(CredentialName::new("aws").expect("name"), 1, Arc::new(Material::new(fields)), Lease::default())
}

fn at(time: &str) -> Timestamp {
    Timestamp::parse(time).expect("time")
}

/// A request, as an agent sends it.
#[derive(Clone)]
struct Sent {
    method: Method,
    host: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Bytes>,
    length: Length,
}

impl Sent {
    fn signed(&self, token: Option<&str>, now: Timestamp) -> Result<Armed, InjectError> {
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            map.append(name.parse::<http::HeaderName>().expect("name"), value.parse().expect("value"));
        }
        let origin = Origin { scheme: Scheme::Https, host: Host::parse(&self.host).expect("host"), port: 443 };
        let cleaned = clean(map).expect("clean");
        let request = CanonicalRequest::new(self.method.clone(), origin, &self.target, cleaned, self.length);
        let (credential, spec) = (keys(token), SchemeSpec::Sigv4 {});
        let needles = NeedleCache::new().of(&credential, &spec);
        let put = Put { spec: &spec, credential: &credential, now };
        arm(request.expect("canonical"), put, needles, self.body.clone())
    }
}

fn of_row(row: &Value) -> Sent {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let body = text(&row["body"]);
    let headers = row["by_agent"]["headers"].as_object().expect("headers");
    Sent {
        method: text(&row["method"]).parse().expect("method"),
        host: text(&row["host"]),
        target: text(&row["by_agent"]["target"]),
        headers: headers.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        length: if body.is_empty() { Length::Empty } else { Length::Known(body.len() as u64) },
        body: (!body.is_empty()).then(|| body.into()),
    }
}

/// Pairs of a query, sorted: the order is the client's own and means nothing.
fn pairs(target: &str) -> Vec<String> {
    let mut all: Vec<String> =
        target.split_once('?').map_or("", |(_, query)| query).split('&').map(str::to_owned).collect();
    all.sort();
    all
}

#[test]
fn as_botocore_signs() {
    let (mut in_header, mut in_query) = (0, 0);
    for line in TABLE.lines() {
        let row: Value = serde_json::from_str(line).expect("json");
        let armed = of_row(&row).signed(row["token"].as_str(), at("2026-11-20T18:40:00Z")).expect(line);
        let wanted = &row["wanted"];
        for (name, value) in wanted["headers"].as_object().expect("headers") {
            let sent = armed.headers().get(name).and_then(|sent| std::str::from_utf8(sent.as_bytes()).ok());
            assert_eq!(sent, value.as_str(), "{name} of {line}");
        }
        assert_eq!(pairs(armed.target()), pairs(wanted["target"].as_str().expect("target")), "{line}");
        let wire = format!("{}{:?}", armed.target(), armed.headers());
        assert!(!wire.contains(HOLDER) && !wire.contains(KEY), "{line}");
        let redacted = armed.redacted_target().unwrap_or_default();
        assert!(!redacted.contains(KEY_ID) && !redacted.contains("EXAMPLETOKEN"), "{redacted}");
        in_query += usize::from(armed.target().contains("X-Amz-Signature="));
        in_header += usize::from(armed.headers().contains_key("authorization"));
    }
    assert!(in_header > 40 && in_query > 20, "{in_header} {in_query}");
}

/// A request of the documentation ("Signature calculations for the Authorization header: examples", S3 API Reference).
fn documented(method: Method, target: &str, headers: &[(&str, &str)], body: &'static str) -> Sent {
    let scope = format!("{HOLDER}/20130524/us-east-1/s3/aws4_request");
    let mut names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    names.extend(["host", "x-amz-date"]);
    let signed = format!("AWS4-HMAC-SHA256 Credential={scope},SignedHeaders={},Signature=00", names.join(";"));
    let mut headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    headers.push(("x-amz-date".into(), "20130524T000000Z".into()));
    headers.push(("authorization".into(), signed));
    Sent {
        method,
        host: "examplebucket.s3.amazonaws.com".into(),
        target: target.into(),
        headers,
        length: if body.is_empty() { Length::Empty } else { Length::Known(body.len() as u64) },
        body: (!body.is_empty()).then(|| Bytes::from_static(body.as_bytes())),
    }
}

#[test]
fn as_the_documentation_signs() {
    let put = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
    for (sent, signature) in [
        (
            documented(Method::GET, "/test.txt", &[("range", "bytes=0-9")], ""),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            documented(Method::PUT, "/test$file.text", &put, "Welcome to Amazon S3."),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            documented(Method::GET, "/?lifecycle", &[], ""),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            documented(Method::GET, "/?max-keys=2&prefix=J", &[], ""),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        let armed = sent.signed(None, at("2013-05-24T00:01:00Z")).expect("signed");
        let header = armed.headers()["authorization"].to_str().expect("text");
        assert!(header.ends_with(signature), "{} {header}", sent.target);
        assert!(header.contains(KEY_ID) && armed.headers()["authorization"].is_sensitive());
    }
}

/// What is sent for one that is refused, and the words that say why.
#[test]
fn what_cannot_be_signed_is_refused() {
    let good = documented(Method::PUT, "/k", &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")], "abc");
    let now = "2013-05-24T00:01:00Z";
    assert!(good.signed(None, at(now)).is_ok());
    let with = |name: &str, from: &str, to: &str| {
        let mut sent = good.clone();
        for (known, value) in &mut sent.headers {
            if known == name {
                *value = value.replace(from, to);
            }
        }
        sent
    };
    let asymmetric = with("authorization", "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256");
    let mut asymmetric = asymmetric;
    for (_, value) in &mut asymmetric.headers {
        *value = value.replace("/us-east-1/s3", "/s3");
    }
    let mut elsewhere = good.clone();
    elsewhere.host = "examplebucket.s3.eu-west-1.amazonaws.com".into();
    let mut twice = good.clone();
    twice.target = "/k?X-Amz-Signature=00".into();
    let mut foreign = good.clone();
    foreign.host = "kms.us-east-1.amazonaws.com".into();
    let mut dates = good.clone();
    dates.headers.push(("x-amz-date".into(), "20130524T000001Z".into()));
    for (sent, now, why) in [
        (good.clone(), "2013-05-24T00:16:00Z", "15 minutes"),
        (good.clone(), "2013-05-23T23:44:00Z", "15 minutes"),
        (asymmetric, now, "SigV4A"),
        (with("authorization", "AWS4-HMAC-SHA256", "AWS"), now, "none of Signature Version 4"),
        (with("authorization", "/s3/", "/sts/"), now, "another service"),
        (with("authorization", "20130524", "20130525"), now, "credential scope"),
        (elsewhere, now, "another region"),
        (twice, now, "signed twice"),
        (foreign, now, "no endpoint of AWS"),
        (dates, now, "X-Amz-Date, or several"),
        (with("x-amz-content-sha256", "UNSIGNED-PAYLOAD", &"0".repeat(64)), now, "not the one of its body"),
        (
            with("x-amz-content-sha256", "UNSIGNED-PAYLOAD", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"),
            now,
            "none that",
        ),
        (with("x-amz-content-sha256", "UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), now, "ended within"),
    ] {
        let refused = sent.signed(None, at(now)).err().map(|error| error.to_string());
        assert!(refused.as_deref().is_some_and(|text| text.contains(why)), "{why}: {refused:?}");
    }
}

#[test]
fn the_session_token_is_ours_or_nobodys() {
    let mut sent = documented(Method::GET, "/k", &[("x-amz-security-token", "agents-own")], "");
    let now = at("2013-05-24T00:01:00Z");
    let with = sent.signed(Some(TOKEN), now).expect("signed");
    assert_eq!(with.headers()["x-amz-security-token"], TOKEN);
    let (masked, found) = with.needles().scrub(format!("<x>{TOKEN} {KEY} {KEY_ID}").as_bytes()).expect("found");
    assert!(found >= 3 && !String::from_utf8_lossy(&masked).contains("EXAMPLE"), "{found}");
    let without = sent.signed(None, now).expect("signed");
    assert!(!without.headers().contains_key("x-amz-security-token"));
    // A client that signs nothing gets a signature of now, where the configuration says so.
    sent.headers.clear();
    let fresh = sent.signed(None, now).expect("signed");
    assert_eq!(fresh.headers()["x-amz-date"], "20130524T000100Z");
    // In a query: the same, and it is good for a quarter of an hour, however long the agent's own would have been.
    let scope = format!("{HOLDER}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request");
    sent.target = format!(
        "/k?x-id=GetObject&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Security-Token=agents-own&X-Amz-Signature=00"
    );
    let target = sent.signed(None, now).expect("signed").target().to_owned();
    assert!(target.contains("X-Amz-Expires=960&") && !target.contains("agents-own"), "{target}");
    assert!(target.starts_with("/k?x-id=GetObject&X-Amz-Algorithm"), "{target}");
    assert!(sent.signed(None, at("2013-05-24T23:00:00Z")).is_ok());
    assert!(sent.signed(None, at("2013-05-25T01:00:00Z")).is_err(), "its time is over");
}

/// A body in signed chunks of these lengths, with signatures that mean nothing.
fn chunked(lengths: &[usize], trailer: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for length in lengths.iter().chain(&[0]) {
        body.extend(format!("{length:x};chunk-signature={}\r\n", "0".repeat(64)).bytes());
        body.extend(std::iter::repeat_n(b'a', *length));
        if *length > 0 {
            body.extend(b"\r\n");
        }
    }
    body.extend(trailer.bytes());
    body.extend(b"\r\n");
    body
}

fn in_chunks(body: &[u8], trailer: bool, held: bool) -> Armed {
    let word = if trailer { "-TRAILER" } else { "" };
    let word = format!("STREAMING-AWS4-HMAC-SHA256-PAYLOAD{word}");
    let mut sent = documented(Method::PUT, "/k", &[("x-amz-content-sha256", &word)], "");
    sent.length = Length::Known(body.len() as u64);
    sent.body = held.then(|| Bytes::copy_from_slice(body));
    sent.signed(None, at("2013-05-24T00:01:00Z")).expect("signed")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However a body is cut, what passes is what a whole one becomes: as long as before, and different in its signatures alone.
    #[test]
    fn chunks_are_signed_alike_in_pieces(
        lengths in proptest::collection::vec(1usize..300, 0..5),
        cuts in proptest::collection::vec(1usize..90, 1..40),
        trailer in any::<bool>(),
    ) {
        let end = format!("x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{}\r\n", "0".repeat(64));
        let body = chunked(&lengths, if trailer { &end } else { "" });
        let whole = in_chunks(&body, trailer, true).body().expect("held").clone();
        let mut signer = in_chunks(&body, trailer, false).into_parts().signer.expect("a signer");
        let (mut rest, mut out) = (&body[..], Vec::new());
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            out.extend(signer.push(piece).expect("chunks"));
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        out.extend(signer.finish().expect("ended"));
        prop_assert_eq!(&out, &whole);
        prop_assert_eq!(out.len(), body.len());
        let differs: Vec<usize> = (0..out.len()).filter(|at| out[*at] != body[*at]).collect();
        prop_assert!(differs.iter().all(|at| body[*at] == b'0'));
        prop_assert!(differs.len() > 32 * (lengths.len() + 1));
    }
}

#[test]
fn chunks_that_are_none_are_refused() {
    let good = String::from_utf8(chunked(&[5], "")).expect("text");
    for (from, to) in [
        ("5;chunk", "5000000000;chunk"),
        ("5;chunk", "ffffffff;chunk"),
        ("5;chunk", "+5;chunk"),
        ("5;chunk", "6;chunk"),
        ("5;chunk", "4;chunk"),
        (";chunk-signature=0", ";chunk-signature=z"),
        (";chunk-signature=0", ";x=1;chunk-signature=0"),
        ("\r\naaaaa", "\naaaaa"),
        ("\r\n\r\n", "\r\nx\r\n"),
        ("\r\n\r\n", "\r\n"),
        ("\r\n\r\n", "\r\n\r\nmore"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        let mut signer = in_chunks(bad.as_bytes(), false, false).into_parts().signer.expect("a signer");
        let failed = signer.push(bad.as_bytes()).and_then(|_| signer.finish());
        assert!(failed.is_err(), "{from:?} {to:?}");
    }
    let mut signer = in_chunks(b"", false, false).into_parts().signer.expect("a signer");
    assert!(signer.push(&[b'a'; 200]).is_err(), "a line without an end");
}

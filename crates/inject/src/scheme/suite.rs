//! The conformance suite: every scheme of the list, the same promises.
#![expect(clippy::format_push_string, reason = "tests")]

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use model::CredentialName;
use model::canonical::{CanonicalRequest, Host, Length, Origin, Scheme as Transport, clean};
use model::scheme::{Part, SchemeSpec};
use secret::{Credential, Field, Lease, Material, Secret};

use super::*;
use crate::{Armed, NeedleCache, Put, arm};

fn put<'a>(spec: &'a SchemeSpec, credential: &'a Credential) -> Put<'a> {
    Put { spec, credential, now: Timestamp::default() }
}

const VALUE: &str = "s3cret/Value+with=odd&chars%41xyz";
const HOLDER: &str = "pl4ceholder/for+the=real&one%41zz";

fn credential(value: &str) -> Credential {
    // The same in both places: a scheme that signs writes the key's id, others the value.
    let part = |field| (field, Secret::new(value.as_bytes().to_vec()));
    let material = Arc::new(Material::new(vec![part(Field::Value), part(Field::KeyId)]));
    Credential::new(CredentialName::new("c").expect("name"), 1, material, Lease::default())
}

fn origin(scheme: Transport) -> Origin {
    Origin { scheme, host: Host::parse("api.example.com").expect("host"), port: scheme.default_port() }
}

fn request(target: &str, headers: &[(&str, String)], scheme: Transport) -> CanonicalRequest {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(header_name(name).expect("name"), HeaderValue::from_str(value).expect("value"));
    }
    let cleaned = clean(map).expect("clean");
    CanonicalRequest::new(Method::POST, origin(scheme), target, cleaned, Length::Known(1)).expect("canonical")
}

/// A scheme, a request that carries `holder` in its slot, and the body that goes with it.
struct Case {
    spec: SchemeSpec,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
}

fn query_escaped(text: &str) -> String {
    query::escape(text.as_bytes()).to_string()
}

#[expect(clippy::too_many_lines, reason = "a table of all schemes")]
fn cases(holder: &str) -> Vec<Case> {
    use base64::Engine;
    let coded = |pair: String| base64::engine::general_purpose::STANDARD.encode(pair);
    let bearer = |words: &[&str]| SchemeSpec::Bearer {
        header: "authorization".into(),
        words: words.iter().map(ToString::to_string).collect(),
    };
    let case = |spec, target: &str, headers, body| Case { spec, target: target.to_owned(), headers, body };
    let form = || vec![("content-type", "application/x-www-form-urlencoded; charset=utf-8".to_owned())];
    let json = || vec![("content-type", "application/json".to_owned())];
    let field = |field: &str| SchemeSpec::Body { field: field.to_owned(), part: Part::Value };
    let basic = |username: Option<&str>, value_as_username| SchemeSpec::Basic {
        username: username.map(str::to_owned),
        value_as_username,
    };
    let signed = |place: &str, key_id: &str| {
        let mut spec: HmacSpec = serde_json::from_value(serde_json::json!({
            "sign": "{timestamp}{method}{target}{body}", "headers": { "x-sign": "{signature}", "x-time": "{timestamp}" }
        }))
        .expect("a scheme");
        let places = if place == "header" { &mut spec.headers } else { &mut spec.query };
        places.insert("x-key".to_owned(), key_id.to_owned());
        SchemeSpec::Hmac(Box::new(spec))
    };
    vec![
        case(bearer(&["Bearer", "token"]), "/a", vec![("authorization", format!("Bearer {holder}"))], None),
        case(bearer(&["Bearer", "token"]), "/a", vec![("authorization", format!("TOKEN {holder}"))], None),
        case(
            SchemeSpec::Header { name: "x-api-key".into(), template: "{value}".into() },
            "/a",
            vec![("x-api-key", holder.to_owned()), ("authorization", "Bearer agents-own".to_owned())],
            None,
        ),
        case(
            SchemeSpec::Header { name: "authorization".into(), template: "GenieKey {value};v=1".into() },
            "/a",
            vec![("authorization", format!("GenieKey {holder};v=1"))],
            None,
        ),
        case(
            basic(Some("x-access-token"), false),
            "/a",
            vec![("authorization", format!("Basic {}", coded(format!("git:{holder}"))))],
            None,
        ),
        case(
            basic(Some("x-access-token"), false),
            "/a",
            vec![("authorization", format!("Basic {}", coded(format!("{holder}:x"))))],
            None,
        ),
        case(basic(None, true), "/a", vec![("authorization", format!("Basic {}", coded(format!("{holder}:"))))], None),
        case(
            SchemeSpec::Query { name: "key".into() },
            &format!("/a?x=1&key={}&y=%20&&z", query_escaped(holder)),
            vec![],
            None,
        ),
        case(
            SchemeSpec::Cookie { name: "sid".into() },
            "/a",
            vec![("cookie", format!("a=b; sid={}; c=d", holder.replace('/', "")))],
            None,
        ),
        case(
            field("/auth/tokens/1"),
            "/a",
            json(),
            Some(format!(r#"{{"x": [1, 2.50], "auth" : {{"tokens":["a", "{holder}" ]}}}}"#)),
        ),
        case(
            field("client_secret"),
            "/a",
            form(),
            Some(format!("grant=x&client_secret={}&b=+", query_escaped(holder))),
        ),
        case(
            signed("header", "id={key_id};v=1"),
            "/a?b=c",
            vec![("x-key", format!("id={holder};v=1")), ("x-sign", "agents-own".to_owned())],
            Some("{}".to_owned()),
        ),
        case(
            signed("query", "{key_id}"),
            &format!("/a?x=1&x-key={}&y=%20", query_escaped(holder)),
            vec![("authorization", "Bearer agents-own".to_owned())],
            Some("{}".to_owned()),
        ),
    ]
}

fn made(case: &Case, value: &str) -> Result<Armed, InjectError> {
    let credential = credential(value);
    let needles = NeedleCache::new().of(&credential, &case.spec);
    let request = request(&case.target, &case.headers, Transport::Https);
    arm(request, put(&case.spec, &credential), needles, case.body.clone().map(Bytes::from))
}

/// All that is sent, as one text.
fn wire(armed: &Armed) -> String {
    let mut text = format!("{}\n", armed.target());
    for (name, value) in armed.headers() {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text + &String::from_utf8_lossy(armed.body().map_or(b"", |body| body))
}

#[test]
fn the_slot_is_read_whole() {
    for case in cases(HOLDER) {
        let request = request(&case.target, &case.headers, Transport::Https);
        let listed = of(&case.spec);
        let value = listed.as_dyn().slot_value(&request, case.body.as_deref().map(str::as_bytes));
        let wanted =
            if matches!(case.spec, SchemeSpec::Cookie { .. }) { HOLDER.replace('/', "") } else { HOLDER.to_owned() };
        assert!(value.whole.iter().any(|whole| **whole == wanted), "{:?}: {value:?}", case.spec);
    }
}

#[test]
fn what_is_applied_is_what_is_read_back() {
    for case in cases(HOLDER) {
        let armed = made(&case, VALUE).expect("armed");
        let parts: Vec<(&str, String)> = armed
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let again = request(armed.target(), &parts, Transport::Https);
        let listed = of(&case.spec);
        let value = listed.as_dyn().slot_value(&again, armed.body().map(|body| &**body));
        let own: Vec<_> = value.whole.iter().filter(|whole| **whole == VALUE).collect();
        assert_eq!(own.len(), 1, "{:?}: {value:?}", case.spec);
        assert!(value.part.is_empty());
        assert!(!wire(&armed).contains("pl4ceholder"), "{}", wire(&armed));
        assert!(!wire(&armed).contains("agents-own"));
        assert!(!listed.as_dyn().redacted("c").contains(VALUE));
    }
}

#[test]
fn everything_else_stays() {
    // A signature is another for another key, and its length is the same.
    let unsigned = |text: String| {
        let lines = text.lines().filter(|line| !line.starts_with("x-sign: "));
        lines.fold(String::new(), |all, line| all + line + "\n")
    };
    for case in cases(HOLDER) {
        let with = unsigned(wire(&made(&case, VALUE).expect("armed")));
        let without = unsigned(wire(&made(&case, "another-value-of-the-same-length!").expect("armed")));
        let front = with.bytes().zip(without.bytes()).take_while(|(left, right)| left == right).count();
        let back = with.bytes().rev().zip(without.bytes().rev()).take_while(|(left, right)| left == right).count();
        // One place differs, and it is no longer than the value in its widest encoding.
        assert!(with.len() - front - back <= VALUE.len() * 3, "{:?}", case.spec);
    }
    let body = made(&cases(HOLDER)[9], "v\"\\w").expect("armed");
    assert_eq!(
        body.body().map(|body| &**body),
        Some(&br#"{"x": [1, 2.50], "auth" : {"tokens":["a", "v\"\\w" ]}}"#[..])
    );
    assert_eq!(made(&cases(HOLDER)[7], "v&w").expect("armed").target(), "/a?x=1&key=v%26w&y=%20&&z");
    let cookie = made(&cases(HOLDER)[8], "v").expect("armed");
    assert_eq!(cookie.headers()["cookie"], "a=b; c=d; sid=v");
}

#[test]
fn values_that_break_their_line_are_refused() {
    for case in cases(HOLDER) {
        for bad in ["a\r\nx: y", "a\nb", "a\rb", "a\0b", "a\u{7f}b", "\tfold", " a", "a ", "a\r\n b", "\u{1}"] {
            let refused = made(&case, bad).err();
            assert!(matches!(refused, Some(InjectError::Unprintable { .. })), "{:?} {bad:?} {refused:?}", case.spec);
        }
        assert!(matches!(made(&case, "").err(), Some(InjectError::Empty { .. })));
    }
}

#[test]
fn never_in_clear_text() {
    for case in cases(HOLDER) {
        let credential = credential(VALUE);
        let needles = NeedleCache::new().of(&credential, &case.spec);
        let request = request(&case.target, &case.headers, Transport::Http);
        let refused = arm(request, put(&case.spec, &credential), needles, case.body.map(Bytes::from));
        assert!(matches!(refused.err(), Some(InjectError::ClearText { .. })));
    }
}

#[test]
fn a_client_certificate_is_nowhere_in_the_request() {
    let spec = SchemeSpec::Mtls {};
    let pair = |fields: &[(Field, &str)]| {
        let fields = fields.iter().map(|(field, text)| (*field, Secret::new(text.as_bytes().to_vec())));
        let material = Arc::new(Material::new(fields.collect()));
        Credential::new(CredentialName::new("c").expect("name"), 1, material, Lease::default())
    };
    let key = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgc2VjcmV0LW9jdGV0\nc3VwcG9zZWQtdG8tYmUtc2VjcmV0LWFuZC1sb25nLWVub3VnaC10by1iZS1mb3Vu\n-----END PRIVATE KEY-----";
    let own = pair(&[
        (Field::PrivateKey, key),
        (Field::Certificate, "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
    ]);
    let arm_with = |credential: &Credential, transport| {
        let needles = NeedleCache::new().of(credential, &spec);
        let request = request("/a?b=c", &[("x-own", "1".to_owned())], transport);
        arm(request, put(&spec, credential), needles, Some(Bytes::from_static(b"body")))
    };
    let armed = arm_with(&own, Transport::Https).expect("armed");
    assert_eq!(wire(&armed), "/a?b=c\nx-own: 1\naccept-encoding: identity\nbody");
    assert!(matches!(arm_with(&own, Transport::Http).err(), Some(InjectError::ClearText { .. })));
    for half in [&[(Field::PrivateKey, key)][..], &[(Field::Certificate, "x")], &[(Field::Value, "token-of-some-kind")]]
    {
        assert!(matches!(arm_with(&pair(half), Transport::Https).err(), Some(InjectError::Certificate { .. })));
    }
    // Lines of the key come back masked; what all keys begin with does not.
    let seen = armed.needles().scrub(b"c3VwcG9zZWQtdG8tYmUtc2VjcmV0LWFuZC1sb25nLWVub3VnaC10by1iZS1mb3Vu");
    assert!(seen.is_some_and(|(masked, _)| !masked.starts_with(b"c3VwcG9z")));
    assert!(
        armed
            .needles()
            .scrub(b"-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg")
            .is_none()
    );
}

#[test]
fn templates_are_read_back() {
    use model::scheme::hmac::Hole::{KeyId, Signature};
    for (template, wanted, text, found) in [
        ("{key_id}", KeyId, "abc", Some("abc")),
        ("id={key_id},sig={signature}", KeyId, "id=abc,sig=x,sig=y", Some("abc")),
        ("id={key_id},sig={signature}", Signature, "id=abc,sig=x", Some("x")),
        ("id={key_id};v=1", KeyId, " id=abc;v=1 ", Some("abc")),
        ("id={key_id};v=1", KeyId, "id=abc;v=1;", None),
        ("id={key_id};v=1", KeyId, "id=abc;v=2", None),
        ("id={key_id}", KeyId, "ID=abc", None),
        ("id={key_id}", KeyId, "id=", Some("")),
        ("{key_id}{signature}", KeyId, "ab", None),
        ("{key_id}", Signature, "ab", None),
        ("{nope}", KeyId, "ab", None),
    ] {
        assert_eq!(super::hmac::read(template, wanted, text), found, "{template} {text}");
    }
}

#[test]
fn duplicates_go_and_one_is_set() {
    let spec = SchemeSpec::Bearer { header: "authorization".into(), words: vec!["Bearer".into()] };
    let headers = vec![
        ("authorization", "Bearer mine".to_owned()),
        ("Authorization", format!("bearer {HOLDER}")),
        ("range", "bytes=1-8".to_owned()),
        ("if-range", "x".to_owned()),
        ("accept-encoding", "br;q=0, compress, GZIP, zstd;q=0.5".to_owned()),
        ("sec-websocket-extensions", "permessage-deflate".to_owned()),
    ];
    let armed = made(&Case { spec, target: "/a?x".into(), headers, body: None }, VALUE).expect("armed");
    assert_eq!(armed.headers().get_all("authorization").iter().count(), 1);
    assert!(armed.headers()["authorization"].is_sensitive());
    assert_eq!(armed.headers()["authorization"], format!("Bearer {VALUE}"));
    assert_eq!(armed.headers()["accept-encoding"], "gzip, zstd");
    assert_eq!(armed.headers().len(), 2);
    let query = &cases(HOLDER)[7];
    let twice = Case {
        target: format!("{}&key=2&%6bey=3", query.target),
        spec: query.spec.clone(),
        headers: vec![],
        body: None,
    };
    let armed = made(&twice, "v").expect("armed");
    assert_eq!(armed.target(), "/a?x=1&key=v&y=%20&&z");
    assert_eq!(armed.redacted_target().as_deref(), Some("/a?x=1&key=c&y=%20&&z"));
    assert_eq!(armed.headers()["accept-encoding"], "identity");
}

#[test]
fn the_account_is_never_the_agents() {
    use base64::Engine;
    let case = &cases(HOLDER)[4];
    let armed = made(case, "value-of-the-vault").expect("armed");
    let sent =
        armed.headers()["authorization"].to_str().expect("text").strip_prefix("Basic ").expect("basic").to_owned();
    let pair = base64::engine::general_purpose::STANDARD.decode(sent).expect("base64");
    assert_eq!(pair, b"x-access-token:value-of-the-vault");
    let material = Material::new(vec![
        (Field::Username, Secret::new(b"own".to_vec())),
        (Field::Value, Secret::new(b"value-of-the-vault".to_vec())),
    ]);
    let own = Credential::new(CredentialName::new("c").expect("name"), 1, Arc::new(material), Lease::default());
    let request = request(&case.target, &case.headers, Transport::Https);
    let armed = arm(request, put(&case.spec, &own), NeedleCache::new().of(&own, &case.spec), None).expect("armed");
    assert_eq!(armed.headers()["authorization"], "Basic b3duOnZhbHVlLW9mLXRoZS12YXVsdA==");
    let (masked, _) = armed.needles().scrub(b"got Basic b3duOnZhbHVlLW9mLXRoZS12YXVsdA== !").expect("found");
    assert!(masked.starts_with(b"got Basic ") && masked.ends_with(b" !"));
    assert!(!String::from_utf8_lossy(&masked).contains("Z0"), "{}", String::from_utf8_lossy(&masked));
    assert!(
        !masked.windows(8).any(|window| b"b3duOnZhbHVlLW9mLXRoZS12YXVsdA==".windows(8).any(|secret| secret == window))
    );
}

#[test]
fn a_body_that_two_readers_would_read_differently_is_refused() {
    let spec = SchemeSpec::Body { field: "/k".into(), part: Part::Value };
    let headers = || vec![("content-type", "application/json".to_owned())];
    for bad in [r#"{"k":"a","k":"b"}"#, r#"{"k":"a"} {}"#, r#"{"j":1}"#, "", r#"["k"]"#, r#"{"k":"a","\u006b":"b"}"#] {
        let case = Case { spec: spec.clone(), target: "/".into(), headers: headers(), body: Some(bad.to_owned()) };
        assert!(matches!(made(&case, "v").err(), Some(InjectError::Body { .. })), "{bad}");
    }
    let unread = Case { spec, target: "/".into(), headers: headers(), body: None };
    assert!(matches!(made(&unread, "v").err(), Some(InjectError::Body { .. })));
}

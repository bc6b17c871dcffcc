//! Signing with shared keys against what vendors print in their documentation: a table that Python's hmac made
//! (`tests/e2e/clients/hmac_table.py`), in which most signatures are the vendors' own.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use inject::{Armed, InjectError, NeedleCache, Put, arm};
use model::canonical::{CanonicalRequest, Host, Length, Origin, Scheme, clean};
use model::scheme::hmac::HmacSpec;
use model::{CredentialName, Part, SchemeSpec, Timestamp};
use secret::{Credential, Field, Lease, Material, Secret};
use serde_json::{Value, json};

const TABLE: &str = include_str!("../data/hmac.jsonl");

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn credential(row: &Value) -> Credential {
    let held = [("secret", Field::Value), ("key_id", Field::KeyId), ("passphrase", Field::SessionToken)];
    let parts = held
        .into_iter()
        .filter_map(|(name, field)| row[name].as_str().map(|value| (field, Secret::new(value.as_bytes().to_vec()))));
    let material = Arc::new(Material::new(parts.collect()));
    Credential::new(CredentialName::new("signer").expect("name"), 1, material, Lease::default())
}

fn spec(row: &Value) -> SchemeSpec {
    SchemeSpec::Hmac(Box::new(serde_json::from_value::<HmacSpec>(row["spec"].clone()).expect("a scheme")))
}

fn request(sent: &Value) -> CanonicalRequest {
    let (host, target) =
        text(&sent["url"]).strip_prefix("https://").and_then(|rest| rest.split_once('/')).expect("a URL");
    let mut map = HeaderMap::new();
    for (name, value) in sent["headers"].as_object().expect("headers") {
        map.append(name.parse::<http::HeaderName>().expect("name"), text(value).parse().expect("value"));
    }
    let origin = Origin { scheme: Scheme::Https, host: Host::parse(host).expect("host"), port: 443 };
    let length = sent["body"].as_str().map_or(Length::Empty, |body| Length::Known(body.len() as u64));
    let method: Method = text(&sent["method"]).parse().expect("a method");
    CanonicalRequest::new(method, origin, &format!("/{target}"), clean(map).expect("clean"), length).expect("canonical")
}

fn signed(row: &Value, body: Option<Bytes>) -> Result<Armed, InjectError> {
    let (credential, spec) = (credential(row), spec(row));
    let needles = NeedleCache::new().of(&credential, &spec);
    let put = Put { spec: &spec, credential: &credential, now: Timestamp(row["now"].as_i64().expect("a time")) };
    arm(request(&row["sent"]), put, needles, body)
}

fn whole(row: &Value) -> Option<Bytes> {
    row["sent"]["body"].as_str().map(|body| Bytes::from(body.to_owned()))
}

fn rows() -> Vec<Value> {
    TABLE.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

fn row(vendor: &str) -> Value {
    rows().into_iter().find(|row| row["vendor"] == vendor).expect("a vendor")
}

#[test]
fn signatures_are_those_that_vendors_print() {
    let rows = rows();
    assert!(rows.iter().filter(|row| row["documented"] == true).count() >= 8);
    for row in &rows {
        let armed = signed(row, whole(row)).expect("signed");
        let vendor = &row["vendor"];
        assert_eq!(armed.target(), text(&row["leaves"]["target"]), "{vendor}");
        for (name, value) in row["leaves"]["headers"].as_object().expect("headers") {
            let set: Vec<_> = armed.headers().get_all(name).iter().collect();
            assert_eq!(set, [text(value)], "{vendor} {name}");
        }
        assert_eq!(armed.body().cloned(), whole(row), "{vendor}: not an octet of the body changes");
        // The key itself never travels.
        let mut wire = format!("{}{:?}", armed.target(), armed.body());
        armed.headers().iter().for_each(|(name, value)| {
            wire.push_str(name.as_str());
            wire.push_str(&String::from_utf8_lossy(value.as_bytes()));
        });
        assert!(text(&row["secret"]).len() < 10 || !wire.contains(text(&row["secret"])), "{vendor}");
        assert!(!wire.contains("placeholder") && !wire.contains("p-holder"), "{vendor}: {wire}");
    }
}

#[test]
fn the_placeholder_of_the_keys_id_is_read_back() {
    for (vendor, part) in [("Coinbase", Part::KeyId), ("one header", Part::KeyId), ("Slack", Part::Value)] {
        assert_eq!(spec(&row(vendor)).part(), part, "{vendor}");
    }
}

#[test]
fn records_show_neither_id_nor_signature() {
    let mut row = row("Binance, all in the query");
    row["spec"]["query"]["apikey"] = json!("{key_id}");
    row["spec"]["headers"] = json!({});
    let armed = signed(&row, None).expect("signed");
    let shown = armed.redacted_target().expect("a target");
    assert!(shown.ends_with("timestamp=1499827319559&apikey=signer&signature=signer"), "{shown}");
    assert!(armed.target().contains(text(&row["key_id"])));
}

#[test]
fn what_cannot_be_signed_is_not_sent() {
    // A body that is not held.
    let coinbase = row("Coinbase");
    assert!(matches!(signed(&coinbase, None).err(), Some(InjectError::Sign { .. })));
    for (vendor, change, at) in [
        ("Coinbase", "not base64!", "/secret"),
        ("one header", "zz", "/secret"),
        ("one header", "abc", "/secret"),
        ("Coinbase", "a\r\nx: y", "/key_id"),
        ("Coinbase", "", "/passphrase"),
        ("Coinbase", "", "/secret"),
    ] {
        let mut row = row(vendor);
        *row.pointer_mut(at).expect("a part") = json!(change);
        assert!(signed(&row, whole(&row)).is_err(), "{vendor} {change:?}");
    }
    let mut twilio = row("Twilio");
    twilio["sent"]["body"] = json!("a=%zz");
    assert!(signed(&twilio, whole(&twilio)).is_err());
    let mut clear = row("GitHub");
    clear["sent"]["url"] = json!("https://receiver.test/");
    assert!(signed(&clear, whole(&clear)).is_ok());
}

#[test]
fn a_nonce_is_the_agents_or_one_that_follows_from_the_request() {
    let nonce = |row: &Value| {
        signed(row, whole(row)).expect("signed").headers()["webhook-id"].to_str().expect("text").to_owned()
    };
    let mut row = row("Standard Webhooks");
    assert_eq!(nonce(&row), "msg_p5jXN8AQM9LWM0D4loKWxJek");
    row["sent"]["headers"] = json!({});
    let first = nonce(&row);
    assert!(first.len() == 32 && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
    row["now"] = json!(row["now"].as_i64().expect("a time") + 1);
    assert_ne!(nonce(&row), first);
    row["sent"]["headers"] = json!({ "webhook-id": "x".repeat(200) });
    assert_eq!(nonce(&row).len(), 32, "one that is too long is not kept");
}

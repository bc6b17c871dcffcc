//! Requests that an agent's client signed with a shared key.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use inject::Needles;
use model::canonical::{CanonicalRequest, Host, Length, Origin, Scheme, clean};
use secret::{Credential, Field, Lease, Material, Secret};

use crate::SECRET;

/// What an agent's client signed with a shared key (a field, a nonce, a query, a line each, and then the body): whatever stood there, ours goes
/// out once and nothing of the agent's own signature does.
pub fn signed(octets: &[u8]) {
    static SPEC: OnceLock<model::SchemeSpec> = OnceLock::new();
    let spec = SPEC.get_or_init(|| {
        let text = r#"{ "sign": "{nonce}\n{target}\n{query.sorted}\n{form.sorted}{body.sha256}", "query": { "t": "{timestamp}", "s": "{signature}" },
            "headers": { "authorization": "ACME id={key_id},ts={timestamp}", "x-nonce": "{nonce}" } }"#;
        model::SchemeSpec::Hmac(Box::new(serde_json::from_str(text).expect("a scheme")))
    });
    let mut parts = octets.splitn(4, |octet| *octet == b'\n');
    let mut field = || parts.next().unwrap_or_default();
    let (own, nonce, query) = (field(), field(), field());
    let body = parts.next().unwrap_or_default().to_vec();
    let (Ok(own), Ok(nonce), Ok(query)) =
        (HeaderValue::from_bytes(own), HeaderValue::from_bytes(nonce), std::str::from_utf8(query))
    else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert("authorization", own);
    headers.insert("x-nonce", nonce);
    let origin = Origin { scheme: Scheme::Https, host: Host::parse("api.acme.test").expect("a host"), port: 443 };
    let length = Length::Known(body.len() as u64);
    let Ok(headers) = clean(headers) else { return };
    let Ok(request) = CanonicalRequest::new(Method::POST, origin, &format!("/a?{query}"), headers, length) else {
        return;
    };
    let part = |text: &str| Secret::new(text.as_bytes().to_vec());
    let fields = vec![(Field::Value, part(SECRET)), (Field::KeyId, part("id-of-the-real-key"))];
    let name = model::CredentialName::new("signer").expect("a name");
    let credential = Credential::new(name, 1, Arc::new(Material::new(fields)), Lease::default());
    let put = inject::Put { spec, credential: &credential, now: model::Timestamp::from_secs(1_795_199_927) };
    let Ok(armed) = inject::arm(request, put, Arc::new(Needles::none()), Some(Bytes::from(body))) else { return };
    let set: Vec<_> = armed.headers().get_all("authorization").iter().collect();
    assert_eq!(set, ["ACME id=id-of-the-real-key,ts=1795199927"]);
    assert_eq!(armed.headers().get_all("x-nonce").iter().count(), 1);
    let sent = armed.target().split_once('?').expect("a query").1;
    let pairs = model::canonical::pairs(sent).expect("a query that reads");
    let of = |name: &str| {
        pairs.iter().filter(|(own, _)| **own == *name).map(|(_, value)| value.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(of("t"), ["1795199927"]);
    assert!(matches!(of("s").as_slice(), [one] if one.len() == 64), "{sent}");
}

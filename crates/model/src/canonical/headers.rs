//! Header fields: what belongs to one hop, to us, or to somebody who wants to be taken for another, does not travel.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::Malformed;

/// Cleaned header fields.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// What will be sent. `Host`, framing and hop-by-hop fields are gone; they are made anew for the next hop.
    pub headers: HeaderMap,
    /// The request asks to become a WebSocket.
    pub websocket: bool,
}

/// Fields of one hop (RFC 9110 7.6.1), our own, and those by which a client pretends to be a proxy or asks an origin
/// to read another path, host or method (rows B25, B26, C38, C40).
///
/// Whether a field is one of them, and therefore never travels on.
#[must_use]
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    // As a pattern: a comparison of lengths for most names, where a list would be searched from its beginning.
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "host"
            | "content-length"
            | "expect"
            | "alt-used"
            | "x-valetkey-session"
            | "x-agent-id"
            | "x-http-method"
            | "x-http-method-override"
            | "x-method-override"
            | "x-original-url"
            | "x-original-uri"
            | "x-original-host"
            | "x-original-method"
            | "x-rewrite-url"
            | "x-host"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-prefix"
            | "x-forwarded-path"
            | "x-forwarded-proto"
            | "x-forwarded-server"
            | "x-forwarded-scheme"
            | "x-real-ip"
            | "forwarded"
            | "via"
    )
}

/// Cleans the fields of a request: refuses what is ambiguous, drops what may not travel.
///
/// # Errors
/// [`Malformed::Header`] for a name with `_` (many origins read it as `-`) or a value with a control character;
/// [`Malformed::Upgrade`] for an upgrade to anything but WebSocket.
pub fn clean(mut headers: HeaderMap) -> Result<Cleaned, Malformed> {
    let bad = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().contains('_')
            || value.as_bytes().iter().any(|byte| *byte < 0x20 && *byte != b'\t' || *byte == 0x7f)
    };
    if headers.iter().any(bad) {
        return Err(Malformed::Header);
    }
    let expects = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !headers.get_all(header::EXPECT).iter().all(expects) {
        return Err(Malformed::Expect);
    }
    let websocket = wants_websocket(&headers)?;
    if headers.contains_key(header::CONNECTION) {
        let nominated: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .filter_map(|token| HeaderName::from_bytes(token.trim().to_ascii_lowercase().as_bytes()).ok())
            .filter(|name| !is_authentication(name))
            .collect();
        for name in nominated {
            headers.remove(name);
        }
    }
    let dropped: SmallVec<[HeaderName; 8]> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
    Ok(Cleaned { headers, websocket })
}

/// Fields that carry credentials are not one hop's to nominate (row C38): dropping one would change who asks.
fn is_authentication(name: &HeaderName) -> bool {
    const WORDS: [&str; 6] = ["authorization", "cookie", "token", "key", "secret", "password"];
    WORDS.iter().any(|word| name.as_str().contains(word))
}

/// RFC 6455 4.1: `Connection: Upgrade` and `Upgrade: websocket`, once, alone.
fn wants_websocket(headers: &HeaderMap) -> Result<bool, Malformed> {
    let mut upgrades = headers.get_all(header::UPGRADE).iter();
    let Some(first) = upgrades.next() else { return Ok(false) };
    let connection = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let asked = connection.flat_map(|text| text.split(',')).any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    if first.as_bytes().eq_ignore_ascii_case(b"websocket") && upgrades.next().is_none() {
        return Ok(asked);
    }
    // curl and Java offer `Upgrade: h2c` by themselves; not answering it is what RFC 9110 7.8 asks for.
    if first.as_bytes().eq_ignore_ascii_case(b"h2c") && upgrades.next().is_none() {
        return Ok(false);
    }
    Err(Malformed::Upgrade)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn nominated_fields_go_before_injection() {
        let cleaned =
            clean(map(&[("connection", "close, X-Hop, Authorization"), ("authorization", "x"), ("x-hop", "1")]));
        let headers = cleaned.expect("clean").headers;
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key("authorization"), "authentication is nobody's to nominate");
    }

    #[test]
    fn pretended_proxies_and_methods_do_not_travel() {
        let cleaned =
            clean(map(&[("x-forwarded-host", "evil"), ("x-http-method-override", "DELETE"), ("forwarded", "x")]));
        assert!(cleaned.expect("clean").headers.is_empty());
        assert_eq!(clean(map(&[("x_api_key", "1")])).err(), Some(Malformed::Header));
    }

    #[test]
    fn only_websocket_upgrades() {
        assert!(clean(map(&[("connection", "Upgrade"), ("upgrade", "websocket")])).expect("clean").websocket);
        assert!(
            !clean(map(&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")])).expect("clean").websocket
        );
        assert_eq!(clean(map(&[("upgrade", "tcp")])).err(), Some(Malformed::Upgrade));
    }
}

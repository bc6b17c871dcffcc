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

/// A reason why fields do not travel, and the fields.
pub struct Dropped {
    /// What they have in common.
    pub what: &'static str,
    /// Their names, in lower case.
    pub names: &'static [&'static str],
}

/// The one list: what is documented and what is dropped cannot differ.
macro_rules! dropped {
    ($($what:literal: [$($name:literal),* $(,)?]),* $(,)?) => {
        /// Fields that an agent may send and that never travel on, by reason. [`DROPPED_FAMILIES`] has those that begin alike.
        pub const DROPPED: &[Dropped] = &[$(Dropped { what: $what, names: &[$($name),*] }),*];

        // As a pattern: a comparison of lengths for most names, where a list would be searched from its beginning.
        fn is_dropped_by_name(name: &str) -> bool {
            matches!(name, $($($name)|*)|*)
        }
    };
}

dropped! {
    "of one hop (RFC 9110 7.6.1), or made anew for the next": [
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "http2-settings", "host", "content-length", "expect", "alt-used",
    ],
    "our own": ["x-valetkey-session", "x-agent-id"],
    "another method, path or host than the one that was judged": [
        "x-http-method", "x-http-method-override", "x-method-override", "x-original-url", "x-original-uri",
        "x-original-host", "x-original-method", "x-rewrite-url", "x-host",
    ],
    "a proxy on the way: tells of the agent's network, or lets a client be taken for one": [
        "via", "forwarded", "x-via", "x-forwarded", "forwarded-for", "x-forward-for", "x-imforwards", "x-bluecoat-via",
        "x-proxy-id", "x-proxy-user", "mt-proxy-id", "xroxy-connection", "cdn-loop", "x-varnish", "x-real-ip",
        "x-real-port", "x-original-forwarded-for", "x-original-remote-addr",
    ],
    "the address of the client": [
        "client-ip", "x-client-ip", "true-client-ip", "x-true-client-ip", "x-cluster-client-ip", "proxy-client-ip",
        "wl-proxy-client-ip", "x-proxyuser-ip", "x-originating-ip", "x-source-ip", "x-user-ip", "x-remote-ip",
        "x-remote-addr", "remote-addr", "fastly-client-ip", "fly-client-ip", "do-connecting-ip", "x-azure-clientip",
        "x-azure-socketip", "x-nf-client-connection-ip", "x-client-port",
    ],
    "the country or place of the client": [
        "geoip-country", "geoip-country-code", "geoip-city", "geoip-region", "x-akamai-edgescape", "x-nf-geo",
        "fly-region", "x-region-code", "x-client-geo-location", "x-client-region", "x-client-city",
    ],
    "an identity that only a proxy in front of an origin may vouch for": [
        "remote-user", "x-remote-user", "x-remote-group", "x-webauth-user", "x-webauth-email", "x-webauth-name",
        "x-webauth-groups", "x-authenticated-user", "x-authenticated-userid", "x-authenticated-email",
        "x-authenticated-groups", "x-client-cert", "x-client-dn", "x-client-verify", "client-cert",
        "client-cert-chain", "x-arr-clientcert",
    ],
    "the mail address of a person (RFC 9110 10.1.2), or of a sender": [
        "from", "x-sender", "x-originating-email", "x-mailer",
    ],
}

/// Beginnings of names that never travel on.
pub const DROPPED_FAMILIES: &[&str] = &[
    "x-forwarded-",
    "cf-",
    "cloudfront-",
    "x-country",
    "x-geo-",
    "x-geoip-",
    "x-appengine-",
    "x-vercel-ip-",
    "x-vercel-forwarded-",
    "x-envoy-",
    "x-ssl-client-",
    "ssl-client-",
    "x-auth-request-",
    "x-goog-authenticated-user-",
    "x-amzn-oidc-",
    "x-ms-client-principal",
    "tailscale-user-",
];

/// What begins like one of them and is a credential of the client's own: Cloudflare Access takes these from clients.
pub const KEPT: &[&str] = &["cf-access-client-id", "cf-access-client-secret", "cf-access-token"];

/// Whether a field never travels on: one of a hop, our own, and those by which a client pretends to be a proxy, gives its
/// network or its person away, or asks an origin to read another path, host or method (rows B25, B26, C38, C40).
#[must_use]
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Most names begin with another letter than any family.
    let family = matches!(name.as_bytes().first(), Some(b'c' | b's' | b't' | b'x'));
    is_dropped_by_name(name)
        || family && DROPPED_FAMILIES.iter().any(|begin| name.starts_with(begin)) && !KEPT.contains(&name)
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
    fn what_tells_of_network_country_or_person_does_not_travel() {
        let named = DROPPED.iter().flat_map(|dropped| dropped.names.iter().map(|name| (*name).to_owned()));
        let of_family = DROPPED_FAMILIES.iter().map(|begin| format!("{begin}anything"));
        for name in named.chain(of_family) {
            assert_eq!(name, name.to_ascii_lowercase());
            let name = HeaderName::try_from(name).expect("a name");
            assert!(is_hop_by_hop(&name), "{name}");
        }
        let all: Vec<&str> = DROPPED.iter().flat_map(|dropped| dropped.names).copied().collect();
        let once: std::collections::BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(all.len(), once.len(), "a name is listed twice");
        for begin in DROPPED_FAMILIES {
            assert!(matches!(begin.as_bytes().first(), Some(b'c' | b's' | b't' | b'x')), "{begin}");
        }
    }

    #[test]
    fn what_clients_need_travels() {
        let needed = "accept accept-encoding accept-language authorization cache-control content-type cookie date dpop \
            idempotency-key if-match origin range referer user-agent x-api-key x-auth-key x-auth-email x-auth-token \
            x-amz-date x-amz-security-token x-amzn-trace-id x-client-info x-client-version x-client-id x-csrf-token \
            x-github-api-version x-goog-api-client x-goog-api-key x-goog-user-project x-ms-client-request-id x-ms-date \
            x-request-id x-stainless-lang x-region x-user-id traceparent cf-access-client-id cf-access-client-secret \
            cf-access-token anthropic-version openai-organization";
        for name in needed.split_whitespace() {
            assert!(!is_hop_by_hop(&HeaderName::from_static(name)), "{name}");
        }
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

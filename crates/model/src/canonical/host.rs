//! Host names and addresses, strictly: one spelling each.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::Malformed;
use crate::bounds::HOST_BYTES_MAX;

/// A lower-case A-label DNS name, or a canonical IP address (IPv6 in brackets).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(Arc<str>);

impl Host {
    /// Reads a host, without port.
    ///
    /// Upper-case letters are the only thing that is folded (RFC 9110 4.2.3 says they mean the same). Refused: empty
    /// labels and trailing dots, anything outside letters, digits and hyphens, labels over 63 octets, names whose last
    /// label is a number unless the whole is a canonical dotted quad (WHATWG parsers read `0x7f.1`, `127.1` and
    /// `2130706433` as addresses), brackets around anything but a canonical IPv6 address, zone ids.
    ///
    /// # Errors
    /// [`Malformed::Host`].
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() || text.len() > HOST_BYTES_MAX {
            return Err(Malformed::Host);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(Malformed::Host)?;
            let address: Ipv6Addr = inner.parse().map_err(|_| Malformed::Host)?;
            return Ok(Self(format!("[{address}]").into()));
        }
        let labels_good = text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
        if !labels_good {
            return Err(Malformed::Host);
        }
        let last = text.rsplit('.').next().unwrap_or_default();
        let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
            || last.get(..2).is_some_and(|head| head.eq_ignore_ascii_case("0x"));
        if numeric {
            let address: Ipv4Addr = text.parse().map_err(|_| Malformed::Host)?;
            return if address.to_string() == text { Ok(Self(text.into())) } else { Err(Malformed::Host) };
        }
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Ok(Self(text.to_ascii_lowercase().into()));
        }
        Ok(Self(text.into()))
    }

    /// The text; IPv6 with its brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, where the host is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        let text = self.0.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(&self.0);
        text.parse().ok()
    }

    /// Whether `self` is `domain` or a name under it, label by label (`evilgood.test` is not under `good.test`).
    #[must_use]
    pub fn is_under(&self, domain: &str) -> bool {
        self.0.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Reads `host[:port]` as `Host`, `:authority` and CONNECT carry it. No user part.
///
/// # Errors
/// [`Malformed::Host`] or [`Malformed::Port`].
pub fn parse_authority(text: &str) -> Result<(Host, Option<u16>), Malformed> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.starts_with('[') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        None => None,
        Some(digits) => {
            let plain = !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number: u32 = if plain { digits.parse().map_err(|_| Malformed::Port)? } else { 0 };
            let number = u16::try_from(number).ok().filter(|number| *number > 0).ok_or(Malformed::Port)?;
            if digits.starts_with('0') {
                return Err(Malformed::Port);
            }
            Some(number)
        }
    };
    Ok((Host::parse(host)?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_each() {
        for good in ["api.github.com", "localhost", "xn--bcher-kva.example", "127.0.0.1", "[::1]", "a-b.c1"] {
            assert_eq!(Host::parse(good).map(|host| host.to_string()), Ok(good.to_owned()));
        }
        assert_eq!(Host::parse("API.GitHub.com").map(|host| host.to_string()), Ok("api.github.com".to_owned()));
        for bad in [
            "",
            ".",
            "good.",
            "a..b",
            "good%2etest",
            "[good]",
            "a@b",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "127.0.0.01",
            "\u{ff11}27.0.0.1",
            "a_b.c",
            "-a.b",
            "a-.b",
            "[::1%25eth0]",
            "[fe80::1%eth0]",
            "[::1",
            "::1",
            "a b",
            "a/b",
            "good.test\0",
            "bücher.example",
            "1.2.3.4.5",
            "a.0x1",
        ] {
            assert_eq!(Host::parse(bad), Err(Malformed::Host), "{bad}");
        }
    }

    #[test]
    fn authorities() {
        assert_eq!(
            parse_authority("a.b:444").map(|(host, port)| (host.to_string(), port)),
            Ok(("a.b".into(), Some(444)))
        );
        assert_eq!(parse_authority("[::1]:8443").map(|(_, port)| port), Ok(Some(8_443)));
        assert_eq!(parse_authority("[::1]").map(|(_, port)| port), Ok(None));
        for bad in ["a.b:", "a.b:0", "a.b:65536", "a.b:+5", "a.b:08", "u@a.b", "a.b:1:2", ":1", "[::1]x:1"] {
            assert!(parse_authority(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn domains_match_by_label() {
        let host = Host::parse("x.good.test").expect("a host");
        assert!(host.is_under("good.test"));
        assert!(!Host::parse("evilgood.test").expect("a host").is_under("good.test"));
        assert!(!Host::parse("good.test.evil").expect("a host").is_under("good.test"));
    }
}

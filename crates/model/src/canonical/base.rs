//! Addresses of servers that the operator names: a scheme, a host and a port, and nothing behind.

use super::{Origin, Scheme, parse_authority};

/// Reads `https://HOST[:PORT]`, or `http://` to the loopback.
///
/// # Errors
/// What is wrong and what to write.
pub fn parse_base(text: &str) -> Result<Origin, String> {
    let wrong =
        || "an address is written `https://HOST[:PORT]` (`http://` to the loopback alone), without a path".to_owned();
    let (scheme, rest) = match text.split_once("://") {
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("http", rest)) => (Scheme::Http, rest),
        _ => return Err(wrong()),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.is_empty() || !authority.bytes().all(|octet| octet.is_ascii_graphic() && !b"/?#@\\%".contains(&octet))
    {
        return Err(wrong());
    }
    let (host, port) = parse_authority(authority).map_err(|error| error.to_string())?;
    if scheme == Scheme::Http && host.as_str() != "localhost" && !host.address().is_some_and(|it| it.is_loopback()) {
        return Err("clear text goes to the loopback alone; write `https://`".to_owned());
    }
    Ok(Origin { port: port.unwrap_or_else(|| scheme.default_port()), scheme, host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown_as) in [
            ("https://vault.corp", "https://vault.corp"),
            ("https://vault.corp:8200/", "https://vault.corp:8200"),
            ("http://127.0.0.1:8200", "http://127.0.0.1:8200"),
            ("http://[::1]:8200", "http://[::1]:8200"),
            ("http://localhost:8200", "http://localhost:8200"),
        ] {
            let origin = parse_base(text).expect(text);
            assert_eq!(format!("{}://{origin}", origin.scheme.as_str()), shown_as);
        }
        for bad in [
            "vault.corp:8200",
            "https://",
            "https://u:p@vault.corp",
            "https://vault.corp/v1",
            "https://vault.corp?a",
            "http://vault.corp:8200",
            "http://127.0.0.1.evil.test",
            "http://10.0.0.1",
            "ftp://vault.corp",
            "https://va%75lt.corp",
        ] {
            assert!(parse_base(bad).is_err(), "{bad}");
        }
    }
}

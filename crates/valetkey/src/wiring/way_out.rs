//! The corporate proxy: where this process's own environment names one, everything that is not listed under `upstreams:`
//! goes through it.

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use model::canonical::parse_authority;
use proxy::net::proxyout::WayOut;

use crate::config::Ambient;

/// The way out that the environment names, if any.
///
/// # Errors
/// It is not of the form `http://[user:password@]host:port`.
pub fn way_out(ambient: &Ambient) -> anyhow::Result<Option<WayOut>> {
    let named = ["HTTPS_PROXY", "https_proxy"].into_iter().find_map(|name| Some((name, ambient.var(name)?)));
    let Some((name, url)) = named else { return Ok(None) };
    let bypass = ambient.var("NO_PROXY").or_else(|| ambient.var("no_proxy")).unwrap_or_default();
    read(&url, &bypass)
        .with_context(|| format!("`{name}` names no proxy that can be used; write http://host:port or unset it"))
        .map(Some)
}

fn read(url: &str, bypass: &str) -> anyhow::Result<WayOut> {
    let Some(rest) = url.strip_prefix("http://") else { bail!("only proxies that are reached by http:// are known") };
    let rest = rest.trim_end_matches('/');
    let (login, authority) = rest.rsplit_once('@').map_or((None, rest), |(login, authority)| (Some(login), authority));
    let (host, port) = parse_authority(authority)?;
    let authorization = match login {
        Some(login) => {
            let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(login)))?;
            value.set_sensitive(true);
            Some(value)
        }
        None => None,
    };
    let domains = bypass.split(',').map(|domain| domain.trim().trim_start_matches('.').to_ascii_lowercase());
    Ok(WayOut::new(host, port.unwrap_or(80), authorization, domains.filter(|domain| !domain.is_empty()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert!(read("http://proxy.corp.test:3128", "localhost,.corp.test").is_ok());
        assert!(read("http://user:pass@10.0.0.1:8080/", "").is_ok());
        for bad in ["https://proxy:1", "proxy:1", "http://", "http://a b:1", "socks5://x:1"] {
            assert!(read(bad, "").is_err(), "{bad}");
        }
    }
}

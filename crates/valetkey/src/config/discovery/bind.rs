//! `--bind VAR=host[:header]`: a secret that no service knows, for one host.

use std::str::FromStr;

use anyhow::{Context, bail};
use catalog::ServiceFile;
use model::canonical::{Host, Scheme};

use super::{Candidate, Search, kind_of};

/// A variable bound to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The variable.
    pub variable: String,
    /// The host.
    pub host: String,
    /// The header that carries the value; none for `Authorization: Bearer`.
    pub header: Option<String>,
}

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not VAR=HOST or VAR=HOST:HEADER, such as ACME_TOKEN=api.acme.com:X-Api-Key");
        let (variable, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (host, header) = rest.split_once(':').map_or((rest, None), |(host, header)| (host, Some(header)));
        let plain = |text: &str, extra: &[u8]| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
        };
        if !plain(variable, b"_") || !plain(host, b".-") || header.is_some_and(|header| !plain(header, b"-_")) {
            return Err(wrong());
        }
        let host = host.to_ascii_lowercase();
        Ok(Self { variable: variable.to_owned(), host, header: header.map(str::to_owned) })
    }
}

pub(super) fn follow(search: &mut Search<'_>, binds: &[Bind]) -> anyhow::Result<()> {
    for bind in binds {
        let Bind { variable, host, header } = bind;
        let Some(value) = search.ambient.var_os(variable).map(ToOwned::to_owned) else {
            bail!("--bind {variable}: the variable is not set; check its name");
        };
        let parsed =
            Host::parse(host).ok().with_context(|| format!("--bind {variable}: `{host}` is not a host name"))?;
        let known = search.catalog.by_host(&parsed, 443, Scheme::Https);
        let (service, kind) = match (known, header) {
            (Some(service), None) => (service.name().clone(), kind_of(service)),
            (Some(service), Some(_)) => bail!(
                "--bind {variable}: `{host}` belongs to the service `{}`, which says where its credential goes; leave the header out",
                service.name()
            ),
            (None, _) => (add_service(search, bind)?, "token".to_owned()),
        };
        search.hidden.insert(variable.into());
        let from = format!("env:{variable}");
        let candidate =
            Candidate { name: variable, service, kind, from, value, place: variable.clone(), variable: Some(variable) };
        search.add(candidate);
    }
    Ok(())
}

/// A service of one host, as a user would write its file.
fn add_service(search: &mut Search<'_>, bind: &Bind) -> anyhow::Result<model::ServiceName> {
    let name = bind.host.replace('.', "-");
    let scheme = match &bind.header {
        Some(header) => format!("header: {{ name: {} }}", header.to_ascii_lowercase()),
        None => "bearer: {}".to_owned(),
    };
    let text = format!("name: {name}\ntitle: {}\nhosts: [{}]\nschemes:\n  - {scheme}\n", bind.host, bind.host);
    if !search.services.iter().any(|known| known.name == name) {
        search.services.push(ServiceFile::parse(&text, "--bind")?);
    }
    Ok(model::ServiceName::new(&name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let bind = |variable: &str, host: &str, header: Option<&str>| Bind {
            variable: variable.to_owned(),
            host: host.to_owned(),
            header: header.map(str::to_owned),
        };
        assert_eq!("A_TOKEN=api.acme.com".parse(), Ok(bind("A_TOKEN", "api.acme.com", None)));
        assert_eq!("A=API.acme.com:X-Api-Key".parse(), Ok(bind("A", "api.acme.com", Some("X-Api-Key"))));
        for bad in ["", "A", "A=", "=h", "A=h:", "A=h o", "A=h:x:y", "A=h/p"] {
            assert!(bad.parse::<Bind>().is_err(), "{bad}");
        }
    }
}

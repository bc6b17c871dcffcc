//! Hosts of a service.

use model::canonical::Host;

use super::Wrong;
use super::tables::Tables;
use crate::compiled::HostRule;
use crate::file::{Protocol, ServiceFile};

pub(super) fn hosts(written: &ServiceFile, tables: &mut Tables<'_>) -> Result<Vec<HostRule>, Wrong> {
    if written.hosts.is_empty() {
        return Err(Wrong::new(&written.name, "a service without hosts is nowhere; give at least one"));
    }
    let mut out = Vec::new();
    for entry in &written.hosts {
        let entry = &entry.0;
        let (name, wildcard) = match entry.host.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (entry.host.as_str(), false),
        };
        let parsed = Host::parse(name).map_err(|error| Wrong::new(&entry.host, format!("`{name}`: {error}")))?;
        if wildcard && (parsed.address().is_some() || !name.contains('.')) {
            return Err(Wrong::new(&entry.host, format!("`{}` is too wide; name at least two labels", entry.host)));
        }
        let base = entry.base.as_deref().unwrap_or("/");
        if !base.starts_with('/') {
            return Err(Wrong::new(base, format!("base path `{base}` must begin with `/`")));
        }
        let bare = matches!(entry.protocol, Some(Protocol::Tcp | Protocol::Postgres));
        let nowhere = entry.protocol == Some(Protocol::Tcp) && entry.ports.is_empty();
        if bare && (nowhere || entry.base.is_some() || entry.clear || entry.schemes.is_some()) {
            let message =
                format!("`{}` is no HTTP: give its `ports`, and neither `base`, `clear` nor `schemes`", entry.host);
            return Err(Wrong::new(&entry.host, message));
        }
        let port = if entry.protocol == Some(Protocol::Postgres) { 5432 } else { 443 };
        let role = entry.role.as_deref().unwrap_or_default();
        out.push(HostRule {
            name: parsed.as_str().into(),
            wildcard,
            ports: if entry.ports.is_empty() { vec![port] } else { entry.ports.clone() },
            clear: entry.clear,
            base: base.split('/').filter(|segment| !segment.is_empty()).map(Into::into).collect(),
            role: role.into(),
            root: tables.root(role),
            protocol: entry.protocol,
            schemes: if bare { Some(Vec::new()) } else { entry.schemes.clone() },
        });
    }
    Ok(out)
}

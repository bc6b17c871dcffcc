//! `databases:`: ports at which agents reach database servers, one for each. The password there is a session's token.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context;
use catalog::{Catalog, Protocol, Service};
use model::canonical::Host;
use policy::document::Document;
use proxy::Worker;
use proxy::postgres::{Door, listen};

/// The kind of credential by which one logs in to a database.
pub const KIND: &str = "database";

/// One port.
#[derive(Clone, Debug)]
pub struct Database {
    /// What the configuration calls it.
    pub name: String,
    /// Where agents connect.
    pub listen: SocketAddr,
    /// The server that is meant.
    pub door: Door,
}

/// One that is open.
pub struct Open {
    /// What the configuration calls it.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    listener: TcpListener,
    door: Door,
}

/// The ports of a configuration.
///
/// # Errors
/// A service that is not known or has no database server; an address that is none; two at one address.
pub fn of(document: &Document, catalog: &Catalog) -> anyhow::Result<Vec<Database>> {
    let mut all: Vec<Database> = Vec::new();
    for (name, entry) in &document.databases {
        let within = format!("database `{}`", name.value);
        let service = catalog.service(&entry.service.value).with_context(|| {
            format!("{within}: no service `{}`; name its file under `services:`", entry.service.value)
        })?;
        let (server, port) = server(service).with_context(|| {
            format!("{within}: service `{}` has no host of `protocol: postgres`", entry.service.value)
        })?;
        let listen: SocketAddr = entry.listen.value.parse().with_context(|| {
            format!("{within}: `{}` is not an address with a port, such as 127.0.0.1:6432", entry.listen.value)
        })?;
        if let Some(other) = all.iter().find(|other| other.listen == listen && listen.port() != 0) {
            anyhow::bail!("{within}: `{}` listens at {listen} already; choose another port", other.name);
        }
        let own = [listen.ip().to_string(), "localhost".to_owned()];
        let names = own.iter().filter_map(|name| Host::parse(name).ok()).chain([server.clone()]).collect();
        all.push(Database { name: name.value.clone(), listen, door: Door { host: server, port, names } });
    }
    Ok(all)
}

/// Where the database server of a service is, if it has one.
pub fn server(service: &Service) -> Option<(Host, u16)> {
    let speaks = |host: &&catalog::HostRule| !host.wildcard && host.protocol == Some(Protocol::Postgres);
    let host = service.hosts().iter().find(speaks)?;
    Some((Host::parse(&host.name).ok()?, host.ports.first().copied().unwrap_or(5432)))
}

/// Opens them.
///
/// # Errors
/// A port is taken.
pub fn open(databases: &[Database]) -> anyhow::Result<Vec<Open>> {
    let one = |database: &Database| {
        let listener = TcpListener::bind(database.listen).with_context(|| {
            let (name, listen) = (&database.name, database.listen);
            format!("cannot listen on {listen} for database `{name}`: choose another port, or stop what uses it")
        })?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Open { name: database.name.clone(), address, listener, door: database.door.clone() })
    };
    databases.iter().map(one).collect()
}

/// The same sockets once more, for another thread.
///
/// # Errors
/// There are no descriptors left.
pub fn again(open: &[Open]) -> std::io::Result<Vec<Open>> {
    let one = |open: &Open| {
        let (name, door) = (open.name.clone(), open.door.clone());
        Ok(Open { name, address: open.address, listener: open.listener.try_clone()?, door })
    };
    open.iter().map(one).collect()
}

/// A port that is open, and the server that it stands for.
#[derive(Clone, Debug)]
pub struct Reached {
    /// What the configuration calls it.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The server's host.
    host: Host,
}

impl Open {
    /// What is told of it.
    pub fn reached(&self) -> Reached {
        Reached { name: self.name.clone(), address: self.address, host: self.door.host.clone() }
    }
}

/// Leads variables that name one of these servers to its port, with the token as password. Only where the user had them: `PGHOST`
/// with what belongs to it, and any variable that is a URL of PostgreSQL.
pub fn lead(reached: &[Reached], token: &str, had: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut set = BTreeMap::new();
    let of = |host: &str| reached.iter().find(|one| one.host.as_str().eq_ignore_ascii_case(host));
    if let Some(one) = had.get("PGHOST").and_then(|host| of(host)) {
        set.insert("PGHOST".to_owned(), one.address.ip().to_string());
        set.insert("PGPORT".to_owned(), one.address.port().to_string());
        set.insert("PGPASSWORD".to_owned(), token.to_owned());
    }
    for (name, value) in had {
        let Some((scheme, rest)) = value.split_once("://").filter(|(scheme, _)| scheme.starts_with("postgres")) else {
            continue;
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
        if let Some(one) = of(host) {
            let user = user.split(':').next().filter(|user| !user.is_empty()).unwrap_or("agent");
            set.insert(name.clone(), format!("{scheme}://{user}:{token}@{}{path}", one.address));
        }
    }
    set
}

/// Accepts on this thread until the process is told to stop.
///
/// # Errors
/// The runtime cannot watch them.
pub fn accept(open: Vec<Open>, worker: &Arc<Worker>) -> std::io::Result<()> {
    for open in open {
        let listener = tokio::net::TcpListener::from_std(open.listener)?;
        tokio::spawn(listen(Arc::clone(worker), listener, open.door));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_lead_to_the_port_where_they_were_set() {
        let host = Host::parse("db.crm.example").expect("a host");
        let reached = [Reached { name: "crm".to_owned(), address: "127.0.0.1:6432".parse().expect("one"), host }];
        let had = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let led = |pairs: &[(&str, &str)]| lead(&reached, "vkt_x", &had(pairs)).into_iter().collect::<Vec<_>>();
        assert!(led(&[("PGUSER", "a"), ("PGDATABASE", "crm")]).is_empty(), "never what was not set");
        assert!(led(&[("PGHOST", "other.example"), ("URL", "https://db.crm.example/")]).is_empty());
        let all = led(&[("PGHOST", "DB.crm.example"), ("PGPASSWORD", "real")]);
        let want = [("PGHOST", "127.0.0.1"), ("PGPASSWORD", "vkt_x"), ("PGPORT", "6432")];
        assert_eq!(all, want.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for (url, want) in [
            ("postgres://app:real@db.crm.example:5432/crm?x=1", "postgres://app:vkt_x@127.0.0.1:6432/crm?x=1"),
            ("postgresql://db.crm.example/crm", "postgresql://agent:vkt_x@127.0.0.1:6432/crm"),
            ("postgresql+asyncpg://a:p@w@db.crm.example", "postgresql+asyncpg://a:vkt_x@127.0.0.1:6432"),
        ] {
            assert_eq!(led(&[("DATABASE_URL", url)]), [("DATABASE_URL".to_owned(), want.to_owned())]);
        }
    }
}

//! All services, found by name and by host.

use std::collections::HashMap;
use std::sync::OnceLock;

use model::call::BodyView;
use model::canonical::{CanonicalRequest, Host, Scheme};
use model::vocabulary::Vocabulary;
use model::{Classification, Refusal};
use smallvec::SmallVec;

use crate::classify;
use crate::compile::compile;
use crate::compiled::{Compiled, HostRule};
use crate::error::CatalogError;
use crate::file::{Case, Protocol, ServiceFile};
use crate::service::Service;

/// A built-in service, decoded when it is first needed.
pub(crate) struct Embedded {
    name: &'static str,
    tables: &'static [u8],
    hosts: &'static [u8],
    cases: &'static [u8],
}

static EMBEDDED: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Every service that is known. One table answers both "whose request is this" and "whose credential may go there"
/// (attack row A8), so what may be injected is always enforced.
#[derive(Debug, Default)]
pub struct Catalog {
    entries: Vec<Entry>,
    exact: HashMap<Box<str>, Claims>,
    wildcard: HashMap<Box<str>, Claims>,
}

type Claims = SmallVec<[Claim; 1]>;

#[derive(Clone, Debug)]
struct Claim {
    entry: usize,
    host: usize,
    ports: SmallVec<[u16; 2]>,
    clear: bool,
    /// What is spoken there, where it is no HTTP.
    bare: Option<Scheme>,
}

struct Entry {
    name: Box<str>,
    embedded: Option<&'static Embedded>,
    cases: Vec<Case>,
    service: OnceLock<Option<Service>>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.name)
    }
}

/// A service together with the host by which it was found.
#[derive(Clone, Copy, Debug)]
pub struct HostUse<'a> {
    /// Whose host it is.
    pub service: &'a Service,
    /// Which of its hosts.
    pub host: &'a HostRule,
}

impl Catalog {
    /// The built-in services.
    pub fn builtin() -> Self {
        let mut catalog = Self::default();
        for embedded in EMBEDDED {
            // Both decode by construction; what does not is left out, so its hosts are unknown and fail closed.
            let Ok(hosts) = postcard::from_bytes::<Vec<HostRule>>(embedded.hosts) else { continue };
            let entry = Entry {
                name: embedded.name.into(),
                embedded: Some(embedded),
                cases: Vec::new(),
                service: OnceLock::new(),
            };
            // Built-in files claim no host twice; a test holds that.
            drop(catalog.insert(entry, &hosts));
        }
        catalog
    }

    /// The built-in services and those of the user. A user's service replaces the built-in one of its name.
    ///
    /// # Errors
    /// A mistake in a file, or a host that two services claim.
    pub fn with(extra: Vec<ServiceFile>) -> Result<Self, CatalogError> {
        let mut compiled = Vec::new();
        for file in extra {
            let tables = compile(&file)?;
            compiled.push((tables, file.cases));
        }
        let replaced = |name: &str| compiled.iter().any(|(tables, _)| tables.name.as_str() == name);
        let mut catalog = Self::default();
        for embedded in EMBEDDED.iter().filter(|embedded| !replaced(embedded.name)) {
            let hosts: Vec<HostRule> = postcard::from_bytes(embedded.hosts).map_err(|error| CatalogError::BuiltIn {
                service: embedded.name.to_owned(),
                reason: error.to_string(),
            })?;
            let entry = Entry {
                name: embedded.name.into(),
                embedded: Some(embedded),
                cases: Vec::new(),
                service: OnceLock::new(),
            };
            catalog.insert(entry, &hosts)?;
        }
        for (tables, cases) in compiled {
            let hosts = tables.hosts.clone();
            let entry = Entry {
                name: tables.name.as_str().into(),
                embedded: None,
                cases,
                service: OnceLock::from(Some(Service::new(tables))),
            };
            catalog.insert(entry, &hosts)?;
        }
        Ok(catalog)
    }

    fn insert(&mut self, entry: Entry, hosts: &[HostRule]) -> Result<(), CatalogError> {
        let index = self.entries.len();
        for (number, host) in hosts.iter().enumerate() {
            let claim = Claim {
                entry: index,
                host: number,
                ports: host.ports.iter().copied().collect(),
                clear: host.clear,
                bare: match host.protocol {
                    Some(Protocol::Tcp) => Some(Scheme::Tcp),
                    Some(Protocol::Postgres) => Some(Scheme::Postgres),
                    Some(Protocol::Git | Protocol::Aws) | None => None,
                },
            };
            let table = if host.wildcard { &mut self.wildcard } else { &mut self.exact };
            let claims = table.entry(host.name.clone()).or_default();
            let clash = |other: &&Claim| claim.ports.iter().any(|port| other.ports.contains(port));
            if let Some(other) = claims.iter().find(clash) {
                let first = self.entries.get(other.entry).map_or(&*entry.name, |known| &*known.name);
                return Err(CatalogError::HostTwice {
                    host: format!("{}:{}", host.name, host.ports.first().copied().unwrap_or(443)),
                    first: first.to_owned(),
                    second: entry.name.to_string(),
                });
            }
            claims.push(claim);
        }
        self.entries.push(entry);
        Ok(())
    }

    /// What a request is.
    ///
    /// An unknown host gives a classification without service and calls; an unknown path of a known service gives the
    /// action `http/<method>`. Where `needs_body` comes back set, classify again with the body before deciding: until
    /// then the call is the most that it could be.
    ///
    /// # Errors
    /// A refusal `malformed` for what origins could read in two ways: an encoded slash in a parameter that the service
    /// does not declare opaque, a parameter of the body that overrides the method, a repeated query parameter on which
    /// the action depends, a body that cannot be read and on which the action or its resource depends (`too_large`
    /// where that is why).
    pub fn classify(&self, request: &CanonicalRequest, body: BodyView<'_>) -> Result<Classification, Refusal> {
        let origin = request.origin();
        if let Some(found) = self.find(&origin.host, origin.port, origin.scheme) {
            return classify::classify(found, request, body);
        }
        let path = classify::endpoint(request.path(), 0);
        Ok(Classification::new(None, SmallVec::new(), path))
    }

    /// Whose host this is, and which of its hosts. An exact name wins over a wildcard, a longer wildcard over a shorter;
    /// the port is part of the name (attack rows A10, A11).
    pub fn find(&self, host: &Host, port: u16, scheme: Scheme) -> Option<HostUse<'_>> {
        let fits = |claim: &&Claim| match scheme {
            Scheme::Https => claim.bare.is_none() && claim.ports.contains(&port),
            Scheme::Tcp | Scheme::Postgres => claim.bare == Some(scheme) && claim.ports.contains(&port),
            Scheme::Http => claim.clear && port == 80,
        };
        let name = host.as_str();
        let mut claim = self.exact.get(name).and_then(|claims| claims.iter().find(fits));
        if claim.is_none() && host.address().is_none() {
            let mut rest = name;
            while let (None, Some((_, parent))) = (claim, rest.split_once('.')) {
                claim = self.wildcard.get(parent).and_then(|claims| claims.iter().find(fits));
                rest = parent;
            }
        }
        let claim = claim?;
        let service = self.entry_service(claim.entry)?;
        Some(HostUse { service, host: service.hosts().get(claim.host)? })
    }

    /// Whose host this is.
    pub fn by_host(&self, host: &Host, port: u16, scheme: Scheme) -> Option<&Service> {
        self.find(host, port, scheme).map(|found| found.service)
    }

    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.entry_service(self.entries.iter().position(|entry| &*entry.name == name)?)
    }

    /// Every service: built-in ones by name, then the user's.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        (0..self.entries.len()).filter_map(|index| self.entry_service(index))
    }

    /// The cases of one service's file.
    pub fn cases(&self, name: &str) -> Vec<Case> {
        let Some(entry) = self.entries.iter().find(|entry| &*entry.name == name) else { return Vec::new() };
        match entry.embedded {
            Some(embedded) => postcard::from_bytes(embedded.cases).unwrap_or_default(),
            None => entry.cases.clone(),
        }
    }

    /// The words that a policy may use about services.
    pub fn vocabulary(&self) -> Vocabulary {
        let services = self.services().map(|service| (service.name().as_str().to_owned(), service.words()));
        Vocabulary { services: services.collect() }
    }

    fn entry_service(&self, index: usize) -> Option<&Service> {
        let entry = self.entries.get(index)?;
        let decode = || {
            let tables: Compiled = postcard::from_bytes(entry.embedded?.tables).ok()?;
            Some(Service::new(tables))
        };
        entry.service.get_or_init(decode).as_ref()
    }
}

//! Finds the credentials that an agent would have had, says which, never their values.
//!
//! Where to look is in the service files (`environment:`, `files:`, `shapes:`); this module only knows formats. What no
//! service knows and looks like a secret is withheld from the agent and named. A variable that the user had not set is never
//! set: an API key variable would switch an agent from subscription to metered billing.

mod aws;
mod bind;
mod files;
mod formats;
pub(super) mod looks;
mod mcp;
mod refer;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use catalog::{Catalog, Service, ServiceFile};
use model::{CredentialName, Digest, Part, ServiceName};

use super::Ambient;

pub use bind::Bind;
pub(super) use mcp::agent_files;
pub use refer::{REFERENCE, Referable, service_of};

/// What the user says about variables.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--bind VAR=host[:header]`.
    pub bind: Vec<Bind>,
    /// `--keep VAR`.
    pub keep: Vec<String>,
}

/// A credential that was found. Never its value: the vault reads that through [`Discovery::ambient`] by `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// A name, made from the variable's or the file's.
    pub name: CredentialName,
    /// The service that knows it.
    pub service: ServiceName,
    /// The reference for the vault; none for what lies in the built-in vault already.
    pub from: Option<String>,
    /// What it is made of.
    pub kind: String,
    /// Put on without a placeholder: the client that would have read it (git, curl from `.netrc`) sends nothing by itself.
    pub always: bool,
    /// Variables that the user had set to it, which get the placeholder.
    pub variables: Vec<String>,
    /// Where, for people: `GITHUB_TOKEN`, `~/.netrc`.
    pub place: String,
    /// SHA-256 of a log-in's token: it may be a placeholder of ours.
    pub digest: Option<Digest>,
}

/// A variable that the agent does not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Its name.
    pub variable: String,
    /// Why.
    pub why: String,
}

impl Withheld {
    /// One sentence with what to do.
    pub fn sentence(&self) -> String {
        let Self { variable, why } = self;
        format!(
            "{variable} withheld: {why}; use --bind {variable}=HOST to let it be used for one host, or --keep {variable} to pass it on"
        )
    }
}

/// What was found.
#[derive(Clone)]
pub struct Discovery {
    /// What services know.
    pub found: Vec<Found>,
    /// What nobody knows.
    pub withheld: Vec<Withheld>,
    /// Variables that were passed on although they look like secrets; recorded.
    pub kept: Vec<String>,
    /// Services made for `--bind`.
    pub services: Vec<ServiceFile>,
    /// What else the user should know, one sentence each.
    pub notes: Vec<String>,
    /// What the agent can read where nothing masks it, one sentence each.
    pub open: Vec<String>,
    /// What stands in files of log-ins, by part: tokens, or placeholders of an earlier session.
    pub logins: Vec<(Part, String)>,
    /// The environment that knows all this.
    pub ambient: Ambient,
}

/// The work under way.
struct Search<'a> {
    ambient: &'a Ambient,
    catalog: &'a Catalog,
    found: Vec<Found>,
    /// Values, to know the same one again; index into `found`.
    values: Vec<(OsString, usize)>,
    extra: BTreeMap<String, OsString>,
    withheld: Vec<Withheld>,
    hidden: BTreeSet<OsString>,
    kept: Vec<String>,
    services: Vec<ServiceFile>,
    notes: Vec<String>,
    open: Vec<String>,
    logins: Vec<(Part, String)>,
}

impl Discovery {
    /// Looks everywhere.
    ///
    /// # Errors
    /// A flag that cannot be followed: it names a variable that is not set, or a host that cannot be one.
    pub fn search(ambient: &Ambient, catalog: &Catalog, flags: &Flags) -> anyhow::Result<Self> {
        let mut search = Search {
            ambient,
            catalog,
            found: Vec::new(),
            values: Vec::new(),
            extra: BTreeMap::new(),
            withheld: Vec::new(),
            hidden: BTreeSet::new(),
            kept: Vec::new(),
            services: Vec::new(),
            notes: Vec::new(),
            open: Vec::new(),
            logins: Vec::new(),
        };
        bind::follow(&mut search, &flags.bind)?;
        aws::variables(&mut search, &flags.keep);
        search.variables(&flags.keep)?;
        files::look(&mut search);
        mcp::look(&mut search);
        let Search { found, extra, withheld, hidden, kept, services, notes, open, logins, .. } = search;
        Ok(Self { found, withheld, kept, services, notes, open, logins, ambient: ambient.having(extra, hidden) })
    }

    /// The sentences for the user: what was found where and for which service, what was withheld, what else there is.
    pub fn report(&self) -> Vec<String> {
        let found = self.found.iter().map(|found| format!("{} found for {}", found.place, found.service));
        let withheld = self.withheld.iter().map(Withheld::sentence);
        let kept = self.kept.iter().map(|name| format!("{name} passed on as it is (--keep)"));
        found.chain(withheld).chain(kept).chain(self.notes.iter().cloned()).collect()
    }
}

impl Search<'_> {
    fn variables(&mut self, keep: &[String]) -> anyhow::Result<()> {
        for name in keep {
            if self.ambient.var_os(name).is_none() {
                anyhow::bail!("--keep {name}: the variable is not set; check its name");
            }
        }
        let all: Vec<(String, OsString)> = self
            .ambient
            .vars()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_owned()))
            .collect();
        for (name, value) in all {
            if self.hidden.contains(&OsString::from(&name)) || name.starts_with("VALETKEY_") {
                continue;
            }
            if keep.contains(&name) {
                self.kept.push(name);
            } else {
                self.variable(&name, value);
            }
        }
        Ok(())
    }

    fn variable(&mut self, name: &str, value: OsString) {
        let text = value.to_string_lossy().into_owned();
        if let Some(name_in_vault) = refer::name_in(&text) {
            self.hidden.insert(name.into());
            self.refer(&name_in_vault, name, Some(name));
            return;
        }
        let by_name = self.by_variable(name);
        if let Some(service) = by_name.or_else(|| self.by_shape(&text)) {
            let (service, kind) = (service.name().clone(), kind_of(service));
            self.hidden.insert(name.into());
            let from = format!("env:{name}");
            self.add(Candidate { name, service, kind, from, value, place: name.to_owned(), variable: Some(name) });
        } else if let Some(why) = looks::like_a_secret(name, &text, self.ambient.folder()) {
            self.withhold(name, why);
        }
    }

    fn withhold(&mut self, name: &str, why: &str) {
        self.hidden.insert(name.into());
        self.withheld.push(Withheld { variable: name.to_owned(), why: why.to_owned() });
    }

    /// The service whose file names this variable.
    fn by_variable(&self, name: &str) -> Option<&'_ Service> {
        refer::by_variable(self.catalog, name)
    }

    /// The service whose secrets look like this; the longest prefix wins (`sk-ant-` over `sk-`).
    fn by_shape(&self, value: &str) -> Option<&'_ Service> {
        refer::by_shape(self.catalog, value)
    }

    /// Adds a credential, or a variable to one that has the same value.
    fn add(&mut self, candidate: Candidate<'_>) {
        let Candidate { name, service, kind, from, value, place, variable } = candidate;
        let same = self
            .values
            .iter()
            .find(|(known, at)| *known == value && self.found.get(*at).is_some_and(|found| found.service == service));
        if let Some((_, at)) = same
            && let Some(found) = self.found.get_mut(*at)
        {
            found.variables.extend(variable.map(str::to_owned));
            if !found.place.split(", ").any(|known| known == place) {
                found.place = format!("{}, {place}", found.place);
            }
            return;
        }
        let Some(name) = self.free_name(name) else { return };
        self.values.push((value, self.found.len()));
        let variables = variable.map(str::to_owned).into_iter().collect();
        let from = Some(from);
        self.found.push(Found { name, service, from, kind, always: false, variables, place, digest: None });
    }

    /// Keeps a value that was read from a file where the vault finds it; the reference to it.
    fn keep_value(&mut self, value: &str) -> String {
        // A slash can stand in no variable's name that a shell would set.
        let name = format!("found/{}", self.extra.len() + 1);
        self.extra.insert(name.clone(), value.into());
        format!("env:{name}")
    }

    fn free_name(&self, text: &str) -> Option<CredentialName> {
        let plain: String = text
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
            .take(100)
            .collect();
        let plain = plain.trim_matches('-');
        (1..1_000).find_map(|number| {
            let name = if number == 1 { plain.to_owned() } else { format!("{plain}-{number}") };
            let name = CredentialName::new(&name).ok()?;
            self.found.iter().all(|found| found.name != name).then_some(name)
        })
    }
}

/// A credential on its way into the list.
struct Candidate<'a> {
    name: &'a str,
    service: ServiceName,
    kind: String,
    from: String,
    value: OsString,
    place: String,
    variable: Option<&'a str>,
}

fn kind_of(service: &Service) -> String {
    service.credential_kinds().next().unwrap_or("token").to_owned()
}

#[cfg(test)]
mod tests;

//! What must not be used any more, as this process last heard: one immutable snapshot, read without a lock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use model::{CredentialName, Tenant};
use policy::Bearer;
use store::{StopKind, StopRow};

use crate::VaultError;

/// The stops of every organisation that this process serves.
#[derive(Clone, Default)]
pub(crate) struct Revoked {
    tenants: HashMap<Tenant, Arc<Stopped>>,
}

#[derive(Default)]
struct Stopped {
    all: bool,
    agents: HashSet<String>,
    sessions: HashSet<String>,
    /// Version 0 stands for all of them.
    credentials: HashSet<(String, u64)>,
}

impl Revoked {
    /// The same with the stops of one organisation replaced.
    pub fn with(&self, tenant: &Tenant, stops: &[StopRow]) -> Self {
        let mut seen = Stopped::default();
        for stop in stops {
            match stop.kind {
                StopKind::All => seen.all = true,
                StopKind::Agent => drop(seen.agents.insert(stop.name.clone())),
                StopKind::Session => drop(seen.sessions.insert(stop.name.clone())),
                StopKind::Credential => {
                    seen.credentials.insert((stop.name.clone(), stop.version.unwrap_or(0)));
                }
            }
        }
        let mut next = self.clone();
        next.tenants.insert(tenant.clone(), Arc::new(seen));
        next
    }

    /// Refuses whoever was stopped.
    pub fn check_bearer(&self, bearer: &Bearer) -> Result<(), VaultError> {
        let Some(stopped) = self.tenants.get(&bearer.tenant) else { return Ok(()) };
        let what = if stopped.all {
            "everything".to_owned()
        } else if stopped.agents.contains(bearer.agent.as_str()) {
            format!("agent `{}`", bearer.agent)
        } else if !stopped.sessions.is_empty() && stopped.sessions.contains(&bearer.session.to_string()) {
            format!("session `{}`", bearer.session)
        } else {
            return Ok(());
        };
        Err(VaultError::Stopped { what })
    }

    /// Refuses a credential that was revoked; `version` is none before it is known.
    pub fn check(&self, tenant: &Tenant, name: &CredentialName, version: Option<u64>) -> Result<(), VaultError> {
        let Some(stopped) = self.tenants.get(tenant) else { return Ok(()) };
        if stopped.credentials.is_empty() {
            return Ok(());
        }
        let is = |version| stopped.credentials.contains(&(name.as_str().to_owned(), version));
        if is(0) || version.is_some_and(is) {
            return Err(VaultError::Revoked { name: name.clone() });
        }
        Ok(())
    }
}

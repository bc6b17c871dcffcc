//! The road of rotators: the gateway's names, addresses that are never dialled, `upstreams:`, verified TLS.

use std::pin::Pin;
use std::sync::Arc;

use model::canonical::Origin;
use model::{AgentName, CredentialName};
use proxy::gateway::Snapshot;
use proxy::net::dial::{Dialer, For, Speaks};
use vault::road::{Road, Spoken, Wire};

/// Whose connections these are: no agent's and no credential's of agents, whose versions begin at 1.
const PARTY: &str = "rotation";

/// How they are made.
#[derive(Clone)]
pub enum By {
    /// As a gateway connects.
    Gateway(Arc<Snapshot>),
    /// As a gateway would.
    Own(Arc<Dialer>),
}

/// The road.
pub struct Dialled {
    by: By,
    party: (AgentName, (CredentialName, u64)),
}

impl Dialled {
    /// By this dialer.
    ///
    /// # Errors
    /// None in practice: the name is a constant.
    pub fn new(by: By) -> anyhow::Result<Self> {
        Ok(Self { by, party: (AgentName::new(PARTY)?, (CredentialName::new(PARTY)?, 0)) })
    }

    async fn open(&self, origin: &Origin, spoken: Spoken) -> Result<Box<dyn Wire>, String> {
        let dialer = match &self.by {
            By::Gateway(snapshot) => &snapshot.dialer,
            By::Own(dialer) => dialer,
        };
        let party = |speaks| For { agent: &self.party.0, credential: Some(&self.party.1), speaks, presents: None };
        let stream = match spoken {
            Spoken::Http => dialer.connect(origin, party(Speaks::Upgrade)).await,
            Spoken::Postgres => dialer.connect_database(origin, party(Speaks::Postgres)).await,
        };
        Ok(Box::new(stream.map_err(|error| error.to_string())?))
    }
}

impl Road for Dialled {
    fn connect<'a>(
        &'a self,
        origin: &'a Origin,
        spoken: Spoken,
    ) -> Pin<Box<dyn Future<Output = Result<Box<dyn Wire>, String>> + Send + 'a>> {
        Box::pin(self.open(origin, spoken))
    }
}

//! What the control plane asks of the data plane, as traits, so that neither imports the other.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use model::event::Kind;
use model::{AgentName, CredentialName, Event, Refusal, Session, SessionId, Timestamp, UserName};
use policy::Offer;
use serde::{Deserialize, Serialize};

use crate::auth::LocalUser;
use crate::grants::Asking;

/// A future of a trait object.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What `POST /v1/sessions` takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartSession {
    /// The principal.
    pub agent: AgentName,
    /// The task.
    #[serde(default)]
    pub task: Option<String>,
    /// The person on whose behalf.
    #[serde(default)]
    pub user: Option<UserName>,
    /// Seconds to live.
    #[serde(default)]
    pub ttl_seconds: Option<u64>,
}

/// What it gives: everything that a client needs, once.
#[derive(Clone, Debug, Serialize)]
pub struct StartedSession {
    /// Its id.
    pub session: SessionId,
    /// Its token; only its digest is kept.
    pub token: String,
    /// The environment of the agent: proxy and CA variables, placeholders.
    pub env: BTreeMap<String, String>,
    /// Path of the CA certificate, PEM.
    pub ca: String,
    /// When it dies by itself.
    pub expires: Timestamp,
}

/// The data plane of this process.
pub trait Plane: Send + Sync {
    /// Begins a session, or says why not in one sentence.
    fn start(&self, wanted: StartSession) -> Later<'_, Result<StartedSession, String>>;
    /// Whether the configuration lets this other user of the machine begin sessions for the agent.
    fn admits(&self, agent: &AgentName, user: &LocalUser) -> bool;
    /// Takes in at once what the store now says of stops, sessions and approvals (other processes poll).
    fn refresh(&self) -> Later<'_, ()>;
    /// Rotates a credential as soon as it can be, or says why not in one sentence.
    fn rotate<'a>(&'a self, name: &'a CredentialName, reason: &'a str) -> Later<'a, Result<(), String>>;
    /// Records what an operator did.
    fn record(&self, by: &str, what: &str);
    /// What the policy in force would give of what a session asks for.
    ///
    /// # Errors
    /// The refusal, with what could be asked for.
    fn offer(&self, session: &Session, asking: &Asking) -> Result<Offer, Box<Refusal>>;
    /// Records something else; `fill` says what of it is known.
    fn tell(&self, kind: Kind, fill: &mut dyn FnMut(&mut Event));
}

//! Sessions as the planes see them.

use serde::{Deserialize, Serialize};

use crate::id::SessionId;
use crate::name::{AgentName, Tenant, UserName};
use crate::time::Timestamp;

/// One run of an agent on one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The organisation.
    pub tenant: Tenant,
    /// The principal.
    pub agent: AgentName,
    /// The person on whose behalf it works.
    pub user: Option<UserName>,
    /// Roles of that person, as the operator gave them.
    pub roles: Vec<String>,
    /// The task context, free text.
    pub task: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it dies by itself.
    pub expires: Timestamp,
    /// When it was ended, if it was.
    pub ended: Option<Timestamp>,
}

impl Session {
    /// Whether anything may still be done in its name.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.expires
    }
}

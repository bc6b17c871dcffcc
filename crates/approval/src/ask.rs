//! What is asked and what may come back.

use bytes::Bytes;
use model::{AgentName, ApprovalId, Digest, SessionId, Tenant, Timestamp};
use policy::ApprovalNeed;
use store::ApprovalState;

/// Octets of a body that are kept for people to look at, as long as a question is open; its digest speaks for the rest.
pub const PREVIEW_BYTES_MAX: usize = 1024 * 1024;

/// A question to a person about one request. Every text in it may have been chosen by the agent: show it through
/// [`crate::render`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The organisation.
    pub tenant: Tenant,
    /// The session that waits.
    pub session: SessionId,
    /// Its agent.
    pub agent: AgentName,
    /// What policy wants to know, and who may say.
    pub need: ApprovalNeed,
    /// One human sentence per call.
    pub sentences: Vec<String>,
    /// The method.
    pub method: String,
    /// Where it goes, whole.
    pub url: String,
    /// What the body says it is.
    pub content_type: Option<String>,
    /// Digest of the canonical head.
    pub head: Digest,
    /// Digest of the whole body; none where there is no body.
    pub body: Option<Digest>,
    /// The body itself, or its first [`PREVIEW_BYTES_MAX`] octets: what was hashed is what can be looked at.
    pub preview: Bytes,
    /// Octets of the body.
    pub bytes: usize,
    /// The session's task.
    pub task: Option<String>,
    /// How long the client wants to be held for an answer, seconds; as long as it may be where it does not say.
    pub patience_seconds: Option<u64>,
}

impl Ask {
    /// All sentences as one line, for a list or a row.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.sentences.join("; ")
    }
}

/// A question that is open, as channels see it.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its id.
    pub id: ApprovalId,
    /// What is asked.
    pub ask: std::sync::Arc<Ask>,
    /// When it is too late to answer.
    pub expires: Timestamp,
}

/// What a person says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Yes, this very request, once.
    Once,
    /// Yes, and the same question for the rest of the session.
    Session,
    /// Yes, and the same question for so many seconds.
    For(u64),
    /// No, with a reason for the agent (may be empty).
    Deny(String),
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Approved (or used by now), denied or expired; open where the rows cannot be reached.
    pub state: ApprovalState,
    /// Who answered.
    pub by: Vec<String>,
    /// Why not, if they said.
    pub reason: String,
}

/// Why there is no grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotApproved {
    /// A person said no.
    Denied {
        /// Who.
        by: String,
        /// Why, if they said.
        reason: String,
    },
    /// Nobody answered in time.
    Expired,
    /// Nobody has answered yet; the identical request later uses the answer.
    Pending {
        /// The question.
        id: ApprovalId,
    },
    /// Nobody could be asked.
    NoChannel {
        /// What to do about it.
        hint: String,
    },
    /// The agent has too many open questions.
    TooMany,
    /// The rows cannot be reached.
    Unavailable {
        /// Why, for operators.
        reason: String,
    },
}

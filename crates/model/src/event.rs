//! One audit record: a fact for operators, never a log line for us, never with a secret.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::class::Class;
use crate::digest::Digest;
use crate::id::{ApprovalId, EventId, ExchangeId, GrantId, SessionId};
use crate::name::{AgentName, CredentialName, ServiceName, Tenant, UserName};
use crate::refusal::Code;
use crate::sighting::Sighting;
use crate::time::Timestamp;

/// What kind of record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Written before anything leaves.
    Attempt,
    /// Written after: what came of an attempt.
    Outcome,
    /// A call that appeared inside an open exchange (a message of a WebSocket, a statement).
    Call,
    /// We answered instead of the upstream.
    Refusal,
    /// An exchange that was dropped unfinished.
    Abandoned,
    /// Found after a crash.
    Recovered,
    /// A session began or ended.
    Session,
    /// A task changed.
    Task,
    /// A grant was given or ended.
    Grant,
    /// A question to a person, or its answer.
    Approval,
    /// A credential was added, rotated, revoked.
    Credential,
    /// A policy was loaded.
    Policy,
    /// Something odd.
    Alert,
    /// A response to something odd.
    Incident,
    /// An operator did something else.
    Operator,
}

/// Allow or deny, as recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every call was allowed.
    Allow,
    /// Some call was not.
    Deny,
}

/// The request as recorded: sanitised, with placeholders and redactions applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// The method.
    pub method: Arc<str>,
    /// Host, with the port where it is not the scheme's own.
    pub host: Arc<str>,
    /// Path and query; values of queries that were redacted stand as `REDACTED`.
    pub path: Arc<str>,
    /// Digest of the canonical head.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub digest: Option<Digest>,
    /// Digest of the body that was sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub body_hash: Option<Digest>,
    /// Octets of the body that were sent.
    #[serde(default)]
    pub bytes: u64,
    /// Address of the client.
    #[serde(default)]
    pub source: Arc<str>,
}

/// The response as recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseRecord {
    /// The status that the agent saw.
    pub status: u16,
    /// Octets of the body that the agent got.
    pub bytes: u64,
    /// What the service says it created: `pr_number` to 42.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub made: Option<serde_json::Map<String, serde_json::Value>>,
    /// What the answer handed out and the vault now holds: name and version. Never a value.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub captured: Vec<CredentialUse>,
    /// How many needles the scrubber masked.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub scrubbed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An answer to a question, as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRecord {
    /// The question.
    pub id: ApprovalId,
    /// Who answered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approver: Option<String>,
}

/// One audit record, without its place in a chain (`lane, seq, prev, hash` are the chain's, added when it is written).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// When.
    pub time: Timestamp,
    /// What kind.
    pub kind: Kind,
    /// The organisation.
    pub tenant: Tenant,
    /// The principal, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agent: Option<AgentName>,
    /// The person on whose behalf.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user: Option<UserName>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub session: Option<SessionId>,
    /// The task.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub task: Option<String>,
    /// Why, in the agent's words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub justification: Option<String>,
    /// Anything else that was given as context.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub context: Option<serde_json::Map<String, serde_json::Value>>,
    /// The exchange.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exchange: Option<ExchangeId>,
    /// The service.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service: Option<ServiceName>,
    /// All calls, facts cut to `FACT_AUDIT_BYTES_MAX`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub calls: Vec<Call>,
    /// Name and version of the credential: `github-token@3`. Never a value.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<CredentialUse>,
    /// Allow or deny.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub decision: Option<Verdict>,
    /// The code of a refusal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<Code>,
    /// The rules that decided.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub rules: Vec<Arc<str>>,
    /// One sentence.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The question that was asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approval: Option<ApprovalRecord>,
    /// The grant that was used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grant: Option<GrantId>,
    /// The request.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request: Option<RequestRecord>,
    /// The response.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub response: Option<ResponseRecord>,
    /// Placeholders seen.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub sightings: Vec<Sighting>,
    /// Credentials whose real values stood in a model request's body and were replaced before it left: by the
    /// session's placeholder, which is then among the sightings too, or by a mask where it holds none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub rewritten: Vec<CredentialName>,
    /// From accepting to the end of the answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub duration_us: Option<u64>,
    /// It stands for many of the same kind.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub repeated: Option<Repeated>,
}

/// What a counted record stands for: refusals that had been seen often enough to be told one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeated {
    /// How many.
    pub times: u64,
    /// When the first of them was refused.
    pub first: Timestamp,
    /// And the last.
    pub last: Timestamp,
    /// The weightiest class of their calls; none where they did not come so far.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub class: Option<Class>,
}

impl Event {
    /// An event with nothing but its id, time, kind and tenant.
    #[must_use]
    pub const fn new(id: EventId, time: Timestamp, kind: Kind, tenant: Tenant) -> Self {
        Self {
            id,
            time,
            kind,
            tenant,
            agent: None,
            user: None,
            session: None,
            task: None,
            justification: None,
            context: None,
            exchange: None,
            service: None,
            calls: Vec::new(),
            credential: None,
            decision: None,
            code: None,
            rules: Vec::new(),
            reason: None,
            approval: None,
            grant: None,
            request: None,
            response: None,
            sightings: Vec::new(),
            rewritten: Vec::new(),
            duration_us: None,
            repeated: None,
        }
    }
}

/// Which credential was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialUse {
    /// Its name.
    pub name: CredentialName,
    /// Its version, counted from 1.
    pub version: u64,
}

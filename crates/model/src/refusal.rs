//! Why we answer instead of the upstream. A refusal is a value, never an error.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::ApprovalId;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $retryable:literal;)*) => {
        /// The codes that agents see (`code` of the problem document), each with its HTTP status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code { $($(#[$doc])* #[serde(rename = $text)] $name),* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The HTTP status; the proxy leg answers 407 where this says 401.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }

            /// Whether the same request may succeed later without anybody doing anything else.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable),* }
            }
        }
    };
}

codes! {
    /// Ambiguous or broken request.
    Malformed = "malformed", 400, false;
    /// A placeholder as part of a value in the declared slot, or over clear text.
    PlaceholderMisplaced = "placeholder_misplaced", 400, false;
    /// Nobody we know.
    Unidentified = "unidentified", 401, false;
    /// The session is over.
    SessionEnded = "session_ended", 401, false;
    /// The reverse leg names a service that nobody knows.
    UnknownService = "unknown_service", 401, false;
    /// Policy says no, an operator has stopped the agent, or a person is needed and nobody can be asked.
    Denied = "denied", 403, false;
    /// A host that no service, permission or profile names.
    UnknownHost = "unknown_host", 403, false;
    /// An address that is never dialled (private, metadata, our own).
    BlockedAddress = "blocked_address", 403, false;
    /// A placeholder in another service's authentication slot, or another agent's in any.
    PlaceholderForeign = "placeholder_foreign", 403, false;
    /// A known secret value in what the agent sends.
    SecretInRequest = "secret_in_request", 403, false;
    /// A person said no, or the agent has too many questions open.
    ApprovalDenied = "approval_denied", 403, false;
    /// Nobody answered in time.
    ApprovalExpired = "approval_expired", 403, false;
    /// A person has not answered yet; the identical request later uses the decision.
    ApprovalPending = "approval_pending", 409, true;
    /// Over a bound.
    TooLarge = "too_large", 413, false;
    /// The authority of the request is not the one of its connection.
    Misdirected = "misdirected", 421, false;
    /// A limit is used up for now.
    LimitReached = "limit_reached", 429, true;
    /// The budget is spent. Not in this version.
    BudgetSpent = "budget_spent", 429, false;
    /// The credential is past its end and could not be refreshed.
    CredentialExpired = "credential_expired", 502, true;
    /// The credential was revoked, or an operator has stopped it.
    CredentialRevoked = "credential_revoked", 502, false;
    /// The upstream could not be reached.
    UpstreamUnreachable = "upstream_unreachable", 502, true;
    /// The upstream's certificate does not verify.
    UpstreamUntrusted = "upstream_untrusted", 502, false;
    /// The upstream's answer breaks the protocol or cannot be scrubbed.
    UpstreamInvalid = "upstream_invalid", 502, false;
    /// The upstream did not answer in time.
    UpstreamTimeout = "upstream_timeout", 504, true;
    /// The secret manager cannot be reached or does not hold it.
    CredentialUnavailable = "credential_unavailable", 503, true;
    /// No record can be written, so nothing is done.
    AuditUnavailable = "audit_unavailable", 503, true;
    /// This process is about to end, or is at a bound of its own.
    Unavailable = "unavailable", 503, true;
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A refusal: two messages, public for the agent, internal for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind.
    pub code: Code,
    /// One sentence for the agent, in the policy's own words: ``Action delete_repo is denied``.
    pub public: String,
    /// What only operators see; empty where there is nothing to add.
    pub internal: String,
    /// The rule that decided, such as `refactoring-bot/1`.
    pub rule: Option<String>,
    /// What could be done about it: the rule to add, the command to type.
    pub hint: Option<String>,
    /// Seconds after which a retry makes sense.
    pub retry_after_seconds: Option<u64>,
    /// The question that is open, where there is one.
    pub approval: Option<ApprovalId>,
}

impl Refusal {
    /// A refusal with a public sentence and nothing else.
    #[must_use]
    pub fn new(code: Code, public: impl Into<String>) -> Self {
        Self {
            code,
            public: public.into(),
            internal: String::new(),
            rule: None,
            hint: None,
            retry_after_seconds: None,
            approval: None,
        }
    }

    /// Adds what only operators see.
    #[must_use]
    pub fn internal(mut self, text: impl Into<String>) -> Self {
        self.internal = text.into();
        self
    }

    /// Adds what could be done about it.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hint = Some(text.into());
        self
    }

    /// Adds the rule that decided.
    #[must_use]
    pub fn rule(mut self, rule: impl Into<String>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// Adds the question that is open.
    #[must_use]
    pub const fn approval(mut self, id: ApprovalId) -> Self {
        self.approval = Some(id);
        self
    }

    /// Adds when a retry makes sense, in seconds.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }
}

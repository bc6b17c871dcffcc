//! The words of Valetkey as types: ids, names, actions, resources, facts, the canonical request, decisions and events.
//!
//! Plain data and pure functions. This crate never does I/O, never reads a clock (time and randomness come in through
//! the traits of [`time`]) and never holds a secret. Every other crate speaks in these types; none of them are
//! re-declared elsewhere. Start reading at [`canonical`], then [`call`], then [`event`].

pub mod aws;
pub mod bounds;
pub mod call;
pub mod canonical;
pub mod class;
pub mod digest;
pub mod event;
pub mod fact;
pub mod id;
pub mod name;
pub mod pem;
pub mod refusal;
pub mod resource;
pub mod scheme;
pub mod sealed;
pub mod session;
pub mod sighting;
pub mod time;
pub mod vocabulary;

pub use call::{Call, Classification};
pub use canonical::CanonicalRequest;
pub use class::{Class, Effect, Effects};
pub use digest::{Digest, hex};
pub use event::Event;
pub use fact::{Fact, Facts, Unknown};
pub use id::{ApprovalId, CredentialId, EventId, ExchangeId, GrantId, SessionId};
pub use name::{ActionId, AgentName, CredentialName, ServiceName, Tenant, UserName};
pub use refusal::{Code, Refusal};
pub use resource::Resource;
pub use scheme::{Part, SchemeSpec};
pub use sealed::Sealed;
pub use session::Session;
pub use sighting::{Rank, Sighting};
pub use time::{Clock, Random, Timestamp};

//! Durable rows: sessions, placeholders, sealed credentials, limits, stops, approvals, lanes; on SQLite for one home,
//! on PostgreSQL for several nodes.
//!
//! One file per aggregate, plain structs over one small [`engine`]. Every table begins with `tenant`. This crate must
//! never see plaintext (only [`model::Sealed`] octets), never decide anything (arithmetic of limits is
//! `policy::limit::admit`, called inside the transaction that counts) and never keep a second copy of what it wrote.
//! Start reading at [`Store`], then `limit.rs`.

mod agent;
mod approval;
mod change;
mod credential;
mod engine;
mod error;
mod grant;
mod keyslot;

mod limit;
mod meta;
mod migrate;
mod node;
mod placeholder;
mod rotation;
mod session;
mod stop;
mod store;
mod value;

pub use agent::{AgentRow, Agents};
pub use approval::{
    Answer, Answered, ApprovalRow, ApprovalState, Approvals, Asked, Denial, Remembered, Scope, Verdict,
};
pub use change::{Changed, Changes};
pub use credential::{CredentialRow, Credentials, VersionRow, VersionState};
pub use error::StoreError;
pub use grant::{GrantRow, GrantState, Grants};
pub use keyslot::{DataKeyRow, KeyslotRow, Keyslots};

pub use limit::Limits;
pub use meta::Meta;
pub use node::{Hold, Nodes};
pub use placeholder::{PlaceholderRow, Placeholders};
pub use rotation::{RotationRow, RotationStep, Rotations};
pub use session::Sessions;
pub use stop::{StopKind, StopRow, Stops};
pub use store::{Location, Store};

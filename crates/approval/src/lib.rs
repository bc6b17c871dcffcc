//! The waiting room: a question to a person is asked, shown, answered or expires.
//!
//! A yes is bound to the octets it was given for and used once, unless it was given for the session. Without a channel
//! through which somebody could answer, the question is refused at once: nothing here ever hangs. This crate must never
//! decide whether a question is needed (that is policy's), never show text that the agent chose unescaped, and never
//! write audit events (the proxy does, which knows the exchange). Start reading at [`room`], then [`render`]; a
//! webhook's messages are made in `channel/webhook.rs` and its answers read in [`inbox`].

pub mod ask;
pub mod channel;
mod error;
mod grants;
pub mod inbox;
pub mod prompt;
pub mod render;
pub mod room;
pub mod signing;

pub use ask::{Ask, NotApproved, PREVIEW_BYTES_MAX, Question, Reply, Settled};
pub use channel::{Channel, Courier, Desk, Letter, Screen, Scripted, Terminal, TerminalChannel, Webhook};
pub use error::ApprovalError;
pub use inbox::{Given, Inbox, InboxError, Used};
pub use prompt::{Action, Key, Prompt};
pub use room::{Answerer, WaitingRoom};
pub use signing::{Keys, SigningError, Stamp};

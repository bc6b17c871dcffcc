//! The data plane: where every exchange is accepted, identified, classified, decided, resolved, armed, recorded,
//! forwarded and scrubbed, in that order and no other, because each stage takes what the one before gives.
//!
//! It must never know SQL, read the environment or open files (a nameless one for large bodies is handed in), open a secret itself, or let an exchange end unrecorded.
//! Start reading at [`exchange`], then follow the modules in the order of travel.

pub mod net;

pub mod gateway;
pub mod session;

pub mod divert;
pub mod listen;
mod tunnel;

mod accepted;
mod guesses;
mod identify;

mod classify;
mod rewrite;

mod decide;
mod fallback;

mod cuts;
mod resolve;

mod arm;

mod forward;
mod retry;

mod answer;
mod capture;

mod record;

mod bare;
mod body;
pub mod desk;
mod doubts;
mod exchange;
mod gate;
mod join;
pub mod postgres;
mod respond;
mod websocket;

pub use body::{Budget, Spools};
pub use doubts::Doubts;
pub use gateway::{Gateway, Worker};
pub use guesses::Guesses;
pub use record::counted::Counted;
pub use retry::pace::Paces;
pub use retry::retry_after;
pub use session::{LiveSession, SessionSource, Sessions};

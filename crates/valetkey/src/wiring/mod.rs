//! The house put together: what was written becomes what runs, and the planes meet here and nowhere else.
//!
//! Start reading at [`run`] for one agent, [`serve`] for many.

mod captured;
mod channels;
mod client;
mod clock;
mod courier;
mod credential_test;
mod databases;
mod demo;
mod doctor;
mod environment;
mod failing;
mod gateway;
mod grants;
pub mod import;
mod issuing;
mod log_in;
mod open;
mod plan;
mod receipt;
mod roads;
mod rotation;
mod run;
pub mod scan;
mod schedule;
mod serve;
mod sessions;
mod signals;
mod sites;
mod stage;
mod terminal;
mod walls;
mod watch;
mod way_out;

pub use credential_test::{Tested, credential_test};
pub use demo::{agent as demo_agent, demo};
pub use doctor::{Finding, Group, State, attack, doctor};
pub use log_in::LogIn;
pub use rotation::{Done, Turning, Wanted as RotationWanted};
pub use run::{Run, run};
pub use serve::{Serve, serve};
pub use walls::{Isolate, Reach};

use crate::output::{note, warn};

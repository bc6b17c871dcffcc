//! The catalogue: what a canonical request is — which service, which actions of which class on which resources, with
//! which facts.
//!
//! Knowledge about services lives in `services/*.yaml`, one file each, with their own cases; this crate is the engine
//! that reads them. It never does I/O (the files are compiled in), never parses a URL (that is done once, in
//! `model::canonical`), never decides, and never guesses: what it cannot read is unknown or refused. Start reading at
//! [`Catalog::classify`], then [`classify`](mod@classify), then one service file.

mod cases;
mod catalog;
mod classify;
mod compile;
mod compiled;
mod error;
mod example;
mod file;
mod forms;
pub mod import;
mod prospects;
mod sentence;
mod service;

pub use cases::Outcome;
pub use catalog::{Catalog, HostUse};
pub use classify::{SESSION_SETTINGS, again, is_harmless_setting, shape};
pub use compiled::HostRule;
pub use compiled::sql;
pub use error::CatalogError;
pub use example::Example;
pub use file::{Accepts, AnswerHint, CaptureMap, Case, FileHint, LoginHint, Protocol, ServiceFile, ShapeMap};
pub use sentence::visible;
pub use service::Service;

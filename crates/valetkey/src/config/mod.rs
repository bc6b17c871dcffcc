//! The only reader of the environment and of files: what the user wrote, what surrounds the process, where state lives,
//! and which credentials an agent would have had.
//!
//! Nothing here decides. Values of credentials are never printed, logged or returned by name: the vault reads them through
//! [`Ambient::for_vault`]. Start reading at [`Ambient`], then [`Sources`], then [`Discovery`].

mod accounts;
mod ambient;
mod bundle;
mod discovery;
mod door;
mod environment;
mod exposed;
mod grounds;
mod home;
mod keystore;
mod masking;
mod notify;
mod nss;
mod ownership;
mod private;
mod repository;
mod search;
mod sources;
mod surroundings;
mod watch;

pub use accounts::Accounts;
pub use ambient::Ambient;
pub use bundle::Bundle;
pub use discovery::{Bind, Discovery, Flags, Found, REFERENCE, Referable, service_of};
pub use door::Door;
pub use environment::{child_environment, settle_inside};
pub use exposed::{Changes, Group, Outcome, Piece, Target, Tree, What, install_hook, known_files, read, rewrite};
pub use grounds::{Grounds, before as grounds_before, enter as enter_grounds, found_by_name};
pub use home::{Home, without_line_end};
pub use masking::withheld;
pub use notify::notify;
pub use ownership::refuse_foreign;
pub use private::{create_private, read_bounded, write_private};
pub use repository::work_folders;
pub use sources::{Faults, POD_TOKEN, Sources, read_text};
pub use surroundings::{Said, Wants, surroundings};
pub use watch::watch;

//! Where secrets lie exposed: files, the history of a repository, histories of shells, agents' configuration and transcripts,
//! logs. It gives octets with their place to whoever looks; it judges nothing, and writes only a hook and what `import` asks for.

mod git;
mod hook;
mod known;
mod read;
mod rewrite;
mod walk;

pub use git::{Changes, Piece, What};
pub use hook::install_hook;
pub use known::{Group, known_files};
pub use read::{Outcome, read};
pub use rewrite::rewrite;
pub use walk::{Target, Tree};

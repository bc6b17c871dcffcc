//! Placeholders: what the agent holds instead. `mint` makes one, `index` knows them all, `sight` looks for them in a
//! request before anything is decided, `watch` searches those of all sessions at once, and bodies that stream.

pub(crate) mod index;
pub(crate) mod mint;
pub(crate) mod sight;
pub(crate) mod watch;

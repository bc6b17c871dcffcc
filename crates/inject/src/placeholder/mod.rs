//! Placeholders: what the agent holds instead. `mint` makes one, `index` knows them all, `sight` looks for them in a
//! request before anything is decided.

pub(crate) mod index;
pub(crate) mod mint;
pub(crate) mod sight;

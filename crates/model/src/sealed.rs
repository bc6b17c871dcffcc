//! Ciphertext as plain data, so that the store can keep what it cannot read.

use serde::{Deserialize, Serialize};

/// An encrypted value: format version octet, then whatever that version says (`vault::seal`). Opaque to everyone but
/// the vault; safe to print, though useless.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(pub Vec<u8>);

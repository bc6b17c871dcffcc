//! Secret values: zeroized when dropped, locked in memory where the system lets us, impossible to print, copy, compare
//! in variable time or serialise.
//!
//! This crate must never grow a `Debug`, `Display`, `Clone` or `Serialize` on [`Secret`] or [`Credential`]. It does no
//! I/O. [`Secret::expose`] is banned by clippy outside `inject/scheme`, `inject/scrub`, `vault/seal`, `vault/backend`,
//! `vault/kind` and `approval/signing`. Start reading at [`Secret`], then [`Credential`].
//!
//! ```compile_fail
//! let secret = secret::Secret::new(b"x".to_vec());
//! println!("{:?}", secret); // a secret cannot be printed
//! ```
//! ```compile_fail
//! let secret = secret::Secret::new(b"x".to_vec());
//! let copy = secret.clone(); // nor copied
//! ```

mod credential;
mod memory;

pub use credential::{Credential, Field, Lease, Material};
pub use memory::harden_process;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A secret value. Its octets are zeroed when it is dropped and, as far as `RLIMIT_MEMLOCK` allows, never swapped.
pub struct Secret {
    bytes: Box<[u8]>,
    locked: bool,
}

impl Secret {
    /// Takes the value over; the vector's own memory becomes the secret's (spare capacity is zeroed first).
    #[must_use]
    pub fn new(mut value: Vec<u8>) -> Self {
        let bytes = if value.capacity() == value.len() {
            value.into_boxed_slice()
        } else {
            // `into_boxed_slice` would move the octets and leave the old allocation behind unzeroed.
            let exact: Box<[u8]> = value.as_slice().into();
            value.zeroize();
            exact
        };
        let locked = memory::lock(&bytes);
        Self { bytes, locked }
    }

    /// The octets. Callers are few and listed in `clippy.toml`.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// Length in octets; not secret (placeholders have the same).
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Feeds the octets to a keyed hash.
    pub(crate) fn mark(&self, hasher: &mut impl std::hash::Hasher) {
        hasher.write(&self.bytes);
        hasher.write_usize(self.bytes.len());
    }

    /// Compares in time that depends on the lengths alone.
    #[must_use]
    pub fn equals(&self, other: &[u8]) -> bool {
        self.bytes.ct_eq(other).into()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.bytes.zeroize();
        if self.locked {
            memory::unlock(&self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_and_compares() {
        let mut roomy = Vec::with_capacity(64);
        roomy.extend_from_slice(b"value");
        let secret = Secret::new(roomy);
        assert_eq!(secret.len(), 5);
        assert!(secret.equals(b"value"));
        assert!(!secret.equals(b"valuf"));
        assert!(!secret.equals(b"valu"));
    }
}

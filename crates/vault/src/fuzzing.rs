//! The parser of sealed octets, as the fuzz target and its replay reach it. Compiled for them alone (feature `fuzzing`).

use model::{Sealed, Tenant};

use crate::seal::{Key, Label};

/// Opens hostile octets with a known key; true where they opened.
#[must_use]
pub fn opens(octets: &[u8]) -> bool {
    let tenant = Tenant::local();
    Key::from_octets(&[7; 32])
        .is_some_and(|key| key.open(&Sealed(octets.to_vec()), &Label::Data { tenant: &tenant }).is_ok())
}

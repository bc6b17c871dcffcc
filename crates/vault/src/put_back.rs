//! The way back of an import: a value goes to the file that it was taken from. Besides requests this is the only road on which
//! a value leaves the vault, and it is an operator's alone: no plane holds an [`Upkeep`] that was made for it.
#![expect(clippy::disallowed_methods, reason = "what an operator takes back is written where it was")]

use model::CredentialName;
use policy::Upkeep;
use secret::Field;

use crate::{Vault, VaultError};

impl Vault {
    /// Shows the value of a credential of one part to `write`, once.
    ///
    /// # Errors
    /// There is no such credential, or it does not open.
    pub async fn put_back(
        &self,
        upkeep: &Upkeep,
        name: &CredentialName,
        write: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), VaultError> {
        self.with_material(upkeep, name, &mut |_, _, material| {
            if let Some(value) = material.field(Field::Value) {
                write(value.expose());
            }
        })
        .await
    }
}

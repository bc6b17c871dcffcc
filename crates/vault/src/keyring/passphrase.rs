//! A passphrase, taken through Argon2id with parameters that stand beside the slot.

use std::sync::Arc;

use secret::Secret;

use super::{Around, Keyring, KeyringError, Made};
use crate::seal::{Derivation, Key};
use crate::{Ambient, Pending};

/// Shorter ones are guessed whatever the derivation costs.
const LENGTH_MIN: usize = 8;

pub(super) struct Passphrase {
    passphrase: Arc<Secret>,
}

impl Passphrase {
    pub fn new(passphrase: Secret) -> Self {
        Self { passphrase: Arc::new(passphrase) }
    }

    /// On a thread of its own: it takes a tenth of a second.
    async fn derive(&self, derivation: Derivation) -> Result<Key, KeyringError> {
        let passphrase = Arc::clone(&self.passphrase);
        let key = tokio::task::spawn_blocking(move || derivation.key(&passphrase)).await;
        key.ok().flatten().ok_or_else(|| KeyringError::Parameters { slot: self.slot().to_owned() })
    }
}

impl Keyring for Passphrase {
    fn slot(&self) -> &'static str {
        "passphrase"
    }

    fn present(&self, _: &Ambient) -> bool {
        true
    }

    fn make<'a>(&'a self, around: Around<'a>) -> Pending<'a, Result<Made, KeyringError>> {
        Box::pin(async move {
            if self.passphrase.len() < LENGTH_MIN {
                return Err(KeyringError::PassphraseShort);
            }
            let derivation = Derivation::fresh(around.random);
            let params = serde_json::to_string(&derivation)
                .map_err(|_| KeyringError::Parameters { slot: self.slot().to_owned() })?;
            Ok(Made { key: self.derive(derivation).await?, params })
        })
    }

    fn find<'a>(&'a self, params: &'a str, _: Around<'a>) -> Pending<'a, Result<Key, KeyringError>> {
        Box::pin(async move {
            let derivation =
                serde_json::from_str(params).map_err(|_| KeyringError::Parameters { slot: self.slot().to_owned() })?;
            self.derive(derivation).await
        })
    }
}

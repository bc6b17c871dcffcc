//! A private key as PEM, perhaps with its certificate behind it: what an issuer is asked with. It goes on no request.

use secret::{Field, Material, Secret};

use super::{Kind, KindError};
use crate::issue::jwt;

/// Its word.
pub(crate) const NAME: &str = "private-key";

pub(super) struct PrivateKey;

impl Kind for PrivateKey {
    fn name(&self) -> &'static str {
        NAME
    }

    fn material(&self, value: Secret) -> Result<Material, KindError> {
        let form = "PEM: the lines from `-----BEGIN` to `-----END PRIVATE KEY-----`, without a passphrase";
        jwt::der(&value).map_err(|_| KindError::Form { kind: NAME, form })?;
        Ok(Material::new(vec![(Field::Value, value)]))
    }

    fn takes_documents(&self) -> bool {
        false
    }

    fn is_asked_with(&self) -> bool {
        true
    }
}

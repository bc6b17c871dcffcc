//! The key file of a service account of Google (cloud.google.com/iam/docs/keys-create-delete): what its token endpoint is asked with. It goes
//! on no request.

use secret::{Field, Material, Secret};
use serde::Deserialize;
use zeroize::Zeroize;

use super::{Kind, KindError};

/// Its word.
pub(crate) const NAME: &str = "gcp";

pub(super) struct Gcp;

#[derive(Deserialize)]
struct Read {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: Option<String>,
    token_uri: String,
}

impl Drop for Read {
    fn drop(&mut self) {
        self.private_key.zeroize();
    }
}

/// What of it is used.
pub(crate) struct KeyFile {
    pub email: String,
    pub key: Secret,
    pub key_id: Option<String>,
    /// Where it says that it is used; whoever wrote the file chose that.
    pub token_uri: String,
}

impl KeyFile {
    pub fn of(value: &Secret) -> Result<Self, KindError> {
        let form = KindError::Form {
            kind: NAME,
            form: "the JSON of a service account's key file, with `client_email`, `private_key` and `token_uri`",
        };
        let mut read: Read = serde_json::from_slice(value.expose()).map_err(|_| form.clone())?;
        let key = Secret::new(std::mem::take(&mut read.private_key).into_bytes());
        if read.client_email.is_empty() || crate::issue::jwt::der(&key).is_err() {
            return Err(form);
        }
        let (email, token_uri) = (std::mem::take(&mut read.client_email), std::mem::take(&mut read.token_uri));
        Ok(Self { email, key, key_id: read.private_key_id.take(), token_uri })
    }
}

impl Kind for Gcp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn material(&self, value: Secret) -> Result<Material, KindError> {
        KeyFile::of(&value)?;
        Ok(Material::new(vec![(Field::Value, value)]))
    }

    fn takes_documents(&self) -> bool {
        false
    }

    fn is_asked_with(&self) -> bool {
        true
    }
}

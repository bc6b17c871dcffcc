//! One value: an API key, a personal access token.

use secret::{Material, Secret};

use super::{Kind, KindError};

pub(super) struct Token;

impl Kind for Token {
    fn name(&self) -> &'static str {
        "token"
    }

    fn material(&self, value: Secret) -> Result<Material, KindError> {
        Ok(Material::token(value))
    }
}

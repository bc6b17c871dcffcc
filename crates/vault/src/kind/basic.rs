//! A user and a password, stored as `user:password` (RFC 7617 2: the user part has no colon).

use secret::{Field, Material, Secret};

use super::{Kind, KindError};

/// Its word.
pub(super) const NAME: &str = "basic";

pub(super) struct Basic;

impl Kind for Basic {
    fn name(&self) -> &'static str {
        NAME
    }

    fn material(&self, value: Secret) -> Result<Material, KindError> {
        let form = KindError::Form { kind: NAME, form: "`user:password`" };
        let at = value.expose().iter().position(|byte| *byte == b':').ok_or(form)?;
        let (user, rest) = value.expose().split_at_checked(at).unwrap_or_default();
        let word = rest.get(1..).unwrap_or_default();
        Ok(Material::new(vec![
            (Field::Username, Secret::new(user.to_vec())),
            (Field::Value, Secret::new(word.to_vec())),
        ]))
    }
}

//! A user of a database, stored as `user:password` or as the document that secret managers write:
//! `{"username": .., "password": .., ..}`.

use secret::{Field, Material, Secret};
use serde::Deserialize;

use super::{Kind, KindError, basic};

pub(super) struct Database;

/// The document of a secret manager; what else stands in it (host, port, engine) is for others.
#[derive(Deserialize)]
struct Document {
    username: String,
    password: String,
}

impl Kind for Database {
    fn name(&self) -> &'static str {
        "database"
    }

    fn takes_documents(&self) -> bool {
        false
    }

    fn material(&self, value: Secret) -> Result<Material, KindError> {
        let form =
            KindError::Form { kind: "database", form: "`user:password` or `{\"username\": .., \"password\": ..}`" };
        let material = if value.expose().trim_ascii_start().starts_with(b"{") {
            let document: Document = serde_json::from_slice(value.expose()).map_err(|_| form.clone())?;
            Material::new(vec![
                (Field::Username, Secret::new(document.username.into_bytes())),
                (Field::Value, Secret::new(document.password.into_bytes())),
            ])
        } else {
            basic::Basic.material(value).map_err(|_| form.clone())?
        };
        let user = material.field(Field::Username).map(Secret::is_empty);
        if user == Some(false) { Ok(material) } else { Err(form) }
    }
}

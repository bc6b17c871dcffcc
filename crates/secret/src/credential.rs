//! Credentials: what a scheme needs, made of secrets.

use std::sync::Arc;

use model::{CredentialName, Timestamp};

use crate::Secret;

/// The parts a credential may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The token, key or password. Every credential has one.
    Value,
    /// The user part of Basic; the key id of a signing pair.
    Username,
    /// A refresh token.
    Refresh,
    /// A session token that goes with a key pair.
    SessionToken,
}

/// The secrets of one version, shared between the exchanges that use it and zeroized with the last of them.
pub struct Material {
    fields: Vec<(Field, Secret)>,
}

impl Material {
    /// A single value.
    #[must_use]
    pub fn token(value: Secret) -> Self {
        Self { fields: vec![(Field::Value, value)] }
    }

    /// Several parts.
    #[must_use]
    pub fn new(fields: Vec<(Field, Secret)>) -> Self {
        Self { fields }
    }

    /// One part.
    #[must_use]
    pub fn field(&self, field: Field) -> Option<&Secret> {
        self.fields.iter().find(|(known, _)| *known == field).map(|(_, secret)| secret)
    }

    /// All parts, for the scrubber's needles.
    pub fn fields(&self) -> impl Iterator<Item = (Field, &Secret)> {
        self.fields.iter().map(|(field, secret)| (*field, secret))
    }
}

/// For how long a credential was issued. A static secret's lease has no end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// The back end's name for it, where it can be revoked by that.
    pub id: Option<Arc<str>>,
    /// When it stops working.
    pub expires: Option<Timestamp>,
}

/// What a scheme puts on one request. Made only by the vault, for a permit; not `Clone`, not printable.
pub struct Credential {
    name: CredentialName,
    version: u64,
    material: Arc<Material>,
    lease: Lease,
}

impl Credential {
    /// Joins the parts. The vault is the only caller; a test suite may be another.
    #[must_use]
    pub fn new(name: CredentialName, version: u64, material: Arc<Material>, lease: Lease) -> Self {
        Self { name, version, material, lease }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &CredentialName {
        &self.name
    }

    /// Its version, counted from 1.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Its secrets.
    #[must_use]
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// For how long it was issued.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }
}

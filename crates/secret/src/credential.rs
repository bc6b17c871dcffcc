//! Credentials: what a scheme needs, made of secrets.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, OnceLock};

use model::{CredentialName, Timestamp};

use crate::Secret;

/// The parts a credential may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The token, key or password; every credential has one, but a client certificate.
    Value,
    /// The user part of Basic.
    Username,
    /// The id of a signing key.
    KeyId,
    /// A refresh token.
    Refresh,
    /// An ID token.
    Identity,
    /// A session token or passphrase that goes with a signing key.
    SessionToken,
    /// The private key of a client certificate, as PEM; it never travels.
    PrivateKey,
    /// The chain of a client certificate, as PEM; not secret.
    Certificate,
}

/// The secrets of one version, shared between the exchanges that use it and zeroized with the last of them.
pub struct Material {
    fields: Vec<(Field, Secret)>,
    mark: u64,
}

impl Material {
    /// A single value.
    #[must_use]
    pub fn token(value: Secret) -> Self {
        Self::new(vec![(Field::Value, value)])
    }

    /// Several parts.
    #[must_use]
    pub fn new(fields: Vec<(Field, Secret)>) -> Self {
        let mark = mark(&fields);
        Self { fields, mark }
    }

    /// Tells values apart within this process and nowhere else: a hash under a key that was drawn at start. What is kept by
    /// value (needles, connections) is kept under this, because a back end without versions changes values silently.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.mark
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

fn mark(fields: &[(Field, Secret)]) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    let mut hasher = KEY.get_or_init(RandomState::new).build_hasher();
    for (field, secret) in fields {
        field.hash(&mut hasher);
        secret.mark(&mut hasher);
    }
    hasher.finish()
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
    shown: Field,
    renewable: bool,
}

impl Credential {
    /// Joins the parts. The vault is the only caller; a test suite may be another.
    #[must_use]
    pub fn new(name: CredentialName, version: u64, material: Arc<Material>, lease: Lease) -> Self {
        Self { name, version, material, lease, shown: Field::Value, renewable: false }
    }

    /// The same for a slot that takes another of its parts: the refresh token at the token endpoint.
    #[must_use]
    pub fn showing(self, field: Field) -> Self {
        Self { shown: field, ..self }
    }

    /// The same, where its source may give a newer value when it is asked anew.
    #[must_use]
    pub fn renewable(self, renewable: bool) -> Self {
        Self { renewable, ..self }
    }

    /// Whether its source may give a newer value when it is asked anew.
    #[must_use]
    pub const fn is_renewable(&self) -> bool {
        self.renewable
    }

    /// The part that a scheme writes where it writes one.
    #[must_use]
    pub fn shown(&self) -> Option<&Secret> {
        self.material.field(self.shown)
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

//! What surrounds a rotator: other credentials of the vault, the road to whoever makes values, time and randomness.

use std::sync::Arc;

use model::canonical::{Host, Origin};
use model::{CredentialName, Timestamp};
use policy::Upkeep;
use secret::{Material, Secret};

use super::RotateError;
use crate::backend::BackendError;
use crate::far::{Ask, Reply};
use crate::instance::Instance;
use crate::road::{Road, Spoken, Wire};
use crate::{Ambient, Vault, kind, road};

/// What surrounds a rotator. Cheap to copy.
#[derive(Clone)]
pub struct Around {
    vault: Vault,
    upkeep: Arc<Upkeep>,
    ambient: Ambient,
    road: Arc<dyn Road>,
    /// Kind of the credential.
    kind: Arc<str>,
    /// Where the database server of the credential's service is.
    server: Option<(Host, u16)>,
}

impl Around {
    /// For a credential of this kind. `ambient` is where programs are started.
    #[must_use]
    pub fn new(vault: &Vault, upkeep: Upkeep, ambient: Ambient, road: Arc<dyn Road>, kind: &str) -> Self {
        Self { vault: vault.clone(), upkeep: Arc::new(upkeep), ambient, road, kind: kind.into(), server: None }
    }

    /// The credential's service is a database server at this place.
    #[must_use]
    pub fn at(mut self, server: Option<(Host, u16)>) -> Self {
        self.server = server;
        self
    }

    pub(super) fn ambient(&self) -> &Ambient {
        &self.ambient
    }

    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    pub(super) fn server(&self) -> Option<&(Host, u16)> {
        self.server.as_ref()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.vault.inner.clock.now()
    }

    pub(super) fn fill(&self, out: &mut [u8]) {
        self.vault.inner.random.fill(out);
    }

    /// The parts of another credential.
    pub(super) async fn other(&self, name: &str) -> Result<Arc<Material>, RotateError> {
        let name = CredentialName::new(name).map_err(|error| RotateError::Refused(error.to_string()))?;
        let found = self.vault.helper(&self.upkeep, &name).await;
        found.map_err(|error| {
            let why = error.to_string();
            if error.is_passing() { RotateError::Away(why) } else { RotateError::Refused(why) }
        })
    }

    /// The parts of a version of the credential itself.
    pub(super) fn parts(&self, value: &Secret) -> Result<Material, RotateError> {
        let copy = Secret::new(value.expose().to_vec());
        kind::material(&self.kind, copy).map_err(|error| RotateError::Refused(error.to_string()))
    }

    pub(super) async fn connect(&self, origin: &Origin, spoken: Spoken) -> Result<Box<dyn Wire>, String> {
        self.road.connect(origin, spoken).await
    }

    pub(super) async fn ask(&self, origin: &Origin, ask: &Ask) -> Result<Reply, BackendError> {
        road::ask(&*self.road, origin, ask).await
    }

    /// The secret manager of this name.
    pub(super) fn instance(&self, word: &str) -> Option<Arc<Instance>> {
        self.vault.inner.instances.load().iter().find(|instance| instance.site.word == word).cloned()
    }
}

impl From<BackendError> for RotateError {
    fn from(error: BackendError) -> Self {
        let why = error.to_string();
        if error.is_passing() { Self::Away(why) } else { Self::Refused(why) }
    }
}

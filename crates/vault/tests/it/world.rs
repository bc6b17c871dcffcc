//! A vault in a temporary folder, a clock that is set by hand, permits without a policy.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use model::{
    AgentName, Clock, CredentialName, Digest, ExchangeId, Random, ServiceName, SessionId, Tenant, Timestamp, UserName,
};
use policy::limit::Reservation;
use policy::{Bearer, Binding, Conditions, Permit};
use secret::Secret;
use store::{Location, Store};
use vault::{Ambient, Declaration, KeyringChoice, NewCredential, Reference, Vault, VaultError};

pub struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

impl SetClock {
    pub fn pass(&self, secs: i64) {
        self.0.fetch_add(secs * 1_000_000, Ordering::Relaxed);
    }
}

pub struct Counted(AtomicU64);

impl Random for Counted {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            // SplitMix64.
            let mut word = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(word ^ (word >> 31)).to_be_bytes()[..chunk.len()]);
        }
    }
}

/// One home on a disk.
pub struct World {
    pub folder: tempfile::TempDir,
    pub clock: Arc<SetClock>,
    pub vars: HashMap<String, OsString>,
    random: Arc<Counted>,
}

impl World {
    pub fn new() -> Self {
        Self::seeded(1)
    }

    pub fn seeded(seed: u64) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            clock: Arc::new(SetClock(AtomicI64::new(1_000_000_000))),
            vars: HashMap::new(),
            random: Arc::new(Counted(seed.into())),
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn key_file(&self) -> KeyringChoice {
        KeyringChoice::KeyFile(self.path().join("vault.key"))
    }

    pub async fn store(&self) -> Store {
        let location = Location::Sqlite(self.path().join("store.db"));
        Store::open(location, self.clock.clone()).await.expect("store")
    }

    /// Opens the vault as another process would.
    pub async fn open(&self, keyring: KeyringChoice) -> Result<Vault, VaultError> {
        let vars = self.vars.clone();
        let ambient = Ambient::new(self.path().to_owned(), move |name| vars.get(name).cloned());
        Vault::open(self.store().await, keyring, ambient, self.clock.clone(), self.random.clone()).await
    }

    /// Opens the vault over a store that may be damaged.
    pub async fn try_vault(&self) -> Result<Vault, VaultError> {
        let store = Store::open(Location::Sqlite(self.path().join("store.db")), self.clock.clone()).await?;
        let ambient = Ambient::empty(self.path().to_owned());
        Vault::open(store, self.key_file(), ambient, self.clock.clone(), self.random.clone()).await
    }

    pub async fn vault(&self) -> Vault {
        self.open(self.key_file()).await.expect("vault")
    }
}

pub fn name(text: &str) -> CredentialName {
    CredentialName::new(text).expect("name")
}

pub fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

pub fn new(text: &str) -> NewCredential {
    NewCredential {
        tenant: Tenant::local(),
        name: name(text),
        service: Some(ServiceName::new("github").expect("service")),
        kind: "token".into(),
        inject: "placeholder".into(),
    }
}

pub fn declaration(text: &str, reference: &str) -> Declaration {
    Declaration {
        tenant: Tenant::local(),
        name: name(text),
        service: None,
        kind: "token".into(),
        reference: Reference::parse(reference).expect("reference"),
        issuing: None,
        inject: "placeholder".into(),
        fresh_seconds: None,
        held_seconds: None,
    }
}

pub fn session() -> SessionId {
    SessionId::from_bits(42)
}

/// A permit of agent `bot` in session 42.
pub fn permit(credential: &str) -> Permit {
    permit_of(&Tenant::local(), Some(credential))
}

pub fn permit_of(tenant: &Tenant, credential: Option<&str>) -> Permit {
    permit_for(tenant, credential, None)
}

/// A permit of agent `bot` in session 42 on behalf of somebody.
pub fn permit_for(tenant: &Tenant, credential: Option<&str>, user: Option<&str>) -> Permit {
    let agent = AgentName::new("bot").expect("agent");
    let user = user.map(|user| UserName::new(user).expect("user"));
    permit_by(Bearer { tenant: tenant.clone(), agent, session: session(), user }, credential)
}

/// A permit of somebody.
pub fn permit_by(bearer: Bearer, credential: Option<&str>) -> Permit {
    let binding = Binding { exchange: ExchangeId::from_bits(1), head: Digest::ZERO, body: None };
    Conditions::for_tests(bearer, None, credential.map(name), Vec::new(), None)
        .satisfy(binding, &Reservation::nothing(), None, Timestamp(0))
        .expect("permit")
}

/// Resolves and compares without looking.
pub async fn gives(vault: &Vault, credential: &str, value: &str) -> bool {
    match vault.resolve(&permit(credential)).await {
        Ok(it) => it.material().field(secret::Field::Value).is_some_and(|part| part.equals(value.as_bytes())),
        Err(error) => panic!("{error}"),
    }
}

/// Why resolving fails.
pub async fn refusal(vault: &Vault, credential: &str) -> VaultError {
    vault.resolve(&permit(credential)).await.err().expect("refused")
}

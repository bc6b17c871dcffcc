//! What every test stands on: a store of either engine, a clock that is set by hand, made-up rows.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use model::{AgentName, Clock, CredentialName, Digest, Random, ServiceName, Session, SessionId, Tenant, Timestamp};
use store::{Location, Store, StoreError};

use crate::postgres::Postgres;

/// Runs a test on both engines.
#[macro_export]
macro_rules! on_both {
    ($name:ident, $test:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "not every test needs everything of its file")]
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn sqlite() {
                let test = $test;
                test($crate::world::World::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres() {
                let test = $test;
                test($crate::world::World::postgres().await).await;
            }
        }
    };
}

pub struct SetClock(pub AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// Different octets each time, the same in each run.
pub struct Counted(AtomicU64);

impl Random for Counted {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let number = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&number.to_be_bytes()[..chunk.len()]);
        }
    }
}

pub struct World {
    pub store: Store,
    pub random: Counted,
    location: Location,
    // Dropped last, in this order.
    _folder: Option<tempfile::TempDir>,
    _server: Option<Arc<Postgres>>,
}

impl World {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let location = Location::Sqlite(folder.path().join("store.db"));
        Self::on(location, Some(folder), None).await
    }

    pub async fn postgres() -> Self {
        let server = Postgres::shared();
        let location = Location::Postgres(server.database().await);
        Self::on(location, None, Some(server)).await
    }

    async fn on(location: Location, folder: Option<tempfile::TempDir>, server: Option<Arc<Postgres>>) -> Self {
        let store = open(location.clone()).await.expect("opens");
        Self { store, random: Counted(1.into()), location, _folder: folder, _server: server }
    }

    /// Another store on the same rows, with connections of its own: what another process would have.
    pub async fn other(&self) -> Store {
        open(self.location.clone()).await.expect("opens")
    }

    pub fn session(&self, agent: &str, started: i64) -> (Session, Digest) {
        let started = at(started);
        let id = SessionId::fresh(started, &self.random);
        let session = Session {
            id,
            tenant: Tenant::local(),
            agent: agent_name(agent),
            user: None,
            roles: vec!["dev".into()],
            task: Some("fix `it`; \"now\" \u{1f512}".into()),
            started,
            expires: started.plus_secs(100),
            ended: None,
        };
        let mut token = [0; 32];
        self.random.fill(&mut token);
        (session, Digest(token))
    }
}

pub async fn open(location: Location) -> Result<Store, StoreError> {
    Store::open(location, Arc::new(SetClock(AtomicI64::new(0)))).await
}

pub async fn open_file(path: PathBuf) -> Result<Store, StoreError> {
    open(Location::Sqlite(path)).await
}

pub fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

pub fn agent_name(name: &str) -> AgentName {
    AgentName::new(name).expect("agent")
}

pub fn credential(name: &str) -> CredentialName {
    CredentialName::new(name).expect("credential")
}

pub fn service(name: &str) -> ServiceName {
    ServiceName::new(name).expect("service")
}

//! Stopping what a connection does. The protocol does it from another connection, by a key that the server gave out; agents get keys of
//! ours, which are worth nothing at the server and nothing to other sessions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use model::canonical::Origin;
use model::{AgentName, CredentialName, SessionId, bounds};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::wire::CANCEL;
use crate::gateway::{Snapshot, Worker};
use crate::net::dial::{For, Speaks};

/// How long the server may take to hear of it.
const CANCEL_TIME_MAX: Duration = Duration::from_secs(5);

/// Process and secret, as in a BackendKeyData.
pub(super) type Key = (u32, u32);

/// A connection whose statements can be stopped.
pub(super) struct Target {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) origin: Origin,
    pub(super) agent: AgentName,
    pub(super) session: SessionId,
    pub(super) credential: Option<(CredentialName, u64)>,
    /// The server's own key.
    pub(super) key: Key,
}

impl Target {
    /// Tells the server. What becomes of it the connection itself shows.
    pub(super) async fn stop(&self) {
        let told = async {
            let party = For {
                agent: &self.agent,
                credential: self.credential.as_ref(),
                speaks: Speaks::Postgres,
                presents: None,
            };
            let Ok(mut stream) = self.snapshot.dialer.connect_database(&self.origin, party).await else { return };
            let mut body = BytesMut::new();
            body.put_u32(16);
            body.put_u32(CANCEL);
            body.put_u32(self.key.0);
            body.put_u32(self.key.1);
            if stream.write_all(&body).await.is_ok() {
                // It closes when it has heard.
                let _ = stream.read(&mut [0; 1]).await;
            }
        };
        let _ = tokio::time::timeout(CANCEL_TIME_MAX, told).await;
    }
}

/// All of them, by our keys. As many as there are connections.
#[derive(Default)]
pub struct Cancels {
    targets: Mutex<HashMap<Key, Arc<Target>>>,
}

impl Cancels {
    /// Keeps a target for as long as the place is held; none at the bound.
    pub(super) fn keep(worker: &Arc<Worker>, target: Target) -> Option<(Key, Place)> {
        let gateway = &worker.gateway;
        let mut targets = gateway.cancels.targets.lock();
        if targets.len() >= bounds::CONNECTIONS_MAX {
            return None;
        }
        let number = || {
            let mut noise = [0u8; 4];
            gateway.random.fill(&mut noise);
            u32::from_be_bytes(noise)
        };
        // Drivers take the process for a number with a sign.
        let key = (number() >> 1, number());
        let target = Arc::new(target);
        targets.insert(key, Arc::clone(&target));
        drop(targets);
        Some((key, Place { worker: Arc::clone(worker), key, target }))
    }

    /// Stops what the connection of this key does, for those who may: the session whose namespace asks, or whoever has the key.
    pub(super) async fn stop(&self, key: Key, session: Option<SessionId>) {
        let target = self.targets.lock().get(&key).cloned();
        if let Some(target) = target.filter(|target| session.is_none_or(|session| session == target.session)) {
            target.stop().await;
        }
    }
}

/// A place among those that can be stopped; given back when dropped.
pub(super) struct Place {
    worker: Arc<Worker>,
    key: Key,
    target: Arc<Target>,
}

impl Place {
    pub(super) fn target(&self) -> Arc<Target> {
        Arc::clone(&self.target)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.gateway.cancels.targets.lock().remove(&self.key);
    }
}

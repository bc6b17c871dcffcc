//! What other processes of the home change is seen here within a quarter of a second: stops, ended sessions, answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use model::SessionId;
use model::event::Kind;
use model::{Event, EventId};
use proxy::gateway::Stopped;
use proxy::{Gateway, LiveSession};
use store::{StopKind, StoreError};

use super::grants;
use super::open::Opened;

/// Between two looks; half the bound, so that the bound holds with one late wake-up.
const EVERY: Duration = Duration::from_millis(model::bounds::CHANGES_SEEN_MILLIS_MAX / 2);

/// Between two signed checkpoints of the audit log.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// Binds the heads of all lanes again and again, on a thread that may wait for the disk.
pub async fn checkpoints(gateway: Arc<Gateway>) {
    loop {
        tokio::select! {
            () = gateway.drain.cancelled() => return,
            () = tokio::time::sleep(CHECKPOINT_EVERY) => {}
        }
        let gateway = Arc::clone(&gateway);
        let done = tokio::task::spawn_blocking(move || gateway.log.checkpoint()).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(%error, "a checkpoint could not be written; the next one binds what this one did not");
        }
    }
}

/// Looks until the gateway is told to stop.
pub async fn watch(opened: Arc<Opened>, gateway: Arc<Gateway>) {
    let mut changes = opened.store.changes(&opened.tenant);
    let mut clock = super::clock::Watching::begin(&opened, &gateway);
    loop {
        tokio::select! {
            () = gateway.drain.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        clock.look(&opened, &gateway).await;
        // Sessions end by themselves too, whether or not anything changed.
        end_sessions(&gateway, |_| false);
        grants::lapse(&opened, &gateway).await;
        match changes.poll().await {
            Ok(changed) if changed.any() => {
                if changed.credentials {
                    gateway.vault.credentials_changed();
                }
                if let Err(error) = refresh(&opened, &gateway).await {
                    tracing::warn!(%error, "changes of other processes could not be read");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "changes of other processes could not be looked for"),
        }
    }
}

/// Ends sessions; their placeholders are dead from now on.
pub fn end_sessions(gateway: &Gateway, which: impl Fn(&LiveSession) -> bool) {
    for live in gateway.sessions.end(gateway.clock.now(), which) {
        gateway.index.close(&live.holdings().placeholders);
    }
}

/// Takes in what the store says now, and cuts what it stops.
///
/// # Errors
/// The store cannot be read; what was known stays in force.
pub async fn refresh(opened: &Opened, gateway: &Gateway) -> Result<(), StoreError> {
    let mut stopped = Stopped::default();
    let mut sessions = HashSet::new();
    let rows = opened.store.stops().list(&opened.tenant).await?;
    gateway.vault.revoke_seen(&opened.tenant, &rows);
    for row in rows {
        match row.kind {
            StopKind::All => stopped.all = true,
            StopKind::Agent => stopped.agents.extend(row.name.parse()),
            StopKind::Credential => {
                let Ok(name) = row.name.parse() else { continue };
                match row.version {
                    Some(version) => stopped.versions.push((name, version)),
                    None => stopped.credentials.push(name),
                }
            }
            StopKind::Session => sessions.extend(row.name.parse::<SessionId>()),
        }
    }
    for agent in opened.store.agents().list(&opened.tenant).await? {
        if !agent.enabled {
            stopped.agents.push(agent.name);
        }
    }
    for session in opened.store.sessions().list(&opened.tenant, None).await? {
        if session.ended.is_some() {
            sessions.insert(session.id);
        }
    }
    let before = gateway.stopped.swap(Arc::new(stopped));
    let stopped = gateway.stopped.load_full();
    for name in stopped.credentials.iter().filter(|name| !before.credentials.contains(name)) {
        gateway.in_use.cut(name);
        let (vault, tenant, name) = (gateway.vault.clone(), opened.tenant.clone(), name.clone());
        tokio::spawn(async move { vault.end_leases_of(&tenant, &name).await });
    }
    for (name, version) in stopped.versions.iter().filter(|version| !before.versions.contains(version)) {
        gateway.in_use.cut_version(name, *version);
        let (vault, tenant, name, version) = (gateway.vault.clone(), opened.tenant.clone(), name.clone(), *version);
        tokio::spawn(async move { vault.end_issued_of(&tenant, &name, version).await });
    }
    end_sessions(gateway, |live| {
        stopped.all || stopped.agents.contains(&live.session.agent) || sessions.contains(&live.session.id)
    });
    grants::refresh(opened, gateway).await
}

/// What is said of a session that begins or ends.
pub fn session(event: &mut Event, session: &model::Session, what: &str) {
    event.agent = Some(session.agent.clone());
    event.user.clone_from(&session.user);
    event.session = Some(session.id);
    event.task.clone_from(&session.task);
    event.reason = Some(format!("session {what}"));
}

/// Records what an operator did, or that a session began or ended.
pub fn record(gateway: &Gateway, lane: &audit::Lane, kind: Kind, fill: impl FnOnce(&mut Event)) {
    let now = gateway.clock.now();
    let mut event = Event::new(EventId::fresh(now, &*gateway.random), now, kind, model::Tenant::local());
    fill(&mut event);
    if let Err(error) = lane.append(&event) {
        tracing::error!(%error, "an event could not be recorded");
    }
}

//! Grants between the store, where every process sees them, and the sessions that are served here.

use std::sync::Arc;

use approval::ApprovalError;
use model::event::Kind;
use policy::{Consent, Given, Rules, Scope};
use proxy::{Gateway, LiveSession};
use store::{GrantRow, StoreError};

use super::open::Opened;
use super::watch;

/// Takes in what the store says of grants: answers of people, ends, and what each session has now. What stands on a grant that is over is cut.
///
/// # Errors
/// The store cannot be read; what was known stays in force until its time is over.
pub async fn refresh(opened: &Opened, gateway: &Gateway) -> Result<(), StoreError> {
    let (tenant, now) = (&opened.tenant, gateway.clock.now());
    let mut changed = match gateway.room.settle_grants(tenant, now).await {
        Ok(changed) => changed,
        Err(ApprovalError::Store(error)) => return Err(error),
        Err(error) => {
            tracing::warn!(%error, "answers to requests for grants could not be taken in");
            Vec::new()
        }
    };
    changed.extend(opened.store.grants().lapse(tenant, now).await?);
    tell(gateway, &changed);
    let rows = opened.store.grants().live(tenant, now).await?;
    let snapshot = gateway.snapshot.load_full();
    for live in gateway.sessions.all() {
        let mine: Vec<_> = rows.iter().filter(|row| row.session == live.session.id).collect();
        if !mine.is_empty() || !live.grants().is_empty() {
            live.grant(mine.into_iter().filter_map(|row| given(&snapshot.rules, row)).collect());
        }
    }
    Ok(())
}

/// Drops grants whose time is over, as long as the gateway runs.
pub async fn lapse(opened: &Opened, gateway: &Gateway) {
    let now = gateway.clock.now();
    let lapsed = gateway.sessions.all().iter().filter(|live| live.lapse(now)).count();
    if lapsed > 0
        && let Err(error) = refresh(opened, gateway).await
    {
        tracing::warn!(%error, "the end of a grant could not be written down");
    }
}

/// Gives a session that another process began what it was granted there.
///
/// # Errors
/// The store cannot be read.
pub async fn load(opened: &Opened, gateway: &Gateway, live: &LiveSession) -> Result<(), StoreError> {
    let rows = opened.store.grants().live(&opened.tenant, gateway.clock.now()).await?;
    let snapshot = gateway.snapshot.load_full();
    let mine = rows.iter().filter(|row| row.session == live.session.id);
    live.grant(mine.filter_map(|row| given(&snapshot.rules, row)).collect());
    Ok(())
}

/// A row as decisions see it; nothing where it cannot be read.
fn given(rules: &Rules, row: &GrantRow) -> Option<Arc<Given>> {
    let scopes: Vec<Scope> = serde_json::from_str(&row.scopes).ok()?;
    let consent: Option<Consent> = row.consent.as_deref().map(serde_json::from_str).transpose().ok()?;
    Some(Arc::new(rules.given((row.id, row.expires?), consent, &scopes)))
}

/// Records what became of grants.
fn tell(gateway: &Gateway, rows: &[GrantRow]) {
    if rows.is_empty() {
        return;
    }
    match gateway.log.lane() {
        Ok(lane) => {
            for row in rows {
                watch::record(gateway, &lane, Kind::Grant, |event| {
                    api::grants::describe(event, row, api::grants::word(row.state));
                });
            }
        }
        Err(error) => tracing::error!(%error, "what became of a grant could not be recorded"),
    }
}

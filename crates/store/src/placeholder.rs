//! Placeholders by the SHA-256 of their text, so that a copy of the store does not hold one.

use model::{AgentName, CredentialName, Digest, ServiceName, SessionId, Tenant, Timestamp};

use crate::StoreError;
use crate::engine::{Db, Durability};
use crate::value::{Row, vals};

/// Whose a placeholder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceholderRow {
    /// The organisation.
    pub tenant: Tenant,
    /// SHA-256 of its text, computed by the caller.
    pub digest: Digest,
    /// The session it was made for.
    pub session: SessionId,
    /// That session's agent.
    pub agent: AgentName,
    /// What it stands for.
    pub credential: CredentialName,
    /// The credential's service, where it is bound to one.
    pub service: Option<ServiceName>,
    /// When it was made.
    pub issued: Timestamp,
}

/// Which placeholder was given to whom.
pub struct Placeholders<'a> {
    pub(crate) db: &'a Db,
}

impl Placeholders<'_> {
    /// Keeps those of one session, together or not at all.
    pub async fn insert(&self, rows: &[PlaceholderRow]) -> Result<(), StoreError> {
        let sql = "INSERT INTO placeholders (tenant, digest, session, agent, credential, service, issued)
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
        let mut tx = self.db.tx(Durability::Process).await?;
        for row in rows {
            let values = vals![
                &row.tenant,
                &row.digest,
                row.session,
                &row.agent,
                &row.credential,
                row.service.as_ref(),
                row.issued,
            ];
            tx.exec(sql, values).await?;
        }
        tx.commit().await
    }

    /// Whose this is.
    pub async fn find(&self, tenant: &Tenant, digest: &Digest) -> Result<Option<PlaceholderRow>, StoreError> {
        let sql = "SELECT tenant, digest, session, agent, credential, service, issued
            FROM placeholders WHERE tenant = $1 AND digest = $2";
        self.db.row(sql, vals![tenant, digest]).await?.map(|row| read(&row)).transpose()
    }
}

fn read(row: &Row) -> Result<PlaceholderRow, StoreError> {
    Ok(PlaceholderRow {
        tenant: row.parsed(0)?,
        digest: row.digest(1)?,
        session: row.parsed(2)?,
        agent: row.parsed(3)?,
        credential: row.parsed(4)?,
        service: row.opt_parsed(5)?,
        issued: row.time(6)?,
    })
}

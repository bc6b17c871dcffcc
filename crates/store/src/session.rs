//! Sessions. The token itself is never stored, only its SHA-256.

use std::collections::HashSet;

use model::{AgentName, Digest, Session, SessionId, Tenant, Timestamp, UserName};

use crate::StoreError;
use crate::change::{Topic, bump};
use crate::engine::{Db, Durability};
use crate::value::{Row, json, vals};

/// Sessions listed at once; older ones are left off.
const LISTED_MAX: i64 = 1_000;
/// Tokens held in memory at once, 3 MiB of them; a home with more live sessions looks each up.
const TOKENS_MAX: i64 = 100_000;

/// Runs of agents.
pub struct Sessions<'a> {
    pub(crate) db: &'a Db,
}

impl Sessions<'_> {
    /// Begins one. `token` is the SHA-256 of its token.
    pub async fn insert(&self, session: &Session, token: &Digest) -> Result<(), StoreError> {
        let sql = "INSERT INTO sessions
            (tenant, id, token, agent, username, roles, task, started, expires, ended)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let values = vals![
            &session.tenant,
            session.id,
            token,
            &session.agent,
            session.user.as_ref(),
            json(&session.roles)?,
            session.task.as_deref(),
            session.started,
            session.expires,
            session.ended,
        ];
        let mut tx = self.db.tx(Durability::Process).await?;
        tx.exec(sql, values).await?;
        bump(&mut tx, &session.tenant, Topic::Sessions).await?;
        tx.commit().await
    }

    /// Whose token this is, live or not.
    pub async fn by_token(&self, token: &Digest) -> Result<Option<Session>, StoreError> {
        const SQL: &str = "SELECT tenant, id, agent, username, roles, task, started, expires, ended
            FROM sessions WHERE token = $1";
        self.db.row(SQL, vals![token]).await?.map(|row| read(&row)).transpose()
    }

    /// Tokens of all sessions that live at that time; none where there are too many to hold.
    pub async fn tokens(&self, tenant: &Tenant, now: Timestamp) -> Result<Option<HashSet<Digest>>, StoreError> {
        const SQL: &str = "SELECT token FROM sessions
            WHERE tenant = $1 AND expires > $2 AND ended IS NULL LIMIT $3";
        let rows = self.db.rows(SQL, vals![tenant, now, TOKENS_MAX + 1]).await?;
        if rows.len() as i64 > TOKENS_MAX {
            return Ok(None);
        }
        rows.iter().map(|row| row.digest(0)).collect::<Result<_, _>>().map(Some)
    }

    /// One session.
    pub async fn get(&self, tenant: &Tenant, id: SessionId) -> Result<Option<Session>, StoreError> {
        const SQL: &str = "SELECT tenant, id, agent, username, roles, task, started, expires, ended
            FROM sessions WHERE tenant = $1 AND id = $2";
        self.db.row(SQL, vals![tenant, id]).await?.map(|row| read(&row)).transpose()
    }

    /// The latest thousand, newest first; with `live`, only those that live at that time.
    pub async fn list(&self, tenant: &Tenant, live: Option<Timestamp>) -> Result<Vec<Session>, StoreError> {
        const ALL: &str = "SELECT tenant, id, agent, username, roles, task, started, expires, ended
            FROM sessions WHERE tenant = $1 ORDER BY id DESC LIMIT $2";
        const LIVE: &str = "SELECT tenant, id, agent, username, roles, task, started, expires, ended
            FROM sessions WHERE tenant = $1 AND expires > $3 AND ended IS NULL ORDER BY id DESC LIMIT $2";
        let rows = match live {
            None => self.db.rows(ALL, vals![tenant, LISTED_MAX]).await?,
            Some(now) => self.db.rows(LIVE, vals![tenant, LISTED_MAX, now]).await?,
        };
        rows.iter().map(read).collect()
    }

    /// Ends one; whether it was live.
    pub async fn end(&self, tenant: &Tenant, id: SessionId, at: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        let sql = "UPDATE sessions SET ended = $3 WHERE tenant = $1 AND id = $2 AND ended IS NULL";
        let count = tx.exec(sql, vals![tenant, id, at]).await?;
        bump(&mut tx, tenant, Topic::Sessions).await?;
        tx.commit().await?;
        Ok(count > 0)
    }

    /// Ends every session of one agent, or of all; how many were open.
    pub async fn end_all(&self, tenant: &Tenant, agent: Option<&AgentName>, at: Timestamp) -> Result<u64, StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        let count = match agent {
            Some(agent) => {
                let sql = "UPDATE sessions SET ended = $3 WHERE tenant = $1 AND agent = $2 AND ended IS NULL";
                tx.exec(sql, vals![tenant, agent, at]).await?
            }
            None => {
                tx.exec("UPDATE sessions SET ended = $2 WHERE tenant = $1 AND ended IS NULL", vals![tenant, at]).await?
            }
        };
        bump(&mut tx, tenant, Topic::Sessions).await?;
        tx.commit().await?;
        Ok(count)
    }

    /// Ends every session that is on behalf of a person; how many were open.
    pub async fn end_of(&self, tenant: &Tenant, user: &UserName, at: Timestamp) -> Result<u64, StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        let sql = "UPDATE sessions SET ended = $3 WHERE tenant = $1 AND username = $2 AND ended IS NULL";
        let count = tx.exec(sql, vals![tenant, user, at]).await?;
        bump(&mut tx, tenant, Topic::Sessions).await?;
        tx.commit().await?;
        Ok(count)
    }

    /// Forgets sessions that died before `before`; their placeholders stay for `whose`.
    pub async fn prune(&self, tenant: &Tenant, before: Timestamp) -> Result<u64, StoreError> {
        let sql = "DELETE FROM sessions WHERE tenant = $1 AND expires < $2";
        self.db.exec(Durability::Process, sql, vals![tenant, before]).await
    }
}

fn read(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        tenant: row.parsed(0)?,
        id: row.parsed(1)?,
        agent: row.parsed(2)?,
        user: row.opt_parsed(3)?,
        roles: row.json(4)?,
        task: row.opt_text(5)?.map(str::to_owned),
        started: row.time(6)?,
        expires: row.time(7)?,
        ended: row.opt_time(8)?,
    })
}

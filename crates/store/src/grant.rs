//! Grants: access that an agent asked for at run time, or an operator gave. States change by compare-and-set, so that a yes and the
//! end of its session, or two processes, never both win, and whoever made the change records it.

use model::{AgentName, ApprovalId, GrantId, SessionId, Tenant, Timestamp};

use crate::StoreError;
use crate::change::{Topic, bump};
use crate::engine::{Db, Durability, Tx};
use crate::value::{Row, vals, whole, words};

/// Grants listed at once; older ones are left off.
const LISTED_MAX: i64 = 1_000;

words!(
    /// State of a grant.
    GrantState {
        /// A person has been asked.
        Pending = "pending",
        /// It was given.
        Live = "live",
        /// Somebody said no, or nobody answered.
        Denied = "denied",
        /// Its time is over, or somebody ended it, or its session is over.
        Ended = "ended",
    }
);

/// One grant. The texts in it are JSON of the policy's types, which this crate does not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    /// Its id.
    pub id: GrantId,
    /// The organisation.
    pub tenant: Tenant,
    /// The session that it is for, and dies with.
    pub session: SessionId,
    /// Its agent.
    pub agent: AgentName,
    /// Who asked for it or gave it.
    pub author: String,
    /// What it covers.
    pub scopes: String,
    /// What was asked for and not given.
    pub cut: String,
    /// The permissions behind it.
    pub rules: String,
    /// Why it is wanted, in the words of who asked.
    pub justification: String,
    /// For which task.
    pub task: Option<String>,
    /// How long it lasts once it is given, seconds.
    pub ttl_seconds: u64,
    /// The question to a person, where one was put.
    pub approval: Option<ApprovalId>,
    /// Whose yes it carries, or whose it waits for.
    pub consent: Option<String>,
    /// What became of it.
    pub state: GrantState,
    /// When it was asked for.
    pub asked: Timestamp,
    /// When it ends by itself, once it is given.
    pub expires: Option<Timestamp>,
    /// When it was denied or ended.
    pub ended: Option<Timestamp>,
    /// Why; empty until then.
    pub reason: String,
}

impl GrantRow {
    /// Whether it covers anything now.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.state == GrantState::Live && self.expires.is_some_and(|expires| now < expires)
    }
}

/// Access that was asked for at run time.
pub struct Grants<'a> {
    pub(crate) db: &'a Db,
}

macro_rules! rows {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, session, agent, author, scopes, cut, rules, justification, task, ttl, approval, consent, state, asked,
            expires, ended, reason FROM grants ",
            $rest
        )
    };
}

impl Grants<'_> {
    /// Adds one, unless its session has as many that live or wait; whether it was added.
    pub async fn insert(&self, row: &GrantRow, max: u64) -> Result<bool, StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        tx.lock(&format!("grants/{}/{}", row.tenant, row.session)).await?;
        let sql = "SELECT COUNT(*) FROM grants WHERE tenant = $1 AND session = $2
            AND (state = 'pending' OR state = 'live' AND expires > $3)";
        let open = tx.row(sql, vals![&row.tenant, row.session, row.asked]).await?.map_or(Ok(0), |row| row.count(0))?;
        if open >= max || !session_lives(&mut tx, &row.tenant, row.session, row.asked).await? {
            return Ok(false);
        }
        let sql = "INSERT INTO grants (id, tenant, session, agent, author, scopes, cut, rules, justification, task, ttl, approval,
            consent, state, asked, expires, ended, reason)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";
        let values = vals![
            row.id,
            &row.tenant,
            row.session,
            &row.agent,
            row.author.as_str(),
            row.scopes.as_str(),
            row.cut.as_str(),
            row.rules.as_str(),
            row.justification.as_str(),
            row.task.as_deref(),
            whole(row.ttl_seconds, "ttl_seconds")?,
            row.approval,
            row.consent.as_deref(),
            row.state.as_str(),
            row.asked,
            row.expires,
            row.ended,
            row.reason.as_str(),
        ];
        tx.exec(sql, values).await?;
        bump(&mut tx, &row.tenant, Topic::Grants).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// One of them.
    pub async fn get(&self, tenant: &Tenant, id: GrantId) -> Result<Option<GrantRow>, StoreError> {
        let row = self.db.row(rows!("WHERE tenant = $1 AND id = $2"), vals![tenant, id]).await?;
        row.map(|row| read(&row)).transpose()
    }

    /// The latest thousand, newest first; of one session where it is named.
    pub async fn list(&self, tenant: &Tenant, session: Option<SessionId>) -> Result<Vec<GrantRow>, StoreError> {
        let found = match session {
            Some(session) => {
                let sql = rows!("WHERE tenant = $1 AND session = $3 ORDER BY id DESC LIMIT $2");
                self.db.rows(sql, vals![tenant, LISTED_MAX, session]).await?
            }
            None => {
                self.db.rows(rows!("WHERE tenant = $1 ORDER BY id DESC LIMIT $2"), vals![tenant, LISTED_MAX]).await?
            }
        };
        found.iter().map(read).collect()
    }

    /// All that live at this time.
    pub async fn live(&self, tenant: &Tenant, now: Timestamp) -> Result<Vec<GrantRow>, StoreError> {
        let sql = rows!("WHERE tenant = $1 AND state = 'live' AND expires > $2 ORDER BY id");
        self.db.rows(sql, vals![tenant, now]).await?.iter().map(read).collect()
    }

    /// All that wait for a person.
    pub async fn pending(&self, tenant: &Tenant) -> Result<Vec<GrantRow>, StoreError> {
        let sql = rows!("WHERE tenant = $1 AND state = 'pending' ORDER BY id");
        self.db.rows(sql, vals![tenant]).await?.iter().map(read).collect()
    }

    /// Gives one that waits, until `expires`; whether it still waited and its session lives. `consent` says whose yes it was.
    pub async fn give(
        &self,
        tenant: &Tenant,
        id: GrantId,
        consent: &str,
        (now, expires): (Timestamp, Timestamp),
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        let Some(row) = tx.row("SELECT session FROM grants WHERE tenant = $1 AND id = $2", vals![tenant, id]).await?
        else {
            return Ok(false);
        };
        if !session_lives(&mut tx, tenant, row.parsed(0)?, now).await? {
            return Ok(false);
        }
        let sql = "UPDATE grants SET state = 'live', consent = $3, expires = $4
            WHERE tenant = $1 AND id = $2 AND state = 'pending'";
        let count = tx.exec(sql, vals![tenant, id, consent, expires]).await?;
        bump(&mut tx, tenant, Topic::Grants).await?;
        tx.commit().await?;
        Ok(count > 0)
    }

    /// Says no to one that waits; whether it still waited.
    pub async fn deny(&self, tenant: &Tenant, id: GrantId, why: &str, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE grants SET state = 'denied', ended = $4, reason = $3
            WHERE tenant = $1 AND id = $2 AND state = 'pending'";
        self.change(tenant, sql, vals![tenant, id, why, now]).await
    }

    /// Ends one that lives or waits; whether it did.
    pub async fn end(&self, tenant: &Tenant, id: GrantId, why: &str, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE grants SET state = 'ended', ended = $4, reason = $3
            WHERE tenant = $1 AND id = $2 AND state IN ('pending', 'live')";
        self.change(tenant, sql, vals![tenant, id, why, now]).await
    }

    async fn change(
        &self,
        tenant: &Tenant,
        sql: &'static str,
        values: &[crate::value::Value],
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        let count = tx.exec(sql, values).await?;
        bump(&mut tx, tenant, Topic::Grants).await?;
        tx.commit().await?;
        Ok(count > 0)
    }

    /// Ends what is over by its time, and what is left of sessions that are; gives those that ended now, once, to whoever asks first.
    pub async fn lapse(&self, tenant: &Tenant, now: Timestamp) -> Result<Vec<GrantRow>, StoreError> {
        let sql = rows!(
            "WHERE tenant = $1 AND (state = 'live' AND expires <= $2 OR state IN ('live', 'pending') AND session NOT IN
            (SELECT id FROM sessions WHERE tenant = $1 AND ended IS NULL AND expires > $2))"
        );
        let mut ended = Vec::new();
        for row in self.db.rows(sql, vals![tenant, now]).await? {
            let row = read(&row)?;
            let why = if row.expires.is_some_and(|expires| now >= expires) {
                "its time is over"
            } else {
                "its session is over"
            };
            if self.end(tenant, row.id, why, now).await? {
                ended.push(GrantRow { state: GrantState::Ended, ended: Some(now), reason: why.to_owned(), ..row });
            }
        }
        Ok(ended)
    }
}

async fn session_lives(tx: &mut Tx, tenant: &Tenant, id: SessionId, now: Timestamp) -> Result<bool, StoreError> {
    let sql = "SELECT COUNT(*) FROM sessions WHERE tenant = $1 AND id = $2 AND ended IS NULL AND expires > $3";
    Ok(tx.row(sql, vals![tenant, id, now]).await?.map_or(Ok(0), |row| row.count(0))? > 0)
}

fn read(row: &Row) -> Result<GrantRow, StoreError> {
    Ok(GrantRow {
        id: row.parsed(0)?,
        tenant: row.parsed(1)?,
        session: row.parsed(2)?,
        agent: row.parsed(3)?,
        author: row.text(4)?.to_owned(),
        scopes: row.text(5)?.to_owned(),
        cut: row.text(6)?.to_owned(),
        rules: row.text(7)?.to_owned(),
        justification: row.text(8)?.to_owned(),
        task: row.opt_text(9)?.map(str::to_owned),
        ttl_seconds: row.count(10)?,
        approval: row.opt_parsed(11)?,
        consent: row.opt_text(12)?.map(str::to_owned),
        state: row.parsed(13)?,
        asked: row.time(14)?,
        expires: row.opt_time(15)?,
        ended: row.opt_time(16)?,
        reason: row.text(17)?.to_owned(),
    })
}

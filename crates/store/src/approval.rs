//! Approvals: questions to people, answered by compare-and-set, so that two approvers, or an answer and the time-out,
//! never both win; an approval given once is used once.

use std::collections::HashSet;

use model::{AgentName, ApprovalId, Digest, SessionId, Tenant, Timestamp};

use crate::StoreError;
use crate::change::{Topic, bump};
use crate::engine::{Db, Durability, Tx};
use crate::value::{Row, json, vals, words};

/// Questions listed at once.
const LISTED_MAX: i64 = 1_000;

words!(
    /// State of a question.
    ApprovalState {
        /// Nobody, or not enough people, have answered.
        Open = "open",
        /// Enough said yes.
        Approved = "approved",
        /// Somebody said no.
        Denied = "denied",
        /// Nobody answered in time.
        Expired = "expired",
        /// The yes was used.
        Used = "used",
    }
);

words!(
    /// How far a yes reaches.
    Scope {
        /// This very request, once.
        Once = "once",
        /// The same question for the rest of the session.
        Session = "session",
        /// The same question for a time.
        Time = "time",
    }
);

words!(
    /// Yes or no.
    Verdict {
        /// Yes.
        Approve = "approve",
        /// No.
        Deny = "deny",
    }
);

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRow {
    /// Its id.
    pub id: ApprovalId,
    /// The organisation.
    pub tenant: Tenant,
    /// Who waits.
    pub session: SessionId,
    /// That session's agent.
    pub agent: AgentName,
    /// The question in one human sentence.
    pub sentence: String,
    /// The calls, as JSON.
    pub calls: String,
    /// An answer for the session is remembered under this.
    pub key: String,
    /// Digest of the head that is asked about.
    pub head: Digest,
    /// Digest of the body, where there is one.
    pub body: Option<Digest>,
    /// The rule that asks.
    pub rule: String,
    /// How many must agree.
    pub wanted: u32,
    /// Who may answer; empty for any approver.
    pub approvers: Vec<String>,
    /// When it was asked.
    pub asked: Timestamp,
    /// When it is too late to answer.
    pub expires: Timestamp,
    /// What became of it.
    pub state: ApprovalState,
    /// How far the yes reaches, once there is one.
    pub scope: Option<Scope>,
    /// When it was settled.
    pub settled: Option<Timestamp>,
}

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is open.
    Open,
    /// The agent has as many open questions as it may have.
    TooMany,
}

/// One person's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who.
    pub approver: String,
    /// Yes or no.
    pub verdict: Verdict,
    /// How far a yes reaches.
    pub scope: Scope,
    /// For [`Scope::Time`] and [`Scope::Session`]: when it ends.
    pub until: Timestamp,
    /// Why not, for the agent; may be empty.
    pub reason: String,
}

/// A no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Who said it.
    pub by: String,
    /// Why, if they said.
    pub reason: String,
}

/// What came of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It settled the question.
    Settled(ApprovalState),
    /// It counts; others must agree too.
    Counted {
        /// Different people who said yes.
        have: u32,
        /// How many must.
        wanted: u32,
    },
    /// The question was settled before.
    Late(ApprovalState),
    /// There is no such question.
    Unknown,
    /// A yes of somebody whom the rule does not name. A no is open to all: it only ever takes away.
    NotAllowed,
}

/// A yes that serves more than one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The question it answered.
    pub approval: ApprovalId,
    /// Who said yes.
    pub approver: String,
    /// When it ends.
    pub expires: Timestamp,
}

/// What [`read`] takes of each row that a condition picks.
macro_rules! rows {
    ($condition:literal) => {
        concat!(
            "SELECT id, tenant, session, agent, sentence, calls, key, head, body, rule, wanted, approvers, asked, ",
            "expires, state, scope, settled FROM approvals ",
            $condition
        )
    };
}

/// Questions to people and their answers.
pub struct Approvals<'a> {
    pub(crate) db: &'a Db,
}

impl Approvals<'_> {
    /// Asks, unless the agent has `open_max` open questions already. `row.state`, `scope` and `settled` are not looked
    /// at: a new question is open.
    pub async fn insert(&self, row: &ApprovalRow, open_max: usize) -> Result<Asked, StoreError> {
        let mut tx = self.db.tx(Durability::Process).await?;
        tx.lock(&format!("approvals/{}/{}", row.tenant, row.agent)).await?;
        let sql = "SELECT COUNT(*) FROM approvals
            WHERE tenant = $1 AND state = 'open' AND expires > $3 AND agent = $2";
        let open = tx.row(sql, vals![&row.tenant, &row.agent, row.asked]).await?.map_or(Ok(0), |row| row.count(0))?;
        if open >= open_max as u64 {
            return Ok(Asked::TooMany);
        }
        let sql = "INSERT INTO approvals (tenant, id, session, agent, sentence, calls, key, head, body, rule, wanted,
            approvers, asked, expires, state) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'open')";
        let values = vals![
            &row.tenant,
            row.id,
            row.session,
            &row.agent,
            row.sentence.as_str(),
            row.calls.as_str(),
            row.key.as_str(),
            &row.head,
            row.body.as_ref(),
            row.rule.as_str(),
            i64::from(row.wanted.max(1)),
            json(&row.approvers)?,
            row.asked,
            row.expires,
        ];
        tx.exec(sql, values).await?;
        bump(&mut tx, &row.tenant, Topic::Approvals).await?;
        tx.commit().await?;
        Ok(Asked::Open)
    }

    /// One question.
    pub async fn get(&self, tenant: &Tenant, id: ApprovalId) -> Result<Option<ApprovalRow>, StoreError> {
        let sql = rows!("WHERE tenant = $1 AND id = $2");
        self.db.row(sql, vals![tenant, id]).await?.map(|row| read(&row)).transpose()
    }

    /// Questions that can still be answered, oldest first.
    pub async fn open(&self, tenant: &Tenant, now: Timestamp) -> Result<Vec<ApprovalRow>, StoreError> {
        let sql = rows!("WHERE tenant = $1 AND state = 'open' AND expires > $2 ORDER BY id LIMIT $3");
        self.db.rows(sql, vals![tenant, now, LISTED_MAX]).await?.iter().map(read).collect()
    }

    /// The latest question of a session about exactly these octets, whatever became of it: the identical request that
    /// comes again after `approval_pending`.
    pub async fn about(
        &self,
        tenant: &Tenant,
        session: SessionId,
        key: &str,
        octets: (&Digest, Option<&Digest>),
    ) -> Result<Option<ApprovalRow>, StoreError> {
        let row = if let Some(body) = octets.1 {
            let sql = rows!(
                "WHERE tenant = $1 AND session = $2 AND key = $3 AND head = $4 AND body = $5 ORDER BY asked DESC, id DESC LIMIT 1"
            );
            self.db.row(sql, vals![tenant, session, key, octets.0, body]).await?
        } else {
            let sql = rows!(
                "WHERE tenant = $1 AND session = $2 AND key = $3 AND head = $4 AND body IS NULL ORDER BY asked DESC, id DESC LIMIT 1"
            );
            self.db.row(sql, vals![tenant, session, key, octets.0]).await?
        };
        row.map(|row| read(&row)).transpose()
    }

    /// Answers. Only whom the question names may say yes, whichever road the answer took. One no settles the question; a yes
    /// does when enough different people said it, with the narrowest scope and the earliest end that any of them gave. All
    /// who answer through one webhook (`CHANNEL:PERSON`) are one, but for those whom the question names.
    pub async fn answer(
        &self,
        tenant: &Tenant,
        id: ApprovalId,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<Answered, StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        tx.lock(&format!("approval/{tenant}/{id}")).await?;
        let sql = "SELECT state, expires, wanted, session, key, scope, approvers FROM approvals
            WHERE tenant = $1 AND id = $2";
        let Some(row) = tx.row(sql, vals![tenant, id]).await? else { return Ok(Answered::Unknown) };
        let state: ApprovalState = row.parsed(0)?;
        if state != ApprovalState::Open {
            return Ok(Answered::Late(state));
        }
        if now >= row.time(1)? {
            settle(&mut tx, tenant, id, ApprovalState::Expired, now).await?;
            tx.commit().await?;
            return Ok(Answered::Late(ApprovalState::Expired));
        }
        let may: Vec<String> = row.json(6)?;
        if answer.verdict == Verdict::Approve && !is_named(&answer.approver, &may) {
            return Ok(Answered::NotAllowed);
        }
        let sql = "INSERT INTO answers (tenant, approval, approver, verdict, at, until, reason)
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, approval, approver) DO UPDATE SET
            verdict = excluded.verdict, at = excluded.at, until = excluded.until, reason = excluded.reason";
        let (approver, reason) = (answer.approver.as_str(), answer.reason.as_str());
        tx.exec(sql, vals![tenant, id, approver, answer.verdict.as_str(), now, answer.until, reason]).await?;
        let outcome = match answer.verdict {
            Verdict::Deny => Answered::Settled(ApprovalState::Denied),
            Verdict::Approve => agree(&mut tx, tenant, id, &row, answer).await?,
        };
        if let Answered::Settled(state) = outcome {
            settle(&mut tx, tenant, id, state, now).await?;
        }
        tx.commit().await?;
        Ok(outcome)
    }

    /// Uses a yes that was given once; whether it was still there. Its record is synced before the request leaves.
    pub async fn consume(&self, tenant: &Tenant, id: ApprovalId, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE approvals SET state = 'used', settled = $3
            WHERE tenant = $1 AND id = $2 AND state = 'approved'";
        Ok(self.db.exec(Durability::Power, sql, vals![tenant, id, now]).await? > 0)
    }

    /// Closes a question for which nobody waits any more; whether it was still open.
    pub async fn withdraw(&self, tenant: &Tenant, id: ApprovalId, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE approvals SET state = 'expired', settled = $3
            WHERE tenant = $1 AND id = $2 AND state = 'open'";
        let mut tx = self.db.tx(Durability::Process).await?;
        let count = tx.exec(sql, vals![tenant, id, now]).await?;
        bump(&mut tx, tenant, Topic::Approvals).await?;
        tx.commit().await?;
        Ok(count > 0)
    }

    /// Closes questions that nobody answered in time; how many.
    pub async fn expire(&self, tenant: &Tenant, now: Timestamp) -> Result<u64, StoreError> {
        let sql = "UPDATE approvals SET state = 'expired', settled = $2
            WHERE tenant = $1 AND state = 'open' AND expires <= $2";
        let mut tx = self.db.tx(Durability::Process).await?;
        let count = tx.exec(sql, vals![tenant, now]).await?;
        if count > 0 {
            bump(&mut tx, tenant, Topic::Approvals).await?;
        }
        tx.commit().await?;
        Ok(count)
    }

    /// Ends every question that is open, every yes that was not used, and every yes that is remembered: nobody can say any
    /// more whether their time is over.
    pub async fn lapse(&self, tenant: &Tenant, now: Timestamp) -> Result<u64, StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        let sql = "UPDATE approvals SET state = 'expired', settled = $2
            WHERE tenant = $1 AND state IN ('open', 'approved')";
        let questions = tx.exec(sql, vals![tenant, now]).await?;
        let remembered = tx.exec("DELETE FROM remembered WHERE tenant = $1", vals![tenant]).await?;
        bump(&mut tx, tenant, Topic::Approvals).await?;
        tx.commit().await?;
        Ok(questions + remembered)
    }

    /// Who said yes to a question.
    pub async fn approvers(&self, tenant: &Tenant, id: ApprovalId) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT approver FROM answers
            WHERE tenant = $1 AND approval = $2 AND verdict = 'approve' ORDER BY at, approver";
        self.db.rows(sql, vals![tenant, id]).await?.iter().map(|row| row.text(0).map(str::to_owned)).collect()
    }

    /// The no that settled a question.
    pub async fn denial(&self, tenant: &Tenant, id: ApprovalId) -> Result<Option<Denial>, StoreError> {
        let sql = "SELECT approver, reason FROM answers
            WHERE tenant = $1 AND approval = $2 AND verdict = 'deny' ORDER BY at DESC LIMIT 1";
        let row = self.db.row(sql, vals![tenant, id]).await?;
        row.map(|row| Ok(Denial { by: row.text(0)?.to_owned(), reason: row.text(1)?.to_owned() })).transpose()
    }

    /// A yes given earlier in this session that still holds under this key.
    pub async fn remembered(
        &self,
        tenant: &Tenant,
        session: SessionId,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<Remembered>, StoreError> {
        let sql = "SELECT approval, approver, expires FROM remembered
            WHERE tenant = $1 AND session = $2 AND key = $3 AND expires > $4";
        let row = self.db.row(sql, vals![tenant, session, key, now]).await?;
        row.map(|row| {
            Ok(Remembered { approval: row.parsed(0)?, approver: row.text(1)?.to_owned(), expires: row.time(2)? })
        })
        .transpose()
    }

    /// A session is over: its questions are withdrawn, and every yes that was given for it is forgotten.
    pub async fn forget(&self, tenant: &Tenant, session: SessionId, now: Timestamp) -> Result<(), StoreError> {
        let sql = "DELETE FROM remembered WHERE tenant = $1 AND session = $2";
        let mut tx = self.db.tx(Durability::Power).await?;
        tx.exec(sql, vals![tenant, session]).await?;
        let sql = "UPDATE approvals SET state = 'expired', settled = $3
            WHERE tenant = $1 AND session = $2 AND state IN ('open', 'approved')";
        tx.exec(sql, vals![tenant, session, now]).await?;
        bump(&mut tx, tenant, Topic::Approvals).await?;
        tx.commit().await
    }
}

/// Whether a rule that names these people, or all where it names none, takes this one's yes. Who answers through a webhook is
/// `CHANNEL:PERSON`, and may be named so or by the channel.
fn is_named(approver: &str, named: &[String]) -> bool {
    let channel = approver.split_once(':').map(|(channel, _)| channel);
    named.is_empty() || named.iter().any(|name| name == approver || Some(name.as_str()) == channel)
}

/// As whose a yes counts where several must agree. The holder of a channel's secret may claim any name, so all of them are one
/// voice, the channel's. Where the rule names people at it and not the channel, whoever wrote it trusts it to tell them apart.
fn voice<'a>(approver: &'a str, named: &[String]) -> &'a str {
    let has = |wanted: &str| named.iter().any(|name| name == wanted);
    match approver.split_once(':') {
        Some((channel, _)) if has(channel) || !has(approver) => channel,
        _ => approver,
    }
}

/// Counts a yes; `row` is state, expires, wanted, session, key, scope, approvers.
async fn agree(
    tx: &mut Tx,
    tenant: &Tenant,
    id: ApprovalId,
    row: &Row,
    answer: &Answer,
) -> Result<Answered, StoreError> {
    let narrow = match row.opt_parsed::<Scope>(5)? {
        Some(Scope::Once) => Scope::Once,
        Some(_) if answer.scope == Scope::Once => Scope::Once,
        Some(Scope::Time) => Scope::Time,
        _ => answer.scope,
    };
    let sql = "UPDATE approvals SET scope = $3 WHERE tenant = $1 AND id = $2";
    tx.exec(sql, vals![tenant, id, narrow.as_str()]).await?;
    let (sql, named): (_, Vec<String>) = (
        "SELECT approver, until FROM answers WHERE tenant = $1 AND approval = $2 AND verdict = 'approve'",
        row.json(6)?,
    );
    let (mut voices, mut until) = (HashSet::new(), answer.until);
    for said in &tx.rows(sql, vals![tenant, id]).await? {
        voices.insert(voice(said.text(0)?, &named).to_owned());
        until = until.min(said.time(1)?);
    }
    let (have, wanted) = (voices.len() as u64, row.count(2)?);
    if have < wanted {
        return Ok(Answered::Counted { have: have as u32, wanted: wanted as u32 });
    }
    if narrow != Scope::Once {
        let sql = "INSERT INTO remembered (tenant, session, key, approval, approver, expires)
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, session, key) DO UPDATE SET
            approval = excluded.approval, approver = excluded.approver, expires = excluded.expires";
        let values = vals![tenant, row.text(3)?, row.text(4)?, id, answer.approver.as_str(), until];
        tx.exec(sql, values).await?;
    }
    Ok(Answered::Settled(ApprovalState::Approved))
}

async fn settle(
    tx: &mut Tx,
    tenant: &Tenant,
    id: ApprovalId,
    state: ApprovalState,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "UPDATE approvals SET state = $3, settled = $4 WHERE tenant = $1 AND id = $2 AND state = 'open'";
    tx.exec(sql, vals![tenant, id, state.as_str(), now]).await?;
    bump(tx, tenant, Topic::Approvals).await
}

fn read(row: &Row) -> Result<ApprovalRow, StoreError> {
    Ok(ApprovalRow {
        id: row.parsed(0)?,
        tenant: row.parsed(1)?,
        session: row.parsed(2)?,
        agent: row.parsed(3)?,
        sentence: row.text(4)?.to_owned(),
        calls: row.text(5)?.to_owned(),
        key: row.text(6)?.to_owned(),
        head: row.digest(7)?,
        body: row.opt_digest(8)?,
        rule: row.text(9)?.to_owned(),
        wanted: row.count(10)? as u32,
        approvers: row.json(11)?,
        asked: row.time(12)?,
        expires: row.time(13)?,
        state: row.parsed(14)?,
        scope: row.opt_parsed(15)?,
        settled: row.opt_time(16)?,
    })
}

//! Grants that wait for people: what became of their questions. A yes makes the grant live, once, whichever process sees it first.

use model::{Tenant, Timestamp};
use policy::Consent;
use store::{ApprovalRow, ApprovalState, GrantRow, GrantState};

use crate::error::ApprovalError;
use crate::room::WaitingRoom;

impl WaitingRoom {
    /// Settles every grant whose question was answered; gives those that this call changed, for the record.
    ///
    /// # Errors
    /// The rows cannot be reached.
    pub async fn settle_grants(&self, tenant: &Tenant, now: Timestamp) -> Result<Vec<GrantRow>, ApprovalError> {
        let mut changed = Vec::new();
        for row in self.store().grants().pending(tenant).await? {
            changed.extend(self.settle_grant(row, now).await?);
        }
        Ok(changed)
    }

    async fn settle_grant(&self, row: GrantRow, now: Timestamp) -> Result<Option<GrantRow>, ApprovalError> {
        let Some(id) = row.approval else { return Ok(None) };
        let rows = self.store().approvals();
        let Some(question) = rows.get(&row.tenant, id).await? else {
            return self.deny_grant(row, "its question is gone".to_owned(), now).await;
        };
        match question.state {
            ApprovalState::Open => Ok(None),
            ApprovalState::Approved | ApprovalState::Used => {
                // Nothing else may use the yes. That it was used before is how a process left it that died here.
                rows.consume(&row.tenant, id, now).await?;
                self.give_grant(row, &question, now).await
            }
            ApprovalState::Denied => {
                let no = rows.denial(&row.tenant, id).await?;
                let why = match no {
                    Some(no) if no.reason.is_empty() => format!("{} denied it", no.by),
                    Some(no) => format!("{} denied it: {}", no.by, no.reason),
                    None => "an approver denied it".to_owned(),
                };
                self.deny_grant(row, why, now).await
            }
            ApprovalState::Expired => self.deny_grant(row, "nobody answered in time".to_owned(), now).await,
        }
    }

    async fn give_grant(
        &self,
        row: GrantRow,
        question: &ApprovalRow,
        now: Timestamp,
    ) -> Result<Option<GrantRow>, ApprovalError> {
        let by = self.store().approvals().approvers(&row.tenant, question.id).await?.join(", ");
        let (count, of) = (question.wanted, question.approvers.clone());
        let consent = Consent { approval: Some(question.id), by, count, of };
        let consent = serde_json::to_string(&consent).unwrap_or_default();
        let session = self.store().sessions().get(&row.tenant, row.session).await?;
        let Some(session) = session else { return Ok(None) };
        let expires = now.plus_secs(row.ttl_seconds).min(session.expires);
        let given = self.store().grants().give(&row.tenant, row.id, &consent, (now, expires)).await?;
        let row = GrantRow { state: GrantState::Live, consent: Some(consent), expires: Some(expires), ..row };
        Ok(given.then_some(row))
    }

    async fn deny_grant(&self, row: GrantRow, why: String, now: Timestamp) -> Result<Option<GrantRow>, ApprovalError> {
        let denied = self.store().grants().deny(&row.tenant, row.id, &why, now).await?;
        Ok(denied.then_some(GrantRow { state: GrantState::Denied, ended: Some(now), reason: why, ..row }))
    }
}

//! Where one exchange waits for the answer to its question.

use std::sync::Arc;

use model::ApprovalId;
use policy::Grant;
use store::ApprovalState;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Inner, unavailable};
use crate::ask::{Ask, NotApproved};

/// One exchange that waits.
pub(super) struct Seat {
    pub(super) inner: Arc<Inner>,
    pub(super) id: ApprovalId,
    pub(super) settled: watch::Receiver<bool>,
}

impl Seat {
    /// Waits until the question is settled, or the client is held no longer. `None`: the yes was used by another exchange.
    pub(super) async fn wait(
        mut self,
        ask: &Ask,
        held: Instant,
    ) -> Result<Option<Result<Grant, NotApproved>>, NotApproved> {
        tokio::select! {
            // The sender goes with the question.
            _ = self.settled.wait_for(|settled| *settled) => {}
            () = sleep_until(held) => return Err(NotApproved::Pending { id: self.id }),
        }
        let row = self.inner.store.approvals().get(&ask.tenant, self.id).await;
        let Some(row) = row.map_err(|error| unavailable(&error))? else { return Err(NotApproved::Expired) };
        match row.state {
            ApprovalState::Approved => Ok(self.inner.grant(ask, &row).await?.map(Ok)),
            ApprovalState::Used => Ok(None),
            ApprovalState::Denied => {
                let denied = self.inner.denial(ask, row.id).await?;
                if let NotApproved::Denied { by, reason } = &denied {
                    self.inner.remember_no(ask, by, reason);
                }
                Err(denied)
            }
            ApprovalState::Open | ApprovalState::Expired => Err(NotApproved::Expired),
        }
    }
}

//! Questions lie in the store, and operators answer them there: `approve`, `deny`, the API, the dashboard. Belongs to
//! `serve`, where somebody looks; the API socket of a lone `run` is no channel.

use model::ApprovalId;

use super::Channel;
use crate::ask::{Ask, Question, Settled};
use crate::room::Answerer;

pub(super) const NAME: &str = "desk";

/// Operators who look at the list of open questions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Desk;

impl Channel for Desk {
    fn name(&self) -> &str {
        NAME
    }

    fn can_answer(&self, _: &Ask) -> bool {
        true
    }

    fn notify(&self, _: Question, _: Answerer) {}

    fn withdraw(&self, _: ApprovalId, _: &Settled) {}
}

//! Answers from a list, for the demo and for tests.

use std::collections::VecDeque;
use std::sync::Arc;

use model::ApprovalId;
use parking_lot::Mutex;

use super::Channel;
use crate::ask::{Ask, Question, Reply, Settled};
use crate::room::Answerer;

pub(super) const NAME: &str = "scripted";

/// Gives its replies one after the other, and says no when they are used up.
#[derive(Clone, Default)]
pub struct Scripted {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    asked: Arc<Mutex<Vec<Arc<Ask>>>>,
}

impl Scripted {
    /// With these replies.
    #[must_use]
    pub fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self { replies: Arc::new(Mutex::new(replies.into_iter().collect())), asked: Arc::default() }
    }

    /// What was asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Arc<Ask>> {
        self.asked.lock().clone()
    }
}

impl Channel for Scripted {
    fn name(&self) -> &str {
        NAME
    }

    fn can_answer(&self, _: &Ask) -> bool {
        true
    }

    fn notify(&self, question: Question, answerer: Answerer) {
        self.asked.lock().push(question.ask);
        let reply = self.replies.lock().pop_front().unwrap_or_else(|| Reply::Deny("the script is over".into()));
        tokio::spawn(async move {
            if let Err(error) = answerer.answer(NAME, reply).await {
                tracing::warn!(%error, "a scripted answer did not count");
            }
        });
    }

    fn withdraw(&self, _: ApprovalId, _: &Settled) {}
}

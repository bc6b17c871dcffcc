//! An exchange that is sent more than once: each attempt has its own record, and its own end.

use model::event::{CredentialUse, Kind, ResponseRecord};
use model::{Code, CredentialName, EventId, Rank, Refusal};
use serde_json::json;

use super::{Before, Recorder, audit_refusal};

impl Recorder {
    /// Notes that the attempt which was written is followed by another. Its end is written with that one's beginning: if it never comes to
    /// that, what comes instead is its end.
    pub(crate) fn repeats(&mut self, response: ResponseRecord, reason: String, code: Option<Code>) {
        let credential = self.event.credential.clone();
        self.before = Some(Box::new(Before { response, reason, code, credential }));
    }

    /// Writes the end of the attempt before.
    pub(super) fn end_before(&mut self, before: Before) -> Result<(), Refusal> {
        let Before { response, reason, code, credential } = before;
        let now = (self.event.credential.take(), self.event.reason.take(), self.event.code.take());
        (self.event.credential, self.event.reason, self.event.code) = (credential, Some(reason.clone()), code);
        self.event.response = Some(response);
        self.said = None;
        self.stamp(Kind::Outcome);
        let written = self.worker.lane.append(&self.event).map_err(|error| audit_refusal(&error));
        (self.event.credential, self.event.reason, self.event.code) = now;
        self.event.reason = self.event.reason.take().or(Some(reason));
        self.event.response = None;
        self.event.duration_us = None;
        self.event.id = EventId::fresh(self.worker.gateway.clock.now(), &*self.worker.gateway.random);
        written.map(drop)
    }

    /// Notes that something stands in for a credential.
    pub(crate) fn stands_in(&mut self, reason: String) {
        self.event.reason = Some(reason);
    }

    /// Gives back what was reserved, before something else is.
    pub(crate) async fn give_back(&mut self) {
        let Some(id) = self.reservation.take() else { return };
        if let Err(error) = self.worker.gateway.store.limits().give_back(&self.event.tenant, id).await {
            tracing::warn!(%error, "a reservation could not be returned; it lapses with its period");
        }
    }

    /// Raises an alert about a credential, once for each session.
    pub(crate) fn credential_alert(&mut self, rank: Rank, name: &CredentialName, reason: String) {
        let Some(live) = self.session.clone() else { return };
        if !live.alarms.is_new((rank, format!("credential {name}"))) {
            return;
        }
        let mut event = self.alert_of(&live);
        let known = self.event.credential.as_ref().filter(|used| used.name == *name);
        event.credential = Some(known.cloned().unwrap_or_else(|| CredentialUse { name: name.clone(), version: 0 }));
        event.context = json!({ "alert": "credential", "rank": rank, "action": "none" }).as_object().cloned();
        tracing::warn!(credential = %name, rank = rank.as_str(), "{reason}");
        event.reason = Some(reason);
        if let Err(error) = self.worker.lane.append(&event) {
            tracing::error!(%error, "an alert could not be recorded");
        }
    }
}

//! Alarms: a sighting that can only be a leak, or a real secret in what an agent sends, becomes an alert in the audit log;
//! the configuration says what is done about it besides.

use std::sync::atomic::Ordering::Relaxed;

use model::event::Kind;
use model::sighting::{Holder, Place};
use model::{Code, CredentialName, Event, EventId, Rank, Refusal, Sighting};
use policy::Response;
use policy::document::Mode;
use serde_json::json;
use store::{StopKind, StopRow};

use super::Recorder;
use crate::gateway::{Gateway, Stopped};
use crate::session::LiveSession;

impl Recorder {
    /// An alert about what this session's agent does, in this exchange.
    pub(super) fn alert_of(&self, live: &LiveSession) -> Event {
        let gateway = &self.worker.gateway;
        let now = gateway.clock.now();
        let id = EventId::fresh(now, &*gateway.random);
        let mut event = Event::new(id, now, Kind::Alert, self.event.tenant.clone());
        event.agent = Some(live.session.agent.clone());
        event.user.clone_from(&live.session.user);
        event.session = Some(live.session.id);
        event.task.clone_from(&live.session.task);
        event.exchange = self.event.exchange;
        event.service.clone_from(&self.event.service);
        event
    }

    /// Adds what was seen, and raises the alarm about it. The refusal where the session was stopped for it.
    pub(crate) fn sighted(&mut self, seen: Vec<Sighting>) -> Option<Refusal> {
        if seen.is_empty() {
            return None;
        }
        if let Some(live) = &self.session {
            let tripwires = seen.iter().filter(|seen| seen.is_tripwire()).count();
            live.tally.tripwires.fetch_add(tripwires as u64, Relaxed);
        }
        let stop = self.alarm(&seen, None);
        self.said = None;
        self.event.sightings.extend(seen);
        stop
    }

    /// A real secret was sent, or would have been: the highest rank there is.
    pub(super) fn secret_sent(&mut self, whose: &[CredentialName]) -> Option<Refusal> {
        self.alarm(&[], Some(whose))
    }

    fn alarm(&mut self, seen: &[Sighting], secrets: Option<&[CredentialName]>) -> Option<Refusal> {
        let live = self.session.clone()?;
        let snapshot = self.worker.gateway.snapshot.load_full();
        let alerts = snapshot.rules.alerts();
        let odd: Vec<&Sighting> = seen.iter().filter(|seen| alerts.raises(seen.rank)).collect();
        let rank = match secrets {
            Some(_) => Rank::Critical,
            None => odd.iter().map(|seen| seen.rank).max()?,
        };
        let response = alerts.response(rank);
        let fresh: Vec<&Sighting> = odd.into_iter().filter(|seen| live.alarms.is_new(key(seen))).collect();
        let names = secrets.unwrap_or_default();
        let told = secrets.is_some() && live.alarms.is_new((Rank::Critical, format!("secret {names:?}")));
        let observed = snapshot.rules.mode() == Mode::Observe;
        if told || !fresh.is_empty() {
            let done = if observed { None } else { response };
            self.alert(&live, (&fresh, secrets), (rank, done));
        }
        match response {
            Some(Response::StopSession) if !observed => Some(stop_session(&self.worker.gateway, &live)),
            Some(Response::DisableAgent) if !observed => Some(disable_agent(&self.worker.gateway, &live)),
            _ => None,
        }
    }

    fn alert(
        &self,
        live: &LiveSession,
        (seen, secrets): (&[&Sighting], Option<&[CredentialName]>),
        (rank, done): (Rank, Option<Response>),
    ) {
        let mut event = self.alert_of(live);
        event.request.clone_from(&self.event.request);
        event.sightings = seen.iter().map(|seen| (*seen).clone()).collect();
        event.rewritten = secrets.unwrap_or_default().to_vec();
        let action = done.map_or("none", Response::as_str);
        event.context = json!({ "alert": "tripwire", "rank": rank, "action": action }).as_object().cloned();
        let reason = match (secrets, seen.iter().max_by_key(|seen| seen.rank)) {
            (Some(names), _) => secret_sentence(names),
            (None, Some(worst)) => sentence(worst),
            (None, None) => String::new(),
        };
        if done.is_some() {
            let (agent, session) = (&live.session.agent, live.session.id);
            tracing::warn!(%agent, %session, rank = rank.as_str(), action, "tripwire: {reason}");
        }
        event.reason = Some(reason);
        if let Err(error) = self.worker.lane.append(&event) {
            tracing::error!(%error, "an alert could not be recorded");
        }
    }
}

/// What is told once of a session: the same placeholder in the same kind of place is no news.
fn key(seen: &Sighting) -> (Rank, String) {
    let place = place(&seen.place);
    (seen.rank, format!("{} {} {place}", seen.session, seen.credential))
}

fn place(place: &Place) -> &'static str {
    match place {
        Place::Slot => "its slot",
        Place::SlotPart => "a part of its slot",
        Place::ForeignSlot => "an authentication slot that is not its own",
        Place::Header(_) => "another header",
        Place::Path => "the path",
        Place::Query => "the query",
        Place::Body => "the body",
    }
}

fn sentence(seen: &Sighting) -> String {
    let whose = match seen.holder {
        Holder::Own => "this session".to_owned(),
        Holder::DeadSession => "an earlier session of this agent".to_owned(),
        Holder::OtherSession => "another session of this agent".to_owned(),
        Holder::Other => format!("agent `{}`", seen.agent),
    };
    format!("the placeholder of `{}` of {whose} was seen in {}", seen.credential, place(&seen.place))
}

fn secret_sentence(names: &[CredentialName]) -> String {
    let list: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match list.as_slice() {
        [] => "the real value of a credential was in what the agent sent".to_owned(),
        list => format!("the real value of {} was in what the agent sent; it must never have had it", list.join(", ")),
    }
}

/// Ends the session here at once, and in the store as soon as may be.
fn stop_session(gateway: &Gateway, live: &LiveSession) -> Refusal {
    let (now, tenant, id) = (gateway.clock.now(), live.session.tenant.clone(), live.session.id);
    end(gateway, |known| known.session.id == id);
    live.end();
    let store = gateway.store.clone();
    tokio::spawn(async move {
        if let Err(error) = store.sessions().end(&tenant, id, now).await {
            tracing::error!(%error, session = %id, "a session that a tripwire ended goes on in other processes");
        }
    });
    Refusal::new(Code::SessionEnded, "A tripwire has ended this session")
        .hint("an operator finds why with `valetkey audit search tripwire`; start another session when that is settled")
}

/// Stops the agent here at once, and in the store as soon as may be; an operator lifts that.
fn disable_agent(gateway: &Gateway, live: &LiveSession) -> Refusal {
    let (now, tenant, agent) = (gateway.clock.now(), live.session.tenant.clone(), live.session.agent.clone());
    gateway.stopped.rcu(|known| {
        let mut agents = known.agents.clone();
        agents.push(agent.clone());
        Stopped { all: known.all, agents, credentials: known.credentials.clone(), versions: known.versions.clone() }
    });
    end(gateway, |known| known.session.agent == agent);
    live.end();
    let store = gateway.store.clone();
    tokio::spawn(async move {
        let (name, by) = (agent.to_string(), "tripwire".to_owned());
        let row = StopRow { kind: StopKind::Agent, name, version: None, at: now, by };
        if let Err(error) = store.stops().insert(&tenant, &row).await {
            tracing::error!(%error, agent = row.name, "an agent that a tripwire stopped is not stopped in other processes");
        }
    });
    Refusal::new(Code::Denied, "A tripwire has stopped this agent").hint(
        "an operator finds why with `valetkey audit search tripwire`, and lifts it with `valetkey stop --agent NAME --lift`",
    )
}

fn end(gateway: &Gateway, which: impl Fn(&LiveSession) -> bool) {
    for ended in gateway.sessions.end(gateway.clock.now(), which) {
        gateway.index.close(&ended.holdings().placeholders);
    }
}

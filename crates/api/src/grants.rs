//! Grants: an agent asks for access with its session's token, an operator gives it; what the policy lets be given is given at once,
//! what a person must allow waits, and everything is recorded.

mod shown;
mod wanted;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use approval::{Ask, NotApproved};
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use model::event::{Kind, Verdict};
use model::{Code, Digest, GrantId, Random, Refusal, Session, SessionId, Timestamp, bounds};
use parking_lot::Mutex;
use policy::{ApprovalNeed, Consent, Offer};
use store::{GrantRow, GrantState};
use tokio::time::{Instant, sleep};

use crate::auth::Caller;
use crate::{Api, Problem};
use shown::{Shown, covers, shown};
pub use shown::{describe, word};
pub use wanted::Asking;
use wanted::Wanted;

/// Requests of one session within a minute: an agent asks before a step of its work, not in a loop.
const ASKED_PER_MINUTE_MAX: u32 = 60;
/// Sessions of which the last minute is remembered.
const COUNTED_MAX: usize = 4_096;
/// How often a request that waits for a person looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What grants need beside the rest of the API.
pub struct Granting {
    random: Arc<dyn Random>,
    /// One request at a time: an identical one finds what the first has put.
    turn: tokio::sync::Mutex<()>,
    asked: Mutex<HashMap<SessionId, (Timestamp, u32)>>,
}

impl Granting {
    /// With randomness for ids.
    #[must_use]
    pub fn new(random: Arc<dyn Random>) -> Arc<Self> {
        Arc::new(Self { random, turn: tokio::sync::Mutex::default(), asked: Mutex::default() })
    }

    /// Whether a session may ask once more within this minute.
    fn admits(&self, session: SessionId, now: Timestamp) -> bool {
        let mut asked = self.asked.lock();
        let is_old = |(since, _): &(Timestamp, u32)| now >= since.plus_secs(60);
        if asked.len() >= COUNTED_MAX {
            asked.retain(|_, counted| !is_old(counted));
        }
        if asked.len() >= COUNTED_MAX && !asked.contains_key(&session) {
            return false;
        }
        let counted = asked.entry(session).or_insert((now, 0));
        if is_old(counted) {
            *counted = (now, 0);
        }
        counted.1 += 1;
        counted.1 <= ASKED_PER_MINUTE_MAX
    }
}

pub(crate) async fn ask(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(wanted) = wanted?;
    let session = whose(&api, &caller, &wanted).await?;
    let asking = wanted.asking()?;
    if !api.grants.admits(session.id, api.clock.now()) {
        let detail = format!("a session asks for grants {ASKED_PER_MINUTE_MAX} times a minute at most");
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "limit_reached", detail));
    }
    let offer = offered(&api, &session, &asking).await?;
    let row = {
        let _turn = api.grants.turn.lock().await;
        decided(&api, &caller, (&session, &wanted), (&asking, offer)).await?
    };
    let row = waited(&api, row, patience(&headers)).await?;
    answer(&api, row, true)
}

/// The session that it is for.
async fn whose(api: &Api, caller: &Caller, wanted: &Wanted) -> Result<Session, Problem> {
    let session = match (caller.agent(), wanted.session) {
        (Some(own), None) => own.clone(),
        (Some(own), Some(id)) if id == own.id => own.clone(),
        (Some(_), Some(_)) => {
            let detail = "a session asks for itself; leave `session` out";
            return Err(Problem::new(StatusCode::FORBIDDEN, "denied", detail));
        }
        (None, Some(id)) => {
            // To give is to say yes.
            caller.approver()?;
            let session = api.store.sessions().get(&api.tenant, id).await?;
            session
                .filter(|session| session.is_live(api.clock.now()))
                .ok_or_else(|| Problem::missing("live session"))?
        }
        (None, None) => {
            return Err(Problem::wrong(
                "an operator gives a grant to a `session`; an agent asks with its session's token as Bearer",
            ));
        }
    };
    if wanted.user.as_ref().is_some_and(|user| session.user.as_ref() != Some(user)) {
        let detail = "the session is not on behalf of that user; leave `user` out";
        return Err(Problem::new(StatusCode::FORBIDDEN, "denied", detail));
    }
    Ok(session)
}

/// What the policy says: beside what serves others, because a thousand actions may be looked at.
async fn offered(api: &Api, session: &Session, asking: &Asking) -> Result<Result<Offer, Box<Refusal>>, Problem> {
    let (plane, session, asking) = (Arc::clone(&api.plane), session.clone(), asking.clone());
    let looked = tokio::task::spawn_blocking(move || plane.offer(&session, &asking)).await;
    looked.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unavailable", error.to_string()))
}

/// What the policy says, as a row: given, waiting, or a problem.
async fn decided(
    api: &Api,
    caller: &Caller,
    (session, wanted): (&Session, &Wanted),
    (asking, offer): (&Asking, Result<Offer, Box<Refusal>>),
) -> Result<GrantRow, Problem> {
    let now = api.clock.now();
    let offer = match offer {
        Ok(offer) => offer,
        Err(refusal) => {
            tell_no(api, (session, wanted, caller), asking, &refusal);
            return Err(Problem::refused(&refusal));
        }
    };
    let mut row = proposed(api, caller, (session, wanted), &offer);
    let Some(need) = offer.need.clone() else {
        row.expires = Some(now.plus_secs(row.ttl_seconds).min(session.expires));
        row.state = GrantState::Live;
        return put(api, row).await;
    };
    if caller.agent().is_none() {
        row.consent = Some(given_by(caller, &need)?);
        row.expires = Some(now.plus_secs(row.ttl_seconds).min(session.expires));
        row.state = GrantState::Live;
        return put(api, row).await;
    }
    let question = question(session, (&row, &offer, need.clone()), asking);
    // The same request again joins what waits for it.
    let mine = api.store.grants().list(&api.tenant, Some(session.id)).await?;
    for known in mine.into_iter().filter(|known| known.state == GrantState::Pending) {
        let put = match known.approval {
            Some(id) => api.store.approvals().get(&api.tenant, id).await?,
            None => None,
        };
        if put.is_some_and(|put| put.key == question.need.key && put.body == question.body) {
            return Ok(known);
        }
    }
    match api.room.ask(question).await {
        Err(NotApproved::Pending { id }) => {
            row.approval = Some(id);
            put(api, row).await
        }
        Ok(yes) => {
            // Somebody has said yes to this for the session or for a time.
            let consent = Consent { approval: Some(yes.approval), by: yes.approver, count: need.count, of: need.of };
            row.consent = serde_json::to_string(&consent).ok();
            row.approval = Some(yes.approval);
            row.expires = Some(now.plus_secs(row.ttl_seconds).min(session.expires).min(yes.expires));
            row.state = GrantState::Live;
            put(api, row).await
        }
        Err(not) => {
            let refusal = not_approved(not);
            tell_no(api, (session, wanted, caller), asking, &refusal);
            Err(Problem::refused(&refusal))
        }
    }
}

/// An operator who gives it says yes himself, where one yes is enough and his counts.
fn given_by(caller: &Caller, need: &ApprovalNeed) -> Result<String, Problem> {
    let name = caller.name();
    let refused = |detail: String| Err(Problem::new(StatusCode::FORBIDDEN, "denied", detail));
    if need.count > 1 {
        return refused(format!("rule {} wants {} people; let the agent ask, and approve it", need.rule, need.count));
    }
    if !need.of.is_empty() && !need.of.contains(&name) {
        return refused(format!("rule {} takes the yes of {} alone", need.rule, need.of.join(", ")));
    }
    let consent = Consent { approval: None, by: name.clone(), count: 1, of: vec![name] };
    Ok(serde_json::to_string(&consent).unwrap_or_default())
}

fn proposed(api: &Api, caller: &Caller, (session, wanted): (&Session, &Wanted), offer: &Offer) -> GrantRow {
    let now = api.clock.now();
    let rules: Vec<&str> = offer.rules.iter().map(|rule| &**rule).collect();
    let text = |value: serde_json::Result<String>| value.unwrap_or_else(|_| "[]".to_owned());
    GrantRow {
        id: GrantId::fresh(now, &*api.grants.random),
        tenant: api.tenant.clone(),
        session: session.id,
        agent: session.agent.clone(),
        author: caller.agent().map_or_else(|| caller.name(), |session| session.agent.to_string()),
        scopes: text(serde_json::to_string(&offer.scopes)),
        cut: text(serde_json::to_string(&offer.cut)),
        rules: text(serde_json::to_string(&rules)),
        justification: wanted.justification.clone(),
        task: wanted.task.clone().or_else(|| session.task.clone()),
        ttl_seconds: offer.ttl_seconds,
        approval: None,
        consent: None,
        state: GrantState::Pending,
        asked: now,
        expires: None,
        ended: None,
        reason: String::new(),
    }
}

/// What a person is asked, bound to everything that was offered and why it is wanted.
fn question(session: &Session, (row, offer, need): (&GrantRow, &Offer, ApprovalNeed), asking: &Asking) -> Ask {
    let shown = serde_json::json!({
        "grant": offer.scopes, "cut": offer.cut, "seconds": offer.ttl_seconds, "why": row.justification, "task": row.task, "asked": asking,
    });
    let body = serde_json::to_vec_pretty(&shown).unwrap_or_default();
    let hash = |bytes: &[u8]| {
        let mut out = Digest::ZERO;
        out.0.copy_from_slice(digest(&SHA256, bytes).as_ref());
        out
    };
    let body_hash = hash(&body);
    // Not of the agent's words: a no holds for the same access, however it is asked for again. And of who must agree: a yes that
    // fewer people had to give is another.
    let covered = hash(row.scopes.as_bytes());
    let key = format!("{}/grant/{covered}/{} of {}", session.id, need.count, need.of.join("+"));
    let need = ApprovalNeed { key, once_per_session: false, ..need };
    let sentence = format!(
        "Give {} for {} s: {} (why: {})",
        session.agent,
        offer.ttl_seconds,
        covers(&offer.scopes),
        row.justification
    );
    Ask {
        tenant: session.tenant.clone(),
        session: session.id,
        agent: session.agent.clone(),
        need,
        sentences: vec![sentence],
        method: "POST".to_owned(),
        url: "valetkey:///v1/grants".to_owned(),
        content_type: Some("application/json".to_owned()),
        head: body_hash,
        body: Some(body_hash),
        bytes: body.len(),
        preview: body.into(),
        task: row.task.clone(),
        patience_seconds: Some(0),
    }
}

/// Adds the row, and records what became of it.
async fn put(api: &Api, row: GrantRow) -> Result<GrantRow, Problem> {
    if !api.store.grants().insert(&row, bounds::GRANTS_PER_SESSION_MAX as u64).await? {
        let detail = format!(
            "the session has {} grants already, or is over; end some, or let them end",
            bounds::GRANTS_PER_SESSION_MAX
        );
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "limit_reached", detail));
    }
    api.plane.tell(Kind::Grant, &mut |event| describe(event, &row, word(row.state)));
    api.plane.refresh().await;
    Ok(row)
}

/// Waits for a person as long as the client wants.
async fn waited(api: &Api, row: GrantRow, seconds: u64) -> Result<GrantRow, Problem> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut row = row;
    while row.state == GrantState::Pending {
        api.settle().await?;
        row = api.store.grants().get(&api.tenant, row.id).await?.ok_or_else(|| Problem::missing("grant"))?;
        if row.state != GrantState::Pending || Instant::now() >= until {
            break;
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(row)
}

/// `Prefer: wait=SECONDS` (RFC 7240), up to what a client is held for a person.
fn patience(headers: &HeaderMap) -> u64 {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut wishes = values.flat_map(|value| value.split([',', ';'])).filter_map(|wish| wish.trim().split_once('='));
    let wait = wishes.find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"));
    let seconds = wait.and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok()).unwrap_or(0);
    bounds::APPROVAL_HELD_SECONDS_MAX.min(seconds)
}

/// The status tells what became of it: 201 given, 202 waits, 403 denied (as the answer to a request), 200 otherwise.
fn answer(api: &Api, row: GrantRow, asked: bool) -> Result<Response, Problem> {
    let (id, state) = (row.id, row.state);
    if asked && state == GrantState::Denied {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "approval_denied",
            format!("grant {id} was denied: {}", row.reason),
        ));
    }
    let status = match state {
        GrantState::Pending => StatusCode::ACCEPTED,
        GrantState::Live if asked => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    let mut response = (status, Json(shown(row, api.clock.now()))).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(place) = HeaderValue::try_from(format!("/v1/grants/{id}")) {
        headers.insert(header::LOCATION, place);
    }
    if state == GrantState::Pending {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    }
    Ok(response)
}

impl Api {
    /// Takes in answers of people to requests for grants.
    async fn settle(&self) -> Result<(), Problem> {
        let settled = self.room.settle_grants(&self.tenant, self.clock.now()).await?;
        for row in &settled {
            self.plane.tell(Kind::Grant, &mut |event| describe(event, row, word(row.state)));
        }
        if !settled.is_empty() {
            self.plane.refresh().await;
        }
        Ok(())
    }

    /// A grant that the caller may see.
    async fn grant_of(&self, caller: &Caller, id: &str) -> Result<GrantRow, Problem> {
        let id: GrantId = id.parse().map_err(|error: model::id::IdError| Problem::wrong(error.to_string()))?;
        let row = self.store.grants().get(&self.tenant, id).await?;
        let visible = |row: &GrantRow| caller.agent().is_none_or(|session| session.id == row.session);
        row.filter(visible).ok_or_else(|| Problem::missing("grant"))
    }
}

pub(crate) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Vec<Shown>>, Problem> {
    let now = api.clock.now();
    let rows = api.store.grants().list(&api.tenant, caller.agent().map(|session| session.id)).await?;
    Ok(Json(rows.into_iter().map(|row| shown(row, now)).collect()))
}

pub(crate) async fn show(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let row = api.grant_of(&caller, &id).await?;
    let row = waited(&api, row, patience(&headers)).await?;
    answer(&api, row, false)
}

/// Ends one: anybody who may ask may take access away.
pub(crate) async fn end(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let row = api.grant_of(&caller, &id).await?;
    let (now, why) = (api.clock.now(), format!("ended by {}", caller.name()));
    if !api.store.grants().end(&api.tenant, row.id, &why, now).await? {
        return Err(Problem::conflict(format!("grant {} is over", row.id)));
    }
    let row = GrantRow { state: GrantState::Ended, ended: Some(now), reason: why, ..row };
    api.plane.refresh().await;
    api.plane.tell(Kind::Grant, &mut |event| describe(event, &row, word(row.state)));
    Ok(StatusCode::NO_CONTENT)
}

/// Records a no to a request that became no grant.
fn tell_no(api: &Api, (session, wanted, caller): (&Session, &Wanted, &Caller), asking: &Asking, refusal: &Refusal) {
    api.plane.tell(Kind::Grant, &mut |event| {
        event.agent = Some(session.agent.clone());
        event.user.clone_from(&session.user);
        event.session = Some(session.id);
        event.task = wanted.task.clone().or_else(|| session.task.clone());
        event.justification = Some(wanted.justification.clone());
        event.service = asking.parts.first().and_then(|part| part.service.parse().ok());
        event.decision = Some(Verdict::Deny);
        event.code = Some(refusal.code);
        event.rules.extend(refusal.rule.as_deref().map(Arc::from));
        event.reason = Some(format!("grant denied to {}: {}", caller.name(), refusal.public));
    });
}

fn not_approved(not: NotApproved) -> Refusal {
    match not {
        NotApproved::Denied { by, reason } => {
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            Refusal::new(Code::ApprovalDenied, format!("{by} denied this grant{why}"))
        }
        NotApproved::Expired => Refusal::new(Code::ApprovalExpired, "Nobody answered in time"),
        NotApproved::Pending { id } => Refusal::new(Code::ApprovalPending, "A person has been asked").approval(id),
        NotApproved::NoChannel { hint } => {
            Refusal::new(Code::Denied, "This grant needs a person's approval, and nobody can be asked here").hint(hint)
        }
        NotApproved::TooMany => Refusal::new(Code::ApprovalDenied, "This agent has too many open questions")
            .hint("wait until the open ones are answered"),
        NotApproved::Unavailable { reason } => {
            Refusal::new(Code::Unavailable, "Nobody can be asked now").internal(reason).retry_after(1)
        }
    }
}

//! Who may say yes and who may undo a stop, asked of the router as the two doors ask it.

use std::sync::Arc;

use approval::{Courier, Desk, Inbox, Keys, Letter, Used, WaitingRoom, Webhook};
use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use model::{
    AgentName, ApprovalId, Clock, CredentialName, Digest, Random, Session, SessionId, Tenant, Timestamp, UserName,
};
use store::{ApprovalRow, ApprovalState, Asked, Location, StopKind, StopRow, Store};
use testkit::clock::FakeClock;

use crate::auth::Caller;
use crate::grants::{Asking, Granting};
use crate::wiring::{Later, Plane, StartSession, StartedSession};
use crate::{Api, LocalUser, Operator, Operators};

struct Still;

impl Plane for Still {
    fn start(&self, wanted: StartSession) -> Later<'_, Result<StartedSession, String>> {
        drop(wanted);
        let session = SessionId::from_bits(9);
        let started = StartedSession {
            session,
            token: "t".into(),
            env: std::collections::BTreeMap::new(),
            ca: String::new(),
            expires: Timestamp(1),
        };
        Box::pin(async { Ok(started) })
    }

    fn admits(&self, agent: &AgentName, user: &LocalUser) -> bool {
        agent.as_str() == "bot" && user.uid == 1001
    }

    fn refresh(&self) -> Later<'_, ()> {
        Box::pin(async {})
    }

    fn rotate<'a>(&'a self, name: &'a CredentialName, _reason: &'a str) -> Later<'a, Result<(), String>> {
        let known = if name.as_str() == "k" { Ok(()) } else { Err("nothing makes values for it".to_owned()) };
        Box::pin(std::future::ready(known))
    }

    fn record(&self, _by: &str, _what: &str) {}

    fn offer(&self, _session: &Session, _asking: &Asking) -> Result<policy::Offer, Box<model::Refusal>> {
        let scope = policy::Scope {
            service: "github".into(),
            actions: vec!["repos/get".into()],
            resources: vec!["*".into()],
            implied: false,
        };
        Ok(policy::Offer { scopes: vec![scope], cut: Vec::new(), ttl_seconds: 300, need: None, rules: Vec::new() })
    }

    fn tell(&self, _kind: model::event::Kind, _fill: &mut dyn FnMut(&mut model::Event)) {}
}

struct Fixed;

impl Random for Fixed {
    fn fill(&self, out: &mut [u8]) {
        out.fill(7);
    }
}

struct World {
    api: Api,
    _folder: tempfile::TempDir,
}

fn operator(name: &str, roles: &[&str]) -> Operator {
    let mut token = Digest::ZERO;
    token.0.copy_from_slice(digest(&SHA256, name.as_bytes()).as_ref());
    Operator { name: name.into(), token, roles: roles.iter().map(|role| (*role).to_owned()).collect() }
}

impl World {
    async fn with(operators: Vec<Operator>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock: Arc<dyn Clock> = Arc::new(FakeClock::default());
        let place = Location::Sqlite(folder.path().join("store.db"));
        let store = Store::open(place, Arc::clone(&clock)).await.expect("store");
        let keyring = vault::KeyringChoice::KeyFile(folder.path().join("vault.key"));
        let ambient = vault::Ambient::new(folder.path().to_owned(), |_| None);
        let vault = vault::Vault::open(store.clone(), keyring, ambient, Arc::clone(&clock), Arc::new(Fixed));
        let vault = vault.await.expect("vault");
        let (plane, operators) = (Arc::new(Still), Arc::new(Operators(operators)));
        let room = WaitingRoom::new(store.clone(), Arc::clone(&clock), Arc::new(Fixed), vec![Arc::new(Desk)]);
        let grants = Granting::new(Arc::new(Fixed));
        let tenant = Tenant::local();
        Self { api: Api { tenant, store, vault, plane, room, clock, operators, grants }, _folder: folder }
    }

    /// Comes as the operator whose token is his name, as the door over TCP lets him in.
    fn operator(&self, token: &str) -> Caller {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a value");
        headers.insert(header::AUTHORIZATION, value);
        Caller::of(self.api.operators.of(&headers).expect("an operator"))
    }

    async fn post(&self, caller: &Caller, path: &str, body: &str) -> StatusCode {
        self.ask(caller, Method::POST, path, body).await
    }

    async fn ask(&self, caller: &Caller, method: Method, path: &str, body: &str) -> StatusCode {
        let mut request = Request::new(Body::from(body.to_owned()));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("a path");
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.extensions_mut().insert(caller.clone());
        let mut router = crate::router(self.api.clone()).into_service::<Body>();
        let Ok(response) = tower_service::Service::call(&mut router, request).await;
        response.status()
    }

    async fn question(&self, number: u128, approvers: &[&str]) -> String {
        let now = self.api.clock.now();
        let row = ApprovalRow {
            id: ApprovalId::from_bits(number),
            tenant: Tenant::local(),
            session: SessionId::from_bits(5),
            agent: AgentName::new("bot").expect("a name"),
            sentence: "delete".into(),
            calls: "[]".into(),
            key: format!("key {number}"),
            head: Digest::ZERO,
            body: None,
            rule: "bot/1".into(),
            wanted: 1,
            approvers: approvers.iter().map(|name| (*name).to_owned()).collect(),
            asked: now,
            expires: now.plus_secs(60),
            state: ApprovalState::Open,
            scope: None,
            settled: None,
        };
        assert_eq!(self.api.store.approvals().insert(&row, 50).await.expect("insert"), Asked::Open);
        format!("/v1/approvals/{}", row.id)
    }
}

const YES: &str = r#"{"decision":"approve"}"#;
const NO: &str = r#"{"decision":"deny"}"#;

#[tokio::test]
async fn a_yes_needs_a_role_and_a_name() {
    let people = [("ada", "approver"), ("grace", "owner"), ("eve", "operator"), ("carl", "admin")];
    let mut operators: Vec<_> = people.iter().map(|(name, role)| operator(name, &[role])).collect();
    operators.push(operator("nobody", &[]));
    let world = World::with(operators).await;
    let socket = Caller::SameUser(1000);
    for (number, (name, approvers, yes)) in [
        ("ada", &[][..], StatusCode::NO_CONTENT),
        ("grace", &[], StatusCode::NO_CONTENT),
        ("eve", &[], StatusCode::NO_CONTENT),
        ("carl", &[], StatusCode::FORBIDDEN),
        ("nobody", &[], StatusCode::FORBIDDEN),
        ("nobody", &["nobody"], StatusCode::FORBIDDEN),
        ("ada", &["ada", "grace"], StatusCode::NO_CONTENT),
        ("ada", &["grace"], StatusCode::FORBIDDEN),
    ]
    .into_iter()
    .enumerate()
    {
        let path = world.question(number as u128 + 1, approvers).await;
        assert_eq!(world.post(&socket, &path, YES).await, StatusCode::FORBIDDEN, "{name} {approvers:?}");
        assert_eq!(world.post(&world.operator(name), &path, YES).await, yes, "{name} {approvers:?}");
    }
    for (number, caller) in [(20, socket), (21, world.operator("nobody")), (22, world.operator("ada"))] {
        let path = world.question(number, &["grace"]).await;
        assert_eq!(world.post(&caller, &path, NO).await, StatusCode::NO_CONTENT, "a no is open to all");
    }
}

#[tokio::test]
async fn the_socket_undoes_no_stop_where_operators_have_tokens() {
    let world = World::with(vec![operator("ada", &[])]).await;
    let (socket, ada) = (Caller::SameUser(1000), world.operator("ada"));
    let (enable, disable) = ("/v1/agents/bot/enable", "/v1/agents/bot/disable");
    let begin = r#"{"agent":"bot"}"#;
    assert_eq!(world.post(&socket, "/v1/sessions", begin).await, StatusCode::CREATED);
    assert_eq!(world.post(&socket, disable, "").await, StatusCode::OK);
    assert_eq!(world.post(&socket, "/v1/sessions", begin).await, StatusCode::FORBIDDEN);
    assert_eq!(world.post(&socket, "/v1/sessions", r#"{"agent":"other"}"#).await, StatusCode::CREATED);
    assert_eq!(world.post(&socket, enable, "").await, StatusCode::FORBIDDEN);
    let name = AgentName::new("bot").expect("a name");
    let row = world.api.store.agents().get(&Tenant::local(), &name).await.expect("get").expect("row");
    assert!(!row.enabled);
    assert_eq!(world.post(&ada, enable, "").await, StatusCode::OK);
    assert_eq!(world.post(&socket, "/v1/sessions", begin).await, StatusCode::CREATED);
    // A stop is not lifted by itself either, whatever it is of.
    for stop in [r#"{"agent":"bot"}"#, r#"{"credential":"token"}"#, r#"{"all":true}"#] {
        let lift = format!(r#"{{"stop":{stop},"reason":"by mistake"}}"#);
        assert_eq!(world.post(&socket, "/v1/stop", stop).await, StatusCode::OK);
        assert_eq!(world.post(&socket, "/v1/stop/lift", &lift).await, StatusCode::FORBIDDEN, "{stop}");
        assert_eq!(world.api.store.stops().list(&Tenant::local()).await.expect("list").len(), 1, "{stop}");
        assert_eq!(world.post(&ada, "/v1/stop/lift", &lift).await, StatusCode::OK, "{stop}");
        assert!(world.api.store.stops().list(&Tenant::local()).await.expect("list").is_empty(), "{stop}");
    }
    // A stop of everything is one of each agent.
    assert_eq!(world.post(&socket, "/v1/stop", r#"{"agent":"bot"}"#).await, StatusCode::OK);
    assert_eq!(world.post(&socket, "/v1/sessions", begin).await, StatusCode::FORBIDDEN);
    assert_eq!(world.post(&ada, enable, "").await, StatusCode::OK);
    let (at, by) = (world.api.clock.now(), "ada".to_owned());
    let all = StopRow { kind: StopKind::All, name: String::new(), version: None, at, by };
    world.api.store.stops().insert(&Tenant::local(), &all).await.expect("insert");
    assert_eq!(world.post(&socket, "/v1/sessions", begin).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn without_operators_the_socket_is_all_there_is() {
    let world = World::with(Vec::new()).await;
    let socket = Caller::SameUser(1000);
    assert_eq!(world.post(&socket, "/v1/agents/bot/disable", "").await, StatusCode::OK);
    assert_eq!(world.post(&socket, "/v1/sessions", r#"{"agent":"bot"}"#).await, StatusCode::CREATED);
    assert_eq!(world.post(&socket, "/v1/agents/bot/enable", "").await, StatusCode::OK);
    let lift = |stop: &str| format!(r#"{{"stop":{stop}}}"#);
    assert_eq!(world.post(&socket, "/v1/stop/lift", &lift(r#"{"all":true}"#)).await, StatusCode::OK);
    for wrong in [lift(r#"{"all":false}"#), lift("{}"), r#"{"agent":"bot"}"#.to_owned()] {
        assert!(world.post(&socket, "/v1/stop/lift", &wrong).await.is_client_error(), "{wrong}");
    }
}

fn local(uid: u32, name: &str) -> Caller {
    Caller::Local(LocalUser { uid, name: UserName::new(name).expect("a name") })
}

fn session_of(world: &World, number: u128, user: &str) -> Session {
    let now = world.api.clock.now();
    Session {
        id: SessionId::from_bits(number),
        tenant: Tenant::local(),
        agent: AgentName::new("bot").expect("a name"),
        user: Some(UserName::new(user).expect("a name")),
        roles: Vec::new(),
        task: None,
        started: now,
        expires: now.plus_secs(60),
        ended: None,
    }
}

#[tokio::test]
async fn other_users_begin_so_many_sessions_and_no_more() {
    let world = World::with(Vec::new()).await;
    let eve = local(1001, "eve");
    for number in 0..257u128 {
        let mut digest = Digest::ZERO;
        digest.0[..16].copy_from_slice(&number.to_be_bytes());
        let user = if number == 0 { "carl" } else { "eve" };
        let session = session_of(&world, 1_000 + number, user);
        if number == 256 {
            assert_eq!(world.post(&eve, "/v1/sessions", r#"{"agent":"bot"}"#).await, StatusCode::CREATED);
        }
        world.api.store.sessions().insert(&session, &digest).await.expect("insert");
    }
    assert_eq!(world.post(&eve, "/v1/sessions", r#"{"agent":"bot"}"#).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(world.post(&Caller::SameUser(1000), "/v1/sessions", r#"{"agent":"bot"}"#).await, StatusCode::CREATED);
}

#[tokio::test]
async fn other_users_reach_no_call_of_operators() {
    let world = World::with(vec![operator("ada", &["approver"])]).await;
    let eve = local(1001, "eve");
    let question = world.question(1, &[]).await;
    for (method, path, body) in [
        (Method::GET, "/v1/sessions", ""),
        (Method::POST, "/v1/stop", r#"{"all":true}"#),
        (Method::POST, "/v1/stop/lift", r#"{"stop":{"all":true}}"#),
        (Method::GET, "/v1/stops", ""),
        (Method::GET, "/v1/agents", ""),
        (Method::POST, "/v1/agents/bot/enable", ""),
        (Method::POST, "/v1/agents/bot/disable", ""),
        (Method::GET, "/v1/approvals", ""),
        (Method::GET, question.as_str(), ""),
        (Method::POST, question.as_str(), YES),
        (Method::POST, question.as_str(), NO),
        (Method::GET, "/v1/credentials", ""),
        (Method::POST, "/v1/credentials", r#"{"name":"x","value":"y"}"#),
        (Method::POST, "/credentials", r#"{"name":"x","value":"y"}"#),
        (Method::POST, "/v1/credentials/x/revoke", ""),
        // What no route has, and other ways to write one.
        (Method::GET, "/v1/of-a-later-version", ""),
        (Method::GET, "/v1/sessions/", ""),
        (Method::GET, "/v1/sessions/../approvals", ""),
        (Method::GET, "//v1/approvals", ""),
        (Method::PUT, "/v1/sessions", ""),
    ] {
        assert_eq!(world.ask(&eve, method.clone(), path, body).await, StatusCode::FORBIDDEN, "{method} {path}");
    }
    assert_eq!(world.ask(&eve, Method::GET, "/v1/health", "").await, StatusCode::OK);
    assert!(world.api.store.stops().list(&Tenant::local()).await.expect("list").is_empty());
}

#[tokio::test]
async fn other_users_begin_sessions_for_themselves_where_the_configuration_says_so() {
    let world = World::with(Vec::new()).await;
    let (eve, carl) = (local(1001, "eve"), local(1002, "carl"));
    for (caller, body, status) in [
        (&eve, r#"{"agent":"bot"}"#, StatusCode::CREATED),
        (&eve, r#"{"agent":"bot","user":"eve"}"#, StatusCode::CREATED),
        (&eve, r#"{"agent":"bot","user":"ada"}"#, StatusCode::FORBIDDEN),
        (&eve, r#"{"agent":"other"}"#, StatusCode::FORBIDDEN),
        (&carl, r#"{"agent":"bot"}"#, StatusCode::FORBIDDEN),
    ] {
        assert_eq!(world.post(caller, "/v1/sessions", body).await, status, "{body} by {}", caller.name());
    }
    let session = session_of(&world, 7, "eve");
    world.api.store.sessions().insert(&session, &Digest::ZERO).await.expect("insert");
    let path = format!("/v1/sessions/{}", session.id);
    for method in [Method::GET, Method::DELETE] {
        assert_eq!(world.ask(&carl, method, &path, "").await, StatusCode::NOT_FOUND, "of somebody else");
    }
    assert_eq!(world.ask(&eve, Method::GET, &path, "").await, StatusCode::OK);
    assert_eq!(world.ask(&eve, Method::DELETE, &path, "").await, StatusCode::NO_CONTENT);
    // A stop holds for them, whether operators have tokens or not.
    assert_eq!(world.post(&Caller::SameUser(0), "/v1/stop", r#"{"agent":"bot"}"#).await, StatusCode::OK);
    assert_eq!(world.post(&eve, "/v1/sessions", r#"{"agent":"bot"}"#).await, StatusCode::FORBIDDEN);
}

struct Nowhere;

impl Courier for Nowhere {
    fn carry(&self, _: Letter) -> approval::channel::Wait<'_, Result<u16, String>> {
        Box::pin(async { Ok(204) })
    }
}

fn keys(letter: &str) -> Arc<Keys> {
    let mut keys = Keys::default();
    let secret = secret::Secret::new(format!("whsec_{}", letter.repeat(32)).into_bytes());
    keys.add(&secret).expect("a key");
    Arc::new(keys)
}

impl World {
    /// An answer as it comes over TCP without a token, with these fields more.
    async fn signed(&self, path: &str, fields: &[(&'static str, &str)], body: &str) -> StatusCode {
        let mut request = Request::new(Body::from(body.to_owned()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().expect("a path");
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        request.extensions_mut().insert(Caller::Anybody);
        let mut router = crate::router(self.api.clone()).into_service::<Body>();
        let Ok(response) = tower_service::Service::call(&mut router, request).await;
        response.status()
    }
}

#[tokio::test]
async fn a_signed_answer_counts_once_and_opens_nothing_else() {
    let world = World::with(vec![operator("ada", &["approver"])]).await;
    let (clock, random) = (Arc::clone(&world.api.clock), Arc::new(Fixed));
    let inbox = Inbox::new("ops", keys("A"), Arc::new(Used::default()), Arc::clone(&clock));
    let webhook = Webhook::new(("ops", keys("A")), Arc::new(Nowhere), inbox, clock, random);
    world.api.room.set_channels(vec![Arc::new(Desk), Arc::new(webhook)]);
    let now = world.api.clock.now().0.unsigned_abs() / 1_000_000;
    let path = "/v1/channels/ops/answers";
    let ids: Vec<String> = {
        let mut ids = Vec::new();
        for number in 0..3 {
            ids.push(world.question(100 + number, if number == 2 { &["ada"] } else { &[] }).await);
        }
        ids.iter().map(|path| path.rsplit('/').next().expect("an id").to_owned()).collect()
    };
    let body = |at: usize, by: &str| format!(r#"{{"id":"{}","by":"{by}","decision":"approve"}}"#, ids[at]);
    let send = async |path: &str, key: &str, id: &str, body: &str| {
        let signature = keys(key).sign(id, now, body.as_bytes()).expect("a signature");
        let (seconds, signature) = (now.to_string(), signature.as_str());
        let fields = [("webhook-id", id), ("webhook-timestamp", &*seconds), ("webhook-signature", signature)];
        world.signed(path, &fields, body).await
    };
    let yes = body(0, "joan");
    assert_eq!(send(path, "B", "msg_1", &yes).await, StatusCode::UNAUTHORIZED, "another's secret");
    assert_eq!(send("/v1/channels/sec/answers", "A", "msg_1", &yes).await, StatusCode::UNAUTHORIZED, "no such channel");
    assert_eq!(world.signed(path, &[], &yes).await, StatusCode::UNAUTHORIZED, "nothing signed");
    assert_eq!(world.signed(path, &[("authorization", "Bearer ada")], &yes).await, StatusCode::UNAUTHORIZED);
    let signature = keys("A").sign("msg_1", now, yes.as_bytes()).expect("a signature");
    let seconds = now.to_string();
    let twice = [
        ("webhook-id", "msg_1"),
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", &seconds),
        ("webhook-signature", &signature),
    ];
    assert_eq!(world.signed(path, &twice, &yes).await, StatusCode::UNAUTHORIZED, "a field twice");
    assert_eq!(send(path, "A", "msg_1", "{}").await, StatusCode::BAD_REQUEST);
    assert_eq!(send(path, "A", "msg_1", &" ".repeat(20_000)).await, StatusCode::BAD_REQUEST);
    assert_eq!(send(path, "A", "msg_1", &yes).await, StatusCode::NO_CONTENT);
    assert_eq!(send(path, "A", "msg_1", &body(1, "joan")).await, StatusCode::CONFLICT, "the same id");
    assert_eq!(send(path, "A", "msg_2", &yes).await, StatusCode::CONFLICT, "settled");
    assert_eq!(send(path, "A", "msg_3", &body(2, "ada")).await, StatusCode::FORBIDDEN, "the rule names an operator");
    // Without a token nothing else is there.
    for (method, path) in [
        (Method::GET, "/v1/approvals"),
        (Method::GET, "/v1/health"),
        (Method::GET, "/v1/channels/ops/answers"),
        (Method::POST, "/v1/channels//answers"),
        (Method::POST, "/v1/channels/ops/answers/x"),
        (Method::POST, "/v1/stop"),
        (Method::POST, "/v1/sessions"),
    ] {
        assert_eq!(world.ask(&Caller::Anybody, method, path, &yes).await, StatusCode::FORBIDDEN, "{path}");
    }
    // Users of the machine who may begin sessions may not bring answers.
    assert_eq!(world.post(&local(1001, "eve"), path, &yes).await, StatusCode::FORBIDDEN);
}

/// A live session of an agent, for a person.
async fn begin(world: &World, number: u128, agent: &str, user: Option<&str>) -> SessionId {
    let (now, mut token) = (world.api.clock.now(), Digest::ZERO);
    token.0[..16].copy_from_slice(&number.to_be_bytes());
    let session = Session {
        tenant: Tenant::local(),
        id: SessionId::from_bits(number),
        agent: AgentName::new(agent).expect("a name"),
        user: user.map(|user| UserName::new(user).expect("a name")),
        roles: Vec::new(),
        task: None,
        started: now,
        expires: now.plus_secs(600),
        ended: None,
    };
    world.api.store.sessions().insert(&session, &token).await.expect("insert");
    session.id
}

#[tokio::test]
async fn signals_end_what_they_name_and_nothing_else() {
    let world = World::with(vec![operator("ada", &[])]).await;
    let ada = world.operator("ada");
    let mut all = Vec::new();
    for (number, agent, user) in
        [(1, "bot", None), (2, "bot", Some("eve")), (3, "cat", Some("eve")), (4, "cat", None), (5, "dog", None)]
    {
        all.push(begin(&world, number, agent, user).await);
    }
    let live = async || {
        let rows =
            world.api.store.sessions().list(&Tenant::local(), Some(world.api.clock.now())).await.expect("listed");
        let mut numbers: Vec<usize> = rows.iter().filter_map(|row| all.iter().position(|id| *id == row.id)).collect();
        numbers.sort_unstable();
        numbers
    };
    let body = |kind: &str, rest: &str| format!(r#"{{"kind":"{kind}",{rest},"reason":"seen"}}"#);
    // Nobody but an operator, and nothing by halves.
    for (caller, text, status) in [
        (&Caller::SameUser(1000), body("person_left", r#""user":"eve""#), StatusCode::FORBIDDEN),
        (&ada, body("person_left", r#""agent":"bot""#), StatusCode::BAD_REQUEST),
        (&ada, body("person_left", r#""user":"eve","agent":"bot""#), StatusCode::BAD_REQUEST),
        (&ada, body("rotate", r#""user":"eve""#), StatusCode::BAD_REQUEST),
        (&ada, body("explode", r#""user":"eve""#), StatusCode::BAD_REQUEST),
        (&ada, body("rotate", r#""credential":"other""#), StatusCode::CONFLICT),
        (&ada, body("rotate", r#""credential":"k""#), StatusCode::ACCEPTED),
    ] {
        let got = world.post(caller, "/v1/signals", &text).await;
        assert!(got == status || (status == StatusCode::BAD_REQUEST && got.is_client_error()), "{text}: {got}");
        assert_eq!(live().await, [0, 1, 2, 3, 4], "{text}");
    }
    for (text, left) in [
        (body("person_left", r#""user":"eve""#), &[0, 3, 4][..]),
        (body("injection_detected", &format!(r#""session":"{}""#, all[0])), &[3, 4]),
        (body("injection_detected", r#""agent":"cat""#), &[4]),
        (body("agent_compromised", r#""agent":"dog""#), &[]),
    ] {
        assert_eq!(world.post(&ada, "/v1/signals", &text).await, StatusCode::ACCEPTED, "{text}");
        assert_eq!(live().await, left, "{text}");
    }
    let agents = world.api.store.agents().list(&Tenant::local()).await.expect("listed");
    let disabled: Vec<&str> = agents.iter().filter(|row| !row.enabled).map(|row| row.name.as_str()).collect();
    assert_eq!(disabled, ["dog"]);
}

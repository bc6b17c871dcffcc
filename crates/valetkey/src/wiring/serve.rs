//! `valetkey serve`: a gateway for many agents, with the control socket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use api::grants::{Asking, Granting};
use api::{Api, LocalUser, Operators, Plane, StartSession, StartedSession};
use approval::WaitingRoom;
use model::event::Kind;
use model::{AgentName, CredentialName, Rank};
use parking_lot::Mutex;
use policy::Upkeep;
use proxy::Gateway;
use proxy::net::address::Own;
use proxy::net::leaf::{Authority, AuthorityName};
use proxy::net::tls;
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};

use super::channels::{Channels, Hook};
use super::databases::Reached;
use super::environment::{self, Trust};
use super::gateway::{self, Options, Serving};
use super::open::{self, Opened};
use super::plan::{Held, Plan};
use super::rotation;
use super::schedule::{self, Schedule, Signalled};
use super::sessions::{Maker, Wanted};
use super::signals::Stop;
use super::walls::Doors;
use super::watch;
use super::way_out::way_out;
use super::{note, warn};
use crate::config::{Accounts, Ambient, Door, Sources, notify, watch as watch_files};
use crate::output;

/// What `serve` was asked.
pub struct Serve {
    /// The configuration.
    pub config: PathBuf,
    /// Where agents come.
    pub listen: SocketAddr,
    /// Where operators come over TCP, if anywhere.
    pub api: Option<SocketAddr>,
    /// Where other users of this machine come, if anywhere, and the group that may.
    pub socket: Option<(PathBuf, Option<String>)>,
    /// One line of JSON when ready.
    pub json: bool,
    /// `--dev-identify-by-header`.
    pub identify_by_header: bool,
}

/// Serves until told to stop.
///
/// # Errors
/// The configuration is wrong, a port is taken, the home cannot be used.
pub async fn serve(ambient: &Ambient, wanted: Serve) -> anyhow::Result<()> {
    anyhow::ensure!(
        !wanted.identify_by_header || wanted.listen.ip().is_loopback(),
        "--dev-identify-by-header trusts whoever connects, so it works on a loopback address only; leave it out, or use --listen 127.0.0.1:PORT"
    );
    let opened = open::open(ambient).await?;
    let sources = Sources::find(ambient, Some(&wanted.config))?;
    sources.refuse_foreign()?;
    let mut plan = Plan::make(&sources, &[])?;
    plan.way_out = way_out(ambient)?;
    plan.notes.iter().for_each(|text| note(text));
    opened.declare(&plan).await?;
    let operators = Arc::new(Operators(plan.operators.clone()));
    let name = AuthorityName { name: "Valetkey gateway".to_owned(), domains: Vec::new() };
    let authority = Authority::fresh(&name, Arc::clone(&opened.clock), Arc::clone(&opened.random))?;
    let socket = wanted.socket.as_ref().map(|(path, group)| Door::open(path, group.as_deref())).transpose()?;
    let (door, others) = socket.map_or((None, None), |(door, listener)| (Some(door), Some(listener)));
    let now = opened.clock.now();
    let trust = Arc::new(match &door {
        Some(door) => Trust::write_for_all(door.folder(), ambient, &authority, now)?,
        None => Trust::write(&opened.home, ambient, &authority, now)?,
    });
    let channels = Channels::new(&opened, operators.0.iter().any(api::Operator::may_approve));
    let (store, clock, random) = (opened.store.clone(), opened.clock.clone(), opened.random.clone());
    let room = WaitingRoom::new(store, clock, random, channels.of(&plan.hooks).await?);
    if !plan.hooks.is_empty() && wanted.api.is_none() {
        note(
            "webhooks can be told and nobody can answer through them without an address of the API: serve with --api ADDRESS",
        );
    }
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let identify_by_header = wanted.identify_by_header;
    if !wanted.listen.ip().is_loopback() {
        warn(&format!(
            "{} can be reached from other machines, and session tokens travel to it in clear text; let a TLS proxy or a private network \
             stand before it",
            wanted.listen
        ));
    }
    let options =
        Options { listen: wanted.listen, workers, room, authority, identify_by_header, doors: Doors::default() };
    let log = opened.log()?;
    let lane = log.lane()?;
    let serving = gateway::start(&opened, plan, log, options)?;
    channels.serve(&serving.gateway);
    watch::refresh(&opened, &serving.gateway).await?;
    let control = Control::new(ambient, &opened, &serving, trust, lane);
    let shown = doors(&opened, &control, operators, wanted.api, others).await?;
    tokio::spawn(watch::watch(Arc::clone(&opened), Arc::clone(&serving.gateway)));
    tokio::spawn(watch::checkpoints(Arc::clone(&serving.gateway)));
    control.rotate_by_schedule(sources.clone());
    tokio::spawn(reload(sources, Arc::clone(&control), Some(channels)));
    if wanted.identify_by_header {
        warn("--dev-identify-by-header: anybody who can reach this address is whichever agent he says he is");
    }
    announce(&serving, wanted.json, &shown, door.as_ref());
    notify(ambient, "READY=1");
    let drained = wait_and_drain(serving, &opened, ambient).await;
    drop(door);
    drained
}

/// Says where it serves.
fn announce(serving: &Serving, in_json: bool, api: &str, door: Option<&Door>) {
    let proxy = format!("http://{}", serving.address);
    if in_json {
        let socket = door.map(|door| door.path().display().to_string());
        let databases: serde_json::Map<_, _> =
            serving.databases.iter().map(|one| (one.name.clone(), json!(one.address.to_string()))).collect();
        let ready = json!({ "ready": true, "proxy": proxy, "api": api, "socket": socket, "databases": databases });
        output::line(&ready.to_string());
    } else {
        output::line(&format!("Valetkey serves agents at {proxy} and operators at {api}"));
        for one in &serving.databases {
            let (name, address) = (&one.name, one.address);
            output::line(&format!("The database {name} is at {address}; the password is a session's token"));
        }
    }
}

async fn wait_and_drain(serving: Serving, opened: &Opened, ambient: &Ambient) -> anyhow::Result<()> {
    let mut stop = Stop::listen()?;
    stop.wait().await;
    notify(ambient, "STOPPING=1");
    note("stopping: requests under way may finish; a second signal ends at once");
    let gateway = Arc::clone(&serving.gateway);
    tokio::select! {
        () = serving.drain(Serving::PATIENCE) => {}
        () = stop.wait() => {}
    }
    opened.vault.close().await;
    gateway.close_counts().context("counts of refusals could not be written")?;
    gateway.log.checkpoint().context("the last checkpoint could not be written")?;
    gateway.log.close().context("the audit log could not be closed")?;
    opened.home.forget_socket();
    Ok(())
}

/// Opens the control socket, the one for other users and TCP where they were asked for. Gives what to print.
async fn doors(
    opened: &Arc<Opened>,
    control: &Arc<Control>,
    operators: Arc<Operators>,
    tcp: Option<SocketAddr>,
    others: Option<std::os::unix::net::UnixListener>,
) -> anyhow::Result<String> {
    let router = control.router(&operators);
    let socket = opened.home.bind_socket()?;
    tokio::spawn(api::serve_unix(router.clone(), UnixListener::from_std(socket)?, Arc::clone(&operators), None));
    if let Some(others) = others {
        let names: api::Names = Arc::new(|uid| Accounts::of_machine().user(uid));
        let others = UnixListener::from_std(others)?;
        tokio::spawn(api::serve_unix(router.clone(), others, Arc::clone(&operators), Some(names)));
    }
    let Some(address) = tcp else { return Ok(opened.home.socket().display().to_string()) };
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: choose another address with --api, or stop what uses it")
    })?;
    let bound = listener.local_addr()?;
    tokio::spawn(api::serve_tcp(router, listener, operators));
    Ok(format!("http://{bound}"))
}

/// Takes a changed configuration in whole, or keeps the old one and says why.
pub async fn reload(sources: Sources, control: Arc<Control>, channels: Option<Channels>) {
    let mut changes = watch_files(&sources);
    while let Some(changed) = changes.recv().await {
        let planned = changed.and_then(|sources| {
            sources.refuse_foreign()?;
            Plan::make(&sources, &[])
        });
        match planned {
            Ok(mut plan) => {
                plan.way_out = way_out(&control.ambient).unwrap_or_default();
                let ready = async {
                    control.opened.declare(&plan).await?;
                    control.take_channels(channels.as_ref(), &plan.hooks).await
                };
                if let Err(error) = ready.await {
                    warn(&format!("the changed configuration is not taken in: {error:#}"));
                    continue;
                }
                gateway::replan(&control.gateway, &control.maker, plan, (&control.roots, &control.own));
                control.note(Kind::Policy, "configuration", "the changed configuration is in force");
                note("the changed configuration is in force");
            }
            Err(error) => warn(&format!("the changed configuration is not taken in: {error:#}")),
        }
    }
}

/// The data plane as the control plane sees it.
pub struct Control {
    ambient: Ambient,
    opened: Arc<Opened>,
    gateway: Arc<Gateway>,
    maker: Arc<Maker>,
    address: SocketAddr,
    databases: Vec<Reached>,
    trust: Arc<Trust>,
    roots: tls::Trust,
    own: Own,
    lane: Mutex<audit::Lane>,
    signalled: Arc<Signalled>,
}

impl Control {
    /// For a gateway that serves.
    pub fn new(
        ambient: &Ambient,
        opened: &Arc<Opened>,
        serving: &Serving,
        trust: Arc<Trust>,
        lane: audit::Lane,
    ) -> Arc<Self> {
        Arc::new(Self {
            ambient: ambient.clone(),
            opened: Arc::clone(opened),
            gateway: Arc::clone(&serving.gateway),
            maker: Arc::clone(&serving.maker),
            address: serving.address,
            databases: serving.databases.clone(),
            trust,
            roots: serving.trust.clone(),
            own: serving.own.clone(),
            lane: Mutex::new(lane),
            signalled: Arc::default(),
        })
    }

    /// The control plane over it.
    pub fn api(self: &Arc<Self>, operators: &Arc<Operators>) -> Api {
        Api {
            tenant: self.opened.tenant.clone(),
            store: self.opened.store.clone(),
            vault: self.opened.vault.clone(),
            plane: Arc::clone(self) as Arc<dyn Plane>,
            room: self.gateway.room.clone(),
            clock: Arc::clone(&self.opened.clock),
            operators: Arc::clone(operators),
            grants: Granting::new(Arc::clone(&self.opened.random)),
        }
    }

    /// The control plane, which agents reach through the gateway too.
    pub fn router(self: &Arc<Self>, operators: &Arc<Operators>) -> api::Router {
        let router = api::router(self.api(operators));
        let _ = self.gateway.desk.set(Box::new(Front(router.clone())));
        router
    }

    /// Other channels from now on, where they may change at all: those of `run` do not.
    async fn take_channels(&self, channels: Option<&Channels>, hooks: &[Hook]) -> anyhow::Result<()> {
        if let Some(channels) = channels {
            self.gateway.room.set_channels(channels.of(hooks).await?);
        }
        Ok(())
    }

    /// Rotates what is due, as long as the gateway runs.
    pub fn rotate_by_schedule(self: &Arc<Self>, sources: Sources) {
        let (told, alerted, asked) = (Arc::clone(self), Arc::clone(self), Arc::clone(self));
        let record = move |name: &CredentialName, version: u64, words: &str| {
            let fill = |event: &mut model::Event| schedule::fill(event, name, version, words);
            watch::record(&told.gateway, &told.lane.lock(), Kind::Credential, fill);
        };
        let alert = move |name: &CredentialName, version: u64, rank: Rank, words: &str| {
            tracing::warn!(credential = %name, rank = rank.as_str(), "{words}");
            let fill = |event: &mut model::Event| schedule::fill_alert(event, (name, version), rank, words);
            watch::record(&alerted.gateway, &alerted.lane.lock(), Kind::Alert, fill);
        };
        let schedule = Schedule {
            ambient: self.ambient.clone(),
            opened: Arc::clone(&self.opened),
            sources,
            gateway: Arc::clone(&self.gateway),
            record: Box::new(record),
            alert: Box::new(alert),
            signalled: Arc::clone(&self.signalled),
            node: rotation::node(&self.opened),
        };
        tokio::spawn(schedule.run(move || asked.maker.rest.read().credentials.clone()));
    }

    /// Records the end of a session.
    pub fn session_ended(&self, session: &model::Session) {
        watch::record(&self.gateway, &self.lane.lock(), Kind::Session, |event| watch::session(event, session, "ended"));
    }

    fn note(&self, kind: Kind, by: &str, what: &str) {
        watch::record(&self.gateway, &self.lane.lock(), kind, |event| event.reason = Some(format!("{by}: {what}")));
    }

    async fn rotate_now(&self, name: &CredentialName, reason: &str) -> Result<(), String> {
        if !self.signalled.is_looked_after() {
            return Err("nothing is rotated here; send the signal to `valetkey serve`".to_owned());
        }
        let makes = |held: &Held| held.name == *name && held.rotation.as_ref().is_some_and(|it| it.with.is_some());
        if !self.maker.rest.read().credentials.iter().any(makes) {
            return Err(format!(
                "nothing here makes a new value of `{name}`: add `rotate: {{ with: .. }}`, or bring one with `valetkey credential rotate {name}`"
            ));
        }
        // On record before we answer: it is done even if this process ends now.
        let upkeep = Upkeep::of(self.opened.tenant.clone(), "rotation");
        let begins = self.opened.vault.ask_rotation(&upkeep, name, reason).await.map_err(|error| error.to_string())?;
        self.signalled.want((!begins).then_some((name, reason)));
        Ok(())
    }

    async fn begin(&self, wanted: StartSession) -> Result<StartedSession, String> {
        let StartSession { agent, task, user, ttl_seconds } = wanted;
        let wanted = Wanted { agent, task, user, ttl_seconds };
        let begun = self.maker.begin(wanted).await.map_err(|error| format!("{error:#}"))?;
        let session = &begun.live.session;
        watch::record(&self.gateway, &self.lane.lock(), Kind::Session, |event| {
            watch::session(event, session, "started");
        });
        Ok(StartedSession {
            session: session.id,
            env: environment::variables(&self.ambient, &begun, (self.address, &self.databases), &self.trust),
            ca: self.trust.certificate().display().to_string(),
            expires: session.expires,
            token: begun.token,
        })
    }
}

/// The routes of grants, as agents reach them through the gateway.
struct Front(api::Router);

impl proxy::desk::Desk for Front {
    fn ask(
        &self,
        session: model::Session,
        request: http::Request<bytes::Bytes>,
    ) -> proxy::session::Later<'_, http::Response<bytes::Bytes>> {
        Box::pin(api::ask_as(self.0.clone(), session, request))
    }
}

impl Plane for Control {
    fn start(&self, wanted: StartSession) -> api::wiring::Later<'_, Result<StartedSession, String>> {
        Box::pin(self.begin(wanted))
    }

    fn admits(&self, agent: &AgentName, user: &LocalUser) -> bool {
        self.maker.admits(agent, user)
    }

    fn refresh(&self) -> api::wiring::Later<'_, ()> {
        Box::pin(async {
            if let Err(error) = watch::refresh(&self.opened, &self.gateway).await {
                tracing::warn!(%error, "what the store says could not be taken in at once");
            }
        })
    }

    fn rotate<'a>(&'a self, name: &'a CredentialName, reason: &'a str) -> api::wiring::Later<'a, Result<(), String>> {
        Box::pin(self.rotate_now(name, reason))
    }

    fn record(&self, by: &str, what: &str) {
        self.note(Kind::Operator, by, what);
    }

    fn offer(&self, session: &model::Session, asking: &Asking) -> Result<policy::Offer, Box<model::Refusal>> {
        let snapshot = self.gateway.snapshot.load_full();
        let parts = match &asking.capability {
            Some(name) => snapshot.rules.capability(name)?,
            None => &asking.parts,
        };
        let subject = policy::Subject::of(session, std::net::Ipv4Addr::LOCALHOST.into());
        let now = self.opened.clock.now();
        // The words of a thousand actions of each service are much to gather for one that is asked about.
        let known = parts.iter().filter_map(|part| snapshot.catalog.service(&part.service));
        let services: std::collections::BTreeMap<_, _> =
            known.map(|service| (service.name().to_string(), service.words())).collect();
        let are_known = parts.iter().all(|part| services.contains_key(&part.service));
        let words = if are_known { model::vocabulary::Vocabulary { services } } else { snapshot.catalog.vocabulary() };
        snapshot.rules.offer(&words, &subject, (parts, asking.ttl_seconds), now)
    }

    fn tell(&self, kind: Kind, fill: &mut dyn FnMut(&mut model::Event)) {
        watch::record(&self.gateway, &self.lane.lock(), kind, fill);
    }
}

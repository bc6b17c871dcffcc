//! `valetkey run`: one agent behind a gateway of its own, from the first look at its credentials to the receipt.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use approval::{TerminalChannel, WaitingRoom};
use model::event::Kind;
use model::{AgentName, UserName};
use proxy::net::leaf::{Authority, AuthorityName};
use sandbox::{Launch, Surroundings, Terminal};
use tokio::net::UnixListener;

use super::captured;
use super::databases::Reached;
use super::environment::{self, Trust};
use super::gateway::{self, Options, Serving};
use super::note;
use super::open::{self, Opened};
use super::plan::{Held, Plan};
use super::sessions::{Begun, Wanted};
use super::terminal::RunTerminal;
use super::walls::{self, Doors, Furnished, Isolate, Reach};
use super::way_out::way_out;
use super::{receipt, serve, watch};
use crate::config::{
    Ambient, Discovery, Flags, Found, Grounds, Said, Sources, enter_grounds, found_by_name, grounds_before,
    settle_inside, withheld, work_folders,
};

/// What `run` was asked.
pub struct Run {
    /// The configuration; none for the one in this folder, or the guarded policy.
    pub config: Option<PathBuf>,
    /// The principal; none for the guest.
    pub agent: Option<AgentName>,
    /// The task.
    pub task: Option<String>,
    /// The person on whose behalf.
    pub user: Option<UserName>,
    /// Seconds to live.
    pub ttl_seconds: Option<u64>,
    /// Where the receipt goes besides the terminal.
    pub receipt: Option<PathBuf>,
    /// `--bind` and `--keep`.
    pub flags: Flags,
    /// `--isolate`.
    pub isolate: Isolate,
    /// `--reach`.
    pub reach: Vec<Reach>,
    /// `--writable`.
    pub writable: Vec<PathBuf>,
    /// The agent's command.
    pub command: Vec<OsString>,
}

/// How long requests under way may take once the agent is gone: they are nobody's.
const PATIENCE: Duration = Duration::from_millis(500);

/// Runs an agent; its exit code.
///
/// # Errors
/// The configuration is wrong or the home cannot be used. Nothing was started then.
pub async fn run(ambient: &Ambient, wanted: Run) -> anyhow::Result<u8> {
    let wanted = &wanted;
    let receipt = receipt_file(ambient, wanted.receipt.as_deref())?;
    let folders = work_folders(ambient);
    let (mut plan, sources, discovery) = plan_for(ambient, wanted, &folders)?;
    // This terminal answers. What signs for others, and what logs in to back ends, is none of the agent's business.
    let own = sources.iter().flat_map(Sources::own_variables);
    let ambient = discovery.ambient.withholding(own.map(Into::into));
    let terminal = Terminal::of_process();
    let raised = walls::raise(&ambient, (wanted.isolate, &wanted.reach), (terminal.is_some(), ports(&plan)))?;
    if raised.is_none() {
        discovery.open.iter().for_each(|line| note(line));
    }
    let (walls, doors) = raised.map_or_else(|| (None, Doors::default()), |(walls, doors)| (Some(walls), doors));
    let said = said(&ambient, wanted, folders, (&plan, sources.as_ref()))?;
    let opened = open::open(&ambient).await?;
    // Before anything is made for the agent: whatever stops this run, it is written down.
    let grounds = walls.as_ref().map(|_| enter(&ambient, wanted, &said)).transpose()?;
    opened.tell_hollow(&mut plan.credentials).await?;
    opened.declare(&plan).await?;
    let now = opened.clock.now();
    let name = AuthorityName { name: "Valetkey session".to_owned(), domains: Vec::new() };
    let authority = Authority::fresh(&name, Arc::clone(&opened.clock), Arc::clone(&opened.random))?;
    let trust = Arc::new(Trust::write(&opened.home, &ambient, &authority, now)?);
    let screen = RunTerminal::new();
    let operator = ambient.var("USER").unwrap_or_else(|| "terminal".to_owned());
    let channel = TerminalChannel::new(Arc::clone(&screen) as Arc<dyn approval::Terminal>, operator);
    let (store, clock, random) = (opened.store.clone(), opened.clock.clone(), opened.random.clone());
    let room = WaitingRoom::new(store, clock, random, vec![Arc::new(channel)]);
    let log = opened.log()?;
    let lane = log.lane()?;
    let listen = ([127, 0, 0, 1], 0).into();
    let operators = Arc::new(api::Operators(plan.operators.clone()));
    let options = Options { listen, workers: 2, room, authority, identify_by_header: false, doors };
    let serving = gateway::start(&opened, plan, log, options)?;
    watch::refresh(&opened, &serving.gateway).await?;
    let agent = wanted.agent.clone().unwrap_or_else(AgentName::guest);
    let (task, user) = (wanted.task.clone(), wanted.user.clone());
    let session = Wanted { agent, task, user, ttl_seconds: wanted.ttl_seconds };
    let begun = serving.maker.begin(session).await?;
    watch::record(&serving.gateway, &lane, Kind::Session, |event| {
        watch::session(event, &begun.live.session, "started");
    });
    tokio::spawn(watch::watch(Arc::clone(&opened), Arc::clone(&serving.gateway)));
    tokio::spawn(watch::checkpoints(Arc::clone(&serving.gateway)));
    let control = serve::Control::new(&ambient, &opened, &serving, Arc::clone(&trust), lane);
    let router = control.router(&operators);
    if let Some(socket) = opened.home.try_bind_socket() {
        // Whoever is first on a home answers for all: what operators ask for goes through the store.
        if let Ok(listener) = UnixListener::from_std(socket) {
            tokio::spawn(api::serve_unix(router, listener, operators, None));
        }
    }
    // A program goes on with what it kept of an earlier session; between walls its file shows it.
    for (part, text) in &discovery.logins {
        captured::adopt(&serving.maker, &begun.live, *part, text).await;
    }
    let inside = match walls.zip(grounds) {
        Some((walls, grounds)) => Some(walls.furnish(&ambient, (&trust, said), grounds, &begun.live)?),
        None => None,
    };
    if let Some(inside) = &inside {
        tell_of_files(wanted, &inside.surroundings);
    }
    let writable = inside.iter().flat_map(|inside| &inside.surroundings.writable);
    if let Some(sources) = sources.filter(|sources| !is_written(&ambient, writable, sources)) {
        tokio::spawn(serve::reload(sources, Arc::clone(&control), None));
    }
    let databases = if inside.is_some() { &[][..] } else { &serving.databases };
    let around = (inside, terminal, (serving.address, databases), &*trust, &screen);
    let code = supervise(&ambient, wanted, &begun, around).await;
    finish(&opened, serving, &begun, &control, receipt.as_deref()).await?;
    code
}

/// Where the receipt goes. Nobody's work is lost for one that cannot be written when it is over.
fn receipt_file(ambient: &Ambient, file: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    let Some(path) = file.map(|path| ambient.folder().join(path)) else { return Ok(None) };
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok()).filter(|folder| folder.is_dir());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => Ok(Some(folder.join(name))),
        _ => anyhow::bail!("--receipt: there is no folder for `{}`; make it first", path.display()),
    }
}

/// The plan of the configuration, or of what was found where there is none that names agents.
fn plan_for(
    ambient: &Ambient,
    wanted: &Run,
    folders: &[PathBuf],
) -> anyhow::Result<(Plan, Option<Sources>, Discovery)> {
    let sources = Sources::find(ambient, wanted.config.as_deref())?;
    sources.refuse_foreign()?;
    let catalog = catalog::Catalog::with(sources.services()?)?;
    let discovery = Discovery::search(ambient, &catalog, &wanted.flags)?;
    discovery.report().iter().for_each(|line| note(line));
    let found: Vec<Held> = discovery.found.iter().map(held).collect();
    let read = sources.document()?;
    let guarded = read.0.agents.is_empty();
    let (sources, mut plan) = if guarded {
        let sources = sources.with_services(discovery.services.clone());
        let plan = Plan::make(&sources, &found)?;
        (sources, plan)
    } else {
        let plan = Plan::of(read, catalog, &sources, &[])?;
        (sources, plan)
    };
    plan.way_out = way_out(ambient)?;
    plan.notes.iter().for_each(|text| note(text));
    if guarded {
        note(
            "no configuration names agents, so the guarded policy applies: reads pass, what cannot be taken back asks",
        );
        if let Some(agent) = wanted.agent.as_ref().filter(|agent| **agent != AgentName::guest()) {
            note(&format!("`{agent}` is in no configuration that was read, so it is under the guarded policy too"));
        }
        let others = found_by_name(folders).filter(|path| sources.origin() != Some(path));
        for path in others.collect::<BTreeSet<_>>() {
            note(&format!("`{}` is not used; name it with --config", path.display()));
        }
    }
    let watched = sources.origin().is_some().then_some(sources);
    Ok((plan, watched, discovery))
}

fn held(found: &Found) -> Held {
    Held {
        name: found.name.clone(),
        service: Some(found.service.clone()),
        from: found.from.clone(),
        kind: found.kind.clone(),
        always: found.always,
        variables: found.variables.clone(),
        issuing: None,
        rotation: None,
        digest: found.digest,
        hollow: false,
        spans: (None, None),
    }
}

/// Ports that are diverted where the kernel cannot divert every one: those of the web, of hosts that are named, and of services.
fn ports(plan: &Plan) -> Vec<u16> {
    let upstreams = plan.upstreams.iter().map(|(_, port, _)| *port);
    let services = plan.catalog.services().flat_map(catalog::Service::hosts).flat_map(|host| host.ports.clone());
    let all: BTreeSet<u16> = [80, 443].into_iter().chain(upstreams).chain(services).collect();
    all.into_iter().collect()
}

/// State that the agent's programs keep, what it must not change, and what it may.
fn said(
    ambient: &Ambient,
    wanted: &Run,
    folders: Vec<PathBuf>,
    (plan, sources): (&Plan, Option<&Sources>),
) -> anyhow::Result<Said> {
    let (kept_before, mut masked) = grounds_before(ambient, &folders)?;
    let places = sources.iter().flat_map(|sources| sources.places(ambient));
    let kept = places.chain(found_by_name(&folders)).chain(kept_before).collect();
    let writable = wanted.writable.iter().map(|path| writable(ambient, &folders, path)).collect::<Result<_, _>>()?;
    let secrets = sources.map(Sources::secrets).unwrap_or_default();
    masked.extend(sources.iter().flat_map(|sources| sources.login_files()));
    Ok(Said { folders, state: plan.rules.state(), kept, writable, secrets, masked })
}

/// What `--writable` names.
///
/// # Errors
/// It does not exist; it lies where an agent was at work and is a link, which that agent may have made.
fn writable(ambient: &Ambient, folders: &[PathBuf], path: &Path) -> anyhow::Result<PathBuf> {
    let path = ambient.folder().join(path);
    let real = path
        .canonicalize()
        .with_context(|| format!("--writable `{}` does not exist; name a file or folder that does", path.display()))?;
    let within = |top: &PathBuf| path.starts_with(top) && !top.canonicalize().is_ok_and(|top| real.starts_with(top));
    let is_link = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
    if is_link || folders.iter().any(within) {
        anyhow::bail!("--writable `{}` is a link, which an agent may have made; name what it leads to", path.display());
    }
    Ok(real)
}

/// Writes down that an agent goes to work here.
fn enter(ambient: &Ambient, wanted: &Run, said: &Said) -> anyhow::Result<Grounds> {
    let mut folders = said.folders.clone();
    let home = ambient.user_home();
    folders.extend(
        said.state.iter().filter_map(|state| Some(home.as_ref()?.join(state.path))).filter(|path| path.is_dir()),
    );
    folders.extend(said.writable.iter().filter(|path| path.is_dir()).cloned());
    let kept: Vec<PathBuf> = said.kept.iter().filter(|path| !said.writable.contains(path)).cloned().collect();
    enter_grounds(ambient, &folders, &kept, wanted.config.as_deref())
}

/// What of its files the agent sees otherwise than the user might think.
fn tell_of_files(wanted: &Run, surroundings: &Surroundings) {
    for (path, names) in withheld(surroundings) {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        note(&format!(
            "withheld in {}: {names}; no service knows them, and `valetkey import` moves what one knows",
            path.display()
        ));
    }
    for path in wanted.writable.iter().filter_map(|path| path.canonicalize().ok()) {
        let real = |other: &PathBuf| other.canonicalize().ok();
        let is_masked = surroundings.masks.iter().any(|mask| real(&mask.path).as_ref() == Some(&path));
        if is_masked || surroundings.hidden.iter().filter_map(real).any(|hidden| path.starts_with(hidden)) {
            note(&format!(
                "--writable does not show `{}`: it holds secrets, and stays masked or hidden",
                path.display()
            ));
        }
    }
}

/// Whether the agent may write where the configuration lies: it must not change the rules that it is under, not even by
/// another folder of the same name. Such a configuration is read again by the next run.
fn is_written<'a>(ambient: &Ambient, writable: impl Iterator<Item = &'a PathBuf>, sources: &Sources) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    let writable: Vec<PathBuf> = writable.filter_map(|path| real(path)).collect();
    // Where it is, and where the link is that leads there.
    let places = sources.places(ambient).into_iter().flat_map(|path| [real(&path), path.parent().and_then(real)]);
    places.flatten().any(|place| writable.iter().any(|folder| place.starts_with(folder)))
}

/// Walls if there are any, the user's terminal, and what the environment is made of.
type Around<'a> = (Option<Furnished>, Option<Terminal>, (SocketAddr, &'a [Reached]), &'a Trust, &'a Arc<RunTerminal>);

/// Starts the agent and waits for its end, or for the end of its session.
async fn supervise(ambient: &Ambient, wanted: &Run, begun: &Begun, around: Around<'_>) -> anyhow::Result<u8> {
    let (inside, terminal, (address, databases), trust, screen) = around;
    let address = inside.as_ref().map_or(address, |inside| inside.proxy);
    let (isolated, _grounds) = inside.map(|it| ((it.isolated, it.surroundings), it.grounds)).unzip();
    let mut env = environment::of_agent(ambient, begun, (address, databases), trust);
    if isolated.is_some() {
        settle_inside(&mut env);
    }
    let launch = Launch {
        argv: wanted.command.clone(),
        env,
        cwd: Some(ambient.folder().to_owned()),
        dir: None,
        terminal,
        isolated,
    };
    let mut running = match launch.start() {
        Ok(running) => running,
        Err(error) => {
            note(&error.to_string());
            return Ok(error.exit_code());
        }
    };
    screen.attach(running.prompter());
    let exit = running.wait().await;
    screen.attach(None);
    Ok(exit.code())
}

/// Everything that was given to the session is dead when this returns.
async fn finish(
    opened: &Opened,
    serving: Serving,
    begun: &Begun,
    control: &serve::Control,
    file: Option<&std::path::Path>,
) -> anyhow::Result<()> {
    let id = begun.live.session.id;
    begun.live.end();
    opened.store.sessions().end(&opened.tenant, id, opened.clock.now()).await?;
    serving.gateway.room.forget(&opened.tenant, id).await?;
    control.session_ended(&begun.live.session);
    let gateway = Arc::clone(&serving.gateway);
    serving.drain(PATIENCE).await;
    opened.vault.close().await;
    gateway.log.checkpoint()?;
    let head = gateway.log.close()?.to_string();
    receipt::give((&begun.live, &gateway.snapshot.load().rules), &head, file)
}

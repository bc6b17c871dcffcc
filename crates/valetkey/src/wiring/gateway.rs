//! Building a gateway and its worker threads, and stopping them.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use approval::WaitingRoom;
use arc_swap::ArcSwap;
use audit::Log;
use model::{Digest, Part, Refusal, bounds};
use proxy::gateway::{InUse, Stopped, Turns};
use proxy::net::address::Own;
use proxy::net::leaf::Authority;
use proxy::net::pool::Pool;
use proxy::net::tls::Trust;
use proxy::session::{Handed, Kept, Later, SessionSource, Sessions};
use proxy::{Counted, Doubts, Gateway, Guesses, LiveSession, Paces, Worker, listen};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::databases::{self, Open, Reached};
use super::open::Opened;
use super::plan::{Plan, Rest};
use super::sessions::Maker;
use super::walls::Doors;

/// What a gateway is built with besides its plan.
pub struct Options {
    /// Where it listens; port 0 for any.
    pub listen: SocketAddr,
    /// Threads.
    pub workers: usize,
    /// Where people are asked.
    pub room: WaitingRoom,
    /// Who signs the leaves.
    pub authority: Authority,
    /// `serve --dev-identify-by-header`.
    pub identify_by_header: bool,
    /// What it accepts on besides.
    pub doors: Doors,
}

/// A gateway that serves.
pub struct Serving {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// Who begins sessions on it.
    pub maker: Arc<Maker>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it listens for databases.
    pub databases: Vec<Reached>,
    /// The platform's roots, loaded once.
    pub trust: Trust,
    /// Addresses that are never dialled.
    pub own: Own,
    threads: Vec<JoinHandle<()>>,
}

/// Builds a gateway and starts its workers.
///
/// # Errors
/// The port is taken; a lane of the audit log cannot be made.
pub fn start(opened: &Arc<Opened>, plan: Plan, log: Log, options: Options) -> anyhow::Result<Serving> {
    let sync = plan.sync;
    let listener = std::net::TcpListener::bind(options.listen).with_context(|| {
        format!("cannot listen on {}: choose another address with --listen, or stop what uses it", options.listen)
    })?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (trust, own) = (Trust::platform(), Own::new(vec![address.ip()]));
    let databases = databases::open(&plan.databases)?;
    let (snapshot, rest) = plan.into_snapshot(&trust, &own);
    let maker = Maker::new(Arc::clone(opened), rest);
    let gateway = Arc::new(Gateway {
        snapshot: ArcSwap::from_pointee(snapshot),
        sessions: Sessions::default(),
        source: Box::new(Source(Arc::clone(&maker))),
        index: inject::Index::new(),
        needles: inject::NeedleCache::new(),
        vault: opened.vault.clone(),
        store: opened.store.clone(),
        room: options.room,
        log,
        sync,
        authority: options.authority,
        clock: Arc::clone(&opened.clock),
        random: Arc::clone(&opened.random),
        stopped: ArcSwap::from_pointee(Stopped::default()),
        cut: CancellationToken::new(),
        drain: CancellationToken::new(),
        identify_by_header: options.identify_by_header,
        in_use: InUse::default(),
        cancels: proxy::postgres::Cancels::default(),
        turns: Turns::default(),
        bodies: proxy::Budget::of(bounds::BODIES_HELD_BYTES_MAX),
        spools: spools(opened),
        connections: AtomicUsize::new(0),
        counted: Counted::default(),
        guesses: Guesses::default(),
        paces: Paces::default(),
        doubts: Doubts::default(),
        desk: std::sync::OnceLock::new(),
    });
    maker.serve(&gateway);
    let mut threads = Vec::new();
    for number in 0..options.workers.max(1) {
        let doors = (options.doors.try_clone()?, databases::again(&databases)?);
        threads.push(worker(number, &gateway, (listener.try_clone()?, doors))?);
    }
    let databases = databases.iter().map(Open::reached).collect();
    Ok(Serving { gateway, maker, address, databases, trust, own, threads })
}

/// Large bodies that wait for people lie in the home.
fn spools(opened: &Opened) -> proxy::Spools {
    let (home, random) = (opened.home.clone(), Arc::clone(&opened.random));
    proxy::Spools::new(Box::new(move || home.nameless(&*random)))
}

struct Source(Arc<Maker>);

impl SessionSource for Source {
    fn load<'a>(&'a self, token: &'a str) -> Later<'a, Option<Arc<LiveSession>>> {
        self.0.load(token)
    }

    fn tokens(&self) -> Later<'_, Option<HashSet<Digest>>> {
        self.0.tokens()
    }

    fn adopt<'a>(&'a self, live: &'a Arc<LiveSession>, part: Part, text: &'a str) -> Later<'a, ()> {
        self.0.adopt(live, part, text)
    }

    fn keep<'a>(&'a self, live: &'a Arc<LiveSession>, handed: Handed) -> Later<'a, Result<Kept, Refusal>> {
        self.0.keep(live, handed)
    }
}

/// One thread with a runtime of its own: a connection that it accepts never leaves it.
fn worker(
    number: usize,
    gateway: &Arc<Gateway>,
    (listener, (doors, databases)): (std::net::TcpListener, (Doors, Vec<Open>)),
) -> anyhow::Result<JoinHandle<()>> {
    let lane = gateway.log.lane()?;
    let gateway = Arc::clone(gateway);
    let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "a worker could not start");
                return;
            }
        };
        runtime.block_on(async move {
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::error!(%error, "a worker could not listen");
                    return;
                }
            };
            let worker = Arc::new(Worker { gateway: Arc::clone(&gateway), lane, pool: Pool::new() });
            if let Err(error) = doors.open(&worker) {
                tracing::error!(%error, "a worker could not accept what comes from inside");
                return;
            }
            if let Err(error) = databases::accept(databases, &worker) {
                tracing::error!(%error, "a worker could not accept at the ports of databases");
                return;
            }
            listen::listen(Arc::clone(&worker), listener).await;
            // What is under way may finish; `cut` ends the rest.
            while Arc::strong_count(&worker) > 1 && !gateway.cut.is_cancelled() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    })?;
    Ok(thread)
}

impl Serving {
    /// Refuses what is new, lets what is under way finish within the bound, then cuts.
    pub async fn drain(self, patience: Duration) {
        self.gateway.drain.cancel();
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        let mut joined = std::pin::pin!(joined);
        if tokio::time::timeout(patience, &mut joined).await.is_err() {
            self.gateway.cut.cancel();
            let _ = tokio::time::timeout(Duration::from_secs(1), joined).await;
        }
        if let Err(error) = self.gateway.close_counts() {
            tracing::error!(%error, "counts of refusals could not be written");
        }
    }

    /// How long exchanges under way may take.
    pub const PATIENCE: Duration = Duration::from_secs(bounds::DRAIN_SECONDS_MAX);
}

/// Takes another plan in, as one snapshot.
pub fn replan(gateway: &Arc<Gateway>, maker: &Arc<Maker>, plan: Plan, (trust, own): (&Trust, &Own)) {
    let (snapshot, rest): (_, Rest) = plan.into_snapshot(trust, own);
    gateway.snapshot.store(Arc::new(snapshot));
    maker.replan(rest);
}

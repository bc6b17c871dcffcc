//! PostgreSQL: the agent speaks the protocol with us, and we speak it with the server as the real user. Opening a session is an exchange
//! like any other, judged, asked about and recorded; then every statement is a call of its own ([`relay`]). The password reaches the
//! server alone, by SCRAM over verified TLS.
//!
//! Agents come diverted from between walls, through a tunnel, or at a port of their own for one service, where the password is their session's
//! token. Start reading at [`serve`].

mod answers;
mod block;
mod cancel;
mod client;
mod judge;
mod relay;
mod server;
mod statements;
mod wire;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use bytes::{BufMut, BytesMut};
use model::call::Prospect;
use model::canonical::{CanonicalRequest, Host, Origin, Scheme};
use model::event::ResponseRecord;
use model::{AgentName, Class, Code, CredentialName, Effects, Refusal, bounds};
use parking_lot::Mutex;
use secret::Credential;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

pub use answers::answers_of;
pub use cancel::Cancels;
pub use client::begins_with;

use self::answers::Shared;
use self::cancel::{Place, Target};
use self::client::{Begins, Client, Starts};
use crate::accepted::{Accepted, Leg, Trip};
use crate::arm::Parcel;
use crate::capture::Road;
use crate::classify::Classified;
use crate::exchange::Refused;
use crate::gate::Gate;
use crate::gateway::{Snapshot, Worker};
use crate::identify::Claim;
use crate::net::dial::{For, Speaks, Stream};
use crate::record::Recorder;
use crate::retry::Tries;
use crate::tunnel::Link;
use crate::{arm, classify, decide, forward, identify, join, listen, resolve, respond};

/// What is recorded as the status of a session that was opened.
const OPENED: u16 = 200;

/// A port for one database server.
#[derive(Clone, Debug)]
pub struct Door {
    /// The server that is meant.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// Names that our certificate may bear here: the server's own, and what clients call this port.
    pub names: Vec<Host>,
}

/// Accepts agents at a door until the process is told to stop.
pub async fn listen(worker: Arc<Worker>, listener: TcpListener, door: Door) {
    let door = Arc::new(door);
    let serve = move |worker: Arc<Worker>, tcp: TcpStream, peer: SocketAddr| {
        let door = Arc::clone(&door);
        async move { serve_at(worker, tcp, peer, &door).await }
    };
    listen::accept(worker, listener, serve).await;
}

/// The configuration under which this is where a database is, if it is one.
pub(crate) fn meant(worker: &Worker, link: &Link) -> Option<Arc<Snapshot>> {
    let origin = link.origin.as_ref()?;
    let snapshot = worker.gateway.snapshot.load();
    snapshot.catalog.find(&origin.host, origin.port, Scheme::Postgres)?;
    Some(Guard::into_inner(snapshot))
}

/// Serves a connection that was made for a database of this host, by a session that is known.
pub(crate) async fn serve(worker: Arc<Worker>, link: &Link, snapshot: Arc<Snapshot>, tcp: TcpStream) {
    let (Some(origin), Some(session)) = (&link.origin, &link.session) else { return };
    let (names, agent) = ([origin.host.clone()], session.session.agent.clone());
    let Some((client, begins)) = begin(&worker, tcp, &names, &agent).await else { return };
    talk(&worker, link, (snapshot, client), begins).await;
}

async fn serve_at(worker: Arc<Worker>, tcp: TcpStream, peer: SocketAddr, door: &Door) {
    let origin = Origin { scheme: Scheme::Postgres, host: door.host.clone(), port: door.port };
    let address: IpAddr = peer.ip();
    let mut link = Link { source: address.to_string().into(), address, origin: Some(origin), session: None };
    let Some((mut client, begins)) = begin(&worker, tcp, &door.names, &AgentName::guest()).await else { return };
    if let Ok(Begins::Starts(_)) = &begins {
        let clear = matches!(client, Client::Plain(_)) && !address.is_loopback();
        let found = if clear {
            Err(Refusal::new(Code::Unidentified, "Session tokens travel over TLS alone")
                .hint("connect with sslmode=require"))
        } else {
            match within(client::password(&mut client)).await {
                Some(Ok(token)) => {
                    let claim = Claim { token: Some(token), agent: None };
                    identify::find(&worker, &link, &claim).await
                }
                _ => return,
            }
        };
        match found {
            Ok(session) => link.session = Some(session),
            Err(refusal) => {
                let mut recorder = Recorder::begin(&worker, &link.source);
                recorder.asked("CONNECT", &door.host.to_string(), "");
                recorder.refused(&refusal, respond::status(&refusal, respond::Side::Origin).as_u16());
                return client.refuse(&refusal).await;
            }
        }
    }
    let Some(snapshot) = meant(&worker, &link) else {
        let gone = Refusal::new(Code::UnknownService, "The configuration has no such database any more");
        return client.refuse(&gone).await;
    };
    talk(&worker, &link, (snapshot, client), begins).await;
}

async fn within<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(bounds::HEAD_SECONDS_MAX), work).await.ok()
}

async fn begin(
    worker: &Arc<Worker>,
    tcp: TcpStream,
    names: &[Host],
    agent: &AgentName,
) -> Option<(Client, Result<Begins, Refusal>)> {
    match within(client::begins(worker, tcp, names, agent)).await? {
        Ok(begun) => Some(begun),
        Err(error) => {
            tracing::debug!(%error, "a client of a database went away before it began");
            None
        }
    }
}

async fn talk(
    worker: &Arc<Worker>,
    link: &Link,
    (snapshot, client): (Arc<Snapshot>, Client),
    begins: Result<Begins, Refusal>,
) {
    let starts = match begins {
        Ok(Begins::Starts(starts)) => starts,
        Ok(Begins::Cancels(key)) => {
            let session = link.session.as_ref().map(|live| live.session.id);
            return worker.gateway.cancels.stop(key, session).await;
        }
        Err(refusal) => return client.refuse(&refusal).await,
    };
    match Box::pin(open(worker, link, snapshot, &starts)).await {
        Ok(joint) => joint.run(client).await,
        Err(refused) => {
            let Refused { refusal, recorder, side, .. } = *refused;
            recorder.refused(&refusal, respond::status(&refusal, side).as_u16());
            client.refuse(&refusal).await;
        }
    }
}

/// The road, to a session at the server.
async fn open(
    worker: &Arc<Worker>,
    link: &Link,
    snapshot: Arc<Snapshot>,
    starts: &Starts,
) -> Result<Joint, Box<Refused>> {
    let accepted = accept(worker, link, starts)?;
    let identified = identify::identify(worker, link, accepted).await?;
    let mut classified = classify::classify(worker, link, snapshot, identified).await?;
    classified.presented = chosen(&classified, &starts.user);
    let permitted = decide::decide(worker, classified).await?;
    let (resolved, credential) = resolve::log_in(worker, permitted).await?;
    match arm::arm(worker, resolved)? {
        Road::Passes(ready) => {
            let parcel = forward::depart(worker, ready).await?.parcel();
            connect(worker, parcel, &credential, starts).await
        }
        Road::HandsOut(held) => Err(held.refuse()),
    }
}

fn accept(worker: &Arc<Worker>, link: &Link, starts: &Starts) -> Result<Accepted, Box<Refused>> {
    let mut recorder = Recorder::begin(worker, &link.source);
    let lost = |text: &str| Refusal::new(Code::Malformed, text);
    let Some(origin) = &link.origin else {
        let trip = Trip { recorder, leg: Leg::Tunnel, unread: None, held: None, tries: Tries::default() };
        return Err(trip.refuse(lost("The connection goes nowhere")));
    };
    recorder.asked("CONNECT", &origin.to_string(), "");
    let trip = Trip { recorder, leg: Leg::Tunnel, unread: None, held: None, tries: Tries::default() };
    if worker.gateway.drain.is_cancelled() {
        let ending = Refusal::new(Code::Unavailable, "The gateway is shutting down").retry_after(5);
        return Err(trip.refuse(ending));
    }
    match CanonicalRequest::database(origin.host.clone(), origin.port, &starts.database) {
        Ok(request) => Ok(Accepted { request, claim: Claim::default(), upgrade: None, trip }),
        Err(_) => Err(trip.refuse(lost("The name of the database is not one that is judged"))),
    }
}

/// An agent that holds several credentials says by the user's name which it means.
fn chosen(classified: &Classified, user: &str) -> Option<(usize, CredentialName)> {
    let holdings = classified.who.live.holdings();
    let held = holdings.placeholders.entries().find(|entry| entry.credential.as_str() == user);
    held.filter(|entry| entry.service == classified.classification.service).map(|entry| (0, entry.credential.clone()))
}

/// Whether the agent could do anything but read in this database, as far as rules tell.
fn reads_only(snapshot: &Snapshot, classified: &Gate, database: &str) -> bool {
    let Some(service) = &classified.opening.service else { return true };
    let one = |(id, class, effects, _): &(&str, Class, Effects, &str)| {
        let forms = vec![(*class, *effects)];
        model::ActionId::new(id).ok().map(|action| Prospect { action, forms, resource: None })
    };
    let changes = catalog::sql::ACTIONS.iter().filter(|(_, class, ..)| *class != Class::Read).filter_map(one);
    let changes: Vec<Prospect> = changes.collect();
    !snapshot.rules.may_reach(&classified.subject.agent, service, &changes, database)
}

async fn connect(
    worker: &Arc<Worker>,
    parcel: Parcel,
    credential: &Credential,
    starts: &Starts,
) -> Result<Joint, Box<Refused>> {
    let Parcel { armed, cut, snapshot, gate, who, mut trip, .. } = parcel;
    let Some(mut gate) = gate else {
        return Err(trip.refuse(Refusal::new(Code::Unavailable, "A connection that cannot be watched is not opened")));
    };
    // Whatever its statements ask for, they are judged as those of this credential.
    gate.presented = Some(credential.name().clone());
    let named = (credential.name().clone(), credential.material().mark());
    let read_only = reads_only(&snapshot, &gate, &starts.database);
    let agent = who.live.session.agent.clone();
    let party = For { agent: &agent, credential: Some(&named), speaks: Speaks::Postgres, presents: None };
    let mut dialled = false;
    let reached = async {
        let stream = snapshot.dialer.connect_database(armed.origin(), party).await;
        let stream = stream.map_err(|error| forward::not_dialled(&error))?;
        dialled = true;
        server::log_in(worker, stream, credential, (starts, read_only)).await
    };
    let reached = tokio::select! {
        biased;
        reached = within(reached) => reached.unwrap_or_else(|| {
            Err(Refusal::new(Code::UpstreamTimeout, "The database server did not let us in in time"))
        }),
        () = who.live.cancelled().cancelled() => Err(identify::ended()),
    };
    let ready = match reached {
        Ok(ready) => ready,
        Err(refusal) => {
            if !dialled {
                trip.recorder.nothing_sent();
            }
            return Err(trip.refuse(refusal));
        }
    };
    let target = Target {
        snapshot: Arc::clone(&snapshot),
        origin: armed.origin().clone(),
        agent: agent.clone(),
        session: who.live.session.id,
        credential: Some(named),
        key: ready.key.unwrap_or_default(),
    };
    let kept = ready.key.and_then(|_| Cancels::keep(worker, target));
    let cut = cut.into_iter().chain([who.live.cancelled().clone(), worker.gateway.cut.clone()]).collect();
    let mut greeting = wire::message(b'R', &[0, 0, 0, 0]).to_vec();
    greeting.extend_from_slice(&ready.parameters);
    if let Some(((process, secret), _)) = &kept {
        let mut key = BytesMut::with_capacity(8);
        key.put_u32(*process);
        key.put_u32(*secret);
        greeting.extend_from_slice(&wire::message(b'K', &key));
    }
    greeting.extend_from_slice(&wire::message(b'Z', b"I"));
    Ok(Joint {
        greeting,
        server: ready.stream,
        gate: Arc::new(*gate),
        cut,
        kept: kept.map(|(_, place)| place),
        recorder: trip.recorder,
        _place: who.place,
    })
}

/// A session at the server, and the agent's.
struct Joint {
    greeting: Vec<u8>,
    server: Stream,
    gate: Arc<Gate>,
    cut: Vec<tokio_util::sync::CancellationToken>,
    kept: Option<Place>,
    recorder: Recorder,
    _place: crate::session::Place,
}

impl Joint {
    async fn run(self, mut client: Client) {
        let Self { greeting, server, gate, cut, kept, recorder, _place } = self;
        let shared = Mutex::new(Shared::new());
        let mut bytes = 0u64;
        let ended = if client.io().write_all(&greeting).await.is_ok() {
            let end = join::end(cut, &gate);
            relay::between((client.io(), server), (&gate, &shared), &mut bytes, end).await
        } else {
            None
        };
        // What the server still does for nobody it would do to its end.
        let busy = shared.lock().busy;
        if let Some(place) = kept.filter(|_| busy) {
            let target = place.target();
            tokio::spawn(async move {
                target.stop().await;
                drop(place);
            });
        }
        let cut = ended.map(|refusal| refusal.code);
        recorder.outcome(ResponseRecord { status: OPENED, bytes, ..ResponseRecord::default() }, cut);
    }
}

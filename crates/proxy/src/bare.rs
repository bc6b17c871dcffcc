//! Bare connections: hosts and ports at which a service file says `protocol: tcp`. Opening one is an exchange like any other,
//! judged, limited, asked about and recorded; then octets pass as they are. They are searched for known secrets on their way out,
//! and nothing is put on: whoever speaks such a protocol through the gateway has no key to it.

use std::sync::Arc;

use arc_swap::Guard;
use bytes::Bytes;
use model::canonical::{CanonicalRequest, Scheme};
use model::event::ResponseRecord;
use model::{Code, Refusal};
use tokio::net::TcpStream;

use crate::accepted::{Accepted, Leg, Trip};
use crate::arm::{Parcel, Ready};
use crate::capture::Road;
use crate::exchange::Refused;
use crate::forward;
use crate::gateway::{Snapshot, Worker};
use crate::identify::Claim;
use crate::net::dial::{For, Speaks, Stream};
use crate::record::Recorder;
use crate::retry::Tries;
use crate::tunnel::Link;
use crate::{arm, classify, decide, identify, join, resolve, respond};

/// What is recorded as the status of a connection that was opened: there is none, and 200 is what CONNECT is answered with.
const OPENED: u16 = 200;

/// The configuration under which this is where a bare connection goes, if it is one.
pub(crate) fn meant(worker: &Worker, link: &Link) -> Option<Arc<Snapshot>> {
    let origin = link.origin.as_ref()?;
    let snapshot = worker.gateway.snapshot.load();
    snapshot.catalog.find(&origin.host, origin.port, Scheme::Tcp)?;
    Some(Guard::into_inner(snapshot))
}

/// Serves it to its end. There are no words in which a refusal could be told: the connection closes, and the record says why.
pub(crate) async fn serve(worker: Arc<Worker>, link: &Link, snapshot: Arc<Snapshot>, tcp: TcpStream) {
    match open(&worker, link, snapshot).await {
        Ok(joint) => joint.run(tcp).await,
        Err(refused) => {
            let Refused { refusal, recorder, side, .. } = *refused;
            recorder.refused(&refusal, respond::status(&refusal, side).as_u16());
        }
    }
}

/// The road, to the connected upstream.
async fn open(worker: &Arc<Worker>, link: &Link, snapshot: Arc<Snapshot>) -> Result<Joint, Box<Refused>> {
    let accepted = accept(worker, link)?;
    let identified = identify::identify(worker, link, accepted).await?;
    let classified = classify::classify(worker, link, snapshot, identified).await?;
    let permitted = decide::decide(worker, classified).await?;
    let resolved = resolve::resolve(worker, permitted).await?;
    match arm::arm(worker, resolved)? {
        Road::Passes(ready) => connect(worker, ready).await,
        Road::HandsOut(held) => Err(held.refuse()),
    }
}

fn accept(worker: &Arc<Worker>, link: &Link) -> Result<Accepted, Box<Refused>> {
    let recorder = Recorder::begin(worker, &link.source);
    let trip = Trip { recorder, leg: Leg::Tunnel, unread: None, held: None, tries: Tries::default() };
    let lost = || Refusal::new(Code::Malformed, "A bare connection goes nowhere");
    let Some(origin) = link.origin.as_ref() else { return Err(trip.refuse(lost())) };
    match CanonicalRequest::connection(origin.host.clone(), origin.port) {
        Ok(request) => Ok(Accepted { request, claim: Claim::default(), upgrade: None, trip }),
        Err(_) => Err(trip.refuse(lost())),
    }
}

async fn connect(worker: &Arc<Worker>, ready: Ready) -> Result<Joint, Box<Refused>> {
    let Parcel { armed, cut, snapshot, gate, who, mut trip, .. } = forward::depart(worker, ready).await?.parcel();
    let Some(gate) = gate else {
        return Err(trip.refuse(Refusal::new(Code::Unavailable, "A connection that cannot be watched is not opened")));
    };
    let party = For { agent: &who.live.session.agent, credential: None, speaks: Speaks::Http, presents: None };
    let upstream = tokio::select! {
        biased;
        upstream = snapshot.dialer.connect(armed.origin(), party) => upstream.map_err(|error| forward::not_dialled(&error)),
        () = who.live.cancelled().cancelled() => Err(identify::ended()),
    };
    match upstream {
        Ok(upstream) => {
            let cut = cut.into_iter().chain([who.live.cancelled().clone(), worker.gateway.cut.clone()]).collect();
            Ok(Joint { upstream, gate, cut, recorder: trip.recorder, _place: who.place })
        }
        Err(refusal) => {
            trip.recorder.nothing_sent();
            Err(trip.refuse(refusal))
        }
    }
}

/// A connection and its upstream.
struct Joint {
    upstream: Stream,
    gate: Box<crate::gate::Gate>,
    cut: Vec<tokio_util::sync::CancellationToken>,
    recorder: Recorder,
    _place: crate::session::Place,
}

impl Joint {
    async fn run(self, client: TcpStream) {
        let Self { upstream, gate, cut, recorder, _place } = self;
        let (mut scan, mut bytes) = (gate.live.known().as_ref().map(inject::KnownSecrets::scan), 0u64);
        // What was found is found before its last octet has left. Nothing is held back: whoever speaks waits for an answer.
        let up = |data: Bytes, pieces: &mut Vec<Bytes>| {
            if let Some(scan) = &mut scan {
                scan.push(data.clone()).map_err(|_| Code::SecretInRequest)?;
            }
            pieces.push(data);
            Ok(())
        };
        let down = |data: Bytes, pieces: &mut Vec<Bytes>| {
            bytes += data.len() as u64;
            pieces.push(data);
            Ok(())
        };
        let cut = join::between((client, upstream), up, down, join::end(cut, &gate)).await;
        recorder.outcome(ResponseRecord { status: OPENED, bytes, ..ResponseRecord::default() }, cut);
    }
}

//! Accepting connections: each worker thread accepts on its own copy of the listening socket, and a connection stays
//! with the thread that took it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::gateway::Worker;
use crate::tunnel;

/// The runtime wakes itself, by a write and a read of a descriptor, whenever a timer is set that is due before all
/// others; each exchange would pay that. One timer that is always due sooner spares it: no patience of ours is shorter.
const PULSE: Duration = Duration::from_secs(1);

/// Accepts until the process is told to stop.
pub async fn listen(worker: Arc<Worker>, listener: TcpListener) {
    accept(worker, listener, tunnel::serve).await;
}

/// The same with another way to serve what was accepted.
pub(crate) async fn accept<S, F>(worker: Arc<Worker>, listener: TcpListener, serve: S)
where
    S: Fn(Arc<Worker>, TcpStream, SocketAddr) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let drain = worker.gateway.drain.clone();
    let mut pulse = tokio::time::interval(PULSE);
    loop {
        tokio::select! {
            biased;
            () = drain.cancelled() => return,
            _ = pulse.tick() => worker.gateway.write_due_counts(&worker.lane),
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => take(&worker, tcp, peer, &serve),
                Err(error) => {
                    // Out of descriptors: what is open goes on, and closing connections make room (row J128).
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
}

fn take<S, F>(worker: &Arc<Worker>, tcp: TcpStream, peer: SocketAddr, serve: &S)
where
    S: Fn(Arc<Worker>, TcpStream, SocketAddr) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let Some(place) = worker.gateway.enter() else {
        tracing::warn!("too many connections; one more was closed");
        return;
    };
    // Without this each answer waits for the client's delayed acknowledgement: 44 ms per new connection.
    if tcp.set_nodelay(true).is_err() {
        return;
    }
    let served = serve(Arc::clone(worker), tcp, peer);
    tokio::spawn(async move {
        served.await;
        drop(place);
    });
}

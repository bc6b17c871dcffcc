//! Diverted connections: the kernel of an isolated agent's namespace brings each to our listener with its address kept, so
//! that programs which know of no proxy are policed like those that do. The namespace itself says whose they are.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use model::canonical::{Origin, Scheme};
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::Worker;
use crate::listen;
use crate::net::names::{Meant, Names};
use crate::session::LiveSession;
use crate::tunnel;

/// A namespace whose connections come here.
pub struct Diverted {
    /// What its addresses stand for.
    pub names: Arc<Names>,
    /// Whose it is; set before anything runs in it.
    pub session: OnceLock<Arc<LiveSession>>,
}

/// Accepts until the process is told to stop.
pub async fn divert(worker: Arc<Worker>, listener: TcpListener, diverted: Arc<Diverted>) {
    listen::accept(worker, listener, move |worker, tcp, _| serve(worker, tcp, Arc::clone(&diverted))).await;
}

/// The same for the proxy's port inside: what speaks to it is the namespace's own, whether it says so or not (a browser
/// sends no password of a proxy before it has been asked, and asks its user then).
pub async fn proxy_inside(worker: Arc<Worker>, listener: TcpListener, diverted: Arc<Diverted>) {
    let serve = move |worker: Arc<Worker>, tcp: TcpStream, peer: SocketAddr| {
        let session = diverted.session.get().map(Arc::clone);
        async move {
            if let Some(session) = session {
                tunnel::serve_for(worker, tcp, peer, Some(session)).await;
            }
        }
    };
    listen::accept(worker, listener, serve).await;
}

async fn serve(worker: Arc<Worker>, tcp: TcpStream, diverted: Arc<Diverted>) {
    // The address that the agent dialled is the local one of a transparent socket (ip(7), IP_TRANSPARENT).
    let (Some(session), Ok(dialled)) = (diverted.session.get(), tcp.local_addr()) else { return };
    // Addresses that stand for nothing were made up: no name of ours has them.
    let Meant::Host(host) = diverted.names.meant(dialled.ip()) else { return };
    let scheme = if dialled.port() == Scheme::Http.default_port() { Scheme::Http } else { Scheme::Https };
    let origin = Origin { scheme, host, port: dialled.port() };
    tunnel::serve_diverted(worker, tcp, (origin, Arc::clone(session))).await;
}

//! A server that speaks whatever octets the test wants, over TCP or TLS: interim answers, broken framing, answers cut
//! in odd places, everything that a proper HTTP library would not send.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// One thing that the server does on a connection.
#[derive(Clone, Debug)]
pub enum Step {
    /// Reads up to and with the blank line that ends a head.
    ReadHead,
    /// Reads this many octets more.
    Read(usize),
    /// Reads until the client says that nothing more comes.
    ReadToEnd,
    /// Writes these octets and flushes.
    Write(Vec<u8>),
    /// Writes each octet in a segment of its own.
    Dribble(Vec<u8>),
    /// Waits.
    Sleep(Duration),
    /// Closes without the TLS farewell.
    Cut,
    /// Begins again with the first step (next request on this connection).
    Again,
}

/// The server; stops when dropped.
#[derive(Debug)]
pub struct RawServer {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl RawServer {
    /// Serves `steps` on every connection; with `tls` behind a handshake.
    #[must_use]
    pub fn start(tls: Option<Arc<ServerConfig>>, steps: Vec<Step>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let journal = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                tokio::select! {
                    () = serve(listener, tls, Arc::new(steps), journal) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { addr, seen, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What each connection sent so far, in order of acceptance.
    #[must_use]
    pub fn seen(&self) -> Vec<Vec<u8>> {
        self.seen.lock().clone()
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: std::net::TcpListener,
    tls: Option<Arc<ServerConfig>>,
    steps: Arc<Vec<Step>>,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((tcp, _)) = listener.accept().await {
        let _ = tcp.set_nodelay(true);
        let (tls, steps, seen) = (tls.clone(), Arc::clone(&steps), Arc::clone(&seen));
        tokio::spawn(async move { one(tcp, tls, &steps, &seen).await });
    }
}

async fn one(tcp: TcpStream, tls: Option<Arc<ServerConfig>>, steps: &[Step], seen: &Mutex<Vec<Vec<u8>>>) {
    let place = {
        let mut seen = seen.lock();
        seen.push(Vec::new());
        seen.len() - 1
    };
    let note = |octets: &[u8]| seen.lock()[place].extend_from_slice(octets);
    match tls {
        None => {
            let mut tcp = tcp;
            let _ = play(&mut tcp, steps, note).await;
        }
        Some(config) => {
            if let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(config).accept(tcp).await
                && let Ok(true) = play(&mut stream, steps, note).await
            {
                let _ = stream.shutdown().await;
            }
        }
    }
}

/// Plays the steps; true where the connection should end politely.
async fn play<S>(stream: &mut S, steps: &[Step], note: impl Fn(&[u8])) -> std::io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut at = 0;
    while let Some(step) = steps.get(at) {
        at += 1;
        match step {
            Step::ReadHead => read_head(stream, &note).await?,
            Step::Read(size) => {
                let mut octets = vec![0; *size];
                stream.read_exact(&mut octets).await?;
                note(&octets);
            }
            Step::ReadToEnd => {
                let mut octets = Vec::new();
                let ended = stream.read_to_end(&mut octets).await;
                note(&octets);
                ended?;
            }
            Step::Write(octets) => {
                stream.write_all(octets).await?;
                stream.flush().await?;
            }
            Step::Dribble(octets) => {
                for octet in octets {
                    stream.write_all(&[*octet]).await?;
                    stream.flush().await?;
                    tokio::task::yield_now().await;
                }
            }
            Step::Sleep(time) => tokio::time::sleep(*time).await,
            Step::Cut => return Ok(false),
            Step::Again => at = 0,
        }
    }
    Ok(true)
}

async fn read_head<S: AsyncRead + Unpin>(stream: &mut S, note: &impl Fn(&[u8])) -> std::io::Result<()> {
    let mut last = Vec::new();
    while !last.ends_with(b"\r\n\r\n") {
        let octet = stream.read_u8().await?;
        note(&[octet]);
        last.push(octet);
    }
    Ok(())
}

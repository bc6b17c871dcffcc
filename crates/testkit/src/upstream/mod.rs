//! A server on loopback that stands in for any host: HTTPS (HTTP/1.1 and HTTP/2 by ALPN) or plain, on a port of its own,
//! with a journal of every request exactly as it arrived. Without handlers it answers like httpbin; see [`routes`].

mod answer;
mod git;
mod journal;
pub mod routes;
mod server;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::oneshot;

pub use answer::{Answer, Content};
pub use git::GitHost;
pub use journal::{Journal, Protocol, Seen};

use crate::ca::{Ca, Leaf};

/// Looks at a request and answers it, or leaves it to the next handler.
pub type Handler = Arc<dyn Fn(&Seen) -> Option<Answer> + Send + Sync>;

/// A running upstream; stops when dropped.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    ca: Arc<Ca>,
    folder: tempfile::TempDir,
    journal: Arc<Journal>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the upstream should be like.
pub struct Builder {
    ca: Option<Arc<Ca>>,
    leaf: Leaf,
    alpn: Vec<&'static str>,
    plain: bool,
    handlers: Vec<Handler>,
    port: u16,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Builder").field("leaf", &self.leaf).field("alpn", &self.alpn).finish_non_exhaustive()
    }
}

impl Builder {
    /// Takes an authority that others know already.
    #[must_use]
    pub fn ca(mut self, ca: &Arc<Ca>) -> Self {
        self.ca = Some(Arc::clone(ca));
        self
    }

    /// Shows a leaf with this fault.
    #[must_use]
    pub fn leaf(mut self, leaf: Leaf) -> Self {
        self.leaf = leaf;
        self
    }

    /// Speaks HTTP/1.1 alone.
    #[must_use]
    pub fn http1(mut self) -> Self {
        self.alpn = vec!["http/1.1"];
        self
    }

    /// Speaks HTTP/2 alone.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.alpn = vec!["h2"];
        self
    }

    /// Speaks clear text.
    #[must_use]
    pub const fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Listens on this port of loopback instead of any free one.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Asks this handler before the built-in routes; the first of several that answers wins.
    #[must_use]
    pub fn handler(mut self, handler: impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static) -> Self {
        self.handlers.push(Arc::new(handler));
        self
    }

    /// Answers this method and this path (query apart) always alike.
    #[must_use]
    pub fn route(self, method: &'static str, path: &'static str, answer: Answer) -> Self {
        self.handler(move |seen| (seen.method == method && seen.path() == path).then(|| answer.clone()))
    }

    /// Starts it.
    #[must_use]
    pub fn start(self) -> Upstream {
        let ca = self.ca.unwrap_or_else(|| Ca::new("testkit upstream"));
        let tls = (!self.plain).then(|| ca.server(self.leaf, &self.alpn));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        let listener = std::net::TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let journal = Arc::new(Journal::default());
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::new(server::Shared { handlers: self.handlers, journal: Arc::clone(&journal) });
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                tokio::select! {
                    () = server::serve(listener, tls, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Upstream { addr, ca, folder, journal, stop: Some(stop), thread: Some(thread) }
    }
}

impl Upstream {
    /// HTTPS with HTTP/1.1 and HTTP/2 and an authority of its own.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// An upstream to be described.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            ca: None,
            leaf: Leaf::Good,
            alpn: vec!["h2", "http/1.1"],
            plain: false,
            handlers: Vec::new(),
            port: 0,
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its authority.
    #[must_use]
    pub const fn ca(&self) -> &Arc<Ca> {
        &self.ca
    }

    /// A file with its authority's certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A folder that lives as long as the upstream.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What arrived.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The entry of `upstreams:` that sends `host` here.
    #[must_use]
    pub fn entry(&self, host: &str) -> String {
        format!("  {host}: {{ address: \"{}\", ca: {} }}\n", self.addr, self.ca_file().display())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

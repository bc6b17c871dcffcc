//! `serve`: gateway and API for many agents. The work is in `wiring`.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::Ambient;
use crate::wiring::Serve;

/// Gateway and API for many agents
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration: a file, or a folder of files; changes are taken in while running
    #[arg(long, value_name = "FILE", default_value = "valetkey.yaml")]
    config: PathBuf,
    /// Where agents connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7800")]
    listen: SocketAddr,
    /// Where operators connect over TCP, with a token [default: the socket in the home alone]
    #[arg(long, value_name = "ADDRESS")]
    api: Option<SocketAddr>,
    /// Where other users of this machine connect to begin sessions of their own: a socket, reachable by its group
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The group that may connect there [default: the gateway's own]
    #[arg(long, value_name = "GROUP", requires = "socket")]
    socket_group: Option<String>,
    /// Believe the header X-Agent-ID: loopback only, for load tests and trials
    #[arg(long)]
    dev_identify_by_header: bool,
    /// Print one line of JSON when ready
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<()> {
        let wanted = Serve {
            config: self.config,
            listen: self.listen,
            api: self.api,
            socket: self.socket.map(|path| (path, self.socket_group)),
            json: self.json,
            identify_by_header: self.dev_identify_by_header,
        };
        crate::wiring::serve(ambient, wanted).await
    }
}

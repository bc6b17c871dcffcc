//! The road on which rotators reach those who make values: the gateway's own, with its names, its `upstreams:` and its checks of
//! certificates, handed in by the wiring.

use std::time::Duration;

use model::bounds;
use model::canonical::Origin;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Pending;
use crate::backend::BackendError;
use crate::far::{Ask, Reply, ask_over};

/// A connection: over verified TLS, or to this machine.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.1.
    Http,
    /// PostgreSQL's protocol: TLS is agreed upon in the clear, before anything else is said.
    Postgres,
}

/// Connects.
pub trait Road: Send + Sync {
    /// A connection that is good to speak on, or why there is none. The origin's certificate was checked.
    fn connect<'a>(&'a self, origin: &'a Origin, spoken: Spoken) -> Pending<'a, Result<Box<dyn Wire>, String>>;
}

/// Asks one question on one connection. Nothing is followed.
pub(crate) async fn ask(road: &dyn Road, origin: &Origin, ask: &Ask) -> Result<Reply, BackendError> {
    let limit = Duration::from_secs(bounds::BACKEND_SECONDS_MAX);
    let away = |what: String| BackendError::Away { what };
    let asked = async {
        let wire = road.connect(origin, Spoken::Http).await.map_err(away)?;
        ask_over(origin, wire, ask).await
    };
    let late = |_| away(format!("{origin} did not answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, asked).await.map_err(late)?
}

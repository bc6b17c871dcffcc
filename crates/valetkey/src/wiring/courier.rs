//! Carries signed messages to webhooks, on the connections' own road: the gateway's names, addresses that are never dialled,
//! `upstreams:`, verified TLS. Nothing is followed, and nothing of an answer is read but its head.

use std::sync::{Arc, OnceLock, Weak};

use approval::channel::Wait;
use approval::{Courier, Letter};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use model::canonical::{Origin, Scheme};
use model::{AgentName, CredentialName};
use policy::document::Receiver;
use proxy::Gateway;
use proxy::net::dial::{For, Speaks};
use tokio::task::JoinSet;

/// Octets of the head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Whose connections these are: no agent's and no credential's of agents, whose versions begin at 1.
const PARTY: &str = "webhooks";

/// The gateway by which all of them connect, once it serves.
pub type Serves = Arc<OnceLock<Weak<Gateway>>>;

/// To one receiver.
pub struct Post {
    receiver: Receiver,
    gateway: Serves,
    party: (AgentName, (CredentialName, u64)),
}

impl Post {
    /// To this one.
    ///
    /// # Errors
    /// None in practice: the name is a constant.
    pub fn new(receiver: Receiver, gateway: &Serves) -> anyhow::Result<Self> {
        let party = (AgentName::new(PARTY)?, (CredentialName::new(PARTY)?, 0));
        Ok(Self { receiver, gateway: Arc::clone(gateway), party })
    }

    async fn post(&self, letter: Letter) -> Result<u16, String> {
        let gateway = self.gateway.get().and_then(Weak::upgrade).ok_or("the gateway does not serve")?;
        let Receiver { host, port, target } = &self.receiver;
        let origin = Origin { scheme: Scheme::Https, host: host.clone(), port: *port };
        let request = Request::post(target)
            .header(header::HOST, origin.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "valetkey")
            .header("webhook-id", letter.id)
            .header("webhook-timestamp", letter.seconds)
            .header("webhook-signature", letter.signature)
            .body(Full::new(letter.body))
            .map_err(|error| error.to_string())?;
        let snapshot = gateway.snapshot.load_full();
        drop(gateway);
        // HTTP/1.1, for one message on one connection.
        let party =
            For { agent: &self.party.0, credential: Some(&self.party.1), speaks: Speaks::Upgrade, presents: None };
        let stream = snapshot.dialer.connect(&origin, party).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        // Ends with this future, whoever drops it.
        let mut drives = JoinSet::new();
        drives.spawn(connection);
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        Ok(answer.status().as_u16())
    }
}

impl Courier for Post {
    fn carry(&self, letter: Letter) -> Wait<'_, Result<u16, String>> {
        Box::pin(self.post(letter))
    }
}

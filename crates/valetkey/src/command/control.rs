//! Asks a running gateway: through the control socket of the home, or of a gateway under another user; or over TCP, as an
//! operator with a token of his own.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::{hidden, usage};
use crate::config::{Ambient, Home, read_bounded};

/// An answer of the control plane is small.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An operator's token is a line of text.
const TOKEN_BYTES_MAX: usize = 4_096;

/// Which gateway is asked, and as whom.
#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
    /// The gateway's API over TCP [default: VALETKEY_API, else a socket]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "socket")]
    api: Option<SocketAddr>,
    /// The socket of a gateway under another user [default: VALETKEY_SOCKET, else that of the home]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// A file that holds your operator's token [default: VALETKEY_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A running gateway, and who asks it.
pub(super) struct Gateway {
    at: At,
    token: Option<HeaderValue>,
}

enum At {
    Socket(PathBuf),
    Tcp(SocketAddr),
}

/// Whose token is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// An operator: his token is asked for where no file has it.
    Operator,
    /// Whoever asks; the token is sent where a file has it.
    Anybody,
}

impl Wanted {
    /// The gateway that is meant.
    ///
    /// # Errors
    /// An address that is none, a token that cannot be read, or none where one is needed.
    pub(super) fn gateway(&self, ambient: &Ambient, who: As) -> anyhow::Result<Gateway> {
        let at = self.at(ambient)?;
        let is_needed = who == As::Operator || matches!(at, At::Tcp(_));
        Ok(Gateway { at, token: self.token(ambient, is_needed)? })
    }

    /// The same, asked with the token of a session; the gateway of that session where none is named.
    ///
    /// # Errors
    /// An address or a token that is none.
    pub(super) fn as_session(
        &self,
        ambient: &Ambient,
        (gateway, token): (SocketAddr, &str),
    ) -> anyhow::Result<Gateway> {
        let named = self.api.is_some() || self.socket.is_some();
        let named = named || ["VALETKEY_API", "VALETKEY_SOCKET"].iter().any(|name| ambient.var(name).is_some());
        // Its own gateway takes the same requests, and has the token anyway.
        let at = if named { self.at(ambient)? } else { At::Tcp(gateway) };
        Ok(Gateway { at, token: Some(bearer(token)?) })
    }

    fn at(&self, ambient: &Ambient) -> anyhow::Result<At> {
        let address = match (self.api, ambient.var("VALETKEY_API")) {
            (None, Some(text)) if self.socket.is_none() => Some(text.parse().map_err(|_| {
                usage(format!("VALETKEY_API is `{text}`, which is no address; write it like 127.0.0.1:7801"))
            })?),
            (given, _) => given,
        };
        let at = match (address, named_socket(ambient, self.socket.as_deref())) {
            (Some(address), _) => At::Tcp(address),
            (None, Some(socket)) => At::Socket(socket),
            (None, None) => At::Socket(Home::open(ambient)?.socket()),
        };
        if let At::Tcp(address) = &at
            && !address.ip().is_loopback()
        {
            return Err(usage(format!(
                "`{address}` is on another machine, and a token would travel to it in clear text; bring it here through a tunnel such as \
                 `ssh -L 7801:{address} HOST`, and name 127.0.0.1:7801"
            )));
        }
        Ok(at)
    }

    fn token(&self, ambient: &Ambient, is_needed: bool) -> anyhow::Result<Option<HeaderValue>> {
        let file = self.token_file.as_deref().or_else(|| ambient.var_os("VALETKEY_TOKEN_FILE").map(Path::new));
        let bytes = match file {
            Some(file) => {
                let path = ambient.folder().join(file);
                let shown = path.display().to_string();
                let mode = std::fs::metadata(&path).map_or(0, |state| state.permissions().mode());
                if mode & 0o077 != 0 {
                    return Err(usage(format!(
                        "`{shown}` can be read by others than you; `chmod 600 {shown}` mends it"
                    )));
                }
                read_bounded(&path, TOKEN_BYTES_MAX)?
                    .with_context(|| format!("`{shown}` does not exist; it is where your operator's token should be"))?
            }
            None if !is_needed => return Ok(None),
            None if std::io::stdin().is_terminal() => hidden::read("Your operator's token")?,
            None => {
                let sentence = "this needs an operator's token, so that no agent can do it: name a file with --token-file or VALETKEY_TOKEN_FILE";
                return Err(usage(sentence));
            }
        };
        let text = String::from_utf8(bytes).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| usage("the operator's token is empty or no line of text"))?;
        bearer(&text).map(Some)
    }
}

fn bearer(token: &str) -> anyhow::Result<HeaderValue> {
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| usage("the token is no line of text"))?;
    value.set_sensitive(true);
    Ok(value)
}

impl Gateway {
    /// The one behind this socket, asked by whoever we are.
    pub(super) fn behind(socket: PathBuf) -> Self {
        Self { at: At::Socket(socket), token: None }
    }

    /// What `path` names.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.served(self.ask((Method::GET, path), &Value::Null).await)
    }

    /// Posts JSON; the answer's JSON.
    ///
    /// # Errors
    /// Nobody serves there, or the answer is a refusal, whose own words are the error.
    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.served(self.post_if_served(path, body).await)
    }

    /// Deletes what `path` names.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.served(self.ask((Method::DELETE, path), &Value::Null).await).map(drop)
    }

    /// [`Self::post`], or nothing where nobody serves.
    ///
    /// # Errors
    /// The gateway is there but cannot be asked, or the answer is a refusal, whose own words are the error.
    pub(super) async fn post_if_served(&self, path: &str, body: &Value) -> anyhow::Result<Option<Value>> {
        self.ask((Method::POST, path), body).await
    }

    /// The answer with its status, whatever that is.
    ///
    /// # Errors
    /// Nobody serves there, or what does cannot be asked.
    pub(super) async fn status_of(&self, what: (Method, &str), body: &Value) -> anyhow::Result<(StatusCode, Value)> {
        self.there(self.exchange(what, body).await)
    }

    fn served(&self, answer: anyhow::Result<Option<Value>>) -> anyhow::Result<Value> {
        self.there(answer)
    }

    fn there<T>(&self, answer: anyhow::Result<Option<T>>) -> anyhow::Result<T> {
        answer?.with_context(|| match &self.at {
            At::Socket(socket) => {
                format!("no gateway answers at `{}`; start one with `valetkey serve --config FILE`", socket.display())
            }
            At::Tcp(address) => {
                format!(
                    "no gateway answers at `{address}`; start one with `valetkey serve --config FILE --api {address}`"
                )
            }
        })
    }

    /// Nothing where nobody serves.
    async fn ask(&self, what: (Method, &str), body: &Value) -> anyhow::Result<Option<Value>> {
        self.exchange(what, body).await?.map(granted).transpose()
    }

    async fn exchange(&self, what: (Method, &str), body: &Value) -> anyhow::Result<Option<(StatusCode, Value)>> {
        let token = self.token.as_ref();
        match &self.at {
            At::Socket(socket) => match connected(UnixStream::connect(socket).await, &socket.display())? {
                Some(stream) => talk(stream, ("localhost", token), what, body).await.map(Some),
                None => Ok(None),
            },
            At::Tcp(address) => match connected(TcpStream::connect(address).await, address)? {
                Some(stream) => talk(stream, (&address.to_string(), token), what, body).await.map(Some),
                None => Ok(None),
            },
        }
    }
}

/// The socket that was named on the command line or by `VALETKEY_SOCKET`: that of a gateway under another user.
pub(super) fn named_socket(ambient: &Ambient, named: Option<&Path>) -> Option<PathBuf> {
    let named = named.or_else(|| ambient.var_os("VALETKEY_SOCKET").map(Path::new))?;
    Some(ambient.folder().join(named))
}

/// Nothing where nobody listens.
fn connected<IO>(stream: std::io::Result<IO>, at: &dyn Display) -> anyhow::Result<Option<IO>> {
    match stream {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error).with_context(|| {
            format!("you may not connect to `{at}`; its group may (`ls -l` names it): join it and log in again")
        }),
        Err(error) => Err(error).with_context(|| format!("`{at}` cannot be asked")),
    }
}

async fn talk<IO>(
    stream: IO,
    (host, token): (&str, Option<&HeaderValue>),
    (method, path): (Method, &str),
    body: &Value,
) -> anyhow::Result<(StatusCode, Value)>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(body)?)))?;
    if let Some(token) = token {
        request.headers_mut().insert(header::AUTHORIZATION, token.clone());
    }
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the gateway's answer cannot be read: {error}"))?.to_bytes();
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}

/// The JSON of an answer that is no refusal.
fn granted((status, value): (StatusCode, Value)) -> anyhow::Result<Value> {
    if !status.is_success() {
        let said =
            value.get("error").or_else(|| value.get("detail")).and_then(Value::as_str).unwrap_or("no reason given");
        let mend = if status == StatusCode::UNAUTHORIZED { "; check the file of --token-file" } else { "" };
        bail!("the gateway says: {said}{mend}");
    }
    Ok(value)
}

//! Asks a running gateway through the control socket of the home, or of a gateway under another user.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::config::{Ambient, Home};

/// An answer of the control plane is small.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The socket that was named on the command line or by `VALETKEY_SOCKET`: that of a gateway under another user.
pub(super) fn named_socket(ambient: &Ambient, named: Option<&Path>) -> Option<PathBuf> {
    let named = named.or_else(|| ambient.var_os("VALETKEY_SOCKET").map(Path::new))?;
    Some(ambient.folder().join(named))
}

/// Posts JSON; the answer's JSON.
///
/// # Errors
/// Nobody serves there, or the answer is a refusal, whose own words are the error.
pub(super) async fn post(socket: &Path, path: &str, body: &Value) -> anyhow::Result<Value> {
    ask(socket, (Method::POST, path), body).await?.with_context(|| nobody(socket))
}

/// Deletes what `path` names.
///
/// # Errors
/// Nobody serves there, or the answer is a refusal, whose own words are the error.
pub(super) async fn delete(socket: &Path, path: &str) -> anyhow::Result<()> {
    ask(socket, (Method::DELETE, path), &Value::Null).await?.map(drop).with_context(|| nobody(socket))
}

/// [`post`], or nothing where nobody serves this home.
///
/// # Errors
/// The socket is there but cannot be used, or the answer is a refusal, whose own words are the error.
pub(super) async fn post_if_served(home: &Home, path: &str, body: &Value) -> anyhow::Result<Option<Value>> {
    ask(&home.socket(), (Method::POST, path), body).await
}

fn nobody(socket: &Path) -> String {
    format!("no gateway answers at `{}`; start one with `valetkey serve --config FILE`", socket.display())
}

async fn ask(socket: &Path, (method, path): (Method, &str), body: &Value) -> anyhow::Result<Option<Value>> {
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(error).with_context(|| {
                format!(
                    "you may not connect to `{}`; its group may (`ls -l` names it): join it and log in again",
                    socket.display()
                )
            });
        }
        Err(error) => return Err(error).with_context(|| format!("`{}` cannot be asked", socket.display())),
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(body)?)))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("the gateway's answer cannot be read: {error}"))?.to_bytes();
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    if !status.is_success() {
        let said =
            value.get("error").or_else(|| value.get("detail")).and_then(Value::as_str).unwrap_or("no reason given");
        bail!("the gateway says: {said}");
    }
    Ok(Some(value))
}

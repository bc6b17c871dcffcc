//! Asks a running gateway through the control socket of the home.

use std::io::ErrorKind;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::config::Home;

/// An answer of the control plane is small.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Posts JSON; the answer's JSON.
///
/// # Errors
/// Nobody serves this home, or the answer is a refusal, whose own words are the error.
pub(super) async fn post(home: &Home, path: &str, body: &Value) -> anyhow::Result<Value> {
    let asked = post_if_served(home, path, body).await?;
    asked.with_context(|| {
        format!("no gateway answers at `{}`; start one with `valetkey serve --config FILE`", home.socket().display())
    })
}

/// [`post`], or nothing where nobody serves this home.
///
/// # Errors
/// The socket is there but cannot be used, or the answer is a refusal, whose own words are the error.
pub(super) async fn post_if_served(home: &Home, path: &str, body: &Value) -> anyhow::Result<Option<Value>> {
    let socket = home.socket();
    let stream = match UnixStream::connect(&socket).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("`{}` cannot be asked", socket.display())),
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post(path)
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

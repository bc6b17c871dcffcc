//! The demo's agent: a child process that knows nothing of Valetkey. It reads `GITHUB_TOKEN`, `HTTPS_PROXY` and
//! `SSL_CERT_FILE` from its environment as any client does, makes six requests, and prints what it saw as JSON lines.

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::config::Ambient;
use crate::wiring::client;

/// The host it works with.
pub(super) const HOST: &str = "api.github.com";

/// What it does, in order: a name for the reader, method, path, body.
const STEPS: [(&str, &str, &str, Option<&str>); 6] = [
    ("echo", "GET", "/user", None),
    (
        "pull",
        "POST",
        "/repos/acme/widgets/pulls",
        Some(r#"{"title":"Tidy imports","head":"agent/tidy","base":"main"}"#),
    ),
    ("pull", "POST", "/repos/acme/widgets/pulls", Some(r#"{"title":"Tidy names","head":"agent/names","base":"main"}"#)),
    ("pull", "POST", "/repos/acme/widgets/pulls", Some(r#"{"title":"Tidy tests","head":"agent/tests","base":"main"}"#)),
    ("comment", "POST", "/repos/acme/widgets/issues/7/comments", Some(r#"{"body":"Fixed by #42"}"#)),
    ("delete", "DELETE", "/repos/acme/widgets", None),
];

/// Runs the agent in this process; prints one JSON object a request.
///
/// # Errors
/// The environment lacks what an agent needs, or the gateway cannot be reached.
pub async fn run(ambient: &Ambient) -> anyhow::Result<()> {
    let token = ambient.var("GITHUB_TOKEN").context("GITHUB_TOKEN is not set")?;
    let proxy = ambient.var("HTTPS_PROXY").context("HTTPS_PROXY is not set")?;
    let bundle = ambient.var("SSL_CERT_FILE").context("SSL_CERT_FILE is not set")?;
    let mut sender = client::connect(&proxy, &bundle, HOST).await?;
    for (name, method, path, body) in STEPS {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes())?)
            .uri(path)
            .header(header::HOST, HOST)
            .header(header::USER_AGENT, "demo-agent")
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        sender.ready().await?;
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())))?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let line =
            json!({ "step": name, "method": method, "path": path, "sent": token, "status": status, "body": body });
        crate::output::line(&line.to_string());
    }
    Ok(())
}

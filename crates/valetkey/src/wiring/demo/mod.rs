//! `valetkey demo`: the main job end to end on this machine, in a few seconds, with nothing installed and nothing left.

mod agent;
pub mod upstream;

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use std::sync::Arc;

use approval::{Reply, Scripted, WaitingRoom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Random;
use serde_json::Value;

pub use agent::run as agent;

use super::open::Opened;
use super::stage::{self, Play};
use crate::clock::SystemRandom;
use crate::config::Ambient;
use crate::output::{self, Paint};
pub use upstream::{Seen, Upstream};

/// What the demo's agent may do, as a user would write it.
const CONFIG: &str = r#"version: 1
egress: closed
credentials:
  github-token: { service: github }
agents:
  demo-agent:
    purpose: Open pull requests for refactorings
    permissions:
      - service: github
        credential: github-token
        actions: [read]
        resources: ["*"]
      - service: github
        credential: github-token
        actions: [pulls/create]
        resources: ["repo:acme/widgets"]
        conditions: { limit: 2/hour, approval: none }
      - service: github
        credential: github-token
        actions: [issues/create-comment]
        resources: ["repo:acme/widgets"]
        conditions: { approval: required }
    denied_actions: [delete_repo]
upstreams:
  api.github.com: { address: "ADDRESS", ca: ./upstream-ca.pem }
"#;

/// Plays the demo; whether everything went as it should.
///
/// # Errors
/// The machine lacks what any run needs: a writable temporary folder, a loopback address.
pub async fn demo(ambient: &Ambient) -> anyhow::Result<bool> {
    let folder = ambient.temporary_folder("valetkey-demo", &SystemRandom)?;
    let played = play(ambient, folder.path()).await;
    folder.remove();
    played
}

async fn play(ambient: &Ambient, folder: &std::path::Path) -> anyhow::Result<bool> {
    let upstream = Upstream::start(&[agent::HOST], upstream::answer).await?;
    crate::config::write_private(&folder.join("upstream-ca.pem"), upstream.ca_pem.as_bytes())?;
    let mut noise = [0u8; 27];
    SystemRandom.fill(&mut noise);
    let real = format!("ghp_{}", URL_SAFE_NO_PAD.encode(noise).replace(['-', '_'], "x"));
    let config = CONFIG.replace("ADDRESS", &upstream.address.to_string());
    let credentials = vec![("github-token", "github", real.clone().into_bytes())];
    let play = Play { folder, config: &config, services: Vec::new(), agent: "demo-agent", credentials };
    let stage = stage::set(ambient, play, scripted_room).await?;
    let steps = run_agent(ambient, &stage.environment).await?;
    let saw = upstream.seen();
    let log_folder = stage.opened.home.audit();
    let public = stage.serving.gateway.log.public_key();
    stage.serving.gateway.log.checkpoint()?;
    let head = stage.serving.gateway.log.head()?.to_string();
    stage.serving.drain(Duration::from_secs(1)).await;
    let report = audit::verify(&log_folder, &public, Some(&head));
    let records = match report {
        Ok(audit::Verified::Whole(report)) => report.records,
        _ => 0,
    };
    Ok(tell(Paint::of_stdout(ambient.wants_colour()), &steps, &saw, (&real, records)))
}

/// A person who says yes once.
fn scripted_room(opened: &Opened) -> WaitingRoom {
    let (store, clock, random) = (opened.store.clone(), opened.clock.clone(), opened.random.clone());
    WaitingRoom::new(store, clock, random, vec![Arc::new(Scripted::new([Reply::Once]))])
}

async fn run_agent(
    ambient: &Ambient,
    environment: &[(std::ffi::OsString, std::ffi::OsString)],
) -> anyhow::Result<Vec<Value>> {
    let program = ambient.own_program()?;
    let output = tokio::process::Command::new(program)
        .args(["demo", "--agent"])
        .env_clear()
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .context("the demo's agent could not be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Prints what happened, side by side, and checks that it is what should have.
fn tell(paint: Paint, steps: &[Value], saw: &[upstream::Seen], (real, records): (&str, u64)) -> bool {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let status = |value: &Value| value.get("status").and_then(Value::as_u64).unwrap_or_default();
    let agent_token = steps.first().map(|step| text(step, "sent")).unwrap_or_default();
    let upstream_token = saw.first().map(|seen| seen.authorization.replace("Bearer ", "")).unwrap_or_default();
    output::line(&paint.strong("What the agent held, and what the upstream got"));
    output::line(&format!("  agent     GITHUB_TOKEN={agent_token}"));
    output::line(&format!("  upstream  Authorization: Bearer {}", shown(&upstream_token)));
    output::line("");
    output::line(&paint.strong("What the agent asked, and what it was told"));
    for step in steps {
        let body = step.get("body").cloned().unwrap_or_default();
        let told = body.get("error").and_then(Value::as_str).map_or_else(|| short(&body), str::to_owned);
        output::line(&format!("  {:3}  {:6} {:42} {told}", status(step), text(step, "method"), text(step, "path")));
    }
    output::line("");
    let echoed = steps.first().map(ToString::to_string).unwrap_or_default();
    let statuses: Vec<u64> = steps.iter().map(status).collect();
    let checks = [
        (
            "the upstream got the real credential, the agent never held it",
            upstream_token == real && agent_token != real,
        ),
        ("the echo of the credential in an answer was masked", !echoed.contains(real) && echoed.contains("octocat")),
        ("two pull requests passed, the third met the limit", statuses.get(1..4) == Some(&[201, 201, 429])),
        ("the comment waited for a person, who said yes", statuses.get(4) == Some(&201)),
        (
            "the deletion was denied and never left",
            statuses.get(5) == Some(&403) && !saw.iter().any(|seen| seen.method == "DELETE"),
        ),
        ("every call is on record, and the record verifies", records >= 10),
    ];
    for (claim, holds) in checks {
        output::line(&format!("  {}  {claim}", if holds { paint.good("ok") } else { paint.bad("NO") }));
    }
    output::line(&format!("\n  verified {records} records. Next: valetkey run -- YOUR AGENT"));
    checks.iter().all(|(_, holds)| *holds)
}

/// The real value is shown only as far as a person needs to tell it from the placeholder.
fn shown(token: &str) -> String {
    let head: String = token.chars().take(8).collect();
    format!("{head}… (the real one, {} characters)", token.chars().count())
}

fn short(body: &Value) -> String {
    body.to_string().chars().take(100).collect()
}

//! `valetkey doctor`: proves on this machine, for each runtime that is here, that a client trusts the session's
//! certificate, goes through the proxy and gets its placeholder swapped. It plays the real program on a small stage.

use std::process::Stdio;
use std::time::Duration;

use approval::WaitingRoom;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Random;

use super::open::Opened;
use super::stage::{self, Play, Stage};
use crate::clock::SystemRandom;
use crate::config::Ambient;
use crate::wiring::demo::Upstream;

/// What was found out about one thing.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Finding {
    /// What was tried: `curl`, `git`, `vault`.
    pub subject: String,
    /// `ok`, `failed` or `absent`.
    pub state: &'static str,
    /// What happened, and the mend where something is wrong.
    pub detail: String,
}

/// A runtime, and how it fetches a URL with the token of its environment.
struct Runtime {
    name: &'static str,
    argv: &'static [&'static str],
    mend: &'static str,
}

const URL: &str = "https://api.github.com/user";

/// Each prints what it got; none is told of the proxy or of a certificate.
const RUNTIMES: [Runtime; 4] = [
    Runtime {
        name: "curl",
        argv: &["sh", "-c", "exec curl -sS -H \"Authorization: Bearer $GITHUB_TOKEN\" https://api.github.com/user"],
        mend: "this curl honours neither HTTPS_PROXY nor CURL_CA_BUNDLE; use one linked with OpenSSL or GnuTLS",
    },
    Runtime {
        name: "git",
        argv: &[
            "sh",
            "-c",
            "exec git -c \"http.extraHeader=Authorization: Bearer $GITHUB_TOKEN\" ls-remote https://api.github.com/user",
        ],
        mend: "this git honours neither HTTPS_PROXY nor GIT_SSL_CAINFO; check `git config --get-all http.proxy`",
    },
    Runtime {
        name: "python3",
        argv: &[
            "python3",
            "-c",
            "import os,urllib.request as u;print(u.urlopen(u.Request('https://api.github.com/user',headers={'Authorization':'Bearer '+os.environ['GITHUB_TOKEN']})).read().decode())",
        ],
        mend: "this Python honours neither HTTPS_PROXY nor SSL_CERT_FILE; for requests set REQUESTS_CA_BUNDLE",
    },
    Runtime {
        name: "node",
        argv: &[
            "node",
            "-e",
            "const t=process.env.GITHUB_TOKEN;fetch('https://api.github.com/user',{headers:{authorization:'Bearer '+t}}).then(r=>r.text()).then(console.log)",
        ],
        mend: "this Node's fetch ignores HTTPS_PROXY (Node 24 and later honour NODE_USE_ENV_PROXY=1); with an older one use undici's EnvHttpProxyAgent, or NODE_OPTIONS=--use-env-proxy where it exists",
    },
];

const CONFIG: &str = r#"version: 1
credentials:
  github-token: { service: github }
agents:
  doctor:
    permissions: [{ service: github, credential: github-token, actions: [read], resources: ["*"] }]
upstreams:
  api.github.com: { address: "ADDRESS", ca: ./upstream-ca.pem }
"#;

/// Examines this machine, on a stage of its own.
///
/// # Errors
/// Not even the stage can be set; the error says what any run would.
pub async fn doctor(ambient: &Ambient) -> anyhow::Result<Vec<Finding>> {
    let folder = ambient.temporary_folder("valetkey-doctor", &SystemRandom)?;
    let upstream = Upstream::start().await?;
    crate::config::write_private(&folder.path().join("upstream-ca.pem"), upstream.ca_pem.as_bytes())?;
    let mut noise = [0u8; 27];
    SystemRandom.fill(&mut noise);
    let real = format!("ghp_{}", URL_SAFE_NO_PAD.encode(noise).replace(['-', '_'], "x"));
    let config = CONFIG.replace("ADDRESS", &upstream.address.to_string());
    let credentials = vec![("github-token", "github", real.clone().into_bytes())];
    let play = Play { folder: folder.path(), config: &config, agent: "doctor", credentials };
    let stage = stage::set(ambient, play, quiet_room).await?;
    let mut findings = Vec::new();
    for runtime in &RUNTIMES {
        findings.push(try_runtime(runtime, &stage, &upstream, &real).await);
    }
    stage.serving.drain(Duration::from_millis(200)).await;
    folder.remove();
    Ok(findings)
}

fn quiet_room(opened: &Opened) -> WaitingRoom {
    WaitingRoom::new(opened.store.clone(), opened.clock.clone(), opened.random.clone(), Vec::new())
}

async fn try_runtime(runtime: &Runtime, stage: &Stage, upstream: &Upstream, real: &str) -> Finding {
    let finding = |state, detail: String| Finding { subject: runtime.name.to_owned(), state, detail };
    let look = format!("command -v {} > /dev/null", runtime.name);
    let present = command(&["sh", "-c", &look], stage).stdout(Stdio::null()).status().await;
    if !present.is_ok_and(|status| status.success()) {
        return finding("absent", "not on this machine's PATH".to_owned());
    }
    let before = upstream.seen().len();
    let run = command(runtime.argv, stage).stderr(Stdio::piped()).output();
    let output = match tokio::time::timeout(Duration::from_secs(20), run).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return finding("failed", error.to_string()),
        Err(_) => return finding("failed", "did not finish within 20 s".to_owned()),
    };
    let seen = upstream.seen();
    let swapped = seen.iter().skip(before).any(|seen| seen.authorization == format!("Bearer {real}"));
    let leaked = String::from_utf8_lossy(&output.stdout).contains(real);
    if swapped && !leaked {
        return finding(
            "ok",
            format!("trusts the session's certificate, goes through the proxy, and its placeholder is swapped ({URL})"),
        );
    }
    let said: String = String::from_utf8_lossy(&output.stderr).chars().take(200).collect();
    finding("failed", format!("{}; it said: {}", runtime.mend, said.trim()))
}

fn command(argv: &[&str], stage: &Stage) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(argv.first().copied().unwrap_or("true"));
    command.args(argv.iter().skip(1)).env_clear().envs(stage.environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

//! `valetkey doctor`: proves on this machine that what Valetkey needs is there: a setting that nobody else can change, walls, for
//! each runtime that a client trusts the session's certificate, goes through the proxy and gets its placeholder swapped, and
//! for each secret manager that it answers and knows us, for each credential that its service takes it.
//!
//! To add a runtime: a file in [`probe`] and a line in its list. What a later part of the house has to say about this
//! machine becomes another group beside [`setting`], [`isolation`], [`runtimes`] and [`credentials`].

mod attack;
mod backends;
mod credentials;
mod isolation;
mod probe;
mod runtimes;
mod setting;
mod upstream;

use std::path::Path;

use crate::config::{Ambient, Sources};

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Our own files.
    Setting,
    /// Walls around an agent.
    Isolation,
    /// A client, and how it fares behind the gateway.
    Runtime,
    /// A secret manager of the configuration.
    Backend,
    /// A credential of the configuration.
    Credential,
    /// One attempt of the hostile agent.
    Attack,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Not as it should be; there is a mend.
    Failed,
    /// Not on this machine.
    Absent,
    /// Could not be tried without harm.
    Untested,
    /// An attempt that succeeds and is left so; the threat model says why.
    Open,
}

impl State {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Absent => "absent",
            Self::Untested => "untested",
            Self::Open => "open",
        }
    }
}

/// What a runtime was seen to do; nothing where that could not be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Proof {
    /// It trusts the session's certificate.
    pub trust: Option<bool>,
    /// It goes through the proxy.
    pub proxy: Option<bool>,
    /// The upstream got the real credential, the client did not.
    pub swap: Option<bool>,
}

/// What was found out about one thing. Scripts read it (`--json`): members are added, never changed.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Finding {
    /// What it is about.
    pub group: Group,
    /// What was tried: `curl`, `python3 requests`, `home`.
    pub subject: String,
    /// How it is.
    pub state: State,
    /// The version, where one was said.
    pub version: Option<String>,
    /// What a runtime was seen to do.
    #[serde(flatten)]
    pub proof: Proof,
    /// What happened.
    pub detail: String,
    /// What to do where something is wrong.
    pub mend: Option<String>,
}

impl Finding {
    fn new(group: Group, subject: impl Into<String>, state: State, detail: impl Into<String>) -> Self {
        let (subject, detail) = (subject.into(), detail.into());
        Self { group, subject, state, version: None, proof: Proof::default(), detail, mend: None }
    }

    fn with_mend(self, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }
}

/// Examines this machine, on a stage of its own, and the credentials of the configuration.
///
/// # Errors
/// Not even the stage can be set; the error says what any run would. The configuration that was named does not exist.
pub async fn doctor(ambient: &Ambient, config: Option<&Path>) -> anyhow::Result<Vec<Finding>> {
    let sources = Sources::find(ambient, config)?;
    let mut findings = setting::examine(ambient, &sources);
    findings.extend(isolation::examine(ambient));
    findings.extend(runtimes::examine(ambient).await?);
    findings.extend(backends::examine(ambient, &sources).await);
    findings.extend(credentials::examine(ambient, &sources, config).await);
    Ok(findings)
}

/// Examines this machine's walls, and has the hostile agent try to get over them.
///
/// # Errors
/// The agent could not be judged; the error says what is missing.
pub fn attack(ambient: &Ambient) -> anyhow::Result<Vec<Finding>> {
    let mut findings = isolation::examine(ambient);
    findings.extend(attack::attack(ambient)?);
    Ok(findings)
}

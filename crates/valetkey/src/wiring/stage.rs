//! A whole Valetkey on a small stage: a home that is thrown away, one gateway, one session. `demo` and `doctor` play on
//! it, so that what they show is the program itself and not a copy.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use approval::WaitingRoom;
use model::{AgentName, CredentialName, ServiceName};
use proxy::net::leaf::{Authority, AuthorityName};
use secret::Secret;
use vault::NewCredential;

use super::environment::{self, Trust};
use super::gateway::{self, Options, Serving};
use super::open::{self, Opened};
use super::plan::Plan;
use super::sessions::{Begun, Wanted};
use crate::config::{Ambient, Sources};

/// What is to be played.
pub struct Play<'a> {
    /// Folder that is thrown away afterwards.
    pub folder: &'a Path,
    /// The configuration, as a user would write it.
    pub config: &'a str,
    /// Services that it needs besides those that are known.
    pub services: Vec<catalog::ServiceFile>,
    /// The agent.
    pub agent: &'a str,
    /// Credentials: name, service, value.
    pub credentials: Vec<(&'a str, &'a str, Vec<u8>)>,
}

/// The stage, set.
pub struct Stage {
    /// The home.
    pub opened: Arc<Opened>,
    /// The gateway.
    pub serving: Serving,
    /// The session, alive as long as the stage stands.
    _begun: Begun,
    /// What the agent's process gets.
    pub environment: Vec<(OsString, OsString)>,
    _trust: Trust,
}

/// Sets the stage.
///
/// # Errors
/// Whatever would stop `run`.
pub async fn set(
    ambient: &Ambient,
    play: Play<'_>,
    room: impl FnOnce(&Opened) -> WaitingRoom,
) -> anyhow::Result<Stage> {
    let ambient = ambient.at_home(play.folder);
    let opened = open::open(&ambient).await?;
    for (name, service, value) in play.credentials {
        let (name, service) = (CredentialName::new(name)?, ServiceName::new(service)?);
        let (tenant, kind, inject) = (opened.tenant.clone(), "token".to_owned(), "placeholder".to_owned());
        let new = NewCredential { tenant, name, service: Some(service), kind, inject };
        opened.vault.add(&new, Secret::new(value)).await?;
    }
    let config: PathBuf = play.folder.join("valetkey.yaml");
    let sources = Sources::of_text(play.config, &config)?.with_services(play.services);
    let plan = Plan::make(&sources, &[])?;
    let name = AuthorityName { name: "Valetkey stage".to_owned(), domains: Vec::new() };
    let authority = Authority::fresh(&name, Arc::clone(&opened.clock), Arc::clone(&opened.random))?;
    let trust = Trust::write(&opened.home, &ambient, &authority, opened.clock.now())?;
    let log = opened.log()?;
    let options = Options {
        listen: ([127, 0, 0, 1], 0).into(),
        workers: 1,
        room: room(&opened),
        authority,
        identify_by_header: false,
        doors: super::walls::Doors::default(),
    };
    let serving = gateway::start(&opened, plan, log, options)?;
    let wanted = Wanted { agent: AgentName::new(play.agent)?, task: None, user: None, ttl_seconds: Some(600) };
    let begun = serving.maker.begin(wanted).await?;
    let environment = environment::of_agent(&ambient, &begun, (serving.address, &[]), &trust);
    Ok(Stage { opened, serving, _begun: begun, environment, _trust: trust })
}

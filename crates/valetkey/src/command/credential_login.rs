//! `credential login`: a person logs in, with a browser here or with a code elsewhere.

use model::CredentialName;
use model::event::{CredentialUse, Kind};
use serde_json::json;

use super::local::Local;
use crate::config::Ambient;
use crate::output;
use crate::wiring::LogIn;

/// Log in
#[derive(Debug, clap::Args)]
pub struct LoginArgs {
    /// The credential, which the configuration names
    name: CredentialName,
    /// The configuration that names it
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// With a code that is typed in on another device, instead of a browser on this machine
    #[arg(long, conflicts_with = "port")]
    device: bool,
    /// The port of this machine to which the browser comes back; any free one where nothing is given
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl LoginArgs {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let name = &self.name;
        let log_in = LogIn::open(ambient, self.config.as_deref(), name).await?;
        let tokens = if self.device {
            let device = log_in.by_device(|login| {
                let at = login.verification_uri_complete.as_ref().unwrap_or(&login.verification_uri);
                output::remark(&output::safe(&format!("open {at} anywhere and enter {}", login.user_code)));
            });
            device.await?
        } else {
            let open = |url: &str| {
                output::remark("open this address in a browser of this machine:");
                output::remark(&output::safe(url));
            };
            log_in.by_browser(self.port, open).await?
        };
        let added = log_in.keep(tokens).await?;
        Local::open(ambient).await?.record(Kind::Credential, |event| {
            event.service = log_in.service().cloned();
            event.credential = Some(CredentialUse { name: name.clone(), version: added.version });
            event.reason = Some(format!("{} logged in: version {}", Local::operator(), added.version));
        })?;
        if self.json {
            output::json(&json!({ "credential": name, "version": added.version }))?;
        } else {
            output::line(&format!("logged in: {name} version {} is in the built-in vault", added.version));
        }
        Ok(true)
    }
}

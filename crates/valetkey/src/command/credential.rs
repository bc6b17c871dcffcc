//! `credential add|list|show|test|login|rotate|rollback|revoke`. A value comes on standard input or from a prompt that does not echo.

use std::io::IsTerminal;

use clap::{Subcommand, ValueEnum};
use model::event::{CredentialUse, Kind};
use model::{CredentialName, ServiceName, UserName, bounds};
use secret::Secret;
use serde_json::{Value, json};
use vault::{NewCredential, Summary};

use super::local::Local;
use super::run::span_seconds;
use super::{hidden, usage};
use crate::config::{Ambient, without_line_end};
use crate::output;
use crate::wiring::{Done, RotationWanted, Tested, Turning};

/// What can be done with credentials.
#[derive(Debug, Subcommand)]
pub enum Credential {
    /// Store a value in the built-in vault; it comes on standard input or from a prompt
    Add(AddArgs),
    /// All of them, never their values
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One of them, never its value
    Show {
        /// Its name
        name: CredentialName,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Whether its service takes it: one harmless request, on the road that agents take
    Test(TestArgs),
    /// Never use it again, from this moment on
    Revoke {
        /// Its name
        name: CredentialName,
        /// One version alone
        #[arg(long = "version", value_name = "N")]
        number: Option<u64>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Log in where the configuration says how (`issue: { oauth2: .. }`); the tokens go into the built-in vault
    Login(super::credential_login::LoginArgs),
    /// Let a new value take over: one that comes on standard input or from a prompt, or one that the configuration's program makes
    Rotate(RotateArgs),
    /// Go back to the version before, while it is in grace
    Rollback {
        /// Its name
        name: CredentialName,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// How it is put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Inject {
    /// In place of its placeholder
    Placeholder,
    /// On every request to its service, for clients that send nothing (git)
    Always,
}

/// Store a value
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// Its name
    name: CredentialName,
    /// The service it is for (`valetkey service list`)
    #[arg(long, value_name = "SERVICE", conflicts_with = "replace")]
    service: Option<ServiceName>,
    /// What it is: `token`, or `basic` for user:password; `private-key` (PEM) or `gcp` (a key file) for what an issuer is asked with
    #[arg(long, value_name = "KIND", conflicts_with = "replace")]
    kind: Option<String>,
    /// How it is put on
    #[arg(long, value_enum, default_value = "placeholder", conflicts_with = "replace")]
    inject: Inject,
    /// Store a new version of one that exists, for the same service; the one before is used no more
    #[arg(long)]
    replace: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Let a new value take over
#[derive(Debug, clap::Args)]
pub struct RotateArgs {
    /// Its name
    name: CredentialName,
    /// The configuration that names it
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// How long the old value stays good, such as `10m`; what the configuration says, or an hour, where nothing is given
    #[arg(long, value_name = "SPAN", value_parser = span_seconds)]
    grace: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl RotateArgs {
    async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let local = Local::open(ambient).await?;
        let Some(summary) = find(&local, &self.name).await? else { return Ok(false) };
        let turning = Turning::open(ambient, self.config.as_deref()).await?;
        let value = turning.wants_value(&self.name).then(|| read_value(&self.name)).transpose()?;
        let (name, by) = (&self.name, Local::operator());
        let wanted = RotationWanted { name, grace: self.grace, by: by.clone() };
        let done = turning.rotate(&wanted, value).await?;
        let (version, words) = match &done {
            Done::Rotated { old, new, .. } => (*new, format!("{by} rotated it: version {new} took over from {old}")),
            Done::Kept { why } => (0, format!("{by} could not rotate it: {why}")),
        };
        local.record(Kind::Credential, |event| {
            event.service.clone_from(&summary.service);
            event.credential = Some(CredentialUse { name: name.clone(), version });
            event.reason = Some(words);
        })?;
        match &done {
            Done::Rotated { old, new, retire } if self.json => {
                output::json(
                    &json!({ "credential": name, "version": new, "grace": { "version": old, "until": retire } }),
                )?;
            }
            Done::Kept { why } if self.json => {
                output::json(&json!({ "credential": name, "version": null, "failure": why }))?;
            }
            Done::Rotated { old, new, retire } => output::line(&format!(
                "{name} rotated: version {new} is in use; version {old} stays good until {retire} (`valetkey credential rollback {name}` goes back to it)"
            )),
            Done::Kept { why } => {
                output::line(&output::safe(&format!(
                    "{name} stays as it is, because the new value does not work: {why}"
                )));
            }
        }
        Ok(matches!(done, Done::Rotated { .. }))
    }
}

async fn roll_back(ambient: &Ambient, name: &CredentialName, json: bool) -> anyhow::Result<bool> {
    let local = Local::open(ambient).await?;
    let Some(summary) = find(&local, name).await? else { return Ok(false) };
    let (old, new) = local.vault().await?.roll_back(&local.tenant, name).await?;
    local.record(Kind::Credential, |event| {
        event.service.clone_from(&summary.service);
        event.credential = Some(CredentialUse { name: name.clone(), version: old });
        event.reason = Some(format!("{} went back to version {old}; version {new} is out of use", Local::operator()));
    })?;
    if json {
        output::json(&json!({ "credential": name, "version": old, "revoked": new }))?;
    } else {
        output::line(&format!(
            "{name} went back to version {old}; version {new} is out of use here, and valid at its service until you revoke it there"
        ));
    }
    Ok(true)
}

/// Whether its service takes it: one harmless request, on the road that agents take
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// Its name
    name: CredentialName,
    /// The configuration that names it
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// The person whose own it is, where each has their own
    #[arg(long, value_name = "NAME")]
    user: Option<UserName>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl TestArgs {
    async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let Tested { status: _, failure, scopes } =
            crate::wiring::credential_test(ambient, (&self.name, self.user), self.config.as_deref()).await?;
        if self.json {
            output::json(
                &json!({ "credential": self.name, "ok": failure.is_none(), "failure": failure, "scopes": scopes }),
            )?;
        } else {
            match &failure {
                None => {
                    let told = scopes.filter(|scopes| !scopes.is_empty());
                    let told = told.map(|scopes| format!("; it may: {}", scopes.join(", "))).unwrap_or_default();
                    output::line(&output::safe(&format!("{} works: its service takes it{told}", self.name)));
                }
                Some(failure) => output::line(&output::safe(&format!("{}: {failure}", self.name))),
            }
        }
        Ok(failure.is_none())
    }
}

impl Credential {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        match self {
            Self::Add(args) => args.run(ambient).await,
            Self::List { json } => list(ambient, json).await,
            Self::Show { name, json } => show(ambient, &name, json).await,
            Self::Test(args) => args.run(ambient).await,
            Self::Revoke { name, number, json } => revoke(ambient, &name, number, json).await,
            Self::Login(args) => args.run(ambient).await,
            Self::Rotate(args) => args.run(ambient).await,
            Self::Rollback { name, json } => roll_back(ambient, &name, json).await,
        }
    }
}

impl AddArgs {
    async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let kind = self.kind_of(ambient)?;
        let local = Local::open(ambient).await?;
        let exists = local.store.credentials().get(&local.tenant, &self.name).await?.is_some();
        if exists && !self.replace {
            return Err(usage(format!(
                "there is a credential `{}` already; --replace stores a new version of it",
                self.name
            )));
        }
        if !exists && self.replace {
            return Err(usage(format!("there is no credential `{}` to replace; leave --replace out", self.name)));
        }
        if vault::has_lines(&kind) && std::io::stdin().is_terminal() {
            return Err(usage(format!(
                "a value of kind `{kind}` has lines; pipe its file in: `credential add {} .. < FILE`",
                self.name
            )));
        }
        let value = read_value(&self.name)?;
        let vault = local.vault().await?;
        let added = if exists {
            vault.add_version(&local.tenant, &self.name, value).await?
        } else {
            let inject = if self.inject == Inject::Always { "always" } else { "placeholder" };
            let new = NewCredential {
                tenant: local.tenant.clone(),
                name: self.name.clone(),
                service: self.service.clone(),
                kind: kind.clone(),
                inject: inject.to_owned(),
            };
            vault.add(&new, value).await?
        };
        local.record(Kind::Credential, |event| {
            event.service.clone_from(&self.service);
            event.credential = Some(CredentialUse { name: self.name.clone(), version: added.version });
            event.reason = Some(format!("{} stored version {}", Local::operator(), added.version));
        })?;
        if let Some(warning) = &added.warning {
            output::remark(&format!("note: {warning}"));
        }
        if self.json {
            output::json(
                &json!({ "credential": self.name, "service": self.service, "kind": kind, "version": added.version }),
            )?;
        } else {
            output::line(&format!("stored {} version {} in the built-in vault", self.name, added.version));
        }
        Ok(true)
    }

    /// The kind, and whether the service is known.
    fn kind_of(&self, ambient: &Ambient) -> anyhow::Result<String> {
        let Some(name) = &self.service else { return Ok(self.kind.clone().unwrap_or_else(|| "token".to_owned())) };
        let catalog = super::service::known(ambient)?;
        let Some(service) = catalog.service(name.as_str()) else {
            return Err(usage(super::service::unknown(&catalog, name.as_str())));
        };
        let first = || service.credential_kinds().next().unwrap_or("token").to_owned();
        Ok(self.kind.clone().unwrap_or_else(first))
    }
}

/// Reads a value from standard input, or at a prompt that does not echo.
fn read_value(name: &CredentialName) -> anyhow::Result<Secret> {
    let bytes = hidden::read(&format!("Value of {name}"))?;
    if bytes.len() > bounds::SECRET_BYTES_MAX {
        anyhow::bail!("the value is larger than 64 KiB; store a reference to where it lies instead");
    }
    let bytes = without_line_end(bytes);
    if bytes.is_empty() {
        return Err(usage("the value is empty; pipe it in, or type it at the prompt"));
    }
    Ok(Secret::new(bytes))
}

fn facts(summary: &Summary) -> Value {
    let versions = summary.versions.iter().map(|version| {
        json!({ "version": version.version, "state": version.state.as_str(), "created": version.created, "used": version.used })
    });
    json!({
        "credential": summary.name,
        "service": summary.service,
        "kind": summary.kind,
        "source": summary.source,
        "inject": summary.inject,
        "created": summary.created,
        "revoked": summary.revoked,
        "versions": versions.collect::<Vec<_>>(),
    })
}

fn used(summary: &Summary) -> String {
    summary.versions.iter().filter_map(|version| version.used).max().map_or_else(|| "-".to_owned(), |at| at.to_string())
}

async fn list(ambient: &Ambient, json: bool) -> anyhow::Result<bool> {
    let local = Local::open(ambient).await?;
    let all = local.vault().await?.list(&local.tenant).await?;
    if json {
        output::json(&all.iter().map(facts).collect::<Vec<_>>())?;
    } else if all.is_empty() {
        output::line("no credential is stored; `valetkey credential add NAME --service SERVICE` stores one");
    } else {
        let row = |summary: &Summary| {
            let service = summary.service.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
            let state = if summary.revoked { "revoked" } else { "usable" };
            vec![
                summary.name.to_string(),
                service,
                summary.kind.clone(),
                summary.source.clone(),
                state.to_owned(),
                used(summary),
            ]
        };
        let head = ["CREDENTIAL", "SERVICE", "KIND", "SOURCE", "STATE", "USED"];
        output::table(&head, &all.iter().map(row).collect::<Vec<_>>());
    }
    Ok(true)
}

/// One credential, or a remark that there is none.
async fn find(local: &Local, name: &CredentialName) -> anyhow::Result<Option<Summary>> {
    if local.store.credentials().get(&local.tenant, name).await?.is_none() {
        output::remark(&format!(
            "there is no credential `{name}` in this home; `valetkey credential list` shows those that are"
        ));
        return Ok(None);
    }
    Ok(Some(local.vault().await?.show(&local.tenant, name).await?))
}

async fn show(ambient: &Ambient, name: &CredentialName, json: bool) -> anyhow::Result<bool> {
    let local = Local::open(ambient).await?;
    let Some(summary) = find(&local, name).await? else { return Ok(false) };
    if json {
        output::json(&facts(&summary))?;
        return Ok(true);
    }
    let service = summary.service.as_ref().map_or("-", ServiceName::as_str);
    output::line(&format!(
        "{} for {service}: {}, {}, from {}",
        summary.name, summary.kind, summary.inject, summary.source
    ));
    let row = |version: &vault::VersionSummary| {
        let used = version.used.map_or_else(|| "-".to_owned(), |at| at.to_string());
        vec![version.version.to_string(), version.state.as_str().to_owned(), version.created.to_string(), used]
    };
    output::table(&["VERSION", "STATE", "CREATED", "USED"], &summary.versions.iter().map(row).collect::<Vec<_>>());
    Ok(true)
}

async fn revoke(ambient: &Ambient, name: &CredentialName, number: Option<u64>, json: bool) -> anyhow::Result<bool> {
    let local = Local::open(ambient).await?;
    let Some(summary) = find(&local, name).await? else { return Ok(false) };
    if let Some(number) = number.filter(|number| !summary.versions.iter().any(|version| version.version == *number)) {
        output::remark(&format!(
            "`{name}` has no version {number}; `valetkey credential show {name}` lists its versions"
        ));
        return Ok(false);
    }
    local.vault().await?.revoke(&local.tenant, name, number, &Local::operator()).await?;
    let what = number.map_or_else(|| "every version".to_owned(), |number| format!("version {number}"));
    local.record(Kind::Credential, |event| {
        event.service.clone_from(&summary.service);
        event.credential = Some(CredentialUse { name: name.clone(), version: number.unwrap_or(0) });
        event.reason = Some(format!("{} revoked {what}", Local::operator()));
    })?;
    if json {
        output::json(&json!({ "credential": name, "version": number, "revoked": true }))?;
    } else {
        output::line(&format!("revoked {what} of {name}; it is still valid at its service until you revoke it there"));
    }
    Ok(true)
}

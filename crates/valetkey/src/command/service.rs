//! `service list|show|test|import`.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use catalog::import::{self, Wish};
use catalog::{Catalog, Outcome, Service as Known, ServiceFile};
use clap::Subcommand;
use serde_json::{Value, json};

use super::usage;
use crate::config::{Ambient, Sources, read_bounded, read_text};
use crate::output;

/// What can be done with services.
#[derive(Debug, Subcommand)]
pub enum Service {
    /// All that are known
    List {
        #[command(flatten)]
        from: From,
    },
    /// One of them: hosts, actions, where its credential goes
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        from: From,
    },
    /// Run the cases of service files
    Test {
        /// Services by name, or service files by path; all services if none is named
        names: Vec<String>,
        #[command(flatten)]
        from: From,
    },
    /// Draft a service file of an OpenAPI description or the tools of an MCP server
    Import(Import),
}

/// What a draft is made of.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The description (JSON or YAML), or the answer to `tools/list`; `-` for the standard input
    description: PathBuf,
    /// The service's name [default: made of the description's title]
    #[arg(long)]
    name: Option<String>,
    /// The host where it lives [default: the description's first server]
    #[arg(long)]
    host: Option<String>,
    /// The path where MCP is spoken [default: /mcp]
    #[arg(long, value_name = "PATH")]
    at: Option<String>,
    /// Write the draft to this new file instead of the standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Where services come from besides the built-in ones, and how they are printed.
#[derive(Debug, clap::Args)]
pub struct From {
    /// A configuration that names service files
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Service {
    pub(super) fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        match self {
            Self::List { from } => list(&catalogue(&Sources::find(ambient, from.config.as_deref())?)?, from.json),
            Self::Show { name, from } => {
                let catalog = catalogue(&Sources::find(ambient, from.config.as_deref())?)?;
                show(&catalog, &name, from.json)
            }
            Self::Test { names, from } => {
                let mut files = Sources::find(ambient, from.config.as_deref())?.services()?;
                let names =
                    names.into_iter().map(|name| named(name, &mut files)).collect::<anyhow::Result<Vec<_>>>()?;
                test(&Catalog::with(files)?, &names, from.json)
            }
            Self::Import(import) => import.run(),
        }
    }
}

/// The name of a service, or of the file that is named in its place: one that a configuration names too is read once.
fn named(name: String, files: &mut Vec<ServiceFile>) -> anyhow::Result<String> {
    let is_path = name.contains('/') || [".yaml", ".yml"].iter().any(|ending| name.ends_with(ending));
    if !is_path {
        return Ok(name);
    }
    let (file, text) = read_text(Path::new(&name), "name a service, or the path of a service file")?;
    let file = ServiceFile::parse(&text, &file)?;
    let name = file.name.clone();
    files.retain(|known| known.name != name);
    files.push(file);
    Ok(name)
}

impl Import {
    fn run(self) -> anyhow::Result<bool> {
        let text = if self.description.as_os_str() == "-" {
            let mut text = String::new();
            let bound = import::DESCRIPTION_BYTES_MAX as u64 + 1;
            std::io::stdin().take(bound).read_to_string(&mut text).context("the standard input is no text")?;
            text
        } else {
            let octets = read_bounded(&self.description, import::DESCRIPTION_BYTES_MAX)?;
            let octets = octets.with_context(|| format!("`{}` does not exist", self.description.display()))?;
            String::from_utf8(octets).with_context(|| format!("`{}` is no text", self.description.display()))?
        };
        let wish = Wish { name: self.name.as_deref(), host: self.host.as_deref(), at: self.at.as_deref() };
        let draft = import::import(&text, wish)?;
        match &self.output {
            None => output::line(draft.yaml.trim_end()),
            Some(path) => {
                let mut file = OpenOptions::new().write(true).create_new(true).open(path).with_context(|| {
                    format!("`{}` cannot be made; nothing is written over, so name a new file", path.display())
                })?;
                file.write_all(draft.yaml.as_bytes())?;
            }
        }
        for reason in &draft.left_out {
            output::remark(&output::safe(&format!("note: {reason}")));
        }
        let (name, all, guessed) = (&draft.name, draft.operations, draft.guessed);
        let shown = self.output.as_ref().map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
        output::remark(&format!(
            "{all} operations of `{name}`, {guessed} of them guessed to be more than they say; look at each `review`, name the file under \
             `services:`, and run `valetkey service test {shown}`"
        ));
        Ok(true)
    }
}

/// The built-in services and those that a configuration names.
pub(super) fn catalogue(sources: &Sources) -> anyhow::Result<Catalog> {
    Ok(Catalog::with(sources.services()?)?)
}

/// The same for commands that look services up and apply no rule.
pub(super) fn known(ambient: &Ambient) -> anyhow::Result<Catalog> {
    let (sources, planted) = Sources::find_services(ambient)?;
    if let Some(planted) = planted {
        output::remark(&format!("note: built-in services alone: {planted}"));
    }
    catalogue(&sources)
}

/// What to say of a name that no service has.
pub(super) fn unknown(catalog: &Catalog, name: &str) -> String {
    let names: Vec<&str> = catalog.services().map(|service| service.name().as_str()).collect();
    let near =
        names.iter().filter(|known| known.starts_with(name) || name.starts_with(**known)).copied().collect::<Vec<_>>();
    let hint = if near.is_empty() {
        format!("known are {}", names.join(", "))
    } else {
        format!("did you mean `{}`?", near.join("`, `"))
    };
    format!("no service is called `{}`; {hint}", output::safe(name))
}

fn facts(service: &Known) -> Value {
    let hosts: Vec<&str> = service.hosts().iter().map(|host| &*host.name).collect();
    json!({
        "service": service.name(),
        "title": service.title(),
        "docs": service.docs(),
        "hosts": hosts,
        "actions": service.actions().count(),
        "credential_kinds": service.credential_kinds().collect::<Vec<_>>(),
        "environment": service.environment().collect::<Vec<_>>(),
    })
}

fn list(catalog: &Catalog, json: bool) -> anyhow::Result<bool> {
    if json {
        output::json(&catalog.services().map(facts).collect::<Vec<_>>())?;
        return Ok(true);
    }
    let row = |service: &Known| {
        let hosts: Vec<&str> = service.hosts().iter().map(|host| &*host.name).take(3).collect();
        vec![
            service.name().to_string(),
            service.title().to_owned(),
            service.actions().count().to_string(),
            hosts.join(" "),
        ]
    };
    output::table(&["SERVICE", "TITLE", "ACTIONS", "HOSTS"], &catalog.services().map(row).collect::<Vec<_>>());
    Ok(true)
}

fn show(catalog: &Catalog, name: &str, json: bool) -> anyhow::Result<bool> {
    let Some(service) = catalog.service(name) else {
        output::remark(&unknown(catalog, name));
        return Ok(false);
    };
    let words = service.words();
    if json {
        let mut facts = facts(service);
        if let Some(map) = facts.as_object_mut() {
            map.insert("schemes".to_owned(), serde_json::to_value(service.schemes())?);
            map.insert("actions".to_owned(), serde_json::to_value(&words.actions)?);
            map.insert("aliases".to_owned(), serde_json::to_value(&words.aliases)?);
            map.insert("scopes".to_owned(), serde_json::to_value(&words.scopes)?);
        }
        output::json(&facts)?;
        return Ok(true);
    }
    let hosts: Vec<&str> = service.hosts().iter().map(|host| &*host.name).collect();
    output::line(&format!("{} ({}): {}", service.title(), service.name(), hosts.join(", ")));
    if let Some(docs) = service.docs() {
        output::line(docs);
    }
    let variables: Vec<&str> = service.environment().collect();
    if !variables.is_empty() {
        output::line(&format!("found in {}", variables.join(", ")));
    }
    let row = |(id, action): (&String, &model::vocabulary::ActionWords)| {
        let effects: Vec<&str> = action.effects.iter().map(model::Effect::as_str).collect();
        vec![id.clone(), action.class.to_string(), action.resource.clone(), effects.join(" ")]
    };
    output::table(&["ACTION", "CLASS", "RESOURCE", "EFFECTS"], &words.actions.iter().map(row).collect::<Vec<_>>());
    Ok(true)
}

fn test(catalog: &Catalog, names: &[String], json: bool) -> anyhow::Result<bool> {
    let all: Vec<String> = catalog.services().map(|service| service.name().to_string()).collect();
    if let Some(name) = names.iter().find(|name| !all.contains(name)) {
        return Err(usage(unknown(catalog, name)));
    }
    let names = if names.is_empty() { &all } else { names };
    let outcomes: Vec<(&String, Outcome)> =
        names.iter().flat_map(|name| catalog.test(name).into_iter().map(move |outcome| (name, outcome))).collect();
    let failed = outcomes.iter().filter(|(_, outcome)| outcome.failure.is_some()).count();
    if json {
        let case = |(service, outcome): &(&String, Outcome)| json!({ "service": service, "request": outcome.request, "ok": outcome.failure.is_none(), "failure": outcome.failure });
        output::json(&outcomes.iter().map(case).collect::<Vec<_>>())?;
        return Ok(failed == 0);
    }
    for (service, outcome) in &outcomes {
        if let Some(failure) = &outcome.failure {
            output::line(&output::safe(&format!("{service}: {}: {failure}", outcome.request)));
        }
    }
    output::line(&format!("{} cases, {failed} failed", outcomes.len()));
    Ok(failed == 0)
}

//! `service list|show|test`.

use std::path::PathBuf;

use catalog::{Catalog, Outcome, Service as Known};
use clap::Subcommand;
use serde_json::{Value, json};

use super::later::Anything;
use super::usage;
use crate::config::{Ambient, Sources};
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
        /// Services; all of them if none is named
        names: Vec<String>,
        #[command(flatten)]
        from: From,
    },
    /// Make a service file of a description (not in this version)
    #[command(hide = true)]
    Import(Anything),
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
                let catalog = catalogue(&Sources::find(ambient, from.config.as_deref())?)?;
                test(&catalog, &names, from.json)
            }
            Self::Import(_) => Err(usage(
                "`service import` is not in this version; write a service file by hand and name it under `services:`",
            )),
        }
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

//! `policy check|schema|test|replay|diff|suggest|prove`. To add a subcommand: a file here and a line in [`Policy`].

mod diff;
mod prove;
mod replay;
pub(super) mod suggest;
mod test;

use std::path::{Path, PathBuf};

use anyhow::Context;
use catalog::Catalog;
use clap::Subcommand;
use model::bounds;
use policy::document::{Diagnostic, Note};
use policy::{Explained, Rules};
use serde_json::json;

use crate::config::{Ambient, Faults, Sources, read_bounded};
use crate::output;

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Whether configurations can be used; what is wrong with them
    Check {
        /// Files, or folders of files that are one configuration each
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The JSON Schema of the configuration
    Schema,
    /// Run tables of cases against a policy
    Test(test::Args),
    /// Judge what is on record by this policy: what would be otherwise, call by call
    Replay(replay::Args),
    /// The least permissions that cover what is on record
    Suggest(suggest::Args),
    /// What is newly allowed or denied between two configurations
    Diff(diff::Args),
    /// Prove statements about a policy, or find a request that refutes them
    Prove(prove::Args),
}

impl Policy {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        match self {
            Self::Check { files, json } => check_all(ambient, &files, json),
            Self::Schema => {
                output::line(&serde_json::to_string_pretty(&policy::document::json_schema())?);
                Ok(true)
            }
            Self::Test(args) => args.run(ambient),
            Self::Replay(args) => args.run(ambient),
            Self::Diff(args) => args.run(ambient),
            Self::Suggest(args) => args.run(ambient),
            Self::Prove(args) => args.run(ambient).await,
        }
    }
}

/// What checking one configuration came to.
pub(super) enum Checked {
    /// It can be used.
    Good(Box<Ready>),
    /// It cannot.
    Bad(Vec<Diagnostic>),
}

/// A configuration that can be used.
pub(super) struct Ready {
    pub(super) rules: Rules,
    pub(super) catalog: Catalog,
    pub(super) notes: Vec<Note>,
}

/// Reads and compiles a configuration, without anything that surrounds it.
pub(super) fn check(sources: &Sources) -> anyhow::Result<Checked> {
    let (document, notes) = match sources.document() {
        Ok(read) => read,
        Err(error) => return error.downcast::<Faults>().map(|faults| Checked::Bad(faults.0)),
    };
    let catalog = super::service::catalogue(sources)?;
    match Rules::compile(&document, &catalog.vocabulary()) {
        Ok(rules) => Ok(Checked::Good(Box::new(Ready { rules, catalog, notes }))),
        Err(faults) => Ok(Checked::Bad(faults)),
    }
}

/// The rules and services of a configuration.
///
/// # Errors
/// It cannot be used; the faults say why.
pub(super) fn ready(sources: &Sources) -> anyhow::Result<Box<Ready>> {
    match check(sources)? {
        Checked::Good(ready) => Ok(ready),
        Checked::Bad(faults) => Err(Faults(faults).into()),
    }
}

/// A text that people wrote: `what` says what it is, for messages.
///
/// # Errors
/// It is not there, too large, or no UTF-8.
fn text_of(ambient: &Ambient, path: &Path, what: &str) -> anyhow::Result<String> {
    let name = path.display();
    let bytes = read_bounded(&ambient.folder().join(path), bounds::CONFIG_BYTES_MAX)?
        .with_context(|| format!("`{name}` does not exist; check the path of the {what}"))?;
    String::from_utf8(bytes).ok().with_context(|| format!("`{name}` is not UTF-8 text; save it as UTF-8"))
}

/// What a policy says to a request, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// It passes, within its limits.
    Allow,
    /// It passes when a person says so.
    Ask,
    /// It does not pass.
    Deny,
    /// It is refused before policy looks at it: two readers could understand it differently.
    Refused,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
            Self::Refused => "refused",
        }
    }

    fn of(explained: &Explained) -> Self {
        if explained.decision != "allow" {
            Self::Deny
        } else if explained
            .conditions
            .iter()
            .any(|condition| condition.get("kind").is_some_and(|kind| kind == "approval"))
        {
            Self::Ask
        } else {
            Self::Allow
        }
    }
}

fn check_all(ambient: &Ambient, files: &[PathBuf], json: bool) -> anyhow::Result<bool> {
    let (mut faults, mut notes) = (Vec::new(), Vec::new());
    for file in files {
        match check(&Sources::find(ambient, Some(file))?)? {
            Checked::Good(ready) => notes.extend(ready.notes),
            Checked::Bad(more) => faults.extend(more),
        }
    }
    let good = faults.is_empty();
    if json {
        output::json(&json!({ "ok": good, "problems": faults, "notes": notes }))?;
        return Ok(good);
    }
    for note in &notes {
        output::line(&output::safe(&format!("note: {note}")));
    }
    for fault in &faults {
        output::line(&output::safe(&fault.to_string()));
    }
    if good {
        output::line(&format!("{} file{} can be used", files.len(), if files.len() == 1 { "" } else { "s" }));
    }
    Ok(good)
}

//! `policy diff`: what is newly allowed or denied between two configurations.

use std::path::PathBuf;

use model::AgentName;
use policy::compare::{Comparison, Policy, compare};
use serde_json::{Value, json};

use super::ready;
use crate::command::usage;
use crate::config::{Ambient, Sources};
use crate::output;

/// What is newly allowed or denied between two configurations
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration before: a file, or a folder of files
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The configuration after
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// For this agent alone
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let old = ready(&Sources::find(ambient, Some(&self.old))?)?;
        let new = ready(&Sources::find(ambient, Some(&self.new))?)?;
        if let Some(agent) = &self.agent
            && ![&old, &new].iter().any(|side| side.rules.knows_agent(agent) || side.rules.is_for_all())
        {
            let named: Vec<&str> = old.rules.agent_names().chain(new.rules.agent_names()).collect();
            return Err(usage(format!(
                "agent `{agent}` is in neither configuration; they name: {}",
                sorted(named).join(", ")
            )));
        }
        let words = [old.catalog.vocabulary(), new.catalog.vocabulary()];
        let [old_words, new_words] = &words;
        let before = Policy { rules: &old.rules, words: old_words };
        let after = Policy { rules: &new.rules, words: new_words };
        let comparison = compare(before, after, self.agent.as_ref())?;
        if self.json {
            output::json(&told(&comparison)?)?;
        } else {
            print(&comparison);
        }
        Ok(comparison.is_same())
    }
}

fn sorted(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names.dedup();
    names
}

/// The comparison as JSON: its members, and of each difference the line that is printed.
pub(super) fn told(comparison: &Comparison) -> anyhow::Result<Value> {
    let mut differences = Vec::new();
    for difference in &comparison.differences {
        let mut value = serde_json::to_value(difference)?;
        if let Some(object) = value.as_object_mut() {
            object.insert("text".to_owned(), difference.words().into());
        }
        differences.push(value);
    }
    Ok(json!({
        "same": comparison.is_same(),
        "settings": comparison.settings,
        "differences": differences,
        "compared": comparison.compared,
    }))
}

pub(super) fn print(comparison: &Comparison) {
    for line in comparison.lines() {
        output::line(&output::safe(&line));
    }
    if comparison.is_same() {
        output::line("no difference: both decide alike");
    }
}

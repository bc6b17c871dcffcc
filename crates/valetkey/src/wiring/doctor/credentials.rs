//! Each credential of the configuration, asked of its own service.

use std::path::Path;

use super::{Finding, Group, State};
use crate::command::Usage;
use crate::config::{Ambient, Sources};
use crate::wiring::plan::Plan;
use crate::wiring::{Tested, credential_test};

/// All of them, in the order in which they are written. A configuration that cannot be used was a finding already.
pub(super) async fn examine(ambient: &Ambient, sources: &Sources, config: Option<&Path>) -> Vec<Finding> {
    let (Ok(plan), Ok((document, _))) = (Plan::make(sources, &[]), sources.document()) else { return Vec::new() };
    let mut findings = Vec::new();
    // What a log-in may fill one day is in the plan too, and is nothing that could be asked.
    let written = |name: &str| document.credentials.iter().any(|(known, _)| known.value == name);
    for held in plan.credentials.iter().filter(|held| written(held.name.as_str())) {
        let finding = |state, detail: String| Finding::new(Group::Credential, held.name.as_str(), state, detail);
        let reference = held.from.as_deref().and_then(|from| vault::Reference::parse(from).ok());
        if reference.is_some_and(|reference| reference.is_template()) {
            let how =
                format!("it is each session's own; `valetkey credential test {} --user NAME` asks with one", held.name);
            findings.push(finding(State::Untested, how));
            continue;
        }
        findings.push(match credential_test(ambient, (&held.name, None), config).await {
            Ok(Tested { failure: None, .. }) => finding(State::Ok, "its service takes it".to_owned()),
            Ok(Tested { failure: Some(why), .. }) => finding(State::Failed, why).with_mend(format!(
                "replace it where it comes from; one of the vault with `valetkey credential add {} --replace`",
                held.name
            )),
            Err(error) if error.downcast_ref::<Usage>().is_some() => finding(State::Untested, error.to_string()),
            Err(error) => finding(State::Failed, format!("{error:#}"))
                .with_mend(format!("`valetkey credential test {}` tries it alone", held.name)),
        });
    }
    findings
}

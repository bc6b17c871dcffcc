//! Our own files: whether somebody else could change what is believed.

use super::{Finding, Group, State};
use crate::config::{Ambient, Sources, refuse_foreign};
use crate::wiring::plan::Plan;

/// The program, the home and the configuration.
pub(super) fn examine(ambient: &Ambient, sources: &Sources) -> Vec<Finding> {
    let program = ambient.own_program().and_then(|path| {
        refuse_foreign(&path)?;
        Ok(format!("`{}` cannot be replaced by others", path.display()))
    });
    let home = ambient.state_folder().and_then(|path| {
        if !path.exists() {
            return Ok(format!("`{}` is made on first use", path.display()));
        }
        refuse_foreign(&path)?;
        Ok(format!("`{}` cannot be changed by others", path.display()))
    });
    let mut findings = vec![finding("program", program), finding("home", home)];
    if let Some(origin) = sources.origin() {
        let whole = Plan::make(sources, &[]).and_then(|_| sources.refuse_foreign());
        let whole = whole.map(|()| format!("`{}` can be used and cannot be changed by others", origin.display()));
        findings.push(finding("configuration", whole));
    }
    findings
}

fn finding(subject: &str, examined: anyhow::Result<String>) -> Finding {
    match examined {
        Ok(detail) => Finding::new(Group::Setting, subject, State::Ok, detail),
        // These errors say themselves what to do.
        Err(error) => Finding::new(Group::Setting, subject, State::Failed, format!("{error:#}")),
    }
}

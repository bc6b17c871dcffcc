//! Each secret manager of the configuration, asked whether it answers and knows us.

use super::{Finding, Group, State};
use crate::config::{Ambient, Sources};
use crate::wiring::open;
use crate::wiring::plan::Plan;

/// All of them, in the order in which they are written. A configuration that cannot be used was a finding already.
pub(super) async fn examine(ambient: &Ambient, sources: &Sources) -> Vec<Finding> {
    let Ok(plan) = Plan::make(sources, &[]) else { return Vec::new() };
    if plan.sites.is_empty() {
        return Vec::new();
    }
    let failed = |subject: &str, why: String| {
        Finding::new(Group::Backend, subject, State::Failed, why)
            .with_mend("see `backends:` in the configuration, and whether it can be reached from here")
    };
    let opened = match open::open(ambient).await {
        Ok(opened) => opened,
        Err(error) => return vec![failed("back ends", format!("{error:#}"))],
    };
    if let Err(error) = opened.vault.take_sites(plan.sites, &crate::wiring::sites::tls) {
        return vec![failed("back ends", error.to_string())];
    }
    let mut findings = Vec::new();
    for (health, outcome) in opened.vault.check_sites().await {
        findings.push(match outcome {
            Ok(()) => {
                let detail = format!("{} answers and knows us", health.address);
                Finding::new(Group::Backend, health.word, State::Ok, detail)
            }
            Err(error) => failed(&health.word, error.to_string()),
        });
    }
    opened.vault.close().await;
    findings
}

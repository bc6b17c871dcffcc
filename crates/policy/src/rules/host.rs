//! Hosts that no service knows: by profile, by `egress`, and under the guarded policy by asking once.

use std::sync::Arc;

use model::{Class, CredentialName, bounds};

use super::decide::{Weighed, Weighing, strictest};
use super::{CredentialFacts, Rules};
use crate::condition::{Ask, Required};
use crate::document::Egress;
use crate::limit::{LimitNeed, Over};
use crate::profile::Reach;
use crate::{Question, guarded, refuse};

impl Rules {
    pub(crate) fn weigh_host(&self, question: &Question<'_>) -> Weighing {
        let host = question.origin.host.as_str();
        let class = Class::of_method(question.method);
        if let Some(presented) = question.presented {
            return match self.credentials.get_key_value(presented).filter(|(_, facts)| facts.binds(host)) {
                Some((name, _)) if self.guarded => bound_host(question, name, class),
                _ => Err(Box::new(refuse::other_credential(presented.as_str(), host))),
            };
        }
        let named = self.profiles.iter().find(|profile| profile.names_host(host));
        if let Some(profile) = named.filter(|profile| profile.reach == Reach::Use || class == Class::Read) {
            return Ok(by_rule(&format!("profile/{}", profile.name)));
        }
        match self.egress {
            Some(Egress::Open) => Ok(by_rule("egress")),
            None if self.guarded => {
                let mut bound = self.credentials.iter().filter(|(_, facts)| facts.binds(host));
                match (bound.next(), bound.next()) {
                    (Some((name, _)), None) => bound_host(question, name, class),
                    _ => ask_host(question),
                }
            }
            _ => Err(Box::new(refuse::unknown_host(host))),
        }
    }
}

impl CredentialFacts {
    fn binds(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| known == host)
    }
}

fn by_rule(rule: &str) -> Weighed {
    Weighed { rules: vec![Arc::from(rule)], ..Weighed::default() }
}

/// A host that the user bound to a credential: the guarded policy by method alone.
fn bound_host(question: &Question<'_>, credential: &CredentialName, class: Class) -> Weighing {
    let rule = match class {
        Class::Read => guarded::READS,
        Class::Write => guarded::WRITES,
        _ => guarded::ASKS,
    };
    let mut weighed = Weighed { credential: Some(credential.clone()), ..by_rule(rule) };
    let subject = question.subject;
    let host = question.origin.host.as_str();
    if class == Class::Write {
        weighed.required.limits.push(LimitNeed {
            key: format!("{}/{rule}/{host}/{}/hour", subject.agent, question.method),
            amount: 1,
            max: guarded::WRITES_PER_HOUR,
            period_micros: 3_600_000_000,
            label: format!("{}/hour", guarded::WRITES_PER_HOUR),
            rule: rule.to_owned(),
            over: Over::Ask,
        });
    } else if class != Class::Read {
        let asks = [ask(rule, false, format!("{} at {host} destroys", question.method))];
        weighed.approval = strictest(&asks, subject, &mut || format!("{} {host}", question.method))?;
        weighed.required = Required { asks: asks.to_vec(), ..Required::default() };
    }
    Ok(weighed)
}

/// A host that nobody knows asks once in a session.
fn ask_host(question: &Question<'_>) -> Weighing {
    let origin = question.origin;
    let asks = [ask(guarded::HOSTS, true, format!("no service knows the host {origin}"))];
    let approval = strictest(&asks, question.subject, &mut || origin.to_string())?;
    let required = Required { asks: asks.to_vec(), ..Required::default() };
    Ok(Weighed { required, approval, ..by_rule(guarded::HOSTS) })
}

fn ask(rule: &str, once: bool, reason: String) -> Ask {
    Ask {
        rule: Arc::from(rule),
        once,
        timeout_seconds: bounds::APPROVAL_SECONDS_DEFAULT,
        of: Vec::new(),
        count: 1,
        reason,
    }
}

//! Which credential goes on: the placeholder chooses it and the permission must name it; with none, exactly one must
//! remain.

use model::{Call, CredentialName, Refusal};
use smallvec::SmallVec;

use super::{Rule, Rules, Uses};
use crate::{fallback, refuse};

/// The permissions that apply to each call.
pub(crate) type Applying<'a> = SmallVec<[(&'a Call, SmallVec<[u32; 4]>); 1]>;

impl Rules {
    /// Whether a rule lets the agent use this credential for a call of `service`.
    pub(crate) fn lets_use(&self, rule: &Rule, service: &str, credential: &CredentialName) -> bool {
        match &rule.uses {
            Uses::Named(name) => name == credential,
            Uses::OfService => {
                self.credentials
                    .get(credential)
                    .and_then(|facts| facts.service.as_ref())
                    .map(model::ServiceName::as_str)
                    == Some(service)
            }
        }
    }

    /// The credentials that a rule could put on without being told.
    pub(crate) fn choices<'a>(&'a self, rule: &'a Rule, service: &str) -> &'a [CredentialName] {
        match &rule.uses {
            // A credential that nobody declared cannot be put on; the policy is judged all the same.
            Uses::Named(name) if self.credentials.contains_key(name) => std::slice::from_ref(name),
            Uses::Named(_) => &[],
            Uses::OfService => self.services.get(service).map_or(&[], |service| service.credentials.as_slice()),
        }
    }

    /// The one credential that every call of a request without a placeholder may use; none where no rule names any.
    ///
    /// # Errors
    /// Several could be used.
    pub(crate) fn sole_credential(
        &self,
        service: &str,
        applying: &Applying<'_>,
    ) -> Result<Option<CredentialName>, Box<Refusal>> {
        let mut common: Option<SmallVec<[&CredentialName; 2]>> = None;
        let mut open = true;
        for (_, numbers) in applying {
            let rules = numbers.iter().filter_map(|number| self.list.get(*number as usize));
            let mut mine: SmallVec<[&CredentialName; 2]> = SmallVec::new();
            for rule in rules {
                open &= rule.uses == Uses::OfService;
                for name in self.choices(rule, service) {
                    if !mine.contains(&name) {
                        mine.push(name);
                    }
                }
            }
            common = Some(match common {
                None => mine,
                Some(known) if known.is_empty() && mine.is_empty() => mine,
                Some(known) => {
                    let both: SmallVec<[&CredentialName; 2]> =
                        known.iter().copied().filter(|name| mine.contains(name)).collect();
                    if both.is_empty() {
                        return Err(Box::new(refuse::ambiguous(&names(known.iter().chain(&mine)))));
                    }
                    both
                }
            });
        }
        let mut common = common.unwrap_or_default();
        if common.len() > 1 {
            // What stands in for another is chosen when that one fails.
            let all = common.clone();
            common.retain(|name| !all.iter().any(|one| fallback::is_behind(&self.credentials, one, name)));
        }
        match common.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some((*only).clone())),
            // Found, not written: with nothing to choose by, the request goes out bare.
            _ if open => Ok(None),
            several => Err(Box::new(refuse::ambiguous(&names(several.iter())))),
        }
    }
}

fn names<'a>(names: impl Iterator<Item = &'a &'a CredentialName>) -> Vec<String> {
    names.map(ToString::to_string).collect()
}

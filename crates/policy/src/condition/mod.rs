//! Conditions of a permission, one file each. Some say whether it applies (they become Cedar text), the others say
//! what must hold once it does.

mod approval;
mod expires;
mod hours;
mod limit;
mod max;
mod role;
mod source;
mod task;
mod user;
mod when;

use std::fmt;
use std::sync::Arc;

use model::vocabulary::ServiceWords;
use model::{ActionId, Call, Fact, Refusal, Timestamp};

pub(crate) use approval::Approval as ApprovalCondition;
pub(crate) use limit::Burst;

use crate::Subject;
use crate::document::{At, Conditions, Diagnostic, nearest};
use crate::limit::LimitNeed;

/// Which parts of the context a rule's Cedar text looks at. What nobody needs is not built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs(u16);

impl Needs {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const CLASS: Self = Self(1);
    pub(crate) const RESOURCE: Self = Self(2);
    pub(crate) const RAW: Self = Self(4);
    pub(crate) const TASK: Self = Self(8);
    pub(crate) const TIME: Self = Self(16);
    pub(crate) const USER: Self = Self(32);
    pub(crate) const FACTS: Self = Self(64);
    pub(crate) const HOLDS: Self = Self(128);
    pub(crate) const ACTION: Self = Self(256);
    /// What may differ between two requests for the same action and resource.
    const CHANGING: u16 = Self::TASK.0 | Self::TIME.0 | Self::USER.0 | Self::FACTS.0 | Self::HOLDS.0;

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the outcome may be kept for the next request for the same action and resource.
    pub(crate) const fn keeps(self) -> bool {
        self.0 & Self::CHANGING == 0
    }
}

/// What an applying permission covers of one exchange.
pub(crate) struct Covered<'a> {
    pub(crate) rule: &'a Arc<str>,
    pub(crate) subject: &'a Subject,
    pub(crate) service: &'a str,
    pub(crate) calls: &'a [&'a Call],
}

/// A question that some rule wants to ask.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) rule: Arc<str>,
    pub(crate) once: bool,
    pub(crate) timeout_seconds: u64,
    pub(crate) of: Vec<String>,
    /// How many people must agree.
    pub(crate) count: u32,
    pub(crate) reason: String,
}

/// What all applying permissions require together.
#[derive(Debug, Default)]
pub(crate) struct Required {
    pub(crate) limits: Vec<LimitNeed>,
    pub(crate) asks: Vec<Ask>,
}

/// One condition.
pub(crate) trait Condition: Send + Sync + fmt::Debug {
    /// The Cedar expression that says whether the permission applies; none where it always does.
    fn cedar(&self) -> Option<String> {
        None
    }

    /// What that expression looks at.
    fn needs(&self) -> Needs {
        Needs::NONE
    }

    /// A text that stands in `context.holds` while the condition holds, for what Cedar cannot say itself.
    fn holds(&self, _subject: &Subject, _now: Timestamp) -> Option<&str> {
        None
    }

    /// Adds what must hold beyond applying.
    ///
    /// # Errors
    /// A refusal where it certainly does not.
    fn require(&self, _covered: &Covered<'_>, _required: &mut Required) -> Result<(), Box<Refusal>> {
        Ok(())
    }

    /// Whether the body must be read for it, for these calls.
    fn reads_body(&self, _calls: &[&Call]) -> bool {
        false
    }

    /// The condition as `explain` prints it: an object with a `kind`.
    fn explain(&self) -> Option<serde_json::Value> {
        None
    }
}

/// What conditions are read with.
pub(crate) struct Reader<'a> {
    /// The file, for messages.
    pub(crate) file: &'a str,
    /// The service of the permission; none where it is every service.
    pub(crate) words: Option<&'a ServiceWords>,
    /// What counters of this permission are called; stable over edits of other rules.
    pub(crate) key: &'a str,
    /// What was found wrong.
    pub(crate) problems: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn say(&mut self, at: &At<String>, message: impl Into<String>, nearest: Option<String>) {
        self.problems.push(Diagnostic {
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            text: at.value.clone(),
            message: message.into(),
            nearest,
        });
    }

    /// The actions that declare a fact; a fact that none declares is a mistake.
    fn declaring(&mut self, fact: &At<String>) -> Vec<String> {
        let Some(words) = self.words else { return Vec::new() };
        let declaring: Vec<String> = words
            .actions
            .iter()
            .filter(|(_, action)| action.facts.contains_key(&fact.value))
            .map(|(id, _)| id.clone())
            .collect();
        if declaring.is_empty() && !words.actions.is_empty() {
            let known = words.actions.values().flat_map(|action| action.facts.keys()).map(String::as_str);
            let word = nearest(&fact.value, known);
            self.say(fact, format!("no action of this service has the fact `{}`", fact.value), word);
        }
        declaring
    }
}

type Read = fn(&Conditions, &mut Reader<'_>) -> Vec<Box<dyn Condition>>;

/// Every condition.
const ALL: &[Read] = &[
    task::read,
    hours::read,
    source::read,
    user::read,
    role::read,
    expires::read,
    when::read,
    max::read,
    limit::read,
    approval::read,
];

/// Reads all conditions of a permission.
pub(crate) fn read(written: &Conditions, reader: &mut Reader<'_>) -> Vec<Box<dyn Condition>> {
    ALL.iter().flat_map(|read| read(written, reader)).collect()
}

/// A number that a rule needs.
enum Number {
    /// It is known.
    Known(u64),
    /// The action has no such fact.
    Absent,
    /// It cannot be known, and why.
    Unknown(String),
}

/// The value of a fact that a rule needs. What cannot be seen is not allowed: a fact that the action declares and the
/// request does not hold is unknown (a refund without an amount is a full refund), and so is every fact of an unknown
/// path that is not a read.
fn number(call: &Call, fact: &str, declaring: &[String]) -> Number {
    match call.facts.get(fact) {
        Some(Fact::Int(value)) => {
            u64::try_from(*value).map_or_else(|_| Number::Unknown(format!("{fact} is negative")), Number::Known)
        }
        Some(Fact::Unknown(why)) => {
            let why = serde_json::to_string(why).unwrap_or_default();
            Number::Unknown(format!("{fact} cannot be known ({})", why.trim_matches('"')))
        }
        Some(_) => Number::Unknown(format!("{fact} is not a number")),
        None if declares(&call.action, declaring) => Number::Unknown(format!("{fact} is not in the request")),
        None if call.action.as_str().starts_with("http/") && call.class > model::Class::Read => {
            Number::Unknown(format!("{fact} cannot be known for an unknown path"))
        }
        None => Number::Absent,
    }
}

fn declares(action: &ActionId, declaring: &[String]) -> bool {
    declaring.iter().any(|known| known == action.as_str())
}

/// A fact's full name: `amount` is `body.amount`.
fn full_name(fact: &str) -> String {
    if fact.contains('.') { fact.to_owned() } else { format!("body.{fact}") }
}

/// Whether the calls must be read again with their body before this fact is known.
fn fact_in_body(fact: &str, calls: &[&Call], declaring: &[String]) -> bool {
    fact.starts_with("body.")
        && calls.iter().any(|call| {
            declaring.is_empty()
                || declares(&call.action, declaring)
                || call.facts.get(fact).is_some()
                || call.action.as_str().starts_with("http/")
        })
}

#[cfg(test)]
mod tests {
    /// A file in this folder that the list does not name would be a condition that never runs.
    #[test]
    fn the_list_is_whole() {
        assert_eq!(super::ALL.len(), 10);
    }
}

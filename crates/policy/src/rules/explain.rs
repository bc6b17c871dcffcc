//! The decision as `explain` prints it.

use std::sync::Arc;

use model::{CredentialName, Refusal};
use serde::Serialize;
use serde_json::{Value, json};

use super::decide::Weighed;
use super::{Rule, Rules};
use crate::Question;

/// A decision for people: the fields that `explain` adds to a classification.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// `allow` or `deny`. In `mode: observe` what would be decided, were it enforced.
    pub decision: &'static str,
    /// The code of a denial.
    pub code: Option<model::Code>,
    /// The rules that decided.
    pub rules: Vec<Arc<str>>,
    /// What the applying permissions say: objects with a `kind` and the `rule`.
    pub conditions: Vec<Value>,
    /// The credential that would be put on.
    pub credential: Option<CredentialName>,
    /// The sentence that the agent would read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What could be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Rules {
    /// Judges the policy alone: nothing is counted, asked or resolved.
    #[must_use]
    pub fn explain(&self, question: &Question<'_>) -> Explained {
        match self.weigh(question) {
            Ok(weighed) => self.explain_allow(weighed),
            Err(refusal) => explain_deny(*refusal),
        }
    }

    fn explain_allow(&self, weighed: Weighed) -> Explained {
        let mut conditions = Vec::new();
        for rule in weighed.numbers.iter().filter_map(|number| self.list.get(*number as usize)) {
            conditions.extend(written(rule));
        }
        if weighed.numbers.is_empty() {
            let limits = weighed.required.limits.iter();
            conditions.extend(limits.map(|need| json!({ "kind": "limit", "limit": need.label, "rule": need.rule })));
        }
        if let Some(need) = &weighed.approval {
            conditions.push(json!({
                "kind": "approval",
                "approval": if need.once_per_session { "once-per-session" } else { "required" },
                "timeout_seconds": need.timeout_seconds,
                "reason": need.reason,
                "rule": need.rule,
            }));
        }
        Explained {
            decision: "allow",
            code: None,
            rules: weighed.rules,
            conditions,
            credential: weighed.credential,
            error: None,
            hint: None,
        }
    }
}

/// The conditions of a rule, but for its approval, which is said once for all rules.
fn written(rule: &Rule) -> impl Iterator<Item = Value> + '_ {
    rule.conditions.iter().filter_map(|condition| condition.explain()).filter_map(|mut value| {
        let object = value.as_object_mut()?;
        if object.get("kind").is_some_and(|kind| kind == "approval") {
            return None;
        }
        object.insert("rule".to_owned(), Value::from(&*rule.id));
        Some(value)
    })
}

fn explain_deny(refusal: Refusal) -> Explained {
    Explained {
        decision: "deny",
        code: Some(refusal.code),
        rules: refusal.rule.map(Arc::from).into_iter().collect(),
        conditions: Vec::new(),
        credential: None,
        error: Some(refusal.public),
        hint: refusal.hint,
    }
}

//! `when`: a Cedar expression over the typed facts of a call: `context.facts["body.draft"] == true`.
//!
//! Facts that cannot be known are not in `context.facts`; a call that has one which the expression names is denied
//! before it is evaluated (`rules::judge`), so that `has` cannot take unknown for absent.

use std::str::FromStr as _;

use model::Call;

use super::{Condition, Needs, Reader};
use crate::document::Conditions;

#[derive(Debug)]
struct When(String);

pub(super) fn read(written: &Conditions, reader: &mut Reader<'_>) -> Vec<Box<dyn Condition>> {
    let Some(at) = &written.when else { return Vec::new() };
    // Read alone first, so that no text can end the expression and begin a policy of its own.
    if let Err(error) = cedar_policy::Expression::from_str(&at.value) {
        reader.say(at, format!("not a Cedar expression: {error}"), None);
        return Vec::new();
    }
    vec![Box::new(When(at.value.clone()))]
}

impl Condition for When {
    fn cedar(&self) -> Option<String> {
        // A line break ends a comment that the expression may end with.
        Some(format!("({}\n)", self.0))
    }

    fn needs(&self) -> Needs {
        Needs::FACTS.and(Needs::CLASS).and(Needs::TASK).and(Needs::USER).and(Needs::TIME)
    }

    fn reads_body(&self, _: &[&Call]) -> bool {
        self.0.contains("body.")
    }

    fn explain(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "kind": "when", "when": self.0 }))
    }
}

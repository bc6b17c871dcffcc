//! `when`: a Cedar expression over the typed facts of a call: `context.facts["body.draft"] == true`.
//!
//! Facts that cannot be known are not in `context.facts`; a call that has one which the expression names is denied
//! before it is evaluated (`rules::judge`), so that `has` cannot take unknown for absent.

use model::Call;

use super::{Condition, Needs, Reader};
use crate::compile::expression::{self, Looks};
use crate::document::Conditions;

#[derive(Debug)]
struct When {
    text: String,
    looks: Looks,
}

pub(super) fn read(written: &Conditions, reader: &mut Reader<'_>) -> Vec<Box<dyn Condition>> {
    let Some(at) = &written.when else { return Vec::new() };
    match expression::looks(&at.value) {
        Ok(looks) => vec![Box::new(When { text: at.value.clone(), looks })],
        Err((message, near)) => {
            reader.say(at, message, near);
            Vec::new()
        }
    }
}

impl Condition for When {
    fn cedar(&self) -> Option<String> {
        // A line break ends a comment that the expression may end with.
        Some(format!("({}\n)", self.text))
    }

    fn needs(&self) -> Needs {
        Needs::FACTS.and(Needs::CLASS).and(Needs::TASK).and(Needs::USER).and(Needs::TIME)
    }

    fn reads_body(&self, _: &[&Call]) -> bool {
        self.looks.facts.iter().any(|fact| fact.starts_with("body."))
    }

    fn explain(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "kind": "when", "when": self.text }))
    }
}

//! `max`: bounds on facts of one request: `max: {body.amount: 5000}`.

use model::{Call, Refusal};

use super::{Condition, Covered, Number, Reader, Required, fact_in_body, full_name, number};
use crate::document::{At, Conditions};

#[derive(Debug)]
struct Max {
    fact: String,
    most: u64,
    declaring: Vec<String>,
}

pub(super) fn read(written: &Conditions, reader: &mut Reader<'_>) -> Vec<Box<dyn Condition>> {
    let mut bounds: Vec<(At<String>, At<i64>)> = Vec::new();
    for (fact, max) in written.max.iter().flat_map(|table| table.iter()) {
        bounds.push((fact.with(full_name(&fact.value)), *max));
    }
    if let Some(max) = written.max_amount {
        bounds.push((max.with("body.amount".to_owned()), max));
    }
    let mut all: Vec<Box<dyn Condition>> = Vec::new();
    for (fact, max) in bounds {
        let declaring = reader.declaring(&fact);
        match u64::try_from(max.value) {
            Ok(max) => all.push(Box::new(Max { fact: fact.value, most: max, declaring })),
            Err(_) => reader.say(&max.with(max.value.to_string()), "a bound is zero or more", None),
        }
    }
    all
}

impl Condition for Max {
    fn require(&self, covered: &Covered<'_>, _: &mut Required) -> Result<(), Box<Refusal>> {
        for call in covered.calls {
            match number(call, &self.fact, &self.declaring) {
                Number::Known(value) if value > self.most => {
                    let text = format!("{} of {value} is over {}", self.fact, self.most);
                    return Err(Box::new(crate::refuse::over_bound(covered.rule, call, &text)));
                }
                Number::Unknown(why) => return Err(Box::new(crate::refuse::unknown_fact(covered.rule, &why))),
                Number::Known(_) | Number::Absent => {}
            }
        }
        Ok(())
    }

    fn reads_body(&self, calls: &[&Call]) -> bool {
        fact_in_body(&self.fact, calls, &self.declaring)
    }

    fn explain(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "kind": "max", "fact": self.fact, "max": self.most }))
    }
}

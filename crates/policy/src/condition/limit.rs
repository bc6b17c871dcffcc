//! `limit`: how many calls, or how much of a fact, within any interval of a length.

use model::{Call, Refusal};

use super::{Condition, Covered, Number, Reader, Required, fact_in_body, full_name, number};
use crate::document::value::period_name;
use crate::document::{Conditions, Rate};
use crate::limit::{LimitNeed, Over};

#[derive(Debug)]
struct Limit {
    rate: Rate,
    key: String,
    label: String,
    declaring: Vec<String>,
}

pub(super) fn read(written: &Conditions, reader: &mut Reader<'_>) -> Vec<Box<dyn Condition>> {
    let mut rates: Vec<_> = written.limit.iter().chain(written.rate_limit.iter()).cloned().collect();
    if let Some(max) = written.max_prs_per_hour {
        rates.push(max.with(Rate { sum: None, max: max.value, seconds: 3_600 }));
    }
    let mut all: Vec<Box<dyn Condition>> = Vec::new();
    for written in rates {
        let sum = written.value.sum.as_deref().map(full_name);
        let fact = sum.as_ref().map(|sum| written.with(sum.clone()));
        let declaring = fact.map(|fact| reader.declaring(&fact)).unwrap_or_default();
        let rate = Rate { sum, ..written.value };
        // The maximum is not part of the name: raising it must not forget what was taken.
        let key = format!("{}/{}/{}", reader.key, rate.sum.as_deref().unwrap_or("calls"), period_name(rate.seconds));
        all.push(Box::new(Limit { label: rate.label(), rate, key, declaring }));
    }
    all
}

impl Condition for Limit {
    fn require(&self, covered: &Covered<'_>, required: &mut Required) -> Result<(), Box<Refusal>> {
        let mut amount = 0u64;
        for call in covered.calls {
            let Some(fact) = &self.rate.sum else {
                amount = amount.saturating_add(1);
                continue;
            };
            match number(call, fact, &self.declaring) {
                Number::Known(value) => amount = amount.saturating_add(value),
                Number::Absent => {}
                Number::Unknown(why) => return Err(Box::new(crate::refuse::unknown_fact(covered.rule, &why))),
            }
        }
        if amount > 0 || self.rate.sum.is_none() {
            required.limits.push(LimitNeed {
                key: [covered.subject.agent.as_str(), "/", &self.key].concat(),
                amount,
                max: self.rate.max,
                period_micros: micros(self.rate.seconds),
                label: self.label.clone(),
                rule: covered.rule.to_string(),
                over: Over::Refuse,
            });
        }
        Ok(())
    }

    fn explain(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "kind": "limit", "limit": self.label }))
    }

    fn reads_body(&self, calls: &[&Call]) -> bool {
        self.rate.sum.as_ref().is_some_and(|fact| fact_in_body(fact, calls, &self.declaring))
    }
}

fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

/// The guarded policy's limit: so many calls for each action and hour, then a person is asked.
#[derive(Debug)]
pub(crate) struct Burst {
    pub(crate) max: u64,
}

impl Condition for Burst {
    fn require(&self, covered: &Covered<'_>, required: &mut Required) -> Result<(), Box<Refusal>> {
        for call in covered.calls {
            let key = format!("{}/{}/{}/{}/hour", covered.subject.agent, covered.rule, covered.service, call.action);
            match required.limits.iter_mut().find(|need| need.key == key) {
                Some(need) => need.amount = need.amount.saturating_add(1),
                None => required.limits.push(LimitNeed {
                    key,
                    amount: 1,
                    max: self.max,
                    period_micros: micros(3_600),
                    label: format!("{}/hour", self.max),
                    rule: covered.rule.to_string(),
                    over: Over::Ask,
                }),
            }
        }
        Ok(())
    }

    fn explain(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "kind": "limit", "limit": format!("{}/hour", self.max), "over": "ask" }))
    }

    /// It may come to a question, and a question is about whole octets.
    fn reads_body(&self, _: &[&Call]) -> bool {
        true
    }
}

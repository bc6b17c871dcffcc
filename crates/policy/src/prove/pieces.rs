//! Rules as Cedar's JSON form, and what the engine does beside them as more of the same.

use cedar_policy::{Policy, PolicyId, PolicySet};
use serde_json::{Value, json};

use super::total;
use super::world::World;
use crate::compile::text::quote;
use crate::condition::Needs;
use crate::rules::Rule;

/// Bounds on facts: name and the most. What the condition prints of itself is what it says.
pub(super) fn bounds(rule: &Rule) -> Vec<(String, i64)> {
    let said = rule.conditions.iter().filter_map(|condition| condition.explain());
    let max = said.filter(|value| value.get("kind").is_some_and(|kind| kind == "max"));
    max.filter_map(|value| Some((value.get("fact")?.as_str()?.to_owned(), value.get("max")?.as_i64()?))).collect()
}

/// Policies, each under what it is made of.
#[derive(Default)]
pub(super) struct Set {
    pub(super) policies: PolicySet,
    count: usize,
}

impl Set {
    /// Adds a policy under a name for messages.
    pub(super) fn add(&mut self, name: &str, json: Value) -> Result<(), String> {
        let again = if self.policies.policy(&PolicyId::new(name)).is_some() {
            format!(" ({})", self.count)
        } else {
            String::new()
        };
        let id = PolicyId::new(format!("{name}{again}"));
        self.count += 1;
        let policy = Policy::from_json(Some(id), json).map_err(|error| error.to_string())?;
        self.policies.add(policy).map_err(|error| error.to_string())
    }
}

pub(super) fn parse(text: &str) -> Result<Value, String> {
    let policy = Policy::parse(None, text).map_err(|error| error.to_string())?;
    policy.to_json().map_err(|error| error.to_string())
}

/// A rule's own policy, guarded against what a request may lack.
pub(super) fn json_of(rule: &Rule) -> Result<Value, String> {
    let policy = rule.policy.policies().next().ok_or("a rule without a policy")?;
    let json = policy.to_json().map_err(|error| error.to_string())?;
    total::policy(json).map_err(|error| format!("rule `{}`: {error}", rule.id))
}

/// The same circumstances, and more, as a denial.
pub(super) fn denial(mut json: Value, more: Option<&str>) -> Result<Value, String> {
    if let Some(object) = json.as_object_mut() {
        object.insert("effect".to_owned(), json!("forbid"));
    }
    if let Some(more) = more {
        let mut extra = parse(&format!("forbid (principal, action, resource) when {{ {more} }};"))?;
        let extra = extra.get_mut("conditions").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        if let Some(conditions) = json.get_mut("conditions").and_then(Value::as_array_mut) {
            conditions.extend(extra);
        }
    }
    Ok(json)
}

/// A denial where a rule may look at what the request lacks: the engine would meet an error there.
pub(super) fn lacking(rule: &Rule, world: &World<'_>) -> Option<String> {
    if !rule.needs.has(Needs::FACTS) {
        return None;
    }
    if world.types(&rule.policy) && !calculates(rule) {
        return None;
    }
    let named = world.facts.keys().filter(|name| rule.looks.facts.contains(name));
    let has: Vec<String> = named.map(|name| format!("context.facts has {}", quote(name))).collect();
    let all = if has.is_empty() { "false".to_owned() } else { has.join(" && ") };
    Some(format!("forbid (principal, action, resource) unless {{ {all} }};"))
}

/// Whether a rule calculates: a sum may overflow, which is an error.
fn calculates(rule: &Rule) -> bool {
    fn any(value: &Value) -> bool {
        match value {
            Value::Array(all) => all.iter().any(any),
            Value::Object(map) => {
                map.iter().any(|(name, inner)| matches!(name.as_str(), "+" | "-" | "*" | "neg") || any(inner))
            }
            _ => false,
        }
    }
    rule.policy.policies().filter_map(|policy| policy.to_json().ok()).any(|json| any(&json))
}

//! `role`: the permission applies only on behalf of people who have one of these roles.

use super::{Condition, Needs, Reader};
use crate::compile::text::set;
use crate::document::Conditions;

#[derive(Debug)]
struct Role(Vec<String>);

pub(super) fn read(written: &Conditions, _: &mut Reader<'_>) -> Vec<Box<dyn Condition>> {
    let roles: Vec<String> = written.role.iter().map(|role| role.value.clone()).collect();
    if roles.is_empty() { Vec::new() } else { vec![Box::new(Role(roles))] }
}

impl Condition for Role {
    fn cedar(&self) -> Option<String> {
        Some(format!("context.roles.containsAny({})", set(self.0.iter().map(String::as_str))))
    }

    fn needs(&self) -> Needs {
        Needs::USER
    }

    fn explain(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "kind": "role", "role": self.0 }))
    }
}

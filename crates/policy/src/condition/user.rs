//! `user`: the permission applies only on behalf of these people.

use super::{Condition, Needs, Reader};
use crate::compile::text::set;
use crate::document::Conditions;

#[derive(Debug)]
struct User(Vec<String>);

pub(super) fn read(written: &Conditions, reader: &mut Reader<'_>) -> Vec<Box<dyn Condition>> {
    for user in &written.user {
        if let Err(error) = model::UserName::new(&user.value) {
            reader.say(user, error.to_string(), None);
        }
    }
    let users: Vec<String> = written.user.iter().map(|user| user.value.clone()).collect();
    if users.is_empty() { Vec::new() } else { vec![Box::new(User(users))] }
}

impl Condition for User {
    fn cedar(&self) -> Option<String> {
        Some(format!("context has user && {}.contains(context.user)", set(self.0.iter().map(String::as_str))))
    }

    fn needs(&self) -> Needs {
        Needs::USER
    }

    fn explain(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "kind": "user", "user": self.0 }))
    }
}

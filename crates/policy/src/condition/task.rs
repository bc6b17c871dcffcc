//! `task`: the permission applies only while the session works on such a task.

use super::{Condition, Needs, Reader};
use crate::compile::text::{any_of, like};
use crate::document::Conditions;

#[derive(Debug)]
struct Task(Vec<String>);

pub(super) fn read(written: &Conditions, _: &mut Reader<'_>) -> Vec<Box<dyn Condition>> {
    let tasks: Vec<String> = written.task.iter().map(|task| task.value.clone()).collect();
    if tasks.is_empty() { Vec::new() } else { vec![Box::new(Task(tasks))] }
}

impl Condition for Task {
    fn cedar(&self) -> Option<String> {
        let any = any_of(self.0.iter().map(|task| like("context.task", task)).collect());
        Some(format!("context has task && {any}"))
    }

    fn needs(&self) -> Needs {
        Needs::TASK
    }

    fn explain(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "kind": "task", "task": self.0 }))
    }
}

//! Expressions that cannot fail for want of an attribute, as the symbolic compiler asks for.
//!
//! `context.facts["body.amount"] > 5` is an error where the fact is missing, and an error denies the whole request. Cedar's
//! strict types refuse such an expression. Here every comparison gets the tests for what it looks at before it: where all is
//! there it says what it said, where something is missing it is false. So what is written here allows whatever the engine
//! allows, and more only where the engine meets an error and denies: what is proven never to be allowed, is never allowed.

use serde_json::{Value, json};

/// Attributes of the context that a request may lack. Facts are all of that kind.
const OPTIONAL: [&str; 3] = ["tail", "task", "user"];
const FACTS: &str = "facts";
/// Expressions within expressions that are followed.
const DEPTH_MAX: usize = 200;

/// Guards every comparison of a policy, given and returned in Cedar's JSON form.
///
/// # Errors
/// It looks at something optional in a way that no test before it makes safe.
pub(super) fn policy(mut policy: Value) -> Result<Value, String> {
    for condition in policy.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(body) = condition.get_mut("body") {
            *body = guard(body.take(), 0)?;
        }
    }
    Ok(policy)
}

fn guard(expression: Value, depth: usize) -> Result<Value, String> {
    if depth > DEPTH_MAX {
        return Err("an expression is nested too deep".to_owned());
    }
    let Value::Object(map) = expression else { return Ok(expression) };
    let Some(operator) = map.keys().next().cloned().filter(|_| map.len() == 1) else { return Ok(Value::Object(map)) };
    if !matches!(operator.as_str(), "&&" | "||" | "!" | "if-then-else") {
        return atom(Value::Object(map));
    }
    let mut guarded = serde_json::Map::new();
    for (name, sides) in map {
        let Value::Object(sides) = sides else { return Err(format!("`{name}` is not understood")) };
        let sides: Result<serde_json::Map<String, Value>, String> =
            sides.into_iter().map(|(side, inner)| Ok((side, guard(inner, depth + 1)?))).collect();
        guarded.insert(name, Value::Object(sides?));
    }
    Ok(Value::Object(guarded))
}

/// A comparison, with what it looks at tested first.
fn atom(expression: Value) -> Result<Value, String> {
    let mut looks = Vec::new();
    let mut is_plain = true;
    collect(&expression, &mut looks, &mut is_plain);
    if !looks.is_empty() && !is_plain {
        return Err("a comparison holds `&&`, `||` or `if` and looks at facts; write its parts apart".to_owned());
    }
    looks.sort();
    looks.dedup();
    Ok(looks.into_iter().rev().fold(expression, |right, (left, name)| {
        let left = json!({ "has": { "left": place(&left), "attr": name } });
        json!({ "&&": { "left": left, "right": right } })
    }))
}

/// The context, or a record in it.
fn place(of: &str) -> Value {
    let context = json!({ "Var": "context" });
    if of.is_empty() { context } else { json!({ ".": { "left": context, "attr": of } }) }
}

/// What an expression reads that may be missing.
fn collect(expression: &Value, looks: &mut Vec<(String, String)>, is_plain: &mut bool) {
    match expression {
        Value::Array(all) => all.iter().for_each(|inner| collect(inner, looks, is_plain)),
        Value::Object(map) => {
            for (operator, inner) in map {
                *is_plain &= !matches!(operator.as_str(), "&&" | "||" | "if-then-else");
                if operator == "."
                    && let (Some(left), Some(name)) = (inner.get("left"), inner.get("attr").and_then(Value::as_str))
                {
                    if *left == place("") && OPTIONAL.contains(&name) {
                        looks.push((String::new(), name.to_owned()));
                    } else if *left == place(FACTS) {
                        looks.push((FACTS.to_owned(), name.to_owned()));
                    }
                }
                // `has` itself asks and does not read.
                if operator != "has" {
                    collect(inner, looks, is_plain);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use cedar_policy::Policy;

    use super::*;

    fn guarded(when: &str) -> Result<String, String> {
        let text = format!("permit (principal, action, resource) when {{ {when} }};");
        let json = Policy::parse(None, text).expect(when).to_json().expect("json");
        let policy = Policy::from_json(None, policy(json)?).expect("reads back");
        let text = policy.to_cedar().expect("text");
        let (_, body) = text.split_once('{').expect("a body");
        Ok(body.trim_end_matches([';', '}', ' ', '\n']).split_ascii_whitespace().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_may_be_missing_is_tested_first() {
        for (when, expected) in [
            ("context.class == \"read\"", "context.class == \"read\""),
            ("context.facts[\"a.b\"] <= 5", "(context[\"facts\"] has \"a.b\") && ((context[\"facts\"][\"a.b\"]) <= 5)"),
            ("!(context.task == \"x\")", "!((context has task) && ((context[\"task\"]) == \"x\"))"),
        ] {
            let plain = |text: &str| text.replace(['(', ')', ' '], "").replace("[\"", ".").replace("\"]", "");
            assert_eq!(plain(&guarded(when).expect(when)), plain(expected), "{when}");
        }
        let both = guarded("context.facts.a == context.facts.b || context.facts has a").expect("guards");
        assert_eq!(both.matches("has").count(), 3, "{both}");
        guarded("(context.facts.a == 1 && true) == true").expect_err("a comparison of comparisons");
        guarded("if context.facts.a == 1 then context.facts.b == 2 else false").expect("branches are guarded");
    }
}

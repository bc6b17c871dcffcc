//! What a `when` looks at. It may look at facts and at what is always in the context beside them; everything else that the engine
//! keeps there is there only where some rule needs it, so that `has` would say something else tomorrow.

use std::str::FromStr as _;

use cedar_policy::{Expression, Policy};
use serde_json::{Value, json};

/// What stands in the context of every rule with a `when`; `task` and `user` where the session has one.
const THERE: [&str; 10] = ["facts", "class", "effects", "guarded", "service", "task", "user", "roles", "now", "age"];

/// What an expression looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Looks {
    /// Facts, by name, read or asked for.
    pub(crate) facts: Vec<String>,
    /// It may tell one action from another by its id.
    pub(crate) by_action: bool,
}

/// Reads an expression.
///
/// # Errors
/// It is none, or looks at what may not be there; what is wrong, and the nearest word.
pub(crate) fn looks(expression: &str) -> Result<Looks, (String, Option<String>)> {
    // Read alone first, so that no text can end the expression and begin a policy of its own.
    Expression::from_str(expression).map_err(|error| (format!("not a Cedar expression: {error}"), None))?;
    // A line break ends a comment that the expression may end with.
    let policy = Policy::parse(None, format!("permit (principal, action, resource) when {{ ({expression}\n) }};"));
    let json = policy
        .map_err(|error| error.to_string())
        .and_then(|policy| policy.to_json().map_err(|error| error.to_string()));
    let json = json.map_err(|error| (format!("not a Cedar expression: {error}"), None))?;
    let mut looks = Looks::default();
    for body in json.get("conditions").and_then(Value::as_array).into_iter().flatten().filter_map(|one| one.get("body"))
    {
        walk(body, &mut looks)?;
    }
    Ok(looks)
}

fn walk(value: &Value, looks: &mut Looks) -> Result<(), (String, Option<String>)> {
    match value {
        Value::Array(all) => all.iter().try_for_each(|inner| walk(inner, looks)),
        Value::Object(map) => map.iter().try_for_each(|(operator, inner)| {
            if operator == "Var" {
                looks.by_action |= inner == "action";
                let whole = inner == "context";
                return if whole {
                    Err(("`context` is looked at as a whole; name what is meant".to_owned(), None))
                } else {
                    Ok(())
                };
            }
            let name = inner.get("attr").and_then(Value::as_str).filter(|_| operator == "." || operator == "has");
            let (Some(name), Some(left)) = (name, inner.get("left")) else { return walk(inner, looks) };
            let context = json!({ "Var": "context" });
            if *left == json!({ ".": { "left": context, "attr": "facts" } }) {
                looks.facts.push(name.to_owned());
                return Ok(());
            }
            if *left != context {
                return walk(inner, looks);
            }
            if name == "facts" && operator == "." {
                return Err(("`context.facts` is looked at as a whole; name a fact".to_owned(), None));
            }
            if THERE.contains(&name) {
                return Ok(());
            }
            let near = crate::document::nearest(name, THERE).map(|word| format!("context.{word}"));
            Err((format!("`when` cannot look at `context.{name}`; it may look at {}", THERE.join(", ")), near))
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_found_however_they_are_written() {
        for (expression, facts, by_action) in [
            ("context.facts[\"body.amount\"] > 5", &["body.amount"][..], false),
            ("context.facts has \"body.\\u{61}mount\"", &["body.amount"], false),
            ("context.facts has a && context[\"facts\"].a == context.facts.b // c", &["a", "a", "b"], false),
            ("context.class == \"write\" && context has task && context.age < 5", &[], false),
            ("action == Action::\"github:repos/get\"", &[], true),
            ("principal == Agent::\"a\" || [context.service].contains(\"x\")", &[], false),
        ] {
            let found = looks(expression).expect(expression);
            assert_eq!(
                (found.facts.iter().map(String::as_str).collect::<Vec<_>>(), found.by_action),
                (facts.to_vec(), by_action),
                "{expression}"
            );
        }
    }

    #[test]
    fn what_may_not_be_there_is_refused() {
        for (expression, says) in [
            ("context.kind == \"repo\"", "cannot look at `context.kind`"),
            ("!(context has tail)", "cannot look at `context.tail`"),
            ("context has s1", "context.s1"),
            ("context.method == \"GET\"", "context.method"),
            ("context.holds.contains(\"x\")", "context.holds"),
            ("{x: context}.x has tail", "as a whole"),
            ("{x: context.facts}.x has a", "as a whole"),
            ("context == context", "as a whole"),
            ("context.fcts has a", "cannot look at"),
            ("true) || (true", "not a Cedar expression"),
            ("1 +", "not a Cedar expression"),
        ] {
            let (message, _) = looks(expression).expect_err(expression);
            assert!(message.contains(says), "{expression}: {message}");
        }
        assert_eq!(looks("context.clas == \"write\"").expect_err("a typo").1.as_deref(), Some("context.class"));
    }
}

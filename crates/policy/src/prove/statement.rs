//! What is to be proven: statements about a policy, as people write them.

use serde::Deserialize;

use crate::compile::expression::{Looks, looks};
use crate::document::{At, Diagnostic, Source, Words};

/// Statements of one file.
const STATEMENTS_MAX: usize = 1_000;

/// A file of statements.
#[derive(Clone, Debug)]
pub struct Statements {
    /// The configuration that they are about, from the file's own folder; none where the file does not say.
    pub policy: Option<String>,
    /// Each, in the order written.
    pub list: Vec<Statement>,
}

/// One statement: what holds of every request that its scope covers.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its name; its own words where it has none.
    pub name: String,
    /// What holds.
    pub verb: Verb,
    pub(crate) scope: Coverage,
    /// What its `when` looks at.
    pub(crate) looks: Looks,
    pub(crate) file: String,
    pub(crate) place: At<()>,
}

/// What a statement says of the requests that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// None of them is allowed.
    Never,
    /// Each that is allowed asks a person first, every time; so many people must agree.
    Asks {
        /// At least one.
        people: u32,
    },
    /// Each of them is allowed, within its limits and asked for where a rule says so. It speaks of requests whose facts
    /// are all known, which present the placeholder that their permission wants.
    Allows,
}

/// Which requests. What is left out covers all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Coverage {
    /// These agents alone.
    pub(crate) agents: Words,
    /// All but these agents.
    pub(crate) except_agents: Words,
    /// One service; every known one where it is left out.
    pub(crate) service: Option<At<String>>,
    /// Actions in the words of rules: ids, aliases, scopes, classes, effects, `*`.
    pub(crate) actions: Words,
    /// All but these actions.
    pub(crate) except_actions: Words,
    /// Patterns of resources.
    pub(crate) resources: Words,
    /// All but these resources.
    pub(crate) except_resources: Words,
    /// A Cedar expression over the same context as `when` of a permission.
    pub(crate) when: Option<At<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    policy: Option<String>,
    statements: Vec<At<Written>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    name: Option<String>,
    never: Option<Coverage>,
    asks: Option<Coverage>,
    allows: Option<Coverage>,
    /// Beside `asks`.
    people: Option<At<u32>>,
}

impl Statements {
    /// Reads a file of statements. `file` is only a name for messages.
    ///
    /// # Errors
    /// What does not read, and statements that say nothing or two things at once.
    pub fn parse(text: &str, file: &str) -> Result<Self, Vec<Diagnostic>> {
        let source = Source::new(text, file);
        let written: File = source.read().map_err(|problem| vec![problem])?;
        let (mut list, mut problems) = (Vec::new(), Vec::new());
        if written.statements.is_empty() || written.statements.len() > STATEMENTS_MAX {
            let count = written.statements.len();
            problems.push(source.problem(
                &At::nowhere("statements"),
                format!("{count} statements; give 1 to {STATEMENTS_MAX} under `statements:`"),
            ));
        }
        for at in written.statements {
            let place = at.with(());
            match read(at.value, place, file) {
                Ok(statement) => list.push(statement),
                Err((at, message)) => problems.push(source.problem(&at.with("statement"), message)),
            }
        }
        if problems.is_empty() { Ok(Self { policy: written.policy, list }) } else { Err(problems) }
    }
}

fn read(written: Written, place: At<()>, file: &str) -> Result<Statement, (At<()>, String)> {
    let wrong = |message: &str| (place, message.to_owned());
    let people = written.people.map_or(1, |people| people.value);
    let said = [(written.never, Verb::Never), (written.asks, Verb::Asks { people }), (written.allows, Verb::Allows)];
    let mut said = said.into_iter().filter_map(|(scope, verb)| scope.map(|scope| (scope, verb)));
    let (Some((scope, verb)), None) = (said.next(), said.next()) else {
        return Err(wrong("a statement says one of `never`, `asks` and `allows`"));
    };
    if written.people.is_some() && (people == 0 || !matches!(verb, Verb::Asks { .. })) {
        return Err(wrong("`people` is one or more, and stands beside `asks`"));
    }
    if !scope.agents.is_empty() && !scope.except_agents.is_empty() {
        return Err(wrong("give `agents` or `except_agents`, not both"));
    }
    let looks = match &scope.when {
        Some(when) => looks(&when.value).map_err(|(message, _)| (when.with(()), message))?,
        None => Looks::default(),
    };
    let name = written.name.unwrap_or_else(|| words(verb, &scope));
    Ok(Statement { name, verb, scope, looks, file: file.to_owned(), place })
}

/// A statement without a name, in words.
fn words(verb: Verb, scope: &Coverage) -> String {
    let list = |words: &Words| words.iter().map(|word| word.value.as_str()).collect::<Vec<_>>().join(", ");
    let who = match (scope.agents.is_empty(), scope.except_agents.is_empty()) {
        (false, _) => list(&scope.agents),
        (true, false) => format!("every agent but {}", list(&scope.except_agents)),
        (true, true) => "every agent".to_owned(),
    };
    let says = match verb {
        Verb::Never => "never may".to_owned(),
        Verb::Asks { people: 1 } => "asks for".to_owned(),
        Verb::Asks { people } => format!("asks {people} people for"),
        Verb::Allows => "may".to_owned(),
    };
    let mut what = if scope.actions.is_empty() { "anything".to_owned() } else { list(&scope.actions) };
    if let Some(service) = &scope.service {
        what = format!("{what} of {}", service.value);
    }
    for (word, patterns) in
        [("but", &scope.except_actions), ("on", &scope.resources), ("not on", &scope.except_resources)]
    {
        if !patterns.is_empty() {
            what = format!("{what} {word} {}", list(patterns));
        }
    }
    let when = scope.when.as_ref().map(|when| format!(" when {}", when.value)).unwrap_or_default();
    format!("{who} {says} {what}{when}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = "policy: p.yaml\nstatements:\n  - never: {except_agents: deployer, service: github, actions: repos/delete}\n  \
                    - {name: spend, asks: {service: stripe, actions: [\"effect:moves-money\"], when: \"context.age > 5\"}, people: 2}\n  \
                    - allows: {agents: [a, b], actions: read, resources: [\"org:o\"], except_resources: [\"repo:o/secret\"]}\n";
        let statements = Statements::parse(text, "s.yaml").expect("reads");
        let names: Vec<&str> = statements.list.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "every agent but deployer never may repos/delete of github",
                "spend",
                "a, b may read on org:o not on repo:o/secret",
            ]
        );
        assert_eq!(statements.list[1].verb, Verb::Asks { people: 2 });
        assert_eq!(statements.policy.as_deref(), Some("p.yaml"));
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        for (text, says) in [
            ("statements: []", "0 statements"),
            ("statements: [{name: x}]", "one of `never`, `asks` and `allows`"),
            ("statements: [{never: {}, asks: {}}]", "one of `never`, `asks` and `allows`"),
            ("statements: [{never: {}, people: 2}]", "`people`"),
            ("statements: [{asks: {}, people: 0}]", "`people`"),
            ("statements: [{never: {agents: a, except_agents: b}}]", "not both"),
            ("statements: [{never: {when: \"1 +\"}}]", "not a Cedar expression"),
            ("statements: [{never: {agent: a}}]", "agent"),
            ("statement: []", "statement"),
        ] {
            let problems = Statements::parse(text, "s.yaml").expect_err(text);
            assert!(problems[0].to_string().contains(says), "{text}: {}", problems[0]);
        }
    }
}

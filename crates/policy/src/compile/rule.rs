//! One rule: what it says, as Cedar text, and the policy parsed from exactly that text.

use std::fmt::Write as _;
use std::str::FromStr as _;
use std::sync::Arc;

use cedar_policy::PolicySet;
use cedar_policy_core::ast::{Expr, Policy};
use model::AgentName;

use super::actions::{Named, Raw};
use super::expression::looks;
use super::pattern::Pattern;
use super::text::{any_of, quote};
use crate::condition::{Condition, Needs};
use crate::document::Diagnostic;
use crate::rules::{Kind, Rule, Uses};

/// Where a rule was written.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: u64,
    pub(crate) column: u64,
}

/// How a permission and grants go together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// It holds under a grant alone.
    pub(crate) on_grant: bool,
    /// The longest that a grant of it lasts, seconds, where it says.
    pub(crate) ttl_seconds_max: Option<u64>,
}

/// A rule that is about to be.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) id: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) agent: Option<AgentName>,
    pub(crate) service: Option<String>,
    pub(crate) actions: Vec<Named>,
    pub(crate) raw: Option<Raw>,
    pub(crate) resources: Vec<Pattern>,
    pub(crate) uses: Uses,
    pub(crate) key: Arc<str>,
    pub(crate) conditions: Vec<Box<dyn Condition>>,
    pub(crate) terms: Terms,
    pub(crate) place: Place,
}

/// Writes the rule as Cedar and reads that text back as its policy.
pub(crate) fn build(draft: Draft, problems: &mut Vec<Diagnostic>) -> Option<Rule> {
    let (cedar, needs) = draft.text();
    let mut said = draft.conditions.iter().filter_map(|condition| condition.explain());
    let when = said.find_map(|value| Some(value.get("when")?.as_str()?.to_owned()));
    // Read once before, so it reads again.
    let looks = when.and_then(|when| looks(&when).ok()).unwrap_or_default();
    match parsed(&cedar) {
        Ok((policy, condition)) => Some(Rule {
            id: draft.id,
            kind: draft.kind,
            agent: draft.agent,
            service: draft.service,
            actions: draft.actions,
            raw: draft.raw,
            resources: draft.resources,
            uses: draft.uses,
            key: draft.key,
            conditions: draft.conditions,
            terms: draft.terms,
            needs,
            looks,
            cedar,
            policy,
            condition,
        }),
        Err(error) => {
            problems.push(Diagnostic {
                file: draft.place.file,
                line: draft.place.line,
                column: draft.place.column,
                text: draft.id.to_string(),
                message: format!("rule does not compile to Cedar: {error}"),
                nearest: None,
            });
            None
        }
    }
}

/// The one policy of a text, and what it asks.
fn parsed(cedar: &str) -> Result<(PolicySet, Expr), String> {
    let set = PolicySet::from_str(cedar).map_err(|error| error.to_string())?;
    let mut policies = set.policies().map(|policy| AsRef::<Policy>::as_ref(policy).condition());
    let (condition, None) = (policies.next(), policies.next()) else { return Err("it is several policies".to_owned()) };
    drop(policies);
    let condition = condition.ok_or("it is no policy")?;
    Ok((set, condition))
}

impl Draft {
    fn text(&self) -> (String, Needs) {
        let denial = self.kind == Kind::Deny;
        let mut needs = Needs::NONE;
        let mut all = Vec::new();
        if let Some(service) = &self.service {
            all.push(format!("context.service == {}", quote(service)));
        }
        if !self.actions.is_empty() {
            needs = self.actions.iter().fold(needs, |sum, named| sum.and(named.selector.needs()));
            all.push(any_of(self.actions.iter().map(|named| named.selector.cedar(denial)).collect()));
        }
        if let Some(raw) = &self.raw {
            needs = needs.and(Needs::RAW);
            all.extend(raw.cedar());
            if self.actions.is_empty() && !denial {
                needs = needs.and(Needs::CLASS);
                all.push("!context.guarded".to_owned());
            }
        }
        if !self.resources.iter().any(Pattern::is_any) {
            needs = needs.and(Needs::RESOURCE);
            all.push(any_of(self.resources.iter().map(Pattern::cedar).collect()));
        }
        for condition in &self.conditions {
            needs = needs.and(condition.needs());
            all.extend(condition.cedar());
        }
        let tests: Vec<String> = all.iter().map(|one| format!("({one})")).collect();
        (self.policy(&tests), needs)
    }

    fn policy(&self, tests: &[String]) -> String {
        let mut text = format!("@id({})\n", quote(&self.id));
        let requires: Vec<String> = self
            .conditions
            .iter()
            .filter(|condition| condition.cedar().is_none())
            .filter_map(|condition| condition.explain())
            .map(|value| plain(&value))
            .chain(self.terms.on_grant.then(|| "a grant".to_owned()))
            .collect();
        if !requires.is_empty() {
            let _ = writeln!(text, "@requires({})", quote(&requires.join("; ")));
        }
        let effect = if self.kind == Kind::Deny { "forbid" } else { "permit" };
        let principal = match &self.agent {
            Some(agent) => format!("principal == Agent::{}", quote(agent.as_str())),
            None => "principal".to_owned(),
        };
        let _ = write!(text, "{effect} (\n  {principal},\n  action,\n  resource\n)");
        if !tests.is_empty() {
            let _ = write!(text, " when {{\n  {}\n}}", tests.join(" &&\n  "));
        }
        text.push_str(";\n");
        text
    }
}

/// `{"kind":"limit","limit":"5/hour"}` as `limit 5/hour`.
fn plain(value: &serde_json::Value) -> String {
    let Some(object) = value.as_object() else { return String::new() };
    let word = |(key, value): (&String, &serde_json::Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let repeats = object.get("kind").and_then(serde_json::Value::as_str) == Some(key);
        if key == "kind" || repeats || key == "fact" { value } else { format!("{key} {value}") }
    };
    object.iter().map(word).collect::<Vec<_>>().join(" ")
}

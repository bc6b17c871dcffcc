//! What a policy says to one kind of request, in a form that can be compared: equal outcomes decide every request of the
//! kind alike, whatever the time, the task, the user and the facts.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::compile::actions::RequestLine;
use crate::condition::{Ask, Covered, Required};
use crate::limit::{LimitNeed, Over};
use crate::rules::{Kind, Rule, Rules, Uses};
use crate::{ApprovalNeed, Question};

/// One condition: in words, and as `explain` prints it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// `limit 5/hour`.
    pub(super) words: String,
    /// JSON text, so that terms can be sorted.
    value: String,
    /// The permission that its counter is named after: two of one name share what they count.
    counter: Option<String>,
}

/// One way in which a request passes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Way {
    /// When it is open; always where there is nothing.
    pub applies: Vec<Term>,
    /// What must hold then.
    pub requires: Vec<Term>,
    /// The credentials that it lets the agent use.
    pub credentials: Vec<String>,
}

/// What a policy says to one kind of request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outcome {
    /// Every way in which it passes; denied where there is none. What every open way requires must hold.
    pub ways: Vec<Way>,
}

impl Serialize for Term {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<Value>(&self.value).unwrap_or_default().serialize(to)
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        json!({ "decision": if self.is_allowed() { "allow" } else { "deny" }, "ways": self.ways }).serialize(to)
    }
}

impl Term {
    fn of(value: &Value, counter: Option<String>) -> Self {
        Self { words: words(value), value: value.to_string(), counter }
    }

    fn approval(need: &ApprovalNeed) -> Self {
        let approval = if need.once_per_session { "once-per-session" } else { "required" };
        let value = json!({
            "kind": "approval", "approval": approval, "timeout_seconds": need.timeout_seconds, "of": need.of,
        });
        Self::of(&value, None)
    }

    fn limit(need: &LimitNeed) -> Self {
        let mut value = json!({ "kind": "limit", "limit": need.label });
        if let (Over::Ask, Some(object)) = (need.over, value.as_object_mut()) {
            object.insert("over".to_owned(), "ask".into());
        }
        Self::of(&value, None)
    }
}

/// A condition as people say it.
fn words(value: &Value) -> String {
    let text = |key: &str| match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let kind = text("kind");
    match kind.as_str() {
        "limit" if value.get("over").is_some() => format!("asks beyond {}", text("limit")),
        "max" => format!("{} at most {}", text("fact"), text("max")),
        "approval" => {
            let once = if text("approval") == "once-per-session" { " once in a session" } else { "" };
            let of = if text("of").is_empty() { String::new() } else { format!(" {}", text("of")) };
            let default = model::bounds::APPROVAL_SECONDS_DEFAULT;
            let seconds = value.get("timeout_seconds").and_then(Value::as_u64).filter(|seconds| *seconds != default);
            format!("asks{of}{once}{}", seconds.map(|all| format!(" for {all} s")).unwrap_or_default())
        }
        "egress" => "bare, by egress".to_owned(),
        _ => format!("{kind} {}", text(&kind)),
    }
}

impl Outcome {
    pub(super) const DENIED: Self = Self { ways: Vec::new() };

    /// Whether some request of the kind may pass.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        !self.ways.is_empty()
    }

    /// The conditions in words: `limit 5/hour, asks`; empty where there are none.
    #[must_use]
    pub fn words(&self) -> String {
        self.ways.iter().map(Way::words).filter(|words| !words.is_empty()).collect::<Vec<_>>().join("; or ")
    }
}

impl Way {
    fn words(&self) -> String {
        let all: Vec<&str> = self.applies.iter().chain(&self.requires).map(|term| term.words.as_str()).collect();
        all.join(", ")
    }
}

impl Rules {
    /// What these rules say to one call of a known service; the question has no facts and one call.
    pub(super) fn outcome(&self, question: &Question<'_>) -> Outcome {
        let classification = question.classification;
        let (Some(service), Some(call)) = (&classification.service, classification.calls.first()) else {
            return self.host_outcome(question);
        };
        let verdict = self.verdict(question, service, (0, call));
        let parts = self.parts(service.as_str(), &call.resource);
        let may = |rule: &&Rule| rule.is_plausible(RequestLine::of(question, 0), service.as_str(), call, &parts);
        let candidates: Vec<(u32, &Rule)> = self
            .candidates(&question.subject.agent, service.as_str(), call)
            .into_iter()
            .filter_map(|number| Some((number, self.list.get(number as usize).filter(may)?)))
            .collect();
        if verdict.denied.is_some() || candidates.iter().any(|(_, rule)| rule.kind == Kind::Deny) {
            return Outcome::DENIED;
        }
        let mut drafts: Vec<Draft> = Vec::new();
        for (number, rule) in candidates {
            let applies: Vec<Term> =
                rule.conditions.iter().filter(|one| one.cedar().is_some()).map(explained).collect();
            // Without circumstances of its own Cedar has said whether it applies.
            if !applies.is_empty() || verdict.permits.contains(&number) {
                let covered =
                    Covered { rule: &rule.id, subject: question.subject, service: service.as_str(), calls: &[call] };
                add(&mut drafts, (applies, self.usable(rule, service.as_str())), requirements(rule, &covered));
            }
        }
        if drafts.is_empty() && self.egress_lets(question, service, call) {
            return by_egress();
        }
        Outcome::of(drafts, question)
    }

    /// A request to a host that no service knows.
    fn host_outcome(&self, question: &Question<'_>) -> Outcome {
        let Ok(weighed) = self.weigh_host(question) else { return Outcome::DENIED };
        let mut requires: Vec<Term> = weighed.required.limits.iter().map(Term::limit).collect();
        requires.extend(weighed.approval.iter().map(Term::approval));
        Outcome { ways: vec![Way { applies: Vec::new(), requires, credentials: Vec::new() }] }
    }

    /// The credentials that a rule lets the agent use for a service; `(by its placeholder)` where nothing else chooses it.
    fn usable(&self, rule: &Rule, service: &str) -> Vec<String> {
        let free = self.choices(rule, service);
        let named = |name: &model::CredentialName| {
            if free.contains(name) { name.to_string() } else { format!("{name} (by its placeholder)") }
        };
        match &rule.uses {
            Uses::Named(name) => vec![if self.credentials.contains_key(name) { named(name) } else { name.to_string() }],
            Uses::OfService => {
                self.credentials.keys().filter(|name| self.lets_use(rule, service, name)).map(named).collect()
            }
        }
    }
}

fn by_egress() -> Outcome {
    let requires = vec![Term::of(&json!({ "kind": "egress" }), None)];
    Outcome { ways: vec![Way { applies: Vec::new(), requires, credentials: Vec::new() }] }
}

#[expect(clippy::borrowed_box, reason = "the shape in which rules hold their conditions")]
fn explained(condition: &Box<dyn crate::condition::Condition>) -> Term {
    Term::of(&condition.explain().unwrap_or_default(), None)
}

/// Permissions that are open at the same times for the same credentials; all of what they require must hold.
struct Draft {
    open: (Vec<Term>, Vec<String>),
    terms: Vec<Term>,
    asks: Vec<Ask>,
}

/// What a permission requires of one call once it applies.
fn requirements(rule: &Rule, covered: &Covered<'_>) -> (Vec<Term>, Vec<Ask>) {
    let (mut terms, mut asks) = (Vec::new(), Vec::new());
    if rule.terms.on_grant {
        terms.push(Term::of(&json!({ "kind": "standing", "standing": "none" }), None));
    }
    for condition in rule.conditions.iter().filter(|one| one.cedar().is_none()) {
        let mut required = Required::default();
        // Without facts a bound that is about some fact of this call cannot be known to hold.
        let unknown = condition.require(covered, &mut required).is_err();
        asks.append(&mut required.asks);
        if let (true, Some(value)) = (unknown || !required.limits.is_empty(), condition.explain()) {
            let counts = value.get("kind").is_some_and(|kind| kind == "limit");
            terms.push(Term::of(&value, counts.then(|| rule.key.to_string())));
        }
    }
    (terms, asks)
}

fn add(drafts: &mut Vec<Draft>, open: (Vec<Term>, Vec<String>), (terms, asks): (Vec<Term>, Vec<Ask>)) {
    let mut open = open;
    open.0.sort();
    open.1.sort();
    match drafts.iter_mut().find(|draft| draft.open == open) {
        Some(draft) => {
            draft.terms.extend(terms);
            draft.asks.extend(asks);
        }
        None => drafts.push(Draft { open, terms, asks }),
    }
}

impl Outcome {
    fn of(drafts: Vec<Draft>, question: &Question<'_>) -> Self {
        let way = |draft: Draft| {
            let mut requires = draft.terms;
            match crate::rules::strictest(&draft.asks, question.subject, &mut String::new) {
                Ok(need) => requires.extend(need.iter().map(Term::approval)),
                // Nobody may answer all of them: it never passes.
                Err(refusal) => requires.push(Term::of(&json!({ "kind": "nobody", "nobody": refusal.public }), None)),
            }
            requires.sort();
            requires.dedup();
            let (applies, credentials) = draft.open;
            Way { applies, requires, credentials }
        };
        let mut ways: Vec<Way> = drafts.into_iter().map(way).collect();
        ways.sort();
        Self { ways }
    }
}

/// What changed between two outcomes that both allow: `limit 5/hour -> limit 10/hour`.
pub(super) fn change(was: &Outcome, becomes: &Outcome) -> String {
    let ([old], [new]) = (was.ways.as_slice(), becomes.ways.as_slice()) else {
        return arrow(&plain(was), &plain(becomes));
    };
    let mut parts = Vec::new();
    for (old, new) in [(&old.applies, &new.applies), (&old.requires, &new.requires)] {
        let gone: Vec<&str> = old.iter().filter(|term| !new.contains(term)).map(|term| term.words.as_str()).collect();
        let come: Vec<&str> = new.iter().filter(|term| !old.contains(term)).map(|term| term.words.as_str()).collect();
        if gone == come && !gone.is_empty() {
            parts.push(format!("{} is counted over other actions or resources", gone.join(", ")));
        } else if gone.len() + come.len() > 0 {
            parts.push(arrow(&or_nothing(&gone), &or_nothing(&come)));
        }
    }
    if old.credentials != new.credentials {
        let list = |all: &[String]| if all.is_empty() { "none".to_owned() } else { all.join(", ") };
        parts.push(format!("credential {} -> {}", list(&old.credentials), list(&new.credentials)));
    }
    parts.join("; ")
}

fn arrow(old: &str, new: &str) -> String {
    format!("{old} -> {new}")
}

fn or_nothing(terms: &[&str]) -> String {
    if terms.is_empty() { "no condition".to_owned() } else { terms.join(", ") }
}

fn plain(outcome: &Outcome) -> String {
    let way = |way: &Way| {
        let mut words = way.words();
        if words.is_empty() {
            "no condition".clone_into(&mut words);
        }
        if way.credentials.is_empty() { words } else { format!("{words} with {}", way.credentials.join(", ")) }
    };
    outcome.ways.iter().map(way).collect::<Vec<_>>().join("; or ")
}

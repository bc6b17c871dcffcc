//! Statements: what a solver is asked says what the engine decides. The solver itself is not here; every policy that it would
//! be given is put to Cedar's own evaluator, beside the engine.

use cedar_policy::{
    Authorizer, Context, Decision as Cedar, Entities, EntityUid, Request, Schema, ValidationMode, Validator,
};
use model::{Fact, Timestamp};
use policy::prove::{Claim, Proof, Provable, Shape, Statements, Unprovable};
use policy::{Decision, Rules};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Asking, ask, rules, show, vocabulary};

const CREDENTIALS: &str = "credentials: {gh: {service: github}, gh2: {service: github}, st: {service: stripe}}\n";

/// Nothing is asked before: that Friday's morning.
fn now() -> Timestamp {
    Timestamp::parse("2026-11-20T06:00:00Z").expect("a time")
}

fn provable(rules: &Rules) -> Provable<'_> {
    Provable::of(rules).expect("enforced, with agents")
}

#[test]
fn nothing_is_proven_of_what_stops_nothing() {
    let of = |text: &str| Provable::of(&rules(text)).map(drop);
    assert_eq!(of("mode: observe\nagents: {a: {permissions: []}}"), Err(Unprovable::Observed));
    assert_eq!(of("version: 1"), Err(Unprovable::Guarded));
    assert_eq!(of("agents: {a: {permissions: []}}"), Ok(()));
}

fn statements(text: &str) -> Statements {
    Statements::parse(text, "s.yaml").unwrap_or_else(|problems| panic!("{}", show(&problems)))
}

/// The request as the engine's context has it, with everything that a schema types.
fn context(asking: &Asking) -> Value {
    let call = &asking.classification.calls[0];
    let kind = call.resource.kind();
    let within: &[&str] = match kind {
        "org" => &["org"],
        "repo" => &["repo", "org"],
        "branch" => &["branch", "repo", "org"],
        "tag" => &["tag", "repo", "org"],
        "user" => &["user"],
        "account" => &["account"],
        _ => &[],
    };
    let guarded = call.class == model::Class::Admin || call.effects.meets(model::Effects::GUARDED);
    let effects: Vec<&str> = call.effects.iter().map(model::Effect::as_str).collect();
    let segments: Vec<&str> = call.resource.segments().collect();
    let facts = call.facts.iter().map(|(name, fact)| {
        let value = match fact {
            Fact::Int(number) => json!(number),
            Fact::Bool(flag) => json!(flag),
            Fact::Text(text) => json!(**text),
            other => panic!("{other:?}"),
        };
        (name.to_owned(), value)
    });
    let seconds = asking.now.0 / 1_000_000;
    let mut context = json!({
        "service": asking.classification.service.as_ref().expect("a service").as_str(),
        "action": call.action.as_str(),
        "class": call.class.as_str(),
        "effects": effects,
        "guarded": guarded,
        "kind": kind,
        "within": within,
        "segments": segments.len(),
        "method": asking.method.as_str(),
        "endpoint": &*asking.classification.endpoint,
        "path": &*asking.classification.path,
        "roles": asking.subject.roles,
        "now": seconds,
        "age": seconds - asking.subject.session_started.0 / 1_000_000,
        "holds": ["hours mon-fri 09:00-17:00"],
        "facts": facts.collect::<serde_json::Map<_, _>>(),
    });
    for at in 0..4 {
        context[format!("s{at}")] = json!(segments.get(at).copied().unwrap_or(""));
    }
    for (name, value) in [("tail", call.resource.tail()), ("task", asking.subject.task.as_deref())] {
        if let Some(value) = value {
            context[name] = json!(value);
        }
    }
    context
}

/// Whether a set of policies allows a request.
fn allows(claim: &Claim, asking: &Asking, covered: bool) -> bool {
    let (schema, _) = Schema::from_cedarschema_str(&claim.schema).expect("a schema");
    // The symbolic compiler takes what is strictly typed alone.
    for policies in [Some(&claim.policies), claim.covered.as_ref()].into_iter().flatten() {
        let typed = Validator::new(schema.clone()).validate(policies, ValidationMode::Strict);
        let wrong = typed.validation_errors().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(typed.validation_passed(), "{wrong}\n{}", claim.cedar());
    }
    let uid = |kind: &str, id: &str| {
        let kind = kind.parse().expect("a type");
        EntityUid::from_type_name_and_id(kind, cedar_policy::EntityId::new(id))
    };
    let action = uid("Action", &claim.action);
    let mut value = context(asking);
    let object = value.as_object_mut().expect("an object");
    // What the schema does not type no text looks at.
    object.retain(|name, _| claim.schema.contains(&format!("{name}:")) || claim.schema.contains(&format!("{name}?:")));
    if let Some(Value::Object(facts)) = object.get_mut("facts") {
        facts.retain(|name, _| claim.schema.contains(name.as_str()));
    }
    let context = Context::from_json_value(value, Some((&schema, &action))).expect("the context is of the schema");
    let principal = uid("Agent", asking.subject.agent.as_str());
    let resource = uid("Resource", asking.classification.calls[0].resource.as_str());
    let request = Request::new(principal, action, resource, context, Some(&schema)).expect("a request of the schema");
    let policies = if covered { claim.covered.as_ref().expect("what is covered") } else { &claim.policies };
    Authorizer::new().is_authorized(&request, policies, &Entities::empty()).decision() == Cedar::Allow
}

/// The claims that speak of a call, each with whether a credential chooses among its permissions.
fn claims(rules: &Rules, statement: &str, asking: &Asking) -> Vec<Claim> {
    let (words, statements) = (vocabulary(), statements(statement));
    let proof = Proof::new((provable(rules), &words), &statements.list[0], now())
        .unwrap_or_else(|problems| panic!("{}", show(&problems)));
    let (service, call) = (asking.classification.service.as_ref().expect("a service"), &asking.classification.calls[0]);
    let plan = proof.plan();
    let mine = plan.groups.iter().filter(|group| {
        group.service() == service.as_str() && group.actions().any(|action| action == call.action.as_str())
    });
    mine.map(|group| proof.claim(group).expect("a claim")).collect()
}

fn permission() -> impl Strategy<Value = String> {
    let github = (
        proptest::sample::select(
            &["read", "write", "'*'", "pulls/create", "git/push", "pulls:write", "'effect:branch-write'", "repos/add-collaborator", "delete"][..],
        ),
        proptest::sample::select(&["'*'", "'org:o'", "'repo:o/*'", "'repo:o/r'", "'branch:o/r@agent/*'", "'branch:*/*@main'"][..]),
        proptest::sample::select(
            &[
                "",
                "approval: required",
                "approval: none",
                "approval: once-per-session",
                "task: 'fix *'",
                "hours: ['mon-fri 09:00-17:00']",
                "expires: 2h",
                "when: 'context.facts[\"body.draft\"] == true'",
                "when: '!(context.facts[\"git.force\"])', approval: none",
                "when: 'context.class == \"write\" && (context has task || context.age < 10)'",
                "approval: required, approvers: {count: 2}",
            ][..],
        ),
        proptest::sample::select(&["gh", "gh2"][..]),
    )
        .prop_map(|(action, resource, condition, credential)| {
            format!(
                "{{service: github, credential: {credential}, actions: [{action}], resources: [{resource}], conditions: {{{condition}}}}}"
            )
        });
    let stripe = (
        proptest::sample::select(&["charges/create", "refunds/create", "spend", "read"][..]),
        proptest::sample::select(
            &[
                "max: {body.amount: 50}",
                "max_amount: 50, approval: required",
                "when: 'context.facts[\"body.amount\"] < 70'",
                "",
            ][..],
        ),
    )
        .prop_map(|(action, condition)| {
            format!("{{service: stripe, actions: [{action}], resources: ['*'], conditions: {{{condition}}}}}")
        });
    prop_oneof![3 => github, 2 => stripe]
}

fn policy() -> impl Strategy<Value = String> {
    let denied = proptest::sample::select(&["", "[delete]", "['effect:escalates']", "[git/push]", "['*']"][..]);
    let egress = proptest::sample::select(&["closed", "known"][..]);
    (proptest::collection::vec(permission(), 1..5), denied, egress).prop_map(|(permissions, denied, egress)| {
        let denied = if denied.is_empty() { String::new() } else { format!("    denied_actions: {denied}\n") };
        format!(
            "{CREDENTIALS}egress: {egress}\nagents:\n  bot:\n    permissions:\n      - {}\n{denied}",
            permissions.join("\n      - ")
        )
    })
}

fn request() -> impl Strategy<Value = Asking> {
    let calls = &[
        ("github", "repos/get", "repo:o/r", None),
        ("github", "pulls/create", "repo:o/r", Some(("body.draft", Fact::Bool(true)))),
        ("github", "pulls/create", "repo:o/r", None),
        ("github", "pulls/merge", "repo:p/r", None),
        ("github", "git/push", "branch:o/r@main", Some(("git.force", Fact::Bool(false)))),
        ("github", "git/push", "branch:o/r@agent/x", Some(("git.force", Fact::Bool(true)))),
        ("github", "repos/delete", "repo:o/r", None),
        ("github", "repos/add-collaborator", "repo:o/r", None),
        ("github", "gists/create", "user:ada", None),
        ("github", "http/post", "resource:/x", None),
        ("github", "http/get", "resource:/x", None),
        ("stripe", "charges/list", "account:a", None),
        ("stripe", "charges/create", "account:a", Some(("body.amount", Fact::Int(40)))),
        ("stripe", "charges/create", "account:a", Some(("body.amount", Fact::Int(60)))),
        ("stripe", "refunds/create", "account:a", Some(("body.amount", Fact::Int(-1)))),
        ("stripe", "refunds/create", "account:a", None),
        ("stripe", "http/post", "account:a", None),
    ];
    let agent = proptest::sample::select(&["bot", "other"][..]);
    let task = proptest::sample::select(&[None, Some("fix it")][..]);
    let presented = proptest::sample::select(&[None, Some("gh"), Some("gh2"), Some("st")][..]);
    (proptest::sample::select(calls.to_vec()), agent, task, presented).prop_map(
        |((service, action, resource, fact), agent, task, presented)| {
            let mut asking = ask(agent, service, action, resource);
            if let Some((name, fact)) = fact {
                asking = asking.fact(name, fact);
            }
            if let Some(method) = action.strip_prefix("http/") {
                asking.method = method.to_uppercase().parse().expect("a method");
            }
            asking.subject.task = task.map(str::to_owned);
            match presented {
                Some(name) => asking.with(name),
                None => asking,
            }
        },
    )
}

/// A policy that does not compile says nothing of proofs.
fn compiled(text: &str) -> Option<Rules> {
    let document = policy::Document::parse(text, "f.yaml").ok()?.0;
    Rules::compile(&document, &vocabulary()).ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// What the engine allows, what the solver is given allows: where nothing is found, nothing is allowed.
    #[test]
    fn what_is_allowed_refutes_never(text in policy(), asking in request()) {
        let Some(rules) = compiled(&text) else { return Ok(()) };
        if let Decision::Allow(_) = asking.decide(&rules) {
            let found = claims(&rules, "statements: [{never: {}}]", &asking);
            prop_assert!(found.iter().any(|claim| allows(claim, &asking, false)), "{text}\n{asking:?}");
        }
    }

    /// The same of what is allowed without asking every time.
    #[test]
    fn what_does_not_ask_refutes_asks(text in policy(), asking in request(), people in 1u32..3) {
        let Some(rules) = compiled(&text) else { return Ok(()) };
        if let Decision::Allow(conditions) = asking.decide(&rules)
            && conditions.approval().is_none_or(|need| need.once_per_session || need.count < people)
        {
            let found = claims(&rules, &format!("statements: [{{asks: {{}}, people: {people}}}]"), &asking);
            prop_assert!(found.iter().any(|claim| allows(claim, &asking, false)), "{text}\n{asking:?}");
        }
    }

    /// The other way about: what is denied is not proven to be allowed.
    #[test]
    fn what_is_denied_refutes_allows(text in policy(), asking in request()) {
        let text = text.replace("credential: gh2", "credential: gh").replace("gh2: {service: github}, ", "");
        let Some(rules) = compiled(&text) else { return Ok(()) };
        if asking.presented.is_none() && !asking.passes(&rules) {
            let found = claims(&rules, "statements: [{allows: {}}]", &asking);
            prop_assert!(!found.is_empty());
            prop_assert!(
                found.iter().any(|claim| allows(claim, &asking, true) && !allows(claim, &asking, false)),
                "{text}\n{asking:?}"
            );
        }
    }
}

#[test]
fn a_statement_covers_what_it_says() {
    let rules = rules(&format!(
        "{CREDENTIALS}agents:\n  bot: {{permissions: [{{service: github, credential: gh, actions: ['*'], resources: ['*']}}]}}\n  \
         other: {{permissions: []}}\n"
    ));
    for (scope, asking, covered) in [
        ("{}", ask("bot", "github", "pulls/create", "repo:o/r"), true),
        ("{agents: bot}", ask("bot", "github", "pulls/create", "repo:o/r"), true),
        ("{agents: other}", ask("bot", "github", "pulls/create", "repo:o/r"), false),
        ("{except_agents: bot}", ask("bot", "github", "pulls/create", "repo:o/r"), false),
        ("{service: github, actions: [create_pr]}", ask("bot", "github", "pulls/create", "repo:o/r"), true),
        ("{service: github, actions: [read]}", ask("bot", "github", "pulls/create", "repo:o/r"), false),
        ("{service: github, except_actions: [write]}", ask("bot", "github", "pulls/create", "repo:o/r"), false),
        ("{service: github, resources: ['org:o']}", ask("bot", "github", "pulls/create", "repo:o/r"), true),
        ("{service: github, resources: ['org:p']}", ask("bot", "github", "pulls/create", "repo:o/r"), false),
        ("{service: github, except_resources: ['repo:o/*']}", ask("bot", "github", "pulls/create", "repo:o/r"), false),
        ("{when: 'context.facts[\"body.draft\"]'}", ask("bot", "github", "pulls/create", "repo:o/r"), false),
        (
            "{when: 'context.facts[\"body.draft\"]'}",
            ask("bot", "github", "pulls/create", "repo:o/r").fact("body.draft", Fact::Bool(true)),
            true,
        ),
        ("{service: stripe}", ask("bot", "github", "pulls/create", "repo:o/r"), false),
    ] {
        let found = claims(&rules, &format!("statements: [{{never: {scope}}}]"), &asking);
        assert_eq!(found.iter().any(|claim| allows(claim, &asking, false)), covered, "{scope}");
    }
}

#[test]
fn words_that_nobody_knows_are_said() {
    let rules = rules("agents: {bot: {permissions: []}}");
    let words = vocabulary();
    for (statement, says) in [
        ("{never: {service: githab}}", "unknown service `githab`; did you mean `github`?"),
        ("{never: {service: github, actions: [pulls/crate]}}", "did you mean `pulls/create`?"),
        ("{never: {service: github, resources: [repo]}}", "has no kind"),
        ("{never: {actions: [pulls/create]}}", "needs a service"),
        ("{never: {agents: bat}}", "names no agent `bat`"),
    ] {
        let statements = statements(&format!("statements:\n  - {statement}"));
        let problems = Proof::new((provable(&rules), &words), &statements.list[0], now()).expect_err(statement);
        assert!(show(&problems).contains(says), "{statement}: {}", show(&problems));
        assert_eq!(problems[0].line, 2, "{statement}");
    }
}

#[test]
fn what_a_solver_finds_is_read_back_and_judged() {
    let rules = rules(&format!(
        "{CREDENTIALS}agents:\n  bot:\n    permissions:\n      - {{service: github, credential: gh, actions: [pulls/create], resources: \
         ['repo:o/*'], conditions: {{task: 'fix *', hours: ['mon-fri 09:00-17:00']}}}}\n"
    ));
    let (words, statements) =
        (vocabulary(), statements("statements: [{never: {service: github, actions: [pulls/create]}}]"));
    let proof = Proof::new((provable(&rules), &words), &statements.list[0], now()).expect("known words");
    let plan = proof.plan();
    let [group] = plan.groups.as_slice() else { panic!("{plan:?}") };
    let shape = Shape::parse("repo:*/*").expect("a shape");
    let (one, claim) = proof.narrow(group, 0, &shape).expect("typed").expect("a member");
    assert!(claim.cedar().contains("context"), "{}", claim.cedar());
    // As a solver would say it: at night, in a task that fits.
    let mut asking = ask("bot", "github", "pulls/create", "repo:o/r").task("fix it").at("2026-11-20T23:00:00Z");
    asking.subject.session_started = asking.now;
    let value = context(&asking);
    let context = Context::from_json_value(value, None).expect("a context");
    let found = proof.read(&one, ("bot", &context)).expect("a call");
    assert_eq!(found.call.resource.as_str(), "repo:o/r");
    let judged = proof.refutes(&found, None).expect("allowed at some time");
    assert_eq!(judged.task.as_deref(), Some("fix it"));
    let (hour, _, day) = judged.at.clock_utc();
    assert!((9..17).contains(&hour) && day < 5, "{:?}", judged.at);
    let other = policy::prove::Found { task: Some("break it".to_owned()), ..found };
    assert!(proof.refutes(&other, None).is_none(), "no time of the week allows it");
}

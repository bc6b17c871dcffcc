//! A small vocabulary and short ways to ask.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use model::canonical::{Host, Origin, Scheme};
use model::vocabulary::{ActionWords, FactType, ServiceWords, Vocabulary};
use model::{
    ActionId, AgentName, Call, Class, Classification, CredentialName, Effect, Effects, Fact, Facts, Refusal, Resource,
    ServiceName, SessionId, Tenant, Timestamp,
};
use policy::{Conditions, Decision, Document, Question, Rules, Subject};

/// 2026-11-20 is a Friday.
pub const FRIDAY_NOON: &str = "2026-11-20T12:00:00Z";

pub type Row = (&'static str, Class, &'static [Effect], &'static str, &'static [(&'static str, FactType)]);

const GITHUB: &[Row] = &[
    ("repos/get", Class::Read, &[], "repo", &[]),
    ("pulls/create", Class::Write, &[], "repo", &[("body.draft", FactType::Bool), ("body.title", FactType::Text)]),
    ("pulls/merge", Class::Write, &[Effect::BranchWrite], "repo", &[]),
    ("issues/create", Class::Write, &[], "repo", &[]),
    ("mcp/connect", Class::Read, &[], "resource", &[]),
    ("issues/create-comment", Class::Write, &[], "repo", &[]),
    ("git/list-refs", Class::Read, &[], "repo", &[]),
    ("git/push", Class::Write, &[Effect::BranchWrite], "branch", &[("git.force", FactType::Bool)]),
    ("git/force-push", Class::Write, &[Effect::BranchWrite], "branch", &[("git.force", FactType::Bool)]),
    ("repos/create-or-update-file-contents", Class::Write, &[Effect::BranchWrite], "branch", &[]),
    ("repos/delete", Class::Delete, &[Effect::RepoDelete], "repo", &[]),
    ("repos/add-collaborator", Class::Admin, &[Effect::Escalates], "repo", &[]),
    ("gists/create", Class::Write, &[Effect::Publishes], "user", &[]),
];

const STRIPE: &[Row] = &[
    ("charges/list", Class::Read, &[], "account", &[]),
    ("charges/create", Class::Spend, &[], "account", &[("body.amount", FactType::Int)]),
    ("refunds/create", Class::Spend, &[], "account", &[("body.amount", FactType::Int)]),
];

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn table(rows: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    rows.iter().map(|(name, ids)| ((*name).to_owned(), strings(ids))).collect()
}

fn service(rows: &[Row], host: &str) -> ServiceWords {
    let action = |(id, class, effects, resource, facts): &Row| {
        let words = ActionWords {
            class: *class,
            effects: effects.iter().copied().collect(),
            facts: facts.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect(),
            resource: (*resource).to_owned(),
            implied_by: Vec::new(),
            forms: Vec::new(),
        };
        ((*id).to_owned(), words)
    };
    ServiceWords { actions: rows.iter().map(action).collect(), hosts: vec![host.to_owned()], ..ServiceWords::default() }
}

pub fn vocabulary() -> Vocabulary {
    let mut github = service(GITHUB, "api.github.com");
    if let Some(list) = github.actions.get_mut("git/list-refs") {
        list.implied_by = strings(&["git/push", "git/force-push"]);
    }
    // Acts on nothing but the place where it is asked for.
    if let Some(connect) = github.actions.get_mut("mcp/connect") {
        connect.implied_by = strings(&["issues/create-comment"]);
    }
    github.aliases = table(&[
        ("create_pr", &["pulls/create"]),
        ("add_comment", &["issues/create-comment"]),
        ("delete_repo", &["repos/delete"]),
        ("add_collaborator", &["repos/add-collaborator"]),
        ("merge_pr", &["pulls/merge"]),
    ]);
    github.scopes = table(&[("pulls:write", &["pulls/create", "pulls/merge"]), ("issues:write", &["issues/create"])]);
    github.parents = [("branch", "repo"), ("tag", "repo"), ("repo", "org")]
        .map(|(kind, parent)| (kind.to_owned(), parent.to_owned()))
        .into();
    github.kinds = strings(&["org", "repo", "branch", "tag", "user"]);
    let mut stripe = service(STRIPE, "api.stripe.com");
    stripe.kinds = strings(&["account"]);
    stripe.scopes = table(&[("charges:read", &["charges/list"])]);
    let model: &[Row] =
        &[("messages/create", Class::Read, &[], "model", &[]), ("files/create", Class::Write, &[], "model", &[])];
    let mut anthropic = service(model, "api.anthropic.com");
    anthropic.kinds = strings(&["model"]);
    let registry: &[Row] = &[
        ("package/get", Class::Read, &[], "package", &[]),
        ("package/publish", Class::Write, &[Effect::Publishes], "package", &[]),
    ];
    let services = [
        ("github", github),
        ("stripe", stripe),
        ("anthropic", anthropic),
        ("npm", service(registry, "registry.npmjs.org")),
    ];
    Vocabulary { services: services.map(|(name, words)| (name.to_owned(), words)).into() }
}

pub fn document(text: &str) -> Document {
    match Document::parse(text, "valetkey.yaml") {
        Ok((document, _)) => document,
        Err(problems) => panic!("{}", show(&problems)),
    }
}

pub fn rules(text: &str) -> Rules {
    Rules::compile(&document(text), &vocabulary()).unwrap_or_else(|problems| panic!("{}", show(&problems)))
}

pub fn show(problems: &[policy::Diagnostic]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Everything wrong with a text, of form or of meaning, one line each.
pub fn complaints(text: &str) -> Vec<String> {
    let problems = match Document::parse(text, "f.yaml") {
        Ok((document, _)) => Rules::compile(&document, &vocabulary()).err().unwrap_or_default(),
        Err(problems) => problems,
    };
    problems.iter().map(ToString::to_string).collect()
}

pub fn credential(name: &str) -> CredentialName {
    CredentialName::new(name).expect("a name")
}

pub fn host(text: &str) -> Host {
    Host::parse(text).expect("a host")
}

/// One question, ready to be changed.
#[derive(Debug)]
pub struct Asking {
    pub subject: Subject,
    pub classification: Classification,
    pub method: http::Method,
    pub origin: Origin,
    pub presented: Option<CredentialName>,
    pub grants: Vec<Arc<policy::Given>>,
    pub now: Timestamp,
}

/// A call of a known action, with the class and effects that the vocabulary gives it.
pub fn call(service: &str, action: &str, resource: &str) -> Call {
    let vocabulary = vocabulary();
    let words = vocabulary.services.get(service).and_then(|words| words.actions.get(action));
    let class = match action.strip_prefix("http/") {
        Some(method) => Class::of_method(&method.to_uppercase().parse().expect("a method")),
        None => words.expect("an action").class,
    };
    Call {
        action: ActionId::new(action).expect("an action"),
        class,
        effects: words.map_or(Effects::NONE, |words| words.effects),
        resource: Resource::new(resource),
        facts: Facts::default(),
    }
}

pub fn ask(agent: &str, service: &str, action: &str, resource: &str) -> Asking {
    asking(agent, Some(service), vec![call(service, action, resource)])
}

pub fn asking(agent: &str, service: Option<&str>, calls: Vec<Call>) -> Asking {
    let now = Timestamp::parse(FRIDAY_NOON).expect("a time");
    Asking {
        subject: Subject {
            tenant: Tenant::local(),
            agent: AgentName::new(agent).expect("a name"),
            user: None,
            roles: Vec::new(),
            task: None,
            session: SessionId::from_bits(7),
            session_started: Timestamp(now.0 - 60_000_000),
            source: IpAddr::from([127, 0, 0, 1]),
        },
        classification: Classification::new(
            service.map(|name| ServiceName::new(name).expect("a name")),
            calls.into(),
            Arc::from("/"),
        ),
        method: http::Method::POST,
        origin: Origin { scheme: Scheme::Https, host: host("api.github.com"), port: 443 },
        presented: None,
        grants: Vec::new(),
        now,
    }
}

/// A request to a host that no service knows.
pub fn stranger(agent: &str, name: &str, method: http::Method) -> Asking {
    let mut asking = asking(agent, None, Vec::new());
    asking.origin.host = host(name);
    asking.method = method;
    asking
}

impl Asking {
    pub fn fact(mut self, name: &str, fact: Fact) -> Self {
        for call in &mut self.classification.calls {
            call.facts.add(name.into(), fact.clone());
        }
        self
    }

    pub fn raw(mut self, method: http::Method, endpoint: &str) -> Self {
        self.method = method;
        self.classification.endpoint = Arc::from(endpoint);
        self.classification.path = Arc::from(format!("/v1{endpoint}"));
        self
    }

    pub fn with(mut self, name: &str) -> Self {
        self.presented = Some(credential(name));
        self
    }

    pub fn task(mut self, task: &str) -> Self {
        self.subject.task = Some(task.to_owned());
        self
    }

    pub fn at(mut self, time: &str) -> Self {
        self.now = Timestamp::parse(time).expect("a time");
        self
    }

    pub fn question(&self) -> Question<'_> {
        Question {
            subject: &self.subject,
            classification: &self.classification,
            method: &self.method,
            origin: &self.origin,
            presented: self.presented.as_ref(),
            grants: &self.grants,
            now: self.now,
        }
    }

    pub fn decide(&self, rules: &Rules) -> Decision {
        rules.decide(&self.question())
    }

    pub fn allowed(&self, rules: &Rules) -> Conditions {
        match self.decide(rules) {
            Decision::Allow(conditions) => conditions,
            Decision::Deny(refusal) => panic!("denied: {refusal:?}"),
        }
    }

    pub fn denied(&self, rules: &Rules) -> Refusal {
        match self.decide(rules) {
            Decision::Allow(conditions) => panic!("allowed: {conditions:?}"),
            Decision::Deny(refusal) => refusal,
        }
    }

    pub fn passes(&self, rules: &Rules) -> bool {
        matches!(self.decide(rules), Decision::Allow(_))
    }

    pub fn explained(&self, rules: &Rules) -> policy::Explained {
        rules.explain(&self.question())
    }
}

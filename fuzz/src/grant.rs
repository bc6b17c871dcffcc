//! What agents ask for at run time.

use std::sync::OnceLock;

use crate::services;

/// What agents ask for: nothing breaks on it, and what is offered is offered again, whole, when it is asked for as it is.
pub fn grant(octets: &[u8]) {
    static RULES: OnceLock<(policy::Rules, model::vocabulary::Vocabulary)> = OnceLock::new();
    let (rules, words) = RULES.get_or_init(|| {
        let mut words = services().vocabulary();
        words.services.retain(|name, _| name == "github" || name == "slack");
        let document = policy::Document::parse(GRANTED, "fuzz.yaml").expect("a document").0;
        (policy::Rules::compile(&document, &words).expect("rules"), words)
    });
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let mut lines = text.lines();
    let mut line = || lines.next().unwrap_or_default();
    let service = line().to_owned();
    let mut several =
        || line().split(' ').filter(|word| !word.is_empty()).map(str::to_owned).take(4).collect::<Vec<_>>();
    let asked = policy::Asked { service, actions: several(), resources: several() };
    let subject = policy::Subject {
        tenant: model::Tenant::local(),
        agent: model::AgentName::new("bot").expect("a name"),
        user: None,
        roles: Vec::new(),
        task: None,
        session: model::SessionId::from_bits(1),
        session_started: model::Timestamp(0),
        source: std::net::Ipv4Addr::LOCALHOST.into(),
    };
    let offer = |asked: &[policy::Asked]| rules.offer(words, &subject, (asked, None), model::Timestamp(1));
    let pairs = |offer: &policy::Offer| {
        let scopes = offer.scopes.iter().filter(|scope| !scope.implied);
        let pair = |scope: &policy::Scope| {
            let actions = scope.actions.clone();
            let each = move |on: &String| actions.iter().map(|one| (one.clone(), on.clone())).collect::<Vec<_>>();
            scope.resources.iter().flat_map(each).collect::<Vec<_>>()
        };
        scopes.flat_map(pair).collect::<std::collections::BTreeSet<_>>()
    };
    let Ok(first) = offer(&[asked]) else { return };
    let again: Vec<policy::Asked> = first
        .scopes
        .iter()
        .filter(|scope| !scope.implied)
        .map(|scope| policy::Asked {
            service: scope.service.clone(),
            actions: scope.actions.clone(),
            resources: scope.resources.clone(),
        })
        .collect();
    let second = offer(&again).expect("what was offered is offered again");
    assert_eq!(pairs(&second), pairs(&first));
    assert!(second.cut.is_empty(), "cut of what was offered: {:?}", second.cut);
}

/// The policy that [`grant`] asks.
const GRANTED: &str = r#"
agents:
  bot:
    standing: none
    permissions:
      - { service: github, actions: [read, pulls/create], resources: ["repo:o/*"] }
      - { service: github, actions: [git/push], resources: ["branch:o/r@agent/*"] }
      - { service: github, actions: ["*"], resources: ["repo:o/*-docs", "repo:o/open"], conditions: { approval: required } }
      - { service: slack, actions: [write], resources: ["*"] }
    denied_actions: [repos/delete, "effect:escalates"]
"#;

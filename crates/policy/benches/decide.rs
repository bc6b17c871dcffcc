//! One cold and one kept decision among 10, 1,000 and 10,000 rules. The bar: cold under 10 us, the same for all three.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use model::canonical::{Host, Origin, Scheme};
use model::vocabulary::{ActionWords, ServiceWords, Vocabulary};
use model::{
    ActionId, AgentName, Call, Class, Classification, Effects, Facts, Resource, ServiceName, SessionId, Tenant,
    Timestamp,
};
use policy::{Document, Question, Rules, Subject};

fn vocabulary() -> Vocabulary {
    let mut github = ServiceWords::default();
    let words = ActionWords {
        class: Class::Write,
        effects: Effects::NONE,
        facts: std::collections::BTreeMap::default(),
        resource: "repo".to_owned(),
        implied_by: Vec::new(),
        forms: Vec::new(),
    };
    github.actions.insert("pulls/create".to_owned(), words);
    github.kinds = vec!["repo".to_owned(), "org".to_owned()];
    github.parents.insert("repo".to_owned(), "org".to_owned());
    Vocabulary { services: [("github".to_owned(), github)].into() }
}

/// Half of the rules are this agent's, for as many repositories.
fn rules(count: usize) -> Option<Rules> {
    let mut text = String::from("agents:\n");
    for agent in ["a", "b"] {
        let _ = write!(text, "  {agent}:\n    permissions:\n");
        for number in 0..count / 2 {
            let _ = writeln!(
                text,
                "      - {{service: github, actions: [pulls/create], resources: ['repo:o/r{number}'], conditions: {{limit: 5/hour}}}}"
            );
        }
    }
    let (document, _) = Document::parse(&text, "bench").ok()?;
    Rules::compile(&document, &vocabulary()).ok()
}

fn bench(criterion: &mut Criterion) {
    let subject = Subject {
        tenant: Tenant::local(),
        agent: AgentName::new("a").unwrap_or_else(|_| AgentName::guest()),
        user: None,
        roles: Vec::new(),
        task: None,
        session: SessionId::from_bits(7),
        session_started: Timestamp(0),
        source: IpAddr::from([127, 0, 0, 1]),
    };
    let (Ok(service), Ok(action), Ok(host)) =
        (ServiceName::new("github"), ActionId::new("pulls/create"), Host::parse("api.github.com"))
    else {
        return;
    };
    let origin = Origin { scheme: Scheme::Https, host, port: 443 };
    let ask = |resource: &str| {
        let (action, resource) = (action.clone(), Resource::new(resource));
        let call = Call { action, class: Class::Write, effects: Effects::NONE, resource, facts: Facts::default() };
        Classification::new(Some(service.clone()), vec![call].into(), Arc::from("/repos"))
    };
    for count in [10, 1_000, 10_000] {
        let Some(rules) = rules(count) else { continue };
        let decide = |classification: &Classification| {
            let question = Question {
                subject: &subject,
                classification,
                method: &http::Method::POST,
                origin: &origin,
                presented: None,
                grants: &[],
                now: Timestamp(1),
            };
            std::hint::black_box(rules.decide(&question));
        };
        let kept = ask("repo:o/r3");
        criterion.bench_function(&format!("kept/{count}"), |bencher| bencher.iter(|| decide(&kept)));
        // Another tail each time: never kept, yet covered by the same rule.
        let mut number = 0u64;
        criterion.bench_function(&format!("cold/{count}"), |bencher| {
            bencher.iter_batched_ref(
                || {
                    number += 1;
                    ask(&format!("repo:o/r3@{number}"))
                },
                |asked| decide(asked),
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);

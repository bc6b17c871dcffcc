//! Hosts that no service knows: every host that a profile names, and any other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::Classification;
use model::canonical::{Host, Origin, Scheme};

use super::outcome::Outcome;
use super::{Change, Difference, Policy};
use crate::{Question, Subject};

/// One method of each class that a method alone can have, with all of the class.
const METHODS: [(http::Method, &str); 3] = [
    (http::Method::GET, "GET, HEAD, OPTIONS"),
    (http::Method::POST, "POST, PUT, PATCH"),
    (http::Method::DELETE, "DELETE"),
];

const OTHERS: &str = "any-other-host.invalid";

const ALL: &str = "any host that no service knows";

pub(super) fn compare(sides: &[Policy<'_>; 2], subject: &Subject, compared: &mut u64) -> Vec<Difference> {
    let known: BTreeSet<&str> = sides
        .iter()
        .flat_map(|side| side.words.services.values())
        .flat_map(|service| &service.hosts)
        .map(String::as_str)
        .collect();
    let profiles = sides.iter().flat_map(|side| &side.rules.profiles);
    let named: BTreeSet<&str> = profiles.flat_map(|profile| profile.hosts).copied().collect();
    let hosts: Vec<&str> = named.into_iter().filter(|host| !known.contains(host)).chain([OTHERS]).collect();
    let count = hosts.len();
    let mut found: BTreeMap<(Outcome, Outcome), BTreeMap<&str, BTreeSet<usize>>> = BTreeMap::new();
    for host in hosts {
        // Of a pattern, a name under it.
        let example = host.replace('*', "x");
        for (at, (method, _)) in METHODS.iter().enumerate() {
            let judge = |side: &Policy<'_>| outcome(side, subject, &example, method);
            let [was, becomes] = sides.each_ref().map(judge);
            *compared += 1;
            if was != becomes {
                found.entry((was, becomes)).or_default().entry(host).or_default().insert(at);
            }
        }
    }
    let mut all = Vec::new();
    for ((was, becomes), hosts) in found {
        let mut by: BTreeMap<BTreeSet<usize>, Vec<&str>> = BTreeMap::new();
        for (host, methods) in hosts {
            by.entry(methods).or_default().push(host);
        }
        for (methods, hosts) in by {
            let hosts = if hosts.len() == count { vec![ALL] } else { hosts };
            all.push(difference((&was, &becomes), &methods, &hosts));
        }
    }
    all
}

fn difference((was, becomes): (&Outcome, &Outcome), methods: &BTreeSet<usize>, hosts: &[&str]) -> Difference {
    let whole = methods.len() == METHODS.len();
    let name = |host: &&str| if *host == OTHERS { "any other host".to_owned() } else { (*host).to_owned() };
    let words = methods.iter().filter_map(|at| METHODS.get(*at)).map(|(_, words)| (*words).to_owned());
    Difference {
        agents: Vec::new(),
        change: Change::of(was, becomes),
        service: None,
        actions: Vec::new(),
        ids: Vec::new(),
        resources: Vec::new(),
        hosts: hosts.iter().map(name).collect(),
        by: if whole { Vec::new() } else { words.collect() },
        example: hosts.first().map_or(OTHERS, |host| if *host == ALL { OTHERS } else { host }).replace('*', "x"),
        was: was.clone(),
        becomes: becomes.clone(),
    }
}

/// What a policy says to a request to a host that it knows nothing of.
pub(super) fn outcome(side: &Policy<'_>, subject: &Subject, host: &str, method: &http::Method) -> Outcome {
    let Ok(host) = Host::parse(host) else { return Outcome::DENIED };
    let classification = Classification::new(None, smallvec::SmallVec::new(), Arc::from("/"));
    let origin = Origin { scheme: Scheme::Https, host, port: 443 };
    let now = subject.session_started;
    side.rules.outcome(&Question {
        subject,
        classification: &classification,
        method,
        origin: &origin,
        presented: None,
        grants: &[],
        now,
    })
}

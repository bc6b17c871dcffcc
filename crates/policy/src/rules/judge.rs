//! Asks Cedar which of the candidate rules apply. Any error denies.
//!
//! The evaluator is asked itself, with values (decision 33). What stands in front of it in the library, expressions for every value
//! and a list of all that each policy said, takes two thirds of a decision and tells us nothing: a rule is one policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy_core::ast::{
    Context, Eid, EntityType, EntityUID, EntityUIDEntry, Literal, Request, SlotEnv, Value, ValueKind,
};
use cedar_policy_core::entities::Entities;
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use model::{ActionId, AgentName, Call, Class, Effect, Effects, Fact, Resource, ServiceName, bounds};
use quick_cache::sync::Cache;
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::index::Candidates;
use super::{Kind, Rule, Rules};
use crate::Question;
use crate::compile::actions::{RequestLine, is_guarded};
use crate::compile::pattern::{Parts, Seen, segment_name};
use crate::condition::Needs;

/// Octets of resource and path up to which a verdict is kept. The cache is bounded by number; without this bound an
/// agent's long paths would make that many long entries.
const KEPT_BYTES_MAX: usize = 512;

/// What the rules say of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The first denial that applies.
    pub(crate) denied: Option<u32>,
    /// A rule that could not be evaluated, and why.
    pub(crate) broken: Option<(u32, String)>,
    /// Every permission that applies.
    pub(crate) permits: SmallVec<[u32; 4]>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    agent: AgentName,
    service: ServiceName,
    action: ActionId,
    resource: Resource,
    /// One action may differ in these by what its body says.
    class: Class,
    effects: Effects,
    /// Only where some rule looks at methods and paths.
    raw: Option<(http::Method, Arc<str>)>,
}

impl Key {
    /// Whether it is short enough to be kept.
    fn is_short(&self) -> bool {
        let path = self.raw.as_ref().map_or(0, |(_, path)| path.len());
        self.resource.as_str().len() + path <= KEPT_BYTES_MAX
    }
}

/// Cedar, and the verdicts that are good for more than one request.
pub(crate) struct Judge {
    entities: Entities,
    agent: EntityType,
    action: EntityType,
    resource: EntityType,
    kept: Cache<Key, Arc<Verdict>>,
    /// Some rule looks at methods and paths.
    raw: bool,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Judge")
    }
}

impl Judge {
    /// The three entity types are fixed words; `None` only if the library stopped reading them.
    pub(crate) fn new(rules: &[Rule]) -> Option<Self> {
        Some(Self {
            entities: Entities::new(),
            agent: "Agent".parse().ok()?,
            action: "Action".parse().ok()?,
            resource: "Resource".parse().ok()?,
            kept: Cache::new(bounds::DECISIONS_CACHED_MAX),
            raw: rules.iter().any(|rule| rule.raw.is_some()),
        })
    }

    /// Whether some rule looks at methods and paths.
    pub(crate) const fn looks_at_paths(&self) -> bool {
        self.raw
    }

    fn entry(kind: &EntityType, id: &str) -> EntityUIDEntry {
        EntityUIDEntry::known(EntityUID::from_components(kind.clone(), Eid::new(id), None), None)
    }
}

impl Rules {
    /// What the rules say of one call of a known service, by its number and itself.
    pub(crate) fn verdict(
        &self,
        question: &Question<'_>,
        service: &ServiceName,
        (at, call): (usize, &Call),
    ) -> Arc<Verdict> {
        let line = RequestLine::of(question, at);
        let key = Key {
            agent: question.subject.agent.clone(),
            service: service.clone(),
            action: call.action.clone(),
            resource: call.resource.clone(),
            class: call.class,
            effects: call.effects,
            raw: self.judge.raw.then(|| (line.method.clone(), Arc::clone(line.path))),
        };
        let short = key.is_short();
        if short && let Some(kept) = self.judge.kept.get(&key) {
            return kept;
        }
        let (verdict, keep) = self.judge_call(question, service, (line, call));
        let verdict = Arc::new(verdict);
        if keep && short {
            self.judge.kept.insert(key, Arc::clone(&verdict));
        }
        verdict
    }

    /// Candidates of one call, by the index.
    pub(crate) fn candidates(&self, agent: &AgentName, service: &str, call: &Call) -> Candidates {
        let parts = self.parts(service, &call.resource);
        self.index.candidates(agent.as_str(), service, call.action.as_str(), &parts)
    }

    /// A resource taken apart as this service reads it.
    pub(crate) fn parts<'a>(&'a self, service: &str, resource: &'a Resource) -> Parts<'a> {
        let kind = resource.kind();
        let known = self.services.get(service);
        let within = known.and_then(|service| service.within.get(kind));
        let blind = known.is_some_and(|service| service.case_blind.iter().any(|known| known == kind));
        Parts::of(resource, within.map_or(&[], Vec::as_slice), blind)
    }

    fn judge_call(
        &self,
        question: &Question<'_>,
        service: &ServiceName,
        (line, call): (RequestLine<'_>, &Call),
    ) -> (Verdict, bool) {
        let parts = self.parts(service.as_str(), &call.resource);
        let found =
            self.index.candidates(question.subject.agent.as_str(), service.as_str(), call.action.as_str(), &parts);
        let plausible = |number: &u32| {
            self.list.get(*number as usize).filter(|rule| rule.is_plausible(line, service.as_str(), call, &parts))
        };
        let candidates: SmallVec<[(u32, &Rule); 8]> =
            found.iter().filter_map(|number| plausible(number).map(|rule| (*number, rule))).collect();
        let needs = candidates.iter().fold(Needs::NONE, |sum, (_, rule)| sum.and(rule.needs));
        let mut verdict = Verdict::default();
        if candidates.is_empty() {
            // A rule by facts or circumstances is always plausible, so this outcome holds for the next request too.
            return (verdict, true);
        }
        if let Some((number, fact)) = hidden(&candidates, call) {
            verdict.broken = Some((number, format!("fact `{fact}` cannot be known")));
            return (verdict, false);
        }
        let request = self.request(question, service, (line, call), (&parts, needs, &candidates));
        let evaluator = Evaluator::new(request, &self.judge.entities, Extensions::all_available());
        for (number, rule) in candidates {
            ask(&evaluator, number, rule, &mut verdict);
        }
        let keep = needs.keeps() && verdict.broken.is_none();
        (verdict, keep)
    }

    pub(super) fn request(
        &self,
        question: &Question<'_>,
        service: &ServiceName,
        (line, call): (RequestLine<'_>, &Call),
        (parts, needs, candidates): (&Parts<'_>, Needs, &[(u32, &Rule)]),
    ) -> Request {
        let mut pairs = Pairs::default();
        pairs.put("service", service.as_str());
        if needs.has(Needs::CLASS) {
            pairs.put("class", call.class.as_str());
            pairs.set("effects", call.effects.iter().map(Effect::as_str));
            pairs.put("guarded", is_guarded(call));
        }
        if needs.has(Needs::ACTION) {
            pairs.put("action", call.action.as_str());
        }
        if needs.has(Needs::RESOURCE) {
            let patterns = candidates.iter().flat_map(|(_, rule)| &rule.resources);
            let seen = patterns.fold(Seen::default(), |seen, pattern| seen.and(pattern.sees(parts)));
            pairs.resource(parts, seen);
        }
        if needs.has(Needs::RAW) {
            pairs.put("method", line.method.as_str());
            pairs.put("endpoint", &**line.endpoint);
            pairs.put("path", &**line.path);
        }
        pairs.circumstances(question, needs);
        if needs.has(Needs::HOLDS) {
            let conditions = candidates.iter().flat_map(|(_, rule)| rule.conditions.iter());
            pairs.set("holds", conditions.filter_map(|one| one.holds(question.subject, question.now)));
        }
        if needs.has(Needs::FACTS) {
            pairs.facts(call);
        }
        Request::new_unchecked(
            Judge::entry(&self.judge.agent, question.subject.agent.as_str()),
            Judge::entry(&self.judge.action, &[service.as_str(), ":", call.action.as_str()].concat()),
            Judge::entry(&self.judge.resource, call.resource.as_str()),
            Some(pairs.into_context()),
        )
    }
}

/// Whether a rule applies. A rule is one policy, so that its condition holding is all that Cedar's authorizer would find.
fn ask(evaluator: &Evaluator<'_>, number: u32, rule: &Rule, verdict: &mut Verdict) {
    let error = match evaluator.interpret(&rule.condition, &SlotEnv::new()).map(|value| value.value) {
        Ok(ValueKind::Lit(Literal::Bool(false))) => return,
        Ok(ValueKind::Lit(Literal::Bool(true))) => {
            match rule.kind {
                Kind::Deny => drop(verdict.denied.get_or_insert(number)),
                Kind::Permit => verdict.permits.push(number),
            }
            return;
        }
        Ok(_) => "its condition is neither true nor false".to_owned(),
        Err(error) => error.to_string(),
    };
    verdict.broken.get_or_insert((number, error));
}

impl Rule {
    /// Whether it could apply, as far as action, path and resource tell. Cedar decides; this saves asking.
    pub(crate) fn is_plausible(&self, line: RequestLine<'_>, service: &str, call: &Call, parts: &Parts<'_>) -> bool {
        let raw = self.raw.as_ref().is_none_or(|raw| raw.covers(line));
        self.names(service, call) && raw && self.resources.iter().any(|pattern| pattern.covers(parts))
    }

    /// Whether its words for actions cover a call; one without words covers all that is not guarded, and denies that too.
    pub(crate) fn names(&self, service: &str, call: &Call) -> bool {
        let denial = self.kind == Kind::Deny;
        if self.actions.is_empty() {
            return denial || !is_guarded(call);
        }
        self.actions.iter().any(|named| named.selector.covers(service, call, denial))
    }
}

/// An unknown fact that a rule by facts names: absent from the context, `has` would take it for absent from the call.
fn hidden<'a>(candidates: &[(u32, &Rule)], call: &'a Call) -> Option<(u32, &'a str)> {
    candidates.iter().filter(|(_, rule)| rule.needs.has(Needs::FACTS)).find_map(|(number, rule)| {
        let unknown = call.facts.iter().filter(|(_, fact)| matches!(fact, Fact::Unknown(_)));
        unknown
            .map(|(name, _)| name)
            .find(|name| rule.looks.facts.iter().any(|fact| fact == name))
            .map(|name| (*number, name))
    })
}

/// The context under construction; a name that is set again would be an error of ours, and the later value holds.
#[derive(Default)]
struct Pairs(BTreeMap<SmolStr, Value>);

impl Pairs {
    fn into_context(self) -> Context {
        Context::Value(Arc::new(self.0))
    }

    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into());
    }

    fn set<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a str>) {
        self.put(name, Value::set(values.map(Value::from), None));
    }

    /// Of a resource what the patterns read. A set or a segment that is read and missing would be an error, which denies; a tail could be
    /// asked for with `has`, so it is there whenever the resource has one.
    fn resource(&mut self, parts: &Parts<'_>, seen: Seen) {
        self.put("kind", parts.kind);
        self.put("segments", parts.segments.len() as i64);
        if seen.within {
            self.set("within", parts.within.iter().map(String::as_str));
        }
        for (at, segment) in parts.segments.iter().take(seen.depth).enumerate() {
            self.put(&segment_name(at), &**segment);
        }
        if let Some(tail) = parts.tail {
            self.put("tail", tail);
        }
    }

    fn circumstances(&mut self, question: &Question<'_>, needs: Needs) {
        let subject = question.subject;
        if needs.has(Needs::TASK)
            && let Some(task) = &subject.task
        {
            self.put("task", task.as_str());
        }
        if needs.has(Needs::USER) {
            if let Some(user) = &subject.user {
                self.put("user", user.as_str());
            }
            self.set("roles", subject.roles.iter().map(String::as_str));
        }
        if needs.has(Needs::TIME) {
            let age = question.now.0.saturating_sub(subject.session_started.0).max(0);
            self.put("now", question.now.0.div_euclid(model::time::MICROS));
            self.put("age", age / model::time::MICROS);
        }
    }

    fn facts(&mut self, call: &Call) {
        let known = call.facts.iter().filter_map(|(name, fact)| {
            let value = match fact {
                Fact::Text(text) => Value::from(&**text),
                Fact::Int(number) => Value::from(*number),
                Fact::Bool(flag) => Value::from(*flag),
                Fact::List(items) => Value::set(items.iter().map(|item| Value::from(&**item)), None),
                Fact::Unknown(_) => return None,
            };
            Some((name, value))
        });
        let facts = Value::record(known, None);
        self.put("facts", facts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(resource: usize, path: Option<usize>) -> Key {
        Key {
            agent: AgentName::new("a").expect("a name"),
            service: ServiceName::new("s").expect("a name"),
            action: ActionId::new("http/get").expect("an action"),
            resource: Resource::new(&format!("r:{}", "x".repeat(resource - 2))),
            class: Class::Read,
            effects: Effects::NONE,
            raw: path.map(|octets| (http::Method::GET, Arc::from("x".repeat(octets)))),
        }
    }

    #[test]
    fn long_keys_are_not_kept() {
        for (resource, path, short) in [
            (512, None, true),
            (513, None, false),
            (12, Some(500), true),
            (12, Some(501), false),
            (600, Some(0), false),
        ] {
            assert_eq!(key(resource, path).is_short(), short, "{resource} {path:?}");
        }
    }

    #[test]
    fn the_cache_holds_what_is_short() {
        let (document, _) = crate::Document::parse("agents: {}\n", "f.yaml").expect("parses");
        let rules = Rules::compile(&document, &model::vocabulary::Vocabulary::default()).expect("compiles");
        let name = ServiceName::new("s").expect("a name");
        let subject = crate::Subject {
            tenant: model::Tenant::local(),
            agent: AgentName::new("a").expect("a name"),
            user: None,
            roles: Vec::new(),
            task: None,
            session: model::SessionId::from_bits(1),
            session_started: model::Timestamp(0),
            source: std::net::IpAddr::from([127, 0, 0, 1]),
        };
        let host = model::canonical::Host::parse("s.example").expect("a host");
        let origin = model::canonical::Origin { scheme: model::canonical::Scheme::Https, host, port: 443 };
        for (octets, kept) in [(2_000, 0), (40, 1), (513, 1), (512, 2)] {
            let resource = key(octets, None).resource;
            let action = key(2, None).action;
            let (class, effects, facts) = (Class::Read, Effects::NONE, model::Facts::default());
            let call = Call { action, class, effects, resource, facts };
            let classification =
                model::Classification::new(Some(name.clone()), smallvec::smallvec![call.clone()], Arc::from("/"));
            let (method, now) = (http::Method::GET, model::Timestamp(1));
            let question = Question {
                subject: &subject,
                classification: &classification,
                method: &method,
                origin: &origin,
                presented: None,
                grants: &[],
                now,
            };
            rules.verdict(&question, &name, (0, &call));
            assert_eq!(rules.judge.kept.len(), kept, "{octets}");
        }
    }
}

//! The decision: default deny; any denial wins; some permission must apply to every call; then the strictest of what
//! all applying permissions require.

use std::sync::Arc;

use model::id::GrantId;
use model::{Call, Class, Code, CredentialName, Refusal, Resource, ServiceName};
use smallvec::SmallVec;

use super::credential::Applying;
use super::judge::Verdict;
use super::{Kind, Rule, Rules};
use crate::compile::actions::{Named, Selector, is_guarded};
use crate::condition::{Ask, Covered, Required};
use crate::decision::GrantIds;
use crate::document::{Egress, Mode};
use crate::grant::Given;
use crate::limit::LimitNeed;
use crate::permit::Bearer;
use crate::{ApprovalNeed, Conditions, Decision, Question, Subject, refuse};

/// A yes before it becomes conditions.
#[derive(Debug, Default)]
pub(crate) struct Weighed {
    pub(crate) credential: Option<CredentialName>,
    pub(crate) rules: Vec<Arc<str>>,
    /// Numbers of the permissions among them, for `explain`.
    pub(crate) numbers: Vec<u32>,
    pub(crate) required: Required,
    pub(crate) approval: Option<ApprovalNeed>,
    /// The grants without which it would not be one, or would ask.
    pub(crate) grants: GrantIds,
}

/// Numbers of permissions, and the grant without which there would be none.
type Permits = (SmallVec<[u32; 4]>, Option<GrantId>);

pub(crate) type Weighing = Result<Weighed, Box<Refusal>>;

impl Rules {
    /// Decides one exchange. Pure: the same question always has the same answer.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        match (self.weigh(question), self.mode) {
            (Ok(weighed), Mode::Enforce) => Decision::Allow(conditions(question, weighed, None)),
            (Err(refusal), Mode::Enforce) => Decision::Deny(*refusal),
            (Ok(mut weighed), Mode::Observe) => {
                let observed = weighed.approval.take().map(|need| {
                    Refusal::new(Code::Denied, format!("a person would be asked: {}", need.reason)).rule(need.rule)
                });
                weighed.required.limits.clear();
                Decision::Allow(conditions(question, weighed, observed))
            }
            (Err(refusal), Mode::Observe) => {
                let weighed = Weighed { credential: self.observed_credential(question), ..Weighed::default() };
                Decision::Allow(conditions(question, weighed, Some(*refusal)))
            }
        }
    }

    /// The presented credential, if any permission of the agent names it for this service.
    fn observed_credential(&self, question: &Question<'_>) -> Option<CredentialName> {
        let service = question.classification.service.as_ref()?;
        let credential = question.presented?;
        let names = |rule: &&Rule| {
            rule.kind == Kind::Permit
                && rule.agent.as_ref().is_none_or(|agent| *agent == question.subject.agent)
                && rule.service.as_deref().is_none_or(|of| of == service.as_str())
                && self.lets_use(rule, service.as_str(), credential)
        };
        self.list.iter().find(names).map(|_| credential.clone())
    }

    pub(crate) fn weigh(&self, question: &Question<'_>) -> Weighing {
        let classification = question.classification;
        let Some(service) = &classification.service else { return self.weigh_host(question) };
        if classification.calls.is_empty() {
            return Err(Box::new(
                Refusal::new(Code::Denied, "The request holds no action that is known").internal("no calls"),
            ));
        }
        let verdicts: SmallVec<[(&Call, Arc<Verdict>); 1]> = classification
            .calls
            .iter()
            .enumerate()
            .map(|(at, call)| (call, self.verdict(question, service, (at, call))))
            .collect();
        for (call, verdict) in &verdicts {
            self.refused(question.subject, service, call, verdict)?;
        }
        let (mut applying, mut grants) = (Applying::new(), GrantIds::new());
        for (call, verdict) in &verdicts {
            let (numbers, grant) = self.permitted(question, service, call, verdict)?;
            applying.push((*call, numbers));
            grants.extend(grant.filter(|id| !grants.contains(id)));
        }
        if applying.iter().all(|(_, numbers)| numbers.is_empty()) {
            return Ok(Weighed { rules: vec![Arc::from("egress")], ..Weighed::default() });
        }
        let credential = match question.presented {
            Some(presented) => Some(presented.clone()),
            None => self.sole_credential(service.as_str(), &applying)?,
        };
        let weighed = Weighed { credential, grants, ..Weighed::default() };
        self.require(question, service, &applying, weighed)
    }

    /// A denial that applies, or a rule that cannot be evaluated.
    fn refused(
        &self,
        subject: &Subject,
        service: &ServiceName,
        call: &Call,
        verdict: &Verdict,
    ) -> Result<(), Box<Refusal>> {
        if let Some(rule) = verdict.denied.and_then(|number| self.list.get(number as usize)) {
            let plain = self.word(subject, service, call);
            let named = rule.actions.iter().find(|named| named.selector.covers(service.as_str(), call, true));
            let word = named.filter(|named| is_exact(named)).map_or(plain, |named| named.word.clone());
            let written = named.map_or("*", |named| named.word.as_str());
            let hint = format!(
                "`{written}` stands in `denied_actions` of {}; a denial wins over every permission",
                subject.agent
            );
            return Err(Box::new(refuse::denied(&word).rule(rule.id.to_string()).hint(hint)));
        }
        if let Some((number, why)) = &verdict.broken {
            let id = self.list.get(*number as usize).map_or("", |rule| &rule.id);
            return Err(Box::new(refuse::broken(id, call, why)));
        }
        Ok(())
    }

    /// The permissions that apply to a call and name the presented credential; empty where `egress` alone lets the
    /// call through, bare. Those that hold under a grant alone apply where one covers the call; it is named where the call would
    /// not pass without.
    fn permitted(
        &self,
        question: &Question<'_>,
        service: &ServiceName,
        call: &Call,
        verdict: &Verdict,
    ) -> Result<Permits, Box<Refusal>> {
        let lets = |number: &u32| {
            let rule = self.list.get(*number as usize);
            question.presented.is_none_or(|name| rule.is_some_and(|rule| self.lets_use(rule, service.as_str(), name)))
        };
        let mut numbers: SmallVec<[u32; 4]> = verdict.permits.iter().copied().filter(lets).collect();
        let waits = |number: &u32| self.list.get(*number as usize).is_some_and(|rule| rule.terms.on_grant);
        if numbers.iter().any(waits) {
            let grant = self.granted_by(question, service, call);
            let waiting = numbers.iter().copied().find(waits).filter(|_| grant.is_none());
            if waiting.is_some() {
                numbers.retain(|number| !waits(number));
            }
            if let (true, Some(rule)) = (numbers.is_empty(), waiting.and_then(|at| self.list.get(at as usize))) {
                let word = self.word(question.subject, service, call);
                return Err(Box::new(refuse::ungranted(&word, rule, service, call)));
            }
            let needed = numbers.iter().all(waits);
            return Ok((numbers, grant.filter(|_| needed)));
        }
        if !numbers.is_empty() {
            return Ok((numbers, None));
        }
        let word = self.word(question.subject, service, call);
        if let (Some(presented), false) = (question.presented, verdict.permits.is_empty()) {
            return Err(Box::new(refuse::other_credential(presented.as_str(), &word)));
        }
        if self.egress_lets(question, service, call) {
            return Ok((numbers, None));
        }
        Err(Box::new(refuse::denied(&word).hint(self.rule_to_add(question, service, call, &word))))
    }

    /// The grant that covers a call, the longest of several.
    fn granted_by(&self, question: &Question<'_>, service: &ServiceName, call: &Call) -> Option<GrantId> {
        if question.grants.is_empty() {
            return None;
        }
        let parts = self.parts(service.as_str(), &call.resource);
        let covers = |given: &&Arc<Given>| given.covers(service.as_str(), (call, &parts), question.now);
        question.grants.iter().filter(covers).max_by_key(|given| given.expires).map(|given| given.id)
    }

    /// The grant whose yes answers every one of these questions about these calls, the longest of several.
    fn answered_by(
        &self,
        question: &Question<'_>,
        service: &ServiceName,
        (asks, calls): (&[Ask], &[&Call]),
    ) -> Option<GrantId> {
        let covers = |given: &&Arc<Given>| {
            asks.iter().all(|ask| given.answers(ask))
                && calls.iter().all(|call| {
                    let parts = self.parts(service.as_str(), &call.resource);
                    given.covers(service.as_str(), (call, &parts), question.now)
                })
        };
        question.grants.iter().filter(covers).max_by_key(|given| given.expires).map(|given| given.id)
    }

    /// Hosts of known services may be read, bare, where `egress` says so and no permission of the agent names the
    /// service; where one does, the permissions say everything.
    pub(crate) fn egress_lets(&self, question: &Question<'_>, service: &ServiceName, call: &Call) -> bool {
        let named = |agent: &str| {
            self.agents
                .get(agent)
                .is_some_and(|facts| facts.services.iter().any(|of| of == service.as_str() || of == "*"))
        };
        matches!(self.egress, Some(Egress::Open | Egress::Known))
            && question.presented.is_none()
            && call.class == Class::Read
            && !is_guarded(call)
            && !named(question.subject.agent.as_str())
            && !named("*")
    }

    /// What the policy calls this action.
    fn word(&self, subject: &Subject, service: &ServiceName, call: &Call) -> String {
        let speaks = |agent: &str| self.agents.get(agent).is_some_and(|facts| facts.speaks_aliases);
        let alias = || self.services.get(service.as_str())?.alias_of.get(call.action.as_str());
        let ours = speaks(subject.agent.as_str()) || speaks("*");
        ours.then(alias).flatten().cloned().unwrap_or_else(|| call.action.to_string())
    }

    /// The permission that would let an action on a resource through, on one line, as a configuration would have it.
    #[must_use]
    pub fn permission_for(
        &self,
        (service, credential): (&ServiceName, Option<&CredentialName>),
        word: &str,
        resource: &Resource,
    ) -> String {
        let within = self.services.get(service.as_str()).map(|service| &service.within);
        let kinds: Vec<String> = within.into_iter().flat_map(|within| within.values().flatten()).cloned().collect();
        let credential = credential.map(CredentialName::as_str);
        crate::suggest::rule(&kinds, (service.as_str(), credential), word, resource)
    }

    fn rule_to_add(&self, question: &Question<'_>, service: &ServiceName, call: &Call, word: &str) -> String {
        let agent = &question.subject.agent;
        if call.action.as_str().starts_with("http/") && is_guarded(call) {
            // No permission that one would write covers what may do anything.
            return format!(
                "the file of `{service}` does not describe this path, and on this host it may do anything; describe it there, or where messages of MCP are \
                 posted to it, add it to `mcp.at`"
            );
        }
        let rule = self.permission_for((service, question.presented), word, &call.resource);
        if self.knows_agent(agent) {
            format!("no permission covers it; add to `permissions` of {agent}: {rule}")
        } else {
            format!("the configuration names no agent {agent}; add under `agents`: {agent}: {{permissions: [{rule}]}}")
        }
    }

    fn require(
        &self,
        question: &Question<'_>,
        service: &ServiceName,
        applying: &Applying<'_>,
        mut weighed: Weighed,
    ) -> Weighing {
        let subject = question.subject;
        let mut numbers: Vec<u32> = applying.iter().flat_map(|(_, numbers)| numbers.iter().copied()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let mut required = Required::default();
        let mut rules = Vec::with_capacity(numbers.len());
        for number in &numbers {
            let Some(rule) = self.list.get(*number as usize) else { continue };
            let calls: SmallVec<[&Call; 4]> =
                applying.iter().filter(|(_, mine)| mine.contains(number)).map(|(call, _)| *call).collect();
            let covered = Covered { rule: &rule.id, subject, service: service.as_str(), calls: &calls };
            let asked = required.asks.len();
            for condition in &rule.conditions {
                condition.require(&covered, &mut required)?;
            }
            let asks = required.asks.get(asked..).unwrap_or_default();
            if !asks.is_empty()
                && let Some(grant) = self.answered_by(question, service, (asks, &calls))
            {
                required.asks.truncate(asked);
                if !weighed.grants.contains(&grant) {
                    weighed.grants.push(grant);
                }
            }
            rules.push(Arc::clone(&rule.id));
        }
        let what = applying.iter().map(|(call, _)| format!("{service}:{} {}", call.action, call.resource));
        let approval = strictest(&required.asks, subject, &mut || what.clone().collect::<Vec<_>>().join(", "))?;
        Ok(Weighed { rules, numbers, required, approval, ..weighed })
    }

    /// The question that a used-up limit of kind [`Over::Ask`](crate::limit::Over::Ask) raises.
    #[must_use]
    pub fn ask_over(&self, question: &Question<'_>, need: &LimitNeed) -> ApprovalNeed {
        ApprovalNeed {
            key: format!("{}/{}", question.subject.session, need.key),
            once_per_session: false,
            timeout_seconds: model::bounds::APPROVAL_SECONDS_DEFAULT,
            count: 1,
            of: Vec::new(),
            rule: need.rule.clone(),
            reason: format!("more than {} by {}", need.label, question.subject.agent),
        }
    }

    /// Whether the whole body must be read before deciding: the calls depend on it, a rule that can matter asks for a
    /// fact of it, or it may come to a question, which is about whole octets.
    #[must_use]
    pub fn needs_body(&self, subject: &Subject, classification: &model::Classification) -> bool {
        let Some(service) = &classification.service else {
            return self.guarded && self.egress.is_none();
        };
        classification.needs_body
            || classification.calls.iter().any(|call| {
                self.candidates(&subject.agent, service.as_str(), call).iter().any(|number| {
                    self.list.get(*number as usize).is_some_and(|rule| {
                        rule.conditions.iter().any(|condition| condition.reads_body(&[call]))
                            && (rule.actions.is_empty()
                                || rule.actions.iter().any(|named| {
                                    named.selector.covers(service.as_str(), call, rule.kind == Kind::Deny)
                                }))
                    })
                })
            })
    }
}

/// A word that names actions one by one may stand in a sentence; `*`, a class or an effect may not.
fn is_exact(named: &Named) -> bool {
    matches!(&named.selector, Selector::Ids(..))
}

fn conditions(question: &Question<'_>, weighed: Weighed, observed: Option<Refusal>) -> Conditions {
    let subject = question.subject;
    Conditions {
        bearer: Bearer {
            tenant: subject.tenant.clone(),
            agent: subject.agent.clone(),
            session: subject.session,
            user: subject.user.clone(),
        },
        service: question.classification.service.clone(),
        credential: weighed.credential,
        rules: weighed.rules,
        limits: weighed.required.limits,
        approval: weighed.approval,
        observed,
        grants: weighed.grants,
    }
}

/// One question for all that would be asked: every time beats once, the shortest time holds, the most people that any wants
/// must agree, and whoever answers must be allowed by all.
///
/// # Errors
/// Nobody may answer all of them.
pub(crate) fn strictest(
    asks: &[Ask],
    subject: &Subject,
    what: &mut dyn FnMut() -> String,
) -> Result<Option<ApprovalNeed>, Box<Refusal>> {
    let Some(first) = asks.first() else { return Ok(None) };
    let mut of: Vec<String> = Vec::new();
    for ask in asks.iter().filter(|ask| !ask.of.is_empty()) {
        if of.is_empty() {
            of.clone_from(&ask.of);
            continue;
        }
        of.retain(|name| ask.of.contains(name));
        if of.is_empty() {
            return Err(Box::new(
                Refusal::new(Code::Denied, "The rules that ask name nobody who may answer all of them")
                    .rule(ask.rule.to_string())
                    .hint("let their `approvers.of` share a name"),
            ));
        }
    }
    let count = asks.iter().map(|ask| ask.count).max().unwrap_or(1);
    if !of.is_empty() && (of.len() as u64) < u64::from(count) {
        return Err(Box::new(
            Refusal::new(
                Code::Denied,
                format!("The rules that ask want {count} people and together name {}", of.len()),
            )
            .rule(first.rule.to_string())
            .hint("let their `approvers.of` share as many names as the highest `count`"),
        ));
    }
    let rules: Vec<&str> = asks.iter().map(|ask| &*ask.rule).collect();
    Ok(Some(ApprovalNeed {
        // A yes is remembered under this: one that was given when fewer people, or others, had to agree is another.
        key: format!("{}/{}/{}/{count} of {}", subject.session, rules.join("+"), what(), of.join("+")),
        once_per_session: asks.iter().all(|ask| ask.once),
        timeout_seconds: asks.iter().map(|ask| ask.timeout_seconds).min().unwrap_or(first.timeout_seconds),
        count,
        of,
        rule: first.rule.to_string(),
        reason: first.reason.clone(),
    }))
}

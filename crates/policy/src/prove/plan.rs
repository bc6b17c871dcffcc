//! What has to be asked of a statement: its actions, sorted into groups that no rule tells apart.

use std::collections::{BTreeMap, BTreeSet};

use model::vocabulary::{FactType, ServiceWords};
use model::{ActionId, AgentName, Call, Class, CredentialName, Effects, Facts, Resource};

use super::ground::Ground;
use super::pieces::bounds;
use super::proof::Proof;
use super::statement::Verb;
use super::world::Form;
use crate::compare::cells::items;
use crate::compare::say::some;
use crate::compile::actions::{METHODS, Named, Selector, guards};
use crate::compile::text::quote;
use crate::condition::{Covered, Required};
use crate::document::Egress;
use crate::rules::{Kind, Rule, Rules, Uses};

/// The id under which mutations are judged that no table lists: their own names are in no rule, so any name will do.
const UNLISTED: &str = "graphql/any-unlisted";
/// What is asked for beside every mutation that no table lists, and that only its own name permits.
const BESIDE: &str = "graphql/unlisted-mutation";

/// One action in one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) form: Form,
}

/// Actions of a service that no rule tells apart, and the permissions among which a credential chooses.
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) service: String,
    pub(super) members: Vec<Member>,
    /// Numbers of the rules that may apply.
    pub(super) rules: Vec<u32>,
    /// The credential whose placeholder is presented; none where the policy chooses.
    pub(super) presented: Option<CredentialName>,
}

impl Group {
    /// The service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Its actions, each as often as it has forms.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.id.as_str())
    }

    /// What it is, in few words.
    #[must_use]
    pub fn words(&self) -> String {
        let mut ids: Vec<&str> = self.actions().collect();
        ids.dedup();
        format!("{} of {}", some(&ids), self.service)
    }
}

/// What is to be asked of one statement.
#[derive(Debug)]
pub struct Plan {
    /// What a solver must be asked.
    pub groups: Vec<Group>,
    /// Actions that the statement covers.
    pub actions: usize,
}

impl Proof<'_> {
    /// Everything that has to be asked.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let mut plan = Plan { groups: Vec::new(), actions: 0 };
        for (service, ground) in &self.scopes {
            let Some(words) = self.words.services.get(service) else { continue };
            let members = members(self.rules, (service, words), ground);
            plan.actions += members.iter().map(|member| &member.id).collect::<BTreeSet<_>>().len();
            let mut alike: BTreeMap<Vec<u8>, (Vec<Member>, Vec<u32>)> = BTreeMap::new();
            for member in members {
                let rules = self.candidates(service, &member);
                let mark = self.mark(service, &member, &rules);
                alike.entry(mark).or_insert_with(|| (Vec::new(), rules)).0.push(member);
            }
            for (members, rules) in alike.into_values() {
                self.choices(&Group { service: service.clone(), members, rules, presented: None }, &mut plan.groups);
            }
        }
        plan
    }

    /// The rules that may apply to an action; of one that no table lists, all that name none by its id.
    fn candidates(&self, service: &str, member: &Member) -> Vec<u32> {
        let scope = &self.statement.scope;
        let of_agent = |rule: &Rule| {
            let named = |name: &AgentName| scope.agents.iter().any(|at| at.value == name.as_str());
            scope.agents.is_empty() || rule.agent.as_ref().is_none_or(named)
        };
        let call = call(member);
        let names = |rule: &Rule| call.as_ref().is_some_and(|call| rule.names(service, call));
        let all = self.rules.list.iter().enumerate();
        all.filter(|(_, rule)| rule.is_at(service) && of_agent(rule) && names(rule)).map(|(at, _)| at as u32).collect()
    }

    /// What no rule looks at: members of one mark are asked for together.
    fn mark(&self, service: &str, member: &Member, rules: &[u32]) -> Vec<u8> {
        let mut mark: Vec<u8> = rules.iter().flat_map(|number| number.to_be_bytes()).collect();
        mark.push(u8::MAX);
        mark.extend(self.rules_of(rules).map(|rule| u8::from(self.asks(service, rule, member))));
        for (name, kind) in self.facts(service, std::slice::from_ref(member), rules) {
            mark.extend(name.bytes());
            mark.push(kind as u8);
        }
        // What is named after its method, and what an expression may tell from others by its id, stands for itself alone.
        let tells = self.statement.looks.by_action || self.rules_of(rules).any(|rule| rule.looks.by_action);
        if tells || member.id.starts_with("http/") {
            mark.extend(member.id.bytes());
        }
        mark
    }

    /// One group for each credential that leaves other permissions.
    fn choices(&self, group: &Group, into: &mut Vec<Group>) {
        let rules = self.rules;
        let named = self.rules_of(&group.rules).filter_map(|rule| match &rule.uses {
            Uses::Named(name) => Some(name),
            Uses::OfService => None,
        });
        let credentials: BTreeSet<&CredentialName> = rules.credentials.keys().chain(named).collect();
        let mut groups = vec![group.clone()];
        if self.statement.verb != Verb::Allows {
            for name in credentials {
                let stays = |number: &u32| {
                    rules
                        .list
                        .get(*number as usize)
                        .is_some_and(|rule| rule.kind == Kind::Deny || rules.lets_use(rule, &group.service, name))
                };
                let left: Vec<u32> = group.rules.iter().copied().filter(stays).collect();
                if !groups.iter().any(|known| known.rules == left) {
                    groups.push(Group { rules: left, presented: Some(name.clone()), ..group.clone() });
                }
            }
        }
        into.extend(groups.into_iter().filter(|group| self.may_pass(group)));
    }

    /// Whether anything could pass at all, or must.
    fn may_pass(&self, group: &Group) -> bool {
        let member = group.members.first();
        let asks = |rule: &Rule| member.is_some_and(|member| self.asks(&group.service, rule, member));
        self.statement.verb == Verb::Allows
            || self.rules_of(&group.rules).any(|rule| rule.kind == Kind::Permit && !asks(rule))
            || self.egress(group).is_some()
    }

    /// Whether a permission asks for every call of a form, as the statement wants it.
    pub(super) fn asks(&self, service: &str, rule: &Rule, member: &Member) -> bool {
        let (Verb::Asks { people }, Kind::Permit) = (self.statement.verb, rule.kind) else { return false };
        self.required(service, rule, member).asks.iter().any(|ask| !ask.once && ask.count >= people)
    }

    /// Rules that ask different people for one call deny it where nobody may answer all: whether two apply at once is not looked at.
    pub(super) fn agreed(&self, group: &Group) -> Result<(), String> {
        let Some(member) = group.members.first() else { return Ok(()) };
        let asks = self.rules_of(&group.rules).flat_map(|rule| self.required(&group.service, rule, member).asks);
        let named: BTreeSet<Vec<String>> = asks.map(|ask| ask.of).filter(|of| !of.is_empty()).collect();
        if named.len() > 1 {
            return Err("rules that may apply together ask different people".to_owned());
        }
        Ok(())
    }

    /// What a permission requires of every call of a form.
    fn required(&self, service: &str, rule: &Rule, member: &Member) -> Required {
        let mut required = Required::default();
        let Some(call) = call(member) else { return required };
        let calls = [&call];
        let covered = Covered { rule: &rule.id, subject: &self.subject, service, calls: &calls };
        for condition in &rule.conditions {
            // What is refused for want of facts is a question of its own.
            let _ = condition.require(&covered, &mut required);
        }
        required
    }

    /// Facts that some text names, with their types: of the actions, and of any that could have them.
    pub(super) fn facts(&self, service: &str, members: &[Member], rules: &[u32]) -> BTreeMap<String, FactType> {
        let Some(words) = self.words.services.get(service) else { return BTreeMap::new() };
        let bounds = self.rules_of(rules).flat_map(bounds).map(|(fact, _)| fact);
        let when = self.statement.looks.facts.iter().cloned();
        let looks = self.rules_of(rules).flat_map(|rule| rule.looks.facts.iter().cloned());
        let said: BTreeSet<String> = bounds.chain(looks).chain(when).collect();
        let own = |member: &Member| {
            let id = if member.id == UNLISTED { BESIDE } else { &member.id };
            words.actions.get(id).map(|action| &action.facts)
        };
        // What an action does not declare, its calls do not have.
        let tables = members.iter().filter_map(own);
        let mut all = BTreeMap::new();
        for (name, kind) in tables.flatten().filter(|(name, _)| said.contains(*name)) {
            all.insert(name.clone(), *kind);
        }
        all
    }

    /// What `egress` lets through without any permission.
    pub(super) fn egress(&self, group: &Group) -> Option<String> {
        let reads = |(class, effects): Form| class == Class::Read && !guards(class, effects);
        if !matches!(self.rules.egress, Some(Egress::Open | Egress::Known))
            || group.presented.is_some()
            || !group.members.iter().any(|member| reads(member.form))
        {
            return None;
        }
        let names = |services: &[String]| services.iter().any(|of| *of == group.service || of == "*");
        let named = self.rules.agents.iter().filter(|(_, facts)| names(&facts.services)).map(|(name, _)| name);
        let named: BTreeSet<&String> = named.collect();
        if named.iter().any(|name| *name == "*") {
            return None;
        }
        let mut all = vec!["context.class == \"read\" && !context.guarded".to_owned()];
        all.extend(named.into_iter().map(|name| format!("principal != Agent::{}", quote(name))));
        Some(format!("permit (principal, action, resource) when {{ {} }};", all.join(" && ")))
    }
}

/// One call that stands for a form of an action, where class and effects alone matter.
pub(super) fn call(member: &Member) -> Option<Call> {
    let (class, effects) = member.form;
    let (action, resource) = (ActionId::new(&member.id).ok()?, Resource::new("resource:/"));
    Some(Call { action, class, effects, resource, facts: Facts::default() })
}

/// The actions of a service that the statement covers.
pub(super) fn members(rules: &Rules, (service, words): (&str, &ServiceWords), ground: &Ground) -> Vec<Member> {
    let exact = items([words].into_iter()).into_iter();
    let mut members: Vec<Member> = exact.map(|item| Member { form: (item.class, item.effects), id: item.id }).collect();
    let anything = (Class::Admin, Effects::EVERY);
    if words.actions.keys().any(|id| id.starts_with("mcp/") || id.starts_with("rpc/")) {
        // An unknown path where messages may be taken for calls may do anything.
        members.extend(METHODS.map(|method| Member { id: format!("http/{method}"), form: anything }));
    }
    if words.actions.keys().any(|id| id.starts_with("socket/")) {
        // So may a WebSocket on an unknown path, where it may be taken for one whose messages are judged.
        members.push(Member { id: "http/get".to_owned(), form: anything });
    }
    let beside = |named: &Named| matches!(&named.selector, Selector::Ids(of, ids) if of == service && ids.iter().any(|id| id == BESIDE));
    if rules.list.iter().any(|rule| rule.kind == Kind::Permit && rule.actions.iter().any(beside)) {
        members.push(Member { id: UNLISTED.to_owned(), form: anything });
    }
    members.retain(|member| {
        let Some(call) = call(member) else { return false };
        let by = |named: &Named| named.selector.covers(service, &call, true);
        (ground.actions.is_empty() || ground.actions.iter().any(by)) && !ground.except.iter().any(by)
    });
    members
}

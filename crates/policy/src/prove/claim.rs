//! From a statement to questions that a solver answers: for every group of actions that no rule tells apart, a policy that
//! allows nothing only if the statement holds there.
//!
//! Rules go in as the Cedar text that the engine runs. What is not Cedar in the engine is written as a rule beside it: a
//! bound (`max`) and a question (`approval`) are denials under the same circumstances as their permission, and so is a fact
//! that a rule needs and a request lacks. Which credential is presented chooses among permissions, so each choice is a
//! question of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cedar_policy::{Policy, PolicySet};
use model::vocabulary::{ActionWords, FactType, ServiceWords, Vocabulary};
use model::{ActionId, AgentName, Call, Class, CredentialName, Effects, Facts, Resource, Timestamp};

use super::ground::Ground;
use super::pieces::{Set, bounds, denial, json_of, lacking, parse};
use super::statement::{Statement, Verb};
use super::total;
use super::world::{Form, Shape, World};
use crate::Subject;
use crate::compare::cells::items;
use crate::compile::actions::{METHODS, Named, Selector, guards};
use crate::compile::expression::looks;
use crate::compile::pattern::Pattern;
use crate::compile::text::{any_of, quote};
use crate::condition::{Covered, Required};
use crate::document::{At, Diagnostic, Egress, nearest};
use crate::rules::{Kind, Rule, Rules, Service, Uses};

/// The id under which mutations are judged that no table lists: their own names are in no rule, so any name will do.
const UNLISTED: &str = "graphql/any-unlisted";
/// What is asked for beside every mutation that no table lists, and that only its own name permits.
const BESIDE: &str = "graphql/unlisted-mutation";
/// Actions that are named in a line.
const WORDS_MAX: usize = 5;

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
        let shown = ids.iter().take(WORDS_MAX).copied().collect::<Vec<_>>().join(", ");
        let more = ids.len().saturating_sub(WORDS_MAX);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("{shown}{more} of {}", self.service)
    }
}

/// One question to a solver.
#[derive(Debug)]
pub struct Claim {
    /// The schema of its requests, Cedar.
    pub schema: String,
    /// The action that stands for all of the group: `github:repos/delete`.
    pub action: String,
    /// What must allow nothing, or, where there is `covered`, everything that is covered.
    pub policies: PolicySet,
    /// What must be allowed.
    pub covered: Option<PolicySet>,
}

impl Claim {
    /// All of it as Cedar text, for people to read and other tools to prove.
    #[must_use]
    pub fn cedar(&self) -> String {
        let text = |set: &PolicySet| set.policies().filter_map(Policy::to_cedar).collect::<Vec<_>>().join("\n");
        match &self.covered {
            None => format!("{}\n// allows nothing:\n{}", self.schema, text(&self.policies)),
            Some(covered) => {
                let (covered, policies) = (text(covered), text(&self.policies));
                format!("{}\n// all that this allows:\n{covered}\n// this allows too:\n{policies}", self.schema)
            }
        }
    }
}

/// A statement against a policy, ready to be asked.
#[derive(Debug)]
pub struct Proof<'a> {
    pub(super) rules: &'a Rules,
    pub(super) words: &'a Vocabulary,
    pub(super) statement: &'a Statement,
    /// Nothing is asked before.
    pub(super) now: Timestamp,
    scopes: BTreeMap<String, Ground>,
    subject: Subject,
}

/// What is to be asked of one statement.
#[derive(Debug)]
pub struct Plan {
    /// What a solver must be asked.
    pub groups: Vec<Group>,
    /// Actions that the statement covers.
    pub actions: usize,
}

impl<'a> Proof<'a> {
    /// Reads a statement against a policy, about requests from `now` on.
    ///
    /// # Errors
    /// Words that no service knows, each at its statement; a statement that covers no action; a fact that none of them has.
    pub fn new(
        (rules, words): (&'a Rules, &'a Vocabulary),
        statement: &'a Statement,
        now: Timestamp,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        let mut say = |at: &At<String>, message: String, near: Option<String>| {
            let (line, column) =
                if at.line == 0 { (statement.place.line, statement.place.column) } else { (at.line, at.column) };
            let (file, text) = (statement.file.clone(), at.value.clone());
            problems.push(Diagnostic { file, line, column, text, message, nearest: near });
        };
        let scope = &statement.scope;
        for agent in scope.agents.iter().chain(&scope.except_agents) {
            match AgentName::new(&agent.value) {
                Ok(name) if rules.knows_agent(&name) => {}
                _ => {
                    let near = nearest(&agent.value, rules.agent_names());
                    say(agent, format!("the configuration names no agent `{}`", agent.value), near);
                }
            }
        }
        let mut scopes = BTreeMap::new();
        match &scope.service {
            Some(at) if at.value != "*" => match words.services.get_key_value(&at.value) {
                Some((name, known)) => {
                    scopes.insert(name.clone(), Ground::read(scope, (name, known), &mut say));
                }
                None => say(
                    at,
                    format!("unknown service `{}`", at.value),
                    nearest(&at.value, words.services.keys().map(String::as_str)),
                ),
            },
            _ => {
                // Said once; each service then reads the same words its own way.
                Ground::check(scope, &words.services, &mut say);
                let each = |(name, known): (&String, &ServiceWords)| (name.clone(), Ground::of_any(scope, known));
                scopes.extend(words.services.iter().map(each));
            }
        }
        let Some(nobody) = crate::compare::nobody(rules) else {
            say(&At::nowhere(statement.name.clone()), "every name for an agent is taken".to_owned(), None);
            return Err(problems);
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let subject = crate::compare::subject(&nobody);
        let proof = Self { rules, words, statement, now, scopes, subject };
        match proof.says_nothing() {
            Some(problem) => Err(vec![problem]),
            None => Ok(proof),
        }
    }

    /// What makes a statement hold of nothing, so that its proof would be worth nothing.
    fn says_nothing(&self) -> Option<Diagnostic> {
        let Statement { name, file, place, .. } = self.statement;
        let problem = |at: &At<()>, text: &str, message: String, near: Option<String>| Diagnostic {
            file: file.clone(),
            line: at.line,
            column: at.column,
            text: text.to_owned(),
            message,
            nearest: near,
        };
        let covered: Vec<&ActionWords> = self
            .scopes
            .iter()
            .filter_map(|(service, ground)| Some((service, ground, self.words.services.get(service)?)))
            .flat_map(|(service, ground, words)| {
                let members = members(self.rules, (service, words), ground).into_iter();
                members.filter_map(|member| words.actions.get(&member.id))
            })
            .collect();
        if covered.is_empty() && self.plan().actions == 0 {
            return Some(problem(place, name, "this statement covers no action".to_owned(), None));
        }
        let when = self.statement.scope.when.as_ref()?;
        let known: BTreeSet<&str> = covered.iter().flat_map(|action| action.facts.keys()).map(String::as_str).collect();
        let unknown = facts_of(&when.value).into_iter().find(|fact| !known.contains(fact.as_str()))?;
        let near = nearest(&unknown, known.iter().copied());
        let message = format!("no action that this statement covers has the fact `{unknown}`");
        Some(problem(&when.with(()), &unknown, message, near))
    }

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
        let of_service = |rule: &Rule| rule.service.as_deref().is_none_or(|of| of == service);
        let all = self.rules.list.iter().enumerate();
        all.filter(|(_, rule)| of_service(rule) && of_agent(rule) && names(rule)).map(|(at, _)| at as u32).collect()
    }

    fn rules_of<'b>(&'b self, numbers: &'b [u32]) -> impl Iterator<Item = (u32, &'a Rule)> + 'b {
        let rules = self.rules;
        numbers.iter().filter_map(move |number| Some((*number, rules.list.get(*number as usize)?)))
    }

    /// What no rule looks at: members of one mark are asked for together.
    fn mark(&self, service: &str, member: &Member, rules: &[u32]) -> Vec<u8> {
        let mut mark: Vec<u8> = rules.iter().flat_map(|number| number.to_be_bytes()).collect();
        mark.push(u8::MAX);
        mark.extend(self.rules_of(rules).map(|(_, rule)| u8::from(self.asks(service, rule, member))));
        for (name, kind) in self.facts(service, std::slice::from_ref(member), rules) {
            mark.extend(name.bytes());
            mark.push(kind as u8);
        }
        let when = self.statement.scope.when.iter().map(|when| when.value.as_str());
        let whens = self.rules_of(rules).filter_map(|(_, rule)| rule.when.as_deref());
        // What is named after its method, and what an expression may tell from others by its id, stands for itself alone.
        if member.id.starts_with("http/")
            || when.chain(whens).any(|text| looks(text).is_ok_and(|looks| looks.by_action))
        {
            mark.extend(member.id.bytes());
        }
        mark
    }

    /// One group for each credential that leaves other permissions.
    fn choices(&self, group: &Group, into: &mut Vec<Group>) {
        let rules = self.rules;
        let named = self.rules_of(&group.rules).filter_map(|(_, rule)| match &rule.uses {
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
            || self.rules_of(&group.rules).any(|(_, rule)| rule.kind == Kind::Permit && !asks(rule))
            || self.egress(group).is_some()
    }

    /// Whether a permission asks for every call of a form, as the statement wants it.
    fn asks(&self, service: &str, rule: &Rule, member: &Member) -> bool {
        let (Verb::Asks { people }, Kind::Permit, Some(call)) = (self.statement.verb, rule.kind, call(member)) else {
            return false;
        };
        let calls = [&call];
        let covered = Covered { rule: &rule.id, subject: &self.subject, service, calls: &calls };
        let mut required = Required::default();
        for condition in &rule.conditions {
            // What is refused here for want of facts is refused there too; the question is another condition's.
            let _ = condition.require(&covered, &mut required);
        }
        required.asks.iter().any(|ask| !ask.once && ask.count >= people)
    }

    /// Facts that some text names, with their types: of the actions, and of any that could have them.
    fn facts(&self, service: &str, members: &[Member], rules: &[u32]) -> BTreeMap<String, FactType> {
        let Some(words) = self.words.services.get(service) else { return BTreeMap::new() };
        let bounds = self.rules_of(rules).flat_map(|(_, rule)| bounds(rule)).map(|(fact, _)| fact);
        let bounds: BTreeSet<String> = bounds.collect();
        let when = self.statement.scope.when.iter().flat_map(|when| facts_of(&when.value));
        let looks = self.rules_of(rules).flat_map(|(_, rule)| rule.facts.iter().cloned());
        let said: BTreeSet<String> = bounds.into_iter().chain(looks).chain(when).collect();
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
    fn egress(&self, group: &Group) -> Option<String> {
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

    /// The question whether the statement holds of a group.
    ///
    /// # Errors
    /// A rule or the statement looks at facts in a way that cannot be typed.
    pub fn claim(&self, group: &Group) -> Result<Claim, String> {
        if self.statement.verb == Verb::Allows {
            self.agreed(group)?;
        }
        self.build(group, None)
    }

    /// Rules that ask different people for one call deny it where nobody may answer all: whether two apply at once is not looked at.
    fn agreed(&self, group: &Group) -> Result<(), String> {
        let Some(call) = group.members.first().and_then(call) else { return Ok(()) };
        let mut required = Required::default();
        for (_, rule) in self.rules_of(&group.rules) {
            let calls = [&call];
            let covered = Covered { rule: &rule.id, subject: &self.subject, service: &group.service, calls: &calls };
            for condition in &rule.conditions {
                // What is refused for want of facts is a question of its own.
                let _ = condition.require(&covered, &mut required);
            }
        }
        let named: BTreeSet<&[String]> =
            required.asks.iter().map(|ask| ask.of.as_slice()).filter(|of| !of.is_empty()).collect();
        if named.len() > 1 {
            return Err("rules that may apply together ask different people".to_owned());
        }
        Ok(())
    }

    /// The same of each of its actions alone, on resources as it is usually asked for, for agents that are named.
    ///
    /// # Errors
    /// As of [`Self::claim`].
    pub fn narrow(&self, group: &Group, at: usize, shape: &Shape) -> Result<Option<(Group, Claim)>, String> {
        let Some(member) = group.members.get(at) else { return Ok(None) };
        let one = Group { members: vec![member.clone()], ..group.clone() };
        let names = self.agent_names();
        let agents = any_of(names.iter().map(|name| format!("principal == Agent::{}", quote(name))).collect());
        let claim = self.build(&one, Some((format!("({agents}) && {}", shape.cedar()), shape.depth())))?;
        Ok(Some((one, claim)))
    }

    /// Agents that are named anywhere, and one that is not.
    fn agent_names(&self) -> Vec<String> {
        let mut names: BTreeSet<String> = self.rules.agents.keys().filter(|name| *name != "*").cloned().collect();
        if self.rules.is_for_all()
            || self.rules.list.iter().any(|rule| rule.agent.is_none() && rule.kind == Kind::Permit)
        {
            names.insert(self.subject.agent.to_string());
        }
        names.into_iter().collect()
    }

    fn depth(&self, group: &Group) -> usize {
        let rules = self.rules_of(&group.rules).flat_map(|(_, rule)| &rule.resources);
        let own = self
            .scopes
            .get(&group.service)
            .into_iter()
            .flat_map(|ground| ground.resources.iter().chain(&ground.spared));
        rules.chain(own).map(Pattern::depth).max().unwrap_or(0)
    }

    fn world(&self, group: &Group, depth: usize) -> Option<World<'a>> {
        let (service, known) = self.service(&group.service)?;
        let first = group.members.first()?;
        let ids = self.rules_of(&group.rules).flat_map(|(_, rule)| &rule.actions);
        let named = ids.filter_map(|named| match &named.selector {
            Selector::Ids(of, ids) => Some(ids.iter().map(move |id| format!("{of}:{id}"))),
            _ => None,
        });
        let mut forms: Vec<Form> = Vec::new();
        for member in &group.members {
            if !forms.contains(&member.form) {
                forms.push(member.form);
            }
        }
        let method = first.id.strip_prefix("http/").filter(|method| METHODS.contains(method));
        Some(World {
            service,
            known,
            action: format!("{service}:{}", first.id),
            named: named.flatten().collect(),
            forms,
            method: method.map(str::to_uppercase),
            facts: self.facts(service, &group.members, &group.rules),
            depth,
        })
    }

    fn service(&self, name: &str) -> Option<(&'a str, &'a Service)> {
        self.rules.services.get_key_value(name).map(|(name, service)| (name.as_str(), service))
    }

    fn build(&self, group: &Group, extra: Option<(String, usize)>) -> Result<Claim, String> {
        let depth = self.depth(group).max(extra.as_ref().map_or(0, |(_, segments)| *segments));
        let world = self.world(group, depth).ok_or("the service is not known")?;
        let mut set = Set::default();
        for (_, rule) in self.rules_of(&group.rules) {
            let json = json_of(rule)?;
            if self.asks(&group.service, rule, group.members.first().ok_or("no action")?) {
                set.add(&format!("{} asks", rule.id), denial(json.clone(), None)?)?;
            }
            for (fact, most) in bounds(rule).iter().map(|(fact, most)| (fact.as_str(), *most)) {
                if let Some(over) = self.over(rule, group, (fact, most)) {
                    set.add(&format!("{} bounds {fact}", rule.id), denial(json.clone(), Some(&over))?)?;
                }
            }
            if self.statement.verb == Verb::Allows
                && let Some(lacking) = lacking(rule, &world)
            {
                set.add(&format!("{} lacks a fact", rule.id), parse(&lacking)?)?;
            }
            set.add(&rule.id, json)?;
        }
        if let Some(egress) = self.egress(group) {
            set.add("egress", parse(&egress)?)?;
        }
        let mut scope = self.scope(group)?;
        let seconds = self.now.0.div_euclid(model::time::MICROS);
        let _ = write!(scope, " &&\n  {} &&\n  context.now >= {seconds}", world.circumstances());
        if let Some((extra, _)) = extra {
            let all = [Some(extra), world.plain_facts()].into_iter().flatten();
            scope.extend(all.map(|one| format!(" &&\n  {one}")));
        }
        let (schema, action) = (world.schema(), world.action);
        if self.statement.verb == Verb::Allows {
            let mut covered = Set::default();
            covered.add(
                "statement",
                total::policy(parse(&format!("permit (principal, action, resource) when {{ {scope} }};"))?)?,
            )?;
            return Ok(Claim { schema, action, policies: set.policies, covered: Some(covered.policies) });
        }
        // Outside of what the statement covers nothing is allowed, so that whatever is allowed refutes it.
        let outside = parse(&format!("forbid (principal, action, resource) unless {{ {scope} }};"))?;
        set.add("statement", total::policy(outside)?)?;
        Ok(Claim { schema, action, policies: set.policies, covered: None })
    }

    /// What the statement covers, as a condition. A comparison that looks at a missing fact covers nothing.
    fn scope(&self, group: &Group) -> Result<String, String> {
        let ground = self.scopes.get(&group.service).ok_or("the service is not in the statement's scope")?;
        let written = &self.statement.scope;
        let agent = |at: &At<String>| format!("principal == Agent::{}", quote(&at.value));
        let mut all = vec!["true".to_owned()];
        if !written.agents.is_empty() {
            all.push(any_of(written.agents.iter().map(agent).collect()));
        }
        all.extend(written.except_agents.iter().map(|at| format!("!({})", agent(at))));
        if !ground.resources.is_empty() {
            all.push(any_of(ground.resources.iter().map(Pattern::cedar).collect()));
        }
        all.extend(ground.spared.iter().map(|pattern| format!("!({})", pattern.cedar())));
        all.extend(written.when.iter().map(|when| format!("{}\n", when.value)));
        Ok(all.into_iter().map(|one| format!("({one})")).collect::<Vec<_>>().join(" &&\n  "))
    }

    /// When a call is over a bound, or cannot be seen to be under it; none where the bound is not about the action.
    fn over(&self, rule: &Rule, group: &Group, (fact, most): (&str, i64)) -> Option<String> {
        let words = self.words.services.get(&group.service)?;
        let first = group.members.first()?;
        let declared = words.actions.get(&first.id).and_then(|action| action.facts.get(fact));
        let Some(kind) = declared else {
            return first.id.starts_with("http/").then(|| "context.class != \"read\"".to_owned());
        };
        let (has, get) = (format!("context.facts has {}", quote(fact)), format!("context.facts[{}]", quote(fact)));
        let known = if *kind == FactType::Int { format!("{get} > {most} || {get} < 0") } else { "true".to_owned() };
        // A permission of one service knows which of its actions have the fact.
        let missing = rule.service.is_some();
        Some(format!("if {has} then ({known}) else {missing}"))
    }
}

/// One call that stands for a form of an action, where class and effects alone matter.
pub(super) fn call(member: &Member) -> Option<Call> {
    let (class, effects) = member.form;
    let (action, resource) = (ActionId::new(&member.id).ok()?, Resource::new("resource:/"));
    Some(Call { action, class, effects, resource, facts: Facts::default() })
}

/// The actions of a service that the statement covers.
fn members(rules: &Rules, (service, words): (&str, &ServiceWords), ground: &Ground) -> Vec<Member> {
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

/// The facts that a `when` looks at.
fn facts_of(when: &str) -> Vec<String> {
    looks(when).map(|looks| looks.facts).unwrap_or_default()
}

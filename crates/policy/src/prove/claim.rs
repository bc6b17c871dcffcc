//! From a statement to questions that a solver answers: for every group of actions that no rule tells apart, a policy that
//! allows nothing only if the statement holds there.
//!
//! Rules go in as the Cedar text that the engine runs. What is not Cedar in the engine is written as a rule beside it: a
//! bound (`max`) and a question (`approval`) are denials under the same circumstances as their permission, and so is a fact
//! that a rule needs and a request lacks. Which credential is presented chooses among permissions, so each choice is a
//! question of its own.

use std::fmt::Write as _;

use cedar_policy::{Policy, PolicySet};
use model::vocabulary::FactType;

use super::pieces::{Set, bounds, denial, json_of, lacking, parse};
use super::plan::Group;
use super::proof::Proof;
use super::statement::Verb;
use super::total;
use super::world::{Form, Shape, World};
use crate::compile::actions::{METHODS, Selector};
use crate::compile::pattern::Pattern;
use crate::compile::text::{any_of, quote};
use crate::document::At;
use crate::rules::{Rule, Service};

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

impl<'a> Proof<'a> {
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

    fn depth(&self, group: &Group) -> usize {
        let rules = self.rules_of(&group.rules).flat_map(|rule| &rule.resources);
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
        let ids = self.rules_of(&group.rules).flat_map(|rule| &rule.actions);
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
        for rule in self.rules_of(&group.rules) {
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

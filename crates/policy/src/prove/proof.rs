//! A statement against a policy: what it covers, in the words of every service that it is about.

use std::collections::{BTreeMap, BTreeSet};

use model::vocabulary::{ActionWords, ServiceWords, Vocabulary};
use model::{AgentName, Timestamp};

use super::ground::Ground;
use super::plan::members;
use super::statement::Statement;
use crate::Subject;
use crate::document::{At, Diagnostic, Mode, nearest};
use crate::rules::{Kind, Rule, Rules};

/// A policy of which something can be proven: it is enforced, and its rules alone decide.
#[derive(Clone, Copy, Debug)]
pub struct Provable<'a>(&'a Rules);

/// Why nothing can be proven of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unprovable {
    /// The guarded policy.
    #[error(
        "names no agents, so the guarded policy runs, whose questions depend on what was done before; name agents, or ask \
         `valetkey explain`"
    )]
    Guarded,
    /// What is denied passes.
    #[error(
        "has `mode: observe`, so what is denied passes and nothing can be proven of it; prove it without that line"
    )]
    Observed,
}

impl<'a> Provable<'a> {
    /// A policy that is enforced and names agents.
    ///
    /// # Errors
    /// It is neither.
    pub fn of(rules: &'a Rules) -> Result<Self, Unprovable> {
        match (rules.is_guarded(), rules.mode()) {
            (true, _) => Err(Unprovable::Guarded),
            (false, Mode::Observe) => Err(Unprovable::Observed),
            (false, Mode::Enforce) => Ok(Self(rules)),
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
    pub(super) scopes: BTreeMap<String, Ground>,
    pub(super) subject: Subject,
}

impl<'a> Proof<'a> {
    /// Reads a statement against a policy, about requests from `now` on.
    ///
    /// # Errors
    /// Words that no service knows, each at its statement; a statement that covers no action; a fact that none of them has.
    pub fn new(
        (Provable(rules), words): (Provable<'a>, &'a Vocabulary),
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
        let unknown = self.statement.looks.facts.iter().find(|fact| !known.contains(fact.as_str()))?;
        let near = nearest(unknown, known.iter().copied());
        let message = format!("no action that this statement covers has the fact `{unknown}`");
        Some(problem(&when.with(()), unknown, message, near))
    }

    /// Agents that are named anywhere, and one that is not.
    pub(super) fn agent_names(&self) -> Vec<String> {
        let mut names: BTreeSet<String> = self.rules.agents.keys().filter(|name| *name != "*").cloned().collect();
        if self.rules.is_for_all()
            || self.rules.list.iter().any(|rule| rule.agent.is_none() && rule.kind == Kind::Permit)
        {
            names.insert(self.subject.agent.to_string());
        }
        names.into_iter().collect()
    }

    /// Rules by their numbers.
    pub(super) fn rules_of<'b>(&'b self, numbers: &'b [u32]) -> impl Iterator<Item = &'a Rule> + 'b {
        let rules = self.rules;
        numbers.iter().filter_map(move |number| rules.list.get(*number as usize))
    }
}

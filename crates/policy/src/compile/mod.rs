//! From what was written to what will run. Every word is checked against the vocabulary here, with its place and the
//! nearest valid one.

pub(crate) mod actions;
pub(crate) mod capability;
pub(crate) mod expression;
pub(crate) mod implied;
pub(crate) mod pattern;
mod permission;
pub(crate) mod rule;
mod several;
pub(crate) mod text;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::vocabulary::{ServiceWords, Vocabulary};
use model::{AgentName, CredentialName, ServiceName};

use crate::alert::Alerts;
use crate::document::{Agent, At, Diagnostic, Document, nearest};
use crate::profile::{self, Profile, Reach};
use crate::rules::index::Index;
use crate::rules::judge::Judge;
use crate::rules::{AgentFacts, CredentialFacts, Kind, Rule, Rules, Service, Uses};
use actions::{Named, Selector};
use pattern::Pattern;
use rule::{Draft, Place, Terms, build};

type Services = HashMap<String, Service>;
type Credentials = BTreeMap<CredentialName, CredentialFacts>;

/// What a compilation gathers.
pub(crate) struct Compiler<'a> {
    pub(crate) vocabulary: &'a Vocabulary,
    pub(crate) credentials: &'a Credentials,
    pub(crate) services: &'a Services,
    pub(crate) problems: Vec<Diagnostic>,
}

impl Rules {
    /// Compiles a document. One that names no agents gives the guarded policy.
    ///
    /// # Errors
    /// Every word that the vocabulary does not know, every rule that could pick two credentials, and whatever else
    /// does not make sense.
    pub fn compile(document: &Document, words: &Vocabulary) -> Result<Self, Vec<Diagnostic>> {
        if document.agents.is_empty() {
            return crate::guarded::of_document(document, words);
        }
        let mut problems = Vec::new();
        let (services, credentials) = services(document, words, &mut problems);
        let mut compiler = Compiler { vocabulary: words, credentials: &credentials, services: &services, problems };
        let mut rules = Vec::new();
        let mut agents = HashMap::new();
        for (name, agent) in &document.agents {
            let from = rules.len();
            let mut implied = Vec::new();
            compiler.agent(name, agent, &mut rules, &mut implied);
            let mine = rules.get(from..).unwrap_or_default();
            several::check(mine, agent, &mut compiler);
            agents.insert(name.value.clone(), facts(mine));
            // Not compared above: nobody wrote them, and a request that presents its placeholder chooses.
            rules.append(&mut implied);
        }
        let capabilities = compiler.capabilities(document);
        let mut problems = compiler.problems;
        problems.extend(crate::session_policy::faults(document, words));
        let mut assembled = assemble(document, rules, (services, credentials), problems)?;
        assembled.agents = agents;
        assembled.capabilities = capabilities;
        Ok(assembled)
    }
}

/// What refusals and `egress` need to know of an agent.
fn facts(rules: &[Rule]) -> AgentFacts {
    let permits = rules.iter().filter(|rule| rule.kind == Kind::Permit);
    AgentFacts {
        services: permits.map(|rule| rule.service.clone().unwrap_or_else(|| "*".to_owned())).collect(),
        speaks_aliases: rules.iter().flat_map(|rule| &rule.actions).any(|named| named.alias),
    }
}

/// Services and credentials as the decision needs them.
/// The kind of credentials that log-ins fill.
const LOGIN: &str = "oauth2";

pub(crate) fn services(
    document: &Document,
    words: &Vocabulary,
    problems: &mut Vec<Diagnostic>,
) -> (Services, Credentials) {
    let mut services: Services = words.services.iter().map(|(name, words)| (name.clone(), service(words))).collect();
    let mut credentials = Credentials::new();
    for (name, entry) in &document.credentials {
        let Ok(name) = CredentialName::new(&name.value) else { continue };
        let mut facts = CredentialFacts {
            inject: entry.inject.map(|inject| inject.value).unwrap_or_default(),
            fallback: crate::fallback::of(entry),
            ..CredentialFacts::default()
        };
        if let Some(at) = &entry.service {
            match services.get_mut(&at.value) {
                Some(service) => {
                    // Nobody chooses a log-in but its placeholder: there may be none yet.
                    if entry.kind.as_ref().is_none_or(|kind| kind.value != LOGIN) {
                        service.credentials.push(name.clone());
                    }
                    facts.service = ServiceName::new(&at.value).ok();
                }
                None => problems.push(unknown(&entry.file, at, "service", words.services.keys())),
            }
        }
        credentials.insert(name, facts);
    }
    (services, credentials)
}

fn service(words: &ServiceWords) -> Service {
    let mut within = HashMap::new();
    for kind in words.kinds.iter().chain(words.parents.keys()) {
        let mut chain = vec![kind.clone()];
        let mut at = kind;
        while let Some(parent) = words.parents.get(at).filter(|parent| !chain.contains(parent)) {
            chain.push(parent.clone());
            at = parent;
        }
        within.insert(kind.clone(), chain);
    }
    let mut alias_of: HashMap<String, String> = HashMap::new();
    let narrowness = |alias: &str| words.aliases.get(alias).map_or(usize::MAX, Vec::len);
    for (alias, ids) in &words.aliases {
        for id in ids {
            let known = alias_of.get(id).is_some_and(|known| narrowness(known) <= narrowness(alias));
            if !known {
                alias_of.insert(id.clone(), alias.clone());
            }
        }
    }
    Service {
        within,
        alias_of,
        credentials: Vec::new(),
        hosts: words.hosts.clone(),
        case_blind: words.case_blind.clone(),
    }
}

/// A word that is not in a list.
pub(crate) fn unknown<'w>(
    file: &str,
    at: &At<String>,
    what: &str,
    known: impl IntoIterator<Item = &'w String>,
) -> Diagnostic {
    Diagnostic {
        file: file.to_owned(),
        line: at.line,
        column: at.column,
        text: at.value.clone(),
        message: format!("unknown {what} `{}`", at.value),
        nearest: nearest(&at.value, known.into_iter().map(String::as_str)),
    }
}

/// Puts compiled rules, profiles and tables together.
pub(crate) fn assemble(
    document: &Document,
    mut rules: Vec<Rule>,
    (services, credentials): (Services, Credentials),
    mut problems: Vec<Diagnostic>,
) -> Result<Rules, Vec<Diagnostic>> {
    let profiles: Vec<&'static Profile> =
        document.profiles.iter().filter_map(|name| profile::get(&name.value)).collect();
    let drafts = profiles.iter().flat_map(|profile| profile_drafts(profile, &services));
    rules.extend(drafts.filter_map(|draft| build(draft, &mut problems)));
    let judge = Judge::new(&rules);
    if let (true, Some(judge)) = (problems.is_empty(), judge) {
        let index = Index::of(&rules);
        return Ok(Rules {
            list: rules,
            index,
            judge,
            services,
            agents: HashMap::new(),
            credentials,
            profiles,
            egress: Some(document.egress()),
            mode: document.mode(),
            guarded: false,
            alerts: Alerts::of(document),
            capabilities: BTreeMap::new(),
        });
    }
    problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Err(problems)
}

/// What a profile permits of services that the catalogue knows.
fn profile_drafts(profile: &'static Profile, services: &Services) -> Vec<Draft> {
    let classes: &[model::Class] = match profile.reach {
        Reach::Read => &[model::Class::Read],
        Reach::Use => &[model::Class::Read, model::Class::Write],
    };
    let named = |class: &model::Class| Named {
        word: class.as_str().to_owned(),
        selector: Selector::Class(*class),
        alias: false,
    };
    let draft = |service: &String| Draft {
        id: Arc::from(format!("profile/{}", profile.name)),
        kind: Kind::Permit,
        agent: None,
        service: Some(service.clone()),
        actions: classes.iter().map(named).collect(),
        raw: None,
        resources: vec![Pattern::any()],
        uses: Uses::OfService,
        key: Arc::default(),
        conditions: Vec::new(),
        terms: Terms::default(),
        place: Place { file: format!("profile {}", profile.name), line: 1, column: 1 },
    };
    let of_profile = |(name, service): &(&String, &Service)| {
        profile.services.contains(&name.as_str()) || service.hosts.iter().any(|host| profile.names_host(host))
    };
    let mut names: Vec<&String> = services.iter().filter(of_profile).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.into_iter().map(draft).collect()
}

impl Compiler<'_> {
    fn agent(&mut self, name: &At<String>, agent: &Agent, rules: &mut Vec<Rule>, implied: &mut Vec<Rule>) {
        let who = if name.value == "*" { None } else { AgentName::new(&name.value).ok() };
        for (number, permission) in agent.permissions.iter().enumerate() {
            let id = format!("{}/{}", name.value, number + 1);
            if let Some(draft) = self.permission(&id, who.as_ref(), agent, permission) {
                let more = self.implied(&draft, &agent.file, permission);
                implied.extend(more.into_iter().filter_map(|draft| build(draft, &mut self.problems)));
                rules.extend(build(draft, &mut self.problems));
            }
            let service = permission.value.service.as_ref().map(|service| service.value.as_str());
            for (at, word) in permission.value.denied_actions.iter().enumerate() {
                let id = format!("{id}/denied/{}", at + 1);
                rules.extend(self.denial(&id, (who.as_ref(), service), agent, word));
            }
        }
        for (at, word) in agent.denied_actions.iter().enumerate() {
            let id = format!("{}/denied/{}", name.value, at + 1);
            rules.extend(self.denial(&id, (who.as_ref(), None), agent, word));
        }
    }

    fn denial(
        &mut self,
        id: &str,
        (who, service): (Option<&AgentName>, Option<&str>),
        agent: &Agent,
        word: &At<String>,
    ) -> Option<Rule> {
        let words = service.and_then(|service| self.vocabulary.services.get_key_value(service));
        let read = match words {
            Some((name, words)) => actions::read(&word.value, Some((name, words))).map(|named| vec![named]),
            None => actions::read_denial(&word.value, self.vocabulary),
        };
        match read {
            Ok(actions) => {
                let draft = Draft {
                    id: Arc::from(id),
                    kind: Kind::Deny,
                    agent: who.cloned(),
                    service: words.map(|(name, _)| name.clone()),
                    actions,
                    raw: None,
                    resources: vec![Pattern::any()],
                    uses: Uses::OfService,
                    key: Arc::default(),
                    conditions: Vec::new(),
                    terms: Terms::default(),
                    place: Place { file: agent.file.to_string(), line: word.line, column: word.column },
                };
                build(draft, &mut self.problems)
            }
            Err((message, nearest)) => {
                self.say(&agent.file, word, message, nearest);
                None
            }
        }
    }

    pub(crate) fn say(&mut self, file: &str, at: &At<String>, message: impl Into<String>, nearest: Option<String>) {
        self.problems.push(Diagnostic {
            file: file.to_owned(),
            line: at.line,
            column: at.column,
            text: at.value.clone(),
            message: message.into(),
            nearest,
        });
    }
}

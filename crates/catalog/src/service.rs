//! A service, ready to use.

use std::collections::{BTreeMap, HashMap};

use http::Method;
use model::call::ServiceBounds;
use model::vocabulary::{ActionWords, FactType, ServiceWords};
use model::{ActionId, Call, SchemeSpec, ServiceName};

use crate::compiled::{
    Action, CARRIES, Compiled, FIELDS_FACT, HostRule, LIST_REFS, MCP_PROMPT, MCP_READ, MCP_UNLISTED_TOOL, MESSAGE_FACT,
    METHOD_FACT, MUTATION_FACT, PROMPT_FACT, PUSH_ACTIONS, PUSH_FACTS, RPC_UNLISTED, Reading, Route, SOCKET_UNLISTED,
    TOOL_FACT, URI_FACT, sql,
};
use crate::file::{AnswerHint, CaptureMap, FileHint, Protocol, ShapeMap};
use crate::forms;
use crate::sentence;

/// One service. Getters say what the file says.
#[derive(Debug)]
pub struct Service {
    pub(crate) tables: Compiled,
    by_id: HashMap<Box<str>, u16>,
    /// Actions of unknown paths, in the order of [`METHODS`].
    unknown: Vec<ActionId>,
}

const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

impl Service {
    pub(crate) fn new(tables: Compiled) -> Self {
        let by_id = tables.actions.iter().enumerate();
        let by_id = by_id.map(|(index, action)| (action.id.as_str().into(), index as u16)).collect();
        let unknown = METHODS
            .iter()
            .filter_map(|method| ActionId::new(&format!("http/{}", method.as_str().to_ascii_lowercase())).ok());
        Self { by_id, unknown: unknown.collect(), tables }
    }

    /// The name that policies use.
    pub const fn name(&self) -> &ServiceName {
        &self.tables.name
    }

    /// The name that people use.
    pub fn title(&self) -> &str {
        &self.tables.title
    }

    /// The vendor's documentation.
    pub fn docs(&self) -> Option<&str> {
        self.tables.docs.as_deref()
    }

    /// Where it lives.
    pub fn hosts(&self) -> &[HostRule] {
        &self.tables.hosts
    }

    /// Where `/proxy/{service}/...` goes: the first host without a wildcard where HTTP is spoken.
    pub fn default_host(&self) -> Option<&HostRule> {
        let http = |host: &&HostRule| !matches!(host.protocol, Some(Protocol::Tcp | Protocol::Postgres));
        self.tables.hosts.iter().find(|host| !host.wildcard && http(host))
    }

    /// Slots in which a credential may stand, the default first. A host may differ: see [`Self::schemes_at`].
    pub fn schemes(&self) -> &[SchemeSpec] {
        &self.tables.schemes
    }

    /// Slots in which a credential may stand at one of its hosts; none: no credential ever goes there.
    pub fn schemes_at<'a>(&'a self, host: &'a HostRule) -> &'a [SchemeSpec] {
        host.schemes.as_deref().unwrap_or(&self.tables.schemes)
    }

    /// Kinds of credential that it takes, the default first.
    pub fn credential_kinds(&self) -> impl Iterator<Item = &str> {
        self.tables.credentials.iter().map(|kind| &**kind)
    }

    /// Environment variables in which its credential is usually found.
    pub fn environment(&self) -> impl Iterator<Item = &str> {
        self.tables.environment.iter().map(|name| &**name)
    }

    /// Files in which its credential is usually found.
    pub fn files(&self) -> &[FileHint] {
        &self.tables.files
    }

    /// What its secrets look like.
    pub fn shapes(&self) -> &[ShapeMap] {
        &self.tables.shapes
    }

    /// A harmless request that tells whether a credential works: method, path (base path included), and the form that it sends, if any.
    pub fn check(&self) -> Option<(&str, &str, Option<&str>)> {
        let (method, rest) = self.tables.check.as_deref()?.split_once(' ')?;
        let (path, form) = rest.split_once(' ').map_or((rest, None), |(path, form)| (path, Some(form)));
        Some((method, path, form))
    }

    /// The header field of the answer to [`Self::check`] that lists what a token may do, in small letters.
    pub fn scopes_header(&self) -> Option<&str> {
        self.tables.scopes_header.as_deref()
    }

    /// The actions that one of the vendor's scopes lets a token do; none where that is not known.
    pub fn token_scope(&self, scope: &str) -> Option<&[String]> {
        let known = self.tables.token_scopes.get(scope).or_else(|| self.tables.scopes.get(scope));
        known.map(Vec::as_slice)
    }

    /// What it bounds differently from the house.
    pub const fn bounds(&self) -> ServiceBounds {
        self.tables.bounds
    }

    /// One human sentence about a call, from the file's template. Nothing invisible is left in it.
    pub fn sentence(&self, call: &Call) -> String {
        if let Some(model::Fact::Text(mutation)) = call.facts.get(MUTATION_FACT) {
            return sentence::of_name(call, mutation, None, (self.title(), "GraphQL"));
        }
        let template = self.action(call.action.as_str()).and_then(|action| action.sentence.as_deref());
        for (fact, road) in [(TOOL_FACT, "MCP"), (METHOD_FACT, "JSON-RPC"), (MESSAGE_FACT, "WebSocket")] {
            if let Some(model::Fact::Text(name)) = call.facts.get(fact) {
                return sentence::of_name(call, name, template, (self.title(), road));
            }
        }
        sentence::of(call, template, self.title())
    }

    /// What the answer of an action says was created: name and JSON pointer (RFC 6901).
    pub fn made(&self, action: &str) -> impl Iterator<Item = (&str, &str)> {
        let made = self.action(action).map_or(&[][..], |action| &action.made);
        made.iter().map(|(name, pointer)| (&**name, &**pointer))
    }

    /// What the answer of an action hands out.
    pub fn captures(&self, action: &str) -> &[CaptureMap] {
        self.action(action).map_or(&[], |action| &action.captures)
    }

    /// Whether one can log in to it through Valetkey.
    pub fn takes_logins(&self) -> bool {
        self.tables.actions.iter().any(|action| action.captures.iter().any(|capture| capture.login))
    }

    /// What the answer of an action is like.
    pub fn answer(&self, action: &str) -> AnswerHint {
        self.action(action).map_or(AnswerHint::Plain, |action| action.answer)
    }

    /// Whether an action's body is a conversation with a model, in which real secrets are replaced, not refused.
    pub fn is_model_request(&self, action: &str) -> bool {
        self.action(action).is_some_and(|action| action.model_request)
    }

    /// Every action id, in the order of the file.
    pub fn actions(&self) -> impl Iterator<Item = &ActionId> {
        self.tables.actions.iter().map(|action| &action.id)
    }

    /// The words that a policy may use about it.
    pub fn words(&self) -> ServiceWords {
        let tables = &self.tables;
        let mut actions: BTreeMap<String, ActionWords> = BTreeMap::new();
        for action in &tables.actions {
            let words = ActionWords {
                class: action.class,
                effects: action.effects,
                facts: BTreeMap::new(),
                resource: action.kind.to_string(),
                implied_by: action.implied_by.iter().map(ToString::to_string).collect(),
                forms: Vec::new(),
            };
            actions.insert(action.id.as_str().to_owned(), words);
        }
        for route in &tables.routes {
            let id = tables.actions.get(route.action as usize).map(|action| action.id.as_str());
            let Some(words) = id.and_then(|id| actions.get_mut(id)) else { continue };
            // Before the request is known, an action is the most that it can be.
            for when in &route.when {
                words.class = words.class.max(when.class.unwrap_or(words.class));
                words.effects = words.effects.iter().chain(when.effects.iter()).collect();
            }
            let facts = tables.readings.get(route.reading as usize).map_or(&[][..], |reading| &reading.facts);
            words.facts.extend(facts.iter().map(|fact| (fact.name.to_string(), fact.kind)));
            if tables.readings.get(route.reading as usize).is_some_and(|reading| reading.touches.is_some()) {
                words.facts.extend(self.touch_facts());
            }
        }
        self.graphql_words(&mut actions);
        self.rpc_words(&mut actions);
        self.git_words(&mut actions);
        self.sql_words(&mut actions);
        forms::fill(tables, &mut actions);
        let host = |host: &HostRule| if host.wildcard { format!("*.{}", host.name) } else { host.name.to_string() };
        ServiceWords {
            actions,
            aliases: tables.aliases.clone(),
            scopes: tables.scopes.clone(),
            parents: tables.parents.clone(),
            kinds: tables.kinds.clone(),
            hosts: tables.hosts.iter().map(host).collect(),
            credential_kinds: tables.credentials.iter().map(ToString::to_string).collect(),
            case_blind: tables.case_blind.clone(),
        }
    }

    /// What calls by GraphQL may have besides.
    fn graphql_words(&self, actions: &mut BTreeMap<String, ActionWords>) {
        let Some(graphql) = &self.tables.graphql else { return };
        let mut add = |action: u16, name: &str, kind: FactType| {
            let id = self.tables.actions.get(action as usize).map(|action| action.id.as_str());
            if let Some(words) = id.and_then(|id| actions.get_mut(id)) {
                words.facts.insert(name.to_owned(), kind);
            }
        };
        add(graphql.query, FIELDS_FACT, FactType::List);
        add(graphql.unlisted, MUTATION_FACT, FactType::Text);
        for call in graphql.mutations.iter().flat_map(|(_, lines)| lines).flat_map(|line| &line.calls) {
            add(call.action, MUTATION_FACT, FactType::Text);
            for fact in &call.facts {
                add(call.action, &fact.name, fact.kind);
            }
            if call.touches.is_some() {
                self.touch_facts().for_each(|(name, kind)| add(call.action, &name, kind));
            }
        }
    }

    /// Facts about sets of paths.
    fn touch_facts(&self) -> impl Iterator<Item = (String, FactType)> {
        self.tables.touches.iter().map(|set| (set.fact.to_string(), FactType::Text))
    }

    /// What calls by MCP, by JSON-RPC and by messages of WebSockets may have besides.
    fn rpc_words(&self, actions: &mut BTreeMap<String, ActionWords>) {
        let mut add = |id: &str, name: &str, kind: FactType| {
            if let Some(words) = actions.get_mut(id) {
                words.facts.insert(name.to_owned(), kind);
            }
        };
        let by_rpc = self.tables.rpc.iter().map(|rpc| (if rpc.is_mcp { TOOL_FACT } else { METHOD_FACT }, &rpc.names));
        let by_message = self.tables.sockets.iter().map(|socket| (MESSAGE_FACT, &socket.names));
        for (mark, names) in by_rpc.chain(by_message) {
            for call in names.iter().flat_map(|(_, lines)| lines).flat_map(|line| &line.calls) {
                let Some(action) = self.tables.actions.get(call.action as usize) else { continue };
                add(action.id.as_str(), mark, FactType::Text);
                for fact in &call.facts {
                    add(action.id.as_str(), &fact.name, fact.kind);
                }
                if call.touches.is_some() {
                    self.touch_facts().for_each(|(name, kind)| add(action.id.as_str(), &name, kind));
                }
            }
        }
        for (id, name) in [
            (MCP_UNLISTED_TOOL, TOOL_FACT),
            (RPC_UNLISTED, METHOD_FACT),
            (SOCKET_UNLISTED, MESSAGE_FACT),
            (MCP_READ, URI_FACT),
            (MCP_PROMPT, PROMPT_FACT),
        ] {
            add(id, name, FactType::Text);
        }
    }

    /// What calls by git may have besides.
    fn git_words(&self, actions: &mut BTreeMap<String, ActionWords>) {
        if !self.tables.hosts.iter().any(|host| host.protocol == Some(Protocol::Git)) {
            return;
        }
        for id in PUSH_ACTIONS {
            if let Some(words) = actions.get_mut(id) {
                words.facts.extend(PUSH_FACTS.map(|(name, kind)| (name.to_owned(), kind)));
            }
        }
        for id in CARRIES.into_iter().chain(["git/delete-ref"]) {
            if let Some(words) = actions.get_mut(id) {
                words.facts.extend(self.touch_facts());
            }
        }
        for id in CARRIES {
            if let Some(words) = actions.get_mut(id) {
                let effects = self.tables.touches.iter().flat_map(|set| set.effects.iter());
                words.effects = words.effects.iter().chain(effects).collect();
            }
        }
    }

    /// What statements may have besides.
    fn sql_words(&self, actions: &mut BTreeMap<String, ActionWords>) {
        if self.tables.hosts.iter().any(|host| host.protocol == Some(Protocol::Postgres)) {
            for (id, ..) in sql::ACTIONS {
                if let Some(words) = actions.get_mut(id) {
                    words.facts.extend(sql::FACTS.map(|(name, kind)| (name.to_owned(), kind)));
                }
            }
        }
    }

    /// Whether the answer of an action lists refs, as a push begins.
    pub fn lists_refs(&self, action: &str) -> bool {
        action == LIST_REFS
    }

    /// Facts about sets of paths, by name: `touches.workflows`.
    pub fn touches(&self) -> impl Iterator<Item = &str> {
        self.tables.touches.iter().map(|set| &*set.fact)
    }

    /// Resource kinds whose segments (never their tail) the upstream compares without regard to case.
    pub fn case_blind(&self) -> &[String] {
        &self.tables.case_blind
    }

    pub(crate) fn action(&self, id: &str) -> Option<&Action> {
        self.tables.actions.get(*self.by_id.get(id)? as usize)
    }

    pub(crate) fn action_of(&self, route: &Route) -> Option<&Action> {
        self.tables.actions.get(route.action as usize)
    }

    pub(crate) fn reading(&self, route: &Route) -> Option<&Reading> {
        self.tables.readings.get(route.reading as usize)
    }

    /// `http/<method>`.
    pub(crate) fn unknown_action(&self, method: &Method) -> Option<&ActionId> {
        self.unknown.get(METHODS.iter().position(|known| known == method)?)
    }
}

//! The service file as people write it. `services/README.md` explains it by example; unknown keys are errors.

mod aws;
mod batch;
mod captures;
mod graphql;
mod holds;
mod parse;
pub(crate) mod pattern;
mod rpc;
mod sockets;
mod touch;
mod word;

use std::collections::BTreeMap;

use model::call::ServiceBounds;
use model::vocabulary::FactType;
use model::{Class, Effects, SchemeSpec};
use serde::{Deserialize, Serialize};

pub use aws::AwsEntry;
pub use batch::{BatchEntry, BatchForm};
pub use captures::{CaptureMap, Captures, LoginHint};
pub use graphql::GraphQlEntry;
pub use holds::Holds;
pub use rpc::{McpEntry, RpcEntry};
pub use sockets::SocketEntry;
pub use touch::{Stand, TouchEntry, TouchPath};
pub use word::{OneOrMany, Word};

/// One service: hosts, actions, resources, facts, and how credentials are put on. One file and nothing else.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceFile {
    /// The name that policies use.
    pub name: String,
    /// The name that people use.
    pub title: String,
    /// The vendor's documentation of the API.
    #[serde(default)]
    pub docs: Option<String>,
    /// Where it lives. The first host without a wildcard is the one of `/proxy/{service}/...`.
    pub hosts: Vec<HostEntry>,
    /// Slots in which a credential may stand; the first is the default.
    #[serde(default)]
    pub schemes: Vec<SchemeSpec>,
    /// Kinds of credential that it takes; the first is the default.
    #[serde(default = "token")]
    pub credentials: Vec<String>,
    /// Environment variables in which its credential is usually found.
    #[serde(default)]
    pub environment: Vec<String>,
    /// Files in which its credential is usually found.
    #[serde(default)]
    pub files: Vec<FileHint>,
    /// What its secrets look like.
    #[serde(default)]
    pub shapes: Vec<Shape>,
    /// A harmless request that tells whether a credential works: `GET /user`.
    #[serde(default)]
    pub check: Option<String>,
    /// What the answer to `check` tells of what the credential may do.
    #[serde(default)]
    pub token_scopes: Option<TokenScopes>,
    /// What it bounds differently from the house.
    #[serde(default)]
    pub bounds: ServiceBounds,
    /// Resource kind to the kind that contains it.
    #[serde(default)]
    pub parents: BTreeMap<String, String>,
    /// Body types that the upstream reads; facts of other bodies are malformed.
    #[serde(default = "json")]
    pub accepts: Vec<Accepts>,
    /// The upstream reads parameters from query and body alike: a body fact is looked for in both, and two are none.
    #[serde(default)]
    pub merges_query: bool,
    /// How the upstream reads paths.
    #[serde(default)]
    pub paths: PathRules,
    /// Resource kinds whose segments the upstream compares without regard to case (never what follows `@`).
    #[serde(default)]
    pub case_blind: Vec<String>,
    /// Short names: `create_pr: pulls/create`.
    #[serde(default)]
    pub aliases: BTreeMap<String, OneOrMany>,
    /// Scopes: globs over action ids, each perhaps after a class: `read pulls/*`.
    #[serde(default)]
    pub scopes: BTreeMap<String, OneOrMany>,
    /// What stands under a path belongs to this resource, unless the action says otherwise; the longest path wins.
    #[serde(default)]
    pub areas: Vec<Area>,
    /// Other spellings of a path that the upstream takes: every pattern that begins with one also begins with the other.
    #[serde(default)]
    pub mirrors: Vec<Mirror>,
    /// Class and effects of several actions at once; later ones win over earlier, actions over groups.
    #[serde(default)]
    pub groups: Vec<Group>,
    /// Facts of every action whose path has the parameter: `path.pull_number: int`.
    #[serde(default)]
    pub facts: BTreeMap<String, FactType>,
    /// Sets of paths of a repository that matter more than others: what changes one has the fact `touches.NAME`.
    #[serde(default)]
    pub touches: Vec<TouchEntry>,
    /// One operation a line: `id METHOD /path`, for tables made from a vendor's own description.
    #[serde(default)]
    pub operations: Option<String>,
    /// Actions that need more than a line.
    #[serde(default)]
    pub actions: Vec<ActionEntry>,
    /// Where GraphQL is spoken, and what its mutations are.
    #[serde(default)]
    pub graphql: Option<GraphQlEntry>,
    /// Where several requests are sent as one.
    #[serde(default)]
    pub batch: Vec<BatchEntry>,
    /// Where MCP is spoken, and what its tools are.
    #[serde(default)]
    pub mcp: Option<McpEntry>,
    /// Where JSON-RPC is spoken, and what its methods are.
    #[serde(default)]
    pub rpc: Option<RpcEntry>,
    /// WebSockets whose messages are judged one by one, and what those messages are.
    #[serde(default)]
    pub sockets: Vec<SocketEntry>,
    /// What is asked at endpoints of AWS.
    #[serde(default)]
    pub aws: Option<AwsEntry>,
    /// Requests and what they must be; run as tests.
    #[serde(default)]
    pub cases: Vec<Case>,
    /// The text it was read from, and its name, for messages about what is found later.
    #[serde(skip)]
    pub(crate) source: String,
    #[serde(skip)]
    pub(crate) file: String,
}

/// A host: a name, `*.suffix`, or a map with more.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Word<HostMap>")]
pub struct HostEntry(pub HostMap);

/// A host with what is particular about it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostMap {
    /// `api.github.com`, or `*.suffix` for every name of one or more labels under it.
    pub host: String,
    /// Ports over TLS; 443 where none is given, 5432 with `protocol: postgres`. With `protocol: tcp` they must be.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Also spoken in clear text on port 80, without a credential.
    #[serde(default)]
    pub clear: bool,
    /// What every path begins with: `/v1`.
    #[serde(default)]
    pub base: Option<String>,
    /// Actions whose pattern begins with this word live here.
    #[serde(default)]
    pub role: Option<String>,
    /// A protocol of its own, looked at before the paths.
    #[serde(default)]
    pub protocol: Option<Protocol>,
    /// Schemes of this host where they differ; an empty list: no credential ever goes there.
    #[serde(default)]
    pub schemes: Option<Vec<SchemeSpec>>,
}

impl From<Word<HostMap>> for HostEntry {
    fn from(word: Word<HostMap>) -> Self {
        match word {
            Word::Text(host) => Self(HostMap { host, ..HostMap::default() }),
            Word::Map(map) => Self(map),
        }
    }
}

/// Protocols with a classifier of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The APIs of AWS: what is asked stands in a header, a form, or the path, by service.
    Aws,
    /// Git's smart HTTP and LFS, over HTTP.
    Git,
    /// No HTTP: connections pass as they are, each as the action `tcp/connect` on `host:{name}/{port}`. What an agent says on them
    /// is searched for real secrets and not understood; no credential is put on.
    Tcp,
    /// PostgreSQL's own protocol: the gateway logs in with a credential of kind `database`, and every statement is a call of its own
    /// (`sql/select`, `sql/delete`, ...) on `table:DATABASE@SCHEMA.TABLE`.
    Postgres,
}

/// Where a credential usually lies in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHint {
    /// The path, `~` for the home folder.
    pub path: String,
    /// How it is written: `json`, `toml`, `yaml`, `ini`, `netrc`, `npmrc`, `env`.
    pub format: String,
    /// Where inside: a JSON pointer (RFC 6901), `*` for any key; empty for formats that say it themselves.
    #[serde(default)]
    pub key: String,
    /// The file is a program's log-in: what stands beside the token. JSON alone, so that it can be renewed in place.
    #[serde(default)]
    pub login: Option<LoginHint>,
}

/// What a secret looks like; a prefix alone, or a map with more.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Word<ShapeMap>")]
pub struct Shape(pub ShapeMap);

/// Where a service says what a token may do, for `review`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenScopes {
    /// The header field that lists them, with commas: `X-OAuth-Scopes`.
    pub header: String,
    /// What each of the vendor's scopes lets a token do: globs over action ids, each perhaps after a class. One that is not here is looked up
    /// among the file's own `scopes`.
    #[serde(default)]
    pub scopes: BTreeMap<String, OneOrMany>,
}

/// The structure that clients check, so that a placeholder can have it too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapeMap {
    /// What it begins with.
    pub prefix: String,
    /// Octets in all; 0 where it varies.
    #[serde(default)]
    pub length: u16,
    /// `base62`, `base64url`, `hex` or `digits`; empty where nobody checks.
    #[serde(default)]
    pub alphabet: String,
    /// `crc32-base62` (GitHub: six characters at the end); empty where there is none.
    #[serde(default)]
    pub checksum: String,
}

impl From<Word<ShapeMap>> for Shape {
    fn from(word: Word<ShapeMap>) -> Self {
        match word {
            Word::Text(prefix) => Self(ShapeMap { prefix, ..ShapeMap::default() }),
            Word::Map(map) => Self(map),
        }
    }
}

/// A body type that an upstream reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accepts {
    /// `application/json` and `application/*+json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`; passes, but its facts are unknown.
    Multipart,
    /// JSON under whatever type or none: the upstream does not look at the type (GitHub, and so `curl -d` works).
    AnyAsJson,
}

/// How an upstream reads paths. What it treats alike is one action, so that no spelling escapes a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PathRules {
    /// Literal segments are compared without regard to case.
    pub any_case: bool,
    /// A path with a slash at its end is another path (and so unknown); otherwise the slash means nothing.
    pub slash_matters: bool,
    /// Endings of the last segment that the upstream ignores: `.json`.
    pub suffixes: Vec<String>,
    /// Path parameters that may hold an encoded slash; `*` for all, and for unknown paths.
    pub opaque: Vec<String>,
}

/// What stands under a path.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Area {
    /// `[role ]/orgs/{org}`.
    pub under: String,
    /// `org:{org}`.
    pub resource: OneOrMany,
}

/// Another spelling of a path: `/repositories/{id}` for `/repos/{owner}/{repo}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// The path of the patterns.
    pub from: String,
    /// The other.
    pub to: String,
    /// What stands in templates, and what stands there instead: `["{owner}/{repo}", "{id}"]`.
    pub replace: (String, String),
}

/// Class and effects of several actions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Globs over action ids.
    pub actions: OneOrMany,
    /// Only those whose method is one of these.
    #[serde(default)]
    pub methods: Vec<String>,
    /// The class.
    #[serde(default)]
    pub class: Option<Class>,
    /// Effects, added to those they have. `class: read` takes away those of earlier groups: a read changes nothing.
    #[serde(default)]
    pub effects: Effects,
    /// The resource, for all of them.
    #[serde(default)]
    pub resource: Option<OneOrMany>,
    /// Facts, for all of them.
    #[serde(default)]
    pub facts: BTreeMap<String, FactType>,
    /// Circumstances under which each of them is more than it seems.
    #[serde(default)]
    pub when: Vec<WhenEntry>,
    /// They are model requests; see [`ActionEntry::model_request`].
    #[serde(default)]
    pub model_request: bool,
}

/// One action.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionEntry {
    /// The vendor's own operation name where it publishes one.
    pub id: String,
    /// By method where it is not given: GET and HEAD read, DELETE delete, the rest write.
    #[serde(default)]
    pub class: Option<Class>,
    /// Outcomes that it shares with others.
    #[serde(default)]
    pub effects: Effects,
    /// Requests that are this action; may be none where the table of operations has them, or the protocol finds it.
    #[serde(default, rename = "match")]
    pub matches: Matches,
    /// Templates of what it acts on; the first whose parameters are all there.
    #[serde(default)]
    pub resource: Option<OneOrMany>,
    /// Facts, with their types.
    #[serde(default)]
    pub facts: BTreeMap<String, FactType>,
    /// Circumstances under which it is more than it seems.
    #[serde(default)]
    pub when: Vec<WhenEntry>,
    /// Where the paths stand that it changes: `path.path`, `body.tree.path`; or `kept`, where it moves a ref to what the server has.
    #[serde(default)]
    pub touches: Option<OneOrMany>,
    /// One sentence for the person who is asked.
    #[serde(default)]
    pub sentence: Option<String>,
    /// What its answer says was created: name to JSON pointer.
    #[serde(default)]
    pub made: BTreeMap<String, String>,
    /// What its answer is like.
    #[serde(default)]
    pub answer: AnswerHint,
    /// What its answer hands out: kept in the vault, with placeholders in the agent's copy.
    #[serde(default)]
    pub captures: Captures,
    /// Its body is a conversation with a model, which may quote anything: a real secret in it is replaced by its
    /// placeholder, where any other request is refused.
    #[serde(default)]
    pub model_request: bool,
    /// Actions that nobody can do without this one, as a push first lists the refs: a permission for one of them permits this
    /// too, on the resource that contains theirs, and without their limits and questions.
    #[serde(default)]
    pub implied_by: OneOrMany,
}

/// What the answer of an action is like, as far as the gateway should prepare for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerHint {
    /// Like any other.
    #[default]
    Plain,
    /// Server-Sent Events, or may be.
    Sse,
    /// Hands out a secret.
    Secret,
}

/// One pattern, or several.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "word::Listed<Word<MatchMap>>")]
pub struct Matches(pub Vec<MatchMap>);

/// A pattern with circumstances.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchMap {
    /// `[role ]METHOD /path/{one}/{many+}[?name=value]`.
    pub request: String,
    /// Facts of the body that must hold.
    #[serde(default)]
    pub body: BTreeMap<String, Holds>,
}

impl From<word::Listed<Word<MatchMap>>> for Matches {
    fn from(listed: word::Listed<Word<MatchMap>>) -> Self {
        let plain = |word| match word {
            Word::Text(request) => MatchMap { request, body: BTreeMap::new() },
            Word::Map(map) => map,
        };
        Self(listed.0.into_iter().map(plain).collect())
    }
}

/// Circumstances that make an action stronger. What cannot be seen is taken to hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhenEntry {
    /// Path parameters.
    #[serde(default)]
    pub path: BTreeMap<String, Holds>,
    /// Query parameters.
    #[serde(default)]
    pub query: BTreeMap<String, Holds>,
    /// Body facts.
    #[serde(default)]
    pub body: BTreeMap<String, Holds>,
    /// Arguments, where it is asked for by a name: a tool of MCP. Nothing to other roads.
    #[serde(default)]
    pub arguments: BTreeMap<String, Holds>,
    /// Header fields. Other roads than the action's own are not told, so there they may hold.
    #[serde(default)]
    pub header: BTreeMap<String, Holds>,
    /// The class then, if it is stronger.
    #[serde(default)]
    pub class: Option<Class>,
    /// Effects that it then has too.
    #[serde(default)]
    pub effects: Effects,
}

/// A request and what it must be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// `GET https://api.github.com/user`, or `GET /user` for the first host.
    pub request: String,
    /// Header fields.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, as text.
    #[serde(default)]
    pub body: Option<String>,
    /// A message that the client sends on the WebSocket that the request opens: it is what is expected then.
    #[serde(default)]
    pub message: Option<String>,
    /// `class action resource [effect ...]`, several calls divided by `;`, `unknown service`, or `refused code`.
    pub expect: String,
    /// Facts that it must have, as they stand in JSON.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// The sentence that it must make.
    #[serde(default)]
    pub sentence: Option<String>,
}

fn token() -> Vec<String> {
    vec!["token".to_owned()]
}

fn json() -> Vec<Accepts> {
    vec![Accepts::Json]
}

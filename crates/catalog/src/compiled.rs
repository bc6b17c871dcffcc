//! A service as the engine uses it: plain data, made by `compile` at build time or when a user's file is read.
//!
//! Indices are into the vectors of [`Compiled`]; `compile` is the only place that makes them.

#[path = "compiled/sql.rs"]
pub mod sql;

use std::collections::BTreeMap;
use std::sync::Arc;

use model::call::ServiceBounds;
use model::vocabulary::FactType;
use model::{ActionId, Class, Effect, Effects, SchemeSpec, ServiceName};
use serde::{Deserialize, Serialize};

use crate::file::{Accepts, AnswerHint, BatchForm, CaptureMap, FileHint, Holds, Protocol, ShapeMap, TouchPath};

/// The action of every bare connection. A service file may say of which class and effects it is there; a write otherwise.
pub const CONNECT: &str = "tcp/connect";
/// What it acts on: the host's name, then its port.
pub const BARE_RESOURCE: &str = "host:{name}/{port}";

/// The fact that names the mutation by which a call comes.
pub const MUTATION_FACT: &str = "graphql.mutation";
/// The fact that names the fields of a query's root.
pub const FIELDS_FACT: &str = "graphql.fields";

/// Facts of a push, and the actions that it can be.
pub const PUSH_FACTS: [(&str, FactType); 6] = [
    ("git.ref", FactType::Text),
    ("git.change", FactType::Text),
    ("git.force", FactType::Bool),
    ("git.old", FactType::Text),
    ("git.new", FactType::Text),
    ("git.options", FactType::List),
];
pub const PUSH_ACTIONS: [&str; 4] = ["git/push", "git/force-push", "git/delete-ref", "git/push-option"];

/// What lists refs, before a push among others.
pub const LIST_REFS: &str = "git/list-refs";
/// Those of them that bring commits, and so have facts about sets of paths.
pub const CARRIES: [&str; 2] = ["git/push", "git/force-push"];
/// What facts about sets of paths begin with.
pub const TOUCHES: &str = "touches.";

/// What a message of MCP is until it is read.
pub const MCP_MESSAGE: &str = "mcp/message";
/// What opens, keeps and ends a connection; what lists tools; what reads a resource, or a prompt; what answers a server's question.
pub const MCP_CONNECT: &str = "mcp/connect";
pub const MCP_LIST_TOOLS: &str = "mcp/list-tools";
pub const MCP_READ: &str = "mcp/read-resource";
pub const MCP_PROMPT: &str = "mcp/get-prompt";
pub const MCP_ANSWER: &str = "mcp/answer";
/// The action of a tool that no line has.
pub const MCP_UNLISTED_TOOL: &str = "mcp/unlisted-tool";
/// What a message of JSON-RPC is until it is read.
pub const RPC_MESSAGE: &str = "rpc/message";
/// The action of a method that no line has.
pub const RPC_UNLISTED: &str = "rpc/unlisted-method";
/// The action of a message on a WebSocket that no line has.
pub const SOCKET_UNLISTED: &str = "socket/unlisted-message";
/// The actions of the protocol itself.
pub const MCP_ACTIONS: [(&str, Class, Effects); 11] = [
    (MCP_CONNECT, Class::Read, Effects::NONE),
    (MCP_LIST_TOOLS, Class::Read, Effects::NONE),
    ("mcp/list-resources", Class::Read, Effects::NONE),
    (MCP_READ, Class::Read, Effects::NONE),
    ("mcp/list-prompts", Class::Read, Effects::NONE),
    (MCP_PROMPT, Class::Read, Effects::NONE),
    ("mcp/complete", Class::Read, Effects::NONE),
    // What a server asked back, and is told. It asks people, for their consent too: whoever may only write must not speak for them.
    (MCP_ANSWER, Class::Admin, Effects::NONE.with(Effect::Escalates)),
    ("mcp/read-task", Class::Read, Effects::NONE),
    ("mcp/change-task", Class::Write, Effects::NONE),
    ("mcp/set-log-level", Class::Write, Effects::NONE),
];
/// Facts of calls by MCP and JSON-RPC, and what they are about: a tool, a resource, a prompt, a method.
pub const TOOL_FACT: &str = "mcp.tool";
pub const URI_FACT: &str = "mcp.uri";
pub const PROMPT_FACT: &str = "mcp.prompt";
pub const METHOD_FACT: &str = "rpc.method";
/// The fact that names the message by which a call comes on a WebSocket.
pub const MESSAGE_FACT: &str = "socket.message";

/// One service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the file, with the file's own name")]
pub struct Compiled {
    pub name: ServiceName,
    pub title: Box<str>,
    pub docs: Option<Box<str>>,
    pub hosts: Vec<HostRule>,
    pub schemes: Vec<SchemeSpec>,
    pub credentials: Vec<Box<str>>,
    pub environment: Vec<Box<str>>,
    pub files: Vec<FileHint>,
    pub shapes: Vec<ShapeMap>,
    pub check: Option<Box<str>>,
    /// The header field of the answer to `check` that lists a token's scopes.
    pub scopes_header: Option<Box<str>>,
    /// The vendor's scope to the actions that it lets a token do.
    pub token_scopes: BTreeMap<String, Vec<String>>,
    pub bounds: ServiceBounds,
    pub parents: BTreeMap<String, String>,
    pub kinds: Vec<String>,
    pub case_blind: Vec<String>,
    pub accepts: Vec<Accepts>,
    pub merges_query: bool,
    pub any_case: bool,
    pub slash_matters: bool,
    pub suffixes: Vec<Box<str>>,
    /// Unknown paths may hold encoded slashes too.
    pub all_opaque: bool,
    pub aliases: BTreeMap<String, Vec<String>>,
    pub scopes: BTreeMap<String, Vec<String>>,
    pub actions: Vec<Action>,
    /// Alternatives of templates: the first whose values are all there.
    pub templates: Vec<Vec<Vec<Piece>>>,
    pub readings: Vec<Reading>,
    pub nodes: Vec<Node>,
    pub routes: Vec<Route>,
    /// Where GraphQL is spoken, what its mutations are.
    pub graphql: Option<GraphQl>,
    /// Where JSON-RPC is spoken, by itself or for MCP.
    pub rpc: Vec<Rpc>,
    /// WebSockets whose messages are judged one by one.
    pub sockets: Vec<Socket>,
    /// Sets of paths that matter more than others.
    pub touches: Vec<Touch>,
    /// Where several requests are sent as one.
    pub batches: Vec<Batch>,
    /// What is asked at endpoints of AWS.
    pub aws: Option<Aws>,
}

/// The action of what is asked of AWS and is in no table.
pub const AWS_UNLISTED: &str = "aws/unlisted-request";

/// What is asked at endpoints of AWS.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Aws {
    /// The action of what is not known.
    pub unlisted: u16,
    /// Operations that a header or a form names: `dynamodb:PutItem`, sorted.
    pub named: Vec<(Box<str>, AwsOperation)>,
    /// Operations that stand at a place.
    pub placed: Vec<AwsPlace>,
}

/// An operation, and what it acts on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AwsOperation {
    pub action: u16,
    /// What follows service, region and account in an ARN: `table/{TableName}`; alternatives with `|` between them.
    pub resources: Vec<Box<str>>,
}

/// An operation of a service by path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AwsPlace {
    pub service: Box<str>,
    pub method: Box<str>,
    /// `/2015-03-31/functions/{FunctionName}`; of S3 what the path names: `service`, `bucket`, `object`.
    pub path: Box<str>,
    /// A parameter that must be there, perhaps with its value.
    pub query: Option<Box<str>>,
    pub operation: AwsOperation,
}

/// A place where batches are sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Batch {
    /// The action whose patterns are the place: what a batch is until it is read.
    pub place: u16,
    pub form: BatchForm,
}

/// A set of paths of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch {
    /// `touches.NAME`.
    pub fact: Arc<str>,
    pub paths: Vec<TouchPath>,
    /// Effects of a change that touches it.
    pub effects: Effects,
}

/// Where a service lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRule {
    /// Lower case; without the `*.` of a wildcard.
    pub name: Box<str>,
    /// Every name under `name`, not `name` itself.
    pub wildcard: bool,
    /// Ports over TLS.
    pub ports: Vec<u16>,
    /// Also in clear text on port 80.
    pub clear: bool,
    /// Segments that every path begins with.
    pub base: Vec<Box<str>>,
    /// The role, for people; empty for the default.
    pub role: Box<str>,
    /// Node of the role's patterns.
    pub root: u32,
    /// Looked at before the patterns.
    pub protocol: Option<Protocol>,
    /// Where they differ from the service's.
    pub schemes: Option<Vec<SchemeSpec>>,
}

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Action {
    pub id: ActionId,
    pub class: Class,
    pub effects: Effects,
    pub kind: Box<str>,
    pub sentence: Option<Box<str>>,
    pub made: Vec<(Box<str>, Box<str>)>,
    pub answer: AnswerHint,
    /// What its answer hands out.
    pub captures: Vec<CaptureMap>,
    /// A real secret in its body is replaced by its placeholder.
    pub model_request: bool,
    /// Actions whose permission is worth nothing without it.
    pub implied_by: Vec<Box<str>>,
}

/// One pattern of one action.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Route {
    pub verb: Verb,
    pub action: u16,
    pub template: u16,
    pub reading: u16,
    pub conditions: Vec<Test>,
    pub when: Vec<When>,
    /// Bit n: capture n may hold encoded slashes.
    pub opaque: u32,
}

/// Method of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    Any,
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

/// Circumstances that make an action stronger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct When {
    pub tests: Vec<Test>,
    pub class: Option<Class>,
    pub effects: Effects,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    pub source: Source,
    pub holds: Holds,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A path parameter, by number.
    Capture(u8),
    /// A query parameter, by name.
    Query(Box<str>),
    /// A header field, by name in small letters.
    Header(Box<str>),
    /// A value of the body, by its place in [`Reading::wants`].
    Body(u8),
}

/// What is read for an action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Places in the body, each a path of keys.
    pub wants: Vec<Vec<Box<str>>>,
    pub facts: Vec<FactRule>,
    /// Where the paths stand that it changes; an empty list: it moves a ref to what the server has.
    pub touches: Option<Vec<Source>>,
}

/// One declared fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactRule {
    pub name: Arc<str>,
    pub kind: FactType,
    pub source: Source,
}

/// A piece of a resource template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    Text(Box<str>),
    Value {
        source: Source,
        /// The value must begin with it, and loses it.
        prefix: Box<str>,
        /// More follows it, so `/` and `@` in the value would read as structure.
        head: bool,
    },
}

/// A node of the tree of path patterns. Node 0 is the root of the role without a name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Node {
    /// Sorted by text.
    pub literals: Vec<(Box<str>, u32)>,
    /// Any one segment.
    pub one: Option<u32>,
    /// One or more segments.
    pub many: Option<u32>,
    /// What ends here; patterns with more conditions first.
    pub routes: Vec<u32>,
    /// Template of what stands under here and is not known better.
    pub area: Option<u16>,
}

/// What is asked by GraphQL.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GraphQl {
    /// The action whose patterns are where it is spoken: what a document is until it is read.
    pub unread: u16,
    /// The action of queries.
    pub query: u16,
    /// The action of documents that ask for a secret.
    pub secret: u16,
    /// The action beside every mutation that is not listed.
    pub unlisted: u16,
    /// Fields that hand out a secret.
    pub secret_fields: Vec<Box<str>>,
    /// By name, sorted.
    pub mutations: Vec<(Box<str>, Vec<Line>)>,
}

impl Rpc {
    /// The lines of a tool or method.
    pub fn lines(&self, name: &str) -> Option<&[Line]> {
        lines_of(&self.names, name)
    }
}

impl Socket {
    /// The lines of a message.
    pub fn lines(&self, name: &str) -> Option<&[Line]> {
        lines_of(&self.names, name)
    }
}

fn lines_of<'a>(names: &'a [(Box<str>, Vec<Line>)], name: &str) -> Option<&'a [Line]> {
    let index = names.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
    names.get(index).map(|(_, lines)| lines.as_slice())
}

/// A WebSocket of which every message is judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Socket {
    /// The action whose patterns are where it is opened.
    pub place: u16,
    /// Roots of the patterns of the hosts where it is opened.
    pub roots: Vec<u32>,
    /// The member of a message that names it.
    pub key: Box<str>,
    /// Messages, by name, sorted.
    pub names: Vec<(Box<str>, Vec<Line>)>,
}

/// What is asked by messages of JSON-RPC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rpc {
    /// The action whose patterns are where it is spoken: what a message is until it is read.
    pub place: u16,
    /// Roots of the patterns of the hosts where it is spoken.
    pub roots: Vec<u32>,
    /// It carries MCP: the names are tools.
    pub is_mcp: bool,
    /// Tools or methods, by name, sorted.
    pub names: Vec<(Box<str>, Vec<Line>)>,
}

/// One line of a table of calls.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// It holds beside the others, instead of where none before it holds.
    pub beside: bool,
    pub condition: Option<(Place, Holds)>,
    pub calls: Vec<LineCall>,
    /// Alternatives: the first whose values are all there.
    pub resource: Vec<Vec<ArgumentPiece>>,
}

/// One action of a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LineCall {
    pub action: u16,
    /// Every fact that the action may have by any road.
    pub facts: Vec<ArgumentFact>,
    /// Where the paths stand that it changes; nothing for one that this road does not say.
    pub touches: Option<Vec<Option<Place>>>,
    pub when: Vec<ArgumentWhen>,
}

/// A fact, and where this road says it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArgumentFact {
    pub name: Arc<str>,
    pub kind: FactType,
    /// Nowhere: it is unknown.
    pub place: Option<Place>,
}

/// Where a value stands among the arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    Argument {
        path: Vec<Box<str>>,
        /// Letters are made small, as the other road writes them.
        lower: bool,
        /// The other road has it in its path: what is no plain part of one is unknown.
        segments: bool,
    },
    /// The line says it.
    Constant(Box<str>),
}

/// Circumstances that make an action stronger; a place that is missing cannot be seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArgumentWhen {
    pub tests: Vec<(Option<Place>, Holds)>,
    pub class: Option<Class>,
    pub effects: Effects,
}

/// A piece of a resource template over arguments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ArgumentPiece {
    Text(Box<str>),
    Value {
        place: Place,
        /// The value must begin with it, and loses it.
        prefix: Box<str>,
        /// It is two names with a slash between them.
        pair: bool,
        /// It is neither all of the name nor what stands behind `@`, so a slash in it would read as structure.
        head: bool,
    },
}

//! What may be written, every key declared once. The JSON Schema and the reference are made from these types.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::at::{At, Many, Table, Words};
use super::issue::Issue;
use super::rotate::{Rotate, Sensitivity};
use super::value::{Approval, Rate, Span};

/// A configuration: one file of it, or several joined.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Valetkey configuration")]
pub struct Document {
    /// The version of this form: 1.
    pub version: Option<At<u64>>,
    /// Which hosts may be reached at all.
    pub egress: Option<At<Egress>>,
    /// Named parts of a policy that known programs need.
    pub profiles: Words,
    /// Whether decisions are enforced or only recorded.
    pub mode: Option<At<Mode>>,
    /// The environment that this gateway serves.
    pub environment: Option<At<String>>,
    /// The user's own service files or folders of them, relative to this file.
    pub services: Words,
    /// Credentials by name.
    pub credentials: Table<CredentialEntry>,
    /// Secret managers over the network, by what stands before the colon in `from:`: `hashicorp`, `op`, `k8s`, `aws-sm`, `aws-ps`; several of a kind as
    /// `hashicorp@NAME`.
    pub backends: Table<Backend>,
    /// Agents by name; `*` is every agent.
    pub agents: Table<Agent>,
    /// Spending over time. Not in this version.
    pub budgets: Many<Budget>,
    /// Fields taken out of answers. Not in this version.
    pub redact: Many<Redact>,
    /// What to watch for. This version has tripwires.
    pub alerts: Many<Alert>,
    /// How people are told and answer, by name. This version has `terminal` and `webhook`.
    pub channels: Table<Channel>,
    /// The people who run this.
    pub operators: Many<Operator>,
    /// Where a host really is, and who signs it, by `host` or `host:port`.
    pub upstreams: Table<Upstream>,
    /// Ports at which agents reach database servers, by a name. Between walls none is needed.
    pub databases: Table<Database>,
    /// The audit log.
    pub audit: Option<Audit>,
    /// Sets of actions that agents ask for by name when they ask for a grant: `read_emails`.
    pub capabilities: Table<Many<Capability>>,
}

/// One part of a capability set. What an agent is given of it is what its permissions cover.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Capability {
    /// The service.
    pub service: Option<At<String>>,
    /// Actions by id, class, `effect:x`, alias, scope, or `*`.
    pub actions: Words,
    /// Resources as typed paths with `*`; all of them where nothing is written.
    pub resources: Words,
}

/// Whether a permission holds by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It does.
    #[default]
    Always,
    /// It holds under a grant alone, which the agent asks for when it needs it.
    None,
}

/// A port for the database server of one service. The password there is a session's token.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The service; its file says `protocol: postgres` of a host.
    pub service: At<String>,
    /// Where agents connect: `127.0.0.1:6432`.
    pub listen: At<String>,
}

/// Which hosts may be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Egress {
    /// Any host; on hosts of known services that no permission names, reads only.
    Open,
    /// Hosts of known services (reads only where no permission names them) and profiles.
    Known,
    /// Hosts that a permission or profile names.
    #[default]
    Closed,
}

/// Whether decisions are enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What is denied is refused.
    #[default]
    Enforce,
    /// What is denied is recorded and passes.
    Observe,
}

/// One credential.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CredentialEntry {
    /// The service it is for.
    pub service: Option<At<String>>,
    /// Where it lives: `env:NAME`, `file:PATH`, `exec:COMMAND`, `keyring:SERVICE/ACCOUNT`, `hashicorp:MOUNT/PATH#FIELD`,
    /// `aws:ambient`, `op://VAULT/ITEM/FIELD`, `k8s:NAMESPACE/NAME#KEY`, `aws-sm:NAME#FIELD`, `aws-ps:NAME`; the built-in vault where nothing is written. `{user}`, `{agent}` and `{env}` in the
    /// last seven are each session's own. A relative path of a file or program starts from this file's folder.
    pub from: Option<At<String>>,
    /// How long its value is used before it is asked for again: `1s` to `1h`; a minute where nothing is written, a second for a file.
    pub ttl: Option<At<Span>>,
    /// How long the last good value is used while its back end is away: up to `24h`; five minutes where nothing is written.
    pub stale: Option<At<Span>>,
    /// Whether it stands in for a placeholder, or is put on every request.
    pub inject: Option<At<Inject>>,
    /// What kind it is; the service's first where nothing is written.
    pub kind: Option<At<String>>,
    /// The environment it may be used in.
    pub environment: Option<At<String>>,
    /// Who issues what is used, where what is stored is not.
    pub issue: Option<At<Issue>>,
    /// How a new value takes over from the old one.
    pub rotate: Option<At<Rotate>>,
    /// How bad it is if it leaks: where `rotate: { with: .. }` says not how often, every 90 days (`low`), 30 (`medium`), 7 (`high`) or 1 (`critical`).
    pub sensitivity: Option<At<Sensitivity>>,
    /// What stands in for it when it is denied, revoked, past its end, or cannot be had.
    pub fallback: Option<At<Fallback>>,
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) file: Arc<str>,
}

/// A secret manager over the network. What logs in to it lies elsewhere: `env:NAME`, `file:PATH`, `exec:COMMAND`, `keyring:SERVICE/ACCOUNT`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Backend {
    /// `https://HOST[:PORT]`, or those of all nodes of a cluster; `http://` to the loopback alone. For `k8s` the API server of the own cluster, for AWS
    /// that of the region where nothing is written.
    pub address: Words,
    /// PEM file of the only authorities that sign it, relative to this file; the platform's where nothing is written.
    pub ca: Option<At<String>>,
    /// The namespace, for `hashicorp`.
    pub namespace: Option<At<String>>,
    /// The version of the KV engine, 1 or 2, for `hashicorp`; asked for where nothing is written.
    pub kv: Option<At<u64>>,
    /// Where a token lives. One way to log in is written.
    pub token: Option<At<String>>,
    /// The region, for `aws-sm` and `aws-ps`.
    pub region: Option<At<String>>,
    /// A key of AWS, for `aws-sm` and `aws-ps`; the keys that surround the gateway where nothing is written: variables, an identity token, the
    /// shared files' profile, a container's endpoint, an instance's metadata.
    pub aws_key: Option<At<AwsKey>>,
    /// Where the key of a service account lives (the JSON that Google gave), for `gcp-sm`.
    pub google_key: Option<At<String>>,
    /// Log-in as an application of Microsoft's directory, for `azure-kv`.
    pub azure_client: Option<At<AzureClient>>,
    /// Log-in by AppRole, for `hashicorp`.
    pub approle: Option<At<AppRole>>,
    /// Log-in by the token of a service account, for `hashicorp`.
    pub kubernetes: Option<At<JwtLogin>>,
    /// Log-in by a JSON web token, for `hashicorp`.
    pub jwt: Option<At<JwtLogin>>,
}

/// A key of AWS.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsKey {
    /// Where its id lives.
    pub key_id: At<String>,
    /// Where its secret half lives.
    pub secret: At<String>,
    /// Where the session token of one that ends lives.
    #[serde(default)]
    pub session_token: Option<At<String>>,
}

/// Log-in as an application of Microsoft's directory.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AzureClient {
    /// The directory it is in: its id or a domain.
    pub tenant: At<String>,
    /// The application's id, which is no secret.
    pub client_id: At<String>,
    /// Where its secret lives.
    pub client_secret: At<String>,
}

/// Log-in by AppRole.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppRole {
    /// The id of the role, which is no secret.
    pub role_id: At<String>,
    /// Where the secret id lives.
    pub secret_id: At<String>,
    /// Where the method is mounted; `approle` where nothing is written.
    #[serde(default)]
    pub mount: Option<At<String>>,
}

/// Log-in by a JSON web token.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtLogin {
    /// The role.
    pub role: At<String>,
    /// Where the token lives, read anew for each log-in; for `kubernetes` that of the pod where nothing is written.
    #[serde(default)]
    pub token: Option<At<String>>,
    /// Where the method is mounted; `kubernetes` or `jwt` where nothing is written.
    #[serde(default)]
    pub mount: Option<At<String>>,
}

/// When a credential is put on a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Inject {
    /// In place of its placeholder.
    #[default]
    Placeholder,
    /// On every request that may use it, for clients that send nothing, such as git.
    Always,
}

/// What stands in for a credential that fails: one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fallback {
    /// Another credential of the same service and kind, where a permission lets the agent use it for the call.
    pub credential: Option<At<String>>,
    /// A fixed answer.
    pub respond: Option<At<Respond>>,
    /// An earlier answer. Not in this version.
    pub cached: Option<serde_json::Value>,
}

/// A fixed answer; it carries `x-valetkey-fallback: respond` besides.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Respond {
    /// Its status.
    pub status: At<u16>,
    /// Its fields.
    #[serde(default)]
    pub headers: Table<At<String>>,
    /// Its body: a text as it is, anything else as JSON.
    #[serde(default)]
    pub body: Option<serde_json::Value>,
}

/// One agent.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Agent {
    /// What it is for.
    pub purpose: Option<At<String>>,
    /// Who answers for it.
    pub owner: Option<At<String>>,
    /// What it may do.
    pub permissions: Vec<At<Permission>>,
    /// What it may never do, whatever its permissions say.
    pub denied_actions: Words,
    /// Whether its permissions hold by themselves, where they do not say.
    pub standing: Option<At<Standing>>,
    /// Other users of the gateway's machine who may begin sessions for it (`serve --socket`): names, or `uid:1001`.
    pub local_users: Words,
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) file: Arc<str>,
}

/// One permission.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Permission {
    /// The service; `*` for every known one.
    pub service: Option<At<String>>,
    /// The credential it lets the agent use; the service's only one where nothing is written.
    pub credential: Option<At<String>>,
    /// Actions by id, class, `effect:x`, alias, scope, or `*`.
    pub actions: Words,
    /// Resources as typed paths with `*`.
    pub resources: Words,
    /// Methods, for rules that know nothing of actions.
    pub methods: Words,
    /// Prefixes of whole path segments, for the same.
    pub endpoints: Words,
    /// When it applies and what must hold.
    pub conditions: Option<At<Conditions>>,
    /// The same as `conditions.limit`, as constraint documents write it.
    pub rate_limit: Option<At<Rate>>,
    /// The same as `conditions.max_amount`.
    pub max_amount: Option<At<i64>>,
    /// Actions of this service that the agent may never do.
    pub denied_actions: Words,
    /// Whether it holds by itself, or under a grant alone (`none`); what the agent says where nothing is written.
    pub standing: Option<At<Standing>>,
    /// The longest that a grant of it lasts; an hour where nothing is written.
    pub max_ttl: Option<At<Span>>,
}

/// Conditions of a permission.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// The session's task, with `*`.
    pub task: Words,
    /// When: `09:00-17:00`, `mon-fri 09:00-17:00 +01:00`; UTC where no offset is given.
    pub hours: Words,
    /// Addresses or networks that the agent may call from.
    pub source: Words,
    /// The people on whose behalf.
    pub user: Words,
    /// A role that the user must have.
    pub role: Words,
    /// An RFC 3339 time, a date, or a length of time after the session's start.
    pub expires: Option<At<String>>,
    /// A Cedar expression over `context.facts`.
    pub when: Option<At<String>>,
    /// Bounds on facts of one request: `{body.amount: 5000}`.
    pub max: Option<Table<At<i64>>>,
    /// The same as `max: {body.amount: N}`.
    pub max_amount: Option<At<i64>>,
    /// How much over time; several must all hold.
    pub limit: Many<Rate>,
    /// The same as `limit`.
    pub rate_limit: Many<Rate>,
    /// The same as `limit: N/hour`.
    pub max_prs_per_hour: Option<At<u64>>,
    /// Whether a person is asked.
    pub approval: Option<At<Approval>>,
    /// The same; `true` is `required`, `false` says nothing.
    pub require_approval: Option<At<Approval>>,
    /// How long that person has.
    pub approval_timeout: Option<At<Span>>,
    /// Who may answer.
    pub approvers: Option<At<Approvers>>,
}

/// Who may answer an approval.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Approvers {
    /// How many different people must agree.
    pub count: Option<At<u32>>,
    /// Names of operators, of webhooks (`ops`), of people at one (`ops:ada`); any approver where nothing is written.
    pub of: Words,
}

/// Spending over time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Whose; `*` for every agent.
    pub agent: At<String>,
    /// The period.
    pub per: At<String>,
    /// How much money.
    #[serde(default)]
    pub money: Option<Money>,
    /// How many tokens.
    #[serde(default)]
    pub tokens: Option<At<u64>>,
    /// Percentages at which people are told.
    #[serde(default)]
    pub warn: Vec<At<u32>>,
}

/// An amount of money.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// How much, in units of the currency.
    pub max: At<f64>,
    /// ISO 4217.
    pub currency: At<String>,
}

/// Fields taken out of answers.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redact {
    /// Whose answers.
    pub service: At<String>,
    /// Which fields.
    pub fields: Words,
}

/// What to watch for. A tripwire is a placeholder seen where it can only be a leak, or a real secret in what is sent.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// What is odd: `tripwire`, or `tripwire:RANK` for this rank (low, medium, high, critical) or above.
    pub condition: At<String>,
    /// What to do about it: `notify_admin`, `stop_session`, `disable_agent`.
    pub action: At<String>,
}

/// How people are told and answer: exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Channel {
    /// The terminal of `run`.
    pub terminal: Option<At<serde_json::Value>>,
    /// Slack, by Socket Mode. Not in this version.
    pub slack: Option<At<Slack>>,
    /// A receiver of your own, told by signed messages, which answers by signed ones.
    pub webhook: Option<At<Webhook>>,
    /// E-mail. Not in this version.
    pub email: Option<At<serde_json::Value>>,
}

/// Slack by Socket Mode.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    /// A reference to the app's token.
    pub app_token: At<String>,
    /// A reference to the bot's token.
    pub bot_token: At<String>,
    /// The channel.
    pub channel: At<String>,
}

/// A receiver of signed messages (Standard Webhooks) that may answer by signed ones.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where it is: `https://HOST/PATH`. A host that is no public one is named under `upstreams:` too.
    pub url: At<String>,
    /// Where its secrets (`whsec_..`) live: `env:NAME`, `file:PATH`, `exec:COMMAND`, or several. The first signs; answers may be
    /// signed with any of them.
    pub secret: Words,
}

/// A person who runs this.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// The name.
    pub name: At<String>,
    /// SHA-256 of the token, as 64 hex digits.
    #[serde(default)]
    pub token_hash: Option<At<String>>,
    /// What the person may do: `approver`, `admin`.
    #[serde(default)]
    pub roles: Words,
}

/// Where a host really is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// `host:port` or `address:port` to connect to.
    pub address: At<String>,
    /// PEM file of the authority that signs it, relative to this file.
    #[serde(default)]
    pub ca: Option<At<String>>,
}

/// The audit log.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Which attempts are synced to disk before anything leaves.
    pub sync: Option<At<Sync>>,
}

/// Which attempts are synced to disk before anything leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// All.
    Always,
    /// Those of everything but reads.
    #[default]
    Changes,
    /// None.
    Never,
}

//! Three forms that are common in the field, loaded as they are, with a note of what they mean in ours.

use serde::Deserialize;

use super::at::{At, Table, Words};
use super::schema::{Agent, Conditions, CredentialEntry, Document, Mode, Permission, Standing, Upstream};
use super::value::{Approval, Rate, Span};
use super::{Diagnostic, Note, Source};

type Read = Result<(Document, Vec<Note>), Diagnostic>;

/// Reads the document if its top-level keys are those of a foreign form.
pub(super) fn read(source: &Source<'_>, keys: &[String]) -> Option<Read> {
    let has = |key: &str| keys.iter().any(|known| known == key);
    if has("agents") {
        return None;
    }
    if has("policies") {
        return Some(source.read().map(|document: Broker| document.into_ours(source)));
    }
    if ["methods", "endpoints", "rate_limit", "max_amount"].into_iter().any(has) {
        return Some(source.read().map(|document: Constraint| document.into_ours(source)));
    }
    if has("agent") {
        return Some(source.read().map(|document: OneAgent| document.into_ours(source)));
    }
    None
}

/// `{agent, permissions[service, actions, resources, conditions{..}], denied_actions}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneAgent {
    agent: At<String>,
    #[serde(default)]
    version: Option<At<serde_json::Value>>,
    #[serde(default)]
    purpose: Option<At<String>>,
    #[serde(default)]
    description: Option<At<String>>,
    #[serde(default)]
    owner: Option<At<String>>,
    #[serde(default)]
    permissions: Vec<At<Permission>>,
    #[serde(default)]
    denied_actions: Words,
    #[serde(default)]
    mode: Option<At<Mode>>,
    #[serde(default)]
    credentials: Table<CredentialEntry>,
    #[serde(default)]
    upstreams: Table<Upstream>,
}

impl OneAgent {
    fn into_ours(self, source: &Source<'_>) -> (Document, Vec<Note>) {
        let _ = self.version;
        let mut notes =
            vec![note(source, format!("one agent per document: read as `agents: {{{}: ..}}`", self.agent.value))];
        let mut permissions = self.permissions;
        for (number, permission) in permissions.iter_mut().enumerate() {
            let number = number + 1;
            if permission.value.resources.is_empty() {
                permission.value.resources = everything();
                notes.push(note(
                    source,
                    format!("permission {number} names no resources: read as `resources: [\"*\"]`"),
                ));
            }
            if let Some(conditions) = &permission.value.conditions {
                explain_conditions(&conditions.value, number, source, &mut notes);
            }
        }
        let purpose = self.purpose.or(self.description);
        let agent =
            Agent { purpose, owner: self.owner, permissions, denied_actions: self.denied_actions, ..Agent::default() };
        let agents = Table(vec![(self.agent, agent)]);
        let document = Document {
            agents,
            mode: self.mode,
            credentials: self.credentials,
            upstreams: self.upstreams,
            ..Document::default()
        };
        (document, notes)
    }
}

fn explain_conditions(conditions: &Conditions, number: usize, source: &Source<'_>, notes: &mut Vec<Note>) {
    if let Some(max) = conditions.max_prs_per_hour {
        let max = max.value;
        notes.push(note(
            source,
            format!(
                "permission {number}: `max_prs_per_hour: {max}` is read as `limit: {max}/hour` for all its actions"
            ),
        ));
    }
    match conditions.require_approval.map(|approval| approval.value) {
        Some(Approval::Unsaid) => notes.push(note(
            source,
            format!(
                "permission {number}: `require_approval: false` asks for nothing more than actions that always ask"
            ),
        )),
        Some(_) => notes.push(note(
            source,
            format!("permission {number}: `require_approval: true` is read as `approval: required`"),
        )),
        None => {}
    }
}

/// `policies[name, credentials[service, max_scope, require_approval, approval_timeout, max_ttl]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Broker {
    #[serde(default)]
    version: Option<At<serde_json::Value>>,
    policies: Vec<BrokerPolicy>,
    #[serde(default)]
    upstreams: Table<Upstream>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BrokerPolicy {
    name: At<String>,
    #[serde(default)]
    description: Option<At<String>>,
    #[serde(default)]
    credentials: Vec<At<BrokerCredential>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BrokerCredential {
    service: At<String>,
    max_scope: Words,
    #[serde(default)]
    require_approval: Option<At<Approval>>,
    #[serde(default)]
    approval_timeout: Option<At<Span>>,
    #[serde(default)]
    max_ttl: Option<At<Span>>,
    #[serde(default)]
    standing: Option<At<Standing>>,
}

impl Broker {
    fn into_ours(self, source: &Source<'_>) -> (Document, Vec<Note>) {
        let _ = self.version;
        let mut notes = Vec::new();
        let mut agents = Table::default();
        for policy in self.policies {
            let name = &policy.name.value;
            notes.push(note(source, format!("policy `{name}` is read as the agent `{name}`")));
            let permissions = policy
                .credentials
                .into_iter()
                .map(|credential| {
                    let (line, column) = (credential.line, credential.column);
                    At::new(credential.value.into_permission(name, source, &mut notes), line, column)
                })
                .collect();
            let agent = Agent { purpose: policy.description, permissions, ..Agent::default() };
            agents.0.push((policy.name, agent));
        }
        (Document { agents, upstreams: self.upstreams, ..Document::default() }, notes)
    }
}

impl BrokerCredential {
    fn into_permission(self, policy: &str, source: &Source<'_>, notes: &mut Vec<Note>) -> Permission {
        let service = &self.service.value;
        let mut actions = Words::default();
        for scope in &self.max_scope {
            let covers: &[&str] = match scope.value.as_str() {
                "read" => &["read"],
                "write" => &["read", "write"],
                "delete" | "admin" | "full" => &["read", "write", "delete"],
                other => &[other],
            };
            actions.0.extend(covers.iter().map(|word| scope.with((*word).to_owned())));
        }
        let words: Vec<&str> = actions.iter().map(|word| word.value.as_str()).collect();
        notes.push(note(
            source,
            format!(
                "`{policy}`, service `{service}`: `max_scope` is read as `actions: [{}]` on all resources",
                words.join(", ")
            ),
        ));
        let on_grant = self.standing.is_some_and(|standing| standing.value == Standing::None);
        if let Some(ttl) = self.max_ttl {
            let seconds = ttl.value.0;
            // Without grants it says how long the whole may be used.
            let more = if on_grant {
                String::new()
            } else {
                format!(", and as `expires: {seconds}s` after the session's start")
            };
            notes.push(note(
                source,
                format!("`{policy}`, service `{service}`: `max_ttl` is read as the longest that a grant lasts{more}"),
            ));
        }
        let conditions = Conditions {
            require_approval: self.require_approval,
            approval_timeout: self.approval_timeout,
            expires: self.max_ttl.filter(|_| !on_grant).map(|ttl| ttl.with(format!("{}s", ttl.value.0))),
            ..Conditions::default()
        };
        let at = At::new((), self.service.line, self.service.column);
        Permission {
            service: Some(self.service),
            actions,
            resources: everything(),
            conditions: Some(at.with(conditions)),
            standing: self.standing,
            max_ttl: self.max_ttl,
            ..Permission::default()
        }
    }
}

/// `{methods, endpoints, rate_limit, max_amount}`, perhaps with an agent, a service and a credential.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Constraint {
    #[serde(default)]
    version: Option<At<serde_json::Value>>,
    #[serde(default)]
    agent: Option<At<String>>,
    #[serde(default)]
    service: Option<At<String>>,
    #[serde(default)]
    credential: Option<At<String>>,
    #[serde(default)]
    resources: Words,
    #[serde(default)]
    methods: Words,
    #[serde(default)]
    endpoints: Words,
    #[serde(default)]
    rate_limit: Option<At<Rate>>,
    #[serde(default)]
    max_amount: Option<At<i64>>,
    #[serde(default)]
    require_approval: Option<At<Approval>>,
    #[serde(default)]
    approval_timeout: Option<At<Span>>,
    #[serde(default)]
    denied_actions: Words,
    #[serde(default)]
    upstreams: Table<Upstream>,
}

impl Constraint {
    fn into_ours(self, source: &Source<'_>) -> (Document, Vec<Note>) {
        let _ = self.version;
        let mut notes =
            vec![note(source, "a constraint document: read as one permission with `methods` and `endpoints`")];
        if self.agent.is_none() {
            notes.push(note(
                source,
                "it names no agent: read as a permission of every agent; add `agent:` to narrow it",
            ));
        }
        if self.service.is_none() {
            notes.push(note(source, "it names no service: read as every known service; add `service:` to narrow it"));
        }
        if let Some(limit) = &self.rate_limit {
            notes.push(note(source, format!("`rate_limit` is read as `limit: {}`", limit.value.label())));
        }
        if let Some(max) = &self.max_amount {
            let max = max.value;
            notes.push(note(
                source,
                format!(
                    "`max_amount` is read as `max: {{body.amount: {max}}}`, in the service's smallest unit of money"
                ),
            ));
        }
        let conditions = Conditions {
            require_approval: self.require_approval,
            approval_timeout: self.approval_timeout,
            ..Conditions::default()
        };
        let permission = Permission {
            service: Some(self.service.unwrap_or_else(|| At::nowhere("*".to_owned()))),
            credential: self.credential,
            resources: self.resources,
            methods: self.methods,
            endpoints: self.endpoints,
            rate_limit: self.rate_limit,
            max_amount: self.max_amount,
            conditions: Some(At::nowhere(conditions)),
            ..Permission::default()
        };
        let agent = Agent {
            permissions: vec![At::new(permission, 1, 1)],
            denied_actions: self.denied_actions,
            ..Agent::default()
        };
        let name = self.agent.unwrap_or_else(|| At::nowhere("*".to_owned()));
        let document =
            Document { agents: Table(vec![(name, agent)]), upstreams: self.upstreams, ..Document::default() };
        (document, notes)
    }
}

fn everything() -> Words {
    super::Many(vec![At::nowhere("*".to_owned())])
}

fn note(source: &Source<'_>, text: impl Into<String>) -> Note {
    Note { file: source.file().to_owned(), text: text.into() }
}

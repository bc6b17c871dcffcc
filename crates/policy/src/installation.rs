//! What an installation token of a GitHub App must be able to do for one agent: repositories and permissions, computed from what the agent
//! may do. A second wall behind the gateway, as [`crate::session_policy`] is one for AWS. Never narrower than the permissions, so that nothing
//! breaks: what cannot be said in GitHub's words is left out, and the token has the whole there.
//!
//! Which action needs which permission is GitHub's own table (docs.github.com/rest/authentication/permissions-required-for-github-apps). Where
//! either of two does, both are named: the issuer asks for those alone that the installation has.

use std::collections::{BTreeMap, BTreeSet};

use model::vocabulary::{ServiceWords, Vocabulary};
use model::{Class, CredentialName};
use serde_json::{Map, json};

use crate::compile::actions::{Selector, read};
use crate::document::{At, Document, Permission};

/// The service whose actions and resources are GitHub's.
const SERVICE: &str = "github";
/// Repositories that one token may name (REST, "Create an installation access token for an app").
const REPOSITORIES_MAX: usize = 500;

/// What actions need; the first pattern that covers an action says it. A permission without a level is `read` for what reads and `write` for all
/// else. What no line covers is not known.
const TABLE: &[(&str, &str)] = &[
    // Pushes. What touches a workflow needs one permission more.
    ("git/fetch", "contents:read"),
    ("git/list-refs", "contents:read"),
    ("git/push", "contents:write workflows:write"),
    ("git/force-push", "contents:write workflows:write"),
    ("git/lfs-upload", "contents:write"),
    ("git/lfs-lock", "contents:write"),
    ("git/push-option", "contents:write workflows:write"),
    ("git/create-ref", "contents:write workflows:write"),
    ("git/update-ref", "contents:write workflows:write"),
    ("git/*", "contents"),
    // Pull requests.
    ("pulls/merge", "contents:write pull_requests:write workflows:write"),
    ("pulls/merge-async", "contents:write pull_requests:write workflows:write"),
    ("pulls/update-branch", "contents:write pull_requests:write workflows:write"),
    ("pulls/dequeue", "contents:write pull_requests:write"),
    ("pulls/disable-auto-merge", "contents:write pull_requests:write"),
    ("pulls/*", "pull_requests contents:read"),
    // Issues; the same paths serve pull requests.
    ("issues/unlink-branch", "issues contents:write"),
    ("issues/*", "issues pull_requests"),
    ("reactions/*-for-issue*", "issues pull_requests"),
    ("reactions/*-for-pull-request-review-comment", "pull_requests"),
    ("reactions/delete-for-pull-request-comment", "pull_requests"),
    ("reactions/*-for-commit-comment", "contents"),
    ("reactions/*-for-release", "contents"),
    ("discussions/*", "discussions"),
    // Files, commits, branches, releases.
    ("repos/get-content", "contents:read"),
    ("repos/get-readme*", "contents:read"),
    ("repos/download-*", "contents:read"),
    ("repos/create-or-update-file-contents", "contents:write workflows:write"),
    ("repos/delete-file", "contents:write workflows:write"),
    ("repos/list-commits", "contents:read"),
    ("repos/get-commit", "contents:read"),
    ("repos/compare-commits*", "contents:read"),
    ("repos/list-branches*", "contents:read"),
    ("repos/get-branch", "contents:read"),
    ("repos/list-tags", "contents:read metadata:read"),
    ("repos/list-pull-requests-associated-with-commit", "pull_requests:read contents:read"),
    ("repos/merge", "contents:write workflows:write"),
    ("repos/merge-upstream", "contents:write workflows:write"),
    ("repos/create-dispatch-event", "contents:write"),
    ("repos/get-commit-comment", "contents:read"),
    ("repos/list-comments-for-commit", "contents:read"),
    ("repos/list-commit-comments-for-repo", "contents:read"),
    ("repos/create-commit-comment", "contents:write"),
    ("repos/update-commit-comment", "contents:write"),
    ("repos/delete-commit-comment", "contents:write"),
    ("repos/list-releases", "contents:read"),
    ("repos/get-release*", "contents:read"),
    ("repos/get-latest-release", "contents:read"),
    ("repos/list-release-assets", "contents:read"),
    ("repos/create-release", "contents:write workflows:write"),
    ("repos/update-release", "contents:write workflows:write"),
    ("repos/update-release-asset", "contents:write"),
    ("repos/delete-release*", "contents:write"),
    ("repos/upload-release-asset", "contents:write"),
    ("repos/generate-release-notes", "contents:write"),
    // What every App may see.
    ("repos/get", "metadata:read contents:read"),
    ("repos/list-languages", "metadata:read"),
    ("repos/list-contributors", "metadata:read"),
    ("repos/get-all-topics", "metadata:read"),
    ("repos/list-collaborators", "metadata:read"),
    ("repos/check-collaborator", "metadata:read"),
    ("repos/get-collaborator-permission-level", "metadata:read"),
    ("search/*", "metadata:read contents:read issues:read pull_requests:read"),
    ("rate-limit/*", "metadata:read"),
    ("meta/*", "metadata:read"),
    ("licenses/*", "metadata:read"),
    ("gitignore/*", "metadata:read"),
    ("emojis/*", "metadata:read"),
    ("codes-of-conduct/*", "metadata:read"),
    ("markdown/*", "metadata:read contents:read"),
    // What runs.
    ("checks/*", "checks contents:read"),
    ("repos/create-commit-status", "statuses:write"),
    ("repos/get-combined-status-for-ref", "statuses:read contents:read"),
    ("repos/list-commit-statuses-for-ref", "statuses:read contents:read"),
    ("repos/create-deployment", "deployments"),
    ("repos/get-deployment", "deployments"),
    ("repos/delete-deployment", "deployments"),
    ("repos/list-deployments", "deployments"),
    ("repos/*-deployment-status*", "deployments"),
    ("actions/*-workflow-run", "actions"),
    ("actions/*-workflow-run-*", "actions"),
    ("actions/list-workflow-runs*", "actions"),
    ("actions/re-run-*", "actions"),
    ("actions/list-repo-workflows", "actions"),
    ("actions/get-workflow", "actions"),
    ("actions/get-workflow-usage", "actions"),
    ("actions/enable-workflow", "actions"),
    ("actions/disable-workflow", "actions"),
    ("actions/create-workflow-dispatch", "actions"),
    ("actions/*-artifact", "actions"),
    ("actions/list-artifacts-for-repo", "actions"),
    ("actions/get-actions-cache-list", "actions"),
    ("actions/delete-actions-cache-by-*", "actions"),
    ("actions/*-repo-secret", "secrets"),
    ("actions/list-repo-secrets", "secrets"),
    ("actions/get-repo-public-key", "secrets"),
    ("actions/*-repo-variable", "actions_variables"),
    ("actions/list-repo-variables", "actions_variables"),
    ("code-scanning/*-default-setup", "security_events contents administration"),
    ("code-scanning/*", "security_events contents"),
    ("repos/*-webhook", "repository_hooks"),
    ("repos/list-webhooks", "repository_hooks"),
    ("repos/delete", "administration:write"),
];

/// What a token is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// JSON: `owner`, `repositories` and `permissions`, each left out where it would be the whole.
    pub text: String,
    /// Why something was left out.
    pub wide: Vec<String>,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoInstallation {
    /// Nothing is allowed with this credential.
    #[error("the agent has no permission that uses this credential; give it one")]
    Nothing,
    /// An installation belongs to one account.
    #[error(
        "the agent's resources are of `{one}` and of `{other}`, and an installation of a GitHub App is on one account; give each its credential"
    )]
    Owners {
        /// One.
        one: String,
        /// Another.
        other: String,
    },
}

/// What is seen on the way.
#[derive(Default)]
struct Seen {
    owners: BTreeSet<String>,
    names: BTreeSet<String>,
    /// Resources that are more than named repositories; the first.
    more: Option<String>,
    permissions: BTreeMap<&'static str, &'static str>,
    /// Words whose permissions are not known; the first few.
    unknown: Vec<String>,
}

/// What an installation token must be able to do for an agent's permissions with one credential.
///
/// # Errors
/// There is nothing to allow, or it belongs to several accounts.
pub fn installation(
    document: &Document,
    words: &Vocabulary,
    agent: &str,
    credential: &CredentialName,
) -> Result<Installation, NoInstallation> {
    let agent = document.agents.iter().find(|(name, _)| name.value == agent).map(|(_, agent)| agent);
    let agent = agent.ok_or(NoInstallation::Nothing)?;
    let of_credential = |permission: &&At<Permission>| {
        let permission = &permission.value;
        permission.service.as_ref().is_some_and(|service| service.value == SERVICE)
            && permission.credential.as_ref().is_none_or(|named| named.value == credential.as_str())
    };
    let mut seen = Seen::default();
    seen.owners.extend(owner_of(document, credential));
    let mut any = false;
    for permission in agent.permissions.iter().filter(of_credential) {
        any = true;
        seen.permission(&permission.value, words.services.get(SERVICE));
    }
    if !any {
        return Err(NoInstallation::Nothing);
    }
    seen.written()
}

/// The account that the configuration names for a credential.
fn owner_of(document: &Document, credential: &CredentialName) -> Option<String> {
    let entry = document.credentials.iter().find(|(name, _)| name.value == credential.as_str());
    let app = entry?.1.issue.as_ref()?.value.github_app.as_ref()?;
    app.value.owner.as_ref().map(|owner| owner.value.to_ascii_lowercase())
}

impl Seen {
    fn permission(&mut self, permission: &Permission, service: Option<&ServiceWords>) {
        if !permission.methods.is_empty() || !permission.endpoints.is_empty() {
            self.unknown.push("a raw rule".to_owned());
        }
        for word in permission.actions.iter().map(|at| at.value.as_str()) {
            self.action(word, service);
        }
        if permission.resources.iter().next().is_none() {
            self.more.get_or_insert_with(|| "no resources, which are all".to_owned());
        }
        for pattern in permission.resources.iter().map(|at| at.value.as_str()) {
            self.resource(pattern);
        }
    }

    /// Named repositories of one owner are named; all else is more.
    fn resource(&mut self, pattern: &str) {
        let (kind, rest) = pattern.split_once(':').unwrap_or(("", pattern));
        let mut more = || _ = self.more.get_or_insert_with(|| format!("`{pattern}`"));
        let of = rest.split('@').next().unwrap_or_default();
        let (owner, name) = of.split_once('/').map_or((of, None), |(owner, name)| (owner, Some(name)));
        match kind {
            // What belongs to a person needs no repository.
            "user" | "gist" => return,
            "repo" | "branch" | "tag" | "org" | "team" if !owner.is_empty() && !owner.contains('*') => {}
            _ => return more(),
        }
        match name {
            _ if kind == "team" => {}
            Some(name) if kind != "org" && !name.contains(['*', '/']) && !name.is_empty() => {
                self.names.insert(name.to_ascii_lowercase());
            }
            // A repository by its number is nobody's by its name.
            None if kind != "org" => return more(),
            _ => more(),
        }
        self.owners.insert(owner.to_ascii_lowercase());
    }

    fn action(&mut self, word: &str, service: Option<&ServiceWords>) {
        let known = service.map(|service| (service, read(word, Some((SERVICE, service)))));
        let Some((service, Ok(named))) = known else { return self.unknown.push(word.to_owned()) };
        let Selector::Ids(_, ids) = named.selector else { return self.unknown.push(word.to_owned()) };
        for id in ids {
            let class = service.actions.get(&id).map_or(Class::Admin, |action| action.class);
            let Some(needs) = TABLE.iter().find(|(pattern, _)| covers(pattern, &id)) else {
                self.unknown.push(id);
                continue;
            };
            let usual = if class == Class::Read { "read" } else { "write" };
            for need in needs.1.split(' ') {
                let (name, level) = need.split_once(':').unwrap_or((need, usual));
                // `read` sorts before `write`.
                let known = self.permissions.entry(name).or_insert(level);
                *known = level.max(*known);
            }
        }
    }

    fn written(mut self) -> Result<Installation, NoInstallation> {
        let mut owners = self.owners.iter();
        if let (Some(one), Some(other)) = (owners.next(), owners.next()) {
            return Err(NoInstallation::Owners { one: one.clone(), other: other.clone() });
        }
        let (mut whole, mut wide) = (Map::new(), Vec::new());
        if let Some(owner) = self.owners.pop_first() {
            whole.insert("owner".to_owned(), json!(owner));
        }
        if let Some(more) = self.more {
            wide.push(format!("all repositories of the installation, for {more}"));
        } else if self.names.len() > REPOSITORIES_MAX {
            wide.push(format!(
                "all repositories of the installation: {} are more than a token may name",
                self.names.len()
            ));
        } else if !self.names.is_empty() {
            whole.insert("repositories".to_owned(), json!(self.names));
        }
        match self.unknown.first() {
            Some(first) => {
                let others = self.unknown.len().saturating_sub(1);
                let and = if others > 0 { format!(" and {others} more") } else { String::new() };
                wide.push(format!("all permissions of the App: which ones `{first}`{and} needs is not known"));
            }
            None => _ = whole.insert("permissions".to_owned(), json!(self.permissions)),
        }
        Ok(Installation { text: json!(whole).to_string(), wide })
    }
}

/// Whether a pattern covers an id: `*` is any text.
fn covers(pattern: &str, id: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = id.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for piece in pieces {
        if let Some(middle) = last.replace(piece) {
            let Some(at) = rest.find(middle) else { return false };
            rest = rest.get(at + middle.len()..).unwrap_or_default();
        }
    }
    last.map_or(rest.is_empty(), |end| rest.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover() {
        for (pattern, id, yes) in [
            ("git/push", "git/push", true),
            ("git/push", "git/push-option", false),
            ("issues/*", "issues/create", true),
            ("repos/*-webhook", "repos/create-webhook", true),
            ("repos/*-webhook", "repos/list-webhooks", false),
            ("reactions/*-for-issue*", "reactions/delete-for-issue-comment", true),
            ("reactions/*-for-issue*", "reactions/for-issue", false),
            ("actions/*-workflow-run-*", "actions/list-workflow-run-artifacts", true),
        ] {
            assert_eq!(covers(pattern, id), yes, "{pattern} {id}");
        }
    }

    #[test]
    fn levels_sort() {
        assert!(["read", "write"].is_sorted());
    }
}

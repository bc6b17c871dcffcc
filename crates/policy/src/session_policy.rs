//! The session policy that STS binds to keys it hands out (IAM User Guide, "Session policies"), computed from what an agent may do:
//! a second wall behind the gateway. It is never narrower than the permissions, so that nothing breaks, and wider where IAM has no word:
//! conditions, classes, and a `*` that stops at a slash.

use std::collections::BTreeSet;

use model::CredentialName;
use model::vocabulary::Vocabulary;
use serde_json::{Value, json};

use crate::compile::actions::{Selector, read};
use crate::document::{At, Diagnostic, Document, Permission};

/// The service whose actions and resources are spelled as IAM does.
const SERVICE: &str = "aws";
/// Characters that STS takes (AssumeRole, `Policy`).
const CHARS_MAX: usize = 2_048;
/// Actions that IAM has for what is judged by its parts: whoever may do the part may ask for several.
const WHOLES: [(&str, &str); 5] = [
    ("dynamodb:GetItem", "dynamodb:BatchGetItem"),
    ("dynamodb:GetItem", "dynamodb:ConditionCheckItem"),
    ("dynamodb:PutItem", "dynamodb:BatchWriteItem"),
    ("dynamodb:DeleteItem", "dynamodb:BatchWriteItem"),
    ("s3:GetObjectAttributes", "s3:GetObject"),
];

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSessionPolicy {
    /// Nothing is allowed with this credential.
    #[error("the agent has no permission that uses this credential; give it one, or another role")]
    Nothing,
    /// More than STS takes.
    #[error(
        "the session policy has {chars} characters, and STS takes 2048; name fewer actions, or `s3:Get*` and its like"
    )]
    TooLong {
        /// How many.
        chars: usize,
    },
}

/// The session policy of an agent's permissions for one credential, as JSON.
///
/// # Errors
/// There is nothing to allow, or it would be longer than STS takes.
pub fn session_policy(
    document: &Document,
    words: &Vocabulary,
    agent: &str,
    credential: &CredentialName,
) -> Result<String, NoSessionPolicy> {
    let agent = document.agents.iter().find(|(name, _)| name.value == agent).map(|(_, agent)| agent);
    let agent = agent.ok_or(NoSessionPolicy::Nothing)?;
    let of_credential = |permission: &&At<Permission>| {
        let permission = &permission.value;
        permission.service.as_ref().is_some_and(|service| service.value == SERVICE)
            && permission.credential.as_ref().is_none_or(|named| named.value == credential.as_str())
    };
    let mut statements = Vec::new();
    let mut denied: BTreeSet<String> = named(words, agent.denied_actions.iter());
    for permission in agent.permissions.iter().filter(of_credential) {
        let permission = &permission.value;
        let raw = !permission.methods.is_empty() || !permission.endpoints.is_empty();
        let mut actions = allowed(words, permission.actions.iter());
        if raw {
            actions.insert("*".to_owned());
        }
        let resources: BTreeSet<String> = permission.resources.iter().map(|at| arn(&at.value)).collect();
        let resources = if resources.is_empty() { BTreeSet::from(["*".to_owned()]) } else { resources };
        statements.push(statement("Allow", &actions, &resources));
        denied.extend(named(words, permission.denied_actions.iter()));
    }
    if statements.is_empty() {
        return Err(NoSessionPolicy::Nothing);
    }
    if !denied.is_empty() {
        statements.push(statement("Deny", &denied, &BTreeSet::from(["*".to_owned()])));
    }
    let text = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    match text.chars().count() {
        chars if chars > CHARS_MAX => Err(NoSessionPolicy::TooLong { chars }),
        _ => Ok(text),
    }
}

/// What an operator hears before the first session is asked for: an agent whose session policy STS would not take.
pub(crate) fn faults(document: &Document, words: &Vocabulary) -> Vec<Diagnostic> {
    let mut all = Vec::new();
    for (name, entry) in &document.credentials {
        let issue = entry.issue.as_ref().and_then(|issue| issue.value.aws_role.as_ref());
        let narrowed = issue.filter(|role| role.value.session_policy.is_none_or(|is| is.value));
        let (Some(at), Ok(name)) = (narrowed, CredentialName::new(&name.value)) else { continue };
        for (agent, _) in &document.agents {
            let Err(why @ NoSessionPolicy::TooLong { .. }) = session_policy(document, words, &agent.value, &name)
            else {
                continue;
            };
            all.push(Diagnostic {
                file: entry.file.to_string(),
                line: at.line,
                column: at.column,
                text: agent.value.clone(),
                message: format!("agent `{}`: {why}, or write `session_policy: false`", agent.value),
                nearest: None,
            });
        }
    }
    all
}

fn statement(effect: &str, actions: &BTreeSet<String>, resources: &BTreeSet<String>) -> Value {
    json!({ "Effect": effect, "Action": actions, "Resource": resources })
}

/// IAM's actions for the words of a permission, never fewer than they cover.
fn allowed<'w>(words: &Vocabulary, written: impl Iterator<Item = &'w At<String>>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let service = words.services.get(SERVICE);
    for word in written.map(|at| at.value.as_str()) {
        let bare = word.strip_prefix("aws:").unwrap_or(word);
        match service.map(|known| read(word, Some((SERVICE, known)))) {
            // A glob of ours says the same to IAM, and is shorter than what it covers.
            Some(Ok(_)) if bare.ends_with('*') => _ = all.insert(bare.to_owned()),
            Some(Ok(named)) => match named.selector {
                Selector::Ids(_, ids) => all.extend(ids.into_iter().filter(|id| is_iam(id))),
                _ => _ = all.insert("*".to_owned()),
            },
            _ => {}
        }
    }
    let wholes = WHOLES.iter().filter(|(part, _)| all.contains(*part)).map(|(_, whole)| (*whole).to_owned());
    let wholes: Vec<String> = wholes.collect();
    all.extend(wholes);
    all
}

/// IAM's actions for the words of a denial, never more than they name: classes and effects have none.
fn named<'w>(words: &Vocabulary, written: impl Iterator<Item = &'w At<String>>) -> BTreeSet<String> {
    let Some(service) = words.services.get(SERVICE) else { return BTreeSet::new() };
    let ids = written.filter_map(|at| match read(&at.value, Some((SERVICE, service))).ok()?.selector {
        Selector::Ids(_, ids) => Some(ids),
        _ => None,
    });
    ids.flatten().filter(|id| is_iam(id)).collect()
}

/// Whether an action is one of IAM, and not of ours (`aws/unlisted-request`, `http/get`).
fn is_iam(id: &str) -> bool {
    id.contains(':')
}

/// A pattern of ours as IAM reads it: an account that is not said is any, and `@` is itself.
fn arn(pattern: &str) -> String {
    let plain = pattern.replace("%40", "@").replace("%25", "%");
    let mut parts: Vec<&str> = plain.splitn(6, ':').collect();
    let has_account = parts.get(2).is_some_and(|service| *service != "s3");
    if let Some(account) = parts.get_mut(4).filter(|account| account.is_empty() && has_account) {
        *account = "*";
    }
    parts.join(":")
}

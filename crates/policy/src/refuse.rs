//! Refusals in the policy's own words.

use std::sync::Arc;

use model::{Call, Code, Refusal, ServiceName};

use crate::rules::Rule;

/// The action is denied, in the words of the rule that denies it.
pub(crate) fn denied(word: &str) -> Refusal {
    Refusal::new(Code::Denied, format!("Action {word} is denied"))
}

/// A fact that a rule needs cannot be known.
pub(crate) fn unknown_fact(rule: &Arc<str>, why: &str) -> Refusal {
    Refusal::new(Code::Denied, format!("Rule {rule} needs a fact that is not known: {why}"))
        .rule(rule.to_string())
        .hint("send the fact in a plain JSON or form body within the size that this service is read to")
}

/// A fact is over its bound.
pub(crate) fn over_bound(rule: &Arc<str>, call: &Call, why: &str) -> Refusal {
    Refusal::new(Code::Denied, format!("Action {} is denied: {why}", call.action))
        .rule(rule.to_string())
        .hint(format!("stay within the bound, or raise `max` of rule {rule}"))
}

/// The permission that covers it holds under a grant alone, and there is none.
pub(crate) fn ungranted(word: &str, rule: &Rule, service: &ServiceName, call: &Call) -> Refusal {
    let hint = format!(
        "rule {} covers it under a grant; ask for one: `valetkey grant request --service {service} --action {} --resource {}`, or \
         POST /v1/grants with the session's token",
        rule.id, call.action, call.resource
    );
    Refusal::new(Code::Denied, format!("Action {word} needs a grant")).rule(rule.id.to_string()).hint(hint)
}

/// A rule could not be evaluated.
pub(crate) fn broken(rule: &str, call: &Call, why: &str) -> Refusal {
    Refusal::new(Code::Denied, format!("Action {} is denied: rule {rule} cannot be evaluated", call.action))
        .rule(rule)
        .internal(why)
        .hint(format!("rule {rule} needs something that this request does not say; what cannot be seen is not allowed"))
}

/// Several credentials could be used and nothing chooses.
pub(crate) fn ambiguous(names: &[String]) -> Refusal {
    Refusal::new(Code::Denied, format!("Several credentials could be used: {}", names.join(", ")))
        .hint("send the placeholder of one of them")
}

/// The placeholder's credential is not one that an applying permission names.
pub(crate) fn other_credential(name: &str, word: &str) -> Refusal {
    Refusal::new(Code::Denied, format!("Credential {name} may not be used for {word}"))
        .hint(format!("name `credential: {name}` in the permission that covers {word}"))
}

/// A host that nothing names.
pub(crate) fn unknown_host(host: &str) -> Refusal {
    Refusal::new(Code::UnknownHost, format!("Host {host} is not allowed"))
        .hint(format!("describe {host} in a service file and give the agent a permission for it, or widen `egress`"))
}

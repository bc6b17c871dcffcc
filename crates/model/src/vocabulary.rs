//! The words a policy may use about services: plain data that the catalogue offers and the policy compiler checks
//! against. The two never import each other; they meet here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::class::{Class, Effects};

/// Every service, by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Vocabulary {
    /// The words of each service.
    pub services: BTreeMap<String, ServiceWords>,
}

/// The words of one service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServiceWords {
    /// Actions by id.
    pub actions: BTreeMap<String, ActionWords>,
    /// Alias to action ids: `create_pr` to `pulls/create`.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Scope to action ids: `pulls:write` to all it covers.
    pub scopes: BTreeMap<String, Vec<String>>,
    /// Resource kind to the kind that contains it: `branch` to `repo`, `repo` to `org`.
    pub parents: BTreeMap<String, String>,
    /// Resource kinds.
    pub kinds: Vec<String>,
    /// Hosts whose requests this service judges, without ports.
    pub hosts: Vec<String>,
    /// How a credential of this service may be put on a request, by kind of credential; first is the default.
    pub credential_kinds: Vec<String>,
    /// Resource kinds whose segments (never what follows `@`) the upstream compares without regard to ASCII case:
    /// a pattern for one of them must match in any case, or a denial could be evaded by spelling.
    #[serde(default)]
    pub case_blind: Vec<String>,
}

/// One action.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActionWords {
    /// What kind of change it makes.
    pub class: Class,
    /// Its effects.
    pub effects: Effects,
    /// Facts it can have, with their types: `body.amount` to `int`.
    pub facts: BTreeMap<String, FactType>,
    /// The kind of resource it acts on.
    pub resource: String,
    /// Actions of the service whose permission is worth nothing without this one: it is permitted with them, on what contains
    /// theirs.
    #[serde(default)]
    pub implied_by: Vec<String>,
    /// Every class with effects that a call of it can have, where there is more than one: what a body says may make it
    /// stronger. `class` and `effects` are the most of all of them.
    #[serde(default)]
    pub forms: Vec<(Class, Effects)>,
}

/// The type that a service file declares for a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FactType {
    /// A text.
    Text,
    /// A whole number.
    Int,
    /// Yes or no.
    Bool,
    /// Several texts.
    List,
}

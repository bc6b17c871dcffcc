//! What is asked for, as it comes in.

use std::collections::HashSet;

use model::{SessionId, UserName, bounds};
use policy::Asked;
use serde::{Deserialize, Serialize};

use crate::Problem;

/// Actions times resources of one request.
const PAIRS_MAX: usize = 64;
/// Octets of a justification, and of a task.
const TEXT_BYTES_MAX: usize = 2_048;

/// One word or several.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged)]
enum Words {
    #[default]
    None,
    One(String),
    Several(Vec<String>),
}

impl Words {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::One(word) => vec![word],
            Self::Several(words) => words,
        }
    }
}

/// What `POST /v1/grants` takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// For which session; operators say it, an agent's is its own.
    #[serde(default)]
    pub(super) session: Option<SessionId>,
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    actions: Words,
    /// The same as `actions`, as vendors call them: `pulls:write`.
    #[serde(default)]
    scope: Words,
    /// A set of the configuration, instead of service and actions.
    #[serde(default)]
    capability: Option<String>,
    #[serde(default)]
    resources: Words,
    #[serde(default)]
    ttl_seconds: Option<u64>,
    pub(super) justification: String,
    #[serde(default)]
    pub(super) task: Option<String>,
    /// On whose behalf: the session's user and nobody else.
    #[serde(default)]
    pub(super) user: Option<UserName>,
}

/// What an agent asks of the policy.
#[derive(Clone, Debug, Serialize)]
pub struct Asking {
    /// Service by service; none where a capability set is named.
    pub parts: Vec<Asked>,
    /// A capability set of the configuration.
    pub capability: Option<String>,
    /// How long, seconds.
    pub ttl_seconds: Option<u64>,
}

impl Wanted {
    /// What the policy is asked.
    pub(super) fn asking(&self) -> Result<Asking, Problem> {
        let texts = [Some(&self.justification), self.task.as_ref()];
        if texts.into_iter().flatten().any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(Problem::wrong(format!("`justification` and `task` have at most {TEXT_BYTES_MAX} octets")));
        }
        if self.justification.trim().is_empty() {
            return Err(Problem::wrong(
                "`justification` says why it is needed; it is for the record, and for whoever is asked",
            ));
        }
        if self.ttl_seconds == Some(0) {
            return Err(Problem::wrong("`ttl_seconds` is at least 1"));
        }
        let mut actions = self.actions.clone().into_vec();
        actions.extend(self.scope.clone().into_vec());
        let mut resources = self.resources.clone().into_vec();
        let words = || actions.iter().chain(&resources).chain(&self.service).chain(&self.capability);
        let many = actions.len() > bounds::GRANT_WORDS_MAX || resources.len() > bounds::GRANT_WORDS_MAX;
        if many || words().any(|word| word.len() > bounds::GRANT_WORD_BYTES_MAX) {
            let (words, bytes) = (bounds::GRANT_WORDS_MAX, bounds::GRANT_WORD_BYTES_MAX);
            return Err(Problem::wrong(format!(
                "at most {words} actions and {words} resources of {bytes} octets each"
            )));
        }
        for words in [&mut actions, &mut resources] {
            let mut seen = HashSet::new();
            words.retain(|word| seen.insert(word.clone()));
        }
        // Each word is looked at on each resource, and a word may be a thousand actions.
        if actions.len() * resources.len() > PAIRS_MAX {
            return Err(Problem::wrong(format!(
                "actions times resources are {PAIRS_MAX} at most; ask for what is needed next, and again later"
            )));
        }
        let ttl_seconds = self.ttl_seconds;
        match (&self.capability, &self.service) {
            (Some(name), None) if actions.is_empty() && resources.is_empty() => {
                Ok(Asking { parts: Vec::new(), capability: Some(name.clone()), ttl_seconds })
            }
            (None, Some(service)) if !actions.is_empty() => {
                let parts = vec![Asked { service: service.clone(), actions, resources }];
                Ok(Asking { parts, capability: None, ttl_seconds })
            }
            _ => Err(Problem::wrong("name `service` with `actions` (or `scope`), or a `capability` alone")),
        }
    }
}

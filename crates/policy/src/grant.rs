//! Grants: time-limited access that an agent asks for at run time. A grant never widens what the permissions say. It lets those apply
//! that hold under a grant alone (`standing: none`), and where a person gave it, it answers the questions of those that it covers.

use std::sync::Arc;

use model::id::GrantId;
use model::{ApprovalId, Call, Class, Effect, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ApprovalNeed;
use crate::compile::actions::Selector;
use crate::compile::pattern::{Parts, Pattern};
use crate::condition::Ask;
use crate::rules::Rules;

/// What is asked for at one service, in the words of permissions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// The service.
    pub service: String,
    /// Actions by id, class, `effect:x`, alias, scope, or `*`.
    pub actions: Vec<String>,
    /// Resources as typed paths with `*`; all of them where there is none.
    pub resources: Vec<String>,
}

/// What a grant covers: these actions on these resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The service.
    pub service: String,
    /// Actions by id, class, `effect:x` or `*`.
    pub actions: Vec<String>,
    /// Resources as typed paths with `*`.
    pub resources: Vec<String>,
    /// Nobody asked for it; what was asked for is worth nothing without (git lists refs before it pushes).
    #[serde(default, skip_serializing_if = "is_false")]
    pub implied: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Something that was asked for and is not given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// What the policy would give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The subset that the permissions cover; never empty.
    pub scopes: Vec<Scope>,
    /// What was cut.
    pub cut: Vec<Cut>,
    /// How long, seconds.
    pub ttl_seconds: u64,
    /// Who must be asked first; nobody where there is none.
    pub need: Option<ApprovalNeed>,
    /// The permissions behind it.
    pub rules: Vec<Arc<str>>,
}

/// The yes of a person behind a grant, and whom the rules wanted to give it. What later rules want more is asked again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// The question that was answered; none where an operator gave the grant.
    pub approval: Option<ApprovalId>,
    /// Who said yes.
    pub by: String,
    /// How many had to agree.
    pub count: u32,
    /// Out of these; any approver where empty.
    pub of: Vec<String>,
}

/// Actions on resources, compiled.
#[derive(Clone, Debug)]
struct Covered {
    service: String,
    actions: Vec<Selector>,
    resources: Vec<Pattern>,
}

/// A live grant as decisions see it.
#[derive(Clone, Debug)]
pub struct Given {
    /// Its id.
    pub id: GrantId,
    /// When it ends by itself.
    pub expires: Timestamp,
    /// A person's yes, where one was asked for it.
    pub consent: Option<Consent>,
    covered: Vec<Covered>,
}

impl Rules {
    /// A grant that was stored, compiled. A scope that cannot be read any more covers nothing.
    #[must_use]
    pub fn given(&self, (id, expires): (GrantId, Timestamp), consent: Option<Consent>, scopes: &[Scope]) -> Given {
        let compiled = |scope: &Scope| {
            let blind = self.services.get(&scope.service).map_or(&[][..], |service| service.case_blind.as_slice());
            let pattern = |text: &String| Some(Pattern::parse(text, &[]).ok()?.blind(blind));
            Covered {
                service: scope.service.clone(),
                actions: selectors(&scope.service, &scope.actions),
                resources: scope.resources.iter().filter_map(pattern).collect(),
            }
        };
        Given { id, expires, consent, covered: scopes.iter().map(compiled).collect() }
    }
}

/// Words of a scope: its aliases and scopes of the vendor were replaced by ids when it was offered.
fn selectors(service: &str, words: &[String]) -> Vec<Selector> {
    let (mut ids, mut all) = (Vec::new(), Vec::new());
    for word in words {
        if word == "*" {
            all.push(Selector::All);
        } else if let Some(Ok(effect)) = word.strip_prefix("effect:").map(str::parse::<Effect>) {
            all.push(Selector::Effect(effect));
        } else if let Ok(class) = word.parse::<Class>() {
            all.push(Selector::Class(class));
        } else {
            ids.push(word.clone());
        }
    }
    if !ids.is_empty() {
        all.push(Selector::Ids(service.to_owned(), ids));
    }
    all
}

impl Given {
    /// Whether it covers a call now.
    pub(crate) fn covers(&self, service: &str, (call, parts): (&Call, &Parts<'_>), now: Timestamp) -> bool {
        let fits = |covered: &Covered| {
            covered.service == service
                && covered.actions.iter().any(|selector| selector.covers(service, call, false))
                && covered.resources.iter().any(|pattern| pattern.covers(parts))
        };
        now < self.expires && self.covered.iter().any(fits)
    }

    /// Whether the yes behind it is one that this question would take.
    pub(crate) fn answers(&self, ask: &Ask) -> bool {
        let Some(consent) = &self.consent else { return false };
        let allowed =
            ask.of.is_empty() || !consent.of.is_empty() && consent.of.iter().all(|name| ask.of.contains(name));
        allowed && ask.count <= consent.count
    }
}

//! The guarded policy: what holds when nobody has written any. Reads pass; writes pass up to thirty for each action
//! and hour, then ask; whatever cannot be taken back, reaches people or widens rights asks.

use std::sync::Arc;

use model::vocabulary::Vocabulary;
use model::{Call, Class, CredentialName, Effect, ServiceName};

use crate::compile::actions::{Named, Selector, is_guarded};
use crate::compile::pattern::Pattern;
use crate::compile::rule::{Draft, Place, Terms, build};
use crate::compile::{assemble, services};
use crate::condition::{ApprovalCondition, Burst, Condition};
use crate::document::{Approval, Diagnostic, Document};
use crate::rules::{CredentialFacts, Kind, Rule, Rules, Uses};

/// The rule by which reads pass.
pub(crate) const READS: &str = "guarded/reads";
/// The rule by which writes pass, so many an hour.
pub(crate) const WRITES: &str = "guarded/writes";
/// The rule that asks.
pub(crate) const ASKS: &str = "guarded/asks";
/// The rule that asks once about a host that nobody knows.
pub(crate) const HOSTS: &str = "guarded/hosts";
/// Writes of one action that pass within an hour.
pub(crate) const WRITES_PER_HOUR: u64 = 30;

/// Names that default branches go by. The real name is the service's secret; a branch of any other name is taken for
/// the agent's own, and a write to a branch that cannot be seen (a commit through the API without a branch, a push to a ref that is no
/// branch) counts as one to the default branch.
const DEFAULT_BRANCHES: [&str; 6] = ["main", "master", "trunk", "develop", "default", "HEAD"];

impl Rules {
    /// The guarded policy for credentials that were found: each is bound to its own service, or to hosts that no
    /// service knows.
    ///
    /// # Errors
    /// Only if the built-in rules do not compile, which a test rules out.
    pub fn guarded(
        found: &[(CredentialName, Option<ServiceName>, Vec<String>)],
        words: &Vocabulary,
    ) -> Result<Self, Vec<Diagnostic>> {
        let document = Document::default();
        let mut rules = of_document(&document, words)?;
        for (name, service, hosts) in found {
            let facts =
                CredentialFacts { service: service.clone(), hosts: hosts.clone(), ..CredentialFacts::default() };
            if let Some(service) = service.as_ref().and_then(|service| rules.services.get_mut(service.as_str())) {
                service.credentials.push(name.clone());
            }
            rules.credentials.insert(name.clone(), facts);
        }
        Ok(rules)
    }
}

/// The guarded policy of a document that names no agents, with its credentials, profiles, mode and egress.
pub(crate) fn of_document(document: &Document, words: &Vocabulary) -> Result<Rules, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let (services, credentials) = services(document, words, &mut problems);
    let drafts = [
        draft(READS, Tier::Reads, Vec::new()),
        draft(WRITES, Tier::Writes, vec![Box::new(Burst { max: WRITES_PER_HOUR })]),
        draft(ASKS, Tier::Asks, vec![asks()]),
    ];
    let rules: Vec<Rule> = drafts.into_iter().filter_map(|draft| build(draft, &mut problems)).collect();
    let mut assembled = assemble(document, rules, (services, credentials), problems)?;
    assembled.guarded = true;
    assembled.egress = document.egress.map(|egress| egress.value);
    Ok(assembled)
}

/// The three tiers; every call is in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Reads,
    Writes,
    Asks,
}

impl Tier {
    /// The tier of a call.
    pub(crate) fn of(call: &Call) -> Self {
        let strong = matches!(call.class, Class::Delete | Class::Spend | Class::Admin);
        if is_guarded(call) || strong || may_touch_default_branch(call) {
            Self::Asks
        } else if call.class == Class::Read {
            Self::Reads
        } else {
            Self::Writes
        }
    }

    /// The same as a Cedar expression.
    pub(crate) fn cedar(self) -> String {
        let branch = default_branch();
        let plain = |class: &str| format!("context.class == \"{class}\" && !context.guarded && !{branch}");
        match self {
            Self::Reads => plain("read"),
            Self::Writes => plain("write"),
            Self::Asks => {
                format!("context.guarded || [\"delete\", \"spend\", \"admin\"].contains(context.class) || {branch}")
            }
        }
    }
}

/// What drops commits, on whatever branch. A push of which that cannot be told is this action too.
pub(crate) const FORCE: &str = "git/force-push";

/// Patterns that tell branches apart as [`Tier::of`] does.
pub(crate) fn branches() -> impl Iterator<Item = Pattern> {
    let named = DEFAULT_BRANCHES.iter().chain(&["*"]).map(|name| format!("branch:*@{name}"));
    named.filter_map(|text| Pattern::parse(&text, &[]).ok())
}

/// Every write to a branch that is not seen may; and what drops commits cannot be taken back on the agent's own branch either.
fn may_touch_default_branch(call: &Call) -> bool {
    let own = || {
        call.resource.kind() == "branch" && call.resource.tail().is_some_and(|name| !DEFAULT_BRANCHES.contains(&name))
    };
    call.action.as_str() == FORCE || (call.effects.contains(Effect::BranchWrite) && !own())
}

fn default_branch() -> String {
    let names: Vec<String> = DEFAULT_BRANCHES.iter().map(|name| format!("\"{name}\"")).collect();
    let own =
        format!("context.kind == \"branch\" && context has tail && !([{}].contains(context.tail))", names.join(", "));
    format!("(context.action == \"{FORCE}\" || (context.effects.contains(\"branch-write\") && !({own})))")
}

fn draft(id: &str, tier: Tier, conditions: Vec<Box<dyn Condition>>) -> Draft {
    Draft {
        id: id.into(),
        kind: Kind::Permit,
        agent: None,
        service: None,
        actions: vec![Named { word: "*".into(), selector: Selector::Tier(tier), alias: false }],
        raw: None,
        resources: vec![Pattern::any()],
        uses: Uses::OfService,
        key: Arc::default(),
        conditions,
        terms: Terms::default(),
        place: Place { file: "guarded policy".to_owned(), line: 1, column: 1 },
    }
}

fn asks() -> Box<dyn Condition> {
    Box::new(ApprovalCondition {
        said: Some(Approval::Required),
        timeout_seconds: model::bounds::APPROVAL_SECONDS_DEFAULT,
        of: Vec::new(),
        count: 1,
        reason: Some("it destroys, spends, or may change a default branch"),
    })
}

//! Twelve questions, each with what speaks for a no.

use audit::Verified;
use model::Timestamp;
use policy::document::{Egress, Mode};
use policy::{Document, Rules};
use serde::Serialize;

use super::DAY;
use super::credentials::Held;
use super::used::{Permission, some};
use crate::clock::SystemRandom;
use crate::command::local::Local;

/// Days after which a stored value should have been replaced.
const FRESH_DAYS: u64 = 90;
/// Lines of evidence.
const EVIDENCE_MAX: usize = 8;

/// How a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Is {
    Pass,
    Fail,
    /// Nothing is known that could answer it.
    Open,
}

/// One question and its answer.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) title: &'static str,
    pub(super) answer: Is,
    /// What speaks for a no; for a yes, what it rests on, where that is worth a line.
    pub(super) evidence: Vec<String>,
}

/// What is looked at.
pub(super) struct Seen<'a> {
    pub(super) document: &'a Document,
    pub(super) rules: &'a Rules,
    pub(super) permissions: &'a [Permission],
    pub(super) credentials: &'a [Held],
    pub(super) local: &'a Local,
    pub(super) now: Timestamp,
    /// The agent that the review is about; every one where it is none.
    pub(super) agent: Option<&'a model::AgentName>,
    /// Events that were read.
    pub(super) events: u64,
    /// Services were asked.
    pub(super) asked: bool,
}

/// A question, and what is known of it.
struct Answer {
    title: &'static str,
    /// What speaks for a no.
    against: Vec<String>,
    /// Why a yes is not known.
    unknown: Option<String>,
}

impl Answer {
    fn of(title: &'static str, against: Vec<String>) -> Self {
        Self { title, against, unknown: None }
    }

    fn unless(self, unknown: Option<String>) -> Self {
        Self { unknown, ..self }
    }
}

impl Seen<'_> {
    /// Why what was done says nothing.
    fn silent(&self) -> Option<String> {
        (self.events == 0).then(|| "nothing is on record since then".to_owned())
    }

    /// A question that what was done answers.
    fn by_use(&self, title: &'static str, against: Vec<String>) -> Answer {
        let unknown = self.silent();
        Answer { title, against: if unknown.is_some() { Vec::new() } else { against }, unknown }
    }

    /// Whose service told nothing of what it may do.
    fn untold(&self) -> Option<String> {
        if !self.asked {
            return Some("no service was asked: --ask".to_owned());
        }
        let silent: Vec<&str> =
            self.credentials.iter().filter(|held| !held.told()).map(|held| held.name.as_str()).collect();
        (!silent.is_empty()).then(|| format!("nothing is told of {}", some(silent.into_iter())))
    }
}

type Ask = fn(&Seen<'_>) -> Answer;

/// Every question, in the order of the guides: whose, what, how long, who looks.
const ALL: [Ask; 12] =
    [owners, shared, orphans, dormant, old, beyond, unused, wide, unasked, unheld, enforced, recorded];

/// Asks all of them.
pub(super) fn all(seen: &Seen<'_>) -> Vec<Check> {
    let ask = |ask: &Ask| {
        let Answer { title, against: mut evidence, unknown } = ask(seen);
        let answer = match (evidence.is_empty(), &unknown) {
            (false, _) => Is::Fail,
            (true, None) => Is::Pass,
            (true, Some(_)) => Is::Open,
        };
        let more = evidence.len().saturating_sub(EVIDENCE_MAX);
        evidence.truncate(EVIDENCE_MAX);
        evidence.extend((more > 0).then(|| format!("and {more} more")));
        evidence.extend(unknown.filter(|_| answer == Is::Open));
        Check { title, answer, evidence }
    };
    ALL.iter().map(ask).collect()
}

fn owners(seen: &Seen<'_>) -> Answer {
    let mine = |name: &str| seen.agent.is_none_or(|agent| agent.as_str() == name);
    let agents = seen.document.agents.iter().filter(|(name, _)| mine(&name.value));
    let lacks = agents.filter_map(|(name, agent)| {
        let lacking = [("purpose", &agent.purpose), ("owner", &agent.owner)];
        let lacking: Vec<&str> = lacking.iter().filter(|(_, value)| value.is_none()).map(|(word, _)| *word).collect();
        (!lacking.is_empty()).then(|| format!("{} has no {}", name.value, lacking.join(" and no ")))
    });
    Answer::of("every agent has a purpose and somebody who answers for it", lacks.collect())
}

fn shared(seen: &Seen<'_>) -> Answer {
    let shared = seen.credentials.iter().filter(|held| held.agents.len() > 1);
    let line = |held: &Held| format!("{} is shared by {}", held.name, some(held.agents.iter().map(String::as_str)));
    Answer::of("no two agents share a credential", shared.map(line).collect())
}

fn orphans(seen: &Seen<'_>) -> Answer {
    let orphans = seen.credentials.iter().filter(|held| held.is_declared && held.agents.is_empty());
    Answer::of(
        "every credential is named by a permission",
        orphans.map(|held| format!("{}: revoke it where it comes from, and remove it here", held.name)).collect(),
    )
}

fn dormant(seen: &Seen<'_>) -> Answer {
    let dormant = seen.credentials.iter().filter(|held| !held.agents.is_empty() && held.times.times == 0);
    seen.by_use(
        "no credential is dormant",
        dormant.map(|held| format!("{} was not used in this time", held.name)).collect(),
    )
}

fn old(seen: &Seen<'_>) -> Answer {
    let since = seen.now.minus_secs(FRESH_DAYS * DAY);
    let line = |held: &Held| {
        let stored = held.stored.filter(|stored| *stored < since)?;
        Some(format!("{} was stored {stored}: `valetkey credential add {0} --replace`", held.name))
    };
    Answer::of("no stored value is older than 90 days", seen.credentials.iter().filter_map(line).collect())
}

fn beyond(seen: &Seen<'_>) -> Answer {
    let wide = seen.credentials.iter().filter(|held| !held.beyond.is_empty());
    let line = |held: &Held| {
        format!("{} may {}, which no permission needs", held.name, some(held.beyond.iter().map(String::as_str)))
    };
    let title = "no token may do more than permissions need, as far as services tell";
    Answer::of(title, wide.map(line).collect()).unless(seen.untold())
}

fn unused(seen: &Seen<'_>) -> Answer {
    let unused = seen.permissions.iter().filter(|one| one.times.times == 0);
    seen.by_use(
        "every permission was used",
        unused.map(|one| format!("{} was not used in this time", one.granted.rule)).collect(),
    )
}

fn wide(seen: &Seen<'_>) -> Answer {
    let wide = seen.permissions.iter().filter(|one| one.granted.is_wide);
    let line = |one: &Permission| {
        format!("{} covers {} on everything", one.granted.rule, some(one.granted.words.iter().map(String::as_str)))
    };
    Answer::of("what changes something is granted by name or for named resources", wide.map(line).collect())
}

fn unasked(seen: &Seen<'_>) -> Answer {
    let unasked = seen.permissions.iter().filter(|one| one.granted.is_unasked);
    let line = |one: &Permission| format!("{} says `approval: none` for what always asks", one.granted.rule);
    Answer::of("what escalates, publishes, sends or lets data out asks a person", unasked.map(line).collect())
}

fn unheld(seen: &Seen<'_>) -> Answer {
    let unheld = seen.permissions.iter().filter(|one| one.granted.changes && !one.granted.is_held);
    let line = |one: &Permission| format!("{} changes things without limit, bound or question", one.granted.rule);
    Answer::of("what changes something has a limit, a bound or asks", unheld.map(line).collect())
}

fn enforced(seen: &Seen<'_>) -> Answer {
    let mut found = Vec::new();
    if seen.rules.mode() == Mode::Observe {
        found.push("`mode: observe` lets everything through".to_owned());
    }
    match seen.document.egress() {
        Egress::Closed => {}
        Egress::Open => found.push("`egress: open` lets agents reach any host".to_owned()),
        Egress::Known => found.push("`egress: known` lets agents read hosts that no permission names".to_owned()),
    }
    Answer::of("decisions are enforced, and hosts that nobody named are closed", found)
}

fn recorded(seen: &Seen<'_>) -> Answer {
    let verified = || -> anyhow::Result<Verified> {
        let signer = audit::Signer::from_seed(&seen.local.home.signing_seed(&SystemRandom)?)?;
        Ok(audit::verify(&seen.local.home.audit(), &signer.public(), None)?)
    };
    let evidence = match verified() {
        Ok(Verified::Whole(_)) => Vec::new(),
        Ok(Verified::Broken(fault)) => vec![format!("not verified: {fault}")],
        Err(error) => vec![format!("cannot be read: {error:#}")],
    };
    Answer::of("the record is whole", evidence).unless(seen.silent())
}

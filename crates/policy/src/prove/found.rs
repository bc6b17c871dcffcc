//! From what a solver found to a request that the engine itself judges. Nothing is called refuted that the engine does not
//! decide so: what a solver says is only where to look.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use cedar_policy::{Context, EvalResult};
use model::canonical::{Host, Origin, Scheme};
use model::time::MICROS;
use model::{
    ActionId, AgentName, Call, Class, Classification, Effect, Effects, Fact, Facts, Resource, ServiceName, Timestamp,
    UserName,
};
use serde::Serialize;

use super::plan::Group;
use super::proof::Proof;
use super::statement::Verb;
use crate::compile::text::quote;
use crate::rules::Explained;
use crate::{Question, Subject};

/// Names in a resource that are read back; more say no more.
const SEGMENTS_MAX: i64 = 8;
/// Moments of a week at which a rule by hours is tried, a quarter of an hour apart.
const QUARTERS: i64 = 7 * 24 * 4;

/// A call that a statement says something else of than the policy does.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Whose.
    pub agent: AgentName,
    /// Of which service.
    pub service: ServiceName,
    /// What is asked.
    pub call: Call,
    /// In which task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// On whose behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// That person's roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// From where.
    pub source: IpAddr,
    /// When, where it matters.
    pub at: Timestamp,
    /// When the session began.
    pub since: Timestamp,
    /// The credential whose placeholder it presents; none where the policy chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presented: Option<model::CredentialName>,
}

/// A request that makes a call.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What it was taken for.
    pub classification: &'a Classification,
    /// Its method.
    pub method: &'a http::Method,
    /// Where it goes.
    pub origin: &'a Origin,
}

impl Proof<'_> {
    /// What a solver found, read back. None where it is no call that could
    /// ever be asked for.
    #[must_use]
    pub fn read(&self, group: &Group, (agent, context): (&str, &Context)) -> Option<Found> {
        let text = |name: &str| match context.get(name) {
            Some(EvalResult::String(text)) => Some(text),
            _ => None,
        };
        let number = |name: &str| match context.get(name) {
            Some(EvalResult::Long(number)) => Some(number),
            _ => None,
        };
        let member = group.members.first()?;
        let (class, effects) = (text("class")?.parse::<Class>().ok()?, effects(context)?);
        let segments = number("segments")?.clamp(1, SEGMENTS_MAX);
        // Names that no text looks at may be anything.
        let name = |at| text(&format!("s{at}")).filter(|name| !name.is_empty()).unwrap_or_else(|| "any".to_owned());
        let names: Vec<String> = (0..segments).map(name).collect();
        let tail = text("tail").map(|tail| format!("@{tail}")).unwrap_or_default();
        let resource = Resource::new(&format!("{}:{}{tail}", text("kind")?, names.join("/")));
        let age = self.chosen(group, "context.age", number("age")).unwrap_or(0).clamp(0, i64::from(u32::MAX));
        let at = self.chosen(group, "context.now", number("now"));
        let at = at.map_or(self.now, |seconds| Timestamp(seconds.saturating_mul(MICROS)));
        let call = Call { action: ActionId::new(&member.id).ok()?, class, effects, resource, facts: facts(context) };
        Some(Found {
            agent: AgentName::new(agent).ok()?,
            service: ServiceName::new(&group.service).ok()?,
            call,
            task: text("task"),
            user: text("user").and_then(|user| UserName::new(&user).ok()),
            roles: texts(context, "roles").unwrap_or_default(),
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            at,
            since: at.minus_secs(age.cast_unsigned()),
            presented: group.presented.clone(),
        })
    }

    /// A number that a solver chose for the context, where some rule looks at it.
    fn chosen(&self, group: &Group, name: &str, number: Option<i64>) -> Option<i64> {
        let rules = self.rules_of(&group.rules);
        let when = self.statement.scope.when.iter().map(|when| when.value.as_str());
        let looks = rules.map(|rule| rule.cedar.as_str()).chain(when).any(|text| text.contains(name));
        number.filter(|_| looks)
    }

    /// Whether the policy decides of a call otherwise than the statement says: what it was found to be, with the
    /// circumstances under which it is. What need not be is left out.
    #[must_use]
    pub fn refutes(&self, found: &Found, asked: Option<Asked<'_>>) -> Option<Found> {
        let bare = Found { task: None, user: None, roles: Vec::new(), ..found.clone() };
        let mut tries = vec![bare, found.clone()];
        for source in self.sources() {
            tries.push(Found { source, ..found.clone() });
        }
        let week: Vec<Found> = tries.iter().skip(1).cloned().collect();
        for quarter in 0..QUARTERS {
            let at = Timestamp(found.at.0.saturating_add(quarter * 15 * 60 * MICROS));
            let age = found.at.0.saturating_sub(found.since.0);
            tries.extend(week.iter().map(|one| Found {
                at,
                since: Timestamp(at.0.saturating_sub(age)),
                ..one.clone()
            }));
        }
        tries.into_iter().find(|one| self.is_otherwise(one, asked))
    }

    /// Addresses that some rule looks for.
    fn sources(&self) -> Vec<IpAddr> {
        let said = self.rules.list.iter().flat_map(|rule| &rule.conditions).filter_map(|condition| condition.explain());
        let written = said.filter_map(|value| value.get("source").and_then(|all| all.as_array().cloned())).flatten();
        let address = |value: serde_json::Value| value.as_str()?.split('/').next()?.parse().ok();
        written.filter_map(address).collect()
    }

    fn is_otherwise(&self, found: &Found, asked: Option<Asked<'_>>) -> bool {
        let with = |question: &Question<'_>| match (self.rules.weigh(question), self.statement.verb) {
            (Ok(_), Verb::Never) | (Err(_), Verb::Allows) => true,
            (Ok(weighed), Verb::Asks { people }) => {
                weighed.approval.is_none_or(|need| need.once_per_session || need.count < people)
            }
            (Ok(_), Verb::Allows) | (Err(_), Verb::Never | Verb::Asks { .. }) => false,
        };
        self.judged(found, asked, with).unwrap_or(false)
    }

    /// Whether some rule that may have decided looks at the time.
    #[must_use]
    pub fn minds_the_time(&self, found: &Found) -> bool {
        let mine = self.rules.list.iter().filter(|rule| rule.is_for(&found.agent, found.service.as_str()));
        let looks = |text: &str| ["context.now", "context.age", "hours "].iter().any(|word| text.contains(word));
        mine.map(|rule| rule.cedar.as_str()).any(looks)
    }

    /// What an allowed call asks, where the statement wants it to ask otherwise.
    #[must_use]
    pub fn asks_instead(&self, explained: &Explained) -> &'static str {
        if !matches!(self.statement.verb, Verb::Asks { .. }) {
            return "";
        }
        let approval = explained.conditions.iter().find(|one| one.get("kind").is_some_and(|kind| kind == "approval"));
        match approval.and_then(|approval| approval.get("approval")).and_then(serde_json::Value::as_str) {
            None => ", which asks nobody",
            Some("once-per-session") => ", which asks once in a session",
            Some(_) => ", which asks fewer people",
        }
    }

    /// The decision as `explain` prints it.
    #[must_use]
    pub fn explain(&self, found: &Found, asked: Option<Asked<'_>>) -> Option<Explained> {
        self.judged(found, asked, |question| self.rules.explain(question))
    }

    fn judged<T>(&self, found: &Found, asked: Option<Asked<'_>>, with: impl Fn(&Question<'_>) -> T) -> Option<T> {
        let subject = Subject {
            user: found.user.clone(),
            roles: found.roles.clone(),
            task: found.task.clone(),
            session_started: found.since,
            source: found.source,
            ..crate::compare::subject(&found.agent)
        };
        let made = match asked {
            Some(_) => None,
            None => Some(self.alone(found)?),
        };
        let get = http::Method::GET;
        let asked = match (&asked, &made) {
            (Some(asked), _) => *asked,
            (None, Some((classification, origin))) => Asked { classification, method: &get, origin },
            (None, None) => return None,
        };
        Some(with(&Question {
            subject: &subject,
            classification: asked.classification,
            method: asked.method,
            origin: asked.origin,
            presented: found.presented.as_ref(),
            grants: &[],
            now: found.at,
        }))
    }

    /// A call without a request around it; none where some rule looks at methods and paths.
    fn alone(&self, found: &Found) -> Option<(Classification, Origin)> {
        // What a push touches and what follows from it the pack alone tells.
        if self.rules.judge.looks_at_paths() || found.call.facts.iter().any(|(name, _)| name.starts_with("touches.")) {
            return None;
        }
        let hosts = &self.words.services.get(found.service.as_str())?.hosts;
        let host = hosts.first().map_or("host", String::as_str).replace('*', "any");
        let origin = Origin { scheme: Scheme::Https, host: Host::parse(&host).ok()?, port: 443 };
        let classification = Classification::new(
            Some(found.service.clone()),
            [found.call.clone()].into_iter().collect(),
            Arc::from("/"),
        );
        Some((classification, origin))
    }

    /// The facts that a call must have to be what was found: a request is made with them.
    #[must_use]
    pub fn is_same(found: &Found, classification: &Classification) -> bool {
        classification.service.as_ref() == Some(&found.service)
            && classification.calls.iter().any(|call| {
                let has = |(name, fact): (&str, &Fact)| call.facts.get(name) == Some(fact);
                call.action == found.call.action
                    && call.class == found.call.class
                    && call.effects == found.call.effects
                    && call.resource.as_str().eq_ignore_ascii_case(found.call.resource.as_str())
                    && found.call.facts.iter().all(has)
            })
    }
}

fn texts(context: &Context, name: &str) -> Option<Vec<String>> {
    let Some(EvalResult::Set(set)) = context.get(name) else { return None };
    let text = |value: &EvalResult| match value {
        EvalResult::String(text) => Some(text.clone()),
        _ => None,
    };
    set.iter().map(text).collect()
}

fn effects(context: &Context) -> Option<Effects> {
    texts(context, "effects")?
        .iter()
        .map(|text| text.parse::<Effect>().ok())
        .collect::<Option<Vec<_>>>()
        .map(|all| all.into_iter().collect())
}

fn facts(context: &Context) -> Facts {
    let mut facts = Facts::default();
    let Some(EvalResult::Record(record)) = context.get("facts") else { return facts };
    for (name, value) in record.iter() {
        let fact = match value {
            EvalResult::String(text) => Fact::Text(text.as_str().into()),
            EvalResult::Long(number) => Fact::Int(*number),
            EvalResult::Bool(flag) => Fact::Bool(*flag),
            EvalResult::Set(items) => Fact::List(
                items
                    .iter()
                    .filter_map(|item| match item {
                        EvalResult::String(text) => Some(text.as_str().into()),
                        _ => None,
                    })
                    .collect(),
            ),
            _ => continue,
        };
        facts.add(name.as_str().into(), fact);
    }
    facts
}

impl Found {
    /// The call in one line.
    #[must_use]
    pub fn words(&self) -> String {
        let mut text = format!("{}: {}:{} on {}", self.agent, self.service, self.call.action, self.call.resource);
        for (name, fact) in self.call.facts.iter() {
            let value = match fact {
                Fact::Text(value) => quote(value),
                Fact::Int(number) => number.to_string(),
                Fact::Bool(flag) => flag.to_string(),
                Fact::List(items) => {
                    format!("[{}]", items.iter().map(|item| quote(item)).collect::<Vec<_>>().join(", "))
                }
                Fact::Unknown(_) => "unknown".to_owned(),
            };
            text = format!("{text}, {name} {value}");
        }
        for (name, value) in [("task", &self.task), ("user", &self.user.as_ref().map(ToString::to_string))] {
            if let Some(value) = value {
                text = format!("{text}, {name} {}", quote(value));
            }
        }
        if !self.roles.is_empty() {
            text = format!("{text}, roles {}", self.roles.join(" "));
        }
        if let Some(credential) = &self.presented {
            text = format!("{text}, with the placeholder of {credential}");
        }
        text
    }
}

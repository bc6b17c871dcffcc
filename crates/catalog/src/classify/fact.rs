//! Facts: typed values from path, query and body.

use model::bounds::FACT_TEXT_BYTES_MAX;
use model::canonical::CanonicalRequest;
use model::vocabulary::FactType;
use model::{Fact, Facts, Refusal, Unknown};

use super::body::{Slot, Values};
use super::{View, refuse, touch};
use crate::compiled::{Reading, Source};
use crate::file::Holds;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Yes,
    No,
    /// It cannot be seen.
    Maybe,
}

impl From<bool> for Verdict {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// Reads the declared facts of a route.
pub(super) fn facts(
    reading: &Reading,
    view: View<'_>,
    values: &Values<'_>,
    capture: &dyn Fn(&Source) -> Option<String>,
) -> Facts {
    let mut facts = Facts::default();
    for rule in &reading.facts {
        let fact = match &rule.source {
            Source::Capture(_) => capture(&rule.source).map(|text| loose(rule.kind, &text)),
            Source::Query(name) => from_query(view.request, name, rule.kind),
            // No fact is made of a field; only conditions look at them.
            Source::Header(_) => None,
            Source::Body(index) => typed(rule.kind, values.slot(*index)),
        };
        if let Some(fact) = fact {
            facts.add(rule.name.clone(), fact);
        }
    }
    if let Some(places) = &reading.touches {
        let slot = |source: &Source| match source {
            Source::Body(index) => values.slot(*index),
            other => capture(other).map_or(Slot::Absent, |text| Slot::Loose(text.into())),
        };
        let slots: Vec<Slot<'_>> = places.iter().map(slot).collect();
        touch::add(&view.at.service.tables.touches, &slots, &mut facts);
    }
    facts
}

fn from_query(request: &CanonicalRequest, name: &str, kind: FactType) -> Option<Fact> {
    let mut values = request.query().pairs().filter(|(known, _)| *known == name).map(|(_, value)| value);
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(loose(kind, first)) };
    if kind == FactType::List {
        return Some(Fact::List([first, second].into_iter().chain(values).map(Into::into).collect()));
    }
    Some(Fact::Unknown(Unknown::Ambiguous))
}

pub(super) fn typed(kind: FactType, slot: Slot<'_>) -> Option<Fact> {
    Some(match (kind, slot) {
        (_, Slot::Absent) => return None,
        (_, Slot::Unknown(why)) => Fact::Unknown(why),
        (_, Slot::Loose(value)) => loose(kind, &value),
        (FactType::Text, Slot::Text(value)) => text(&value),
        (FactType::Int, Slot::Int(number)) => Fact::Int(number),
        (FactType::Bool, Slot::Bool(flag)) => Fact::Bool(flag),
        (FactType::List, Slot::List(items)) => {
            if items.iter().map(|item| item.len()).sum::<usize>() > FACT_TEXT_BYTES_MAX {
                Fact::Unknown(Unknown::TooLarge)
            } else {
                Fact::List(items.iter().map(|item| (&**item).into()).collect())
            }
        }
        _ => Fact::Unknown(Unknown::WrongType),
    })
}

fn text(value: &str) -> Fact {
    if value.len() > FACT_TEXT_BYTES_MAX { Fact::Unknown(Unknown::TooLarge) } else { Fact::Text(value.into()) }
}

/// A value of a format without types. A number has one spelling: no sign but `-`, no leading zeros.
fn loose(kind: FactType, value: &str) -> Fact {
    match kind {
        FactType::Text => text(value),
        FactType::List => Fact::List(vec![value.into()]),
        FactType::Bool => match value {
            "true" => Fact::Bool(true),
            "false" => Fact::Bool(false),
            _ => Fact::Unknown(Unknown::WrongType),
        },
        FactType::Int => match value.parse::<i64>() {
            Ok(number) if number.to_string() == value => Fact::Int(number),
            _ => Fact::Unknown(Unknown::WrongType),
        },
    }
}

/// Whether a query parameter is what it must be. Two values of one are refused: origins choose differently.
pub(super) fn query_holds(request: &CanonicalRequest, name: &str, holds: &Holds) -> Result<Verdict, Refusal> {
    single(request, name).map(|value| Verdict::from(holds.fits(value)))
}

/// Whether a header field is what it must be: of several lines, whether one is.
pub(super) fn header_holds(request: &CanonicalRequest, name: &str, holds: &Holds) -> Verdict {
    let mut lines = request.headers().get_all(name).iter().peekable();
    if lines.peek().is_none() {
        return Verdict::from(holds.fits(None));
    }
    Verdict::from(lines.any(|line| line.to_str().map_or(*holds != Holds::Absent, |text| holds.fits(Some(text)))))
}

/// Appends a query parameter for a resource's name; false where it is absent.
pub(super) fn query_text(request: &CanonicalRequest, name: &str, out: &mut String) -> Result<bool, Refusal> {
    let value = single(request, name)?;
    out.push_str(value.unwrap_or_default());
    Ok(value.is_some())
}

/// The value of a parameter that may come only once.
pub(super) fn single<'a>(request: &'a CanonicalRequest, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = request.query().pairs().filter(|(known, _)| *known == name).map(|(_, value)| value);
    let first = values.next();
    if values.next().is_some() {
        return Err(refuse(format!("Request is malformed: parameter `{name}` is given more than once")));
    }
    Ok(first)
}

//! Lines of a table of calls, whatever road they come by: a mutation of GraphQL, a tool of MCP, a method of JSON-RPC, a message of a
//! WebSocket. The road says how an argument is found; which lines hold, what they act on and which facts they have is the same for all.

use std::borrow::Cow;
use std::sync::Arc;

use model::bounds::CALLS_MAX;
use model::{Call, Code, Fact, Facts, Refusal, Resource, Unknown};
use smallvec::SmallVec;

use super::body::{Bad, Slot};
use super::fact::{Verdict, typed};
use super::tree::{Json, Members};
use super::{refuse, touch};
use crate::compiled::{ArgumentPiece, Line, LineCall, Place};
use crate::file::Holds;
use crate::service::Service;

/// Why something is not judged, for the sentence.
pub(super) type Doubt = &'static str;

pub(super) type Calls = SmallVec<[Call; 1]>;

/// Why a request that says its calls in its body is not judged.
pub(super) enum Fault {
    /// The body, and why it is not known.
    Unknown(Unknown),
    Doubt(Doubt),
    TooMany,
    Refused(Refusal),
}

impl From<Doubt> for Fault {
    fn from(doubt: Doubt) -> Self {
        Self::Doubt(doubt)
    }
}

impl From<Bad> for Fault {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Unknown(unknown) => Self::Unknown(unknown),
            Bad::Override => Self::Unknown(Unknown::Malformed),
        }
    }
}

impl Fault {
    /// The refusal of a request of this road; `hint` says how it is written.
    pub fn refusal(self, road: &str, hint: &str) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::TooMany => {
                Refusal::new(Code::TooLarge, format!("The {road} request has more than {CALLS_MAX} calls"))
            }
            Self::Unknown(Unknown::TooLarge) => {
                Refusal::new(Code::TooLarge, format!("The {road} request is larger than its service's bound"))
            }
            Self::Unknown(Unknown::Encoded) => {
                refuse(format!("The {road} request is encoded")).hint("send it without Content-Encoding")
            }
            Self::Unknown(_) => refuse(format!("The {road} request is no strict JSON, every key once")).hint(hint),
            Self::Doubt(doubt) => refuse(format!("The {road} request cannot be judged: {doubt}")).hint(hint),
        }
    }
}

/// Requests of one batch.
const BATCH_MAX: usize = 64;

/// The requests of a JSON text, each read by `each`, and whether they came as a batch.
pub(super) fn batch<'a, T>(
    json: Json<'a>,
    each: impl Fn(Members<'a>) -> Result<T, Fault>,
) -> Result<(Vec<T>, bool), Fault> {
    match json {
        Json::Object(members) => Ok((vec![each(members)?], false)),
        Json::List(items) if items.is_empty() => Err("it is a batch of nothing".into()),
        Json::List(items) if items.len() > BATCH_MAX => Err(Fault::Unknown(Unknown::TooLarge)),
        Json::List(items) => {
            let one = |item| match item {
                Json::Object(members) => each(members),
                _ => Err("its batch holds what is no request".into()),
            };
            Ok((items.into_iter().map(one).collect::<Result<_, _>>()?, true))
        }
        _ => Err("its JSON is no object".into()),
    }
}

/// What the items of a list say: texts alone, or nothing that is known. What stands beyond each of them is one as itself.
pub(super) fn of_items<'s>(
    items: impl Iterator<Item = Result<Slot<'s>, Doubt>>,
    beyond: bool,
) -> Result<Slot<'s>, Doubt> {
    let (mut texts, mut known) = (Vec::new(), true);
    for item in items {
        match item? {
            Slot::Text(text) => texts.push(text),
            Slot::List(all) => texts.extend(all),
            Slot::Absent => {}
            _ => known = false,
        }
    }
    Ok(match (known, texts.len()) {
        (false, _) => Slot::Unknown(Unknown::WrongType),
        (true, 1) if beyond => texts.pop().map_or(Slot::Absent, Slot::Text),
        (true, 0) if beyond => Slot::Absent,
        (true, _) => Slot::List(texts),
    })
}

/// What a call is given.
pub(super) trait Arguments {
    /// What stands at the end of a path of keys; never called with none. A path that leads through a list finds all of its items: one
    /// as itself, several as a list.
    fn at(&self, path: &[Box<str>]) -> Result<Slot<'_>, Doubt>;
}

/// The road that calls come by.
#[derive(Clone, Copy)]
pub(super) struct Road<'a> {
    pub service: &'a Service,
    /// The fact that tells what the road calls it.
    pub mark: (&'static str, &'a str),
    /// The resource where no alternative's values are all there.
    pub anywhere: &'a dyn Fn() -> Resource,
}

/// What stands at a place.
fn find<'g>(given: &'g dyn Arguments, place: &'g Place) -> Result<Slot<'g>, Doubt> {
    let (path, lower, segments) = match place {
        Place::Constant(text) => return Ok(Slot::Loose(Cow::Borrowed(text))),
        Place::Argument { path, .. } if path.is_empty() => return Ok(Slot::Absent),
        Place::Argument { path, lower, segments } => (path, *lower, *segments),
    };
    Ok(match given.at(path)? {
        // `./x` and `/x` are `x` to some servers: a rule about paths must not be told another.
        Slot::Text(text) if segments && !is_path(&text) => Slot::Unknown(Unknown::Ambiguous),
        Slot::List(items) if segments && !items.iter().all(|item| is_path(item)) => Slot::Unknown(Unknown::Ambiguous),
        Slot::Text(text) if lower && text.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Slot::Text(Cow::Owned(text.to_ascii_lowercase()))
        }
        other => other,
    })
}

/// Whether what stands at a place is what it must be; of a list, whether some item is.
fn holds(given: &dyn Arguments, place: &Place, holds: &Holds) -> Result<Verdict, Doubt> {
    let text = match find(given, place)? {
        Slot::Unknown(_) => return Ok(Verdict::Maybe),
        Slot::Absent => return Ok(Verdict::from(holds.fits(None))),
        Slot::List(items) => {
            let any = matches!(holds, Holds::Present) || items.iter().any(|item| holds.fits(Some(item)));
            return Ok(Verdict::from(any));
        }
        Slot::Text(text) | Slot::Loose(text) => text,
        Slot::Int(number) => Cow::Owned(number.to_string()),
        Slot::Bool(flag) => Cow::Borrowed(if flag { "true" } else { "false" }),
    };
    if matches!(holds, Holds::Is(words) if words.iter().all(|word| matches!(word.as_str(), "true" | "false"))) {
        return Ok(flag(&text).map_or(Verdict::Maybe, |flag| Verdict::from(holds.fits(Some(flag)))));
    }
    Ok(Verdict::from(holds.fits(Some(&text))))
}

/// A flag in the spellings that servers of tools take for one (pydantic's lax mode has them all).
fn flag(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some("true"),
        "false" | "f" | "no" | "n" | "off" | "0" => Some("false"),
        _ => None,
    }
}

/// The calls of one name's lines: those of the first line that holds and of every one before it that may, and those that hold beside.
pub(super) fn calls(lines: &[Line], given: &dyn Arguments, road: Road<'_>) -> Result<Calls, Fault> {
    let mut calls = Calls::new();
    let mut settled = false;
    for line in lines {
        if settled && !line.beside {
            continue;
        }
        let verdict = match &line.condition {
            Some((place, wanted)) => holds(given, place, wanted)?,
            None => Verdict::Yes,
        };
        if verdict == Verdict::No {
            continue;
        }
        settled |= verdict == Verdict::Yes && !line.beside;
        let resource = resource(line, given, road)?;
        for call in &line.calls {
            calls.push(one(call, &resource, given, road)?);
        }
    }
    Ok(calls)
}

fn one(call: &LineCall, resource: &Resource, given: &dyn Arguments, road: Road<'_>) -> Result<Call, Fault> {
    let action = road.service.tables.actions.get(call.action as usize);
    let action = action.ok_or("its service is not whole")?;
    let (mut class, mut effects) = (action.class, action.effects);
    for when in &call.when {
        let mut all = Verdict::Yes;
        for (place, wanted) in &when.tests {
            // What this road does not say may be so.
            let verdict = match place {
                Some(place) => holds(given, place, wanted)?,
                None => Verdict::Maybe,
            };
            if verdict == Verdict::No {
                all = Verdict::No;
                break;
            }
        }
        if all != Verdict::No {
            class = class.max(when.class.unwrap_or(class));
            effects = effects.iter().chain(when.effects.iter()).collect();
        }
    }
    let mut facts = Facts::default();
    let (mark, name) = road.mark;
    facts.add(mark.into(), Fact::Text(name.into()));
    for fact in &call.facts {
        let value = match &fact.place {
            Some(place) => typed(fact.kind, find(given, place)?),
            None => Some(Fact::Unknown(Unknown::NotTold)),
        };
        if let Some(value) = value {
            facts.add(Arc::clone(&fact.name), value);
        }
    }
    if let Some(places) = &call.touches {
        let mut slots = Vec::with_capacity(places.len());
        for place in places {
            slots.push(match place {
                Some(place) => find(given, place)?,
                None => Slot::Unknown(Unknown::NotTold),
            });
        }
        touch::add(&road.service.tables.touches, &slots, &mut facts);
    }
    Ok(Call { action: action.id.clone(), class, effects, resource: resource.clone(), facts })
}

/// The first alternative whose values are all there.
fn resource(line: &Line, given: &dyn Arguments, road: Road<'_>) -> Result<Resource, Fault> {
    let mut out = String::with_capacity(48);
    for pieces in &line.resource {
        out.clear();
        let mut whole = true;
        for piece in pieces {
            match piece {
                ArgumentPiece::Text(fixed) => out.push_str(fixed),
                ArgumentPiece::Value { place, prefix, pair, head } => {
                    let value = text(find(given, place)?)?;
                    let value = value.as_deref().and_then(|value| value.strip_prefix(&**prefix));
                    let Some(value) = value.filter(|value| !value.is_empty()) else {
                        whole = false;
                        break;
                    };
                    check_part(value, *head, *pair)?;
                    out.push_str(value);
                }
            }
        }
        if whole {
            return Ok(Resource::new(&out));
        }
    }
    Ok((road.anywhere)())
}

/// A value for a resource's name; nothing where it is absent.
fn text(slot: Slot<'_>) -> Result<Option<String>, Doubt> {
    match slot {
        Slot::Absent => Ok(None),
        Slot::Text(text) | Slot::Loose(text) => Ok(Some(text.into_owned())),
        Slot::Int(number) => Ok(Some(number.to_string())),
        _ => Err("what it acts on is no text"),
    }
}

/// A value that becomes part of a resource's name must not read as structure, neither here nor in the path that a server may make of
/// it: servers of tools put `{owner}/{repo}` together by themselves, and `r/../../other/x` or `r?x` would be another place there.
fn check_part(value: &str, head: bool, pair: bool) -> Result<(), Fault> {
    let slashes = value.matches('/').count();
    let structure = if pair { slashes != 1 } else { head && slashes > 0 };
    let marks =
        |byte: u8| byte.is_ascii_control() || matches!(byte, b'?' | b'\\') || head && matches!(byte, b'#' | b'%');
    let plain = !head || model::resource::split_tail(value).1.is_none();
    if structure || !plain || value.bytes().any(marks) || value.split('/').any(is_dots) {
        let sentence = format!("Request is malformed: `{}` cannot be part of a resource's name", crate::visible(value));
        return Err(Fault::Refused(refuse(sentence)));
    }
    Ok(())
}

/// Whether a segment of a path stands for none: nothing, `.` or `..`.
fn is_dots(segment: &str) -> bool {
    matches!(segment, "" | "." | "..")
}

/// Whether a value reads the same wherever it is taken for a path: what the other road refuses in one.
fn is_path(value: &str) -> bool {
    !value.bytes().any(|byte| byte.is_ascii_control() || matches!(byte, b'?' | b'#' | b'%' | b'\\'))
        && !value.split('/').any(is_dots)
}

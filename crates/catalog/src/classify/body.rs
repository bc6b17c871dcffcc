//! Bodies: which reader a body gets, and what was found in it.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use model::bounds::{BODY_FACT_BYTES_DEFAULT, BODY_FACT_BYTES_MAX};
use model::call::BodyView;
use model::canonical::Length;
use model::{Code, Refusal, Unknown};
use smallvec::SmallVec;

use super::fact::Verdict;
use super::{View, form, json, multipart, refuse};
use crate::file::{Accepts, Holds};

/// A value that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Slot<'a> {
    /// Not there, or null.
    Absent,
    /// A text of a typed format.
    Text(Cow<'a, str>),
    /// A text of a format without types (form, query), which may mean a number or a boolean.
    Loose(Cow<'a, str>),
    Int(i64),
    Bool(bool),
    List(Vec<Cow<'a, str>>),
    Unknown(Unknown),
}

pub(super) type Slots<'a> = SmallVec<[Slot<'a>; 4]>;

/// Why a body gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    Unknown(Unknown),
    /// It holds a parameter by which frameworks replace the method (row B25).
    Override,
}

/// A reader of one body format: finds the wanted places. To add one, write a file and a line in [`reader`].
pub(super) type Read = for<'a> fn(&'a [u8], &[Vec<Box<str>>]) -> Result<Slots<'a>, Bad>;

/// The body of a request, not yet looked at.
pub(super) struct Body<'a> {
    view: View<'a>,
}

impl<'a> Body<'a> {
    pub const fn new(view: View<'a>) -> Self {
        Self { view }
    }

    /// Finds the wanted places, in the body and, where the upstream merges them, in the query.
    pub fn read(&self, wants: &[Vec<Box<str>>]) -> Result<Values<'a>, Refusal> {
        if wants.is_empty() {
            return Ok(Values::none());
        }
        let mut slots: Slots<'a> = wants.iter().map(|_| Slot::Absent).collect();
        let state = match self.bytes() {
            Err(unknown) => Some(unknown),
            Ok(None) => None,
            Ok(Some((bytes, reader))) => match reader(bytes, wants) {
                Ok(found) => {
                    slots = found;
                    None
                }
                Err(Bad::Unknown(unknown)) => Some(unknown),
                Err(Bad::Override) => return Err(overridden()),
            },
        };
        if state.is_none() && self.view.at.service.tables.merges_query {
            self.merge(wants, &mut slots);
        }
        Ok(Values { state, slots })
    }

    /// The octets and their reader; nothing for an empty body.
    fn bytes(&self) -> Result<Option<(&'a [u8], Read)>, Unknown> {
        let Some(bytes) = self.octets()? else { return Ok(None) };
        let accepts = &self.view.at.service.tables.accepts;
        reader(self.view.request.headers(), accepts).map(|reader| Some((bytes, reader)))
    }

    /// The octets alone; nothing for an empty body.
    pub fn octets(&self) -> Result<Option<&'a [u8]>, Unknown> {
        let bytes = match self.view.body {
            BodyView::NotRead if self.view.request.length() != Length::Empty => return Err(Unknown::NotRead),
            BodyView::NotRead | BodyView::Empty | BodyView::Whole(&[]) => return Ok(None),
            BodyView::TooLarge(_) => return Err(Unknown::TooLarge),
            BodyView::Whole(bytes) => bytes,
        };
        let service = &self.view.at.service.tables;
        let bound = service.bounds.body_fact_bytes.unwrap_or(BODY_FACT_BYTES_DEFAULT).min(BODY_FACT_BYTES_MAX);
        if bytes.len() > bound {
            return Err(Unknown::TooLarge);
        }
        if is_coded(self.view.request.headers()) {
            return Err(Unknown::Encoded);
        }
        Ok(Some(bytes))
    }

    fn merge(&self, wants: &[Vec<Box<str>>], slots: &mut Slots<'a>) {
        for (want, slot) in wants.iter().zip(slots) {
            let [name] = want.as_slice() else { continue };
            let request = self.view.request;
            let mut values = request.query().pairs().filter(|(known, _)| *known == &**name).map(|(_, value)| value);
            let Some(value) = values.next() else { continue };
            *slot = match (values.next(), &slot) {
                (None, Slot::Absent) => Slot::Loose(Cow::Borrowed(value)),
                _ => Slot::Unknown(Unknown::Ambiguous),
            };
        }
    }
}

fn overridden() -> Refusal {
    refuse("Request is malformed: its body overrides the method; send the method itself")
}

/// Looks in the body of a POST that frameworks read as a form for another method, whatever the call and whichever
/// bodies the service says it reads. Gives whether the body must be read for that (row B25).
pub(super) fn check_method(view: View<'_>) -> Result<bool, Refusal> {
    if view.request.method() != http::Method::POST {
        return Ok(false);
    }
    let headers = view.request.headers();
    let Some(has_override) = overriding(headers) else { return Ok(false) };
    let bytes = match view.body {
        BodyView::NotRead => return Ok(view.request.length() != Length::Empty),
        BodyView::Empty | BodyView::Whole(&[]) => return Ok(false),
        BodyView::TooLarge(_) => {
            let sentence = "The request's form, which could override the method, is larger than its service's bound";
            return Err(Refusal::new(Code::TooLarge, sentence).hint("send a Content-Type that says what the body is"));
        }
        BodyView::Whole(bytes) => bytes,
    };
    if is_coded(headers) {
        return Err(refuse("The request's form, which could override the method, is encoded")
            .hint("send it without Content-Encoding"));
    }
    if has_override(bytes) { Err(overridden()) } else { Ok(false) }
}

/// How a body of this type could override the method; nothing where it is no form. Frameworks take an absent type for a
/// form, and of a list the first; here every word counts, because which of them wins is the origin's choice.
fn overriding(headers: &HeaderMap) -> Option<fn(&[u8]) -> bool> {
    let (mut form, mut parts, mut any) = (false, false, false);
    for value in headers.get_all(CONTENT_TYPE) {
        let words = value.as_bytes().split(|byte| matches!(byte, b';' | b',' | b' ' | b'\t'));
        for word in words.filter(|word| !word.is_empty()) {
            any = true;
            form |= word.eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
            parts |= word.eq_ignore_ascii_case(b"multipart/form-data");
        }
    }
    match (form || !any, parts) {
        (true, true) => Some(|bytes| form::has_override(bytes) || multipart::has_override(bytes)),
        (true, false) => Some(form::has_override),
        (false, true) => Some(multipart::has_override),
        (false, false) => None,
    }
}

pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    let coded = |value: &http::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    headers.get_all(CONTENT_ENCODING).iter().any(coded)
}

/// The reader for what the content type says, if the service reads such bodies.
fn reader(headers: &HeaderMap, accepts: &[Accepts]) -> Result<Read, Unknown> {
    let essence = essence(headers)?;
    let accepts = |wanted| accepts.contains(&wanted);
    let json_like = essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json");
    if json_like && accepts(Accepts::Json) {
        return Ok(json::read);
    }
    if essence == "application/x-www-form-urlencoded" && accepts(Accepts::Form) {
        return Ok(form::read);
    }
    if essence == "multipart/form-data" && accepts(Accepts::Multipart) {
        return Err(Unknown::Encoded);
    }
    if accepts(Accepts::AnyAsJson) {
        return Ok(json::read);
    }
    Err(Unknown::Malformed)
}

/// The one content type, in lower case and without its parameters; empty where none is given. Only UTF-8 is read.
pub(super) fn essence(headers: &HeaderMap) -> Result<String, Unknown> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let first = types.next().map(|value| value.to_str().map_err(|_| Unknown::Malformed)).transpose()?;
    if types.next().is_some() {
        return Err(Unknown::Malformed);
    }
    let (essence, parameters) = first.unwrap_or_default().split_once(';').unwrap_or((first.unwrap_or_default(), ""));
    let essence = essence.trim().to_ascii_lowercase();
    let charset = parameters.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut charset = charset.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    if !charset.all(|(_, value)| value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")) {
        return Err(Unknown::Malformed);
    }
    Ok(essence)
}

/// What was found, or why nothing was.
pub(super) struct Values<'a> {
    state: Option<Unknown>,
    slots: Slots<'a>,
}

impl<'a> Values<'a> {
    /// Nothing was wanted.
    pub fn none() -> Self {
        Self { state: None, slots: Slots::new() }
    }

    /// Whether the body was not given.
    pub fn not_read(&self) -> bool {
        self.state == Some(Unknown::NotRead)
    }

    /// One wanted value.
    pub fn slot(&self, index: u8) -> Slot<'a> {
        match self.state {
            Some(unknown) => Slot::Unknown(unknown),
            None => self.slots.get(usize::from(index)).cloned().unwrap_or(Slot::Absent),
        }
    }

    /// Whether a wanted value is what it must be.
    pub fn holds(&self, index: u8, holds: &Holds) -> Verdict {
        let text = match self.slot(index) {
            Slot::Unknown(_) => return Verdict::Maybe,
            Slot::Absent => return Verdict::from(holds.fits(None)),
            Slot::Text(text) | Slot::Loose(text) => text,
            Slot::Int(number) => number.to_string().into(),
            Slot::Bool(flag) => flag.to_string().into(),
            // Of a list, whether some item is what it must be.
            Slot::List(items) => {
                let any = match holds {
                    Holds::Present => true,
                    Holds::Absent => false,
                    Holds::Is(_) | Holds::Starts(_) | Holds::Lines(_) | Holds::Under(_) => {
                        items.iter().any(|item| holds.fits(Some(item)))
                    }
                };
                return Verdict::from(any);
            }
        };
        Verdict::from(holds.fits(Some(&text)))
    }

    /// Appends a value for a resource's name; false where it is absent or not read.
    pub fn resource_text(&self, index: u8, out: &mut String) -> Result<bool, Refusal> {
        match self.slot(index) {
            Slot::Absent | Slot::Unknown(Unknown::NotRead) => Ok(false),
            Slot::Text(text) | Slot::Loose(text) => {
                out.push_str(&text);
                Ok(true)
            }
            Slot::Int(number) => Ok(write!(out, "{number}").is_ok()),
            Slot::Bool(_) | Slot::List(_) => Err(refuse("Request is malformed: its resource is not a text")),
            Slot::Unknown(_) => Err(self.refusal("its resource depends on")),
        }
    }

    /// The refusal of a body on which something depends and that cannot be read.
    pub fn refusal(&self, why: &str) -> Refusal {
        let sentence = |what| format!("The request's body, which {why}, {what}");
        match self.state {
            Some(Unknown::TooLarge) => Refusal::new(Code::TooLarge, sentence("is larger than its service's bound")),
            Some(Unknown::Encoded) => {
                refuse(sentence("is encoded")).hint("send it without Content-Encoding, as JSON or a form")
            }
            _ => refuse(sentence("cannot be read without doubt")).hint("send strict JSON, every key once"),
        }
    }
}

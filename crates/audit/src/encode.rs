//! An event as one line of the log.
//!
//! One line is one record whatever the event holds, and printing a line cannot move the cursor or turn the text
//! around: JSON escapes the C0 controls, and [`Visible`] escapes the rest (DEL, C1, bidirectional and invisible
//! characters), so that `cat` is safe.

use std::io;
use std::sync::Arc;

use model::bounds::{FACT_AUDIT_BYTES_MAX, RECORD_BYTES_MAX};
use model::event::{Kind, ResponseRecord};
use model::sighting::Place;
use model::{Event, EventId, Fact, Facts, Resource, Timestamp};
use serde::Serialize;
use serde_json::ser::Formatter;

use crate::error::AuditError;
use crate::frame::{Hex, seal, sha256};

/// Octets that the trailer and the line feed may take: fixed text, node (64), lane, seq, two hashes.
const TRAILER_BYTES_MAX: usize = 320;

/// What a line gets besides its event.
pub(crate) struct Stamp<'a> {
    pub node: &'a str,
    pub lane: &'a str,
    pub seq: u64,
    pub prev: &'a Hex,
}

/// What an attempt's record says of its exchange, as JSON fields: its outcome says the same, and is spared the encoding.
pub struct Said(Box<[u8]>);

impl Said {
    /// The fields after `kind`, which is the last that tells an attempt from its outcome. No text of anybody else's
    /// stands before it.
    pub(crate) fn of(attempt: &Event, line: &[u8]) -> Option<Self> {
        const NEXT: &[u8] = b",\"tenant\":";
        if attempt.response.is_some() || attempt.duration_us.is_some() {
            return None;
        }
        let begin = line.windows(NEXT.len()).take(256).position(|window| window == NEXT)?;
        let end = memchr::memmem::rfind(line, TRAILER)?;
        Some(Self(line.get(begin..end)?.into()))
    }
}

/// How the trailer begins.
const TRAILER: &[u8] = b",\"node\":\"";

/// What an outcome says that its attempt did not. Everything else is as it was, or it is encoded whole.
#[derive(Serialize)]
struct Head<'a> {
    id: &'a EventId,
    time: &'a Timestamp,
    kind: Kind,
}

#[derive(Serialize)]
struct Tail<'a> {
    response: &'a Option<ResponseRecord>,
    duration_us: Option<u64>,
}

/// [`line`] for the outcome of an attempt that said `said`, where `event` differs from it in id, time, kind, response and
/// duration alone.
pub(crate) fn outcome(event: &Event, said: &Said, stamp: &Stamp<'_>, out: &mut Vec<u8>) -> Result<Hex, AuditError> {
    out.clear();
    let head = Head { id: &event.id, time: &event.time, kind: event.kind };
    head.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Visible))?;
    out.pop();
    out.extend_from_slice(&said.0);
    let at = out.len();
    let tail = Tail { response: &event.response, duration_us: event.duration_us };
    tail.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Visible))?;
    if let Some(brace) = out.get_mut(at) {
        *brace = b',';
    }
    if out.len() > RECORD_BYTES_MAX - TRAILER_BYTES_MAX {
        return line(event, stamp, out);
    }
    debug_assert!(says_the_same(event, out), "the event differs from its attempt: {}", String::from_utf8_lossy(out));
    Ok(finish(stamp, out))
}

/// Whether `out` is what encoding the event whole would give, but for the order of fields.
fn says_the_same(event: &Event, out: &[u8]) -> bool {
    let mut whole = Vec::new();
    let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    json(event, &mut whole).is_ok() && (whole.len() > RECORD_BYTES_MAX - TRAILER_BYTES_MAX || read(&whole) == read(out))
}

/// Writes the line, line feed included, into `out`; gives its hash. No allocation once `out` has grown.
pub(crate) fn line(event: &Event, stamp: &Stamp<'_>, out: &mut Vec<u8>) -> Result<Hex, AuditError> {
    json(event, out)?;
    let max = RECORD_BYTES_MAX - TRAILER_BYTES_MAX;
    let mut round = 0;
    while out.len() > max {
        let Some(keep) = KEEPS.get(round) else { return Err(AuditError::TooLarge { bytes: out.len() }) };
        json(&cut(event, keep), out)?;
        round += 1;
    }
    Ok(finish(stamp, out))
}

/// Puts the trailer in the place of the closing brace.
fn finish(stamp: &Stamp<'_>, out: &mut Vec<u8>) -> Hex {
    out.pop();
    let mut digits = [0u8; 20];
    for part in [
        TRAILER,
        stamp.node.as_bytes(),
        b"\",\"lane\":\"",
        stamp.lane.as_bytes(),
        b"\",\"seq\":",
        decimal(stamp.seq, &mut digits),
        b",\"prev\":\"",
        stamp.prev,
        b"\"",
    ] {
        out.extend_from_slice(part);
    }
    let hash = seal(out);
    for part in [b",\"hash\":\"".as_slice(), &hash, b"\"}\n"] {
        out.extend_from_slice(part);
    }
    hash
}

fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    digits.get(20 - used..).unwrap_or_default()
}

fn json(event: &Event, out: &mut Vec<u8>) -> Result<(), AuditError> {
    out.clear();
    event.serialize(&mut serde_json::Serializer::with_formatter(out, Visible))?;
    Ok(())
}

/// Compact JSON with every character escaped that a terminal could act on or a reader could not see.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, to: &mut W, text: &str) -> io::Result<()> {
        if text.bytes().all(|byte| byte < 0x7f) {
            return to.write_all(text.as_bytes());
        }
        let mut units = [0u16; 2];
        for letter in text.chars() {
            if is_hidden(letter) {
                for unit in letter.encode_utf16(&mut units) {
                    write!(to, "\\u{unit:04x}")?;
                }
            } else {
                to.write_all(letter.encode_utf8(&mut [0; 4]).as_bytes())?;
            }
        }
        Ok(())
    }
}

/// Controls, format characters, separators and tags: what moves, hides or reorders text. Private use and unassigned
/// characters are left alone; they show as boxes.
fn is_hidden(letter: char) -> bool {
    matches!(letter,
        '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// How much of an over-long event is kept.
struct Keep {
    text: usize,
    path: usize,
    items: usize,
    facts: bool,
}

/// Tried in this order. The last fits whatever is in it: 8 items x 3 texts x 192 octets x 6 (escapes) is 28 KiB.
const KEEPS: [Keep; 3] = [
    Keep { text: 2_048, path: 8_192, items: 256, facts: true },
    Keep { text: 1_024, path: 2_048, items: 32, facts: false },
    Keep { text: 192, path: 512, items: 8, facts: false },
];

/// A text cut to about `max` octets; what is gone is named by its length and hash.
fn short(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let kept = text.get(..end).unwrap_or_default();
    format!("{kept}...[cut: {} octets in all, sha256 {}]", text.len(), sha256(text.as_bytes()))
}

fn short_option(text: &mut Option<String>, max: usize) {
    if let Some(text) = text {
        *text = short(text, max);
    }
}

fn short_facts(facts: &Facts, keep: &Keep) -> Facts {
    let mut out = Facts::default();
    for (name, fact) in facts.iter().take(if keep.facts { 32 } else { 0 }) {
        let max = FACT_AUDIT_BYTES_MAX;
        let fact = match fact {
            Fact::Text(text) => Fact::Text(short(text, max).into()),
            Fact::List(items) => Fact::List(items.iter().take(16).map(|item| short(item, max).into()).collect()),
            other => other.clone(),
        };
        out.add(short(name, max).into(), fact);
    }
    out
}

fn cut(event: &Event, keep: &Keep) -> Event {
    let mut event = event.clone();
    for text in [&mut event.task, &mut event.justification, &mut event.reason] {
        short_option(text, keep.text);
    }
    if let Some(approval) = &mut event.approval {
        short_option(&mut approval.approver, keep.text);
    }
    if !keep.facts {
        event.context = None;
    }
    if let Some(response) = event.response.as_mut().filter(|_| !keep.facts) {
        response.made = None;
        response.captured.truncate(keep.items);
    }
    if let Some(request) = &mut event.request {
        request.path = short(&request.path, keep.path).into();
        for text in [&mut request.method, &mut request.host, &mut request.source] {
            *text = short(text, keep.text).into();
        }
    }
    let left = event.calls.len().saturating_sub(keep.items);
    event.calls.truncate(keep.items);
    for call in &mut event.calls {
        call.facts = short_facts(&call.facts, keep);
        call.resource = Resource::new(&short(call.resource.as_str(), keep.text));
    }
    if left > 0 {
        let note = format!("{left} more calls were cut from this record");
        event.reason = Some(event.reason.map_or_else(|| note.clone(), |reason| format!("{reason}; {note}")));
    }
    event.rules.truncate(keep.items);
    for rule in &mut event.rules {
        *rule = Arc::from(short(rule, keep.text));
    }
    event.rewritten.truncate(keep.items);
    event.sightings.truncate(keep.items);
    for sighting in &mut event.sightings {
        if let Place::Header(name) = &mut sighting.place {
            *name = short(name, 64);
        }
    }
    event
}

//! `expires`: the permission applies until a moment, or for a time after the session's start.

use model::Timestamp;
use model::time::MICROS;

use super::{Condition, Needs, Reader};
use crate::document::{Conditions, value};

#[derive(Debug)]
enum Expires {
    At(Timestamp, String),
    After(u64, String),
}

pub(super) fn read(written: &Conditions, reader: &mut Reader<'_>) -> Vec<Box<dyn Condition>> {
    let Some(at) = &written.expires else { return Vec::new() };
    let text = at.value.trim();
    let moment = Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")));
    if let Some(moment) = moment {
        return vec![Box::new(Expires::At(moment, text.to_owned()))];
    }
    if let Some(seconds) = value::seconds(text) {
        return vec![Box::new(Expires::After(seconds, text.to_owned()))];
    }
    reader.say(
        at,
        "expected an RFC 3339 time such as `2026-12-31T18:00:00Z`, a date, or a length of time after the session's start such as `1h`",
        None,
    );
    Vec::new()
}

impl Condition for Expires {
    fn cedar(&self) -> Option<String> {
        Some(match self {
            // Seconds, rounded down on both sides: it ends no later than written.
            Self::At(moment, _) => format!("context.now < {}", moment.0.div_euclid(MICROS)),
            Self::After(seconds, _) => format!("context.age < {}", i64::try_from(*seconds).unwrap_or(i64::MAX)),
        })
    }

    fn needs(&self) -> Needs {
        Needs::TIME
    }

    fn explain(&self) -> Option<serde_json::Value> {
        let (Self::At(_, text) | Self::After(_, text)) = self;
        Some(serde_json::json!({ "kind": "expires", "expires": text }))
    }
}

//! Small values with several spellings: lengths of time, rates, limits.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

/// A length of time in seconds: `300s`, `5m`, `1h`, `7d`, or a bare number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub u64);

/// Reads `300s`, `5m`, `1h30m`, `7d`, `2w`, `90`.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Ok(bare) = text.parse::<u64>() {
        return Some(bare);
    }
    let (mut total, mut digits) = (0u64, String::new());
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        let unit = match letter {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(unit)?)?;
        digits.clear();
    }
    (digits.is_empty() && !text.is_empty()).then_some(total)
}

/// Seconds of a period's name: `hour`, `h`, `30m`.
fn period(word: &str) -> Option<u64> {
    Some(match word.trim() {
        "second" | "sec" | "s" => 1,
        "minute" | "min" | "m" => 60,
        "hour" | "hr" | "h" => 3_600,
        "day" | "d" => 86_400,
        "week" | "w" => 604_800,
        other => seconds(other).filter(|length| *length > 0 && other.parse::<u64>().is_err())?,
    })
}

/// The name of a period, as labels carry it.
pub(crate) fn period_name(seconds: u64) -> String {
    match seconds {
        1 => "second".into(),
        60 => "minute".into(),
        3_600 => "hour".into(),
        86_400 => "day".into(),
        604_800 => "week".into(),
        other => format!("{other}s"),
    }
}

/// At most this many calls, or this much of a fact, within any interval of this length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The fact that is summed; none for a count of calls.
    pub sum: Option<String>,
    /// How much.
    pub max: u64,
    /// The interval, seconds.
    pub seconds: u64,
}

impl Rate {
    /// Reads `5/hour`, `5 per hour`, `10_calls_per_minute`, `100/30m`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (count, every) =
            text.split_once('/').or_else(|| text.rsplit_once("_per_")).or_else(|| text.rsplit_once(" per "))?;
        let count = count.trim();
        let end = count.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'_').count();
        let (digits, unit) = (count.get(..end)?, count.get(end..)?);
        let max = digits.trim_matches('_').replace('_', "").parse().ok()?;
        let unit = unit.trim();
        unit.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(())?;
        Some(Self { sum: None, max, seconds: period(every)? })
    }

    /// As people write it: `5/hour`.
    pub fn label(&self) -> String {
        let every = period_name(self.seconds);
        match &self.sum {
            None => format!("{}/{every}", self.max),
            Some(fact) => format!("{} of {fact}/{every}", self.max),
        }
    }
}

/// `{sum: body.amount, max: 10000, per: day}`, or `{max: 5, per: hour}` for a count.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RateFields {
    #[serde(default)]
    sum: Option<String>,
    max: u64,
    per: String,
}

const RATE_FORM: &str = "a limit such as `5/hour`, `10_calls_per_minute` or `{sum: body.amount, max: 10000, per: day}`";

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Rate;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(RATE_FORM)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
                Rate::parse(text).ok_or_else(|| E::custom(format!("`{text}` is not {RATE_FORM}")))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rate, A::Error> {
                let fields = RateFields::deserialize(de::value::MapAccessDeserializer::new(map))?;
                let seconds = period(&fields.per).ok_or_else(|| {
                    de::Error::custom(format!(
                        "`{}` is not a period; write second, minute, hour, day or week",
                        fields.per
                    ))
                })?;
                Ok(Rate { sum: fields.sum, max: fields.max, seconds })
            }
        }
        from.deserialize_any(Form)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let fields = generator.subschema_for::<RateFields>();
        schemars::json_schema!({ "description": RATE_FORM, "anyOf": [{ "type": "string" }, fields] })
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Form;
        impl Visitor<'_> for Form {
            type Value = Span;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a length of time such as `300s`, `5m` or `1h`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                seconds(text).map(Span).ok_or_else(|| {
                    E::custom(format!("`{text}` is not a length of time; write `300s`, `5m`, `1h` or `7d`"))
                })
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Span, E> {
                Ok(Span(number))
            }
        }
        from.deserialize_any(Form)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "description": "300s, 5m, 1h, 7d or seconds", "type": ["string", "integer"] })
    }
}

/// Whether a person must be asked, as written: a word, or yes and no in foreign documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Every time.
    Required,
    /// Once for each session.
    OncePerSession,
    /// Never, not even for actions that ask by themselves.
    None,
    /// As if nothing were written (`require_approval: false`).
    Unsaid,
}

pub(crate) const APPROVAL_WORDS: [&str; 3] = ["required", "once-per-session", "none"];

impl<'de> Deserialize<'de> for Approval {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Form;
        impl Visitor<'_> for Form {
            type Value = Approval;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("required, once-per-session or none")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Approval, E> {
                match text {
                    "required" | "always" => Ok(Approval::Required),
                    "once-per-session" => Ok(Approval::OncePerSession),
                    "none" => Ok(Approval::None),
                    "never" => Ok(Approval::Unsaid),
                    other => Err(E::custom(format!("`{other}` is not one of {}", APPROVAL_WORDS.join(", ")))),
                }
            }
            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Approval, E> {
                Ok(if flag { Approval::Required } else { Approval::Unsaid })
            }
        }
        from.deserialize_any(Form)
    }
}

impl JsonSchema for Approval {
    fn schema_name() -> Cow<'static, str> {
        "Approval".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "enum": ["required", "once-per-session", "none", true, false] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_alike() {
        for text in ["5/hour", "5/h", "5 / hour", "5_calls_per_hour", "5 per hour", "5_per_hour", "5/60m"] {
            let rate = Rate::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((rate.max, rate.seconds), (5, 3_600), "{text}");
        }
        assert_eq!(Rate::parse("10_calls_per_minute").map(|rate| rate.label()).as_deref(), Some("10/minute"));
        for bad in ["", "5", "/hour", "x/hour", "5/", "5/fortnight", "5/0m", "-5/hour", "5/7", "5 CALLS!/hour"] {
            assert_eq!(Rate::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn lengths_of_time() {
        for (text, expected) in
            [("300s", Some(300)), ("5m", Some(300)), ("1h30m", Some(5_400)), ("7d", Some(604_800)), ("90", Some(90))]
        {
            assert_eq!(seconds(text), expected, "{text}");
        }
        for bad in ["", "s", "5x", "1h30", "99999999999999999999s", "-1s"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}

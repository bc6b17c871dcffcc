//! `exec:ARGV`: the output of a program, run in the folder that we were started in, with our environment and without a shell.
//!
//! The program prints either the value alone (one last newline is taken off) or, if the first octet is `{`, a JSON
//! object with the text `value` and optionally `expires_at` (RFC 3339): after that moment it is run again, and a value
//! already past its end is refused. Anything else in the object is ignored. An object with `secret` in place of `value` is a document
//! of parts (`key_id`, `secret`, `expires_at`). It has 30 seconds and 128 KiB; its standard
//! error goes nowhere; a status other than 0 is a failure.

use model::{Timestamp, bounds};
use secret::{Lease, Secret};
use serde::Deserialize;
use serde::de::IgnoredAny;
use zeroize::Zeroize;

use super::{Backend, BackendError, Fetched, Ground, Wanted, without_newline};
use crate::program::{Program, ProgramError};
use crate::reference::argv;
use crate::{Ambient, Pending, Scheme};

/// JSON may escape every octet of the largest value, and there may be more members.
const OUTPUT_BYTES_MAX: usize = 2 * bounds::SECRET_BYTES_MAX;

pub(super) struct Exec {
    ambient: Ambient,
}

impl Exec {
    pub fn new(ground: &Ground) -> Self {
        Self { ambient: ground.ambient.clone() }
    }
}

impl Backend for Exec {
    fn scheme(&self) -> Scheme {
        Scheme::Exec
    }

    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>> {
        Box::pin(async move {
            let argv = argv(wanted.reference.rest())
                .map_err(|why| BackendError::Malformed { what: format!("`{}`: {why}", wanted.reference) })?;
            let program = Program {
                argv: &argv,
                folder: self.ambient.base(),
                input: &[],
                seconds: bounds::EXEC_SECONDS_MAX,
                output_bytes_max: OUTPUT_BYTES_MAX,
            };
            let out = program.run().await.map_err(|error| refine(&argv, &error))?;
            read(&out).map_err(|what| BackendError::Malformed { what: format!("`{}` {what}", shown(&argv)) })
        })
    }
}

fn shown(argv: &[String]) -> &str {
    argv.first().map_or("", String::as_str)
}

fn refine(argv: &[String], error: &ProgramError) -> BackendError {
    let name = shown(argv);
    match error {
        ProgramError::Start(why) => {
            BackendError::Missing { what: format!("`{name}` could not be started ({why}); is it installed?") }
        }
        ProgramError::Failed(status) => {
            BackendError::Away { what: format!("`{name}` ended with status {status}; run it by hand to see why") }
        }
        ProgramError::Late(seconds) => BackendError::Away {
            what: format!("`{name}` printed nothing within {seconds} seconds; run it by hand to see why"),
        },
        ProgramError::Long(max) => BackendError::Malformed {
            what: format!("`{name}` printed more than {max} bytes; it should print the value"),
        },
    }
}

/// The documented object.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    expires_at: Option<Timestamp>,
    /// A document of two halves, which its kind reads.
    #[serde(default)]
    secret: Option<IgnoredAny>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

/// What a program printed: the value alone, or the documented object.
pub(crate) fn read(out: &[u8]) -> Result<Fetched, &'static str> {
    let out = without_newline(out);
    if out.first() != Some(&b'{') {
        return Ok(Fetched::plain(Secret::new(out.to_vec())));
    }
    let wrong = "printed an object without a text `value` (and `expires_at` as RFC 3339); see the guide to `exec:`";
    // The parser's message could quote the value.
    let mut answer: Answer = serde_json::from_slice(out).map_err(|_| wrong)?;
    let lease = Lease { id: None, expires: answer.expires_at };
    let value = match (answer.value.take(), &answer.secret) {
        (Some(value), _) => Secret::new(value.into_bytes()),
        (None, Some(_)) => Secret::new(out.to_vec()),
        (None, None) => return Err(wrong),
    };
    Ok(Fetched { lease, ..Fetched::plain(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_text_or_the_documented_object() {
        for (out, value, expires) in [
            (&b"abc\n"[..], &b"abc"[..], None),
            (b"abc", b"abc", None),
            (b"abc\r\n", b"abc", None),
            (br#"{"value":"a\"b"}"#, b"a\"b", None),
            (br#"{"key_id":"k","secret":"s"}"#, br#"{"key_id":"k","secret":"s"}"#, None),
            (
                b"{\"value\":\"x\",\"expires_at\":\"1970-01-01T00:00:09Z\",\"more\":1}\n",
                b"x",
                Some(Timestamp::from_secs(9)),
            ),
        ] {
            let fetched = read(out).expect("read");
            assert!(fetched.value.equals(value));
            assert_eq!(fetched.lease.expires, expires);
        }
        for bad in [&b"{"[..], br#"{"token":"x"}"#, br#"{"value":1}"#, br#"{"value":"x","expires_at":"soon"}"#] {
            assert!(read(bad).is_err());
        }
    }
}

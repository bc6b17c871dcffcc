//! `exec:PROGRAM ARGUMENTS`: a program of the operator's makes and retires values. It is started for each step, in the folder of the
//! configuration, with our environment and without a shell, with the step's name as its last argument: `make`, `verify` or `retire`.
//!
//! It reads one JSON object: `credential`, `ticket`, `old` and, but for `make`, `new`, each with `version` and `value`. For `make` it
//! prints the new value as programs of `exec:` references do (the value alone, or an object with `value`), and leaves the old one good. For
//! `verify` it ends with 0 where the new value works, with 1 where it does not, and with 2 where it cannot tell: then the service's own
//! check is asked. For `retire` it makes `old` useless at its source. Any step may come again with the same ticket, after a crash; any
//! status that is not named here is a failure that is tried again. It has 30 seconds and 128 KiB.

use std::path::PathBuf;

use model::bounds;
use secret::Secret;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Looked, RotateError, Rotator, Turn};
use crate::program::{Program, ProgramError};
use crate::reference::argv;
use crate::{Ambient, Pending};

/// As for references: JSON may escape every octet of the largest value.
const OUTPUT_BYTES_MAX: usize = 2 * bounds::SECRET_BYTES_MAX;

pub(super) struct Exec {
    words: Vec<String>,
    folder: PathBuf,
}

impl Exec {
    pub fn new(words: &str, ambient: &Ambient) -> Result<Self, &'static str> {
        Ok(Self { words: argv(words)?, folder: ambient.base().to_owned() })
    }

    /// What it printed, or the status that it ended with.
    async fn run(&self, step: &str, turn: &Turn<'_>) -> Result<Result<Zeroizing<Vec<u8>>, i32>, RotateError> {
        let input = told(turn)?;
        let mut words = self.words.clone();
        words.push(step.to_owned());
        let (folder, seconds) = (self.folder.as_path(), bounds::EXEC_SECONDS_MAX);
        let program = Program { argv: &words, folder, input: &input, seconds, output_bytes_max: OUTPUT_BYTES_MAX };
        let name = self.words.first().map_or("", String::as_str);
        match program.run().await {
            Ok(out) => Ok(Ok(out)),
            Err(ProgramError::Failed(status)) => Ok(Err(status)),
            Err(ProgramError::Start(why)) => {
                Err(RotateError::Refused(format!("`{name}` could not be started ({why}); is it installed?")))
            }
            Err(ProgramError::Late(seconds)) => {
                Err(RotateError::Away(format!("`{name} {step}` did not end within {seconds} seconds")))
            }
            Err(ProgramError::Long(max)) => {
                Err(RotateError::Refused(format!("`{name} {step}` printed more than {max} bytes")))
            }
        }
    }

    fn failed(&self, step: &str, status: i32) -> RotateError {
        let name = self.words.first().map_or("", String::as_str);
        RotateError::Away(format!("`{name} {step}` ended with status {status}; run it by hand to see why"))
    }
}

/// What the program reads. Written into a buffer that is reserved whole, so that no copy is left behind.
fn told(turn: &Turn<'_>) -> Result<Zeroizing<Vec<u8>>, RotateError> {
    // JSON may escape an octet by six.
    let most = |version: Option<(u64, &Secret)>| version.map_or(0, |(_, secret)| secret.len() * 6);
    let mut out = Zeroizing::new(Vec::with_capacity(1_024 + most(Some(turn.old)) + most(turn.new)));
    let names = format!(r#"{{"credential":{},"ticket":{},"old":"#, json!(turn.name), json!(turn.ticket));
    out.extend_from_slice(names.as_bytes());
    value(&mut out, turn.old)?;
    out.extend_from_slice(br#","new":"#);
    match turn.new {
        Some(new) => value(&mut out, new)?,
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    Ok(out)
}

fn value(out: &mut Vec<u8>, (version, secret): (u64, &Secret)) -> Result<(), RotateError> {
    let text = std::str::from_utf8(secret.expose());
    let text = text.map_err(|_| RotateError::Refused("the value is no text, so no program can be told".to_owned()))?;
    out.extend_from_slice(format!(r#"{{"version":{version},"value":"#).as_bytes());
    serde_json::to_writer(&mut *out, text).map_err(|error| RotateError::Refused(error.to_string()))?;
    out.push(b'}');
    Ok(())
}

impl Rotator for Exec {
    fn name(&self) -> &'static str {
        "exec"
    }

    fn make<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<Secret, RotateError>> {
        Box::pin(async move {
            let out = self.run("make", turn).await?.map_err(|status| self.failed("make", status))?;
            let fetched = crate::backend::printed(&out);
            fetched.map(|fetched| fetched.value).map_err(|what| RotateError::Refused(format!("the program {what}")))
        })
    }

    fn verify<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<Looked, RotateError>> {
        Box::pin(async move {
            match self.run("verify", turn).await? {
                Ok(_) => Ok(Looked::Works),
                Err(1) => Err(RotateError::Refused("the program says that the new value does not work".to_owned())),
                Err(2) => Ok(Looked::Unable),
                Err(status) => Err(self.failed("verify", status)),
            }
        })
    }

    fn retire<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<(), RotateError>> {
        Box::pin(
            async move { self.run("retire", turn).await?.map(drop).map_err(|status| self.failed("retire", status)) },
        )
    }
}

//! `import`: secrets in files go into the vault, and references take their place.
//!
//! First what would be done ([`Proposal::make`]), then doing it: the vault first, then the note that undoing needs, then the files. If it
//! ends in between, no secret is lost and nothing refers to what is not there.

mod undo;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use catalog::Catalog;
use model::{CredentialName, ServiceName};
use scan::Format;
use secret::Secret;

use super::scan::{Exposed, Look, scan};
use crate::config::{REFERENCE, Referable, Target, read_bounded, rewrite, service_of};

pub use undo::{Change, Imports, put_back};

/// A file with more than this is no file of settings.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Credentials whose names begin alike.
const NAMES_MAX: usize = 1_000;

/// One value that moves.
#[derive(Clone, Debug)]
pub struct Move {
    /// The file, as the user named it.
    pub shown: String,
    /// Where it is.
    pub path: PathBuf,
    /// The line.
    pub line: u64,
    /// The name that the value has there.
    pub variable: String,
    /// What of it may be shown.
    pub preview: String,
    /// What it will be called.
    pub credential: CredentialName,
    /// Whose it is.
    pub service: ServiceName,
    place: (usize, usize),
}

/// What would be done.
pub struct Proposal {
    /// What moves.
    pub moves: Vec<Move>,
    /// What stays, each with the reason.
    pub left: Vec<String>,
    values: BTreeMap<CredentialName, (ServiceName, Secret)>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Proposal {
    /// Looks for secrets in the files of `look` and says what can move. `taken` are the names that the vault has already.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn make(look: &Look, catalog: &Catalog, taken: &[CredentialName]) -> anyhow::Result<Self> {
        let seen = scan(look, &|_: &[u8]| false)?;
        let mut proposal =
            Self { moves: Vec::new(), left: seen.left_out, values: BTreeMap::new(), files: BTreeMap::new() };
        for exposed in &seen.found {
            let Some(target) = look.tree.files.iter().find(|target| target.shown == exposed.path) else { continue };
            if let Err(why) = proposal.consider(exposed, target, catalog, taken)? {
                let finding = &exposed.finding;
                proposal.left.push(format!("{}:{}: {} stays: {why}", exposed.path, finding.line, finding.kind.title));
            }
        }
        Ok(proposal)
    }

    /// Takes one finding in, or says why not.
    fn consider(
        &mut self,
        exposed: &Exposed,
        target: &Target,
        catalog: &Catalog,
        taken: &[CredentialName],
    ) -> anyhow::Result<Result<(), &'static str>> {
        if !self.files.contains_key(&target.path) {
            let octets = read_bounded(&target.path, FILE_BYTES_MAX)?
                .with_context(|| format!("`{}` is gone; start again", target.shown))?;
            self.files.insert(target.path.clone(), octets);
        }
        let finding = &exposed.finding;
        let place = (finding.start as usize, finding.end as usize);
        let octets = self.files.get(&target.path).map_or(&[][..], Vec::as_slice);
        let Some(value) = octets.get(place.0..place.1).and_then(|value| std::str::from_utf8(value).ok()) else {
            return Ok(Err("its file has changed"));
        };
        if !is_settings(&target.shown) {
            return Ok(Err("it does not stand in a file of settings, so that a reference there would mean nothing"));
        }
        if !stands_alone(octets, place) {
            return Ok(Err("it is part of a larger value"));
        }
        let variable = finding.name.clone().unwrap_or_default();
        let Some(service) = service_of(catalog, &variable, value) else {
            return Ok(Err("no service knows it, so that it could not be used from the vault"));
        };
        if service.credential_kinds().next().unwrap_or("token") != "token" {
            return Ok(Err("its service takes a user and a password; use `valetkey credential add --kind basic`"));
        }
        let known =
            self.values.iter().find(|(_, (owner, held))| owner == service.name() && held.equals(value.as_bytes()));
        let credential = if let Some((name, _)) = known {
            name.clone()
        } else {
            let name = self.free_name(service.name().as_str(), &variable, taken)?;
            self.values.insert(name.clone(), (service.name().clone(), Secret::new(value.as_bytes().to_vec())));
            name
        };
        self.moves.push(Move {
            shown: target.shown.clone(),
            path: target.path.clone(),
            line: finding.line,
            variable,
            preview: finding.preview.clone(),
            credential,
            service: service.name().clone(),
            place,
        });
        Ok(Ok(()))
    }

    fn free_name(&self, service: &str, variable: &str, taken: &[CredentialName]) -> anyhow::Result<CredentialName> {
        let plain = Referable::name(service, variable);
        let mut names = (1..NAMES_MAX).filter_map(|number| {
            CredentialName::new(&if number == 1 { plain.clone() } else { format!("{plain}-{number}") }).ok()
        });
        names
            .find(|name| !taken.contains(name) && !self.values.contains_key(name))
            .with_context(|| format!("no name is free for the credential `{plain}`; revoke some that are not needed"))
    }

    /// Gives the values away, each once, to whoever stores them.
    pub fn take_values(&mut self) -> BTreeMap<CredentialName, (ServiceName, Secret)> {
        std::mem::take(&mut self.values)
    }

    /// What undoing needs to know.
    pub fn changes(&self) -> Vec<Change> {
        let of = |one: &Move| Change { path: one.path.clone(), credential: one.credential.clone() };
        self.moves.iter().map(of).collect()
    }

    /// Writes the files, each whole or not at all.
    ///
    /// # Errors
    /// A file was changed meanwhile or cannot be written; those before it are written.
    pub fn write_files(&self) -> anyhow::Result<()> {
        for (path, before) in &self.files {
            let mut after = before.clone();
            // From the end, so that the places before stay right.
            let mut moves: Vec<&Move> = self.moves.iter().filter(|one| one.path == *path).collect();
            moves.sort_by_key(|one| std::cmp::Reverse(one.place));
            for one in &moves {
                after.splice(one.place.0..one.place.1, format!("{REFERENCE}{}", one.credential).into_bytes());
            }
            if !moves.is_empty() {
                rewrite(path, before, &after)?;
            }
        }
        Ok(())
    }
}

fn is_settings(shown: &str) -> bool {
    let json = std::path::Path::new(shown).extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
    json || Format::of_path(shown) == Format::Settings
}

/// Whether a value is all that is assigned: what replaces it must not become part of an address or a sentence.
fn stands_alone(octets: &[u8], (start, end): (usize, usize)) -> bool {
    let before = start.checked_sub(1).and_then(|at| octets.get(at)).copied();
    let escaped = start.checked_sub(2).and_then(|at| octets.get(at)) == Some(&b'\\');
    let after = octets.get(end).copied();
    match (before, after) {
        (Some(quote @ (b'"' | b'\'')), Some(close)) => quote == close && !escaped,
        (Some(b'=' | b':' | b' ' | b'\t'), None | Some(b'\n' | b'\r' | b' ' | b'\t')) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_values_alone() {
        for (text, whole) in [
            ("A=@\n", true),
            ("A: @", true),
            ("\"a\": \"@\",", true),
            ("'@'", true),
            ("A=x@\n", false),
            ("https://@:x@h", false),
            ("{\\\"a\\\":\\\"@\\\"}", false),
            ("A=@;B=1", false),
        ] {
            let at = text.find('@').expect("the place");
            assert_eq!(stands_alone(text.as_bytes(), (at, at + 1)), whole, "{text}");
        }
    }
}

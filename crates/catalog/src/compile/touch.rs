//! The part about paths that matter: sets, and the actions that say which paths they change.

use std::collections::BTreeMap;

use model::Effects;

use super::Wrong;
use super::actions::Draft;
use crate::compiled::{TOUCHES, Touch};
use crate::file::{Holds, ServiceFile, TouchPath, WhenEntry};

/// What an action says that names no path: it moves a ref to something that the server has.
const KEPT: &str = "kept";

/// Compiles the sets, and sets them where an action says its paths.
pub(super) fn compile(written: &ServiceFile, drafts: &mut [Draft]) -> Result<Vec<Touch>, Wrong> {
    let mut all: Vec<Touch> = Vec::new();
    for entry in &written.touches {
        let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if entry.name.is_empty() || !entry.name.bytes().all(named) {
            return Err(Wrong::new(&entry.name, format!("`{}` names no set; write small letters and `_`", entry.name)));
        }
        let fact = format!("{TOUCHES}{}", entry.name);
        if all.iter().any(|known| *known.fact == *fact) {
            return Err(Wrong::new(&entry.name, format!("set `{}` stands here twice; join them", entry.name)));
        }
        if entry.paths.0.is_empty() {
            return Err(Wrong::new(&entry.name, format!("set `{}` has no paths; say which matter", entry.name)));
        }
        let path = |text: &String| {
            let wrong = || format!("`{text}` is no path; write `CODEOWNERS`, or `.github/workflows/` for a folder");
            TouchPath::parse(text).ok_or_else(|| Wrong::new(text, wrong()))
        };
        let paths = entry.paths.0.iter().map(path).collect::<Result<_, _>>()?;
        all.push(Touch { fact: fact.into(), paths, effects: entry.effects });
    }
    settle(written, drafts)?;
    Ok(all)
}

/// What an action says of its paths makes it stronger: each set has effects of its own.
fn settle(written: &ServiceFile, drafts: &mut [Draft]) -> Result<(), Wrong> {
    for entry in &written.actions {
        let Some(said) = &entry.touches else { continue };
        if written.touches.is_empty() {
            let message = format!("`{}` says what it touches, and the file has no sets; add `touches:`", entry.id);
            return Err(Wrong::new(&entry.id, message));
        }
        let Some(draft) = drafts.iter_mut().find(|draft| draft.id == entry.id) else { continue };
        let places = if said.0 == [KEPT] { Vec::new() } else { said.0.clone() };
        for place in &places {
            for set in written.touches.iter().filter(|set| !set.effects.is_empty()) {
                draft.when.push(when(place, &set.paths.0, set.effects)?);
            }
        }
        draft.touches = Some(places);
    }
    Ok(())
}

fn when(place: &str, paths: &[String], effects: Effects) -> Result<WhenEntry, Wrong> {
    let tests = |name: &str| BTreeMap::from([(name.to_owned(), Holds::Under(paths.to_vec()))]);
    let mut entry = WhenEntry { effects, ..WhenEntry::default() };
    match place.split_once('.') {
        Some(("path", name)) => entry.path = tests(name),
        Some(("body", name)) => entry.body = tests(name),
        _ => {
            let message = format!("`{place}` is no place of paths; write `path.NAME`, `body.NAME` or `{KEPT}`");
            return Err(Wrong::new(place, message));
        }
    }
    Ok(entry)
}

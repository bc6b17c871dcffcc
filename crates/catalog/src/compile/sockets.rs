//! The part about messages of WebSockets: where they are opened, and the table of their clients' messages.

use std::collections::BTreeSet;

use model::{Class, Effects};

use super::Wrong;
use super::actions::Draft;
use super::lines::{self, Names, Own, Table, Written};
use super::rpc::{is_name, roots};
use crate::compiled::{SOCKET_UNLISTED, Socket};
use crate::file::{ServiceFile, SocketEntry};

const MESSAGES: Names = Names { what: "message", road: "a WebSocket", is: is_name, kind: Some("message") };

fn messages(entry: &SocketEntry) -> Result<Vec<Written<'_>>, Wrong> {
    lines::lines(&entry.messages, MESSAGES)
}

/// The actions that the section declares.
pub(super) fn own(written: &ServiceFile) -> Result<Vec<Own>, Wrong> {
    let mut all = Vec::new();
    if !written.sockets.is_empty() {
        let resource = vec!["message:{name}".to_owned()];
        all.push(Own { resource, ..Own::plain(SOCKET_UNLISTED, Class::Admin, Effects::EVERY) });
    }
    for entry in &written.sockets {
        lines::declare(&messages(entry)?, &mut all)?;
    }
    Ok(all)
}

/// Whoever may send one of the messages may open what carries them.
pub(super) fn imply(written: &ServiceFile, drafts: &mut [Draft]) -> Result<(), Wrong> {
    for entry in &written.sockets {
        let lines = messages(entry)?;
        let sent = lines.iter().flat_map(|line| &line.actions).map(|(id, _)| *id).chain([SOCKET_UNLISTED]);
        // One that is not there is a mistake of its line, and said there.
        let sent: BTreeSet<&str> = sent.filter(|id| drafts.iter().any(|draft| draft.id == **id)).collect();
        let sent: Vec<String> = sent.into_iter().filter(|id| **id != *entry.action).map(str::to_owned).collect();
        if let Some(draft) = drafts.iter_mut().find(|draft| draft.id == entry.action) {
            draft.implied_by.extend(sent);
        }
    }
    Ok(())
}

/// Compiles the section. `drafts` are all actions, in the order of their indices.
pub(super) fn compile(
    written: &ServiceFile,
    drafts: &[Draft],
    root_of: &dyn Fn(&str) -> Option<u32>,
) -> Result<Vec<Socket>, Wrong> {
    let table = Table { written, under: None, drafts };
    let mut all: Vec<Socket> = Vec::new();
    for entry in &written.sockets {
        let place = table.place_of(&entry.action, "this WebSocket")?;
        if all.iter().any(|known| known.place == place) {
            let message = format!("the messages of `{}` stand here twice; join the tables", entry.action);
            return Err(Wrong::new(&entry.action, message));
        }
        if entry.key.is_empty() {
            return Err(Wrong::new("key", "`key` is empty; write the member that names a message: `type`"));
        }
        let (roots, key) = (roots(drafts, place, root_of), entry.key.as_str().into());
        all.push(Socket { place, roots, key, names: table.compile(&messages(entry)?)? });
    }
    Ok(all)
}

/// Kinds of resource that the tables can make.
pub(super) fn kinds(written: &ServiceFile) -> BTreeSet<String> {
    let lines = written.sockets.iter().filter_map(|entry| messages(entry).ok());
    let mut all: BTreeSet<String> = lines.flat_map(|lines| lines::kinds(&lines)).collect();
    all.extend((!written.sockets.is_empty()).then(|| "message".to_owned()));
    all
}

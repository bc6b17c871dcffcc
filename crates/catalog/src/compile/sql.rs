//! What a host of `protocol: postgres` brings: its actions, its kinds of resource, its kind of credential.

use std::collections::BTreeMap;

use super::lines::Own;
use crate::compiled::sql::{ACTIONS, CHANGES, IMPLIED, KINDS, READ_WRITE};
use crate::file::{Protocol, ServiceFile};

/// The kind of credential by which one logs in to a server of databases.
const DATABASE: &str = "database";

fn speaks(written: &ServiceFile) -> bool {
    written.hosts.iter().any(|host| host.0.protocol == Some(Protocol::Postgres))
}

/// The actions of the protocol.
pub(super) fn own(written: &ServiceFile) -> Vec<Own> {
    if !speaks(written) {
        return Vec::new();
    }
    let others = || ACTIONS.iter().map(|(id, ..)| *id).filter(|id| !IMPLIED.contains(id) && *id != READ_WRITE);
    let implied = |id: &str| -> Vec<String> {
        match id {
            id if IMPLIED.contains(&id) => others().map(str::to_owned).collect(),
            READ_WRITE => CHANGES.map(str::to_owned).to_vec(),
            _ => Vec::new(),
        }
    };
    let one = |(id, class, effects, resource): &(&str, _, _, &str)| Own {
        resource: vec![(*resource).to_owned()],
        implied_by: implied(id),
        ..Own::plain(id, *class, *effects)
    };
    ACTIONS.iter().map(one).collect()
}

/// Kinds of resource to the kinds that contain them, those of a database among them.
pub(super) fn parents(written: &ServiceFile) -> BTreeMap<String, String> {
    let mut all = written.parents.clone();
    if speaks(written) {
        all.extend(KINDS.map(|kind| (kind.to_owned(), DATABASE.to_owned())));
    }
    all
}

/// Kinds of credential: that of databases first, where nothing else is said.
pub(super) fn credentials(written: &ServiceFile) -> Vec<String> {
    let unsaid = written.credentials.iter().map(String::as_str).eq(["token"]);
    if speaks(written) && unsaid { vec![DATABASE.to_owned()] } else { written.credentials.clone() }
}

//! SQL as PostgreSQL speaks it. Opening a connection to a database is one call; each statement on it is judged by itself: what it
//! reads, what it changes, which functions it calls, table by table. What is not understood may do anything.
//!
//! The text is read twice: by a lexer that follows PostgreSQL's own ([`lexer`]), which refuses what could be read in two ways, and for
//! queries by a parser that sees its tokens alone ([`query`]). [`head`] says what statements there are.
//!
//! What cannot be seen from here: what a view, a rule, a trigger, a default, a cast, an operator or the policy of a row does inside of
//! the server. It was made by somebody who may make it; agents may not, without being allowed to by name.

mod calls;
mod head;
mod known;
mod lexer;
mod query;
mod shape;

use aws_lc_rs::digest::{SHA256, digest};
use model::call::BodyView;
use model::canonical::Scheme;
use model::{Call, Classification, Facts, Refusal, Resource, hex};
use smallvec::SmallVec;

use self::calls::{Found as Calls, SCHEMA};
pub use self::known::is_harmless_setting;
pub use self::shape::{again, shape};
use super::{Found, View, refuse};
use crate::compiled::sql::CONNECT;
use crate::service::Service;

/// Octets of a database's name (NAMEDATALEN).
const DATABASE_BYTES_MAX: usize = 63;

pub(super) fn classify(view: View<'_>) -> Result<Option<Found>, Refusal> {
    let origin = view.request.origin();
    if origin.scheme != Scheme::Postgres {
        return Ok(None);
    }
    let database = database(view.request.path().raw())
        .ok_or_else(|| refuse("The name of the database is not one that is judged").hint(NAME_HINT))?;
    if let BodyView::Whole(text) = view.body {
        let calls = calls(view.at.service, database, text);
        return Ok(Some(Found { calls, needs_body: false, reads_front: false, hands_out: false }));
    }
    let action = view.at.service.action(CONNECT).ok_or_else(|| refuse("The service is not whole"))?;
    let (id, class, effects) = (action.id.clone(), action.class, action.effects);
    let resource = Resource::new(&format!("database:{database}"));
    Ok(Some(Found::one(Call { action: id, class, effects, resource, facts: Facts::default() })))
}

const NAME_HINT: &str = "databases have letters, digits, `_` and `-` in their names, at most 63";

/// The database that a path names: `/crm`.
fn database(path: &str) -> Option<&str> {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_' || octet == b'-';
    let name = path.strip_prefix('/')?;
    (!name.is_empty() && name.len() <= DATABASE_BYTES_MAX && name.bytes().all(plain)).then_some(name)
}

/// What a server's session must be held to, so that statements mean there what they mean here.
pub const SESSION_SETTINGS: [(&str, &str); 3] =
    [("client_encoding", "UTF8"), ("search_path", SCHEMA), ("standard_conforming_strings", "on")];

impl Service {
    /// What the statements of one message on an open connection are: the classification of what opened it, with their calls. No
    /// statement is no call.
    ///
    /// # Errors
    /// A refusal where the service is none that speaks SQL.
    pub fn statements(&self, opening: &Classification, sql: &[u8]) -> Result<Classification, Refusal> {
        let Some(database) = database(&opening.path) else { return Err(refuse("This is no database")) };
        let (calls, opening) = (calls(self, database, sql), opening.clone());
        Ok(Classification { calls, needs_body: false, hands_out: false, reads_front: false, ..opening })
    }
}

/// The calls of the statements of one message.
fn calls(service: &Service, database: &str, sql: &[u8]) -> SmallVec<[Call; 1]> {
    let mut found = Calls::new(service, database, hex(digest(&SHA256, sql).as_ref()).into());
    let doubt = match std::str::from_utf8(sql).map_err(|_| "it is not UTF-8").and_then(lexer::statements) {
        Ok(all) => all.iter().try_for_each(|one| head::read(one, &mut found)).err(),
        Err(doubt) => Some(doubt),
    };
    // `SELECT 1` touches nothing, and is said all the same.
    let doubt = doubt.or_else(|| found.settle().err());
    match doubt {
        Some(doubt) => found.unlisted(doubt),
        None => found.calls(),
    }
}

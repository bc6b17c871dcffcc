//! `op://VAULT/ITEM/[SECTION/]FIELD`: 1Password, by a Connect server where `backends: op` names one
//! (<https://developer.1password.com/docs/connect/api-reference>), else by its program, `op read` (which knows the user by the
//! desktop application or by `OP_SERVICE_ACCOUNT_TOKEN`).

use std::path::Path;

use http::header;
use model::{Timestamp, bounds};
use secret::Secret;
use serde::Deserialize;
use serde_json::Value;

use super::pick::{Tree, message};
use super::{Backend, BackendError, Fetched, Ground, Local, Wanted, without_newline};
use crate::far::{Ask, Client, Reply, encoded};
use crate::instance::{LogIn, Site};
use crate::program::ProgramError;
use crate::reference::Spot;
use crate::{Ambient, Pending, Scheme, program};

/// By its program.
pub(super) struct Program {
    ambient: Ambient,
}

const PROGRAM: &str = "op";

impl Program {
    pub fn new(ground: &Ground) -> Self {
        Self { ambient: ground.ambient.clone() }
    }

    async fn read(&self, wanted: Wanted<'_>) -> Result<Fetched, BackendError> {
        let missing = || {
            BackendError::Missing {
            what: "the program `op` of 1Password is not installed; install it, or describe a Connect server under `backends: op`"
                .to_owned(),
        }
        };
        let found = self.ambient.program(PROGRAM).ok_or_else(missing)?;
        let argv =
            [found.display().to_string(), "read".to_owned(), "--no-newline".to_owned(), wanted.reference.to_string()];
        let program = program::Program {
            argv: &argv,
            folder: Path::new("/"),
            input: &[],
            seconds: bounds::EXEC_SECONDS_MAX,
            output_bytes_max: bounds::SECRET_BYTES_MAX + 2,
        };
        let out = program.run().await.map_err(|error| match error {
            ProgramError::Start(why) => BackendError::Missing { what: format!("`op` could not be started ({why})") },
            // It has one status for everything, and says why on standard error, which may quote what it read.
            ProgramError::Failed(status) => BackendError::Away {
                what: format!("`op read {}` ended with status {status}; run it by hand to see why", wanted.reference),
            },
            ProgramError::Late(seconds) => BackendError::Away {
                what: format!("`op` printed nothing within {seconds} seconds; answer its question"),
            },
            ProgramError::Long(max) => BackendError::Malformed { what: format!("`op` printed more than {max} bytes") },
        })?;
        if out.is_empty() {
            return Err(BackendError::Missing { what: format!("`{}` is empty", wanted.reference) });
        }
        Ok(Fetched::plain(Secret::new(without_newline(&out).to_vec())))
    }
}

impl Backend for Program {
    fn scheme(&self) -> Scheme {
        Scheme::OnePassword
    }

    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>> {
        Box::pin(self.read(wanted))
    }
}

/// By a Connect server.
pub(super) struct Connect {
    client: Client,
    login: LogIn,
    local: Local,
}

#[derive(Deserialize)]
struct Named {
    id: String,
    #[serde(default, alias = "title")]
    name: String,
}

/// Letters of an id of 1Password's.
const ID_LETTERS: usize = 26;

impl Connect {
    pub fn new(site: &Site, client: Client, local: Local) -> Self {
        Self { client, login: site.login.clone(), local }
    }

    async fn ask(&self, target: String, now: Timestamp) -> Result<Reply, BackendError> {
        let value = self.local.bearer(&self.login, "Connect", now).await?;
        self.client.ask(&Ask::get(target).with(header::AUTHORIZATION, value)).await
    }

    /// The id of the one thing of this name. Filters compare as they like (SCIM); we compare to the letter.
    async fn id(&self, (list, attribute): (&str, &str), name: &str, now: Timestamp) -> Result<String, BackendError> {
        let is_id =
            name.len() == ID_LETTERS && name.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit());
        if is_id {
            return Ok(name.to_owned());
        }
        if name.contains('"') {
            return Err(BackendError::Malformed {
                what: format!("`{name}` holds a quotation mark; write its id instead"),
            });
        }
        let filter = encoded(&format!("{attribute} eq \"{name}\""));
        let reply = self.ask(format!("{list}?filter={filter}"), now).await?;
        if reply.status != 200 {
            return Err(refused(&reply, name));
        }
        let malformed =
            || BackendError::Malformed { what: "it does not answer as Connect does; is `address` right?".to_owned() };
        let all: Vec<Named> = serde_json::from_slice(&reply.body).map_err(|_| malformed())?;
        let mut same = all.into_iter().filter(|one| one.name == name && !one.id.is_empty());
        match (same.next(), same.next()) {
            (Some(one), None) => Ok(one.id),
            (None, _) => Err(BackendError::Missing { what: format!("1Password has no `{name}` that we may see") }),
            _ => Err(BackendError::Malformed {
                what: format!("1Password has several `{name}`; write the id of one instead"),
            }),
        }
    }

    async fn read(&self, wanted: Wanted<'_>) -> Result<Fetched, BackendError> {
        let malformed = |why: &str| BackendError::Malformed { what: why.to_owned() };
        let spot = Spot::read(Scheme::OnePassword, wanted.reference.rest()).map_err(malformed)?;
        let (vault, item, section, name) = match spot.segments.as_slice() {
            [vault, item, name] => (*vault, *item, None, *name),
            [vault, item, section, name] => (*vault, *item, Some(*section), *name),
            _ => return Err(malformed("it is written `op://VAULT/ITEM/FIELD`")),
        };
        let vault = self.id(("/v1/vaults", "name"), vault, wanted.now).await?;
        let items = format!("/v1/vaults/{}/items", encoded(&vault));
        let id = self.id((&items, "title"), item, wanted.now).await?;
        let reply = self.ask(format!("{items}/{}", encoded(&id)), wanted.now).await?;
        if reply.status != 200 {
            return Err(refused(&reply, item));
        }
        read(&reply.body, section, name, item)
    }
}

/// One field of an item, by its label or its id, of one section or of any.
pub(super) fn read(body: &[u8], section: Option<&str>, name: &str, item: &str) -> Result<Fetched, BackendError> {
    let malformed = |what: String| BackendError::Malformed { what };
    let tree: Tree = serde_json::from_slice(body)
        .map_err(|_| malformed("it does not answer as Connect does; is `address` right?".to_owned()))?;
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let sections: Vec<&Value> = tree.0.get("sections").and_then(Value::as_array).into_iter().flatten().collect();
    let called =
        |value: &Value, name: &str| ["id", "label"].iter().any(|key| text(value, key).is_some_and(|text| text == name));
    let within = |found: &Value| {
        let Some(section) = section else { return true };
        let id = found.get("section").and_then(|it| text(it, "id")).unwrap_or_default();
        id == section || sections.iter().any(|it| text(it, "id").as_deref() == Some(&id) && called(it, section))
    };
    let fields = tree.0.get("fields").and_then(Value::as_array).into_iter().flatten();
    let mut same = fields.filter(|found| called(found, name) && within(found));
    let found = match (same.next(), same.next()) {
        (Some(one), None) => one,
        (None, _) => {
            return Err(BackendError::Missing { what: format!("item `{item}` of 1Password has no field `{name}`") });
        }
        _ => {
            return Err(malformed(format!(
                "item `{item}` has several fields `{name}`; name the section or the field's id"
            )));
        }
    };
    let value = found.get("value").and_then(Value::as_str).filter(|value| !value.is_empty());
    let value =
        value.ok_or_else(|| BackendError::Missing { what: format!("field `{name}` of item `{item}` is empty") })?;
    let version = tree.0.get("version").and_then(Value::as_u64).unwrap_or(1).max(1);
    Ok(Fetched::of_version(version, Secret::new(value.as_bytes().to_vec())))
}

fn refused(reply: &Reply, what: &str) -> BackendError {
    let told = message(&reply.body);
    match reply.status {
        401 => BackendError::Forbidden { what: format!("Connect does not take our token{told}") },
        403 => BackendError::Forbidden {
            what: format!("Connect does not give `{what}` to us{told}; give the token access to its vault"),
        },
        404 => BackendError::Missing { what: format!("1Password has no `{what}`{told}") },
        429 | 500 => BackendError::Busy { what: format!("Connect answers {}{told}", reply.status) },
        501..=599 => BackendError::Away { what: format!("Connect answers {}{told}", reply.status) },
        status => BackendError::Malformed { what: format!("Connect answers {status}{told}") },
    }
}

impl Backend for Connect {
    fn scheme(&self) -> Scheme {
        Scheme::OnePassword
    }

    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>> {
        Box::pin(self.read(wanted))
    }

    fn check(&self, now: Timestamp) -> Pending<'_, Result<(), BackendError>> {
        Box::pin(async move {
            let reply = self.ask("/v1/vaults".to_owned(), now).await?;
            if reply.status == 200 { Ok(()) } else { Err(refused(&reply, "its list of vaults")) }
        })
    }
}

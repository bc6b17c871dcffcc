//! `keyring:SERVICE/ACCOUNT`: an item of the system's keychain. On Linux the Secret Service by `secret-tool lookup service SERVICE account
//! ACCOUNT` (libsecret), as most programs keep their items; on macOS a generic password by `security`. **Untested on macOS.**

use model::bounds;
use secret::Secret;

use super::keychain::Item;
use super::{Backend, BackendError, Fetched, Ground, Wanted, without_newline};
use crate::program::{ProgramError, ask_keychain};
use crate::{Ambient, Pending, Scheme};

const PROGRAM: &str = "secret-tool";

pub(super) struct Keyring {
    ambient: Ambient,
}

impl Keyring {
    pub fn new(ground: &Ground) -> Self {
        Self { ambient: ground.ambient.clone() }
    }

    async fn read(&self, rest: &str) -> Result<Secret, BackendError> {
        let malformed = |what: String| BackendError::Malformed { what };
        let (service, account) = split(rest).map_err(|why| malformed(format!("`keyring:{rest}`: {why}")))?;
        if cfg!(target_os = "macos") {
            let item = Item::parse(rest)
                .ok_or_else(|| malformed(format!("`keyring:{rest}` names no item that `security` takes")))?;
            return Ok(Secret::new(item.read(&self.ambient).await?.to_vec()));
        }
        let arguments = ["lookup", "service", service, "account", account];
        let asked = ask_keychain(&self.ambient, (PROGRAM, &arguments), &[], bounds::SECRET_BYTES_MAX + 2).await;
        let missing = || BackendError::Missing {
            what: format!("`{PROGRAM}` is not installed; it opens the keychain (package libsecret-tools)"),
        };
        let out = asked.ok_or_else(missing)?.map_err(|error| refine(&error, service, account))?;
        if out.is_empty() {
            return Err(absent(service, account));
        }
        Ok(Secret::new(without_newline(&out).to_vec()))
    }
}

impl Backend for Keyring {
    fn scheme(&self) -> Scheme {
        Scheme::Keyring
    }

    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>> {
        Box::pin(async move { self.read(wanted.reference.rest()).await.map(Fetched::plain) })
    }
}

fn absent(service: &str, account: &str) -> BackendError {
    BackendError::Missing {
        what: format!(
            "the keychain has no item of service `{service}` and account `{account}`; `secret-tool store --label=X service {service} \
             account {account}` makes one"
        ),
    }
}

fn refine(error: &ProgramError, service: &str, account: &str) -> BackendError {
    match error {
        // What it ends with where there is no such item.
        ProgramError::Failed(1) => absent(service, account),
        ProgramError::Start(why) => {
            BackendError::Missing { what: format!("`{PROGRAM}` could not be started ({why}); is it installed?") }
        }
        ProgramError::Failed(status) => BackendError::Away {
            what: format!("the keychain did not open (`{PROGRAM}` ended with status {status}); unlock it"),
        },
        ProgramError::Late(seconds) => BackendError::Away {
            what: format!("the keychain did not open within {seconds} seconds; answer its question"),
        },
        ProgramError::Long(max) => {
            BackendError::Malformed { what: format!("the item holds more than {max} bytes; a credential has fewer") }
        }
    }
}

fn split(rest: &str) -> Result<(&str, &str), &'static str> {
    rest.rsplit_once('/').ok_or("it is written `keyring:SERVICE/ACCOUNT`")
}

/// Whether this may stand after the colon.
pub(crate) fn check(rest: &str) -> Result<(), &'static str> {
    let (service, account) = split(rest)?;
    if service.is_empty() || account.is_empty() {
        return Err("it is written `keyring:SERVICE/ACCOUNT`");
    }
    // An argument that begins so would be an option.
    if service.starts_with('-') || account.starts_with('-') {
        return Err("a name that begins with `-` would be taken for an option");
    }
    crate::reference::check_segments(rest)
}

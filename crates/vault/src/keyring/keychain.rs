//! The system's keychain: the Secret Service through `secret-tool` (libsecret) on Linux, `security` on macOS. Programs
//! rather than a library: forty crates less, and nothing at all is touched where there is no session bus.

use zeroize::Zeroizing;

use super::{Around, Keyring, KeyringError, Made};
use crate::program::{ProgramError, ask_keychain};
use crate::seal::Key;
use crate::{Ambient, Pending};

/// A key is 64 octets; more is something else.
const OUTPUT_BYTES_MAX: usize = 256;

pub(super) struct Keychain;

#[derive(serde::Serialize, serde::Deserialize)]
struct Params {
    /// Tells the keys of several vaults apart.
    account: String,
}

fn failed(why: impl Into<String>) -> KeyringError {
    KeyringError::Keychain { why: why.into() }
}

/// The program of this system.
const PROGRAM: &str = if cfg!(target_os = "macos") { "security" } else { "secret-tool" };

async fn run(ambient: &Ambient, arguments: &[&str], input: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
    let asked = ask_keychain(ambient, (PROGRAM, arguments), input, OUTPUT_BYTES_MAX).await;
    asked.ok_or_else(|| failed(format!("`{PROGRAM}` is not installed")))?.map_err(|error| {
        failed(match error {
            ProgramError::Start(why) => why,
            ProgramError::Failed(status) => format!("`{PROGRAM}` ended with status {status}"),
            ProgramError::Late(seconds) => format!("nothing within {seconds} seconds"),
            ProgramError::Long(_) => "it gave something that is no key".to_owned(),
        })
    })
}

async fn look_up(ambient: &Ambient, account: &str) -> Result<Key, KeyringError> {
    let arguments: &[&str] = if cfg!(target_os = "macos") {
        &["find-generic-password", "-a", account, "-s", "valetkey", "-w"]
    } else {
        &["lookup", "service", "valetkey", "account", account]
    };
    let out = run(ambient, arguments, &[]).await?;
    let text = std::str::from_utf8(&out).map_err(|_| failed("it gave something that is no key"))?;
    Key::from_hex(text.trim_end_matches('\n')).ok_or_else(|| failed("it gave something that is no key"))
}

async fn keep(ambient: &Ambient, account: &str, key: &Key) -> Result<(), KeyringError> {
    let hex = key.hex();
    if cfg!(target_os = "macos") {
        // Through its own prompt: arguments can be seen by every process.
        let line = Zeroizing::new(format!("add-generic-password -U -a {account} -s valetkey -w {}\n", hex.as_str()));
        run(ambient, &["-i"], line.as_bytes()).await.map(drop)
    } else {
        let arguments = &["store", "--label=Valetkey vault", "service", "valetkey", "account", account];
        run(ambient, arguments, hex.as_bytes()).await.map(drop)
    }
}

impl Keyring for Keychain {
    fn slot(&self) -> &'static str {
        "keychain"
    }

    fn present(&self, ambient: &Ambient) -> bool {
        let bus = cfg!(target_os = "macos")
            || ambient.var("DBUS_SESSION_BUS_ADDRESS").is_some_and(|address| !address.is_empty());
        bus && ambient.program(PROGRAM).is_some()
    }

    fn make<'a>(&'a self, around: Around<'a>) -> Pending<'a, Result<Made, KeyringError>> {
        Box::pin(async move {
            let mut noise = [0u8; 8];
            around.random.fill(&mut noise);
            let account = format!("{:016x}", u64::from_be_bytes(noise));
            let key = Key::fresh(around.random);
            keep(around.ambient, &account, &key).await?;
            // Some services accept and forget; better to know before anything is sealed.
            if look_up(around.ambient, &account).await?.id() != key.id() {
                return Err(failed("it did not keep the key"));
            }
            let params = serde_json::to_string(&Params { account }).map_err(|error| failed(error.to_string()))?;
            Ok(Made { key, params })
        })
    }

    fn find<'a>(&'a self, params: &'a str, around: Around<'a>) -> Pending<'a, Result<Key, KeyringError>> {
        Box::pin(async move {
            let Params { account } =
                serde_json::from_str(params).map_err(|_| KeyringError::Parameters { slot: self.slot().to_owned() })?;
            look_up(around.ambient, &account).await
        })
    }
}

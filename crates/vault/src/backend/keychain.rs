//! An item of macOS's keychain in which another program keeps its log-in: a generic password, known by its service and its account,
//! through `security` as [`crate::keyring`] does. **Untested on macOS**: tested is what `security` is asked, by a stand-in.

use std::fmt::Write;

use zeroize::Zeroizing;

use super::{BackendError, without_newline};
use crate::Ambient;
use crate::program::{ProgramError, ask_keychain};

const PROGRAM: &str = "security";
/// What `security` ends with where there is no such item.
const ABSENT: i32 = 44;
/// A log-in with those of many servers beside it is some 10 KiB; its output may be in hexadecimal.
const OUTPUT_BYTES_MAX: usize = 128 * 1024;
/// A command on standard input is cut here, the cut one is obeyed, and the rest is taken for another.
const LINE_BYTES_MAX: usize = 4_096;

/// Which one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    service: String,
    account: String,
}

impl Item {
    /// `SERVICE/ACCOUNT`. By its service alone an item of another account may come first.
    pub fn parse(text: &str) -> Option<Self> {
        let (service, account) = text.rsplit_once('/')?;
        // What has a meaning in a command, a quotation mark among it, no name of an item needs.
        let is_plain = |text: &str, more: &[u8]| {
            !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || more.contains(&octet))
        };
        let good = is_plain(service, b" ._-@/:") && !service.starts_with('-') && is_plain(account, b"._@");
        good.then(|| Self { service: service.to_owned(), account: account.to_owned() })
    }

    /// What is in it.
    pub async fn read(&self, ambient: &Ambient) -> Result<Zeroizing<Vec<u8>>, BackendError> {
        let out =
            self.run(ambient, &["find-generic-password", "-a", &self.account, "-s", &self.service, "-w"], &[]).await?;
        let text = without_newline(&out);
        // A value with a line's end in it comes in hexadecimal; one that is an object never looks so.
        Ok(decoded(text).unwrap_or_else(|| Zeroizing::new(text.to_vec())))
    }

    /// Puts this in its place.
    pub async fn write(&self, ambient: &Ambient, bytes: &[u8]) -> Result<(), BackendError> {
        // Through its own prompt: arguments can be seen by every process. In hexadecimal nothing needs quotation marks.
        let front = format!("add-generic-password -U -a {} -s \"{}\" -X ", self.account, self.service);
        // Reserved whole: growing would leave copies behind.
        let mut line = Zeroizing::new(String::with_capacity(front.len() + 2 * bytes.len() + 1));
        line.push_str(&front);
        for octet in bytes {
            let _ = write!(line, "{octet:02x}");
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(BackendError::Malformed {
                what: format!(
                    "the item `{}` of the keychain is too large for `{PROGRAM}` to be written back; log in again with the program \
                     that it belongs to",
                    self.service
                ),
            });
        }
        line.push('\n');
        self.run(ambient, &["-i"], line.as_bytes()).await.map(drop)
    }

    async fn run(
        &self,
        ambient: &Ambient,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, BackendError> {
        let asked = ask_keychain(ambient, (PROGRAM, arguments), input, OUTPUT_BYTES_MAX).await;
        let missing = || BackendError::Missing {
            what: format!(
                "`{PROGRAM}` is not installed; the keychain is macOS's, elsewhere name the file of the log-in"
            ),
        };
        asked.ok_or_else(missing)?.map_err(|error| self.refine(&error))
    }

    fn refine(&self, error: &ProgramError) -> BackendError {
        let item = &self.service;
        match error {
            ProgramError::Failed(ABSENT) => BackendError::Missing {
                what: format!(
                    "the keychain has no item `{item}` of `{}`; log in with the program that it belongs to",
                    self.account
                ),
            },
            ProgramError::Start(why) => {
                BackendError::Missing { what: format!("`{PROGRAM}` could not be started ({why}); is it installed?") }
            }
            ProgramError::Failed(status) => BackendError::Away {
                what: format!("the keychain did not open `{item}` (`{PROGRAM}` ended with status {status}); unlock it"),
            },
            ProgramError::Late(seconds) => BackendError::Away {
                what: format!("the keychain did not open `{item}` within {seconds} seconds; answer its question"),
            },
            ProgramError::Long(max) => BackendError::Malformed {
                what: format!("the item `{item}` of the keychain is no log-in: more than {max} bytes"),
            },
        }
    }
}

/// Octets in hexadecimal, if it is nothing else.
fn decoded(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.chunks_exact(2) {
        let digit = |octet: Option<&u8>| char::from(*octet?).to_digit(16);
        let (high, low) = (digit(pair.first())?, digit(pair.last())?);
        out.push((high * 16 + low) as u8);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// `security` of a machine with one item, which it prints as it was given.
    const STAND_IN: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
echo "$@" >> asked
case "$1" in
find-generic-password) [ "$2 $3 $4 $5 $6" = "-a ada -s Claude Code-credentials -w" ] && cat item || exit 44 ;;
-i) read -r line; echo "$line" > line; echo "${line##* }" > item ;;
esac
"#;

    fn machine() -> (tempfile::TempDir, Ambient) {
        let folder = tempfile::tempdir().expect("folder");
        let program = folder.path().join(PROGRAM);
        std::fs::write(&program, STAND_IN).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("mode");
        let path = folder.path().as_os_str().to_owned();
        let ambient = Ambient::new("/".into(), move |name| (name == "PATH").then(|| path.clone()));
        (folder, ambient)
    }

    #[tokio::test]
    async fn an_item_is_read_and_written_back() {
        let (folder, ambient) = machine();
        let file = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        std::fs::write(folder.path().join("item"), "{\"a\":1}\n").expect("written");
        let item = Item::parse("Claude Code-credentials/ada").expect("an item");
        assert_eq!(item.read(&ambient).await.expect("read").as_slice(), b"{\"a\":1}");
        item.write(&ambient, b"{\"a\":\n2}").await.expect("written");
        assert_eq!(file("line"), "add-generic-password -U -a ada -s \"Claude Code-credentials\" -X 7b2261223a0a327d\n");
        assert_eq!(item.read(&ambient).await.expect("read").as_slice(), b"{\"a\":\n2}");
        // What is secret was in no argument.
        assert!(!file("asked").contains("7b22"), "{}", file("asked"));
        let error = item.write(&ambient, &[b'x'; 2_100]).await.expect_err("too long");
        assert!(matches!(error, BackendError::Malformed { .. }), "{error}");
        assert!(file("line").contains("7b2261223a0a327d"));
    }

    #[tokio::test]
    async fn what_is_not_there_is_told_apart() {
        let (folder, ambient) = machine();
        let other = Item::parse("Claude Code-credentials/unknown").expect("an item");
        let error = other.read(&ambient).await.expect_err("absent");
        assert!(matches!(&error, BackendError::Missing { what } if what.contains("no item")), "{error}");
        std::fs::write(folder.path().join(PROGRAM), "#!/bin/sh\nexit 36\n").expect("written");
        let error = other.read(&ambient).await.expect_err("locked");
        assert!(matches!(&error, BackendError::Away { what } if what.contains("unlock")), "{error}");
        let error = other.read(&Ambient::empty("/".into())).await.expect_err("no program");
        assert!(matches!(&error, BackendError::Missing { what } if what.contains("not installed")), "{error}");
    }

    #[test]
    fn names_that_mean_something_in_a_command_are_refused() {
        for bad in
            ["", "a", "/a", "a/", "-a/b", "a\"/b", "a'/b", "a\\/b", "a\n/b", "a/b c", "a/-b", "a/b\"", "a;/b", "a$/b"]
        {
            assert_eq!(Item::parse(bad), None, "{bad}");
        }
        assert!(Item::parse("a b/c/d").is_some_and(|item| item.service == "a b/c" && item.account == "d"));
    }
}

//! `login:PATH#value=/a/b,refresh=/c`: the file in which a program keeps its log-in, as JSON. It is read like any file, and
//! what is renewed is written back to where it came from, or the user would be logged out there: the server has taken
//! back what the file holds. Everything else in the file stays as it is. `login:keychain:SERVICE/ACCOUNT#..` is the same for a program that
//! keeps it in macOS's keychain.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::Timestamp;
use rustix::fs::OFlags;
use secret::Secret;
use serde_json::Value;
use zeroize::Zeroizing;

use super::keychain::Item;
use super::{Backend, BackendError, Fetched, Ground, Wanted};
use crate::kind::oauth2::Parts;
use crate::{Ambient, Pending, Scheme};

/// A file of log-ins that is larger holds other things.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// What a path begins with that is an item of the keychain.
const KEYCHAIN: &str = "keychain:";
/// Microseconds of a millisecond.
const MILLI: i64 = 1_000;

pub(super) struct Login {
    ambient: Ambient,
}

impl Login {
    pub fn new(ground: &Ground) -> Self {
        Self { ambient: ground.ambient.clone() }
    }

    fn place(&self, wanted: &Wanted<'_>) -> Result<Place, BackendError> {
        let place = Place::parse(wanted.reference.rest()).map_err(|what| BackendError::Malformed { what })?;
        if place.item.is_some() {
            return Ok(place);
        }
        Ok(Place { path: self.ambient.base().join(&place.path), ..place })
    }

    /// What is there now: its program may have written other things since.
    async fn text(&self, place: &Place) -> Result<Zeroizing<Vec<u8>>, BackendError> {
        match &place.item {
            Some(item) => item.read(&self.ambient).await,
            None => read(&place.path),
        }
    }
}

impl Backend for Login {
    fn scheme(&self) -> Scheme {
        Scheme::Login
    }

    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>> {
        Box::pin(async move {
            let place = self.place(&wanted)?;
            place.read(&self.text(&place).await?).map(Fetched::plain)
        })
    }

    fn store<'a>(&'a self, wanted: Wanted<'a>, value: Secret) -> Pending<'a, Result<u64, BackendError>> {
        Box::pin(async move {
            let place = self.place(&wanted)?;
            let made = place.renewed(&self.text(&place).await?, &value, wanted.now)?;
            match &place.item {
                Some(item) => item.write(&self.ambient, &made).await?,
                None => replace(&place.path, &made)?,
            }
            Ok(1)
        })
    }
}

/// Where the parts stand.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    path: PathBuf,
    /// Where the path names one.
    item: Option<Item>,
    value: String,
    refresh: Option<String>,
    identity: Option<String>,
    expires_ms: Option<String>,
    renewed: Option<String>,
}

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`login:{text}` is not `login:PATH#value=/POINTER,refresh=/POINTER`, with `keychain:SERVICE/ACCOUNT` for a path \
                        where it is in the keychain; write it like that"
            )
        };
        let (path, parts) = text.rsplit_once('#').ok_or_else(wrong)?;
        let mut place = Self { path: path.into(), ..Self::default() };
        if let Some(item) = path.strip_prefix(KEYCHAIN) {
            place.item = Some(Item::parse(item).ok_or_else(wrong)?);
        }
        for part in parts.split(',') {
            let (name, at) = part.split_once('=').filter(|(_, at)| at.starts_with('/')).ok_or_else(wrong)?;
            let at = at.to_owned();
            match name {
                "value" => place.value = at,
                "refresh" => place.refresh = Some(at),
                "identity" => place.identity = Some(at),
                "expires_ms" => place.expires_ms = Some(at),
                "renewed" => place.renewed = Some(at),
                _ => return Err(wrong()),
            }
        }
        if place.value.is_empty() || place.path.as_os_str().is_empty() { Err(wrong()) } else { Ok(place) }
    }

    fn tree(&self, text: &[u8]) -> Result<(Value, bool), BackendError> {
        let tree = serde_json::from_slice(text).map_err(|_| BackendError::Malformed {
            what: format!("`{}` is not JSON; log in again with the program that wrote it", self.path.display()),
        })?;
        Ok((tree, text.contains(&b'\n')))
    }

    fn read(&self, text: &[u8]) -> Result<Secret, BackendError> {
        let (tree, _) = self.tree(text)?;
        let text = |at: &str| tree.pointer(at).and_then(Value::as_str).map(|text| Zeroizing::new(text.to_owned()));
        let part = |at: &Option<String>| at.as_deref().and_then(text).filter(|text| !text.is_empty());
        let access = text(&self.value).filter(|text| !text.is_empty()).ok_or_else(|| BackendError::Missing {
            what: format!("`{}` holds no log-in; log in with the program that it belongs to", self.path.display()),
        })?;
        let ends = self.expires_ms.as_deref().and_then(|at| tree.pointer(at)).and_then(Value::as_i64);
        let expires = ends.map(|ms| Timestamp(ms.saturating_mul(MILLI)));
        let parts = Parts { access, refresh: part(&self.refresh), identity: part(&self.identity), expires };
        parts.join().map_err(|error| BackendError::Malformed { what: error.to_string() })
    }

    /// The same with what is new in its places.
    fn renewed(&self, text: &[u8], value: &Secret, now: Timestamp) -> Result<Zeroizing<Vec<u8>>, BackendError> {
        let parts = Parts::of(value).map_err(|error| BackendError::Malformed { what: error.to_string() })?;
        let (mut tree, lines) = self.tree(text)?;
        let mut put = |at: Option<&str>, value: Option<Value>| {
            if let (Some(at), Some(value)) = (at, value) {
                set(&mut tree, at, value);
            }
        };
        let text = |text: &Zeroizing<String>| Value::from(text.as_str());
        put(Some(&self.value), Some(text(&parts.access)));
        put(self.refresh.as_deref(), parts.refresh.as_ref().map(text));
        put(self.identity.as_deref(), parts.identity.as_ref().map(text));
        put(self.expires_ms.as_deref(), parts.expires.map(|end| Value::from(end.0.div_euclid(MILLI))));
        put(self.renewed.as_deref(), Some(Value::from(now.to_string())));
        let made = if lines { serde_json::to_vec_pretty(&tree) } else { serde_json::to_vec(&tree) };
        made.map(Zeroizing::new).map_err(|error| BackendError::Malformed { what: error.to_string() })
    }
}

/// Sets a member that is there or whose parent is.
fn set(tree: &mut Value, at: &str, value: Value) {
    if let Some(there) = tree.pointer_mut(at) {
        *there = value;
    } else if let Some((parent, key)) = at.rsplit_once('/')
        && let Some(Value::Object(map)) = tree.pointer_mut(parent)
    {
        map.insert(key.replace("~1", "/").replace("~0", "~"), value);
    }
}

fn fail(path: &Path, error: &std::io::Error) -> BackendError {
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound => BackendError::Missing {
            what: format!("the file `{shown}` is not there; log in with the program that it belongs to"),
        },
        ErrorKind::PermissionDenied => {
            BackendError::Missing { what: format!("the file `{shown}` may not be used; check its owner and mode") }
        }
        _ => BackendError::Away { what: format!("the file `{shown}` could not be used: {error}") },
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, BackendError> {
    // Not to wait for the other end of a pipe.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| fail(path, &error))?;
    if !file.metadata().map_err(|error| fail(path, &error))?.is_file() {
        return Err(BackendError::Malformed { what: format!("`{}` is not a regular file; name one", path.display()) });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| fail(path, &error))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(BackendError::Malformed {
            what: format!("`{}` is no file of a log-in: too large", path.display()),
        });
    }
    Ok(bytes)
}

/// Whole or not at all, with the mode and the owner that it had; a link stays a link.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), BackendError> {
    let attempt = || -> std::io::Result<()> {
        let target = path.canonicalize()?;
        let before = target.metadata()?;
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let fresh = target.with_file_name(name);
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(&fresh)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(before.mode() & 0o7777)))
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&fresh, &target));
        if written.is_err() {
            let _ = std::fs::remove_file(&fresh);
        }
        written
    };
    attempt().map_err(|error| fail(path, &error))
}

/// The file that a reference names; none where it names an item of the keychain.
pub(crate) fn file(rest: &str) -> Option<PathBuf> {
    let place = Place::parse(rest).ok()?;
    place.item.is_none().then_some(place.path)
}

/// Whether a reference reads right.
pub(crate) fn check(rest: &str) -> Result<(), &'static str> {
    Place::parse(rest)
        .map(drop)
        .map_err(|_| "write `login:PATH#value=/POINTER,refresh=/POINTER`; PATH may be `keychain:SERVICE/ACCOUNT`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        r#"{"z":1,"o":{"accessToken":"a-1","refreshToken":"r-1","expiresAt":1700000000000,"scopes":["x"]}}"#;

    fn place(path: &Path) -> Place {
        let text = format!(
            "{}#value=/o/accessToken,refresh=/o/refreshToken,expires_ms=/o/expiresAt,renewed=/last",
            path.display()
        );
        Place::parse(&text).expect("a place")
    }

    #[test]
    fn renewed_tokens_go_back_to_where_they_came_from() {
        let folder = tempfile::tempdir().expect("folder");
        let (path, link) = (folder.path().join("real"), folder.path().join("link"));
        for (text, mode) in [(FILE.to_owned(), 0o600), (FILE.replace(",\"o\"", ",\n\"o\""), 0o640)] {
            std::fs::write(&path, &text).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(&path, &link).expect("linked");
            let place = place(&link);
            let value = place.read(&read(&link).expect("there")).expect("read");
            assert!(Parts::of(&value).expect("parts").access.as_str() == "a-1");
            let new = r#"{"access_token":"a-2","refresh_token":"r-2","expires_at":1800000000}"#;
            let (before, new) = (read(&link).expect("there"), Secret::new(new.as_bytes().to_vec()));
            let made = place.renewed(&before, &new, Timestamp::from_secs(1)).expect("made");
            replace(&link, &made).expect("stored");
            let made: Value = serde_json::from_str(&std::fs::read_to_string(&path).expect("there")).expect("JSON");
            let want = serde_json::json!({"z": 1, "last": "1970-01-01T00:00:01.000000Z", "o": {"accessToken": "a-2",
                "refreshToken": "r-2", "expiresAt": 1_800_000_000_000_i64, "scopes": ["x"]}});
            assert_eq!(made, want);
            assert_eq!(path.metadata().expect("there").mode() & 0o7777, mode);
            assert!(link.is_symlink() && std::fs::read_dir(folder.path()).expect("listed").count() == 2);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("file");
        assert!(matches!(read(&path), Err(BackendError::Missing { .. })));
        for text in ["not json", "{}", r#"{"o":{"accessToken":""}}"#] {
            std::fs::write(&path, text).expect("written");
            assert!(place(&path).read(&read(&path).expect("there")).is_err(), "{text}");
        }
        for bad in ["", "x", "x#", "x#value", "x#value=a", "#value=/a", "x#refresh=/a", "x#value=/a,other=/b"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
        for bad in ["keychain:#value=/a", "keychain:x#value=/a", "keychain:x/y z#value=/a"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
        let item = Place::parse("keychain:Claude Code-credentials/ada#value=/a").expect("an item").item;
        assert_eq!(item, Item::parse("Claude Code-credentials/ada"));
    }
}

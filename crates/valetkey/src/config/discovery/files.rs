//! Credentials in files: those that service files hint at, `.env` in the current folder, `.netrc`, and AWS, which has
//! pairs of keys by profile.
//!
//! What is found in a file is masked in isolation, and open to the agent without it. Each such find therefore comes with a
//! sentence that says so, for runs without walls.

use std::fmt::Write as _;
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest as sha};
use catalog::{FileHint, LoginHint};
use model::canonical::{Host, Scheme};
use model::{Digest, Part};
use serde_json::Value;

use super::{Candidate, Search, formats, kind_of, looks};
use crate::config::read_bounded;

/// A file larger than this holds more than credentials.
const FILE_BYTES_MAX: usize = 1024 * 1024;

impl Search<'_> {
    /// The file's text, where it is there and can be read.
    pub(super) fn text(&mut self, path: &str) -> Option<String> {
        match read_bounded(&self.place(path)?, FILE_BYTES_MAX) {
            Ok(bytes) => String::from_utf8(bytes?).ok(),
            Err(error) => {
                self.notes.push(format!("{error}; what it holds is not known to Valetkey"));
                None
            }
        }
    }

    /// Files under `~/.config` follow XDG_CONFIG_HOME.
    fn moved(&self, path: &str) -> Option<PathBuf> {
        let rest = path.strip_prefix("~/.config/")?;
        let base = PathBuf::from(self.ambient.var_os("XDG_CONFIG_HOME")?);
        base.is_absolute().then(|| base.join(rest))
    }

    fn place(&self, path: &str) -> Option<PathBuf> {
        let place = match path.strip_prefix("~/") {
            Some(rest) => self.ambient.user_home()?.join(rest),
            None => self.ambient.folder().join(path),
        };
        Some(self.moved(path).unwrap_or(place))
    }

    /// Adds the log-in of a program. Its value stays in the file, where what is renewed is written back to.
    fn login(&mut self, service: &str, hint: &FileHint, login: &LoginHint, text: &str) {
        let (Some(service), Some(place)) = (self.catalog.service(service), self.place(&hint.path)) else { return };
        let service = service.name().clone();
        let tree = formats::tree(text).unwrap_or_default();
        let value = tree.pointer(&hint.key).and_then(Value::as_str).filter(|value| !value.is_empty());
        let (Some(value), Some(path)) = (value, place.to_str()) else { return };
        let parts = [
            (Part::Value, Some(&hint.key)),
            (Part::Refresh, Some(&login.refresh)),
            (Part::Identity, login.identity.as_ref()),
        ];
        for (part, at) in parts {
            let text = at.and_then(|at| tree.pointer(at)).and_then(Value::as_str);
            self.logins.extend(text.map(|text| (part, text.to_owned())));
        }
        let mut from = format!("login:{path}#value={},refresh={}", hint.key, login.refresh);
        for (word, at) in
            [("identity", &login.identity), ("expires_ms", &login.expires_ms), ("renewed", &login.renewed)]
        {
            if let Some(at) = at {
                let _ = write!(from, ",{word}={at}");
            }
        }
        let before = self.found.len();
        self.add(Candidate {
            name: &format!("{service}-login"),
            service,
            kind: "oauth2".to_owned(),
            from,
            value: value.into(),
            place: hint.path.clone(),
            variable: None,
        });
        if self.found.len() > before {
            if let Some(found) = self.found.last_mut() {
                let mut digest = [0u8; 32];
                digest.copy_from_slice(sha(&SHA256, value.as_bytes()).as_ref());
                found.digest = Some(Digest(digest));
            }
            self.open.push(format!(
                "{} holds a log-in; if that happened outside of Valetkey, the agent can read its tokens and what it sends with them is refused: log in again behind Valetkey, or run the agent between walls",
                hint.path
            ));
        }
    }

    /// The service of a host.
    fn by_host(&self, host: &str) -> Option<&'_ catalog::Service> {
        self.catalog.by_host(&Host::parse(host).ok()?, 443, Scheme::Https)
    }

    /// Adds a value of a file for a service.
    pub(super) fn add_from_file(&mut self, service: &str, value: &str, place: &str) {
        if let Some(name) = super::refer::name_in(value) {
            self.refer(&name, place, None);
            return;
        }
        let Some(service) = self.catalog.service(service) else { return };
        let (service, kind) = (service.name().clone(), kind_of(service));
        let name = format!("{service} {}", place.rsplit('/').next().unwrap_or(place));
        let before = self.found.len();
        let from = self.keep_value(value);
        self.add(Candidate {
            name: &name,
            service,
            kind,
            from,
            value: value.into(),
            place: place.to_owned(),
            variable: None,
        });
        if self.found.len() > before {
            self.open.push(format!(
                "{place} still holds its credential and the agent can read it; move it with `valetkey credential add`, or start the agent where the file is not"
            ));
        }
    }

    /// Marks the last one as put on without a placeholder.
    fn always(&mut self) {
        if let Some(last) = self.found.last_mut() {
            last.always = true;
        }
    }
}

pub(super) fn look(search: &mut Search<'_>) {
    let hints: Vec<(String, FileHint)> = search
        .catalog
        .services()
        .flat_map(|service| service.files().iter().map(|hint| (service.name().to_string(), hint.clone())))
        .collect();
    for (service, hint) in hints {
        hinted(search, &service, &hint);
    }
    dotenv(search);
    netrc(search);
    super::aws::file(search);
}

fn hinted(search: &mut Search<'_>, service: &str, hint: &FileHint) {
    // The two formats that name hosts are read once for all services.
    if hint.format == "netrc" {
        return;
    }
    let Some(text) = search.text(&hint.path) else { return };
    if let Some(login) = &hint.login {
        search.login(service, hint, login, &text);
        return;
    }
    let values: Vec<String> = match hint.format.as_str() {
        "json" | "yaml" => formats::tree(&text)
            .map(|tree| formats::at_path(&tree, &hint.key))
            .unwrap_or_default()
            .into_iter()
            .map(|(_, value)| value)
            .collect(),
        "toml" | "ini" => {
            formats::ini(&text).into_iter().filter(|(key, _)| fits(key, &hint.key)).map(|(_, value)| value).collect()
        }
        "npmrc" => formats::npmrc(&text)
            .into_iter()
            .filter(|(host, _)| search.by_host(host).is_some_and(|known| known.name().as_str() == service))
            .map(|(_, value)| value)
            .collect(),
        "env" => {
            formats::env(&text).into_iter().filter(|(name, _)| *name == hint.key).map(|(_, value)| value).collect()
        }
        _ => Vec::new(),
    };
    for value in values.iter().filter(|value| !value.is_empty()) {
        search.add_from_file(service, value, &hint.path);
    }
}

/// Whether a dotted key is the one of a pattern with `*`. Dots of a key's own are not told from others.
fn fits(key: &str, pattern: &str) -> bool {
    let (mut key, mut pattern) = (key.split('.'), formats::steps(pattern));
    loop {
        match (key.next(), pattern.next()) {
            (None, None) => return true,
            (Some(_), Some("*")) => {}
            (Some(key), Some(step)) if key == step => {}
            _ => return false,
        }
    }
}

fn dotenv(search: &mut Search<'_>) {
    let Some(text) = search.text(".env") else { return };
    for (name, value) in formats::env(&text) {
        if let Some(name) = super::refer::name_in(&value) {
            search.refer(&name, ".env", None);
            continue;
        }
        let known =
            search.by_variable(&name).or_else(|| search.by_shape(&value)).map(|service| service.name().to_string());
        match known {
            Some(service) => search.add_from_file(&service, &value, ".env"),
            None if looks::like_a_secret(&name, &value, search.ambient.folder()).is_some() => {
                search.open.push(format!(
                    "{name} in .env looks like a secret and no service knows it; the agent can read it there"
                ));
            }
            None => {}
        }
    }
}

/// git and curl read `.netrc` and send what it says by themselves, in answer to a challenge or at once. With the credential
/// put on without a placeholder they work though the file were gone.
fn netrc(search: &mut Search<'_>) {
    let Some(text) = search.text("~/.netrc") else { return };
    for (host, value) in formats::netrc(&text) {
        match search.by_host(&host).map(|service| service.name().to_string()) {
            Some(service) => {
                let before = search.found.len();
                search.add_from_file(&service, &value, "~/.netrc");
                if search.found.len() > before {
                    search.always();
                }
            }
            None => search.open.push(format!(
                "~/.netrc holds a password for {host}, which no service knows; the agent can read it there"
            )),
        }
    }
}

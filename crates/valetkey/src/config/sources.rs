//! What the user wrote: one file, a folder of files, or nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fmt, iter};

use anyhow::{Context, bail};
use catalog::ServiceFile;
use model::bounds;
use policy::document::{At, Diagnostic, Document, Note};
use vault::Reference;

use super::ownership::refuse_foreign;
use super::private::read_bounded;
use super::{Ambient, grounds};

/// The file that is read when none is named.
pub(super) const DEFAULT: &str = "valetkey.yaml";
/// The token of a pod of Kubernetes, by which back ends know us where nothing else is written.
pub const POD_TOKEN: &str = "file:/var/run/secrets/kubernetes.io/serviceaccount/token";
/// Files of one folder.
const FILES_MAX: usize = 1_000;

/// Everything that is wrong with a configuration, one line each: `file:line:column`, the offending text, the nearest valid word.
#[derive(Debug)]
pub struct Faults(pub Vec<Diagnostic>);

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(out)?;
            }
            write!(out, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The texts of one configuration, read at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Name for messages, text.
    texts: Vec<(String, String)>,
    /// The file or folder.
    origin: Option<PathBuf>,
    /// Where relative paths start.
    folder: PathBuf,
    /// Services that no file holds (`--bind`).
    services: Vec<ServiceFile>,
}

impl Sources {
    /// The configuration named on the command line, else `valetkey.yaml` in the current folder, else none.
    ///
    /// # Errors
    /// A named one does not exist; a file cannot be read, is too large or no text; one that is found by its name could be an
    /// agent's.
    pub fn find(ambient: &Ambient, named: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = named {
            return Self::read(&ambient.folder().join(path));
        }
        let path = ambient.folder().join(DEFAULT);
        if path.exists() {
            grounds::refuse_planted(ambient, &path)?;
            return Self::read(&path);
        }
        Ok(Self { folder: ambient.folder().to_owned(), ..Self::default() })
    }

    /// As [`find`](Self::find) without a name, for commands that look services up and apply no rule: without the configuration
    /// that could be an agent's, and why.
    ///
    /// # Errors
    /// A file cannot be read, is too large or no text.
    pub fn find_services(ambient: &Ambient) -> anyhow::Result<(Self, Option<grounds::Planted>)> {
        match Self::find(ambient, None) {
            Ok(sources) => Ok((sources, None)),
            Err(error) => Ok((Self::default(), Some(error.downcast()?))),
        }
    }

    /// One file, or every `.yaml`, `.yml` and `.json` of a folder by name.
    ///
    /// # Errors
    /// It does not exist; a file cannot be read, is too large or no text.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let is_folder = path.is_dir();
        let files = if is_folder { folder_files(path)? } else { vec![path.to_owned()] };
        let texts = files.iter().map(|file| read_text(file, "check the path of the configuration (--config)"));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        let folder = if is_folder { path } else { path.parent().unwrap_or(Path::new(".")) };
        Ok(Self { texts, origin: Some(path.to_owned()), folder: folder.to_owned(), services: Vec::new() })
    }

    /// A text that stands in no file; `path` is its name and where relative paths start.
    ///
    /// # Errors
    /// It is too large.
    pub fn of_text(text: &str, path: &Path) -> anyhow::Result<Self> {
        if text.len() > bounds::CONFIG_BYTES_MAX {
            bail!("the configuration is larger than 4 MiB");
        }
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let texts = vec![(path.display().to_string(), text.to_owned())];
        Ok(Self { texts, origin: None, folder, services: Vec::new() })
    }

    /// The same with services that no file holds.
    #[must_use]
    pub fn with_services(mut self, services: Vec<ServiceFile>) -> Self {
        self.services = services;
        self
    }

    /// Reads the same files once more.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn again(&self) -> anyhow::Result<Self> {
        match &self.origin {
            Some(path) => Ok(Self::read(path)?.with_services(self.services.clone())),
            None => Ok(self.clone()),
        }
    }

    /// Refuses a configuration that another user could change, with the service files and authorities that it names.
    ///
    /// # Errors
    /// He could; a file cannot be looked at.
    pub fn refuse_foreign(&self) -> anyhow::Result<()> {
        let Some(origin) = &self.origin else { return Ok(()) };
        if origin.is_dir() {
            for file in folder_files(origin)? {
                refuse_foreign(&file)?;
            }
        }
        refuse_foreign(origin)?;
        let (document, _) = self.document()?;
        let authorities = authorities(&document);
        for named in document.services.iter().chain(authorities) {
            refuse_foreign(&self.folder.join(&named.value))?;
        }
        Ok(())
    }

    /// The file or folder it was read from.
    pub fn origin(&self) -> Option<&Path> {
        self.origin.as_deref()
    }

    /// Where relative paths start.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Names and texts.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The configuration, all files joined, and what the reader should know.
    ///
    /// # Errors
    /// [`Faults`].
    pub fn document(&self) -> anyhow::Result<(Document, Vec<Note>)> {
        let (mut documents, mut notes, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for (name, text) in self.texts() {
            match Document::parse(text, name) {
                Ok((document, more)) => {
                    faults.extend(misread(&document, name));
                    documents.push(document);
                    notes.extend(more);
                }
                Err(more) => faults.extend(more),
            }
        }
        if !faults.is_empty() {
            return Err(Faults(faults).into());
        }
        Ok((Document::join(documents).map_err(Faults)?, notes))
    }

    /// The user's own service files that the configuration names, and those of `--bind`.
    ///
    /// # Errors
    /// A file cannot be read, or is no service file.
    pub fn services(&self) -> anyhow::Result<Vec<ServiceFile>> {
        let (document, _) = self.document()?;
        let mut all = self.services.clone();
        for entry in &document.services {
            let path = self.folder.join(&entry.value);
            let files = if path.is_dir() { folder_files(&path)? } else { vec![path] };
            for file in files {
                let (name, text) = read_text(&file, "check `services:`; paths start from the configuration's folder")?;
                all.push(ServiceFile::parse(&text, &name)?);
            }
        }
        Ok(all)
    }

    /// Every file and folder that rules are read from: the configuration, the service files and authorities that it names, and
    /// the programs that it runs for credentials, with the files among their arguments.
    pub fn places(&self, ambient: &Ambient) -> BTreeSet<PathBuf> {
        let Ok((document, _)) = self.document() else { return self.origin.iter().cloned().collect() };
        let at = |path: &str| self.folder.join(path);
        let services = document.services.iter().map(|entry| at(&entry.value));
        let authorities = authorities(&document).map(|ca| at(&ca.value));
        let commands = references(&document).filter_map(|from| from.command()).flatten();
        // `sh -c './key.sh github'` names a file within a word.
        let words = commands.flat_map(|word| {
            let parts: Vec<PathBuf> = word.split_whitespace().map(PathBuf::from).collect();
            iter::once(word.into()).chain(parts)
        });
        let programs = words.flat_map(|word| self.may_lie(ambient, &word)).filter(|path| path.is_file());
        self.origin.iter().cloned().chain(services).chain(authorities).chain(programs).collect()
    }

    /// Files that credentials come from, each of which is the credential.
    pub fn secrets(&self) -> BTreeSet<PathBuf> {
        self.named_by(Reference::file)
    }

    /// Files of programs' log-ins that credentials come from.
    pub fn login_files(&self) -> BTreeSet<PathBuf> {
        self.named_by(Reference::login_file)
    }

    /// Variables that hold secrets of the gateway's own.
    pub fn own_variables(&self) -> Vec<String> {
        let Ok((document, _)) = self.document() else { return Vec::new() };
        let all = own_secrets(&document).filter_map(|from| from.value.strip_prefix("env:"));
        let aws = takes_ambient_keys(&document).then_some(AWS_VARIABLES).into_iter().flatten();
        all.chain(aws).map(str::to_owned).collect()
    }

    fn named_by(&self, file: impl Fn(&Reference) -> Option<PathBuf>) -> BTreeSet<PathBuf> {
        let Ok((document, _)) = self.document() else { return BTreeSet::new() };
        references(&document).filter_map(|from| file(&from)).map(|path| self.folder.join(path)).collect()
    }

    /// Where a word of a command may lead: a program starts from the configuration's folder ([`Reference::beside`]), its
    /// arguments from the current one.
    fn may_lie(&self, ambient: &Ambient, path: &Path) -> [PathBuf; 2] {
        [self.folder.join(path), ambient.folder().join(path)]
    }

    /// A file named in the configuration, relative to it.
    ///
    /// # Errors
    /// It does not exist, is too large or cannot be read.
    pub fn read_beside(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.folder.join(path);
        read_bounded(&path, bounds::CONFIG_BYTES_MAX)?.with_context(|| {
            format!("`{}` does not exist; check the path, which starts from the configuration's folder", path.display())
        })
    }
}

/// Files that say who signs upstreams and back ends.
fn authorities(document: &Document) -> impl Iterator<Item = &At<String>> {
    let backends = document.backends.iter().filter_map(|(_, backend)| backend.ca.as_ref());
    document.upstreams.iter().filter_map(|(_, upstream)| upstream.ca.as_ref()).chain(backends)
}

/// References that cannot be right.
fn misread<'a>(document: &'a Document, file: &'a str) -> impl Iterator<Item = Diagnostic> + 'a {
    let from = document.credentials.iter().filter_map(|(_, credential)| credential.from.as_ref());
    from.filter_map(move |from| {
        // The built-in vault has a word of its own here.
        let wrong = Reference::parse(&from.value).err().filter(|_| !from.value.starts_with("builtin:"))?;
        let (line, column, text) = (from.line, from.column, from.value.clone());
        Some(Diagnostic { file: file.to_owned(), line, column, text, message: wrong.to_string(), nearest: None })
    })
}

/// Where its credentials come from, the secrets of its webhooks, and what logs in to back ends. One that is malformed leads nowhere, and is
/// refused when the vault is told of it.
fn references(document: &Document) -> impl Iterator<Item = Reference> {
    let from = document.credentials.iter().filter_map(|(_, credential)| credential.from.as_ref());
    let pod = takes_pod_token(document).then_some(POD_TOKEN);
    let aws = takes_ambient_keys(document).then_some(AWS_TOKENS).into_iter().flatten();
    let written = from.chain(own_secrets(document)).map(|from| from.value.as_str());
    written.chain(pod).chain(aws).filter_map(|from| Reference::parse(from).ok())
}

/// Whether some back end is logged in to by the token of the pod that we are in.
fn takes_pod_token(document: &Document) -> bool {
    document.backends.iter().any(|(_, backend)| {
        let says_nothing = backend.token.is_none()
            && backend.approle.is_none()
            && backend.jwt.is_none()
            && backend.region.is_none()
            && backend.google_key.is_none()
            && backend.azure_client.is_none();
        says_nothing && backend.kubernetes.as_ref().is_none_or(|login| login.value.token.is_none())
    })
}

/// Variables by which keys of AWS are found, and files of tokens that pods of EKS are given: the gateway's own where it uses them.
const AWS_VARIABLES: [&str; 8] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];
const AWS_TOKENS: [&str; 2] = [
    "file:/var/run/secrets/eks.amazonaws.com/serviceaccount/token",
    "file:/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token",
];

/// Whether the keys of AWS that surround the gateway are used, by a credential or to log in to a back end.
fn takes_ambient_keys(document: &Document) -> bool {
    let logs_in = document.backends.iter().any(|(_, backend)| backend.region.is_some() && backend.aws_key.is_none());
    let mut from = document.credentials.iter().filter_map(|(_, credential)| credential.from.as_ref());
    logs_in || from.any(|from| from.value.starts_with("aws:"))
}

/// Secrets of the gateway's own, which are none of an agent's business: by which messages are signed, and by which it logs in to back ends.
fn own_secrets(document: &Document) -> impl Iterator<Item = &At<String>> {
    let webhooks = document.channels.iter().filter_map(|(_, channel)| channel.webhook.as_ref());
    let logins = document.backends.iter().flat_map(|(_, backend)| {
        let approle = backend.approle.iter().map(|approle| &approle.value.secret_id);
        let jwts = backend.kubernetes.iter().chain(&backend.jwt).filter_map(|login| login.value.token.as_ref());
        let keys = backend.aws_key.iter().map(|key| &key.value);
        let keys = keys.flat_map(|key| [Some(&key.key_id), Some(&key.secret), key.session_token.as_ref()]).flatten();
        let azure = backend.azure_client.iter().map(|client| &client.value.client_secret);
        backend.token.iter().chain(approle).chain(jwts).chain(keys).chain(&backend.google_key).chain(azure)
    });
    webhooks.flat_map(|webhook| &webhook.value.secret).chain(logins)
}

/// A file's name for messages, and its text; `mend` says what to do where it does not exist.
///
/// # Errors
/// It does not exist, is too large, cannot be read, or is no text.
pub fn read_text(path: &Path, mend: &str) -> anyhow::Result<(String, String)> {
    let name = path.display().to_string();
    let bytes =
        read_bounded(path, bounds::CONFIG_BYTES_MAX)?.with_context(|| format!("`{name}` does not exist; {mend}"))?;
    let text =
        String::from_utf8(bytes).ok().with_context(|| format!("`{name}` is not UTF-8 text; save it as UTF-8"))?;
    Ok((name, text))
}

fn folder_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let fits = |path: &Path| {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let extension = path.extension().and_then(|extension| extension.to_str());
        !hidden && matches!(extension, Some("yaml" | "yml" | "json")) && path.is_file()
    };
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("the folder `{}` cannot be read", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| fits(path)).collect();
    if files.is_empty() {
        bail!("the folder `{}` holds no .yaml, .yml or .json file", folder.display());
    }
    if files.len() > FILES_MAX {
        bail!("the folder `{}` holds more than {FILES_MAX} files", folder.display());
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_configuration() {
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        write("a.yaml", "version: 1\ncredentials:\n  github-token: { service: github }\n");
        write("b.json", r#"{"egress": "closed"}"#);
        write("notes.txt", "not yaml: [");
        write(".hidden.yaml", "not yaml: [");
        let sources = Sources::read(folder.path()).expect("read");
        let (document, _) = sources.document().expect("whole");
        assert_eq!(document.credentials.iter().count(), 1);
        write("c.yaml", "egress: closed\n");
        let error = sources.again().expect("read").document().expect_err("twice");
        assert!(error.downcast_ref::<Faults>().is_some(), "{error}");
    }

    #[test]
    fn what_references_lead_to() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("work")).expect("made");
        for name in ["get key", "key.sh", "work/listed"] {
            std::fs::write(at(name), "x").expect("written");
        }
        let text = "version: 1\ncredentials:\n  \
                    a: { service: github, from: \"exec:'./get key' now\" }\n  \
                    b: { service: github, from: \"exec:sh -c './key.sh github'\" }\n  \
                    c: { service: github, from: 'exec:[\"./listed\"]' }\n  \
                    d: { service: github, from: \"file:token\" }\n  \
                    e: { service: github, from: \"login:/x/log-in.json#value=/a\" }\nbackends:\n  \
                    hashicorp: { address: 'https://v', ca: ca.pem, approle: { role_id: r, secret_id: 'file:secret-id' } }\n  \
                    hashicorp@b: { address: 'https://v', token: 'env:VAULT_TOKEN' }\n  k8s: {}\n";
        let file = at("valetkey.yaml");
        let sources = Sources::of_text(text, &file).expect("read");
        let ambient = Ambient::of([], at("work"));
        assert_eq!(sources.places(&ambient), ["ca.pem", "get key", "key.sh", "work/listed"].map(at).into());
        let pod = "/var/run/secrets/kubernetes.io/serviceaccount/token".into();
        assert_eq!(sources.secrets(), [at("token"), at("secret-id"), pod].into());
        assert_eq!(sources.own_variables(), ["VAULT_TOKEN"]);
        assert_eq!(sources.login_files(), ["/x/log-in.json".into()].into());
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let error = Sources::read(&folder.path().join("none.yaml")).expect_err("missing").to_string();
        assert!(error.contains("none.yaml` does not exist; check"), "{error}");
        let ambient = Ambient::of([], folder.path().to_owned());
        assert!(Sources::find(&ambient, None).expect("none").origin().is_none());
        std::fs::write(folder.path().join("valetkey.yaml"), "version: 1\n").expect("written");
        assert!(Sources::find(&ambient, None).expect("found").origin().is_some());
    }
}

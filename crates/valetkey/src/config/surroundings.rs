//! The files that an isolated agent sees: what may be written, what is masked, what is not there.

use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use policy::profile::State;
use sandbox::{Access, Mask, Surroundings};

use super::bundle::SYSTEM;
use super::masking::{WITHHELD, masked, without_fields, without_words};
use super::private::read_bounded;
use super::repository;
use super::search::{self, Seen};
use super::{Ambient, Bundle};

/// Not there, below the user's home: keys, keyrings, browser profiles, histories, and the stores of secret managers. What an
/// agent may use of them it gets from the gateway.
const HIDDEN: [&str; 59] = [
    ".ssh",
    ".gnupg",
    ".pki",
    ".local/share/pki",
    ".password-store",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".config/op",
    ".config/1Password",
    ".1password",
    ".config/Bitwarden",
    ".config/Bitwarden CLI",
    ".config/keepassxc",
    ".config/sops",
    ".config/age",
    ".config/gcloud",
    ".azure",
    ".aws/sso",
    ".aws/cli",
    ".kube/cache",
    ".vault-token",
    ".terraform.d/credentials.tfrc.json",
    ".mozilla",
    ".thunderbird",
    ".config/google-chrome",
    ".config/chromium",
    ".config/BraveSoftware",
    ".config/microsoft-edge",
    ".config/vivaldi",
    ".config/opera",
    "snap/firefox",
    "snap/chromium",
    ".config/Slack",
    ".config/discord",
    ".config/Signal",
    ".config/doctl",
    ".config/rclone",
    ".fly",
    ".kaggle",
    ".local/share/com.vercel.cli",
    ".composer/auth.json",
    ".huggingface/token",
    ".cache/huggingface/token",
    ".local/share/atuin",
    ".histfile",
    ".zhistory",
    ".irb_history",
    ".bash_history",
    ".zsh_history",
    ".local/share/fish/fish_history",
    ".python_history",
    ".node_repl_history",
    ".psql_history",
    ".mysql_history",
    ".sqlite_history",
    ".rediscli_history",
    ".lesshst",
    ".Xauthority",
    ".ICEauthority",
];
/// Cannot be opened: who finds it empty, or no plain file, complains at each end.
const CLOSED: [&str; 1] = [".viminfo"];
/// Of a hidden `.ssh` these appear, and public keys.
const SSH_SHOWN: [&str; 3] = ["config", "known_hosts", "known_hosts2"];
/// Appear with placeholders, below the user's home.
const MASKED: [&str; 31] = [
    ".netrc",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".config/pip/pip.conf",
    ".cargo/credentials.toml",
    ".cargo/credentials",
    ".gem/credentials",
    ".git-credentials",
    ".config/git/credentials",
    ".config/gh/hosts.yml",
    ".config/glab-cli/config.yml",
    ".config/hub",
    ".aws/credentials",
    ".kube/config",
    ".docker/config.json",
    ".claude/.credentials.json",
    ".codex/auth.json",
    ".gemini/oauth_creds.json",
    ".pgpass",
    ".my.cnf",
    ".s3cfg",
    ".databrickscfg",
    ".dbt/profiles.yml",
    ".gradle/gradle.properties",
    ".m2/settings.xml",
    ".config/containers/auth.json",
    ".config/stripe/config.toml",
    ".config/ngrok/ngrok.yml",
    ".claude.json",
    ".cursor/mcp.json",
];
/// What the user's next shell or log-in runs. Read-only also where the home is the work folder; what of it does not exist
/// cannot be kept from being made.
const KEPT_OF_HOME: [&str; 18] = [
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_aliases",
    ".bash_logout",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".config/fish",
    ".config/autostart",
    ".config/systemd",
    ".config/environment.d",
    ".gitconfig",
    ".config/git/config",
    ".local/bin",
    "bin",
];
/// Secrets of the machine, which a user who is root could read as their owner.
const HIDDEN_OF_MACHINE: [&str; 8] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/krb5.keytab",
    "/etc/ssl/private",
    "/etc/wireguard",
    "/etc/NetworkManager/system-connections",
];
/// Where the machine's own SSH keys are.
const SSH_HOST_KEYS: &str = "/etc/ssh";
/// How deep files with credentials are looked for in the work folder and its repository, and how deep in other projects below
/// the home.
const DEPTH_MAX: usize = 8;
const HOME_DEPTH_MAX: usize = 4;
/// Variables that name a file with credentials, or several; and those that name the folder of one.
const NAMED_FILES: [&str; 9] = [
    "KUBECONFIG",
    "AWS_SHARED_CREDENTIALS_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "NPM_CONFIG_USERCONFIG",
    "npm_config_userconfig",
    "PIP_CONFIG_FILE",
    "NETRC",
    "PGPASSFILE",
    "DATABRICKS_CONFIG_FILE",
];
const NAMED_FOLDERS: [(&str, &str); 5] = [
    ("DOCKER_CONFIG", "config.json"),
    ("GH_CONFIG_DIR", "hosts.yml"),
    ("CODEX_HOME", "auth.json"),
    ("CLAUDE_CONFIG_DIR", ".credentials.json"),
    ("CARGO_HOME", "credentials.toml"),
];
/// Where nothing is a file of the user's. An agent could have made a link to it.
const NO_FILES: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];
/// A larger file holds more than credentials; it is not shown at all.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Where Chromium keeps its certificates, in folders that are hidden; the second is of version 146 and later, where nothing is at the first.
const NSS_STORES: [&str; 2] = [".pki/nssdb", ".local/share/pki/nssdb"];
/// Where Java keeps its certificates.
const JAVA_STORE: &str = "/etc/ssl/certs/java/cacerts";
const JAVA_HOMES: &str = "/usr/lib/jvm";

/// What the configuration, the command line and earlier runs say of the agent's files.
pub struct Said {
    /// Where the agent is at work ([`work_folders`](super::work_folders)).
    pub folders: Vec<PathBuf>,
    /// Folders and files below the home that its profiles keep state in.
    pub state: Vec<&'static State>,
    /// The configuration, which stays as it is.
    pub kept: BTreeSet<PathBuf>,
    /// What may be written besides, without links.
    pub writable: Vec<PathBuf>,
    /// Files that credentials of the configuration come from, each of which is the credential.
    pub secrets: BTreeSet<PathBuf>,
    /// Files with credentials among other things: log-ins of the configuration, and what was masked in these folders in earlier
    /// runs, which an agent must not unmask by filling them.
    pub masked: Vec<PathBuf>,
}

/// What depends on the configuration and the command line, and on the session.
pub struct Wants<'a> {
    /// What is said of the files.
    pub said: Said,
    /// Unix sockets of the host that stay reachable.
    pub sockets: Vec<PathBuf>,
    /// A text without the secrets that the gateway knows.
    pub known: &'a dyn Fn(&[u8]) -> Option<Vec<u8>>,
    /// Whether a value is a placeholder of the session.
    pub own: &'a dyn Fn(&str) -> bool,
}

/// The files of an agent that is started in the current folder.
///
/// # Errors
/// Our own state has no place.
pub fn surroundings(ambient: &Ambient, bundle: &Bundle, wants: &Wants<'_>) -> anyhow::Result<Surroundings> {
    let said = &wants.said;
    let folder = ambient.folder().to_owned();
    let home = ambient.user_home().unwrap_or_else(|| folder.clone());
    let state = ambient.state_folder()?;
    let mut hidden: Vec<PathBuf> = HIDDEN.iter().map(|path| home.join(path)).collect();
    let linked: Vec<PathBuf> = hidden.iter().flat_map(|path| linked_from(path)).collect();
    hidden.extend(linked);
    hidden.push(state);
    hidden.extend(HIDDEN_OF_MACHINE.iter().map(PathBuf::from));
    hidden.extend(ssh_host_keys());
    let mut masks = system_masks(bundle, &Ambient::host_name());
    masks.extend(NSS_STORES.iter().flat_map(|folder| nss_masks(bundle, &home.join(folder))));
    let tops = &said.folders;
    // Each has a bound of its own, so that a large repository does not hide the work folder's files; none is looked at twice.
    let searched: BTreeSet<PathBuf> =
        tops.iter().cloned().chain(repository::around(&folder, &home)).chain([folder.clone()]).collect();
    let seen: Vec<Seen> = searched.iter().map(|top| search::look(top, DEPTH_MAX)).collect();
    for (top, _) in searched.iter().zip(&seen).filter(|(_, seen)| seen.cut) {
        tracing::warn!(folder = %top.display(), "too much lies here: files with credentials far down in it are not masked");
    }
    let at_home = search::look(&home, HOME_DEPTH_MAX);
    // A socket that is listed stays, as it does below.
    let listed: BTreeSet<PathBuf> = wants.sockets.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let channels = seen.iter().chain([&at_home]).flat_map(|seen| &seen.channels);
    hidden.extend(channels.filter(|path| !listed.contains(*path)).cloned());
    let not_shown: BTreeSet<PathBuf> = hidden.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let clean = |path: PathBuf| masked_file(path, &not_shown, wants);
    let closed = CLOSED.iter().map(|path| home.join(path)).filter(|path| path.exists());
    masks.extend(closed.map(|path| Mask { path, bytes: Vec::new(), access: Access::Closed }));
    let by_place = MASKED.iter().map(|path| home.join(path)).chain(named_files(ambient));
    let found = seen.iter().chain([&at_home]).flat_map(|seen| seen.credentials.iter().cloned());
    let credentials: BTreeSet<PathBuf> =
        by_place.chain(found).chain(said.masked.iter().cloned()).filter_map(|path| path.canonicalize().ok()).collect();
    masks.extend(credentials.into_iter().filter_map(clean));
    // A file that a credential comes from is that credential, whatever it looks like.
    masks.extend(said.secrets.iter().filter_map(|path| path.canonicalize().ok()).map(|path| {
        let bytes = (wants.known)(&contents(&path)).unwrap_or_else(|| format!("{WITHHELD}\n").into_bytes());
        Mask { path, bytes, access: Access::Write }
    }));
    // What the next shell runs may hold a secret among much else: only what is known is replaced.
    masks.extend(KEPT_OF_HOME.iter().map(|path| home.join(path)).filter_map(|path| {
        let bytes = (wants.known)(&contents(&path))?;
        Some(Mask { path, bytes, access: Access::Read })
    }));
    // A log-in in a remote's address.
    let repositories: BTreeSet<&PathBuf> = tops.iter().chain(seen.iter().flat_map(|seen| &seen.repositories)).collect();
    let of_git: Vec<PathBuf> = repositories.iter().flat_map(|top| repository::programs_of_git(top)).collect();
    masks.extend(of_git.iter().filter_map(|path| path.canonicalize().ok()).filter_map(|path| {
        let is_asked_for = said.writable.contains(&path);
        let mask = clean(path)?;
        // One without a log-in need not be masked, so that it can be written where that was asked for.
        let is_needed = !is_asked_for || contents(&mask.path) != mask.bytes;
        is_needed.then_some(mask)
    }));
    masks.extend(ssh(&home.join(".ssh")));
    let mut kept: Vec<PathBuf> = said.kept.iter().cloned().collect();
    kept.extend(ambient.own_program());
    kept.extend(of_git);
    if tops.iter().any(|top| home.starts_with(top)) {
        kept.extend(KEPT_OF_HOME.iter().map(|path| home.join(path)));
    }
    said.state.iter().for_each(|state| make_state(ambient, &home, state));
    let mut writable: Vec<PathBuf> = said.state.iter().map(|state| home.join(state.path)).collect();
    // What lies in a folder that can be written is not mounted by itself: programs could not replace it.
    let is_in_tops = |path: &&PathBuf| tops.iter().any(|top| top.canonicalize().is_ok_and(|top| path.starts_with(top)));
    writable.extend(said.writable.iter().filter(|path| !is_in_tops(path)).cloned());
    writable.extend_from_slice(tops);
    kept.retain(|path| !path.canonicalize().is_ok_and(|path| said.writable.contains(&path)));
    let runtime_folder = ambient.var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let sockets = wants.sockets.clone();
    Ok(Surroundings { folder, writable, hidden, masks, kept, sockets, runtime_folder })
}

/// A program that is here and was never started outside could not make its folder inside, where the home is read-only.
fn make_state(ambient: &Ambient, home: &Path, state: &State) {
    let path = home.join(state.path);
    if state.program.is_empty() || path.exists() || ambient.on_path(state.program).is_none() {
        return;
    }
    if let Err(error) = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path) {
        tracing::warn!(%error, path = %path.display(), "a folder for a program's state cannot be made");
    }
}

/// The mask of a file, by its path without links: what is not shown is shown by no link, which the agent may have made.
fn masked_file(path: PathBuf, not_shown: &BTreeSet<PathBuf>, wants: &Wants<'_>) -> Option<Mask> {
    let is_shown = !not_shown.iter().any(|hidden| path.starts_with(hidden));
    if !path.is_file() || !is_shown || NO_FILES.iter().any(|none| path.starts_with(none)) {
        return None;
    }
    let mut bytes = masked(&contents(&path), wants.known, wants.own);
    let by_format = |text: &str| match path.file_name().and_then(|name| name.to_str()) {
        Some(".netrc" | "_netrc") => Some(without_words(text, wants.own)),
        Some(".pgpass") => Some(without_fields(text)),
        _ => None,
    };
    if let Some(text) = std::str::from_utf8(&bytes).ok().and_then(by_format) {
        bytes = text.into_bytes();
    }
    Some(Mask { path, bytes, access: Access::Write })
}

/// Files with credentials that variables name.
fn named_files(ambient: &Ambient) -> Vec<PathBuf> {
    let files = NAMED_FILES.iter().filter_map(|name| ambient.var_os(name)).flat_map(std::env::split_paths);
    let in_folders = NAMED_FOLDERS.iter().filter_map(|(name, file)| Some(Path::new(ambient.var_os(name)?).join(file)));
    files.chain(in_folders).map(|path| ambient.folder().join(path)).collect()
}

/// What cannot be read, or is too large, is shown as empty rather than as it is.
fn contents(path: &Path) -> Vec<u8> {
    read_bounded(path, FILE_BYTES_MAX).ok().flatten().unwrap_or_default()
}

/// Where links in a hidden folder lead to (dotfiles are kept so), but for those that are shown.
fn linked_from(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    let hidden = links.filter(|entry| !entry.file_name().to_str().is_some_and(is_shown_of_ssh));
    hidden.filter_map(|entry| std::fs::canonicalize(entry.path()).ok()).filter(|path| path.is_file()).collect()
}

fn is_shown_of_ssh(name: &str) -> bool {
    SSH_SHOWN.contains(&name) || name.strip_suffix(".pub").is_some()
}

fn ssh_host_keys() -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(SSH_HOST_KEYS).into_iter().flatten().flatten();
    let is_key = |name: &str| name.starts_with("ssh_host_") && name.ends_with("_key");
    entries.filter(move |entry| entry.file_name().to_str().is_some_and(is_key)).map(|entry| entry.path())
}

/// What `ssh` needs to know of hosts, without what it logs in with.
fn ssh(folder: &Path) -> Vec<Mask> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_shown_of_ssh))
        .filter_map(|entry| {
            let bytes = read_bounded(&entry.path(), FILE_BYTES_MAX).ok().flatten()?;
            Some(Mask { path: entry.path(), bytes, access: Access::Read })
        })
        .collect()
}

/// Our authority in a store of NSS. Files that may not be written it does not open.
fn nss_masks(bundle: &Bundle, folder: &Path) -> Vec<Mask> {
    let mask =
        |(name, bytes): (&str, &[u8])| Mask { path: folder.join(name), bytes: bytes.to_vec(), access: Access::Write };
    bundle.nss().map(mask).collect()
}

/// Certificates, names and hosts, as the namespace needs them.
fn system_masks(bundle: &Bundle, host: &str) -> Vec<Mask> {
    let read = |path: &Path| std::fs::read(path).unwrap_or_default();
    let mask = |path: PathBuf, bytes: Vec<u8>| Mask { path, bytes, access: Access::Read };
    let [pem, ours, java] = [bundle.pem(), bundle.ours(), bundle.java()].map(read);
    let mut masks: Vec<Mask> =
        SYSTEM.iter().map(PathBuf::from).filter(|path| path.is_file()).map(|path| mask(path, pem.clone())).collect();
    let homes = std::fs::read_dir(JAVA_HOMES).into_iter().flatten().flatten();
    let stores = homes.map(|entry| entry.path().join("lib/security/cacerts"));
    let stores = stores.chain([JAVA_STORE.into()]).filter(|path| path.is_file());
    masks.extend(stores.map(|path| mask(path, java.clone())));
    // The session's own files lie in our home, which is hidden.
    let own = [(bundle.pem(), pem), (bundle.ours(), ours), (bundle.java(), java)];
    masks.extend(own.map(|(path, bytes)| mask(path.to_owned(), bytes)));
    masks.push(mask("/etc/resolv.conf".into(), b"nameserver 127.0.0.1\noptions timeout:2 attempts:2\n".to_vec()));
    let hosts = format!("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{} {host}\n", sandbox::OWN_V4);
    masks.push(mask("/etc/hosts".into(), hosts.into_bytes()));
    masks
}

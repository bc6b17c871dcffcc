//! The files that an isolated agent sees: what may be written, what is masked, what is not there.

use std::collections::{BTreeSet, VecDeque};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use policy::profile::State;
use sandbox::{Access, Mask, Surroundings};

use super::bundle::SYSTEM;
use super::masking::masked;
use super::private::read_bounded;
use super::repository::{self, work_folders};
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
const MASKED: [&str; 29] = [
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
];
/// The same in the work folder, wherever they are.
const MASKED_IN_FOLDER: [&str; 4] = [".npmrc", ".pypirc", ".netrc", ".yarnrc.yml"];
/// `.env` and its kin, but for these, which are written to be shown.
const ENV_SHOWN: [&str; 5] = [".env.example", ".env.sample", ".env.template", ".env.dist", ".envrc.example"];
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
/// Folders of a project that hold other people's files.
const PASSED_BY: [&str; 8] = ["node_modules", "target", ".git", "venv", ".venv", "__pycache__", "vendor", "dist"];
/// How deep and how long files with credentials are looked for in the work folder and its repository, and how deep in other
/// projects below the home.
const DEPTH_MAX: usize = 8;
const HOME_DEPTH_MAX: usize = 4;
const ENTRIES_MAX: usize = 5_000;
/// A larger file holds more than credentials; it is not shown at all.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Where Chromium keeps its certificates, in folders that are hidden; the second is of version 146 and later, where nothing is at the first.
const NSS_STORES: [&str; 2] = [".pki/nssdb", ".local/share/pki/nssdb"];
/// Where Java keeps its certificates.
const JAVA_STORE: &str = "/etc/ssl/certs/java/cacerts";
const JAVA_HOMES: &str = "/usr/lib/jvm";

/// What depends on the configuration and the command line.
pub struct Wants<'a> {
    /// Folders and files below the home that profiles keep state in.
    pub state: Vec<&'static State>,
    /// The configuration, which stays as it is.
    pub kept: Vec<PathBuf>,
    /// What may be written besides.
    pub writable: Vec<PathBuf>,
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
    let clean = |path: &Path| masked_file(path, wants);
    let closed = CLOSED.iter().map(|path| home.join(path)).filter(|path| path.exists());
    masks.extend(closed.map(|path| Mask { path, bytes: Vec::new(), access: Access::Closed }));
    masks.extend(MASKED.iter().filter_map(|path| clean(&home.join(path))));
    let tops = work_folders(ambient);
    // Each has a bound of its own, so that a large repository does not hide the work folder's files; none is looked at twice.
    let searched: BTreeSet<&PathBuf> = tops.iter().chain([&folder]).collect();
    let in_tops = searched.iter().flat_map(|top| in_folder(top, DEPTH_MAX));
    let found: BTreeSet<PathBuf> = in_tops.chain(in_folder(&home, HOME_DEPTH_MAX)).collect();
    masks.extend(found.iter().filter_map(|path| clean(path)));
    // A log-in in a remote's address.
    let of_git: Vec<PathBuf> = tops.iter().flat_map(|top| repository::programs_of_git(top)).collect();
    let is_asked_for = |path: &Path| path.canonicalize().is_ok_and(|path| wants.writable.contains(&path));
    masks.extend(of_git.iter().filter_map(|path| {
        let mask = clean(path)?;
        // One without a log-in need not be masked, so that it can be written where that was asked for.
        let is_needed = !is_asked_for(path) || contents(path) != mask.bytes;
        is_needed.then_some(mask)
    }));
    masks.extend(ssh(&home.join(".ssh")));
    let mut kept = wants.kept.clone();
    kept.extend(ambient.own_program());
    kept.extend(of_git);
    if tops.iter().any(|top| home.starts_with(top)) {
        kept.extend(KEPT_OF_HOME.iter().map(|path| home.join(path)));
    }
    wants.state.iter().for_each(|state| make_state(ambient, &home, state));
    let mut writable: Vec<PathBuf> = wants.state.iter().map(|state| home.join(state.path)).collect();
    // What lies in a folder that can be written is not mounted by itself: programs could not replace it.
    let is_in_tops = |path: &&PathBuf| tops.iter().any(|top| top.canonicalize().is_ok_and(|top| path.starts_with(top)));
    writable.extend(wants.writable.iter().filter(|path| !is_in_tops(path)).cloned());
    writable.extend(tops);
    kept.retain(|path| !is_asked_for(path));
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

fn masked_file(path: &Path, wants: &Wants<'_>) -> Option<Mask> {
    if !path.is_file() {
        return None;
    }
    Some(Mask { path: path.to_owned(), bytes: masked(&contents(path), wants.known, wants.own), access: Access::Write })
}

/// What cannot be read, or is too large, is shown as empty rather than as it is.
fn contents(path: &Path) -> Vec<u8> {
    read_bounded(path, FILE_BYTES_MAX).ok().flatten().unwrap_or_default()
}

/// Files with credentials in a folder; what is near its top is looked at first.
fn in_folder(folder: &Path, depth_max: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut looked_at = 0;
    let mut folders = VecDeque::from([(folder.to_owned(), 0)]);
    // Caches are large, and nobody's project.
    let mut dotted = VecDeque::new();
    while let Some((folder, depth)) = folders.pop_front().or_else(|| dotted.pop_front()) {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            looked_at += 1;
            if looked_at > ENTRIES_MAX {
                return found;
            }
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && depth + 1 < depth_max && !PASSED_BY.contains(&name) {
                let queue = if name.starts_with('.') { &mut dotted } else { &mut folders };
                queue.push_back((entry.path(), depth + 1));
            } else if !is_folder && holds_credentials(name) {
                found.push(entry.path());
            }
        }
    }
    found
}

fn holds_credentials(name: &str) -> bool {
    let env = name == ".env" || name.starts_with(".env.") || name == ".envrc";
    env && !ENV_SHOWN.contains(&name) || MASKED_IN_FOLDER.contains(&name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_credentials_in_a_project() {
        let folder = tempfile::tempdir().expect("folder");
        let write = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, "x").expect("written");
        };
        let names = [".env", "api/.env.local", "api/.npmrc", ".env.example", "node_modules/x/.env", "a/b/.env"];
        for name in names {
            write(name);
        }
        let mut found = in_folder(folder.path(), 2);
        found.sort();
        let want: Vec<PathBuf> =
            [".env", "api/.env.local", "api/.npmrc"].iter().map(|name| folder.path().join(name)).collect();
        assert_eq!(found, want);
    }
}

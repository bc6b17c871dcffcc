//! The walls of macOS as far as they can be written without the machine: a Seatbelt profile made of the same plan that Linux builds
//! namespaces from. **Untested**: no test of ours has run on macOS, and nothing starts an agent with it yet; docs/decisions/0018 says
//! what it stands on, what it cannot do, and what is to be proven first.
//!
//! A profile is Scheme; the last rule that matches decides, and paths are matched as the kernel names them, after every link has been
//! followed. So [`Confinement::profile`] is a pure function of a plan whose paths are real ([`physical`] makes them so), it goes from
//! the wide to the narrow, and what must not be read or changed comes last. A path that it cannot write exactly is an error, not a
//! gap.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::SandboxError;
use crate::plan::{Mask, Surroundings};

/// By its path, because an agent's `PATH` is not ours to trust.
const PROGRAM: &str = "/usr/bin/sandbox-exec";

/// Not to be read below the home, besides what the plan hides: keychains, browsers, letters, cookies, and what other programs keep
/// of the user. The plan's own list is of names that Linux has.
const HIDDEN_OF_HOME: [&str; 19] = [
    "Library/Keychains",
    "Library/Cookies",
    "Library/HTTPStorages",
    "Library/WebKit",
    "Library/Safari",
    "Library/Mail",
    "Library/Messages",
    "Library/Calendars",
    "Library/Accounts",
    "Library/IdentityServices",
    "Library/Group Containers",
    "Library/Containers",
    "Library/Mobile Documents",
    "Library/Application Support/AddressBook",
    "Library/Application Support/Google/Chrome",
    "Library/Application Support/Chromium",
    "Library/Application Support/Firefox",
    "Library/Application Support/BraveSoftware",
    "Library/Application Support/Microsoft Edge",
];
/// The same of the machine.
const HIDDEN_OF_MACHINE: [&str; 3] = ["/Library/Keychains", "/private/var/db/dslocal", "/private/var/root"];
/// What the user's next log-in runs, where the home itself is the work folder.
const KEPT_OF_HOME: [&str; 1] = ["Library/LaunchAgents"];
/// Where every program of the user leaves things about. They cannot be made fresh here, as on Linux; so they are closed, but for what
/// the plan lets the agent write, and the agent's `TMPDIR` has to be among that.
const SHARED: [&str; 3] = ["/private/tmp", "/private/var/tmp", "/private/var/folders"];

/// What programs ask the system for, and no more. Not among it, each for its reason: `com.apple.trustd.agent` fetches from the network
/// for whoever asks; `com.apple.SecurityServer` and `com.apple.securityd.xpc` open the keychain; `com.apple.dnssd.service` carries
/// names out; `com.apple.coreservices.launchservicesd` and `com.apple.CoreServices.coreservicesd` start programs outside;
/// `com.apple.pasteboard.1` is the user's clipboard; `com.apple.cfprefsd.agent` answers for other programs' settings.
const SERVICES: [&str; 8] = [
    "com.apple.FSEvents",
    "com.apple.SystemConfiguration.configd",
    "com.apple.bsd.dirhelper",
    "com.apple.logd",
    "com.apple.system.logger",
    "com.apple.system.notification_center",
    "com.apple.system.opendirectoryd.libinfo",
    "com.apple.system.opendirectoryd.membership",
];
/// Devices that are written and asked about; terminals have rules of their own.
const DEVICES: [&str; 7] =
    ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/dtracehelper"];

/// What stands before every rule that depends on the plan.
const PROGRAMS_MAY: &str = "\
(version 1)
(deny default)
; Programs start programs, and see and signal their own.
(allow process-exec process-fork)
(allow process-info* (target same-sandbox))
(allow signal (target same-sandbox))
(allow mach-priv-task-port (target same-sandbox))
(allow sysctl-read)
(allow ipc-posix-sem)
(allow ipc-posix-shm-read-data (ipc-posix-name \"apple.shm.notification_center\"))
; Terminals that the agent opens are its own; those from before are asked about alone.
(allow pseudo-tty)
(allow file-ioctl (regex #\"^/dev/ttys[0-9]+$\"))
";

/// A plan, and what a profile must know besides.
pub struct Confinement<'a> {
    /// What the agent is to see. Paths are real; see [`physical`].
    pub plan: &'a Surroundings,
    /// The user's home.
    pub home: &'a Path,
    /// The gateway's proxy port on loopback.
    pub proxy: u16,
    /// Ports of the machine's loopback that the agent reaches.
    pub reach: &'a [u16],
    /// Whether a mask holds what its file holds: then the file itself may be read, also in a folder that is hidden. Seatbelt shows no
    /// other octets than a file's own, so every other mask makes its file unreadable.
    pub is_as_it_is: &'a dyn Fn(&Mask) -> bool,
}

impl std::fmt::Debug for Confinement<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Confinement").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Confinement<'_> {
    /// The profile, in the language of `sandbox-exec -p`.
    ///
    /// # Errors
    /// [`SandboxError::Path`] for a path that the language cannot name exactly.
    pub fn profile(&self) -> Result<String, SandboxError> {
        let mut out = PROGRAMS_MAY.to_owned();
        let services = SERVICES.map(|name| format!("(global-name \"{name}\")")).join(" ");
        let _ = writeln!(out, "(allow mach-lookup {services})");
        self.network(&mut out)?;
        self.files(&mut out)?;
        Ok(out)
    }

    /// The command that starts a program inside.
    ///
    /// # Errors
    /// As [`Self::profile`].
    pub fn command(&self, argv: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>, SandboxError> {
        let front = [PROGRAM.into(), "-p".into(), self.profile()?.into()];
        Ok(front.into_iter().chain(argv).collect())
    }

    /// One way out, as there is no network of the agent's own. Its own ports are for the host: what it serves it cannot ask for itself,
    /// since a rule that let it would let it reach every service of the machine.
    fn network(&self, out: &mut String) -> Result<(), SandboxError> {
        out.push_str("; The gateway, and nothing else but what was opened.\n");
        for port in [self.proxy].iter().chain(self.reach) {
            let _ = writeln!(out, "(allow network-outbound (remote ip \"localhost:{port}\"))");
        }
        out.push_str(
            "(allow network-bind (local ip \"localhost:*\"))\n(allow network-inbound (local ip \"localhost:*\"))\n",
        );
        if !self.plan.sockets.is_empty() {
            out.push_str("(allow system-socket (socket-domain AF_UNIX))\n");
            rule(out, "allow network-outbound", &self.plan.sockets, exactly)?;
        }
        Ok(())
    }

    fn files(&self, out: &mut String) -> Result<(), SandboxError> {
        let plan = self.plan;
        let (shown, masked): (Vec<&Mask>, Vec<&Mask>) = plan.masks.iter().partition(|mask| (self.is_as_it_is)(mask));
        let paths = |masks: &[&Mask]| masks.iter().map(|mask| mask.path.clone()).collect::<Vec<_>>();
        let (shown, masked) = (paths(&shown), paths(&masked));
        let devices: Vec<PathBuf> = DEVICES.iter().map(PathBuf::from).collect();
        let of_home = HIDDEN_OF_HOME.iter().map(|name| self.home.join(name));
        let of_machine = HIDDEN_OF_MACHINE.iter().map(PathBuf::from);
        let hidden: Vec<PathBuf> = of_machine.chain(of_home).chain(plan.hidden.iter().cloned()).collect();
        let kept: Vec<PathBuf> =
            plan.kept.iter().cloned().chain(KEPT_OF_HOME.iter().map(|name| self.home.join(name))).collect();
        let shared: Vec<PathBuf> = SHARED.iter().map(PathBuf::from).collect();
        out.push_str("; The whole disk is there to be read, but for what programs share.\n(allow file-read*)\n");
        rule(out, "deny file-read-data file-read-xattr", &shared, below)?;
        rule(out, "allow file-write* file-ioctl", &devices, exactly)?;
        out.push_str(
            "(allow file-read* file-write* (require-all (regex #\"^/dev/ttys[0-9]+$\") (extension \"com.apple.sandbox.pty\")))\n\
             (allow file-read* file-write* (subpath \"/dev/fd\"))\n\
             ; What the agent works on, and its programs' state.\n",
        );
        rule(out, "allow file-read* file-write* file-link", &plan.writable, below)?;
        out.push_str(
            "; What is not there, and what it would show otherwise than it is. Neither can be moved to another name.\n",
        );
        rule(out, "deny file-read-data file-read-xattr file-write* file-link", &hidden, below)?;
        rule(out, "allow file-read*", &shown, exactly)?;
        rule(out, "deny file-read-data file-read-xattr file-write* file-link", &masked, below)?;
        out.push_str("; What stays as it is.\n");
        rule(out, "deny file-write* file-link", &kept, below)?;
        rule(out, "deny file-write* file-link", &shown, exactly)?;
        let fixed = hidden.iter().chain(&masked).chain(&kept);
        rule(out, "deny file-write-unlink", &above(fixed, &plan.writable), exactly)
    }
}

/// Folders between what is fixed and the writable folder that it lies in, that folder among them: with one of them moved away, no rule
/// would name the file any more.
fn above<'a>(fixed: impl Iterator<Item = &'a PathBuf>, writable: &[PathBuf]) -> Vec<PathBuf> {
    let is_inside = |folder: &&Path| writable.iter().any(|top| folder.starts_with(top));
    let mut folders: Vec<PathBuf> =
        fixed.flat_map(|path| path.ancestors().skip(1)).filter(is_inside).map(Path::to_owned).collect();
    folders.sort();
    folders.dedup();
    folders
}

/// One rule for some paths, and none for no path: without a filter it would be for all.
fn rule(out: &mut String, what: &str, paths: &[PathBuf], filter: fn(&str) -> String) -> Result<(), SandboxError> {
    if paths.is_empty() {
        return Ok(());
    }
    let _ = write!(out, "({what}");
    for path in paths {
        let _ = write!(out, "\n  {}", filter(&literal(path)?));
    }
    out.push_str(")\n");
    Ok(())
}

fn exactly(path: &str) -> String {
    format!("(literal {path})")
}

/// A folder and all in it, or a file: whether `subpath` is true of a file alone is nowhere documented.
fn below(path: &str) -> String {
    format!("(literal {path}) (subpath {path})")
}

/// A path as a string of Scheme. Two characters have a meaning there; how control characters would be read is nowhere documented, and
/// what is not UTF-8 no volume of macOS holds.
fn literal(path: &Path) -> Result<String, SandboxError> {
    let text = path.to_str().filter(|text| text.starts_with('/') && !text.chars().any(char::is_control));
    let text = text.ok_or_else(|| SandboxError::Path { path: path.to_owned() })?;
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// The plan with its paths as the kernel names them. What is to be kept from the agent also keeps the name that it was given, and the
/// name that it would have in its folder's real place: it may come to be there later. What does not exist cannot be opened to it.
#[must_use]
pub fn physical(plan: &Surroundings) -> Surroundings {
    let real = |path: &PathBuf| std::fs::canonicalize(path).ok();
    let there = |path: &PathBuf| -> Option<PathBuf> {
        Some(std::fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?))
    };
    let open = |paths: &[PathBuf]| paths.iter().filter_map(real).collect::<Vec<_>>();
    let all_names = |path: &PathBuf| {
        let mut names: Vec<PathBuf> = [Some(path.clone()), there(path), real(path)].into_iter().flatten().collect();
        names.sort();
        names.dedup();
        names
    };
    let closed = |paths: &[PathBuf]| paths.iter().flat_map(all_names).collect::<Vec<_>>();
    let masks = plan.masks.iter().flat_map(|mask| {
        all_names(&mask.path).into_iter().map(|path| Mask { path, bytes: mask.bytes.clone(), access: mask.access })
    });
    Surroundings {
        folder: real(&plan.folder).unwrap_or_else(|| plan.folder.clone()),
        writable: open(&plan.writable),
        hidden: closed(&plan.hidden),
        masks: masks.collect(),
        kept: closed(&plan.kept),
        sockets: open(&plan.sockets),
        runtime_folder: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::Access;

    fn paths(all: &[&str]) -> Vec<PathBuf> {
        all.iter().map(PathBuf::from).collect()
    }

    fn mask(path: &str, bytes: &[u8]) -> Mask {
        Mask { path: path.into(), bytes: bytes.to_vec(), access: Access::Read }
    }

    fn plan() -> Surroundings {
        Surroundings {
            folder: "/Users/ada/project".into(),
            writable: paths(&["/Users/ada/project", "/Users/ada/.npm", "/private/var/folders/ab/cd/T/session"]),
            hidden: paths(&["/Users/ada/.ssh", "/Users/ada/.bash_history"]),
            masks: vec![
                mask("/Users/ada/.ssh/known_hosts", b"same"),
                mask("/Users/ada/project/api/.env", b"other"),
                mask("/Users/ada/.netrc", b"other"),
            ],
            kept: paths(&["/Users/ada/project/.git/hooks", "/Users/ada/project/valetkey.yaml"]),
            sockets: paths(&["/private/var/run/docker.sock"]),
            runtime_folder: None,
        }
    }

    fn profile(plan: &Surroundings) -> Result<String, SandboxError> {
        let home = Path::new("/Users/ada");
        let is_as_it_is = |mask: &Mask| mask.bytes == b"same";
        Confinement { plan, home, proxy: 50_123, reach: &[5_432], is_as_it_is: &is_as_it_is }.profile()
    }

    #[test]
    fn the_profile_of_a_plan() {
        assert_eq!(profile(&plan()).expect("a profile"), include_str!("seatbelt.sb"));
    }

    /// What a plan does not name makes no rule, and no rule is left without its filter.
    #[test]
    fn an_empty_plan_opens_nothing() {
        let text = profile(&Surroundings::default()).expect("a profile");
        for open in ["(allow network-outbound)", "AF_UNIX", "(allow file-write*)", "file-link)", "(allow mach-lookup)"]
        {
            assert!(!text.contains(open), "{open} in\n{text}");
        }
        let written: Vec<&str> =
            text.lines().filter(|line| line.starts_with("(allow file-read* file-write*")).collect();
        assert_eq!(written.len(), 2, "{written:?}");
    }

    /// The last rule decides: nothing that opens comes after what closes.
    #[test]
    fn what_closes_comes_last() {
        let text = profile(&plan()).expect("a profile");
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("no `{what}` in\n{text}"));
        let opened = at("(literal \"/Users/ada/project\") (subpath \"/Users/ada/project\")");
        for closed in [
            "(literal \"/Users/ada/.ssh\")",
            "(literal \"/Users/ada/project/api/.env\")",
            "(literal \"/Users/ada/project/.git/hooks\")",
        ] {
            assert!(at(closed) > opened, "{closed}");
        }
        assert!(
            at("(allow file-read*\n  (literal \"/Users/ada/.ssh/known_hosts\"))") > at("(literal \"/Users/ada/.ssh\")")
        );
        let moved = text.rsplit_once("(deny file-write-unlink").expect("the last rule").1;
        for folder in ["/Users/ada/project", "/Users/ada/project/api", "/Users/ada/project/.git"] {
            assert!(moved.contains(&format!("(literal \"{folder}\")")), "{folder} in {moved}");
        }
        assert!(!moved.contains("\"/Users/ada\""), "{moved}");
    }

    #[test]
    fn what_cannot_be_named_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let odd = [
            OsString::from("/a\nb"),
            OsString::from("/a\u{7f}"),
            OsString::from("a/b"),
            OsString::from_vec(vec![b'/', 0xff]),
        ];
        for path in odd {
            let plan = Surroundings { hidden: vec![path.clone().into()], ..Surroundings::default() };
            let error = profile(&plan).expect_err("no profile");
            assert!(matches!(error, SandboxError::Path { .. }), "{path:?}: {error}");
            assert!(error.to_string().contains("cannot be named"), "{error}");
        }
    }

    #[test]
    fn a_command_runs_inside() {
        let plan = Surroundings::default();
        let inside =
            Confinement { plan: &plan, home: Path::new("/Users/ada"), proxy: 1, reach: &[], is_as_it_is: &|_| false };
        let argv = inside.command(["git".into(), "status".into()]).expect("a command");
        assert_eq!(argv[0], PROGRAM);
        assert_eq!((&argv[1], &argv[3], &argv[4]), (&"-p".into(), &"git".into(), &"status".into()));
    }

    #[test]
    fn links_are_followed_and_their_names_kept() {
        let folder = tempfile::tempdir().expect("folder");
        let top = folder.path().canonicalize().expect("real");
        std::fs::create_dir_all(top.join("real/deep")).expect("made");
        std::fs::write(top.join("real/key"), "k").expect("written");
        std::os::unix::fs::symlink(top.join("real"), top.join("link")).expect("linked");
        let plan = Surroundings {
            writable: vec![top.join("link/deep"), top.join("none")],
            hidden: vec![top.join("link/key"), top.join("link/later")],
            ..Surroundings::default()
        };
        let made = physical(&plan);
        assert_eq!(made.writable, [top.join("real/deep")]);
        for name in ["link/key", "real/key", "link/later", "real/later"] {
            assert!(made.hidden.contains(&top.join(name)), "{name} in {:?}", made.hidden);
        }
    }

    /// Reads one string as Scheme does: what it says, and what follows it.
    fn read(text: &str) -> Option<(String, &str)> {
        let mut out = String::new();
        let mut letters = text.strip_prefix('"')?.chars();
        loop {
            match letters.next()? {
                '"' => return Some((out, letters.as_str())),
                '\\' => out.push(letters.next()?),
                letter => out.push(letter),
            }
        }
    }

    proptest! {
        /// No path gets out of its string: it is read back as it was, whatever is in it, and nothing is left over.
        #[test]
        fn no_path_leaves_its_string(tail in "[\"\\\\()#;a/ éŁ\u{1f511}-]{0,40}") {
            let path = format!("/{tail}");
            let text = literal(Path::new(&path)).expect("named");
            prop_assert_eq!(read(&text), Some((path, "")));
        }

        /// The same of a whole profile: outside of its strings and comments, every plan has the rules of one with plain names.
        #[test]
        fn no_path_makes_a_rule(tail in "[\"\\\\()#;a/ ]{1,40}") {
            let with = |name: &str| {
                let mut plan = plan();
                for list in [&mut plan.hidden, &mut plan.writable, &mut plan.kept, &mut plan.sockets] {
                    list.push(format!("/{name}x").into());
                }
                outside_strings(&profile(&plan).expect("a profile"))
            };
            prop_assert_eq!(with(&tail), with("plain"));
        }
    }

    fn outside_strings(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['"', ';']) {
            out.push_str(&rest[..at]);
            rest = if rest[at..].starts_with(';') {
                rest[at..].split_once('\n').map_or("", |(_, after)| after)
            } else {
                out.push('s');
                read(&rest[at..]).expect("a string").1
            };
        }
        out + rest
    }
}

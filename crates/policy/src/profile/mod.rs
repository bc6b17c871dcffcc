//! Profiles: the parts of a policy that known programs need. One file each; none of them grants a credential of
//! another service, none covers class admin.

mod claude_code;
mod codex;
mod cursor;
mod gemini_cli;
mod packages;

/// How much a profile lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Reads.
    Read,
    /// Reads and writes; never deletes, spends, admin, or effects that ask.
    Use,
}

/// A folder or a file under the home folder, and the program that makes it there on its first start.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Its path, from the home folder.
    pub path: &'static str,
    /// The program, where it is a folder that may be made for it; empty where it may not.
    pub program: &'static str,
}

/// A folder of this program's.
const fn folder(path: &'static str, program: &'static str) -> State {
    State { path, program }
}

/// A file, which is there or not.
const fn file(path: &'static str) -> State {
    State { path, program: "" }
}

/// What one program needs.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Its name in `profiles:`.
    pub name: &'static str,
    /// Hosts, lower case; `*.domain` for every name under a domain.
    pub hosts: &'static [&'static str],
    /// Services of the catalogue, for those whose hosts are not listed.
    pub services: &'static [&'static str],
    /// What holds the program's state and log-ins.
    pub state: &'static [State],
    /// How much it lets through.
    pub reach: Reach,
}

/// Every profile.
const ALL: &[Profile] =
    &[claude_code::PROFILE, codex::PROFILE, cursor::PROFILE, gemini_cli::PROFILE, packages::PROFILE];

/// The profile of this name.
#[must_use]
pub fn get(name: &str) -> Option<&'static Profile> {
    ALL.iter().find(|profile| profile.name == name)
}

/// The names of all profiles.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|profile| profile.name)
}

impl Profile {
    /// Whether it names this host.
    #[must_use]
    pub fn names_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| match known.strip_prefix("*.") {
            Some(domain) => host.strip_suffix(domain).is_some_and(|front| front.ends_with('.')),
            None => *known == host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_by_label() {
        let cursor = get("cursor").expect("a profile");
        assert!(cursor.names_host("api2.cursor.sh"));
        assert!(!cursor.names_host("evilcursor.sh"));
        assert!(!cursor.names_host("cursor.sh.evil.test"));
        assert!(get("packages").is_some_and(|profile| profile.reach == Reach::Read));
        assert!(get("nothing").is_none());
    }
}

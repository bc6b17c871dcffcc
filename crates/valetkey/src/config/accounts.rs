//! Users and groups of this machine, as `/etc/passwd` and `/etc/group` name them.
//!
//! Directory services are not asked: that takes the C library's plug-ins, which run in this process. Where a name is not in
//! the files its number is used (`uid:1001` in a configuration).

use std::path::Path;

use model::UserName;

use super::private::read_bounded;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
/// A machine with ten thousand accounts of its own has files of this size.
const ACCOUNTS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The two files, read at one moment.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// `name:password:uid:gid:..`
    passwd: String,
    /// `name:password:gid:member,member`
    group: String,
}

impl Accounts {
    /// Those of this machine; a file that cannot be read names nobody.
    pub fn of_machine() -> Self {
        let read = |path: &str| read_bounded(Path::new(path), ACCOUNTS_BYTES_MAX).ok().flatten().unwrap_or_default();
        let text = |path: &str| String::from_utf8_lossy(&read(path)).into_owned();
        Self { passwd: text(PASSWD), group: text(GROUP) }
    }

    /// The name of a user.
    pub fn user(&self, uid: u32) -> Option<UserName> {
        let number = uid.to_string();
        let mut lines = self.passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let name = lines.find_map(|line| match line.as_slice() {
            [name, _, other, ..] if *other == number => Some((*name).to_owned()),
            _ => None,
        })?;
        UserName::new(&name).ok()
    }

    /// The number of a group, by its name or as it stands.
    pub fn group(&self, name: &str) -> Option<u32> {
        let mut lines = self.group.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let number = lines.find_map(|line| match line.as_slice() {
            [other, _, gid, ..] if *other == name => gid.parse().ok(),
            _ => None,
        });
        number.or_else(|| name.parse().ok())
    }

    /// Whether a group has nobody in it but this user, as far as the files say: many systems give each user a group of
    /// his own and let files be written by it.
    pub fn is_alone_in(&self, gid: u32, uid: u32) -> bool {
        let (group, user) = (gid.to_string(), uid.to_string());
        let own = self.user(uid);
        let others =
            self.passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).any(
                |line| matches!(line.as_slice(), [_, _, other, primary, ..] if *primary == group && *other != user),
            );
        let mut known = false;
        let members = self.group.lines().map(|line| line.split(':').collect::<Vec<_>>()).any(|line| {
            let [_, _, other, members] = line.as_slice() else { return false };
            if *other != group {
                return false;
            }
            known = true;
            let mut names = members.split(',').filter(|name| !name.is_empty());
            names.any(|name| own.as_ref().is_none_or(|own| own.as_str() != name))
        });
        known && !others && !members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\neve:x:1001:100::/:/bin/sh\nb b:x:7:7::/:\n";
        let group = "root:x:0:\nada:x:1000:\nusers:x:100:ada\nwheel:x:10:ada\nself:x:11:eve\n";
        Accounts { passwd: passwd.to_owned(), group: group.to_owned() }
    }

    #[test]
    fn names_and_numbers() {
        let accounts = accounts();
        assert_eq!(accounts.user(1000).map(|name| name.to_string()).as_deref(), Some("ada"));
        assert!(accounts.user(7).is_none() && accounts.user(4242).is_none());
        assert_eq!(accounts.group("wheel"), Some(10));
        assert_eq!((accounts.group("4711"), accounts.group("nobody-here")), (Some(4711), None));
    }

    #[test]
    fn a_group_of_ones_own() {
        for (gid, uid, alone) in [
            (1000, 1000, true),
            (0, 0, true),
            (11, 1001, true),
            // Somebody else's primary group, a group with a member, one that the files do not name.
            (100, 1000, false),
            (10, 1001, false),
            (1000, 1001, false),
            (4711, 1000, false),
        ] {
            assert_eq!(accounts().is_alone_in(gid, uid), alone, "group {gid}, user {uid}");
        }
    }
}

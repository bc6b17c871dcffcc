//! Packages that nobody of ours may pull in, by whatever road.

use std::path::Path;

use anyhow::Result;

use crate::shell;

/// Name, version prefix (empty: any) and the reason.
const BANNED: &[(&str, &str, &str)] = &[
    ("ring", "", "one cryptographic provider: aws-lc-rs"),
    ("openssl", "", "one cryptographic provider: aws-lc-rs"),
    ("openssl-sys", "", "one cryptographic provider: aws-lc-rs"),
    ("native-tls", "", "one TLS: rustls"),
    ("hyper", "0.", "one HTTP: hyper 1"),
    ("h2", "0.3.", "one HTTP: hyper 1"),
    ("reqwest", "", "a client that follows and retries by itself"),
];

/// Every package that is built for any target. The lock file alone would not do: it also names what features that nobody
/// turned on would want.
pub fn packages(root: &Path) -> Result<String> {
    shell::output(&mut shell::command(root, "cargo tree --workspace --target all -e all --prefix none"))
}

/// The banned packages in lines of `name vVERSION ..`.
pub fn check(packages: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for line in packages.lines() {
        let mut words = line.split_whitespace();
        let (name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        for (banned, prefix, why) in BANNED {
            if name == *banned && version.trim_start_matches('v').starts_with(prefix) {
                complaints
                    .push(format!("package {name} {version}: {why}; find who wants it with `cargo tree -i {name}`"));
            }
        }
    }
    complaints.dedup();
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banned_packages_are_found() {
        assert_eq!(check("ring v0.17.8\nring v0.17.8 (*)\nring v0.17.8").len(), 1);
        assert_eq!(check("hyper v0.14.30").len(), 1);
        assert!(check("hyper v1.12.0\nring-buffer v1.0.0\n\n").is_empty());
    }
}

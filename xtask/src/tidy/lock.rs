//! Packages that may not be in the lock file, whoever wants them.

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

/// The banned packages of a lock file.
pub fn check(lock: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut name = "";
    for line in lock.lines() {
        if let Some(value) = quoted(line, "name = ") {
            name = value;
        }
        let Some(version) = quoted(line, "version = ") else { continue };
        for (banned, prefix, why) in BANNED {
            if name == *banned && version.starts_with(prefix) {
                complaints.push(format!(
                    "Cargo.lock: {name} {version}: {why}; find who wants it with `cargo tree -i {name}`"
                ));
            }
        }
    }
    complaints
}

fn quoted<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banned_packages_are_found() {
        let package = |name: &str, version: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
        assert_eq!(check(&package("ring", "0.17.8")).len(), 1);
        assert_eq!(check(&package("hyper", "0.14.30")).len(), 1);
        assert!(check(&(package("hyper", "1.12.0") + &package("ring-buffer", "1.0.0"))).is_empty());
    }
}

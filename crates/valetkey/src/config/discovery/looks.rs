//! What looks like a secret.

use std::path::Path;

/// Ends of names that hold secrets.
const ENDS: [&str; 17] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "_KEY",
    "APIKEY",
    "_PASS",
    "_PWD",
    "_PAT",
    "CREDENTIALS",
    "CREDENTIAL",
    "_AUTH",
    "_COOKIE",
    "_DSN",
    "_SECRETS",
    "_TOKENS",
];
/// Names that end so and hold none: a fingerprint in many container images, sockets, names of things.
const NOT: [&str; 6] =
    ["GPG_KEY", "SSH_AUTH_SOCK", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "GIT_ASKPASS", "SSH_ASKPASS"];
/// Beginnings of values that are secrets, whatever the name. Shapes of known services come from their files.
const VALUES: [&str; 18] = [
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "sk-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "npm_",
    "pypi-",
    "AKIA",
    "AIza",
    "hf_",
    "dop_v1_",
];
/// A value shorter than this is a word or a number.
const BYTES_MIN: usize = 8;

/// Whether a value begins like a secret and is long enough to be one.
pub(super) fn fits(value: &str, prefix: &str) -> bool {
    let plain = |letter: u8| letter.is_ascii_graphic();
    !prefix.is_empty()
        && value.starts_with(prefix)
        && value.len() >= prefix.len() + BYTES_MIN
        && value.bytes().all(plain)
}

/// Why a variable looks like a secret; none if it does not.
pub(in crate::config) fn like_a_secret(name: &str, value: &str, folder: &Path) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    if NOT.contains(&upper.as_str()) || value.is_empty() {
        return None;
    }
    if value.contains("-----BEGIN") && value.contains("PRIVATE KEY") {
        return Some("its value is a private key");
    }
    if VALUES.iter().any(|prefix| fits(value, prefix)) || is_jwt(value) {
        return Some("its value looks like a token and no service knows it");
    }
    if has_password(value) {
        return Some("its value is an address with a password");
    }
    let named = ENDS.iter().any(|end| upper.ends_with(end)) && !upper.ends_with("_PUBLIC_KEY");
    if named && value.len() >= BYTES_MIN && !is_path(value, folder) && !value.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Some("its name says that it is a secret and no service knows it");
    }
    None
}

/// Three parts of base64url, the first an object (RFC 7519).
fn is_jwt(value: &str) -> bool {
    let part =
        |part: &str| part.len() >= 8 && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    value.starts_with("eyJ") && value.split('.').count() == 3 && value.split('.').all(part)
}

/// `scheme://user:password@host` (RFC 3986 3.2.1); a proxy's address has one too, and is replaced anyway.
fn has_password(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let password =
        authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).map_or("", |(_, password)| password);
    !password.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn is_path(value: &str, folder: &Path) -> bool {
    value.len() < 4_096 && (value.contains('/') || value.contains('.')) && folder.join(value).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl";
        for (name, value, secret) in [
            ("ACME_TOKEN", "0123456789abcdef", true),
            ("acme_api_key", "0123456789abcdef", true),
            ("DB_PASSWORD", "correct horse", true),
            ("DATABASE_URL", "postgres://u:p@db/x", true),
            ("SESSION", jwt, true),
            ("ANYTHING", "ghp_0123456789abcdef0123456789abcdef0123", true),
            ("DEPLOY", "-----BEGIN OPENSSH PRIVATE KEY-----\nx", true),
            ("GPG_KEY", "E3FF2839C048B25C084DEBE9B26995E310250568", false),
            ("SSH_AUTH_SOCK", "/tmp/ssh-x/agent.1", false),
            ("TOKENIZERS_PARALLELISM", "false", false),
            ("MAX_TOKEN", "1234567890", false),
            ("LICENSE_KEY", "/etc/hostname", false),
            ("HOMEPAGE", "https://example.com/a:b@c", false),
            ("PATH", "/usr/bin:/bin", false),
            ("SSL_PUBLIC_KEY", "MIIBIjANBgkqhkiG9w0BAQEFAAOC", false),
        ] {
            assert_eq!(like_a_secret(name, value, Path::new("/")).is_some(), secret, "{name}={value}");
        }
    }
}

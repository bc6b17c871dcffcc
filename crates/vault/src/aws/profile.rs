//! The shared files of AWS (`~/.aws/credentials`, `~/.aws/config`): sections and `name = value` (AWS SDKs and Tools Reference Guide, "Shared config and
//! credentials files").

use secret::Secret;

use super::Keys;
use crate::backend::BackendError;

/// Settings by which a profile gets keys from elsewhere.
const ELSEWHERE: [&str; 5] = ["role_arn", "credential_process", "sso_session", "sso_start_url", "login_session"];

/// The keys of a section; none where it holds none.
pub(crate) fn keys(octets: &[u8], section: &str) -> Result<Option<Keys>, BackendError> {
    let Ok(text) = std::str::from_utf8(octets) else {
        return Err(super::malformed("a shared file of AWS is not UTF-8"));
    };
    let (mut inside, mut id, mut secret, mut token, mut elsewhere) = (false, None, None, None, false);
    for line in text.lines() {
        // What is indented belongs to the setting above.
        if line.starts_with([' ', '\t', '#', ';']) {
            continue;
        }
        if let Some(name) = line.trim_end().strip_prefix('[').and_then(|line| line.split(']').next()) {
            inside = name.split_ascii_whitespace().eq(section.split_ascii_whitespace());
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| inside) else { continue };
        let value = value.trim();
        let value = || Some(Secret::new(value.as_bytes().to_vec())).filter(|value| !value.is_empty());
        match name.trim_end() {
            "aws_access_key_id" => id = value(),
            "aws_secret_access_key" => secret = value(),
            "aws_session_token" => token = value(),
            name => elsewhere |= ELSEWHERE.contains(&name),
        }
    }
    match (id, secret) {
        (Some(id), Some(secret)) => Ok(Some(Keys { id, secret, token, expires: None })),
        _ if elsewhere => Err(super::malformed(
            "the profile of AWS gets its keys from elsewhere (a role, a log-in, a program), which is not followed; write `from: \"exec:aws configure export-credentials\"`",
        )),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_settings() {
        let text = "# mine\n[default]\naws_access_key_id = AKDEFAULT\naws_secret_access_key=s=1/+\n\n[profile  dev]\r\naws_access_key_id=AKDEV\r\naws_secret_access_key = s2 \r\naws_session_token = t\r\n\
                    s3 =\n  aws_access_key_id = nested\n[half]\naws_access_key_id = AK\n[role]\nrole_arn = arn\nsource_profile = default\n";
        let of = |section: &str| keys(text.as_bytes(), section);
        let pair = |section: &str| {
            let keys = of(section).unwrap_or_else(|error| panic!("{error}")).expect(section);
            (keys.id, keys.secret, keys.token)
        };
        let (id, secret, token) = pair("default");
        assert!(id.equals(b"AKDEFAULT") && secret.equals(b"s=1/+") && token.is_none());
        let (id, secret, token) = pair("profile dev");
        assert!(id.equals(b"AKDEV") && secret.equals(b"s2") && token.is_some_and(|token| token.equals(b"t")));
        for none in ["dev", "half", "other"] {
            assert!(of(none).is_ok_and(|keys| keys.is_none()), "{none}");
        }
        assert!(of("role").is_err_and(|error| error.to_string().contains("is not followed")));
        assert!(keys(b"\xff", "default").is_err());
    }
}

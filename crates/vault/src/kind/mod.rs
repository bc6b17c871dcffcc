//! Kinds of credentials: what a stored value must look like, and the parts that schemes need.
//!
//! To add one: a file here and a line in [`KINDS`].
#![expect(
    clippy::disallowed_methods,
    reason = "a kind looks at the form of a value when it is saved and when it is used"
)]

mod aws;
mod basic;
mod database;
mod document;
pub(crate) mod gcp;
mod hmac;
mod mtls;
pub(crate) mod oauth2;
pub(crate) mod private_key;
mod token;

use model::{Timestamp, bounds};
use secret::{Field, Material, Secret};

/// Every kind.
const KINDS: &[&dyn Kind] = &[
    &token::Token,
    &basic::Basic,
    &database::Database,
    &oauth2::OAuth2,
    &aws::Aws,
    &mtls::Mtls,
    &hmac::Hmac,
    &private_key::PrivateKey,
    &gcp::Gcp,
];

/// Kinds of the glossary that come later.
const LATER: [&str; 1] = ["ssh"];

/// Kinds that are issued, and what is stored for them.
const ISSUED: [(&str, &str); 2] =
    [("github-app", "`private-key`"), ("azure", "`token`, or `private-key` with a certificate")];

/// Why a value cannot be a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// No such kind.
    #[error(
        "`{kind}` is not a kind of credential; use `token`, `basic`, `database`, `oauth2`, `aws`, `mtls`, `hmac`, `private-key` or `gcp`"
    )]
    Unknown {
        /// As written.
        kind: String,
    },
    /// A kind of a later version.
    #[error(
        "the kind `{kind}` is not in this version; use `token`, `basic`, `database`, `oauth2`, `aws`, `mtls`, `hmac`, `private-key` or `gcp`"
    )]
    NotYet {
        /// As written.
        kind: String,
    },
    /// A kind of what is issued, where what is stored is meant.
    #[error("`{kind}` is issued; what is stored for it is of kind {stores}")]
    Issued {
        /// As written.
        kind: String,
        /// What is stored.
        stores: &'static str,
    },
    /// What an issuer is asked with would go on a request.
    #[error("a value of kind `{kind}` goes on no request; write `issue:` to say who issues what does")]
    AskedWith {
        /// The kind.
        kind: &'static str,
    },
    /// Nothing was given.
    #[error("the value is empty; check where it comes from")]
    Empty,
    /// More than a credential has.
    #[error("the value is longer than {max} bytes; a credential that large is probably the wrong file")]
    TooLong {
        /// The bound.
        max: usize,
    },
    /// A character that would end or split a header field (RFC 9110 5.5).
    #[error(
        "the value holds a line break or NUL, which could smuggle headers; remove it (a trailing newline, perhaps)"
    )]
    Control,
    /// The form of the kind is missing.
    #[error("a value of kind `{kind}` has the form {form}; write it like that")]
    Form {
        /// The kind.
        kind: &'static str,
        /// The form.
        form: &'static str,
    },
}

/// One kind.
pub(crate) trait Kind: Send + Sync {
    /// The word of the glossary.
    fn name(&self) -> &'static str;

    /// The parts of a value.
    fn material(&self, value: Secret) -> Result<Material, KindError>;

    /// Whether a value may be a document of parts instead.
    fn takes_documents(&self) -> bool {
        true
    }

    /// Whether a value may have several lines.
    fn has_lines(&self) -> bool {
        false
    }

    /// When a value ends, where it says so itself.
    fn expires(&self, _value: &Secret) -> Option<Timestamp> {
        None
    }

    /// Whether an issuer is asked with it: then it goes on no request, and may have lines.
    fn is_asked_with(&self) -> bool {
        false
    }
}

/// Whether values of this kind have lines, so that no prompt takes one.
#[must_use]
pub fn has_lines(kind: &str) -> bool {
    named(kind).is_ok_and(|kind| kind.is_asked_with() || kind.name() == "mtls")
}

/// The kind of this name.
pub(crate) fn named(kind: &str) -> Result<&'static dyn Kind, KindError> {
    KINDS.iter().find(|known| known.name() == kind).copied().ok_or_else(|| {
        let kind: String = kind.chars().take(64).collect();
        match ISSUED.iter().find(|(known, _)| *known == kind) {
            Some((_, stores)) => KindError::Issued { kind, stores },
            None if LATER.contains(&kind.as_str()) => KindError::NotYet { kind },
            None => KindError::Unknown { kind },
        }
    })
}

/// The parts of a value, whatever its kind; checked at save and again at use, because a back end may have changed it.
pub(crate) fn material(kind: &str, value: Secret) -> Result<Material, KindError> {
    let kind = named(kind)?;
    if kind.is_asked_with() {
        return Err(KindError::AskedWith { kind: kind.name() });
    }
    // A document may have lines; its parts may not.
    let document =
        if kind.takes_documents() && value.len() <= bounds::SECRET_BYTES_MAX { document::read(&value) } else { None };
    let Some(document) = document else {
        check_size(&value)?;
        if !kind.has_lines() {
            check_lines(&value)?;
        }
        return kind.material(value);
    };
    let parts = [Some(&document.secret), document.key_id.as_ref(), document.session_token.as_ref()];
    parts.into_iter().flatten().try_for_each(check)?;
    if kind.name() == basic::NAME && document.key_id.is_none() {
        return Err(KindError::Form {
            kind: basic::NAME,
            form: "`user:password`, or a document with `key_id` and `secret`",
        });
    }
    let mut fields = vec![(Field::Value, document.secret)];
    fields.extend(document.key_id.map(|id| (Field::Username, id)));
    fields.extend(document.session_token.map(|token| (Field::SessionToken, token)));
    Ok(Material::new(fields))
}

/// When a value ends, where its kind says so.
pub(crate) fn expires(kind: &str, value: &Secret) -> Option<Timestamp> {
    let kind = named(kind).ok()?;
    let stated =
        if kind.takes_documents() { document::read(value).and_then(|document| document.expires) } else { None };
    stated.or_else(|| kind.expires(value))
}

/// What no kind allows.
fn check(value: &Secret) -> Result<(), KindError> {
    check_size(value)?;
    check_lines(value)
}

fn check_size(value: &Secret) -> Result<(), KindError> {
    if value.is_empty() {
        return Err(KindError::Empty);
    }
    if value.len() > bounds::SECRET_BYTES_MAX {
        return Err(KindError::TooLong { max: bounds::SECRET_BYTES_MAX });
    }
    Ok(())
}

fn check_lines(value: &Secret) -> Result<(), KindError> {
    if value.expose().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(KindError::Control);
    }
    Ok(())
}

/// A value of the form that its kind wants, without keeping it: its parts are dropped.
pub(crate) fn verify(kind: &str, value: &Secret) -> Result<(), KindError> {
    let copy = || Secret::new(value.expose().to_vec());
    let known = named(kind)?;
    if known.is_asked_with() {
        check_size(value)?;
        return known.material(copy()).map(drop);
    }
    material(kind, copy()).map(drop)
}

/// What the user should hear about a value that is accepted.
pub(crate) fn warning(value: &Secret) -> Option<String> {
    (value.len() < bounds::NEEDLE_BYTES_MIN).then(|| {
        format!(
            "the value is shorter than {} bytes: too short to be found and masked in answers",
            bounds::NEEDLE_BYTES_MIN
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked() {
        let long = vec![b'x'; bounds::SECRET_BYTES_MAX + 1];
        for (kind, value, good) in [
            ("token", &b"ghp_abc"[..], true),
            ("token", b"", false),
            ("token", b"a\r\nX: y", false),
            ("token", b"a\0b", false),
            ("token", b"a\n", false),
            ("token", &long, false),
            ("basic", b"ada:secret:with:colons", true),
            ("basic", b"ada:", true),
            ("basic", b"no colon", false),
            ("database", b"crm_app:secret:with:colons", true),
            ("database", b"{\"username\":\"crm_app\",\"password\":\"x\"}", true),
            ("database", b"{\"username\":\"crm_app\"}", false),
            ("database", b"{\"password\":\"x\"}", false),
            ("database", b"no colon", false),
            ("database", b":x", false),
            ("oauth2", b"x", false),
            ("oauth2", b"{\"access_token\":\"x\"}", true),
            ("aws", b"x", false),
            ("tokn", b"x", false),
        ] {
            assert_eq!(material(kind, Secret::new(value.to_vec())).is_ok(), good, "{kind} {}", value.len());
        }
    }

    #[test]
    fn what_issuers_are_asked_with_has_lines_and_goes_on_no_request() {
        let key = testkit::RsaKey::fresh();
        let (pkcs8, pkcs1, (certified, _)) = (key.pkcs8(), key.pkcs1(), key.certified());
        let file = |email: &str, key: &str| {
            serde_json::json!({ "client_email": email, "private_key": key, "token_uri": "https://x/t" }).to_string()
        };
        for (kind, value, good) in [
            ("private-key", pkcs8.as_str(), true),
            ("private-key", pkcs8.trim_end(), true),
            ("private-key", &pkcs8.replace('\n', "\\n"), true),
            ("private-key", &pkcs8.replace('\n', "\r\n"), true),
            ("private-key", &pkcs1, true),
            ("private-key", &certified, true),
            ("private-key", "", false),
            ("private-key", "key", false),
            ("private-key", &certified[pkcs8.len()..], false),
            ("gcp", &file("a@b", &pkcs8), true),
            ("gcp", &file("", &pkcs8), false),
            ("gcp", &file("a@b", "key"), false),
            ("gcp", "{}", false),
            ("gcp", &pkcs8, false),
        ] {
            let secret = Secret::new(value.as_bytes().to_vec());
            assert_eq!(verify(kind, &secret).is_ok(), good, "{kind} {}", value.len());
            assert!(matches!(material(kind, secret), Err(KindError::AskedWith { .. })), "{kind}");
            assert!(has_lines(kind));
        }
        assert!(!has_lines("token"));
    }

    #[test]
    fn basic_splits_at_the_first_colon() {
        let parts = material("basic", Secret::new(b"ada:pass:word".to_vec())).expect("basic");
        assert!(parts.field(Field::Username).is_some_and(|user| user.equals(b"ada")));
        assert!(parts.field(Field::Value).is_some_and(|word| word.equals(b"pass:word")));
    }

    #[test]
    fn documents_are_taken_apart() {
        let end = Some(Timestamp::from_secs(1_790_000_000));
        let whole = "{\n \"key_id\": \"k-1\",\n \"secret\": \"s-1\",\n \"expires_at\": \"2026-09-21T14:13:20Z\",\n \"permissions\": [\"read\"]\n}\n";
        for (kind, value, user, secret, expires) in [
            ("token", whole, Some("k-1"), "s-1", end),
            ("basic", whole, Some("k-1"), "s-1", end),
            ("token", r#"{"secret":"s-2"}"#, None, "s-2", None),
            ("token", r#"{"key_id":"k","secret":"s","session_token":"t"}"#, Some("k"), "s", None),
            // Not one: a value that happens to be JSON stays whole.
            (
                "token",
                r#"{"secret":"s","type":"service_account"}"#,
                None,
                r#"{"secret":"s","type":"service_account"}"#,
                None,
            ),
            ("token", r#"{"secret":7}"#, None, r#"{"secret":7}"#, None),
            ("token", "{curly", None, "{curly", None),
        ] {
            let stored = || Secret::new(value.as_bytes().to_vec());
            assert_eq!(self::expires(kind, &stored()), expires, "{value}");
            let parts = material(kind, stored()).expect(value);
            assert!(parts.field(Field::Value).is_some_and(|it| it.equals(secret.as_bytes())), "{value}");
            assert_eq!(parts.field(Field::Username).is_some(), user.is_some(), "{value}");
            assert!(parts.field(Field::Username).is_none_or(|it| it.equals(user.unwrap_or_default().as_bytes())));
        }
        for (kind, bad) in [
            ("basic", r#"{"secret":"s"}"#),
            ("token", r#"{"secret":""}"#),
            ("token", r#"{"secret":"a\nb"}"#),
            ("token", r#"{"key_id":"a\r\nX: y","secret":"s"}"#),
        ] {
            assert!(material(kind, Secret::new(bad.as_bytes().to_vec())).is_err(), "{bad}");
        }
    }
}

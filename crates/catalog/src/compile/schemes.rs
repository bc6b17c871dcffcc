//! Slots as a service file declares them: whatever would break the line that a credential stands on is found when the file
//! is read, not when the first request needs it (row C37).

use model::scheme::SchemeSpec;
use model::scheme::hmac::{HmacSpec, Hole, Piece, Spot, holes, pieces};

use super::Wrong;
use crate::file::ServiceFile;

/// What stands in a template for the value.
const HOLE: &str = "{value}";

/// Checks every scheme, of the service and of its hosts.
pub(crate) fn check(written: &ServiceFile) -> Result<(), Wrong> {
    let of_hosts = written.hosts.iter().filter_map(|host| host.0.schemes.as_ref()).flatten();
    written.schemes.iter().chain(of_hosts).try_for_each(|scheme| {
        one(scheme)?;
        kinds(written, scheme)
    })
}

/// A scheme that needs more than a token needs a kind of credential that has it.
fn kinds(written: &ServiceFile, scheme: &SchemeSpec) -> Result<(), Wrong> {
    let kind = match scheme {
        SchemeSpec::Mtls {} => "mtls",
        SchemeSpec::Hmac(spec) if spec.spot_of(Hole::KeyId).is_some() => "hmac",
        _ => return Ok(()),
    };
    if written.credentials.iter().any(|known| known == kind) {
        return Ok(());
    }
    Err(Wrong::new(kind, format!("the scheme `{kind}` takes a credential of that kind; write `credentials: [{kind}]`")))
}

fn one(scheme: &SchemeSpec) -> Result<(), Wrong> {
    match scheme {
        SchemeSpec::Bearer { header, words } => {
            token(header, "header")?;
            if words.is_empty() {
                return Err(Wrong::new(header, "no word before the value; write `words: [Bearer]`"));
            }
            words.iter().try_for_each(|word| token(word, "word"))
        }
        SchemeSpec::Header { name, template } => {
            token(name, "header")?;
            if template.matches(HOLE).count() != 1 || !is_line(template) {
                let shown = template.escape_debug();
                let message = format!("template `{shown}` cannot stand in a header; write `{HOLE}` once, on one line");
                return Err(Wrong::new(name, message));
            }
            Ok(())
        }
        SchemeSpec::Basic { username, .. } => match username {
            Some(user) if user.contains(':') || !is_line(user) => {
                let message = format!("user `{}` cannot stand before a colon; write it without", user.escape_debug());
                Err(Wrong::new("username", message))
            }
            _ => Ok(()),
        },
        SchemeSpec::Query { name } => line(name, "parameter"),
        SchemeSpec::Cookie { name } => token(name, "cookie"),
        SchemeSpec::Body { field, .. } => line(field, "field"),
        SchemeSpec::Hmac(spec) => hmac(spec),
        SchemeSpec::Sigv4 {} | SchemeSpec::Mtls {} => Ok(()),
    }
}

/// Fields that are no scheme's to write: they say where a request goes and how long it is.
const FRAMING: [&str; 7] =
    ["host", "connection", "content-length", "transfer-encoding", "upgrade", "cookie", "accept-encoding"];

/// Templates that can be filled in, and read by whoever verifies: what is signed must be sent.
fn hmac(spec: &HmacSpec) -> Result<(), Wrong> {
    filled(&spec.sign, |hole| hole != Hole::Signature)?;
    if holes(&spec.sign).next().is_none() {
        return Err(Wrong::new(
            &spec.sign,
            "nothing of the request is signed; write `sign: \"{timestamp}{method}{target}{body}\"`",
        ));
    }
    for (spot, template) in spec.spots() {
        match spot {
            Spot::Header(name) => {
                token(name, "header")?;
                if FRAMING.iter().any(|own| own.eq_ignore_ascii_case(name)) {
                    return Err(Wrong::new(name, format!("`{name}` is no place of a signature; name another header")));
                }
            }
            Spot::Query(name) => line(name, "parameter")?,
        }
        if template.is_empty() || !is_line(template) {
            let shown = template.escape_debug();
            return Err(Wrong::new(template, format!("template `{shown}` cannot be sent; write it on one line")));
        }
        filled(template, |hole| {
            use Hole::{BodyHash, KeyId, Nonce, Passphrase, Signature, Timestamp};
            matches!(hole, Timestamp | Nonce | KeyId | Passphrase | Signature | BodyHash(..))
        })?;
    }
    let places = |wanted: Hole<'_>| {
        spec.spots().flat_map(|(_, template)| holes(template)).filter(|hole| *hole == wanted).count()
    };
    if places(Hole::Signature) != 1 {
        return Err(Wrong::new(
            "hmac",
            "the signature goes to one place: write `{signature}` once, below `headers` or `query`",
        ));
    }
    if places(Hole::KeyId) > 1 {
        return Err(Wrong::new(
            "hmac",
            "the key's id chooses the credential: write `{key_id}` once, below `headers` or `query`",
        ));
    }
    for (hole, word) in [(Hole::Timestamp, "timestamp"), (Hole::Nonce, "nonce")] {
        if holes(&spec.sign).any(|own| own == hole) && places(hole) == 0 {
            let message = format!("`{{{word}}}` is signed and not sent; give it a place below `headers` or `query`");
            return Err(Wrong::new(&spec.sign, message));
        }
    }
    Ok(())
}

/// Refuses holes that are none, or do not belong into this template, or stand side by side where they are to be read back.
fn filled(template: &str, fits: impl Fn(Hole<'_>) -> bool) -> Result<(), Wrong> {
    let mut beside = false;
    for piece in pieces(template) {
        match piece {
            Ok(Piece::Text(text)) if text.contains('}') => {
                return Err(Wrong::new(
                    template,
                    format!("template `{}` has a `}}` without its `{{`", template.escape_debug()),
                ));
            }
            Ok(Piece::Text(_)) => beside = false,
            Ok(Piece::Hole(hole)) if !fits(hole) => {
                return Err(Wrong::new(
                    template,
                    format!("`{}` has a part that cannot stand there", template.escape_debug()),
                ));
            }
            Ok(Piece::Hole(_)) if beside && fits(Hole::Signature) => {
                return Err(Wrong::new(
                    template,
                    format!(
                        "two parts of `{template}` stand side by side and cannot be told apart; write something between them"
                    ),
                ));
            }
            Ok(Piece::Hole(_)) => beside = true,
            Err(name) => {
                let message = format!(
                    "`{{{}}}` is no part of a request that can be signed; services/README.md lists them",
                    name.escape_debug()
                );
                return Err(Wrong::new(template, message));
            }
        }
    }
    Ok(())
}

/// RFC 9110 5.6.2.
fn token(text: &str, what: &str) -> Result<(), Wrong> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || !text.bytes().all(fits) {
        let shown = text.escape_debug();
        return Err(Wrong::new(text, format!("`{shown}` is no name of a {what}; use letters, digits and `-`")));
    }
    Ok(())
}

fn line(text: &str, what: &str) -> Result<(), Wrong> {
    if text.is_empty() || !is_line(text) {
        let shown = text.escape_debug();
        return Err(Wrong::new(text, format!("`{shown}` is no name of a {what}; write it on one line")));
    }
    Ok(())
}

/// No control character, and no space at either end, which would be lost on the way (RFC 9110 5.5).
fn is_line(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.trim() == text
}

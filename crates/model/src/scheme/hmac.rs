//! Requests signed with a shared key (HMAC, RFC 2104), as service files declare them: what is signed and where it goes are templates. A
//! template is text with holes: `{timestamp}{method}{target}{body}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How requests of a service are signed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HmacSpec {
    /// The hash.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// How the vendor writes its keys down.
    #[serde(default)]
    pub key: KeyForm,
    /// What is signed: a template.
    pub sign: String,
    /// How the signature is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// How the time is written.
    #[serde(default)]
    pub timestamp: TimeForm,
    /// Headers that are set, each to a template. Exactly one place of all has the hole `{signature}`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Query parameters that are set, each to a template.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
}

/// A hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// SHA-1, for vendors that have nothing else.
    Sha1,
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How a vendor writes its keys down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyForm {
    /// Its characters are the key.
    #[default]
    Text,
    /// Base64 of the key.
    Base64,
    /// Hexadecimal of the key.
    Hex,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Hexadecimal in small letters.
    #[default]
    Hex,
    /// Base64 with padding.
    Base64,
}

/// How the time is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeForm {
    /// Seconds since 1970.
    #[default]
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// Microseconds since 1970.
    Microseconds,
    /// `2020-12-08T09:08:57.715Z`.
    Iso8601,
}

/// Piece of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As it stands.
    Text(&'a str),
    /// What is filled in.
    Hole(Hole<'a>),
}

/// What is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole<'a> {
    /// `{method}`, in capitals.
    Method,
    /// `{host}`, with the port where it is another than 443.
    Host,
    /// `{path}`, as it is sent.
    Path,
    /// `{query}`, as it is sent, without `?` and without the signature.
    Query,
    /// `{query.sorted}`: the same, its pairs in order.
    SortedQuery,
    /// `{target}`: the path, and `?` and the query where there is one.
    Target,
    /// `{url}`: `https://`, host and target.
    Url,
    /// `{header.NAME}`: a field's value, nothing where there is none.
    Header(&'a str),
    /// `{timestamp}`: the time of the gateway.
    Timestamp,
    /// `{nonce}`: the agent's own where it sent one, otherwise 32 hexadecimal digits.
    Nonce,
    /// `{key_id}`.
    KeyId,
    /// `{passphrase}`.
    Passphrase,
    /// `{body}`, octet for octet.
    Body,
    /// `{body.sha256}`, `{body.sha512}`, and the same with `.base64` behind it.
    BodyHash(Algorithm, Encoding),
    /// `{form.sorted}`: names and values of a form, decoded, in the order of the names, with nothing between them.
    SortedForm,
    /// `{signature}`.
    Signature,
}

impl<'a> Hole<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        Some(match name {
            "method" => Self::Method,
            "host" => Self::Host,
            "path" => Self::Path,
            "query" => Self::Query,
            "query.sorted" => Self::SortedQuery,
            "target" => Self::Target,
            "url" => Self::Url,
            "timestamp" => Self::Timestamp,
            "nonce" => Self::Nonce,
            "key_id" => Self::KeyId,
            "passphrase" => Self::Passphrase,
            "body" => Self::Body,
            "body.sha256" => Self::BodyHash(Algorithm::Sha256, Encoding::Hex),
            "body.sha512" => Self::BodyHash(Algorithm::Sha512, Encoding::Hex),
            "body.sha256.base64" => Self::BodyHash(Algorithm::Sha256, Encoding::Base64),
            "body.sha512.base64" => Self::BodyHash(Algorithm::Sha512, Encoding::Base64),
            "form.sorted" => Self::SortedForm,
            "signature" => Self::Signature,
            other => Self::Header(other.strip_prefix("header.").filter(|name| !name.is_empty())?),
        })
    }

    /// Whether the body has to be there whole.
    #[must_use]
    pub const fn is_of_body(self) -> bool {
        matches!(self, Self::Body | Self::BodyHash(..) | Self::SortedForm)
    }
}

/// The pieces of a template; `Err` with the name of a hole that is none.
pub fn pieces(template: &str) -> impl Iterator<Item = Result<Piece<'_>, &str>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = rest.find('{').unwrap_or(rest.len());
        if at > 0 {
            let (text, behind) = rest.split_at(at);
            rest = behind;
            return Some(Ok(Piece::Text(text)));
        }
        let inside = rest.get(1..).unwrap_or_default();
        let Some((name, behind)) = inside.split_once('}') else {
            rest = "";
            return Some(Err(inside));
        };
        rest = behind;
        Some(Hole::parse(name).map(Piece::Hole).ok_or(name))
    })
}

/// The holes of a template that is known to be good.
pub fn holes(template: &str) -> impl Iterator<Item = Hole<'_>> {
    pieces(template).filter_map(|piece| match piece {
        Ok(Piece::Hole(hole)) => Some(hole),
        _ => None,
    })
}

/// Where something of a signed request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot<'a> {
    /// A header, by name.
    Header(&'a str),
    /// A query parameter, by decoded name.
    Query(&'a str),
}

impl HmacSpec {
    /// All places, with their templates.
    pub fn spots(&self) -> impl Iterator<Item = (Spot<'_>, &str)> {
        let headers = self.headers.iter().map(|(name, template)| (Spot::Header(name), template.as_str()));
        headers.chain(self.query.iter().map(|(name, template)| (Spot::Query(name), template.as_str())))
    }

    /// The first place that has a hole.
    #[must_use]
    pub fn spot_of(&self, hole: Hole<'_>) -> Option<(Spot<'_>, &str)> {
        self.spots().find(|(_, template)| holes(template).any(|own| own == hole))
    }

    /// The place by which the credential is known: its key's id, or where there is none the signature.
    #[must_use]
    pub fn slot(&self) -> Option<(Spot<'_>, &str)> {
        self.spot_of(Hole::KeyId).or_else(|| self.spot_of(Hole::Signature))
    }

    /// Whether anything of it depends on the body.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        let all = self.spots().map(|(_, template)| template).chain([self.sign.as_str()]);
        all.flat_map(holes).any(Hole::is_of_body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_taken_apart() {
        let all: Vec<_> = pieces("{timestamp}:a {header.x-date}{body.sha512.base64}\n").collect();
        assert_eq!(
            all,
            [
                Ok(Piece::Hole(Hole::Timestamp)),
                Ok(Piece::Text(":a ")),
                Ok(Piece::Hole(Hole::Header("x-date"))),
                Ok(Piece::Hole(Hole::BodyHash(Algorithm::Sha512, Encoding::Base64))),
                Ok(Piece::Text("\n")),
            ]
        );
        for bad in ["{", "{}", "{bodi}", "{header.}", "a{method", "{{method}}", "{Method}"] {
            assert!(pieces(bad).any(|piece| piece.is_err()), "{bad}");
        }
        assert_eq!(pieces("").next(), None);
    }
}

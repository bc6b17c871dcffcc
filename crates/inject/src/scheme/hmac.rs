//! Requests that are signed with a shared key (RFC 2104), as a service file's templates say. The agent's client has signed with a placeholder;
//! that signature, its time and the key's id go, and ours are set. The key itself never travels.

use std::borrow::Cow;

use aws_lc_rs::digest::{Context, SHA256, SHA512, digest};
use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, HMAC_SHA512, Key, sign};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderValue};
use model::canonical::{CanonicalRequest, pairs};
use model::scheme::hmac::{Algorithm, Encoding, HmacSpec, Hole, KeyForm, Piece, Spot, TimeForm, holes, pieces};
use model::{Timestamp, hex};
use secret::{Credential, Field, Secret};
use zeroize::Zeroizing;

use super::{Draft, Scheme, Slot, SlotValue, check, header_name, query, values};
use crate::InjectError;

/// Digits of a nonce that is made here.
const NONCE_DIGITS: usize = 32;
/// An agent's own nonce is kept up to this length; vendors have 36 (a UUID) to 64.
const NONCE_BYTES_MAX: usize = 128;

/// Signs.
pub(crate) struct Hmac<'a>(pub &'a HmacSpec);

/// Why it cannot be signed.
const fn wrong(why: &'static str) -> InjectError {
    InjectError::Sign { why }
}

/// Reads a text by a template: what stands in a hole. `None` where it does not have the template's form.
pub(super) fn read<'t>(template: &str, wanted: Hole<'_>, text: &'t str) -> Option<&'t str> {
    let mut rest = text.trim_matches(' ');
    let (mut open, mut found) = (None, None);
    for piece in pieces(template) {
        match piece.ok()? {
            Piece::Text(literal) => {
                let at = if open.is_some() { rest.find(literal)? } else { rest.starts_with(literal).then_some(0)? };
                let value = rest.get(..at)?;
                if open.take() == Some(wanted) {
                    found = Some(value);
                }
                rest = rest.get(at + literal.len()..)?;
            }
            // Two holes side by side cannot be told apart.
            Piece::Hole(_) if open.is_some() => return None,
            Piece::Hole(hole) => open = Some(hole),
        }
    }
    match open {
        Some(last) if last == wanted => Some(rest),
        Some(_) => found,
        None => found.filter(|_| rest.is_empty()),
    }
}

impl Hmac<'_> {
    /// What stands at a place now.
    fn standing<'d>(spot: Spot<'_>, headers: &'d http::HeaderMap, query: Option<&'d str>) -> Vec<Cow<'d, str>> {
        match spot {
            Spot::Header(name) => values(headers, name).flatten().map(Cow::Borrowed).collect(),
            Spot::Query(name) => {
                let all = pairs(query.unwrap_or_default()).unwrap_or_default();
                all.into_iter()
                    .filter(|(own, _)| **own == *name)
                    .map(|(_, value)| Cow::Owned(value.into_string()))
                    .collect()
            }
        }
    }

    /// The agent's own nonce, where it sent one that can be used.
    fn own_nonce(&self, draft: &Draft) -> Option<String> {
        let (spot, template) = self.0.spot_of(Hole::Nonce)?;
        let mut all = Self::standing(spot, &draft.headers, draft.query.as_deref()).into_iter();
        let (first, None) = (all.next()?, all.next()) else { return None };
        let nonce = read(template, Hole::Nonce, &first)?;
        let fits = (1..=NONCE_BYTES_MAX).contains(&nonce.len()) && nonce.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| nonce.to_owned())
    }
}

impl Scheme for Hmac<'_> {
    fn slot(&self) -> Slot<'_> {
        Slot::of_spot(self.0)
    }

    /// Time, nonce, passphrase and signature have places of their own beside the key's id.
    fn beside(&self, slot: Slot<'_>) -> bool {
        match slot {
            Slot::Header(name) => self.0.headers.keys().any(|own| own.eq_ignore_ascii_case(name)),
            Slot::Query(name) => self.0.query.contains_key(name),
            Slot::Cookie(_) | Slot::Body(_) | Slot::Connection => false,
        }
    }

    /// The key's id.
    fn slot_value<'a>(&self, request: &'a CanonicalRequest, _body: Option<&'a [u8]>) -> SlotValue<'a> {
        let mut found = SlotValue::default();
        match self.0.spot_of(Hole::KeyId) {
            Some((Spot::Header(name), template)) => {
                for value in values(request.headers(), name) {
                    match value.map(|text| (text, read(template, Hole::KeyId, text))) {
                        Ok((_, Some(id))) => found.whole.push(Cow::Borrowed(id)),
                        Ok((text, None)) => found.part.push(Cow::Borrowed(text.as_bytes())),
                        Err(bytes) => found.part.push(Cow::Borrowed(bytes)),
                    }
                }
            }
            Some((Spot::Query(name), template)) => {
                let own = request.query().pairs().filter(|(known, _)| *known == name);
                for (_, value) in own {
                    match read(template, Hole::KeyId, value) {
                        Some(id) => found.whole.push(Cow::Borrowed(id)),
                        None => found.part.push(Cow::Borrowed(value.as_bytes())),
                    }
                }
            }
            None => {}
        }
        found
    }

    fn apply(&self, draft: &mut Draft, credential: &Credential) -> Result<(), InjectError> {
        let spec = self.0;
        let body = match &draft.body {
            Some(body) => Some(body.clone()),
            None if draft.is_empty => Some(bytes::Bytes::new()),
            None if spec.reads_body() => return Err(wrong("its body is too large to be signed; send a smaller one")),
            None => None,
        };
        let secret = Zeroizing::new(key_octets(spec.key, credential)?);
        let key = Key::new(algorithm(spec.algorithm), &secret);
        let nonce = self.own_nonce(draft);
        let mut signing = Signing {
            spec,
            credential,
            body: body.as_deref().unwrap_or_default(),
            time: written(spec.timestamp, draft.now),
            nonce: String::new(),
            signature: String::new(),
        };
        signing.nonce = nonce.unwrap_or_else(|| derived(&key, draft, signing.body));
        if !spec.headers.keys().any(|name| name.eq_ignore_ascii_case("authorization")) {
            // An account of the agent's own beside ours would confuse the two (rows C39, D55).
            draft.headers.remove(AUTHORIZATION);
        }
        signing.clear(draft)?;
        let signs = |template: &str| holes(template).any(|hole| hole == Hole::Signature);
        for (spot, template) in spec.spots().filter(|(_, template)| !signs(template)) {
            signing.put(draft, spot, template)?;
        }
        let text = signing.filled(draft, &spec.sign)?;
        signing.signature = coded(spec.encoding, sign(&key, &text).as_ref());
        for (spot, template) in spec.spots().filter(|(_, template)| signs(template)) {
            signing.put(draft, spot, template)?;
        }
        Ok(())
    }

    fn redacted(&self, name: &str) -> String {
        match self.0.slot() {
            Some((Spot::Header(header), _)) => format!("{header}: <{name}>"),
            Some((Spot::Query(parameter), _)) => format!("?{parameter}=<{name}>"),
            None => format!("<{name}>"),
        }
    }
}

/// One request that is being signed.
struct Signing<'a> {
    spec: &'a HmacSpec,
    credential: &'a Credential,
    body: &'a [u8],
    time: String,
    nonce: String,
    /// Empty until it is made.
    signature: String,
}

impl Signing<'_> {
    /// Takes the agent's own signature away, so that it is not signed, and ours stands last.
    fn clear(&self, draft: &mut Draft) -> Result<(), InjectError> {
        match self.spec.spot_of(Hole::Signature) {
            Some((Spot::Header(name), _)) => {
                draft.headers.remove(header_name(name)?);
            }
            Some((Spot::Query(name), _)) => {
                draft.query = draft.query.as_deref().map(|text| query::without(text, &[name]));
            }
            None => {}
        }
        Ok(())
    }

    /// Sets a place to its template, as the only one of its name.
    fn put(&self, draft: &mut Draft, spot: Spot<'_>, template: &str) -> Result<(), InjectError> {
        let text = self.filled(draft, template)?;
        match spot {
            Spot::Header(name) => {
                let header = header_name(name)?;
                let name = || self.credential.name().clone();
                let value = HeaderValue::from_bytes(&text);
                let mut value = value.map_err(|_| InjectError::Unprintable { name: name() })?;
                value.set_sensitive(holes(template).any(is_ours));
                draft.headers.insert(header, value);
            }
            Spot::Query(name) => {
                draft.query = Some(query::put(draft.query.as_deref().unwrap_or_default(), name, &text).to_string());
            }
        }
        Ok(())
    }

    fn filled(&self, draft: &Draft, template: &str) -> Result<Zeroizing<Vec<u8>>, InjectError> {
        let mut out = Zeroizing::new(Vec::with_capacity(template.len() + 256));
        for piece in pieces(template) {
            match piece {
                Ok(Piece::Text(text)) => out.extend_from_slice(text.as_bytes()),
                Ok(Piece::Hole(hole)) => self.fill(draft, hole, &mut out)?,
                Err(_) => return Err(InjectError::Slot { slot: template.to_owned() }),
            }
        }
        Ok(out)
    }

    fn fill(&self, draft: &Draft, hole: Hole<'_>, out: &mut Vec<u8>) -> Result<(), InjectError> {
        let query = draft.query.as_deref().unwrap_or_default();
        let mut add = |text: &str| out.extend_from_slice(text.as_bytes());
        match hole {
            Hole::Method => add(draft.method.as_str()),
            Hole::Host => add(&draft.authority),
            Hole::Path => add(draft.path.raw()),
            Hole::Query => add(query),
            Hole::SortedQuery => {
                let mut all: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
                all.sort_unstable();
                add(&all.join("&"));
            }
            Hole::Target | Hole::Url => {
                if hole == Hole::Url {
                    add("https://");
                    add(&draft.authority);
                }
                add(draft.path.raw());
                if !query.is_empty() {
                    add("?");
                    add(query);
                }
            }
            Hole::Header(name) => add(one(draft, name)?),
            Hole::Timestamp => add(&self.time),
            Hole::Nonce => add(&self.nonce),
            Hole::Signature => add(&self.signature),
            Hole::KeyId => out.extend_from_slice(part(self.credential, Field::KeyId)?),
            Hole::Passphrase => out.extend_from_slice(part(self.credential, Field::SessionToken)?),
            Hole::Body => out.extend_from_slice(self.body),
            Hole::BodyHash(Algorithm::Sha512, encoding) => add(&coded(encoding, digest(&SHA512, self.body).as_ref())),
            Hole::BodyHash(_, encoding) => add(&coded(encoding, digest(&SHA256, self.body).as_ref())),
            Hole::SortedForm => {
                let text = std::str::from_utf8(self.body).ok().and_then(|text| pairs(text).ok());
                let mut all = text.ok_or_else(|| wrong("its body is no form"))?;
                all.sort();
                for (name, value) in &all {
                    add(name);
                    add(value);
                }
            }
        }
        Ok(())
    }
}

/// Whether a hole is filled with something of the credential's.
fn is_ours(hole: Hole<'_>) -> bool {
    matches!(hole, Hole::KeyId | Hole::Passphrase | Hole::Signature)
}

fn part(credential: &Credential, field: Field) -> Result<&[u8], InjectError> {
    let value = credential.material().field(field).map(Secret::expose).unwrap_or_default();
    if value.is_empty() {
        return Err(InjectError::Empty { name: credential.name().clone() });
    }
    check(value, credential)?;
    Ok(value)
}

/// The key, as the vendor has written it down.
fn key_octets(form: KeyForm, credential: &Credential) -> Result<Vec<u8>, InjectError> {
    let value = part(credential, Field::Value)?;
    let octets = match form {
        KeyForm::Text => Some(value.to_vec()),
        KeyForm::Base64 => STANDARD.decode(value).ok(),
        KeyForm::Hex => std::str::from_utf8(value).ok().and_then(unhex),
    };
    octets
        .filter(|octets| !octets.is_empty())
        .ok_or_else(|| InjectError::Unprintable { name: credential.name().clone() })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect()
}

fn algorithm(named: Algorithm) -> aws_lc_rs::hmac::Algorithm {
    match named {
        Algorithm::Sha1 => HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Algorithm::Sha256 => HMAC_SHA256,
        Algorithm::Sha512 => HMAC_SHA512,
    }
}

fn coded(encoding: Encoding, octets: &[u8]) -> String {
    match encoding {
        Encoding::Hex => hex(octets),
        Encoding::Base64 => STANDARD.encode(octets),
    }
}

fn written(form: TimeForm, now: Timestamp) -> String {
    match form {
        TimeForm::Seconds => (now.0 / 1_000_000).to_string(),
        TimeForm::Milliseconds => (now.0 / 1_000).to_string(),
        TimeForm::Microseconds => now.0.to_string(),
        TimeForm::Iso8601 => {
            let mut text = now.to_string();
            text.truncate(19);
            format!("{text}.{:03}Z", now.0 / 1_000 % 1_000)
        }
    }
}

/// A nonce that follows from the key, the time and the request: nobody can tell the next one, and two requests have two.
fn derived(key: &Key, draft: &Draft, body: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(b"nonce");
    context.update(&draft.now.0.to_be_bytes());
    for text in [draft.method.as_str(), draft.path.raw(), draft.query.as_deref().unwrap_or_default()] {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    context.update(body);
    let mut text = hex(sign(key, context.finish().as_ref()).as_ref());
    text.truncate(NONCE_DIGITS);
    text
}

/// The one value of a field; nothing where there is none.
fn one<'d>(draft: &'d Draft, name: &str) -> Result<&'d str, InjectError> {
    let mut all = values(&draft.headers, name);
    match (all.next(), all.next()) {
        (None, _) => Ok(""),
        (Some(Ok(text)), None) => Ok(text),
        _ => Err(wrong("a field that is signed is there twice, or is no text")),
    }
}

/// The query of a record, with the credential's name where something of it stands.
pub(super) fn redact(spec: &HmacSpec, text: &str, credential: &str) -> String {
    let ours = spec.query.iter().filter(|(_, template)| holes(template).any(is_ours));
    ours.fold(text.to_owned(), |text, (name, _)| query::put(&text, name, credential.as_bytes()).to_string())
}

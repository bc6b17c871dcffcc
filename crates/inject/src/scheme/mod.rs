//! Schemes: how a credential is put on a request. One file each, one line in the list below; the conformance suite at
//! the end of this folder runs over all of them.
//!
//! A scheme reads what the agent put into the declared slot ([`Scheme::slot_value`]) and writes the real thing there
//! ([`Scheme::apply`]). Both halves of that sentence name the same slot, so nothing else of a request can change.
#![expect(clippy::disallowed_methods, reason = "the one place that writes a secret into a request")]

mod basic;
mod bearer;
mod body;
mod cookie;
mod header;
mod hmac;
mod mtls;
mod query;
mod scram;
pub(crate) mod sigv4;
#[cfg(test)]
mod suite;

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use model::Timestamp;
use model::canonical::{CanonicalPath, CanonicalRequest};
use model::scheme::SchemeSpec;
use model::scheme::hmac::{HmacSpec, Spot};
use secret::{Credential, Material, Secret};
use smallvec::SmallVec;
use zeroize::Zeroizing;

use self::sigv4::chunks::ChunkSigner;
use crate::InjectError;

/// What stands in a declared slot, decoded as the scheme decodes it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SlotValue<'a> {
    /// Whole values: candidates for a placeholder. Several where the slot is there more than once or has two halves.
    pub whole: SmallVec<[Cow<'a, str>; 2]>,
    /// What stands in the slot's place but does not have its form: a placeholder in here is part of a value.
    pub part: SmallVec<[Cow<'a, [u8]>; 1]>,
}

impl SlotValue<'_> {
    /// Whether the slot is empty.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.whole.is_empty() && self.part.is_empty()
    }
}

/// Which place of a request a slot takes; what else stands there is not looked at twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot<'a> {
    /// A header, by lower-case name.
    Header(&'a str),
    /// A cookie, by name.
    Cookie(&'a str),
    /// A query parameter, by decoded name.
    Query(&'a str),
    /// A field of the body.
    Body(&'a str),
    /// None of the request: the connection's handshake.
    Connection,
}

impl<'a> Slot<'a> {
    /// The place by which a signing credential is known.
    pub(crate) fn of_spot(spec: &'a HmacSpec) -> Self {
        match spec.slot() {
            Some((Spot::Header(name), _)) => Self::Header(name),
            Some((Spot::Query(name), _)) => Self::Query(name),
            None => Self::Connection,
        }
    }
}

/// A request while a scheme works on it.
pub struct Draft {
    pub(crate) headers: HeaderMap,
    pub(crate) query: Option<String>,
    pub(crate) body: Option<Bytes>,
    /// What a signature covers besides, and no scheme changes.
    pub(crate) method: Method,
    pub(crate) authority: String,
    pub(crate) path: CanonicalPath,
    /// It has no body at all; one that is not held passes as it comes.
    pub(crate) is_empty: bool,
    pub(crate) now: Timestamp,
    /// Signs the body while it passes.
    pub(crate) signer: Option<Box<ChunkSigner>>,
}

impl Draft {
    /// The host, without its port.
    pub(crate) fn host(&self) -> &str {
        self.authority.split(':').next().unwrap_or_default()
    }

    /// Signs the body in chunks: now where it is held, otherwise while it passes.
    pub(crate) fn resign(&mut self, mut signer: ChunkSigner) -> Result<(), InjectError> {
        let Some(body) = self.body.take() else {
            self.signer = Some(Box::new(signer));
            return Ok(());
        };
        let signed = signer.push(&body).and_then(|front| Ok((front, signer.finish()?)));
        let (front, rest) = signed.map_err(|error| InjectError::Sign { why: error.0 })?;
        self.body = Some(if rest.is_empty() { front } else { [front, rest].concat().into() });
        Ok(())
    }
}

/// One way to put a credential on a request.
pub trait Scheme {
    /// The slot it declares.
    fn slot(&self) -> Slot<'_>;

    /// What the agent put there.
    fn slot_value<'a>(&self, request: &'a CanonicalRequest, body: Option<&'a [u8]>) -> SlotValue<'a>;

    /// Writes the credential: every value and alias of the slot goes, exactly one is set.
    ///
    /// # Errors
    /// [`InjectError`]; nothing may be sent then.
    fn apply(&self, draft: &mut Draft, credential: &Credential) -> Result<(), InjectError>;

    /// Adds texts that stand on the wire and are no plain encoding of one secret.
    fn needles(&self, _material: &Material, _add: &mut dyn FnMut(&[u8])) {}

    /// Places that belong to its slot beside it: what stands there is replaced too, and means nothing by itself.
    fn beside(&self, _slot: Slot<'_>) -> bool {
        false
    }

    /// The slot as it may stand in a record: `authorization: Bearer <github-token>`.
    fn redacted(&self, name: &str) -> String;
}

macro_rules! list {
    ($($name:ident($kind:ty) from $pattern:pat => $made:expr;)*) => {
        /// One scheme of the list.
        pub(crate) enum Listed<'a> { $($name($kind)),* }

        impl<'a> Listed<'a> {
            /// As the trait.
            pub fn as_dyn(&self) -> &(dyn Scheme + 'a) {
                match self { $(Self::$name(scheme) => scheme),* }
            }
        }

        /// The scheme that a service file declares.
        #[must_use]
        pub(crate) fn of(spec: &SchemeSpec) -> Listed<'_> {
            match spec { $($pattern => Listed::$name($made)),* }
        }
    };
}

list! {
    Bearer(bearer::Bearer<'a>) from SchemeSpec::Bearer { header, words } => bearer::Bearer { header, words };
    Header(header::Header<'a>) from SchemeSpec::Header { name, template } => header::Header { name, template };
    Basic(basic::Basic<'a>) from SchemeSpec::Basic { username, value_as_username } =>
        basic::Basic { username: username.as_deref(), value_as_username: *value_as_username };
    Query(query::Query<'a>) from SchemeSpec::Query { name } => query::Query { name };
    Cookie(cookie::Cookie<'a>) from SchemeSpec::Cookie { name } => cookie::Cookie { name };
    Body(body::Field<'a>) from SchemeSpec::Body { field, .. } => body::Field { field };
    Sigv4(sigv4::Sigv4) from SchemeSpec::Sigv4 {} => sigv4::Sigv4;
    Hmac(hmac::Hmac<'a>) from SchemeSpec::Hmac(spec) => hmac::Hmac(spec);
    Mtls(mtls::Mtls) from SchemeSpec::Mtls {} => mtls::Mtls;
}

/// The value of a credential, checked: what would break the line it stands on is refused, never left out (row C37).
fn printable(credential: &Credential) -> Result<&[u8], InjectError> {
    let value = credential.shown().map(Secret::expose).unwrap_or_default();
    if value.is_empty() {
        return Err(InjectError::Empty { name: credential.name().clone() });
    }
    check(value, credential)?;
    Ok(value)
}

/// Refuses control characters, CR, LF, NUL and what a header may not hold.
fn check(value: &[u8], credential: &Credential) -> Result<(), InjectError> {
    // A space at either end is lost on the way (RFC 9110 5.5); inside of a token it would make two.
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    if value.iter().any(|byte| *byte < 0x20 || *byte == 0x7f) || edge(value.first()) || edge(value.last()) {
        return Err(InjectError::Unprintable { name: credential.name().clone() });
    }
    Ok(())
}

/// Sets a header to `parts` joined, sensitive, as the only one of its name.
fn set(draft: &mut Draft, name: &str, parts: &[&[u8]], credential: &Credential) -> Result<(), InjectError> {
    let header = header_name(name)?;
    let text = Zeroizing::new(parts.concat());
    check(&text, credential)?;
    let mut value =
        HeaderValue::from_bytes(&text).map_err(|_| InjectError::Unprintable { name: credential.name().clone() })?;
    value.set_sensitive(true);
    if header != http::header::AUTHORIZATION && header != http::header::COOKIE {
        // An account of the agent's own beside ours would confuse the two (rows C39, D55).
        draft.headers.remove(http::header::AUTHORIZATION);
    }
    draft.headers.insert(header, value);
    Ok(())
}

fn header_name(name: &str) -> Result<HeaderName, InjectError> {
    let known = HeaderName::from_bytes(name.as_bytes());
    known.map_err(|_| InjectError::Slot { slot: name.to_owned() })
}

/// Values of one header, as text where they are ASCII.
fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = Result<&'a str, &'a [u8]>> {
    let known = HeaderName::from_bytes(name.as_bytes()).ok();
    known.into_iter().flat_map(move |name| headers.get_all(name)).map(|value| {
        let bytes = value.as_bytes();
        std::str::from_utf8(bytes).map_err(|_| bytes)
    })
}

/// A query with one parameter's value replaced by the credential's name, for records.
pub(crate) fn redact_query(text: &str, name: &str, credential: &str) -> String {
    query::put(text, name, credential.as_bytes()).to_string()
}

/// A text as it stands in a query or a form.
pub(crate) fn escaped(text: &[u8]) -> Zeroizing<String> {
    query::escape(text)
}

/// User and password of the coded part of a Basic header.
pub(crate) fn basic_pair(coded: &str) -> Option<(String, String)> {
    basic::pair_of(coded)
}

pub(crate) use cookie::crumbs;
pub use mtls::Presented;
pub use scram::{Binding, Login, LoginError, Proved, Scram};

/// The query of a request that is signed with a shared key, for records.
pub(crate) fn redact_hmac(spec: &HmacSpec, text: &str, credential: &str) -> String {
    hmac::redact(spec, text, credential)
}

/// The query of a signed request, for records.
pub(crate) fn redact_signed(text: &str, credential: &str) -> String {
    sigv4::redact(text, credential)
}

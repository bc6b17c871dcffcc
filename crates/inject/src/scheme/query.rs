//! A query parameter.

use std::borrow::Cow;
use std::fmt::Write;

use model::canonical::{CanonicalRequest, pairs};
use secret::Credential;
use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::{Draft, Scheme, Slot, SlotValue, printable};
use crate::InjectError;

/// A parameter by its decoded name.
pub(crate) struct Query<'a> {
    pub name: &'a str,
}

/// Writes a value so that every reader of queries gets the same octets back: all but unreserved characters (RFC 3986
/// 2.3) are escaped.
pub(super) fn escape(value: &[u8]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(value.len() * 3));
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Sets one parameter of `a=b&c=d`: its first occurrence keeps its place, further ones go, all else stays as it is.
pub(super) fn put(text: &str, name: &str, value: &[u8]) -> Zeroizing<String> {
    let value = escape(value);
    let own = |pair: &str| pairs(pair).is_ok_and(|read| read.first().is_some_and(|(known, _)| **known == *name));
    let mut out = Zeroizing::new(String::with_capacity(text.len() + name.len() + value.len() + 2));
    let (mut first, mut done) = (true, false);
    let mut add = |parts: [&str; 3]| {
        if !std::mem::take(&mut first) {
            out.push('&');
        }
        for part in parts {
            out.push_str(part);
        }
    };
    for pair in text.split('&').filter(|_| !text.is_empty()) {
        if !own(pair) {
            add([pair, "", ""]);
        } else if !std::mem::replace(&mut done, true) {
            let key = pair.split_once('=').map_or(pair, |(key, _)| key);
            add([key, "=", &value]);
        }
    }
    if !done {
        add([&escape(name.as_bytes()), "=", &value]);
    }
    out
}

/// A query without these parameters; all else stays as it is.
pub(super) fn without(text: &str, gone: &[&str]) -> String {
    let name_of = |pair: &str| pairs(pair).ok().and_then(|mut all| all.pop()).map(|(name, _)| name);
    let stays = |pair: &&str| !name_of(pair).is_some_and(|name| gone.contains(&&*name));
    let kept: SmallVec<[&str; 16]> = text.split('&').filter(stays).collect();
    kept.join("&")
}

impl Scheme for Query<'_> {
    fn slot(&self) -> Slot<'_> {
        Slot::Query(self.name)
    }

    fn slot_value<'a>(&self, request: &'a CanonicalRequest, _body: Option<&'a [u8]>) -> SlotValue<'a> {
        let values = request.query().pairs().filter(|(name, _)| *name == self.name).map(|(_, value)| value);
        SlotValue { whole: values.map(Cow::Borrowed).collect(), part: SmallVec::new() }
    }

    fn apply(&self, draft: &mut Draft, credential: &Credential) -> Result<(), InjectError> {
        let value = printable(credential)?;
        let text = put(draft.query.as_deref().unwrap_or_default(), self.name, value);
        draft.query = Some(text.to_string());
        draft.headers.remove(http::header::AUTHORIZATION);
        Ok(())
    }

    fn redacted(&self, name: &str) -> String {
        format!("?{}=<{name}>", self.name)
    }
}

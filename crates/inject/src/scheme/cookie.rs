//! A cookie (RFC 6265 4.2).

use std::borrow::Cow;

use model::canonical::CanonicalRequest;
use secret::Credential;
use smallvec::SmallVec;

use super::{Draft, Scheme, Slot, SlotValue, printable, set, values};
use crate::InjectError;

/// One cookie by its name; the agent's other cookies stay.
pub(crate) struct Cookie<'a> {
    pub name: &'a str,
}

/// Name and value of each cookie in one header.
pub(crate) fn crumbs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';').map(str::trim).filter(|crumb| !crumb.is_empty()).map(|crumb| {
        let (name, value) = crumb.split_once('=').unwrap_or(("", crumb));
        let value = value.trim();
        (name.trim(), value.strip_prefix('"').and_then(|inside| inside.strip_suffix('"')).unwrap_or(value))
    })
}

impl Scheme for Cookie<'_> {
    fn slot(&self) -> Slot<'_> {
        Slot::Cookie(self.name)
    }

    fn slot_value<'a>(&self, request: &'a CanonicalRequest, _body: Option<&'a [u8]>) -> SlotValue<'a> {
        let lines = values(request.headers(), "cookie").flatten();
        let own = lines.flat_map(crumbs).filter(|(name, _)| *name == self.name);
        SlotValue { whole: own.map(|(_, value)| Cow::Borrowed(value)).collect(), part: SmallVec::new() }
    }

    fn apply(&self, draft: &mut Draft, credential: &Credential) -> Result<(), InjectError> {
        let value = printable(credential)?;
        // RFC 6265 4.1.1: cookie-octet has neither of these.
        if value.iter().any(|byte| matches!(byte, b';' | b',' | b'"' | b'\\' | b' ') || *byte >= 0x80) {
            return Err(InjectError::Unprintable { name: credential.name().clone() });
        }
        let mut text = String::new();
        for line in values(&draft.headers, "cookie").flatten() {
            let others = line.split(';').map(str::trim).filter(|crumb| {
                !crumb.is_empty() && crumb.split_once('=').is_none_or(|(name, _)| name.trim() != self.name)
            });
            for crumb in others {
                text.push_str(crumb);
                text.push_str("; ");
            }
        }
        draft.headers.remove(http::header::AUTHORIZATION);
        set(draft, "cookie", &[text.as_bytes(), self.name.as_bytes(), b"=", value], credential)
    }

    fn redacted(&self, name: &str) -> String {
        format!("cookie: {}=<{name}>", self.name)
    }
}

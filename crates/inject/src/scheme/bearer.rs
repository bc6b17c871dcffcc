//! `Authorization: Bearer VALUE` (RFC 6750 2.1).

use std::borrow::Cow;

use model::canonical::CanonicalRequest;
use secret::Credential;

use super::{Draft, Scheme, Slot, SlotValue, printable, set, values};
use crate::InjectError;

/// A scheme word, a space, the value. The agent's own word is kept where it is one of those accepted.
pub(crate) struct Bearer<'a> {
    pub header: &'a str,
    pub words: &'a [String],
}

impl Bearer<'_> {
    /// Divides `Bearer VALUE` where the word is one of ours.
    fn divide<'t>(&self, text: &'t str) -> Option<(&'t str, &'t str)> {
        let (word, value) = text.trim_matches(' ').split_once(' ')?;
        self.words.iter().any(|known| known.eq_ignore_ascii_case(word)).then(|| (word, value.trim_start_matches(' ')))
    }
}

impl Scheme for Bearer<'_> {
    fn slot(&self) -> Slot<'_> {
        Slot::Header(self.header)
    }

    fn slot_value<'a>(&self, request: &'a CanonicalRequest, _body: Option<&'a [u8]>) -> SlotValue<'a> {
        let mut found = SlotValue::default();
        for value in values(request.headers(), self.header) {
            match value.map(|text| (text, self.divide(text))) {
                Ok((_, Some((_, value)))) => found.whole.push(Cow::Borrowed(value)),
                Ok((text, None)) => found.part.push(Cow::Borrowed(text.as_bytes())),
                Err(bytes) => found.part.push(Cow::Borrowed(bytes)),
            }
        }
        found
    }

    fn apply(&self, draft: &mut Draft, credential: &Credential) -> Result<(), InjectError> {
        let value = printable(credential)?;
        let theirs = values(&draft.headers, self.header).flatten().find_map(|text| self.divide(text));
        let word = match (theirs, self.words.first()) {
            (Some((word, _)), _) => word.to_owned(),
            (None, Some(word)) => word.clone(),
            (None, None) => return Err(InjectError::Slot { slot: self.header.to_owned() }),
        };
        set(draft, self.header, &[word.as_bytes(), b" ", value], credential)
    }

    fn redacted(&self, name: &str) -> String {
        format!("{}: {} <{name}>", self.header, self.words.first().map_or("", String::as_str))
    }
}

//! A header whose value is made from a template: `x-api-key: {value}`.

use std::borrow::Cow;

use model::canonical::CanonicalRequest;
use secret::Credential;

use super::{Draft, Scheme, Slot, SlotValue, printable, set, values};
use crate::InjectError;

/// What stands in a template for the value.
const HOLE: &str = "{value}";

/// A header with a template that has exactly one hole.
pub(crate) struct Header<'a> {
    pub name: &'a str,
    pub template: &'a str,
}

impl Header<'_> {
    fn around(&self) -> Option<(&str, &str)> {
        self.template.split_once(HOLE).filter(|(_, after)| !after.contains(HOLE))
    }
}

impl Scheme for Header<'_> {
    fn slot(&self) -> Slot<'_> {
        Slot::Header(self.name)
    }

    fn slot_value<'a>(&self, request: &'a CanonicalRequest, _body: Option<&'a [u8]>) -> SlotValue<'a> {
        let mut found = SlotValue::default();
        let (before, after) = self.around().unwrap_or_default();
        for value in values(request.headers(), self.name) {
            let inside = |text: &'a str| text.trim_matches(' ').strip_prefix(before)?.strip_suffix(after);
            match value.map(|text| (text, inside(text))) {
                Ok((_, Some(value))) => found.whole.push(Cow::Borrowed(value)),
                Ok((text, None)) => found.part.push(Cow::Borrowed(text.as_bytes())),
                Err(bytes) => found.part.push(Cow::Borrowed(bytes)),
            }
        }
        found
    }

    fn apply(&self, draft: &mut Draft, credential: &Credential) -> Result<(), InjectError> {
        let (before, after) = self.around().ok_or_else(|| InjectError::Slot { slot: self.template.to_owned() })?;
        set(draft, self.name, &[before.as_bytes(), printable(credential)?, after.as_bytes()], credential)
    }

    fn redacted(&self, name: &str) -> String {
        format!("{}: {}", self.name, self.template.replace(HOLE, &format!("<{name}>")))
    }
}

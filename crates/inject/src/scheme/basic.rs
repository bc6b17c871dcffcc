//! `Authorization: Basic base64(user:password)` (RFC 7617). Both halves come from the vault or the service file, never
//! from the agent (row D55).

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use model::canonical::CanonicalRequest;
use secret::{Credential, Field, Material, Secret};
use zeroize::Zeroizing;

use super::{Draft, Scheme, Slot, SlotValue, check, printable, set, values};
use crate::InjectError;

/// Clients pad or do not; both are read, padding is written.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// User and password in one header.
pub(crate) struct Basic<'a> {
    pub username: Option<&'a str>,
    pub value_as_username: bool,
}

impl Basic<'_> {
    /// User and password of a credential.
    fn halves<'m>(&'m self, material: &'m Material) -> (&'m [u8], &'m [u8]) {
        let value = material.field(Field::Value).map(Secret::expose).unwrap_or_default();
        if self.value_as_username {
            return (value, b"");
        }
        let own = material.field(Field::Username).map(Secret::expose);
        (own.unwrap_or_else(|| self.username.unwrap_or_default().as_bytes()), value)
    }

    fn coded(&self, material: &Material) -> Zeroizing<String> {
        let (user, password) = self.halves(material);
        let pair = Zeroizing::new([user, b":", password].concat());
        Zeroizing::new(BASE64.encode(&*pair))
    }
}

/// Reads `Basic base64`, if it is that.
fn divide(text: &str) -> Option<(String, String)> {
    let (word, coded) = text.trim_matches(' ').split_once(' ')?;
    if !word.eq_ignore_ascii_case("basic") {
        return None;
    }
    pair_of(coded.trim_matches(' '))
}

/// Reads `base64(user:password)`.
pub(super) fn pair_of(coded: &str) -> Option<(String, String)> {
    let plain = String::from_utf8(BASE64.decode(coded).ok()?).ok()?;
    plain.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

impl Scheme for Basic<'_> {
    fn slot(&self) -> Slot<'_> {
        Slot::Header("authorization")
    }

    /// Both halves: git puts a token into either.
    fn slot_value<'a>(&self, request: &'a CanonicalRequest, _body: Option<&'a [u8]>) -> SlotValue<'a> {
        let mut found = SlotValue::default();
        for value in values(request.headers(), "authorization") {
            match value.map(|text| (text, divide(text))) {
                Ok((_, Some((user, password)))) => {
                    found.whole.extend([user, password].into_iter().filter(|half| !half.is_empty()).map(Cow::Owned));
                }
                Ok((text, None)) => found.part.push(Cow::Borrowed(text.as_bytes())),
                Err(bytes) => found.part.push(Cow::Borrowed(bytes)),
            }
        }
        found
    }

    fn apply(&self, draft: &mut Draft, credential: &Credential) -> Result<(), InjectError> {
        printable(credential)?;
        let (user, _) = self.halves(credential.material());
        if !user.is_empty() {
            check(user, credential)?;
        }
        if user.contains(&b':') {
            // A colon inside of the user part would move the border (RFC 7617 2).
            return Err(InjectError::Unprintable { name: credential.name().clone() });
        }
        set(draft, "authorization", &[b"Basic ", self.coded(credential.material()).as_bytes()], credential)
    }

    fn needles(&self, material: &Material, add: &mut dyn FnMut(&[u8])) {
        add(self.coded(material).as_bytes());
    }

    fn redacted(&self, name: &str) -> String {
        format!("authorization: Basic <{name}>")
    }
}

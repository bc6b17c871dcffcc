//! Sealing: AES-256-GCM (NIST SP 800-38D) with a random nonce, bound to what it is.
//!
//! Octets of a sealed value, format 1: `1 | key id (8) | nonce (12) | ciphertext and tag (16)`. The additional data are
//! the format octet and the [`Label`], so that a value moved to another credential, version or organisation does not
//! open. The key id (from SHA-256 of the key) tells a wrong key from damage. With random nonces one key may seal 2^32
//! values; a data key seals one for each version of each credential of one organisation.
#![expect(clippy::disallowed_methods, reason = "sealing is what a secret is exposed for")]

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use model::{CredentialId, CredentialName, Random, Sealed, Tenant, bounds};
use secret::Secret;
use zeroize::{Zeroize, Zeroizing};

/// The only format so far.
const FORMAT: u8 = 1;
const KEY_LEN: usize = 32;
const ID_LEN: usize = 8;
const HEAD_LEN: usize = 1 + ID_LEN + NONCE_LEN;
const TAG_LEN: usize = 16;

/// Why something sealed does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is too short, or of a format that we do not know.
    #[error("it is damaged or was written by a newer program (format {found}); restore a backup or use that program")]
    Format {
        /// The first octet.
        found: u8,
    },
    /// It was sealed with another key.
    #[error("it was sealed with key `{wanted}`, and this is key `{have}`; give the key that belongs to this vault")]
    WrongKey {
        /// Id of the key that it wants.
        wanted: String,
        /// Id of the key that was tried.
        have: String,
    },
    /// The key is right and the octets are not.
    #[error("it is damaged or stands in a place where it was not written; restore a backup")]
    Damaged,
    /// The library refused; it does so for values of impossible size.
    #[error("it could not be sealed")]
    Unsealable,
}

/// What a sealed value is; part of what is authenticated.
#[derive(Clone, Copy)]
pub(crate) enum Label<'a> {
    /// The root key, in the slot of one keyring.
    Root { slot: &'a str },
    /// A data key of one organisation.
    Data { tenant: &'a Tenant },
    /// One version of a credential.
    Value { tenant: &'a Tenant, name: &'a CredentialName, id: CredentialId, version: u64 },
}

impl Label<'_> {
    /// Fields with their lengths, so that no two labels have the same octets.
    fn octets(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        let mut put = |field: &[u8]| {
            out.extend_from_slice(&(field.len() as u32).to_be_bytes());
            out.extend_from_slice(field);
        };
        match self {
            Self::Root { slot } => {
                put(b"root");
                put(slot.as_bytes());
            }
            Self::Data { tenant } => {
                put(b"data");
                put(tenant.as_str().as_bytes());
            }
            Self::Value { tenant, name, id, version } => {
                put(b"value");
                put(tenant.as_str().as_bytes());
                put(name.as_str().as_bytes());
                put(&id.bits().to_be_bytes());
                put(&version.to_be_bytes());
            }
        }
        out
    }
}

/// Names a key in what it sealed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct KeyId([u8; ID_LEN]);

impl KeyId {
    /// The key that a sealed value wants.
    pub fn of(sealed: &Sealed) -> Option<Self> {
        sealed.0.get(1..1 + ID_LEN).and_then(|id| id.try_into().ok()).map(Self)
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// A key of any rank; zeroed when dropped.
pub(crate) struct Key {
    octets: Secret,
    id: KeyId,
}

impl Key {
    pub fn fresh(random: &dyn Random) -> Self {
        let mut octets = Zeroizing::new([0u8; KEY_LEN]);
        random.fill(octets.as_mut_slice());
        Self::from_array(&octets)
    }

    fn from_array(octets: &[u8; KEY_LEN]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"valetkey key id");
        context.update(octets);
        let mut id = [0u8; ID_LEN];
        for (slot, byte) in id.iter_mut().zip(context.finish().as_ref()) {
            *slot = *byte;
        }
        Self { octets: Secret::new(octets.to_vec()), id: KeyId(id) }
    }

    /// From 32 octets; none for any other number.
    pub fn from_octets(octets: &[u8]) -> Option<Self> {
        octets.try_into().ok().map(Self::from_array)
    }

    /// From 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut digest = model::Digest::parse(text)?;
        let key = Self::from_array(&digest.0);
        digest.0.zeroize();
        Some(key)
    }

    /// 64 hex digits, for key files and keychains.
    pub fn hex(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(2 * KEY_LEN));
        for byte in self.octets.expose() {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        text
    }

    pub const fn id(&self) -> KeyId {
        self.id
    }

    fn aead(&self) -> Result<LessSafeKey, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, self.octets.expose()).map_err(|_| SealError::Unsealable)?;
        Ok(LessSafeKey::new(key))
    }

    /// Seals a value to its label.
    pub fn seal(&self, value: &Secret, label: &Label<'_>, random: &dyn Random) -> Result<Sealed, SealError> {
        let mut nonce = [0u8; NONCE_LEN];
        random.fill(&mut nonce);
        let mut body = Zeroizing::new(Vec::with_capacity(value.len() + TAG_LEN));
        body.extend_from_slice(value.expose());
        self.aead()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(label.octets()), &mut *body)
            .map_err(|_| SealError::Unsealable)?;
        let mut out = Vec::with_capacity(HEAD_LEN + body.len());
        out.push(FORMAT);
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&body);
        Ok(Sealed(out))
    }

    /// Opens what was sealed to this label.
    pub fn open(&self, sealed: &Sealed, label: &Label<'_>) -> Result<Secret, SealError> {
        let found = sealed.0.first().copied().unwrap_or(0);
        if found != FORMAT || sealed.0.len() < HEAD_LEN + TAG_LEN {
            return Err(SealError::Format { found });
        }
        let wanted = KeyId::of(sealed).ok_or(SealError::Format { found })?;
        if wanted != self.id {
            return Err(SealError::WrongKey { wanted: wanted.to_string(), have: self.id.to_string() });
        }
        let nonce = sealed.0.get(1 + ID_LEN..HEAD_LEN).unwrap_or_default();
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Damaged)?;
        let mut body = Zeroizing::new(sealed.0.get(HEAD_LEN..).unwrap_or_default().to_vec());
        let plain =
            self.aead()?.open_in_place(nonce, Aad::from(label.octets()), &mut body).map_err(|_| SealError::Damaged)?;
        Ok(Secret::new(plain.to_vec()))
    }

    /// Seals another key.
    pub fn wrap(&self, key: &Self, label: &Label<'_>, random: &dyn Random) -> Result<Sealed, SealError> {
        self.seal(&key.octets, label, random)
    }

    /// Opens another key.
    pub fn unwrap(&self, sealed: &Sealed, label: &Label<'_>) -> Result<Self, SealError> {
        Self::from_octets(self.open(sealed, label)?.expose()).ok_or(SealError::Damaged)
    }
}

/// Costs of Argon2id (RFC 9106), stored beside what they open.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Derivation {
    /// Memory, KiB.
    pub kib: u32,
    /// Passes.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// Salt, hex.
    pub salt: String,
}

impl Derivation {
    /// RFC 9106's second recommendation: 64 MiB, three passes; one lane, because a gateway has other work.
    pub fn fresh(random: &dyn Random) -> Self {
        let mut salt = [0u8; 16];
        random.fill(&mut salt);
        let salt = format!("{:032x}", u128::from_be_bytes(salt));
        Self { kib: bounds::ARGON2_KIB_MIN, passes: 3, lanes: 1, salt }
    }

    /// The key of a passphrase. Takes a tenth of a second or more; none where the parameters are not ones that we
    /// would have written.
    pub fn key(&self, passphrase: &Secret) -> Option<Key> {
        let sane = (bounds::ARGON2_KIB_MIN..=bounds::ARGON2_KIB_MAX).contains(&self.kib)
            && (1..=16).contains(&self.passes)
            && (1..=16).contains(&self.lanes)
            && (16..=128).contains(&self.salt.len());
        let params = sane.then(|| Params::new(self.kib, self.passes, self.lanes, Some(KEY_LEN)))?.ok()?;
        let mut octets = Zeroizing::new([0u8; KEY_LEN]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.expose(), self.salt.as_bytes(), octets.as_mut_slice())
            .ok()?;
        Some(Key::from_array(&octets))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Counting(std::sync::atomic::AtomicU8);
    impl Random for Counting {
        fn fill(&self, out: &mut [u8]) {
            for slot in out {
                *slot = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }

    fn random() -> Counting {
        Counting(3.into())
    }

    fn value<'a>(tenant: &'a Tenant, name: &'a CredentialName, version: u64) -> Label<'a> {
        Label::Value { tenant, name, id: CredentialId::from_bits(7), version }
    }

    #[test]
    fn opens_only_with_its_key_in_its_place() {
        let (random, tenant) = (random(), Tenant::local());
        let (name, other) = (CredentialName::new("a").expect("name"), CredentialName::new("b").expect("name"));
        let key = Key::fresh(&random);
        let sealed = key.seal(&Secret::new(b"hunter2!".to_vec()), &value(&tenant, &name, 1), &random).expect("sealed");
        assert!(key.open(&sealed, &value(&tenant, &name, 1)).expect("opens").equals(b"hunter2!"));
        for label in [value(&tenant, &other, 1), value(&tenant, &name, 2), Label::Data { tenant: &tenant }] {
            assert_eq!(key.open(&sealed, &label).err(), Some(SealError::Damaged));
        }
        let wrong = Key::fresh(&random).open(&sealed, &value(&tenant, &name, 1)).err();
        assert!(matches!(wrong, Some(SealError::WrongKey { .. })), "{wrong:?}");
    }

    #[test]
    fn hex_there_and_back() {
        let key = Key::fresh(&random());
        assert_eq!(Key::from_hex(&key.hex()).map(|again| again.id()), Some(key.id()));
        assert!(Key::from_hex("abc").is_none());
    }

    #[test]
    fn weak_or_greedy_parameters_are_refused() {
        let good = Derivation::fresh(&random());
        let secret = Secret::new(b"correct horse".to_vec());
        assert!(good.key(&secret).is_some());
        for bad in [Derivation { kib: 1024, ..good.clone() }, Derivation { kib: u32::MAX, ..good.clone() }] {
            assert!(bad.key(&secret).is_none());
        }
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_found(plain in proptest::collection::vec(any::<u8>(), 0..200), at in any::<usize>(), bit in 0u8..8) {
            let (random, tenant) = (random(), Tenant::local());
            let key = Key::fresh(&random);
            let label = Label::Data { tenant: &tenant };
            let mut sealed = key.seal(&Secret::new(plain.clone()), &label, &random).expect("sealed");
            prop_assert!(key.open(&sealed, &label).is_ok_and(|open| open.equals(&plain)));
            let at = at % sealed.0.len();
            sealed.0[at] ^= 1 << bit;
            prop_assert!(key.open(&sealed, &label).is_err());
        }

        #[test]
        fn any_octets_are_an_error(octets in proptest::collection::vec(any::<u8>(), 0..100)) {
            let (random, tenant) = (random(), Tenant::local());
            let opened = Key::fresh(&random).open(&Sealed(octets), &Label::Data { tenant: &tenant });
            prop_assert!(opened.is_err());
        }
    }
}

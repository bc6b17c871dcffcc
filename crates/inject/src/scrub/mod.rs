//! Needles and the scrubber: no answer gives the agent a credential that we put on.
//!
//! `forms` lists what is searched, `escape` reads what cannot be listed, `finder` searches, `stream` keeps frames.
//! This is the second fence; that a credential only ever goes to its own host is the first. A hostile origin can always
//! transform what it got in a way that no list holds.
#![expect(clippy::disallowed_methods, reason = "needles are made from the octets of secrets")]

pub(crate) mod escape;
pub(crate) mod finder;
pub(crate) mod forms;
pub(crate) mod grams;
pub(crate) mod lanes;
pub(crate) mod marks;
pub(crate) mod places;
pub(crate) mod samples;
pub(crate) mod shape;
pub(crate) mod stream;
pub(crate) mod tails;

#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests fail like tests")]
mod suite;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use http::HeaderMap;
use http::header::HeaderValue;
use model::{CredentialName, SchemeSpec};
use secret::{Credential, Field, Material, Secret};
use zeroize::Zeroizing;

use crate::scheme;
use finder::{Finder, Hits};
use forms::Form;
pub use stream::{Frames, Scrubber};

/// Needle sets kept, one for each credential version in use. About 40 KiB each.
const NEEDLE_SETS_MAX: usize = 4_096;

/// What must not come back: every form of one credential's secrets, ready to be searched. Not printable; zeroized with
/// its last user.
pub struct Needles {
    finder: Finder,
}

impl Needles {
    /// No needle: for what goes out bare.
    #[must_use]
    pub fn none() -> Self {
        Self { finder: Finder::new(Vec::new()) }
    }

    /// The needles of a credential that `spec` puts on. Slow (tens of microseconds): keep them in a [`NeedleCache`].
    #[must_use]
    pub fn of(credential: &Credential, spec: &SchemeSpec) -> Self {
        let mut forms = Vec::new();
        add_material(credential.material(), 0, &mut forms);
        scheme::of(spec).as_dyn().needles(credential.material(), &mut |text| forms::add_encoded(text, 0, &mut forms));
        Self { finder: Finder::new(forms) }
    }

    /// The needles of several secrets, for streams on which more than one may come back.
    #[must_use]
    pub fn of_materials<'a>(materials: impl IntoIterator<Item = &'a Material>) -> Self {
        let mut forms = Vec::new();
        materials.into_iter().for_each(|material| add_material(material, 0, &mut forms));
        Self { finder: Finder::new(forms) }
    }

    /// Whether nothing is searched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.finder.is_empty()
    }

    /// What a stream holds back at most, octets.
    #[must_use]
    pub fn reach(&self) -> usize {
        self.finder.reach()
    }

    pub(crate) fn finder(&self) -> &Finder {
        &self.finder
    }

    /// Masks `text` (a status text, a message of a WebSocket): the masked copy and how many needles it held, or `None`
    /// where there is nothing to mask.
    #[must_use]
    pub fn scrub(&self, text: &[u8]) -> Option<(Vec<u8>, u64)> {
        let mut hits = Hits::new();
        self.finder.scan(text, &mut hits);
        if hits.is_empty() {
            return None;
        }
        let mut masked = text.to_vec();
        hits.iter().for_each(|hit| self.finder.mask(&mut masked, hit));
        Some((masked, hits.len() as u64))
    }
}

/// Adds the forms of everything in `material` that is secret. A user name is none, nor is a certificate: they stand in many answers.
pub(crate) fn add_material(material: &Material, tag: u32, forms: &mut Vec<Form>) {
    for (field, secret) in material.fields() {
        add_field((field, secret), tag, forms);
    }
}

/// Adds the forms of one part, for whoever must know which it was.
pub(crate) fn add_field((field, secret): (Field, &Secret), tag: u32, forms: &mut Vec<Form>) {
    match field {
        Field::Username | Field::Certificate => {}
        Field::PrivateKey => key_lines(secret.expose()).for_each(|line| forms::add(line, tag, forms)),
        _ => forms::add(private_part(secret.expose()), tag, forms),
    }
}

/// The lines of a private key's PEM, without what all keys of its kind begin with: that would be found wherever any key stands.
fn key_lines(pem: &[u8]) -> impl Iterator<Item = &[u8]> {
    let block = std::str::from_utf8(pem).ok().and_then(model::pem::blocks).and_then(|all| all.first().copied());
    let (label, inside) = block.map_or(("", ""), |block| (block.label, block.inside.trim()));
    // Base64 of the algorithm and of lengths (RFC 5208, 5915, 8017); an Ed25519 key has one line in all.
    let alike = match label {
        "EC PRIVATE KEY" => 10,
        "RSA PRIVATE KEY" => 16,
        _ if inside.len() <= 64 => 22,
        _ => 48,
    };
    inside.get(alike..).unwrap_or_default().lines().map(|line| line.trim().as_bytes())
}

/// Header and claims of a JWT stand in its placeholder too, where programs read them; without its signature it opens
/// nothing. So the signature alone is searched, where there is one that cannot be guessed.
pub(crate) fn private_part(secret: &[u8]) -> &[u8] {
    let mut dots = memchr::memchr_iter(b'.', secret);
    match (secret.starts_with(b"eyJ"), dots.next(), dots.next(), dots.next()) {
        (true, Some(first), Some(second), None) => {
            let after = |dot: usize| secret.get(dot + 1..).unwrap_or(secret);
            // Base64 of the least that a placeholder is made for.
            let signed = after(second).len() >= (shape::SHAPED_BYTES_MIN * 4).div_ceil(3);
            if signed { after(second) } else { after(first) }
        }
        _ => secret,
    }
}

/// Masks needles in the fields of an answer's head or trailers; how many there were. A field whose *name* holds one goes.
pub fn scrub_headers(headers: &mut HeaderMap, needles: &Needles) -> u64 {
    if needles.is_empty() {
        return 0;
    }
    let mut count = 0;
    let mut hits = Hits::new();
    for value in headers.values_mut() {
        needles.finder.scan(value.as_bytes(), &mut hits);
        if hits.is_empty() {
            continue;
        }
        let mut masked = Zeroizing::new(value.as_bytes().to_vec());
        hits.iter().for_each(|hit| needles.finder.mask(&mut masked, hit));
        count += hits.len() as u64;
        hits.clear();
        // UTF-16 cannot stand in a field, so a mask is always printable; nothing is better than a leak.
        *value = HeaderValue::from_bytes(&masked).unwrap_or_else(|_| HeaderValue::from_static(""));
    }
    let mut bad = Vec::new();
    for name in headers.keys() {
        needles.finder.scan(name.as_str().as_bytes(), &mut hits);
        if !hits.is_empty() {
            count += hits.len() as u64;
            hits.clear();
            bad.push(name.clone());
        }
    }
    for name in bad {
        headers.remove(name);
    }
    count
}

/// Gathers needles of secrets that can be looked at only one at a time.
#[derive(Default)]
pub struct NeedlesBuilder {
    forms: Vec<forms::Form>,
}

impl NeedlesBuilder {
    /// Goes on from these.
    #[must_use]
    pub fn of(needles: &Needles) -> Self {
        Self { forms: needles.finder.forms().to_vec() }
    }

    /// Takes one credential's secrets.
    pub fn add(&mut self, material: &Material) {
        let mut own = Vec::new();
        add_material(material, 0, &mut own);
        self.forms.append(&mut own);
    }

    /// What masks them; none where there are none.
    #[must_use]
    pub fn build(self) -> Option<Arc<Needles>> {
        (!self.forms.is_empty()).then(|| Arc::new(Needles { finder: Finder::new(self.forms) }))
    }
}

/// Needles by credential, value and scheme, made once; bounded. Shared by all threads, locked by shard.
pub struct NeedleCache {
    sets: quick_cache::sync::Cache<(CredentialName, u64, u64), Arc<Needles>>,
    hasher: RandomState,
}

impl Default for NeedleCache {
    fn default() -> Self {
        Self::new()
    }
}

impl NeedleCache {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { sets: quick_cache::sync::Cache::new(NEEDLE_SETS_MAX), hasher: RandomState::new() }
    }

    /// The needles of `credential` as `spec` puts it on.
    #[must_use]
    pub fn of(&self, credential: &Credential, spec: &SchemeSpec) -> Arc<Needles> {
        // By value, not by version: a file that was written anew has no version to tell by.
        let key = (credential.name().clone(), credential.material().mark(), self.hasher.hash_one(spec));
        if let Some(known) = self.sets.get(&key) {
            return known;
        }
        let made = Arc::new(Needles::of(credential, spec));
        self.sets.insert(key, Arc::clone(&made));
        made
    }

    /// Forgets every version of a credential that was revoked or removed.
    pub fn forget(&self, name: &CredentialName) {
        self.sets.retain(|(known, _, _), _| known != name);
    }
}

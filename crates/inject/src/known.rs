//! Known secrets in what the agent sends. It must never have had them: whole bodies are searched before anything is
//! decided, streams while they pass, with hold-back, so that nothing of a secret leaves before it is found.

use std::sync::Arc;

use bytes::Bytes;
use model::{CanonicalRequest, CredentialName, Part};
use secret::{Field, Material};

use crate::scrub::finder::{Finder, Hit, Hits};
use crate::scrub::forms::{self, Encoding, Form};
use crate::scrub::stream::{self, Carry, Frames};
use crate::scrub::{add_field, private_part};

/// Credentials whose values are searched. At about 30 KiB each this is 120 MiB, far above what one home holds.
const KNOWN_MAX: usize = 4_096;
/// Parts that have a placeholder of their own. A tag is a credential's number times [`PLACES`], and the part's.
const PARTS: [Part; 5] = [Part::Value, Part::Refresh, Part::Identity, Part::KeyId, Part::Session];
/// The parts, and a place for what has no placeholder.
const PLACES: usize = PARTS.len() + 1;

/// Every real secret that is known here, in all the forms that the scrubber knows.
pub struct KnownSecrets {
    finder: Finder,
    names: Vec<CredentialName>,
}

/// Gathers known secrets one by one, for a caller that may look at each for a moment only.
#[derive(Default)]
pub struct KnownBuilder {
    forms: Vec<Form>,
    names: Vec<CredentialName>,
}

impl KnownBuilder {
    /// Goes on from what is known already; what was superseded stays known.
    #[must_use]
    pub fn of(known: &KnownSecrets) -> Self {
        Self { forms: known.finder.forms().to_vec(), names: known.names.clone() }
    }

    /// Adds the secrets of one credential. Those beyond the bound are left out; [`KnownSecrets::is_complete`] says so.
    pub fn add(&mut self, name: &CredentialName, material: &Material) {
        if self.names.len() < KNOWN_MAX {
            // A list of its own: the check for doubled forms is linear.
            let mut own = Vec::new();
            for (field, secret) in material.fields() {
                let place = match field {
                    Field::Value => 0,
                    Field::Refresh => 1,
                    Field::Identity => 2,
                    Field::KeyId => 3,
                    Field::SessionToken => 4,
                    Field::Username | Field::PrivateKey | Field::Certificate => PARTS.len(),
                };
                add_field((field, secret), (self.names.len() * PLACES + place) as u32, &mut own);
            }
            self.forms.append(&mut own);
        }
        self.names.push(name.clone());
    }

    /// The search; `None` where there is nothing to search for.
    #[must_use]
    pub fn build(self) -> Option<KnownSecrets> {
        (!self.forms.is_empty()).then(|| KnownSecrets { finder: Finder::new(self.forms), names: self.names })
    }
}

impl KnownSecrets {
    /// Takes the secrets; see [`KnownBuilder`].
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a CredentialName, &'a Material)>) -> Self {
        let mut builder = KnownBuilder::default();
        for (name, material) in secrets {
            builder.add(name, material);
        }
        Self { finder: Finder::new(builder.forms), names: builder.names }
    }

    /// Whether all secrets that were given are searched.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.names.len() <= KNOWN_MAX
    }

    fn name_of(&self, hit: &Hit) -> Option<&CredentialName> {
        self.names.get(self.finder.form(hit.form)?.tag as usize / PLACES)
    }

    fn part_of(&self, hit: &Hit) -> Option<Part> {
        PARTS.get(self.finder.form(hit.form)?.tag as usize % PLACES).copied()
    }

    fn is_plain(&self, hit: &Hit) -> bool {
        self.finder.form(hit.form).is_some_and(|form| form.encoding == Encoding::Literal)
    }

    /// Where the secret ends that begins with the first of these; a long one is found in pieces, one after the other. `None`
    /// where not all of it is there.
    fn end_of_whole(&self, plain: &[&Hit]) -> Option<usize> {
        let tag = |hit: &Hit| self.finder.form(hit.form).map(|form| form.tag);
        let (first, rest) = plain.split_first()?;
        let own = tag(first)?;
        let pieces = self.finder.forms().iter().filter(|form| form.tag == own && form.encoding == Encoding::Literal);
        let (mut end, mut found) = (first.end, 1);
        for next in rest {
            if next.start > end {
                break;
            }
            if next.start == end && next.form != first.form && tag(next) == Some(own) {
                (end, found) = (next.end, found + 1);
            }
        }
        (found == pieces.count()).then_some(end)
    }

    /// The first known secret in octets of any kind.
    #[must_use]
    pub fn find_in(&self, text: &[u8]) -> Option<CredentialName> {
        let mut hits = Hits::new();
        self.finder.scan(text, &mut hits);
        hits.iter().min().and_then(|hit| self.name_of(hit)).cloned()
    }

    /// The first known secret in a request's target, headers or whole body.
    #[must_use]
    pub fn find(&self, request: &CanonicalRequest, body: Option<&[u8]>) -> Option<CredentialName> {
        if self.finder.is_empty() {
            return None;
        }
        let mut hits = Hits::new();
        let query = request.query().raw().unwrap_or_default();
        let texts = [request.path().raw().as_bytes(), query.as_bytes(), body.unwrap_or_default()];
        let values = request.headers().iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        for text in texts.into_iter().chain(values) {
            self.finder.scan(text, &mut hits);
            if let Some(hit) = hits.first() {
                return self.name_of(hit).cloned();
            }
        }
        None
    }

    /// `text` with every form of a known secret masked, of the same length in octets; `None` where it holds none. For
    /// what is kept of a request: a path, a fact, a reason.
    #[must_use]
    pub fn mask(&self, text: &str) -> Option<String> {
        let mut hits = Hits::new();
        self.finder.scan(text.as_bytes(), &mut hits);
        if hits.is_empty() {
            return None;
        }
        let mut masked = text.as_bytes().to_vec();
        hits.iter().for_each(|hit| self.finder.mask(&mut masked, hit));
        let mut out = String::with_capacity(masked.len());
        for chunk in masked.utf8_chunks() {
            out.push_str(chunk.valid());
            // A secret of arbitrary octets may have ended inside a character; what is left of that is masked too.
            out.extend(chunk.invalid().iter().map(|_| '*'));
        }
        Some(out)
    }

    /// Begins to search a stream.
    #[must_use]
    pub fn scan(self: &Arc<Self>) -> KnownScan {
        KnownScan { known: Arc::clone(self), carry: Carry::default() }
    }

    /// Replaces known secrets in a whole body by what `placeholder` gives for that part of their credentials: plain and
    /// escaped forms by the placeholder itself (of a JWT, whose header and claims stand there already, by its signature),
    /// other encodings, pieces of a long secret and parts without one by a mask. `None` where there is nothing to
    /// replace, else the new body and whose secrets it held.
    #[must_use]
    pub fn replace_with_placeholder<'p>(
        &self,
        body: &[u8],
        placeholder: &dyn Fn(&CredentialName, Part) -> Option<&'p str>,
    ) -> Option<(Vec<u8>, Vec<CredentialName>)> {
        let mut hits = Hits::new();
        self.finder.scan(body, &mut hits);
        if hits.is_empty() {
            return None;
        }
        hits.sort_unstable_by_key(|hit| (hit.start, std::cmp::Reverse(hit.end)));
        let mut masked = body.to_vec();
        hits.iter().for_each(|hit| self.finder.mask(&mut masked, hit));
        let (mut out, mut names, mut at) = (Vec::with_capacity(body.len()), Vec::new(), 0);
        for name in hits.iter().filter_map(|hit| self.name_of(hit)) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let plain: Vec<&Hit> = hits.iter().filter(|hit| self.is_plain(hit)).collect();
        for (number, hit) in plain.iter().enumerate() {
            let text = self.name_of(hit).zip(self.part_of(hit)).and_then(|(name, part)| placeholder(name, part));
            let Some(text) = text.filter(|_| hit.start >= at) else { continue };
            let Some(end) = self.end_of_whole(plain.get(number..).unwrap_or_default()) else { continue };
            out.extend_from_slice(masked.get(at..hit.start).unwrap_or_default());
            out.extend_from_slice(private_part(text.as_bytes()));
            at = end;
        }
        out.extend_from_slice(masked.get(at..).unwrap_or_default());
        Some((out, names))
    }
}

/// A search of one stream.
pub struct KnownScan {
    known: Arc<KnownSecrets>,
    carry: Carry,
}

impl KnownScan {
    /// Takes one frame and gives what may leave.
    ///
    /// # Errors
    /// The credential whose value was found. The stream must be cut: nothing of the value has left.
    pub fn push(&mut self, chunk: Bytes) -> Result<Frames, CredentialName> {
        let mut found = Hits::new();
        let out = stream::step(&self.known.finder, &mut self.carry, chunk, &mut found);
        match found.first().and_then(|hit| self.known.name_of(hit)) {
            Some(name) => Err(name.clone()),
            None => Ok(out),
        }
    }

    /// The end: what was held back begins no secret.
    ///
    /// # Errors
    /// None today; the shape keeps callers ready for forms that only their end completes.
    pub fn finish(mut self) -> Result<Option<Bytes>, CredentialName> {
        Ok(stream::rest(&mut self.carry))
    }
}

/// Placeholders as needles: their text in all forms. Shared with the search of a session's own.
pub(crate) fn finder_of<'a>(texts: impl IntoIterator<Item = (u32, &'a str)>) -> Finder {
    let mut all = Vec::new();
    for (tag, text) in texts {
        let mut own = Vec::new();
        forms::add(text.as_bytes(), tag, &mut own);
        all.append(&mut own);
    }
    Finder::new(all)
}

//! Answers: undo the content coding, scrub, pass on as identity. A body that cannot be read cannot be scrubbed, and is
//! withheld.

pub(crate) mod codec;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use model::bounds::DECOMPRESSION_RATIO_MAX;
use smallvec::SmallVec;
use zeroize::Zeroizing;

use crate::scrub::{Frames, Needles, Scrubber};
use codec::{Coding, Decoder};

/// Layers of coding that are undone; real origins use one.
const LAYERS_MAX: usize = 2;
/// Octets of output that a stream may have whatever its ratio: small answers compress well.
const RATIO_FREE_BYTES: u64 = 1024 * 1024;

/// Header fields that tell of octets which leave otherwise than they came: length, ranges and digests.
pub const ANSWER_DIGESTS: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    header::ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
];

/// Why a body cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// A coding that we do not undo, or more layers than the bound.
    #[error("the answer has a content coding that cannot be undone, so it cannot be scrubbed")]
    Unknown,
    /// It is not what its header says.
    #[error("the answer's content coding is corrupt")]
    Corrupt,
    /// It ends in the middle.
    #[error("the answer's content coding ends early")]
    Truncated,
    /// It grows beyond the ratio of the house.
    #[error("the answer decompresses to more than `{DECOMPRESSION_RATIO_MAX}` times its size")]
    Bomb,
}

/// The road of one answer's body.
pub struct Answer {
    layers: SmallVec<[Decoder; 1]>,
    scrubber: Scrubber,
    read: u64,
    given: u64,
}

impl Answer {
    /// Prepares the road from the answer's headers.
    ///
    /// # Errors
    /// [`Undecodable::Unknown`]: the caller withholds the body.
    pub fn new(needles: &Arc<Needles>, headers: &HeaderMap) -> Result<Self, Undecodable> {
        Self::of(needles, headers, !needles.is_empty())
    }

    /// The same where the body must be read in the clear, whether or not there is anything to mask.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn in_the_clear(needles: &Arc<Needles>, headers: &HeaderMap) -> Result<Self, Undecodable> {
        Self::of(needles, headers, true)
    }

    fn of(needles: &Arc<Needles>, headers: &HeaderMap, decode: bool) -> Result<Self, Undecodable> {
        let mut layers = SmallVec::new();
        if decode {
            // The last named was applied last, so it is undone first (RFC 9110 8.4).
            for coding in codings(headers)?.into_iter().rev() {
                layers.push(Decoder::new(coding)?);
            }
        }
        Ok(Self { layers, scrubber: Scrubber::new(needles), read: 0, given: 0 })
    }

    /// A whole body without its coding, not longer than `max` octets.
    ///
    /// # Errors
    /// As for a stream; [`Undecodable::Bomb`] where it is longer.
    pub fn decode(headers: &HeaderMap, body: &[u8], max: usize) -> Result<Zeroizing<Vec<u8>>, Undecodable> {
        let mut layers: SmallVec<[Decoder; 1]> = SmallVec::new();
        for coding in codings(headers)?.into_iter().rev() {
            layers.push(Decoder::new(coding)?);
        }
        let mut out = Zeroizing::new(Vec::with_capacity(max.min(body.len().saturating_mul(8))));
        run(&mut layers, body, &mut |plain| {
            if out.len() + plain.len() > max {
                return Err(Undecodable::Bomb);
            }
            out.extend_from_slice(plain);
            Ok(())
        })?;
        layers.iter().try_for_each(Decoder::finish)?;
        Ok(out)
    }

    /// Whether the body leaves in another coding than it came.
    #[must_use]
    pub fn decodes(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Makes the head fit the body that leaves: where it is decoded, its length, coding, strong validators and digests go.
    /// Masks keep the length, so an identity answer keeps its own.
    pub fn edit(&self, headers: &mut HeaderMap) {
        if !self.decodes() {
            return;
        }
        headers.remove(header::CONTENT_ENCODING);
        for name in ANSWER_DIGESTS {
            headers.remove(name);
        }
        let strong = headers.get(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
        if let Some(weak) = strong.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok()) {
            headers.insert(header::ETAG, weak);
        }
    }

    /// Takes one frame and gives all that may leave of it; nothing waits for a further one but what may begin a needle.
    ///
    /// # Errors
    /// The stream must be cut.
    pub fn push(&mut self, chunk: Bytes) -> Result<Frames, Undecodable> {
        if self.layers.is_empty() {
            return Ok(self.scrubber.push(chunk));
        }
        self.read += chunk.len() as u64;
        let room = self.read.saturating_mul(DECOMPRESSION_RATIO_MAX).saturating_add(RATIO_FREE_BYTES);
        let (scrubber, given) = (&mut self.scrubber, &mut self.given);
        let mut out = Frames::default();
        run(&mut self.layers, &chunk, &mut |plain| {
            *given += plain.len() as u64;
            if *given > room {
                return Err(Undecodable::Bomb);
            }
            if !plain.is_empty() {
                scrubber.push(Bytes::copy_from_slice(plain)).for_each(|frame| out.add(frame));
            }
            Ok(())
        })?;
        Ok(out)
    }

    /// The end of the stream: what was held back.
    ///
    /// # Errors
    /// [`Undecodable::Truncated`]: the stream must be cut, not ended.
    pub fn finish(&mut self) -> Result<Option<Bytes>, Undecodable> {
        self.layers.iter().try_for_each(Decoder::finish)?;
        Ok(self.scrubber.finish())
    }

    /// How many needles were masked.
    #[must_use]
    pub const fn hits(&self) -> u64 {
        self.scrubber.hits()
    }
}

/// Takes octets; says when there are too many.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Undecodable>;

fn run(layers: &mut [Decoder], input: &[u8], out: Sink<'_>) -> Result<(), Undecodable> {
    match layers {
        [] => out(input),
        [first, rest @ ..] => first.push(input, &mut |plain| run(rest, plain, out)),
    }
}

/// The codings of an answer, in the order in which they were applied.
fn codings(headers: &HeaderMap) -> Result<SmallVec<[Coding; 1]>, Undecodable> {
    let mut all = SmallVec::new();
    for line in headers.get_all(header::CONTENT_ENCODING) {
        for name in line.to_str().map_err(|_| Undecodable::Unknown)?.split(',') {
            let name = name.trim();
            if name.is_empty() || name.eq_ignore_ascii_case("identity") {
                continue;
            }
            all.push(Coding::parse(name).ok_or(Undecodable::Unknown)?);
        }
    }
    if all.len() > LAYERS_MAX { Err(Undecodable::Unknown) } else { Ok(all) }
}

//! The forms in which a needle may come back: each is a fixed string that the finder searches. Forms in which any subset
//! of characters is escaped cannot be listed; [`super::escape`] reads those.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use model::bounds::NEEDLE_BYTES_MIN;
use zeroize::Zeroizing;

/// Needles longer than this are searched in pieces of [`PIECE_BYTES`], so that what must be held back stays small however
/// large a key file is.
const WHOLE_BYTES_MAX: usize = 128;
/// One piece of a long needle; the last takes the rest.
const PIECE_BYTES: usize = 64;
/// Forms at least this long match without regard to case (hexadecimal always does): an origin that changes the case of
/// a token gives it away, and twelve characters do not match by chance.
const FOLD_BYTES_MIN: usize = 12;

/// How a form was made from its needle; decides the mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Literal,
    /// Last character first.
    Reversed,
    /// Letters moved by thirteen.
    Rot13,
    /// Base64, either alphabet; the number is the place of the first character in its group of four.
    Base64(u8),
    /// Hexadecimal.
    Hex,
    /// UTF-16, low octet first.
    Utf16Le,
    /// UTF-16, high octet first.
    Utf16Be,
}

/// One string to search for.
#[derive(Clone)]
pub(crate) struct Form {
    /// The octets.
    pub bytes: Zeroizing<Box<[u8]>>,
    /// How it was made.
    pub encoding: Encoding,
    /// Whose it is: the caller's number.
    pub tag: u32,
    /// Case does not matter.
    pub fold: bool,
    /// May also come with any of its characters escaped.
    pub escapable: bool,
}

impl Form {
    /// Whether two octets are the same to this form.
    #[inline]
    pub fn same(&self, left: u8, right: u8) -> bool {
        left == right || self.fold && left.eq_ignore_ascii_case(&right)
    }

    /// Whether `text` is `form[from..]`'s beginning.
    #[inline]
    pub fn same_all(&self, from: usize, text: &[u8]) -> bool {
        let Some(part) = self.bytes.get(from..from + text.len()) else { return false };
        if self.fold { part.eq_ignore_ascii_case(text) } else { part == text }
    }
}

/// Adds every form of `needle`; nothing if it is too short to be told from chance.
pub(crate) fn add(needle: &[u8], tag: u32, forms: &mut Vec<Form>) {
    for piece in pieces(needle) {
        add_piece(piece, tag, forms);
    }
}

/// Adds `text` as it is, for what is encoded already (the Base64 of a Basic pair).
pub(crate) fn add_encoded(text: &[u8], tag: u32, forms: &mut Vec<Form>) {
    if text.len() >= NEEDLE_BYTES_MIN {
        push(text.to_vec(), Encoding::Base64(0), tag, forms);
    }
}

fn pieces(needle: &[u8]) -> impl Iterator<Item = &[u8]> {
    let size = if needle.len() <= WHOLE_BYTES_MAX { needle.len().max(1) } else { PIECE_BYTES };
    let count = (needle.len() / size).max(1);
    (0..count).filter_map(move |turn| {
        let end = if turn + 1 == count { needle.len() } else { (turn + 1) * size };
        needle.get(turn * size..end).filter(|piece| piece.len() >= NEEDLE_BYTES_MIN)
    })
}

fn add_piece(piece: &[u8], tag: u32, forms: &mut Vec<Form>) {
    push(piece.to_vec(), Encoding::Literal, tag, forms);
    push(piece.iter().rev().copied().collect(), Encoding::Reversed, tag, forms);
    push(piece.iter().map(|byte| rot13(*byte)).collect(), Encoding::Rot13, tag, forms);
    push(hex(piece), Encoding::Hex, tag, forms);
    push(piece.iter().flat_map(|byte| [*byte, 0]).collect(), Encoding::Utf16Le, tag, forms);
    push(piece.iter().flat_map(|byte| [0, *byte]).collect(), Encoding::Utf16Be, tag, forms);
    for shift in 0..3usize {
        let mut shifted = Zeroizing::new(vec![0u8; shift]);
        shifted.extend_from_slice(piece);
        // Only characters all of whose six bits come from the needle: the rest depend on the neighbours.
        let (first, last) = ((8 * shift).div_ceil(6), shifted.len() * 8 / 6);
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = Zeroizing::new(engine.encode(&*shifted));
            if let Some(known) = text.as_bytes().get(first..last) {
                push(known.to_vec(), Encoding::Base64((first % 4) as u8), tag, forms);
            }
        }
    }
}

fn push(bytes: Vec<u8>, encoding: Encoding, tag: u32, forms: &mut Vec<Form>) {
    let bytes = Zeroizing::new(bytes.into_boxed_slice());
    if bytes.len() < NEEDLE_BYTES_MIN || forms.iter().any(|known| known.bytes == bytes) {
        return;
    }
    let fold = encoding == Encoding::Hex || bytes.len() >= FOLD_BYTES_MIN;
    let escapable = matches!(encoding, Encoding::Literal | Encoding::Base64(_));
    forms.push(Form { bytes, encoding, tag, fold, escapable });
}

const fn rot13(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
        b'A'..=b'Z' => (byte - b'A' + 13) % 26 + b'A',
        _ => byte,
    }
}

fn hex(piece: &[u8]) -> Vec<u8> {
    let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' + half - 10 };
    piece.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The octet of a mask at `at` characters into a form: same length, same alphabet. What is decoded from it is `*`.
pub(crate) const fn mask_byte(encoding: Encoding, at: usize) -> u8 {
    match encoding {
        Encoding::Literal | Encoding::Reversed | Encoding::Rot13 => b'*',
        // `Kioq` is the Base64 of `***`.
        Encoding::Base64(phase) => match (at + phase as usize) % 4 {
            0 => b'K',
            1 => b'i',
            2 => b'o',
            _ => b'q',
        },
        Encoding::Hex if at.is_multiple_of(2) => b'2',
        Encoding::Hex => b'a',
        Encoding::Utf16Le if at.is_multiple_of(2) => b'*',
        Encoding::Utf16Be if !at.is_multiple_of(2) => b'*',
        Encoding::Utf16Le | Encoding::Utf16Be => 0,
    }
}

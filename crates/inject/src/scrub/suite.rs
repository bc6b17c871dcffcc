//! The fast search beside a slow one that is plain to see: every form, at every place, in every reading. Texts are made of
//! encodings that are whole, cut, mixed character by character and nested, and of noise that looks like them.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::escape::{self, Reading, introduces};
use super::finder::{Finder, Hits};
use super::forms::{self, Form};
use super::stream::{Carry, rest, step};

/// Every reading of `text[at..]` as `form[from..]`: where each ends, and whether the text may end first.
fn readings(form: &Form, from: usize, text: &[u8], at: usize, ends: &mut BTreeSet<usize>) -> bool {
    let Some(wanted) = form.bytes.get(from) else {
        ends.insert(at);
        return false;
    };
    let Some(octet) = text.get(at) else { return true };
    let mut cut = false;
    if form.same(*wanted, *octet) {
        cut |= readings(form, from + 1, text, at + 1, ends);
    }
    if form.escapable && introduces(*octet) {
        match escape::read(&text[at..]) {
            Reading::Whole(unit) => {
                let left = form.bytes[from..].iter().zip(unit.octets());
                if left.clone().all(|(wanted, octet)| form.same(*wanted, *octet)) {
                    cut |= readings(form, from + unit.octets().len(), text, at + unit.length, ends);
                }
            }
            Reading::Cut => cut = true,
            Reading::Not => {}
        }
    }
    cut
}

/// Start, end and form of every occurrence.
fn occurrences(finder: &Finder, text: &[u8]) -> BTreeSet<(usize, usize, u32)> {
    let mut all = BTreeSet::new();
    for (number, form) in (0u32..).zip(finder.forms()) {
        for start in 0..text.len() {
            let mut ends = BTreeSet::new();
            readings(form, 0, text, start, &mut ends);
            all.extend(ends.into_iter().map(|end| (start, end, number)));
        }
    }
    all
}

/// The longest tail that may begin an occurrence; an unfinished escape always may. What is whole already is found, and need
/// not wait for what its last character may become.
fn beginning(finder: &Finder, text: &[u8]) -> usize {
    let begins = |at: usize| {
        let open = introduces(text[at]) && matches!(escape::read(&text[at..]), Reading::Cut);
        let cut = |form: &Form| {
            let mut ends = BTreeSet::new();
            readings(form, 0, text, at, &mut ends) && ends.is_empty()
        };
        open || finder.forms().iter().any(cut)
    };
    (0..text.len()).find(|at| begins(*at)).map_or(0, |at| text.len() - at)
}

fn fast(finder: &Finder, text: &[u8]) -> BTreeSet<(usize, usize, u32)> {
    let mut hits = Hits::new();
    finder.scan(text, &mut hits);
    hits.iter().map(|hit| (hit.start, hit.end, hit.form)).collect()
}

fn finder(secrets: &[Vec<u8>]) -> Finder {
    let mut all = Vec::new();
    for (tag, secret) in (0u32..).zip(secrets) {
        forms::add(secret, tag, &mut all);
    }
    Finder::new(all)
}

/// One character in one of the ways of writing it.
fn written(octet: u8, way: u8, out: &mut Vec<u8>) {
    let text = match way % 12 {
        0 => format!("%{octet:02x}"),
        1 => format!("%{octet:02X}"),
        2 if octet.is_ascii() => format!("\\u{octet:04x}"),
        3 if octet.is_ascii() => format!("\\x{octet:02X}"),
        4 if octet.is_ascii() => format!("&#{octet};"),
        5 if octet.is_ascii() => format!("&#x{octet:x};"),
        6 if matches!(octet, b'"' | b'\\' | b'/' | b'\'') => format!("\\{}", char::from(octet)),
        7 if octet == b'&' => "&amp;".into(),
        7 if octet == b'/' => "&sol;".into(),
        7 if octet == b'+' => "&plus;".into(),
        _ => return out.push(octet),
    };
    out.extend_from_slice(text.as_bytes());
}

/// A piece of a text.
#[derive(Clone, Debug)]
enum Piece {
    /// A form of the secrets from one place to another, each character written in the way that the list says.
    Form {
        form: usize,
        from: usize,
        length: usize,
        ways: Vec<u8>,
        swap: bool,
    },
    /// The same, and all of it written once more in the way of the first.
    Nested {
        form: usize,
        ways: Vec<u8>,
    },
    Noise(Vec<u8>),
}

fn render(pieces: &[Piece], finder: &Finder) -> Vec<u8> {
    let mut out = Vec::new();
    let spell = |bytes: &[u8], ways: &[u8], out: &mut Vec<u8>| {
        let mut ways = ways.iter().cycle();
        for chunk in bytes.utf8_chunks() {
            for letter in chunk.valid().chars() {
                // One escape for several octets.
                match (letter.is_ascii(), ways.next().map(|way| way % 12)) {
                    (false, Some(2 | 3)) => out.extend_from_slice(format!("\\u{:04x}", letter as u32).as_bytes()),
                    (false, Some(4 | 5)) => out.extend_from_slice(format!("&#{};", letter as u32).as_bytes()),
                    (_, way) => letter
                        .encode_utf8(&mut [0; 4])
                        .bytes()
                        .for_each(|octet| written(octet, way.unwrap_or_default(), out)),
                }
            }
            chunk.invalid().iter().for_each(|octet| written(*octet, 0, out));
        }
    };
    let forms = finder.forms();
    for piece in pieces {
        match piece {
            Piece::Form { form, from, length, ways, swap } => {
                let mut bytes = forms[form % forms.len()].bytes.to_vec();
                if *swap {
                    bytes.make_ascii_uppercase();
                }
                let from = from % bytes.len();
                spell(&bytes[from..bytes.len().min(from + length)], ways, &mut out);
            }
            Piece::Nested { form, ways } => {
                let mut once = Vec::new();
                spell(&forms[form % forms.len()].bytes, ways, &mut once);
                spell(&once, &ways[..1], &mut out);
            }
            Piece::Noise(noise) => out.extend_from_slice(noise),
        }
    }
    out
}

fn ways() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![11]),
        (0u8..12).prop_map(|way| vec![way]),
        // One escape among many plain characters.
        (0u8..8, 0usize..70).prop_map(|(way, at)| {
            let mut ways = vec![11; 71];
            ways[at] = way;
            ways
        }),
        proptest::collection::vec(0u8..12, 1..80),
    ]
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        4 => (any::<usize>(), ways(), any::<bool>())
            .prop_map(|(form, ways, swap)| Piece::Form { form, from: 0, length: 1_000, ways, swap }),
        3 => (any::<usize>(), 0usize..90, ways())
            .prop_map(|(form, length, ways)| Piece::Form { form, from: 0, length, ways, swap: false }),
        1 => (any::<usize>(), any::<usize>(), 0usize..20, ways())
            .prop_map(|(form, from, length, ways)| Piece::Form { form, from, length, ways, swap: false }),
        1 => (any::<usize>(), ways()).prop_map(|(form, ways)| Piece::Nested { form, ways }),
        2 => "[%&\\\\#xu0-9a-f;/ ]{0,20}".prop_map(|text| Piece::Noise(text.into_bytes())),
        1 => "[ -~]{0,200}".prop_map(|text| Piece::Noise(text.into_bytes())),
        1 => proptest::collection::vec(any::<u8>(), 0..90).prop_map(Piece::Noise),
    ]
}

fn secret() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[A-Za-z0-9_]{20,60}".prop_map(String::into_bytes),
        2 => "[A-Za-z0-9/+=]{8,40}".prop_map(String::into_bytes),
        1 => "[!-~]{8,30}".prop_map(String::into_bytes),
        1 => "[%&\\\\0-9a-f;#x]{8,16}".prop_map(String::into_bytes),
        1 => "[a-zé-ü0-9]{10,30}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 8..40),
        1 => "[A-Za-z0-9]{130,300}".prop_map(String::into_bytes),
    ]
}

fn cuts(text: &[u8], sizes: &[usize]) -> Vec<Bytes> {
    let (mut at, mut all) = (0, Vec::new());
    for size in sizes.iter().cycle() {
        if at >= text.len() {
            break;
        }
        let end = (at + size).min(text.len());
        all.push(Bytes::copy_from_slice(&text[at..end]));
        at = end;
    }
    all
}

/// What leaves, and what was found.
fn stream(finder: &Finder, frames: &[Bytes]) -> (Vec<u8>, usize) {
    let (mut carry, mut out, mut found) = (Carry::default(), Vec::new(), Hits::new());
    let (mut given, mut largest) = (0, 0);
    for frame in frames {
        given += frame.len();
        step(finder, &mut carry, frame.clone(), &mut found).for_each(|frame| out.extend_from_slice(&frame));
        assert!(given - out.len() < finder.reach().max(1), "what is held back is bounded");
        largest = largest.max(frame.len());
        assert!(carry.room() <= 4 * (finder.reach() + largest), "and so is the room for it");
    }
    out.extend_from_slice(&rest(&mut carry).unwrap_or_default());
    (out, found.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_search_finds_what_the_slow_one_finds(
        secrets in proptest::collection::vec(secret(), 1..4),
        pieces in proptest::collection::vec(piece(), 0..8),
    ) {
        let finder = finder(&secrets);
        prop_assume!(!finder.is_empty());
        let text = render(&pieces, &finder);
        let (slow, fast) = (occurrences(&finder, &text), fast(&finder, &text));
        prop_assert!(fast.is_subset(&slow), "found what is not there: {:?}", fast.difference(&slow));
        // An occurrence that can be read in several ways is found in one of them.
        let starts = |all: &BTreeSet<(usize, usize, u32)>| all.iter().map(|(start, _, form)| (*start, *form)).collect::<BTreeSet<_>>();
        prop_assert_eq!(starts(&fast), starts(&slow), "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn what_is_held_back_is_what_may_go_on(
        secrets in proptest::collection::vec(secret(), 1..4),
        pieces in proptest::collection::vec(piece(), 0..5),
        cut in any::<usize>(),
    ) {
        let finder = finder(&secrets);
        prop_assume!(!finder.is_empty());
        let text = render(&pieces, &finder);
        for end in [text.len(), cut % (text.len() + 1), cut / 7 % (text.len() + 1)] {
            let tail = &text[..end];
            prop_assert_eq!(finder.held(tail), beginning(&finder, tail), "{}", String::from_utf8_lossy(tail));
        }
    }

    #[test]
    fn every_cut_leaves_the_same(
        secrets in proptest::collection::vec(secret(), 1..4),
        pieces in proptest::collection::vec(piece(), 0..12),
        sizes in proptest::collection::vec(prop_oneof![1usize..30, 1usize..400, 1usize..3_000], 1..20),
    ) {
        let finder = finder(&secrets);
        prop_assume!(!finder.is_empty());
        let text = render(&pieces, &finder);
        let (whole, found) = stream(&finder, &[Bytes::copy_from_slice(&text)]);
        let (pieces, again) = stream(&finder, &cuts(&text, &sizes));
        prop_assert_eq!(pieces.len(), text.len());
        prop_assert_eq!(again > 0, found > 0);
        // Nothing of an occurrence is left, and nothing else has changed.
        let inside = |at: usize, all: &BTreeSet<(usize, usize, u32)>| all.iter().any(|(start, end, _)| (*start..*end).contains(&at));
        let all = occurrences(&finder, &text);
        for (at, octet) in text.iter().enumerate().filter(|(at, _)| !inside(*at, &all)) {
            prop_assert_eq!((whole[at], pieces[at]), (*octet, *octet), "at {}", at);
        }
        prop_assert_eq!(whole, pieces);
    }
}

/// A hostile stream: every frame ends in the beginning of an occurrence, as long as one can be, that comes to nothing.
#[test]
fn the_state_of_a_stream_is_bounded() {
    let finder = finder(&[b"tok_0123456789abcdefghijKLMNOPQRST".to_vec()]);
    let longest = finder.forms().iter().filter(|form| form.escapable).max_by_key(|form| form.bytes.len());
    let mut open = Vec::new();
    for octet in &longest.expect("a form").bytes[1..] {
        open.extend_from_slice(format!("&#x0000{octet:x};").as_bytes());
    }
    let first = longest.expect("a form").bytes[0];
    let (mut carry, mut found, mut given, mut left) = (Carry::default(), Hits::new(), 0, 0);
    for turn in 0..3_000 {
        let mut frame = vec![b'.'; turn % 40 * 400];
        frame.extend_from_slice(format!("&#x0000{first:x};").as_bytes());
        frame.extend_from_slice(&open[..open.len() - 1]);
        given += frame.len();
        left += step(&finder, &mut carry, frame.into(), &mut found).map(|frame| frame.len()).sum::<usize>();
        assert!(given - left < finder.reach(), "{}", given - left);
        assert!(carry.room() <= 64 * 1024, "{}", carry.room());
    }
    assert!(given > 20 << 20 && found.is_empty() && given - left > 400);
}

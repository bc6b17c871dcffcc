//! The echo oracle: a secret in every encoding, at every split, never comes out; everything else does, unchanged.

use std::fmt::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use inject::{Needles, Scrubber, scrub_headers};
use proptest::prelude::*;

use crate::{bearer, credential, noise};

const SECRET: &str = "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";

fn needles(secret: &str) -> Arc<Needles> {
    Arc::new(Needles::of(&credential("c", secret.as_bytes()), &bearer()))
}

/// Every encoding that is promised, and two more; `pick` says which characters are escaped.
pub fn encodings(secret: &str, pick: &dyn Fn(usize) -> bool) -> Vec<(String, Vec<u8>)> {
    let escaped = |write: &dyn Fn(&mut String, char)| {
        let mut out = String::new();
        for (at, letter) in secret.chars().enumerate() {
            if pick(at) { write(&mut out, letter) } else { out.push(letter) }
        }
        out.into_bytes()
    };
    let rot = |letter: char| match letter {
        'a'..='z' => char::from((letter as u8 - b'a' + 13) % 26 + b'a'),
        'A'..='Z' => char::from((letter as u8 - b'A' + 13) % 26 + b'A'),
        _ => letter,
    };
    let swap =
        |letter: char| if letter.is_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
    let hex = |upper: bool| {
        secret.bytes().fold(String::new(), |mut out, byte| {
            let _ = if upper { write!(out, "{byte:02X}") } else { write!(out, "{byte:02x}") };
            out
        })
    };
    let mut all = vec![
        ("literal".to_owned(), secret.as_bytes().to_vec()),
        ("reversed".to_owned(), secret.bytes().rev().collect()),
        ("rot13".to_owned(), secret.chars().map(rot).collect::<String>().into_bytes()),
        ("case".to_owned(), secret.chars().map(swap).collect::<String>().into_bytes()),
        ("hex".to_owned(), hex(false).into_bytes()),
        ("HEX".to_owned(), hex(true).into_bytes()),
        ("utf-16le".to_owned(), secret.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("utf-16be".to_owned(), secret.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        (
            "percent".to_owned(),
            escaped(&|out, letter| {
                let _ = write!(out, "%{:02x}", letter as u32);
            }),
        ),
        (
            "PERCENT".to_owned(),
            escaped(&|out, letter| {
                let _ = write!(out, "%{:02X}", letter as u32);
            }),
        ),
        (
            "json".to_owned(),
            escaped(&|out, letter| {
                let _ = write!(out, "\\u{:04x}", letter as u32);
            }),
        ),
        (
            "html".to_owned(),
            escaped(&|out, letter| {
                let _ = write!(out, "&#{};", letter as u32);
            }),
        ),
        (
            "html hex".to_owned(),
            escaped(&|out, letter| {
                let _ = write!(out, "&#x{:X};", letter as u32);
            }),
        ),
        (
            "html zeros".to_owned(),
            escaped(&|out, letter| {
                let _ = write!(out, "&#x0000{:x};", letter as u32);
            }),
        ),
    ];
    for shift in 0..3 {
        let text = [&b"\xff\xfe\xfd"[..shift], secret.as_bytes(), b"~tail"].concat();
        all.push((format!("base64/{shift}"), STANDARD.encode(&text).into_bytes()));
        all.push((format!("base64url/{shift}"), URL_SAFE.encode(&text).into_bytes()));
    }
    all
}

/// Undoes what a reader might undo, and looks for eight characters of the secret in a row.
pub struct Oracle(Vec<Vec<u8>>, Vec<Vec<u8>>);

impl Oracle {
    pub fn new(secret: &str) -> Self {
        let windows = |text: &[u8], size: usize| {
            text.to_ascii_lowercase().windows(size.min(text.len())).map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let mut raw = Vec::new();
        for (name, form) in encodings(secret, &|_| true) {
            if name.starts_with("base64") {
                // The ends are mixed with neighbours: eight characters of the middle.
                raw.extend(windows(&form[4..form.len() - 11], 8));
            } else {
                raw.extend(windows(&form, form.len() / secret.len() * 8));
            }
        }
        raw.sort();
        raw.dedup();
        Self(raw, windows(secret.as_bytes(), 8))
    }

    pub fn leaks(&self, out: &[u8]) -> bool {
        let in_any = |text: &[u8], all: &[Vec<u8>]| {
            let text = text.to_ascii_lowercase();
            all.iter().any(|part| memchr::memmem::find(&text, part).is_some())
        };
        in_any(out, &self.0) || in_any(&plain(out), &self.1)
    }
}

/// Percent, JSON and HTML escapes undone, by a reader of its own.
fn plain(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let pattern = |text: &str| -> Option<(char, usize)> {
        let code = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        if let Some(rest) = text.strip_prefix('%') {
            return Some((code(rest.get(..2)?, 16)?, 3));
        }
        if let Some(rest) = text.strip_prefix("\\u") {
            return Some((code(rest.get(..4)?, 16)?, 6));
        }
        if let Some(rest) = text.strip_prefix('\\') {
            return Some((rest.chars().next()?, 2)).filter(|(letter, _)| letter.is_ascii());
        }
        let rest = text.strip_prefix("&#")?;
        let end = rest.find(';')?;
        let digits = rest.get(..end)?;
        let letter = digits.strip_prefix('x').map_or_else(|| code(digits, 10), |hex| code(hex, 16))?;
        Some((letter, end + 3))
    };
    let (mut at, mut out) = (0, String::new());
    while let Some(letter) = text[at..].chars().next() {
        let (shown, length) = pattern(&text[at..]).unwrap_or((letter, letter.len_utf8()));
        out.push(shown);
        at += length;
    }
    out.into_bytes()
}

fn run(needles: &Arc<Needles>, pieces: &[&[u8]]) -> (Vec<u8>, u64) {
    let mut scrubber = Scrubber::new(needles);
    let mut out = Vec::new();
    let mut given = 0;
    for piece in pieces {
        given += piece.len();
        scrubber.push(Bytes::copy_from_slice(piece)).for_each(|frame| out.extend_from_slice(&frame));
        assert!(given - out.len() <= needles.reach(), "what is held back is bounded");
    }
    out.extend_from_slice(&scrubber.finish().unwrap_or_default());
    (out, scrubber.hits())
}

#[test]
fn every_encoding_at_every_split() {
    let (needles, oracle) = (needles(SECRET), Oracle::new(SECRET));
    let picks: [&dyn Fn(usize) -> bool; 5] =
        [&|_| true, &|at| at % 2 == 0, &|at| at % 2 == 1, &|at| at == 0, &|at| at == 39];
    for pick in picks {
        for (name, form) in encodings(SECRET, pick) {
            let text = [b"{\"echo\":\"", &*form, b"\",\"n\":1}\n\n"].concat();
            let whole = run(&needles, &[&text]);
            let (out, hits) = &whole;
            assert_eq!((out.len(), *hits), (text.len(), 1), "{name}");
            assert!(!oracle.leaks(out), "{name}: {}", String::from_utf8_lossy(out));
            assert!(out.starts_with(b"{\"echo\":\"") && out.ends_with(b"\",\"n\":1}\n\n"), "{name}");
            for split in 1..text.len() {
                assert_eq!(run(&needles, &[&text[..split], &text[split..]]), whole, "{name} at {split}");
            }
            assert_eq!(run(&needles, &text.chunks(1).collect::<Vec<_>>()), whole, "{name} octet by octet");
        }
    }
}

#[test]
fn headers_and_trailers() {
    let (needles, oracle) = (needles(SECRET), Oracle::new(SECRET));
    for (name, form) in encodings(SECRET, &|at| at % 3 == 0) {
        let Ok(value) = HeaderValue::from_bytes(&[b"x=", &*form, b"; y"].concat()) else {
            assert!(name.starts_with("utf-16"), "{name}");
            continue;
        };
        let mut headers = HeaderMap::new();
        headers.insert("location", value.clone());
        headers.append("location", HeaderValue::from_static("/plain"));
        headers.insert("etag", HeaderValue::from_static("\"abc\""));
        assert_eq!(scrub_headers(&mut headers, &needles), 1, "{name}");
        assert_eq!(headers["location"].len(), value.len());
        assert!(!oracle.leaks(headers["location"].as_bytes()), "{name}");
        assert_eq!(headers.get_all("location").iter().nth(1), Some(&HeaderValue::from_static("/plain")));
        assert_eq!(headers["etag"], "\"abc\"");
    }
    let mut headers = HeaderMap::new();
    headers.insert(
        format!("x-{SECRET}").to_lowercase().parse::<http::HeaderName>().expect("name"),
        HeaderValue::from_static("1"),
    );
    assert_eq!(scrub_headers(&mut headers, &needles), 1);
    assert!(headers.is_empty());
}

#[test]
fn masks_keep_the_alphabet() {
    let needles = needles(SECRET);
    let shown = |text: String| String::from_utf8(needles.scrub(text.as_bytes()).expect("found").0).expect("text");
    let all = encodings(SECRET, &|_| true);
    let of = |wanted: &str| {
        shown(String::from_utf8(all.iter().find(|(name, _)| name == wanted).expect("known").1.clone()).expect("text"))
    };
    assert_eq!(of("literal"), "*".repeat(40));
    assert_eq!(of("hex"), "2a".repeat(40));
    assert_eq!(of("percent"), "%2A".repeat(40));
    assert_eq!(of("json"), "\\u002a".repeat(40));
    let decoded = STANDARD.decode(of("base64/0")).expect("still base64");
    assert!(decoded.starts_with(&b"*".repeat(39)) && decoded.ends_with(b"tail"));
    for text in [of("html"), of("html hex"), of("html zeros")] {
        assert_eq!(plain(text.as_bytes()), b"*".repeat(40), "{text}");
    }
    let number = super::echo::needles("1234567890123456").scrub(b"[1234567890123456]").expect("found").0;
    assert_eq!(number, b"[0000000000000000]");
}

#[test]
fn frames_pass_uncopied_and_undelayed() {
    let needles = needles(SECRET);
    let mut scrubber = Scrubber::new(&needles);
    let event = Bytes::from_static(b"data: {\"text\":\"hello\"}\n\n");
    let out: Vec<Bytes> = scrubber.push(event.clone()).collect();
    assert_eq!(out, std::slice::from_ref(&event));
    assert_eq!(out[0].as_ptr(), event.as_ptr());
    let big = Bytes::from(vec![b'x'; 100_000]);
    assert_eq!(scrubber.push(Bytes::from_static(b"g")).next(), None, "it may begin a needle");
    let out: Vec<Bytes> = scrubber.push(big.clone()).collect();
    assert_eq!((out.len(), &*out[0], out[1].as_ptr()), (2, &b"g"[..], big.as_ptr()));
    assert_eq!(scrubber.hits(), 0);
}

#[test]
fn borders_of_whole_frames_hide_nothing() {
    let (needles, oracle) = (needles(SECRET), Oracle::new(SECRET));
    let frame = needles.reach() + 100;
    for (name, form) in encodings(SECRET, &|at| at % 2 == 0) {
        for cut in 0..=form.len() {
            // A beginning, too short to tell anything, that comes to nothing at one border, the whole form at the next, another right behind it.
            let mut text = b"x".repeat(frame - cut.min(7));
            text.extend_from_slice(&form[..cut.min(7)]);
            text.extend(b"=".repeat(2 * frame - cut - text.len()));
            text.extend_from_slice(&form);
            text.extend(b"=".repeat(frame));
            text.extend_from_slice(&form);
            text.extend(b"=".repeat(2 * frame));
            let whole = run(&needles, &[&text]);
            assert_eq!(run(&needles, &text.chunks(frame).collect::<Vec<_>>()), whole, "{name} at {cut}");
            assert_eq!((whole.0.len(), whole.1), (text.len(), 2), "{name} at {cut}");
            assert!(!oracle.leaks(&whole.0), "{name} at {cut}");
        }
    }
}

#[test]
fn a_key_file_is_searched_in_pieces() {
    let mut octets = vec![0; 1_200];
    noise(7)(&mut octets);
    let key = STANDARD
        .encode(&octets)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned() + "\n")
        .collect::<String>();
    let secret = format!("-----BEGIN PRIVATE KEY-----\n{key}-----END PRIVATE KEY-----\n");
    let needles = needles(&secret);
    assert!(needles.reach() <= 2_000, "{}", needles.reach());
    let json = serde_json::to_string(&secret).expect("json");
    for text in [secret.as_bytes(), json.as_bytes()] {
        for size in [1, 7, 64, 1_000, 100_000] {
            let (out, hits) = run(&needles, &text.chunks(size).collect::<Vec<_>>());
            assert!(hits >= 20 && out.len() == text.len());
            assert!(key.lines().all(|line| memchr::memmem::find(&out, line.as_bytes()).is_none()));
        }
    }
}

#[test]
fn short_needles_are_not_searched() {
    assert!(needles("1234567").is_empty());
    assert!(!needles("12345678").is_empty());
}

fn secrets() -> impl Strategy<Value = String> {
    prop_oneof!["[A-Za-z0-9_]{20,60}", "[!-~]{8,40}", "[%&\\\\a-f0-9u#;x]{12,30}", "[a-zé-ü0-9]{10,30}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_secret_any_subset_any_splits(
        secret in secrets(),
        mask in any::<u64>(),
        front in "[ -~]{0,30}",
        back in "[ -~]{0,30}",
        size in 1usize..40,
    ) {
        let needles = needles(&secret);
        for (name, form) in encodings(&secret, &|at| mask >> (at % 64) & 1 == 1) {
            let ascii = secret.is_ascii();
            if !ascii && !matches!(&*name, "literal" | "json" | "html" | "html hex" | "hex" | "HEX") {
                continue;
            }
            let text = [front.as_bytes(), b" ", &*form, b" ", back.as_bytes()].concat();
            let (out, hits) = run(&needles, &text.chunks(size).collect::<Vec<_>>());
            prop_assert_eq!(out.len(), text.len());
            let found = hits >= 1 || (name == "case" && secret.len() < 12);
            prop_assert!(found, "{} not found in {}", name, String::from_utf8_lossy(&text));
            prop_assert!(out.starts_with(front.as_bytes()) || hits > 1);
        }
    }

    #[test]
    fn nothing_else_changes(text in proptest::collection::vec(any::<u8>(), 0..4_000), size in 1usize..300) {
        let needles = needles(SECRET);
        let (out, hits) = run(&needles, &text.chunks(size).collect::<Vec<_>>());
        prop_assert_eq!(hits, 0);
        prop_assert_eq!(out, text);
    }

    #[test]
    fn splits_change_nothing(
        parts in proptest::collection::vec(prop_oneof![
            Just(SECRET.to_owned()), Just(SECRET[..20].to_owned()), Just(SECRET[20..].to_owned()),
            Just("%67%68p_zQ".to_owned()), "[a-z%&\\\\]{0,9}"], 0..12),
        size in 1usize..50,
    ) {
        let needles = needles(SECRET);
        let text = parts.concat().into_bytes();
        let whole = run(&needles, &[&text]);
        prop_assert_eq!(run(&needles, &text.chunks(size).collect::<Vec<_>>()), whole);
    }
}

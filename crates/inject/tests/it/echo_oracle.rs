//! Promise 11: a secret that an upstream echoes leaks in 0 of (codings x stated encodings x every chunk split x the head, the
//! body, the trailers and an interim answer).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use inject::{Answer, Needles, scrub_headers};
use proptest::prelude::*;

use crate::answers::{encode, head};
use crate::echo::{Oracle, encodings};
use crate::{bearer, credential, noise};

/// As an agent may ask for them, and as an origin may answer unasked.
const CODINGS: [&str; 5] = ["identity", "gzip", "deflate", "br", "zstd"];
/// Where a head, trailers or an interim answer may hold an echo.
const FIELDS: [&str; 8] =
    ["x-echo", "location", "link", "set-cookie", "www-authenticate", "etag", "content-disposition", "x-debug"];

/// What was tried, and what came of it.
#[derive(Default)]
struct Tried {
    bodies: usize,
    fields: usize,
}

struct Origin {
    needles: Arc<Needles>,
    oracle: Oracle,
    tried: Tried,
}

impl Origin {
    fn of(secret: &str) -> Self {
        let needles = Arc::new(Needles::of(&credential("c", secret.as_bytes()), &bearer()));
        Self { needles, oracle: Oracle::new(secret), tried: Tried::default() }
    }

    /// The body as the agent gets it, decoded, where the origin sends these pieces.
    fn body(&self, coding: &str, pieces: &[&[u8]]) -> (Vec<u8>, u64) {
        let mut answer = Answer::new(&self.needles, &head(coding)).expect("a coding that is read");
        let mut out = Vec::new();
        for piece in pieces {
            let frames = answer.push(Bytes::copy_from_slice(piece)).expect("decodes");
            frames.for_each(|frame| out.extend_from_slice(&frame));
        }
        out.extend_from_slice(&answer.finish().expect("whole").unwrap_or_default());
        (out, answer.hits())
    }

    /// Every `step`th split of what goes over the wire in two, and octet by octet.
    fn splits(&mut self, coding: &str, (name, step): (&str, usize), plain: &[u8]) {
        let wire = encode(coding, plain);
        let whole = self.body(coding, &[&wire]);
        assert_eq!((whole.0.len(), whole.1), (plain.len(), 1), "{coding} {name}");
        assert!(!self.oracle.leaks(&whole.0), "{coding} {name}: {}", String::from_utf8_lossy(&whole.0));
        for split in (1..wire.len()).step_by(step) {
            let got = self.body(coding, &[&wire[..split], &wire[split..]]);
            assert!(!self.oracle.leaks(&got.0), "{coding} {name} at {split}");
            assert_eq!(got, whole, "{coding} {name} at {split}");
        }
        assert_eq!(self.body(coding, &wire.chunks(1).collect::<Vec<_>>()), whole, "{coding} {name} octet by octet");
        self.tried.bodies += wire.len() / step + 1;
    }

    /// The same octets as the value of every field that may be there, alone, and at every place of a longer value. The head
    /// of an answer, of an interim one (1xx) and the trailers are the same map to the scrubber.
    fn all_fields(&mut self, name: &str, form: &[u8]) {
        for (number, field) in FIELDS.iter().enumerate() {
            for pad in [0, number, 40 + number] {
                let value = [b"v=".repeat(pad).as_slice(), form, &b";x".repeat(pad)].concat();
                let Ok(value) = HeaderValue::from_bytes(&value) else {
                    assert!(name.starts_with("utf-16"), "{name}: only UTF-16 cannot stand in a field");
                    return;
                };
                let mut map = HeaderMap::new();
                map.append(HeaderName::from_static(field), value.clone());
                map.append(HeaderName::from_static(field), HeaderValue::from_static("plain"));
                assert_eq!(scrub_headers(&mut map, &self.needles), 1, "{field} {name}");
                let values: Vec<&HeaderValue> = map.get_all(*field).iter().collect();
                assert_eq!((values[0].len(), values[1]), (value.len(), &HeaderValue::from_static("plain")), "{name}");
                assert!(!self.oracle.leaks(values[0].as_bytes()), "{field} {name}");
                self.tried.fields += 1;
            }
        }
    }
}

#[test]
fn echo_oracle() {
    let mut tried = Tried::default();
    // Made here, of the characters that tokens have; one of them with all that may be escaped.
    let mut octets = [0u8; 40];
    noise(1_105)(&mut octets);
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let token: String = octets.iter().map(|octet| char::from(letters[usize::from(*octet) % 62])).collect();
    for (secret, codings) in
        [(format!("tok_{token}"), &CODINGS[..]), (format!("p%&\\/+=\"{}", &token[..24]), &CODINGS[..1])]
    {
        let mut origin = Origin::of(&secret);
        let picks: [&dyn Fn(usize) -> bool; 3] = [&|_| true, &|at| at % 2 == 1, &|at| at == 0];
        for (turn, pick) in picks.iter().enumerate() {
            for (name, form) in encodings(&secret, pick) {
                let plain = [b"{\"echo\": \"".as_slice(), &form, b"\", \"n\": 1}\n"].concat();
                for coding in codings {
                    // Only the forms with escapes differ from turn to turn. Of the codings that pack, every split of every
                    // form is what `answers` plays; here each form is cut at some, the literal everywhere.
                    let packed = *coding != "identity";
                    if turn == 0 || !packed && matches!(&*name, "percent" | "json" | "html" | "html hex") {
                        let step = if packed && name != "literal" { 23 } else { 1 };
                        origin.splits(coding, (&name, step), &plain);
                    }
                }
                origin.all_fields(&name, &form);
            }
        }
        tried.bodies += origin.tried.bodies;
        tried.fields += origin.tried.fields;
    }
    println!("0 leaks in {} bodies and {} fields of heads, interim answers and trailers", tried.bodies, tried.fields);
    assert!(tried.bodies > 5_000 && tried.fields > 1_500, "{} {}", tried.bodies, tried.fields);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn echo_oracle_of_any_secret(
        secret in "[A-Za-z0-9_/+=-]{16,60}",
        mask in any::<u64>(),
        coding in 0usize..5,
        cuts in proptest::collection::vec(0usize..4_000, 0..6),
        front in "[ -~]{0,200}",
    ) {
        let origin = Origin::of(&secret);
        for (name, form) in encodings(&secret, &|at| mask >> (at % 64) & 1 == 1) {
            let plain = [front.as_bytes(), b" ", &form, b"\n"].concat();
            let wire = encode(CODINGS[coding], &plain);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (wire.len() + 1)).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|two| &wire[two[0]..two[1]]).collect();
            let (out, hits) = origin.body(CODINGS[coding], &pieces);
            prop_assert_eq!(out.len(), plain.len());
            prop_assert!(hits >= 1, "{} not found", name);
            prop_assert!(!origin.oracle.leaks(&out), "{} leaks in {}", name, CODINGS[coding]);
        }
    }
}

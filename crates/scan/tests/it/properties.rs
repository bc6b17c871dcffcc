//! Whatever the octets: no panic, places inside the input, and the same findings whatever the pieces.

use crate::seeded::{Dice, leaks};
use proptest::prelude::*;
use scan::{Finding, Format, Scanner, Stream};

fn none(_: &[u8]) -> bool {
    false
}

fn in_pieces(octets: &[u8], cuts: &[usize]) -> Vec<Finding> {
    let mut stream = Stream::new(Scanner::builtin().expect("the rules"), Format::Text, &none);
    let mut found = Vec::new();
    let mut rest = octets;
    for cut in cuts {
        let (piece, after) = rest.split_at(*cut % (rest.len() + 1));
        found.extend(stream.push(piece));
        rest = after;
    }
    found.extend(stream.push(rest));
    found.extend(stream.finish());
    found
}

/// Octets with the words of rules among them, and whole secrets.
fn salted() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just("password = \"".to_owned()),
        Just("-----BEGIN RSA PRIVATE KEY-----".to_owned()),
        Just("token\\\": \\\"Bearer ".to_owned()),
        Just("AKIA".to_owned()),
        Just("eyJ".to_owned()),
        Just("://a:".to_owned()),
        Just("Authorization: Basic ".to_owned()),
        any::<u64>().prop_map(|seed| leaks(&mut Dice::new(seed), 70)[(seed % 70) as usize].value.clone()),
        "\\PC{0,40}",
        "[a-zA-Z0-9+/=_.:-]{0,120}",
    ];
    let part = prop_oneof![word.prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..40)];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_octets(octets in salted()) {
        let scanner = Scanner::builtin().expect("the rules");
        for format in [Format::Settings, Format::Code, Format::Lock, Format::Text] {
            for finding in scanner.scan(&octets, format, &none) {
                prop_assert!(finding.start < finding.end && finding.end <= octets.len() as u64);
                prop_assert!(finding.line >= 1 && finding.column >= 1);
            }
        }
    }

    #[test]
    fn pieces_make_no_difference(
        octets in salted(),
        filler in prop_oneof![Just("-"), Just("line\n")],
        size in prop_oneof![Just(0usize), 200_000usize..600_000],
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let mut text = octets.clone();
        text.extend(filler.bytes().cycle().take(size));
        text.extend_from_slice(&octets);
        let whole = Scanner::builtin().expect("the rules").scan(&text, Format::Text, &none);
        prop_assert_eq!(in_pieces(&text, &cuts), whole);
    }
}

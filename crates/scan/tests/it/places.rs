//! Lines, columns and names, also far into an input and in a line without an end.

use crate::seeded::Dice;
use scan::{Format, Scanner, Stream};

use super::scan;

#[test]
fn line_column_and_name() {
    let token = Dice::new(31).fill("npm_{crc}");
    let found = scan(&format!("a\nb\n  \"npm-token\": \"{token}\"\n"), Format::Text);
    let [one] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.line, one.column, one.name.as_deref()), (3, 17, Some("npm-token")));
    assert_eq!((one.end - one.start, one.preview.as_str()), (40, "npm_...(40)"));
}

#[test]
fn deep_in_a_long_input() {
    let token = Dice::new(32).fill("npm_{crc}");
    let lines = "one line of nothing in particular\n".repeat(60_000);
    let text = format!("{lines}T={token}\n{lines}\nU={token}");
    let found: Vec<_> = scan(&text, Format::Text).iter().map(|one| (one.line, one.column)).collect();
    assert_eq!(found, [(60_001, 3), (120_003, 3)]);
    let flat = text.replace('\n', " ");
    let found = scan(&flat, Format::Text);
    assert_eq!(found.iter().map(|one| one.line).collect::<Vec<_>>(), [1, 1]);
    assert!(found.iter().all(|one| flat[one.start as usize..].starts_with(&token) && one.column == one.start + 1));
}

#[test]
fn a_key_over_the_end_of_a_stretch() {
    let mut dice = Dice::new(33);
    let lines: Vec<String> = (0..40).map(|_| dice.digits('b', 64)).collect();
    let label = ["PRIVATE", " KEY-----"].concat();
    let key = format!("-----BEGIN {label}\n{}\n-----END {label}\n", lines.join("\n"));
    let known = |_: &[u8]| false;
    for before in (260_000..264_000).step_by(97) {
        let text = format!("{}\n{key}", "x\n".repeat(before / 2));
        let mut stream = Stream::new(Scanner::builtin().unwrap(), Format::Text, &known);
        let mut found = stream.push(text.as_bytes());
        found.extend(stream.finish());
        assert_eq!(found.len(), 1, "{before}");
        assert_eq!((found[0].end - found[0].start) as usize, key.len() - 1);
    }
}

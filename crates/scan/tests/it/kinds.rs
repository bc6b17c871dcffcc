//! Every kind that can be made from a seed is found as that kind, in every way of writing it, and the value exactly.

use crate::seeded::{Dice, kinds, leaks};
use scan::Format;

use super::scan;

#[test]
fn every_seeded_secret_is_found_whole() {
    let mut dice = Dice::new(11);
    let mut missed = Vec::new();
    let all = leaks(&mut dice, kinds().len() * 24);
    for leak in &all {
        let (end, text) = leak.written(&mut dice);
        let found = scan(&text, Format::of_path(&format!("a.{end}")));
        let at = text.find(&leak.value).expect("it stands in its text") as u64;
        let inside = |finding: &scan::Finding| finding.start >= at && finding.end <= at + leak.value.len() as u64;
        // Of a connection string its key is enough.
        if !found.iter().any(inside) {
            missed.push(format!("{} in .{end}", leak.kind));
        }
    }
    missed.sort();
    assert!(missed.len() * 100 <= all.len(), "{} of {} missed: {missed:?}", missed.len(), all.len());
}

#[test]
fn kinds_are_named_right() {
    let mut dice = Dice::new(12);
    let mut wrong = Vec::new();
    for leak in leaks(&mut dice, kinds().len() * 4) {
        let (end, text) = leak.written(&mut dice);
        for finding in scan(&text, Format::of_path(&format!("a.{end}"))) {
            if finding.kind.name != leak.kind
                && finding.kind.name != "aws-access-key-id"
                && finding.kind.name != "aws-secret-access-key"
            {
                wrong.push(format!("{} taken for {}", leak.kind, finding.kind.name));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn nothing_of_a_secret_is_shown() {
    let mut dice = Dice::new(13);
    for leak in leaks(&mut dice, kinds().len() * 2) {
        let (end, text) = leak.written(&mut dice);
        for finding in scan(&text, Format::of_path(&format!("a.{end}"))) {
            let shown = format!("{finding:?}");
            let value = &text[finding.start as usize..finding.end as usize];
            // What follows the vendor's prefix; eight octets of it in a row would be a leak.
            let secret = &value[finding.preview.find("...").unwrap_or(0)..];
            // The armour of a key is no secret.
            let secret = secret.lines().nth(3).unwrap_or(secret);
            let leaked =
                secret.as_bytes().windows(8).any(|part| shown.contains(std::str::from_utf8(part).unwrap_or("\0")));
            assert!(!leaked, "{}: {shown}", leak.kind);
        }
    }
}

#[test]
fn fingerprints_tell_secrets_apart() {
    let mut dice = Dice::new(14);
    let one = format!("T=ghp_{}\n", dice.fill("{crc}"));
    let other = format!("T=ghp_{}\n", dice.fill("{crc}"));
    let print = |text: &str| scan(text, Format::Settings)[0].fingerprint;
    assert_eq!(print(&one), print(&format!("\n\n  {one}")));
    assert_ne!(print(&one), print(&other));
    // Of a password one octet of the hash goes in: many share a fingerprint.
    let prints: std::collections::BTreeSet<_> =
        (0..600).map(|_| print(&format!("DB_PASSWORD=Kiel{}!x\n", dice.digits('d', 6)))).collect();
    assert!((200..=256).contains(&prints.len()), "{}", prints.len());
}

//! A Java trust store, written without `keytool`: the JKS format, which every Java since 1.2 reads.
//!
//! Layout (`sun.security.provider.JavaKeyStore`): magic `FEEDFEED`, version 2, number of entries; for each trusted
//! certificate the tag 2, an alias, the time in milliseconds, the type `X.509` and the DER octets; then a SHA-1 over the
//! password in UTF-16, the words `Mighty Aphrodite` and all that precedes. The digest guards against accidents only; what
//! protects the file is its place.

use aws_lc_rs::digest;
use model::Timestamp;

/// The password that Java assumes for its own store; it protects nothing.
pub(super) const PASSWORD: &str = "changeit";

fn text(out: &mut Vec<u8>, text: &str) {
    // Modified UTF-8 with a length of 16 bits; ours is ASCII and short.
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A store that trusts these certificates (DER).
pub(super) fn write<'a>(certificates: impl Iterator<Item = &'a [u8]>, now: Timestamp) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut count = 0u32;
    for der in certificates {
        entries.extend_from_slice(&2u32.to_be_bytes());
        text(&mut entries, &format!("ca{count}"));
        entries.extend_from_slice(&now.0.div_euclid(1_000).to_be_bytes());
        text(&mut entries, "X.509");
        entries.extend_from_slice(&(der.len() as u32).to_be_bytes());
        entries.extend_from_slice(der);
        count += 1;
    }
    let mut out = 0xfeed_feed_u32.to_be_bytes().to_vec();
    out.extend_from_slice(&2u32.to_be_bytes());
    out.extend_from_slice(&count.to_be_bytes());
    out.append(&mut entries);
    let mut sum = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    for unit in PASSWORD.encode_utf16() {
        sum.update(&unit.to_be_bytes());
    }
    sum.update(b"Mighty Aphrodite");
    sum.update(&out);
    out.extend_from_slice(sum.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_store_is_known() {
        // What `keytool` writes for an empty store with this password.
        let store = write(std::iter::empty(), Timestamp::from_secs(0));
        let (head, sum) = store.split_at(12);
        assert_eq!(head, [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 0]);
        let known = "e2686e45fb43dfa4d992dd41ceb6b21c6330d792";
        let known: Vec<u8> =
            (0..20).map(|at| u8::from_str_radix(&known[2 * at..2 * at + 2], 16).expect("hex")).collect();
        assert_eq!(sum, known);
    }

    #[test]
    fn entries_are_counted() {
        let store = write([&b"abc"[..], b"de"].into_iter(), Timestamp::from_secs(1));
        assert_eq!(store.get(8..12), Some(&[0, 0, 0, 2][..]));
        assert_eq!(store.len(), 12 + 2 * (4 + 2 + 3 + 8 + 2 + 5 + 4) + 5 + 20);
    }
}

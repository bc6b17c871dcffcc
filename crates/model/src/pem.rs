//! PEM (RFC 7468), as far as certificates and keys are stored in it: where its blocks stand in a text. Nothing is copied, because some of it
//! is secret; whoever reads a block decodes it into memory of his own.

/// One block of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// `CERTIFICATE`, `PRIVATE KEY`.
    pub label: &'a str,
    /// The lines between its borders: base64, and spaces.
    pub inside: &'a str,
    /// All of it, borders included.
    pub whole: &'a str,
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The blocks of a text in their order; what stands between them is explanation and is passed over (RFC 7468 2). None where a border has
/// no partner.
#[must_use]
pub fn blocks(text: &str) -> Option<Vec<Block<'_>>> {
    let (mut all, mut rest) = (Vec::new(), text);
    while let Some(start) = rest.find(BEGIN) {
        let whole = rest.get(start..)?;
        let (label, after) = whole.get(BEGIN.len()..)?.split_once(DASHES)?;
        let (inside, behind) = after.split_once(END)?;
        let behind = behind.strip_prefix(label)?.strip_prefix(DASHES)?;
        let length = whole.len() - behind.len();
        all.push(Block { label, inside, whole: whole.get(..length)? });
        rest = behind;
    }
    (!rest.contains(END)).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_what_is_none() {
        let text = "Bag Attributes\n-----BEGIN A B-----\nxy\nz\n-----END A B-----\r\nwords\n-----BEGIN C-----\n-----END C-----";
        let all = blocks(text).expect("blocks");
        let seen: Vec<_> = all.iter().map(|block| (block.label, block.inside)).collect();
        assert_eq!(seen, [("A B", "\nxy\nz\n"), ("C", "\n")]);
        assert_eq!(all[1].whole, "-----BEGIN C-----\n-----END C-----");
        assert!(blocks("").is_some_and(|none| none.is_empty()));
        for bad in [
            "-----BEGIN A-----\nx",
            "-----BEGIN A-----\nx\n-----END B-----",
            "-----BEGIN A",
            "-----END A-----",
            "-----BEGIN A-----\n-----BEGIN B-----\n-----END B-----\n-----END A-----",
        ] {
            assert!(blocks(bad).is_none(), "{bad}");
        }
    }
}

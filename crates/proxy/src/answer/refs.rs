//! The refs that a server lists before a push: a word is added, by which git sends whole packs. A thin one writes trees as deltas against
//! what only the server has, so nothing is known of what it touches (decision 27).

use std::collections::VecDeque;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use inject::ANSWER_DIGESTS;

use crate::body::{CutError, Hook};

/// The longest packet of git (git-scm.com/docs/protocol-common).
const PACKET_BYTES_MAX: usize = 65_520;
/// Octets that are held back: what stands before the first ref, and that ref with its capabilities.
const KEPT_BYTES_MAX: usize = 2 * PACKET_BYTES_MAX;
/// What a server says that takes no thin packs (git-scm.com/docs/protocol-capabilities).
const WORD: &[u8] = b" no-thin";

/// Adds the word to the first list of capabilities. What is no such list passes octet for octet.
pub(crate) struct Refs {
    /// None once the word is said, or there is no place for it.
    kept: Option<Vec<u8>>,
}

impl Refs {
    /// A writer, where the answer lists refs in the clear. Its length and digests go from the head.
    pub(crate) fn of(headers: &mut HeaderMap) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        if kind != "application/x-git-receive-pack-advertisement" || headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        for name in ANSWER_DIGESTS {
            headers.remove(name);
        }
        Some(Self { kept: Some(Vec::new()) })
    }
}

/// What stands in front of the list.
enum Place {
    /// More must come.
    Open,
    /// There is none.
    None,
    /// The packet with capabilities begins and ends here.
    At(usize, usize),
}

fn place(text: &[u8]) -> Place {
    let mut at = 0;
    loop {
        let Some(digits) = text.get(at..at + 4) else { return Place::Open };
        let length = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let end = match length {
            Some(0) => at + 4,
            Some(length @ 4..=PACKET_BYTES_MAX) => at + length,
            _ => return Place::None,
        };
        let Some(packet) = text.get(at..end) else { return Place::Open };
        if packet.contains(&0) {
            return Place::At(at, end);
        }
        at = end;
    }
}

/// The text with the word behind the capabilities; none where it stands there, or there is no room.
fn written(text: &[u8], (start, end): (usize, usize)) -> Option<Vec<u8>> {
    let (before, rest) = text.split_at_checked(start)?;
    let (packet, behind) = rest.split_at_checked(end.checked_sub(start)?)?;
    let line = packet.get(4..)?;
    let (line, tail) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |line| (line, b"\n"));
    let asked = line.splitn(2, |byte| *byte == 0).nth(1)?;
    let length = packet.len() + WORD.len();
    if length > PACKET_BYTES_MAX || asked.split(|byte| *byte == b' ').any(|word| word == b"no-thin") {
        return None;
    }
    Some([before, format!("{length:04x}").as_bytes(), line, WORD, tail, behind].concat())
}

impl Hook for Refs {
    fn data(&mut self, data: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), CutError> {
        let Some(mut kept) = self.kept.take() else {
            out.push_back(data);
            return Ok(());
        };
        kept.extend_from_slice(&data);
        match place(&kept) {
            Place::Open if kept.len() <= KEPT_BYTES_MAX => self.kept = Some(kept),
            Place::At(start, end) => out.push_back(written(&kept, (start, end)).unwrap_or(kept).into()),
            Place::Open | Place::None => out.push_back(kept.into()),
        }
        Ok(())
    }

    fn end(&mut self, out: &mut VecDeque<Bytes>) -> Result<(), CutError> {
        if let Some(kept) = self.kept.take().filter(|kept| !kept.is_empty()) {
            out.push_back(kept.into());
        }
        Ok(())
    }

    fn trailers(&mut self, _trailers: &mut HeaderMap) {}

    fn masked(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn run(pieces: &[&[u8]]) -> Vec<u8> {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-git-receive-pack-advertisement");
        headers.insert(CONTENT_TYPE, kind);
        headers.insert("content-length", HeaderValue::from_static("7"));
        let mut refs = Refs::of(&mut headers).expect("a writer");
        assert!(!headers.contains_key("content-length"));
        let mut out = VecDeque::new();
        for piece in pieces {
            refs.data(Bytes::copy_from_slice(piece), &mut out).expect("taken");
        }
        refs.end(&mut out).expect("an end");
        out.into_iter().flatten().collect()
    }

    fn line(text: &str) -> String {
        format!("{:04x}{text}", text.len() + 4)
    }

    #[test]
    fn the_word_is_added_once_wherever_it_is_cut() {
        let front = line("# service=git-receive-pack\n") + "0000";
        let (id, rest) = ("1".repeat(40), line("2 refs/heads/x\n") + "0000");
        for (asked, want) in [
            ("report-status ofs-delta\n", "report-status ofs-delta no-thin\n"),
            ("report-status", "report-status no-thin"),
            (" report-status\n", " report-status no-thin\n"),
            ("report-status no-thin\n", "report-status no-thin\n"),
        ] {
            let first = |asked: &str| line(&format!("{id} refs/heads/main\0{asked}"));
            let text = format!("{front}{}{rest}", first(asked));
            let want = format!("{front}{}{rest}", first(want));
            for cut in 0..=text.len() {
                let (one, two) = text.as_bytes().split_at(cut);
                assert_eq!(String::from_utf8_lossy(&run(&[one, two])), want, "{asked:?} {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_list_passes() {
        for text in ["", "0", "zzzz", "0003", "<html>", "0000", "0005a", "0009hello0000", "fff1"] {
            assert_eq!(String::from_utf8_lossy(&run(&[text.as_bytes()])), text);
        }
        let full = line(&format!("x\0{}", "a".repeat(PACKET_BYTES_MAX - 8)));
        assert_eq!(run(&[full.as_bytes()]), full.as_bytes());
        let mut headers = HeaderMap::new();
        assert!(Refs::of(&mut headers).is_none());
    }
}

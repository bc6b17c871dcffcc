//! What lies in the file tells nothing, comes back as it was, and does not come back otherwise.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU8, Ordering};

use http_body::Body;
use http_body_util::BodyExt;

use super::super::out::{BodyFate, OutBody};
use super::*;

struct Counting(AtomicU8);

impl Random for Counting {
    fn fill(&self, out: &mut [u8]) {
        out.fill(self.0.fetch_add(1, Ordering::Relaxed));
    }
}

fn held() -> Held {
    Held::nothing([Budget::of(SPOOLED_BYTES_MAX), Budget::of(SPOOLED_BYTES_MAX)])
}

fn text(length: usize) -> Vec<u8> {
    b"the agent's own words ".iter().copied().cycle().take(length).collect()
}

/// A body in a file, and the file.
async fn put(text: &[u8], step: usize) -> (Spool, File) {
    let file = tempfile::tempfile().expect("a file");
    let mut sealing = Sealing::new(file.try_clone().expect("a copy"), &Counting(AtomicU8::new(7))).expect("a key");
    for data in text.chunks(step) {
        sealing.push(data).await.expect("written");
    }
    (sealing.end(held()).await.expect("written"), file)
}

/// What comes out, and why it stopped.
async fn back(spool: Spool) -> (Vec<u8>, Option<OutError>) {
    let fate = Arc::new(BodyFate::default());
    let digest = (spool.digest(), spool.bytes());
    let mut body = OutBody::spooled(spool, Arc::clone(&fate));
    let mut out = Vec::new();
    assert_eq!(body.size_hint().exact(), Some(digest.1));
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => out.extend_from_slice(&frame.into_data().expect("data")),
            Err(error) => {
                assert!(fate.broken().is_some() && fate.sent().is_none());
                return (out, Some(error));
            }
        }
    }
    assert!(body.is_end_stream());
    assert_eq!(fate.sent(), Some(digest));
    (out, None)
}

#[tokio::test]
async fn what_went_in_comes_out_and_nothing_of_it_is_in_the_file() {
    for (length, step) in [
        (1, 1),
        (PIECE - 1, 1_000),
        (PIECE, 65_536),
        (PIECE + 1, PIECE + 1),
        (3 * PIECE, 9_999),
        (5 * PIECE + 77, 70_000),
    ] {
        let plain = text(length);
        let (spool, file) = put(&plain, step).await;
        let mut sha = digest::Context::new(&digest::SHA256);
        sha.update(&plain);
        assert_eq!((spool.bytes(), spool.digest()), (length as u64, finish(sha)), "{length}");
        assert_eq!(spool.preview().as_ref(), &plain[..length.min(PREVIEW_BYTES_MAX)]);
        let size = file.metadata().expect("a size").len();
        assert_eq!(size, (length + length.div_ceil(PIECE) * TAG) as u64);
        let mut sealed = vec![0; size as usize];
        file.read_exact_at(&mut sealed, 0).expect("read");
        assert!(!sealed.windows(8).any(|window| window == b"own word"), "{length}");
        let (out, error) = back(spool).await;
        assert!(out == plain && error.is_none(), "{length}: {error:?}");
    }
}

type Change = fn(&File, usize);

#[tokio::test]
async fn what_was_changed_is_cut_where_it_was() {
    let piece = PIECE + TAG;
    let length = 3 * PIECE + 100;
    let exchange: Change = |file, piece| {
        let (mut one, mut two) = (vec![0; piece], vec![0; piece]);
        file.read_exact_at(&mut one, 0).expect("read");
        file.read_exact_at(&mut two, piece as u64).expect("read");
        file.write_all_at(&two, 0).expect("written");
        file.write_all_at(&one, piece as u64).expect("written");
    };
    let flip: Change = |file, piece| {
        let mut octet = [0];
        file.read_exact_at(&mut octet, 2 * piece as u64 + 9).expect("read");
        file.write_all_at(&[octet[0] ^ 1], 2 * piece as u64 + 9).expect("written");
    };
    let cut: Change = |file, piece| file.set_len(3 * piece as u64 + 50).expect("cut");
    let shorter: Change = |file, piece| file.set_len(3 * piece as u64).expect("cut");
    let repeat: Change = |file, piece| {
        let mut one = vec![0; piece];
        file.read_exact_at(&mut one, 0).expect("read");
        file.write_all_at(&one, piece as u64).expect("written");
    };
    for (change, pieces) in [(exchange, 0), (flip, 2), (cut, 3), (shorter, 3), (repeat, 1)] {
        let (spool, file) = put(&text(length), 50_000).await;
        change(&file, piece);
        let (out, error) = back(spool).await;
        assert!(matches!(error, Some(OutError::Spool(_))), "{error:?}");
        assert!(out == text(pieces * PIECE), "only what is before it: {} octets", out.len());
    }
    // A piece that was not the last does not pass for it.
    let (mut spool, file) = put(&text(length), 50_000).await;
    file.set_len(3 * piece as u64).expect("cut");
    spool.bytes = 3 * PIECE as u64;
    let (out, error) = back(spool).await;
    assert!(matches!(error, Some(OutError::Spool(_))) && out == text(2 * PIECE), "{error:?}");
}

#[tokio::test]
async fn every_body_has_a_key_of_its_own() {
    let random = Counting(AtomicU8::new(1));
    let mut sealed = Vec::new();
    for _ in 0..2 {
        let file = tempfile::tempfile().expect("a file");
        let mut sealing = Sealing::new(file.try_clone().expect("a copy"), &random).expect("a key");
        sealing.push(&text(100)).await.expect("written");
        let _spool = sealing.end(held()).await.expect("written");
        let mut octets = vec![0; 100 + TAG];
        file.read_exact_at(&mut octets, 0).expect("read");
        sealed.push(octets);
    }
    assert_ne!(sealed.first(), sealed.last());
}

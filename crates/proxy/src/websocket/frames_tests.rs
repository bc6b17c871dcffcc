use std::sync::Arc;

use bytes::Bytes;
use inject::{KnownSecrets, Needles};
use model::CredentialName;
use secret::{Material, Secret};

use super::*;

const SECRET: &str = "glpat-Zk3vQ8wL1nR6tY2uX9pM";
const TEXT: u8 = 0x1;
const MORE: u8 = 0x0;
const PING: u8 = 0x9;
const LAST: u8 = 0x80;

fn material() -> Material {
    Material::token(Secret::new(SECRET.into()))
}

fn search(extended: bool) -> FrameSearch {
    let name = CredentialName::new("gitlab").expect("name");
    FrameSearch::new(Arc::new(KnownSecrets::new([(&name, &material())])), extended)
}

fn scrubber() -> FrameScrubber {
    FrameScrubber::new(Arc::new(Needles::of_materials([&material()])))
}

fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let bit = if key.is_some() { 0x80 } else { 0 };
    let mut out = vec![first];
    match payload.len() {
        short @ 0..126 => out.push(bit | short as u8),
        middle @ 126..65_536 => {
            out.push(bit | 0x7e);
            out.extend((middle as u16).to_be_bytes());
        }
        long => {
            out.push(bit | 0x7f);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(key.unwrap_or_default().iter().take(if key.is_some() { 4 } else { 0 }));
    let key = key.unwrap_or_default();
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]));
    out
}

fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, payload, Some([0x37, 0xfa, 0x21, 0x3d]))
}

/// Pushes in reads of `size` octets: what left, and how it ended.
fn run(
    mut push: impl FnMut(Bytes, &mut Vec<Bytes>) -> Result<(), FrameError>,
    stream: &[u8],
    size: usize,
) -> (Vec<u8>, Result<(), FrameError>) {
    let mut out = Vec::new();
    let end = stream.chunks(size).try_for_each(|part| push(Bytes::copy_from_slice(part), &mut out));
    (out.concat(), end)
}

#[test]
fn control_frames_are_scrubbed_however_they_are_cut() {
    let close = [&[0x03, 0xe8], SECRET.as_bytes()].concat();
    for first in [LAST | PING, LAST | 0x8] {
        let stream = frame(first, &close, None);
        for size in 1..=stream.len() {
            let mut scrubber = scrubber();
            let (out, end) = run(|data, out| scrubber.push(data, out), &stream, size);
            assert_eq!((end, out.len(), scrubber.hits()), (Ok(()), stream.len(), 1), "{size}");
            assert!(!out.windows(8).any(|part| SECRET.as_bytes().windows(8).any(|bit| bit == part)), "{size}");
        }
    }
}

#[test]
fn a_control_frame_inside_a_message_keeps_its_place() {
    let (start, rest) = SECRET.as_bytes().split_at(9);
    let stream = [frame(TEXT, start, None), frame(LAST | PING, b"ping", None), frame(LAST, rest, None)].concat();
    for size in 1..=stream.len() {
        let mut scrubber = scrubber();
        let (out, end) = run(|data, out| scrubber.push(data, out), &stream, size);
        assert_eq!((end, out.len(), scrubber.hits()), (Ok(()), stream.len(), 1), "{size}");
        assert_eq!(out.get(11..17), Some(&frame(LAST | PING, b"ping", None)[..]), "{size}");
    }
}

#[test]
fn what_is_owed_is_bounded() {
    // The beginning of a needle holds everything behind it back.
    let pings = frame(LAST | PING, b"", None).repeat(2 * OWED_MAX);
    let mut held = scrubber();
    let stream = [frame(TEXT, &SECRET.as_bytes()[..9], None), pings.clone()].concat();
    let (_, end) = run(|data, out| held.push(data, out), &stream, stream.len());
    assert_eq!(end, Err(FrameError::Broken));
    assert!(held.owed.len() <= OWED_MAX);
    // Nothing is held back here, so as many may come; and one frame counts once, however small its pieces.
    let mut free = scrubber();
    assert_eq!(run(|data, out| free.push(data, out), &pings, 16), (pings, Ok(())));
    let mut drip = scrubber();
    assert_eq!(run(|data, out| drip.push(data, out), &frame(LAST | TEXT, &[b'x'; 9_000], None), 1).1, Ok(()));
    assert!(drip.owed.is_empty());
}

#[test]
fn a_secret_of_the_agent_never_leaves_whole() {
    let (start, rest) = SECRET.as_bytes().split_at(13);
    let whole = [b"hello ", SECRET.as_bytes(), b" world"].concat();
    let fragments = [client(TEXT, start), client(LAST | PING, b"ping"), client(LAST | MORE, rest)].concat();
    let first = client(TEXT, start).len() + client(LAST | PING, b"ping").len();
    let cases = [
        ("text", client(LAST | TEXT, &whole), 0),
        ("binary", client(LAST | 0x2, &whole), 0),
        ("ping", client(LAST | PING, &whole), 0),
        ("second message", [client(LAST | TEXT, b"hi"), client(LAST | TEXT, &whole)].concat(), 8),
        ("fragments", fragments, first),
    ];
    for (what, stream, left) in cases {
        for size in 1..=stream.len() {
            let mut search = search(false);
            let (out, end) = run(|data, out| search.push(data, out), &stream, size);
            assert_eq!((end, &*out), (Err(FrameError::Secret), &stream[..left]), "{what} by {size}");
        }
    }
}

#[test]
fn clean_frames_leave_as_they_came() {
    let big: Vec<u8> = (0..WHOLE_FRAME_BYTES_MAX + 5).map(|at| (at * 7 % 251) as u8).collect();
    let half = &SECRET.as_bytes()[..13];
    let stream = [
        client(LAST | TEXT, b""),
        client(LAST | TEXT, half),
        client(LAST | TEXT, &SECRET.as_bytes()[13..]),
        client(TEXT, b"a"),
        client(LAST | PING, b""),
        client(LAST | MORE, &[b'b'; 300]),
        client(LAST | 0x2, &big),
    ]
    .concat();
    for size in [1, 7, 16_384, stream.len()] {
        let mut search = search(false);
        let (out, end) = run(|data, out| search.push(data, out), &stream, size);
        assert_eq!(end, Ok(()), "{size}");
        assert!(out == stream, "{size}");
        assert!(search.held.is_empty());
    }
}

#[test]
fn a_long_frame_is_held_to_the_piece_of_the_hit() {
    let mut payload = vec![b'.'; WHOLE_FRAME_BYTES_MAX as usize + 100_000];
    payload.splice(500_000..500_026, SECRET.bytes());
    let stream = client(LAST | 0x2, &payload);
    let mut search = search(false);
    let (out, end) = run(|data, out| search.push(data, out), &stream, 1_000);
    assert_eq!(end, Err(FrameError::Secret));
    assert_eq!(out.len(), 500_000);
}

#[test]
fn frames_of_the_agent_that_break_the_rules() {
    let compressed = client(LAST | TEXT | 0x40, b"hi");
    let cases = [
        ("bare", frame(LAST | TEXT, b"hi", None)),
        ("reserved bit", compressed.clone()),
        ("long ping", client(LAST | PING, &[0; 126])),
        ("ping in fragments", client(PING, b"hi")),
        ("length with its top bit", [&[LAST | TEXT, 0xff, 0x80], &[0; 11][..]].concat()),
    ];
    for (what, stream) in cases {
        let mut search = search(false);
        let (out, end) = run(|data, out| search.push(data, out), &stream, stream.len());
        assert_eq!((end, out.len()), (Err(FrameError::Broken), 0), "{what}");
    }
    let mut search = search(true);
    assert_eq!(run(|data, out| search.push(data, out), &compressed, 3), (compressed, Ok(())));
}

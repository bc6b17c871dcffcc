use proptest::prelude::*;

use super::*;

const KEY: [u8; 4] = [0x11, 0x82, 0x33, 0xf4];

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        long @ 126..65_536 => {
            out.push(0x80 | 0x7e);
            out.extend((long as u16).to_be_bytes());
        }
        longer => {
            out.push(0x80 | 127);
            out.extend((longer as u64).to_be_bytes());
        }
    }
    out.extend(KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(octet, key)| octet ^ key));
    out
}

fn read(octets: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    Reader::default().push(Bytes::copy_from_slice(octets), &mut steps);
    steps
}

fn message(text: bool, payload: &[u8], frames: Vec<u8>) -> Step {
    Step::Message(Message { text, payload: payload.to_vec(), frames: frames.into() })
}

#[test]
fn messages_are_whole_before_they_are_given() {
    let one = frame(0x81, b"hello");
    assert_eq!(read(&one), [message(true, b"hello", one.clone())]);
    assert_eq!(read(&one[..one.len() - 1]), []);
    let empty = frame(0x82, b"");
    assert_eq!(read(&empty), [message(false, b"", empty.clone())]);
    // Fragments with a ping between them: the ping does not wait, the message does.
    let (front, ping, back) = (frame(0x01, b"hel"), frame(0x89, b"?"), frame(0x80, b"lo"));
    let all = [front.clone(), ping.clone(), back.clone()].concat();
    assert_eq!(read(&all), [Step::Control(ping.into()), message(true, b"hello", [front, back].concat())]);
    for size in [125, 126, 65_535, 65_536, MESSAGE_BYTES_MAX] {
        let whole = frame(0x81, &vec![b'x'; size]);
        assert_eq!(read(&whole), [message(true, &vec![b'x'; size], whole.clone())], "{size}");
    }
}

#[test]
fn what_breaks_the_protocol_ends_it() {
    let bare = [&[0x81, 0x02][..], b"hi"].concat();
    let long_ping = [&[0x89, 0x80 | 0x7e, 0, 126][..], &KEY].concat();
    for (octets, what) in [
        (bare, "without a mask"),
        (frame(0xc1, b"x"), "a reserved bit"),
        (frame(0xa1, b"x"), "another"),
        (frame(0x83, b"x"), "an opcode that nobody has"),
        (frame(0x8b, b"x"), "a control frame that nobody has"),
        (frame(0x09, b"x"), "a ping in fragments"),
        (long_ping, "a long ping"),
        (frame(0x80, b"x"), "an end without a beginning"),
        ([frame(0x01, b"x"), frame(0x81, b"y")].concat(), "a message within another"),
        ([&[0x81, 0x80 | 0x7e, 0, 125][..], &KEY].concat(), "a length of two octets for one"),
        ([&[0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff][..], &KEY].concat(), "a length of eight octets for two"),
        ([&[0x81, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0][..], &KEY].concat(), "a length with its top bit"),
        (frame(0x88, b"x"), "half a code"),
    ] {
        assert_eq!(read(&octets), [Step::Fault(Fault::Broken)], "{what}");
    }
    // What was whole before it stays so; what comes after it is not looked at.
    let good = frame(0x81, b"x");
    let all = [good.clone(), frame(0x83, b""), good.clone()].concat();
    assert_eq!(read(&all), [message(true, b"x", good), Step::Fault(Fault::Broken)]);
}

#[test]
fn what_is_too_long_is_not_read() {
    let head = |length: usize| [&[0x81, 0x80 | 127][..], &(length as u64).to_be_bytes(), &KEY].concat();
    assert_eq!(read(&head(MESSAGE_BYTES_MAX + 1)), [Step::Fault(Fault::TooLarge)]);
    assert_eq!(read(&head(1 << 62)), [Step::Fault(Fault::TooLarge)]);
    let half = vec![b'x'; MESSAGE_BYTES_MAX / 2];
    let mut parts = [frame(0x01, &half), frame(0x00, &half)].concat();
    assert_eq!(read(&parts), []);
    parts.extend(frame(0x80, b"x"));
    assert_eq!(read(&parts), [Step::Fault(Fault::TooLarge)]);
    let mut many = frame(0x01, b"");
    many.extend(frame(0x00, b"").repeat(FRAMES_MAX));
    assert_eq!(read(&many), [Step::Fault(Fault::TooLarge)]);
}

#[test]
fn nothing_follows_a_close() {
    let close = frame(0x88, &[0x03, 0xe8]);
    let all = [frame(0x01, b"half"), close.clone(), frame(0x80, b"x"), frame(0x81, b"y")].concat();
    assert_eq!(read(&all), [Step::Control(close.into())]);
}

#[test]
fn a_close_of_ours_reads_as_one() {
    let told = close(1008, "denied", Some(KEY));
    assert_eq!(told, frame(0x88, &[&[0x03, 0xf0][..], b"denied"].concat()));
    let long = close(1008, &"ä".repeat(100), None);
    assert_eq!((long[1], long.len()), (2 + 122, 2 + 2 + 122));
    assert!(std::str::from_utf8(&long[4..]).is_ok());
}

#[test]
fn a_boundary_is_between_two_frames() {
    let frames = [&[0x81, 3][..], b"abc", &[0x82, 126, 0, 200], &[7; 200], &[0x8a, 0]].concat();
    let ends = [0, 5, 209, 211];
    let mut all = Boundary::default();
    for (at, octet) in frames.iter().enumerate() {
        assert_eq!(all.is_here(), ends.contains(&at), "{at}");
        assert_eq!(all.take(&[*octet], false), 1);
    }
    assert!(all.is_here());
    let mut cut = Boundary::default();
    assert_eq!(cut.take(&frames[..2], false), 2);
    assert_eq!(cut.take(&frames[2..], true), 3, "no further than where the first ends");
    assert!(cut.is_here());
}

proptest! {
    /// Any cut of the octets gives the same.
    #[test]
    fn cuts_change_nothing(
        parts in prop::collection::vec((0u8..16, any::<bool>(), 0usize..300, any::<u8>()), 0..12),
        noise in prop::collection::vec(any::<u8>(), 0..8),
        cuts in prop::collection::vec(1usize..64, 1..40),
    ) {
        let mut octets = Vec::new();
        for (opcode, last, size, fill) in parts {
            // Mostly frames that belong together: every other opcode would end it at once.
            let opcode = match opcode { 0..6 => 0, 6..10 => 1, 10 => 2, 11 => 8, 12 => 9, 13 => 10, other => other };
            octets.extend(frame(if last { 0x80 } else { 0 } | opcode, &vec![fill; if opcode > 7 { size % 126 } else { size }]));
        }
        octets.extend(noise);
        let whole = read(&octets);
        let (mut reader, mut steps, mut rest) = (Reader::default(), Vec::new(), &octets[..]);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(rest.len().min(*cut));
            reader.push(Bytes::copy_from_slice(piece), &mut steps);
            rest = after;
        }
        prop_assert_eq!(steps, whole);
    }

    /// Hostile octets never stop it, and nothing is given that was not sent.
    #[test]
    fn hostile_octets_pass_through(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let given: usize = read(&octets).iter().map(|step| match step {
            Step::Control(octets) => octets.len(),
            Step::Message(message) => message.frames.len(),
            Step::Fault(_) => 0,
        }).sum();
        prop_assert!(given <= octets.len());
    }
}

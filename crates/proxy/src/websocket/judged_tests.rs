use std::sync::Arc;

use inject::KnownSecrets;
use model::CredentialName;
use parking_lot::Mutex;
use secret::{Material, Secret};
use tokio::io::duplex;

use super::*;
use crate::net::message::MESSAGE_BYTES_MAX;

const MASK: [u8; 4] = [1, 2, 3, 4];

/// A client's frame; under a key of zeros the payload reads as it is.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        long => {
            out.push(0x80 | 0x7e);
            out.extend((long as u16).to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend(payload);
    out
}

/// What an upstream and an agent see of this talk, and its end. `said` is said by the agent, `heard` by the upstream, piece by piece.
async fn talk(said: &[u8], heard: &[&[u8]], known: Option<Arc<KnownSecrets>>) -> (Vec<u8>, Vec<u8>, Option<Code>, u32) {
    let (mut agent, client) = duplex(1 << 20);
    let (mut server, upstream) = duplex(1 << 20);
    let asked = Mutex::new(0);
    let judge = |message: Message| {
        *asked.lock() += 1;
        let bad = message.payload.windows(3).any(|part| part == b"bad");
        async move { if bad { Err(Refusal::new(Code::Denied, "Not this")) } else { Ok(Passed::unjudged(message)) } }
    };
    let search = known.map(|known| FrameSearch::new(known, false));
    let mut traffic = Traffic { scrubber: None, search, bytes: 0 };
    let sides = async {
        let nothing: &[u8] = &[];
        let (first, rest) = heard.split_first().unwrap_or((&nothing, &[]));
        server.write_all(first).await.expect("write");
        sleep(Duration::from_millis(10)).await;
        agent.write_all(said).await.expect("write");
        sleep(Duration::from_millis(10)).await;
        for piece in rest {
            server.write_all(piece).await.expect("write");
            sleep(Duration::from_millis(10)).await;
        }
        agent.shutdown().await.expect("shutdown");
        let (mut up, mut down) = (Vec::new(), Vec::new());
        server.read_to_end(&mut up).await.expect("read");
        server.shutdown().await.expect("shutdown");
        agent.read_to_end(&mut down).await.expect("read");
        (up, down)
    };
    let between = between(&mut traffic, (client, upstream), (judge, MASK), std::future::pending());
    let (code, (up, down)) = tokio::join!(between, sides);
    let times = *asked.lock();
    (up, down, code, times)
}

#[tokio::test(start_paused = true)]
async fn the_very_frames_pass() {
    let said = [frame(0x01, b"go"), frame(0x89, b"?"), frame(0x80, b"od"), frame(0x82, &[0; 200])].concat();
    let (up, down, code, times) = talk(&said, &[], None).await;
    let want = [frame(0x89, b"?"), frame(0x01, b"go"), frame(0x80, b"od"), frame(0x82, &[0; 200])].concat();
    assert_eq!((up, down, code, times), (want, Vec::new(), None, 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_closes_both_sides_and_is_not_seen() {
    let said = [frame(0x81, b"good"), frame(0x01, b"ba"), frame(0x80, b"d"), frame(0x81, b"more")].concat();
    let (up, down, code, times) = talk(&said, &[], None).await;
    assert_eq!(up, [frame(0x81, b"good"), close(1008, "closed by policy", Some(MASK)).to_vec()].concat());
    assert_eq!(down, close(1008, "denied: Not this", None));
    assert_eq!((code, times), (Some(Code::Denied), 2));
}

#[tokio::test(start_paused = true)]
async fn a_close_does_not_come_into_the_middle_of_a_frame() {
    // The agent is refused while the upstream's frame is half there.
    let (up, down, code, _) = talk(&frame(0x81, b"bad"), &[b"\x81\x06abc", b"def\x81\x03"], None).await;
    assert_eq!(up, close(1008, "closed by policy", Some(MASK)));
    assert_eq!(down, [b"\x81\x06abcdef", &close(1008, "denied: Not this", None)[..]].concat());
    assert_eq!(code, Some(Code::Denied));
    // One that never ends is cut without a close.
    let (_, down, code, _) = talk(&frame(0x81, b"bad"), &[b"\x81\x06abc"], None).await;
    assert_eq!((&down[..], code), (&b"\x81\x06abc"[..], Some(Code::Denied)));
}

#[tokio::test(start_paused = true)]
async fn faults_close_with_their_codes() {
    let long = [&[0x81, 0x80 | 127][..], &(MESSAGE_BYTES_MAX as u64 + 1).to_be_bytes(), &[0; 4]].concat();
    for (said, status, code) in [
        (frame(0xc1, b"x"), 1002u16, Code::Malformed),
        (frame(0x80, b"x"), 1002, Code::Malformed),
        (long, 1009, Code::TooLarge),
    ] {
        let (up, down, cut, times) = talk(&said, &[], None).await;
        assert_eq!(up, close(status, "closed by policy", Some(MASK)));
        assert_eq!((&down[2..4], cut, times), (&status.to_be_bytes()[..], Some(code), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_found_before_anybody_judges_it() {
    let value = "glpat-Zk3vQ8wL1nR6tY2uX9pM";
    let name = CredentialName::new("gitlab").expect("name");
    let known = Arc::new(KnownSecrets::new([(&name, &Material::token(Secret::new(value.into())))]));
    let (front, back) = value.as_bytes().split_at(11);
    let said = [frame(0x01, front), frame(0x80, back)].concat();
    let (up, _, code, times) = talk(&said, &[], Some(known)).await;
    assert_eq!(up, close(1008, "closed by policy", Some(MASK)));
    assert_eq!((code, times), (Some(Code::SecretInRequest), 0));
}

#[tokio::test(start_paused = true)]
async fn a_stop_cuts_it_at_once() {
    let (mut agent, client) = duplex(64);
    let (_server, upstream) = duplex(64);
    let mut traffic = Traffic { scrubber: None, search: None, bytes: 0 };
    let judge = |message: Message| async move { Ok(Passed::unjudged(message)) };
    let stop = async {
        sleep(Duration::from_millis(1)).await;
        Code::SessionEnded
    };
    let code = between(&mut traffic, (client, upstream), (judge, MASK), stop).await;
    assert_eq!(code, Some(Code::SessionEnded));
    assert_eq!(agent.read_to_end(&mut Vec::new()).await.ok(), Some(0));
}

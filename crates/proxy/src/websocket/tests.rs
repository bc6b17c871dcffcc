use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use inject::KnownSecrets;
use model::CredentialName;
use secret::{Material, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::gate::AGAIN_AFTER;
use crate::join::refused;

fn bare() -> Traffic {
    Traffic { scrubber: None, search: None, bytes: 0 }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_both_directions_though_nothing_passes() {
    let (mut agent, client) = duplex(64);
    let (mut server, upstream) = duplex(64);
    let asked = AtomicU64::new(0);
    let started = tokio::time::Instant::now();
    let still = || match asked.fetch_add(1, Relaxed) {
        0..2 => Ok(()),
        _ => Err(Refusal::new(Code::Denied, "No longer")),
    };
    let mut traffic = bare();
    let cut = traffic.between((client, upstream), refused(started.into_std(), still)).await;
    assert_eq!((cut, started.elapsed()), (Some(Code::Denied), AGAIN_AFTER * 3));
    let mut rest = Vec::new();
    assert_eq!(agent.read_to_end(&mut rest).await.ok(), Some(0));
    assert_eq!(server.read_to_end(&mut rest).await.ok(), Some(0));
}

#[tokio::test]
async fn a_secret_cuts_both_directions_before_it_leaves() {
    let (mut agent, client) = duplex(1_024);
    let (mut server, upstream) = duplex(1_024);
    let value = "glpat-Zk3vQ8wL1nR6tY2uX9pM";
    let name = CredentialName::new("gitlab").expect("name");
    let known = Arc::new(KnownSecrets::new([(&name, &Material::token(Secret::new(value.into())))]));
    let mut traffic = Traffic { search: Some(FrameSearch::new(known, false)), ..bare() };
    // A key of zeros: the payload reads as it is.
    agent.write_all(&[&[0x81, 0x82, 0, 0, 0, 0], &b"hi"[..]].concat()).await.expect("write");
    agent.write_all(&[&[0x81, 0x80 | 0x1a, 0, 0, 0, 0], value.as_bytes()].concat()).await.expect("write");
    let cut = traffic.between((client, upstream), std::future::pending()).await;
    assert_eq!(cut, Some(Code::SecretInRequest));
    let mut seen = Vec::new();
    server.read_to_end(&mut seen).await.expect("read");
    assert!(seen.len() <= 8 && !seen.windows(6).any(|part| part == b"glpat-"));
    assert_eq!(agent.read_to_end(&mut Vec::new()).await.ok(), Some(0));
}

#[tokio::test]
async fn without_known_secrets_octets_pass_both_ways() {
    let (mut agent, client) = duplex(64);
    let (mut server, upstream) = duplex(64);
    let mut traffic = bare();
    agent.write_all(b"\x81no frames").await.expect("write");
    agent.shutdown().await.expect("shutdown");
    server.write_all(b"back").await.expect("write");
    server.shutdown().await.expect("shutdown");
    assert_eq!(traffic.between((client, upstream), std::future::pending()).await, None);
    let (mut up, mut down) = (Vec::new(), Vec::new());
    server.read_to_end(&mut up).await.expect("read");
    agent.read_to_end(&mut down).await.expect("read");
    assert_eq!((&*up, &*down, traffic.bytes), (&b"\x81no frames"[..], &b"back"[..], 4));
}

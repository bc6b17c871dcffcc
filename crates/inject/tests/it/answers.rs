//! Answers through their codings: nothing leaks, nothing is delayed, bombs and lies are cut.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use http::{HeaderMap, HeaderValue};
use inject::{Answer, Needles, Undecodable};

use crate::echo::{Oracle, encodings};
use crate::{bearer, credential, noise};

const SECRET: &str = "sk-ant-api03-Vw7b3kQ9zR2mN8xL5cT1yH6dF4gJ0pSa_Zq-Xe";

fn needles() -> Arc<Needles> {
    Arc::new(Needles::of(&credential("c", SECRET.as_bytes()), &bearer()))
}

pub fn encode(coding: &str, plain: &[u8]) -> Vec<u8> {
    let level = Compression::default();
    match coding {
        "gzip" | "x-gzip" => {
            let mut to = flate2::write::GzEncoder::new(Vec::new(), level);
            to.write_all(plain).and_then(|()| to.finish()).expect("gzip")
        }
        "deflate" => {
            let mut to = flate2::write::ZlibEncoder::new(Vec::new(), level);
            to.write_all(plain).and_then(|()| to.finish()).expect("zlib")
        }
        "raw" => {
            let mut to = flate2::write::DeflateEncoder::new(Vec::new(), level);
            to.write_all(plain).and_then(|()| to.finish()).expect("deflate")
        }
        "br" => {
            let mut out = Vec::new();
            brotli::BrotliCompress(&mut &*plain, &mut out, &brotli::enc::BrotliEncoderParams::default()).expect("br");
            out
        }
        "zstd" => zstd::bulk::compress(plain, 3).expect("zstd"),
        _ => plain.to_vec(),
    }
}

pub fn head(coding: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if coding != "identity" {
        let name = if coding == "raw" { "deflate" } else { coding };
        headers.insert("content-encoding", HeaderValue::from_str(name).expect("value"));
    }
    headers
}

fn run(headers: &HeaderMap, pieces: &[&[u8]]) -> Result<(Vec<u8>, u64), Undecodable> {
    let mut answer = Answer::new(&needles(), headers)?;
    let mut out = Vec::new();
    for piece in pieces {
        answer.push(Bytes::copy_from_slice(piece))?.for_each(|frame| out.extend_from_slice(&frame));
    }
    out.extend_from_slice(&answer.finish()?.unwrap_or_default());
    Ok((out, answer.hits()))
}

const CODINGS: [&str; 7] = ["identity", "gzip", "x-gzip", "deflate", "raw", "br", "zstd"];

#[test]
fn every_coding_every_encoding_every_split() {
    let oracle = Oracle::new(SECRET);
    for coding in CODINGS {
        for (name, form) in encodings(SECRET, &|at| at % 2 == 0) {
            let plain = [b"{\"a\":\"".repeat(3).as_slice(), &form, b"\"}\n"].concat();
            let wire = encode(coding, &plain);
            let whole = run(&head(coding), &[&wire]);
            let (out, hits) = whole.as_ref().expect("decodes");
            assert_eq!((out.len(), *hits), (plain.len(), 1), "{coding} {name}");
            assert!(!oracle.leaks(out), "{coding} {name}");
            for split in 1..wire.len() {
                assert_eq!(run(&head(coding), &[&wire[..split], &wire[split..]]), whole, "{coding} {name} at {split}");
            }
            assert_eq!(run(&head(coding), &wire.chunks(1).collect::<Vec<_>>()), whole, "{coding} {name}");
        }
    }
}

#[test]
fn two_layers_and_no_more() {
    let plain = format!("x {SECRET} y").into_bytes();
    let mut headers = HeaderMap::new();
    headers.insert("content-encoding", HeaderValue::from_static("br, gzip"));
    let wire = encode("gzip", &encode("br", &plain));
    assert_eq!(run(&headers, &[&wire]).expect("decodes").1, 1);
    headers.append("content-encoding", HeaderValue::from_static("gzip"));
    assert_eq!(run(&headers, &[]).err(), Some(Undecodable::Unknown));
    for unknown in ["compress", "aes128gcm", "gzip, exi", "dcb"] {
        assert_eq!(run(&head(unknown), &[]).err(), Some(Undecodable::Unknown), "{unknown}");
    }
    let bare = Answer::new(&Arc::new(Needles::none()), &head("dcz")).map(|answer| answer.decodes());
    assert_eq!(bare, Ok(false), "without needles a body passes as it is");
}

#[test]
fn members_and_empty_bodies() {
    let wire = [encode("gzip", b"one "), encode("gzip", SECRET.as_bytes())].concat();
    assert_eq!(run(&head("gzip"), &[&wire]).map(|(out, hits)| (out.len(), hits)), Ok((4 + SECRET.len(), 1)));
    let wire = [encode("zstd", b"one "), encode("zstd", SECRET.as_bytes())].concat();
    assert_eq!(run(&head("zstd"), &[&wire]).map(|(out, hits)| (out.len(), hits)), Ok((4 + SECRET.len(), 1)));
    for coding in CODINGS {
        assert_eq!(run(&head(coding), &[]), Ok((vec![], 0)), "HEAD and 304 have no body: {coding}");
        assert_eq!(run(&head(coding), &[&encode(coding, b"")]).map(|(out, _)| out.len()), Ok(0), "{coding}");
    }
}

#[test]
fn lies_and_cuts_end_the_stream() {
    let plain = SECRET.repeat(50).into_bytes();
    for coding in &CODINGS[1..] {
        let wire = encode(coding, &plain);
        assert!(run(&head(coding), &[&plain]).is_err(), "{coding}: not what it says");
        let cut = run(&head(coding), &[&wire[..wire.len() - 1]]);
        assert_eq!(cut.err(), Some(Undecodable::Truncated), "{coding}");
        let more = run(&head(coding), &[&wire, b"garbage after the end"]);
        assert_eq!(more.err(), Some(Undecodable::Corrupt), "{coding}");
        for at in 0..wire.len() {
            let mut bad = wire.clone();
            bad[at] ^= 0x41;
            if let Ok((out, _)) = run(&head(coding), &[&bad]) {
                assert!(memchr::memmem::find(&out, SECRET.as_bytes()).is_none(), "{coding} {at}");
            }
        }
    }
}

#[test]
fn bombs_are_cut() {
    let zeros = vec![0; 64 << 20];
    for coding in ["gzip", "deflate", "raw", "br", "zstd"] {
        let wire = encode(coding, &zeros);
        let mut answer = Answer::new(&needles(), &head(coding)).expect("known");
        let mut given = 0;
        let end = wire.chunks(4_096).find_map(|piece| match answer.push(Bytes::copy_from_slice(piece)) {
            Ok(frames) => {
                given += frames.map(|frame| frame.len()).sum::<usize>();
                None
            }
            Err(why) => Some(why),
        });
        assert_eq!(end, Some(Undecodable::Bomb), "{coding}");
        assert!(given <= wire.len() * 200 + (2 << 20), "{coding}: {given}");
    }
}

#[test]
fn streams_are_not_delayed() {
    for coding in ["gzip", "deflate"] {
        let mut to = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
        let mut answer = Answer::new(&needles(), &head(coding)).expect("known");
        for turn in 0..20 {
            let event = format!("data: {turn}\n\n");
            let wire = if coding == "gzip" {
                to.write_all(event.as_bytes()).and_then(|()| to.flush()).expect("flush");
                std::mem::take(to.get_mut())
            } else {
                zlib.write_all(event.as_bytes()).and_then(|()| zlib.flush()).expect("flush");
                std::mem::take(zlib.get_mut())
            };
            let out = answer.push(wire.into()).expect("decodes").join();
            assert_eq!(out, event, "{coding}");
        }
    }
    let mut answer = Answer::new(&needles(), &head("zstd")).expect("known");
    let mut to = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("zstd");
    for turn in 0..20 {
        let event = format!("data: {turn}\n\n");
        to.write_all(event.as_bytes()).and_then(|()| to.flush()).expect("flush");
        assert_eq!(answer.push(std::mem::take(to.get_mut()).into()).expect("decodes").join(), event);
    }
    let mut answer = Answer::new(&needles(), &head("br")).expect("known");
    let mut to = brotli::CompressorWriter::new(Vec::new(), 4_096, 4, 18);
    for turn in 0..20 {
        let event = format!("data: {turn}\n\n");
        to.write_all(event.as_bytes()).and_then(|()| to.flush()).expect("flush");
        let wire = std::mem::take(to.get_mut());
        assert_eq!(answer.push(wire.into()).expect("decodes").join(), event);
    }
}

#[test]
fn the_head_fits_the_body() {
    let mut headers = head("gzip");
    for (name, value) in [("content-length", "9"), ("etag", "\"x\""), ("digest", "sha-256=a"), ("vary", "*")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let mut same = headers.clone();
    same.remove("content-encoding");
    let before = same.clone();
    Answer::new(&needles(), &same).expect("known").edit(&mut same);
    assert_eq!(same, before, "identity keeps its length");
    Answer::new(&needles(), &headers).expect("known").edit(&mut headers);
    assert_eq!(headers.len(), 2);
    assert_eq!(headers["etag"], "W/\"x\"");
}

#[test]
fn random_data_passes_unchanged() {
    let mut plain = vec![0; 3 << 20];
    noise(3)(&mut plain);
    for coding in CODINGS {
        let wire = encode(coding, &plain);
        let (out, hits) = run(&head(coding), &wire.chunks(16_384).collect::<Vec<_>>()).expect("decodes");
        assert!(hits == 0 && out == plain, "{coding}");
    }
}

/// Header and claims of a JWT are read by programs and stand in its placeholder; they are not masked, the signature is.
#[test]
fn a_placeholder_of_a_jwt_is_not_masked() {
    let claims = "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ".repeat(8);
    let signature = "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
    let real = format!("eyJhbGciOiJIUzI1NiJ9.{claims}.{signature}");
    let held = format!("eyJhbGciOiJIUzI1NiJ9.{claims}.{}", "A".repeat(signature.len()));
    let needles = Needles::of(&credential("login", real.as_bytes()), &bearer());
    assert!(needles.scrub(held.as_bytes()).is_none());
    let (masked, count) = needles.scrub(real.as_bytes()).expect("masked");
    assert_eq!(count, 1);
    assert!(!String::from_utf8_lossy(&masked).contains(&signature[..8]));
}

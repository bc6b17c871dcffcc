//! What stands for the body in a signature.

use aws_lc_rs::digest::{SHA256, digest};
use model::hex;

use super::super::Draft;
use super::{HASH, one, wrong};
use crate::InjectError;

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
const CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const CHUNKS_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";

/// How a body is signed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// By its hash.
    Hash(String),
    /// Not at all; TLS alone protects it (S3).
    Unsigned,
    /// Not at all, with checksums behind it (S3).
    UnsignedTrailer,
    /// Each chunk by itself, and perhaps the trailer.
    Chunks { trailer: bool },
}

impl Payload {
    /// As it stands in the canonical request and in `x-amz-content-sha256`.
    pub fn text(&self) -> String {
        match self {
            Self::Hash(hash) => hash.clone(),
            Self::Unsigned => UNSIGNED.to_owned(),
            Self::UnsignedTrailer => UNSIGNED_TRAILER.to_owned(),
            Self::Chunks { trailer: false } => CHUNKS.to_owned(),
            Self::Chunks { trailer: true } => CHUNKS_TRAILER.to_owned(),
        }
    }
}

/// What the agent declared, checked against the body where that is held; for services that take nothing but a hash, the hash.
pub(super) fn of(draft: &Draft, service: &str, in_query: bool) -> Result<Payload, InjectError> {
    let declared = one(draft, HASH);
    if declared.is_none() && draft.headers.contains_key(HASH) {
        return Err(wrong("it declares the hash of its body twice"));
    }
    let held = match &draft.body {
        Some(body) => Some(hex(digest(&SHA256, body).as_ref())),
        None if draft.is_empty => Some(hex(digest(&SHA256, b"").as_ref())),
        None => None,
    };
    match (declared, held) {
        (Some(UNSIGNED), Some(hash)) if service != "s3" => Ok(Payload::Hash(hash)),
        (Some(UNSIGNED), _) if service == "s3" => Ok(Payload::Unsigned),
        (Some(UNSIGNED_TRAILER), _) if service == "s3" => Ok(Payload::UnsignedTrailer),
        (Some(CHUNKS), _) if service == "s3" && !in_query => Ok(Payload::Chunks { trailer: false }),
        (Some(CHUNKS_TRAILER), _) if service == "s3" && !in_query => Ok(Payload::Chunks { trailer: true }),
        (Some(text), held) if is_hash(text) => match held {
            Some(hash) if hash != text => Err(wrong("the hash that it declares is not the one of its body")),
            _ => Ok(Payload::Hash(text.to_owned())),
        },
        (Some(_), _) => Err(wrong("its X-Amz-Content-Sha256 is none that this service takes")),
        (None, _) if service == "s3" && in_query => Ok(Payload::Unsigned),
        (None, Some(hash)) => Ok(Payload::Hash(hash)),
        (None, None) if service == "s3" => Ok(Payload::Unsigned),
        (None, None) => Err(wrong("its body is too large to be signed; send a smaller one")),
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

//! Signed checkpoints: lines of one file, each signed (Ed25519) and chained to the one before, each binding the heads
//! of the lanes that moved. Together they bind all lanes; the number and digest of the last one is the *head*.
//!
//! ```text
//! {"n":3,"time":"..","lanes":[["<lane>",17,"<hash>",false]],"prev":"<64 hex>","sig":"<128 hex>"}
//! ```
//!
//! `sig` is over the raw octets before `,"sig":`; `prev` is SHA-256 of the whole line before, so one good signature
//! vouches for every line above it. A head kept elsewhere (receipt, export, sink) finds a log that was cut, lanes and
//! checkpoints together.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use model::time::Timestamp;
use model::{Digest, hex};
use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;

use crate::disk::private_file;
use crate::error::AuditError;
use crate::frame::{Link, sha256};
use crate::layout;
use crate::lines::Lines;

/// Lanes that one checkpoint binds; more go into the next one. Keeps a line under [`LINE_BYTES_MAX`].
const LANES_MAX: usize = 256;
/// One checkpoint: 256 lanes of at most 120 octets, and the frame.
const LINE_BYTES_MAX: usize = 32 * 1024;

/// What signs checkpoints. The key is given by the wiring.
pub struct Signer {
    pair: Ed25519KeyPair,
}

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Signer")
    }
}

impl Signer {
    /// From an Ed25519 seed (RFC 8032 5.1.5: 32 octets of randomness).
    pub fn from_seed(seed: &[u8]) -> Result<Self, AuditError> {
        let seed: &[u8; 32] = seed.try_into().map_err(|_| AuditError::Key)?;
        Ok(Self { pair: Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| AuditError::Key)? })
    }

    /// The public key, 32 octets: what `verify` needs.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.pair.public_key().as_ref().try_into().unwrap_or_default()
    }
}

/// The head of a log: number and digest of its last checkpoint. Written `<number>-<64 hex>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many checkpoints there are; 0 for an empty log.
    pub number: u64,
    /// SHA-256 of the last one's line.
    pub digest: Digest,
}

impl Head {
    pub(crate) const START: Self = Self { number: 0, digest: Digest::ZERO };
}

impl fmt::Display for Head {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.number, self.digest)
    }
}

impl FromStr for Head {
    type Err = AuditError;
    fn from_str(text: &str) -> Result<Self, AuditError> {
        let parse = || {
            let (number, digest) = text.trim().split_once('-')?;
            Some(Self { number: number.parse().ok()?, digest: Digest::parse(digest)? })
        };
        parse().ok_or_else(|| AuditError::Head { text: text.chars().take(100).collect() })
    }
}

/// Where a lane stood when it was bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    pub lane: String,
    pub link: Link,
    /// Nothing may follow.
    pub closed: bool,
}

#[derive(Deserialize)]
struct Parsed {
    n: u64,
    lanes: Vec<(String, u64, Digest, bool)>,
    prev: Digest,
    sig: String,
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks_exact(2);
    let even = pairs.remainder().is_empty();
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    (even && lower).then(|| pairs.map(octet).collect())?
}

fn compose(signer: &Signer, after: Head, time: Timestamp, bindings: &[Binding]) -> Result<(String, Head), AuditError> {
    let number = after.number.saturating_add(1);
    let lane = |binding: &Binding| {
        let hash = String::from_utf8_lossy(&binding.link.hash).into_owned();
        format!("[\"{}\",{},\"{hash}\",{}]", binding.lane, binding.link.seq, binding.closed)
    };
    let lanes: Vec<String> = bindings.iter().map(lane).collect();
    let signed =
        format!("{{\"n\":{number},\"time\":\"{time}\",\"lanes\":[{}],\"prev\":\"{}\"", lanes.join(","), after.digest);
    let signature = signer.pair.try_sign(signed.as_bytes()).map_err(|_| AuditError::Key)?;
    let line = format!("{signed},\"sig\":\"{}\"}}", hex(signature.as_ref()));
    let head = Head { number, digest: sha256(line.as_bytes()) };
    Ok((line, head))
}

/// The head at the end of the file, and where the next line goes. A last line without its line feed was never
/// finished and is written over.
fn end_of(file: &File, path: &Path) -> Result<(Head, u64), AuditError> {
    let length = file.metadata().map_err(AuditError::io("read", path))?.len();
    let from = length.saturating_sub(2 * LINE_BYTES_MAX as u64);
    let mut tail = vec![0; (length - from) as usize];
    file.read_exact_at(&mut tail, from).map_err(AuditError::io("read", path))?;
    let whole = memchr::memrchr(b'\n', &tail).map_or(0, |at| at + 1);
    let text = tail.get(..whole).unwrap_or_default();
    let Some(last) = text.strip_suffix(b"\n") else {
        return if from == 0 { Ok((Head::START, 0)) } else { Err(AuditError::Damaged { path: path.to_path_buf() }) };
    };
    let last = memchr::memrchr(b'\n', last).and_then(|at| last.get(at + 1..)).unwrap_or(last);
    let parsed: Parsed = serde_json::from_slice(last).map_err(|_| AuditError::Damaged { path: path.to_path_buf() })?;
    Ok((Head { number: parsed.n, digest: sha256(last) }, from + whole as u64))
}

/// The head of the log as it stands.
pub(crate) fn head(root: &Path) -> Result<Head, AuditError> {
    let path = layout::checkpoints(root);
    match File::open(&path) {
        Ok(file) => Ok(end_of(&file, &path)?.0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Head::START),
        Err(error) => Err(AuditError::io("open", &path)(error)),
    }
}

/// Binds lanes whose records are durable already; returns when the checkpoint is. Processes take turns (file lock).
pub(crate) fn append(root: &Path, signer: &Signer, time: Timestamp, bindings: &[Binding]) -> Result<Head, AuditError> {
    let path = layout::checkpoints(root);
    let file = private_file(&path).map_err(AuditError::io("open", &path))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|error| AuditError::io("lock", &path)(error.into()))?;
    let (mut head, end) = end_of(&file, &path)?;
    let mut text = String::new();
    for some in bindings.chunks(LANES_MAX) {
        let (line, next) = compose(signer, head, time, some)?;
        text.push_str(&line);
        text.push('\n');
        head = next;
    }
    let write = || {
        file.set_len(end)?;
        file.write_all_at(text.as_bytes(), end)?;
        file.sync_data()?;
        if end == 0 { File::open(root)?.sync_all() } else { Ok(()) }
    };
    write().map_err(|error| {
        let _ = file.set_len(end);
        AuditError::io("write", &path)(error)
    })?;
    Ok(head)
}

/// All checkpoints, read and checked.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    pub count: u64,
    /// The last binding of each lane.
    pub bound: std::collections::HashMap<String, Binding>,
    /// Digest of the checkpoint whose number was asked for.
    pub asked: Option<Digest>,
    pub last: Digest,
}

/// Why the checkpoints cannot be believed: line and reason.
pub(crate) type BadCheckpoint = (u64, &'static str);

/// Reads and checks the checkpoints; remembers the digest of number `ask`.
pub(crate) fn read(root: &Path, public: &[u8; 32], ask: u64) -> io::Result<Result<Checkpoints, BadCheckpoint>> {
    let mut all = Checkpoints { count: 0, bound: std::collections::HashMap::new(), asked: None, last: Digest::ZERO };
    let mut lines = match Lines::bounded(&layout::checkpoints(root), 0, LINE_BYTES_MAX) {
        Ok(lines) => lines,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(all)),
        Err(error) => return Err(error),
    };
    let mut last = Vec::new();
    while let Some(line) = lines.next()? {
        let number = all.count + 1;
        // The last line of a log that is being written may lack its end; it binds nothing yet.
        if !line.ended {
            break;
        }
        if let Err(why) = take(&mut all, line.bytes, ask) {
            return Ok(Err((number, why)));
        }
        last.clear();
        last.extend_from_slice(line.bytes);
    }
    if all.count > 0 && !is_signed(&last, public) {
        return Ok(Err((all.count, "the checkpoint is not signed by this home's key")));
    }
    Ok(Ok(all))
}

fn take(all: &mut Checkpoints, line: &[u8], ask: u64) -> Result<(), &'static str> {
    let parsed: Parsed = serde_json::from_slice(line).map_err(|_| "the line is not a checkpoint")?;
    if parsed.n != all.count + 1 {
        return Err("a checkpoint is missing, doubled or out of order");
    }
    if parsed.prev != all.last {
        return Err("the checkpoint does not follow the one before");
    }
    for (lane, seq, hash, closed) in parsed.lanes {
        let link = Link { seq, hash: hash.hex() };
        all.bound.insert(lane.clone(), Binding { lane, link, closed });
    }
    all.count = parsed.n;
    all.last = sha256(line);
    if parsed.n == ask {
        all.asked = Some(all.last);
    }
    Ok(())
}

fn is_signed(line: &[u8], public: &[u8; 32]) -> bool {
    let Ok(parsed) = serde_json::from_slice::<Parsed>(line) else { return false };
    let tail = format!(",\"sig\":\"{}\"}}", parsed.sig);
    let (Some(signed), Some(signature)) = (line.strip_suffix(tail.as_bytes()), unhex(&parsed.sig)) else {
        return false;
    };
    UnparsedPublicKey::new(&ED25519, public).verify(signed, &signature).is_ok()
}

/// The last binding of each lane, as the file says. Only for recovery, which trusts it no further than not to cut
/// what it names.
pub(crate) fn bound_without_proof(root: &Path) -> Result<std::collections::HashMap<String, Binding>, AuditError> {
    let path = layout::checkpoints(root);
    let mut bound = std::collections::HashMap::new();
    let mut lines = match Lines::bounded(&path, 0, LINE_BYTES_MAX) {
        Ok(lines) => lines,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(bound),
        Err(error) => return Err(AuditError::io("open", &path)(error)),
    };
    while let Some(line) = lines.next().map_err(AuditError::io("read", &path))? {
        for (lane, seq, hash, closed) in
            serde_json::from_slice::<Parsed>(line.bytes).map_or_else(|_| Vec::new(), |it| it.lanes)
        {
            bound.insert(lane.clone(), Binding { lane, link: Link { seq, hash: hash.hex() }, closed });
        }
    }
    Ok(bound)
}

//! Bodies that a person is asked about and that are too large to be held in memory: in a file, sealed, and read back for the upstream.
//!
//! The file comes open and without a name from whoever made this process; its key lives in memory alone and dies with the exchange.
//! AES-256-GCM (NIST SP 800-38D) over pieces; the nonce is the piece's number and whether it is the last, so that a piece that was
//! changed, moved, left out or cut off does not open, and the request is cut there.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use approval::PREVIEW_BYTES_MAX;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use hyper::body::Incoming;
use model::bounds::{SPOOL_BYTES_MAX, SPOOLED_BYTES_MAX};
use model::time::Random;
use model::{Code, CredentialName, Digest, Refusal, Sighting};
use tokio::task::{JoinHandle, spawn_blocking};
use zeroize::Zeroizing;

use super::held::{Budget, Held};
use super::out::{OutError, Search, check_trailers, finish, next_frame};

/// Octets of one piece before it is sealed.
const PIECE: usize = 256 * 1024;
/// Octets by which its room grows.
const ROOM: u64 = 1024 * 1024;
const TAG: usize = 16;
const KEY: usize = 32;

/// Gives an open file that no other process can open, to be read and written, and gone when it is closed.
pub type Place = Box<dyn Fn() -> io::Result<File> + Send + Sync>;

/// Where large bodies wait, and how much of them there may be.
pub struct Spools {
    place: Place,
    budget: Budget,
}

impl Spools {
    /// In files of this place.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self { place, budget: Budget::of(SPOOLED_BYTES_MAX) }
    }

    /// Room for nothing yet, of what the process and the session may have.
    pub(crate) fn room(&self, session: &Budget) -> Held {
        Held::nothing([self.budget.clone(), session.clone()])
    }

    /// Opens a file for one body.
    ///
    /// # Errors
    /// There is none to be had.
    pub(crate) fn open(&self, random: &dyn Random) -> io::Result<Sealing> {
        Sealing::new((self.place)()?, random)
    }
}

/// A file with its key.
struct Sealed {
    file: File,
    key: LessSafeKey,
}

impl Sealed {
    /// The key seals one body, and each piece of it has a number of its own.
    fn nonce(number: u64, last: bool) -> Nonce {
        let mut octets = [0; NONCE_LEN];
        for (slot, octet) in octets.iter_mut().zip(number.to_be_bytes()) {
            *slot = octet;
        }
        if let Some(slot) = octets.last_mut() {
            *slot = u8::from(last);
        }
        Nonce::assume_unique_for_key(octets)
    }

    fn write(&self, number: u64, last: bool, piece: &[u8]) -> io::Result<()> {
        let mut octets = Vec::with_capacity(piece.len() + TAG);
        octets.extend_from_slice(piece);
        let sealed = self.key.seal_in_place_append_tag(Self::nonce(number, last), Aad::empty(), &mut octets);
        sealed.map_err(|_| io::Error::other("it could not be sealed"))?;
        (&self.file).write_all(&octets)
    }

    fn read(&self, number: u64, last: bool, length: usize) -> io::Result<Bytes> {
        let mut octets = vec![0; length + TAG];
        self.file.read_exact_at(&mut octets, number * (PIECE + TAG) as u64)?;
        let opened = self.key.open_in_place(Self::nonce(number, last), Aad::empty(), &mut octets);
        opened.map_err(|_| io::Error::other("it was changed where it lay"))?;
        octets.truncate(length);
        Ok(octets.into())
    }
}

/// A body on its way into the file.
pub(crate) struct Sealing {
    sealed: Arc<Sealed>,
    number: u64,
    pending: BytesMut,
    preview: BytesMut,
    digest: digest::Context,
    bytes: u64,
}

impl Sealing {
    fn new(file: File, random: &dyn Random) -> io::Result<Self> {
        let mut key = Zeroizing::new([0; KEY]);
        random.fill(key.as_mut_slice());
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| io::Error::other("no key for it"))?;
        let sealed = Arc::new(Sealed { file, key: LessSafeKey::new(key) });
        let digest = digest::Context::new(&digest::SHA256);
        Ok(Self { sealed, number: 0, pending: BytesMut::new(), preview: BytesMut::new(), digest, bytes: 0 })
    }

    /// Takes the next octets.
    async fn push(&mut self, data: &[u8]) -> io::Result<()> {
        self.digest.update(data);
        self.bytes += data.len() as u64;
        let missing = PREVIEW_BYTES_MAX.saturating_sub(self.preview.len());
        self.preview.extend_from_slice(data.get(..missing).unwrap_or(data));
        self.pending.extend_from_slice(data);
        // The last piece is known when there is no more: one that is full waits for the next octet.
        while self.pending.len() > PIECE {
            let piece = self.pending.split_to(PIECE).freeze();
            self.write(piece, false).await?;
        }
        Ok(())
    }

    /// On a thread that may wait for the disk.
    async fn write(&mut self, piece: Bytes, last: bool) -> io::Result<()> {
        let (sealed, number) = (Arc::clone(&self.sealed), self.number);
        self.number += 1;
        spawn_blocking(move || sealed.write(number, last, &piece)).await.map_err(io::Error::other)?
    }

    async fn end(mut self, held: Held) -> io::Result<Spool> {
        let piece = self.pending.split().freeze();
        self.write(piece, true).await?;
        let Self { sealed, preview, digest, bytes, .. } = self;
        Ok(Spool { sealed, bytes, digest: finish(digest), preview: preview.freeze(), _held: held })
    }
}

/// A body in its file. The file and its place in the budgets are given back when it is dropped.
pub(crate) struct Spool {
    sealed: Arc<Sealed>,
    bytes: u64,
    digest: Digest,
    preview: Bytes,
    _held: Held,
}

impl Spool {
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// The first [`PREVIEW_BYTES_MAX`] octets.
    pub(crate) const fn preview(&self) -> &Bytes {
        &self.preview
    }
}

/// Why a body is not in its file.
pub(crate) enum Stopped {
    /// It holds the value of this credential.
    Leaked(CredentialName),
    /// It may not be, or could not.
    Refused(Refusal),
}

impl Stopped {
    /// There is no file for it.
    pub(crate) fn cannot(error: &io::Error) -> Self {
        Self::Refused(broken(error))
    }
}

fn broken(error: &io::Error) -> Refusal {
    Refusal::new(Code::Unavailable, "The request's body cannot be kept until a person has answered")
        .internal(error.to_string())
        .retry_after(10)
}

/// A body that is longer than may be kept for a person.
pub(crate) fn too_large(bound: u64) -> Refusal {
    Refusal::new(Code::TooLarge, "The request's body is larger than a person may be asked about")
        .hint(format!("bodies that people look at may have {bound} octets"))
}

/// Reads the rest of a body behind its front into a file, searching all of it. What the search sees is told; a secret stops it.
///
/// # Errors
/// [`Stopped`]: also for more than `bound` octets, and where no room is left.
pub(crate) async fn spool(
    (front, incoming): (Bytes, &mut Incoming),
    mut sealing: Sealing,
    mut held: Held,
    search: Search,
    bound: u64,
) -> Result<(Spool, Vec<Sighting>), Stopped> {
    let bound = bound.min(SPOOL_BYTES_MAX as u64);
    let refused = Stopped::Refused;
    let Search { mut known, mut sight, .. } = search;
    let mut seen = Vec::new();
    let mut next = Some(front);
    while let Some(data) = next {
        let bytes = sealing.bytes + data.len() as u64;
        if bytes > bound {
            return Err(refused(too_large(bound)));
        }
        held.grow(usize::try_from(bytes.next_multiple_of(ROOM)).unwrap_or(usize::MAX)).map_err(refused)?;
        if let Some(sight) = &mut sight {
            seen.extend(sight.push(&data));
        }
        if let Some(known) = &mut known {
            known.push(data.clone()).map(drop).map_err(Stopped::Leaked)?;
        }
        sealing.push(&data).await.map_err(|error| refused(broken(&error)))?;
        next = next_data(incoming).await.map_err(refused)?;
    }
    if let Some(known) = known {
        known.finish().map(drop).map_err(Stopped::Leaked)?;
    }
    let spool = sealing.end(held).await.map_err(|error| refused(broken(&error)))?;
    Ok((spool, seen))
}

/// The next octets of a body; none at its end.
async fn next_data(incoming: &mut Incoming) -> Result<Option<Bytes>, Refusal> {
    while let Some(frame) = next_frame(incoming).await? {
        match frame.into_data() {
            Ok(data) => return Ok(Some(data)),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    check_trailers(&trailers).map_err(|why| OutError::Trailer(why).refusal())?;
                }
            }
        }
    }
    Ok(None)
}

/// A spooled body on its way to the upstream.
pub(crate) struct Back {
    spool: Spool,
    number: u64,
    sent: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Back {
    pub(crate) const fn new(spool: Spool) -> Self {
        Self { spool, number: 0, sent: 0, reading: None }
    }

    /// Octets that are still to come.
    pub(crate) const fn left(&self) -> u64 {
        self.spool.bytes - self.sent
    }

    pub(crate) const fn digest(&self) -> (Digest, u64) {
        (self.spool.digest, self.spool.bytes)
    }

    /// The next piece; none when all have come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, OutError>>> {
        if self.left() == 0 {
            return Poll::Ready(None);
        }
        let reading = self.reading.get_or_insert_with(|| {
            let left = self.spool.bytes - self.sent;
            let (sealed, number) = (Arc::clone(&self.spool.sealed), self.number);
            let (last, length) = (left <= PIECE as u64, left.min(PIECE as u64) as usize);
            spawn_blocking(move || sealed.read(number, last, length))
        });
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        Poll::Ready(Some(match read {
            Ok(Ok(piece)) => {
                self.number += 1;
                self.sent += piece.len() as u64;
                Ok(piece)
            }
            Ok(Err(error)) => Err(OutError::Spool(error.to_string())),
            Err(error) => Err(OutError::Spool(error.to_string())),
        }))
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;

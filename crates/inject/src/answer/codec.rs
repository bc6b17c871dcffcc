//! Content codings, undone push style with bounds: gzip and deflate (RFC 1952, 1950, 1951), br (RFC 7932), zstd (RFC 8878).

use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, HeapAlloc, HuffmanCode};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Operation};

use super::{Sink, Undecodable};

/// Room for one step of output.
const STEP_BYTES: usize = 64 * 1024;
/// RFC 9659: a zstd window in HTTP is at most 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// A coding that we undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// gzip, also known as x-gzip.
    Gzip,
    /// zlib, or bare deflate as some origins send it.
    Deflate,
    /// Brotli.
    Br,
    /// Zstandard.
    Zstd,
}

impl Coding {
    /// Every coding, in the order in which we offer them.
    pub const ALL: [Self; 4] = [Self::Gzip, Self::Deflate, Self::Br, Self::Zstd];

    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("x-gzip") {
            return Some(Self::Gzip);
        }
        Self::ALL.into_iter().find(|coding| coding.as_str().eq_ignore_ascii_case(text))
    }
}

type Brotli = BrotliState<HeapAlloc<u8>, HeapAlloc<u32>, HeapAlloc<HuffmanCode>>;

enum Engine {
    Gzip(Decompress),
    /// Nothing read yet: the first octets tell zlib from bare deflate.
    Unknown(Vec<u8>),
    Deflate(Decompress),
    Br(Box<Brotli>),
    Zstd(zstd::stream::raw::Decoder<'static>),
}

/// What one step did.
struct Step {
    read: usize,
    written: usize,
    /// The engine has given all it has for what it read.
    idle: bool,
    ended: bool,
}

/// One layer of decoding.
pub(crate) struct Decoder {
    engine: Engine,
    buffer: Vec<u8>,
    /// Something was fed.
    begun: bool,
    /// The last octet fed ended a stream.
    ended: bool,
}

impl Decoder {
    pub fn new(coding: Coding) -> Result<Self, Undecodable> {
        let engine = match coding {
            Coding::Gzip => Engine::Gzip(Decompress::new_gzip(15)),
            Coding::Deflate => Engine::Unknown(Vec::new()),
            // Strict: windows over 16 MiB are no content coding.
            Coding::Br => Engine::Br(Box::new(BrotliState::new_strict(
                HeapAlloc::new(0),
                HeapAlloc::new(0),
                HeapAlloc::new(HuffmanCode::default()),
            ))),
            Coding::Zstd => {
                let mut decoder = zstd::stream::raw::Decoder::new().map_err(|_| Undecodable::Corrupt)?;
                let bounded = decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX));
                bounded.map_err(|_| Undecodable::Corrupt)?;
                Engine::Zstd(decoder)
            }
        };
        Ok(Self { engine, buffer: Vec::new(), begun: false, ended: false })
    }

    /// Decodes `input`, giving everything that can be given to `out`, which may refuse more.
    pub fn push(&mut self, input: &[u8], out: Sink<'_>) -> Result<(), Undecodable> {
        if input.is_empty() {
            return Ok(());
        }
        self.begun = true;
        self.buffer.resize(STEP_BYTES, 0);
        match self.tell_deflate(input) {
            Some(gathered) => self.feed(&gathered, out),
            None if matches!(self.engine, Engine::Unknown(_)) => Ok(()),
            None => self.feed(input, out),
        }
    }

    fn feed(&mut self, mut input: &[u8], out: Sink<'_>) -> Result<(), Undecodable> {
        loop {
            if self.ended && !input.is_empty() {
                self.again(input)?;
            }
            let step = self.step(input)?;
            input = input.get(step.read..).unwrap_or_default();
            out(self.buffer.get(..step.written).unwrap_or_default())?;
            self.ended = step.ended;
            if input.is_empty() && (step.idle || step.ended) {
                return Ok(());
            }
            if step.read == 0 && step.written == 0 && !step.ended {
                return Err(Undecodable::Corrupt);
            }
        }
    }

    /// Whether the stream may end here.
    pub fn finish(&self) -> Result<(), Undecodable> {
        if self.ended || !self.begun { Ok(()) } else { Err(Undecodable::Truncated) }
    }

    /// zlib has a check in its first two octets (RFC 1950 2.2); what fails it is bare deflate. Gives what was gathered
    /// once there is enough to tell.
    fn tell_deflate(&mut self, input: &[u8]) -> Option<Vec<u8>> {
        let Engine::Unknown(seen) = &mut self.engine else { return None };
        seen.extend_from_slice(input);
        let [first, second, ..] = seen.as_slice() else { return None };
        let zlib = first & 15 == 8 && (u16::from(*first) << 8 | u16::from(*second)).is_multiple_of(31);
        let seen = std::mem::take(seen);
        self.engine = Engine::Deflate(Decompress::new(zlib));
        Some(seen)
    }

    /// A further member or frame follows (RFC 1952 2.2, RFC 8878 3); other codings end once.
    fn again(&mut self, rest: &[u8]) -> Result<(), Undecodable> {
        self.ended = false;
        match &mut self.engine {
            Engine::Gzip(_) if rest.first() == Some(&0x1f) => {
                self.engine = Engine::Gzip(Decompress::new_gzip(15));
                Ok(())
            }
            Engine::Zstd(_) => Ok(()),
            _ => Err(Undecodable::Corrupt),
        }
    }

    fn step(&mut self, input: &[u8]) -> Result<Step, Undecodable> {
        let room = self.buffer.as_mut_slice();
        match &mut self.engine {
            Engine::Gzip(inflate) | Engine::Deflate(inflate) => {
                let (read, written) = (inflate.total_in(), inflate.total_out());
                let status =
                    inflate.decompress(input, room, FlushDecompress::Sync).map_err(|_| Undecodable::Corrupt)?;
                let written = (inflate.total_out() - written) as usize;
                Ok(Step {
                    read: (inflate.total_in() - read) as usize,
                    written,
                    idle: written < room.len(),
                    ended: status == Status::StreamEnd,
                })
            }
            Engine::Br(state) => {
                let (mut left, mut read) = (input.len(), 0);
                let (mut space, mut written, mut total) = (room.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut left,
                    &mut read,
                    input,
                    &mut space,
                    &mut written,
                    room,
                    &mut total,
                    state,
                );
                match result {
                    BrotliResult::ResultFailure => Err(Undecodable::Corrupt),
                    result => Ok(Step {
                        read,
                        written,
                        idle: matches!(result, BrotliResult::NeedsMoreInput),
                        ended: matches!(result, BrotliResult::ResultSuccess),
                    }),
                }
            }
            Engine::Zstd(decoder) => {
                let status = decoder.run_on_buffers(input, room).map_err(|_| Undecodable::Corrupt)?;
                Ok(Step {
                    read: status.bytes_read,
                    written: status.bytes_written,
                    idle: status.bytes_written < room.len(),
                    ended: status.remaining == 0,
                })
            }
            Engine::Unknown(_) => Ok(Step { read: input.len(), written: 0, idle: true, ended: false }),
        }
    }
}

//! What the server of an open session answers, and what the agent's side must know of it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use model::{Code, Refusal};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use super::wire::{self, Severity, field};
use crate::join::READ_BYTES;

/// Octets of an error of the server that is looked at. Longer ones hold no word of ours alone.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// Refusals whose errors have not come. The errors of those that the server skipped never come.
const REFUSALS_MAX: usize = 1_024;

/// What a server says of the transaction when it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// None is open.
    Idle,
    /// A block is open: nothing of it lasts before its end.
    Block,
    /// A block has failed, and only its end is listened to; or a word of a later server.
    Failed,
}

/// A round that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    /// No error stood in it.
    pub(super) whole: bool,
    pub(super) state: State,
}

/// What both directions know.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "what one direction saw and the other asks for, by name")]
pub(super) struct Shared {
    refused: VecDeque<(String, Refusal)>,
    answered: VecDeque<Ready>,
    failed: bool,
    /// The server takes rows of a COPY, and a Sync for nothing.
    copying: bool,
    /// The server has said its last.
    gone: bool,
    /// Told when a round was answered, a COPY begins, or the server is gone.
    heard: Arc<Notify>,
    /// The agent was sent whole messages and nothing of another.
    pub(super) at_boundary: bool,
    /// The server has something to do.
    pub(super) busy: bool,
}

/// From the server to the agent. `bytes` counts what the server sent.
///
/// # Errors
/// A side broke off.
pub(super) async fn down(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    (shared, bytes): (&Mutex<Shared>, &mut u64),
) -> Result<(), Option<Refusal>> {
    let mut answers = Answers { passing: 0, out: BytesMut::new() };
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        buffer.reserve(READ_BYTES);
        let read = from.read_buf(&mut buffer).await.map_err(|_| None)?;
        if read == 0 {
            shared.lock().leaves();
            return to.shutdown().await.map_err(|_| None);
        }
        *bytes += read as u64;
        answers.take(&mut buffer, shared);
        shared.lock().at_boundary = false;
        to.write_all(&answers.out).await.map_err(|_| None)?;
        answers.out.clear();
        shared.lock().at_boundary = answers.passing == 0;
    }
}

/// What of the server's messages passes.
struct Answers {
    passing: usize,
    out: BytesMut,
}

impl Answers {
    fn take(&mut self, buffer: &mut BytesMut, shared: &Mutex<Shared>) {
        loop {
            if self.passing > 0 {
                let take = buffer.len().min(self.passing);
                self.out.extend_from_slice(&buffer.split_to(take));
                self.passing -= take;
            }
            let [kind, a, b, c, d, ..] = *buffer.as_ref() else { return };
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            if self.passing > 0 {
                return;
            }
            match kind {
                b'Z' if length == 5 => {
                    let Some(status) = buffer.get(5).copied() else { return };
                    let mut shared = shared.lock();
                    let whole = !std::mem::take(&mut shared.failed);
                    let state = match status {
                        b'I' => State::Idle,
                        b'T' => State::Block,
                        _ => State::Failed,
                    };
                    shared.answered.push_back(Ready { whole, state });
                    shared.busy = state != State::Idle;
                    shared.copying = false;
                    shared.heard.notify_one();
                    self.passing = length + 1;
                }
                b'E' if length <= ERROR_BYTES_MAX => {
                    if buffer.len() < length + 1 {
                        return;
                    }
                    let message = buffer.split_to(length + 1);
                    let mut shared = shared.lock();
                    shared.failed = true;
                    match shared.refusal(message.get(5..).unwrap_or_default()) {
                        Some(refusal) => self.out.extend_from_slice(&wire::error(Severity::Error, &refusal)),
                        None => self.out.extend_from_slice(&message),
                    }
                }
                b'G' => {
                    let mut shared = shared.lock();
                    shared.copying = true;
                    shared.heard.notify_one();
                    self.passing = length.saturating_add(1).max(5);
                }
                _ => {
                    shared.lock().failed |= kind == b'E';
                    self.passing = length.saturating_add(1).max(5);
                }
            }
        }
    }
}

impl Shared {
    /// The server is gone; whoever waits for it hears so.
    fn leaves(&mut self) {
        self.gone = true;
        self.heard.notify_one();
    }

    /// Of a session that begins.
    pub(super) fn new() -> Self {
        Self { at_boundary: true, ..Self::default() }
    }

    /// What is told when a round was answered, a COPY begins, or the server is gone.
    pub(super) fn heard(&self) -> Arc<Notify> {
        Arc::clone(&self.heard)
    }

    /// A round that was answered, the oldest that was not taken yet.
    pub(super) fn take_answered(&mut self) -> Option<Ready> {
        self.answered.pop_front()
    }

    /// The server takes rows of a COPY, and a Sync for nothing.
    pub(super) fn is_copying(&self) -> bool {
        self.copying
    }

    /// The server has said its last.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// The error of the server that names this word is to become this refusal.
    pub(super) fn refuse(&mut self, word: String, refusal: Refusal) {
        if self.refused.len() >= REFUSALS_MAX {
            self.refused.pop_front();
        }
        self.refused.push_back((word, refusal));
    }

    /// The refusal whose word stands in an error of the server. Those before it were skipped, and their errors never come.
    fn refusal(&mut self, error: &[u8]) -> Option<Refusal> {
        let text = field(error, b'M')?;
        let at = self.refused.iter().position(|(word, _)| memchr::memmem::find(text, word.as_bytes()).is_some())?;
        self.refused.drain(..at);
        self.refused.pop_front().map(|(_, refusal)| refusal)
    }
}

/// What an agent is given of a server's octets, in pieces of this many, where one word was refused: for tests of every cut.
#[must_use]
pub fn answers_of(octets: &[u8], size: usize) -> Vec<u8> {
    let shared = Mutex::new(Shared::new());
    shared.lock().refused.push_back(("vkaaaa".to_owned(), Refusal::new(Code::Denied, "Not this")));
    let (mut answers, mut buffer) = (Answers { passing: 0, out: BytesMut::new() }, BytesMut::new());
    for piece in octets.chunks(size.max(1)) {
        buffer.extend_from_slice(piece);
        answers.take(&mut buffer, &shared);
    }
    answers.out.to_vec()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn error(text: &str) -> Bytes {
        let mut body = b"SERROR\0C42601\0M".to_vec();
        body.extend(text.bytes().chain([0, 0]));
        wire::message(b'E', &body)
    }

    #[test]
    fn a_refused_word_becomes_the_refusal_however_it_is_cut() {
        let rows = wire::message(b'D', &[7; 5_000]);
        let ready = wire::message(b'Z', b"T");
        let parts = [
            &rows[..],
            &error("syntax error at or near \"vkaaaa\""),
            &ready,
            &error("relation \"x\" does not exist"),
            &ready,
        ];
        let stream = parts.concat();
        let whole = answers_of(&stream, stream.len());
        let text = String::from_utf8_lossy(&whole);
        assert!(text.contains("Not this") && !text.contains("vkaaaa"), "{text}");
        assert!(text.contains("relation \"x\" does not exist"), "errors of others stay");
        assert!(whole.starts_with(&rows) && whole.ends_with(&ready));
        for size in [1, 2, 3, 5, 64, 4_999] {
            assert_eq!(answers_of(&stream, size), whole, "{size}");
        }
    }

    #[test]
    fn what_was_skipped_is_not_waited_for() {
        let mut shared = Shared::new();
        for word in ["vkone", "vktwo", "vkthree"] {
            shared.refused.push_back((word.to_owned(), Refusal::new(Code::Denied, word)));
        }
        let body = |word: &str| error(&format!("portal \"{word}\" does not exist"))[5..].to_vec();
        assert_eq!(shared.refusal(&body("vktwo")).map(|refusal| refusal.public).as_deref(), Some("vktwo"));
        assert!(shared.refusal(&body("vkone")).is_none(), "its answer can never come any more");
        assert_eq!(shared.refused.len(), 1);
        assert!(shared.refusal(b"Mno end").is_none());
    }
}

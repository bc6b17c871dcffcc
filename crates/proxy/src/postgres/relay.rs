//! An open session: what the agent says, message by message, and what the server answers.
//!
//! A statement that may not run is replaced by one that the server itself must refuse: a single word that nobody can foresee. So the
//! server's own order holds: the transaction is aborted, what was sent behind it is skipped until the next Sync, and the answers come
//! in their places. The server's error names the word; by that it is found and becomes the refusal.
//!
//! What an agent sends behind a Sync or a query waits until the server is ready again: what a server skips or takes for nothing cannot be
//! known from outside, and a name could mean something else there than here.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use model::{Classification, Code, Refusal};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use super::answers::{Ready, Shared, State, down};
use super::block::{Block, Onward, Outbox};
use super::judge::Judge;
use super::statements::{Names, TooMany};
use super::wire::{self, Severity, put, take_text};
use crate::gate::{Gate, Owed};
use crate::join::READ_BYTES;

/// Octets of a message that holds SQL. What is longer is refused and not read.
const STATEMENT_BYTES_MAX: usize = 300 * 1024;
/// Octets of a name of a statement or portal.
/// PostgreSQL cuts longer ones (`NAMEDATALEN`), so that two of ours could be one of its own.
const NAME_BYTES_MAX: usize = 63;
/// Octets of a message that holds a name and little more.
const SMALL_BYTES_MAX: usize = 2 * NAME_BYTES_MAX;
/// From the agent to the server.
pub(super) struct Up<'g> {
    judge: Judge<'g>,
    block: Block,
    gate: &'g Gate,
    names: Names,
    shared: &'g Mutex<Shared>,
    heard: Arc<Notify>,
    /// The round that was sent and not answered yet; there is one at most.
    unanswered: Option<Round>,
    /// Messages were sent that no Sync has ended.
    open: bool,
    /// Octets of the message under way that pass as they are, or that go nowhere.
    passing: usize,
    dropping: usize,
    out: Outbox,
}

/// How a round ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    Query,
    Sync,
}

/// The protocol is broken, or more is asked for than is kept.
struct Violation(Refusal);

impl From<TooMany> for Violation {
    fn from(_: TooMany) -> Self {
        Self(Refusal::new(Code::TooLarge, "This connection has too many statements or portals open").hint("close some"))
    }
}

fn broken(text: &str) -> Violation {
    Violation(Refusal::new(Code::Malformed, text))
}

impl<'g> Up<'g> {
    pub(super) fn new(gate: &'g Gate, shared: &'g Mutex<Shared>) -> Self {
        let (judge, block) = (Judge::new(gate), Block::new(gate));
        let (names, heard, out) = (Names::default(), shared.lock().heard(), Outbox::default());
        let (unanswered, open) = (None, false);
        Self { judge, block, gate, names, shared, heard, unanswered, open, passing: 0, dropping: 0, out }
    }

    /// Copies until the agent is done.
    ///
    /// # Errors
    /// Why it is cut, with what the agent is told; none where a side broke off.
    pub(super) async fn run(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<(), Option<Refusal>> {
        let known = self.gate.live.known();
        let mut scan = known.as_ref().map(inject::KnownSecrets::scan);
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        loop {
            buffer.reserve(READ_BYTES);
            let before = buffer.len();
            if from.read_buf(&mut buffer).await.map_err(|_| None)? == 0 {
                return to.shutdown().await.map_err(|_| None);
            }
            if let Some(scan) = &mut scan {
                let came = Bytes::copy_from_slice(buffer.get(before..).unwrap_or_default());
                let found = Refusal::new(Code::SecretInRequest, "The connection holds the value of a credential");
                scan.push(came).map_err(|_| Some(found))?;
            }
            let ended = loop {
                match self.step(&mut buffer).await {
                    Ok(Step::More) => {}
                    Ok(Step::Waits) => break false,
                    Ok(Step::Held) => {
                        to.write_all(self.out.octets()).await.map_err(|_| None)?;
                        self.out.clear();
                        self.heard.notified().await;
                        if self.shared.lock().is_gone() {
                            return to.shutdown().await.map_err(|_| None);
                        }
                    }
                    Ok(Step::Ends) => break true,
                    Err(Violation(refusal)) => return Err(Some(refusal)),
                }
            };
            if !self.out.octets().is_empty() {
                to.write_all(self.out.octets()).await.map_err(|_| None)?;
                self.out.clear();
            }
            if ended {
                return to.shutdown().await.map_err(|_| None);
            }
        }
    }

    /// Takes what is there of one message.
    async fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, Violation> {
        if self.passing > 0 || self.dropping > 0 {
            let take = buffer.len().min(self.passing.max(self.dropping));
            if take == 0 {
                return Ok(Step::Waits);
            }
            let part = buffer.split_to(take);
            if self.passing > 0 {
                self.out.passes(&part);
                self.passing -= take;
            } else {
                self.dropping -= take;
            }
            return Ok(Step::More);
        }
        let [kind, a, b, c, d, ..] = *buffer.as_ref() else { return Ok(Step::Waits) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(body) = length.checked_sub(4) else { return Err(broken("A message has no length")) };
        self.settle()?;
        if self.must_wait(kind) {
            return Ok(Step::Held);
        }
        if self.open && matches!(kind, b'Q' | b'F') {
            return Err(broken("A query stands among messages that no Sync has ended"));
        }
        match kind {
            b'Q' | b'P' if body > STATEMENT_BYTES_MAX => {
                buffer.advance(5);
                self.dropping = body;
                let long = Refusal::new(Code::TooLarge, "The statement is longer than 256 KiB");
                self.refuse(kind, long);
                Ok(Step::More)
            }
            b'Q' | b'P' => match whole(buffer, body) {
                Some((message, rest)) => self.statement(kind, message, rest).await.map(|()| Step::More),
                None => Ok(Step::Waits),
            },
            b'B' => self.bind(buffer, body).await,
            b'E' | b'D' | b'C' | b'S' | b'H' | b'X' | b'c' if body > SMALL_BYTES_MAX => {
                Err(broken("A message is longer than its kind can be"))
            }
            b'E' | b'D' | b'C' | b'S' | b'H' | b'X' | b'c' => match whole(buffer, body) {
                Some((message, rest)) => self.small(kind, message, rest).await,
                None => Ok(Step::Waits),
            },
            // Rows of a COPY, or its failure; without one the server does not listen to them.
            b'd' | b'f' => {
                self.passing = body + 5;
                Ok(Step::More)
            }
            b'F' => {
                buffer.advance(5);
                self.dropping = body;
                let sentence = "Functions are called by statements, not by their number";
                self.refuse(kind, Refusal::new(Code::Denied, sentence));
                Ok(Step::More)
            }
            _ => Err(broken("A message of this kind does not belong here")),
        }
    }

    /// Takes in what was answered.
    fn settle(&mut self) -> Result<(), Violation> {
        loop {
            let Some(Ready { whole, state }) = self.shared.lock().take_answered() else { return Ok(()) };
            if self.unanswered.take().is_none() {
                return Err(broken("The server is ready more often than it was asked"));
            }
            self.names.answered(whole, state == State::Idle);
            self.block.ready(state);
        }
    }

    /// Whether a message must not go to the server before it is ready again. Rows of a COPY must, and a Sync behind them: the one before was
    /// taken for nothing.
    fn must_wait(&self, kind: u8) -> bool {
        let Some(round) = self.unanswered else { return false };
        match kind {
            b'd' | b'c' | b'f' | b'H' | b'X' => false,
            b'S' => round == Round::Query || !self.shared.lock().is_copying(),
            _ => true,
        }
    }

    fn sends(&mut self, ends: Option<Round>) {
        self.names.sends(ends.is_some());
        self.open = ends.is_none();
        self.unanswered = self.unanswered.or(ends);
        self.shared.lock().busy = true;
    }

    async fn statement(&mut self, kind: u8, message: Bytes, mut rest: Bytes) -> Result<(), Violation> {
        let name = if kind == b'P' { name_of(&mut rest)? } else { Bytes::new() };
        let text = take_text(&mut rest).ok_or_else(|| broken("A statement has no end"))?;
        let judged = match self.judge.read(&text) {
            Ok(read) if kind == b'P' => self.judge.may(&read).map(|()| Judged::Prepared(read)),
            Ok(read) => self.runs(&[read]).await.map(Judged::Runs),
            Err(refusal) => Err(refusal),
        };
        match judged {
            Ok(Judged::Prepared(statement)) => {
                self.names.parsed(name, statement)?;
                self.out.passes(&message);
                self.sends(None);
            }
            Ok(Judged::Runs(onward)) => {
                self.out.runs(onward, &message);
                self.sends(Some(Round::Query));
            }
            Err(refusal) => self.refuse(kind, refusal),
        }
        Ok(())
    }

    /// Whether all of these may run now, whichever of them it is; each is counted and on record.
    async fn runs(&mut self, statements: &[Arc<Classification>]) -> Result<Onward, Refusal> {
        let mut all = None;
        for statement in statements {
            let owed = self.judge.runs(statement).await?;
            all = Some(self.block.onward(self.gate, statement, owed).await?);
        }
        // Of a name that means nothing nothing runs.
        all.ok_or_else(|| Refusal::new(Code::Malformed, "The statement is not known here; prepare it again"))
    }

    /// Values of a statement may be long and pass as they come; the names stand in front.
    ///
    /// A portal with a name can be run without an Execute (`FETCH ALL FROM name`), so it is judged, counted and on record here.
    async fn bind(&mut self, buffer: &mut BytesMut, body: usize) -> Result<Step, Violation> {
        let front = body.min(2 * (NAME_BYTES_MAX + 1));
        if buffer.len() < front + 5 {
            return Ok(Step::Waits);
        }
        let mut names = Bytes::copy_from_slice(buffer.get(5..front + 5).unwrap_or_default());
        let (portal, statement) = (name_of(&mut names)?, name_of(&mut names)?);
        let judged = if portal.is_empty() {
            Ok(None)
        } else {
            let meanings = self.names.meanings(&statement);
            self.runs(&meanings).await.map(Some)
        };
        let refused = match judged {
            Ok(onward) => {
                if self.names.bound(portal, &statement)? {
                    let begins = buffer.split_to(front + 5);
                    match onward {
                        Some(onward) => self.out.runs(onward, &begins),
                        None => self.out.passes(&begins),
                    }
                    self.passing = body - front;
                    self.sends(None);
                    return Ok(Step::More);
                }
                Refusal::new(Code::Malformed, "The statement is not known here; prepare it again")
            }
            Err(refusal) => refusal,
        };
        buffer.advance(5);
        self.dropping = body;
        self.refuse(b'B', refused);
        Ok(Step::More)
    }

    async fn small(&mut self, kind: u8, message: Bytes, mut rest: Bytes) -> Result<Step, Violation> {
        if kind == b'E' {
            let portal = name_of(&mut rest)?;
            match self.execute(&portal).await {
                Ok(onward) => {
                    self.out.runs(onward, &message);
                    self.sends(None);
                }
                Err(refusal) => {
                    self.names.forgets(&portal);
                    self.refuse(kind, refusal);
                }
            }
            return Ok(Step::More);
        }
        if kind == b'C' && rest.first() == Some(&b'S') {
            rest.advance(1);
            let name = name_of(&mut rest)?;
            self.names.closed(name)?;
        }
        self.out.passes(&message);
        match kind {
            b'X' => return Ok(Step::Ends),
            // Behind the rows of a COPY it ends the round that is open, or one more that the server takes for nothing.
            b'S' if self.unanswered.is_some() => self.block.loses_count(),
            b'S' => self.sends(Some(Round::Sync)),
            b'D' | b'C' => self.sends(None),
            _ => {}
        }
        Ok(Step::More)
    }

    async fn execute(&mut self, portal: &Bytes) -> Result<Onward, Refusal> {
        let unknown = || Refusal::new(Code::Malformed, "The portal is not known here; bind it again");
        let (meanings, first) = self.names.runs(portal).ok_or_else(unknown)?;
        if meanings.iter().any(|statement| is_copy(statement)) {
            self.names.copies();
        }
        if first {
            return self.runs(&meanings).await;
        }
        let mut onward = Err(unknown());
        for statement in &meanings {
            self.judge.may(statement)?;
            onward = Ok(self.block.onward(self.gate, statement, Owed::default()).await?);
        }
        onward
    }

    /// Sends what the server must refuse, in place of a message of this kind.
    fn refuse(&mut self, kind: u8, refusal: Refusal) {
        let mut noise = [0u8; 16];
        self.gate.worker.gateway.random.fill(&mut noise);
        let word: String =
            "vk".chars().chain(noise.iter().flat_map(|octet| [octet >> 4, octet & 15]).map(letter)).collect();
        self.shared.lock().refuse(word.clone(), refusal);
        let out = self.out.ours();
        match kind {
            // A syntax error "at or near" the word.
            b'Q' | b'F' => put(out, b'Q', &wire::texts(&[&word])),
            b'P' => {
                let mut body = wire::texts(&["", &word]);
                body.extend([0, 0]);
                put(out, b'P', &body);
            }
            // A portal that does not exist, by this name.
            _ => {
                let mut body = wire::texts(&[&word]);
                body.extend([0, 0, 0, 0]);
                put(out, b'E', &body);
            }
        }
        self.sends(matches!(kind, b'Q' | b'F').then_some(Round::Query));
    }
}

fn is_copy(statement: &Classification) -> bool {
    let verb = |call: &model::Call| match call.facts.get(catalog::sql::VERB_FACT) {
        Some(model::Fact::Text(verb)) => &**verb == "copy",
        _ => false,
    };
    statement.calls.iter().any(verb)
}

fn letter(half: u8) -> char {
    char::from(b'a' + (half & 15))
}

/// A statement that may do what its message asks for.
enum Judged {
    Prepared(Arc<Classification>),
    Runs(Onward),
}

enum Step {
    /// Something was taken.
    More,
    /// Nothing can be, until more has come.
    Waits,
    /// The next message waits until the server is ready.
    Held,
    /// The agent says good-bye.
    Ends,
}

/// The name that stands in front.
fn name_of(rest: &mut Bytes) -> Result<Bytes, Violation> {
    let name = take_text(rest).filter(|name| name.len() <= NAME_BYTES_MAX);
    name.map(|name| Bytes::copy_from_slice(&name)).ok_or_else(|| broken("A name has no end, or is too long"))
}

/// A whole message and its body, where it is there.
fn whole(buffer: &mut BytesMut, body: usize) -> Option<(Bytes, Bytes)> {
    if buffer.len() < body + 5 {
        return None;
    }
    let message = buffer.split_to(body + 5).freeze();
    let rest = message.slice(5..);
    Some((message, rest))
}

/// Both directions of one session.
pub(super) async fn between(
    (client, server): (impl AsyncRead + AsyncWrite, impl AsyncRead + AsyncWrite),
    (gate, shared): (&Arc<Gate>, &Mutex<Shared>),
    bytes: &mut u64,
    end: impl Future<Output = Code>,
) -> Option<Refusal> {
    let (from_client, mut to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let ended = {
        let up = Up::new(gate, shared).run(from_client, to_server);
        let down = down(from_server, &mut to_client, (shared, bytes));
        let both = async { tokio::try_join!(up, down).err().flatten() };
        tokio::select! {
            biased;
            code = end => Some(cut(code)),
            refusal = both => refusal,
        }
    };
    if let Some(refusal) = &ended
        && shared.lock().at_boundary
    {
        // Whoever does not listen is cut off.
        let tell = to_client.write_all(&wire::error(Severity::Fatal, refusal)).await;
        if tell.is_ok() {
            let _ = to_client.shutdown().await;
        }
    }
    ended
}

fn cut(code: Code) -> Refusal {
    let sentence = match code {
        Code::SessionEnded => "The session has ended, or its credential was revoked",
        _ => "What opened this connection is no longer allowed",
    };
    Refusal::new(code, sentence)
}

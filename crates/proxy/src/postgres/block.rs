//! When a statement may go to the server: as soon as what is on record of it is durable, or before that where it can have no effect until
//! a later statement that waits.
//!
//! Inside of a transaction block nothing that is done to rows lasts, or is seen by others, before the block's COMMIT. So there the record of
//! a change is written and not waited for; whatever could end the block, or reach out of it, waits for all that is owed. If the gateway
//! or its machine ends before, so does the connection, and the server rolls back.
//!
//! It does not depend on which statement is a COMMIT: [`catalog::sql::stays_inside`] lists what cannot leave a block, and everything else
//! waits. Messages that run something reach the server by [`Outbox::runs`] alone, which takes an [`Onward`], and only [`Block`] makes one.

use bytes::BytesMut;
use model::{Classification, Refusal};

use super::answers::State;
use crate::gate::{Gate, Owed};

/// A statement that may go to the server now.
#[must_use]
pub(super) struct Onward(());

/// What is to be sent to the server.
#[derive(Default)]
pub(super) struct Outbox(BytesMut);

/// What a connection owes the disk, and whether it can wait.
pub(super) struct Block {
    /// The server said that a block is open, every round was answered, and nothing was sent since that could leave the block.
    inside: bool,
    /// Every statement is waited for by itself: by the house's setting, or because it is not certain any more which round a server answers.
    never: bool,
    owed: Owed,
}

impl Block {
    /// Of a connection on which nothing was sent yet.
    pub(super) fn new(gate: &Gate) -> Self {
        Self { inside: false, never: gate.syncs_reads(), owed: Owed::default() }
    }

    /// The server has answered all that was sent, and says this.
    pub(super) fn ready(&mut self, state: State) {
        self.inside = state == State::Block && !self.never;
    }

    /// A message went to the server which it may answer or not: from here on nobody knows which round an answer is of.
    pub(super) fn loses_count(&mut self) {
        (self.inside, self.never) = (false, true);
    }

    /// Lets a statement go on that was judged and owes this, as soon as it may.
    ///
    /// # Errors
    /// What is owed cannot be made durable. It is owed still.
    pub(super) async fn onward(
        &mut self,
        gate: &Gate,
        statement: &Classification,
        owed: Owed,
    ) -> Result<Onward, Refusal> {
        if !self.stays(catalog::sql::stays_inside(statement), owed) {
            gate.durable(self.owed, statement).await?;
            self.owed = Owed::default();
        }
        Ok(Onward(()))
    }

    /// Takes on what a statement owes; whether it may wait. Once something may have left the block, nothing may until the server is ready.
    fn stays(&mut self, inside: bool, owed: Owed) -> bool {
        self.owed = self.owed.and(owed);
        self.inside &= inside;
        self.inside
    }
}

impl Outbox {
    /// A message that runs a statement, or makes it one that can be run without a message of its own.
    pub(super) fn runs(&mut self, _: Onward, message: &[u8]) {
        self.0.extend_from_slice(message);
    }

    /// A message that runs nothing: it prepares, describes, closes, or holds values of what may run.
    pub(super) fn passes(&mut self, message: &[u8]) {
        self.0.extend_from_slice(message);
    }

    /// For messages of ours.
    pub(super) fn ours(&mut self) -> &mut BytesMut {
        &mut self.0
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(never: bool) -> Block {
        Block { inside: false, never, owed: Owed::default() }
    }

    /// What the server says, and statements (whether each cannot leave a block): which of them may wait.
    #[test]
    fn only_what_cannot_leave_a_block_waits_in_it() {
        let cases: [(State, &[bool], &[bool]); 6] = [
            (State::Block, &[true, true, true], &[true, true, true]),
            (State::Idle, &[true, true], &[false, false]),
            (State::Failed, &[true], &[false]),
            // Behind what may have left it, in the same round.
            (State::Block, &[true, false, true], &[true, false, false]),
            (State::Block, &[false, true], &[false, false]),
            (State::Idle, &[false, true], &[false, false]),
        ];
        for (state, statements, waits) in cases {
            let mut block = begun(false);
            block.ready(state);
            let found: Vec<bool> = statements.iter().map(|inside| block.stays(*inside, Owed::default())).collect();
            assert_eq!(found, waits, "{state:?} {statements:?}");
            let mut block = begun(true);
            block.ready(state);
            assert!(!block.stays(true, Owed::default()), "by the house's setting nothing waits");
        }
    }

    #[test]
    fn nothing_waits_before_the_server_was_heard_or_once_it_is_misheard() {
        let mut block = begun(false);
        assert!(!block.stays(true, Owed::default()));
        block.ready(State::Block);
        block.loses_count();
        assert!(!block.stays(true, Owed::default()));
        block.ready(State::Block);
        assert!(!block.stays(true, Owed::default()), "never again on this connection");
    }
}

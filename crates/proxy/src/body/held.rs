//! Memory for bodies that are judged: so much for the process, so much for a session, given back when the exchange goes
//! on (row J125 and its kin).

use std::sync::Arc;

use model::{Code, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Octets are counted in pieces of this size.
const PIECE: usize = 4 * 1024;

/// A budget of octets.
#[derive(Clone)]
pub struct Budget(Arc<Semaphore>);

impl Budget {
    /// Of so many octets.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / PIECE)))
    }
}

/// What one exchange holds of its budgets.
pub(crate) struct Held {
    budgets: [Budget; 2],
    taken: Vec<OwnedSemaphorePermit>,
    pieces: usize,
}

impl Held {
    /// Nothing yet, of these.
    pub(crate) const fn nothing(budgets: [Budget; 2]) -> Self {
        Self { budgets, taken: Vec::new(), pieces: 0 }
    }

    /// Gives everything back.
    pub(crate) fn give_back(&mut self) {
        self.taken.clear();
        self.pieces = 0;
    }

    /// Makes room for a body that has grown to `bytes`, or refuses: waiting would let one session stall the others.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let wanted = bytes.div_ceil(PIECE);
        let more = u32::try_from(wanted.saturating_sub(self.pieces)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        for budget in &self.budgets {
            let permit = Arc::clone(&budget.0).try_acquire_many_owned(more).map_err(|_| {
                Refusal::new(Code::Unavailable, "Too many request bodies are being looked at").retry_after(1)
            })?;
            self.taken.push(permit);
        }
        self.pieces = wanted;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_bound() {
        let (all, one) = (Budget::of(10 * PIECE), Budget::of(4 * PIECE));
        let mut first = Held::nothing([all.clone(), one.clone()]);
        assert!(first.grow(3 * PIECE).is_ok());
        assert!(first.grow(3 * PIECE).is_ok(), "what is held is not taken again");
        let mut second = Held::nothing([all, one]);
        assert!(second.grow(2 * PIECE).is_err(), "the session's own budget");
        drop(first);
        assert!(second.grow(2 * PIECE).is_ok());
    }
}

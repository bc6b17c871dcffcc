//! What a statement may do: by the policy that is in force when it runs, through the gate of its connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use model::{Classification, Code, Refusal};

use crate::gate::{Gate, Owed};
use crate::gateway::Snapshot;

/// Texts that are remembered with what they are, and the octets of each: programs say the same again and again.
const KEPT_MAX: usize = 256;
const KEPT_BYTES_MAX: usize = 4_096;

/// Judges the statements of one connection.
pub(super) struct Judge<'g> {
    gate: &'g Gate,
    /// The configuration under which texts were understood.
    snapshot: Arc<Snapshot>,
    kept: HashMap<Bytes, Arc<Classification>>,
    /// The same by the shape of a text: what is said again is mostly said with other values.
    shapes: HashMap<Vec<u8>, Arc<Classification>>,
}

impl<'g> Judge<'g> {
    pub(super) fn new(gate: &'g Gate) -> Self {
        Self { gate, snapshot: gate.worker.gateway.snapshot.load_full(), kept: HashMap::new(), shapes: HashMap::new() }
    }

    /// What the statements of a text are.
    pub(super) fn read(&mut self, text: &Bytes) -> Result<Arc<Classification>, Refusal> {
        {
            let now = self.gate.worker.gateway.snapshot.load();
            if !Arc::ptr_eq(&now, &self.snapshot) {
                self.snapshot = Arc::clone(&now);
                self.kept.clear();
                self.shapes.clear();
            }
        }
        if let Some(known) = self.kept.get(text) {
            return Ok(Arc::clone(known));
        }
        let shape = if text.len() <= KEPT_BYTES_MAX { catalog::shape(text) } else { None };
        if let Some(known) = shape.as_ref().and_then(|shape| self.shapes.get(shape)) {
            return Ok(Arc::new(catalog::again(known, text)));
        }
        let opening = &self.gate.opening;
        let service = opening.service.as_ref().and_then(|name| self.snapshot.catalog.service(name.as_str()));
        let service =
            service.ok_or_else(|| Refusal::new(Code::Denied, "The configuration has no such service any more"))?;
        let read = Arc::new(service.statements(opening, text)?);
        if text.len() <= KEPT_BYTES_MAX {
            if self.kept.len() >= KEPT_MAX {
                self.kept.clear();
                self.shapes.clear();
            }
            self.kept.insert(Bytes::copy_from_slice(text), Arc::clone(&read));
            self.shapes.extend(shape.map(|shape| (shape, Arc::clone(&read))));
        }
        Ok(read)
    }

    /// Whether statements may be prepared: nothing is counted yet.
    pub(super) fn may(&self, statement: &Classification) -> Result<(), Refusal> {
        if statement.calls.is_empty() {
            Ok(())
        } else {
            self.gate.may(statement).map_err(|refusal| self.refused(statement, refusal))
        }
    }

    /// Whether they may run now: limits are taken, and it is on record. What is owed must be durable before they have an effect.
    pub(super) async fn runs(&self, statement: &Classification) -> Result<Owed, Refusal> {
        if statement.calls.is_empty() {
            return Ok(Owed::default());
        }
        self.gate.statement(statement).await.map_err(|refusal| self.refused(statement, refusal))
    }

    /// Counts it, and says why where a statement was not understood.
    fn refused(&self, statement: &Classification, refusal: Refusal) -> Refusal {
        self.gate.live.tally.denied.fetch_add(1, Relaxed);
        let doubt = statement.calls.iter().find_map(|call| match call.facts.get(catalog::sql::DOUBT_FACT) {
            Some(model::Fact::Text(doubt)) => Some(doubt.to_string()),
            _ => None,
        });
        match doubt {
            Some(doubt) => refusal.hint(format!("the statement is not understood: {doubt}")),
            None => refusal,
        }
    }
}

//! The part about batches: where they are sent.

use super::Wrong;
use super::actions::Draft;
use super::lines::Table;
use crate::compiled::Batch;
use crate::file::ServiceFile;

/// Compiles the section. `drafts` are all actions, in the order of their indices.
pub(super) fn compile(written: &ServiceFile, drafts: &[Draft]) -> Result<Vec<Batch>, Wrong> {
    let table = Table { written, under: None, drafts };
    let one = |entry: &crate::file::BatchEntry| {
        let place = table.place_of(&entry.action, "a batch")?;
        Ok(Batch { place, form: entry.form })
    };
    written.batch.iter().map(one).collect()
}

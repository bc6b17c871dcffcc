//! A file of lines, appended to: for log shippers that follow files.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::{Sink, io};
use crate::error::AuditError;

struct Jsonl {
    path: PathBuf,
    out: BufWriter<File>,
}

pub(super) fn open(target: &str) -> Result<Box<dyn Sink>, AuditError> {
    let path = PathBuf::from(target);
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(io(&path))?;
    Ok(Box::new(Jsonl { path, out: BufWriter::new(file) }))
}

impl Sink for Jsonl {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn put(&mut self, line: &[u8]) -> Result<(), AuditError> {
        self.out.write_all(line).and_then(|()| self.out.write_all(b"\n")).map_err(io(&self.path))
    }

    fn flush(&mut self) -> Result<(), AuditError> {
        self.out.flush().map_err(io(&self.path))
    }
}

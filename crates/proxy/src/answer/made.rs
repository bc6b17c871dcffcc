//! What the service says it created, read from its answer for the record: the pull request's number, the charge's id.

use std::collections::VecDeque;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Map, Value};

use crate::body::{CutError, Hook};

/// Octets of an answer that are kept to read from; what is created is named early or the answer is short.
const KEPT_BYTES_MAX: usize = 256 * 1024;
/// Characters of one value in the record.
const VALUE_CHARS_MAX: usize = 200;

/// Reads the fields that the service file names from a JSON answer.
pub(crate) struct Made {
    fields: Vec<(String, String)>,
    kept: Option<Vec<u8>>,
    found: Option<Map<String, Value>>,
}

impl Made {
    /// A reader, where the service file names fields and the answer is JSON in the clear.
    pub(crate) fn of(fields: Vec<(String, String)>, headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let json = kind.starts_with("application/json") || kind.contains("+json");
        if fields.is_empty() || !json || headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        Some(Self { fields, kept: Some(Vec::new()), found: None })
    }
}

impl Hook for Made {
    fn data(&mut self, data: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), CutError> {
        if let Some(kept) = &mut self.kept {
            if kept.len() + data.len() > KEPT_BYTES_MAX {
                self.kept = None;
            } else {
                kept.extend_from_slice(&data);
            }
        }
        out.push_back(data);
        Ok(())
    }

    fn end(&mut self, _out: &mut VecDeque<Bytes>) -> Result<(), CutError> {
        let Some(kept) = self.kept.take() else { return Ok(()) };
        let Ok(document) = serde_json::from_slice::<Value>(&kept) else { return Ok(()) };
        let mut made = Map::new();
        for (name, pointer) in &self.fields {
            let value = match document.pointer(pointer) {
                Some(Value::String(text)) => Value::from(text.chars().take(VALUE_CHARS_MAX).collect::<String>()),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => value.clone(),
                _ => continue,
            };
            made.insert(name.clone(), value);
        }
        self.found = Some(made).filter(|made| !made.is_empty());
        Ok(())
    }

    fn trailers(&mut self, _trailers: &mut HeaderMap) {}

    fn masked(&self) -> u64 {
        0
    }

    fn made(&mut self) -> Option<Map<String, Value>> {
        self.found.take()
    }
}

//! Lists of tools: what is certain to be denied is not shown. A courtesy to the agent, which then does not plan with what it may not
//! use; what may be called is decided when it is called.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use inject::ANSWER_DIGESTS;
use memchr::memmem;
use serde_json::Value;

use crate::body::{CutError, Hook};

/// Octets of one list, or of one event of a stream; servers with 500 tools have 1 MiB.
const KEPT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a list of tools has in it. A server that writes it with escapes shows all its tools, and no more than that.
const MARK: &[u8] = b"\"tools\"";

/// Says of a tool whether it is shown.
pub(crate) type Shown = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Takes tools out of lists, in JSON or in Server-Sent Events.
pub(crate) struct Tools {
    shown: Shown,
    kept: Vec<u8>,
    /// Octets of it in which no event ends.
    searched: usize,
    stream: bool,
}

impl Tools {
    /// A filter, where the answer is of a type that MCP uses. Its length and digests go from the head.
    pub(crate) fn of(shown: Shown, headers: &mut HeaderMap) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?.to_ascii_lowercase();
        let stream = kind.starts_with("text/event-stream");
        if !(stream || kind.starts_with("application/json")) || headers.contains_key(CONTENT_ENCODING) {
            return None;
        }
        for name in ANSWER_DIGESTS {
            headers.remove(name);
        }
        Some(Self { shown, kept: Vec::new(), searched: 0, stream })
    }

    /// The message without what is not shown; none where nothing changes.
    fn filter(&self, text: &[u8]) -> Option<Vec<u8>> {
        memmem::find(text, MARK)?;
        let mut message = serde_json::from_slice::<Value>(text).ok()?;
        let answers = match &mut message {
            Value::Array(all) => all.as_mut_slice(),
            one => std::slice::from_mut(one),
        };
        let mut changed = false;
        for answer in answers {
            let Some(Value::Array(tools)) = answer.pointer_mut("/result/tools") else { continue };
            let before = tools.len();
            tools.retain(|tool| tool.get("name").and_then(Value::as_str).is_none_or(|name| (self.shown)(name)));
            changed |= tools.len() != before;
        }
        changed.then(|| serde_json::to_vec(&message).ok()).flatten()
    }

    /// Takes the first event that is whole.
    fn next_event(&mut self) -> Option<Vec<u8>> {
        if !self.stream {
            return None;
        }
        let new = self.kept.get(self.searched..).unwrap_or_default();
        let found = ENDS.into_iter().filter_map(|end| memmem::find(new, end).map(|at| at + end.len())).min();
        let Some(end) = found else {
            // An end may have begun in the last three octets.
            self.searched = self.kept.len().saturating_sub(3);
            return None;
        };
        let rest = self.kept.split_off(self.searched + end);
        self.searched = 0;
        Some(std::mem::replace(&mut self.kept, rest))
    }

    /// One event, its empty line included.
    fn event(&self, event: Vec<u8>) -> Bytes {
        let lines = || event.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty());
        let data = |line: &[u8]| {
            let value = line.strip_prefix(b"data:".as_slice())?;
            Some(value.strip_prefix(b" ".as_slice()).unwrap_or(value).to_vec())
        };
        let text = lines().filter_map(data).collect::<Vec<_>>().join(&b'\n');
        let Some(filtered) = self.filter(&text) else { return event.into() };
        let others = lines().filter(|line| data(line).is_none());
        let mut out: Vec<u8> = Vec::with_capacity(event.len());
        for line in others.chain([[b"data: ".as_slice(), &filtered].concat().as_slice()]) {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        out.push(b'\n');
        out.into()
    }
}

/// What an event ends with: a line that is empty.
const ENDS: [&[u8]; 3] = [b"\n\n", b"\r\n\r\n", b"\r\r"];

impl Hook for Tools {
    fn data(&mut self, data: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), CutError> {
        if self.kept.len() + data.len() > KEPT_BYTES_MAX {
            return Err(CutError::Undecodable);
        }
        self.kept.extend_from_slice(&data);
        while let Some(event) = self.next_event() {
            out.push_back(self.event(event));
        }
        Ok(())
    }

    fn end(&mut self, out: &mut VecDeque<Bytes>) -> Result<(), CutError> {
        let kept = std::mem::take(&mut self.kept);
        if kept.is_empty() {
            return Ok(());
        }
        // What is left of a stream is no event: it goes as it is.
        let filtered = if self.stream { None } else { self.filter(&kept) };
        out.push_back(filtered.unwrap_or(kept).into());
        Ok(())
    }

    fn trailers(&mut self, _trailers: &mut HeaderMap) {}

    fn masked(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn run(kind: &'static str, pieces: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert("content-length", HeaderValue::from_static("7"));
        let mut tools = Tools::of(Arc::new(|name| name != "drop"), &mut headers).expect("a filter");
        assert!(!headers.contains_key("content-length"));
        let mut out = VecDeque::new();
        for piece in pieces {
            tools.data(Bytes::copy_from_slice(piece), &mut out).expect("data");
        }
        tools.end(&mut out).expect("the end");
        String::from_utf8(out.iter().flatten().copied().collect()).expect("text")
    }

    const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"drop","x":1},{"name":"keep","n":1.50}],"nextCursor":"c"}}"#;
    const LEFT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"keep","n":1.5}],"nextCursor":"c"}}"#;

    #[test]
    fn lists_lose_what_is_not_shown() {
        assert_eq!(run("application/json", &[LIST.as_bytes()]), LEFT);
        assert_eq!(run("application/json; charset=utf-8", &[format!("[{LIST}]").as_bytes()]), format!("[{LEFT}]"));
        // In pieces, between other events, by every line end.
        for end in ["\n", "\r\n", "\r"] {
            let text = format!(": ping{end}{end}id: 7{end}event: message{end}data: {LIST}{end}{end}data: x{end}{end}");
            let want = format!(": ping{end}{end}id: 7\nevent: message\ndata: {LEFT}\n\ndata: x{end}{end}");
            for size in [1, 7, text.len()] {
                let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                assert_eq!(run("text/event-stream", &pieces), want, "{end:?} {size}");
            }
        }
    }

    #[test]
    fn what_is_no_list_passes_octet_for_octet() {
        for text in ["{\"result\":{\"n\":1.50}}", "not JSON \"tools\"", "{\"result\":{\"tools\":\"x\"}}", ""] {
            assert_eq!(run("application/json", &[text.as_bytes()]), text);
            let event = format!("data: {text}\n\n");
            assert_eq!(run("text/event-stream", &[event.as_bytes()]), event);
        }
        let half = format!("data: {LIST}");
        assert_eq!(run("text/event-stream", &[half.as_bytes()]), half);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        assert!(Tools::of(Arc::new(|_| false), &mut headers).is_none());
    }

    #[test]
    fn a_list_over_the_bound_is_cut() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut tools = Tools::of(Arc::new(|_| true), &mut headers).expect("a filter");
        let mut out = VecDeque::new();
        let piece = Bytes::from(vec![b' '; KEPT_BYTES_MAX]);
        assert!(tools.data(piece, &mut out).is_ok());
        assert!(matches!(tools.data(Bytes::from_static(b" "), &mut out), Err(CutError::Undecodable)));
    }
}

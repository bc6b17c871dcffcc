//! Lists of tools: what is certain to be denied is not shown. A courtesy to the agent, which then does not plan with what it may not
//! use; what may be called is decided when it is called.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use inject::ANSWER_DIGESTS;
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::{CutError, Hook};

/// Octets of one list, or of one event of a stream; a server with 500 tools has 1 MiB.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Tools of one message that are looked at. A list of more passes as it is.
const TOOLS_MAX: usize = 4_096;
/// What a list of tools has in it. A server that writes it with escapes shows all its tools, and no more than that.
const MARK: &[u8] = b"\"tools\"";

/// Says of a tool whether it is shown.
pub(crate) type Shown = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Takes tools out of lists, in JSON or in Server-Sent Events. What is not a list passes octet for octet.
pub(crate) struct Tools {
    shown: Shown,
    /// What was said of tools by name: a list is shown again and again.
    known: HashMap<String, bool>,
    kept: Vec<u8>,
    /// Where the reading of a stream stands; none for a body that is one message.
    stream: Option<Standing>,
}

/// Where the reading of a stream stands.
#[derive(Clone, Copy)]
struct Standing {
    /// Octets of what is kept that were looked at.
    at: usize,
    line: Line,
}

/// Where the last octet stood. Lines end in CR, LF or both, as they like (WHATWG HTML 9.2.6); an event ends with an empty one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Nothing of the next line has come.
    Start,
    /// The same, and an LF would still belong to the line before.
    AfterCr,
    Inside,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    result: Option<Listed<'a>>,
}

#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
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
        let stream = stream.then_some(Standing { at: 0, line: Line::Start });
        Some(Self { shown, known: HashMap::new(), kept: Vec::new(), stream })
    }

    /// The message without what is not shown; none where nothing changes.
    fn filter(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        memmem::find(text, MARK)?;
        let text = std::str::from_utf8(text).ok()?;
        let messages: Vec<Message<'_>> = if text.trim_start().starts_with('[') {
            serde_json::from_str(text).ok()?
        } else {
            vec![serde_json::from_str(text).ok()?]
        };
        let (mut out, mut done, mut left) = (Vec::new(), 0, TOOLS_MAX);
        for list in messages.iter().filter_map(|message| message.result.as_ref()?.tools) {
            let Some(shorter) = self.shorter(list.get(), &mut left) else { continue };
            // The list is a part of the text, so its place is known by where it lies.
            let start = (list.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
            out.extend_from_slice(text.get(done..start)?.as_bytes());
            out.extend_from_slice(shorter.as_bytes());
            done = start + list.get().len();
        }
        if done == 0 {
            return None;
        }
        out.extend_from_slice(text.get(done..)?.as_bytes());
        Some(out)
    }

    /// A list without what is not shown; none where nothing changes.
    fn shorter(&mut self, list: &str, left: &mut usize) -> Option<String> {
        let all: Vec<&RawValue> = serde_json::from_str(list).ok()?;
        *left = left.checked_sub(all.len())?;
        let kept: Vec<&str> = all.iter().map(|tool| tool.get()).filter(|tool| self.is_shown(tool)).collect();
        (kept.len() != all.len()).then(|| format!("[{}]", kept.join(",")))
    }

    fn is_shown(&mut self, tool: &str) -> bool {
        let Ok(Tool { name }) = serde_json::from_str(tool) else { return true };
        if let Some(known) = self.known.get(&*name) {
            return *known;
        }
        let shown = (self.shown)(&name);
        if self.known.len() < TOOLS_MAX {
            self.known.insert(name.into_owned(), shown);
        }
        shown
    }

    /// Appends one event, its empty line included.
    fn event(&mut self, event: &[u8], out: &mut Vec<u8>) {
        if memmem::find(event, MARK).is_none() {
            return out.extend_from_slice(event);
        }
        let lines = || event.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty());
        let data = |line: &'_ [u8]| {
            let value = line.strip_prefix(b"data:".as_slice())?;
            Some(value.strip_prefix(b" ".as_slice()).unwrap_or(value).to_vec())
        };
        let text = lines().filter_map(data).collect::<Vec<_>>().join(&b'\n');
        let Some(filtered) = self.filter(&text) else { return out.extend_from_slice(event) };
        for line in lines().filter(|line| data(line).is_none()) {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        for line in filtered.split(|byte| *byte == b'\n') {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        out.push(b'\n');
    }

    /// Takes every event that is whole, in one pass over what has come.
    fn events(&mut self, mut standing: Standing) -> Vec<u8> {
        let kept = std::mem::take(&mut self.kept);
        let (mut out, mut start) = (Vec::new(), 0);
        for (at, octet) in kept.iter().enumerate().skip(standing.at) {
            // The LF of a CR that ended an event, where both have come.
            if *octet == b'\n' && at == start && standing.line == Line::AfterCr {
                out.push(b'\n');
                (start, standing.line) = (at + 1, Line::Start);
                continue;
            }
            standing.line = match (standing.line, octet) {
                (Line::Inside, b'\r') => Line::AfterCr,
                (Line::Inside | Line::AfterCr, b'\n') => Line::Start,
                (Line::Start, b'\n') | (Line::Start | Line::AfterCr, b'\r') => {
                    self.event(kept.get(start..=at).unwrap_or_default(), &mut out);
                    start = at + 1;
                    if *octet == b'\r' { Line::AfterCr } else { Line::Start }
                }
                _ => Line::Inside,
            };
        }
        self.kept = kept.get(start..).unwrap_or_default().to_vec();
        self.stream = Some(Standing { at: self.kept.len(), line: standing.line });
        out
    }
}

impl Hook for Tools {
    fn data(&mut self, data: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), CutError> {
        if self.kept.len() + data.len() > KEPT_BYTES_MAX {
            return Err(CutError::Undecodable);
        }
        self.kept.extend_from_slice(&data);
        if let Some(standing) = self.stream {
            let whole = self.events(standing);
            if !whole.is_empty() {
                out.push_back(whole.into());
            }
        }
        Ok(())
    }

    fn end(&mut self, out: &mut VecDeque<Bytes>) -> Result<(), CutError> {
        let kept = std::mem::take(&mut self.kept);
        if kept.is_empty() {
            return Ok(());
        }
        // What is left of a stream is no event: it goes as it is.
        let filtered = if self.stream.is_some() { None } else { self.filter(&kept) };
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

    const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"x":1,"name":"drop"},{"name":"keep","n":1.50}],"nextCursor":"c"}}"#;
    const LEFT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"keep","n":1.50}],"nextCursor":"c"}}"#;

    #[test]
    fn lists_lose_what_is_not_shown() {
        assert_eq!(run("application/json", &[LIST.as_bytes()]), LEFT);
        assert_eq!(run("application/json; charset=utf-8", &[format!("[{LIST}]").as_bytes()]), format!("[{LEFT}]"));
        // In pieces, between other events, by every line end and by mixed ones.
        for [one, two] in [["\n", "\n"], ["\r\n", "\r\n"], ["\r", "\r"], ["\n", "\r\n"], ["\r\n", "\n"], ["\n", "\r"]] {
            let text = format!(
                ": ping{one}{two}id: 7{one}event: message{two}data: {LIST}{one}{two}data:x{one}data: y{one}{two}"
            );
            let want = [": ping", "id: 7|event: message|data: {LEFT}", "data:x|data: y"]
                .map(|event| event.replace("{LEFT}", LEFT));
            for size in [1, 2, 3, 7, text.len()] {
                let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                assert_eq!(events(&run("text/event-stream", &pieces)), want, "{one:?} {two:?} {size}");
            }
        }
        // Data in several lines is one text.
        let two = LIST.replace("\"id\":1,", "\"id\":1,\ndata: ");
        assert_eq!(events(&run("text/event-stream", &[format!("data: {two}\n\n").as_bytes()])).len(), 1);
    }

    /// Events as a client reads them, lines joined by a bar.
    fn events(text: &str) -> Vec<String> {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let all = text.split("\n\n").map(|event| event.trim_matches('\n').replace('\n', "|"));
        all.filter(|event| !event.is_empty()).collect()
    }

    #[test]
    fn a_list_that_is_too_many_passes_and_names_are_asked_once() {
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let shown: Shown = Arc::new(move |_| count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 9);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut tools = Tools::of(shown, &mut headers).expect("a filter");
        let list =
            |count: usize| format!("{{\"result\":{{\"tools\":[{}]}}}}", vec![r#"{"name":"a"}"#; count].join(","));
        assert!(tools.filter(list(TOOLS_MAX + 1).as_bytes()).is_none());
        let left = tools.filter(list(TOOLS_MAX).as_bytes()).expect("a shorter list");
        assert_eq!(left, b"{\"result\":{\"tools\":[]}}");
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 1);
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

//! The canonical request (AWS IAM User Guide, "Create a canonical request"): one text that both sides make of what is sent.

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HOST, HeaderName};
use model::canonical::CanonicalPath;

use super::super::Draft;

/// Fields that are made or changed on the way, whoever signed them.
const NEVER: [&str; 8] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "expect",
    "transfer-encoding",
    "user-agent",
    "x-amzn-trace-id",
];

/// Appends `text` percent-encoded as SigV4 wants it (RFC 3986 2.3, capitals); `keep` stays too.
fn escape(text: &str, keep: &[u8], out: &mut String) {
    const CAPITALS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            out.push(char::from(byte));
            continue;
        }
        out.push('%');
        for half in [byte >> 4, byte & 15] {
            out.push(CAPITALS.get(usize::from(half)).copied().map_or('0', char::from));
        }
    }
}

/// Names of the fields that are signed, sorted: those that the agent signed and that still travel, the host, and everything of AWS.
pub(super) fn names(draft: &Draft, theirs: &str) -> String {
    let mut all: Vec<&str> = theirs.split(';').filter(|name| draft.headers.contains_key(*name)).collect();
    all.push(HOST.as_str());
    all.extend(draft.headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with("x-amz-")));
    if draft.headers.contains_key(CONTENT_TYPE) {
        all.push(CONTENT_TYPE.as_str());
    }
    all.retain(|name| !NEVER.contains(name));
    all.sort_unstable();
    all.dedup();
    all.join(";")
}

/// The canonical request.
pub(super) fn request(draft: &Draft, (service, names): (&str, &str), query: &str, payload: &str) -> String {
    let mut out = String::with_capacity(1_024);
    out.push_str(draft.method.as_str());
    out.push('\n');
    path(&draft.path, service, &mut out);
    out.push('\n');
    parameters(query, &mut out);
    out.push('\n');
    for name in names.split(';') {
        out.push_str(name);
        out.push(':');
        if name == HOST.as_str() {
            out.push_str(&draft.authority);
        } else {
            field(&draft.headers, name, &mut out);
        }
        out.push('\n');
    }
    out.push('\n');
    out.push_str(names);
    out.push('\n');
    out.push_str(payload);
    out
}

/// S3 takes the key as it is, encoded once; the others encode once more what stands on the wire. Dot segments and empty ones were
/// refused before, so that normalising changes nothing.
fn path(path: &CanonicalPath, service: &str, out: &mut String) {
    if service != "s3" {
        escape(path.raw(), b"/", out);
        return;
    }
    for segment in path.segments() {
        out.push('/');
        // An encoded slash is part of the key, and stands as one there.
        escape(segment, b"/", out);
    }
    if path.is_empty() || path.has_trailing_slash() {
        out.push('/');
    }
}

/// Names and values, decoded and encoded in the one way, sorted.
fn parameters(query: &str, out: &mut String) {
    let coded = |text: &str| {
        let mut coded = String::with_capacity(text.len());
        // What cannot be read was refused before.
        let plain = model::canonical::pairs(text).ok().and_then(|mut all| all.pop()).unwrap_or_default();
        escape(&plain.0, b"", &mut coded);
        coded.push('=');
        escape(&plain.1, b"", &mut coded);
        coded
    };
    let mut all: Vec<String> = query.split('&').filter(|pair| !pair.is_empty()).map(coded).collect();
    // By name, then by value: `=` sorts after some characters that a name may hold.
    all.sort_by(|left, right| left.split_once('=').cmp(&right.split_once('=')));
    out.push_str(&all.join("&"));
}

/// Values of one field with commas between them; blanks around go, and of several inside one stays.
fn field(headers: &HeaderMap, name: &str, out: &mut String) {
    for (at, value) in headers.get_all(name).iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        let text = String::from_utf8_lossy(value.as_bytes());
        let mut first = true;
        for word in text.split([' ', '\t']).filter(|word| !word.is_empty()) {
            if !std::mem::take(&mut first) {
                out.push(' ');
            }
            out.push_str(word);
        }
    }
}

//! What an upstream answers without handlers. Paths (any method unless said):
//!
//! | path | answer |
//! |---|---|
//! | `/json` | 1 KiB of JSON |
//! | `/bytes/N` | N octets, streamed |
//! | `/digest` | length and SHA-256 of the request body |
//! | `/coded/CODINGS` | the echo, coded (`gzip`, `deflate`, `br`, `zstd`; `gzip+br`: twice); `?label=x` lies about it |
//! | `/form/FORM` | the credential in one of [`crate::leak::forms`] |
//! | `/split/AT,AT` | the credential, flushed in pieces cut at these offsets |
//! | `/pad/N` | N octets, then the credential |
//! | `/fields` | the credential in many response header fields and the body |
//! | `/trailers` | the credential in trailer fields (HTTP/1: to a request with `TE: trailers`) |
//! | `/events/COUNT/MILLIS` | Server-Sent Events that hold the credential |
//! | `/status/CODE` | that status, and the echo |
//! | `/redirect/CODE?to=URL` | that status with `Location` |
//! | `/slow/MILLIS` | the echo after a wait |
//! | `/reset`, `/hang`, `/cut` | TCP reset; silence; half of a body |
//! | `/ws` | WebSocket echo; greets with the credential |
//! | `/alt-svc` | the echo, with `Alt-Svc` |
//! | `/range` | the credential, cut by `Range` |
//! | gRPC content type | the message comes back, `grpc-status: 0` in the trailers |
//! | anything else | the echo: method, target, header fields, body, protocol |
//!
//! "The credential" is the value of `authorization` after its scheme, or of the header field that `?of=name` names.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use serde_json::json;

use super::answer::{Answer, Content};
use super::journal::{Protocol, Seen};
use crate::{coding, leak};

/// The built-in answer to a request.
#[must_use]
pub fn answer(seen: &Seen) -> Answer {
    if seen.values("content-type").iter().any(|value| value.starts_with("application/grpc")) {
        return Answer::body("application/grpc", seen.body.clone())
            .trailer("grpc-status", "0")
            .trailer("grpc-message", "");
    }
    let path = seen.path().to_owned();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["json"] => Answer::body("application/json", kibibyte()),
        ["bytes", size] => sized(number(size)),
        ["digest"] => Answer::json(&json!({"bytes": seen.body_bytes, "sha256": seen.body_sha256})),
        ["coded", codings] => coded(seen, codings),
        ["form", form] => formed(seen, form),
        ["split", offsets] => split(seen, offsets),
        ["pad", size] => padded(seen, number(size)),
        ["fields"] => fields(seen),
        ["trailers"] => trailers(seen),
        ["events", count, millis] => events(seen, number(count), number(millis)),
        ["status", code] => echo(seen).with_status(number(code) as u16),
        ["redirect", code] => redirect(seen, number(code) as u16),
        ["slow", millis] => echo(seen).after(Duration::from_millis(number(millis))),
        ["reset"] => Answer::reset(),
        ["hang"] => Answer::hang(),
        ["cut"] => Answer::body("application/octet-stream", vec![b'x'; 1000]).cut(),
        ["ws"] => Answer::status(426).content(Content::WebSocket(Some(credential(seen)))),
        ["range"] => ranged(seen),
        ["alt-svc"] => echo(seen).header("alt-svc", "h3=\":443\"; ma=86400"),
        _ => echo(seen),
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

/// The value that an echo would give away.
#[must_use]
pub fn credential(seen: &Seen) -> String {
    let name = seen.query("of").unwrap_or("authorization");
    let value = seen.values(name).join(",");
    match value.split_once(' ') {
        Some((_, rest)) => rest.to_owned(),
        None => value,
    }
}

/// Everything that arrived, as JSON (`/anything` of httpbin).
#[must_use]
pub fn echo(seen: &Seen) -> Answer {
    Answer::json(&echo_json(seen))
}

fn echo_json(seen: &Seen) -> serde_json::Value {
    let mut headers = serde_json::Map::new();
    for name in seen.headers.keys() {
        headers.insert(name.to_string(), seen.values(name.as_str()).join(", ").into());
    }
    json!({
        "method": seen.method,
        "target": seen.target,
        "authority": seen.authority,
        "headers": headers,
        "body": String::from_utf8_lossy(&seen.body),
        "body_base64": base64::engine::general_purpose::STANDARD.encode(&seen.body),
        "protocol": if seen.protocol == Protocol::Http2 { "h2" } else { "http/1.1" },
        "connection": seen.connection,
    })
}

/// Exactly 1 KiB of JSON.
#[must_use]
pub fn kibibyte() -> Bytes {
    let frame = json!({"items": "", "next": null}).to_string();
    let fill = "abcdefghij".repeat(110);
    json!({"items": &fill[..1024 - frame.len()], "next": null}).to_string().into()
}

fn sized(size: u64) -> Answer {
    Answer::status(200).header("content-type", "application/octet-stream").content(Content::Pattern(size))
}

fn coded(seen: &Seen, codings: &str) -> Answer {
    let mut body = echo_json(seen).to_string().into_bytes();
    for one in codings.split('+') {
        body = coding::encode(one, &body);
    }
    let label = seen.query("label").map_or_else(|| codings.replace('+', ", "), ToOwned::to_owned);
    let label = label.replace("raw-deflate", "deflate");
    Answer::body("application/json", body).header("content-encoding", label)
}

fn formed(seen: &Seen, form: &str) -> Answer {
    let known = leak::forms(&credential(seen)).into_iter().find(|(name, _)| *name == form);
    match known {
        Some((_, echo)) => Answer::body("text/plain", [b"before ".as_slice(), &echo, b" after"].concat()),
        None => Answer::status(404),
    }
}

fn split(seen: &Seen, offsets: &str) -> Answer {
    let text = Bytes::from(credential(seen));
    let mut pieces = vec![Bytes::from_static(b"before ")];
    let mut last = 0;
    for at in offsets.split(',').map(|at| (number(at) as usize).min(text.len())) {
        pieces.push(text.slice(last.min(at)..at));
        last = at;
    }
    pieces.push(text.slice(last..));
    pieces.push(Bytes::from_static(b" after"));
    pieces.retain(|piece| !piece.is_empty());
    Answer::status(200).header("content-type", "text/plain").content(Content::Pieces(pieces, Duration::from_millis(2)))
}

fn padded(seen: &Seen, size: u64) -> Answer {
    let filler = Bytes::from(vec![b'.'; 64 * 1024]);
    let mut pieces: Vec<Bytes> = (0..size / filler.len() as u64).map(|_| filler.clone()).collect();
    pieces.push(filler.slice(..(size % filler.len() as u64) as usize));
    pieces.push(credential(seen).into());
    pieces.retain(|piece| !piece.is_empty());
    Answer::status(200).content(Content::Pieces(pieces, Duration::ZERO))
}

fn fields(seen: &Seen) -> Answer {
    let it = credential(seen);
    echo(seen)
        .header("x-debug", format!("got {it}"))
        .header("www-authenticate", format!("Bearer error=\"bad {it}\""))
        .header("set-cookie", format!("session={it}; Path=/"))
        .header("location", format!("https://elsewhere.test/?token={it}"))
        .header("link", format!("<https://elsewhere.test/?page=2&token={it}>; rel=\"next\""))
        .header("x-base64", base64::engine::general_purpose::STANDARD.encode(it))
}

fn trailers(seen: &Seen) -> Answer {
    let it = credential(seen);
    Answer::body("text/plain", "see the trailers")
        .header("trailer", "x-echo, x-check")
        .trailer("x-echo", it)
        .trailer("x-check", "42")
}

fn events(seen: &Seen, count: u64, millis: u64) -> Answer {
    let text = format!("id: {{n}}\ndata: {{\"n\":{{n}},\"echo\":\"{}\"}}\n\n", credential(seen));
    Answer::status(200)
        .header("content-type", "text/event-stream")
        .header("cache-control", "no-cache")
        .content(Content::Events(text, Some(count), Duration::from_millis(millis)))
}

fn redirect(seen: &Seen, code: u16) -> Answer {
    let to = seen.query("to").unwrap_or("/").replace("%3A", ":").replace("%2F", "/");
    Answer::status(code).header("location", to)
}

fn ranged(seen: &Seen) -> Answer {
    let text = credential(seen);
    let range = seen.values("range").join("");
    let span = range.strip_prefix("bytes=").and_then(|span| span.split_once('-'));
    match span.map(|(from, to)| (number(from) as usize, (number(to) as usize + 1).min(text.len()))) {
        Some((from, to)) if from < to => Answer::body("text/plain", text[from..to].to_owned())
            .with_status(206)
            .header("content-range", format!("bytes {from}-{}/{}", to - 1, text.len())),
        _ => Answer::body("text/plain", text),
    }
}

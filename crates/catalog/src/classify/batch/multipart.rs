//! Batches in `multipart/mixed` (RFC 2046 5.1), each part a request as HTTP writes it (Google, OData 4.0).
//!
//! Stricter than any reader of them: the boundary stands nowhere but in delimiters, nothing stands before the first or behind the last,
//! no field is folded, and lines end in LF with or without CR, never in a CR alone.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::super::line::{Doubt, Fault};
use super::{Part, Parts, plain_number, push};

/// RFC 2046 5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;
/// Fields of one part, or of the request in it.
const FIELDS_MAX: usize = 32;
/// Fields around a request, and what they may be; of nothing here the value chooses how the rest is read.
const AROUND: [&str; 4] = ["content-id", "content-length", "content-transfer-encoding", "mime-version"];

type Fields<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The requests of a batch.
pub(super) fn parts<'a>(text: &'a [u8], headers: &HeaderMap) -> Parts<'a> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (types.next(), types.next()) else { return Err("it has not one content type".into()) };
    let kind = kind.to_str().map_err(|_| "its content type is no text")?;
    let boundary = boundary(kind)?.ok_or("it is no multipart/mixed")?;
    let mut all = Vec::new();
    for part in divided(text, boundary)? {
        let (fields, inside) = head(part)?;
        let kind = around(&fields, inside)?;
        match boundary_within(&kind)? {
            None => push(&mut all, request(inside)?)?,
            Some(boundary) => {
                for part in divided(inside, &boundary)? {
                    let (fields, inside) = head(part)?;
                    if boundary_within(&around(&fields, inside)?)?.is_some() {
                        return Err("a change set of it holds another".into());
                    }
                    push(&mut all, request(inside)?)?;
                }
            }
        }
    }
    Ok(all)
}

/// The boundary of a `multipart/mixed`; nothing for another type.
fn boundary(kind: &str) -> Result<Option<&str>, Doubt> {
    let (essence, parameters) = kind.split_once(';').unwrap_or((kind, ""));
    if !essence.trim().eq_ignore_ascii_case("multipart/mixed") {
        return Ok(None);
    }
    let Some((name, value)) = parameters.split_once('=') else { return Err("it names no boundary") };
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    if !name.trim().eq_ignore_ascii_case("boundary")
        || !(1..=BOUNDARY_BYTES_MAX).contains(&value.len())
        || !value.bytes().all(plain)
    {
        return Err("its boundary is not plain");
    }
    Ok(Some(value))
}

/// The boundary of a change set; nothing where the part is a request.
fn boundary_within(kind: &str) -> Result<Option<String>, Doubt> {
    let (essence, parameters) = kind.split_once(';').unwrap_or((kind, ""));
    if essence.trim().eq_ignore_ascii_case("application/http") {
        let plain = parameters.trim().is_empty() || parameters.trim().eq_ignore_ascii_case("msgtype=request");
        return if plain { Ok(None) } else { Err("a part of it is no request") };
    }
    boundary(kind)?.map(|boundary| Some(boundary.to_owned())).ok_or("a part of it is no application/http")
}

/// What stands between delimiters.
fn divided<'a>(text: &'a [u8], boundary: &str) -> Result<Vec<&'a [u8]>, Doubt> {
    const ODD: Doubt = "its boundary stands where no part begins";
    let mark = [b"--", boundary.as_bytes()].concat();
    let mut parts = Vec::new();
    let mut rest = text;
    // What stands before the first delimiter: nothing, or an empty line.
    let mut open = false;
    loop {
        let at = find(rest, &mark).ok_or("it does not end with its boundary")?;
        let (before, behind) = rest.split_at_checked(at).ok_or(ODD)?;
        let behind = behind.get(mark.len()..).ok_or(ODD)?;
        if open {
            // The line end before a delimiter is the delimiter's.
            parts.push(without_end(before).ok_or(ODD)?);
        } else if !before.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            return Err("something stands before its first part");
        }
        open = true;
        if let Some(last) = behind.strip_prefix(b"--") {
            return if last.iter().all(u8::is_ascii_whitespace) {
                Ok(parts)
            } else {
                Err("something stands behind its last part")
            };
        }
        rest = behind.strip_prefix(b"\r\n").or_else(|| behind.strip_prefix(b"\n")).ok_or(ODD)?;
        if parts.len() > super::PARTS_MAX {
            return Err("it holds more than 100 requests");
        }
    }
}

fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|window| window == mark)
}

fn without_end(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_suffix(b"\n")?;
    Some(text.strip_suffix(b"\r").unwrap_or(text))
}

/// One line, and what follows it; a text without a line end is a line too.
fn line(text: &[u8]) -> Result<(&str, &[u8]), Doubt> {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (line, rest) = text.split_at_checked(end).ok_or("a line of it has no end")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = std::str::from_utf8(line).map_err(|_| "a line of it is no UTF-8")?;
    if line.chars().any(|letter| letter.is_control() && letter != '\t') {
        return Err("a line of it holds a control character");
    }
    Ok((line, rest.get(1..).unwrap_or_default()))
}

/// Fields up to an empty line, and what follows.
fn head(text: &[u8]) -> Result<(Fields<'_>, &[u8]), Doubt> {
    let mut fields = Fields::new();
    let mut rest = text;
    loop {
        let (text, after) = line(rest)?;
        rest = after;
        if text.is_empty() {
            return Ok((fields, rest));
        }
        let (name, value) = text.split_once(':').ok_or("a line of it is no field")?;
        let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || !name.bytes().all(token) || fields.len() >= FIELDS_MAX {
            return Err("a field of it is not plain");
        }
        fields.push((Cow::Borrowed(name), Cow::Borrowed(value.trim_matches([' ', '\t']))));
    }
}

/// What a part says that it is, where all that it says is known.
fn around(fields: &Fields<'_>, inside: &[u8]) -> Result<String, Doubt> {
    let mut kind = None;
    let mut seen: Vec<String> = Vec::new();
    for (name, value) in fields {
        let name = name.to_ascii_lowercase();
        if seen.contains(&name) {
            return Err("a part of it has a field twice");
        }
        let plain = match name.as_str() {
            "content-type" => {
                kind = Some(value.clone().into_owned());
                true
            }
            "content-transfer-encoding" => {
                ["binary", "8bit", "7bit"].iter().any(|known| value.eq_ignore_ascii_case(known))
            }
            "content-length" => plain_number(value) == Some(inside.len()),
            other => AROUND.contains(&other),
        };
        if !plain {
            return Err("a part of it has a field that is not read here");
        }
        seen.push(name);
    }
    kind.ok_or("a part of it has no content type")
}

/// A request as HTTP/1.1 writes it.
fn request(text: &[u8]) -> Result<Part<'_>, Fault> {
    let (first, rest) = line(text)?;
    let mut words = first.split(' ');
    let (Some(method), Some(target), version, None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err("a request of it has no line `METHOD /path HTTP/1.1`".into());
    };
    if version.is_some_and(|version| version != "HTTP/1.1") {
        return Err("a request of it is of another version than HTTP/1.1".into());
    }
    let (fields, body) = if rest.is_empty() { (Fields::new(), rest) } else { head(rest)? };
    let said = fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    // Empty lines behind a request without a body are no body.
    let blank = body.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
    let body = if blank && !said { &[] } else { body };
    Ok(Part { method, target: Cow::Borrowed(target), fields, body })
}

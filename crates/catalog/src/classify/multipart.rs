//! Multipart forms (RFC 7578). Only the names of their parts are looked at, for one that replaces the method; no fact is
//! read from them.

use super::form::overrides;

/// The header that names a part.
const DISPOSITION: &[u8] = b"content-disposition";

/// Whether the header of some part names it as frameworks name the method. Boundaries are not followed, because origins
/// differ in how they follow them: every line that looks like the header counts, folded lines included.
pub(super) fn has_override(bytes: &[u8]) -> bool {
    let mut within = false;
    bytes.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| {
        let folded = line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        // A line feed after a carriage return makes an empty line here.
        within = begins(line) || within && (folded || line.is_empty());
        within && names(line)
    })
}

fn begins(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    line.get(..DISPOSITION.len()).is_some_and(|start| start.eq_ignore_ascii_case(DISPOSITION))
}

/// Whether a `name` or `name*` parameter of the line overrides the method.
fn names(line: &[u8]) -> bool {
    // Quotes are not followed either: `;` and `,` inside one divide here too, which can only find more.
    line.split(|byte| matches!(byte, b';' | b',' | b':')).any(|parameter| {
        let Some(at) = parameter.iter().position(|byte| *byte == b'=') else { return false };
        let (name, value) = parameter.split_at(at);
        let name = name.trim_ascii();
        if !name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"name")) {
            return false;
        }
        let value = value.get(1..).unwrap_or_default();
        // RFC 5987: charset, language and text between single quotes; some origins quote with them.
        let mut quoted = value.split(|byte| matches!(byte, b'"' | b'\''));
        quoted.any(|text| overrides(text) || overrides(&unescaped(text)))
    })
}

/// Without the backslashes of quoted pairs.
fn unescaped(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| *byte != b'\\').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_names_the_method_is_seen() {
        for header in [
            "Content-Disposition: form-data; name=\"_method\"",
            "content-disposition:form-data;name=_method",
            "Content-Disposition: form-data; filename=\"x\"; NAME = \"_METHOD\"",
            "Content-Disposition: form-data; name='_method'",
            "Content-Disposition: form-data; name*=utf-8''%5Fmethod",
            "Content-Disposition: form-data; name=\"_meth\\od\"",
            "Content-Disposition: form-data;\r\n name=\"_method\"",
            "Content-Type: text/plain\nContent-Disposition: form-data; name=\".method\"",
        ] {
            let body = format!("--x\r\n{header}\r\n\r\nDELETE\r\n--x--\r\n");
            assert!(has_override(body.as_bytes()), "{header}");
        }
    }

    #[test]
    fn what_a_part_holds_is_its_own() {
        for (header, text) in [
            ("Content-Disposition: form-data; name=\"amount\"", "_method"),
            ("Content-Disposition: form-data; name=\"page\"", "<input type=hidden name=\"_method\" value=\"delete\">"),
            ("Content-Disposition: form-data; name=\"payment_method\"", "card"),
            ("Content-Disposition: form-data; name=\"f\"; filename=\"_method\"", "x"),
        ] {
            let body = format!("--x\r\n{header}\r\n\r\n{text}\r\n--x--\r\n");
            assert!(!has_override(body.as_bytes()), "{header} {text}");
        }
    }
}

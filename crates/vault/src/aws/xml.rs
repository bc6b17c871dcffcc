//! The XML that the Security Token Service answers: elements, text and the five entities, a few levels deep. Comments, CDATA, declarations of
//! documents and anything unknown are refused, since readers of XML differ in them; nothing is looked up.

use zeroize::Zeroizing;

/// Elements within elements, elements that hold text, and octets of a name.
const DEPTH_MAX: usize = 8;
const LEAVES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;

/// Elements that hold no others, by their whole path (`A/B/C`), each with its text.
pub(crate) struct Leaves(Vec<(String, Zeroizing<String>)>);

impl Leaves {
    /// Reads a document; none where it cannot be read without doubt.
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut left = std::str::from_utf8(body).ok()?.trim_ascii();
        if let Some(rest) = left.strip_prefix("<?xml ") {
            let (declaration, rest) = rest.split_once("?>")?;
            // Another encoding would make another text.
            let utf8 = !declaration.contains("encoding") || declaration.to_ascii_lowercase().contains("utf-8");
            left = Some(rest).filter(|_| utf8)?.trim_ascii_start();
        }
        let mut leaves = Vec::new();
        let mut open: Vec<&str> = Vec::new();
        // Whether the last thing was the beginning of an element: then text belongs to it alone.
        let mut begun = false;
        loop {
            let (text, rest) = left.split_once('<')?;
            let (tag, rest) = rest.split_once('>')?;
            left = rest;
            if let Some(name) = tag.strip_prefix('/') {
                if open.last() != Some(&name.trim_ascii_end()) {
                    return None;
                }
                if begun {
                    leaves.push((open.join("/"), plain(text)?));
                } else if !text.trim_ascii().is_empty() {
                    return None;
                }
                open.pop();
                begun = false;
            } else {
                if !text.trim_ascii().is_empty() {
                    return None;
                }
                let (name, empty) = begin(tag)?;
                open.push(name);
                begun = !empty;
                if empty {
                    leaves.push((open.join("/"), Zeroizing::new(String::new())));
                    open.pop();
                }
            }
            if open.len() > DEPTH_MAX || leaves.len() > LEAVES_MAX {
                return None;
            }
            if open.is_empty() {
                return left.trim_ascii().is_empty().then_some(Self(leaves));
            }
        }
    }

    /// The text of the one element with this path; none where there is none, or more than one.
    pub fn text(&self, path: &str) -> Option<&str> {
        let mut all = self.0.iter().filter(|(known, _)| known == path).map(|(_, text)| text.as_str());
        all.next().filter(|_| all.next().is_none())
    }
}

/// The name of a beginning, and whether it is an end as well. Attributes may be a name space alone.
fn begin(tag: &str) -> Option<(&str, bool)> {
    let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
    let (name, attributes) = tag.split_once([' ', '\t', '\r', '\n']).unwrap_or((tag, ""));
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(|it| it.is_ascii_alphanumeric());
    let attributes = attributes.trim_ascii();
    (fits && (attributes.is_empty() || is_namespace(attributes))).then_some((name, empty))
}

fn is_namespace(attributes: &str) -> bool {
    let value = attributes.strip_prefix("xmlns=\"").and_then(|rest| rest.strip_suffix('"'));
    value.is_some_and(|value| !value.contains(['"', '<', '>', '&']))
}

/// Text, its entities resolved.
fn plain(text: &str) -> Option<Zeroizing<String>> {
    // What it becomes is never longer.
    let mut out = Zeroizing::new(String::with_capacity(text.len()));
    let mut left = text;
    while let Some((before, rest)) = left.split_once('&') {
        out.push_str(before);
        let (entity, after) = rest.split_once(';')?;
        out.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => number(entity.strip_prefix('#')?)?,
        });
        left = after;
    }
    out.push_str(left);
    Some(out).filter(|out| !out.contains('\0'))
}

fn number(text: &str) -> Option<char> {
    let (digits, radix) = text.strip_prefix('x').map_or((text, 10), |hex| (hex, 16));
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    char::from_u32(u32::from_str_radix(Some(digits).filter(|_| plain)?, radix).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_and_nothing_else() {
        let good = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<A xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n <B><C>a/b+c&amp;&#x3d;</C><D/></B><E></E>\n</A>\n";
        let leaves = Leaves::read(good.as_bytes()).expect("read");
        for (path, text) in [("A/B/C", Some("a/b+c&=")), ("A/B/D", Some("")), ("A/E", Some("")), ("A/B", None)] {
            assert_eq!(leaves.text(path), text, "{path}");
        }
        let twice = Leaves::read(good.replace("<D/>", "<C>x</C>").as_bytes()).expect("read");
        assert_eq!(twice.text("A/B/C"), None, "which of two is not said");
        for (from, to) in [
            ("<C>a", "<C><!-- x -->a"),
            ("<C>a", "<C><![CDATA[a]]>"),
            ("<A ", "<!DOCTYPE x><A "),
            ("&amp;", "&and;"),
            ("&amp;", "&"),
            ("&#x3d;", "&#x;"),
            ("UTF-8", "UTF-7"),
            ("<C>a", "<C x=\"y\">a"),
            ("</C>", "</D>"),
            ("</B>", "text</B>"),
            ("<B>", "text<B>"),
            ("</A>\n", "</A>\n<A/>"),
            ("</A>\n", ""),
            ("<D/>", "<D:D/>"),
            ("<D/>", "<?php D ?>"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert!(Leaves::read(bad.as_bytes()).is_none(), "{bad}");
        }
        let deep = format!("{}{}", "<a>".repeat(9), "</a>".repeat(9));
        assert!(Leaves::read(deep.as_bytes()).is_none());
        let wide = format!("<a>{}</a>", "<b/>".repeat(65));
        assert!(Leaves::read(wide.as_bytes()).is_none());
        assert!(Leaves::read(b"<a>\xff</a>").is_none() && Leaves::read(b"").is_none());
    }
}

//! The one XML body that says what is asked: the objects of a `Delete` (S3 API Reference, DeleteObjects). A reader of that shape and no
//! other: elements, text and the five entities. Comments, CDATA, further declarations and anything unknown are refused, since readers of
//! XML differ in them.

/// Keys, and whether a version of each is meant; none where it cannot be read without doubt.
pub(super) fn deletions(text: &str) -> Option<Vec<(String, bool)>> {
    let mut left = text.trim_start_matches('\u{feff}').trim_ascii();
    if let Some(rest) = left.strip_prefix("<?xml ") {
        let (declaration, rest) = rest.split_once("?>")?;
        // Another encoding would make another text.
        let utf8 = !declaration.contains("encoding") || declaration.to_ascii_lowercase().contains("utf-8");
        left = Some(rest).filter(|_| utf8)?.trim_ascii_start();
    }
    let mut objects = Vec::new();
    let inside = element(&mut left, "Delete")?;
    if !left.trim_ascii().is_empty() {
        return None;
    }
    let mut inside = inside.trim_ascii();
    while !inside.is_empty() {
        if inside.starts_with("<Quiet") {
            plain(element(&mut inside, "Quiet")?)?;
        } else {
            objects.push(object(element(&mut inside, "Object")?)?);
        }
        inside = inside.trim_ascii_start();
    }
    Some(objects)
}

/// One object: a key, perhaps a version, and conditions that change nothing of what it names.
fn object(inside: &str) -> Option<(String, bool)> {
    let (mut key, mut versioned, mut left) = (None, false, inside.trim_ascii());
    while !left.is_empty() {
        let name = left.strip_prefix('<')?.split(['>', ' ', '/']).next()?.to_owned();
        let text = plain(element(&mut left, &name)?)?;
        match &*name {
            "Key" if key.is_none() => key = Some(text),
            "VersionId" if !versioned => versioned = true,
            "ETag" | "LastModifiedTime" | "Size" => {}
            _ => return None,
        }
        left = left.trim_ascii_start();
    }
    Some((key?, versioned))
}

/// What is inside of the element that `left` begins with; `left` goes on behind it. Attributes may be a name space alone.
fn element<'a>(left: &mut &'a str, name: &str) -> Option<&'a str> {
    let rest = left.strip_prefix('<')?.strip_prefix(name)?;
    let (attributes, rest) = rest.split_once('>')?;
    let attributes = attributes.trim_ascii();
    if !(attributes.is_empty() || is_namespace(attributes)) {
        return None;
    }
    // An element of the same name within would end too early; then the rest does not fit.
    let (inside, rest) = rest.split_once(&format!("</{name}>"))?;
    *left = rest;
    Some(inside)
}

fn is_namespace(attributes: &str) -> bool {
    let value = attributes.strip_prefix("xmlns=\"").and_then(|rest| rest.strip_suffix('"'));
    value.is_some_and(|value| !value.contains(['"', '<', '>', '&']))
}

/// Text without elements, its entities resolved.
fn plain(text: &str) -> Option<String> {
    if text.contains('<') || text.contains('>') {
        return None;
    }
    let mut out = String::with_capacity(text.len());
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
    Some(out)
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
    fn keys_and_nothing_else() {
        let good = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Object><Key>a/b &amp; c&#13;</Key></Object>\n<Object><Key>d</Key><VersionId>1</VersionId></Object><Quiet>true</Quiet></Delete>";
        let wanted = vec![("a/b & c\r".to_owned(), false), ("d".to_owned(), true)];
        assert_eq!(deletions(good), Some(wanted));
        for (from, to) in [
            ("<Key>d", "<Key><!-- x -->d"),
            ("<Key>d", "<Key><![CDATA[d]]>"),
            ("<Key>d</Key>", "<Key>d</Key><Key>e</Key>"),
            ("<Key>d</Key>", ""),
            ("<Quiet>", "<Loud>"),
            ("&amp;", "&and;"),
            ("&amp;", "&"),
            ("UTF-8", "UTF-7"),
            ("<Delete", "<!DOCTYPE x><Delete"),
            ("</Delete>", "</Delete><Delete></Delete>"),
            ("<Object><Key>d", "<Object a=\"b\"><Key>d"),
            ("<Object><Key>d", "<Object><Object><Key>d"),
            ("</Delete>", ""),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert_eq!(deletions(&bad), None, "{bad}");
        }
    }
}

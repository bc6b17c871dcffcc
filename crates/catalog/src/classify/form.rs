//! Forms (`application/x-www-form-urlencoded`, WHATWG URL 5.1). `a[b]` is the wanted place `a.b`; `a[]` and `a[0]` are
//! items of a list.

use std::borrow::Cow;

use model::Unknown;
use model::canonical::{METHOD_OVERRIDES, pairs};

use super::body::{Bad, Slot, Slots};

/// Finds the wanted places in a form.
pub(super) fn read<'a>(bytes: &'a [u8], wants: &[Vec<Box<str>>]) -> Result<Slots<'a>, Bad> {
    let malformed = Bad::Unknown(Unknown::Malformed);
    let text = std::str::from_utf8(bytes).map_err(|_| malformed)?;
    // Some origins divide pairs at `;`, and no encoder writes one.
    if text.contains(';') {
        return Err(malformed);
    }
    let pairs = pairs(text).map_err(|_| malformed)?;
    if pairs.iter().any(|(name, _)| METHOD_OVERRIDES.contains(&&*name.to_ascii_lowercase())) {
        return Err(Bad::Override);
    }
    let mut slots: Slots<'a> = wants.iter().map(|_| Slot::Absent).collect();
    for (name, value) in pairs {
        for (want, slot) in wants.iter().zip(&mut slots) {
            let Some(rest) = after(&name, want) else { continue };
            let item = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let value = Cow::Owned(value.to_string());
            *slot = match (item, std::mem::replace(slot, Slot::Absent)) {
                (None, Slot::Absent) if rest.is_empty() => Slot::Loose(value),
                (Some(index), Slot::Absent) if is_index(index) => Slot::List(vec![value]),
                (Some(index), Slot::List(mut items)) if is_index(index) => {
                    items.push(value);
                    Slot::List(items)
                }
                _ => Slot::Unknown(Unknown::Ambiguous),
            };
        }
    }
    Ok(slots)
}

/// Whether a form's name is one by which a framework replaces the method, as the frameworks read names and not as a
/// strict reader does: blanks before it are skipped, a NUL ends it, and PHP takes `.`, ` ` and `[` for `_`.
pub(super) fn overrides(name: &[u8]) -> bool {
    let name = decoded(name);
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    let folded = |byte: &u8| match byte {
        b'.' | b' ' | b'[' => b'_',
        other => other.to_ascii_lowercase(),
    };
    let same = |known: &str| name.len() == known.len() && name.iter().map(folded).eq(known.bytes());
    METHOD_OVERRIDES.into_iter().any(same)
}

/// Whether some pair overrides the method, wherever the origin divides pairs. Looks at names alone and lets broken pairs
/// pass: nothing else depends on this body, and much that is sent as a form is none (`curl -d` says form by itself).
pub(super) fn has_override(bytes: &[u8]) -> bool {
    let pairs = bytes.split(|byte| matches!(byte, b'&' | b';'));
    pairs.filter_map(|pair| pair.split(|byte| *byte == b'=').next()).any(overrides)
}

/// Escapes resolved where they are whole, as lenient origins do.
pub(super) fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => digit(high).zip(digit(low)),
            _ => None,
        };
        if let Some((high, low)) = escaped {
            out.push((high * 16 + low) as u8);
            rest = after.get(2..).unwrap_or_default();
        } else {
            out.push(if *first == b'+' { b' ' } else { *first });
        }
    }
    Cow::Owned(out)
}

fn is_index(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What follows the wanted place in a name: nothing, or brackets.
fn after<'n>(name: &'n str, want: &[Box<str>]) -> Option<&'n str> {
    let (first, keys) = want.split_first()?;
    let mut rest = name.strip_prefix(&**first)?;
    for key in keys {
        rest = rest.strip_prefix('[')?.strip_prefix(&**key)?.strip_prefix(']')?;
    }
    (rest.is_empty() || rest.starts_with('[')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(body: &'static str, want: &str) -> Result<Slot<'static>, Bad> {
        let want = vec![want.split('.').map(Into::into).collect()];
        read(body.as_bytes(), &want).map(|slots| slots[0].clone())
    }

    #[test]
    fn every_pair_is_seen() {
        assert_eq!(one("amount=100&currency=eur", "amount"), Ok(Slot::Loose("100".into())));
        assert_eq!(one("a[b]=1", "a.b"), Ok(Slot::Loose("1".into())));
        assert_eq!(one("x%5By%5D=1", "x.y"), Ok(Slot::Loose("1".into())));
        assert_eq!(one("l[]=1&l[]=2", "l"), Ok(Slot::List(vec!["1".into(), "2".into()])));
        assert_eq!(one("other=1", "amount"), Ok(Slot::Absent));
        assert_eq!(one("amounts=1", "amount"), Ok(Slot::Absent));
    }

    #[test]
    fn doubles_are_ambiguous_and_broken_forms_malformed() {
        let ambiguous = Ok(Slot::Unknown(Unknown::Ambiguous));
        for body in
            ["amount=1&amount=2", "amount=1&amount[]=2", "amount[]=2&amount=1", "amount[x]=1", "%61mount=1&amount=2"]
        {
            assert_eq!(one(body, "amount"), ambiguous, "{body}");
        }
        for body in ["amount=%zz", "amount=1;amount=2", "a=%ff"] {
            assert_eq!(one(body, "amount"), Err(Bad::Unknown(Unknown::Malformed)), "{body}");
        }
        assert_eq!(one("_method=DELETE", "amount"), Err(Bad::Override));
    }

    #[test]
    fn overrides_are_seen_as_frameworks_see_them() {
        for body in [
            "_method=DELETE",
            "a=1&_method=DELETE",
            "a=1;_method=DELETE",
            "a=%zz&%5Fmethod=DELETE",
            "_METHOD=put",
            "_method",
            "+_method=put",
            ".method=put",
            "%5bmethod=put",
            "_method%00x=put",
            "\u{ff}=1&_method=put",
            "$method=put",
            "_HttpMethod=put",
        ] {
            assert!(has_override(body.as_bytes()), "{body}");
        }
        for body in ["", "method=put", "a=_method", "payment_method=card", "{\"a\": \"100%; & more\"}", "%", "a%5"] {
            assert!(!has_override(body.as_bytes()), "{body}");
        }
    }
}

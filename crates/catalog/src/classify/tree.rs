//! A strict JSON text as a tree, for what must be looked into at places that are not known beforehand: the variables of
//! a GraphQL document, a message of JSON-RPC. What [`json`](super::json) takes for malformed is malformed here, and so is any key that
//! comes twice.

use std::borrow::Cow;

use model::bounds::JSON_DEPTH_MAX;

use super::body::{Bad, Slot};
use super::json::{MALFORMED, Reader};

/// Values of one text; each takes at most 64 octets with its key, so a hostile body of `[[],[],..]` stays under 4 MiB.
const VALUES_MAX: usize = 65_536;

/// Keys of one object, because they are looked up one by one.
const MEMBERS_MAX: usize = 1_024;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// A whole number that every reader takes alike.
    Int(i64),
    /// Any other number.
    Number,
    Text(Cow<'a, str>),
    List(Vec<Self>),
    Object(Members<'a>),
}

/// Keys and values, in order; no key twice.
pub(super) type Members<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

impl Json<'_> {
    /// The same without the text it was read from.
    pub fn owned(self) -> Json<'static> {
        match self {
            Self::Null => Json::Null,
            Self::Bool(flag) => Json::Bool(flag),
            Self::Int(number) => Json::Int(number),
            Self::Number => Json::Number,
            Self::Text(text) => Json::Text(Cow::Owned(text.into_owned())),
            Self::List(items) => Json::List(items.into_iter().map(Json::owned).collect()),
            Self::Object(members) => Json::Object(owned(members)),
        }
    }
}

/// Members without the text they were read from.
pub(super) fn owned(members: Members<'_>) -> Members<'static> {
    members.into_iter().map(|(key, value)| (Cow::Owned(key.into_owned()), value.owned())).collect()
}

/// Reads a whole text.
pub(super) fn read(text: &str) -> Result<Json<'_>, Bad> {
    let mut tree = Tree { reader: Reader::plain(text), left: VALUES_MAX };
    tree.reader.space();
    let value = tree.value(0)?;
    tree.reader.space();
    if tree.reader.at_end() { Ok(value) } else { Err(MALFORMED) }
}

struct Tree<'a> {
    reader: Reader<'a, 'static>,
    /// Values that may still come.
    left: usize,
}

impl<'a> Tree<'a> {
    fn value(&mut self, nesting: usize) -> Result<Json<'a>, Bad> {
        self.left = self.left.checked_sub(1).ok_or(MALFORMED)?;
        if nesting > JSON_DEPTH_MAX {
            return Err(MALFORMED);
        }
        Ok(match self.reader.peek().ok_or(MALFORMED)? {
            b'{' => self.object(nesting + 1)?,
            b'[' => self.list(nesting + 1)?,
            b'"' => Json::Text(self.reader.string()?),
            b't' => self.reader.word("true").map(|()| Json::Bool(true))?,
            b'f' => self.reader.word("false").map(|()| Json::Bool(false))?,
            b'n' => self.reader.word("null").map(|()| Json::Null)?,
            _ => match self.reader.number()? {
                Slot::Int(number) => Json::Int(number),
                _ => Json::Number,
            },
        })
    }

    fn object(&mut self, nesting: usize) -> Result<Json<'a>, Bad> {
        let mut members: Members<'a> = Vec::new();
        self.items(b'{', b'}', &mut |tree| {
            let key = tree.reader.string()?;
            // Decoders that take such names for others are known: one stops at the first NUL, one gives an object another parent.
            if key.contains(char::is_control) || key == "__proto__" {
                return Err(MALFORMED);
            }
            tree.reader.space();
            tree.reader.expect(b':')?;
            tree.reader.space();
            members.push((key, tree.value(nesting)?));
            Ok(())
        })?;
        let wrong = members.len() > MEMBERS_MAX || has_twice(members.iter().map(|(key, _)| &**key));
        if wrong { Err(MALFORMED) } else { Ok(Json::Object(members)) }
    }

    fn list(&mut self, nesting: usize) -> Result<Json<'a>, Bad> {
        let mut items = Vec::new();
        self.items(b'[', b']', &mut |tree| {
            items.push(tree.value(nesting)?);
            Ok(())
        })?;
        Ok(Json::List(items))
    }

    /// What stands between two brackets, divided by commas.
    fn items(&mut self, open: u8, close: u8, each: &mut dyn FnMut(&mut Self) -> Result<(), Bad>) -> Result<(), Bad> {
        self.reader.expect(open)?;
        self.reader.space();
        if self.reader.peek() == Some(close) {
            return self.reader.expect(close);
        }
        loop {
            each(self)?;
            self.reader.space();
            if self.reader.peek() == Some(close) {
                return self.reader.expect(close);
            }
            self.reader.expect(b',')?;
            self.reader.space();
        }
    }
}

/// Whether a name comes twice.
pub(super) fn has_twice<'n>(names: impl Iterator<Item = &'n str> + Clone) -> bool {
    const SMALL: usize = 8;
    if names.clone().nth(SMALL).is_none() {
        let earlier = |index: usize, name: &str| names.clone().take(index).any(|known| known == name);
        return names.clone().enumerate().any(|(index, name)| earlier(index, name));
    }
    let mut sorted: Vec<&str> = names.collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair.first() == pair.last())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values() {
        let text = r#" {"a":[1,-2,1.5,"x\u0041",null,true],"b":{},"c":[]} "#;
        let Ok(Json::Object(members)) = read(text) else { panic!("not an object") };
        let list = [Json::Int(1), Json::Int(-2), Json::Number, Json::Text("xA".into()), Json::Null, Json::Bool(true)];
        assert_eq!(members[0], ("a".into(), Json::List(list.into())));
        assert_eq!(members[1], ("b".into(), Json::Object(Vec::new())));
        assert_eq!(members[2], ("c".into(), Json::List(Vec::new())));
    }

    #[test]
    fn doubt_is_malformed() {
        let deep = "[".repeat(80) + &"]".repeat(80);
        let wide = format!("[{}1]", "1,".repeat(VALUES_MAX));
        let many = format!("{{{}\"k3\":1}}", (0..20).fold(String::new(), |text, n| text + &format!("\"k{n}\":1,")));
        for text in [
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":1,}"#,
            "[1,]",
            "[1 2]",
            "{} {}",
            "",
            "\u{feff}{}",
            "{\"a\":\"\n\"}",
            &deep,
            &wide,
            &many,
        ] {
            assert_eq!(read(text), Err(MALFORMED), "{}", text.get(..40).unwrap_or(text));
        }
    }

    proptest! {
        /// What serde_json refuses, we refuse; never the other way round but for doubles.
        #[test]
        fn takes_no_more_than_serde_json(text in r#"[\{\}\[\]:,"a1 \\u0-9eE.+tfn-]{0,24}"#) {
            if read(&text).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
            }
        }
    }
}

//! Arguments of a tool, parameters of a method, members of a message.

use std::borrow::Cow;

use model::Unknown;

use super::super::body::Slot;
use super::super::json::alike;
use super::super::line::{Arguments, Doubt, of_items};
use super::super::tree::{Json, Members};

const TWO_SPELLINGS: Doubt = "an argument has a name that differs from the known one only in its case";

/// What is given: members by name, or a list by position.
pub(in super::super) struct Given<'j, 'a>(pub &'j Json<'a>);

impl Arguments for Given<'_, '_> {
    fn at(&self, path: &[Box<str>]) -> Result<Slot<'_>, Doubt> {
        walk(self.0, path)
    }
}

/// The member of this name. Servers that fill the fields of a type take names whatever their case (Go), so another spelling beside
/// it or instead of it is doubt.
pub(in super::super) fn member<'j, 'a>(members: &'j Members<'a>, name: &str) -> Result<Option<&'j Json<'a>>, Doubt> {
    let mut found = None;
    for (known, value) in members {
        if **known == *name {
            found = Some(value);
        } else if alike(known, name) {
            return Err(TWO_SPELLINGS);
        }
    }
    Ok(found)
}

fn walk<'j>(node: &'j Json<'_>, path: &[Box<str>]) -> Result<Slot<'j>, Doubt> {
    let Some((key, rest)) = path.split_first() else { return slot(node) };
    match node {
        Json::Object(members) => member(members, key)?.map_or(Ok(Slot::Absent), |value| walk(value, rest)),
        Json::List(items) => match key.parse::<usize>() {
            Ok(index) => items.get(index).map_or(Ok(Slot::Absent), |item| walk(item, rest)),
            Err(_) => all(items, path),
        },
        Json::Null => Ok(Slot::Absent),
        _ => Ok(Slot::Unknown(Unknown::WrongType)),
    }
}

fn slot<'j>(node: &'j Json<'_>) -> Result<Slot<'j>, Doubt> {
    Ok(match node {
        Json::Null => Slot::Absent,
        Json::Text(text) => Slot::Text(Cow::Borrowed(text)),
        Json::Bool(flag) => Slot::Bool(*flag),
        Json::Int(number) => Slot::Int(*number),
        Json::List(items) => return all(items, &[]),
        Json::Number | Json::Object(_) => Slot::Unknown(Unknown::WrongType),
    })
}

fn all<'j>(items: &'j [Json<'_>], path: &[Box<str>]) -> Result<Slot<'j>, Doubt> {
    of_items(items.iter().map(|item| walk(item, path)), !path.is_empty())
}

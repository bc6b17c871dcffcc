//! Arguments of fields, with variables put in.

use std::borrow::Cow;
use std::cell::Cell;

use model::Unknown;

use super::super::body::Slot;
use super::super::line::{self, Doubt};
use super::super::tree::{Json, Members};
use super::parse::{Arguments, Field, Operation, Value};

/// Steps to arguments in one request. A commit of 1,000 files takes 6,000; a batch that names one large list again and
/// again would take millions.
pub(super) const STEPS_MAX: usize = 32_768;

/// What variables mean in one operation.
#[derive(Clone, Copy)]
pub(super) struct Scope<'d, 'a> {
    pub operation: &'d Operation<'a>,
    pub given: &'d Members<'d>,
    /// Steps that may still be taken.
    pub left: &'d Cell<usize>,
}

/// A value, from the document or from the variables.
#[derive(Clone, Copy)]
enum Node<'d, 'a> {
    Written(&'d Value<'a>),
    Given(&'d Json<'d>),
    Absent,
}

/// A field with what its variables mean.
pub(super) struct Given<'d, 'a> {
    pub scope: Scope<'d, 'a>,
    pub field: &'d Field<'a>,
}

impl line::Arguments for Given<'_, '_> {
    fn at(&self, path: &[Box<str>]) -> Result<Slot<'_>, Doubt> {
        let Some((first, rest)) = path.split_first() else { return Ok(Slot::Absent) };
        self.scope.walk(member(&self.field.arguments, first), rest)
    }
}

impl<'d, 'a> Scope<'d, 'a> {
    fn walk(self, node: Node<'d, 'a>, path: &[Box<str>]) -> Result<Slot<'d>, Doubt> {
        self.left.set(self.left.get().checked_sub(1).ok_or("its arguments are too many")?);
        let node = self.settled(node)?;
        let Some((key, rest)) = path.split_first() else { return self.slot(node) };
        match node {
            Node::Written(Value::Object(members)) => self.walk(member(members, key), rest),
            Node::Given(Json::Object(members)) => {
                let found = members.iter().find(|(name, _)| **name == **key);
                self.walk(found.map_or(Node::Absent, |(_, value)| Node::Given(value)), rest)
            }
            Node::Written(Value::List(items)) => self.all(&mut items.iter().map(Node::Written), path),
            Node::Given(Json::List(items)) => self.all(&mut items.iter().map(Node::Given), path),
            Node::Absent | Node::Written(Value::Null) | Node::Given(Json::Null) => Ok(Slot::Absent),
            _ => Ok(Slot::Unknown(Unknown::WrongType)),
        }
    }

    /// A variable's value: what is given, or else its default.
    fn settled(self, node: Node<'d, 'a>) -> Result<Node<'d, 'a>, Doubt> {
        let Node::Written(Value::Variable(name)) = node else { return Ok(node) };
        let declared = self.operation.variables.iter().find(|(known, _)| known == name);
        let (_, default) = declared.ok_or("its document uses a variable that it does not declare")?;
        let given = self.given.iter().find(|(known, _)| &**known == *name);
        Ok(match (given, default) {
            (Some((_, value)), _) => Node::Given(value),
            (None, Some(value)) => Node::Written(value),
            (None, None) => Node::Absent,
        })
    }

    fn slot(self, node: Node<'d, 'a>) -> Result<Slot<'d>, Doubt> {
        Ok(match node {
            Node::Absent | Node::Written(Value::Null) | Node::Given(Json::Null) => Slot::Absent,
            Node::Written(Value::Text(text)) | Node::Given(Json::Text(text)) => Slot::Text(Cow::Borrowed(text)),
            Node::Written(Value::Enum(text)) => Slot::Text(Cow::Borrowed(text)),
            Node::Written(Value::Bool(flag)) | Node::Given(Json::Bool(flag)) => Slot::Bool(*flag),
            Node::Given(Json::Int(number)) => Slot::Int(*number),
            Node::Written(Value::Int(text)) => whole(text),
            Node::Written(Value::List(items)) => return self.all(&mut items.iter().map(Node::Written), &[]),
            Node::Given(Json::List(items)) => return self.all(&mut items.iter().map(Node::Given), &[]),
            _ => Slot::Unknown(Unknown::WrongType),
        })
    }

    fn all(self, items: &mut dyn Iterator<Item = Node<'d, 'a>>, path: &[Box<str>]) -> Result<Slot<'d>, Doubt> {
        line::of_items(items.map(|item| self.walk(item, path)), !path.is_empty())
    }
}

fn member<'d, 'a>(members: &'d Arguments<'a>, key: &str) -> Node<'d, 'a> {
    members.iter().find(|(name, _)| *name == key).map_or(Node::Absent, |(_, value)| Node::Written(value))
}

/// A number as it is written. Integers of GraphQL have 32 bits; what is longer is known to no reader for certain.
fn whole(text: &str) -> Slot<'_> {
    text.parse::<i64>()
        .ok()
        .filter(|number| number.unsigned_abs() <= 1 << 53 && text != "-0")
        .map_or(Slot::Unknown(Unknown::WrongType), Slot::Int)
}

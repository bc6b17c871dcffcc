//! Executable documents (GraphQL, October 2021, section 2): operations and fragments. What lies below the fields of the root is read
//! for its grammar, its spreads and for fields that hand out secrets, and is not kept.
//!
//! Directives are read and mean nothing: a field under `@skip` is taken to be asked for. Recursion is bounded by
//! [`NESTING_MAX`].

use std::borrow::Cow;

use super::super::line::Doubt;
use super::super::tree::has_twice;
use super::token::{Lexer, Token};

/// Braces, brackets and parentheses inside of one another.
const NESTING_MAX: usize = 64;
/// Operations and fragments of one document.
const DEFINITIONS_MAX: usize = 256;
/// Variables of one operation.
const VARIABLES_MAX: usize = 512;
/// Levels of fields below a field where what lies there cannot be seen: it is behind a spread.
pub(super) const UNSEEN: usize = usize::MAX;

/// A document.
#[derive(Debug)]
pub(super) struct Document<'a> {
    pub operations: Vec<Operation<'a>>,
    /// Sorted by name.
    pub fragments: Vec<Fragment<'a>>,
    /// Somewhere stands a field that hands out a secret.
    pub asks_secret: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Query,
    Mutation,
    Subscription,
}

#[derive(Debug)]
pub(super) struct Operation<'a> {
    pub kind: Kind,
    pub name: Option<&'a str>,
    /// Names and defaults.
    pub variables: Vec<(&'a str, Option<Value<'a>>)>,
    pub set: Set<'a>,
}

#[derive(Debug)]
pub(super) struct Fragment<'a> {
    pub name: &'a str,
    pub set: Set<'a>,
}

/// A selection set.
#[derive(Debug, Default)]
pub(super) struct Set<'a> {
    /// Its own fields and spreads; inline fragments are taken apart.
    pub roots: Vec<Item<'a>>,
    /// Every spread in it, however deep.
    pub spreads: Vec<&'a str>,
}

#[derive(Debug)]
pub(super) enum Item<'a> {
    Field(Field<'a>),
    Spread(&'a str),
}

/// A field; its alias is not kept.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub name: &'a str,
    pub arguments: Arguments<'a>,
    /// Levels of fields below it, or [`UNSEEN`].
    pub levels: usize,
}

pub(super) type Arguments<'a> = Vec<(&'a str, Value<'a>)>;

/// A value as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Variable(&'a str),
    Int(&'a str),
    Float,
    Text(Cow<'a, str>),
    Bool(bool),
    Null,
    Enum(&'a str),
    List(Vec<Self>),
    Object(Arguments<'a>),
}

/// Reads a document; `secrets` are the names of fields that hand one out.
pub(super) fn parse<'a>(text: &'a str, secrets: &[Box<str>]) -> Result<Document<'a>, Doubt> {
    let mut lexer = Lexer::new(text)?;
    let token = lexer.next()?;
    let mut parser = Parser { lexer, token, secrets, asks_secret: false };
    let (mut operations, mut fragments) = (Vec::new(), Vec::new());
    while parser.token != Token::End {
        if operations.len() + fragments.len() == DEFINITIONS_MAX {
            return Err("its document has too many definitions");
        }
        match parser.token {
            Token::Name("fragment") => fragments.push(parser.fragment()?),
            _ => operations.push(parser.operation()?),
        }
    }
    let names = operations.iter().filter_map(|operation| operation.name);
    if has_twice(names) || has_twice(fragments.iter().map(|fragment| fragment.name)) {
        return Err("its document gives one name to two definitions");
    }
    if operations.len() > 1 && operations.iter().any(|operation| operation.name.is_none()) {
        return Err("its document has several operations, and not all have a name");
    }
    fragments.sort_by_key(|fragment| fragment.name);
    Ok(Document { operations, fragments, asks_secret: parser.asks_secret })
}

const SYNTAX: Doubt = "its document does not follow the grammar of executable documents";
const DEEP: Doubt = "its document is nested too deep";

struct Parser<'a, 's> {
    lexer: Lexer<'a>,
    /// The one ahead.
    token: Token<'a>,
    secrets: &'s [Box<str>],
    asks_secret: bool,
}

impl<'a> Parser<'a, '_> {
    fn take(&mut self) -> Result<Token<'a>, Doubt> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    /// Takes a mark if it is ahead.
    fn takes(&mut self, mark: u8) -> Result<bool, Doubt> {
        let ahead = self.token == Token::Mark(mark);
        if ahead {
            self.take()?;
        }
        Ok(ahead)
    }

    fn expect(&mut self, mark: u8) -> Result<(), Doubt> {
        if self.takes(mark)? { Ok(()) } else { Err(SYNTAX) }
    }

    fn name(&mut self) -> Result<&'a str, Doubt> {
        match self.take()? {
            Token::Name(name) => Ok(name),
            _ => Err(SYNTAX),
        }
    }

    fn operation(&mut self) -> Result<Operation<'a>, Doubt> {
        let mut operation = Operation { kind: Kind::Query, name: None, variables: Vec::new(), set: Set::default() };
        if let Token::Name(word) = self.token {
            operation.kind = match word {
                "query" => Kind::Query,
                "mutation" => Kind::Mutation,
                "subscription" => Kind::Subscription,
                _ => return Err(SYNTAX),
            };
            self.take()?;
            if let Token::Name(name) = self.token {
                operation.name = Some(name);
                self.take()?;
            }
            if self.takes(b'(')? {
                operation.variables = self.variables()?;
            }
            self.directives(true, 0)?;
        }
        self.set(&mut operation.set, 0, true)?;
        Ok(operation)
    }

    fn fragment(&mut self) -> Result<Fragment<'a>, Doubt> {
        self.take()?;
        let name = self.name()?;
        if name == "on" || self.name()? != "on" {
            return Err(SYNTAX);
        }
        self.name()?;
        self.directives(false, 0)?;
        let mut set = Set::default();
        self.set(&mut set, 0, true)?;
        Ok(Fragment { name, set })
    }

    /// What follows `(` after an operation's name.
    fn variables(&mut self) -> Result<Vec<(&'a str, Option<Value<'a>>)>, Doubt> {
        let mut variables = Vec::new();
        while !self.takes(b')')? {
            self.expect(b'$')?;
            let name = self.name()?;
            self.expect(b':')?;
            self.kind(0)?;
            let default = if self.takes(b'=')? { Some(self.value(true, 0)?) } else { None };
            self.directives(true, 0)?;
            variables.push((name, default));
        }
        if variables.len() > VARIABLES_MAX {
            return Err("its document declares too many variables");
        }
        if variables.is_empty() || has_twice(variables.iter().map(|(name, _)| *name)) {
            return Err("its document declares a variable twice, or none where it begins to");
        }
        Ok(variables)
    }

    /// The type of a variable.
    fn kind(&mut self, nesting: usize) -> Result<(), Doubt> {
        if nesting == NESTING_MAX {
            return Err(DEEP);
        }
        if self.takes(b'[')? {
            self.kind(nesting + 1)?;
            self.expect(b']')?;
        } else {
            self.name()?;
        }
        self.takes(b'!').map(drop)
    }

    fn directives(&mut self, constant: bool, nesting: usize) -> Result<(), Doubt> {
        while self.takes(b'@')? {
            self.name()?;
            self.arguments(constant, nesting)?;
        }
        Ok(())
    }

    fn arguments(&mut self, constant: bool, nesting: usize) -> Result<Arguments<'a>, Doubt> {
        if !self.takes(b'(')? {
            return Ok(Vec::new());
        }
        let arguments = self.members(b')', constant, nesting + 1)?;
        if arguments.is_empty() { Err(SYNTAX) } else { Ok(arguments) }
    }

    /// Names with values up to a mark, no name twice.
    fn members(&mut self, close: u8, constant: bool, nesting: usize) -> Result<Arguments<'a>, Doubt> {
        let mut members = Vec::new();
        while !self.takes(close)? {
            let name = self.name()?;
            self.expect(b':')?;
            members.push((name, self.value(constant, nesting)?));
        }
        if has_twice(members.iter().map(|(name, _)| *name)) {
            return Err("its document gives one argument twice");
        }
        Ok(members)
    }

    fn value(&mut self, constant: bool, nesting: usize) -> Result<Value<'a>, Doubt> {
        if nesting >= NESTING_MAX {
            return Err(DEEP);
        }
        Ok(match self.take()? {
            Token::Mark(b'$') if !constant => Value::Variable(self.name()?),
            Token::Int(text) => Value::Int(text),
            Token::Float => Value::Float,
            Token::Text(text) => Value::Text(text),
            Token::Name("true") => Value::Bool(true),
            Token::Name("false") => Value::Bool(false),
            Token::Name("null") => Value::Null,
            Token::Name(name) => Value::Enum(name),
            Token::Mark(b'[') => {
                let mut items = Vec::new();
                while !self.takes(b']')? {
                    items.push(self.value(constant, nesting + 1)?);
                }
                Value::List(items)
            }
            Token::Mark(b'{') => Value::Object(self.members(b'}', constant, nesting + 1)?),
            _ => return Err(SYNTAX),
        })
    }

    /// Reads a selection set into `set`; at the root its fields are kept. Gives how many levels of fields it has.
    fn set(&mut self, set: &mut Set<'a>, nesting: usize, root: bool) -> Result<usize, Doubt> {
        if nesting >= NESTING_MAX {
            return Err(DEEP);
        }
        self.expect(b'{')?;
        if self.token == Token::Mark(b'}') {
            return Err(SYNTAX);
        }
        let mut levels = 0;
        while !self.takes(b'}')? {
            let below = match self.token {
                Token::Spread => self.spread(set, nesting, root)?,
                _ => self.field(set, nesting, root)?,
            };
            levels = levels.max(below);
        }
        Ok(levels)
    }

    fn spread(&mut self, set: &mut Set<'a>, nesting: usize, root: bool) -> Result<usize, Doubt> {
        self.take()?;
        match self.token {
            Token::Name("on") => {
                self.take()?;
                self.name()?;
            }
            Token::Name(name) => {
                self.take()?;
                self.directives(false, nesting)?;
                set.spreads.push(name);
                if root {
                    set.roots.push(Item::Spread(name));
                }
                return Ok(UNSEEN);
            }
            _ => {}
        }
        self.directives(false, nesting)?;
        self.set(set, nesting + 1, root)
    }

    fn field(&mut self, set: &mut Set<'a>, nesting: usize, root: bool) -> Result<usize, Doubt> {
        let mut name = self.name()?;
        if self.takes(b':')? {
            name = self.name()?;
        }
        self.asks_secret |= self.secrets.iter().any(|known| **known == *name);
        let arguments = self.arguments(false, nesting)?;
        self.directives(false, nesting)?;
        let levels = if self.token == Token::Mark(b'{') { self.set(set, nesting + 1, false)? } else { 0 };
        if root {
            set.roots.push(Item::Field(Field { name, arguments, levels }));
        }
        Ok(levels.saturating_add(1))
    }
}

//! What a statement is, by the words that it begins with. Queries go to [`query`]; everything else is short enough to be read here.
//! What is not here is not understood.

use std::borrow::Cow;

use super::calls::{Found, Name, Relation, escaped, path};
use super::lexer::{Doubt, Token};
use super::{known, query};
use crate::compiled::sql::{
    ADMIN, CATALOG, DDL, DROP, FILE, FUNCTION, INSERT, LISTEN, LOCK, MAINTAIN, NOTIFY, READ_WRITE, SESSION, TRUNCATE,
};

type Tokens<'t, 'a> = &'t [Token<'a>];
/// One part of a name, and whether it was quoted.
type Part<'a> = (Cow<'a, str>, bool);

/// Statements within statements: EXPLAIN of a DECLARE of a query.
const INSIDE_MAX: usize = 4;

/// Adds the calls of one statement.
pub(crate) fn read(tokens: Tokens<'_, '_>, found: &mut Found<'_>) -> Result<(), Doubt> {
    found.begin(tokens.first().and_then(Token::keyword).unwrap_or_default());
    inside(tokens, found, INSIDE_MAX)
}

fn inside(tokens: Tokens<'_, '_>, found: &mut Found<'_>, left: usize) -> Result<(), Doubt> {
    let left = left.checked_sub(1).ok_or("statements stand in statements")?;
    let Some((first, rest)) = tokens.split_first() else { return Err("it is empty") };
    if first.is_mark("(") {
        return query::read(tokens, found);
    }
    match first.keyword().unwrap_or_default() {
        "table" => {
            let (parts, after) = name(rest)?;
            if after.is_empty() { found.read(&parts) } else { Err("write SELECT * FROM in place of TABLE") }
        }
        "select" | "with" | "values" | "insert" | "update" | "delete" | "merge" => query::read(tokens, found),
        "explain" => inside(explained(rest)?, found, left),
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
            transaction(tokens, found)
        }
        "set" => set(rest, found),
        "reset" => reset(rest, found),
        "discard" | "deallocate" | "close" | "unlisten" | "fetch" | "move" => found.of_database(SESSION),
        "show" => found.of_database(CATALOG),
        "listen" | "notify" => {
            let action = if first.is("listen") { LISTEN } else { NOTIFY };
            let name = rest.first().and_then(name_of).ok_or("a channel has no name")?;
            found.of(action, "channel", &escaped(&name.0))
        }
        "declare" => {
            let at = rest.iter().position(|token| token.is("for")).ok_or("a cursor has no query")?;
            found.of_database(SESSION)?;
            inside(rest.get(at + 1..).unwrap_or_default(), found, left)
        }
        "copy" => copy(rest, found, left),
        "truncate" => tables(skip(rest, &["table", "only"]), found, TRUNCATE),
        "lock" => tables(skip(rest, &["table", "only"]), found, LOCK),
        "create" => create(rest, found, left),
        "alter" => alter(rest, found),
        "drop" => drop_(rest, found),
        "comment" => found.of_database(DDL),
        "vacuum" | "analyze" | "analyse" | "reindex" | "cluster" | "refresh" => found.of_database(MAINTAIN),
        "call" => called(rest, found),
        "do" | "grant" | "revoke" | "security" | "reassign" | "load" | "import" | "checkpoint" => {
            found.of_database(ADMIN)
        }
        "execute" | "prepare" => Err("statements are prepared by the protocol, not by SQL"),
        _ => Err("it begins with a word that is not known"),
    }
}

/// The name that a token is.
fn name_of<'a>(token: &Token<'a>) -> Option<Part<'a>> {
    match token {
        Token::Word { text, quoted } if *quoted || !known::is_reserved(text) => Some((text.clone(), *quoted)),
        _ => None,
    }
}

/// A name of one or more parts, and what follows it.
fn name<'t, 'a>(tokens: Tokens<'t, 'a>) -> Result<(Vec<Part<'a>>, Tokens<'t, 'a>), Doubt> {
    let (mut parts, mut rest) = (Vec::new(), tokens);
    loop {
        let Some((part, after)) = rest.split_first() else { return Err("a name is missing") };
        parts.push(name_of(part).ok_or("a name is missing")?);
        match after.split_first() {
            Some((point, more)) if point.is_mark(".") => rest = more,
            _ => return Ok((parts, after)),
        }
    }
}

fn skip<'t, 'a>(mut tokens: Tokens<'t, 'a>, words: &[&str]) -> Tokens<'t, 'a> {
    while let Some((first, rest)) = tokens.split_first() {
        if !words.iter().any(|word| first.is(word)) {
            break;
        }
        tokens = rest;
    }
    tokens
}

fn table(parts: Name<'_>, found: &Found<'_>) -> Result<String, Doubt> {
    match found.relation(parts)? {
        Relation::Table(table) => Ok(table),
        Relation::Describes => Err("it changes the catalogue"),
    }
}

/// Several tables, until other words come. CASCADE reaches those that are not named.
fn tables(tokens: Tokens<'_, '_>, found: &mut Found<'_>, action: &str) -> Result<(), Doubt> {
    let mut rest = tokens;
    loop {
        let (parts, after) = name(skip(rest, &["only"]))?;
        found.of(action, "table", &table(&parts, found)?)?;
        let after = if after.first().is_some_and(|token| matches!(token, Token::Operator("*"))) {
            after.get(1..).unwrap_or_default()
        } else {
            after
        };
        match after.split_first() {
            Some((comma, more)) if comma.is_mark(",") => rest = more,
            _ => return cascades(after, found, action),
        }
    }
}

fn cascades(tokens: Tokens<'_, '_>, found: &mut Found<'_>, action: &str) -> Result<(), Doubt> {
    if tokens.iter().any(|token| token.is("cascade")) { found.of_database(action) } else { Ok(()) }
}

/// What is explained: with ANALYZE it is done, and without, functions may run while it is planned. So it is judged as if it were done.
fn explained<'t, 'a>(tokens: Tokens<'t, 'a>) -> Result<Tokens<'t, 'a>, Doubt> {
    if !tokens.first().is_some_and(|token| token.is_mark("(")) {
        return Ok(skip(tokens, &["analyze", "analyse", "verbose"]));
    }
    let end = tokens.iter().position(|token| token.is_mark(")")).ok_or("a bracket has no end")?;
    let options = tokens.get(1..end).unwrap_or_default();
    if options.iter().any(|token| token.is("select")) {
        // `EXPLAIN (SELECT ..)` explains a query in brackets.
        return Ok(tokens);
    }
    Ok(tokens.get(end + 1..).unwrap_or_default())
}

fn transaction(tokens: Tokens<'_, '_>, found: &mut Found<'_>) -> Result<(), Doubt> {
    if tokens.iter().any(|token| token.is("prepared")) {
        // COMMIT PREPARED ends the transaction of somebody else.
        return found.of_database(ADMIN);
    }
    // READ WRITE lifts what the session is held to.
    found.of_database(if tokens.iter().any(|token| token.is("write")) { READ_WRITE } else { SESSION })
}

fn set(tokens: Tokens<'_, '_>, found: &mut Found<'_>) -> Result<(), Doubt> {
    let tokens = match tokens.split_first() {
        Some((first, rest)) if first.is("session") || first.is("local") => {
            if rest.first().is_some_and(|next| next.is("authorization")) {
                return found.of_database(ADMIN);
            }
            rest
        }
        _ => tokens,
    };
    let Some((first, rest)) = tokens.split_first() else { return Err("a setting has no name") };
    match first.keyword().unwrap_or_default() {
        "role" => found.of_database(ADMIN),
        "transaction" | "characteristics" => {
            if rest.iter().any(|token| token.is("snapshot")) {
                return found.of_database(ADMIN);
            }
            found.of_database(if rest.iter().any(|token| token.is("write")) { READ_WRITE } else { SESSION })
        }
        "constraints" | "time" => found.of_database(SESSION),
        "names" => encoding(rest.first(), found),
        setting => {
            let value = rest.get(1);
            match setting {
                "client_encoding" => encoding(value, found),
                "standard_conforming_strings" if value.is_some_and(is_on) => found.of_database(SESSION),
                "transaction_read_only" | "default_transaction_read_only" => {
                    found.of_database(if value.is_some_and(is_on) { SESSION } else { READ_WRITE })
                }
                "search_path" if value.and_then(Token::keyword) == Some(super::calls::SCHEMA) && rest.len() == 2 => {
                    found.of_database(SESSION)
                }
                known if known::is_harmless_setting(known) => found.of_database(SESSION),
                _ => found.of_database(ADMIN),
            }
        }
    }
}

/// RESET gives back what the session began with, which is what it is held to; but a transaction's own settings began as the server's.
fn reset(tokens: Tokens<'_, '_>, found: &mut Found<'_>) -> Result<(), Doubt> {
    let setting = tokens.first().and_then(Token::keyword).ok_or("a setting has no name")?;
    let own = ["all", "time", "role", "session", "search_path", "client_encoding", "standard_conforming_strings"];
    found.of_database(match setting {
        "transaction_read_only" | "default_transaction_read_only" => READ_WRITE,
        word if own.contains(&word) || known::is_harmless_setting(word) => SESSION,
        _ => ADMIN,
    })
}

fn is_on(token: &Token<'_>) -> bool {
    let word = match token {
        Token::Text(Some(text)) => text,
        token => token.keyword().unwrap_or_default(),
    };
    matches!(word, "on" | "true" | "yes")
}

/// Statements are read as UTF-8, so the server must do so too.
fn encoding(value: Option<&Token<'_>>, found: &mut Found<'_>) -> Result<(), Doubt> {
    let word = match value {
        Some(Token::Text(Some(text))) => text.to_ascii_lowercase(),
        Some(token) => token.keyword().unwrap_or_default().to_owned(),
        None => String::new(),
    };
    found.of_database(if matches!(word.as_str(), "utf8" | "utf-8" | "unicode") { SESSION } else { ADMIN })
}

/// COPY: a table or a query, towards the client or from it. Files and programs are the server's own.
fn copy(tokens: Tokens<'_, '_>, found: &mut Found<'_>, left: usize) -> Result<(), Doubt> {
    let (source, rest) = if tokens.first().is_some_and(|token| token.is_mark("(")) {
        let end = closing(tokens)?;
        (None, tokens.get(end + 1..).unwrap_or_default())
    } else {
        let (parts, mut rest) = name(tokens)?;
        if rest.first().is_some_and(|token| token.is_mark("(")) {
            rest = rest.get(closing(rest)? + 1..).unwrap_or_default();
        }
        (Some(parts), rest)
    };
    let [direction, place, options @ ..] = rest else { return Err("a COPY goes nowhere") };
    let to = direction.is("to");
    if !to && !direction.is("from") {
        return Err("a COPY goes nowhere");
    }
    if !(place.is("stdout") || place.is("stdin")) {
        found.of_database(FILE)?;
    }
    match source {
        None => inside(tokens.get(1..closing(tokens)?).unwrap_or_default(), found, left),
        Some(parts) if to => found.read(&parts),
        Some(parts) => {
            found.of(INSERT, "table", &table(&parts, found)?)?;
            match options.iter().position(|token| token.is("where")) {
                // A condition may call functions and ask queries.
                Some(at) => query::condition(options.get(at + 1..).unwrap_or_default(), found),
                None => Ok(()),
            }
        }
    }
}

/// Where the bracket that the tokens begin with is closed.
fn closing(tokens: Tokens<'_, '_>) -> Result<usize, Doubt> {
    let mut open = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        if token.is_mark("(") {
            open += 1;
        } else if token.is_mark(")") {
            open = open.saturating_sub(1);
            if open == 0 {
                return Ok(at);
            }
        }
    }
    Err("a bracket has no end")
}

const IF: [&str; 3] = ["if", "not", "exists"];

fn create(tokens: Tokens<'_, '_>, found: &mut Found<'_>, left: usize) -> Result<(), Doubt> {
    if tokens.iter().any(|token| token.is("execute")) && !tokens.iter().any(|token| token.is("trigger")) {
        return Err("statements are prepared by the protocol, not by SQL");
    }
    let before = skip(tokens, &["global", "local", "unlogged", "unique", "recursive", "materialized"]);
    let temporary = before.first().is_some_and(|token| token.is("temp") || token.is("temporary"));
    let rest = skip(
        if tokens.first().is_some_and(|token| token.is("or")) { tokens.get(2..).unwrap_or_default() } else { before },
        &["temp", "temporary", "recursive", "materialized"],
    );
    let Some((kind, rest)) = rest.split_first() else { return Err("nothing is created") };
    match kind.keyword().unwrap_or_default() {
        word @ ("table" | "view" | "sequence" | "type" | "domain") => {
            let (parts, after) = name(skip(rest, &IF))?;
            let made = match parts.as_slice() {
                [(name, _)] if temporary => path("pg_temp", name),
                parts => table(parts, found)?,
            };
            found.of(DDL, "table", &made)?;
            // A child hands its rows to a table that is another's, and takes that one's.
            let child = |two: &[Token<'_>]| {
                two.first().is_some_and(|one| {
                    one.is("inherits") || one.is("partition") && two.get(1).is_some_and(|of| of.is("of"))
                })
            };
            if after.windows(2).any(child) {
                found.of_database(ADMIN)?;
            }
            functions(after, found)?;
            if !matches!(word, "table" | "view") {
                return Ok(());
            }
            // What it is made of is read now, or by everybody who reads it.
            match after.windows(2).position(|two| two.first().is_some_and(|one| one.is("as")) && begins_query(two)) {
                Some(at) => {
                    let rest = after.get(at + 1..).unwrap_or_default();
                    let end = rest.iter().rposition(|token| token.is("with")).filter(|at| *at > 0);
                    let data = |at: &usize| {
                        rest.iter().skip(*at).all(|token| ["with", "no", "data"].iter().any(|word| token.is(word)))
                    };
                    let end = end.filter(data).unwrap_or(rest.len());
                    inside(rest.get(..end).unwrap_or_default(), found, left)
                }
                None if word == "view" => Err("a view has no query"),
                None => Ok(()),
            }
        }
        "index" => {
            let at = rest.iter().position(|token| token.is("on")).ok_or("an index is on nothing")?;
            let (parts, after) = name(skip(rest.get(at + 1..).unwrap_or_default(), &["only"]))?;
            found.of(DDL, "table", &table(&parts, found)?)?;
            functions(after, found)
        }
        "schema" => {
            let (parts, after) = name(skip(rest, &IF))?;
            let [(schema, _)] = parts.as_slice() else { return Err("a schema has a name of many parts") };
            if after.is_empty() { found.of(DDL, "schema", &escaped(schema)) } else { found.of_database(ADMIN) }
        }
        _ => found.of_database(ADMIN),
    }
}

fn begins_query(two: &[Token<'_>]) -> bool {
    let second = two.get(1);
    second.is_some_and(|token| {
        token.is_mark("(") || ["select", "with", "values", "table"].iter().any(|word| token.is(word))
    })
}

/// Functions in a default, a check, an index: they run now or when others come. Behind a name stands a type.
fn functions(tokens: Tokens<'_, '_>, found: &mut Found<'_>) -> Result<(), Doubt> {
    for (at, two) in tokens.windows(2).enumerate() {
        let [Token::Word { text, quoted }, bracket] = two else { continue };
        if !bracket.is_mark("(") {
            continue;
        }
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        let named = ["references", "constraint"];
        // Words behind which an expression begins.
        let opens = ["between", "like", "ilike", "escape", "zone", "default", "using", "to"];
        let typed = before.and_then(name_of).is_some_and(|(word, _)| !opens.contains(&&*word))
            || before.is_some_and(|one| one.is_mark("::") || named.iter().any(|word| one.is(word)));
        let does = known::function(text);
        let keyword = !quoted && (known::is_reserved(text) || query::BEFORE_BRACKET.contains(&&**text));
        if does == known::Does::Reaches || !(typed || keyword) {
            found.function(&[(text.clone(), *quoted)])?;
        }
    }
    Ok(())
}

/// Words of ALTER that change who may do what, or what runs when others come.
const OTHERS: [&str; 13] = [
    "owner",
    "security",
    "trigger",
    "rule",
    "replica",
    "enable",
    "disable",
    "force",
    "attach",
    "inherit",
    "tablespace",
    "policy",
    "access",
];

fn alter(tokens: Tokens<'_, '_>, found: &mut Found<'_>) -> Result<(), Doubt> {
    let rest = skip(tokens, &["materialized"]);
    let Some((kind, rest)) = rest.split_first() else { return Err("nothing is altered") };
    let (ours, schema) = (["table", "view", "index", "sequence", "type", "domain"], "schema");
    if !ours.iter().any(|word| kind.is(word)) {
        return found.of_database(ADMIN);
    }
    let (parts, after) = name(skip(rest, &["if", "exists", "only"]))?;
    let moved = after.windows(2).any(|two| matches!(two, [set, to] if set.is("set") && to.is(schema)));
    if moved || after.iter().any(|token| OTHERS.iter().any(|word| token.is(word))) {
        return found.of_database(ADMIN);
    }
    let made = table(&parts, found)?;
    found.of(DDL, "table", &made)?;
    if after.iter().any(|token| token.is("drop")) {
        found.of(DROP, "table", &made)?;
        cascades(after, found, DROP)?;
    }
    functions(after, found)?;
    match after.iter().position(|token| token.is("using")) {
        // `ALTER .. TYPE .. USING expression` runs over every row.
        Some(at) => query::condition(after.get(at + 1..).unwrap_or_default(), found),
        None => Ok(()),
    }
}

fn drop_(tokens: Tokens<'_, '_>, found: &mut Found<'_>) -> Result<(), Doubt> {
    let rest = skip(tokens, &["materialized"]);
    let Some((kind, rest)) = rest.split_first() else { return Err("nothing is dropped") };
    let rest = skip(rest, &["concurrently", "if", "exists"]);
    match kind.keyword().unwrap_or_default() {
        "table" | "view" | "index" | "sequence" | "type" | "domain" => tables(rest, found, DROP),
        "schema" => {
            let (parts, after) = name(rest)?;
            let [(schema, _)] = parts.as_slice() else { return Err("a schema has a name of many parts") };
            if after.first().is_some_and(|token| token.is_mark(",")) {
                return Err("schemas are dropped one by one");
            }
            found.of(DROP, "schema", &escaped(schema))?;
            cascades(after, found, DROP)
        }
        _ => found.of_database(ADMIN),
    }
}

/// CALL: the procedure by its name, and what its arguments ask.
fn called(tokens: Tokens<'_, '_>, found: &mut Found<'_>) -> Result<(), Doubt> {
    let (parts, _) = name(tokens)?;
    let shown = match parts.as_slice() {
        [(name, _)] => path(super::calls::SCHEMA, name),
        [(schema, _), (name, _)] => path(schema, name),
        _ => return Err("a procedure has a name of many parts"),
    };
    found.of(FUNCTION, "function", &shown)?;
    query::condition(tokens, found)
}

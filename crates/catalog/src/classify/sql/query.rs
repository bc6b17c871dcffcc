//! Queries: what reads and changes rows. A parser of SQL says what stands where; what it finds is held against the tokens, which
//! are PostgreSQL's own: where the two do not agree, the statement is not understood.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Delete, Expr, FromTable, Ident, Insert, MergeAction, ObjectName, ObjectNamePart, OnConflictAction, OnInsert, Query,
    Select, SelectFlavor, SetExpr, Statement, TableAlias, TableFactor, TableObject, TableWithJoins, Update,
    UpdateTableFromKind, Visit, Visitor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::calls::{Found, Relation};
use super::known;
use super::lexer::{Doubt, Token, plain};
use crate::compiled::sql::{DDL, DELETE, INSERT, LOCK, SELECT, UPDATE};

const UNREAD: Doubt = "it is no statement that is understood here";
/// Levels to which the parser goes down.
const LEVELS_MAX: usize = 40;

/// Adds the calls of one query: SELECT, VALUES, TABLE, INSERT, UPDATE, DELETE, MERGE, with or without WITH.
pub(crate) fn read(tokens: &[Token<'_>], found: &mut Found<'_>) -> Result<(), Doubt> {
    let tokens = with_settings_read(without_shades(tokens));
    let text = plain(&tokens);
    let dialect = PostgreSqlDialect {};
    let parser = Parser::new(&dialect).with_recursion_limit(LEVELS_MAX).try_with_sql(&text);
    let statements = parser.and_then(|mut parser| parser.parse_statements()).map_err(|_| UNREAD)?;
    let [statement] = statements.as_slice() else { return Err(UNREAD) };
    let mut walk = Walk {
        found,
        scopes: Vec::new(),
        targets: HashSet::new(),
        named: HashSet::new(),
        verbs: HashSet::new(),
        locks: false,
    };
    if let ControlFlow::Break(doubt) = statement.visit(&mut walk) {
        return Err(doubt);
    }
    let Walk { named, verbs, locks, .. } = walk;
    compare(&tokens, &named, &verbs)?;
    if locks {
        for table in found.tables_read() {
            found.of(LOCK, "table", &table)?;
        }
    }
    Ok(())
}

/// Without words that make less of it: `ONLY` leaves the rows of inherited tables out (and is a keyword wherever it stands),
/// `FOR NO KEY UPDATE` and `FOR KEY SHARE` are weaker locks.
fn without_shades<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let ahead = |at: usize, word: &str| tokens.get(at).is_some_and(|one| one.is(word));
    let before = |at: usize, by: usize, word: &str| at.checked_sub(by).is_some_and(|at| ahead(at, word));
    let stays = |(at, token): &(usize, &Token<'a>)| {
        let at = *at;
        let row = before(at, 1, "row") || before(at, 1, "rows");
        let no = token.is("no") && before(at, 1, "for") && ahead(at + 1, "key");
        let key = token.is("key")
            && (before(at, 2, "for") && before(at, 1, "no") || before(at, 1, "for") && ahead(at + 1, "share"));
        !(token.is("only") && !row || no || key)
    };
    tokens.iter().enumerate().filter(stays).map(|(_, token)| token.clone()).collect()
}

/// `set_config` of a setting that lifts nothing, named by a plain literal, is no more than a look at it: drivers switch `jit` off so
/// while they look types up.
fn with_settings_read(mut tokens: Vec<Token<'_>>) -> Vec<Token<'_>> {
    for at in 0..tokens.len() {
        let Some([name, bracket, Token::Text(Some(setting)), comma, ..]) = tokens.get(at..) else { continue };
        let before = |by: usize| at.checked_sub(by).and_then(|at| tokens.get(at));
        let own = !before(1).is_some_and(|one| one.is_mark(".")) || before(2).is_some_and(|one| one.is("pg_catalog"));
        let whole = own && name.is("set_config") && bracket.is_mark("(") && comma.is_mark(",");
        if whole
            && known::is_harmless_setting(setting)
            && let Some(token) = tokens.get_mut(at)
        {
            *token = Token::Word { text: Cow::Borrowed("current_setting"), quoted: false };
        }
    }
    tokens
}

/// Words before a bracket that open no call of a function, besides those that are reserved.
pub(crate) const BEFORE_BRACKET: &[&str] = &[
    "values",
    "exists",
    "over",
    "filter",
    "within",
    "by",
    "sets",
    "rollup",
    "cube",
    "set",
    "key",
    "conflict",
    "insert",
    "materialized",
    "recursive",
    "returning",
    "row",
    "array",
    "some",
    "any",
    "all",
    "cast",
    "extract",
    "position",
    "substring",
    "trim",
    "overlay",
    "if",
    "matched",
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "grouping",
    "xmlparse",
    "xmlserialize",
    "xmlelement",
    "xmlforest",
    "repeatable",
    "interval",
    "time",
    "timestamp",
    "char",
    "character",
    "varchar",
    "numeric",
    "decimal",
    "bit",
    "varbit",
    "float",
    "precision",
    "varying",
    "bpchar",
    "timestamptz",
    "ordinality",
    "first",
    "next",
    "between",
    "symmetric",
    "escape",
    "zone",
    "then",
    "else",
];

/// Holds what was found against the tokens: every word before a bracket must be known, and no verb of change may stand there that
/// was not found.
fn compare(tokens: &[Token<'_>], named: &HashSet<String>, verbs: &HashSet<&'static str>) -> Result<(), Doubt> {
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        let after = tokens.get(at + 1);
        let Token::Word { text, quoted } = token else { continue };
        if after.is_some_and(|next| next.is_mark("(")) && !is_known_before_bracket((text, *quoted), before, named) {
            return Err("a word before a bracket was taken for something else than a function");
        }
        if *quoted || before.is_some_and(|one| one.is_mark(".")) {
            continue;
        }
        let follows = |words: &[&str]| before.is_some_and(|one| words.iter().any(|word| one.is(word)));
        let expected = match &**text {
            "insert" | "delete" | "merge" => verbs.contains(&**text) || verbs.contains("merge"),
            "update" => verbs.contains("update") || follows(&["for", "key", "do", "then"]),
            "into" => follows(&["insert", "merge"]) || verbs.contains("into"),
            "truncate" | "copy" | "call" | "grant" | "revoke" | "alter" | "drop" => false,
            _ => true,
        };
        if !expected {
            return Err("it holds a word of a change that was not found; quote it where it is a name");
        }
    }
    Ok(())
}

fn is_known_before_bracket((text, quoted): (&str, bool), before: Option<&Token<'_>>, named: &HashSet<String>) -> bool {
    named.contains(text)
        || before.is_some_and(|one| one.is_mark("::") || one.is("as"))
        || before.is_some_and(|one| one.is("tablesample")) && matches!(text, "system" | "bernoulli")
        || !quoted
            && (known::is_reserved(text)
                || BEFORE_BRACKET.contains(&text)
                || known::function(text) == known::Does::Computes)
}

/// The names that a WITH declares, and how many of them are in scope where the walk stands.
struct Scope {
    /// Name, and the address of its query: no name is in scope inside of a query that comes before its own.
    names: Vec<(String, usize)>,
    visible: usize,
}

struct Walk<'f, 's> {
    found: &'f mut Found<'s>,
    scopes: Vec<Scope>,
    /// Table factors that are changed and not read.
    targets: HashSet<usize>,
    /// Names that were taken for functions, and those that are declared with columns.
    named: HashSet<String>,
    /// Changes that were found.
    verbs: HashSet<&'static str>,
    locks: bool,
}

fn address<T>(of: &T) -> usize {
    std::ptr::from_ref(of).addr()
}

/// The parts of a name.
fn parts(name: &ObjectName) -> Result<Vec<(Cow<'_, str>, bool)>, Doubt> {
    let part = |part: &'_ ObjectNamePart| match part {
        ObjectNamePart::Identifier(ident) => Ok((Cow::Owned(ident.value.clone()), ident.quote_style.is_some())),
        ObjectNamePart::Function(_) => Err("a name is made by a function"),
    };
    name.0.iter().map(part).collect()
}

impl Walk<'_, '_> {
    fn read(&mut self, name: &ObjectName) -> Result<(), Doubt> {
        let parts = parts(name)?;
        if let [(only, _)] = parts.as_slice() {
            let in_scope = |scope: &Scope| scope.names.iter().take(scope.visible).any(|(name, _)| name == only);
            if self.scopes.iter().any(in_scope) {
                return Ok(());
            }
        }
        self.found.read(&parts)
    }

    fn function(&mut self, name: &ObjectName) -> Result<(), Doubt> {
        let parts = parts(name)?;
        if let Some((last, _)) = parts.last() {
            self.named.insert(last.to_string());
        }
        // Keywords with brackets of their own, for the parser functions like others.
        if matches!(parts.as_slice(), [(name, false)] if name == "row" || name == "array") {
            return Ok(());
        }
        self.found.function(&parts)
    }

    fn changed(&self, name: &ObjectName) -> Result<String, Doubt> {
        match self.found.relation(&parts(name)?)? {
            Relation::Table(table) => Ok(table),
            Relation::Describes => Err("it changes the catalogue"),
        }
    }

    fn target(&mut self, factor: &TableFactor) -> Result<String, Doubt> {
        self.targets.insert(address(factor));
        let TableFactor::Table { name, args: None, .. } = factor else { return Err(UNREAD) };
        self.alias(factor);
        self.changed(name)
    }

    fn insert(&mut self, insert: &Insert) -> Result<(), Doubt> {
        self.verbs.insert("insert");
        let strange = insert.or.is_some()
            || insert.overwrite
            || insert.replace_into
            || insert.partitioned.is_some()
            || insert.output.is_some()
            || !insert.assignments.is_empty()
            || insert.insert_alias.is_some()
            || !insert.multi_table_into_clauses.is_empty()
            || !insert.multi_table_when_clauses.is_empty();
        let TableObject::TableName(name) = &insert.table else { return Err(UNREAD) };
        if strange {
            return Err(UNREAD);
        }
        let table = self.changed(name)?;
        if let Some((last, _)) = parts(name)?.last() {
            self.named.insert(last.to_string());
        }
        self.found.of(INSERT, "table", &table)?;
        match &insert.on {
            None => {}
            Some(OnInsert::OnConflict(on)) => {
                if let OnConflictAction::DoUpdate(_) = &on.action {
                    self.found.of_rows(UPDATE, &table, true)?;
                }
            }
            Some(_) => return Err(UNREAD),
        }
        self.returns(insert.returning.is_some(), &table)
    }

    fn returns(&mut self, returning: bool, table: &str) -> Result<(), Doubt> {
        if returning { self.found.of(SELECT, "table", table) } else { Ok(()) }
    }

    fn update(&mut self, update: &Update) -> Result<(), Doubt> {
        self.verbs.insert("update");
        let strange = update.or.is_some()
            || update.output.is_some()
            || !update.table.joins.is_empty()
            || matches!(update.from, Some(UpdateTableFromKind::BeforeSet(_)));
        if strange {
            return Err(UNREAD);
        }
        let table = self.target(&update.table.relation)?;
        self.found.of_rows(UPDATE, &table, update.selection.is_some())?;
        self.returns(update.returning.is_some(), &table)
    }

    fn delete(&mut self, delete: &Delete) -> Result<(), Doubt> {
        self.verbs.insert("delete");
        let FromTable::WithFromKeyword(from) = &delete.from else { return Err(UNREAD) };
        let [TableWithJoins { relation, joins }] = from.as_slice() else { return Err(UNREAD) };
        if !joins.is_empty() || !delete.tables.is_empty() || delete.output.is_some() {
            return Err(UNREAD);
        }
        let table = self.target(relation)?;
        self.found.of_rows(DELETE, &table, delete.selection.is_some())?;
        self.returns(delete.returning.is_some(), &table)
    }

    fn statement(&mut self, statement: &Statement) -> Result<(), Doubt> {
        match statement {
            Statement::Query(_) => Ok(()),
            Statement::Insert(insert) => self.insert(insert),
            Statement::Update(update) => self.update(update),
            Statement::Delete(delete) => self.delete(delete),
            Statement::Merge(merge) => {
                self.verbs.insert("merge");
                self.verbs.insert("update");
                let table = self.target(&merge.table)?;
                for clause in &merge.clauses {
                    match &clause.action {
                        MergeAction::Insert(_) => self.found.of(INSERT, "table", &table)?,
                        MergeAction::Update(_) => self.found.of_rows(UPDATE, &table, true)?,
                        MergeAction::Delete { .. } => self.found.of_rows(DELETE, &table, true)?,
                        MergeAction::DoNothing { .. } => {}
                    }
                }
                // What it matches by tells of the rows, and so does what it returns.
                self.found.of(SELECT, "table", &table)
            }
            _ => Err(UNREAD),
        }
    }

    fn query(&mut self, query: &Query) -> Result<(), Doubt> {
        // Inside the query of a name, those that are declared before it are in scope.
        let own = address(query);
        if let Some(scope) = self.scopes.last_mut()
            && let Some(at) = scope.names.iter().position(|(_, address)| *address == own)
        {
            scope.visible = scope.visible.max(at);
        }
        let strange = query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty();
        if strange {
            return Err(UNREAD);
        }
        self.locks |= !query.locks.is_empty();
        let mut scope = Scope { names: Vec::new(), visible: 0 };
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                if cte.from.is_some() {
                    return Err(UNREAD);
                }
                self.declared(Some(&cte.alias));
                scope.names.push((cte.alias.name.value.clone(), address(&*cte.query)));
            }
            if with.recursive {
                scope.visible = scope.names.len();
            }
        }
        self.scopes.push(scope);
        bodies(&query.body)
    }

    fn select(&mut self, select: &Select) -> Result<(), Doubt> {
        let strange = !matches!(select.flavor, SelectFlavor::Standard)
            || select.top.is_some()
            || select.exclude.is_some()
            || select.select_modifiers.is_some()
            || !select.lateral_views.is_empty()
            || select.prewhere.is_some()
            || !select.connect_by.is_empty()
            || !select.cluster_by.is_empty()
            || !select.distribute_by.is_empty()
            || !select.sort_by.is_empty()
            || select.qualify.is_some()
            || select.value_table_mode.is_some();
        if strange {
            return Err(UNREAD);
        }
        if let Some(into) = &select.into {
            self.verbs.insert("into");
            let name: Vec<Ident> = match into.targets.as_slice() {
                [Expr::Identifier(name)] => vec![name.clone()],
                [Expr::CompoundIdentifier(parts)] => parts.clone(),
                _ => return Err(UNREAD),
            };
            let table = self.changed(&name.into())?;
            self.found.of(DDL, "table", &table)?;
        }
        Ok(())
    }

    fn factor(&mut self, factor: &TableFactor) -> Result<(), Doubt> {
        if self.targets.contains(&address(factor)) {
            return Ok(());
        }
        self.alias(factor);
        match factor {
            TableFactor::Table { name, args, version, partitions, json_path, index_hints, with_hints, .. } => {
                let strange = version.is_some()
                    || !partitions.is_empty()
                    || json_path.is_some()
                    || !index_hints.is_empty()
                    || !with_hints.is_empty();
                match args {
                    _ if strange => Err(UNREAD),
                    Some(_) => self.function(name),
                    None => self.read(name),
                }
            }
            TableFactor::Function { name, .. } => self.function(name),
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => Ok(()),
            TableFactor::UNNEST { .. } => {
                self.named.insert("unnest".to_owned());
                Ok(())
            }
            _ => Err(UNREAD),
        }
    }

    /// Names that are declared with columns stand before a bracket too.
    fn alias(&mut self, factor: &TableFactor) {
        match factor {
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => self.declared(alias.as_ref()),
            _ => {}
        }
    }

    fn declared(&mut self, alias: Option<&TableAlias>) {
        if let Some(alias) = alias.filter(|alias| !alias.columns.is_empty()) {
            self.named.insert(alias.name.value.clone());
        }
    }

    fn expression(&mut self, expr: &Expr) -> Result<(), Doubt> {
        match expr {
            Expr::Function(function) if function.uses_odbc_syntax => Err(UNREAD),
            Expr::Function(function) => self.function(&function.name),
            Expr::BinaryOp { op: sqlparser::ast::BinaryOperator::PGCustomBinaryOperator(_), .. } => {
                Err("an operator is named by its schema")
            }
            Expr::Convert { .. }
            | Expr::Prefixed { .. }
            | Expr::Dictionary(_)
            | Expr::Map(_)
            | Expr::Struct { .. }
            | Expr::Lambda(_)
            | Expr::Prior(_)
            | Expr::OuterJoin(_)
            | Expr::MatchAgainst { .. }
            | Expr::MemberOf(_)
            | Expr::JsonAccess { .. } => Err(UNREAD),
            _ => Ok(()),
        }
    }
}

/// `TABLE name` is no table factor.
fn bodies(body: &SetExpr) -> Result<(), Doubt> {
    match body {
        SetExpr::Table(_) => Err("write SELECT * FROM in place of TABLE"),
        SetExpr::SetOperation { left, right, .. } => bodies(left).and_then(|()| bodies(right)),
        _ => Ok(()),
    }
}

fn flow(result: Result<(), Doubt>) -> ControlFlow<Doubt> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(doubt) => ControlFlow::Break(doubt),
    }
}

impl Visitor for Walk<'_, '_> {
    type Break = Doubt;

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<Doubt> {
        flow(self.statement(statement))
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Doubt> {
        flow(self.query(query))
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Doubt> {
        self.scopes.pop();
        let own = address(query);
        if let Some(scope) = self.scopes.last_mut()
            && let Some(at) = scope.names.iter().position(|(_, address)| *address == own)
        {
            // From here on the name is in scope.
            scope.visible = scope.visible.max(at + 1);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Doubt> {
        flow(self.select(select))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Doubt> {
        flow(self.factor(factor))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Doubt> {
        flow(self.expression(expr))
    }

    fn pre_visit_ident(&mut self, ident: &Ident) -> ControlFlow<Doubt> {
        // `DEFAULT` in a list of values is one for the parser.
        let reserved = ident.quote_style.is_none() && ident.value != "default" && known::is_reserved(&ident.value);
        // The name of the constructor of arrays, for the parser a function.
        if reserved && ident.value != "array" { ControlFlow::Break(UNREAD) } else { ControlFlow::Continue(()) }
    }
}

/// The same for an expression that stands alone: a condition, a default, a call.
pub(crate) fn condition(tokens: &[Token<'_>], found: &mut Found<'_>) -> Result<(), Doubt> {
    let mut whole = vec![Token::Word { text: Cow::Borrowed("select"), quoted: false }];
    whole.extend_from_slice(tokens);
    read(&whole, found)
}

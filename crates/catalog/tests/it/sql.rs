//! Statements and what they must be: `tests/sql/statements.txt`, two lines each.

#![expect(clippy::expect_used, reason = "what helps a test may stop it")]

use std::fmt::Write as _;
use std::sync::LazyLock;

use catalog::{Catalog, ServiceFile};
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Host};
use model::{Call, Class, Classification, Fact};
use proptest::prelude::*;

const SERVICE: &str = include_str!("../sql/crm.yaml");
const STATEMENTS: &str = include_str!("../sql/statements.txt");

fn catalog() -> &'static Catalog {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
        Catalog::with(vec![ServiceFile::parse(SERVICE, "crm.yaml").expect("a service")]).expect("a catalogue")
    });
    &CATALOG
}

fn database() -> CanonicalRequest {
    CanonicalRequest::database(Host::parse("db.crm.test").expect("a host"), 5432, "crm").expect("a database")
}

fn read(catalog: &Catalog, sql: &str) -> Classification {
    catalog.classify(&database(), BodyView::Whole(sql.as_bytes())).expect("classified")
}

/// `class action resource [effect ...]`, and `all` or `some` where it says whether rows are chosen.
fn shown(call: &Call) -> String {
    let resource = call.resource.as_str().replace(":crm@", ":");
    let mut text = format!("{} {} {resource}", call.class, call.action.as_str().trim_start_matches("sql/"));
    for effect in call.effects.iter() {
        let _ = write!(text, " {effect}");
    }
    match call.facts.get("sql.where") {
        Some(Fact::Bool(true)) => text.push_str(" some"),
        Some(Fact::Bool(false)) => text.push_str(" all"),
        _ => {}
    }
    if let Some(Fact::Text(doubt)) = call.facts.get("sql.doubt") {
        return format!("unlisted: {doubt}");
    }
    text
}

fn told(catalog: &Catalog, sql: &str) -> String {
    let mut calls: Vec<String> = read(catalog, sql).calls.iter().map(shown).collect();
    calls.dedup();
    if calls.is_empty() { "nothing".to_owned() } else { calls.join("; ") }
}

#[test]
fn statements_are_what_they_do() {
    let (catalog, mut count, mut made, mut wrong) = (catalog(), 0, String::new(), Vec::new());
    let mut lines = STATEMENTS.lines().filter(|line| !line.is_empty());
    while let Some(sql) = lines.next() {
        if sql.starts_with('#') {
            let _ = writeln!(made, "\n{sql}");
            continue;
        }
        let want = lines.next().unwrap_or_default().trim_start_matches("    ");
        let got = told(catalog, sql);
        let _ = writeln!(made, "{sql}\n    {got}");
        if got != want {
            wrong.push(sql);
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}\nThe table as it is now:\n{made}");
    assert!(count >= 150, "{count}");
}

/// Words of which statements are made, for texts that look like some.
const WORDS: &[&str] = &[
    "select",
    "*",
    "from",
    "t",
    "(",
    ")",
    ",",
    ".",
    "with",
    "x",
    "as",
    "where",
    "a",
    "=",
    "1",
    "'s'",
    "$1",
    "insert",
    "into",
    "values",
    "update",
    "set",
    "delete",
    "union",
    "all",
    "join",
    "on",
    "and",
    "or",
    "not",
    "in",
    "exists",
    "case",
    "when",
    "then",
    "else",
    "end",
    "::",
    "int",
    "order",
    "by",
    "limit",
    "returning",
    "copy",
    "to",
    "stdout",
    "program",
    "\"q\"",
    "f",
    "for",
    "lateral",
    "array",
    "[",
    "]",
    ";",
    "--",
    "\n",
    "/*",
    "*/",
    "$$",
    "explain",
    "analyze",
    "create",
    "table",
    "merge",
    "using",
    "matched",
    "do",
    "nothing",
    "conflict",
    "recursive",
    "only",
    "-",
];

/// The only texts with the name of this table in which it is not found.
fn mentions(text: &str) -> bool {
    text.contains("secrets")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Whatever comes: an answer, and never one without a call where there is a statement that names a table.
    #[test]
    fn any_text_is_judged(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..40)) {
        let catalog = catalog();
        let _ = read(catalog, &words.join(" "));
    }

    #[test]
    fn any_octets_are_judged(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let catalog = catalog();
        let _ = catalog.classify(&database(), BodyView::Whole(&octets)).expect("classified");
    }

    /// What a text is may be said of every other of its shape, whatever the values.
    #[test]
    fn texts_of_one_shape_are_the_same(
        statements in proptest::collection::vec(proptest::sample::select(statements()), 1..3),
        words in proptest::collection::vec(proptest::sample::select(WORDS), 0..12),
        values in proptest::collection::vec(proptest::sample::select(VALUES), 8),
    ) {
        let made = words.join(" ");
        for text in [statements.join(" ; "), made.clone(), format!("{}, {made}", statements[0])] {
            let other = revalued(&text, &values);
            let shapes = [catalog::shape(text.as_bytes()), catalog::shape(other.as_bytes())];
            if let [Some(one), Some(two)] = shapes && one == two {
                let again = catalog::again(&read(catalog(), &text), other.as_bytes());
                prop_assert_eq!(&again.calls, &read(catalog(), &other).calls, "{}\n{}", text, other);
            }
        }
    }

    /// A table that is read is found wherever it stands, and however the words around it are written.
    #[test]
    fn a_table_is_found_wherever_it_stands(
        place in 0usize..12,
        blank in proptest::sample::select(&[" ", "\n", "\t", "/**/", "/* /* */ */", "--\n", "--\r"][..]),
        upper in any::<bool>(),
    ) {
        let places = [
            "select * from secrets",
            "select 1 from a, secrets s",
            "select 1 from a join secrets using (id)",
            "select (select max(x) from secrets)",
            "select 1 where exists (select 1 from secrets)",
            "with a as (select * from secrets) select 1",
            "insert into a select * from secrets",
            "update a set x = (select 1 from secrets)",
            "delete from a using secrets where true",
            "select 1 union select x from secrets",
            "copy (select * from secrets) to stdout",
            "create table a as select * from secrets",
        ];
        let text = places[place].replace(' ', blank);
        let text = if upper { text.to_uppercase() } else { text };
        prop_assert!(mentions(&text.to_lowercase()));
        let found = read(catalog(), &text);
        let is = |call: &Call| call.action.as_str() == "sql/select" && call.resource.as_str() == "table:crm@public.secrets";
        prop_assert!(found.calls.iter().any(is), "{text}: {:?}", found.calls);
    }
}

#[test]
fn what_is_deep_or_long_is_not_understood() {
    let catalog = catalog();
    let nested =
        |front: &str, back: &str, times: usize| format!("select {}1{}", front.repeat(times), back.repeat(times));
    for (what, sql) in [
        ("brackets", nested("(", ")", 10_000)),
        ("a chain", format!("select 1{}", "+1".repeat(100_000))),
        ("queries", format!("select {}1{}", "(select ".repeat(5_000), ")".repeat(5_000))),
        ("arrays", nested("array[", "]", 5_000)),
        ("signs", format!("select {}1", "- ".repeat(50_000))),
        ("nots", format!("select {}true", "not ".repeat(50_000))),
        ("unions", "select 1 union ".repeat(20_000)),
        ("joins", format!("select * from a {}", "join a using (x) ".repeat(9_000))),
        ("cases", format!("select {}1{}", "case when true then ".repeat(3_000), " end".repeat(3_000))),
        ("casts", format!("select 1{}", "::int".repeat(50_000))),
        ("points", format!("select a{}", ".a".repeat(100_000))),
        ("overlaps", format!("select 1{}", " overlaps 1".repeat(16_000))),
        ("xor", format!("select 1{}", " xor 1".repeat(16_000))),
        ("minus", format!("select 1{}", " minus select 1".repeat(9_000))),
        ("subscripts", format!("select a{}", "[1]".repeat(50_000))),
        ("many tables", format!("select * from {}", (0..1_000).map(|n| format!("t{n}")).collect::<Vec<_>>().join(","))),
        ("long", format!("select '{}'", "x".repeat(300_000))),
    ] {
        let found = read(catalog, &sql);
        let class = found.calls.iter().map(|call| call.class).max();
        assert_eq!(class, Some(Class::Admin), "{what}: {} calls", found.calls.len());
    }
    // As deep as may be, on the stack that a thread has.
    for sql in [
        format!("select 1{}", "+1".repeat(199)),
        format!("select * from t where {}", ["a = 1"; 90].join(" or ")),
        format!("select {}1{}", "(".repeat(30), ")".repeat(30)),
        format!("select * from t where id in ({}1)", "1,".repeat(10_000)),
        format!("select ''{}", "\n''".repeat(60_000)),
    ] {
        let found = read(catalog, &sql);
        assert!(found.calls.iter().all(|call| call.class == Class::Read), "{:?}", found.calls);
    }
}

#[test]
fn where_it_goes_is_a_call_too() {
    let catalog = catalog();
    let opened = catalog.classify(&database(), BodyView::Empty).expect("classified");
    assert_eq!(opened.calls.iter().map(shown).collect::<Vec<_>>(), ["read connect database:crm"]);
    let said = catalog.service("crm-db").expect("known").statements(&opened, b"delete from orders").expect("read");
    assert_eq!(said.calls.iter().map(shown).collect::<Vec<_>>(), ["delete delete table:public.orders all"]);
    for name in ["", "a/b", "a b", "..", "a%2fb", "caf\u{e9}", &"x".repeat(64)] {
        let host = Host::parse("db.crm.test").expect("a host");
        let judged =
            CanonicalRequest::database(host, 5432, name).map(|request| catalog.classify(&request, BodyView::Empty));
        assert!(!matches!(judged, Ok(Ok(_))), "{name}");
    }
}

/// Values that stand in for others: numbers and strings, plain, odd and of settings.
const VALUES: &[&str] = &[
    "0",
    "7",
    "999999999",
    "12345678901234567890",
    "1.5",
    "1e9",
    "''",
    "'x'",
    "'on'",
    "'jit'",
    "'role'",
    "'a''b'",
    "$$ ; $$",
    "E'\\''",
];

fn statements() -> Vec<&'static str> {
    STATEMENTS.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', ' '])).collect()
}

/// The text with its numbers and plain strings, which stand by themselves, exchanged for these, one after the other.
fn revalued(text: &str, values: &[&str]) -> String {
    let mut values = values.iter().cycle();
    let mut is_value = |word: &str| {
        let number = !word.is_empty() && word.bytes().all(|octet| octet.is_ascii_digit());
        let string =
            word.len() > 1 && word.starts_with('\'') && word.ends_with('\'') && !word.trim_matches('\'').contains('\'');
        if number || string { values.next().copied() } else { None }
    };
    let words: Vec<&str> = text.split(' ').map(|word| is_value(word).unwrap_or(word)).collect();
    words.join(" ")
}

#[test]
fn shapes_differ_where_a_literal_decides() {
    let same = |one: &str, two: &str| catalog::shape(one.as_bytes()) == catalog::shape(two.as_bytes());
    for (one, two) in [
        ("select * from t where id = 1", "select  * from t -- x\nwhere id = 999999999"),
        ("select * from t where a = 'x'", "SELECT * FROM t WHERE a = $$ ; drop table t $$"),
        ("insert into t values (1, 'a')", "insert into t values (2, 'b')"),
        ("commit", "COMMIT"),
    ] {
        assert!(same(one, two), "{one} / {two}");
    }
    for (one, two) in [
        ("select * from t", "select * from u"),
        ("select * from t", "select * from \"t\""),
        ("select 1; select 2", "select 1 select 2"),
        ("set client_encoding = 'UTF8'", "set client_encoding = 'LATIN1'"),
        ("set transaction_read_only = 'on'", "set transaction_read_only = 'off'"),
        ("select set_config('jit', 'off', false)", "select set_config('role', 'off', false)"),
        ("select pg_catalog.set_config('jit', 'off', false)", "select pg_catalog.set_config('role', 'off', false)"),
        ("explain select set_config('jit', 'off', false)", "explain select set_config('role', 'off', false)"),
        ("select * from t where a = 1", "select * from t where a = $1"),
        ("select * from t where a = 1", "select * from t where a = 1.5"),
        ("select 1", "select '1'"),
    ] {
        assert!(!same(one, two), "{one} / {two}");
    }
    assert_eq!(catalog::shape(b"select 'open"), None);
    assert_eq!(catalog::shape(&[0xff]), None);
}

/// What is done to rows and undone with its transaction.
const INSIDE: [&str; 12] = [
    "insert into orders values (1)",
    "update orders set x = 1 where id = 2",
    "delete from orders",
    "select count(*) from customers",
    "with x as (delete from notes returning *) insert into archive.notes select * from x",
    "merge into t using s on t.id = s.id when matched then delete",
    "truncate orders",
    "copy orders from stdin",
    "copy orders to stdout",
    "insert into orders select * from customers; update orders set x = 1",
    "values (1); insert into orders values (1)",
    "",
];

/// What ends a block, steps out of it, or is seen from outside before it ends; or may be, for all that can be told.
const OUTSIDE: [&str; 50] = [
    "select * from customers for update",
    "lock table orders in share mode",
    "commit",
    "COMMIT AND CHAIN",
    "end",
    "/* x */ end work",
    "rollback",
    "rollback and chain",
    "abort",
    "begin",
    "start transaction",
    "begin read write",
    "prepare transaction 'x'",
    "commit prepared 'x'",
    "savepoint a",
    "rollback to a",
    "call settle()",
    "do $$ begin perform 1; end $$",
    "select settle()",
    "select dblink_exec('host=x', 'delete from t')",
    "select pg_notify('c', 'x')",
    "notify c",
    "listen c",
    "copy orders to program 'cat'",
    "copy orders to '/tmp/x'",
    "copy orders from program 'cat'",
    "select nextval('s')",
    "insert into orders values (nextval('s'))",
    "select setval('s', 1)",
    "select pg_advisory_lock(1)",
    "select pg_terminate_backend(1)",
    "select lo_export(1, '/tmp/x')",
    "create table t (a int)",
    "create table t as select * from customers",
    "select * into t from customers",
    "create index concurrently i on orders (a)",
    "alter table orders add b int",
    "drop table orders",
    "vacuum orders",
    "refresh materialized view v",
    "grant select on orders to bob",
    "set role bob",
    "set session characteristics as transaction read write",
    "reset all",
    "discard all",
    "explain analyze insert into orders values (settle())",
    "declare c cursor with hold for select * from customers",
    "fetch all from c",
    "execute s",
    "vkabcdef",
];

#[test]
fn what_stays_inside_of_a_block_can_neither_end_it_nor_be_seen_from_outside() {
    let stays = |sql: &str| catalog::sql::stays_inside(&read(catalog(), sql));
    for sql in INSIDE {
        assert!(stays(sql), "{sql}");
    }
    for sql in OUTSIDE {
        assert!(!stays(sql), "{sql}");
        // Wherever it stands in a message: nothing that stays hides it, and it does not hide behind another of its kind.
        for inside in INSIDE {
            for all in [format!("{inside}; {sql}"), format!("{sql}; {inside}"), format!("{inside}; {sql}; {inside}")] {
                assert!(!stays(&all), "{all}");
            }
        }
    }
}

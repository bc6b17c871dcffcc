//! GraphQL: the corpus, every mutation of the table, hidden mutations, and tables that are wrong.

#![expect(clippy::expect_used, clippy::panic, reason = "what helps a test may stop it")]

use std::fmt::Write as _;
use std::sync::LazyLock;

use catalog::{Catalog, ServiceFile};
use http::{HeaderMap, HeaderValue, Method};
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Host, Length, Origin, Scheme, clean};
use model::{Call, Class, Classification, Effect, Fact, Refusal, Unknown};
use proptest::prelude::*;

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::builtin);
const JSON: &str = "application/json";
const DOCUMENT: &str = "application/graphql";

fn request(method: &str, target: &str, kind: &str, length: Length) -> CanonicalRequest {
    let whole = target.strip_prefix("https://").and_then(|rest| Some((rest, rest.find('/')?)));
    let (host, target) = whole.map_or(("api.github.com", target), |(rest, at)| rest.split_at(at));
    let origin = Origin { scheme: Scheme::Https, host: Host::parse(host).expect("a host"), port: 443 };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_str(kind).expect("a type"));
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    CanonicalRequest::new(method, origin, target, clean(headers).expect("clean"), length).expect("canonical")
}

fn post(target: &str, kind: &str, body: &[u8]) -> Result<Classification, Refusal> {
    let request = request("POST", target, kind, Length::Known(body.len() as u64));
    CATALOG.classify(&request, BodyView::Whole(body))
}

/// The calls of a document without variables.
fn of(document: &str) -> Vec<String> {
    let found =
        post("/graphql", DOCUMENT, document.as_bytes()).unwrap_or_else(|refusal| panic!("{document}: {refusal:?}"));
    found.calls.iter().map(line).collect()
}

/// `class action resource [effect ...]`.
fn line(call: &Call) -> String {
    let mut text = format!("{} {} {}", call.class, call.action, call.resource);
    for effect in call.effects.iter() {
        let _ = write!(text, " {effect}");
    }
    text
}

#[test]
fn the_corpus_holds() {
    let text = include_str!("../graphql/corpus.txt");
    let mut failures = Vec::new();
    let mut count = 0;
    for block in text.split("\n=== ").skip(1) {
        count += 1;
        let (head, rest) = block.split_once('\n').expect("a head");
        let (body, want) = rest.split_once("\n=>\n").expect("an outcome");
        let [name, kind, target] = head.split(" | ").collect::<Vec<_>>()[..] else { panic!("{head}") };
        let mut body: Vec<&str> = body.lines().collect();
        for line in &mut body {
            *line = line.strip_prefix('|').unwrap_or(line);
        }
        let mut body = body.join("\n");
        for (mark, text) in
            [("<CR>", "\r"), ("<BOM>", "\u{feff}"), ("<NUL>", "\0"), ("<LS>", "\u{2028}"), ("<NBSP>", "\u{a0}")]
        {
            body = body.replace(mark, text);
        }
        let got = match post(target, kind, body.as_bytes()) {
            Ok(found) => found.calls.iter().map(line).collect::<Vec<_>>().join("\n"),
            Err(refusal) => format!("refused {}", refusal.code),
        };
        if got != want.trim_end() {
            failures.push(format!("{name}:\n{got}\nand not\n{}", want.trim_end()));
        }
    }
    assert!(count > 80, "{count} documents");
    assert!(failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n\n"));
}

/// The names of the table of github.yaml.
fn listed() -> Vec<&'static str> {
    let source = include_str!("../../services/github.yaml");
    let table =
        source.split("  mutations: |\n").nth(1).and_then(|rest| rest.split("\nmcp:\n").next()).expect("a table");
    let lines = table.lines().map(str::trim).filter(|line| !line.starts_with(['#', '+']) && !line.is_empty());
    let mut names: Vec<&str> = lines.filter_map(|line| line.split([' ', '[']).next()).collect();
    names.dedup();
    names
}

#[test]
fn every_mutation_changes_something() {
    let names = listed();
    assert!(names.len() > 270, "{}", names.len());
    for name in names {
        let found =
            post("/graphql", DOCUMENT, format!("mutation {{ {name}(input: {{}}) {{ clientMutationId }} }}").as_bytes());
        let found = found.expect(name);
        for call in &found.calls {
            assert!(call.class > Class::Read, "{name}: {}", line(call));
            assert!(!call.action.as_str().starts_with("graphql/"), "{name}: {}", line(call));
            assert_eq!(call.facts.get("graphql.mutation"), Some(&Fact::Text(name.into())));
        }
        let deletes = name.starts_with("delete") && found.calls.iter().all(|call| call.class == Class::Write);
        let undone = ["deleteLinkedBranch", "deleteIssueFieldValue"].contains(&name);
        assert!(!deletes || undone, "{name} deletes: {}", line(&found.calls[0]));
    }
}

/// Method, path and body of REST, and the mutation that is the same.
const DOORS: &[(&str, &str, &str, &str)] = &[
    ("PUT", "/repos/o/r/pulls/1/merge", "{}", r#"mergePullRequest(input:{pullRequestId:"P"})"#),
    ("PUT", "/repos/o/r/pulls/1/merge", "{}", r#"enablePullRequestAutoMerge(input:{pullRequestId:"P"})"#),
    ("PUT", "/repos/o/r/pulls/1/merge", "{}", r#"enqueuePullRequest(input:{pullRequestId:"P"})"#),
    (
        "POST",
        "/repos/o/r/merges",
        r#"{"base":"main"}"#,
        r#"mergeBranch(input:{repositoryId:"R",base:"main",head:"x"})"#,
    ),
    (
        "POST",
        "/repos/o/r/git/refs",
        r#"{"ref":"refs/heads/x"}"#,
        r#"createRef(input:{repositoryId:"R",name:"refs/heads/x"})"#,
    ),
    ("PATCH", "/repos/o/r/git/refs/heads/x", "{}", r#"updateRef(input:{refId:"R"})"#),
    ("PATCH", "/repos/o/r/git/refs/heads/x", r#"{"force":true}"#, r#"updateRef(input:{refId:"R",force:true})"#),
    ("DELETE", "/repos/o/r/git/refs/heads/x", "", r#"deleteRef(input:{refId:"R"})"#),
    (
        "PUT",
        "/repos/o/r/contents/a.md",
        r#"{"branch":"main"}"#,
        r#"createCommitOnBranch(input:{branch:{repositoryNameWithOwner:"o/r",branchName:"main"},fileChanges:{additions:[{path:"a.md"}]}})"#,
    ),
    (
        "PUT",
        "/repos/o/r/contents/.github/workflows/a.yml",
        r#"{"branch":"main"}"#,
        r#"createCommitOnBranch(input:{branch:{repositoryNameWithOwner:"o/r",branchName:"main"},fileChanges:{additions:[{path:".github/workflows/a.yml"}]}})"#,
    ),
    ("PATCH", "/repos/o/r", r#"{"archived":true}"#, r#"archiveRepository(input:{repositoryId:"R"})"#),
    ("PATCH", "/repos/o/r", r#"{"name":"x"}"#, r#"updateRepository(input:{repositoryId:"R",name:"x"})"#),
    (
        "PUT",
        "/repos/o/r/branches/main/protection",
        "{}",
        r#"updateBranchProtectionRule(input:{branchProtectionRuleId:"B"})"#,
    ),
    (
        "DELETE",
        "/repos/o/r/branches/main/protection",
        "",
        r#"deleteBranchProtectionRule(input:{branchProtectionRuleId:"B"})"#,
    ),
    (
        "DELETE",
        "/orgs/o/outside_collaborators/x",
        "",
        r#"removeOutsideCollaborator(input:{organizationId:"O",userId:"U"})"#,
    ),
    (
        "POST",
        "/repos/o/r/actions/runs/1/pending_deployments",
        "{}",
        r#"approveDeployments(input:{workflowRunId:"W",environmentIds:["E"]})"#,
    ),
    ("PUT", "/repos/o/r/environments/prod", "{}", r#"updateEnvironment(input:{environmentId:"E"})"#),
    ("POST", "/repos/o/r/issues", r#"{"title":"t"}"#, r#"createIssue(input:{repositoryId:"R",title:"t"})"#),
    ("POST", "/repos/o/r/issues/1/comments", r#"{"body":"b"}"#, r#"addComment(input:{subjectId:"I",body:"b"})"#),
    ("POST", "/repos/o/r/pulls", r#"{"title":"t"}"#, r#"createPullRequest(input:{repositoryId:"R",title:"t"})"#),
    ("POST", "/repos/o/r/pulls/1/reviews", "{}", r#"addPullRequestReview(input:{pullRequestId:"P",event:APPROVE})"#),
];

/// The same thing by REST and by GraphQL: action, class and effects.
#[test]
fn side_doors_lead_to_the_same_room() {
    for (method, target, body, document) in DOORS.iter().copied() {
        let rest = request(method, target, JSON, Length::Known(body.len() as u64));
        let rest = CATALOG.classify(&rest, BodyView::Whole(body.as_bytes())).expect(target);
        let text = format!("mutation {{ {document} {{ clientMutationId }} }}");
        let found = post("/graphql", DOCUMENT, text.as_bytes()).expect(document);
        let what = |call: &Call| (call.action.clone(), call.class, call.effects);
        assert_eq!(found.calls.iter().map(what).collect::<Vec<_>>(), [what(&rest.calls[0])], "{document}");
    }
}

#[test]
fn facts_are_told_absent_or_unknown() {
    let text =
        r#"mutation { mergePullRequest(input: {pullRequestId: "P", mergeMethod: REBASE}) { clientMutationId } }"#;
    let found = post("/graphql", DOCUMENT, text.as_bytes()).expect("classified");
    let fact = |name: &str| found.calls[0].facts.get(name).cloned();
    assert_eq!(fact("body.merge_method"), Some(Fact::Text("rebase".into())));
    // Known to be absent; the number is there, but this road does not say it.
    assert_eq!(fact("body.sha"), None);
    assert_eq!(fact("path.pull_number"), Some(Fact::Unknown(Unknown::NotTold)));
    let text = r#"mutation { a: createIssue(input: {repositoryId: "R", title: {x: 1}}) { clientMutationId } }"#;
    let found = post("/graphql", DOCUMENT, text.as_bytes()).expect("classified");
    assert_eq!(found.calls[0].facts.get("body.title"), Some(&Fact::Unknown(Unknown::WrongType)));
    let vocabulary = CATALOG.vocabulary();
    let words = &vocabulary.services["github"];
    assert!(words.actions["graphql/run-query"].facts.contains_key("graphql.fields"));
    assert!(words.actions["discussions/create"].facts.contains_key("body.title"));
    assert!(words.kinds.iter().any(|kind| kind == "node"));
}

#[test]
fn what_is_not_read_is_all_that_it_could_be() {
    let unread = request("POST", "/graphql", JSON, Length::Known(40));
    let found = CATALOG.classify(&unread, BodyView::NotRead).expect("classified");
    assert!(found.needs_body);
    assert_eq!(found.class(), Class::Admin);
    assert_eq!(found.effects().iter().count(), Effect::ALL.len());
    let refusal = CATALOG.classify(&unread, BodyView::TooLarge(&[])).expect_err("too large");
    assert_eq!(refusal.code, model::Code::TooLarge);
    let refusal = CATALOG.classify(&unread, BodyView::Empty).expect_err("no document");
    assert_eq!(refusal.code, model::Code::Malformed);
    // A GET with a body, and one with two documents.
    let get = request("GET", "/graphql?query=%7Ba%7D", JSON, Length::Known(4));
    assert!(CATALOG.classify(&get, BodyView::Whole(b"{\"a\"")).is_err());
    let get = request("GET", "/graphql?query=%7Ba%7D&query=mutation%7Ba%7D", JSON, Length::Empty);
    assert!(CATALOG.classify(&get, BodyView::Empty).is_err());
    let get = request("GET", "/graphql?query=mutation%7BaddStar%7Ba%7D%7D", JSON, Length::Empty);
    assert_eq!(CATALOG.classify(&get, BodyView::Empty).expect("classified").class(), Class::Write);
}

fn joined(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |text, number| text + &each(number))
}

#[test]
fn bounds() {
    let deep = |count: usize| format!("{{ {}a{} }}", "a{".repeat(count), "}".repeat(count));
    assert!(post("/graphql", DOCUMENT, deep(50).as_bytes()).is_ok());
    assert!(post("/graphql", DOCUMENT, deep(70).as_bytes()).is_err());
    let lists = format!("{{ a(b: {}1{}) }}", "[".repeat(70_000), "]".repeat(70_000));
    assert!(post("/graphql", DOCUMENT, lists.as_bytes()).is_err());
    let types = format!("query($a: {}Int{}) {{ a }}", "[".repeat(500), "]".repeat(500));
    assert!(post("/graphql", DOCUMENT, types.as_bytes()).is_err());
    let field = r#"closeIssue(input: {issueId: "I"}) { clientMutationId }"#;
    let many = |count: usize| format!("mutation {{ {} }}", joined(count, |n| format!("a{n}: {field} ")));
    assert_eq!(of(&many(200)).len(), 200);
    let refusal = post("/graphql", DOCUMENT, many(300).as_bytes()).expect_err("too many");
    assert_eq!(refusal.code, model::Code::TooLarge);
    // Each fragment spreads the next one twice: 2^40 fields to a reader that follows all.
    let bomb: String = joined(40, |n| format!("fragment F{n} on Mutation {{ ...F{} ...F{} }} ", n + 1, n + 1));
    let bomb = format!("mutation {{ ...F0 }} {bomb} fragment F40 on Mutation {{ {field} }}");
    assert_eq!(of(&bomb), ["write issues/update node:I"]);
    // One list, named by 200 fields.
    let items = r#"{"path":"x"},"#.repeat(20_000);
    let fields: String = joined(200, |n| format!("a{n}: createCommitOnBranch(input: $i) {{ clientMutationId }} "));
    let body = format!(
        r#"{{"query":"mutation($i: X) {{ {fields} }}","variables":{{"i":{{"fileChanges":{{"additions":[{items}{{}}]}}}}}}}}"#
    );
    assert!(post("/graphql", JSON, body.as_bytes()).is_err());
}

const TABLE: &str = r"
name: crm
title: CRM
hosts: [crm.example]
actions:
  - { id: graphql, match: POST /graphql, class: admin }
  - { id: people/add, match: POST /people, class: admin, effects: [escalates], facts: { body.name: text } }
graphql:
  action: graphql
  mutations: |
    LINES
";

#[test]
fn a_table_that_is_wrong_says_where() {
    let load = |lines: &str| {
        let file = ServiceFile::parse(&TABLE.replace("LINES", lines), "crm.yaml")?;
        Catalog::with(vec![file]).map(drop)
    };
    assert_eq!(
        load("addPerson people/add person:{id} body.name=person.name").err().map(|error| error.to_string()),
        None
    );
    for (lines, want) in [
        ("addPerson people/ad person:{id}", "no action `people/ad`; did you mean `people/add`?"),
        ("addPerson people/add", "it acts on nothing; write `node:{id}`"),
        ("addPerson", "write `name actions resource fact=place`"),
        ("add-person people/add person:{id}", "its name is none of GraphQL"),
        ("addPerson[x people/add person:{id}", "its condition has no `]`"),
        ("addPerson[x] people/add person:{id}", "the last line of `addPerson` has a condition"),
        (
            "addPerson people/add person:{id} body.nam=x",
            "no action of this line has a fact `body.nam`; did you mean `body.name`?",
        ),
        ("addPerson write:people/add person:{id}", "`people/add` has patterns"),
        ("addPerson wrte:people/x person:{id}", "no class or effect `wrte`; did you mean `write`?"),
        ("addPerson write:graphql/addPerson person:{id}", "is what a mutation of this name is called"),
        ("addPerson people/add person", "has no kind"),
        ("a write:x/y p:{id}\n    b admin:x/y p:{id}", "`x/y` has another class or other effects above"),
        ("a people/add p:{id}\n    a people/add p:{id}", "`a` stands here twice without a condition"),
    ] {
        let error = load(lines).expect_err(lines).to_string();
        assert!(error.contains(want), "{lines}: {error}");
    }
    let file = TABLE.replace("action: graphql\n", "action: graph\n").replace("LINES", "");
    let error = Catalog::with(vec![ServiceFile::parse(&file, "crm.yaml").expect("reads")]).expect_err("no such action");
    assert!(error.to_string().contains("no action `graph`"), "{error}");
}

/// Blanks that mean nothing.
fn blank() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(&[" ", ",", "\n", "\t", "\r\n", "\u{feff}", "# } \"mutation\n", "#\n"][..]),
        1..4,
    )
    .prop_map(|parts| parts.concat())
}

/// Ways to hide a field of the root.
fn hidden(field: String) -> impl Strategy<Value = String> {
    let wrap = prop::sample::select(
        &["...on Mutation{%}", "...{%}", "... on Query @skip(if:true){%}", "...@include(if:false){%}"][..],
    );
    let fragments = 0usize..4;
    (prop::collection::vec(wrap, 0..4), fragments, prop::option::of("[a-z_]{1,8}"), any::<bool>(), blank()).prop_map(
        move |(wraps, fragments, alias, first, blank)| {
            let mut inner = alias.map_or_else(|| field.clone(), |alias| format!("{alias}:{field}"));
            let mut definitions = String::new();
            for number in 0..fragments {
                let _ = write!(definitions, " fragment f{number} on Mutation {{ {inner} }} ");
                inner = format!("...f{number}");
            }
            for wrap in wraps {
                inner = wrap.replace('%', &inner);
            }
            let operation = format!("mutation Do{{{inner}}}");
            let text = if first { format!("{definitions}{operation}") } else { format!("{operation}{definitions}") };
            // Between two marks a blank changes nothing.
            text.replace('{', &format!("{blank}{{{blank}")).replace('(', &format!("({blank}"))
        },
    )
}

/// Text as JSON, every character escaped or none.
fn quoted(text: &str, escaped: bool) -> String {
    if !escaped {
        return serde_json::Value::from(text).to_string();
    }
    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
    format!("\"{}\"", units.collect::<String>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// However a mutation is hidden, it is the same call.
    #[test]
    fn a_hidden_mutation_is_the_same_call(
        text in hidden(r#"deleteRef(input:{refId:"REF_1"}){clientMutationId}"#.to_owned()),
        escaped in any::<bool>(),
        batch in any::<bool>(),
        decoy in any::<bool>(),
    ) {
        let text = if decoy { format!("query Read{{viewer{{login}}}} {text}") } else { text };
        let name = if decoy { r#","operationName":"Do""# } else { "" };
        let body = format!(r#"{{"query":{}{name}}}"#, quoted(&text, escaped));
        let body = if batch { format!("[{body}]") } else { body };
        let found = post("/graphql", JSON, body.as_bytes()).expect(&text);
        prop_assert_eq!(found.calls.iter().map(line).collect::<Vec<_>>(), ["delete git/delete-ref node:REF_1 branch-write"]);
    }

    /// However an identifier is given, it is the same resource.
    #[test]
    fn an_identifier_is_the_same_however_it_is_given(id in "[A-Za-z0-9_=-]{1,20}", way in 0usize..6) {
        let doc = |declared: &str, given: &str| format!("mutation{declared}{{closeIssue(input:{given}){{clientMutationId}}}}");
        let (text, variables) = match way {
            0 => (doc("", &format!("{{issueId:\"{id}\"}}")), "{}".to_owned()),
            1 => (doc("", &format!("{{issueId:\"\"\"{id}\"\"\"}}")), "{}".to_owned()),
            2 => (doc("($a:ID!)", "{issueId:$a}"), format!(r#"{{"a":"{id}"}}"#)),
            3 => (doc("($a:X!)", "$a"), format!(r#"{{"a":{{"issueId":"{id}"}}}}"#)),
            4 => (doc(&format!("($a:ID=\"{id}\")"), "{issueId:$a}"), "{}".to_owned()),
            _ => (doc("($a:ID!)", "{issueId:$a}"), format!(r#"{{"a":{}}}"#, quoted(&id, true))),
        };
        let body = format!(r#"{{"query":{},"variables":{variables}}}"#, quoted(&text, false));
        let found = post("/graphql", JSON, body.as_bytes()).expect(&text);
        prop_assert_eq!(found.calls.iter().map(line).collect::<Vec<_>>(), [format!("write issues/update node:{id}")]);
    }

    /// Whatever comes, there is an answer with calls, or a refusal.
    #[test]
    fn never_panics(
        text in r#"(mutation|query|fragment|on|deleteRef|input|true|null|\{|\}|\(|\)|\[|\]|:|\$|@|!|=|\.\.\.|"""|"|\\|#|\n|\r|,| |[a-z]|[0-9]|-|\u{feff}|\u{2028}|é){0,60}"#,
        octets in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let escaped = format!(r#"{{"query":{}}}"#, quoted(&text, false));
        for (kind, body) in [(DOCUMENT, text.as_bytes()), (JSON, escaped.as_bytes()), (JSON, &octets), (DOCUMENT, &octets)] {
            if let Ok(found) = post("/graphql", kind, body) {
                prop_assert!(!found.calls.is_empty());
                for call in &found.calls {
                    prop_assert!(!CATALOG.service("github").expect("known").sentence(call).is_empty());
                }
            }
        }
    }
}

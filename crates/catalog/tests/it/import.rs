//! Drafts of service files, made of descriptions.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "what helps a test may stop it")]

use catalog::import::{Draft, ImportError, Wish, import};
use catalog::{Catalog, ServiceFile};
use proptest::prelude::*;
use serde_json::{Value, json};

const OPENAPI: &str = r##"
openapi: 3.1.0
info: { title: Contacts API, version: "1" }
servers: [{ url: "https://{region}.crm.example/api/v2", variables: { region: { default: eu } } }]
components:
  securitySchemes:
    key: { type: apiKey, in: header, name: X-Api-Key }
    login: { type: oauth2 }
  schemas:
    Contact:
      allOf: [{ $ref: "#/components/schemas/Named" }]
      properties: { email: { type: [string, "null"] }, age: { type: integer }, tags: { type: array, items: { type: string } }, deep: { type: object } }
    Named: { properties: { name: { type: string } } }
    Loop: { $ref: "#/components/schemas/Loop" }
paths:
  /accounts/{account-id}/contacts:
    get: { operationId: listContacts }
    post:
      operationId: createContact
      summary: "Create a {contact}."
      requestBody: { content: { application/json: { schema: { $ref: "#/components/schemas/Contact" } } } }
  /accounts/{account-id}/contacts/{id}:
    get: {}
    delete: { operationId: contacts delete }
  /accounts/{account-id}/members: { post: { operationId: addMember, requestBody: { content: { application/json: { schema: { $ref: "#/components/schemas/Loop" } } } } } }
  /repos/{owner}/{repo}/webhooks: { post: { operationId: createWebhook } }
  /files/{id}.json: { get: { operationId: getFile } }
  /files/{name}: { get: { operationId: getFileByName } }
  /tokens: { get: { operationId: listTokens } }
"##;

fn draft(text: &str, wish: Wish<'_>) -> Draft {
    import(text, wish).unwrap_or_else(|error| panic!("{error}"))
}

/// What the draft takes requests for, as its own cases say; they hold.
fn cases(draft: &Draft) -> Vec<(String, String)> {
    let file = ServiceFile::parse(&draft.yaml, "draft.yaml").expect("a service file");
    let catalog = Catalog::with(vec![file]).expect("a catalogue");
    for outcome in catalog.test(&draft.name) {
        assert_eq!(outcome.failure, None, "{}", outcome.request);
    }
    let value: Value = serde_saphyr::from_str(&draft.yaml).expect("YAML");
    let text = |case: &Value, key: &str| case[key].as_str().unwrap_or_default().to_owned();
    value["cases"].as_array().into_iter().flatten().map(|case| (text(case, "request"), text(case, "expect"))).collect()
}

#[test]
fn an_openapi_description() {
    let draft = draft(OPENAPI, Wish::default());
    assert_eq!((draft.name.as_str(), draft.operations, draft.guessed), ("contacts-api", 8, 2));
    let want = [
        ("GET /accounts/x1/contacts", "read listContacts account:x1"),
        ("POST /accounts/x1/contacts", "write createContact account:x1"),
        ("GET /accounts/x1/contacts/x1", "read operations/get-accounts-contacts contact:x1/x1"),
        ("DELETE /accounts/x1/contacts/x1", "delete contacts-delete contact:x1/x1"),
        ("POST /accounts/x1/members", "admin addMember account:x1 escalates"),
        ("POST /repos/x1/x1/webhooks", "write createWebhook repo:x1/x1 exfil"),
        ("GET /files/x1", "read getFile file:x1"),
        ("GET /tokens", "read listTokens resource:/tokens"),
    ];
    assert_eq!(cases(&draft), want.map(|(request, expect)| (request.to_owned(), expect.to_owned())));
    for part in [
        "hosts: [{ host: \"eu.crm.example\", base: \"/api/v2\" }]",
        "schemes: [{ header: { name: \"X-Api-Key\" } }, { bearer: {} }]",
        "parents: { contact: account }",
        r#"facts: { "body.name": text, "body.email": text, "body.age": int, "body.tags": list }, sentence: "Create a contact ({resource})""#,
        "# review: may change who may do what, or mint a credential: addMember",
        "# review: may hand out a secret: say `answer: secret` or `captures` if it does: listTokens",
    ] {
        assert!(draft.yaml.contains(part), "{part}\n{}", draft.yaml);
    }
    assert_eq!(draft.left_out.len(), 2, "{:?}", draft.left_out);
    assert!(draft.left_out[1].contains("`GET /files/{name}`: in patterns it is the same as `getFile`"));
}

#[test]
fn a_swagger_description() {
    let text = json!({
        "swagger": "2.0", "info": { "title": "Old" }, "host": "old.example:8443", "basePath": "/v1/",
        "securityDefinitions": { "b": { "type": "basic" } },
        "paths": { "/orders/{id}/refund": { "post": { "operationId": "refund", "parameters": [
            { "in": "formData", "name": "amount", "type": "integer" }, { "in": "path", "name": "id" } ] } } },
    });
    let draft = draft(&text.to_string(), Wish::default());
    let want = ("POST /orders/x1/refund".to_owned(), "admin refund order:x1".to_owned());
    assert!(draft.yaml.contains("ports: [8443], base: \"/v1\"") && draft.yaml.contains("schemes: [{ basic: {} }]"));
    assert!(draft.yaml.contains("accepts: [form]") && draft.yaml.contains("\"body.amount\": int"));
    // Cases are asked of port 443, where this service is not.
    assert!(cases(&draft).is_empty() || cases(&draft) == [want]);
}

#[test]
fn the_tools_of_a_server() {
    let tools = json!([
        { "name": "get_issue", "inputSchema": { "properties": { "id": { "type": "string" } } } },
        { "name": "create_issue", "description": "Make one.\nMore", "inputSchema": { "properties": { "title": { "type": "string" }, "no good": { "type": "string" } } } },
        { "name": "compute", "annotations": { "readOnlyHint": true } },
        { "name": "get_all", "annotations": { "readOnlyHint": false } },
        { "name": "wipe_all", "annotations": { "destructiveHint": true } },
        { "name": "delete_all", "annotations": { "readOnlyHint": true } },
        { "name": "read_and_forward" },
        { "name": "compute" }, { "name": "a b" },
    ]);
    for text in
        [json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": tools } }), json!({ "tools": tools }), tools.clone()]
    {
        let wish = Wish { name: Some("tracker"), host: Some("mcp.tracker.example"), at: Some("/v1/mcp") };
        let draft = draft(&text.to_string(), wish);
        let expects: Vec<String> = cases(&draft).into_iter().map(|(_, expect)| expect).collect();
        assert_eq!(
            expects,
            [
                "read tools/get_issue tool:get_issue",
                "write tools/create_issue tool:create_issue",
                "read tools/compute tool:compute",
                "write tools/get_all tool:get_all",
                "delete tools/wipe_all tool:wipe_all",
                "delete tools/delete_all tool:delete_all",
                "write tools/read_and_forward tool:read_and_forward exfil",
            ]
        );
        for mark in
            ["compute is taken for a read because its server says so", "get_issue is taken for a read by its name"]
        {
            assert!(draft.yaml.contains(&format!("# review: {mark}")), "{mark}\n{}", draft.yaml);
        }
        assert!(draft.yaml.contains(r#"facts: { "arguments.title": text }, sentence: "Make one ({resource})""#));
        assert_eq!(draft.left_out.len(), 2);
    }
}

#[test]
fn what_cannot_be_drafted_says_why() {
    let open = |more: &str| format!(r#"{{"openapi":"3.0.0","info":{{"title":"X"}}{more}}}"#);
    let none = Wish::default();
    let host = Wish { host: Some("x.example"), ..none };
    for (text, wish, want) in [
        ("{", none, ImportError::Unreadable("EOF while parsing an object at line 1 column 1".into())),
        ("a: [", none, ImportError::Unreadable(String::new())),
        ("{}", none, ImportError::Unknown),
        ("[{\"x\":1}]", none, ImportError::Unknown),
        (&open(r#","paths":{}"#), host, ImportError::Empty),
        (&open(r#","paths":{"/a":{"get":{}}}"#), none, ImportError::NoHost),
        (r#"[{"name":"t"}]"#, host, ImportError::NoName),
    ] {
        let error = import(text, wish).expect_err(text);
        assert!(std::mem::discriminant(&error) == std::mem::discriminant(&want), "{text}: {error}");
    }
    // A host that another service has, and one that is none.
    let text = open(r#","paths":{"/a":{"get":{}}}"#);
    for (host, want) in [("api.github.com", "both claim `api.github.com:443`"), ("a b", "`a b`")] {
        let error = import(&text, Wish { host: Some(host), ..none }).expect_err(host).to_string();
        assert!(error.contains(want), "{error}");
    }
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z._~%{}:+-]{0,8}", "\\{[a-z +_-]{0,6}\\}", "[a-z]{1,6}s"]
}

proptest! {
    /// Whatever names and paths a description has, its draft reads, and each operation stands in it or was left out with a reason.
    #[test]
    fn every_draft_reads(
        paths in proptest::collection::btree_map(proptest::collection::vec(segment(), 0..5), ("[ -~]{0,20}", "[ -~\u{202e}\n]{0,20}", 0usize..7), 1..8),
        title in "[ -~]{0,20}",
    ) {
        let methods = ["get", "head", "options", "post", "put", "patch", "delete"];
        let items: serde_json::Map<String, Value> = paths.iter().map(|(segments, (id, summary, method))| {
            let operation = json!({ "operationId": id, "summary": summary, "requestBody": { "content": { "application/json": { "schema": {
                "properties": { id: { "type": "string" }, "n": { "type": "boolean" } } } } } } });
            (format!("/{}", segments.join("/")), json!({ methods[*method]: operation }))
        }).collect();
        let count = items.len();
        let text = json!({ "openapi": "3.0.0", "info": { "title": title }, "paths": items }).to_string();
        let wish = Wish { name: Some("draft"), host: Some("draft.example"), at: None };
        let draft = match import(&text, wish) {
            Ok(draft) => draft,
            Err(error) => return Err(TestCaseError::fail(format!("{text}: {error}"))),
        };
        prop_assert!(draft.operations + draft.left_out.len() >= count);
        let _ = cases(&draft);
    }

    /// Nothing makes it panic.
    #[test]
    fn anything_ends(text in "[\\[\\]{}:,\"a-z /$#0-9\n-]{0,120}") {
        let _ = import(&text, Wish { name: Some("x"), host: Some("x.example"), at: None });
    }
}

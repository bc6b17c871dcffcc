//! Classification with the largest service, GitHub (1,200 operations, 276 mutations). Bars: p50 under 2 us for REST, under 20 us
//! for a GraphQL document of 2 KiB, under 100 us for a push of one commit. A tool of MCP is a JSON body like any other.

#![expect(clippy::expect_used, reason = "a bench may stop")]

use std::hint::black_box;

use catalog::Catalog;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Host, Length, Origin, Scheme, clean};

#[path = "../tests/packs/mod.rs"]
mod packs;

fn request(method: Method, host: &str, target: &str, body: &str) -> CanonicalRequest {
    let origin = Origin { scheme: Scheme::Https, host: Host::parse(host).expect("a host"), port: 443 };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    let length = if body.is_empty() { Length::Empty } else { Length::Known(body.len() as u64) };
    CanonicalRequest::new(method, origin, target, clean(headers).expect("clean"), length).expect("canonical")
}

/// A query of 2 KiB, as `gh pr view` sends them.
fn query() -> String {
    let fields = "number title state url isDraft mergeable headRefName baseRefName author { login ...who } ";
    let nodes = "comments(first: 100, after: $cursor) { nodes { id body createdAt author { login } } pageInfo { hasNextPage } } ";
    let aliased: String =
        (1..9).fold(String::new(), |text, n| text + &format!("p{n}: pullRequest(number: {n}) {{ {fields}{nodes}}} "));
    let document = format!(
        "query View($owner: String!, $name: String!, $cursor: String) {{ repository(owner: $owner, name: $name) {{ {aliased}}} }} \
         fragment who on Actor {{ ... on User {{ id name }} }}"
    );
    format!(r#"{{"query":"{document}","variables":{{"owner":"myorg","name":"myrepo","cursor":null}}}}"#)
}

/// A mutation of 2 KiB with three fields and its values in variables.
fn mutation() -> String {
    let text = "A sentence of a comment that somebody wrote. ".repeat(36);
    format!(
        r#"{{"query":"mutation Do($a: AddCommentInput!, $b: MergePullRequestInput!, $c: DeleteRefInput!) {{ said: addComment(input: $a) {{ commentEdge {{ node {{ url }} }} }} merged: mergePullRequest(input: $b) {{ pullRequest {{ merged }} }} gone: deleteRef(input: $c) {{ clientMutationId }} }}","variables":{{"a":{{"subjectId":"PR_kwDOA","body":"{text}"}},"b":{{"pullRequestId":"PR_kwDOA","mergeMethod":"SQUASH"}},"c":{{"refId":"REF_kwDOA"}}}}}}"#
    )
}

fn classify(criterion: &mut Criterion) {
    let catalog = Catalog::builtin();
    let pull = r#"{"title":"Tidy the catalogue","head":"agent/tidy","base":"main","draft":false,"body":"long text"}"#;
    let (query, mutation) = (query(), mutation());
    let tool = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"create_pull_request","arguments":{"owner":"myorg","repo":"myrepo","title":"Tidy the catalogue","head":"agent/tidy","base":"main","draft":false,"body":"long text"}}}"#;
    let rows = [
        ("get_repo", Method::GET, "api.github.com", "/repos/myorg/myrepo", ""),
        ("get_contents", Method::GET, "api.github.com", "/repos/myorg/myrepo/contents/src/lib.rs?ref=main", ""),
        ("create_pull", Method::POST, "api.github.com", "/repos/myorg/myrepo/pulls", pull),
        ("unknown_path", Method::GET, "api.github.com", "/repos/myorg/myrepo/not/known/at/all", ""),
        ("unknown_host", Method::GET, "nobody.example", "/repos/myorg/myrepo", ""),
        ("graphql_query", Method::POST, "api.github.com", "/graphql", query.as_str()),
        ("graphql_mutation", Method::POST, "api.github.com", "/graphql", mutation.as_str()),
        ("mcp_call", Method::POST, "api.githubcopilot.com", "/mcp/", tool),
        ("git_fetch", Method::GET, "github.com", "/myorg/myrepo.git/info/refs?service=git-upload-pack", ""),
    ];
    for (name, method, host, target, body) in rows {
        assert!(!name.starts_with("graphql") || (1_800..2_400).contains(&body.len()), "{name}: {} octets", body.len());
        let request = request(method, host, target, body);
        let view = if body.is_empty() { BodyView::Empty } else { BodyView::Whole(body.as_bytes()) };
        criterion.bench_function(name, |bench| bench.iter(|| catalog.classify(black_box(&request), black_box(view))));
    }
    let target = "/myorg/myrepo.git/git-receive-pack";
    for (name, body) in
        [("git_push_1", packs::moved(1)), ("git_push_1000", packs::moved(1_000)), ("git_push_1mib", packs::mebibyte())]
    {
        let request = request(Method::POST, "github.com", target, "PACK");
        let calls = catalog.classify(&request, BodyView::Whole(&body)).map(|found| found.calls.len());
        assert_eq!(calls.ok(), Some(1), "{name}: not proven");
        criterion.bench_function(name, |bench| {
            bench.iter(|| catalog.classify(black_box(&request), black_box(BodyView::Whole(&body))));
        });
    }
    criterion.bench_function("start_index", |bench| bench.iter(Catalog::builtin));
    criterion.bench_function("start_github", |bench| {
        bench.iter(|| Catalog::builtin().service("github").map(|service| service.hosts().len()));
    });
    criterion.bench_function("vocabulary", |bench| bench.iter(|| Catalog::builtin().vocabulary().services.len()));
}

criterion_group!(benches, classify);
criterion_main!(benches);

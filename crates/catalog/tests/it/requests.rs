//! Requests as the gateway makes them.

use std::sync::LazyLock;

use catalog::Catalog;
use http::{HeaderMap, HeaderValue, Method};
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Host, Length, Origin, Scheme, clean};
use model::{Class, Code, Fact, Unknown};
use proptest::prelude::*;

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::builtin);

fn request(method: &str, host: &str, target: &str, length: Length) -> Option<CanonicalRequest> {
    typed(method, host, target, (length, Some("application/json")))
}

fn typed(method: &str, host: &str, target: &str, body: (Length, Option<&'static str>)) -> Option<CanonicalRequest> {
    let (length, kind) = body;
    let origin = Origin { scheme: Scheme::Https, host: Host::parse(host).ok()?, port: 443 };
    let mut headers = HeaderMap::new();
    if let Some(kind) = kind {
        headers.insert("content-type", HeaderValue::from_static(kind));
    }
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    CanonicalRequest::new(method, origin, target, clean(headers).ok()?, length).ok()
}

#[test]
fn an_unknown_host_is_a_value() {
    let request = request("GET", "nobody.example", "/a%2Fb/c?d=e", Length::Empty).expect("canonical");
    let found = CATALOG.classify(&request, BodyView::Empty).expect("classified");
    assert_eq!(found.service, None);
    assert!(found.calls.is_empty());
    assert_eq!(&*found.endpoint, "/a%2Fb/c");
}

#[test]
fn the_endpoint_follows_the_base_path() {
    let request = request("POST", "slack.com", "/api/chat.postMessage", Length::Empty).expect("canonical");
    let found = CATALOG.classify(&request, BodyView::Empty).expect("classified");
    assert_eq!(&*found.endpoint, "/chat.postMessage");
}

#[test]
fn a_body_is_asked_for_only_where_the_call_depends_on_it() {
    let length = Length::Known(10);
    for (method, target, needs) in [
        // Facts alone do not ask: policy knows which it needs.
        ("POST", "/repos/o/r/pulls", false),
        ("PUT", "/repos/o/r/contents/x", true),
        ("PATCH", "/repos/o/r/git/refs/heads/main", true),
        ("PATCH", "/repos/o/r", true),
        ("POST", "/repos/o/r/issues/1/comments", false),
    ] {
        let request = request(method, "api.github.com", target, length).expect("canonical");
        let found = CATALOG.classify(&request, BodyView::NotRead).expect("classified");
        assert_eq!(found.needs_body, needs, "{method} {target}");
    }
    let request = request("POST", "api.github.com", "/repos/o/r/pulls", length).expect("canonical");
    let found = CATALOG.classify(&request, BodyView::NotRead).expect("classified");
    assert_eq!(found.calls[0].facts.get("body.title"), Some(&Fact::Unknown(Unknown::NotRead)));
    // Until the body is known the call is the most that it could be.
    let settings = self::request("PATCH", "api.github.com", "/repos/o/r", length).expect("canonical");
    let found = CATALOG.classify(&settings, BodyView::NotRead).expect("classified");
    assert!(found.effects().contains(model::Effect::Publishes));
}

#[test]
fn a_body_over_the_bound_is_unknown_or_refused() {
    let large = vec![b' '; 5 * 1024 * 1024];
    let length = Length::Known(large.len() as u64);
    let pull = request("POST", "api.github.com", "/repos/o/r/pulls", length).expect("canonical");
    for view in [BodyView::Whole(&large), BodyView::TooLarge(&[])] {
        let found = CATALOG.classify(&pull, view).expect("classified");
        assert_eq!(found.calls[0].facts.get("body.title"), Some(&Fact::Unknown(Unknown::TooLarge)));
    }
    let file = request("PUT", "api.github.com", "/repos/o/r/contents/x", length).expect("canonical");
    let refusal = CATALOG.classify(&file, BodyView::TooLarge(&[])).expect_err("its resource stands in the body");
    assert_eq!(refusal.code, Code::TooLarge);
}

#[test]
fn a_form_never_overrides_the_method() {
    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
    const PARTS: Option<&str> = Some("multipart/form-data; boundary=x");
    let part = |name: &str| format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\nDELETE\r\n--x--");
    // A path that nobody knows, a route without facts, one with facts of JSON alone, one with facts of forms.
    for (host, target) in [
        ("api.github.com", "/no/such/path"),
        ("api.github.com", "/repos/o/r/issues/1/comments"),
        ("api.github.com", "/repos/o/r/pulls"),
        ("api.stripe.com", "/v1/charges"),
    ] {
        for (kind, bad, good) in [
            (FORM, "_method=DELETE".to_owned(), "method=DELETE".to_owned()),
            (Some("Application/X-WWW-Form-Urlencoded; charset=utf-8"), "a=1;_METHOD=put".into(), "a=1".into()),
            (None, "a=1&%5fmethod=DELETE".into(), "{\"a\": \"b; 100%\"}".into()),
            (PARTS, part("_method"), part("amount")),
        ] {
            let length = Length::Known(bad.len() as u64);
            let request = typed("POST", host, target, (length, kind)).expect("canonical");
            let first = CATALOG.classify(&request, BodyView::NotRead).expect("classified");
            assert!(first.needs_body, "{target} {kind:?}");
            let refusal = CATALOG.classify(&request, BodyView::Whole(bad.as_bytes())).expect_err(target);
            assert_eq!(refusal.code, Code::Malformed, "{target} {kind:?}");
            let refusal = CATALOG.classify(&request, BodyView::TooLarge(&[])).expect_err(target);
            assert_eq!(refusal.code, Code::TooLarge, "{target} {kind:?}");
            let found = CATALOG.classify(&request, BodyView::Whole(good.as_bytes())).expect(target);
            assert!(!found.needs_body, "{target} {kind:?}");
        }
        let empty = typed("POST", host, target, (Length::Empty, None)).expect("canonical");
        assert!(!CATALOG.classify(&empty, BodyView::NotRead).expect("classified").needs_body);
    }
}

#[test]
fn what_is_no_form_is_not_read_for_it() {
    let length = Length::Known(1 << 30);
    let fetch = Some("application/x-git-upload-pack-request");
    for (method, host, target, kind) in [
        ("POST", "github.com", "/o/r.git/git-upload-pack", fetch),
        ("POST", "api.github.com", "/no/such/path", Some("application/octet-stream")),
        ("PUT", "api.github.com", "/no/such/path", None),
    ] {
        let request = typed(method, host, target, (length, kind)).expect("canonical");
        assert!(!CATALOG.classify(&request, BodyView::NotRead).expect("classified").needs_body, "{target}");
        assert!(CATALOG.classify(&request, BodyView::TooLarge(&[])).is_ok(), "{target}");
    }
}

#[test]
fn methods_without_a_pattern_are_unknown() {
    let request = request("OPTIONS", "slack.com", "/api/chat.postMessage", Length::Empty).expect("canonical");
    let found = CATALOG.classify(&request, BodyView::Empty).expect("classified");
    assert_eq!(found.calls[0].action.as_str(), "http/options");
    assert_eq!(found.class(), Class::Read);
}

/// Nothing that GitHub publishes as other than GET is a read, but for what is listed here.
#[test]
fn what_changes_something_is_no_read() {
    let vocabulary = CATALOG.vocabulary();
    let github = &vocabulary.services["github"];
    let source = include_str!("../../services/github.yaml");
    let reads: Vec<&str> = source
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (id, method) = (words.next()?, words.next()?);
            let writes = matches!(method, "POST" | "PUT" | "PATCH" | "DELETE");
            (writes && github.actions.get(id)?.class == Class::Read).then_some(id)
        })
        .collect();
    assert_eq!(
        reads,
        [
            "apps/check-token",
            "code-scanning/create-variant-analysis",
            "markdown/render",
            "markdown/render-raw",
            "orgs/list-attestations-bulk",
            "repos/generate-release-notes",
            "users/list-attestations-bulk",
        ]
    );
    assert!(github.actions.len() > 1_200);
    assert_eq!(github.parents["branch"], "repo");
    assert_eq!(github.aliases["create_pr"], ["pulls/create"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever comes, there is an answer: a classification with calls, or a refusal.
    #[test]
    fn never_panics(
        method in "(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)",
        host in "(api\\.github\\.com|github\\.com|api\\.stripe\\.com|slack\\.com|gitlab\\.com|registry\\.npmjs\\.org|x\\.example)",
        path in "(/(repos|o|r|git|refs|heads|contents|branches|api|v4|v1|info|lfs|objects|batch|-|[a-z@.%/]{1,8}|a%2Fb)){0,9}/?",
        query in "(|\\?[a-z=&%]{0,12}|\\?service=git-receive-pack)",
        body in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let Some(request) = request(&method, &host, &format!("/{}{query}", path.trim_start_matches('/')), Length::Streamed) else {
            return Ok(());
        };
        for view in [BodyView::NotRead, BodyView::Empty, BodyView::Whole(&body), BodyView::TooLarge(&[])] {
            if let Ok(found) = CATALOG.classify(&request, view) {
                prop_assert_eq!(found.calls.is_empty(), found.service.is_none());
                for call in &found.calls {
                    let service = found.service.as_ref().and_then(|name| CATALOG.service(name.as_str()));
                    prop_assert!(!service.expect("known").sentence(call).is_empty());
                }
            }
        }
    }

    /// A slash or a case more or less is still the same action at GitHub: no spelling escapes a rule.
    #[test]
    fn spelling_does_not_escape(upper in any::<bool>(), slash in any::<bool>(), by_number in any::<bool>()) {
        let path = if by_number { "/repositories/7/hooks" } else { "/repos/o/r/hooks" };
        let mut path = if upper { path.replace("hooks", "HOOKS") } else { path.to_owned() };
        if slash {
            path.push('/');
        }
        let request = request("POST", "api.github.com", &path, Length::Empty).expect("canonical");
        let found = CATALOG.classify(&request, BodyView::Empty).expect("classified");
        prop_assert_eq!(found.calls[0].action.as_str(), "repos/create-webhook");
        prop_assert!(found.effects().contains(model::Effect::Exfil));
    }
}

#[test]
fn conversations_are_model_requests_and_nothing_else_is() {
    let catalog = &*CATALOG;
    let marked = |service: &str, action: &str| catalog.service(service).expect("service").is_model_request(action);
    for (service, action) in [
        ("anthropic", "messages/create"),
        ("anthropic", "messages/count-tokens"),
        ("anthropic", "batches/create"),
        ("openai", "chat/create-completion"),
        ("openai", "responses/create"),
        ("openai", "codex/responses"),
        ("openai", "runs/submit-tool-outputs"),
        ("gemini", "models.generateContent"),
        ("gemini", "cachedContents.create"),
    ] {
        assert!(marked(service, action), "{service} {action}");
    }
    for (service, action) in [
        ("anthropic", "files/upload"),
        ("anthropic", "admin/create-invite"),
        ("openai", "files/create"),
        ("gemini", "files.create"),
        ("openai", "oauth/token"),
        ("openai", "organization/create-admin-key"),
        ("openai", "http/post"),
        ("github", "issues/create"),
        ("github", "no/such"),
    ] {
        assert!(!marked(service, action), "{service} {action}");
    }
    let others =
        catalog.services().filter(|service| !matches!(service.name().as_str(), "anthropic" | "gemini" | "openai"));
    for service in others {
        assert!(!service.actions().any(|action| service.is_model_request(action.as_str())), "{}", service.name());
    }
}

#[test]
fn a_websocket_on_an_unknown_path_is_a_write() {
    for (host, target, plain, upgraded) in [
        // Declared: what the file says.
        ("api.openai.com", "/v1/realtime?model=m", Class::Read, Class::Read),
        ("api.github.com", "/user", Class::Read, Class::Read),
        // Unknown: at the root, under a base path or beside it, in an area, in a second spelling.
        ("chatgpt.com", "/backend-api/unheard/of", Class::Read, Class::Write),
        ("chatgpt.com", "/", Class::Read, Class::Write),
        ("chatgpt.com", "/backend-api/unheard", Class::Read, Class::Write),
        ("chatgpt.com", "/beside", Class::Read, Class::Write),
        ("api.github.com", "/repos/o/r/unheard", Class::Read, Class::Write),
        ("api.stripe.com", "/v1/unheard", Class::Read, Class::Write),
        // On a host where messages are judged it may be taken for one of those.
        ("api.openai.com", "/v1/unheard/of", Class::Read, Class::Admin),
        ("api.openai.com", "/v1/Realtime", Class::Read, Class::Admin),
    ] {
        for (upgrade, want) in [(false, plain), (true, upgraded)] {
            let origin = Origin { scheme: Scheme::Https, host: Host::parse(host).expect("host"), port: 443 };
            let mut headers = HeaderMap::new();
            if upgrade {
                headers.insert("connection", HeaderValue::from_static("Upgrade"));
                headers.insert("upgrade", HeaderValue::from_static("websocket"));
            }
            let cleaned = clean(headers).expect("clean");
            let request = CanonicalRequest::new(Method::GET, origin, target, cleaned, Length::Empty);
            let found = CATALOG.classify(&request.expect("canonical"), BodyView::Empty).expect("classified");
            assert_eq!(found.class(), want, "{host}{target} upgrade: {upgrade}");
        }
    }
}

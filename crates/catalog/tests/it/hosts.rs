//! Which service a host is (attack rows A8 to A11).

use catalog::{Catalog, ServiceFile};
use model::Class;
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Host, Scheme};
use proptest::prelude::*;

fn name(catalog: &Catalog, host: &str, port: u16, scheme: Scheme) -> Option<String> {
    let host = Host::parse(host).ok()?;
    catalog.by_host(&host, port, scheme).map(|service| service.name().to_string())
}

#[test]
fn hosts_and_ports() {
    let catalog = Catalog::builtin();
    for (host, port, scheme, want) in [
        ("api.github.com", 443, Scheme::Https, Some("github")),
        ("API.GitHub.com", 443, Scheme::Https, Some("github")),
        ("api.github.com", 8443, Scheme::Https, None),
        ("api.github.com", 80, Scheme::Https, None),
        ("api.github.com", 80, Scheme::Http, None),
        ("api.github.com", 443, Scheme::Http, None),
        ("github.com", 443, Scheme::Https, Some("github")),
        ("xapi.github.com", 443, Scheme::Https, None),
        ("api.github.com.evil.example", 443, Scheme::Https, None),
        ("evilgithub.com", 443, Scheme::Https, None),
        ("raw.githubusercontent.com", 443, Scheme::Https, Some("github")),
        ("objects.githubusercontent.com", 443, Scheme::Https, Some("github")),
        ("a.b.githubusercontent.com", 443, Scheme::Https, Some("github")),
        ("githubusercontent.com", 443, Scheme::Https, None),
        ("evilgithubusercontent.com", 443, Scheme::Https, None),
        ("objects.githubusercontent.com.evil.example", 443, Scheme::Https, None),
        ("acme.slack.com", 443, Scheme::Https, Some("slack")),
        ("deb.debian.org", 80, Scheme::Http, Some("debian")),
        ("deb.debian.org", 8080, Scheme::Http, None),
        ("deb.debian.org", 443, Scheme::Https, Some("debian")),
        ("127.0.0.1", 443, Scheme::Https, None),
        ("[::1]", 443, Scheme::Https, None),
    ] {
        assert_eq!(name(&catalog, host, port, scheme).as_deref(), want, "{host}:{port}");
    }
}

/// A host of `protocol: tcp` is one for bare connections alone, and a host of HTTP never is.
#[test]
fn bare_connections_are_apart() {
    let text = "name: db\ntitle: Database\nhosts: [{ host: db.test, ports: [5432], protocol: tcp }, web.db.test]\n";
    let file = ServiceFile::parse(text, "db.yaml").expect("a service");
    let catalog = Catalog::with(vec![file]).expect("a catalogue");
    for (host, port, scheme, want) in [
        ("db.test", 5432, Scheme::Tcp, Some("db")),
        ("db.test", 443, Scheme::Tcp, None),
        ("db.test", 5432, Scheme::Https, None),
        ("db.test", 5432, Scheme::Http, None),
        ("web.db.test", 443, Scheme::Https, Some("db")),
        ("web.db.test", 443, Scheme::Tcp, None),
        ("api.github.com", 443, Scheme::Tcp, None),
    ] {
        assert_eq!(name(&catalog, host, port, scheme).as_deref(), want, "{host}:{port}");
    }
    let request = CanonicalRequest::connection(Host::parse("db.test").expect("a host"), 5432).expect("a connection");
    let found = catalog.classify(&request, BodyView::Empty).expect("known");
    let call = found.calls.first().expect("one call");
    assert_eq!(
        (call.action.as_str(), call.class, call.resource.as_str()),
        ("tcp/connect", Class::Write, "host:db.test/5432")
    );
    let service = catalog.service("db").expect("a service");
    assert_eq!(service.default_host().map(|host| &*host.name), Some("web.db.test"));
}

#[test]
fn the_most_exact_host_wins() {
    let catalog = Catalog::builtin();
    let role = |host: &str| {
        let host = Host::parse(host).expect("a host");
        catalog.find(&host, 443, Scheme::Https).map(|found| found.host.role.to_string())
    };
    assert_eq!(role("raw.githubusercontent.com").as_deref(), Some("raw"));
    assert_eq!(role("objects.githubusercontent.com").as_deref(), Some("objects"));
    assert_eq!(role("x.actions.githubusercontent.com").as_deref(), Some("pipelines"));
    assert_eq!(role("hooks.slack.com").as_deref(), Some("hooks"));
}

/// One table says both who judges a host and whose credential may go there, so the second is a subset of the first.
#[test]
fn credentials_go_only_where_requests_are_judged() {
    let catalog = Catalog::builtin();
    for service in catalog.services() {
        for rule in service.hosts() {
            let shown = if rule.wildcard { format!("some-label.{}", rule.name) } else { rule.name.to_string() };
            let host = Host::parse(&shown).expect("a host");
            for port in &rule.ports {
                let found = catalog.find(&host, *port, Scheme::Https).expect("found");
                assert_eq!(found.service.name(), service.name(), "{shown}");
            }
            if rule.clear {
                assert!(service.schemes_at(rule).is_empty(), "{shown} is spoken in clear text and takes a credential");
            }
        }
    }
}

#[test]
fn a_host_has_one_service() {
    let file = ServiceFile::parse("name: mine\ntitle: Mine\nhosts: [api.github.com]\n", "mine.yaml").expect("parses");
    let error = Catalog::with(vec![file]).expect_err("taken").to_string();
    assert_eq!(error, "services `github` and `mine` both claim `api.github.com:443`; leave it to one of them");
    // Another port of it is another place.
    let file = "name: mine\ntitle: Mine\nhosts: [{ host: api.github.com, ports: [8443] }]\n";
    let file = ServiceFile::parse(file, "mine.yaml").expect("parses");
    let catalog = Catalog::with(vec![file]).expect("free");
    assert_eq!(name(&catalog, "api.github.com", 8443, Scheme::Https).as_deref(), Some("mine"));
    assert_eq!(name(&catalog, "api.github.com", 443, Scheme::Https).as_deref(), Some("github"));
    // A user's service replaces the built-in one of its name.
    let file = ServiceFile::parse("name: github\ntitle: Ours\nhosts: [git.ours.example]\n", "github.yaml");
    let catalog = Catalog::with(vec![file.expect("parses")]).expect("replaces");
    assert_eq!(name(&catalog, "api.github.com", 443, Scheme::Https), None);
    assert_eq!(name(&catalog, "git.ours.example", 443, Scheme::Https).as_deref(), Some("github"));
}

proptest! {
    /// Whatever host is found, it is one of the service's own, or lies under one of its wildcards label by label.
    #[test]
    fn wildcards_match_by_label(front in "[a-z.]{0,12}", domain in "(githubusercontent\\.com|slack\\.com|github\\.com)", back in "(|\\.evil\\.example|x)") {
        let text = format!("{front}{domain}{back}");
        let Ok(host) = Host::parse(&text) else { return Ok(()) };
        let catalog = Catalog::builtin();
        if let Some(found) = catalog.find(&host, 443, Scheme::Https) {
            if found.host.wildcard {
                let parent = format!(".{}", found.host.name);
                prop_assert!(host.as_str().ends_with(&parent));
            } else {
                prop_assert_eq!(host.as_str(), &*found.host.name);
            }
        }
    }
}

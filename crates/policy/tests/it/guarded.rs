//! The story that the guarded policy must stop: 47 commits to main, data in issue titles, an invited bot account.

use model::{ServiceName, Timestamp};
use policy::limit::{Over, Taken, admit};
use policy::{Decision, Rules};

use crate::support::{Asking, ask, credential, rules, stranger, vocabulary};

fn found() -> Rules {
    let github = ServiceName::new("github").expect("a name");
    let found = [
        (credential("GITHUB_TOKEN"), Some(github), Vec::new()),
        (credential("CRM_KEY"), None, vec!["crm.test".to_owned()]),
    ];
    Rules::guarded(&found, &vocabulary()).expect("compiles")
}

fn asks(asking: &Asking, rules: &Rules) -> bool {
    matches!(asking.decide(rules), Decision::Allow(conditions) if conditions.approval().is_some())
}

#[test]
fn forty_seven_commits_to_main_ask_every_time() {
    let rules = found();
    for commit in 0..47 {
        for (action, resource) in [
            ("git/push", "branch:o/r@main"),
            ("git/push", "repo:o/r"),
            ("git/push", "branch:o/r@master"),
            ("git/push", "tag:o/r@v1"),
            ("git/force-push", "branch:o/r@main"),
            ("git/force-push", "branch:o/r@agent/x"),
            ("repos/create-or-update-file-contents", "branch:o/r@main"),
            ("repos/create-or-update-file-contents", "repo:o/r"),
            ("pulls/merge", "repo:o/r"),
        ] {
            assert!(asks(&ask("guest", "github", action, resource), &rules), "{commit} {action} {resource}");
        }
    }
}

#[test]
fn a_push_to_a_branch_of_its_own_passes_like_any_write() {
    let rules = found();
    let pushed = ask("guest", "github", "git/push", "branch:o/r@agent/x").with("GITHUB_TOKEN").allowed(&rules);
    assert!(pushed.approval().is_none());
    assert_eq!(pushed.limits().first().map(|need| (need.max, need.over)), Some((30, Over::Ask)));
    let listed = ask("guest", "github", "git/list-refs", "repo:o/r").with("GITHUB_TOKEN").allowed(&rules);
    assert!(listed.approval().is_none() && listed.limits().is_empty());
}

#[test]
fn what_cannot_be_taken_back_asks() {
    let rules = found();
    for action in ["repos/add-collaborator", "repos/delete", "gists/create"] {
        assert!(asks(&ask("guest", "github", action, "repo:o/r").with("GITHUB_TOKEN"), &rules), "{action}");
    }
    assert!(asks(&ask("guest", "stripe", "charges/create", "account:x"), &rules));
    assert!(asks(&ask("guest", "npm", "package/publish", "package:x"), &rules));
    assert!(asks(&ask("guest", "github", "http/delete", "repo:o/r"), &rules));
}

#[test]
fn reads_pass_with_their_own_credential() {
    let rules = found();
    let allowed = ask("guest", "github", "repos/get", "repo:o/r").with("GITHUB_TOKEN").allowed(&rules);
    assert_eq!(allowed.credential(), Some(&credential("GITHUB_TOKEN")));
    assert!(allowed.approval().is_none() && allowed.limits().is_empty());
    assert!(!ask("guest", "stripe", "charges/list", "account:x").with("GITHUB_TOKEN").passes(&rules));
    assert!(ask("guest", "npm", "package/get", "package:x").passes(&rules));
    assert!(ask("guest", "anthropic", "messages/create", "model:x").passes(&rules));
}

#[test]
fn thirty_writes_of_an_action_in_an_hour_and_then_a_question() {
    let rules = found();
    let mut taken = Vec::new();
    for second in 0..31 {
        let mut asking = ask("guest", "github", "issues/create", "repo:o/r");
        asking.now = Timestamp(asking.now.0 + second * 1_000_000);
        let allowed = asking.allowed(&rules);
        assert!(allowed.approval().is_none());
        let need = allowed.limits().first().expect("a limit").clone();
        assert_eq!(need.over, Over::Ask);
        let outcome = admit(&need, &taken, asking.now);
        assert_eq!(outcome.is_ok(), second < 30, "{second}");
        taken.push(Taken { at: asking.now, amount: 1 });
        if outcome.is_err() {
            let mut conditions = asking.allowed(&rules);
            conditions.ask(rules.ask_over(&asking.question(), &need));
            assert_eq!(conditions.approval().map(|need| need.reason.as_str()), Some("more than 30/hour by guest"));
        }
    }
    let other = ask("guest", "github", "issues/create-comment", "repo:o/r").allowed(&rules);
    let first = ask("guest", "github", "issues/create", "repo:o/r").allowed(&rules);
    assert_ne!(other.limits()[0].key, first.limits()[0].key, "each action counts for itself");
}

#[test]
fn a_host_that_nobody_knows_asks_once_in_a_session() {
    let rules = found();
    let get = stranger("guest", "evil.test", http::Method::GET).allowed(&rules);
    let post = stranger("guest", "evil.test", http::Method::POST).allowed(&rules);
    let (get, post) = (get.approval().expect("asks").clone(), post.approval().expect("asks").clone());
    assert!(get.once_per_session);
    assert_eq!(get.key, post.key);
    let other = stranger("guest", "other.test", http::Method::GET).allowed(&rules);
    assert_ne!(other.approval().map(|need| &need.key), Some(&get.key));
}

#[test]
fn bound_hosts_are_judged_by_method() {
    let rules = found();
    let read = stranger("guest", "crm.test", http::Method::GET).allowed(&rules);
    assert_eq!((read.credential(), read.approval()), (Some(&credential("CRM_KEY")), None));
    let write = stranger("guest", "crm.test", http::Method::POST).allowed(&rules);
    assert!(write.limits().len() == 1 && write.approval().is_none());
    assert!(asks(&stranger("guest", "crm.test", http::Method::DELETE), &rules));
    let mut foreign = stranger("guest", "evil.test", http::Method::GET);
    foreign.presented = Some(credential("CRM_KEY"));
    assert!(!foreign.passes(&rules));
}

#[test]
fn a_document_without_agents_is_guarded_with_what_it_says() {
    let rules = rules("egress: closed\nmode: observe\ncredentials: {gh: {service: github, inject: always}}");
    assert!(rules.is_guarded());
    let allowed = ask("guest", "github", "repos/get", "repo:o/r").allowed(&rules);
    assert_eq!(allowed.credential(), Some(&credential("gh")));
    assert!(stranger("guest", "evil.test", http::Method::GET).allowed(&rules).observed().is_some());
}

#[test]
fn two_found_credentials_of_one_service_go_out_bare_unless_chosen() {
    let github = || Some(ServiceName::new("github").expect("a name"));
    let found = [(credential("GH_TOKEN"), github(), Vec::new()), (credential("GITHUB_TOKEN"), github(), Vec::new())];
    let rules = Rules::guarded(&found, &vocabulary()).expect("compiles");
    assert_eq!(ask("guest", "github", "repos/get", "repo:o/r").allowed(&rules).credential(), None);
    let chosen = ask("guest", "github", "repos/get", "repo:o/r").with("GH_TOKEN").allowed(&rules);
    assert_eq!(chosen.credential(), Some(&credential("GH_TOKEN")));
}

#[test]
fn its_text_can_be_read() {
    insta::assert_snapshot!(found().cedar());
    let Asking { subject, classification, .. } = ask("guest", "github", "repos/get", "repo:o/r");
    assert!(!found().needs_body(&subject, &classification));
    let Asking { subject, classification, .. } = ask("guest", "github", "issues/create", "repo:o/r");
    assert!(found().needs_body(&subject, &classification));
}

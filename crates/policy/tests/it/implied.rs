//! What a permission implies: git lists the refs of a repository before it pushes to a branch of it.

use crate::support::{ask, complaints, rules};

fn permitted(permission: &str) -> policy::Rules {
    rules(&format!(
        "credentials: {{gh: {{service: github}}}}\nagents:\n  bot:\n    permissions:\n      - {permission}\n"
    ))
}

fn lists(permission: &str, resource: &str) -> bool {
    ask("bot", "github", "git/list-refs", resource).passes(&permitted(permission))
}

#[test]
fn the_repository_that_contains_the_branch_and_nothing_more() {
    for (actions, resources, resource, want) in [
        ("git/push", "branch:o/r@agent/*", "repo:o/r", true),
        ("git/push", "branch:o/r@agent/*", "repo:o/other", false),
        ("git/push", "branch:o/r@agent/*", "repo:p/r", false),
        ("git/push", "branch:o/*@agent/*", "repo:o/other", true),
        ("git/push", "branch:o/*@agent/*", "repo:p/r", false),
        ("git/push", "tag:o/r@v*", "repo:o/r", true),
        ("git/force-push", "branch:o/r@x", "repo:o/r", true),
        ("write", "branch:o/r@x", "repo:o/r", true),
        ("effect:branch-write", "branch:o/r@x", "repo:o/r", true),
        ("git/push", "repo:o/r", "repo:o/r", true),
        ("git/push", "org:o", "repo:o/r", true),
        ("git/push", "org:o", "repo:p/r", false),
        ("git/push", "*", "repo:p/r", true),
        ("git/push", "user:o", "repo:o/r", false),
        ("issues/create", "repo:o/r", "repo:o/r", false),
        ("read", "branch:o/r@x", "repo:o/r", false),
    ] {
        let permission = format!("{{service: github, actions: ['{actions}'], resources: ['{resources}']}}");
        assert_eq!(lists(&permission, resource), want, "{permission} {resource}");
        // Another read of the repository is not implied by any of them.
        let other = ask("bot", "github", "repos/get", "repo:o/r").passes(&permitted(&permission));
        assert_eq!(other, actions == "read" && resources == "repo:o/r", "{permission}");
    }
}

#[test]
fn circumstances_apply_and_limits_do_not() {
    let permission = "{service: github, actions: [git/push], resources: ['branch:o/r@agent/*'], conditions: {task: ['fix-*'], \
                      limit: 1/hour, approval: required, when: 'context.class == \"write\" || context.class == \"read\"'}}";
    let rules = permitted(permission);
    assert!(!ask("bot", "github", "git/list-refs", "repo:o/r").passes(&rules), "the task is another");
    let listed = ask("bot", "github", "git/list-refs", "repo:o/r").task("fix-7");
    let allowed = listed.allowed(&rules);
    assert!(allowed.limits().is_empty() && allowed.approval().is_none());
    let explained = listed.explained(&rules);
    assert_eq!(explained.rules.iter().map(|rule| &**rule).collect::<Vec<_>>(), ["bot/1/implied"]);
    let kinds: Vec<_> = explained.conditions.iter().map(|one| one["kind"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, ["task", "when"]);
    let pushed = ask("bot", "github", "git/push", "branch:o/r@agent/x").task("fix-7").allowed(&rules);
    assert!(pushed.limits().len() == 1 && pushed.approval().is_some());
    let of_facts = "{service: github, actions: [git/push], resources: ['branch:o/r@x'], conditions: {when: \
                    'context.facts[\"git.force\"] == false', expires: 2020-01-01T00:00:00Z}}";
    assert!(!lists(of_facts, "repo:o/r"), "it has expired");
    assert!(lists(&of_facts.replace(", expires: 2020-01-01T00:00:00Z", ""), "repo:o/r"));
}

#[test]
fn denials_and_mistakes_stay_what_they_are() {
    let text = "agents:\n  bot:\n    permissions:\n      - {service: github, actions: [git/push], resources: ['branch:o/r@x']}\n    \
                denied_actions: [git/list-refs]\n";
    assert!(!ask("bot", "github", "git/list-refs", "repo:o/r").passes(&rules(text)));
    let wrong = "agents: {bot: {permissions: [{service: github, actions: [git/push], resources: ['branch:o/r@x'], conditions: \
                 {when: 'context.'}}]}}";
    assert_eq!(complaints(wrong).len(), 1, "{:?}", complaints(wrong));
    // Two credentials for two branches of one repository: whoever presents none is told to choose.
    let two = "credentials: {one: {service: github}, two: {service: github}}\nagents:\n  bot:\n    permissions:\n      \
               - {service: github, credential: one, actions: [git/push], resources: ['branch:o/r@a/*']}\n      \
               - {service: github, credential: two, actions: [git/push], resources: ['branch:o/r@b/*']}\n";
    let rules = rules(two);
    assert!(ask("bot", "github", "git/list-refs", "repo:o/r").with("two").passes(&rules));
    assert!(!ask("bot", "github", "git/list-refs", "repo:o/r").passes(&rules));
}

#[test]
fn what_acts_on_nothing_of_its_own_is_implied_everywhere() {
    for (actions, resources, want) in [
        ("issues/create-comment", "repo:o/r", true),
        ("add_comment", "org:o", true),
        ("write", "repo:o/r", true),
        ("pulls/create", "repo:o/r", false),
        ("read", "repo:o/r", false),
    ] {
        let permission = format!("{{service: github, actions: ['{actions}'], resources: ['{resources}']}}");
        let passes = ask("bot", "github", "mcp/connect", "resource:/mcp").passes(&permitted(&permission));
        assert_eq!(passes, want, "{permission}");
    }
}

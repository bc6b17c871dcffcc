//! What might be allowed before it is asked: the tools that an agent is shown.

use model::call::Prospect;
use model::{Class, Effect, Effects, Resource};

use crate::support::rules;

fn shown(agent: &str, policy: &str, (action, forms): (&str, &[(Class, Effects)]), resource: Option<&str>) -> bool {
    let rules = rules(&format!("credentials: {{gh: {{service: github}}}}\n{policy}"));
    let prospect = Prospect {
        action: action.parse().expect("an action"),
        forms: forms.to_vec(),
        resource: resource.map(Resource::new),
    };
    rules.might_allow(&agent.parse().expect("an agent"), &"github".parse().expect("a service"), &[prospect])
}

#[test]
fn what_is_certain_to_be_denied_is_not_shown() {
    const WRITE: &[(Class, Effects)] = &[(Class::Write, Effects::NONE)];
    const ADMIN: &[(Class, Effects)] = &[(Class::Admin, Effects::NONE)];
    let public = [(Class::Write, Effects::NONE), (Class::Write, Effects::NONE.with(Effect::Publishes))];
    let may =
        |permission: &str| format!("agents:\n  bot:\n    permissions:\n      - {{service: github, {permission}}}\n");
    for (policy, asked, resource, want) in [
        // By id, class, effect, `*`; whatever the resource, where it is not known.
        (may("actions: [issues/create], resources: ['repo:o/r']"), ("issues/create", WRITE), None, true),
        (may("actions: [issues/create], resources: ['*']"), ("pulls/create", WRITE), None, false),
        (may("actions: [write], resources: ['*']"), ("pulls/create", WRITE), None, true),
        (may("actions: [write], resources: ['*']"), ("mcp/unlisted-tool", ADMIN), Some("repo:o/x"), false),
        (may("actions: ['*'], resources: ['*']"), ("mcp/unlisted-tool", ADMIN), Some("repo:o/x"), false),
        (may("actions: ['effect:publishes'], resources: ['*']"), ("pulls/create", &public), None, true),
        (may("actions: ['effect:publishes'], resources: ['*']"), ("pulls/create", WRITE), None, false),
        (may("methods: [POST], endpoints: [/mcp]"), ("pulls/create", WRITE), None, true),
        (may("methods: [POST], endpoints: [/mcp]"), ("pulls/create", ADMIN), None, false),
        // Where the resource is known, it counts.
        (may("actions: [issues/create], resources: ['repo:o/x']"), ("issues/create", WRITE), Some("repo:o/x"), true),
        (may("actions: [issues/create], resources: ['repo:o/x']"), ("issues/create", WRITE), Some("repo:o/y"), false),
        // Conditions may hold; a denial counts where it holds for certain.
        (
            may("actions: [issues/create], resources: ['*'], conditions: {approval: required}"),
            ("issues/create", WRITE),
            None,
            true,
        ),
        (
            may("actions: [write], resources: ['*']") + "    denied_actions: [pulls/create]\n",
            ("pulls/create", WRITE),
            None,
            false,
        ),
        (
            may("actions: [write], resources: ['*']") + "    denied_actions: [pulls/create]\n",
            ("issues/create", WRITE),
            None,
            true,
        ),
        (may("actions: [write], resources: ['*']") + "mode: observe\n", ("repos/delete", ADMIN), None, true),
    ] {
        assert_eq!(shown("bot", &policy, asked, resource), want, "{policy} {asked:?} {resource:?}");
        let other = shown("other", &policy, asked, resource);
        assert_eq!(other, policy.contains("observe"), "another agent: {policy}");
    }
}

//! Grants: what is offered of what is asked for, and what a grant lets pass. It never widens what the permissions say.

use std::sync::Arc;

use model::id::GrantId;
use model::{Code, Timestamp};
use policy::{Asked, Consent, Document, Given, Offer, Rules, Scope};

use crate::support::{FRIDAY_NOON, ask, show, vocabulary};

const POLICY: &str = r#"
agents:
  bot:
    standing: none
    permissions:
      - { service: github, actions: [repos/get], resources: ["repo:o/*"], standing: always }
      - { service: github, actions: [pulls/create, issues/create], resources: ["repo:o/r"], max_ttl: 10m }
      - { service: github, actions: [git/push], resources: ["branch:o/r@agent/*"], conditions: { approval: required } }
      - { service: github, actions: [repos/add-collaborator], resources: ["repo:o/r"], max_ttl: 2h,
          conditions: { approvers: { count: 2, of: [ada, bob] } } }
      - { service: stripe, actions: [charges/list], resources: ["*"], conditions: { hours: "22:00-23:00" } }
      - { service: stripe, actions: [refunds/create], resources: ["account:a"], conditions: { max: { body.amount: 100 } } }
    denied_actions: [repos/delete]
capabilities:
  contribute:
    - { service: github, actions: [pulls/create, repos/delete], resources: ["repo:o/r"] }
    - { service: stripe, actions: [refunds/create] }
"#;

fn load(text: &str) -> Rules {
    let (document, _) = Document::parse(text, "p.yaml").unwrap_or_else(|problems| panic!("{}", show(&problems)));
    Rules::compile(&document, &vocabulary()).unwrap_or_else(|problems| panic!("{}", show(&problems)))
}

fn part(service: &str, actions: &[&str], resources: &[&str]) -> Asked {
    let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Asked { service: service.to_owned(), actions: texts(actions), resources: texts(resources) }
}

fn offer(rules: &Rules, asked: &[Asked], ttl: Option<u64>) -> Result<Offer, model::Refusal> {
    let asking = ask("bot", "github", "repos/get", "repo:o/r");
    rules.offer(&vocabulary(), &asking.subject, (asked, ttl), asking.now).map_err(|refusal| *refusal)
}

fn shown(offer: &Offer) -> String {
    let scopes = offer.scopes.iter().map(|scope| {
        let implied = if scope.implied { " (implied)" } else { "" };
        format!("{}: {} on {}{implied}", scope.service, scope.actions.join(", "), scope.resources.join(", "))
    });
    let cut = offer.cut.iter().map(|cut| format!("cut {}: {}", cut.what, cut.why));
    scopes.chain(cut).collect::<Vec<_>>().join("\n")
}

fn grant(rules: &Rules, number: u128, seconds: u64, scopes: &[Scope], consent: Option<Consent>) -> Arc<Given> {
    let expires = Timestamp::parse(FRIDAY_NOON).expect("a time").plus_secs(seconds);
    Arc::new(rules.given((GrantId::from_bits(number), expires), consent, scopes))
}

fn scope(service: &str, actions: &[&str], resources: &[&str]) -> Scope {
    let Asked { service, actions, resources } = part(service, actions, resources);
    Scope { service, actions, resources, implied: false }
}

fn consent(count: u32, of: &[&str]) -> Consent {
    let of = of.iter().map(|name| (*name).to_owned()).collect();
    Consent { approval: None, by: "ada".to_owned(), count, of }
}

#[test]
fn the_subset_and_what_is_cut() {
    let rules = load(POLICY);
    for (service, actions, resources, expected) in [
        ("github", &["pulls/create"][..], &["repo:o/r"][..], "github: pulls/create on repo:o/r"),
        // An alias and a scope of the vendor become ids.
        ("github", &["create_pr"], &["repo:o/r"], "github: pulls/create on repo:o/r"),
        // Wider than the permission: what is permitted, and that it is less.
        (
            "github",
            &["pulls/create"],
            &["repo:o/*"],
            "github: pulls/create on repo:o/r\ncut pulls/create on repo:o/*: permitted on repo:o/r only",
        ),
        (
            "github",
            &["pulls/create"],
            &[],
            "github: pulls/create on repo:o/r\ncut pulls/create on *: permitted on repo:o/r only",
        ),
        // Narrower: as asked.
        (
            "github",
            &["git/push"],
            &["branch:o/r@agent/x"],
            "github: git/push on branch:o/r@agent/x\ngithub: git/list-refs on repo:o/r (implied)",
        ),
        // One of two, and a denial that wins.
        (
            "github",
            &["pulls/create", "repos/delete", "pulls/merge"],
            &["repo:o/r"],
            "github: pulls/create on repo:o/r\n\
             cut pulls/merge on repo:o/r: no permission covers it\n\
             cut repos/delete on repo:o/r: rule bot/denied/1 denies it, and a denial wins over every permission",
        ),
        // A class is what of it is permitted; what always asks is never of a class.
        (
            "github",
            &["write"],
            &["repo:o/r"],
            "github: git/push on branch:o/r@agent/*\n\
             github: issues/create, pulls/create on repo:o/r\n\
             github: git/list-refs on repo:o/r (implied)\n\
             cut git/force-push, issues/create-comment, pulls/merge, repos/create-or-update-file-contents of `write` on repo:o/r: no permission covers it\n\
             cut git/push of `write` on repo:o/r: permitted on branch:o/r@agent/* only",
        ),
        // A standing permission may be asked for as well.
        (
            "github",
            &["read"],
            &["repo:o/r"],
            "github: repos/get on repo:o/r\ncut git/list-refs, mcp/connect of `read` on repo:o/r: no permission covers it",
        ),
        // Facts are known when a call is made.
        ("stripe", &["refunds/create"], &["account:a"], "stripe: refunds/create on account:a"),
    ] {
        let offered = offer(&rules, &[part(service, actions, resources)], None).expect(expected);
        assert_eq!(shown(&offered), expected, "{actions:?} {resources:?}");
    }
}

#[test]
fn a_clear_no_says_what_could_be_asked_for() {
    let rules = load(POLICY);
    for (service, actions, resources, code, sentence, hint) in [
        (
            "github",
            "pulls/create",
            "repo:o/other",
            Code::Denied,
            "pulls/create on repo:o/other, no permission covers it",
            "git/push on branch:o/r@agent/*",
        ),
        ("github", "repos/delete", "repo:o/r", Code::Denied, "bot/denied/1 denies it", "what could be asked for"),
        // Out of its hours.
        ("stripe", "charges/list", "account:a", Code::Denied, "does not apply now", "charges/list"),
        ("github", "pulls/creat", "repo:o/r", Code::Malformed, "unknown action", "pulls/create"),
        ("github", "pulls/create", "rep:o/r", Code::Malformed, "unknown kind", "repo:o/r"),
        ("githup", "pulls/create", "repo:o/r", Code::Malformed, "githup", "github"),
        ("github", "admin", "repo:o/r", Code::Denied, "named one by one", "repos/add-collaborator"),
    ] {
        let refusal = offer(&rules, &[part(service, &[actions], &[resources])], None).expect_err(sentence);
        assert_eq!(refusal.code, code, "{actions}");
        assert!(refusal.public.contains(sentence), "{}", refusal.public);
        assert!(refusal.hint.as_deref().is_some_and(|text| text.contains(hint)), "{:?}", refusal.hint);
    }
}

#[test]
fn time_is_cut_to_the_cap() {
    let rules = load(POLICY);
    let pulls = part("github", &["pulls/create"], &["repo:o/r"]);
    let push = part("github", &["git/push"], &["branch:o/r@agent/x"]);
    let admin = part("github", &["repos/add-collaborator"], &["repo:o/r"]);
    for (asked, ttl, given, cut) in [
        (vec![pulls.clone()], None, 300, false),
        (vec![pulls.clone()], Some(600), 600, false),
        (vec![pulls.clone()], Some(601), 600, true),
        (vec![push.clone()], Some(3_600), 3_600, false),
        (vec![push.clone()], Some(u64::MAX), 3_600, true),
        // A permission may say more than an hour.
        (vec![admin], Some(7_200), 7_200, false),
        // The shortest of all that stand behind it.
        (vec![pulls, push], Some(3_600), 600, true),
    ] {
        let offered = offer(&rules, &asked, ttl).expect("an offer");
        assert_eq!(offered.ttl_seconds, given, "{ttl:?}");
        assert_eq!(offered.cut.iter().any(|cut| cut.what.starts_with("ttl_seconds")), cut, "{:?}", offered.cut);
    }
}

#[test]
fn who_must_be_asked() {
    let rules = load(POLICY);
    let need = |asked: &[Asked]| offer(&rules, asked, None).expect("an offer").need;
    assert!(need(&[part("github", &["pulls/create"], &["repo:o/r"])]).is_none());
    let push = need(&[part("github", &["git/push"], &["branch:o/r@agent/x"])]).expect("a question");
    assert_eq!((push.count, push.of.len()), (1, 0));
    let admin = part("github", &["repos/add-collaborator"], &["repo:o/r"]);
    let both = need(&[part("github", &["git/push"], &["branch:o/r@agent/x"]), admin]).expect("a question");
    assert_eq!((both.count, both.of), (2, vec!["ada".to_owned(), "bob".to_owned()]));
}

#[test]
fn capability_sets() {
    let rules = load(POLICY);
    let offered = offer(&rules, rules.capability("contribute").expect("a set"), None).expect("an offer");
    assert_eq!(
        shown(&offered),
        "github: pulls/create on repo:o/r\nstripe: refunds/create on account:a\n\
         cut refunds/create on *: permitted on account:a only\n\
         cut repos/delete on repo:o/r: rule bot/denied/1 denies it, and a denial wins over every permission"
    );
    let unknown = rules.capability("contribut").expect_err("no such set");
    assert_eq!(unknown.hint.as_deref(), Some("did you mean `contribute`?"));
}

#[test]
fn without_a_grant_nothing_stands() {
    let rules = load(POLICY);
    let pulls = || ask("bot", "github", "pulls/create", "repo:o/r");
    let refusal = pulls().denied(&rules);
    assert_eq!((refusal.code, refusal.public.as_str()), (Code::Denied, "Action pulls/create needs a grant"));
    assert!(refusal.hint.expect("a hint").contains("grant request --service github --action pulls/create"));
    assert_eq!(refusal.rule.as_deref(), Some("bot/2"));
    assert!(ask("bot", "github", "repos/get", "repo:o/r").passes(&rules), "`standing: always` stands");
    // What no permission covers is denied as ever.
    assert!(!ask("bot", "github", "pulls/merge", "repo:o/r").denied(&rules).public.contains("grant"));
    assert!(!ask("bot", "github", "repos/delete", "repo:o/r").denied(&rules).public.contains("grant"));
}

/// What the grant covers, action on resource; then whether each call passes, and under which grant.
#[test]
fn a_grant_covers_what_it_says_and_widens_nothing() {
    let rules = load(POLICY);
    for (scopes, action, resource, passes) in [
        (vec![scope("github", &["pulls/create"], &["repo:o/r"])], "pulls/create", "repo:o/r", true),
        (vec![scope("github", &["pulls/create"], &["*"])], "pulls/create", "repo:o/r", true),
        (vec![scope("github", &["*"], &["*"])], "pulls/create", "repo:o/r", true),
        (vec![scope("github", &["write"], &["org:o"])], "pulls/create", "repo:o/r", true),
        (vec![scope("github", &["issues/create"], &["repo:o/r"])], "pulls/create", "repo:o/r", false),
        (vec![scope("github", &["pulls/create"], &["repo:o/other"])], "pulls/create", "repo:o/r", false),
        (vec![scope("stripe", &["pulls/create"], &["*"])], "pulls/create", "repo:o/r", false),
        // Permissions, denials and what always asks hold whatever a grant says.
        (vec![scope("github", &["pulls/create", "*"], &["*"])], "pulls/create", "repo:o/other", false),
        (vec![scope("github", &["repos/delete", "*"], &["*"])], "repos/delete", "repo:o/r", false),
        (vec![scope("github", &["*"], &["*"])], "repos/add-collaborator", "repo:o/r", false),
        (vec![], "pulls/create", "repo:o/r", false),
        // A text that cannot be read covers nothing.
        (vec![scope("github", &["pulls/create"], &["no kind"])], "pulls/create", "repo:o/r", false),
    ] {
        let mut asking = ask("bot", "github", action, resource);
        asking.grants = vec![grant(&rules, 7, 300, &scopes, None)];
        assert_eq!(asking.passes(&rules), passes, "{scopes:?} {action} {resource}");
        if passes {
            assert_eq!(asking.allowed(&rules).grants(), [GrantId::from_bits(7)]);
        }
    }
}

#[test]
fn a_grant_ends_and_kept_decisions_do_not_outlive_it() {
    let rules = load(POLICY);
    let mut asking = ask("bot", "github", "pulls/create", "repo:o/r");
    let scopes = [scope("github", &["pulls/create"], &["repo:o/r"])];
    // The verdict of the rules is kept after the first question; it says nothing of grants.
    for _ in 0..3 {
        assert!(!asking.passes(&rules));
        asking.grants = vec![grant(&rules, 1, 300, &scopes, None)];
        assert!(asking.passes(&rules));
        asking.grants.clear();
    }
    asking.grants = vec![grant(&rules, 1, 300, &scopes, None)];
    for (seconds, passes) in [(299, true), (300, false), (10_000, false)] {
        let mut later = ask("bot", "github", "pulls/create", "repo:o/r");
        later.now = asking.now.plus_secs(seconds);
        later.grants.clone_from(&asking.grants);
        assert_eq!(later.passes(&rules), passes, "{seconds}");
    }
    // The longest of several.
    asking.grants.push(grant(&rules, 2, 600, &scopes, None));
    asking.grants.push(grant(&rules, 3, 400, &scopes, None));
    assert_eq!(asking.allowed(&rules).grants(), [GrantId::from_bits(2)]);
}

#[test]
fn the_conditions_of_the_permission_hold_all_the_same() {
    let rules = load(POLICY);
    let refund = |amount| {
        let mut asking =
            ask("bot", "stripe", "refunds/create", "account:a").fact("body.amount", model::Fact::Int(amount));
        asking.grants =
            vec![grant(&rules, 1, 300, &[scope("stripe", &["refunds/create"], &["*"])], Some(consent(1, &[])))];
        asking
    };
    assert!(refund(100).passes(&rules));
    assert!(!refund(101).passes(&rules), "the bound holds");
    let mut list = ask("bot", "stripe", "charges/list", "account:a");
    list.grants = vec![grant(&rules, 1, 300, &[scope("stripe", &["charges/list"], &["*"])], None)];
    assert!(!list.passes(&rules), "its hours hold");
}

#[test]
fn a_yes_behind_a_grant_answers_what_it_was_given_for() {
    let rules = load(POLICY);
    let (push, admin) = (("git/push", "branch:o/r@agent/x"), ("repos/add-collaborator", "repo:o/r"));
    for ((action, resource), consent, asks) in [
        (push, None, true),
        (push, Some(consent(1, &[])), false),
        (push, Some(consent(1, &["ada"])), false),
        (admin, None, true),
        (admin, Some(consent(1, &["ada"])), true),
        (admin, Some(consent(2, &[])), true),
        (admin, Some(consent(2, &["ada", "carl"])), true),
        (admin, Some(consent(2, &["ada", "bob"])), false),
        (admin, Some(consent(3, &["ada", "bob"])), false),
    ] {
        let mut asking = ask("bot", "github", action, resource);
        asking.grants = vec![grant(&rules, 1, 300, &[scope("github", &[action], &[resource])], consent.clone())];
        assert_eq!(asking.allowed(&rules).approval().is_some(), asks, "{action} {consent:?}");
    }
    // Of a standing permission that asks, too; and only for what it covers.
    let text = "agents: {bot: {permissions: [{service: github, actions: [pulls/create, pulls/merge], resources: ['repo:o/r'], conditions: {approval: required}}]}}";
    let rules = load(text);
    for (action, asks) in [("pulls/create", false), ("pulls/merge", true)] {
        let mut asking = ask("bot", "github", action, "repo:o/r");
        asking.grants =
            vec![grant(&rules, 4, 300, &[scope("github", &["pulls/create"], &["repo:o/r"])], Some(consent(1, &[])))];
        let allowed = asking.allowed(&rules);
        assert_eq!((allowed.approval().is_some(), allowed.grants().is_empty()), (asks, asks), "{action}");
    }
}

/// Whatever is offered lets nothing pass that the same policy without `standing: none` would refuse.
#[test]
fn every_offer_stays_within_the_permissions() {
    let rules = load(POLICY);
    let standing = load(&POLICY.replace("standing: none", "standing: always"));
    let words = ["*", "read", "write", "delete", "spend", "pulls/create", "git/push", "repos/delete", "issues/create"];
    let resources = ["*", "repo:*", "repo:o/*", "repo:o/r", "org:o", "branch:o/r@*", "branch:o/*@agent/*", "repo:x/y"];
    let calls = [
        ("repos/get", "repo:o/r"),
        ("repos/get", "repo:o/z"),
        ("pulls/create", "repo:o/r"),
        ("pulls/create", "repo:x/y"),
        ("git/push", "branch:o/r@agent/x"),
        ("git/push", "branch:o/r@main"),
        ("git/list-refs", "repo:o/r"),
        ("git/list-refs", "repo:o/z"),
        ("repos/delete", "repo:o/r"),
        ("pulls/merge", "repo:o/r"),
    ];
    let mut passed = 0;
    for word in words {
        for resource in resources {
            let Ok(offered) = offer(&rules, &[part("github", &[word], &[resource])], None) else { continue };
            let given = grant(&rules, 1, 300, &offered.scopes, Some(consent(9, &["ada", "bob"])));
            for (action, on) in calls {
                let mut asking = ask("bot", "github", action, on);
                let before = asking.passes(&rules);
                let would = asking.passes(&standing);
                asking.grants = vec![Arc::clone(&given)];
                let now = asking.passes(&rules);
                assert!(!now || would, "{word} on {resource} lets {action} on {on} pass");
                assert!(now || !before, "a grant takes nothing away");
                passed += usize::from(now && !before);
            }
        }
    }
    assert!(passed > 20, "{passed}");
}

/// A broker document says what may be asked for, and for how long; with `standing: none` it says nothing else.
#[test]
fn a_broker_document() {
    let text =
        "policies: [{name: bot, credentials: [{service: github, max_scope: read, max_ttl: 2h, standing: none}]}]";
    let rules = load(text);
    let asking = ask("bot", "github", "repos/get", "repo:o/r");
    assert!(asking.denied(&rules).public.contains("needs a grant"));
    let offered = offer(&rules, &[part("github", &["read"], &["repo:o/r"])], Some(9_000)).expect("an offer");
    assert_eq!(offered.ttl_seconds, 7_200);
    let mut late = ask("bot", "github", "repos/get", "repo:o/r");
    late.now = asking.now.plus_secs(20_000);
    late.grants = vec![grant(&rules, 1, 30_000, &offered.scopes, None)];
    assert!(late.passes(&rules), "it is no end of the permission");
    // Without it the permission stands until then, as ever, and the time caps grants too.
    let rules = load(&text.replace(", standing: none", ""));
    assert!(asking.passes(&rules));
    assert_eq!(
        offer(&rules, &[part("github", &["read"], &["repo:o/r"])], Some(9_000)).expect("an offer").ttl_seconds,
        7_200
    );
}

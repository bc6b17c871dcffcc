use super::*;
use std::path::Path;

const GITHUB: &str = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
/// The pair of AWS's documentation.
const AWS_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const AWS_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

struct Room {
    folder: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("folder") }
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("made");
        std::fs::write(path, text).expect("written");
        self
    }

    fn ambient(&self, vars: &[(&str, &str)]) -> Ambient {
        let home = [("HOME".into(), self.folder.path().join("home").into_os_string())];
        let vars = vars.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Ambient::of(home.into_iter().chain(vars), self.folder.path().join("work"))
    }

    fn search(&self, vars: &[(&str, &str)], flags: &Flags) -> anyhow::Result<Discovery> {
        Discovery::search(&self.ambient(vars), &Catalog::builtin(), flags)
    }
}

fn by_service<'a>(discovery: &'a Discovery, service: &str) -> Vec<&'a Found> {
    discovery.found.iter().filter(|found| found.service.as_str() == service).collect()
}

#[test]
fn variables_are_found_by_name_and_by_shape() {
    let vars = [
        ("GITHUB_TOKEN", GITHUB),
        ("GH_TOKEN", GITHUB),
        ("MY_BOT", "sk-ant-api03-0123456789abcdef0123456789"),
        ("PATH", "/bin"),
    ];
    let discovery = Room::new().search(&vars, &Flags::default()).expect("searched");
    let github = by_service(&discovery, "github");
    assert_eq!(github.len(), 1, "one value is one credential: {:?}", discovery.report());
    let found = github.first().expect("found");
    assert_eq!(found.variables, ["GH_TOKEN", "GITHUB_TOKEN"]);
    assert!(found.from.as_deref() == Some("env:GH_TOKEN") && !found.always);
    assert_eq!(by_service(&discovery, "anthropic").first().map(|found| found.place.as_str()), Some("MY_BOT"));
    assert!(discovery.withheld.is_empty());
    assert!(discovery.ambient.is_withheld("GITHUB_TOKEN".as_ref()) && !discovery.ambient.is_withheld("PATH".as_ref()));
}

#[test]
fn what_nobody_knows_is_withheld_and_named() {
    let vars = [("ACME_TOKEN", "0123456789abcdef"), ("AWS_SECRET_ACCESS_KEY", "0123456789abcdef"), ("EDITOR", "vi")];
    let discovery = Room::new().search(&vars, &Flags::default()).expect("searched");
    let report = discovery.report().join("\n");
    assert!(report.contains("--bind ACME_TOKEN=HOST") && report.contains("--keep ACME_TOKEN"), "{report}");
    assert!(report.contains("half of a pair of AWS keys"), "{report}");
    assert!(!report.contains("0123456789abcdef"));
    assert_eq!(discovery.withheld.len(), 2);

    let flags = Flags { keep: vec!["ACME_TOKEN".to_owned()], bind: Vec::new() };
    let kept = Room::new().search(&vars, &flags).expect("searched");
    assert_eq!(kept.kept, ["ACME_TOKEN"]);
    assert!(!kept.ambient.is_withheld("ACME_TOKEN".as_ref()));
    let flags = Flags { keep: vec!["ACME_TOKNE".to_owned()], bind: Vec::new() };
    assert!(Room::new().search(&vars, &flags).is_err(), "a misspelt flag is an error");
}

#[test]
fn a_bound_variable_gets_a_service_of_its_own() {
    let vars = [("ACME_TOKEN", "0123456789abcdef"), ("OTHER", GITHUB)];
    let bind = |text: &str| Flags { bind: vec![text.parse().expect("a binding")], keep: Vec::new() };
    let discovery = Room::new().search(&vars, &bind("ACME_TOKEN=api.acme.test:X-Api-Key")).expect("searched");
    let found = by_service(&discovery, "api-acme-test");
    assert_eq!(found.first().map(|found| found.variables.as_slice()), Some(&["ACME_TOKEN".to_owned()][..]));
    assert!(Catalog::with(discovery.services.clone()).expect("a catalogue").service("api-acme-test").is_some());
    let discovery = Room::new().search(&vars, &bind("ACME_TOKEN=api.github.com")).expect("searched");
    assert!(discovery.services.is_empty() && by_service(&discovery, "github").len() == 2);
    assert!(Room::new().search(&vars, &bind("ACME_TOKEN=api.github.com:X-A")).is_err());
    assert!(Room::new().search(&vars, &bind("NOT_SET=api.acme.test")).is_err());
}

#[test]
fn a_pair_of_aws_keys_is_one_credential() {
    let vars =
        [("AWS_SECRET_ACCESS_KEY", AWS_KEY), ("AWS_ACCESS_KEY_ID", AWS_ID), ("AWS_SESSION_TOKEN", "sessiontoken=")];
    let room = Room::new();
    let file = format!(
        "[default]\naws_access_key_id={AWS_ID}\naws_secret_access_key={AWS_KEY}\naws_session_token=sessiontoken=\n[other]\naws_access_key_id={AWS_ID}\naws_secret_access_key = another/key+\n"
    );
    room.write("home/.aws/credentials", &file);
    let discovery = room.search(&vars, &Flags::default()).expect("searched");
    let found = by_service(&discovery, "aws");
    let [pair, other] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(pair.variables, ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]);
    assert_eq!((pair.kind.as_str(), other.name.as_str(), other.variables.len()), ("aws", "aws-other", 0));
    assert!(pair.place.contains("~/.aws/credentials") && discovery.ambient.is_withheld("AWS_SESSION_TOKEN".as_ref()));
    assert!(discovery.withheld.is_empty() && pair.from.as_deref().is_some_and(|from| from.starts_with("env:found/")));
}

#[test]
fn files_are_found_and_their_values_stay_out_of_everything_said() {
    let room = Room::new();
    room.write("work/.env", &format!("GITHUB_TOKEN={GITHUB}\nACME_TOKEN=0123456789abcdef\nPORT=8080\n"))
        .write(
            "home/.netrc",
            "machine github.com login me password gitpassword123\nmachine nowhere.test login a password b\n",
        )
        .write(
            "home/.aws/credentials",
            &format!("[default]\naws_access_key_id = {AWS_ID}\naws_secret_access_key = {AWS_KEY}\n[half]\naws_secret_access_key = x\n"),
        )
        .write(
            "work/.mcp.json",
            r#"{"mcpServers":{"s":{"env":{"SLACK_BOT_TOKEN":"xoxb-0123456789-abcdef","X":"${Y}"}}}}"#,
        );
    let discovery = room.search(&[], &Flags::default()).expect("searched");
    let report = [discovery.report(), discovery.open.clone()].concat().join("\n");
    for part in [
        ".env found for github",
        ".env still holds its credential",
        "ACME_TOKEN in .env looks like a secret",
        "password for nowhere.test",
        "AWS keys of the profile `default`",
        ".mcp.json found for slack",
    ] {
        assert!(report.contains(part), "`{part}` is missing:\n{report}");
    }
    for value in [GITHUB, "0123456789", "gitpassword", "xoxb", AWS_ID, AWS_KEY] {
        assert!(!report.contains(value) && !format!("{:?}", discovery.found).contains(value), "{value}");
    }
    assert!(discovery.found.iter().all(|found| found.variables.is_empty()), "no variable is set that was not");
    assert!(discovery.found.iter().any(|found| found.place == "~/.netrc" && found.always));
}

#[test]
fn log_ins_of_agents_stay_in_their_files() {
    let room = Room::new();
    room.write(
        "home/.claude/.credentials.json",
        r#"{"claudeAiOauth":{"accessToken":"sk-ant-oat01-0123456789abcdef","refreshToken":"sk-ant-ort01-0123456789abcdef"}}"#,
    )
    .write(
        "home/.codex/auth.json",
        r#"{"OPENAI_API_KEY":null,"tokens":{"access_token":"aaaa.bbbb.cccc","refresh_token":"rt_0123456789abcdef"}}"#,
    )
    .write("home/.config/gh/hosts.yml", &format!("github.com:\n    oauth_token: {GITHUB}\n    user: ada\n"));
    let discovery = room.search(&[], &Flags::default()).expect("searched");
    let home = room.folder.path().join("home");
    for (service, file, places) in [
        (
            "anthropic",
            ".claude/.credentials.json",
            "value=/claudeAiOauth/accessToken,refresh=/claudeAiOauth/refreshToken,expires_ms=/claudeAiOauth/expiresAt",
        ),
        (
            "openai",
            ".codex/auth.json",
            "value=/tokens/access_token,refresh=/tokens/refresh_token,identity=/tokens/id_token,renewed=/last_refresh",
        ),
    ] {
        let found = by_service(&discovery, service);
        assert_eq!(found.len(), 1, "{:?}", discovery.report());
        assert_eq!((found[0].name.as_str(), found[0].kind.as_str()), (&*format!("{service}-login"), "oauth2"));
        let from = found[0].from.as_deref().unwrap_or_default();
        assert_eq!(from, format!("login:{}#{places}", home.join(file).display()));
        assert!(vault::Reference::parse(from).is_ok() && found[0].digest.is_some());
    }
    // GitHub's tokens do not end; the file is read once, as ever.
    assert!(
        by_service(&discovery, "github")
            .first()
            .is_some_and(|found| found.from.as_deref().is_some_and(|from| from.starts_with("env:found/")))
    );
    // Between walls the agent sees placeholders there, and nothing is said.
    let report = [discovery.report(), discovery.open.clone()].concat().join("\n");
    assert!(!discovery.report().join("\n").contains("log in again"), "{:?}", discovery.report());
    assert!(report.contains("log in again behind Valetkey") && !report.contains("0123456789abcdef"), "{report}");
}

#[test]
fn references_lead_to_the_vault() {
    let room = Room::new();
    room.write("work/.env", "GITHUB_TOKEN=valetkey://github-token\nOTHER=valetkey://nobody-knows\n");
    room.write("work/.mcp.json", "{\"mcpServers\": {\"a\": {\"env\": {\"X\": \"valetkey://github-token\"}}}}");
    let vars = [("STRIPE_API_KEY", "valetkey://stripe-api-key")];
    let discovery = room.search(&vars, &Flags::default()).expect("searched");
    let github = by_service(&discovery, "github");
    assert_eq!((github.len(), github[0].name.as_str(), &github[0].from), (1, "github-token", &None));
    assert_eq!((github[0].place.as_str(), github[0].variables.len()), (".env, .mcp.json", 0));
    let stripe = by_service(&discovery, "stripe");
    assert_eq!((stripe[0].from.is_none(), stripe[0].variables.as_slice()), (true, &["STRIPE_API_KEY".to_owned()][..]));
    assert!(discovery.notes.iter().any(|note| note.contains("refers to `nobody-knows`")), "{:?}", discovery.notes);
}

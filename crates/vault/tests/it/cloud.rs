//! Roles of AWS that are taken on, and the keys of AWS that surround the gateway. STS, an instance's metadata and a container's endpoint are replayed from their
//! documentation; the end-to-end tests have an STS that checks signatures.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use model::canonical::{Origin, parse_base};
use model::{AgentName, Code, Tenant, Timestamp};
use parking_lot::Mutex;
use policy::{Bearer, Permit};
use secret::{Credential, Field};
use testkit::{Answer, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vault::issue::{AwsRole, AwsSource, Endpoint, Issuing, Narrowings};
use vault::road::{Road, Spoken, Wire};
use vault::{Declaration, LogIn, Pending, Reference, Site, Vault};

use crate::sites::tls;
use crate::world::{World, declaration, name, permit, permit_by, refusal, session};

/// One question, as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub line: String,
    pub fields: BTreeMap<String, String>,
    pub body: String,
}

type Says = dyn Fn(&Seen) -> (u16, String) + Send + Sync;

/// Somebody who speaks in clear text on the loopback.
pub struct Plain {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Plain {
    pub async fn start(says: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let (addr, says) = (listener.local_addr().expect("an address"), Arc::new(says));
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&says) as Arc<Says>, Arc::clone(&noted)));
            }
        });
        Self { addr, seen, task }
    }

    fn lines(&self) -> Vec<String> {
        self.seen.lock().iter().map(|seen| seen.line.clone()).collect()
    }
}

async fn answer(mut stream: tokio::net::TcpStream, says: Arc<Says>, noted: Arc<Mutex<Vec<Seen>>>) {
    let mut octets = Vec::new();
    let mut buffer = [0; 4_096];
    let seen = loop {
        let text = String::from_utf8_lossy(&octets).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let line = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
            let fields: BTreeMap<String, String> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length = fields.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                break Seen { line, fields, body: body.to_owned() };
            }
        }
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => octets.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    };
    let (status, text) = says(&seen);
    noted.lock().push(seen);
    let out = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len());
    let _ = stream.write_all(out.as_bytes()).await;
}

/// The gateway's own road, which leads to one place.
pub struct To {
    addr: SocketAddr,
    asked: Mutex<Vec<String>>,
}

impl Road for To {
    fn connect<'a>(&'a self, origin: &'a Origin, _spoken: Spoken) -> Pending<'a, Result<Box<dyn Wire>, String>> {
        self.asked.lock().push(origin.to_string());
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(self.addr).await.map_err(|error| error.to_string())?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        })
    }
}

pub fn way(addr: SocketAddr) -> Arc<To> {
    Arc::new(To { addr, asked: Mutex::default() })
}

fn end(now: Timestamp, seconds: u64) -> String {
    now.plus_secs(seconds).to_string()
}

/// What STS answers to one of its actions.
fn session_of(action: &str, number: usize, expires: &str) -> String {
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>ASIAIDIDIDIDIDIDID{number:02}</AccessKeyId><SecretAccessKey>key{number}</SecretAccessKey><SessionToken>token{number}</SessionToken>\
         <Expiration>{expires}</Expiration></Credentials></{action}Result></{action}Response>"
    )
}

fn is(credential: &Credential, field: Field, text: &str) -> bool {
    credential.material().field(field).is_some_and(|part| part.equals(text.as_bytes()))
}

fn permit_of_agent(agent: &str) -> Permit {
    let agent = AgentName::new(agent).expect("agent");
    let bearer = Bearer { tenant: Tenant::local(), agent, session: session(), user: None };
    permit_by(bearer, Some("aws"))
}

fn role(source: AwsSource, narrowed: bool) -> Arc<Issuing> {
    let settings = AwsRole {
        sts: Endpoint {
            origin: parse_base("https://sts.eu-west-1.amazonaws.com").expect("an origin"),
            target: "/".into(),
        },
        region: "eu-west-1".into(),
        role: "arn:aws:iam::123456789012:role/agents".into(),
        seconds: Some(3_600),
        external_id: None,
        source_identity: Some("ada@corp".into()),
        source,
        narrowed,
    };
    Issuing::new(settings.clone(), Box::new(settings))
}

fn narrowings(of: &[(&str, Result<&str, &str>)]) -> Narrowings {
    let one = |(agent, narrowed): &(&str, Result<&str, &str>)| {
        let key = (Tenant::local(), AgentName::new(agent).expect("agent"), name("aws"));
        (key, narrowed.map(Arc::from).map_err(Arc::from))
    };
    of.iter().map(one).collect()
}

struct Scene {
    world: World,
    vault: Vault,
    sts: Plain,
    way: Arc<To>,
    away: Arc<Mutex<bool>>,
}

impl Scene {
    async fn begin(root: &str, kind: &str, issuing: Arc<Issuing>) -> Self {
        let mut world = World::new();
        world.vars.insert("KEYS".into(), root.into());
        let (clock, away, count) = (world.clock.clone(), Arc::new(Mutex::new(false)), Mutex::new(0));
        let silent = Arc::clone(&away);
        let sts = Plain::start(move |seen| {
            if *silent.lock() {
                return (503, String::new());
            }
            *count.lock() += 1;
            let action = if seen.body.contains("WithWebIdentity") { "AssumeRoleWithWebIdentity" } else { "AssumeRole" };
            (200, session_of(action, *count.lock(), &end(model::Clock::now(&*clock), 3_600)))
        })
        .await;
        let (vault, way) = (world.vault().await, way(sts.addr));
        let all =
            narrowings(&[("bot", Ok("{\"P\":1}")), ("other", Ok("{\"P\":1}")), ("idle", Err("it may do nothing"))]);
        vault.take_way(Arc::clone(&way) as Arc<dyn Road>, all);
        let declared = Declaration { kind: kind.into(), issuing: Some(issuing), ..declaration("aws", "env:KEYS") };
        vault.declare(declared).await.expect("declared");
        Self { world, vault, sts, way, away }
    }
}

const PAIR: &str = r#"{"access_key_id":"AKIDIDIDIDIDIDIDIDID","secret_access_key":"root"}"#;

#[tokio::test]
async fn each_agents_session_is_kept_and_renewed_before_its_end() {
    let scene = Scene::begin(PAIR, "aws", role(AwsSource::Stored, true)).await;
    let Scene { world, vault, sts, .. } = &scene;
    // All who wait are answered by one question.
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let vault = vault.clone();
        tasks.spawn(async move { vault.resolve(&permit("aws")).await.expect("resolved").material().mark() });
    }
    let marks: std::collections::BTreeSet<u64> = tasks.join_all().await.into_iter().collect();
    assert_eq!((marks.len(), sts.lines().len()), (1, 1));
    let asked = sts.seen.lock()[0].clone();
    assert_eq!(asked.line, "POST /");
    for part in [
        "Action=AssumeRole&",
        "&RoleSessionName=valetkey-bot&",
        "&DurationSeconds=3600&",
        "&Policy=%7B%22P%22%3A1%7D&",
        "&SourceIdentity=ada%40corp",
    ] {
        assert!(asked.body.contains(part), "{part}: {}", asked.body);
    }
    let signed = &asked.fields["authorization"];
    assert!(
        signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIDIDIDIDIDIDIDIDID/") && signed.contains("/eu-west-1/sts/"),
        "{signed}"
    );
    // To whoever asks for JSON, STS answers JSON.
    assert_eq!(asked.fields["accept"], "text/xml");
    assert!(!asked.body.contains("root"));
    let first = vault.resolve(&permit("aws")).await.expect("resolved");
    assert!(
        is(&first, Field::KeyId, "ASIAIDIDIDIDIDIDID01")
            && is(&first, Field::SessionToken, "token1")
            && is(&first, Field::Value, "key1")
    );
    // Another agent has another session, even where it may do the same.
    let theirs = vault.resolve(&permit_of_agent("other")).await.expect("resolved");
    assert!(is(&theirs, Field::Value, "key2"));
    assert!(sts.seen.lock()[1].body.contains("RoleSessionName=valetkey-other"));
    // Until five minutes before the end nobody asks; then it is renewed, and while STS is away the old one is good to its end.
    for (pass, key, questions) in [(3_299, "key1", 2), (2, "key3", 3)] {
        world.clock.pass(pass);
        let now = vault.resolve(&permit("aws")).await.expect("resolved");
        assert!(is(&now, Field::Value, key), "{key}");
        assert_eq!(sts.lines().len(), questions);
    }
    *scene.away.lock() = true;
    world.clock.pass(3_599);
    assert!(is(&vault.resolve(&permit("aws")).await.expect("resolved"), Field::Value, "key3"));
    world.clock.pass(2);
    assert_eq!(refusal(vault, "aws").await.code(), Code::CredentialUnavailable);
    *scene.away.lock() = false;
    world.clock.pass(60);
    assert!(vault.resolve(&permit("aws")).await.is_ok());
    // Revoked: nothing is put on any more, and nobody is asked.
    let before = sts.lines().len();
    vault.revoke(&Tenant::local(), &name("aws"), None, "ada").await.expect("revoked");
    assert_eq!(refusal(vault, "aws").await.code(), Code::CredentialRevoked);
    assert_eq!(sts.lines().len(), before);
    assert!(scene.way.asked.lock().iter().all(|origin| origin == "sts.eu-west-1.amazonaws.com"));
}

#[tokio::test]
async fn whose_session_policy_cannot_be_made_has_no_session() {
    let scene = Scene::begin(PAIR, "aws", role(AwsSource::Stored, true)).await;
    for (agent, says) in [("idle", "it may do nothing"), ("stranger", "what `stranger` may do with it is not known")] {
        let error = scene.vault.resolve(&permit_of_agent(agent)).await.err().expect("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(scene.sts.lines().is_empty());
    // Unless it is said that sessions have none; each agent has its own all the same.
    let wide = Scene::begin(PAIR, "aws", role(AwsSource::Stored, false)).await;
    wide.vault.take_way(Arc::clone(&wide.way) as Arc<dyn Road>, Narrowings::new());
    for agent in ["stranger", "bot"] {
        wide.vault.resolve(&permit_of_agent(agent)).await.expect("resolved");
    }
    let seen = wide.sts.seen.lock().clone();
    assert_eq!(seen.len(), 2);
    assert!(!seen[0].body.contains("Policy="));
    // An identity token in place of keys: nothing is signed, and the token says who it is.
    let token = Scene::begin("eyJ.jwt.x\n", "token", role(AwsSource::WebIdentity, true)).await;
    let given = token.vault.resolve(&permit("aws")).await.expect("resolved");
    assert!(is(&given, Field::SessionToken, "token1"));
    let seen = token.sts.seen.lock()[0].clone();
    assert!(!seen.fields.contains_key("authorization") && !seen.body.contains("SourceIdentity"), "{seen:?}");
    assert!(seen.body.ends_with("&WebIdentityToken=eyJ.jwt.x"), "{}", seen.body);
    // A stored value that is no pair is said to be none, without a word of it.
    let odd = Scene::begin("hunter2hunter2", "aws", role(AwsSource::Stored, true)).await;
    let error = refusal(&odd.vault, "aws").await.to_string();
    assert!(error.contains("access_key_id") && !error.contains("hunter2"), "{error}");
}

/// What a container's endpoint and an instance's metadata give.
fn given(number: usize, expires: &str) -> String {
    serde_json::json!({
        "Code": "Success", "LastUpdated": "2012-04-26T16:39:16Z", "Type": "AWS-HMAC", "AccessKeyId": format!("ASIAIDIDIDIDIDIDID{number:02}"),
        "SecretAccessKey": format!("key{number}"), "Token": format!("token{number}"), "Expiration": expires,
    })
    .to_string()
}

/// A vault whose surroundings are these.
async fn within(world: &mut World, vars: &[(&str, String)]) -> Vault {
    world.vars = vars.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect();
    let vault = world.vault().await;
    let declared = Declaration { kind: "aws".into(), ..declaration("aws", "aws:ambient") };
    vault.declare(declared).await.expect("declared");
    vault
}

async fn gives_key(vault: &Vault, key: &str) -> bool {
    match vault.resolve(&permit("aws")).await {
        Ok(credential) => is(&credential, Field::Value, key),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn keys_are_found_in_variables_and_files() {
    let mut world = World::new();
    let file = |name: &str, text: &str| {
        let path = world.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let credentials = file(
        "credentials",
        "[default]\naws_access_key_id = AKDEFAULTDEFAULT\naws_secret_access_key = of-default\n[role]\nrole_arn = arn\n",
    );
    let config =
        file("config", "[profile dev]\naws_access_key_id = AKDEVDEVDEVDEVDE\naws_secret_access_key = of-dev\n");
    let home = world.folder.path().display().to_string();
    std::fs::create_dir(world.folder.path().join(".aws")).expect("made");
    file(".aws/credentials", "[default]\naws_access_key_id = AKHOMEHOMEHOMEHO\naws_secret_access_key = of-home\n");
    let off = ("AWS_EC2_METADATA_DISABLED", "TRUE".to_owned());
    let files = [("AWS_SHARED_CREDENTIALS_FILE", credentials), ("AWS_CONFIG_FILE", config)];
    let pair =
        [("AWS_ACCESS_KEY_ID", "AKVARVARVARVARVA".to_owned()), ("AWS_SECRET_ACCESS_KEY", "of-variables".to_owned())];
    for (vars, key) in [
        ([&files[..], &pair].concat(), "of-variables"),
        (files.to_vec(), "of-default"),
        ([&files[..], &[("AWS_PROFILE", "dev".to_owned())]].concat(), "of-dev"),
        (vec![("HOME", home.clone())], "of-home"),
    ] {
        let vault = within(&mut world, &vars).await;
        assert!(gives_key(&vault, key).await, "{key}");
    }
    for (vars, says) in [
        (vec![off.clone()], "no keys of AWS are found"),
        (pair[..1].to_vec(), "without the other"),
        ([&files[..], &[("AWS_PROFILE", "absent".to_owned())]].concat(), "no keys for profile `absent`"),
        ([&files[..], &[("AWS_PROFILE", "role".to_owned())]].concat(), "aws configure export-credentials"),
        (vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://10.0.0.7/creds".to_owned())], "it is not asked"),
        (vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://metadata.test/creds".to_owned())], "it is not asked"),
        (vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", "ftp://127.0.0.1/".to_owned())], "is no URL"),
        (vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://192.0.2.7".to_owned())], "it is not asked"),
    ] {
        let vault = within(&mut world, &vars).await;
        let error = refusal(&vault, "aws").await.to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[tokio::test]
async fn a_containers_endpoint_is_asked_with_its_token() {
    let mut world = World::new();
    let (clock, count) = (world.clock.clone(), Mutex::new(0));
    let agent = Plain::start(move |seen| {
        if seen.fields.get("authorization").map(String::as_str) != Some("token of pod") {
            return (401, String::new());
        }
        *count.lock() += 1;
        (200, given(*count.lock(), &end(model::Clock::now(&*clock), 3_600)))
    })
    .await;
    let file = world.folder.path().join("pod-token");
    std::fs::write(&file, "token of pod\n").expect("written");
    let url = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://127.0.0.1:{}/v1/credentials", agent.addr.port()));
    let with_file = [url.clone(), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.display().to_string())];
    let vault = within(&mut world, &with_file).await;
    assert!(gives_key(&vault, "key1").await);
    assert_eq!(agent.lines(), ["GET /v1/credentials"]);
    // Kept, and asked for anew five minutes before its end.
    world.clock.pass(3_200);
    assert!(gives_key(&vault, "key1").await);
    world.clock.pass(101);
    assert!(gives_key(&vault, "key2").await);
    assert_eq!(agent.lines().len(), 2);
    let wrong = [url, ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "another".to_owned())];
    let vault = within(&mut world, &wrong).await;
    assert!(refusal(&vault, "aws").await.to_string().contains("gives us no keys (status 401)"));
    // Over TLS it is asked on the gateway's own road.
    let far = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "https://keys.corp/v1".to_owned()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token of pod".to_owned()),
    ];
    let vault = within(&mut world, &far).await;
    let road = way(agent.addr);
    vault.take_way(Arc::clone(&road) as Arc<dyn Road>, Narrowings::new());
    assert!(gives_key(&vault, "key3").await);
    assert_eq!(*road.asked.lock(), ["keys.corp"]);
}

#[tokio::test]
async fn an_instances_metadata_are_asked_by_version_2_alone() {
    let mut world = World::new();
    let (clock, away) = (world.clock.clone(), Arc::new(Mutex::new(false)));
    let silent = Arc::clone(&away);
    let count = Mutex::new(0);
    let metadata = Plain::start(move |seen| {
        let has_token = seen.fields.get("x-aws-ec2-metadata-token").is_some_and(|token| token == "session of metadata");
        match seen.line.as_str() {
            _ if *silent.lock() => (503, String::new()),
            "PUT /latest/api/token" if seen.fields.contains_key("x-aws-ec2-metadata-token-ttl-seconds") => {
                (200, "session of metadata".to_owned())
            }
            "GET /latest/meta-data/iam/security-credentials/" if has_token => (200, "role-of-instance\n".to_owned()),
            "GET /latest/meta-data/iam/security-credentials/role-of-instance" if has_token => {
                *count.lock() += 1;
                (200, given(*count.lock(), &end(model::Clock::now(&*clock), 21_600)))
            }
            _ => (401, String::new()),
        }
    })
    .await;
    let vars = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://127.0.0.1:{}", metadata.addr.port()))];
    let vault = within(&mut world, &vars).await;
    assert!(gives_key(&vault, "key1").await);
    assert_eq!(metadata.lines().len(), 3);
    // Away when it is time: what was given is good to its end, and not beyond.
    *away.lock() = true;
    world.clock.pass(21_599);
    assert!(gives_key(&vault, "key1").await);
    world.clock.pass(2);
    let error = refusal(&vault, "aws").await.to_string();
    assert!(!error.contains("key1"), "{error}");
    *away.lock() = false;
    world.clock.pass(60);
    assert!(gives_key(&vault, "key2").await);
    // One that knows version 1 alone is not asked by it.
    let old =
        Plain::start(|seen| if seen.line.starts_with("PUT") { (404, String::new()) } else { (200, "role".to_owned()) })
            .await;
    let vars = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://127.0.0.1:{}", old.addr.port()))];
    let vault = within(&mut world, &vars).await;
    assert!(refusal(&vault, "aws").await.to_string().contains("answers 404 to who asks for a token"));
    assert_eq!(old.lines(), ["PUT /latest/api/token"]);
}

#[tokio::test]
async fn a_pods_identity_takes_a_role_on_and_logs_in_to_a_back_end() {
    let mut world = World::new();
    let clock = world.clock.clone();
    let sts = Plain::start(move |_| {
        (200, session_of("AssumeRoleWithWebIdentity", 7, &end(model::Clock::now(&*clock), 3_600)))
    })
    .await;
    let file = world.folder.path().join("identity");
    std::fs::write(&file, "eyJ.pod.x").expect("written");
    let vars = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.display().to_string()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod".to_owned()),
        ("AWS_REGION", "eu-central-1".to_owned()),
    ];
    let vault = within(&mut world, &vars).await;
    let road = way(sts.addr);
    vault.take_way(Arc::clone(&road) as Arc<dyn Road>, Narrowings::new());
    let manager = Upstream::builder()
        .http1()
        .handler(|_| Some(Answer::json(&serde_json::json!({"SecretString": "the value", "VersionId": "v"}))))
        .start();
    let site = Site {
        word: "aws-sm".to_owned(),
        origins: vec![parse_base(&format!("https://{}", manager.addr())).expect("an address")],
        ca: Some(manager.ca().pem().as_bytes().to_vec()),
        namespace: None,
        kv: None,
        login: LogIn::AwsAmbient { region: "eu-central-1".to_owned() },
    };
    vault.take_sites(vec![site], &tls).expect("taken");
    vault.declare(declaration("x", "aws-sm:team/github")).await.expect("declared");
    let given = vault.resolve(&permit("x")).await.expect("resolved");
    assert!(is(&given, Field::Value, "the value"));
    let seen = manager.journal().last();
    assert!(
        seen.value("authorization").contains("Credential=ASIAIDIDIDIDIDIDID07/"),
        "{}",
        seen.value("authorization")
    );
    assert_eq!(seen.value("x-amz-security-token"), "token7");
    assert!(gives_key(&vault, "key7").await);
    // One question for both.
    assert_eq!((sts.lines().len(), road.asked.lock().clone()), (1, vec!["sts.eu-central-1.amazonaws.com".to_owned()]));
    assert!(sts.seen.lock()[0].body.contains("RoleSessionName=valetkey-gateway"));
    assert!(matches!(Reference::parse("aws:other"), Err(vault::ReferenceError::Malformed { .. })));
}

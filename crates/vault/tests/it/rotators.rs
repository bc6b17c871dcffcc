//! Rotators that ask over HTTP, each interrupted at every request that it sends: before it has an effect, and after, so that the answer is lost.
//! Then another process goes on. Whatever happens, what is current works, and nothing is left over at the provider.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::Tenant;
use model::canonical::{Origin, parse_base};
use parking_lot::Mutex;
use policy::document::{Document, With};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use secret::Field;
use serde_json::json;
use testkit::upstream::Seen;
use testkit::{Answer, Hashicorp, Upstream};
use tokio_rustls::TlsConnector;
use vault::road::{Road, Spoken, Wire};
use vault::rotate::{Around, Rotated, Rotator, rotator};
use vault::{Ambient, LogIn, NewCredential, Site, Vault, VaultError};

use crate::rotating::{Blind, NODE, means, upkeep};
use crate::world::{World, name, new, permit, secret};

type Later<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Wire>, String>> + Send + 'a>>;

/// Leads nowhere.
pub struct Nowhere;

impl Road for Nowhere {
    fn connect<'a>(&'a self, origin: &'a Origin, _: Spoken) -> Later<'a> {
        Box::pin(async move { Err(format!("no road to {origin}")) })
    }
}

/// Leads to one server, whatever is asked for; its certificate is checked for that.
struct To {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl Road for To {
    fn connect<'a>(&'a self, origin: &'a Origin, _: Spoken) -> Later<'a> {
        Box::pin(async move {
            let tcp = tokio::net::TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
            let name = ServerName::try_from(origin.host.as_str().to_owned()).map_err(|error| error.to_string())?;
            let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await;
            Ok(Box::new(tls.map_err(|error| error.to_string())?) as Box<dyn Wire>)
        })
    }
}

pub fn around(world: &World, vault: &Vault, kind: &str, road: impl Road + 'static) -> Around {
    Around::new(vault, upkeep(), Ambient::empty(world.path().to_owned()), Arc::new(road), kind)
}

/// What `with:` says.
fn with(text: &str) -> With {
    let whole = format!("credentials:\n  admin: {{ kind: aws }}\n  t:\n    rotate: {{ with: {text} }}\n");
    let (document, _) = Document::parse(&whole, "x.yaml").unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
    let rotate = document.credentials.get("t").and_then(|entry| entry.rotate.clone()).expect("rotates");
    rotate.value.with.expect("by something").value
}

type Service = dyn Fn(&Seen) -> Answer + Send + Sync;

/// One request of all, counted from 0, at which the connection is reset: before the effect, or after.
#[derive(Default)]
struct Faults {
    at: Mutex<Option<(usize, bool)>>,
    count: AtomicUsize,
}

/// A provider, and the one that keeps a credential at it.
struct Scene {
    world: World,
    upstream: Upstream,
    faults: Arc<Faults>,
    kind: &'static str,
    with: With,
    /// Sites of the vault.
    site: Option<Site>,
    /// The values that are good at the provider.
    good: Box<dyn Fn() -> Vec<String>>,
}

impl Scene {
    fn new(kind: &'static str, with_text: &str, service: Arc<Service>, good: Box<dyn Fn() -> Vec<String>>) -> Self {
        let faults = Arc::<Faults>::default();
        let known = Arc::clone(&faults);
        let upstream = Upstream::builder().http1().handler(move |seen| {
            let number = known.count.fetch_add(1, Ordering::Relaxed);
            let at = *known.at.lock();
            if at == Some((number, false)) {
                return Some(Answer::reset());
            }
            let answer = service(seen);
            Some(if at == Some((number, true)) { Answer::reset() } else { answer })
        });
        let (world, upstream) = (World::new(), upstream.start());
        Self { world, upstream, faults, kind, with: with(with_text), site: None, good }
    }

    async fn vault(&self) -> Vault {
        let vault = self.world.vault().await;
        vault.take_sites(self.site.clone().into_iter().collect(), &crate::sites::tls).expect("taken");
        vault
    }

    async fn add(&self, value: &str) -> Vault {
        let vault = self.vault().await;
        let kind = self.kind.to_owned();
        vault.add(&NewCredential { kind, ..new("t") }, secret(value)).await.expect("added");
        vault
    }

    fn rotator(&self, vault: &Vault) -> Box<dyn Rotator> {
        let roots = testkit::ca::roots_of(self.upstream.ca().pem());
        let tls = testkit::ca::client_trusting(roots, &["http/1.1"]);
        let road = To { address: self.upstream.addr(), tls };
        rotator(&self.with, around(&self.world, vault, self.kind, road)).expect("reads")
    }

    /// Whether what is current is good there.
    async fn works(&self, vault: &Vault) -> bool {
        let known = vault.resolve(&permit("t")).await.expect("resolved");
        let value = known.material().field(Field::Value).expect("a value");
        (self.good)().iter().any(|good| value.equals(good.as_bytes()))
    }

    /// Rotates and retires, in one process after the other until it is done; whether the fault was met.
    async fn through(&self, fault: Option<(usize, bool)>) -> bool {
        self.faults.count.store(0, Ordering::Relaxed);
        *self.faults.at.lock() = fault;
        let (mut tries, upkeep) = (0, upkeep());
        loop {
            let vault = self.vault().await;
            assert!(self.works(&vault).await, "{fault:?}: what is current does not work");
            let by = self.rotator(&vault);
            let under_way = vault.rotations(&Tenant::local()).await.expect("listed").pop();
            let done = match under_way.filter(|row| row.retire.is_some()) {
                None => match vault.rotate(&upkeep, &name("t"), "test", means(&*by, &Blind)).await {
                    Ok(Rotated::Switched(_)) => {
                        self.world.clock.pass(61);
                        continue;
                    }
                    Ok(Rotated::GaveUp { why }) => panic!("{fault:?}: {why}"),
                    Err(error) => Err(error),
                },
                Some(row) => vault.retire(&upkeep, &row, (&*by, NODE)).await,
            };
            match done {
                Ok(()) => break,
                Err(VaultError::Undone { .. }) if tries < 2 => tries += 1,
                Err(error) => panic!("{fault:?}: {error}"),
            }
        }
        let vault = self.vault().await;
        assert!(self.works(&vault).await, "{fault:?}: what is current does not work at the end");
        assert_eq!((self.good)().len(), 1, "{fault:?}: something is left over at the provider");
        assert!(vault.rotations(&Tenant::local()).await.expect("listed").is_empty());
        self.faults.count.load(Ordering::Relaxed) > fault.map_or(0, |(number, _)| number)
    }

    /// Interrupted at each request in turn; how many there are.
    async fn interrupted(&self, first: &str) -> usize {
        self.add(first).await;
        let mut number = 0;
        while self.through(Some((number, false))).await && self.through(Some((number, true))).await {
            number += 1;
        }
        assert!(self.through(None).await || number > 0);
        number
    }
}

/// A service that makes keys, and knows what it made for an idempotency key.
fn keys() -> (Arc<Service>, Box<dyn Fn() -> Vec<String>>) {
    let state = Arc::new(Mutex::new(BTreeMap::from([("id-0".to_owned(), ("first".to_owned(), String::new()))])));
    let known = Arc::clone(&state);
    let service = move |seen: &Seen| {
        let mut keys = state.lock();
        let bearer = seen.value("x-api-key");
        if !keys.values().any(|(key, _)| *key == bearer) {
            return Answer::status(401);
        }
        match (seen.method.as_str(), seen.path()) {
            ("POST", "/v1/keys") => {
                let ticket = seen.value("idempotency-key");
                let body: serde_json::Value = serde_json::from_slice(&seen.body).expect("JSON");
                assert_eq!(body["name"].as_str(), Some(format!("t {ticket}").as_str()));
                let made =
                    keys.iter().find(|(_, (_, by))| *by == ticket).map(|(id, (key, _))| (id.clone(), key.clone()));
                let (id, key) = made.unwrap_or_else(|| {
                    let (id, key) = (format!("id/{ticket}"), format!("key of {ticket}"));
                    keys.insert(id.clone(), (key.clone(), ticket));
                    (id, key)
                });
                Answer::json(&json!({ "data": { "id": id, "key": key } })).with_status(201)
            }
            ("GET", "/v1/me") => Answer::json(&json!({})),
            ("DELETE", path) => {
                let id = path.strip_prefix("/v1/keys/").expect("an id").replace("%2F", "/");
                if keys.remove(&id).is_some() { Answer::status(204) } else { Answer::status(404) }
            }
            _ => Answer::status(404),
        }
    };
    (Arc::new(service), Box::new(move || known.lock().values().map(|(key, _)| key.clone()).collect()))
}

const KEYS: &str = r#"{ http: { make: { url: "https://api.corp.test/v1/keys", headers: { idempotency-key: "{ticket}", x-api-key: "{key}" },
  body: '{"name":"{credential} {ticket}"}' }, value: /data/key, id: /data/id, auth: none,
  verify: { url: "https://api.corp.test/v1/me", headers: { x-api-key: "{value}" } },
  retire: { url: "https://api.corp.test/v1/keys/{id}", headers: { x-api-key: "{key}" } } } }"#;

#[tokio::test]
async fn keys_by_http_are_rotated_whatever_breaks_off() {
    let (service, good) = keys();
    let scene = Scene::new("token", KEYS, service, good);
    let requests = scene.interrupted(r#"{"key_id":"id-0","secret":"first"}"#).await;
    assert_eq!(requests, 3, "make, verify, retire");
}

#[tokio::test]
async fn what_a_service_says_no_to_ends_a_rotation() {
    let (service, good) = keys();
    let scene = Scene::new("token", KEYS, service, good);
    // No id: it could never be retired, so nothing is made.
    let vault = scene.add("first").await;
    let by = scene.rotator(&vault);
    let rotated = vault.rotate(&upkeep(), &name("t"), "test", means(&*by, &Blind)).await.expect("an answer");
    assert!(matches!(&rotated, Rotated::GaveUp { why } if why.contains("the value has no id")), "{rotated:?}");
    assert_eq!((scene.good)(), ["first"]);
    // A key that the service does not know: nothing is made either.
    let wrong = r#"{"key_id":"id-0","secret":"wrong"}"#;
    vault.add_version(&Tenant::local(), &name("t"), secret(wrong)).await.expect("replaced");
    let rotated = vault.rotate(&upkeep(), &name("t"), "test", means(&*by, &Blind)).await.expect("an answer");
    assert!(matches!(&rotated, Rotated::GaveUp { why } if why.contains("status 401")), "{rotated:?}");
    // A certificate that is somebody else's: nothing is sent.
    let other = testkit::ca::Ca::new("somebody else");
    let tls = testkit::ca::client_trusting(testkit::ca::roots_of(other.pem()), &["http/1.1"]);
    let road = To { address: scene.upstream.addr(), tls };
    let by = rotator(&scene.with, around(&scene.world, &vault, "token", road)).expect("reads");
    let before = scene.upstream.journal().len();
    let rotated = vault.rotate(&upkeep(), &name("t"), "test", means(&*by, &Blind)).await;
    assert!(matches!(&rotated, Err(VaultError::Undone { .. })), "{rotated:?}");
    assert_eq!(scene.upstream.journal().len(), before);
}

#[tokio::test]
async fn secret_ids_are_rotated_whatever_breaks_off() {
    let server = Hashicorp::new(72);
    server.approle("agent", "first");
    let (token, handler, known) = (server.token(), server.handler(), server.clone());
    let service = move |seen: &Seen| handler(seen).expect("it answers everything");
    let good = move || known.secret_ids("agent");
    let mut scene = Scene::new("token", "{ hashicorp: { role: agent } }", Arc::new(service), Box::new(good));
    std::fs::write(scene.world.path().join("token"), token).expect("written");
    scene.site = Some(Site {
        word: "hashicorp".to_owned(),
        origins: vec![parse_base(&format!("https://{}", scene.upstream.addr())).expect("an address")],
        ca: Some(scene.upstream.ca().pem().as_bytes().to_vec()),
        namespace: None,
        kv: None,
        login: LogIn::Token(crate::sites::reference("file:token")),
    });
    let requests = scene.interrupted("first").await;
    // The token is looked up; ids are listed, looked at and made; the role is read, logged in and out of; one is destroyed.
    assert!(requests >= 8, "{requests}");
    // Ours, and of two log-ins that were tried the tokens whose answer, or whose end, was lost on the way: those end by themselves.
    assert_eq!(server.live_tokens(), 3, "what was logged in to is logged out of");
}

/// IAM and STS for one user, as far as a rotation goes. Signatures are verified in the end-to-end tests.
struct Iam {
    keys: BTreeMap<String, (String, bool)>,
    tag: Option<String>,
    made: u32,
    /// A new key is unknown for so many questions.
    slow: u32,
}

fn id(number: u32) -> String {
    format!("AKIAEXAMPLE{number:09}")
}

impl Iam {
    fn answer(&mut self, seen: &Seen) -> Answer {
        let error = |status: u16, code: &str| {
            let text = format!("<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>");
            Answer::body("text/xml", text).with_status(status)
        };
        let xml = |text: String| Answer::body("text/xml", format!("<R>{text}</R>"));
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let word = |name: &str| {
            let found = body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_default().to_owned()
        };
        let signer = seen.value("authorization");
        let signer =
            signer.split("Credential=").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
        if !self.keys.get(&signer).is_some_and(|(_, active)| *active) {
            return error(403, "InvalidClientTokenId");
        }
        match word("Action").as_str() {
            "GetCallerIdentity" => {
                if self.slow > 0 && signer != id(0) {
                    self.slow -= 1;
                    return error(403, "InvalidClientTokenId");
                }
                xml("<Arn>arn:aws:iam::123456789012:user/team/agent</Arn>".to_owned())
            }
            _ if word("UserName") != "agent" => error(404, "NoSuchEntity"),
            "ListAccessKeys" => {
                let member = |id: &String| format!("<member><AccessKeyId>{id}</AccessKeyId></member>");
                xml(self.keys.keys().map(member).collect::<Vec<_>>().concat())
            }
            "ListUserTags" => {
                let member =
                    |tag: &String| format!("<member><Key>valetkey-rotation</Key><Value>{tag}</Value></member>");
                xml(self.tag.iter().map(member).collect::<Vec<_>>().concat())
            }
            "TagUser" => {
                self.tag = Some(word("Tags.member.1.Value"));
                xml(String::new())
            }
            "CreateAccessKey" if self.keys.len() >= 2 => error(409, "LimitExceeded"),
            "CreateAccessKey" => {
                self.made += 1;
                let (id, key) = (id(self.made), format!("key/{}+", self.made));
                self.keys.insert(id.clone(), (key.clone(), true));
                xml(format!("<AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{key}</SecretAccessKey>"))
            }
            "UpdateAccessKey" => match self.keys.get_mut(&word("AccessKeyId")) {
                Some((_, active)) => {
                    *active = false;
                    xml(String::new())
                }
                None => error(404, "NoSuchEntity"),
            },
            "DeleteAccessKey" => match self.keys.remove(&word("AccessKeyId")) {
                Some(_) => xml(String::new()),
                None => error(404, "NoSuchEntity"),
            },
            _ => error(400, "InvalidAction"),
        }
    }
}

fn iam(with: &str) -> (Scene, Arc<Mutex<Iam>>) {
    let first = (id(0), ("key/0".to_owned(), true));
    let state = Iam { keys: BTreeMap::from([first]), tag: None, made: 0, slow: 0 };
    let state = Arc::new(Mutex::new(state));
    let (asked, known) = (Arc::clone(&state), Arc::clone(&state));
    let good = move || known.lock().keys.values().map(|(key, _)| key.clone()).collect();
    (Scene::new("aws", with, Arc::new(move |seen: &Seen| asked.lock().answer(seen)), Box::new(good)), state)
}

fn pair(number: u32) -> String {
    json!({ "access_key_id": id(number), "secret_access_key": format!("key/{number}") }).to_string()
}

#[tokio::test]
async fn keys_of_aws_are_rotated_whatever_breaks_off() {
    let (scene, _) = iam("{ aws-iam: {} }");
    let requests = scene.interrupted(&pair(0)).await;
    // Who it is, which keys, tag, make; try; who it is, off, gone.
    assert_eq!(requests, 8);
}

#[tokio::test]
async fn a_second_key_that_is_not_ours_is_left_alone() {
    let (scene, state) = iam("{ aws-iam: {} }");
    let vault = scene.add(&pair(0)).await;
    state.lock().keys.insert("AKIASOMEBODYELSES".to_owned(), ("theirs".to_owned(), true));
    let by = scene.rotator(&vault);
    let rotated = vault.rotate(&upkeep(), &name("t"), "test", means(&*by, &Blind)).await.expect("an answer");
    let says = "has a second key, AKIASOMEBODYELSES, and AWS allows two";
    assert!(matches!(&rotated, Rotated::GaveUp { why } if why.contains(says)), "{rotated:?}");
    assert_eq!(state.lock().keys.len(), 2);
    // A key is known everywhere after a while only.
    state.lock().keys.remove("AKIASOMEBODYELSES");
    state.lock().slow = 1;
    let rotated = vault.rotate(&upkeep(), &name("t"), "test", means(&*by, &Blind)).await.expect("an answer");
    assert!(matches!(rotated, Rotated::Switched(_)), "{rotated:?}");
    assert!(scene.works(&vault).await);
}

//! A Vault behind an [`Upstream`](crate::Upstream), replayed from its documented API (developer.hashicorp.com/vault/api-docs: KV 1 and 2, AppRole,
//! JWT and Kubernetes log-in, tokens, leases, `sys/internal/ui/mounts`, dynamic engines). It is no Vault: it knows the answers that the
//! documentation shows, and keeps tokens, versions and leases so that they fit together. Nothing in it ends by time; tests end things.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::clock::SeededRandom;
use crate::upstream::{Answer, Seen};

/// What is mounted where, with the last slash: type and version of KV.
const MOUNTS: [(&str, &str, Option<&str>); 5] = [
    ("secret/", "kv", Some("2")),
    ("team/kv/", "kv", Some("2")),
    ("kv1/", "kv", Some("1")),
    ("database/", "database", None),
    ("aws/", "aws", None),
];

/// The server. Copies share their state.
#[derive(Clone, Debug)]
pub struct Hashicorp {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: SeededRandom,
    /// Path to its versions; none for one that was deleted.
    secrets: BTreeMap<String, Vec<Option<Value>>>,
    /// Mount and role to the secret that proves it.
    roles: HashMap<(String, String), String>,
    /// Names of roles whose secret ids are made and destroyed here, at `approle`.
    approles: HashMap<String, AppRole>,
    /// Live tokens, and the leases that each made.
    tokens: HashMap<String, Vec<String>>,
    namespace: Option<String>,
    token_seconds: u64,
    lease_seconds: u64,
    /// What every question is answered instead.
    instead: Option<Answer>,
    logins: usize,
    renewals: usize,
    made: Vec<String>,
}

/// A role and its secret ids, by accessor: each with its metadata.
#[derive(Debug)]
struct AppRole {
    id: String,
    secrets: BTreeMap<String, (String, Value)>,
}

impl Hashicorp {
    /// One that holds nothing and knows nobody.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: SeededRandom::new(seed),
            secrets: BTreeMap::new(),
            roles: HashMap::new(),
            approles: HashMap::new(),
            tokens: HashMap::new(),
            namespace: None,
            token_seconds: 3_600,
            lease_seconds: 600,
            instead: None,
            logins: 0,
            renewals: 0,
            made: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Answers as an upstream's handler does.
    pub fn handler(&self) -> impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static {
        let state = Arc::clone(&self.state);
        move |seen| Some(state.lock().answer(seen))
    }

    /// Writes a version: `secret/app` of KV 2, `kv1/app` of KV 1.
    pub fn put(&self, path: &str, data: Value) {
        self.state.lock().secrets.entry(path.to_owned()).or_default().push(Some(data));
    }

    /// Deletes the newest version.
    pub fn delete(&self, path: &str) {
        if let Some(last) = self.state.lock().secrets.get_mut(path).and_then(|versions| versions.last_mut()) {
            *last = None;
        }
    }

    /// Knows somebody: the mount of the method, the role, and the secret id or token that proves it.
    pub fn allow(&self, mount: &str, role: &str, secret: &str) {
        self.state.lock().roles.insert((mount.to_owned(), role.to_owned()), secret.to_owned());
    }

    /// Has a role whose secret ids are made and destroyed, and the first of them.
    pub fn approle(&self, name: &str, first: &str) {
        let secrets = BTreeMap::from([("accessor-0".to_owned(), (first.to_owned(), Value::Null))]);
        self.state.lock().approles.insert(name.to_owned(), AppRole { id: format!("{name}-id"), secrets });
    }

    /// Secret ids of a role that are good.
    #[must_use]
    pub fn secret_ids(&self, name: &str) -> Vec<String> {
        let state = self.state.lock();
        state.approles[name].secrets.values().map(|(secret, _)| secret.clone()).collect()
    }

    /// A token that is good until it is revoked.
    #[must_use]
    pub fn token(&self) -> String {
        self.state.lock().token()
    }

    /// Every token is refused from now on.
    pub fn revoke_tokens(&self) {
        self.state.lock().tokens.clear();
    }

    /// Seconds that log-ins and leases are good for.
    pub fn set_seconds(&self, token: u64, lease: u64) {
        let mut state = self.state.lock();
        (state.token_seconds, state.lease_seconds) = (token, lease);
    }

    /// Asks for this namespace.
    pub fn set_namespace(&self, namespace: &str) {
        self.state.lock().namespace = Some(namespace.to_owned());
    }

    /// Answers everything with this, or as usual again.
    pub fn answer_instead(&self, answer: Option<Answer>) {
        self.state.lock().instead = answer;
    }

    /// Is sealed, or not (any more).
    pub fn seal(&self, sealed: bool) {
        let answer = Answer::json(&json!({"errors": ["Vault is sealed"]})).with_status(503);
        self.answer_instead(sealed.then_some(answer));
    }

    /// Log-ins so far.
    #[must_use]
    pub fn logins(&self) -> usize {
        self.state.lock().logins
    }

    /// Renewals of tokens and leases so far.
    #[must_use]
    pub fn renewals(&self) -> usize {
        self.state.lock().renewals
    }

    /// Live tokens.
    #[must_use]
    pub fn live_tokens(&self) -> usize {
        self.state.lock().tokens.len()
    }

    /// Live leases.
    #[must_use]
    pub fn leases(&self) -> Vec<String> {
        self.state.lock().tokens.values().flatten().cloned().collect()
    }

    /// Everything secret that was handed out: tokens, passwords.
    #[must_use]
    pub fn made(&self) -> Vec<String> {
        self.state.lock().made.clone()
    }
}

fn error(status: u16, text: &str) -> Answer {
    let errors = if text.is_empty() { json!([]) } else { json!([text]) };
    Answer::json(&json!({ "errors": errors })).with_status(status)
}

/// RFC 3986 2.1.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(&part[..2], 16).unwrap());
        out.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(out).unwrap()
}

/// The frame of every answer.
fn framed(members: &Value) -> Answer {
    let mut whole = json!({
        "request_id": "8c3d2f0a-0c31-4b1e-9a84-3f2f8a1f2f11", "lease_id": "", "renewable": false, "lease_duration": 0, "data": null,
        "wrap_info": null, "warnings": null, "auth": null,
    });
    for (name, value) in members.as_object().unwrap() {
        whole[name] = value.clone();
    }
    Answer::json(&whole)
}

impl State {
    fn token(&mut self) -> String {
        let token = format!("hvs.{}", self.random.text(90));
        self.tokens.insert(token.clone(), Vec::new());
        self.made.push(token.clone());
        token
    }

    fn answer(&mut self, seen: &Seen) -> Answer {
        if let Some(instead) = &self.instead {
            return instead.clone();
        }
        if seen.values("x-vault-request") != ["true"] {
            return error(400, "required header X-Vault-Request is missing");
        }
        if self.namespace.is_some() && seen.values("x-vault-namespace").first() != self.namespace.as_ref() {
            return error(404, "no handler for route");
        }
        let path = decoded(seen.path().strip_prefix("/v1/").unwrap_or_default());
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or(Value::Null);
        if let Some(mount) = path.strip_prefix("auth/").and_then(|rest| rest.strip_suffix("/login")) {
            return if seen.method == "POST" { self.log_in(mount, &body) } else { error(405, "unsupported operation") };
        }
        let token = seen.values("x-vault-token").pop().unwrap_or_default();
        if !self.tokens.contains_key(&token) {
            return error(403, "permission denied");
        }
        if let Some(rest) = path.strip_prefix("auth/approle/role/") {
            return self.secret_id(&seen.method, rest, &body);
        }
        match (seen.method.as_str(), path.as_str()) {
            ("GET", "auth/token/lookup-self") => {
                framed(&json!({ "data": { "ttl": self.token_seconds, "renewable": true, "type": "service" } }))
            }
            ("POST", "auth/token/renew-self") => {
                self.renewals += 1;
                self.auth(&token)
            }
            ("POST", "auth/token/revoke-self") => {
                self.tokens.remove(&token);
                Answer::status(204)
            }
            ("PUT", "sys/leases/renew") => self.renew(&body),
            ("PUT", "sys/leases/revoke") => self.revoke(&body),
            ("GET", path) => match path.strip_prefix("sys/internal/ui/mounts/") {
                Some(path) => mount(path),
                None => self.read(path, seen.query("version"), &token),
            },
            _ => error(405, "unsupported operation"),
        }
    }

    fn auth(&self, token: &str) -> Answer {
        framed(&json!({ "auth": {
            "client_token": token, "accessor": "hmac", "policies": ["default"], "lease_duration": self.token_seconds, "renewable": true,
        } }))
    }

    fn log_in(&mut self, mount: &str, body: &Value) -> Answer {
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let is_approle = body.get("role_id").is_some();
        let (role, secret) =
            if is_approle { (text("role_id"), text("secret_id")) } else { (text("role"), text("jwt")) };
        let known = self.roles.get(&(mount.to_owned(), role.to_owned())).is_some_and(|known| known == secret);
        let is_id = |known: &AppRole| known.id == role && known.secrets.values().any(|(known, _)| known == secret);
        if secret.is_empty() || !known && !self.approles.values().any(is_id) {
            return if is_approle { error(400, "invalid role or secret ID") } else { error(403, "permission denied") };
        }
        self.logins += 1;
        let token = self.token();
        self.auth(&token)
    }

    /// `NAME/role-id`, `NAME/secret-id` and what is below that.
    fn secret_id(&mut self, method: &str, rest: &str, body: &Value) -> Answer {
        let Some((name, rest)) = rest.split_once('/') else { return error(405, "unsupported operation") };
        let fresh = (self.random.text(24), self.random.text(36));
        let Some(role) = self.approles.get_mut(name) else { return error(404, "") };
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        match (method, rest) {
            ("GET", "role-id") => framed(&json!({ "data": { "role_id": role.id } })),
            ("GET", "secret-id") if role.secrets.is_empty() => error(404, ""),
            ("GET", "secret-id") => framed(&json!({ "data": { "keys": role.secrets.keys().collect::<Vec<_>>() } })),
            ("POST", "secret-id") => {
                let metadata = serde_json::from_str(text("metadata")).unwrap_or(Value::Null);
                role.secrets.insert(fresh.0.clone(), (fresh.1.clone(), metadata));
                framed(&json!({ "data": { "secret_id": fresh.1, "secret_id_accessor": fresh.0, "secret_id_ttl": 0 } }))
            }
            ("POST", "secret-id/destroy") => {
                role.secrets.retain(|_, (secret, _)| secret != text("secret_id"));
                Answer::status(204)
            }
            ("POST", "secret-id-accessor/lookup") => match role.secrets.get(text("secret_id_accessor")) {
                Some((_, metadata)) => framed(&json!({ "data": { "metadata": metadata, "secret_id_num_uses": 0 } })),
                None => error(404, "failed to find accessor entry"),
            },
            ("POST", "secret-id-accessor/destroy") => {
                role.secrets.remove(text("secret_id_accessor"));
                Answer::status(204)
            }
            _ => error(405, "unsupported operation"),
        }
    }

    fn renew(&mut self, body: &Value) -> Answer {
        let lease = body["lease_id"].as_str().unwrap_or_default();
        if !self.tokens.values().flatten().any(|known| known == lease) {
            return error(400, "lease not found");
        }
        self.renewals += 1;
        framed(&json!({ "lease_id": lease, "renewable": true, "lease_duration": self.lease_seconds }))
    }

    fn revoke(&mut self, body: &Value) -> Answer {
        let lease = body["lease_id"].as_str().unwrap_or_default();
        for leases in self.tokens.values_mut() {
            leases.retain(|known| known != lease);
        }
        Answer::status(204)
    }

    fn read(&mut self, path: &str, version: Option<&str>, token: &str) -> Answer {
        let Some((mount, kind, kv)) = MOUNTS.iter().find(|(mount, ..)| path.starts_with(mount)) else {
            return error(404, &format!("no handler for route \"{path}\". route entry not found."));
        };
        let rest = path.strip_prefix(mount).unwrap_or_default();
        match (*kind, *kv) {
            ("kv", Some("2")) => {
                let Some(rest) = rest.strip_prefix("data/") else { return error(404, "") };
                self.read_kv2(&format!("{mount}{rest}"), version)
            }
            ("kv", _) => match self.secrets.get(path).and_then(|versions| versions.last().cloned().flatten()) {
                Some(data) => framed(&json!({ "data": data, "lease_duration": 2_764_800 })),
                None => error(404, ""),
            },
            (kind, _) => match rest.strip_prefix("creds/") {
                Some(role) if role != "unknown" => self.issue(kind, path, token),
                Some(role) => error(400, &format!("Role \"{role}\" does not exist")),
                None => error(404, ""),
            },
        }
    }

    fn read_kv2(&self, path: &str, version: Option<&str>) -> Answer {
        let Some(versions) = self.secrets.get(path) else { return error(404, "") };
        let number = version.and_then(|text| text.parse::<usize>().ok()).filter(|number| *number > 0);
        let number = number.unwrap_or(versions.len());
        let Some(data) = versions.get(number - 1) else { return error(404, "") };
        let deleted = if data.is_some() { "" } else { "2026-11-20T10:00:00.123456789Z" };
        let metadata = json!({
            "created_time": "2026-11-19T10:00:00.123456789Z", "custom_metadata": null, "deletion_time": deleted, "destroyed": false,
            "version": number,
        });
        let answer = framed(&json!({ "data": { "data": data, "metadata": metadata } }));
        if data.is_some() { answer } else { answer.with_status(404) }
    }

    /// A credential with a lease.
    fn issue(&mut self, kind: &str, path: &str, token: &str) -> Answer {
        let lease = format!("{path}/{}", self.random.text(24));
        let password = self.random.text(20);
        self.made.push(password.clone());
        let data = match kind {
            "database" => json!({ "username": format!("v-approle-ro-{}", self.random.text(8)), "password": password }),
            _ => {
                json!({ "access_key": format!("AKIA{}", self.random.text(16)), "secret_key": password, "security_token": null })
            }
        };
        self.tokens.entry(token.to_owned()).or_default().push(lease.clone());
        framed(&json!({ "lease_id": lease, "renewable": true, "lease_duration": self.lease_seconds, "data": data }))
    }
}

fn mount(path: &str) -> Answer {
    let under = MOUNTS.iter().filter(|(mount, ..)| path.starts_with(mount) || format!("{path}/") == **mount);
    let Some((mount, kind, kv)) = under.max_by_key(|(mount, ..)| mount.len()) else {
        return error(
            403,
            "preflight capability check returned 403, please ensure client's policies grant access to path",
        );
    };
    let options = kv.map_or(Value::Null, |version| json!({ "version": version }));
    framed(&json!({ "data": { "path": mount, "type": kind, "options": options, "uuid": "x", "accessor": "y" } }))
}

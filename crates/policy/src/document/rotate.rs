//! `rotate:`: how a new value takes over from the old one, and who makes and retires values.

use std::borrow::Cow;
use std::fmt;

use model::CredentialName;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::at::{At, Table};
use super::check::Checker;
use super::schema::{CredentialEntry, Document};
use super::value::Span;
use super::webhook::Receiver;
use super::{Diagnostic, nearest};

/// A shorter time would be one rotation after another.
const ROTATED_SECONDS_MIN: u64 = 10;
/// Octets of a template; what a service is asked is short.
const TEMPLATE_BYTES_MAX: usize = 8 * 1024;
/// Header fields of one question.
const FIELDS_MAX: usize = 16;
/// What stands for something in templates.
pub const HOLES: [&str; 5] = ["value", "id", "key", "ticket", "credential"];

/// How a new value takes over from the old one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rotate {
    /// Who makes new values and retires old ones: `exec:PROGRAM ARGUMENTS`, or one of the rotators. Without it an operator brings them
    /// (`credential rotate`).
    pub with: Option<At<With>>,
    /// How old a value may become before it is rotated, ten seconds or more; by hand alone where nothing is written, or as `sensitivity` has it.
    pub every: Option<At<Span>>,
    /// How long the old value stays good once the new one is in use; an hour where nothing is written.
    pub grace: Option<At<Span>>,
}

/// How bad it is if it leaks: how often it is rotated where `rotate:` says by whom and not how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sensitivity {
    /// Every 90 days.
    Low,
    /// Every 30 days.
    Medium,
    /// Every 7 days.
    High,
    /// Every day.
    Critical,
}

impl Sensitivity {
    /// How old a value may become, seconds.
    pub const fn every(self) -> u64 {
        let days = match self {
            Self::Low => 90,
            Self::Medium => 30,
            Self::High => 7,
            Self::Critical => 1,
        };
        days * 24 * 60 * 60
    }
}

/// Who makes new values and retires old ones.
#[derive(Clone, Debug)]
pub enum With {
    /// A program: what stands behind `exec:`, or whatever else was written there.
    Program(String),
    /// One of the rotators.
    By(Box<By>),
}

/// Exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct By {
    /// A role of PostgreSQL for each value.
    pub postgres: Option<At<ByPostgres>>,
    /// A key of an IAM user for each value.
    #[serde(rename = "aws-iam")]
    pub aws_iam: Option<At<ByAwsIam>>,
    /// A secret id of an AppRole of HashiCorp Vault or OpenBao for each value.
    pub hashicorp: Option<At<ByHashicorp>>,
    /// A service that makes keys when it is asked by HTTP.
    pub http: Option<At<ByHttp>>,
}

/// A role of PostgreSQL for each value: a member of `role`, in whose name its sessions act.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByPostgres {
    /// The credential (of kind `database`) of who may make roles (`CREATEROLE`, `ADMIN` of `role`, `pg_signal_backend`).
    pub admin: At<String>,
    /// The role that owns everything. It needs no log-in of its own.
    pub role: At<String>,
    /// The database that is logged in to.
    pub database: At<String>,
    /// `HOST` or `HOST:PORT`; the server of the credential's service where nothing is written.
    #[serde(default)]
    pub server: Option<At<String>>,
}

/// A key of an IAM user for each value.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ByAwsIam {
    /// The credential (of kind `aws`) that may make and delete the user's keys; the key itself where nothing is written.
    pub admin: Option<At<String>>,
    /// A region of the partition, `us-east-1` where nothing is written; `us-gov-west-1`, `cn-north-1`.
    pub region: Option<At<String>>,
}

/// A secret id of an AppRole for each value.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByHashicorp {
    /// The name of the role.
    pub role: At<String>,
    /// Which entry of `backends:` it is; `hashicorp` where nothing is written. Its log-in makes and destroys secret ids.
    #[serde(default)]
    pub backend: Option<At<String>>,
    /// Where the method is mounted; `approle` where nothing is written.
    #[serde(default)]
    pub mount: Option<At<String>>,
}

/// A service that makes keys when it is asked by HTTP. In URLs, fields and bodies `{key}` is what authenticates (the current value, or that of
/// `admin`), `{value}` and `{id}` the value that is looked at or retired, `{ticket}` the same however often a step is done again, `{credential}` its name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByHttp {
    /// How a new value is made; by `POST` where nothing is written. Any answer of 200 to 299 is a yes.
    pub make: Question,
    /// Where the new value stands in the answer: a JSON pointer, `/data/secret`.
    pub value: At<String>,
    /// Where its id stands, which `retire` may need: it is kept with the value, as `{"key_id": .., "secret": ..}`.
    #[serde(default)]
    pub id: Option<At<String>>,
    /// How a new value is tried, by `GET` where nothing is written: 401 and 403 are a no. Without it the service's `check` is asked.
    #[serde(default)]
    pub verify: Option<Question>,
    /// How an old value is retired, by `DELETE` where nothing is written; what is gone (404, 410) is retired. Without it old values end by themselves.
    #[serde(default)]
    pub retire: Option<Question>,
    /// What goes into `Authorization`; `bearer` where nothing is written.
    #[serde(default)]
    pub auth: Option<At<HttpAuth>>,
    /// The credential that authenticates; the current value where nothing is written.
    #[serde(default)]
    pub admin: Option<At<String>>,
}

/// What goes into the field `Authorization`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HttpAuth {
    /// `Bearer {key}`.
    #[default]
    Bearer,
    /// `Basic`, of the id and the key.
    Basic,
    /// Nothing; a field of its own may hold `{key}`.
    None,
}

/// One question.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// `https://HOST/PATH`. A host that is no public one is named under `upstreams:` too.
    pub url: At<String>,
    /// The method.
    #[serde(default)]
    pub method: Option<At<String>>,
    /// Fields; `Content-Type` is `application/json` where nothing is written and there is a body.
    #[serde(default)]
    pub headers: Table<At<String>>,
    /// The body. What is filled into JSON is escaped, what is filled into a form is encoded.
    #[serde(default)]
    pub body: Option<At<String>>,
}

impl<'de> Deserialize<'de> for With {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = With;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("`exec:PROGRAM ARGUMENTS`, or a mapping with one rotator")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(With::Program(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                By::deserialize(de::value::MapAccessDeserializer::new(map)).map(|by| With::By(Box::new(by)))
            }
        }
        from.deserialize_any(Either)
    }
}

impl JsonSchema for With {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "With".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let by = generator.subschema_for::<By>();
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, by] })
    }
}

/// What is wrong with one.
pub(super) fn check(at: &At<Rotate>, entry: &CredentialEntry, checker: &mut Checker<'_>) {
    let Rotate { with, every, grace: _ } = &at.value;
    if let Some(from) = entry.from.as_ref().filter(|from| from.value != "builtin") {
        checker.say(from, "`rotate` is for values in the built-in vault; what lies elsewhere is rotated there");
    }
    if let Some(with) = with {
        who(with, checker);
    }
    match every {
        Some(every) if with.is_none() => {
            checker.say(&every.with("every".to_owned()), "nothing here can make a new value: add `with: exec:PROGRAM` or a rotator, or take `every` out and rotate it by hand");
        }
        Some(every) if every.value.0 < ROTATED_SECONDS_MIN => {
            checker.say(
                &every.with("every".to_owned()),
                format!("a value is rotated every {ROTATED_SECONDS_MIN} seconds at most"),
            );
        }
        _ => {}
    }
}

fn who(with: &At<With>, checker: &mut Checker<'_>) {
    let by = match &with.value {
        With::Program(text) => {
            if text.strip_prefix("exec:").is_none_or(|words| words.trim().is_empty()) {
                let why = "who rotates it is written `exec:PROGRAM ARGUMENTS`, or as a mapping: `postgres`, `aws-iam`, `hashicorp`, `http`";
                checker.say(&with.with(text.clone()), why);
            }
            return;
        }
        With::By(by) => by,
    };
    let By { postgres, aws_iam, hashicorp, http } = &**by;
    let count = [postgres.is_some(), aws_iam.is_some(), hashicorp.is_some(), http.is_some()];
    if count.iter().filter(|is| **is).count() != 1 {
        let why = "it names exactly one rotator: `postgres`, `aws-iam`, `hashicorp` or `http`";
        checker.say(&with.with("with".to_owned()), why);
    }
    if let Some(postgres) = postgres {
        by_postgres(&postgres.value, checker);
    }
    if let Some(region) = aws_iam.as_ref().and_then(|by| by.value.region.as_ref()) {
        let plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
        if region.value.is_empty() || region.value.len() > 32 || !region.value.bytes().all(plain) {
            checker.say(region, "a region is written like `eu-central-1`");
        }
    }
    if let Some(hashicorp) = hashicorp {
        let ByHashicorp { role, backend, mount } = &hashicorp.value;
        if backend.as_ref().is_some_and(|word| word.value.split('@').next() != Some("hashicorp")) {
            let word = backend.as_ref().unwrap_or(role);
            checker.say(word, "an entry of `backends:` for Vault is called `hashicorp` or `hashicorp@NAME`");
        }
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
        for text in [Some(role), mount.as_ref()].into_iter().flatten() {
            if text.value.is_empty() || !text.value.bytes().all(|octet| plain(octet) || octet == b'/') {
                checker.say(text, "roles and mounts have letters, digits, `-`, `_` and `.`");
            }
        }
    }
    if let Some(http) = http {
        by_http(&http.value, checker);
    }
}

fn by_postgres(by: &ByPostgres, checker: &mut Checker<'_>) {
    for name in [&by.role, &by.database] {
        // Of NAMEDATALEN, 64, one is the end.
        if name.value.is_empty() || name.value.len() > 63 || name.value.contains('\0') {
            checker.say(name, "a name in PostgreSQL has 1 to 63 octets");
        }
    }
    if let Some(server) = &by.server
        && let Err(error) = model::canonical::parse_authority(&server.value)
    {
        checker.say(server, error.to_string());
    }
}

fn by_http(by: &ByHttp, checker: &mut Checker<'_>) {
    for pointer in [Some(&by.value), by.id.as_ref()].into_iter().flatten() {
        if !pointer.value.starts_with('/') {
            checker.say(
                pointer,
                "where something stands in an answer is written as a JSON pointer, such as `/data/secret`",
            );
        }
    }
    for question in [Some(&by.make), by.verify.as_ref(), by.retire.as_ref()].into_iter().flatten() {
        self::question(question, checker);
    }
    let made = [Some(&by.make.url), by.make.body.as_ref()].into_iter().flatten();
    let made = made.chain(by.make.headers.iter().map(|(_, value)| value));
    for text in made.filter(|text| text.value.contains("{id}") || text.value.contains("{value}")) {
        checker.say(
            text,
            "nothing is made yet: `{value}` and `{id}` are for `verify` and `retire`; `{key}` is the current value",
        );
    }
}

fn question(question: &Question, checker: &mut Checker<'_>) {
    let Question { url, method, headers, body } = question;
    // What is filled in holds no character that ends a host or a path.
    let mut plain = url.value.clone();
    for hole in HOLES {
        plain = plain.replace(&format!("{{{hole}}}"), "x");
    }
    let is_host_filled = url
        .value
        .split_once("://")
        .is_some_and(|(_, rest)| rest.split(['/', '?']).next().is_some_and(|host| host.contains('{')));
    if is_host_filled {
        checker.say(url, "a host is written as it is, nothing is filled in there");
    } else if let Err(why) = Receiver::parse(&plain) {
        checker.say(
            url,
            why.replace("a webhook's URL", "a URL").replace("; messages are signed instead", "; write `auth: basic`"),
        );
    }
    let upper =
        |text: &str| !text.is_empty() && text.len() <= 16 && text.bytes().all(|octet| octet.is_ascii_uppercase());
    if let Some(method) = method.as_ref().filter(|method| !upper(&method.value)) {
        checker.say(method, "a method is written in upper case: `POST`");
    }
    if headers.iter().count() > FIELDS_MAX {
        checker.say(url, format!("a question has at most {FIELDS_MAX} fields"));
    }
    let token = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
    let ours = ["host", "content-length", "transfer-encoding", "connection"];
    for (name, value) in headers {
        if name.value.is_empty()
            || !name.value.bytes().all(token)
            || ours.contains(&name.value.to_ascii_lowercase().as_str())
        {
            checker.say(name, "a field's name has letters, digits and `-`, and is none of HTTP's own");
        }
        if value.value.bytes().any(|octet| octet.is_ascii_control()) {
            checker.say(value, "a field holds no line breaks");
        }
    }
    for text in body.iter().chain(headers.iter().map(|(_, value)| value)) {
        if text.value.len() > TEMPLATE_BYTES_MAX {
            checker.say(&text.with(String::new()), format!("at most {TEMPLATE_BYTES_MAX} octets are sent"));
        }
    }
}

/// Credentials and back ends that rotators name and nobody declares, once all files are joined.
pub(super) fn undeclared(document: &Document) -> Vec<Diagnostic> {
    let mut all = Vec::new();
    for (own, entry) in &document.credentials {
        let Some(With::By(by)) =
            entry.rotate.as_ref().and_then(|rotate| rotate.value.with.as_ref()).map(|with| &with.value)
        else {
            continue;
        };
        let By { postgres, aws_iam, hashicorp, http } = &**by;
        let admins = [
            postgres.as_ref().map(|by| &by.value.admin),
            aws_iam.as_ref().and_then(|by| by.value.admin.as_ref()),
            http.as_ref().and_then(|by| by.value.admin.as_ref()),
        ];
        let mut say = |at: &At<String>, message: String, nearest| {
            let (line, column, text) = (at.line, at.column, at.value.clone());
            all.push(Diagnostic { file: entry.file.to_string(), line, column, text, message, nearest });
        };
        for admin in admins.into_iter().flatten() {
            let known = || document.credentials.iter().map(|(name, _)| name.value.as_str());
            if admin.value == own.value {
                say(
                    admin,
                    "a credential is not its own administrator; leave `admin` out, or name another".to_owned(),
                    None,
                );
            } else if CredentialName::new(&admin.value).is_err() || !known().any(|name| name == admin.value) {
                let message = format!("credential `{}` is not declared; add it under `credentials:`", admin.value);
                say(admin, message, nearest(&admin.value, known()));
            }
        }
        let Some(hashicorp) = hashicorp else { continue };
        let word = hashicorp.value.backend.as_ref();
        let name = word.map_or("hashicorp", |word| word.value.as_str());
        if document.backends.get(name).is_none() {
            let message = format!(
                "back end `{name}` is not described; say where it is: `backends: {{ {name}: {{ address: .. }} }}`"
            );
            say(word.unwrap_or(&hashicorp.value.role), message, None);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        let faults = match Document::parse(text, "valetkey.yaml") {
            Ok((document, _)) => Document::join([document]).err().unwrap_or_default(),
            Err(faults) => faults,
        };
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    fn rotating(with: &str) -> String {
        format!("credentials:\n  admin: {{ kind: database }}\n  c:\n    rotate:\n      with: {with}\n      every: 7d\n")
    }

    const POSTGRES: &str = "{ postgres: { admin: admin, role: crm, database: crm, server: \"db.corp:5433\" } }";
    const HTTP: &str = "{ http: { make: { url: \"https://api.corp/keys\", body: '{\"name\":\"{ticket}\"}', headers: { X-A: \"{key}\" } }, value: /key, \
                        id: /id, retire: { url: \"https://api.corp/keys/{id}\" }, auth: none } }";

    #[test]
    fn what_is_wrong_with_who_rotates() {
        for good in
            ["exec:rotate it", POSTGRES, HTTP, "{ aws-iam: {} }", "{ aws-iam: { region: cn-north-1, admin: admin } }"]
        {
            assert_eq!(faults(&rotating(good)), "", "{good}");
        }
        let vault = "backends: { hashicorp: { address: \"https://v.corp\", token: \"env:T\" } }\n";
        assert_eq!(faults(&format!("{vault}{}", rotating("{ hashicorp: { role: agent } }"))), "");
        for (with, says) in [
            ("\"exec:\"", "valetkey.yaml:5:13: who rotates it is written"),
            ("{}", "valetkey.yaml:5:13: it names exactly one rotator"),
            ("{ postgress: {} }", "unknown key `postgress`"),
            (&POSTGRES.replace("role: crm, ", ""), "`role` is missing"),
            (&POSTGRES.replace("admin: admin", "admin: amin"), "credential `amin` is not declared"),
            (&POSTGRES.replace("admin: admin", "admin: c"), "is not its own administrator"),
            (&POSTGRES.replace("db.corp:5433", "a b"), "a b"),
            ("{ aws-iam: {}, hashicorp: { role: x } }", "exactly one rotator"),
            ("{ aws-iam: { region: EU } }", "like `eu-central-1`"),
            ("{ hashicorp: { role: x } }", "back end `hashicorp` is not described"),
            ("{ hashicorp: { role: x, backend: op } }", "is called `hashicorp`"),
            (&HTTP.replace("value: /key", "value: key"), "JSON pointer"),
            (&HTTP.replace("https://api.corp/keys\"", "http://api.corp/keys\""), "begins with `https://`"),
            (&HTTP.replace("https://api.corp/keys\"", "https://{id}.corp/keys\""), "a host is written as it is"),
            (&HTTP.replace("{ticket}", "{value}"), "nothing is made yet"),
            (&HTTP.replace("X-A", "Host"), "none of HTTP's own"),
            (&HTTP.replace("auth: none", "auth: digest"), "`digest` is not one of"),
        ] {
            let told = faults(&rotating(with));
            assert!(told.contains(says), "{with}: {told}");
        }
    }
}

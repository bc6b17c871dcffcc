//! `from:` and `backends:`: where credentials live, where the secret managers are and how we log in to them.

use model::bounds;
use model::canonical::parse_base;

use super::check::{Checker, pasted};
use super::schema::{Backend, CredentialEntry, Document};
use super::{At, Diagnostic, nearest};

/// Back ends on this machine.
const NEAR: [&str; 7] = ["builtin", "env", "file", "exec", "login", "keyring", "aws"];
/// Those over the network; what stands before the colon may carry a name: `hashicorp@eu`.
const FAR: [&str; 7] = ["hashicorp", "op", "k8s", "aws-sm", "aws-ps", "gcp-sm", "azure-kv"];
/// Has one address, which everybody knows.
const OF_GOOGLE: &str = "gcp-sm";
/// Where what logs in may live: nothing that has to be logged in to.
const LOCAL: [&str; 4] = ["env", "file", "exec", "keyring"];
/// Works without being described: by its program, `op`.
const BY_PROGRAM: &str = "op";
/// In a pod everything that is needed lies in known places.
const IN_POD: &str = "k8s";

/// Whether a text names a secret that lies on this machine.
pub(super) fn is_local(text: &str) -> bool {
    text.split_once(':').is_some_and(|(kind, rest)| LOCAL.contains(&kind) && !rest.is_empty())
}

/// The kind of back end of what stands before the colon.
fn kind(word: &str) -> &str {
    word.split_once('@').map_or(word, |(kind, _)| kind)
}

/// Where a credential lives, and for how long its value is good.
pub(super) fn credential(entry: &CredentialEntry, checker: &mut Checker<'_>) {
    if let Some(from) = &entry.from {
        match from.value.split_once(':') {
            Some((word, rest)) if NEAR.contains(&word) && !rest.is_empty() => {}
            Some((word, rest)) if FAR.contains(&kind(word)) && !rest.is_empty() => {}
            Some((word, rest)) if !rest.is_empty() => {
                checker.unknown(&from.with(word.to_owned()), "back end", NEAR.into_iter().chain(FAR));
            }
            _ => {
                let why = "a reference is written `env:NAME`, `file:PATH`, `hashicorp:MOUNT/PATH#FIELD` or the like; a value is never \
                           written here";
                checker.say(&from.with(pasted(&from.value)), why);
            }
        }
    }
    let spans = [("ttl", &entry.ttl), ("stale", &entry.stale)];
    for (key, at) in spans.into_iter().filter_map(|(key, at)| Some((key, at.as_ref()?))) {
        if entry.from.is_none() {
            let why = format!("`{key}` is for what lies elsewhere; the built-in vault is asked when it changes");
            checker.say(&at.with(key.to_owned()), why);
        }
    }
    let (least, most) = bounds::MATERIAL_FRESH_SECONDS_RANGE;
    if let Some(ttl) = entry.ttl.as_ref().filter(|ttl| !(least..=most).contains(&ttl.value.0)) {
        checker.say(&ttl.with(ttl.value.0.to_string()), "`ttl` is from 1s to 1h");
    }
    if let Some(stale) = entry.stale.as_ref().filter(|stale| stale.value.0 > bounds::MATERIAL_HELD_SECONDS_MAX) {
        checker.say(
            &stale.with(stale.value.0.to_string()),
            "`stale` is at most 24h: what is revoked meanwhile is not known here",
        );
    }
}

/// Credentials whose back end nobody describes, once all files are joined.
pub(super) fn undescribed(document: &Document) -> Vec<Diagnostic> {
    let missing = |from: &At<String>| {
        let (word, _) = from.value.split_once(':')?;
        let is_known = !FAR.contains(&kind(word)) || word == BY_PROGRAM || document.backends.get(word).is_some();
        (!is_known).then(|| word.to_owned())
    };
    let all = document.credentials.iter().filter_map(|(_, entry)| {
        let from = entry.from.as_ref()?;
        let word = missing(from)?;
        Some(Diagnostic {
            file: entry.file.to_string(),
            line: from.line,
            column: from.column,
            message: format!(
                "back end `{word}` is not described; say where it is: `backends: {{ {word}: {{ address: .. }} }}`"
            ),
            nearest: nearest(&word, document.backends.iter().map(|(known, _)| known.value.as_str())),
            text: word,
        })
    });
    all.collect()
}

/// What is wrong with `backends:`.
pub(super) fn check(document: &Document, checker: &mut Checker<'_>) {
    for (count, (word, backend)) in document.backends.iter().enumerate() {
        if count >= bounds::BACKENDS_MAX {
            checker.say(word, format!("a configuration has at most {} back ends", bounds::BACKENDS_MAX));
        }
        let kind = kind(&word.value);
        if NEAR.contains(&kind) {
            checker.say(word, format!("back end `{kind}` is on this machine and is not described"));
        } else if !FAR.contains(&kind) {
            checker.unknown(word, "back end", FAR);
        } else {
            named(word, checker);
            one(kind, word, backend, checker);
        }
    }
}

fn named(word: &At<String>, checker: &mut Checker<'_>) {
    let Some((_, name)) = word.value.split_once('@') else { return };
    let plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-' || octet == b'_';
    if name.is_empty() || name.len() > 32 || !name.bytes().all(plain) {
        checker.say(word, "a back end's name has 1 to 32 of lower-case letters, digits, `-` and `_`");
    }
}

fn one(kind: &str, word: &At<String>, backend: &Backend, checker: &mut Checker<'_>) {
    let Backend { address, ca: _, namespace, kv, token, approle, kubernetes, jwt, region: _, aws_key, .. } = backend;
    let is_aws = kind.starts_with("aws-");
    if address.is_empty() && kind != IN_POD && kind != OF_GOOGLE && !is_aws {
        checker.say(word, "it has no `address`; write `address: https://HOST:PORT`");
    }
    if address.iter().count() > bounds::BACKEND_ADDRESSES_MAX {
        checker.say(word, format!("a back end has at most {} addresses", bounds::BACKEND_ADDRESSES_MAX));
    }
    for address in address {
        if let Err(why) = parse_base(&address.value) {
            checker.say(address, why);
        }
    }
    let only = |at: Option<At<String>>| at.filter(|_| kind != "hashicorp");
    let theirs = [
        namespace.as_ref().map(|at| at.with("namespace".to_owned())),
        kv.as_ref().map(|at| at.with("kv".to_owned())),
        approle.as_ref().map(|at| at.with("approle".to_owned())),
        kubernetes.as_ref().map(|at| at.with("kubernetes".to_owned())),
        jwt.as_ref().map(|at| at.with("jwt".to_owned())),
    ];
    for key in theirs.into_iter().filter_map(only) {
        checker.say(&key, format!("`{}` is for `hashicorp` alone; take it out", key.value));
    }
    aws(is_aws, word, backend, checker);
    let is_cloud = clouds(kind, word, backend, checker);
    if let Some(kv) = kv.filter(|kv| !(1..=2).contains(&kv.value)) {
        checker.say(&kv.with(kv.value.to_string()), "`kv` is 1 or 2");
    }
    let graphic =
        |text: &str| !text.is_empty() && text.len() <= 256 && text.bytes().all(|octet| octet.is_ascii_graphic());
    if let Some(namespace) = namespace.as_ref().filter(|namespace| !graphic(&namespace.value)) {
        checker.say(namespace, "a namespace is plain ASCII without blanks");
    }
    let ways = [token.is_some(), approle.is_some(), kubernetes.is_some(), jwt.is_some(), aws_key.is_some()];
    match ways.iter().filter(|is| **is).count() {
        0 if kind != IN_POD && !is_aws && !is_cloud => {
            checker.say(word, "it does not say how to log in; write one of `token`, `approle`, `kubernetes`, `jwt`");
        }
        0 | 1 => {}
        _ => checker.say(word, "it says several ways to log in; keep one of `token`, `approle`, `kubernetes`, `jwt`"),
    }
    logins(backend, checker);
}

/// What AWS needs, and nobody else.
fn aws(is_aws: bool, word: &At<String>, backend: &Backend, checker: &mut Checker<'_>) {
    let Backend { region, aws_key, token, address, .. } = backend;
    if !is_aws {
        let theirs = region.as_ref().map(|at| at.with("region".to_owned()));
        for key in theirs.into_iter().chain(aws_key.as_ref().map(|at| at.with("aws_key".to_owned()))) {
            checker.say(&key, format!("`{}` is for `aws-sm` and `aws-ps` alone; take it out", key.value));
        }
        return;
    }
    if region.is_none() {
        checker.say(word, "it needs `region`; and `aws_key`, if the keys that surround the gateway are not meant");
    }
    if let Some(token) = token {
        checker.say(&token.with("token".to_owned()), "`token` is not for AWS; write `aws_key`");
    }
    if address.iter().count() > 1 {
        checker.say(word, "AWS has one address");
    }
    let plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
    if let Some(region) = region.as_ref().filter(|region| region.value.is_empty() || !region.value.bytes().all(plain)) {
        checker.say(region, "a region is written like `eu-central-1`");
    }
}

/// What Google and Microsoft need, and nobody else; whether this is one of theirs.
fn clouds(kind: &str, word: &At<String>, backend: &Backend, checker: &mut Checker<'_>) -> bool {
    let Backend { google_key, azure_client, token, address, .. } = backend;
    let google = google_key.as_ref().map(|at| at.with("google_key".to_owned()));
    let azure = azure_client.as_ref().map(|at| at.with("azure_client".to_owned()));
    let token = token.as_ref().map(|at| at.with("token".to_owned()));
    for (mine, key, missing) in [
        ("gcp-sm", &google, "it needs `google_key: file:..`, the key of a service account"),
        ("azure-kv", &azure, "it needs `azure_client: { tenant, client_id, client_secret: env:.. }`"),
    ] {
        match key {
            None if kind == mine => checker.say(word, missing),
            Some(key) if kind != mine => {
                checker.say(key, format!("`{}` is for `{mine}` alone; take it out", key.value));
            }
            _ => {}
        }
    }
    let is_cloud = ["gcp-sm", "azure-kv"].contains(&kind);
    if let Some(token) = token.filter(|_| is_cloud) {
        checker.say(&token, "a token of these ends within the hour, and is got anew by `google_key` or `azure_client`");
    }
    if is_cloud && address.iter().count() > 1 {
        checker.say(word, "it has one address");
    }
    is_cloud
}

fn logins(backend: &Backend, checker: &mut Checker<'_>) {
    let approle = backend.approle.as_ref().map(|approle| &approle.value);
    let jwts = [&backend.kubernetes, &backend.jwt].map(|login| login.as_ref().map(|login| &login.value));
    let tokens = jwts.iter().flatten().filter_map(|login| login.token.as_ref());
    let aws = backend.aws_key.iter().map(|key| &key.value);
    let keys = aws.flat_map(|key| [Some(&key.key_id), Some(&key.secret), key.session_token.as_ref()]).flatten();
    let keys =
        keys.chain(&backend.google_key).chain(backend.azure_client.iter().map(|client| &client.value.client_secret));
    let secrets = backend.token.iter().chain(keys).chain(approle.map(|approle| &approle.secret_id)).chain(tokens);
    for secret in secrets.filter(|secret| !is_local(&secret.value)) {
        // Not repeated whole: it may be the secret itself.
        let why = "what logs in is written as `env:NAME`, `file:PATH`, `exec:COMMAND` or `keyring:SERVICE/ACCOUNT`; its value is never written here";
        checker.say(&secret.with(pasted(&secret.value)), why);
    }
    if let Some(jwt) = backend.jwt.as_ref().filter(|jwt| jwt.value.token.is_none()) {
        checker.say(&jwt.with("jwt".to_owned()), "`jwt` does not say where its token lives; write `token: file:PATH`");
    }
    let mounts = approle.and_then(|it| it.mount.as_ref()).into_iter();
    for mount in mounts.chain(jwts.iter().flatten().filter_map(|login| login.mount.as_ref())) {
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_./".contains(&octet);
        let dots = |part: &str| part.is_empty() || part.bytes().all(|octet| octet == b'.');
        if !mount.value.bytes().all(plain) || mount.value.split('/').any(dots) {
            checker.say(mount, "a mount is the path behind `auth/`, without slashes around it");
        }
    }
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

    #[test]
    fn what_is_wrong_with_a_back_end() {
        let credential = |from: &str| format!("credentials:\n  c: {{ service: github, from: \"{from}\" }}\n");
        let good = "backends:\n  hashicorp: { address: \"https://vault.corp:8200\", approle: { role_id: r, secret_id: \"file:./s\" } }\n  \
                    hashicorp@eu: { address: [\"https://a.corp\", \"https://b.corp\"], namespace: team/a, kv: 2, token: \"env:T\" }\n  \
                    op: { address: \"http://127.0.0.1:8080\", token: \"keyring:connect/me\" }\n  k8s: {}\n";
        for from in [
            "aws:ambient",
            "hashicorp:secret/x#y",
            "hashicorp@eu:secret/{user}/x",
            "op://v/i/f",
            "k8s:a/b#c",
            "keyring:a/b",
        ] {
            assert_eq!(faults(&format!("{}{good}", credential(from))), "");
        }
        assert_eq!(faults(&credential("op://v/i/f")), "");
        let pasted = "hvs.".to_owned() + &"CAESI".repeat(8);
        for (text, says) in [
            (credential("hashicorp:secret/x"), "back end `hashicorp` is not described"),
            (format!("{}{good}", credential("hashicorp@us:secret/x")), "back end `hashicorp@us` is not described"),
            (credential("gcp-sm:p/x"), "back end `gcp-sm` is not described"),
            (good.replace("k8s: {}", "gcp-sm: {}"), "it needs `google_key"),
            (good.replace("k8s: {}", "gcp-sm: { google_key: hunter2 }"), "never written here"),
            (good.replace("k8s: {}", "azure-kv: { address: \"https://a.vault.azure.net\" }"), "it needs `azure_client"),
            (good.replace("k8s: {}", "k8s: { google_key: \"file:k\" }"), "is for `gcp-sm` alone"),
            (good.replace("k8s: {}", "gcp-sm: { google_key: \"file:k\", token: \"env:T\" }"), "ends within the hour"),
            (good.replace("k8s: {}", "aws-sm: {}"), "it needs `region`"),
            (good.replace("k8s: {}", "k8s: { region: a }"), "for `aws-sm` and `aws-ps` alone"),
            (
                good.replace("k8s: {}", "aws-ps: { region: EU, aws_key: { key_id: \"env:A\", secret: \"env:B\" } }"),
                "like `eu-central-1`",
            ),
            (credential("hashicorpp:x"), "unknown back end `hashicorpp`"),
            (credential("x"), "never written here"),
            (
                good.replace("https://vault.corp:8200", "http://vault.corp:8200"),
                "clear text goes to the loopback alone",
            ),
            (good.replace("https://b.corp", "b.corp"), "an address is written"),
            (good.replace("hashicorp@eu", "hashicorp@EU"), "lower-case letters"),
            (good.replace("hashicorp@eu", "env"), "is on this machine"),
            (good.replace("hashicorp@eu", "hashi"), "unknown back end `hashi`"),
            (good.replace("file:./s", &pasted), "never written here"),
            (good.replace("env:T", "hashicorp:a/b"), "never written here"),
            (good.replace(", token: \"env:T\"", ""), "how to log in"),
            (good.replace("kv: 2", "kv: 3"), "`kv` is 1 or 2"),
            (good.replace("kv: 2", "jwt: { role: r, token: \"file:t\" }"), "several ways"),
            (good.replace("role_id: r", "role_id: r, mount: \"../x\""), "a mount is"),
            (good.replace("k8s: {}", "k8s: { namespace: a }"), "for `hashicorp` alone"),
            (good.replace("op: { address: \"http://127.0.0.1:8080\", ", "op: { "), "no `address`"),
            (good.replace("kv: 2", "kw: 2"), "unknown key `kw`"),
            (credential("env:A").replace(" }", ", ttl: 2h }"), "from 1s to 1h"),
            (credential("env:A").replace(" }", ", stale: 2d }"), "at most 24h"),
            (credential("env:A").replace("from: \"env:A\"", "ttl: 5s"), "lies elsewhere"),
        ] {
            let found = faults(&text);
            assert!(found.contains(says), "{text}\n{found}");
            assert!(found.contains("valetkey.yaml:"), "{found}");
            assert!(!found.contains(&pasted), "{found}");
        }
    }
}

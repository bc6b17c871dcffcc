//! Keys of AWS: a pair, and perhaps a session token, in three variables or in a profile of `~/.aws/credentials`. One pair is one credential,
//! kept for the vault as the JSON that its kind reads.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Candidate, Search, formats};

/// The service, and the kind of its credentials.
const SERVICE: &str = "aws";
/// Where the programs of AWS keep keys.
const FILE: &str = "~/.aws/credentials";
/// Variables: the key's id, the key, the session token and its older name.
const VARIABLES: [&str; 4] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"];

/// One pair.
#[derive(Default)]
struct Keys {
    id: String,
    key: String,
    token: String,
}

impl Keys {
    /// As the vault keeps it; none for half a pair, and for what is none.
    fn stored(&self) -> Option<String> {
        let id = (16..=128).contains(&self.id.len()) && self.id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let graphic = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !id || self.key.is_empty() || !graphic(&self.key) || !graphic(&self.token) {
            return None;
        }
        let mut pair = json!({ "access_key_id": self.id, "secret_access_key": self.key });
        if let (Some(pair), false) = (pair.as_object_mut(), self.token.is_empty()) {
            pair.insert("session_token".to_owned(), self.token.as_str().into());
        }
        Some(pair.to_string())
    }
}

/// Takes the variables that hold a pair. Half of one is withheld: it is a secret that nothing can be done with.
pub(super) fn variables(search: &mut Search<'_>, keep: &[String]) {
    let value = |search: &Search<'_>, name: &str| {
        let kept = keep.iter().any(|known| known == name);
        let value = search.ambient.var_os(name).filter(|value| !kept && !value.is_empty());
        value.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let set: Vec<String> =
        VARIABLES.iter().filter(|name| !value(search, name).is_empty()).map(|name| (*name).to_owned()).collect();
    let [id, key, token, older] = VARIABLES.map(|name| value(search, name));
    let keys = Keys { id, key, token: if token.is_empty() { older } else { token } };
    match keys.stored() {
        Some(stored) => add(search, ("aws", "the environment"), &stored, &set),
        None => {
            for name in set {
                search.withhold(&name, "it is half of a pair of AWS keys; set the id and the key");
            }
        }
    }
}

/// Takes every profile of the file. What the file says else (a role, a program to ask) stays there, masked.
pub(super) fn file(search: &mut Search<'_>) {
    let Some(text) = search.text(FILE) else { return };
    let mut profiles: BTreeMap<String, Keys> = BTreeMap::new();
    for (place, value) in formats::ini(&text) {
        let Some((profile, key)) = place.rsplit_once('.') else { continue };
        let keys = profiles.entry(profile.to_owned()).or_default();
        match key.to_ascii_lowercase().as_str() {
            "aws_access_key_id" => keys.id = value,
            "aws_secret_access_key" => keys.key = value,
            "aws_session_token" | "aws_security_token" => keys.token = value,
            _ => {}
        }
    }
    for (profile, keys) in profiles {
        let Some(stored) = keys.stored() else { continue };
        add(search, (&format!("aws {profile}"), FILE), &stored, &[]);
        search.open.push(format!("{FILE} holds AWS keys of the profile `{profile}`; the agent can read them there"));
    }
}

fn add(search: &mut Search<'_>, (name, place): (&str, &str), stored: &str, variables: &[String]) {
    let Some(service) = search.catalog.service(SERVICE).map(|service| service.name().clone()) else { return };
    let place = if variables.is_empty() { place.to_owned() } else { variables.join(", ") };
    for variable in variables {
        search.hidden.insert(variable.into());
    }
    let from = search.keep_value(stored);
    search.add(Candidate {
        name,
        service,
        kind: SERVICE.to_owned(),
        from,
        value: stored.into(),
        place,
        variable: variables.first().map(String::as_str),
    });
    // The same pair may have been found before, elsewhere.
    let found = search.values.iter().find(|(value, _)| *value == *stored).map(|(_, at)| *at);
    if let Some(found) = found.and_then(|at| search.found.get_mut(at)) {
        for variable in variables {
            if !found.variables.contains(variable) {
                found.variables.push(variable.clone());
            }
        }
    }
}

//! Permissions as people paste them: every text is a quoted one, so that no name that an agent chose can be more than a name.

use std::fmt::Write as _;

use model::Resource;

use super::{Scope, Suggested, place};

/// A word of ours stands bare; what could be anything is quoted as JSON does, which YAML reads alike.
fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_./".contains(&byte);
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    // A word that YAML takes for yes, no or nothing is quoted too.
    if begins
        && text.bytes().all(plain)
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text)
    {
        text.to_owned()
    } else {
        quoted(text)
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

fn list(all: &[String], one: fn(&str) -> String) -> String {
    format!("[{}]", all.iter().map(|text| one(text)).collect::<Vec<_>>().join(", "))
}

impl Suggested {
    /// Its members, in the order in which people write them.
    fn members(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![("service", word(&self.service))];
        all.extend(self.credential.as_ref().map(|name| ("credential", word(name))));
        if !self.actions.is_empty() {
            all.push(("actions", list(&self.actions, word)));
            all.push(("resources", list(&self.resources, quoted)));
        }
        if !self.methods.is_empty() {
            all.push(("methods", list(&self.methods, str::to_owned)));
            all.push(("endpoints", list(&self.endpoints, quoted)));
        }
        let limit = self.limit.map(|limit| format!("limit: {limit}/hour"));
        let approval = self.approval.then(|| "approval: required".to_owned());
        let conditions: Vec<String> = limit.into_iter().chain(approval).collect();
        if !conditions.is_empty() {
            all.push(("conditions", format!("{{ {} }}", conditions.join(", "))));
        }
        all
    }

    /// The permission as an item of `permissions`, indented by so many blanks, with what it rests on as comments.
    #[must_use]
    pub fn yaml(&self, indent: usize) -> String {
        let pad = " ".repeat(indent);
        let mut text = String::new();
        if self.denied {
            let _ = writeln!(text, "{pad}# was denied; leave it out unless it is meant");
        }
        if self.limit.is_some() {
            let _ = writeln!(text, "{pad}# at most {} in an hour on record; half as many more, rounded up", self.peak);
        }
        if !self.generalised.is_empty() {
            let _ = writeln!(text, "{pad}# wider than what is on record: {}", list(&self.generalised, quoted));
        }
        for (at, (key, value)) in self.members().into_iter().enumerate() {
            let mark = if at == 0 { "- " } else { "  " };
            let _ = writeln!(text, "{pad}{mark}{key}: {value}");
        }
        text
    }

    /// The permission on one line.
    #[must_use]
    pub fn flow(&self) -> String {
        let all: Vec<String> = self.members().into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
        format!("{{{}}}", all.join(", "))
    }
}

/// The permission that would let one call through, on one line; without a question that its action asks anyway. `action` is
/// what the policy calls it, `kinds` are those of the service's resources.
pub(crate) fn rule(
    kinds: &[String],
    (service, credential): (&str, Option<&str>),
    action: &str,
    resource: &Resource,
) -> String {
    let mut one = Suggested {
        service: service.to_owned(),
        credential: credential.map(str::to_owned),
        actions: vec![action.to_owned()],
        ..Suggested::default()
    };
    match place(kinds, action, resource) {
        Scope::Named(text) => one.resources.push(text),
        Scope::Anywhere => one.resources.push("*".to_owned()),
        Scope::Raw(method, endpoint) => {
            one.actions.clear();
            one.methods.push(method);
            one.endpoints.push(endpoint);
        }
    }
    one.flow()
}

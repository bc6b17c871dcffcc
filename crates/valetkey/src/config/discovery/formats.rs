//! Reads values out of the files in which programs keep credentials. Every reader takes text and gives pairs; what it does
//! not understand it leaves out, because the files are other programs'.

use serde_json::Value;

/// Values of one file.
pub(super) const VALUES_MAX: usize = 200;

/// `KEY=VALUE` lines of a `.env` file: `export` and quotes are taken off, comments left out, nothing is expanded.
pub(super) fn env(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=')?;
        let name = name.trim();
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        (plain && !line.starts_with('#')).then(|| (name.to_owned(), unquote(value.trim()).to_owned()))
    };
    text.lines().filter_map(pair).filter(|(_, value)| !value.is_empty()).take(VALUES_MAX).collect()
}

fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote) {
            return inner.split(quote).next().unwrap_or_default();
        }
    }
    value.split(" #").next().unwrap_or_default().trim_end()
}

/// Machine and password of a `.netrc` (the words of ftp(1)); `default` has no host and is left out.
pub(super) fn netrc(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut machine: Option<&str> = None;
    let mut words = text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
    while let Some(word) = words.next() {
        match word {
            "machine" => machine = words.next(),
            "default" => machine = None,
            "password" => {
                if let (Some(host), Some(password)) = (machine, words.next()) {
                    found.push((host.to_ascii_lowercase(), password.to_owned()));
                }
            }
            "login" | "account" => {
                words.next();
            }
            _ => {}
        }
    }
    found.truncate(VALUES_MAX);
    found
}

/// Registry host and token of an `.npmrc`: `//registry.npmjs.org/:_authToken=npm_...`. References to variables are left out.
pub(super) fn npmrc(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let (key, value) = line.trim().split_once('=')?;
        let key = key.trim().strip_prefix("//")?;
        let (place, field) = key.split_once(":_")?;
        let host = place.split('/').next()?.to_ascii_lowercase();
        let value = unquote(value.trim()).to_owned();
        (matches!(field, "authToken" | "auth" | "password") && !value.is_empty() && !value.contains("${"))
            .then_some((host, value))
    };
    text.lines().filter_map(pair).take(VALUES_MAX).collect()
}

/// `[section]` and `key = value` of an ini file, as `section.key`.
pub(super) fn ini(text: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.trim().clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) {
            found.push((format!("{section}.{}", key.trim()), unquote(value.trim()).to_owned()));
        }
    }
    found.truncate(VALUES_MAX);
    found
}

/// JSON or YAML (which holds JSON).
pub(super) fn tree(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().or_else(|| serde_saphyr::from_str(text).ok())
}

/// The steps of a dotted path, or of a JSON pointer as service files write them (a host's name has dots of its own).
pub(super) fn steps(path: &str) -> impl Iterator<Item = &str> {
    let mark = if path.starts_with('/') { '/' } else { '.' };
    path.split(mark).filter(|step| !step.is_empty())
}

/// Texts at such a path, where `*` stands for any key or element. The place of each is given with the path walked.
pub(super) fn at_path(tree: &Value, path: &str) -> Vec<(String, String)> {
    let mut level: Vec<(String, &Value)> = vec![(String::new(), tree)];
    for step in steps(path) {
        let mut next = Vec::new();
        for (walked, value) in level {
            let join = |key: &str| if walked.is_empty() { key.to_owned() } else { format!("{walked}.{key}") };
            match value {
                Value::Object(map) if step == "*" => next.extend(map.iter().map(|(key, value)| (join(key), value))),
                Value::Array(list) if step == "*" => {
                    next.extend(list.iter().enumerate().map(|(at, value)| (join(&at.to_string()), value)));
                }
                Value::Object(map) => next.extend(map.get(step).map(|value| (join(step), value))),
                _ => {}
            }
        }
        next.truncate(VALUES_MAX);
        level = next;
    }
    level.into_iter().filter_map(|(walked, value)| Some((walked, value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_format() {
        let text = "# c\nexport A=\"one two\"\nB='x#y'\nC=plain # comment\nD=\nnot a line\nE=a=b\n";
        assert_eq!(env(text), pairs(&[("A", "one two"), ("B", "x#y"), ("C", "plain"), ("E", "a=b")]));
        let text = "machine API.github.com login me password p1\n# machine x password y\ndefault login a password b\nmachine h\n password p2";
        assert_eq!(netrc(text), pairs(&[("api.github.com", "p1"), ("h", "p2")]));
        let text = "registry=https://r/\n//registry.npmjs.org/:_authToken=npm_x\n//h/p/:_authToken=${NPM_TOKEN}\n";
        assert_eq!(npmrc(text), pairs(&[("registry.npmjs.org", "npm_x")]));
        assert_eq!(ini("[default]\naws_key = v\n; c = d\n"), pairs(&[("default.aws_key", "v")]));
        let hosts = tree("github.com:\n  oauth_token: gho_x\n  user: me\n").expect("yaml");
        assert_eq!(at_path(&hosts, "*.oauth_token"), pairs(&[("github.com.oauth_token", "gho_x")]));
        let found = vec![("github.com.oauth_token".to_owned(), "gho_x".to_owned())];
        assert_eq!(at_path(&hosts, "/github.com/oauth_token"), found);
        assert!(at_path(&hosts, "nowhere.*").is_empty());
        assert!(tree("[").is_none());
    }
}

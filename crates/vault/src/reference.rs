//! References to values that live elsewhere: `env:NAME`, `file:PATH`, `exec:ARGV`.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a reference points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// The built-in vault.
    BuiltIn,
    /// A variable of the environment.
    Env,
    /// A file.
    File,
    /// The output of a program.
    Exec,
    /// The file of a program that logs in.
    Login,
    /// HashiCorp Vault or OpenBao.
    Hashicorp,
    /// AWS Secrets Manager.
    AwsSm,
    /// GCP Secret Manager.
    GcpSm,
    /// Azure Key Vault.
    AzureKv,
    /// 1Password.
    OnePassword,
    /// The system's keychain.
    Keyring,
    /// Kubernetes.
    K8s,
}

impl Scheme {
    /// Every one, with its word.
    pub const ALL: [(&'static str, Self); 12] = [
        ("built-in", Self::BuiltIn),
        ("env", Self::Env),
        ("file", Self::File),
        ("exec", Self::Exec),
        ("login", Self::Login),
        ("hashicorp", Self::Hashicorp),
        ("aws-sm", Self::AwsSm),
        ("gcp-sm", Self::GcpSm),
        ("azure-kv", Self::AzureKv),
        ("op", Self::OnePassword),
        ("keyring", Self::Keyring),
        ("k8s", Self::K8s),
    ];

    /// Its word in a reference.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, scheme)| *scheme == self).map_or("built-in", |(word, _)| word)
    }

    /// Whether this version can read from it.
    #[must_use]
    pub const fn is_supported(self) -> bool {
        matches!(self, Self::BuiltIn | Self::Env | Self::File | Self::Exec | Self::Login)
    }
}

/// Why a text is not a reference that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// No known word before the colon.
    #[error("`{text}` is not a reference; write `env:NAME`, `file:PATH` or `exec:PROGRAM ARGUMENTS`")]
    Unknown {
        /// As written, cut.
        text: String,
    },
    /// The part after the colon cannot be right.
    #[error("`{text}` cannot be used: {why}")]
    Malformed {
        /// As written, cut.
        text: String,
        /// Why.
        why: &'static str,
    },
    /// A back end of a later version.
    #[error("the back end `{scheme}:` is not in this version; use `env:`, `file:`, `exec:` or the built-in vault")]
    NotYet {
        /// Its word.
        scheme: &'static str,
    },
}

/// A reference, checked for its form. It is no secret and is shown as written.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    scheme: Scheme,
    text: String,
}

impl Reference {
    /// The built-in vault.
    #[must_use]
    pub fn built_in() -> Self {
        Self { scheme: Scheme::BuiltIn, text: "built-in".to_owned() }
    }

    /// Reads a reference; also one to a back end of a later version, which [`Self::usable`] then refuses.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let cut = || text.chars().take(200).collect::<String>();
        if text == "built-in" {
            return Ok(Self::built_in());
        }
        let known = text.split_once(':').and_then(|(word, rest)| {
            Scheme::ALL.iter().find(|(known, _)| *known == word).map(|(_, scheme)| (*scheme, rest))
        });
        let Some((scheme, rest)) = known.filter(|(scheme, _)| *scheme != Scheme::BuiltIn) else {
            return Err(ReferenceError::Unknown { text: cut() });
        };
        let why = match scheme {
            _ if rest.is_empty() => Some("nothing stands after the colon"),
            _ if rest.bytes().any(|byte| byte.is_ascii_control()) => Some("it holds a control character"),
            Scheme::Env if rest.contains('=') || rest.contains(' ') => Some("a variable's name has no `=` or blank"),
            Scheme::Exec => argv(rest).err(),
            Scheme::Login => crate::backend::login::check(rest).err(),
            _ => None,
        };
        match why {
            Some(why) => Err(ReferenceError::Malformed { text: cut(), why }),
            None => Ok(Self { scheme, text: text.to_owned() }),
        }
    }

    /// Whether this version can read it.
    pub fn usable(&self) -> Result<(), ReferenceError> {
        if self.scheme.is_supported() { Ok(()) } else { Err(ReferenceError::NotYet { scheme: self.scheme.as_str() }) }
    }

    /// Where it points.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The part after the colon.
    #[must_use]
    pub fn rest(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, rest)| rest)
    }

    /// The words of the command that is run for the value, the program first; none where none is run.
    #[must_use]
    pub fn command(&self) -> Option<Vec<String>> {
        if self.scheme == Scheme::Exec { argv(self.rest()).ok() } else { None }
    }

    /// The file that is the value, whole, as written.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        (self.scheme == Scheme::File).then(|| self.rest().into())
    }

    /// The file of a program's log-in, which holds the value among other things; none where the keychain holds it.
    #[must_use]
    pub fn login_file(&self) -> Option<PathBuf> {
        if self.scheme == Scheme::Login { crate::backend::login::file(self.rest()) } else { None }
    }

    /// The same for whoever starts from another folder: a relative path of a file, of a log-in's file or of a program starts from
    /// `folder`, which is absolute. A program is still run in the current folder, and finds its arguments there; one without
    /// a slash in its name is looked for on the `PATH`.
    ///
    /// # Errors
    /// The folder's name is no text, or holds a control character.
    pub fn beside(&self, folder: &Path) -> Result<Self, ReferenceError> {
        let at = |path: &Path| folder.join(path).into_os_string().into_string().ok();
        let rest = match self.scheme {
            Scheme::File if Path::new(self.rest()).is_relative() => at(Path::new(self.rest())),
            Scheme::Login if self.login_file().is_some_and(|path| path.is_relative()) => at(Path::new(self.rest())),
            Scheme::Exec => match self.command().as_deref() {
                Some([program, arguments @ ..]) if program.contains('/') && Path::new(program).is_relative() => {
                    at(Path::new(program)).map(|program| {
                        let words: Vec<&String> = std::iter::once(&program).chain(arguments).collect();
                        serde_json::json!(words).to_string()
                    })
                }
                _ => return Ok(self.clone()),
            },
            _ => return Ok(self.clone()),
        };
        let why = "the name of the configuration's folder is no plain text; write the whole path";
        let malformed = || ReferenceError::Malformed { text: self.text.chars().take(200).collect(), why };
        Self::parse(&format!("{}:{}", self.scheme.as_str(), rest.ok_or_else(malformed)?)).map_err(|_| malformed())
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// Splits a command line: a JSON list of texts, or words separated by blanks, where `'..'` and `".."` hold blanks
/// together. There is no shell: `$`, `|`, `*` and `\` mean nothing.
pub(crate) fn argv(text: &str) -> Result<Vec<String>, &'static str> {
    if text.starts_with('[') {
        let list: Vec<String> = serde_json::from_str(text).map_err(|_| "it is not a JSON list of texts")?;
        return if list.first().is_some_and(|first| !first.is_empty()) { Ok(list) } else { Err("it names no program") };
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in text.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    match (quote, words.first()) {
        (Some(_), _) => Err("a quote is not closed"),
        (None, Some(first)) if !first.is_empty() => Ok(words),
        _ => Err("it names no program"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_or_refused_with_a_reason() {
        for (text, scheme, usable) in [
            ("env:GITHUB_TOKEN", Scheme::Env, true),
            ("file:./token", Scheme::File, true),
            ("exec:op read op://vault/item", Scheme::Exec, true),
            ("built-in", Scheme::BuiltIn, true),
            ("login:/home/me/.x.json#value=/a,refresh=/b", Scheme::Login, true),
            ("login:keychain:Claude Code-credentials/me#value=/a,refresh=/b", Scheme::Login, true),
            ("hashicorp:secret/data/x#key", Scheme::Hashicorp, false),
            ("aws-sm:name", Scheme::AwsSm, false),
            ("gcp-sm:name", Scheme::GcpSm, false),
            ("azure-kv:vault/name", Scheme::AzureKv, false),
            ("op://vault/item", Scheme::OnePassword, false),
            ("keyring:name", Scheme::Keyring, false),
            ("k8s:ns/name#key", Scheme::K8s, false),
        ] {
            let reference = Reference::parse(text).expect(text);
            assert_eq!(reference.scheme(), scheme);
            assert_eq!(reference.as_str(), text);
            assert_eq!(reference.usable().is_ok(), usable, "{text}");
        }
        for bad in [
            "",
            "GITHUB_TOKEN",
            "evn:X",
            "env:",
            "env:A=B",
            "file:a\nb",
            "exec:",
            "exec:'a",
            "exec:[1]",
            "built-in:x",
            "login:x",
            "login:keychain:x#value=/a",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
        let said = Reference::parse("aws-sm:x").and_then(|it| it.usable()).expect_err("later").to_string();
        assert!(said.contains("not in this version"), "{said}");
    }

    #[test]
    fn what_a_reference_leads_to() {
        let read = |text: &str| Reference::parse(text).expect(text);
        let exec = read(r#"exec:["./a b", "c"]"#);
        assert_eq!((exec.command(), exec.file()), (Some(vec!["./a b".to_owned(), "c".to_owned()]), None));
        let file = read("file:./token #1");
        assert_eq!((file.command(), file.file(), file.login_file()), (None, Some("./token #1".into()), None));
        let login = read("login:/a#b.json#value=/a");
        assert_eq!((login.file(), login.login_file()), (None, Some("/a#b.json".into())));
        assert_eq!(read("login:keychain:X/me#value=/a").login_file(), None);
    }

    #[test]
    fn relative_paths_start_from_the_folder_that_is_named() {
        for (text, beside) in [
            ("file:token", "file:/etc/v k/token"),
            ("file:../token", "file:/etc/v k/../token"),
            ("file:/token", "file:/token"),
            ("login:a.json#value=/a", "login:/etc/v k/a.json#value=/a"),
            ("login:/a.json#value=/a", "login:/a.json#value=/a"),
            ("login:keychain:X/me#value=/a", "login:keychain:X/me#value=/a"),
            ("exec:./get 'a b' ./c", r#"exec:["/etc/v k/./get","a b","./c"]"#),
            ("exec:get ./c", "exec:get ./c"),
            ("exec:/bin/get", "exec:/bin/get"),
            ("env:A", "env:A"),
            ("built-in", "built-in"),
        ] {
            let reference = Reference::parse(text).expect(text).beside(Path::new("/etc/v k"));
            assert_eq!(reference.expect(text).as_str(), beside);
        }
        let odd = Reference::parse("file:token").expect("read").beside(Path::new("/a\nb")).expect_err("odd");
        assert!(odd.to_string().contains("write the whole path"), "{odd}");
    }

    #[test]
    fn command_lines_have_no_shell() {
        for (text, words) in [
            ("a b  c", &["a", "b", "c"][..]),
            ("a 'b c' \"d 'e\"", &["a", "b c", "d 'e"]),
            ("a $HOME | b", &["a", "$HOME", "|", "b"]),
            (r#"["a", "b c"]"#, &["a", "b c"]),
            ("a ''", &["a", ""]),
        ] {
            assert_eq!(argv(text).expect(text), words);
        }
    }
}

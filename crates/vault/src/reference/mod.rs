//! References to values that live elsewhere, and their one grammar.
//!
//! ```text
//! reference  built-in | env:NAME | file:PATH | exec:ARGV | login:PATH#.. | keyring:SERVICE/ACCOUNT | aws:ambient | WORD:SPOT | op://VAULT/ITEM/FIELD
//! WORD       hashicorp | aws-sm | aws-ps | k8s | op, and `@NAME` behind it where several are described under `backends:`
//! SPOT       SEGMENT/SEGMENT.. and behind it ?version=N and #FIELD, each where the back end has such a thing
//! SEGMENT    text with at most one of {user} {agent} {env}
//! ```
//! What stands in braces is filled from the session ([`Reference::of`]) or the configuration ([`Reference::in_environment`]); see `spot.rs` for
//! what may not stand in a segment, and why there is one at most.

mod command;
mod spot;

use std::fmt;
use std::path::{Path, PathBuf};

use model::{AgentName, UserName};

pub(crate) use command::argv;
pub(crate) use spot::{Spot, check_segments};
use spot::{fill, has_hole};

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
    /// The Parameter Store of AWS Systems Manager.
    AwsPs,
    /// GCP Secret Manager.
    GcpSm,
    /// Azure Key Vault.
    AzureKv,
    /// 1Password.
    OnePassword,
    /// The system's keychain.
    Keyring,
    /// The keys of AWS that surround the gateway.
    Aws,
    /// Kubernetes.
    K8s,
}

impl Scheme {
    /// Every one, with its word.
    pub const ALL: [(&'static str, Self); 14] = [
        ("built-in", Self::BuiltIn),
        ("env", Self::Env),
        ("file", Self::File),
        ("exec", Self::Exec),
        ("login", Self::Login),
        ("hashicorp", Self::Hashicorp),
        ("aws-sm", Self::AwsSm),
        ("aws-ps", Self::AwsPs),
        ("gcp-sm", Self::GcpSm),
        ("azure-kv", Self::AzureKv),
        ("op", Self::OnePassword),
        ("keyring", Self::Keyring),
        ("aws", Self::Aws),
        ("k8s", Self::K8s),
    ];

    /// Its word in a reference.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, scheme)| *scheme == self).map_or("built-in", |(word, _)| word)
    }

    /// Whether it is reached over the network, and hence described under `backends:`; several of a kind have names of their own.
    #[must_use]
    pub const fn is_far(self) -> bool {
        matches!(
            self,
            Self::Hashicorp | Self::AwsSm | Self::AwsPs | Self::GcpSm | Self::AzureKv | Self::OnePassword | Self::K8s
        )
    }

    /// Whether a value of this machine may be another when it is asked for anew, without asking a person. A variable of our own
    /// environment never is.
    #[must_use]
    pub const fn may_change(self) -> bool {
        matches!(self, Self::BuiltIn | Self::File | Self::Exec | Self::Login)
    }

    /// Whether a reference to it may hold `{user}` and its like. Files, variables and programs may not: what is withheld from an agent
    /// is found by its name before there is a session.
    #[must_use]
    pub const fn takes_holes(self) -> bool {
        self.is_far() || matches!(self, Self::Keyring)
    }
}

/// Octets after the colon; a command may be long, and what is longer is no reference.
const REST_BYTES_MAX: usize = 8 * 1024;
/// Octets of the name of one back end of several.
const NAME_BYTES_MAX: usize = 32;

/// The scheme of what stands before a colon.
fn scheme_of(word: &str) -> Option<Scheme> {
    let (word, name) = word.split_once('@').map_or((word, None), |(word, name)| (word, Some(name)));
    let (_, scheme) = Scheme::ALL.iter().find(|(known, _)| *known == word)?;
    let plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-' || octet == b'_';
    let fits =
        |name: &str| scheme.is_far() && !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain);
    name.is_none_or(fits).then_some(*scheme)
}

/// Why a text is not a reference that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// No known word before the colon.
    #[error("`{text}` is not a reference; write `env:NAME`, `file:PATH`, `hashicorp:MOUNT/PATH#FIELD` or the like")]
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
    /// It is somebody's own, and nobody is known.
    #[error(
        "`{text}` is each {whose}'s own, and no {whose} is known here; begin the session with `--{whose} NAME`, or set it in the configuration"
    )]
    Nobody {
        /// As written.
        text: String,
        /// `user`, `agent` or `environment`.
        whose: &'static str,
    },
    /// What would be filled in could lead elsewhere.
    #[error("`{value}` cannot stand in `{text}`: {why}")]
    Unfit {
        /// As written.
        text: String,
        /// What would be filled in.
        value: String,
        /// Why.
        why: &'static str,
    },
    /// Nobody said where this back end is.
    #[error("`{word}:` is not described; say where it is under `backends:` in the configuration")]
    Undescribed {
        /// What stands before the colon.
        word: String,
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

    /// Reads a reference.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let cut = || text.chars().take(200).collect::<String>();
        if text == "built-in" {
            return Ok(Self::built_in());
        }
        let known = text.split_once(':').and_then(|(word, rest)| Some((scheme_of(word)?, rest)));
        let Some((scheme, rest)) = known.filter(|(scheme, _)| *scheme != Scheme::BuiltIn) else {
            return Err(ReferenceError::Unknown { text: cut() });
        };
        let why = match scheme {
            _ if rest.is_empty() => Some("nothing stands after the colon"),
            _ if rest.len() > REST_BYTES_MAX => Some("it is too long"),
            _ if rest.bytes().any(|byte| byte.is_ascii_control()) => Some("it holds a control character"),
            _ if !scheme.takes_holes() && has_hole(rest) => {
                Some("`{user}`, `{agent}` and `{env}` stand in references to secret managers and keychains alone")
            }
            Scheme::Env if rest.contains('=') || rest.contains(' ') => Some("a variable's name has no `=` or blank"),
            Scheme::Exec => argv(rest).err(),
            Scheme::Login => crate::backend::login::check(rest).err(),
            Scheme::Keyring => crate::backend::keyring::check(rest).err(),
            Scheme::Aws => crate::aws::chain::check(rest).err(),
            scheme if scheme.is_far() => Spot::read(scheme, rest).err(),
            _ => None,
        };
        match why {
            Some(why) => Err(ReferenceError::Malformed { text: cut(), why }),
            None => Ok(Self { scheme, text: text.to_owned() }),
        }
    }

    /// Where it points.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The scheme of what stands before the colon.
    pub(crate) fn scheme_of(word: &str) -> Option<Scheme> {
        scheme_of(word)
    }

    /// What stands before the colon: its scheme, and the name of one of several.
    #[must_use]
    pub fn word(&self) -> &str {
        self.text.split_once(':').map_or(&*self.text, |(word, _)| word)
    }

    /// Whether it is somebody's own: it must be filled before it leads anywhere.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.scheme.takes_holes() && has_hole(self.rest())
    }

    /// The same with `{env}` filled.
    ///
    /// # Errors
    /// It asks for one, and the configuration is for none.
    pub fn in_environment(&self, environment: Option<&str>) -> Result<Self, ReferenceError> {
        self.filled("{env}", "environment", environment)
    }

    /// The same for one session: `{user}` and `{agent}` filled.
    ///
    /// # Errors
    /// It asks for one that is not known; a name that could lead elsewhere.
    pub fn of(&self, agent: Option<&AgentName>, user: Option<&UserName>) -> Result<Self, ReferenceError> {
        let agents = self.filled("{agent}", "agent", agent.map(AgentName::as_str))?;
        agents.filled("{user}", "user", user.map(UserName::as_str))
    }

    fn filled(&self, hole: &str, whose: &'static str, value: Option<&str>) -> Result<Self, ReferenceError> {
        if !self.scheme.takes_holes() || !self.rest().contains(hole) {
            return Ok(self.clone());
        }
        let text = || self.text.chars().take(200).collect::<String>();
        let value = value.ok_or_else(|| ReferenceError::Nobody { text: text(), whose })?;
        let rest = fill(self.rest(), hole, value).map_err(|why| ReferenceError::Unfit {
            text: text(),
            value: value.chars().take(128).collect(),
            why,
        })?;
        Self::parse(&format!("{}:{rest}", self.word()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_or_refused_with_a_reason() {
        for (text, scheme) in [
            ("env:GITHUB_TOKEN", Scheme::Env),
            ("file:./token", Scheme::File),
            ("exec:op read op://vault/item", Scheme::Exec),
            ("built-in", Scheme::BuiltIn),
            ("login:/home/me/.x.json#value=/a,refresh=/b", Scheme::Login),
            ("login:keychain:Claude Code-credentials/me#value=/a,refresh=/b", Scheme::Login),
            ("hashicorp:secret/team/x?version=3#key", Scheme::Hashicorp),
            ("hashicorp@eu:secret/{user}/x", Scheme::Hashicorp),
            ("aws-sm:team/name#field", Scheme::AwsSm),
            ("aws-ps:/a/name?version=3", Scheme::AwsPs),
            ("gcp-sm:project/name?version=3", Scheme::GcpSm),
            ("azure-kv:name?version=a1", Scheme::AzureKv),
            ("op://vault/item/field", Scheme::OnePassword),
            ("op://my vault/item/section/field", Scheme::OnePassword),
            ("keyring:name/ada", Scheme::Keyring),
            ("aws:ambient", Scheme::Aws),
            ("k8s:ns/name#key", Scheme::K8s),
        ] {
            let reference = Reference::parse(text).expect(text);
            assert_eq!(reference.scheme(), scheme);
            assert_eq!(reference.as_str(), text);
        }
        for bad in [
            "",
            "GITHUB_TOKEN",
            "evn:X",
            "env:",
            "env:A=B",
            "aws:profile",
            "gcp-sm:name",
            "azure-kv:vault/name",
            "file:a\nb",
            "exec:",
            "exec:'a",
            "exec:[1]",
            "built-in:x",
            "login:x",
            "login:keychain:x#value=/a",
            "file:{user}/token",
            "env:TOKEN_{env}",
            "file@a:token",
            "hashicorp@:a/b",
            "hashicorp@A:a/b",
            "hashicorp:secret",
            "hashicorp:secret//x",
            "hashicorp:secret/../x",
            "hashicorp:secret/%2e%2e/x",
            "hashicorp:secret/x#",
            "hashicorp:secret/x?version=new",
            "hashicorp:secret/x?cas=1",
            "hashicorp:secret/{agent}{user}/x",
            "hashicorp:secret/{agent}-{user}/x",
            "hashicorp:secret/{team}/x",
            "hashicorp:{user}/x",
            "op:vault/item/field",
            "op://vault/item",
            "op://a/b/c/d/e",
            "op://vault/item/field?attribute=otp",
            "aws-sm:a?version=b c",
            "aws-ps://a",
            "k8s:ns/name",
            "k8s:name#key",
            "k8s:NS/name#key",
            "keyring:name",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
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
    fn what_is_in_braces_is_filled_from_who_is_known() {
        let agent = AgentName::new("bot").expect("agent");
        let user = |name: &str| UserName::new(name).expect("user");
        let read = |text: &str| Reference::parse(text).expect(text);
        for (text, filled) in [
            ("hashicorp:secret/{user}/github#token", "hashicorp:secret/ada@example.com/github#token"),
            ("hashicorp@eu:kv/{agent}/u-{user}", "hashicorp@eu:kv/bot/u-ada@example.com"),
            ("op://{agent}/github/{user}", "op://bot/github/ada@example.com"),
            ("keyring:github {agent}/{user}", "keyring:github bot/ada@example.com"),
            ("hashicorp:secret/x#{user}", "hashicorp:secret/x#ada@example.com"),
            ("file:token", "file:token"),
        ] {
            let made = read(text).of(Some(&agent), Some(&user("ada@example.com"))).expect(text);
            assert_eq!(made.as_str(), filled);
            assert!(!made.is_template());
        }
        let own = read("hashicorp:secret/{user}/x");
        let nobody = own.of(Some(&agent), None).expect_err("nobody");
        assert!(nobody.to_string().contains("begin the session with `--user NAME`"), "{nobody}");
        // Names that are names, and would lead elsewhere all the same.
        for bad in [".", "..", "..."] {
            assert!(own.of(Some(&agent), Some(&user(bad))).is_err(), "{bad}");
        }
        // Names that no session can have; the grammar does not rely on that.
        let environment = read("hashicorp:secret/{env}/x");
        for bad in ["../root", "a/b", "a#b", "a?b", "a%2f", "", "{user}", "a b", "\u{e9}", "a\nb", &"x".repeat(200)] {
            assert!(environment.in_environment(Some(bad)).is_err(), "{bad}");
            assert!(UserName::new(bad).is_err() || bad == "..", "{bad}");
        }
        assert!(environment.in_environment(None).is_err());
        assert_eq!(environment.in_environment(Some("staging")).expect("filled").as_str(), "hashicorp:secret/staging/x");
    }

    #[test]
    fn no_two_people_have_one_place() {
        // Every pair of names over letters that names have; one hole in a segment is why this holds.
        let names: Vec<String> = ["a", "b", "-", "@", "."]
            .iter()
            .flat_map(|one| ["", "a", "-", "."].iter().map(move |two| format!("{one}{two}")))
            .collect();
        let mut seen = std::collections::HashMap::new();
        let reference = Reference::parse("hashicorp:kv/x-{agent}/{user}-y#v").expect("read");
        for agent in &names {
            for user in &names {
                let (Ok(agent), Ok(user)) = (AgentName::new(agent), UserName::new(user)) else { continue };
                let Ok(made) = reference.of(Some(&agent), Some(&user)) else { continue };
                let whose = (agent, user);
                assert_eq!(seen.insert(made.as_str().to_owned(), whose.clone()), None, "{whose:?}");
            }
        }
        assert!(seen.len() > 200, "{}", seen.len());
    }
}

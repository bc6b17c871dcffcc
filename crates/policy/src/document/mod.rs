//! What was written: the whole configuration, read strictly. Nothing here runs; [`crate::Rules::compile`] makes of it
//! what will run.

mod at;
mod backend;
mod check;
mod diagnostic;
mod foreign;
pub mod issue;
mod rotate;
mod schema;
pub(crate) mod value;
mod webhook;

use std::sync::Arc;

use model::bounds;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

pub use at::{At, Many, Table, Words};
pub(crate) use diagnostic::nearest;
pub use diagnostic::{Diagnostic, Note};
pub use rotate::{By, ByAwsIam, ByHashicorp, ByHttp, ByPostgres, HttpAuth, Question, Rotate, Sensitivity, With};
pub use schema::{
    Agent, Alert, AppRole, Approvers, Audit, AwsKey, Backend, Budget, Capability, Channel, Conditions, CredentialEntry,
    Database, Document, Egress, Fallback, Inject, JwtLogin, Mode, Money, Operator, Permission, Redact, Respond, Slack,
    Standing, Sync, Upstream, Webhook,
};
pub use value::{Approval, Rate, Span};
pub use webhook::Receiver;

impl Document {
    /// Reads one file: YAML 1.2, hence JSON too, in our own form or one of the three foreign ones.
    ///
    /// `file` is only a name for messages. The notes say what a foreign document means in our form.
    ///
    /// # Errors
    /// Everything found wrong: the first fault of form, or all faults of meaning that need no knowledge of services.
    /// What a later version implements is among them, never ignored.
    pub fn parse(text: &str, file: &str) -> Result<(Self, Vec<Note>), Vec<Diagnostic>> {
        let source = Source { text, file };
        if text.len() > bounds::CONFIG_BYTES_MAX {
            return Err(vec![source.whole("file is larger than 4 MiB; split it into a folder of files")]);
        }
        let keys: Vec<String> = match source.read::<Option<Table<IgnoredAny>>>() {
            Ok(table) => table.unwrap_or_default().iter().map(|(key, _)| key.value.clone()).collect(),
            Err(problem) => return Err(vec![problem]),
        };
        let (mut document, notes) = match foreign::read(&source, &keys) {
            Some(read) => read.map_err(|problem| vec![problem])?,
            None => (source.read::<Option<Self>>().map_err(|problem| vec![problem])?.unwrap_or_default(), Vec::new()),
        };
        document.set_file(&Arc::from(file));
        let problems = check::check(&document, &source);
        if problems.is_empty() { Ok((document, notes)) } else { Err(problems) }
    }

    /// Joins the files of a folder, in the order given. Lists and mappings add up; what is one may be written once.
    ///
    /// # Errors
    /// A name or a single value that two files write; a back end that none describes.
    pub fn join(parts: impl IntoIterator<Item = Self>) -> Result<Self, Vec<Diagnostic>> {
        let mut whole = Self::default();
        let mut problems = Vec::new();
        for part in parts {
            whole.take(part, &mut problems);
        }
        problems.extend(backend::undescribed(&whole));
        problems.extend(rotate::undeclared(&whole));
        if problems.is_empty() { Ok(whole) } else { Err(problems) }
    }

    /// Adds a credential that was found and not written, for its service. One of that name that was written stays.
    pub fn add_credential(&mut self, name: &model::CredentialName, service: Option<&model::ServiceName>, kind: &str) {
        if self.credentials.get(name.as_str()).is_none() {
            let service = service.map(|service| At::nowhere(service.as_str().to_owned()));
            let kind = Some(At::nowhere(kind.to_owned()));
            let entry = CredentialEntry { service, kind, ..CredentialEntry::default() };
            self.credentials.0.push((At::nowhere(name.as_str().to_owned()), entry));
        }
    }

    /// The egress rule; closed unless written.
    pub fn egress(&self) -> Egress {
        self.egress.map(|egress| egress.value).unwrap_or_default()
    }

    /// Whether decisions are enforced; they are unless written otherwise.
    pub fn mode(&self) -> Mode {
        self.mode.map(|mode| mode.value).unwrap_or_default()
    }

    fn set_file(&mut self, file: &Arc<str>) {
        for (_, entry) in &mut self.credentials.0 {
            entry.file = Arc::clone(file);
        }
        for (_, agent) in &mut self.agents.0 {
            agent.file = Arc::clone(file);
        }
    }

    fn take(&mut self, part: Self, problems: &mut Vec<Diagnostic>) {
        let file = part.some_file();
        let mut twice = |name: &str, line: u64, column: u64| {
            problems.push(Diagnostic {
                file: file.to_string(),
                line,
                column,
                text: name.to_owned(),
                message: format!("`{name}` is written in two files; keep one"),
                nearest: None,
            });
        };
        macro_rules! single {
            ($($field:ident),*) => {$(
                if let Some(new) = part.$field {
                    if self.$field.is_some() {
                        twice(stringify!($field), new.line, new.column);
                    }
                    self.$field = Some(new);
                }
            )*};
        }
        macro_rules! table {
            ($($field:ident),*) => {$(
                for (name, value) in part.$field.0 {
                    if self.$field.get(&name.value).is_some() {
                        twice(&name.value, name.line, name.column);
                    } else {
                        self.$field.0.push((name, value));
                    }
                }
            )*};
        }
        single!(egress, mode, environment);
        table!(credentials, backends, agents, channels, upstreams, databases, capabilities);
        self.version = self.version.or(part.version);
        self.audit = part.audit.or(self.audit.take());
        self.profiles.0.extend(part.profiles.0);
        self.services.0.extend(part.services.0);
        self.budgets.0.extend(part.budgets.0);
        self.redact.0.extend(part.redact.0);
        self.alerts.0.extend(part.alerts.0);
        self.operators.0.extend(part.operators.0);
    }

    pub(crate) fn some_file(&self) -> Arc<str> {
        let agent = self.agents.0.first().map(|(_, agent)| Arc::clone(&agent.file));
        let credential = || self.credentials.0.first().map(|(_, entry)| Arc::clone(&entry.file));
        agent.or_else(credential).unwrap_or_else(|| Arc::from("configuration"))
    }
}

/// The JSON Schema of a configuration.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}

/// A text with its name.
pub(crate) struct Source<'a> {
    text: &'a str,
    file: &'a str,
}

impl<'a> Source<'a> {
    /// A text; the name is for messages.
    pub(crate) const fn new(text: &'a str, file: &'a str) -> Self {
        Self { text, file }
    }

    /// The file's name.
    pub(crate) fn file(&self) -> &str {
        self.file
    }

    fn whole(&self, message: &str) -> Diagnostic {
        self.problem(&At::nowhere(""), message)
    }

    /// Something wrong with a text at its place.
    pub(crate) fn problem(&self, at: &At<&str>, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            text: at.value.to_owned(),
            message: message.into(),
            nearest: None,
        }
    }

    /// Reads the whole text as one `T`. Budgets against bombs; a duplicate key is an error; so is a second document.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Diagnostic> {
        let options = serde_saphyr::options! {
            duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
            merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
            strict_booleans: true,
            with_snippet: false,
            budget: serde_saphyr::budget! {
                max_depth: 64,
                max_nodes: 2_000_000,
                max_events: 4_000_000,
                max_aliases: 10_000,
                max_anchors: 1_000,
            },
        };
        serde_saphyr::from_str_with_options::<Wrapped<T>>(self.text, options)
            .map(|wrapped| wrapped.0)
            .map_err(|error| self.diagnose(&error))
    }

    fn diagnose(&self, error: &serde_saphyr::Error) -> Diagnostic {
        use serde_saphyr::Error;
        let (line, column) = error.location().map_or((1, 1), |place| (place.line(), place.column()));
        let word = self.word_at(line, column);
        let mut nearest_word = None;
        let mut text = word;
        let message = match error.without_snippet() {
            Error::SerdeUnknownField { field, expected, .. } => {
                nearest_word = nearest(field, expected.iter().copied());
                text.clone_from(field);
                format!("unknown key `{field}`")
            }
            Error::SerdeUnknownVariant { variant, expected, .. } => {
                nearest_word = nearest(variant, expected.iter().copied());
                text.clone_from(variant);
                format!("`{variant}` is not one of {}", expected.join(", "))
            }
            Error::SerdeMissingField { field, .. } => {
                (*field).clone_into(&mut text);
                format!("key `{field}` is missing here")
            }
            Error::DuplicateMappingKey { key, .. } => {
                text = key.clone().unwrap_or(text);
                format!("key `{text}` is written twice; keep one")
            }
            Error::SerdeInvalidType { unexpected, expected, .. }
            | Error::SerdeInvalidValue { unexpected, expected, .. } => {
                format!("expected {expected}, found {unexpected}")
            }
            Error::Message { msg, .. } => msg.clone(),
            other => plain(&other.to_string()),
        };
        Diagnostic { file: self.file.to_owned(), line, column, text, message, nearest: nearest_word }
    }

    /// The word that stands at a place.
    fn word_at(&self, line: u64, column: u64) -> String {
        let line = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        let column = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
        let text = self.text.lines().nth(line).unwrap_or_default();
        let ends = |letter: &char| !letter.is_whitespace() && !matches!(letter, ',' | ']' | '}');
        text.chars()
            .skip(column)
            .take_while(ends)
            .take(64)
            .collect::<String>()
            .trim_end_matches(':')
            .trim_matches(['"', '\''])
            .to_owned()
    }
}

/// The library's message without the place, which stands in front of ours.
fn plain(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let first = first.split(" at line ").next().unwrap_or(first);
    let first = first.split(" (line ").next().unwrap_or(first);
    first.trim_end_matches(['.', ',', ':']).to_owned()
}

/// Keeps the reader from treating an empty file as an error of type.
#[derive(Deserialize)]
#[serde(transparent, bound = "T: DeserializeOwned")]
struct Wrapped<T>(T);

//! Words for actions, as rules write them, and what they cover.

use std::sync::Arc;

use model::vocabulary::{ServiceWords, Vocabulary};
use model::{Call, Class, Effect, Effects};

use super::text::{quote, set};
use crate::Question;
use crate::condition::Needs;
use crate::document::nearest;
use crate::guarded::Tier;

/// Methods that the canonical request knows, as unknown paths are named after them: `http/get`.
pub(crate) const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

/// What one word covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// These actions of a service, by id.
    Ids(String, Vec<String>),
    /// All of a class.
    Class(Class),
    /// All with an effect.
    Effect(Effect),
    /// All.
    All,
    /// A tier of the guarded policy.
    Tier(Tier),
}

/// A word with what it covers.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) word: String,
    pub(crate) selector: Selector,
    /// The word is an alias, so that refusals may speak the same line.
    pub(crate) alias: bool,
}

/// Whether no class, raw rule or `*` covers this call.
pub(crate) fn is_guarded(call: &Call) -> bool {
    guards(call.class, call.effects)
}

/// The same of an action, at its most.
pub(crate) fn guards(class: Class, effects: Effects) -> bool {
    class == Class::Admin || effects.meets(Effects::GUARDED)
}

impl Selector {
    /// Whether a call of a service is covered; `wide` words cover guarded calls only in a denial.
    pub(crate) fn covers(&self, service: &str, call: &Call, denial: bool) -> bool {
        match self {
            Self::Ids(of, ids) => of == service && ids.iter().any(|id| id == call.action.as_str()),
            Self::Class(class) => call.class == *class && (denial || !is_guarded(call)),
            Self::Effect(effect) => call.effects.contains(*effect),
            Self::All => denial || !is_guarded(call),
            Self::Tier(tier) => *tier == Tier::of(call),
        }
    }

    /// The same as a Cedar expression.
    pub(crate) fn cedar(&self, denial: bool) -> String {
        match self {
            Self::Ids(service, ids) => {
                let ids: Vec<String> = ids.iter().map(|id| action_uid(service, id)).collect();
                match ids.as_slice() {
                    [only] => format!("action == {only}"),
                    _ => format!("action in [{}]", ids.join(", ")),
                }
            }
            Self::Class(class) if denial => format!("context.class == {}", quote(class.as_str())),
            Self::Class(class) => format!("context.class == {} && !context.guarded", quote(class.as_str())),
            Self::Effect(effect) => format!("context.effects.contains({})", quote(effect.as_str())),
            Self::All if denial => "true".to_owned(),
            Self::All => "!context.guarded".to_owned(),
            Self::Tier(tier) => tier.cedar(),
        }
    }

    pub(crate) fn needs(&self) -> Needs {
        match self {
            Self::Ids(..) => Needs::NONE,
            Self::Class(_) | Self::Effect(_) | Self::All => Needs::CLASS,
            Self::Tier(_) => Needs::CLASS.and(Needs::ACTION).and(Needs::RESOURCE),
        }
    }
}

/// The Cedar entity of an action.
pub(crate) fn action_uid(service: &str, id: &str) -> String {
    format!("Action::{}", quote(&format!("{service}:{id}")))
}

/// Reads a word of a permission for one service, or of a rule for every service where `service` is none.
///
/// # Errors
/// What is wrong with it, and the nearest valid word.
pub(crate) fn read(word: &str, service: Option<(&str, &ServiceWords)>) -> Result<Named, (String, Option<String>)> {
    let named = |selector, alias| Ok(Named { word: word.to_owned(), selector, alias });
    if word == "*" {
        return named(Selector::All, false);
    }
    if let Some(text) = word.strip_prefix("effect:") {
        if let Ok(effect) = text.parse::<Effect>() {
            return named(Selector::Effect(effect), false);
        }
        let near = nearest(text, Effect::ALL.iter().map(|effect| effect.as_str()));
        return Err((format!("unknown effect `{text}`"), near.map(|near| format!("effect:{near}"))));
    }
    if let Ok(class) = word.parse::<Class>() {
        return named(Selector::Class(class), false);
    }
    let Some((name, words)) = service else {
        return Err((format!("action `{word}` needs a service; name one in `service`"), None));
    };
    let bare = bare(word, name);
    match of_service(word, bare, (name, words)) {
        Some(found) => Ok(found),
        // Only here: the nearest of a thousand words takes half a millisecond to find.
        None => Err((format!("unknown action `{word}` of service `{name}`"), near(bare, words))),
    }
}

/// The word without its service's prefix.
fn bare<'a>(word: &'a str, name: &str) -> &'a str {
    word.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')).unwrap_or(word)
}

fn of_service(word: &str, bare: &str, (name, words): (&str, &ServiceWords)) -> Option<Named> {
    let named = |ids: &[String], alias| {
        Some(Named { word: word.to_owned(), selector: Selector::Ids(name.to_owned(), ids.to_vec()), alias })
    };
    if words.actions.contains_key(bare) || bare.strip_prefix("http/").is_some_and(|rest| METHODS.contains(&rest)) {
        return named(&[bare.to_owned()], false);
    }
    if let Some(all) = words.aliases.get(bare) {
        return named(all, true);
    }
    named(words.scopes.get(bare)?, false)
}

fn near(word: &str, words: &ServiceWords) -> Option<String> {
    let ours = words.actions.keys().chain(words.aliases.keys()).chain(words.scopes.keys()).map(String::as_str);
    let classes = Class::ALL.iter().map(|class| class.as_str());
    nearest(word, ours.chain(classes)).or_else(|| {
        nearest(word, Effect::ALL.iter().map(|effect| effect.as_str())).map(|effect| format!("effect:{effect}"))
    })
}

/// Reads a word of `denied_actions`: it denies whatever it names in any service.
///
/// # Errors
/// No service knows it; the nearest word of any.
pub(crate) fn read_denial(word: &str, vocabulary: &Vocabulary) -> Result<Vec<Named>, (String, Option<String>)> {
    if let Ok(named) = read(word, None) {
        return Ok(vec![named]);
    }
    if word.starts_with("effect:") {
        return read(word, None).map(|named| vec![named]);
    }
    let all: Vec<Named> = vocabulary
        .services
        .iter()
        .filter_map(|(name, words)| of_service(word, bare(word, name), (name, words)))
        .collect();
    if !all.is_empty() {
        return Ok(all);
    }
    let every = vocabulary.services.values().flat_map(|words| {
        words.actions.keys().chain(words.aliases.keys()).chain(words.scopes.keys()).map(String::as_str)
    });
    Err((format!("no service knows the action `{word}`"), nearest(word, every)))
}

/// How a call is asked for, as raw rules see it: of one in a batch its own request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestLine<'a> {
    pub(crate) method: &'a http::Method,
    pub(crate) endpoint: &'a Arc<str>,
    pub(crate) path: &'a Arc<str>,
}

impl<'a> RequestLine<'a> {
    /// Of the call of this number.
    pub(crate) fn of(question: &Question<'a>, call: usize) -> Self {
        let whole = question.classification;
        match whole.part_of(call) {
            Some(part) => Self { method: &part.method, endpoint: &part.endpoint, path: &part.path },
            None => Self { method: question.method, endpoint: &whole.endpoint, path: &whole.path },
        }
    }
}

/// A rule that knows nothing of actions: methods and prefixes of whole path segments.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    /// Upper case; empty for any.
    pub(crate) methods: Vec<String>,
    /// With a leading slash and without a trailing one; empty for any.
    pub(crate) endpoints: Vec<String>,
}

impl Raw {
    /// Endpoints are meant after the service's base path or from the root, as the operator likes.
    pub(crate) fn covers(&self, RequestLine { method, endpoint, path }: RequestLine<'_>) -> bool {
        let method = self.methods.is_empty() || self.methods.iter().any(|known| known == method.as_str());
        let under = |prefix: &String| {
            [endpoint, path].into_iter().any(|text| {
                text.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        method && (self.endpoints.is_empty() || self.endpoints.iter().any(under))
    }

    pub(crate) fn cedar(&self) -> Option<String> {
        let mut all = Vec::new();
        if !self.methods.is_empty() {
            all.push(format!("{}.contains(context.method)", set(self.methods.iter().map(String::as_str))));
        }
        let endpoints: Vec<String> = self
            .endpoints
            .iter()
            .map(|prefix| {
                // `*` in a path is itself, not a wildcard.
                let under = quote(&format!("{prefix}/")).replace('*', "\\*");
                let under = under.strip_suffix('"').unwrap_or(&under);
                let of = |name: &str| format!("context.{name} == {} || context.{name} like {under}*\"", quote(prefix));
                format!("{} || {}", of("endpoint"), of("path"))
            })
            .collect();
        if !endpoints.is_empty() {
            all.push(super::text::any_of(endpoints));
        }
        let all: Vec<String> = all.into_iter().map(|one| format!("({one})")).collect();
        (!all.is_empty()).then(|| all.join(" && "))
    }
}

/// A method as written, in upper case.
///
/// # Errors
/// What is wrong, and the nearest method.
pub(crate) fn read_method(word: &str) -> Result<String, (String, Option<String>)> {
    let lower = word.to_lowercase();
    if METHODS.contains(&lower.as_str()) {
        return Ok(lower.to_uppercase());
    }
    Err((format!("unknown method `{word}`"), nearest(&lower, METHODS).map(|near| near.to_uppercase())))
}

/// A prefix as written: `None` for `/`, which covers all.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_endpoint(word: &str) -> Result<Option<String>, (String, Option<String>)> {
    let trimmed = word.trim_end_matches('/').trim_end_matches("/*");
    if !word.starts_with('/') {
        return Err((format!("endpoint `{word}` must begin with `/`"), Some(format!("/{word}"))));
    }
    if trimmed.split('/').skip(1).any(str::is_empty) || trimmed.contains(['?', '#', '*']) {
        return Err((format!("endpoint `{word}` is not a prefix of whole path segments, such as `/charges`"), None));
    }
    Ok((!trimmed.is_empty()).then(|| trimmed.to_owned()))
}

//! What an agent is given of what it asks for: per action and resource, whether a permission covers it, no denial stands
//! against it, and whether a person must say yes first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy_core::ast::{Literal, SlotEnv, ValueKind};
use cedar_policy_core::entities::Entities;
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use model::canonical::{Host, Origin, Scheme};
use model::vocabulary::{ServiceWords, Vocabulary};
use model::{Call, Classification, Code, Refusal, Resource, ServiceName, Timestamp, bounds};

use super::{Kind, Rule, Rules};
use crate::compare::cells::{Item, items};
use crate::compile::actions::{self, Named, RequestLine, Selector};
use crate::compile::capability::kinds;
use crate::compile::implied::PLACE;
use crate::compile::pattern::Pattern;
use crate::condition::{Covered, Needs, Required};
use crate::document::nearest;
use crate::grant::{Asked, Cut, Offer, Scope};
use crate::{Question, Subject};

/// Permissions that a refusal names as what could be asked for.
const NAMED_MAX: usize = 8;
/// Actions that one line of what was cut names.
const CUT_NAMED_MAX: usize = 6;
/// Lines of what was cut.
const CUT_MAX: usize = 64;

/// What is gathered while the parts of a request are looked at.
#[derive(Default)]
struct Gathered {
    /// Actions by service and resources; the flag marks what is implied.
    scopes: BTreeMap<(String, bool, Vec<String>), BTreeSet<String>>,
    cut: BTreeSet<Cut>,
    /// Numbers of permissions, with a call of each action that it covers.
    behind: BTreeMap<u32, Vec<(String, Call)>>,
}

/// One service as one agent may use it.
struct Ground<'a> {
    rules: &'a Rules,
    subject: &'a Subject,
    now: Timestamp,
    service: &'a str,
    words: &'a ServiceWords,
    /// Every action in all its forms, by id.
    forms: BTreeMap<String, Vec<Item>>,
    /// Permissions that name an action, and the first denial of it.
    names: HashMap<String, (Vec<u32>, Option<u32>)>,
}

/// What becomes of one action on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// It is given on these.
    Given(Vec<String>),
    /// It is not.
    Not(String),
}

impl Rules {
    /// Names of the capability sets that the configuration has.
    pub fn capability_names(&self) -> impl Iterator<Item = &str> {
        self.capabilities.keys().map(String::as_str)
    }

    /// What a capability set asks for.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn capability(&self, name: &str) -> Result<&[Asked], Box<Refusal>> {
        self.capabilities.get(name).map(Vec::as_slice).ok_or_else(|| {
            let known: Vec<&str> = self.capability_names().collect();
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => {
                    "the configuration has no `capabilities`; ask with `service` and `actions`".to_owned()
                }
                None => format!("the configuration has {}", known.join(", ")),
            };
            Box::new(Refusal::new(Code::Malformed, format!("There is no capability set `{name}`")).hint(hint))
        })
    }

    /// What of this the permissions of an agent cover, for how long, and who must be asked. Pure, and no promise: limits, bounds and
    /// circumstances hold when a call is made.
    ///
    /// # Errors
    /// Malformed where a word is unknown; denied where nothing of it is permitted, with what could be asked for.
    pub fn offer(
        &self,
        words: &Vocabulary,
        subject: &Subject,
        (asked, ttl_seconds): (&[Asked], Option<u64>),
        now: Timestamp,
    ) -> Result<Offer, Box<Refusal>> {
        let mut gathered = Gathered::default();
        for part in asked {
            let Some((service, known)) = words.services.get_key_value(&part.service) else {
                let near = nearest(&part.service, words.services.keys().map(String::as_str));
                return Err(malformed(format!("Service {} is not known", part.service), near));
            };
            Ground::of(self, (subject, now), (service, known)).look(part, &mut gathered)?;
        }
        if gathered.scopes.is_empty() {
            return Err(self.nothing(subject, asked, &gathered));
        }
        let behind: Vec<&Rule> = gathered.behind.keys().filter_map(|number| self.list.get(*number as usize)).collect();
        let caps = behind.iter().map(|rule| rule.terms.ttl_seconds_max.unwrap_or(bounds::GRANT_SECONDS_MAX));
        let cap = caps.min().unwrap_or(bounds::GRANT_SECONDS_MAX);
        let wanted = ttl_seconds.unwrap_or_else(|| bounds::GRANT_SECONDS_DEFAULT.min(cap));
        if wanted > cap {
            let why = format!("a grant of these permissions lasts {cap} s at most");
            gathered.cut.insert(Cut { what: format!("ttl_seconds {wanted}"), why });
        }
        let need = self.need(subject, &gathered)?;
        let scope = |((service, implied, resources), actions)| Scope {
            service,
            actions: BTreeSet::into_iter(actions).collect(),
            resources,
            implied,
        };
        Ok(Offer {
            rules: behind.iter().map(|rule| Arc::clone(&rule.id)).collect(),
            scopes: gathered.scopes.into_iter().map(scope).collect(),
            cut: gathered.cut.into_iter().take(CUT_MAX).collect(),
            ttl_seconds: wanted.min(cap),
            need,
        })
    }

    /// The question of all permissions behind an offer together.
    fn need(&self, subject: &Subject, gathered: &Gathered) -> Result<Option<crate::ApprovalNeed>, Box<Refusal>> {
        let mut asks = Vec::new();
        for (number, calls) in &gathered.behind {
            let Some(rule) = self.list.get(*number as usize) else { continue };
            for (service, call) in calls {
                let covered = Covered { rule: &rule.id, subject, service, calls: &[call] };
                for condition in &rule.conditions {
                    let mut required = Required::default();
                    // A bound on a fact cannot hold before there is a call; it holds when there is one.
                    let _ = condition.require(&covered, &mut required);
                    asks.append(&mut required.asks);
                }
            }
        }
        asks.dedup_by(|one, other| one.rule == other.rule && one.reason == other.reason);
        super::strictest(&asks, subject, &mut || "grant".to_owned())
    }

    /// Nothing of it is permitted: what could be asked for instead.
    fn nothing(&self, subject: &Subject, asked: &[Asked], gathered: &Gathered) -> Box<Refusal> {
        let why = gathered.cut.first().map_or_else(String::new, |cut| format!(": {}, {}", cut.what, cut.why));
        let written = |rule: &&Rule| {
            rule.kind == Kind::Permit
                && !rule.id.starts_with("profile/")
                && !rule.id.ends_with("/implied")
                && asked.iter().any(|part| rule.is_for(&subject.agent, &part.service))
        };
        let line = |rule: &Rule| {
            let words: Vec<&str> = rule.actions.iter().map(|named| named.word.as_str()).collect();
            let resources: Vec<&str> = rule.resources.iter().map(Pattern::text).collect();
            let service = rule.service.as_deref().unwrap_or("any service");
            let words =
                if words.is_empty() { "what it names by methods and paths".to_owned() } else { words.join(", ") };
            format!("{words} on {} ({service}, rule {})", resources.join(", "), rule.id)
        };
        let could: Vec<String> = self.list.iter().filter(written).take(NAMED_MAX).map(line).collect();
        let hint = if could.is_empty() {
            format!("{} has no permission there; an operator has to write one first", subject.agent)
        } else {
            format!("what could be asked for: {}", could.join("; "))
        };
        Box::new(Refusal::new(Code::Denied, format!("Nothing of this can be granted{why}")).hint(hint))
    }

    /// Whether the circumstances of a permission hold now, as far as they can be told without a request.
    fn applies(&self, ground: &Ground<'_>, (number, rule): (u32, &Rule), call: &Call) -> bool {
        let kind = |of: &str| {
            let says = |value: serde_json::Value| value.get("kind").is_some_and(|kind| kind == of);
            rule.conditions.iter().any(|condition| condition.explain().is_some_and(says))
        };
        // A request says these.
        if rule.needs.has(Needs::FACTS) || rule.needs.has(Needs::RAW) || kind("source") {
            return true;
        }
        let (Ok(service), Ok(host)) = (ServiceName::new(ground.service), Host::parse("grant.invalid")) else {
            return false;
        };
        let classification =
            Classification::new(Some(service.clone()), smallvec::smallvec![call.clone()], Arc::from("/"));
        let question = Question {
            subject: ground.subject,
            classification: &classification,
            method: &http::Method::GET,
            origin: &Origin { scheme: Scheme::Https, host, port: 443 },
            presented: None,
            grants: &[],
            now: ground.now,
        };
        let parts = self.parts(ground.service, &call.resource);
        let line = RequestLine::of(&question, 0);
        let request = self.request(&question, &service, (line, call), (&parts, rule.needs, &[(number, rule)]));
        let entities = Entities::new();
        let evaluator = Evaluator::new(request, &entities, Extensions::all_available());
        let value = evaluator.interpret(&rule.condition, &SlotEnv::new()).map(|value| value.value);
        matches!(value, Ok(ValueKind::Lit(Literal::Bool(true))))
    }
}

fn malformed(sentence: String, near: Option<String>) -> Box<Refusal> {
    let refusal = Refusal::new(Code::Malformed, sentence);
    Box::new(match near {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None => refusal,
    })
}

impl<'a> Ground<'a> {
    fn of(
        rules: &'a Rules,
        (subject, now): (&'a Subject, Timestamp),
        (service, words): (&'a str, &'a ServiceWords),
    ) -> Self {
        let mut forms: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        for item in items([words].into_iter()) {
            forms.entry(item.id.clone()).or_default().push(item);
        }
        let mut names: HashMap<String, (Vec<u32>, Option<u32>)> = HashMap::new();
        let mine = |(_, rule): &(usize, &Rule)| rule.is_for(&subject.agent, service);
        let mine: Vec<(usize, &Rule)> = rules.list.iter().enumerate().filter(mine).collect();
        for (id, forms) in &forms {
            let calls: Vec<Call> = forms.iter().filter_map(Item::call).collect();
            let (permits, denied) = names.entry(id.clone()).or_default();
            for (number, rule) in &mine {
                let number = u32::try_from(*number).unwrap_or(u32::MAX);
                let any = calls.iter().any(|call| rule.names(service, call));
                match rule.kind {
                    Kind::Permit if any && !rule.id.ends_with("/implied") => permits.push(number),
                    // By methods and paths a denial is not certain.
                    Kind::Deny if any && rule.raw.is_none() => _ = denied.get_or_insert(number),
                    _ => {}
                }
            }
        }
        Self { rules, subject, now, service, words, forms, names }
    }

    /// Looks at every action and resource of one part.
    fn look(&self, part: &Asked, gathered: &mut Gathered) -> Result<(), Box<Refusal>> {
        let kinds = kinds(self.words);
        let pattern = |text: &String| {
            let pattern = Pattern::parse(text, &kinds).map_err(|(message, near)| malformed(message, near))?;
            Ok::<_, Box<Refusal>>(pattern.blind(&self.words.case_blind))
        };
        let resources: Vec<Pattern> = if part.resources.is_empty() {
            vec![Pattern::any()]
        } else {
            part.resources.iter().map(pattern).collect::<Result<_, _>>()?
        };
        for word in &part.actions {
            let named = actions::read(word, Some((self.service, self.words)))
                .map_err(|(message, near)| malformed(message, near))?;
            for resource in &resources {
                self.one(&named, resource, gathered);
            }
        }
        Ok(())
    }

    /// One word on one resource.
    fn one(&self, named: &Named, resource: &Pattern, gathered: &mut Gathered) {
        let is_exact = matches!(named.selector, Selector::Ids(..));
        let mut fates: BTreeMap<Fate, Vec<&str>> = BTreeMap::new();
        for (id, forms) in &self.forms {
            let meant = |item: &Item| item.call().is_some_and(|call| named.selector.covers(self.service, &call, false));
            // A wide word means what the service describes; unknown paths are asked for by name.
            if !forms.iter().any(meant) || !is_exact && !self.words.actions.contains_key(id) {
                continue;
            }
            let fate = self.fate((id, forms), resource, gathered);
            fates.entry(fate).or_default().push(id);
        }
        if fates.is_empty() {
            let why = "no action of this service is covered by the word; those that always ask are named one by one";
            gathered.cut.insert(Cut { what: format!("{} on {}", named.word, resource.text()), why: why.to_owned() });
        }
        let whole = fates.len() == 1;
        for (fate, ids) in fates {
            let word = if whole { named.word.clone() } else { several(&ids, &named.word) };
            let what = format!("{word} on {}", resource.text());
            match fate {
                Fate::Given(patterns) => {
                    if patterns != [resource.text()] {
                        let why = format!("permitted on {} only", patterns.join(", "));
                        gathered.cut.insert(Cut { what, why });
                    }
                    let key = (self.service.to_owned(), false, patterns);
                    let actions = gathered.scopes.entry(key).or_default();
                    if whole && !is_exact {
                        actions.insert(named.word.clone());
                    } else {
                        actions.extend(ids.iter().map(|id| (*id).to_owned()));
                    }
                }
                Fate::Not(why) => _ = gathered.cut.insert(Cut { what, why }),
            }
        }
    }

    /// What becomes of one action on one resource.
    fn fate(&self, (id, forms): (&str, &[Item]), asked: &Pattern, gathered: &mut Gathered) -> Fate {
        let Some((permits, denied)) = self.names.get(id) else { return Fate::Not("no permission covers it".into()) };
        if let Some(rule) = denied.and_then(|number| self.rules.list.get(number as usize)) {
            return Fate::Not(format!("rule {} denies it, and a denial wins over every permission", rule.id));
        }
        let mut patterns: Vec<Pattern> = Vec::new();
        let mut asleep = None;
        for number in permits {
            let Some(rule) = self.rules.list.get(*number as usize) else { continue };
            let common: Vec<Pattern> =
                rule.resources.iter().filter_map(|permitted| self.common(asked, permitted)).collect();
            let Some(first) = common.first() else { continue };
            let calls: Vec<Call> = forms.iter().filter_map(|item| call(item, first)).collect();
            let mine = calls.into_iter().filter(|call| rule.names(self.service, call));
            let mine: Vec<Call> = mine.filter(|call| self.rules.applies(self, (*number, rule), call)).collect();
            if mine.is_empty() {
                asleep = Some(Arc::clone(&rule.id));
                continue;
            }
            self.implied(rule, &common, gathered);
            let behind = gathered.behind.entry(*number).or_default();
            behind.extend(mine.into_iter().map(|call| (self.service.to_owned(), call)));
            patterns.extend(common);
        }
        if patterns.is_empty() {
            return Fate::Not(match asleep {
                Some(rule) => format!("rule {rule} does not apply now (its hours, task, user or source)"),
                None => "no permission covers it".to_owned(),
            });
        }
        if patterns.iter().any(|pattern| pattern == asked) {
            return Fate::Given(vec![asked.text().to_owned()]);
        }
        let texts: BTreeSet<String> = patterns.iter().map(|pattern| pattern.text().to_owned()).collect();
        Fate::Given(texts.into_iter().collect())
    }

    /// What a permission implies is given with it, on what contains what is given.
    fn implied(&self, rule: &Rule, given: &[Pattern], gathered: &mut Gathered) {
        let id = format!("{}/implied", rule.id);
        for implied in self.rules.list.iter().filter(|other| *other.id == *id) {
            let around = |pattern: &Pattern| self.around(pattern).unwrap_or_else(|| pattern.clone());
            let common =
                |pattern: Pattern| implied.resources.iter().filter_map(move |other| self.common(&pattern, other));
            let resources: BTreeSet<String> =
                given.iter().map(around).flat_map(common).map(|pattern| pattern.text().to_owned()).collect();
            let ids = implied.actions.iter().filter_map(|named| match &named.selector {
                Selector::Ids(_, ids) => Some(ids),
                _ => None,
            });
            for id in ids.flatten() {
                // What acts on nothing but the place where it is asked for is in no resource of the others.
                let is_place = self.words.actions.get(id).is_some_and(|action| action.resource == PLACE);
                let resources = if is_place { vec!["*".to_owned()] } else { resources.iter().cloned().collect() };
                if !resources.is_empty() {
                    let key = (self.service.to_owned(), true, resources);
                    gathered.scopes.entry(key).or_default().insert(id.clone());
                }
            }
        }
    }

    /// What a part that is named behind `@` is a part of: `repo:o/r` of `branch:o/r@x`.
    fn around(&self, pattern: &Pattern) -> Option<Pattern> {
        let parent = self.words.parents.get(pattern.kind()?)?;
        pattern.tail()?;
        let text = format!("{parent}:{}", pattern.segments().join("/"));
        Some(Pattern::parse(&text, &[]).ok()?.blind(&self.words.case_blind))
    }

    /// What two patterns have in common, where one contains the other. A star of the inner one is a letter that only a star of the
    /// outer one takes, so that covering the text of a pattern is containing it.
    fn common(&self, asked: &Pattern, permitted: &Pattern) -> Option<Pattern> {
        let contains = |outer: &Pattern, inner: &Pattern| {
            let resource = Resource::new(inner.text());
            outer.is_any() || !inner.is_any() && outer.covers(&self.rules.parts(self.service, &resource))
        };
        if contains(permitted, asked) {
            return Some(asked.clone());
        }
        contains(asked, permitted).then(|| permitted.clone())
    }
}

/// One call of an action on a resource that a pattern stands for.
fn call(item: &Item, pattern: &Pattern) -> Option<Call> {
    let mut call = item.call()?;
    if !pattern.is_any() {
        call.resource = Resource::new(pattern.text());
    }
    Some(call)
}

/// A few of several actions, by name.
fn several(ids: &[&str], word: &str) -> String {
    let named: Vec<&str> = ids.iter().take(CUT_NAMED_MAX).copied().collect();
    match ids.len().checked_sub(CUT_NAMED_MAX) {
        Some(more @ 1..) => format!("{} and {more} more of `{word}`", named.join(", ")),
        _ if ids == [word] => word.to_owned(),
        _ => format!("{} of `{word}`", named.join(", ")),
    }
}

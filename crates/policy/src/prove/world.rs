//! What can be asked, as a Cedar schema and the circumstances that hold of every request: the engine's own context, typed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cedar_policy::{PolicySet, Schema, ValidationMode, Validator};
use model::vocabulary::FactType;
use model::{Class, Effect, Effects};

use crate::compile::actions::{METHODS, guards};
use crate::compile::text::{any_of, quote, set};
use crate::rules::Service;

/// Numbers in requests that are looked for: larger ones are no amounts, and beyond 2^53 no JSON reader agrees about them.
const NUMBER_MAX: i64 = 1_000_000_000;

/// Class and effects that calls of an action may have.
pub(super) type Form = (Class, Effects);

/// Class, effects and whether wide words cover them, as a condition.
fn form((class, effects): Form) -> String {
    let of = if effects == Effects::NONE {
        "context.effects.isEmpty()".to_owned()
    } else {
        format!("context.effects == {}", set(effects.iter().map(Effect::as_str)))
    };
    let guarded = if guards(class, effects) { "context.guarded" } else { "!context.guarded" };
    format!("context.class == {} && {of} && {guarded}", quote(class.as_str()))
}

/// What is known of the requests of a group of actions.
#[derive(Clone, Debug)]
pub(super) struct World<'a> {
    pub(super) service: &'a str,
    pub(super) known: &'a Service,
    /// The action that stands for the group: `github:repos/delete`.
    pub(super) action: String,
    /// Every other action that a text names.
    pub(super) named: BTreeSet<String>,
    pub(super) forms: Vec<Form>,
    /// Unknown paths are named after their method.
    pub(super) method: Option<String>,
    pub(super) facts: BTreeMap<String, FactType>,
    /// Segments of resources that some text looks at.
    pub(super) depth: usize,
}

impl World<'_> {
    /// The schema of one kind of request.
    pub(super) fn schema(&self) -> String {
        let mut text = "entity Agent;\nentity Resource;\n".to_owned();
        let others: Vec<String> = self.named.iter().filter(|id| **id != self.action).map(|id| quote(id)).collect();
        if !others.is_empty() {
            let _ = writeln!(text, "action {};", others.join(", "));
        }
        let _ = writeln!(text, "action {} appliesTo {{", quote(&self.action));
        text.push_str("  principal: [Agent],\n  resource: [Resource],\n  context: {\n");
        text.push_str("    service: String, action: String, class: String, effects: Set<String>, guarded: Bool,\n");
        text.push_str("    kind: String, within: Set<String>, segments: Long, tail?: String,\n");
        for at in 0..self.depth {
            // Looked at only where there are that many segments.
            let _ = writeln!(text, "    s{at}: String,");
        }
        text.push_str("    method: String, endpoint: String, path: String,\n");
        text.push_str(
            "    task?: String, user?: String, roles: Set<String>, now: Long, age: Long, holds: Set<String>,\n",
        );
        text.push_str("    facts: {");
        for (name, kind) in &self.facts {
            let kind = match kind {
                FactType::Text => "String",
                FactType::Int => "Long",
                FactType::Bool => "Bool",
                FactType::List => "Set<String>",
            };
            let _ = write!(text, " {}?: {kind},", quote(name));
        }
        text.push_str(" }\n  }\n};\n");
        text
    }

    /// Whether a rule is of strict types here: then it looks at nothing that may be missing without a test before.
    pub(super) fn types(&self, policies: &PolicySet) -> bool {
        Schema::from_cedarschema_str(&self.schema()).is_ok_and(|(schema, _)| {
            Validator::new(schema).validate(policies, ValidationMode::Strict).validation_passed()
        })
    }

    /// What holds of every such request.
    pub(super) fn circumstances(&self) -> String {
        let forms = self.forms.iter().map(|of| form(*of)).collect();
        let known: Vec<String> = METHODS.iter().map(|method| method.to_uppercase()).collect();
        let methods = self.method.clone().map_or(known, |method| vec![method]);
        let methods = format!("{}.contains(context.method)", set(methods.iter().map(String::as_str)));
        let all = [
            format!("context.service == {}", quote(self.service)),
            any_of(forms),
            self.kinds(),
            "context.segments >= 1".to_owned(),
            "context.age >= 0".to_owned(),
            methods,
        ];
        all.map(|one| format!("({one})")).join(" &&\n  ")
    }

    /// Numbers as people write them.
    pub(super) fn plain_facts(&self) -> Option<String> {
        let numbers = self.facts.iter().filter(|(_, kind)| **kind == FactType::Int);
        let plain = |name: &String| {
            format!(
                "(!(context.facts has {0}) || context.facts[{0}] >= 0 && context.facts[{0}] <= {NUMBER_MAX})",
                quote(name)
            )
        };
        let all: Vec<String> = numbers.map(|(name, _)| plain(name)).collect();
        (!all.is_empty()).then(|| all.join(" && "))
    }

    /// A kind of resource lies within the kinds that contain it, and nothing else.
    fn kinds(&self) -> String {
        let mut known: Vec<(&String, &Vec<String>)> = self.known.within.iter().collect();
        known.sort();
        let names = known.iter().map(|(kind, _)| kind.as_str());
        let mut all: Vec<String> = known
            .iter()
            .map(|(kind, within)| {
                let within = set(within.iter().map(String::as_str));
                format!("context.kind == {} && context.within == {within}", quote(kind))
            })
            .collect();
        let other = "context.within.isEmpty()".to_owned();
        all.push(if known.is_empty() { other } else { format!("!{}.contains(context.kind) && {other}", set(names)) });
        any_of(all)
    }
}

/// How the resources of an action are usually written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    kind: String,
    /// None where any name may stand.
    names: Vec<Option<String>>,
    /// Whether a name stands behind an `@`.
    has_tail: bool,
    /// That name, where it is the same for all.
    tail: Option<String>,
}

impl Shape {
    /// Reads `branch:*/*@*`: each `*` is a name that a request gives.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (path, tail) = model::resource::split_tail(rest);
        let name = |text: &str| Some(text.to_owned()).filter(|text| text != "*");
        let names = path.split('/').map(name).collect();
        Some(Self { kind: kind.to_owned(), names, has_tail: tail.is_some(), tail: tail.and_then(name) })
    }

    /// How many names it has.
    pub(super) fn depth(&self) -> usize {
        self.names.len()
    }

    /// The shape as a condition, with names that read as names.
    pub(super) fn cedar(&self) -> String {
        let name = |place: &str, name: &Option<String>| match name {
            Some(name) => format!("{place} == {}", quote(name)),
            None => format!("{place} != \"\" && !({place} like \"*/*\") && !({place} like \"*@*\")"),
        };
        let mut all =
            vec![format!("context.kind == {} && context.segments == {}", quote(&self.kind), self.names.len())];
        all.extend(self.names.iter().enumerate().map(|(at, text)| name(&format!("context.s{at}"), text)));
        all.push(if self.has_tail {
            // A branch may have slashes in its name.
            let any = "context.tail != \"\" && !(context.tail like \"/*\") && !(context.tail like \"*/\") && !(context.tail like \"*@*\")";
            let tail = self.tail.as_ref().map_or_else(|| any.to_owned(), |tail| format!("context.tail == {}", quote(tail)));
            format!("context has tail && {tail}")
        } else {
            "!(context has tail)".to_owned()
        });
        all.join(" && ")
    }
}

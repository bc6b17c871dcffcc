//! The patterns of a service file. A literal segment wins over a parameter, a parameter over one that takes several
//! segments, a pattern with conditions over the same without. No allocation except for what is returned.

use http::Method;
use model::call::Call;
use model::canonical::Malformed;
use model::{Class, Refusal, Resource};
use smallvec::SmallVec;

use super::body::{Body, Values};
use super::fact::{self, Verdict};
use super::{Found, View, malformed, unknown};
use crate::compiled::{Node, Piece, Route, Source, Test, Verb};
use crate::service::Service;

/// Ranges of segments that parameters took.
pub(super) type Captures = SmallVec<[(u8, u8); 8]>;

/// Finds the pattern and makes its call.
pub(super) fn classify(view: View<'_>) -> Result<Option<Found>, Refusal> {
    let service = view.at.service;
    let mut search = Search {
        view,
        service,
        body: Body::new(view),
        captures: Captures::new(),
        area: None,
        maybe: None,
        strip: suffix(view),
    };
    let slash = service.tables.slash_matters && view.request.path().has_trailing_slash();
    let hit = if slash { None } else { search.search(view.at.host.root, 0)? };
    if let Some((route, captures, maybe)) = stronger(service, hit, search.maybe.take()) {
        return search.call(route, &captures, maybe).map(Some);
    }
    let resource = match search.area.take() {
        Some((template, captures)) => search.resource(template, &captures, &Values::none())?,
        None => None,
    };
    unknown(view, resource).map(Some)
}

type Hit<'a> = (&'a Route, Captures);

/// What is certain and what would need the body: the stronger of the two, and whether the body must be asked.
fn stronger<'a>(
    service: &Service,
    certain: Option<Hit<'a>>,
    maybe: Option<Hit<'a>>,
) -> Option<(&'a Route, Captures, bool)> {
    let class = |hit: &Hit<'_>| service.action_of(hit.0).map_or(Class::Admin, |action| action.class);
    match (certain, maybe) {
        (Some(certain), Some(maybe)) if class(&maybe) > class(&certain) => Some((maybe.0, maybe.1, true)),
        (Some(certain), maybe) => Some((certain.0, certain.1, maybe.is_some())),
        (None, Some(maybe)) => Some((maybe.0, maybe.1, true)),
        (None, None) => None,
    }
}

/// Octets of an ending of the last segment that the upstream ignores.
fn suffix(view: View<'_>) -> usize {
    let suffixes = &view.at.service.tables.suffixes;
    let last = view.len().checked_sub(1).and_then(|index| view.segment(index)).unwrap_or_default();
    let known = suffixes.iter().find(|suffix| last.len() > suffix.len() && last.ends_with(&***suffix));
    known.map_or(0, |suffix| suffix.len())
}

struct Search<'a> {
    view: View<'a>,
    service: &'a Service,
    body: Body<'a>,
    captures: Captures,
    /// The deepest area on the way.
    area: Option<(u16, Captures)>,
    /// The strongest pattern that would match if the body says so.
    maybe: Option<Hit<'a>>,
    strip: usize,
}

impl<'a> Search<'a> {
    fn search(&mut self, node: u32, at: usize) -> Result<Option<Hit<'a>>, Refusal> {
        let service: &'a Service = self.service;
        let Some(node) = service.tables.nodes.get(node as usize) else { return Ok(None) };
        if let Some(area) = node.area {
            let deeper = self.area.as_ref().is_none_or(|(_, known)| known.len() <= self.captures.len());
            if deeper {
                self.area = Some((area, self.captures.clone()));
            }
        }
        let Some(segment) = self.segment(at) else { return self.select(node) };
        if let Some(next) = self.literal(node, segment)
            && let Some(hit) = self.search(next, at + 1)?
        {
            return Ok(Some(hit));
        }
        if let Some(next) = node.one {
            self.captures.push((at as u8, at as u8 + 1));
            let hit = self.search(next, at + 1)?;
            self.captures.pop();
            if hit.is_some() {
                return Ok(hit);
            }
        }
        if let Some(next) = node.many {
            for end in at + 1..=self.view.len() {
                self.captures.push((at as u8, end as u8));
                let hit = self.search(next, end)?;
                self.captures.pop();
                if hit.is_some() {
                    return Ok(hit);
                }
            }
        }
        Ok(None)
    }

    fn segment(&self, index: usize) -> Option<&'a str> {
        let segment = self.view.segment(index)?;
        if self.strip > 0 && index + 1 == self.view.len() {
            return segment.get(..segment.len() - self.strip);
        }
        Some(segment)
    }

    fn literal(&self, node: &Node, segment: &str) -> Option<u32> {
        let find = |text: &str| {
            let index = node.literals.binary_search_by(|(known, _)| (**known).cmp(text)).ok()?;
            node.literals.get(index).map(|(_, next)| *next)
        };
        if self.service.tables.any_case && segment.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return find(&segment.to_ascii_lowercase());
        }
        find(segment)
    }

    /// The route of a node whose method and conditions fit.
    fn select(&mut self, node: &'a Node) -> Result<Option<Hit<'a>>, Refusal> {
        let service: &'a Service = self.service;
        for index in &node.routes {
            let Some(route) = service.tables.routes.get(*index as usize) else { continue };
            if !verb_fits(route.verb, self.view.request.method()) {
                continue;
            }
            match self.conditions(route)? {
                Verdict::Yes => return Ok(Some((route, self.captures.clone()))),
                Verdict::No => {}
                Verdict::Maybe => {
                    let class = |route| service.action_of(route).map_or(Class::Admin, |action| action.class);
                    if self.maybe.as_ref().is_none_or(|(known, _)| class(known) < class(route)) {
                        self.maybe = Some((route, self.captures.clone()));
                    }
                }
            }
        }
        Ok(None)
    }

    fn conditions(&self, route: &Route) -> Result<Verdict, Refusal> {
        if route.conditions.is_empty() {
            return Ok(Verdict::Yes);
        }
        let values = self.values(route)?;
        let mut all = Verdict::Yes;
        for test in &route.conditions {
            match self.test(test, &values, &self.captures)? {
                Verdict::No => return Ok(Verdict::No),
                Verdict::Maybe if values.not_read() => all = Verdict::Maybe,
                Verdict::Maybe => return Err(values.refusal("its action depends on")),
                Verdict::Yes => {}
            }
        }
        Ok(all)
    }

    fn test(&self, test: &Test, values: &Values<'_>, captures: &Captures) -> Result<Verdict, Refusal> {
        match &test.source {
            Source::Query(name) => fact::query_holds(self.view.request, name, &test.holds),
            Source::Header(name) => Ok(fact::header_holds(self.view.request, name, &test.holds)),
            Source::Body(index) => Ok(values.holds(*index, &test.holds)),
            Source::Capture(_) => Ok(Verdict::from(test.holds.fits(self.text(&test.source, captures).as_deref()))),
        }
    }

    fn values(&self, route: &Route) -> Result<Values<'a>, Refusal> {
        match self.service.reading(route) {
            Some(reading) => self.body.read(&reading.wants),
            None => Ok(Values::none()),
        }
    }

    /// The call of a route.
    fn call(&self, route: &Route, captures: &Captures, maybe: bool) -> Result<Found, Refusal> {
        self.check_slashes(route, captures)?;
        let (Some(action), Some(reading)) = (self.service.action_of(route), self.service.reading(route)) else {
            return unknown(self.view, None);
        };
        let values = self.values(route)?;
        let mut needs_body = maybe;
        let (mut class, mut effects) = (action.class, action.effects);
        for when in &route.when {
            let mut holds = Verdict::Yes;
            for test in &when.tests {
                match self.test(test, &values, captures)? {
                    Verdict::No => {
                        holds = Verdict::No;
                        break;
                    }
                    Verdict::Maybe => holds = Verdict::Maybe,
                    Verdict::Yes => {}
                }
            }
            if holds == Verdict::No {
                continue;
            }
            needs_body |= holds == Verdict::Maybe && values.not_read();
            class = class.max(when.class.unwrap_or(class));
            effects = effects.iter().chain(when.effects.iter()).collect();
        }
        needs_body |= values.not_read() && self.names_body(route.template);
        let resource = self.resource(route.template, captures, &values)?;
        let resource = resource.unwrap_or_else(|| self.pathly());
        let text = |source: &Source| self.text(source, captures);
        let facts = fact::facts(reading, self.view, &values, &text);
        let hands_out = !action.captures.is_empty();
        let call = Call { action: action.id.clone(), class, effects, resource, facts };
        Ok(Found { needs_body, hands_out, ..Found::one(call) })
    }

    /// The resource of what no template names.
    fn pathly(&self) -> Resource {
        Resource::new(&format!("resource:{}", super::endpoint(self.view.request.path(), self.view.skip)))
    }

    /// Whether the resource may stand in the body.
    fn names_body(&self, template: u16) -> bool {
        let pieces = self.service.tables.templates.get(template as usize).into_iter().flatten().flatten();
        pieces.into_iter().any(|piece| matches!(piece, Piece::Value { source: Source::Body(_), .. }))
    }

    /// An encoded slash may stand only in a parameter that the service declares opaque.
    fn check_slashes(&self, route: &Route, captures: &Captures) -> Result<(), Refusal> {
        if !self.view.request.path().has_encoded_slash() {
            return Ok(());
        }
        for index in 0..self.view.len() {
            if !self.segment(index).is_some_and(|segment| segment.contains('/')) {
                continue;
            }
            let opaque = captures.iter().enumerate().any(|(number, (from, to))| {
                (usize::from(*from)..usize::from(*to)).contains(&index)
                    && route.opaque & 1u32.wrapping_shl(number as u32) != 0
            });
            if !opaque {
                return Err(malformed(Malformed::EncodedSlash));
            }
        }
        Ok(())
    }

    /// The first alternative whose values are all there. None also where one of them has not been read.
    fn resource(&self, template: u16, captures: &Captures, values: &Values<'_>) -> Result<Option<Resource>, Refusal> {
        let Some(alternatives) = self.service.tables.templates.get(template as usize) else { return Ok(None) };
        let mut text = String::with_capacity(48);
        for pieces in alternatives {
            text.clear();
            if self.render(pieces, captures, values, &mut text)? {
                return Ok(Some(Resource::new(&text)));
            }
        }
        Ok(None)
    }

    fn render(
        &self,
        pieces: &[Piece],
        captures: &Captures,
        values: &Values<'_>,
        out: &mut String,
    ) -> Result<bool, Refusal> {
        for piece in pieces {
            let (source, prefix, head) = match piece {
                Piece::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Piece::Value { source, prefix, head } => (source, prefix, *head),
            };
            let start = out.len();
            let present = match source {
                Source::Body(index) => values.resource_text(*index, out)?,
                Source::Query(name) => fact::query_text(self.view.request, name, out)?,
                Source::Header(_) => false,
                Source::Capture(_) => self.push_text(source, captures, out),
            };
            if !present {
                return Ok(false);
            }
            let value = out.get(start..).unwrap_or_default();
            let Some(rest) = value.strip_prefix(&**prefix).filter(|rest| !rest.is_empty()) else { return Ok(false) };
            let from_path = matches!(source, Source::Capture(_));
            if head && (model::resource::split_tail(rest).1.is_some() || !from_path && rest.contains('/')) {
                return Err(super::refuse(format!(
                    "Request is malformed: `{}` cannot be part of a resource's name",
                    crate::visible(rest)
                )));
            }
            if !prefix.is_empty() {
                out.replace_range(start..start + prefix.len(), "");
            }
        }
        Ok(true)
    }

    fn push_text(&self, source: &Source, captures: &Captures, out: &mut String) -> bool {
        let Source::Capture(number) = source else { return false };
        let Some((from, to)) = captures.get(usize::from(*number)) else { return false };
        for index in *from..*to {
            if index > *from {
                out.push('/');
            }
            out.push_str(self.segment(usize::from(index)).unwrap_or_default());
        }
        true
    }

    fn text(&self, source: &Source, captures: &Captures) -> Option<String> {
        let mut out = String::new();
        self.push_text(source, captures, &mut out).then_some(out)
    }
}

fn verb_fits(verb: Verb, method: &Method) -> bool {
    match verb {
        Verb::Any => *method != Method::OPTIONS,
        Verb::Get => *method == Method::GET || *method == Method::HEAD,
        Verb::Head => *method == Method::HEAD,
        Verb::Post => *method == Method::POST,
        Verb::Put => *method == Method::PUT,
        Verb::Patch => *method == Method::PATCH,
        Verb::Delete => *method == Method::DELETE,
        Verb::Options => *method == Method::OPTIONS,
    }
}

//! Requests that are made for calls: what they are taken for is the call again.

use catalog::Catalog;
use http::{HeaderMap, HeaderValue, Method};
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Length, Origin, Scheme, clean, parse_authority};
use model::{ActionId, Call, Facts, Resource};

/// What a made request is taken for, as one line for each call.
fn taken_for(catalog: &Catalog, example: &catalog::Example) -> Option<Vec<Call>> {
    let rest = example.url.strip_prefix("https://")?;
    let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = parse_authority(authority).ok()?;
    let mut headers = HeaderMap::new();
    if let Some(kind) = example.content_type {
        headers.insert("content-type", HeaderValue::from_static(kind));
    }
    let length = example.body.as_ref().map_or(Length::Empty, |body| Length::Known(body.len() as u64));
    let origin = Origin { scheme: Scheme::Https, host, port: port.unwrap_or(443) };
    let method = Method::from_bytes(example.method.as_bytes()).ok()?;
    let target = if target.is_empty() { "/" } else { target };
    let request = CanonicalRequest::new(method, origin, target, clean(headers).ok()?, length).ok()?;
    let body = example.body.as_ref().map_or(BodyView::Empty, |body| BodyView::Whole(body.as_bytes()));
    Some(catalog.classify(&request, body).ok()?.calls.into_iter().collect())
}

/// Every action of every service that has a path, in every form, on every form of resource: one of the requests is taken for it. Those
/// that are missed depend on what a guess does not find: conditions that exclude one another, values that hold several texts.
#[test]
fn calls_are_made_again() {
    let catalog = Catalog::builtin();
    let vocabulary = catalog.vocabulary();
    let (mut all, mut missed) = (0, Vec::new());
    for (name, words) in &vocabulary.services {
        let service = catalog.service(name).expect("a service");
        for (id, action) in &words.actions {
            let mut forms = action.forms.clone();
            forms.push((action.class, action.effects));
            let (mut tried, mut made) = (false, false);
            for (resource, (class, effects)) in
                service.resource_forms(id).iter().flat_map(|resource| forms.iter().map(move |form| (resource, *form)))
            {
                let resource = Resource::new(&resource.replace('*', "x"));
                let action = ActionId::new(id).expect("an id");
                let call = Call { action, class, effects, resource, facts: Facts::default() };
                for example in service.examples(&call) {
                    tried = true;
                    let calls = taken_for(&catalog, &example).unwrap_or_default();
                    made |= calls.iter().any(|other| other.action == call.action && other.resource == call.resource);
                }
                if made {
                    break;
                }
            }
            all += usize::from(tried);
            if tried && !made {
                missed.push(format!("{name}:{id}"));
            }
        }
    }
    assert!(all > 3_000, "{all} actions");
    assert!(missed.len() * 100 <= all, "{} of {all}: {}", missed.len(), missed.join(" "));
}

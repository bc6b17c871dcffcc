//! The table of operations of AWS. A line is `service:Operation[>service:Action] class[+effect..] [METHOD place] resource..`.

use std::collections::BTreeMap;

use model::{Class, Effect, Effects};

use super::Wrong;
use super::actions::Draft;
use super::lines::Own;
use crate::compiled::{AWS_UNLISTED, Aws, AwsOperation, AwsPlace};
use crate::file::ServiceFile;

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// The kind of every resource.
const KIND: &str = "arn:{name}";

struct Written<'a> {
    text: &'a str,
    operation: &'a str,
    action: &'a str,
    class: Class,
    effects: Effects,
    place: Option<(&'a str, &'a str)>,
    resources: Vec<&'a str>,
}

fn lines(written: &ServiceFile) -> Result<Vec<Written<'_>>, Wrong> {
    let text = written.aws.as_ref().map_or("", |entry| &entry.operations);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(line).collect()
}

fn line(text: &str) -> Result<Written<'_>, Wrong> {
    let wrong = |message: &str| Wrong::new(text, format!("`{text}`: {message}"));
    let mut words = text.split_ascii_whitespace().peekable();
    let name = words.next().unwrap_or_default();
    let (operation, action) = name.split_once('>').unwrap_or((name, name));
    if !operation.contains(':') || !action.contains(':') {
        return Err(wrong("an operation is written `service:Operation`"));
    }
    let mut strength = words.next().unwrap_or_default().split('+');
    let class = strength.next().and_then(|word| word.parse().ok()).ok_or_else(|| wrong("its class is none"))?;
    let effects: Option<Effects> = strength.map(|word| word.parse::<Effect>().ok()).collect();
    let effects = effects.ok_or_else(|| wrong("an effect of it is none"))?;
    let place = match words.next_if(|word| METHODS.contains(word)) {
        Some(method) => Some((method, words.next().ok_or_else(|| wrong("a place follows its method"))?)),
        None => None,
    };
    Ok(Written { text, operation, action, class, effects, place, resources: words.collect() })
}

/// The actions that the table declares. One that stands in several lines is the same in all.
pub(super) fn own(written: &ServiceFile) -> Result<Vec<Own>, Wrong> {
    if written.aws.is_none() {
        return Ok(Vec::new());
    }
    let own = |id: &str, class, effects| Own { resource: vec![KIND.to_owned()], ..Own::plain(id, class, effects) };
    let mut all: BTreeMap<&str, (Class, Effects)> = BTreeMap::new();
    let mut out = vec![own(AWS_UNLISTED, Class::Admin, Effects::EVERY)];
    for line in lines(written)? {
        let known = *all.entry(line.action).or_insert_with(|| {
            out.push(own(line.action, line.class, line.effects));
            (line.class, line.effects)
        });
        if known != (line.class, line.effects) {
            let message = format!("`{}` has another class or other effects above", line.action);
            return Err(Wrong::new(line.text, message));
        }
    }
    Ok(out)
}

/// Compiles the table. `drafts` are all actions, in the order of their indices.
pub(super) fn compile(written: &ServiceFile, drafts: &[Draft]) -> Result<Option<Aws>, Wrong> {
    if written.aws.is_none() {
        return Ok(None);
    }
    let by_id: BTreeMap<&str, u16> = drafts.iter().zip(0u16..).map(|(draft, at)| (draft.id.as_str(), at)).collect();
    let index = |id: &str| by_id.get(id).copied().ok_or_else(|| Wrong::new(id, format!("no action `{id}`")));
    let (mut named, mut placed) = (Vec::new(), Vec::new());
    for line in lines(written)? {
        let operation = AwsOperation {
            action: index(line.action)?,
            resources: line.resources.iter().map(|text| (*text).into()).collect(),
        };
        match line.place {
            None => named.push((line.operation.into(), operation)),
            Some((method, place)) => {
                let (path, query) =
                    place.split_once('?').map_or((place, None), |(path, query)| (path, Some(query.into())));
                let service = line.operation.split(':').next().unwrap_or_default();
                let (service, method, path) = (service.into(), method.into(), path.into());
                placed.push(AwsPlace { service, method, path, query, operation });
            }
        }
    }
    named.sort_by(|left: &(Box<str>, _), right| left.0.cmp(&right.0));
    if let Some([(twice, _), _]) =
        named.windows(2).find(|pair| matches!(pair, [(left, _), (right, _)] if left == right))
    {
        return Err(Wrong::new(twice, format!("operation `{twice}` stands here twice")));
    }
    Ok(Some(Aws { unlisted: index(AWS_UNLISTED)?, named, placed }))
}

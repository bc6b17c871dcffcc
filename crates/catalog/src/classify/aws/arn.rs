//! Resources as ARNs (AWS General Reference): `arn:PARTITION:SERVICE:REGION:ACCOUNT:REST`. A request seldom says its account; then the ARN
//! has none, and a rule writes `*` for it.

use std::borrow::Cow;

use model::aws::Endpoint;

use super::super::line::Fault;

/// Octets of one value. The longest are S3's keys, with 1,024.
const VALUE_BYTES_MAX: usize = 2_048;
/// Where the name of an endpoint has no region, it is this one's.
const REGION_DEFAULT: &str = "us-east-1";
/// Services whose ARNs have no region.
const GLOBAL: [&str; 3] = ["iam", "s3", "sts"];

/// What a name stands for: its values, none where it is not there.
pub(super) type Values<'a> = Vec<Cow<'a, str>>;
/// Looks a name up.
pub(super) type Get<'g, 'a> = &'g dyn Fn(&str) -> Result<Values<'a>, Fault>;

/// An ARN at an endpoint; `rest` begins behind the region.
fn of(at: &Endpoint<'_>, rest: &str) -> String {
    let region = at.region.unwrap_or(REGION_DEFAULT);
    let own = if GLOBAL.contains(&at.service) { "" } else { region };
    format!("arn:{}:{}:{own}:{rest}", Endpoint::partition(region), at.service)
}

/// Everything of the service there.
pub(super) fn anything(at: &Endpoint<'_>) -> String {
    of(at, ":*")
}

/// A bucket, or an object in it. A key's own text stands as it is, but for what would divide.
pub(super) fn of_s3(at: &Endpoint<'_>, bucket: &str, key: Option<&str>) -> Result<String, Fault> {
    let bucket = value(bucket)?;
    Ok(match key {
        Some(key) => of(at, &format!(":{bucket}/{}", value(key)?)),
        None => of(at, &format!(":{bucket}")),
    })
}

/// What a template of the table means; empty where no alternative's values are all there.
pub(super) fn fill(at: &Endpoint<'_>, template: &str, get: Get<'_, '_>) -> Result<Vec<String>, Fault> {
    for alternative in template.split('|') {
        let all = one(at, alternative, get)?;
        if !all.is_empty() {
            return Ok(all);
        }
    }
    Ok(Vec::new())
}

/// One alternative. Several values of its first name are several resources; the others have one.
fn one(at: &Endpoint<'_>, template: &str, get: Get<'_, '_>) -> Result<Vec<String>, Fault> {
    let Some((front, rest)) = template.split_once('{') else { return Ok(vec![of(at, &format!(":{template}"))]) };
    let (name, rest) = rest.split_once('}').unwrap_or((rest, ""));
    let mut tail = String::new();
    let mut left = rest;
    while let Some((text, after)) = left.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let values = get(name)?;
        let [only] = values.as_slice() else {
            return if values.is_empty() { Ok(Vec::new()) } else { Err("a name of it comes twice".into()) };
        };
        tail.push_str(text);
        tail.push_str(&value(only)?);
        left = after;
    }
    tail.push_str(left);
    let whole = |text: &Cow<'_, str>| Ok([&name_of(at, (front, name), text)?, tail.as_str()].concat());
    get(name)?.iter().map(whole).collect()
}

/// The ARN of one value: the value itself where it is one.
fn name_of(at: &Endpoint<'_>, (front, name): (&str, &str), text: &str) -> Result<String, Fault> {
    if name == "QueueUrl" {
        return queue(at, text);
    }
    let plain = value(text)?;
    if plain.starts_with("arn:") {
        let parts = plain.splitn(6, ':').filter(|part| !part.is_empty()).count();
        // A partition and a service, at least, and something in it.
        return if parts >= 4 && plain.splitn(6, ':').count() == 6 {
            Ok(plain)
        } else {
            Err("an ARN in it is none".into())
        };
    }
    if let Some((account, after)) = plain.split_once(":function:").filter(|_| front == "function:") {
        return Ok(of(at, &format!("{account}:function:{after}")));
    }
    Ok(of(at, &format!(":{front}{plain}")))
}

/// The queue of a URL: `https://sqs.us-east-1.amazonaws.com/123456789012/name`. The last two parts of its path are account and name.
pub(super) fn queue(at: &Endpoint<'_>, url: &str) -> Result<String, Fault> {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    if path.contains(['?', '#']) || path.split('/').count() != 3 {
        return Err("its queue's URL is none".into());
    }
    let mut parts = path.rsplit('/');
    let (name, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let digits = account.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_none() || !word(name) || account.is_empty() || !digits {
        return Err("its queue's URL is none".into());
    }
    Ok(of(at, &format!("{account}:{name}")))
}

/// A value as it stands in a resource: where an `@` would divide (see [`model::resource::split_tail`]) it is escaped, and so is what escapes.
fn value(text: &str) -> Result<String, Fault> {
    if text.is_empty() || text.len() > VALUE_BYTES_MAX || text.chars().any(char::is_control) {
        return Err("a name in it is empty, too long, or holds a control character".into());
    }
    Ok(if text.contains(['@', '%']) { text.replace('%', "%25").replace('@', "%40") } else { text.to_owned() })
}

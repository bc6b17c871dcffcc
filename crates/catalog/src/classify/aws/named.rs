//! Operations that a name says: `X-Amz-Target` before a JSON body (JSON 1.0 and 1.1), or the parameter `Action` of a form or a query.

use std::borrow::Cow;

use http::Method;
use http::header::HeaderMap;
use model::Unknown;
use model::canonical::{Length, pairs};

use super::super::body::{Body, essence};
use super::super::line::{Calls, Fault};
use super::super::tree::{self, Json};
use super::arn::{self, Get, Values};
use super::{Ask, Said, push};
use crate::classify::is_same_but_spelled;
use crate::compiled::AwsOperation;

const TARGET: &str = "x-amz-target";
/// What a target begins with, by service.
const TARGETS: [(&str, &str); 4] = [
    ("dynamodb", "DynamoDB_20120810"),
    ("logs", "Logs_20140328"),
    ("secretsmanager", "secretsmanager"),
    ("sqs", "AmazonSQS"),
];
/// Services that take forms.
const FORMS: [&str; 5] = ["ec2", "iam", "sns", "sqs", "sts"];
/// Characters of an operation's name.
const NAME_CHARS_MAX: usize = 64;

pub(super) fn said(ask: &Ask<'_>) -> Result<Said, Fault> {
    let request = ask.view.request;
    let by_target = request.headers().contains_key(TARGET);
    let by_action = request.query().pairs().any(|(name, _)| name.eq_ignore_ascii_case("Action"));
    match (by_target, FORMS.contains(&ask.at.service)) {
        (true, _) if by_action => Err("it says what it asks twice, in X-Amz-Target and as Action".into()),
        (true, _) => json(ask),
        (false, true) => form(ask),
        (false, false) => ask.unlisted(),
    }
}

fn json(ask: &Ask<'_>) -> Result<Said, Fault> {
    let operation = target(ask)?;
    let request = ask.view.request;
    let typed = essence(request.headers()).map_err(Fault::Unknown)?;
    if *request.method() != Method::POST
        || !request.path().is_empty()
        || !typed.starts_with("application/x-amz-json-1.")
    {
        return Err("an operation of X-Amz-Target is posted to `/`, as application/x-amz-json-1.0 or 1.1".into());
    }
    let known = known(ask, operation)?;
    let body = match Body::new(ask.view).octets() {
        // What it is, is known; on what, is not.
        Err(Unknown::NotRead) => {
            let said = of_operation(ask, (operation, known), &|_| Ok(Vec::new()))?;
            return Ok(Said { needs_body: true, ..said });
        }
        other => other.map_err(Fault::Unknown)?,
    };
    let text = std::str::from_utf8(body.unwrap_or(b"{}")).map_err(|_| Fault::Unknown(Unknown::Malformed))?;
    let Json::Object(members) = tree::read(text)? else { return Err("its JSON is no object".into()) };
    let get = |name: &str| {
        let mut own = members.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        match own.next() {
            None => Ok(Vec::new()),
            Some((known, _)) if *known != *name => Err(Fault::Doubt("a name in it differs only in its case")),
            Some(_) if own.next().is_some() => Err(Fault::Doubt("a name in it differs only in its case")),
            Some((_, value)) => texts(value),
        }
    };
    if let Some(said) = items(ask, operation, &members)? {
        return Ok(said);
    }
    of_operation(ask, (operation, known), &get)
}

/// The operation of the one target, where it is of this service.
fn target<'a>(ask: &Ask<'a>) -> Result<&'a str, Fault> {
    let headers: &'a HeaderMap = ask.view.request.headers();
    let mut all = headers.get_all(TARGET).iter();
    let first = all.next().and_then(|value| value.to_str().ok());
    if all.next().is_some() {
        return Err("X-Amz-Target comes twice".into());
    }
    let (front, operation) = first.and_then(|text| text.split_once('.')).ok_or("its X-Amz-Target is none")?;
    if !TARGETS.contains(&(ask.at.service, front)) {
        return Err("its X-Amz-Target is of another service than its host".into());
    }
    is_operation(operation).then_some(operation).ok_or_else(|| "its X-Amz-Target names no operation".into())
}

fn is_operation(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn texts<'a>(value: &Json<'a>) -> Result<Values<'a>, Fault> {
    match value {
        Json::Null => Ok(Vec::new()),
        Json::Text(text) => Ok(vec![text.clone()]),
        Json::List(items) => {
            let text = |item: &Json<'a>| match item {
                Json::Text(text) => Ok(text.clone()),
                _ => Err(Fault::Doubt("a name in it is no text")),
            };
            items.iter().map(text).collect()
        }
        _ => Err("a name in it is no text".into()),
    }
}

fn form(ask: &Ask<'_>) -> Result<Said, Fault> {
    let request = ask.view.request;
    let mut all: Vec<(Cow<'_, str>, Cow<'_, str>)> =
        request.query().pairs().map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value))).collect();
    let mut unread = false;
    if *request.method() == Method::POST {
        match Body::new(ask.view).octets() {
            Err(Unknown::NotRead) => unread = true,
            Err(unknown) => return Err(Fault::Unknown(unknown)),
            Ok(None) => {}
            Ok(Some(octets)) => {
                if essence(request.headers()).map_err(Fault::Unknown)? != "application/x-www-form-urlencoded" {
                    return Err("its body is no form".into());
                }
                let text = std::str::from_utf8(octets).map_err(|_| Fault::Unknown(Unknown::Malformed))?;
                let own = pairs(text).map_err(|_| "its form cannot be read")?;
                all.extend(
                    own.into_iter().map(|(name, value)| (name.into_string().into(), value.into_string().into())),
                );
            }
        }
    } else if *request.method() != Method::GET || request.length() != Length::Empty {
        return ask.unlisted();
    }
    if tree::has_twice(all.iter().map(|(name, _)| &**name)) {
        return Err("a parameter of it comes twice".into());
    }
    if let Some(url) = queue_path(ask)? {
        if all.iter().any(|(name, value)| *name == "QueueUrl" && !value.ends_with(&url)) {
            return Err("its path and its QueueUrl name different queues".into());
        }
        all.retain(|(name, _)| *name != "QueueUrl");
        all.push(("QueueUrl".into(), format!("https://x{url}").into()));
    }
    // One name alone says the operation; what only looks like it could be another service's idea of a list.
    let alike = |name: &str| {
        let (front, rest) = name.split_at_checked("Action".len()).unwrap_or((name, ""));
        front.eq_ignore_ascii_case("Action") && (rest.is_empty() || rest.starts_with('.')) && name != "Action"
    };
    if all.iter().any(|(name, _)| alike(name)) {
        return Err("a name in it is `Action` in another form".into());
    }
    let get = |name: &str| values(&all, name);
    let action = all.iter().find(|(name, _)| *name == "Action").map(|(_, value)| value);
    let Some(operation) = action else {
        return if unread { Err(Fault::Unknown(Unknown::NotRead)) } else { ask.unlisted() };
    };
    if !is_operation(operation) {
        return Err("its Action names no operation".into());
    }
    let known = known(ask, operation)?;
    let said = of_operation(ask, (operation, known), &get)?;
    Ok(Said { needs_body: unread, ..said })
}

/// The queue that a path names, as SQS takes it; nothing at the root. Elsewhere a path means nothing that is known.
fn queue_path(ask: &Ask<'_>) -> Result<Option<String>, Fault> {
    let path = ask.view.request.path();
    match (path.len(), ask.at.service) {
        (0, _) => Ok(None),
        (2, "sqs") => Ok(Some(path.segments().flat_map(|segment| ["/", segment]).collect())),
        _ => Err("its path is none of this service".into()),
    }
}

/// The values of a parameter: `Name`, `Name.1`, `Name.member.1`.
fn values<'a>(all: &[(Cow<'a, str>, Cow<'a, str>)], wanted: &str) -> Result<Values<'a>, Fault> {
    let mut found = Vec::new();
    for (name, value) in all {
        let Some((front, rest)) = name.split_at_checked(wanted.len()) else { continue };
        if !front.eq_ignore_ascii_case(wanted) {
            continue;
        }
        let number = rest.strip_prefix('.').map(|rest| rest.strip_prefix("member.").unwrap_or(rest));
        let fits = rest.is_empty()
            || number.is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
        if fits && front != wanted {
            return Err("a name in it differs only in its case".into());
        }
        if fits {
            found.push(value.clone());
        }
    }
    Ok(found)
}

/// The line of an operation.
fn known<'a>(ask: &Ask<'a>, operation: &str) -> Result<Option<&'a AwsOperation>, Fault> {
    let id = format!("{}:{operation}", ask.at.service);
    let named = &ask.aws.named;
    if let Ok(index) = named.binary_search_by(|(known, _)| (**known).cmp(&id)) {
        return Ok(named.get(index).map(|(_, operation)| operation));
    }
    if named.iter().any(|(known, _)| is_same_but_spelled(known, &id)) {
        return Err("its operation is something known in another spelling".into());
    }
    Ok(None)
}

/// The calls of an operation: one on each thing that it names, or one on anything.
fn of_operation(ask: &Ask<'_>, (name, known): (&str, Option<&AwsOperation>), get: Get<'_, '_>) -> Result<Said, Fault> {
    let mut calls = Calls::new();
    let anything = arn::anything(&ask.at);
    let Some(operation) = known else {
        return match ask.new_call(name, &anything)? {
            Some(call) => Ok(Said { calls: Calls::from_iter([call]), needs_body: false }),
            None => ask.unlisted(),
        };
    };
    for template in &operation.resources {
        for resource in arn::fill(&ask.at, template, get)? {
            push(&mut calls, ask.call(operation, &resource)?)?;
        }
    }
    if calls.is_empty() {
        calls.push(ask.call(operation, &anything)?);
    }
    Ok(Said { calls, needs_body: false })
}

/// Operations of DynamoDB that hold several: each is judged by itself, as it would be alone.
fn items(ask: &Ask<'_>, operation: &str, members: &tree::Members<'_>) -> Result<Option<Said>, Fault> {
    let find = |name: &str| members.iter().find(|(known, _)| *known == *name).map(|(_, value)| value);
    let mut calls = Calls::new();
    let table = |name: &str| {
        let value = Cow::Borrowed(name);
        arn::fill(&ask.at, "table/{TableName}", &|_| Ok(vec![value.clone()]))
    };
    let mut add = |action: &str, name: &str| {
        table(name)?.iter().try_for_each(|resource| push(&mut calls, ask.call_of(action, resource)?))
    };
    match (operation, find("RequestItems"), find("TransactItems")) {
        ("BatchGetItem", Some(Json::Object(tables)), _) => {
            tables.iter().try_for_each(|(name, _)| add("dynamodb:GetItem", name))?;
        }
        ("BatchWriteItem", Some(Json::Object(tables)), _) => {
            for (name, requests) in tables {
                let Json::List(requests) = requests else { return Err("its items are no list".into()) };
                for request in requests {
                    match request {
                        Json::Object(one) => match one.as_slice() {
                            [(kind, _)] if kind == "PutRequest" => add("dynamodb:PutItem", name)?,
                            [(kind, _)] if kind == "DeleteRequest" => add("dynamodb:DeleteItem", name)?,
                            _ => return Err("an item of it is neither put nor deleted".into()),
                        },
                        _ => return Err("an item of it is none".into()),
                    }
                }
            }
        }
        ("TransactWriteItems" | "TransactGetItems", _, Some(Json::List(items))) => {
            for item in items {
                let (action, name) = transacted(item)?;
                add(action, name)?;
            }
        }
        ("BatchGetItem" | "BatchWriteItem" | "TransactWriteItems" | "TransactGetItems", _, _) => {
            return Err("its items are not there".into());
        }
        _ => return Ok(None),
    }
    if calls.is_empty() { Err("it has no items".into()) } else { Ok(Some(Said { calls, needs_body: false })) }
}

/// One item of a transaction: `{"Put": {"TableName": ..}}`.
fn transacted<'j>(item: &'j Json<'_>) -> Result<(&'static str, &'j str), Fault> {
    let Json::Object(one) = item else { return Err("an item of it is none".into()) };
    let [(kind, Json::Object(inner))] = one.as_slice() else { return Err("an item of it is not one".into()) };
    let action = match &**kind {
        "Put" => "dynamodb:PutItem",
        "Update" => "dynamodb:UpdateItem",
        "Delete" => "dynamodb:DeleteItem",
        // IAM has a name of its own for it; whoever may read an item may learn what it tells.
        "ConditionCheck" | "Get" => "dynamodb:GetItem",
        _ => return Err("an item of it is of no kind that is known".into()),
    };
    let name = inner.iter().find(|(known, _)| known == "TableName");
    match name {
        Some((_, Json::Text(name))) => Ok((action, name)),
        _ => Err("an item of it names no table".into()),
    }
}

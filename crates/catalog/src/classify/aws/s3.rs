//! S3: what is asked is the method, what the path names (nothing, a bucket, an object), and a key of the query. Some fields ask for more,
//! as IAM has it: a copy reads its source, an upload with an ACL changes one.

use std::borrow::Cow;

use http::Method;
use model::Unknown;

use super::super::body::Body;
use super::super::line::{Calls, Fault};
use super::{Ask, Said, arn, push, xml};
use crate::compiled::AwsPlace;

/// Parameters that change nothing of what is asked.
const PLAIN: [&str; 21] = [
    "x-id",
    "list-type",
    "prefix",
    "delimiter",
    "marker",
    "max-keys",
    "encoding-type",
    "continuation-token",
    "fetch-owner",
    "start-after",
    "key-marker",
    "version-id-marker",
    "max-uploads",
    "upload-id-marker",
    "max-parts",
    "part-number-marker",
    "partNumber",
    "versionId",
    "max-buckets",
    "bucket-region",
    "id",
];
/// Beginnings of such parameters. Of those that begin with `x-amz-` only a signature's own and checksums: S3 takes others in place of header
/// fields (an ACL, tags, a source), which are not read here.
const PLAIN_FAMILIES: [&str; 4] = ["response-", "x-amz-checksum-", "x-amz-sdk-checksum-", "x-amz-trailer"];
const SIGNATURES: [&str; 8] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signedheaders",
    "x-amz-signature",
    "x-amz-security-token",
    "x-amz-content-sha256",
];
/// Fields by which an upload asks for more than itself, what they must not say to be nothing, and the action.
const BESIDE: [(&str, &[&str], &str); 5] = [
    ("x-amz-acl", &["private", "bucket-owner-full-control", "bucket-owner-read"], "s3:PutObjectAcl"),
    ("x-amz-tagging", &[""], "s3:PutObjectTagging"),
    ("x-amz-object-lock-mode", &[], "s3:PutObjectRetention"),
    ("x-amz-object-lock-retain-until-date", &[], "s3:PutObjectRetention"),
    ("x-amz-object-lock-legal-hold", &["OFF"], "s3:PutObjectLegalHold"),
];
const GRANTS: &str = "x-amz-grant-";
const SOURCE: &str = "x-amz-copy-source";

pub(super) fn said(ask: &Ask<'_>) -> Result<Said, Fault> {
    let request = ask.view.request;
    if request.path().has_encoded_slash() {
        return Err("its key holds an encoded slash; send a plain one".into());
    }
    if request.headers().contains_key("x-amz-target") {
        return Err("an operation of this service stands in its path".into());
    }
    let named = Named::of(ask);
    let Some(place) = place(ask, &named) else { return ask.unlisted() };
    let mut calls = Calls::new();
    if place.query.as_deref() == Some("delete") {
        return deletions(ask, &named);
    }
    let resource = named.resource(ask)?;
    let versioned = request.query().pairs().any(|(name, _)| name == "versionId");
    let base = ask.call(&place.operation, &resource)?;
    let action = match (base.action.as_str(), versioned) {
        ("s3:GetObject", true) => Some("s3:GetObjectVersion"),
        ("s3:DeleteObject", true) => Some("s3:DeleteObjectVersion"),
        _ => None,
    };
    let writes = matches!(base.action.as_str(), "s3:PutObject" | "s3:CreateBucket");
    let deletes = matches!(base.action.as_str(), "s3:DeleteObject" | "s3:PutObjectRetention");
    push(&mut calls, action.map_or(Ok(base), |action| ask.call_of(action, &resource))?)?;
    if writes {
        beside(ask, &named, &resource, &mut calls)?;
    }
    if deletes
        && header(ask, "x-amz-bypass-governance-retention")?.is_some_and(|text| !text.eq_ignore_ascii_case("false"))
    {
        push(&mut calls, ask.call_of("s3:BypassGovernanceRetention", &resource)?)?;
    }
    if let Some(source) = header(ask, SOURCE)? {
        push(&mut calls, copied(ask, source)?)?;
    }
    Ok(Said { calls, needs_body: false })
}

/// What a request names.
struct Named<'a> {
    bucket: Option<Cow<'a, str>>,
    key: Option<String>,
}

impl<'a> Named<'a> {
    fn of(ask: &Ask<'a>) -> Self {
        let path = ask.view.request.path();
        let skip = usize::from(ask.at.bucket.is_none());
        let bucket = ask.at.bucket.or_else(|| path.segment(0)).map(Cow::Borrowed);
        let mut key = path.segments().skip(skip).collect::<Vec<_>>().join("/");
        if !key.is_empty() && path.has_trailing_slash() {
            key.push('/');
        }
        Self { bucket, key: Some(key).filter(|key| !key.is_empty()) }
    }

    const fn level(&self) -> &'static str {
        match (&self.bucket, &self.key) {
            (None, _) => "service",
            (Some(_), None) => "bucket",
            (Some(_), Some(_)) => "object",
        }
    }

    fn resource(&self, ask: &Ask<'_>) -> Result<String, Fault> {
        match &self.bucket {
            Some(bucket) => arn::of_s3(&ask.at, bucket, self.key.as_deref()),
            None => Ok(arn::anything(&ask.at)),
        }
    }
}

/// The line of a request. A parameter that is not known may ask for something else, and two of those that do ask for nobody knows what.
fn place<'a>(ask: &Ask<'a>, named: &Named<'_>) -> Option<&'a AwsPlace> {
    let request = ask.view.request;
    let mut asked: Option<&str> = None;
    for (name, _) in request.query().pairs() {
        let lower = name.to_ascii_lowercase();
        let family = PLAIN_FAMILIES.iter().any(|family| lower.starts_with(family));
        if PLAIN.contains(&name) || SIGNATURES.contains(&&*lower) || family {
            continue;
        }
        if lower.starts_with("x-amz-") {
            return None;
        }
        // A SELECT has a second one, which says that it is one.
        if name == "select-type" {
            continue;
        }
        if asked.replace(name).is_some() {
            return None;
        }
    }
    let method = request.method();
    ask.aws.placed.iter().find(|place| {
        *place.service == *"s3"
            && method.as_str() == &*place.method
            && *place.path == *named.level()
            && place.query.as_deref() == asked
    })
}

/// The one value of a field.
fn header<'a>(ask: &Ask<'a>, name: &str) -> Result<Option<&'a str>, Fault> {
    let mut all = ask.view.request.headers().get_all(name).iter();
    let Some(first) = all.next() else { return Ok(None) };
    match (first.to_str(), all.next()) {
        (Ok(text), None) => Ok(Some(text)),
        _ => Err("a field of it cannot be read, or comes twice".into()),
    }
}

fn beside(ask: &Ask<'_>, named: &Named<'_>, resource: &str, calls: &mut Calls) -> Result<(), Fault> {
    let on_object = named.key.is_some();
    for (name, harmless, action) in BESIDE {
        let Some(text) = header(ask, name)?.filter(|text| !harmless.contains(text)) else { continue };
        let action = if on_object { action } else { "s3:PutBucketAcl" };
        if on_object || name == "x-amz-acl" && !text.is_empty() {
            push(calls, ask.call_of(action, resource)?)?;
        }
    }
    if ask.view.request.headers().keys().any(|name| name.as_str().starts_with(GRANTS)) {
        push(calls, ask.call_of(if on_object { "s3:PutObjectAcl" } else { "s3:PutBucketAcl" }, resource)?)?;
    }
    Ok(())
}

/// Reading the source of a copy: `/bucket/key?versionId=..`, percent-encoded as a path or whole.
fn copied(ask: &Ask<'_>, source: &str) -> Result<model::Call, Fault> {
    let none = || Fault::Doubt("the source of its copy is none");
    let (path, version) = source.split_once('?').map_or((source, None), |(path, version)| (path, Some(version)));
    if version.is_some_and(|version| !version.starts_with("versionId=")) {
        return Err(none());
    }
    // A form's reader would take a plus for a blank.
    let text = model::canonical::pairs(&path.replace('+', "%2B").replace('=', "%3D").replace('&', "%26"))
        .map_err(|_| none())?;
    let [(plain, _)] = text.as_slice() else { return Err(none()) };
    let plain = plain.strip_prefix('/').unwrap_or(plain);
    let (bucket, key) =
        plain.split_once('/').filter(|(bucket, key)| !bucket.contains(':') && !key.is_empty()).ok_or_else(none)?;
    let dots = key.split('/').any(|part| part == "." || part == "..");
    if dots || bucket.is_empty() {
        return Err(none());
    }
    let action = if version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
    ask.call_of(action, &arn::of_s3(&ask.at, bucket, Some(key))?)
}

/// The objects that a request of several names, each a call of its own.
fn deletions(ask: &Ask<'_>, named: &Named<'_>) -> Result<Said, Fault> {
    debug_assert_eq!(*ask.view.request.method(), Method::POST);
    let bucket = named.bucket.as_deref().unwrap_or_default();
    let octets = match Body::new(ask.view).octets() {
        Err(Unknown::NotRead) => {
            let all = arn::of_s3(&ask.at, bucket, Some("*"))?;
            let calls = Calls::from_iter([ask.call_of("s3:DeleteObject", &all)?]);
            return Ok(Said { calls, needs_body: true });
        }
        other => other.map_err(Fault::Unknown)?,
    };
    let text = std::str::from_utf8(octets.unwrap_or_default()).map_err(|_| "its XML is no text")?;
    let objects = xml::deletions(text).ok_or("its XML cannot be read without doubt")?;
    if objects.is_empty() {
        return Err("it names no objects".into());
    }
    let bypass =
        header(ask, "x-amz-bypass-governance-retention")?.is_some_and(|text| !text.eq_ignore_ascii_case("false"));
    let mut calls = Calls::new();
    for (key, versioned) in &objects {
        let resource = arn::of_s3(&ask.at, bucket, Some(key))?;
        let action = if *versioned { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
        push(&mut calls, ask.call_of(action, &resource)?)?;
        if bypass {
            push(&mut calls, ask.call_of("s3:BypassGovernanceRetention", &resource)?)?;
        }
    }
    Ok(Said { calls, needs_body: false })
}

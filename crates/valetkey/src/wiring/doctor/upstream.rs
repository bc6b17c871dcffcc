//! What the stand-in of the doctor answers: as much of git, npm, pip and cargo as their questions need.

use std::sync::Mutex;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;

use crate::wiring::demo::Seen;

/// Names that no resolver knows (RFC 2606): a client that ignores the proxy sends nothing anywhere.
pub(super) const HOSTS: [&str; 4] =
    ["probe.valetkey.test", "basic.valetkey.test", "raw.valetkey.test", "open.valetkey.test"];

/// The service of the stand-in, one host for each way in which clients send a token.
pub(super) const SERVICE: &str = "name: doctor
title: The stand-in of doctor
hosts:
  - probe.valetkey.test
  - { host: basic.valetkey.test, role: basic, schemes: [{ basic: { username: doctor } }] }
  - { host: raw.valetkey.test, role: raw, schemes: [{ header: { name: authorization } }] }
  - { host: open.valetkey.test, role: open, schemes: [] }
schemes: [{ bearer: { words: [Bearer, token] } }]
environment: [DOCTOR_TOKEN]
";

pub(super) fn answer(request: &Request<Incoming>, journal: &Mutex<Vec<Seen>>) -> Response<Full<Bytes>> {
    let seen = Seen::of(request);
    let (path, known) = (seen.path.clone(), !seen.authorization.is_empty());
    let echo = json!({ "login": "doctor", "username": "doctor", "authorization": seen.authorization });
    if let Ok(mut journal) = journal.lock() {
        journal.push(seen);
    }
    let json = "application/json";
    let (status, kind, body) = match path.as_str() {
        "/probe.git/info/refs" if known => {
            (StatusCode::OK, "application/x-git-upload-pack-advertisement", advertisement())
        }
        "/probe.git/info/refs" => (StatusCode::UNAUTHORIZED, "text/plain", String::new()),
        "/simple/valetkey-probe/" => (StatusCode::OK, "text/html", "<!DOCTYPE html><title>empty</title>".to_owned()),
        "/index/config.json" => {
            let api = format!("https://{}", HOSTS[2]);
            (StatusCode::OK, json, json!({ "dl": format!("{api}/dl"), "api": api, "auth-required": true }).to_string())
        }
        "/api/v1/crates/probe/owners" => {
            (StatusCode::OK, json, json!({ "users": [{ "id": 1, "login": "doctor", "name": null }] }).to_string())
        }
        _ => (StatusCode::OK, json, echo.to_string()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    if status == StatusCode::UNAUTHORIZED {
        let challenge = header::HeaderValue::from_static("Basic realm=\"doctor\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// An empty repository, as git is told of one (gitprotocol-http): each line begins with its own length in four hex digits.
fn advertisement() -> String {
    let line = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let none = format!("{} capabilities^{{}}\0agent=doctor\n", "0".repeat(40));
    format!("{}0000{}0000", line("# service=git-upload-pack\n"), line(&none))
}

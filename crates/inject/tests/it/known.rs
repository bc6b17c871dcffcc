//! Known secrets in what the agent sends: found at every split, before anything of them has left.

use std::sync::Arc;

use bytes::Bytes;
use inject::KnownSecrets;
use model::canonical::Scheme;
use model::{CredentialName, Part};
use secret::{Field, Material, Secret};

use crate::echo::encodings;
use crate::request;

const FIRST: &str = "glpat-Zk3vQ8wL1nR6tY2uX9pM";
const SECOND: &str = "AKIAIOSFODNN7EXAMPLE/wJalrXUtnFEMI/K7MDENG";

fn known() -> Arc<KnownSecrets> {
    let all: Vec<_> = [("gitlab", FIRST), ("aws", SECOND)]
        .map(|(name, value)| (CredentialName::new(name).expect("name"), Material::token(Secret::new(value.into()))))
        .into_iter()
        .collect();
    Arc::new(KnownSecrets::new(all.iter().map(|(name, material)| (name, material))))
}

#[test]
fn found_before_it_leaves() {
    let known = known();
    for (name, secret) in [("gitlab", FIRST), ("aws", SECOND)] {
        for (encoding, form) in encodings(secret, &|at| at % 4 == 1) {
            let text = [b"user=x&note=", &*form, b"&end=1"].concat();
            assert_eq!(known.find_in(&text).map(|name| name.to_string()).as_deref(), Some(name), "{encoding}");
            for split in 0..=text.len() {
                let mut scan = known.scan();
                let mut left = Vec::new();
                let found = [&text[..split], &text[split..]].into_iter().find_map(|part| {
                    match scan.push(Bytes::copy_from_slice(part)) {
                        Ok(frames) => {
                            frames.for_each(|frame| left.extend_from_slice(&frame));
                            None
                        }
                        Err(name) => Some(name),
                    }
                });
                assert_eq!(found.as_ref().map(CredentialName::as_str), Some(name), "{encoding} at {split}");
                assert!(left.len() <= 12 + 3, "{encoding} at {split}: {}", String::from_utf8_lossy(&left));
            }
        }
    }
}

#[test]
fn clean_streams_pass_whole() {
    let known = known();
    let text: Vec<u8> = (0..100_000u32).map(|at| (at * 7 % 251) as u8).collect();
    for size in [1, 100, 65_536] {
        let mut scan = known.scan();
        let mut out = Vec::new();
        for part in text.chunks(size) {
            scan.push(Bytes::copy_from_slice(part)).expect("clean").for_each(|frame| out.extend_from_slice(&frame));
        }
        out.extend_from_slice(&scan.finish().expect("clean").unwrap_or_default());
        assert!(out == text);
    }
}

#[test]
fn every_part_of_a_request_is_searched() {
    let known = known();
    let find = |target: &str, headers: &[(&str, &str)], body: Option<&[u8]>| {
        known.find(&request(Scheme::Https, "x.example", target, headers), body).map(|name| name.to_string())
    };
    let gitlab = Some("gitlab".to_owned());
    assert_eq!(find(&format!("/{FIRST}"), &[], None), gitlab);
    assert_eq!(find(&format!("/?a={FIRST}"), &[], None), gitlab);
    assert_eq!(find("/", &[("x-a", &format!("a {FIRST}"))], None), gitlab);
    assert_eq!(find("/", &[], Some(format!("[\"{FIRST}\"]").as_bytes())), gitlab);
    assert_eq!(find("/a?b=c", &[("authorization", "Bearer glpat-Zk3vQ8wL1nR6tY2uX9p")], Some(b"glpat-")), None);
}

#[test]
fn model_requests_are_rewritten() {
    let known = known();
    let escaped = FIRST.replace('-', "\\u002d");
    let body =
        format!(r#"{{"m":[{{"c":"use {FIRST} or {escaped}, base64 {}"}}]}}"#, "Z2xwYXQtWmszdlE4d0wxblI2dFkydVg5cE0=");
    let holder = |name: &CredentialName, _| (name.as_str() == "gitlab").then_some("glpat-PLACEHOLDER000000000");
    let (made, names) = known.replace_with_placeholder(body.as_bytes(), &holder).expect("found");
    let made = String::from_utf8(made).expect("text");
    assert!(
        made.starts_with(r#"{"m":[{"c":"use glpat-PLACEHOLDER000000000 or glpat-PLACEHOLDER000000000, base64 Ki"#),
        "{made}"
    );
    assert!(serde_json::from_str::<serde_json::Value>(&made).is_ok());
    assert_eq!(names.len(), 1);
    assert_eq!(known.find_in(made.as_bytes()), None);
    assert!(known.replace_with_placeholder(b"{}", &holder).is_none());
}

/// A log-in's file: each token becomes the placeholder of its own part, a JWT by its signature.
#[test]
fn each_part_becomes_its_own_placeholder() {
    let token = |letter: &str| format!("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1In0.{}", letter.repeat(60));
    let (access, identity, refresh) = (token("a"), token("i"), format!("rt_{}", "q7Rk2ZtVw9LxN4bYc8DmHs3J".repeat(2)));
    let fields = [(Field::Value, &access), (Field::Refresh, &refresh), (Field::Identity, &identity)];
    let material = Material::new(fields.map(|(field, text)| (field, Secret::new(text.as_str().into()))).into());
    let name = CredentialName::new("login").expect("name");
    let known = KnownSecrets::new([(&name, &material)]);
    let (own_access, own_identity) = (token("A"), token("I"));
    let holder = |_: &CredentialName, part| match part {
        Part::Value => Some(own_access.as_str()),
        Part::Refresh => Some("rt_PLACEHOLDER"),
        Part::Identity => Some(own_identity.as_str()),
        Part::KeyId | Part::Session => None,
    };
    let file =
        |[access, identity, refresh]: [&str; 3]| format!(r#"{{"i":"{identity}","a":"{access}","r":"{refresh}"}}"#);
    let seen = file([&access, &identity, &refresh]);
    let (made, _) = known.replace_with_placeholder(seen.as_bytes(), &holder).expect("found");
    let want = file([&own_access, &own_identity, "rt_PLACEHOLDER"]);
    assert_eq!(String::from_utf8(made).expect("text"), want);
}

/// A long secret is searched in pieces: whole it becomes one placeholder, and what stands there of a torn one is masked.
#[test]
fn a_long_secret_becomes_one_placeholder() {
    let long: String = (0..164u8).map(|at| char::from(b'a' + at.wrapping_mul(7) % 26)).collect();
    let name = CredentialName::new("openai").expect("name");
    let material = Material::token(Secret::new(long.as_str().into()));
    let known = KnownSecrets::new([(&name, &material)]);
    let holder = |_: &CredentialName, _| Some("PLACEHOLDER");
    let file = format!("KEY={long}\nAGAIN={long}{long}\nTORN={}\n", &long[..100]);
    let (made, names) = known.replace_with_placeholder(file.as_bytes(), &holder).expect("found");
    let made = String::from_utf8(made).expect("text");
    assert!(made.starts_with("KEY=PLACEHOLDER\nAGAIN=PLACEHOLDERPLACEHOLDER\nTORN=***"), "{made}");
    assert_eq!((names.len(), known.find_in(made.as_bytes())), (1, None));
}

#[test]
fn a_masked_text_keeps_its_length_and_holds_nothing() {
    let known = known();
    for secret in [FIRST, SECOND] {
        for (encoding, form) in encodings(secret, &|at| at % 4 == 1) {
            let Ok(form) = std::str::from_utf8(&form) else { continue };
            let text = format!("/grüße/{form}/ende");
            let masked = known.mask(&text).expect(&encoding);
            assert_eq!(masked.len(), text.len(), "{encoding}");
            assert!(masked.starts_with("/grüße/") && masked.ends_with("/ende"), "{encoding}: {masked}");
            assert!(known.find_in(masked.as_bytes()).is_none(), "{encoding}: {masked}");
        }
    }
    for clean in ["", "/v1/charges", "glpat-", "grüße"] {
        assert_eq!(known.mask(clean), None);
    }
}

#[test]
fn a_mask_that_ends_inside_a_character_is_text_all_the_same() {
    let name = CredentialName::new("odd").expect("name");
    // Ends in the first octet of `ü`.
    let odd = Material::token(Secret::new([&b"Zk3vQ8wL1nR6tY2uX9pM"[..], &[0xc3]].concat()));
    let known = KnownSecrets::new([(&name, &odd)]);
    let text = "a=Zk3vQ8wL1nR6tY2uX9pMü!";
    let masked = known.mask(text).expect("masked");
    assert_eq!(masked.len(), text.len());
    assert!(masked.starts_with("a=") && masked.ends_with("*!"), "{masked}");
}

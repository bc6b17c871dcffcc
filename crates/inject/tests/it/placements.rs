//! Sixty placements of a placeholder: it is substituted in its slot and nowhere else; bodies that quote it pass.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use inject::{Entry, Index, Look, SessionPlaceholders, Sightings};
use model::canonical::Scheme;
use model::sighting::{Holder, Place};
use model::{AgentName, Code, CredentialName, Part, SchemeSpec, ServiceName, SessionId};

use crate::{bearer, noise, request};

const OWN: &str = "ghp_aaaaBBBBccccDDDDeeeeFFFFggggHHHHiiii";
const STRIPE: &str = "sk_test_bbbbBBBBccccDDDDeeeeFFFF";
const OTHERS: &str = "ghp_ccccBBBBccccDDDDeeeeFFFFggggHHHHiiii";
const DEAD: &str = "ghp_ddddBBBBccccDDDDeeeeFFFFggggHHHHiiii";

struct World {
    index: Index,
    own: SessionPlaceholders,
}

fn entry(text: &str, name: &str, service: &str, session: u128, agent: &str) -> Entry {
    Entry {
        text: text.into(),
        credential: CredentialName::new(name).expect("name"),
        service: Some(ServiceName::new(service).expect("name")),
        session: SessionId::from_bits(session),
        agent: AgentName::new(agent).expect("name"),
        part: Part::Value,
        minted: None,
    }
}

fn world() -> World {
    let index = Index::new();
    let (bot, eve) = (AgentName::new("bot").expect("name"), AgentName::new("eve").expect("name"));
    let open =
        |session, agent: &AgentName, entries| index.open(SessionId::from_bits(session), agent, entries).expect("room");
    let own = open(
        1,
        &bot,
        vec![entry(OWN, "github-token", "github", 1, "bot"), entry(STRIPE, "stripe-key", "stripe", 1, "bot")],
    );
    open(2, &eve, vec![entry(OTHERS, "github-token", "github", 2, "eve")]);
    let dead = open(3, &bot, vec![entry(DEAD, "github-token", "github", 3, "bot")]);
    index.close(&dead);
    World { index, own }
}

fn github() -> Vec<SchemeSpec> {
    vec![bearer(), SchemeSpec::Basic { username: Some("x-access-token".into()), value_as_username: false }]
}

impl World {
    fn see(
        &self,
        scheme: Scheme,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
        to: (&str, &[SchemeSpec]),
    ) -> Sightings {
        let request = request(scheme, "api.example.com", target, headers);
        let service = (!to.0.is_empty()).then(|| ServiceName::new(to.0).expect("name"));
        self.index.sight(Look {
            request: &request,
            service: service.as_ref(),
            schemes: to.1,
            session: &self.own,
            body: Some(body.as_bytes()),
        })
    }

    fn github(&self, target: &str, headers: &[(&str, &str)], body: &str) -> Sightings {
        self.see(Scheme::Https, target, headers, body, ("github", &github()))
    }
}

fn code(seen: &Sightings) -> Option<Code> {
    seen.refusal.as_ref().map(|refusal| refusal.code)
}

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

#[test]
fn in_its_slot_it_is_presented() {
    let world = world();
    let rows: Vec<(String, usize)> = vec![
        (format!("Bearer {OWN}"), 0),
        (format!("token {OWN}"), 0),
        (format!("bEARER  {OWN}"), 0),
        (basic(&format!("x-access-token:{OWN}")), 1),
        (basic(&format!("{OWN}:x-oauth-basic")), 1),
        (basic(&format!("{OWN}:")), 1),
        ("Bearer vault://github-token".into(), 0),
        ("Bearer onecli://github-token".into(), 0),
        ("Bearer valetkey://github-token".into(), 0),
    ];
    for (value, scheme) in rows {
        let seen = world.github("/a?b=c", &[("authorization", &value)], "{}");
        let presented = seen.presented.as_ref().map(|(number, name)| (*number, name.as_str()));
        assert_eq!((presented, code(&seen)), (Some((scheme, "github-token")), None), "{value}");
        assert_eq!(seen.list.len(), 1, "{value} {:?}", seen.list);
        assert_eq!((&seen.list[0].place, seen.list[0].holder), (&Place::Slot, Holder::Own));
    }
    let named = [("x-api-key", OWN), ("cookie", &format!("a=b; sid={OWN}") as &str)];
    for (number, spec, target, headers, body) in [
        (0, SchemeSpec::Header { name: "x-api-key".into(), template: "{value}".into() }, "/", vec![named[0]], ""),
        (0, SchemeSpec::Cookie { name: "sid".into() }, "/", vec![named[1]], ""),
        (0, SchemeSpec::Query { name: "k".into() }, &*format!("/?k={OWN}"), vec![], ""),
        (0, SchemeSpec::Query { name: "k".into() }, &*format!("/?k=%67{}", &OWN[1..]), vec![], ""),
        (
            0,
            SchemeSpec::Body { field: "k".into(), part: Part::Value },
            "/",
            vec![("content-type", "application/x-www-form-urlencoded")],
            &*format!("k={OWN}"),
        ),
        (
            0,
            SchemeSpec::Body { field: "/k".into(), part: Part::Value },
            "/",
            vec![("content-type", "application/json")],
            &*format!("{{\"k\":\"{OWN}\"}}"),
        ),
    ] {
        let seen = world.see(Scheme::Https, target, &headers, body, ("github", std::slice::from_ref(&spec)));
        assert_eq!(seen.presented.as_ref().map(|(at, _)| *at), Some(number), "{spec:?} {seen:?}");
        assert_eq!((seen.list.len(), code(&seen)), (1, None), "{spec:?} {:?}", seen.list);
    }
}

#[test]
fn anywhere_else_it_is_inert() {
    let world = world();
    let mut rows: Vec<(String, Vec<(&str, String)>, String, Place)> = Vec::new();
    for name in [
        "user-agent",
        "referer",
        "x-request-id",
        "x-note",
        "idempotency-key",
        "if-match",
        "x-api-key",
        "private-token",
        "x-auth-token",
        "accept",
    ] {
        rows.push(("/".into(), vec![(name, OWN.into())], String::new(), Place::Header(name.into())));
        rows.push(("/".into(), vec![(name, format!("x {OWN}/1"))], String::new(), Place::Header(name.into())));
    }
    rows.push(("/".into(), vec![("cookie", format!("s={OWN}; b=c"))], String::new(), Place::Header("cookie".into())));
    for target in [format!("/{OWN}"), format!("/a/x{OWN}y/b"), format!("/%67{}", &OWN[1..])] {
        rows.push((target, vec![], String::new(), Place::Path));
    }
    for target in [
        format!("/?access_token={OWN}"),
        format!("/?a=b&key=x{OWN}"),
        format!("/?{OWN}=1"),
        format!("/?q={}", STANDARD.encode(OWN).replace('=', "%3D")),
    ] {
        rows.push((target, vec![], String::new(), Place::Query));
    }
    let json = OWN.replace('_', "\\u005f");
    for body in [
        format!("{{\"c\":\"{OWN}\"}}"),
        OWN.to_owned(),
        format!("k={OWN}"),
        format!("{{\"k\":\"{json}\"}}"),
        STANDARD.encode(OWN),
        STANDARD.encode(format!("a{OWN}")),
        format!("<p>{OWN}</p>"),
        format!("{}\n{OWN}", "x".repeat(90_000)),
        OWN.chars().rev().collect(),
        OWN.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat(),
    ] {
        rows.push(("/gists".into(), vec![], body, Place::Body));
    }
    assert!(rows.len() >= 38, "{}", rows.len());
    for (target, headers, body, place) in rows {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let seen = world.github(&target, &headers, &body);
        assert!(seen.presented.is_none() && seen.refusal.is_none(), "{target} {headers:?} {body:.80} {seen:?}");
        assert_eq!(
            seen.list.iter().map(|seen| &seen.place).collect::<Vec<_>>(),
            [&place],
            "{target} {headers:?} {body:.80}"
        );
        // With another copy in the slot, that one alone counts.
        let both: Vec<(&str, &str)> =
            headers.iter().copied().chain([("authorization", "Bearer vault://github-token")]).collect();
        let seen = world.github(&target, &both, &body);
        assert!(seen.presented.is_some() && seen.list.len() == 2, "{target} {both:?}");
    }
}

#[test]
fn misplaced_and_foreign_are_refused() {
    let world = world();
    let misplaced = [
        format!("Bearer x{OWN}"),
        format!("Bearer {OWN}x"),
        format!("Bearer {OWN},{OWN}"),
        format!("Digest {OWN}"),
        OWN.to_owned(),
        format!("Bearer \"{OWN}\""),
        basic(&format!("a:x{OWN}")),
        basic(OWN),
        format!("Bearer %67{}", &OWN[1..]),
        format!("Bearer {}", STANDARD.encode(OWN)),
    ];
    for value in misplaced {
        let seen = world.github("/", &[("authorization", &value)], "");
        assert_eq!(
            (code(&seen), seen.presented.is_none()),
            (Some(Code::PlaceholderMisplaced), true),
            "{value} {seen:?}"
        );
        assert!(seen.list.iter().all(|seen| seen.place == Place::SlotPart));
    }
    let clear = world.see(Scheme::Http, "/", &[("authorization", &format!("Bearer {OWN}"))], "", ("github", &github()));
    assert_eq!((code(&clear), clear.presented.is_none()), (Some(Code::PlaceholderMisplaced), true));
    for holder in [OTHERS, DEAD] {
        let forms = [
            ("authorization", format!("Bearer {holder}")),
            ("authorization", basic(&format!("x:{holder}"))),
            ("authorization", format!("Digest {holder}")),
            ("x-api-key", holder.to_owned()),
            ("cookie", format!("a=b; c={holder}")),
            ("private-token", holder.to_owned()),
        ];
        for (name, value) in forms {
            let seen = world.github("/", &[(name, &value)], "");
            assert_eq!(
                (code(&seen), seen.presented.is_none()),
                (Some(Code::PlaceholderForeign), true),
                "{name}: {value}"
            );
            let expected = if holder == DEAD { Holder::DeadSession } else { Holder::Other };
            assert_eq!(seen.list[0].holder, expected);
        }
        let quoted = world.github("/", &[], &format!("{{\"c\":\"{holder}\"}}"));
        assert!(quoted.refusal.is_none() && quoted.presented.is_none());
    }
    for to in [("github", github()), ("", vec![]), ("evil", vec![SchemeSpec::Query { name: "key".into() }])] {
        for (name, value) in [
            ("authorization", format!("Bearer {STRIPE}")),
            ("x-api-key", STRIPE.to_owned()),
            ("authorization", basic(&format!("{STRIPE}:"))),
        ] {
            let seen = world.see(Scheme::Https, "/", &[(name, &value)], "", (to.0, &to.1));
            assert_eq!(
                (code(&seen), seen.presented.is_none()),
                (Some(Code::PlaceholderForeign), true),
                "{} {name}: {value}",
                to.0
            );
            assert_eq!(seen.list[0].place, Place::ForeignSlot);
        }
    }
    let query = world.see(
        Scheme::Https,
        &format!("/?key={STRIPE}"),
        &[],
        "",
        ("evil", &[SchemeSpec::Query { name: "key".into() }]),
    );
    assert_eq!(code(&query), Some(Code::PlaceholderForeign));
    let unknown = world.github("/", &[("authorization", "Bearer vault://not-mine")], "");
    assert_eq!(code(&unknown), Some(Code::PlaceholderForeign));
}

#[test]
fn a_thousand_chats_pass() {
    let world = world();
    let anthropic = [SchemeSpec::Header { name: "x-api-key".into(), template: "{value}".into() }, bearer()];
    let mut octets = [0u8; 6];
    let mut random = noise(11);
    for turn in 0..1_000 {
        random(&mut octets);
        let holder = [OWN, STRIPE, OTHERS, DEAD][usize::from(octets[0]) % 4];
        let shown = match octets[1] % 5 {
            0 => holder.to_owned(),
            1 => format!("Authorization: Bearer {holder}"),
            2 => basic(&format!("x:{holder}")),
            3 => format!("curl -H 'x-api-key: {holder}' https://api.example.com\\n"),
            _ => format!("Logged in as x\\n  - Token: {holder}"),
        };
        let text = "tell me about it ".repeat(usize::from(octets[2]));
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}{shown} {turn}"}}]}}"#);
        let seen = world.see(
            Scheme::Https,
            "/v1/messages",
            &[("content-type", "application/json"), ("x-api-key", "vk_x")],
            &body,
            ("anthropic", &anthropic),
        );
        assert!(seen.refusal.is_none() && seen.presented.is_none(), "{body:.300}");
        assert!(!seen.list.is_empty(), "quoted, told, passed: {body:.300}");
    }
}

#[test]
fn the_index_is_bounded() {
    let index = Index::new();
    let agent = AgentName::new("bot").expect("name");
    let many = |count: u32, session| {
        (0..count).map(|at| entry(&format!("{session:08}-{at:08}-abcdefgh"), "c", "s", session, "bot")).collect()
    };
    assert!(index.open(SessionId::from_bits(1), &agent, many(1_025, 1)).is_err());
    let mut held = Vec::new();
    for session in 2..200u128 {
        match index.open(SessionId::from_bits(session), &agent, many(1_000, session)) {
            Ok(one) => held.push(one),
            Err(_) => break,
        }
    }
    assert_eq!(held.len(), 131);
    for one in &held[..20] {
        index.close(one);
        index.close(one);
    }
    assert!(index.find(b"00000002-00000001-abcdefgh").is_none(), "the oldest dead are forgotten");
    assert!(index.find(b"00000021-00000001-abcdefgh").is_some());
    assert!(index.open(SessionId::from_bits(900), &agent, many(1_000, 900)).is_ok());
}

#[test]
fn each_part_of_a_log_in_has_a_slot_of_its_own() {
    const ACCESS: &str = "sk-ant-oat01-aaaaBBBBccccDDDDeeeeFFFF";
    const REFRESH: &str = "sk-ant-ort01-aaaaBBBBccccDDDDeeeeFFFF";
    const MINTED: &str = "sk-ant-api03-aaaaBBBBccccDDDDeeeeFFFF";
    let index = Index::new();
    let bot = AgentName::new("bot").expect("name");
    let of = |text, part| Entry { part, ..entry(text, "claude", "anthropic", 1, "bot") };
    let first = index.open(SessionId::from_bits(1), &bot, vec![of(ACCESS, Part::Value)]).expect("room");
    let minted = CredentialName::new("claude.1").expect("name");
    let more = vec![
        of(ACCESS, Part::Value),
        of(REFRESH, Part::Refresh),
        Entry { minted: Some(minted.clone()), ..of(MINTED, Part::Value) },
    ];
    let own = index.extend(&first, more).expect("room");
    assert_eq!(own.entries().count(), 3, "a text that was there already is not added");
    let world = World { index, own };
    let slots = [bearer(), SchemeSpec::Body { field: "refresh_token".into(), part: Part::Refresh }];
    let form = ("content-type", "application/x-www-form-urlencoded");
    let grant = |token: &str| format!("grant_type=refresh_token&refresh_token={token}");
    let bare = |token: &str| format!("Bearer {token}");
    for (authorization, body, presented, refused) in [
        (bare(ACCESS), String::new(), Some(0), None),
        (String::new(), grant(REFRESH), Some(1), None),
        (String::new(), grant("vault://claude"), Some(1), None),
        (bare(REFRESH), String::new(), None, Some(Code::PlaceholderMisplaced)),
        (String::new(), grant(ACCESS), None, Some(Code::PlaceholderMisplaced)),
        (String::new(), grant("somebody-elses-token"), None, Some(Code::PlaceholderForeign)),
        (String::new(), grant(&format!("x{REFRESH}")), None, Some(Code::PlaceholderForeign)),
        (bare(ACCESS), grant(REFRESH), Some(0), None),
    ] {
        let headers = [("authorization", authorization.as_str()), form];
        let headers = if authorization.is_empty() { &headers[1..] } else { &headers[..] };
        let seen = world.see(Scheme::Https, "/v1/oauth/token", headers, &body, ("anthropic", &slots));
        let at = seen.presented.as_ref().map(|(at, _)| *at);
        assert_eq!((at, code(&seen)), (presented, refused), "{authorization} {body}");
    }
    let headers = [("authorization", "Bearer sk-ant-api03-aaaaBBBBccccDDDDeeeeFFFF")];
    let seen = world.see(Scheme::Https, "/v1/models", &headers, "", ("anthropic", &slots));
    assert_eq!(seen.presented.map(|(_, name)| name.to_string()).as_deref(), Some("claude"));
    assert_eq!(seen.minted, Some(minted));
}

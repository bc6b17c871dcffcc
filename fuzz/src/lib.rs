//! One entry for each parser of hostile octets: fuzz targets call them on nightly, the replay test on stable.
//!
//! An entry panics where the parser breaks its word, not only where it panics itself: what is accepted must read the same in
//! pieces, must be written as it was read, and must not let a secret through. Run one with
//! `cargo +nightly fuzz run head --features libfuzzer`; every finding becomes a file in `corpus/`. Start reading at [`ENTRIES`].

mod after;
mod databases;
mod grant;
mod signed;

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use inject::{Answer, Needles, Scrubber};
use model::call::BodyView;
use model::canonical::{
    CanonicalPath, CanonicalQuery, CanonicalRequest, Host, Length, Origin, Scheme, clean, parse_authority,
};
use proxy::net::frame::{Framing, Place, check_head};
use secret::{Material, Secret};
pub use vault::fuzzing::sts;

pub use self::signed::signed;
pub use after::after;
pub use databases::{postgres, sql};
pub use grant::grant;

/// An entry.
pub type Entry = fn(&[u8]);

/// Every entry by the name of its target and of its corpus.
pub const ENTRIES: &[(&str, Entry)] = &[
    ("after", after),
    ("answer", answer),
    ("aws", aws),
    ("backend", backend),
    ("batch", batch),
    ("body", body),
    ("canonical", canonical),
    ("config", config),
    ("grant", grant),
    ("graphql", graphql),
    ("head", head),
    ("hook", hook),
    ("message", message),
    ("names", names),
    ("postgres", postgres),
    ("push", push),
    ("record", record),
    ("rpc", rpc),
    ("scan", scan),
    ("scrub", scrub),
    ("sealed", sealed),
    ("service", service),
    ("signed", signed),
    ("sql", sql),
    ("sts", sts),
];

/// The secret that [`scrub`] and [`answer`] look for.
pub const SECRET: &str = "tok_0123456789abcdefghijKLMNOPQRST";

/// Request heads, bodies and trailers of a connection (RFC 9112): whatever the pieces, the verdict is the same.
pub fn head(octets: &[u8]) {
    let _ = check_head(octets, Place::First);
    let _ = check_head(octets, Place::Inner);
    let whole = Framing::default().push(octets);
    let mut pieces = Framing::default();
    let mut accepted = 0;
    let mut fault = None;
    for end in 1..=octets.len().min(2_048) {
        let verdict = pieces.push(&octets[accepted..end]);
        accepted += verdict.accepted;
        assert!(accepted <= end, "more was accepted than was given");
        if verdict.fault.is_some() {
            fault = verdict.fault;
            break;
        }
    }
    if octets.len() <= 2_048 {
        assert_eq!((accepted, fault), (whole.accepted, whole.fault), "octet by octet it reads otherwise");
    }
}

/// Signed answers of webhooks, the three fields a line each and then the body: only what was signed holds, and who answers is always one of
/// the webhook's.
pub fn hook(octets: &[u8]) {
    use approval::{Keys, Stamp, inbox};
    let mut parts = octets.splitn(4, |octet| *octet == b'\n');
    let mut field = || parts.next().and_then(|part| std::str::from_utf8(part).ok()).unwrap_or_default();
    let (id, timestamp, signatures) = (field(), field(), field());
    let body = parts.next().unwrap_or_default();
    if let Ok(stamp) = Stamp::read(id, timestamp, signatures) {
        assert_eq!(stamp.seconds.to_string(), timestamp, "a time of two spellings");
        let mut keys = Keys::default();
        keys.add(&Secret::new(format!("whsec_{}", "QUJD".repeat(8)).into_bytes())).expect("a key");
        let signed = keys.sign(id, stamp.seconds, body).expect("a signature");
        let holds = signatures.split(' ').take(8).any(|signature| signature == signed);
        assert_eq!(keys.verify(&stamp, body), holds, "{stamp:?}");
    }
    if let Ok(given) = inbox::read("ops", body) {
        let person = given.by.strip_prefix("ops:").expect("somebody at the webhook");
        assert!(!person.is_empty() && !person.contains(|letter: char| letter == ':' || !letter.is_ascii_graphic()));
    }
}

/// References to secret managers, and what those answer.
pub fn backend(octets: &[u8]) {
    vault::fuzzing::backend(octets);
}

/// Questions for names (RFC 1035): an answer repeats its question, and its address stands for the name that was asked.
pub fn names(octets: &[u8]) {
    use proxy::net::names::{Meant, Names};
    let names = Names::default();
    let Some(answer) = names.answer(octets) else { return };
    assert_eq!(answer[..2], octets[..2], "another question's number");
    assert!(answer.len() <= octets.len() + 16 && answer[4..6] == [0, 1], "an answer that was not asked for");
    if answer[7] == 1 {
        let address: [u8; 4] = answer[answer.len() - 4..].try_into().expect("an address");
        let meant = names.meant(std::net::IpAddr::from(address));
        assert!(matches!(&meant, Meant::Host(_)), "an address that stands for nothing");
        assert_eq!(names.answer(octets), Some(answer), "another address the second time");
    }
}

/// Targets, hosts and header fields: what is accepted is written as it was read.
pub fn canonical(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(path) = CanonicalPath::parse(first) {
        assert_eq!(path.raw(), first);
        assert!(path.segments().all(|segment| segment != "." && segment != ".."), "{first}");
        assert!(path.segments().all(|segment| !segment.contains(['\0', '\\'])), "{first}");
    }
    if let Ok(query) = CanonicalQuery::parse(Some(first)) {
        assert_eq!(query.raw(), Some(first));
    }
    if let Ok((name, _)) = parse_authority(first) {
        let again = Host::parse(name.as_str());
        assert_eq!(again.as_ref().map(Host::as_str), Ok(name.as_str()), "{first}");
    }
    let mut fields = HeaderMap::new();
    for line in rest.lines().take(100) {
        if let Some((name, value)) = line.split_once(':')
            && let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), HeaderValue::from_str(value.trim()))
        {
            fields.append(name, value);
        }
    }
    if let Ok(cleaned) = clean(fields) {
        let request = CanonicalRequest::new(Method::GET, origin("api.github.com"), first, cleaned, Length::Empty);
        if let Ok(request) = request {
            assert_eq!(request.target(), first);
            for name in ["connection", "proxy-authorization", "transfer-encoding", "x-http-method-override"] {
                assert!(!request.headers().contains_key(name), "`{name}` stayed");
            }
        }
    }
}

fn origin(name: &str) -> Origin {
    Origin { scheme: Scheme::Https, host: Host::parse(name).expect("a plain name"), port: 443 }
}

fn services() -> &'static catalog::Catalog {
    static BUILTIN: OnceLock<catalog::Catalog> = OnceLock::new();
    BUILTIN.get_or_init(catalog::Catalog::builtin)
}

/// Bodies whose facts are read: the first octet chooses where it goes and what it says it is.
pub fn body(octets: &[u8]) {
    const TARGETS: &[(&str, &str)] = &[
        ("api.github.com", "/repos/o/r/pulls"),
        ("api.stripe.com", "/v1/charges"),
        ("slack.com", "/api/chat.postMessage"),
        ("api.anthropic.com", "/v1/messages"),
        ("api.openai.com", "/v1/chat/completions"),
    ];
    const TYPES: &[&str] =
        &["application/json", "application/x-www-form-urlencoded", "text/plain", "application/x+json"];
    let Some((choice, body)) = octets.split_first() else { return };
    let (name, path) = TARGETS[usize::from(choice & 7) % TARGETS.len()];
    let mut fields = HeaderMap::new();
    fields.insert("content-type", HeaderValue::from_static(TYPES[usize::from(choice >> 3) % TYPES.len()]));
    let Ok(cleaned) = clean(fields) else { return };
    let length = Length::Known(body.len() as u64);
    let request = CanonicalRequest::new(Method::POST, origin(name), path, cleaned, length).expect("a plain request");
    let first = services().classify(&request, BodyView::Whole(body));
    let again = services().classify(&request, BodyView::Whole(body));
    assert_eq!(first.is_ok(), again.is_ok(), "the same body is read in two ways");
}

/// GraphQL documents: the first octet chooses how the rest travels. Blanks before a document, and the road by which it comes, change
/// no call.
pub fn graphql(octets: &[u8]) {
    const TYPES: &[&str] = &["application/graphql", "application/json", "application/x-www-form-urlencoded"];
    let Some((choice, body)) = octets.split_first() else { return };
    let run = |kind: &'static str, body: &[u8]| {
        let mut fields = HeaderMap::new();
        fields.insert("content-type", HeaderValue::from_static(kind));
        let length = Length::Known(body.len() as u64);
        let cleaned = clean(fields).expect("a plain field");
        let request = CanonicalRequest::new(Method::POST, origin("api.github.com"), "/graphql", cleaned, length);
        let found = services().classify(&request.expect("a plain request"), BodyView::Whole(body)).ok()?;
        assert!(!found.calls.is_empty(), "a document without a call");
        Some(found.calls.to_vec())
    };
    let kind = TYPES[usize::from(*choice) % TYPES.len()];
    let calls = run(kind, body);
    let Some(text) = std::str::from_utf8(body).ok().filter(|_| kind == TYPES[0]) else { return };
    let blanks = [b"#}\n,\xef\xbb\xbf\r\n\t ".as_slice(), body].concat();
    // An empty body asks for nothing, and one of a mebibyte is at its bound.
    if !body.is_empty() && body.len() < 1024 * 1024 - 16 {
        assert_eq!(run(kind, &blanks), calls, "blanks before it change it");
        let mut escaped = String::from("{\"query\":\"");
        for unit in text.encode_utf16() {
            escaped.push_str(&format!("\\u{unit:04x}"));
        }
        escaped.push_str("\"}");
        if escaped.len() < 4 * 1024 * 1024 {
            assert_eq!(run("application/json", escaped.as_bytes()), calls, "in JSON it is another");
        }
    }
}

/// Messages of JSON-RPC: the first octet chooses between MCP and a plain server. Blanks around a message, and a batch of it alone, change
/// no call; an empty list of calls is none.
pub fn rpc(octets: &[u8]) {
    static TRACKER: OnceLock<catalog::Catalog> = OnceLock::new();
    let tracker = TRACKER.get_or_init(|| {
        let text = include_str!("../../crates/catalog/tests/mcp/tracker.yaml");
        let file = catalog::ServiceFile::parse(text, "tracker.yaml").expect("a service file");
        catalog::Catalog::with(vec![file]).expect("a catalogue")
    });
    let Some((choice, body)) = octets.split_first() else { return };
    let (host, path) = if choice & 1 == 0 { ("tracker.test", "/mcp") } else { ("node.test", "/rpc") };
    let run = |body: &[u8]| {
        let mut fields = HeaderMap::new();
        fields.insert("content-type", HeaderValue::from_static("application/json"));
        let cleaned = clean(fields).expect("a plain field");
        let length = Length::Known(body.len() as u64);
        let request = CanonicalRequest::new(Method::POST, origin(host), path, cleaned, length);
        let found = tracker.classify(&request.expect("a plain request"), BodyView::Whole(body)).ok()?;
        assert!(!found.calls.is_empty() && !found.needs_body, "a message without a call");
        Some(found.calls.to_vec())
    };
    let calls = run(body);
    if body.is_empty() || body.len() > 64 * 1024 {
        return;
    }
    assert_eq!(run(&[b" \t\r\n".as_slice(), body, b" "].concat()), calls, "blanks around it change it");
    if body.trim_ascii_start().starts_with(b"{") {
        assert_eq!(run(&[b"[".as_slice(), body, b"]"].concat()), calls, "in a batch it is another");
    }
}

/// What a client sends on a WebSocket: octet by octet it reads the same, every message read again is itself, and none that is said is
/// without a call.
pub fn message(octets: &[u8]) {
    use proxy::net::message::{Reader, Step};
    static CHAT: OnceLock<(catalog::Catalog, model::Classification)> = OnceLock::new();
    let (chat, opening) = CHAT.get_or_init(|| {
        let text = include_str!("../../crates/catalog/tests/sockets/chat.yaml");
        let file = catalog::ServiceFile::parse(text, "chat.yaml").expect("a service file");
        let chat = catalog::Catalog::with(vec![file]).expect("a catalogue");
        let fields = [("connection", "Upgrade"), ("upgrade", "websocket")];
        let fields = fields.map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)));
        let fields: HeaderMap = fields.into_iter().collect();
        let cleaned = clean(fields).expect("plain fields");
        let request = CanonicalRequest::new(Method::GET, origin("chat.test"), "/talk", cleaned, Length::Empty);
        let opening = chat.classify(&request.expect("a plain request"), BodyView::Empty).expect("a classification");
        (chat, opening)
    });
    let service = chat.service("chat").expect("the service");
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut reader, mut steps) = (Reader::default(), Vec::new());
        pieces.for_each(|piece| reader.push(Bytes::copy_from_slice(piece), &mut steps));
        steps
    };
    let steps = read(&mut std::iter::once(octets));
    if octets.len() <= 4_096 {
        assert_eq!(read(&mut octets.chunks(1)), steps, "octet by octet it reads otherwise");
    }
    for step in &steps {
        match step {
            Step::Message(message) => {
                assert!(message.payload.len() < message.frames.len(), "a payload without its head");
                assert_eq!(
                    read(&mut std::iter::once(&*message.frames)),
                    std::slice::from_ref(step),
                    "its frames are another message"
                );
                if let Ok(found) = service.message(opening, &message.payload, message.text) {
                    assert!(!found.calls.is_empty() && !found.needs_body, "a message without a call");
                }
            }
            Step::Control(frame) => assert!(frame.len() <= 131, "a long control frame"),
            Step::Fault(_) => assert_eq!(steps.last(), Some(step), "something after a fault"),
        }
    }
}

/// Batches: the first octet chooses between JSON and multipart/mixed. What is read is a call or more for every request, and empty lines
/// around a batch change none.
pub fn batch(octets: &[u8]) {
    static OFFICE: OnceLock<catalog::Catalog> = OnceLock::new();
    let office = OFFICE.get_or_init(|| {
        let text = include_str!("../../crates/catalog/tests/batch/office.yaml");
        let file = catalog::ServiceFile::parse(text, "office.yaml").expect("a service file");
        catalog::Catalog::with(vec![file]).expect("a catalogue")
    });
    let Some((choice, body)) = octets.split_first() else { return };
    let json = choice & 1 == 0;
    let (path, kind) =
        if json { ("/v1.0/$batch", "application/json") } else { ("/batch", "multipart/mixed; boundary=b") };
    let run = |body: &[u8]| {
        let mut fields = HeaderMap::new();
        fields.insert("content-type", HeaderValue::from_static(kind));
        let cleaned = clean(fields).expect("a plain field");
        let length = Length::Known(body.len() as u64);
        let request = CanonicalRequest::new(Method::POST, origin("office.test"), path, cleaned, length);
        let found = office.classify(&request.expect("a plain request"), BodyView::Whole(body)).ok()?;
        assert!(!found.calls.is_empty() && !found.needs_body && !found.hands_out, "a batch without a call");
        assert!(found.calls.iter().all(|call| !call.action.as_str().starts_with("batch/")), "a batch in a batch");
        Some(found.calls.to_vec())
    };
    let calls = run(body);
    // What is accepted stands between its delimiters, so lines around it are no part of it.
    if calls.is_some() && body.len() < 64 * 1024 {
        assert_eq!(run(&[b"\r\n".as_slice(), body, b"\r\n"].concat()), calls, "empty lines around it change it");
    }
}

/// Pushes by git: of the first octet, one bit says whether the sum behind the pack is made right, so that what stands before it is
/// read. What is proven is proven by the pack alone, and the front alone names the same refs.
pub fn push(octets: &[u8]) {
    let Some((choice, body)) = octets.split_first() else { return };
    let mut body = body.to_vec();
    let pack = body.windows(8).position(|window| window == b"0000PACK").map(|at| at + 4);
    if let Some(pack) = pack.filter(|pack| choice & 1 == 1 && body.len() >= pack + 20) {
        let sum = body.split_off(body.len() - 20);
        let made = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &body[pack..]);
        body.extend_from_slice(if choice & 2 == 0 { made.as_ref() } else { &sum });
    }
    let run = |view: BodyView<'_>| {
        let cleaned = clean(HeaderMap::new()).expect("no fields");
        let target = "/o/r.git/git-receive-pack";
        let request = CanonicalRequest::new(Method::POST, origin("github.com"), target, cleaned, Length::Streamed);
        services().classify(&request.expect("a plain request"), view).ok().map(|found| found.calls.to_vec())
    };
    let whole = run(BodyView::Whole(&body));
    assert_eq!(run(BodyView::Whole(&body)), whole, "the same push is read in two ways");
    let Some(calls) = &whole else { return };
    assert!(!calls.is_empty(), "a push without a call");
    let refs = |calls: &[model::Call]| {
        let mut all: Vec<_> = calls.iter().map(|call| call.facts.get("git.ref").cloned()).collect();
        all.dedup();
        all
    };
    if let Some(pack) = pack {
        let front = run(BodyView::TooLarge(&body[..pack]));
        assert!(
            front.is_none_or(|front| refs(&front) == refs(calls) && front.len() >= calls.len()),
            "the front says less"
        );
    }
}

/// Files that are searched for secrets: what is found lies inside, nothing of it is shown, and the pieces make no difference. The
/// first octet chooses the format, the second where the input is cut.
pub fn scan(octets: &[u8]) {
    use scan::{Format, Scanner, Stream};
    let Some((head, text)) = octets.split_at_checked(2) else { return };
    let format = [Format::Settings, Format::Code, Format::Lock, Format::Text][usize::from(head[0] & 3)];
    let scanner = Scanner::builtin().expect("the rules of this build");
    let none = |_: &[u8]| false;
    let whole = scanner.scan(text, format, &none);
    for finding in &whole {
        assert!(finding.start < finding.end && finding.end <= text.len() as u64, "outside of the input");
    }
    let mut stream = Stream::new(scanner, format, &none);
    let cut = usize::from(head[1]) % (text.len() + 1);
    let mut pieces = stream.push(&text[..cut]);
    pieces.extend(stream.push(&text[cut..]));
    pieces.extend(stream.finish());
    assert_eq!(whole, pieces, "a cut at {cut} makes a difference");
}

fn needles() -> &'static Arc<Needles> {
    static NEEDLES: OnceLock<Arc<Needles>> = OnceLock::new();
    NEEDLES.get_or_init(|| {
        let material = Material::token(Secret::new(SECRET.as_bytes().to_vec()));
        Arc::new(Needles::of_materials([&material]))
    })
}

/// Answers, cut anywhere: the length stays, the secret does not, and the cuts make no difference. Of the input, the first
/// two octets say where it is cut.
pub fn scrub(octets: &[u8]) {
    let Some((head, text)) = octets.split_at_checked(2) else { return };
    let cut = usize::from(u16::from_be_bytes([head[0], head[1]])) % (text.len() + 1);
    let run = |pieces: &[&[u8]]| {
        let mut scrubber = Scrubber::new(needles());
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&scrubber.push(Bytes::copy_from_slice(piece)).join());
        }
        out.extend_from_slice(&scrubber.finish().unwrap_or_default());
        out
    };
    let whole = run(&[text]);
    let pieces = run(&[&text[..cut], &text[cut..]]);
    assert_eq!(whole.len(), text.len(), "the length changed");
    assert!(!holds(&whole, SECRET.as_bytes()), "the secret passed");
    assert_eq!(whole, pieces, "a cut at {cut} makes a difference");
}

fn holds(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

/// Coded answers: the first octet chooses the coding.
pub fn answer(octets: &[u8]) {
    const CODINGS: &[&str] = &["gzip", "deflate", "br", "zstd", "gzip, br", "identity", "x-unknown"];
    let Some((choice, text)) = octets.split_first() else { return };
    let mut fields = HeaderMap::new();
    fields.insert("content-encoding", HeaderValue::from_static(CODINGS[usize::from(*choice) % CODINGS.len()]));
    let Ok(mut answer) = Answer::new(needles(), &fields) else { return };
    for piece in text.chunks(97) {
        match answer.push(Bytes::copy_from_slice(piece)) {
            Ok(frames) => assert!(!holds(&frames.join(), SECRET.as_bytes()), "the secret passed"),
            Err(_) => return,
        }
    }
    let _ = answer.finish();
}

/// AWS. The first octet chooses: the `Authorization` header and the name of an endpoint (what is read is read again from what was written);
/// a body in signed chunks (in pieces it becomes what it becomes whole, as long as it was); a request (host, target, field and body, a line
/// each): it has calls, or is refused.
pub fn aws(octets: &[u8]) {
    let Some((choice, rest)) = octets.split_first() else { return };
    match choice % 3 {
        0 => aws_signed(rest),
        1 => aws_chunks(rest),
        _ => aws_asked(rest),
    }
}

fn aws_signed(octets: &[u8]) {
    use model::aws::{Endpoint, Scope, Signed};
    let Ok(text) = std::str::from_utf8(octets) else { return };
    if let Some(signed) = Signed::parse(text) {
        let scope = if signed.scope.region.is_empty() { return } else { signed.scope };
        let written = format!("{}/{scope}", scope.key_id);
        assert_eq!(Scope::parse(&written, signed.algorithm), Some(scope), "a scope reads differently");
    }
    if let Some(found) = Endpoint::of(text) {
        assert!(found.bucket.is_none() || found.service == "s3" && found.bucket != Some(""), "{text}");
    }
}

fn aws_signer() -> Option<Box<inject::ChunkSigner>> {
    let scope = "AKIDEXAMPLE/20261120/us-east-1/s3/aws4_request";
    let signed = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=00");
    let mut fields = HeaderMap::new();
    fields.insert("authorization", signed.parse().ok()?);
    fields.insert("x-amz-date", HeaderValue::from_static("20261120T000000Z"));
    fields.insert("x-amz-content-sha256", HeaderValue::from_static("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"));
    let host = origin("b.s3.us-east-1.amazonaws.com");
    let request = CanonicalRequest::new(Method::PUT, host, "/k", clean(fields).ok()?, Length::Streamed).ok()?;
    let part = |field, text: &str| (field, Secret::new(text.as_bytes().to_vec()));
    let fields = vec![part(secret::Field::Value, SECRET), part(secret::Field::KeyId, "AKIDEXAMPLEEXAMPLE")];
    let name = model::CredentialName::new("aws").ok()?;
    let credential = secret::Credential::new(name, 1, Arc::new(Material::new(fields)), secret::Lease::default());
    let now = model::Timestamp::parse("2026-11-20T00:00:00Z")?;
    let put = inject::Put { spec: &model::SchemeSpec::Sigv4 {}, credential: &credential, now };
    inject::arm(request, put, Arc::new(Needles::none()), None).ok()?.into_parts().signer
}

fn aws_chunks(octets: &[u8]) {
    let run = |size: usize| {
        let mut signer = aws_signer().expect("a signer");
        let mut out = Vec::new();
        for piece in octets.chunks(size) {
            out.extend(signer.push(piece).ok()?);
        }
        out.extend(signer.finish().ok()?);
        Some(out)
    };
    let whole = run(octets.len().max(1));
    assert!(whole.as_ref().is_none_or(|whole| whole.len() == octets.len()), "the length changed");
    // A line's bound is looked at whenever something comes, so a long one may be refused earlier in pieces, never accepted.
    assert_eq!(run(7), whole, "pieces make a difference");
}

fn aws_asked(octets: &[u8]) {
    static CATALOG: OnceLock<catalog::Catalog> = OnceLock::new();
    let catalog = CATALOG.get_or_init(catalog::Catalog::builtin);
    let mut lines = octets.splitn(4, |octet| *octet == b'\n').map(|line| std::str::from_utf8(line).unwrap_or_default());
    let mut next = || lines.next().unwrap_or_default();
    let (host, target, field, body) = (next(), next(), next(), next());
    let Ok(host) = Host::parse(&format!("{host}.amazonaws.com")) else { return };
    let origin = Origin { scheme: Scheme::Https, host, port: 443 };
    let mut fields = HeaderMap::new();
    let (name, value) = field.split_once(": ").unwrap_or(("x-amz-target", field));
    if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse()) {
        fields.insert(name, value);
    }
    let json = body.starts_with('{');
    let kind = if json { "application/x-amz-json-1.1" } else { "application/x-www-form-urlencoded" };
    fields.insert("content-type", HeaderValue::from_static(kind));
    let Ok(cleaned) = clean(fields) else { return };
    let length = if body.is_empty() { Length::Empty } else { Length::Known(body.len() as u64) };
    let Ok(request) = CanonicalRequest::new(Method::POST, origin, target, cleaned, length) else { return };
    let view = if body.is_empty() { BodyView::Empty } else { BodyView::Whole(body.as_bytes()) };
    if let Ok(found) = catalog.classify(&request, view) {
        assert!(!found.calls.is_empty() && !found.needs_body, "a request without a call");
        // Before its body is read it is no less certain to have one.
        let before = catalog.classify(&request, BodyView::NotRead).expect("it was taken with its body");
        assert!(!before.calls.is_empty(), "nothing is said before the body");
    }
}

/// Lines of an audit log: what is accepted has the hash that it says.
pub fn record(octets: &[u8]) {
    if let Ok(record) = audit::read_line(octets) {
        let mut other = octets.to_vec();
        if let Some(last) = other.iter_mut().rev().find(|octet| octet.is_ascii_digit()) {
            *last = if *last == b'0' { b'1' } else { b'0' };
            assert!(audit::read_line(&other).is_err(), "record {} holds with another digit", record.seq);
        }
    }
}

/// Sealed values of a vault: nothing opens that was not sealed with the key.
pub fn sealed(octets: &[u8]) {
    assert!(!vault::fuzzing::opens(octets), "octets opened that nobody sealed");
}

/// Configurations, in every form that loads.
pub fn config(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    if let Err(problems) = policy::Document::parse(text, "fuzz.yaml") {
        assert!(!problems.is_empty(), "refused without a reason");
        assert!(problems.iter().all(|problem| !problem.to_string().is_empty()));
    }
}

/// Service files of users.
pub fn service(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    if let Ok(file) = catalog::ServiceFile::parse(text, "fuzz.yaml") {
        let _ = catalog::Catalog::with(vec![file]);
    }
}

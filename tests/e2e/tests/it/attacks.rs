//! The driver of the attack corpus: every row against every origin it names, with a session of its own, so that the log
//! can be asked about each row alone.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use base64::Engine as _;
use e2e::audit::Log;
use e2e::corpus::{Row, Via, octets, rows};
use e2e::frames::{self, Came};
use e2e::origin::{Origin, Sent};
use e2e::{Gateway, House, Session};
use testkit::ca::{Leaf, client_trusting, roots_of};
use testkit::client::{Wire, proxy_authorization};
use testkit::{Canary, Upstream};

use crate::setting::attacked;

/// What came of a row.
enum Got {
    Answer(Box<testkit::client::Answer>),
    Closed(String),
}

struct Stage {
    origins: Vec<(&'static str, Origin)>,
    untrusted: Upstream,
    house: House,
    gateway: Gateway,
    other: Session,
}

impl Stage {
    fn set() -> Self {
        let origins = Origin::all();
        let Origin::Kit(kit) = &origins[0].1 else { panic!("the first origin is the kit's") };
        let ca = kit.ca_file();
        let untrusted = Upstream::builder().leaf(Leaf::SelfSigned).start();
        let house = attacked(&origins, &untrusted, &ca);
        let gateway = house.serve();
        let other = house.session("b");
        Self { origins, untrusted, house, gateway, other }
    }

    fn known(&self, host: &str, session: &Session) -> BTreeMap<&'static str, String> {
        let base64 = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
        let of = |session: &Session, name: &str| session.env.get(name).cloned().unwrap_or_default();
        let placeholder = of(session, "ECHO_TOKEN");
        BTreeMap::from([
            ("H", host.to_owned()),
            ("BP", base64(format!("x:{placeholder}"))),
            ("P", placeholder),
            ("P2", of(session, "SECOND_TOKEN")),
            ("PB", of(&self.other, "ECHO_TOKEN")),
            ("PA", base64(format!("a:{}", session.token))),
            ("TOK", session.token.clone()),
            ("S", Canary::new(201, "tok_", 40).value()),
            ("S2", Canary::new(202, "sec_", 40).value()),
            ("PROXY", self.gateway.proxy.to_string()),
            ("PORT", self.gateway.proxy.port().to_string()),
        ])
    }

    /// Plays one row and says what did not hold.
    fn play(&self, row: &Row, make: &str, origin: &Origin, session: &Session) -> Vec<String> {
        let known = self.known(&format!("{make}.echo.test"), session);
        let row = row.filled(&known);
        for (_, other) in &self.origins {
            let _ = other.take();
        }
        let got = self.send(&row, session).unwrap_or_else(|error| Got::Closed(error.to_string()));
        if matches!(got, Got::Closed(_)) {
            // What was sent before the close may still be on its way.
            std::thread::sleep(Duration::from_millis(30));
        }
        let mut wrong = judge_answer(&row, &got, &known);
        wrong.extend(judge_sent(&row, &origin.take(), &known));
        let elsewhere = self.origins.iter().filter(|(name, _)| *name != make);
        let stray: usize = elsewhere.map(|(_, other)| other.take().len()).sum();
        let stray = stray + self.untrusted.journal().take().len();
        if stray > 0 {
            wrong.push(format!("{stray} requests reached another origin"));
        }
        wrong
    }

    fn send(&self, row: &Row, session: &Session) -> io::Result<Got> {
        let mut wire = Wire::open(self.gateway.proxy)?;
        wire.silence(Duration::from_secs(5))?;
        if row.via != Via::Proxy {
            let authority = row.connect.as_deref().unwrap_or_default();
            let answer = wire.connect(authority, &proxy_authorization("a", &session.token))?;
            if answer.status != 200 {
                return Ok(Got::Answer(Box::new(answer)));
            }
        }
        if row.via == Via::Connect {
            let alpn = if row.h2.is_some() { "h2" } else { "http/1.1" };
            let config = client_trusting(roots_of(&session.ca), &[alpn]);
            wire = wire.tls(row.sni.as_deref().unwrap_or_default(), &config)?;
        }
        if let Some(h2) = &row.h2 {
            return Ok(match frames::exchange(&mut wire, &h2.fields, h2.body.as_bytes(), &h2.trailers)? {
                Came::Answer(status, body) => Got::Answer(Box::new(testkit::client::Answer {
                    status,
                    wire: body.clone(),
                    body,
                    ..Default::default()
                })),
                other => Got::Closed(format!("{other:?}")),
            });
        }
        let octets = with_length(&octets(&row.send));
        wire.send(&octets)?;
        let method = row.send.split(' ').next().unwrap_or_default();
        let mut answer = wire.answer(method)?;
        if answer.status == 101 || row.name.contains("events") {
            let more = wire.drain(Duration::from_millis(300));
            answer.wire.extend(more);
        }
        Ok(Got::Answer(Box::new(answer)))
    }
}

/// Puts the length of the body where a row says `{LEN}`.
fn with_length(octets: &[u8]) -> Vec<u8> {
    let find = |needle: &[u8]| octets.windows(needle.len()).position(|window| window == needle);
    let (Some(at), Some(head)) = (find(b"{LEN}"), find(b"\r\n\r\n")) else { return octets.to_vec() };
    let length = (octets.len() - head - 4).to_string();
    [&octets[..at], length.as_bytes(), &octets[at + 5..]].concat()
}

fn judge_answer(row: &Row, got: &Got, known: &BTreeMap<&str, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let answer = match got {
        Got::Closed(why) if row.closed => {
            let _ = why;
            return wrong;
        }
        Got::Closed(why) => return vec![format!("closed ({why}), expected {:?}", row.status)],
        Got::Answer(answer) => answer,
    };
    if !row.status.contains(&answer.status) {
        wrong.push(format!("status {}, expected {:?}: {:.200}", answer.status, row.status, answer.text()));
    }
    if let Some(code) = &row.code
        && answer.code().as_ref() != Some(code)
    {
        wrong.push(format!("code {:?}, expected {code}", answer.code()));
    }
    for name in &row.answer_without {
        if answer.header(name).is_some() {
            wrong.push(format!("the answer has `{name}`"));
        }
    }
    if let Some(text) = &row.answer_with
        && !answer.text().contains(text.as_str())
    {
        wrong.push(format!("the answer does not hold `{text}`"));
    }
    for name in ["S", "S2"] {
        let leaks = Canary::of(&known[name], 4).leaks_in_answer(&answer.wire);
        // A row in which the agent sends the secret itself may get it back in its own words; nothing reaches upstream.
        if let Some(leak) = leaks.first() {
            wrong.push(format!("LEAK of {name}: {leak:?}"));
        }
    }
    wrong
}

fn judge_sent(row: &Row, sent: &[Sent], known: &BTreeMap<&str, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    // A row that may be refused in one status and pass in another is judged by what was sent, if it was.
    let may_refuse = row.closed || row.status.iter().any(|status| *status >= 400);
    let as_expected = (row.sent..=row.sent + row.again).contains(&sent.len());
    if !(as_expected || may_refuse && sent.is_empty()) {
        wrong.push(format!("{} requests sent, expected {}", sent.len(), row.sent));
    }
    for one in sent {
        for text in row.absent.iter().chain([&known["TOK"], &known["PA"], &known["S2"]]) {
            if one.count(text) > 0 {
                wrong.push(format!("`{text}` reached the origin"));
            }
        }
    }
    let Some(last) = sent.last() else { return wrong };
    if last.count(&known["S"]) != row.secret {
        wrong.push(format!("the secret was sent {} times, expected {}", last.count(&known["S"]), row.secret));
    }
    for (name, value) in &row.fields {
        let values = last.values(name);
        if values != value.iter().map(String::as_str).collect::<Vec<_>>() {
            wrong.push(format!("`{name}` was sent as {values:?}, expected {value:?}"));
        }
    }
    if row.target.as_ref().is_some_and(|target| *target != last.target) {
        wrong.push(format!("target {}, expected {:?}", last.target, row.target));
    }
    if row.body.as_ref().is_some_and(|body| body.as_bytes() != last.body) {
        wrong.push(format!("body {:?}, expected {:?}", String::from_utf8_lossy(&last.body), row.body));
    }
    wrong
}

fn replay(file: &str) {
    let stage = Stage::set();
    let mut failures = Vec::new();
    let mut played: Vec<(String, Session, bool)> = Vec::new();
    let mut skipped = 0;
    for row in rows(file) {
        if row.skip.is_some() {
            skipped += 1;
            continue;
        }
        for (make, origin) in &stage.origins {
            let wanted = row.origins.is_empty() || row.origins.iter().any(|one| one == make);
            // The Python origin speaks HTTP/1.1 alone; what is asked in HTTP/2 reaches it in HTTP/1.1.
            if wanted {
                let session = stage.house.session("a");
                let wrong = stage.play(&row, make, origin, &session);
                let name = format!("{} ({make})", row.name);
                failures.extend(wrong.iter().map(|why| format!("{name}: {why}")));
                played.push((name, session, row.sent > 0));
            }
        }
    }
    let log = Log::of(&stage.house);
    for (name, session, sent) in &played {
        failures.extend(log.incomplete(&session.id).into_iter().map(|why| format!("{name}: AUD {why}")));
        if *sent && log.count(&session.id, "attempt") + log.count(&session.id, "refusal") == 0 {
            failures.push(format!("{name}: AUD has no record of it"));
        }
    }
    stage.house.assert_audit();
    println!("{file}: {} played, {skipped} left out, {} failures", played.len(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn corpus_a_routing() {
    replay("A.jsonl");
}

#[test]
fn corpus_b_parsing() {
    replay("B.jsonl");
}

#[test]
fn corpus_c_framing() {
    replay("C.jsonl");
}

#[test]
fn corpus_d_placement() {
    replay("D.jsonl");
}

#[test]
fn corpus_e_echo() {
    replay("E.jsonl");
}

#[test]
fn corpus_f_network() {
    replay("F.jsonl");
}

#[test]
fn corpus_g_tunnels_inside() {
    replay("G.jsonl");
}

#[test]
fn corpus_j_limits() {
    replay("J.jsonl");
}

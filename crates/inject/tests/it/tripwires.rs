//! Placeholders of every session, in every encoding, at every place and split, have their rank; guesses are worth nothing
//! and take as long as any other.

use std::hint::black_box;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use inject::{Entry, Index, Look, SessionPlaceholders, mint};
use model::canonical::Scheme;
use model::sighting::{Holder, Place};
use model::{AgentName, Code, CredentialName, Rank, ServiceName, SessionId};
use secret::Secret;

use crate::echo::encodings;
use crate::{bearer, noise, request};

const AT: Scheme = Scheme::Https;

fn entry(text: &str, session: u128, agent: &str) -> Entry {
    Entry {
        text: text.into(),
        credential: CredentialName::new("github-token").expect("name"),
        service: Some(ServiceName::new("github").expect("name")),
        session: SessionId::from_bits(session),
        agent: AgentName::new(agent).expect("name"),
        part: model::Part::Value,
        minted: None,
    }
}

fn placeholder(session: u64) -> String {
    // Made here, so that no token of a vendor's form stands in the tree.
    let real = format!("ghp_{}", "aB3dE6fG9h".repeat(4).get(..36).expect("36 characters"));
    mint(&Secret::new(real.into_bytes()), &mut noise(session), &mut noise(99)).text
}

struct World {
    index: Index,
    own: SessionPlaceholders,
    all: [(Holder, String); 4],
}

fn open(index: &Index, text: &str, session: u128, agent: &str) -> SessionPlaceholders {
    let name = AgentName::new(agent).expect("name");
    index.open(SessionId::from_bits(session), &name, vec![entry(text, session, agent)]).expect("room")
}

fn world() -> World {
    let index = Index::new();
    let all = [Holder::Own, Holder::DeadSession, Holder::OtherSession, Holder::Other];
    let all = all.map(|holder| (holder, placeholder(holder as u64 + 1)));
    let own = open(&index, &all[0].1, 1, "bot");
    index.close(&open(&index, &all[1].1, 2, "bot"));
    drop(open(&index, &all[2].1, 3, "bot"));
    drop(open(&index, &all[3].1, 4, "eve"));
    World { index, own, all }
}

impl World {
    fn see(&self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> inject::Sightings {
        let request = request(AT, "api.github.com", target, headers);
        let service = ServiceName::new("github").expect("name");
        let schemes = [bearer()];
        let look = Look {
            request: &request,
            service: Some(&service),
            schemes: &schemes,
            session: &self.own,
            body: Some(body),
        };
        self.index.sight(look)
    }
}

fn told(seen: &inject::Sightings) -> Vec<(Holder, &Place, Rank)> {
    seen.list.iter().map(|seen| (seen.holder, &seen.place, seen.rank)).collect()
}

#[test]
fn every_encoding_in_every_place_is_ranked() {
    let world = world();
    let mut count = 0;
    for (holder, text) in &world.all {
        for (name, form) in encodings(text, &|at| at % 3 != 1) {
            let body = [b"{\"text\":\"".as_slice(), &form, b"\"}"].concat();
            let rank = |place: &Place| Rank::of(*holder, place);
            let seen = world.see("/", &[], &body);
            assert_eq!(told(&seen), [(*holder, &Place::Body, rank(&Place::Body))], "{holder:?} {name}");
            assert!(seen.refusal.is_none(), "{holder:?} {name}: a body may quote");
            count += 1;
            let Ok(form) = String::from_utf8(form) else { continue };
            if form.bytes().any(|byte| byte < 0x20) {
                continue;
            }
            let header = Place::Header("x-note".to_owned());
            assert_eq!(told(&world.see("/", &[("x-note", &form)], b"")), [(*holder, &header, rank(&header))], "{name}");
            // What a URL may hold as it is; the rest would come percent-encoded, which is undone.
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%=".contains(&byte);
            let form =
                form.bytes().map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") });
            let form = form.collect::<Vec<String>>().concat();
            let query = world.see(&format!("/?q={form}"), &[], b"");
            assert_eq!(told(&query), [(*holder, &Place::Query, rank(&Place::Query))], "{holder:?} {name} {form}");
            count += 2;
            if !form.contains('%') {
                let path = world.see(&format!("/a/{form}/b"), &[], b"");
                assert_eq!(told(&path), [(*holder, &Place::Path, rank(&Place::Path))], "{holder:?} {name}");
                count += 1;
            }
        }
    }
    println!("{count} placements of four holders' placeholders, each told with its rank");
    assert!(count >= 200, "{count}");
}

#[test]
fn on_a_door_it_is_refused_in_any_encoding() {
    let world = world();
    for (holder, text) in &world.all[1..] {
        let base64 = STANDARD.encode(format!("x-access-token:{text}"));
        let hex = text.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        for value in
            [format!("Bearer {text}"), format!("Basic {base64}"), format!("Bearer x{text}y"), format!("Bearer {hex}")]
        {
            for name in ["authorization", "x-api-key"] {
                let seen = world.see("/", &[(name, &value)], b"");
                let code = seen.refusal.as_ref().map(|refusal| refusal.code);
                assert_eq!((code, seen.list.len()), (Some(Code::PlaceholderForeign), 1), "{holder:?} {name}: {value}");
                let rank = if *holder == Holder::Other { Rank::Critical } else { Rank::High };
                assert_eq!((seen.list[0].holder, seen.list[0].rank), (*holder, rank), "{name}: {value}");
            }
        }
    }
}

#[test]
fn streams_are_seen_at_every_split() {
    let world = world();
    for (holder, text) in &world.all {
        for (name, form) in encodings(text, &|at| at % 2 == 0) {
            let body = [b"some text before ".repeat(30).as_slice(), &form, &b" and after ".repeat(30)].concat();
            let from = body.len() / 2 - form.len();
            for split in (from..from + 2 * form.len()).chain([1, body.len() - 1]) {
                let mut scan = world.index.sight_stream(&world.own);
                let mut seen = scan.push(&body[..split]);
                seen.extend(scan.push(&body[split..]));
                assert_eq!(seen.len(), 1, "{holder:?} {name} at {split}: {seen:?}");
                assert_eq!((seen[0].holder, seen[0].rank), (*holder, Rank::of(*holder, &Place::Body)));
            }
            let mut scan = world.index.sight_stream(&world.own);
            let pieces: Vec<_> = body.chunks(7).flat_map(|piece| scan.push(piece)).collect();
            assert_eq!(pieces.len(), 1, "{holder:?} {name} in pieces");
        }
    }
    let mut scan = world.index.sight_stream(&world.own);
    let all = world.all.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ");
    assert_eq!((scan.push(all.as_bytes()).len(), scan.push(all.as_bytes()).len()), (4, 0), "each is told once");
    assert_eq!(scan.push(&vec![b'x'; 1 << 20]), []);
}

#[test]
fn sessions_come_and_go_and_are_still_told_apart() {
    let index = Index::new();
    let own = open(&index, &placeholder(1), 1, "bot");
    let agents = ["bot", "eve", "mallory"];
    // More sessions than are searched one by one, and more placeholders than are searched at all.
    let first = |session: u64| placeholder(session * 100);
    for session in 2..100u64 {
        let agent = AgentName::new(agents[session as usize % 3]).expect("name");
        let entries = (0..16u64).map(|at| {
            let mut entry = entry(&placeholder(session * 100 + at), u128::from(session), agent.as_str());
            entry.credential = CredentialName::new(&format!("c{at}")).expect("name");
            entry
        });
        let one = index.open(SessionId::from_bits(session.into()), &agent, entries.collect()).expect("room");
        if session % 2 == 0 {
            index.close(&one);
        }
        for of in [session, session - 1].into_iter().filter(|of| *of > 1 && [3, 10, 11, 40, 99].contains(&session)) {
            let hits = index.sight_stream(&own).push(STANDARD.encode(format!("a{}b", first(of))).as_bytes());
            assert_eq!(hits.len(), 1, "{of} of {session}");
            let holder = match (of % 3, of % 2) {
                (0, 0) => Holder::DeadSession,
                (0, _) => Holder::OtherSession,
                _ => Holder::Other,
            };
            assert_eq!((hits[0].holder, hits[0].session), (holder, SessionId::from_bits(u128::from(of))), "{of}");
        }
    }
    // The dead are forgotten before those that live.
    assert_eq!(index.sight_stream(&own).push(first(4).as_bytes()), []);
    assert_eq!(index.sight_stream(&own).push(first(5).as_bytes()).len(), 1);
}

#[test]
fn a_guess_finds_nothing() {
    let world = world();
    for (_, text) in &world.all {
        for at in 4..text.len() {
            let mut guess = text.clone().into_bytes();
            // Case does not matter to what is only told.
            guess[at] = if guess[at].eq_ignore_ascii_case(&b'a') { b'b' } else { b'a' };
            assert!(world.index.find(&guess).is_none());
            let guess = String::from_utf8(guess).expect("text");
            let seen = world.see("/", &[("authorization", &format!("Bearer {guess}"))], guess.as_bytes());
            assert!(seen.presented.is_none() && seen.list.is_empty() && seen.refusal.is_none(), "{at}");
        }
    }
    // All but prefix and checksum is drawn anew for each session: no two of 20,000 share even the first ten characters.
    let mut all: Vec<String> = (0..20_000).map(|session| placeholder(session)[4..14].to_owned()).collect();
    all.sort();
    assert!(all.windows(2).all(|two| two[0] != two[1]));
}

/// Welch's t of two samples.
fn welch(samples: &[Vec<f64>; 2]) -> f64 {
    let stats = samples.each_ref().map(|all| {
        let count = all.len() as f64;
        let mean = all.iter().sum::<f64>() / count;
        (mean, all.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (count - 1.0) / count)
    });
    (stats[0].0 - stats[1].0) / (stats[0].1 + stats[1].1).sqrt()
}

/// As `dudect` does it: two classes of guesses in a random order, the slowest left out, Welch's t below 4.5. Those that are
/// right but for their last characters must not take longer than those that are wrong from the first. Each guess is another,
/// because the keyed hash sends each to another part of the map. A machine that is busy disturbs single rounds; a
/// comparison that stops early would show in every one.
#[test]
fn guesses_take_the_same_time() {
    let world = world();
    let right = world.all[0].1.as_bytes();
    assert!(world.index.find(right).is_some());
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let guess = |places: [usize; 2], octets: &[u8]| {
        let mut guess = right.to_vec();
        guess[places[0]] = letters[usize::from(octets[0]) % 62];
        guess[places[1]] = letters[usize::from(octets[1]) % 62];
        guess
    };
    let mut worst = Vec::new();
    for round in 0..6u64 {
        let (mut samples, mut random) = ([Vec::new(), Vec::new()], noise(round));
        let mut octets = [0u8; 17];
        for _ in 0..10_000 {
            random(&mut octets);
            let class = usize::from(octets[16] & 1);
            let places = [[38, 39], [4, 5]][class];
            let guesses: Vec<Vec<u8>> = octets[..16].chunks(2).map(|two| guess(places, two)).collect();
            let start = Instant::now();
            for guess in &guesses {
                black_box(world.index.find(black_box(guess)));
            }
            samples[class].push(start.elapsed().as_nanos() as f64);
        }
        let mut all: Vec<f64> = samples.concat();
        all.sort_by(f64::total_cmp);
        let most = all[all.len() * 8 / 10];
        for class in &mut samples {
            class.retain(|it| *it <= most);
        }
        worst.push(welch(&samples).abs());
        if worst.last().is_some_and(|t| *t < 4.5) {
            println!("80,000 guesses: t = {worst:.2?}");
            return;
        }
    }
    panic!("one class of guesses takes longer: t = {worst:?}");
}

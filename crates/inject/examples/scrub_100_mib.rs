//! What the scrubber costs on a body of 100 MiB beside passing it through: a relay between two loopback connections, once
//! without and once with the needles of twelve credentials in all encodings. `cargo run --release -p inject --example scrub_100_mib`.
//!
//! The figure is processor time of the relaying thread, so that other work on the machine does not count; clear text, so
//! that passing through is as cheap as it can be (the gateway's two TLS legs make the share of the scrubber smaller).
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a measurement fails loudly")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use inject::{Needles, Scrubber};
use secret::{Material, Secret};

const SIZE: usize = 100 << 20;
const FRAME: usize = 16 * 1024;
const ROUNDS: usize = 5;
const NEEDLES: u64 = 12;

fn letters(seed: u64, count: usize) -> String {
    let set = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(set[(state >> 33) as usize % 62])
    };
    (0..count).map(|_| next()).collect()
}

fn needles() -> Arc<Needles> {
    let value = |at: u64| format!("tok_{}", letters(at + 1_000, 36)).into_bytes();
    let all: Vec<Material> = (0..NEEDLES).map(|at| Material::token(Secret::new(value(at)))).collect();
    Arc::new(Needles::of_materials(&all))
}

/// A mebibyte of each kind, sent again and again.
fn kinds() -> [(&'static str, Vec<u8>); 4] {
    let repeat = |part: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        for at in 0.. {
            text += &part(at);
            if text.len() >= 1 << 20 {
                break;
            }
        }
        text.truncate(1 << 20);
        text.into_bytes()
    };
    let json = |at: usize| {
        let (id, url) = (letters(at as u64, 24), format!("https://api.example.com/repos/octo/r-{at}"));
        format!(
            "{{\"id\":{at},\"node_id\":\"{id}\",\"private\":false,\"url\":\"{url}\",\"text\":\"It's a \\\"test\\\" \\u0026 more\\r\\n\"}},\n"
        )
    };
    let text =
        |_| "the quick brown fox jumps over the lazy dog & says: 100% of the time it is the same old story. ".into();
    let form = |at: usize| {
        format!("name=J%C3%BCrgen+M%C3%BCller&url=https%3A%2F%2Fexample.com%2F{at}%3Fb%3Dc&token=%67%68%70&")
    };
    let binary = letters(7, 1 << 20)
        .into_bytes()
        .chunks(2)
        .flat_map(|two| [two[0].wrapping_mul(two[1]), two[1] ^ two[0].rotate_left(3)])
        .collect();
    [("json", repeat(&json)), ("text", repeat(&text)), ("form", repeat(&form)), ("binary", binary)]
}

/// Processor time of this thread so far.
fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let one = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
    (one, listener.accept().expect("accept").0)
}

/// Relays 100 MiB; the processor time that this thread took.
fn relay(body: &[u8], needles: Option<&Arc<Needles>>) -> Duration {
    let ((mut origin, mut from), (mut to, mut agent)) = (pair(), pair());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..SIZE / body.len() {
                origin.write_all(body).expect("send");
            }
        });
        let sink = scope.spawn(move || {
            let (mut piece, mut all) = (vec![0u8; 256 * 1024], 0);
            while let Ok(count @ 1..) = agent.read(&mut piece) {
                all += count;
            }
            all
        });
        let mut scrubber = needles.map(Scrubber::new);
        let start = spent();
        let mut buffer = BytesMut::new();
        loop {
            buffer.resize(FRAME, 0);
            let count = from.read(&mut buffer).expect("read");
            if count == 0 {
                break;
            }
            let frame: Bytes = buffer.split_to(count).freeze();
            match &mut scrubber {
                None => to.write_all(&frame).expect("write"),
                Some(scrubber) => scrubber.push(frame).for_each(|frame| to.write_all(&frame).expect("write")),
            }
        }
        if let Some(scrubber) = &mut scrubber {
            to.write_all(&scrubber.finish().unwrap_or_default()).expect("write");
            assert_eq!(scrubber.hits(), 0);
        }
        let took = spent().checked_sub(start).unwrap_or_default();
        drop(to);
        assert_eq!(sink.join().expect("sink"), SIZE / body.len() * body.len());
        took
    })
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() {
    let needles = needles();
    for (kind, body) in kinds() {
        let _ = relay(&body, Some(&needles));
        let before = peak_kib();
        let (mut plain, mut scrubbed, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (without, with) = (relay(&body, None).as_secs_f64(), relay(&body, Some(&needles)).as_secs_f64());
            plain.push(without * 1_000.0);
            scrubbed.push(with * 1_000.0);
            ratios.push(with / without);
        }
        println!(
            "{kind}: 100 MiB passed through in {:.0} ms, scrubbed of {NEEDLES} credentials in {:.0} ms, ratio {:.2}, peak memory +{} KiB",
            median(plain),
            median(scrubbed),
            median(ratios),
            peak_kib() - before
        );
    }
}

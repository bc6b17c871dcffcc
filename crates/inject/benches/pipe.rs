//! What the scrubber costs beside passing a body through, all in one run: `cargo bench -p inject --bench pipe`.
//!
//! Three figures for each kind of body and number of credentials, in all encodings, on 100 MiB:
//! * the search alone, in GB/s;
//! * *clear*: a loop that reads from one socket and writes to another, as cheap as passing through can be;
//! * *gateway*: hyper and rustls on both sides, one thread, frames as the gateway gets and sends them. This is what an answer
//!   without needles costs in the product, and what the bar of 1.25 is about.
//!
//! Processor time of the thread that relays; the pipes take turns within a round, ratios are taken within it, the table
//! shows medians. Arguments choose: `-- json alone 9` is one kind of body, the search alone, nine rounds.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    clippy::format_push_string,
    reason = "a measurement fails loudly; bodies are lists"
)]

mod bodies;
mod gateway;

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bodies::{FRAME, SIZE, bodies, needles, now};
use bytes::{Bytes, BytesMut};
use inject::{Needles, Scrubber};

/// How often a body is sent: 100 MiB.
const TIMES: usize = 10;
const CREDENTIALS: [u64; 3] = [1, 12, 200];
/// Beyond this the promise of issue 3 is broken.
const BAR: f64 = 1.25;

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// A connection over loopback.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let one = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
    let other = listener.accept().expect("accept").0;
    for side in [&one, &other] {
        side.set_nodelay(true).expect("nodelay");
    }
    (one, other)
}

/// The search alone.
fn alone(body: &[u8], needles: &Arc<Needles>) -> Duration {
    let frames: Vec<Bytes> = body.chunks(FRAME).map(Bytes::copy_from_slice).collect();
    let mut scrubber = Scrubber::new(needles);
    let start = now();
    for _ in 0..TIMES {
        for frame in &frames {
            scrubber.push(frame.clone()).for_each(|frame| drop(black_box(frame)));
        }
    }
    assert_eq!(scrubber.hits(), 0);
    now().saturating_sub(start)
}

/// From one socket to another.
fn clear(body: &[u8], needles: Option<&Arc<Needles>>) -> Duration {
    let ((mut origin, mut from), (mut to, mut agent)) = (pair(), pair());
    std::thread::scope(|scope| {
        scope.spawn(move || (0..TIMES).for_each(|_| origin.write_all(body).expect("send")));
        let sink = scope.spawn(move || {
            let (mut piece, mut all) = (vec![0u8; 256 * 1024], 0);
            while let Ok(count @ 1..) = agent.read(&mut piece) {
                all += count;
            }
            all
        });
        let mut scrubber = needles.map(Scrubber::new);
        let start = now();
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
                Some(scrubber) => send(&mut to, scrubber.push(frame)),
            }
        }
        if let Some(scrubber) = &mut scrubber {
            to.write_all(&scrubber.finish().unwrap_or_default()).expect("write");
            assert_eq!(scrubber.hits(), 0);
        }
        let took = now().saturating_sub(start);
        drop(to);
        assert_eq!(sink.join().expect("sink"), TIMES * body.len());
        took
    })
}

/// All frames with one call where the system takes them, as hyper does.
fn send(to: &mut TcpStream, frames: inject::Frames) {
    let frames: Vec<Bytes> = frames.collect();
    let slices: Vec<std::io::IoSlice<'_>> = frames.iter().map(|frame| std::io::IoSlice::new(frame)).collect();
    if slices.is_empty() {
        return;
    }
    let mut done = to.write_vectored(&slices).expect("write");
    for frame in &frames {
        let rest = frame.get(done.min(frame.len())..).unwrap_or_default();
        to.write_all(rest).expect("write");
        done = done.saturating_sub(frame.len());
    }
}

fn median(all: &[f64]) -> f64 {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// The search alone on one kind of body.
fn measure_alone(kind: &str, body: &[u8], sets: &[(u64, Arc<Needles>)], rounds: usize) {
    for (count, set) in sets {
        let speed = |_| (TIMES * body.len()) as f64 / 1e9 / alone(body, set).as_secs_f64();
        let speeds: Vec<f64> = (0..rounds).map(speed).collect();
        println!("{kind}: {count:>3} credentials {:5.2} GB/s", median(&speeds));
    }
}

/// One kind of body: a line for each number of credentials; the worst ratio of the gateway.
fn measure(kind: &str, body: &[u8], sets: &[(u64, Arc<Needles>)], rounds: usize) -> f64 {
    let lab = gateway::Lab::new();
    let seconds = |took: Duration| took.as_secs_f64();
    // Once to warm up, and so that what the pipes themselves hold counts for nothing.
    let _ = (clear(body, None), lab.relay(body, TIMES, None), lab.relay(body, TIMES, Some(&sets[0].1)));
    let before = peak_kib();
    let mut figures = vec![[const { Vec::new() }; 3]; sets.len()];
    let (mut open, mut passed) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (socket, through) = (seconds(clear(body, None)), seconds(lab.relay(body, TIMES, None)));
        open.push(socket * 1e3);
        passed.push(through * 1e3);
        for ((_, set), figures) in sets.iter().zip(&mut figures) {
            figures[0].push((TIMES * body.len()) as f64 / 1e9 / seconds(alone(body, set)));
            figures[1].push(seconds(clear(body, Some(set))) / socket);
            figures[2].push(seconds(lab.relay(body, TIMES, Some(set))) / through);
        }
    }
    let memory = peak_kib() - before;
    let (open, passed) = (median(&open), median(&passed));
    println!("{kind}: passed through in {open:.0} ms clear, {passed:.0} ms by the gateway; memory +{memory} KiB");
    for ((count, _), figures) in sets.iter().zip(&figures) {
        let [speed, socket, through] = figures.each_ref().map(|all| median(all));
        println!("  {count:>3} credentials: {speed:5.2} GB/s, clear x {socket:.2}, gateway x {through:.2}");
    }
    figures.iter().map(|figures| median(&figures[2])).fold(0.0, f64::max)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let is_alone = arguments.iter().any(|argument| argument == "alone");
    let sets: Vec<(u64, Arc<Needles>)> = CREDENTIALS.iter().map(|count| (*count, needles(*count, 36))).collect();
    let mut worst: f64 = 0.0;
    let all = bodies();
    let chosen = |kind: &str| arguments.iter().any(|argument| argument == kind);
    let any_chosen = all.iter().any(|(kind, _)| chosen(kind));
    for (kind, body) in all.iter().filter(|(kind, _)| !any_chosen || chosen(kind)) {
        assert_eq!(body.len(), SIZE);
        if is_alone {
            measure_alone(kind, body, &sets, rounds);
        } else {
            worst = worst.max(measure(kind, body, &sets, rounds));
        }
    }
    println!("worst ratio of the gateway {worst:.2}, bar {BAR}");
}

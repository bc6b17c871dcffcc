//! What a pass costs, on text like that of a tree of code: no secret, then one a kilobyte.

#![expect(clippy::expect_used, reason = "a measurement that cannot begin must not give a figure")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use scan::{Format, Scanner};

const OCTETS: usize = 8 * 1024 * 1024;

fn text(with: &str) -> Vec<u8> {
    let line =
        "    let session = client.open(&config.address, timeout).await?; // keeps the connection until it is idle\n";
    let other = "{\"name\": \"left-pad\", \"version\": \"1.3.0\", \"tokens\": 1024, \"key\": \"value\", \"path\": \"src/index.js\"}\n";
    let mut text = String::with_capacity(OCTETS + 4_096);
    while text.len() < OCTETS {
        (0..5).for_each(|_| text.push_str(line));
        (0..4).for_each(|_| text.push_str(other));
        text.push_str(with);
    }
    text.into_bytes()
}

fn pass(bench: &mut Criterion) {
    let scanner = Scanner::builtin().expect("the rules");
    let mut group = bench.benchmark_group("scan");
    group.throughput(Throughput::Bytes(OCTETS as u64));
    // Made of parts, so that no scanner takes this file for a leak.
    let key = ["sk", "_live_", "4eC39HqLyjWDarjtT1zdp7dc9x2K\n"].concat();
    for (name, text) in [("clean", text("")), ("a key a kilobyte", text(&key))] {
        group.bench_function(name, |bench| bench.iter(|| scanner.scan(&text, Format::Code, &|_: &[u8]| false).len()));
    }
    // As the program does it: files on two threads.
    let text = text("");
    group.throughput(Throughput::Bytes(2 * OCTETS as u64));
    group.bench_function("clean, two threads", |bench| {
        bench.iter(|| {
            std::thread::scope(|scope| {
                let one = || scanner.scan(&text, Format::Code, &|_: &[u8]| false).len();
                let threads = [scope.spawn(one), scope.spawn(one)];
                threads.map(|thread| thread.join().expect("it ends"))
            })
        });
    });
    group.finish();
}

criterion_group!(benches, pass);
criterion_main!(benches);

//! What the measurements of this crate share: bodies as origins send them, needles, and a clock that other work on the
//! machine does not move.

use std::sync::Arc;
use std::time::Duration;

use inject::Needles;
use secret::{Material, Secret};

/// Octets of a body.
pub const SIZE: usize = 10 << 20;
/// Octets of a frame: a record of TLS.
pub const FRAME: usize = 16 * 1024;

/// Octets without a pattern, always the same for one seed.
pub fn octets(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// A token of GitHub's shape.
pub fn token(seed: u64, length: usize) -> String {
    let set = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let body = octets(length, seed).into_iter().map(|octet| char::from(set[usize::from(octet) % 62]));
    "ghp_".chars().chain(body).collect()
}

/// Bodies of six kinds.
pub fn bodies() -> [(&'static str, Vec<u8>); 6] {
    let row = |at: usize| {
        let noise: String = token(at as u64 * 31 + 7, 36);
        format!(
            "{{\"id\":{at},\"node_id\":\"MDEwOlJlcG9zaXRvcnk{noise}\",\"name\":\"repo-{at}\",\"private\":false,\"html_url\":\"https://github.com/octocat/repo-{at}\",\"description\":\"It's a \\\"test\\\" \\u0026 more\\r\\n\",\"stargazers_count\":{},\"updated_at\":\"2026-11-20T18:38:47Z\"}},\n",
            at * 7
        )
    };
    let mut json = String::new();
    for at in 0.. {
        json += &row(at);
        if json.len() >= SIZE {
            break;
        }
    }
    let words = "the quick brown fox jumps over the lazy dog & says: 100% of the time it is the same old story. ";
    let form = "name=J%C3%BCrgen+M%C3%BCller&url=https%3A%2F%2Fexample.com%2Fa%3Fb%3Dc&token=%67%68%70&";
    let cut = |mut text: Vec<u8>| {
        text.truncate(SIZE);
        text
    };
    [
        ("json", cut(json.into_bytes())),
        ("binary", octets(SIZE, 5)),
        ("text", cut(words.repeat(SIZE / words.len() + 1).into_bytes())),
        ("zeros", vec![0; SIZE]),
        ("letter", vec![b'x'; SIZE]),
        ("form", cut(form.repeat(SIZE / form.len() + 1).into_bytes())),
    ]
}

/// The needles of so many credentials, in all encodings.
pub fn needles(count: u64, length: usize) -> Arc<Needles> {
    let all: Vec<Material> = (0..count)
        .map(|at| Material::token(Secret::new(token((1 << 40) + at * 12_345, length).into_bytes())))
        .collect();
    Arc::new(Needles::of_materials(&all))
}

/// Processor time of this thread so far: builds and tests on the same machine would make wall time meaningless.
pub fn now() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

//! The finder from outside: kinds, places, what is not found, and that pieces make no difference.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail with it"
)]

mod clean;
mod kinds;
mod places;
mod properties;
mod seeded;

use scan::{Finding, Format, Scanner};

/// Everything in a text.
fn scan(text: &str, format: Format) -> Vec<Finding> {
    Scanner::builtin().expect("the rules").scan(text.as_bytes(), format, &|_: &[u8]| false)
}

/// The names of the kinds in a text.
fn kinds_in(text: &str, format: Format) -> Vec<String> {
    scan(text, format).iter().map(|finding| finding.kind.name.clone()).collect()
}

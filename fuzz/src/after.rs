//! How long an upstream asks to wait.

/// What an upstream says in `Retry-After`: never longer than could be counted, and a number is that number.
pub fn after(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let now = model::Timestamp::from_secs(784_111_777);
    let wait = proxy::retry_after(text, now);
    if let Ok(seconds) = text.trim().parse::<u32>() {
        let plain = !text.trim().starts_with('+');
        assert_eq!(wait.map(|wait| wait.as_secs()), plain.then_some(seconds.into()), "{text}");
    }
    if let Some(wait) = wait {
        assert!(wait.as_secs() < 1 << 38, "the last date there is, and the longest number");
        assert!(proxy::retry_after(text, now.plus_secs(1 << 39)).is_some(), "what is read is read at any time");
    }
}

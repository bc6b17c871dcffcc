use http::HeaderValue;

use super::*;

#[test]
fn what_retry_after_asks_for() {
    // Sun, 06 Nov 1994 08:49:37 GMT
    let now = Timestamp::from_secs(784_111_777);
    for (text, seconds) in [
        ("0", Some(0)),
        (" 120 ", Some(120)),
        ("99999999999999999999999", Some(u64::from(u32::MAX))),
        ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
        ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10)),
        ("Sun Nov  6 08:49:47 1994", Some(10)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
        ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(252_618_189_022)),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("+5", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:49:37 CET", None),
    ] {
        assert_eq!(retry_after(text, now).map(|wait| wait.as_secs()), seconds, "{text}");
    }
}

#[test]
fn where_nothing_is_said_it_is_a_minute() {
    let now = Timestamp::from_secs(784_111_777);
    let mut headers = HeaderMap::new();
    assert_eq!(asked_for(&headers, now), WAIT_DEFAULT);
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("soon"));
    assert_eq!(asked_for(&headers, now), WAIT_DEFAULT);
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
    assert_eq!(asked_for(&headers, now), Duration::from_secs(7));
}

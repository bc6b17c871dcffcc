//! Tables, the smuggling matrix and properties of the strict reading.

use proptest::prelude::*;

use super::*;

const M: fn(Malformed) -> Option<Fault> = |why| Some(Fault::Malformed(why));

fn whole(bytes: &[u8]) -> Verdict {
    Framing::default().push(bytes)
}

/// Pushes in pieces, as the guard does; gives everything handed on and the fault.
fn pieces<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Option<Fault>) {
    let (mut framing, mut held, mut out) = (Framing::default(), Vec::new(), Vec::new());
    for part in parts {
        held.extend_from_slice(part);
        let verdict = framing.push(&held);
        out.extend(held.drain(..verdict.accepted));
        if verdict.fault.is_some() {
            return (out, verdict.fault);
        }
    }
    (out, None)
}

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nHost: good.test\r\n{fields}\r\n{body}").into_bytes()
}

#[test]
fn plain_messages_pass_whole() {
    for message in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost:a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length:0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\nA\r\n0123456789\r\n0\r\nx-checksum: 1\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\nX: caf\u{e9} \t\r\n\r\n",
    ] {
        let expected = Verdict { accepted: message.len(), fault: None };
        assert_eq!(whole(message.as_bytes()), expected, "{message:?}");
        let twice = format!("{message}{message}");
        assert_eq!(whole(twice.as_bytes()).accepted, twice.len(), "{message:?} twice");
    }
}

#[test]
fn broken_heads_are_refused() {
    use Malformed as X;
    for (message, why) in [
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", X::Framing),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", X::Framing),
        ("\x16\x03\x01", X::Framing),
        ("GET /\r\n\r\n", X::Framing),
        ("GET / HTTP/0.9\r\n\r\n", X::Framing),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", X::Framing),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", X::Framing),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", X::Framing),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", X::Framing),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", X::Framing),
        ("GET / HTTP/1.1\nHost: a\n\n", X::Framing),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", X::Framing),
        ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", X::Header),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\r\n\r\n", X::Header),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", X::Header),
        ("GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", X::Header),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", X::Header),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", X::Header),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\0\r\n\r\n", X::Header),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\x7f\r\n\r\n", X::Header),
        ("GET /caf\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", X::Encoding),
        ("GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n", X::Framing),
        ("GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n", X::Framing),
        ("GET / HTTP/1.1\r\n\r\n", X::HostDisagrees),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", X::HostDisagrees),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", X::HostDisagrees),
        ("GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", X::HostDisagrees),
        ("GET / HTTP/1.1\r\nHost:\ta\r\n\r\n", X::HostDisagrees),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", X::HostDisagrees),
        ("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", X::Framing),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", X::Framing),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", X::Method),
    ] {
        let found = whole(message.as_bytes());
        // httparse is free to name a control character in the target either way.
        let control = found.fault == M(X::Control) && why == X::Framing;
        assert!(found == Verdict { accepted: 0, fault: M(why) } || control, "{message:?}: {found:?}");
    }
}

#[test]
fn lengths_are_read_one_way() {
    for value in [
        "+5",
        "-5",
        "0x5",
        "5,5",
        "5, 5",
        "05",
        "00",
        " 5",
        "5 ",
        "\t5",
        "5\t",
        "",
        "5.0",
        "5e0",
        "\u{ff15}",
        "5;5",
        "99999999999999999999",
        "1844674407370955161",
        "0b1",
        "5 5",
        "5\u{b}",
        "'5'",
    ] {
        let message = post(&format!("Content-Length: {value}\r\n"), "hello");
        assert!(whole(&message).fault.is_some(), "{value:?}");
        assert_eq!(whole(&message).accepted, 0, "{value:?}");
    }
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length : 5\r\n",
    ] {
        assert!(whole(&post(fields, "0\r\n\r\n")).fault.is_some(), "{fields:?}");
    }
}

/// The shapes of `configs/exhaustive.py` of defparam/smuggler, regenerated: a marker octet in every place of a
/// `Transfer-Encoding` line, beside a Content-Length; and the named mutations.
pub(in crate::net) fn te_mutations() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let templates: [(&str, &str); 12] = [
        ("", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding", ": chunked"),
        ("Transfer-Encoding:", "chunked"),
        ("Transfer-Encoding: ", "chunked"),
        ("Transfer-Encoding: chunked", ""),
        ("Transfer", "Encoding: chunked"),
        ("X: X", "Transfer-Encoding: chunked"),
        ("X: X\r", "Transfer-Encoding: chunked"),
        ("X: X", "\rTransfer-Encoding: chunked"),
        ("X: X\r\n", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chun", "ked"),
        ("Transfer-Enc", "oding: chunked"),
    ];
    for (front, back) in templates {
        for byte in (0..=0x20).chain(0x7f..=0xff).chain(*b"\"',;:_-x") {
            let mut line = front.as_bytes().to_vec();
            line.push(byte);
            line.extend_from_slice(back.as_bytes());
            all.push(line);
        }
    }
    for named in [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\n chunked",
        "Transfer-Encoding\r\n : chunked",
        "Transfer-Encoding: chunKed",
        "Transfer-Encoding: \"chunked\"",
        "tRANSFER-ENCODING: chunked",
        "Transfer-Encoding: chunked\r\n\tx",
        "Transfer-Encoding: cow\r\n chunked",
        "Foo: bar\r\n\r\nTransfer-Encoding: chunked",
    ] {
        all.push(named.as_bytes().to_vec());
    }
    all
}

#[test]
fn no_mutation_of_transfer_encoding_passes_beside_a_length() {
    let mutations = te_mutations();
    assert!(mutations.len() > 668, "{}", mutations.len());
    let mut passed = 0;
    for line in mutations {
        let mut message = b"POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 4\r\n".to_vec();
        message.extend_from_slice(&line);
        message.extend_from_slice(b"\r\n\r\n1\r\nZ\r\nQ");
        let verdict = whole(&message);
        let head_passed = verdict.accepted > 0;
        if !head_passed {
            continue;
        }
        passed += 1;
        // What passes is another field altogether (its name a token that is not ours), or a value of `X`; the one
        // length decides then, and what follows it is refused because no method begins so.
        let text: String = String::from_utf8_lossy(&line).into_owned();
        for one in text.split("\r\n\r\n").next().unwrap_or_default().split("\r\n").filter(|one| !one.is_empty()) {
            let name = one.split(':').next().unwrap_or_default();
            assert!(!name.trim().eq_ignore_ascii_case("transfer-encoding"), "{text:?}");
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)));
        }
    }
    assert!(passed > 0, "the matrix tests nothing");
    // Without a Content-Length: either refused, or chunked by the one plain spelling.
    for line in te_mutations() {
        let mut message = b"POST / HTTP/1.1\r\nHost: good.test\r\n".to_vec();
        message.extend_from_slice(&line);
        message.extend_from_slice(b"\r\n\r\n0\r\n\r\n");
        if whole(&message).fault.is_none() {
            assert!(
                [&b"Transfer-Encoding: chunked"[..], b"Transfer-Encoding:chunked", b"tRANSFER-ENCODING: chunked"]
                    .iter()
                    .any(|plain| line.strip_prefix(b"X: X\r\n").unwrap_or(&line) == *plain)
                    || line == b"Transfer-Encoding: chunked",
                "{:?}",
                String::from_utf8_lossy(&line)
            );
        }
    }
}

#[test]
fn chunks_are_exact() {
    for (body, fine) in [
        ("0\r\n\r\n", true),
        ("5\r\nhello\r\n0\r\n\r\n", true),
        ("0005\r\nhello\r\n0\r\n\r\n", true),
        ("5;a=b\r\nhello\r\n0\r\n\r\n", false),
        ("5 \r\nhello\r\n0\r\n\r\n", false),
        (" 5\r\nhello\r\n0\r\n\r\n", false),
        ("+5\r\nhello\r\n0\r\n\r\n", false),
        ("0x5\r\nhello\r\n0\r\n\r\n", false),
        ("\r\n", false),
        ("5\nhello\r\n0\r\n\r\n", false),
        ("5\r\rhello\r\n0\r\n\r\n", false),
        ("5\r\nhello0\r\n\r\n", false),
        ("5\r\nhello\n0\r\n\r\n", false),
        ("5\r\nhelloXX0\r\n\r\n", false),
        ("00000000000000005\r\nhello\r\n0\r\n\r\n", false),
        ("fffffffffffffffff\r\n", false),
        ("0\r\n\n", false),
        ("0\r\nAuthorization: Bearer x\r\n\r\n", false),
        ("0\r\nX-Api-Key: x\r\n\r\n", false),
        ("0\r\nProxy-Foo: x\r\n\r\n", false),
        ("0\r\ncontent-length: 5\r\n\r\n", false),
        ("0\r\ntransfer-encoding: chunked\r\n\r\n", false),
        ("0\r\nHost: evil\r\n\r\n", false),
        ("0\r\ncookie: a\r\n\r\n", false),
        ("0\r\nte: trailers\r\n\r\n", false),
        ("0\r\n x: y\r\n\r\n", false),
        ("0\r\nx : y\r\n\r\n", false),
        ("0\r\ngrpc-status: 0\r\nx-checksum: abc\r\n\r\n", true),
    ] {
        let message = post("Transfer-Encoding: chunked\r\n", body);
        let verdict = whole(&message);
        assert_eq!(verdict.fault.is_none() && verdict.accepted == message.len(), fine, "{body:?} {verdict:?}");
    }
}

#[test]
fn bounds_hold() {
    let many = "X: y\r\n".repeat(HEADER_FIELDS_MAX);
    assert_eq!(whole(&post(&many, "")).fault, Some(Fault::TooLarge));
    let long = format!("X: {}\r\n", "y".repeat(HEAD_BYTES_MAX));
    assert_eq!(whole(&post(&long, "")).fault, Some(Fault::TooLarge));
    // Also where its end never comes.
    assert_eq!(whole(&vec![b'G'; HEAD_BYTES_MAX]).fault, Some(Fault::TooLarge));
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(TARGET_BYTES_MAX));
    assert_eq!(whole(target.as_bytes()).fault, Some(Fault::TooLarge));
    let connect = check_head(b"CONNECT a:443 HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n", Place::First);
    assert_eq!(connect.map(|head| head.body), Ok(Body::Length(0)));
    assert!(check_head(b"CONNECT a:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\n", Place::First).is_err());
}

#[test]
fn a_good_message_before_a_bad_one_passes() {
    let good = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let verdict = whole(format!("{good}GET / HTTP/1.1\r\n\r\n").as_bytes());
    assert_eq!(verdict, Verdict { accepted: good.len(), fault: M(Malformed::HostDisagrees) });
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("GET /a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        "[a-z]{0,40}".prop_map(|body| {
            format!("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        }),
        proptest::collection::vec("[a-z]{1,20}", 0..4).prop_map(|chunks| {
            let body =
                chunks.iter().fold(String::new(), |sum, chunk| sum + &format!("{:x}\r\n{chunk}\r\n", chunk.len()));
            format!("PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}0\r\nx-a: b\r\n\r\n")
        }),
        "[ -~\r\n]{1,30}",
    ];
    (proptest::collection::vec(piece, 1..5), proptest::option::of((any::<prop::sample::Index>(), any::<u8>())))
        .prop_map(|(parts, change)| {
            let mut bytes = parts.concat().into_bytes();
            if let Some((at, byte)) = change {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        })
}

/// The octet after the digits of a chunk size is bad: the digits pass in one piece as they do in two.
#[test]
fn a_cut_in_a_chunk_border_does_not_matter() {
    let head = b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for border in [&b"1\0\r\n"[..], b"1f;a=b\r\n", b"1\ra", b"11111111111111111\r\n"] {
        let bytes = [head, border].concat();
        let one = pieces([bytes.as_slice()]);
        assert_eq!(one.1, M(Malformed::Framing), "{border:?}");
        for size in 1..bytes.len() {
            assert_eq!(one, pieces(bytes.chunks(size)), "{border:?} in pieces of {size}");
        }
    }
}

proptest! {
    /// However the stream is cut, the same octets pass and the same fault is found.
    #[test]
    fn cuts_do_not_matter(bytes in stream(), size in 1usize..50) {
        let one = pieces([bytes.as_slice()]);
        let many = pieces(bytes.chunks(size));
        prop_assert_eq!(one, many);
    }

    /// Nothing makes it panic, loop or accept more than there is.
    #[test]
    fn anything_ends(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(whole(&bytes).accepted <= bytes.len());
    }
}

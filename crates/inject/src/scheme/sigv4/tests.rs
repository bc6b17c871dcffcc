//! Chains of signatures that the documentation shows, which have a header that no SDK signs any more, so they cannot be shown whole.

use model::aws::Scope;

use super::chunks::ChunkSigner;
use super::key::SigningKey;

const KEY: &[u8] = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// The body of the example: 66,560 octets of `a` in chunks of 64 KiB.
fn body(signatures: &[&str], trailer: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (length, signature) in [65_536, 1_024, 0].into_iter().zip(signatures) {
        out.extend(format!("{length:x};chunk-signature={signature}\r\n").bytes());
        out.extend(std::iter::repeat_n(b'a', length));
        if length > 0 {
            out.extend(b"\r\n");
        }
    }
    out.extend(trailer.bytes());
    out.extend(b"\r\n");
    out
}

fn signed(seed: &str, came: &[u8], trailer: bool) -> Vec<u8> {
    let scope = Scope { key_id: "", date: "20130524", region: "us-east-1", service: "s3" };
    let key = SigningKey::derive(KEY, &scope);
    let mut signer = ChunkSigner::new(key, ("20130524T000000Z", &scope.to_string()), seed.to_owned(), trailer);
    let mut out = signer.push(came).expect("chunks").to_vec();
    out.extend(signer.finish().expect("ended"));
    out
}

#[test]
fn chunks_as_the_documentation_signs_them() {
    let zero = "0".repeat(64);
    let came = body(&[&zero, &zero, &zero], "");
    let wanted = [
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ];
    let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    assert_eq!(came.len(), 66_824, "the documentation's Content-Length");
    assert_eq!(signed(seed, &came, false), body(&wanted, ""));
}

#[test]
fn trailers_as_the_documentation_signs_them() {
    let zero = "0".repeat(64);
    let trailer =
        |signature: &str| format!("x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:{signature}\r\n");
    let came = body(&[&zero, &zero, &zero], &trailer(&zero));
    let wanted = [
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ];
    let seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
    let last = trailer("d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435");
    assert_eq!(
        String::from_utf8_lossy(&signed(seed, &came, true)).replace('a', ""),
        String::from_utf8_lossy(&body(&wanted, &last)).replace('a', "")
    );
}

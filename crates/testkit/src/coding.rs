//! Content codings there and back (RFC 9110 8.4.1, RFC 7932, RFC 8878).

use std::io::{Read, Write};

use flate2::Compression;

/// The codings that answers come in, by their name in `Content-Encoding`.
pub const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

/// Applies one coding by name; `identity` leaves the octets as they are.
#[must_use]
pub fn encode(coding: &str, plain: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" | "x-gzip" => {
            let mut to = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
            to.write_all(plain).unwrap();
            to.finish().unwrap()
        }
        "deflate" => {
            let mut to = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
            to.write_all(plain).unwrap();
            to.finish().unwrap()
        }
        "raw-deflate" => {
            // What some servers send under the name of deflate, against RFC 9110 8.4.1.2.
            let mut to = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
            to.write_all(plain).unwrap();
            to.finish().unwrap()
        }
        "br" => {
            let mut out = Vec::new();
            let mut to = brotli::CompressorWriter::new(&mut out, 4096, 5, 20);
            to.write_all(plain).unwrap();
            drop(to);
            out
        }
        "zstd" => zstd::stream::encode_all(plain, 3).unwrap(),
        "identity" => plain.to_vec(),
        other => panic!("no coding named `{other}`"),
    }
}

/// Undoes one coding; `None` where the octets are not in it.
#[must_use]
pub fn decode(coding: &str, coded: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match coding {
        "gzip" | "x-gzip" => flate2::read::MultiGzDecoder::new(coded).read_to_end(&mut out).ok()?,
        "deflate" => {
            if flate2::read::ZlibDecoder::new(coded).read_to_end(&mut out).is_err() {
                out.clear();
                flate2::read::DeflateDecoder::new(coded).read_to_end(&mut out).ok()?;
            }
            0
        }
        "br" => brotli::Decompressor::new(coded, 4096).read_to_end(&mut out).ok()?,
        "zstd" => zstd::stream::read::Decoder::new(coded).ok()?.read_to_end(&mut out).ok()?,
        "identity" | "" => return Some(coded.to_vec()),
        _ => return None,
    };
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_coding_there_and_back() {
        let plain = b"the same words over and over, the same words over and over".repeat(50);
        for coding in CODINGS {
            let coded = encode(coding, &plain);
            assert!(coded.len() < plain.len(), "{coding}");
            assert_eq!(decode(coding, &coded).as_deref(), Some(plain.as_slice()), "{coding}");
        }
        assert_eq!(decode("deflate", &encode("raw-deflate", &plain)), Some(plain));
        assert_eq!(decode("gzip", b"not gzip"), None);
    }
}

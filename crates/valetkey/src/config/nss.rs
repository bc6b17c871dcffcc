//! A certificate database of NSS, written without NSS and without SQLite: what Chromium and other programs that stand on that library
//! know of the authorities that a user trusts (`~/.pki/nssdb`).
//!
//! Two files, each a SQLite database (sqlite.org/fileformat2.html) with one page for its schema and one for each table. `cert9.db` holds
//! a certificate and the trust in it, `key4.db` no key and no password. NSS signs what it says of trust with the password of the second;
//! where none was ever set it takes it unsigned. Attributes are PKCS #11's, in columns named by their numbers in hexadecimal; the
//! numbers in them are big-endian. Both must be writable, or Chromium does not open them; their folder need not be.

use aws_lc_rs::digest;

/// The files in their folder.
pub(super) const NAMES: [&str; 2] = ["cert9.db", "key4.db"];
const PAGE_BYTES: usize = 4096;
/// SQLite's own header at the start of the first page.
const HEADER_BYTES: usize = 100;
/// The name that is shown of it.
const LABEL: &str = "Valetkey session";
/// The columns that NSS 3.87 makes; other versions read those that are there.
const COLUMNS: &str = "a0 a1 a2 a3 a10 a11 a12 a80 a81 a82 a83 a84 a85 a86 a87 a88 a89 a8a a8b a90 a100 a101 a102 a103 a104 a105 a106 a107 a108 \
    a109 a10a a10b a10c a110 a111 a120 a121 a122 a123 a124 a125 a126 a127 a128 a129 a130 a131 a132 a133 a134 a160 a161 a162 a163 a164 a165 \
    a166 a170 a180 a181 a200 a201 a202 a210 a300 a301 a302 a400 a401 a402 a403 a404 a405 a406 a480 a481 a482 a500 a501 a502 a503 a40000211 \
    a40000212 a80000001 ace534351 ace534352 ace534353 ace534354 ace534355 ace534356 ace534357 ace534358 ace534364 ace534365 ace534366 \
    ace534367 ace534368 ace534369 ace534373 ace534374 ace536351 ace536352 ace536353 ace536354 ace536355 ace536356 ace536357 ace536358 \
    ace536359 ace53635a ace53635b ace53635c ace53635d ace53635e ace53635f ace536360 ace5363b4 ace5363b5 ad5a0db00";
/// CKO_CERTIFICATE, and CKC_X_509.
const CERTIFICATE: u32 = 1;
const X_509: u32 = 0;
/// CKO_NSS_TRUST; as an authority for servers (CKT_NSS_TRUSTED_DELEGATOR); as nothing in particular (CKT_NSS_MUST_VERIFY_TRUST).
const TRUST: u32 = 0xce53_4353;
const DELEGATOR: u32 = 0xce53_4352;
const MUST_VERIFY: u32 = 0xce53_4353;

/// The files named in [`NAMES`], in which this authority (DER) is trusted for servers; none for what is no certificate, or too large for
/// a page.
pub(super) fn write(der: &[u8]) -> Option<[Vec<u8>; 2]> {
    let [serial, issuer, subject] = names(der)?;
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    let (yes, no) = (vec![1], vec![0]);
    // CKA_TOKEN, CKA_PRIVATE, CKA_ISSUER, CKA_SERIAL_NUMBER, CKA_MODIFIABLE.
    let common =
        [("a1", yes.clone()), ("a2", no.clone()), ("a81", issuer.to_vec()), ("a82", serial.to_vec()), ("a170", yes)];
    let number = |number: u32| number.to_be_bytes().to_vec();
    // CKA_CLASS, CKA_LABEL, CKA_VALUE, CKA_CERTIFICATE_TYPE, CKA_SUBJECT.
    let certificate = [
        ("a0", number(CERTIFICATE)),
        ("a3", LABEL.into()),
        ("a11", der.to_vec()),
        ("a80", number(X_509)),
        ("a101", subject.to_vec()),
    ];
    // CKA_CLASS, a label as NSS writes it; for servers, clients, code, mail; no step-up; the SHA-1 of the certificate that is meant.
    let trust = [
        ("a0", number(TRUST)),
        ("a3", vec![0xa5, 0, 0x5a]),
        ("ace536358", number(DELEGATOR)),
        ("ace536359", number(MUST_VERIFY)),
        ("ace53635a", number(MUST_VERIFY)),
        ("ace53635b", number(MUST_VERIFY)),
        ("ace536360", no),
        ("ace5363b4", sha1.as_ref().to_vec()),
    ];
    let columns = COLUMNS.split(' ').collect::<Vec<_>>().join(", ");
    let table = |name: &'static str| (name, format!("CREATE TABLE {name} (id INTEGER PRIMARY KEY, {columns})"));
    let meta = ("metaData", "CREATE TABLE metaData (id INTEGER PRIMARY KEY, item1, item2)".to_owned());
    let rows = vec![object(&[&common[..], &certificate]), object(&[&common[..], &trust])];
    let certificates = database(&[(table("nssPublic"), rows)])?;
    let keys = database(&[(table("nssPrivate"), Vec::new()), (meta, Vec::new())])?;
    Some([certificates, keys])
}

/// One object: every column, most of them empty.
fn object(parts: &[&[(&str, Vec<u8>)]]) -> Vec<u8> {
    let value = |column: &str| parts.iter().copied().flatten().find(|(name, _)| *name == column);
    let id = std::iter::once(Value::Absent);
    let values =
        COLUMNS.split(' ').map(|column| value(column).map_or(Value::Absent, |(_, octets)| Value::Octets(octets)));
    record(id.chain(values))
}

enum Value<'a> {
    /// NULL; also the key, which is the row's number.
    Absent,
    Number(u8),
    Text(&'a str),
    Octets(&'a [u8]),
}

/// Numbers of up to 14 bits, seven an octet, the highest first.
fn varint(out: &mut Vec<u8>, number: usize) {
    if number >= 0x80 {
        out.push((number >> 7) as u8 | 0x80);
    }
    out.push(number as u8 & 0x7f);
}

/// 2.1: the types of the values behind their length, then the values.
fn record<'a>(values: impl Iterator<Item = Value<'a>>) -> Vec<u8> {
    let (mut types, mut body) = (Vec::new(), Vec::new());
    for value in values {
        match value {
            Value::Absent => varint(&mut types, 0),
            Value::Number(number) => {
                varint(&mut types, 1);
                body.push(number);
            }
            Value::Text(text) => {
                varint(&mut types, 13 + 2 * text.len());
                body.extend_from_slice(text.as_bytes());
            }
            Value::Octets(octets) => {
                varint(&mut types, 12 + 2 * octets.len());
                body.extend_from_slice(octets);
            }
        }
    }
    // The length counts itself.
    let own = if types.len() < 0x7f { 1 } else { 2 };
    let mut out = Vec::new();
    varint(&mut out, types.len() + own);
    out.append(&mut types);
    out.append(&mut body);
    out
}

/// 1.6: a leaf of a table, rows numbered from one; `before` stands in front of it on the page.
fn leaf(before: &[u8], rows: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut cells = Vec::new();
    let mut starts = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        starts.push(cells.len());
        varint(&mut cells, row.len());
        varint(&mut cells, at + 1);
        cells.extend_from_slice(row);
    }
    let start = PAGE_BYTES.checked_sub(cells.len())?;
    let mut page = before.to_vec();
    // A leaf; no free block; how many cells, where they begin; no stray octets.
    page.extend_from_slice(&[13, 0, 0]);
    page.extend_from_slice(&(rows.len() as u16).to_be_bytes());
    page.extend_from_slice(&(start as u16).to_be_bytes());
    page.push(0);
    for at in starts {
        page.extend_from_slice(&((start + at) as u16).to_be_bytes());
    }
    if page.len() > start {
        return None;
    }
    page.resize(start, 0);
    page.append(&mut cells);
    Some(page)
}

type Table = ((&'static str, String), Vec<Vec<u8>>);

/// A database of these tables: name, schema and rows.
fn database(tables: &[Table]) -> Option<Vec<u8>> {
    let schema = tables.iter().zip(2u8..).map(|(((name, sql), _), page)| {
        let columns =
            [Value::Text("table"), Value::Text(name), Value::Text(name), Value::Number(page), Value::Text(sql)];
        record(columns.into_iter())
    });
    let schema: Vec<Vec<u8>> = schema.collect();
    let mut out = leaf(&header(tables.len() + 1), &schema)?;
    for (_, rows) in tables {
        out.append(&mut leaf(&[], rows)?);
    }
    Some(out)
}

/// 1.3: the header of a database that was written once, by what is no SQLite.
fn header(pages: usize) -> Vec<u8> {
    let mut out = b"SQLite format 3\0".to_vec();
    out.extend_from_slice(&(PAGE_BYTES as u16).to_be_bytes());
    // Rollback journal for reading and writing; no reserved octets; payload fractions, which are fixed.
    out.extend_from_slice(&[1, 1, 0, 64, 32, 32]);
    let change_counter = 1;
    let numbers = [change_counter, pages as u32, 0, 0, 1, 4, 0, 0, 1, 0, 0, 0];
    out.extend(numbers.iter().flat_map(|number| u32::to_be_bytes(*number)));
    out.resize(HEADER_BYTES - 8, 0);
    // For which change the number of pages holds, and a version of SQLite.
    out.extend_from_slice(&change_counter.to_be_bytes());
    out.extend_from_slice(&3_008_000_u32.to_be_bytes());
    out
}

/// Serial number, issuer and subject of a certificate, each with its tag (RFC 5280 4.1).
fn names(der: &[u8]) -> Option<[&[u8]; 3]> {
    let (_, certificate, _) = element(der)?;
    let (_, body, _) = element(certificate)?;
    let (first, _, after) = element(body)?;
    // The version stands in front and may be absent.
    let rest = if first.first() == Some(&0xa0) { after } else { body };
    let (serial, _, rest) = element(rest)?;
    let (_, _, rest) = element(rest)?;
    let (issuer, _, rest) = element(rest)?;
    let (_, _, rest) = element(rest)?;
    let (subject, _, _) = element(rest)?;
    Some([serial, issuer, subject])
}

/// The first element, what is in it, and what follows it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&[_, short], after) = der.split_first_chunk::<2>()?;
    let (length, after) = if short < 0x80 {
        (usize::from(short), after)
    } else {
        let (octets, after) = after.split_at_checked(usize::from(short & 0x7f))?;
        let length = octets.iter().try_fold(0usize, |sum, octet| Some(sum.checked_mul(256)? + usize::from(*octet)))?;
        (length, after)
    };
    let (content, rest) = after.split_at_checked(length)?;
    Some((der.get(..der.len() - rest.len())?, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate in outline: what is read of one, and octets in place of the rest.
    fn outline(body: usize) -> Vec<u8> {
        let element = |tag: u8, content: &[u8]| {
            let length = u16::try_from(content.len()).expect("short").to_be_bytes();
            [&[tag, 0x82], &length[..], content].concat()
        };
        let parts = [
            element(0xa0, &element(2, &[2])),
            element(2, &[7, 7]),
            element(0x30, b"algorithm"),
            element(0x30, b"issuer"),
            element(0x30, b"validity"),
            element(0x30, b"subject"),
            element(0x30, &vec![0x55; body]),
        ];
        element(0x30, &element(0x30, &parts.concat()))
    }

    #[test]
    fn names_are_found() {
        let der = outline(100);
        let [serial, issuer, subject] = names(&der).expect("a certificate");
        assert_eq!(serial, [2, 0x82, 0, 2, 7, 7]);
        assert!(issuer.ends_with(b"issuer") && subject.ends_with(b"subject"));
        for cut in 0..der.len() {
            assert!(names(&der[..cut]).is_none(), "{cut}");
        }
    }

    #[test]
    fn the_files_are_of_whole_pages() {
        let [certificates, keys] = write(&outline(500)).expect("written");
        assert_eq!((certificates.len(), keys.len()), (2 * PAGE_BYTES, 3 * PAGE_BYTES));
        for file in [&certificates, &keys] {
            assert!(file.starts_with(b"SQLite format 3\0"));
            assert_eq!(file[28..32], ((file.len() / PAGE_BYTES) as u32).to_be_bytes());
        }
        // The certificate stands in it once, whole, and its digest.
        let der = outline(500);
        assert_eq!(certificates.windows(der.len()).filter(|part| *part == der).count(), 1);
        let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &der);
        assert_eq!(certificates.windows(20).filter(|part| *part == sha1.as_ref()).count(), 1);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        assert!(write(&outline(PAGE_BYTES)).is_none());
        assert!(write(b"no certificate").is_none());
    }

    #[test]
    fn numbers_of_two_octets() {
        for (number, want) in [(0, &[0][..]), (0x7f, &[0x7f]), (0x80, &[0x81, 0]), (1_000, &[0x87, 0x68])] {
            let mut out = Vec::new();
            varint(&mut out, number);
            assert_eq!(out, want, "{number}");
        }
    }
}

//! Packs and pushes, written as git writes them, for tests and measurements.

#![allow(dead_code, reason = "each user needs a part of it")]
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "what helps a test may stop it")]

use std::fmt::Write as _;
use std::io::Write as _;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

pub const COMMIT: u8 = 1;
pub const TREE: u8 = 2;
pub const BLOB: u8 = 3;

/// No object.
pub const ZERO: &str = "0000000000000000000000000000000000000000";
/// What git asks for.
pub const ASKS: &str = "report-status-v2 side-band-64k object-format=sha1 agent=git/2.39.5";

fn hash(sha256: bool, text: &[u8]) -> Vec<u8> {
    digest(if sha256 { &SHA256 } else { &SHA1_FOR_LEGACY_USE_ONLY }, text).as_ref().to_vec()
}

pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// The name of a commit.
pub fn name(content: &[u8], sha256: bool) -> String {
    hex(&hash(sha256, &[format!("commit {}\0", content.len()).as_bytes(), content].concat()))
}

/// A commit on these parents; the message tells it from others.
pub fn commit(parents: &[String], message: &str, sha256: bool) -> Vec<u8> {
    commit_of(&"4b".repeat(if sha256 { 32 } else { 20 }), parents, message)
}

/// A commit of this tree.
pub fn commit_of(tree: &str, parents: &[String], message: &str) -> Vec<u8> {
    let mut text = format!("tree {tree}\n");
    for parent in parents {
        let _ = writeln!(text, "parent {parent}");
    }
    text += "author A <a@example.test> 1700000000 +0000\ncommitter A <a@example.test> 1700000000 +0000\n\n";
    (text + message + "\n").into_bytes()
}

/// How an object is written.
#[derive(Clone, Debug)]
pub enum Base<'a> {
    None,
    /// On one that begins at this octet.
    At(usize, &'a [u8]),
    /// On one of this name.
    Named(&'a str, &'a [u8]),
}

/// A pack under construction.
#[derive(Clone, Debug)]
pub struct Pack {
    sha256: bool,
    count: u32,
    text: Vec<u8>,
}

impl Pack {
    pub fn new(sha256: bool) -> Self {
        Self { sha256, count: 0, text: b"PACK\0\0\0\x02\0\0\0\0".to_vec() }
    }

    /// Adds an object; gives where it begins.
    pub fn add(&mut self, kind: u8, content: &[u8], base: &Base<'_>) -> usize {
        let start = self.text.len();
        let delta = match base {
            Base::None => None,
            Base::At(_, of) | Base::Named(_, of) => Some(delta(of, content)),
        };
        let held = delta.as_deref().unwrap_or(content);
        let kind = match base {
            Base::None => kind,
            Base::At(..) => 6,
            Base::Named(..) => 7,
        };
        self.head(kind, held.len());
        match base {
            Base::None => {}
            Base::At(place, _) => self.back(start - place),
            Base::Named(name, _) => self.text.extend(octets(name)),
        }
        let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        deflate.write_all(held).expect("memory");
        self.text.extend(deflate.finish().expect("memory"));
        self.count += 1;
        start
    }

    /// The head of an object alone.
    pub fn head(&mut self, kind: u8, mut size: usize) {
        let mut octet = kind << 4 | (size & 15) as u8;
        size >>= 4;
        while size > 0 {
            self.text.push(octet | 0x80);
            octet = (size & 0x7f) as u8;
            size >>= 7;
        }
        self.text.push(octet);
    }

    /// Octets as they are.
    pub fn raw(&mut self, octets: &[u8], objects: u32) {
        self.text.extend_from_slice(octets);
        self.count += objects;
    }

    fn back(&mut self, mut back: usize) {
        let mut octets = vec![(back & 0x7f) as u8];
        while back >> 7 > 0 {
            back = (back >> 7) - 1;
            octets.push((back & 0x7f) as u8 | 0x80);
        }
        self.text.extend(octets.iter().rev());
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.text[8..12].copy_from_slice(&self.count.to_be_bytes());
        let sum = hash(self.sha256, &self.text);
        self.text.extend(sum);
        self.text
    }
}

fn delta(base: &[u8], content: &[u8]) -> Vec<u8> {
    let size = |mut size: usize, out: &mut Vec<u8>| {
        while size > 0x7f {
            out.push((size & 0x7f) as u8 | 0x80);
            size >>= 7;
        }
        out.push(size as u8);
    };
    let mut out = Vec::new();
    size(base.len(), &mut out);
    size(content.len(), &mut out);
    let same = base.iter().zip(content).take_while(|(one, two)| one == two).count().min(0xffff);
    if same > 0 {
        out.extend([0xb0, (same & 0xff) as u8, (same >> 8) as u8]);
    }
    for piece in content[same..].chunks(127) {
        out.push(piece.len() as u8);
        out.extend_from_slice(piece);
    }
    out
}

/// One pkt-line.
pub fn line(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [format!("{:04x}", text.len() + 4).as_bytes(), text].concat()
}

/// A push of these lines, the first with capabilities.
pub fn push(lines: &[String], asks: &str, pack: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, text) in lines.iter().enumerate() {
        out.extend(line(if number == 0 { format!("{text}\0 {asks}") } else { text.clone() }));
    }
    out.extend_from_slice(b"0000");
    out.extend_from_slice(pack);
    out
}

/// The octets of an object's name.
pub fn octets(name: &str) -> Vec<u8> {
    (0..name.len()).step_by(2).map(|at| u8::from_str_radix(&name[at..at + 2], 16).expect("hexadecimal")).collect()
}

/// The name of an object that is no commit.
pub fn name_of(kind: &str, content: &[u8]) -> String {
    hex(&hash(false, &[format!("{kind} {}\0", content.len()).as_bytes(), content].concat()))
}

/// A tree of these entries: mode, name, object.
pub fn tree(entries: &[(&str, &str, &str)]) -> Vec<u8> {
    let entry = |(mode, name, id): &(&str, &str, &str)| [format!("{mode} {name}\0").as_bytes(), &octets(id)].concat();
    entries.iter().flat_map(entry).collect()
}

/// A push of one mebibyte: twenty commits, each with its folder of thirty files and one file of 50 KiB that does not deflate.
pub fn mebibyte() -> Vec<u8> {
    let old = "1234567890123456789012345678901234567890".to_owned();
    let (mut pack, mut tip) = (Pack::new(false), old.clone());
    let (mut state, mut rest) = (7u32, Vec::new());
    for number in 0..20 {
        let file: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(50 * 1024)
        .collect();
        let id = name_of("blob", &file);
        let names: Vec<String> = (0..30).map(|entry| format!("file-{entry:02}.rs")).collect();
        let folder = tree(&names.iter().map(|name| ("100644", name.as_str(), id.as_str())).collect::<Vec<_>>());
        let content = commit_of(&name_of("tree", &folder), &[tip], &format!("commit {number}"));
        tip = name(&content, false);
        rest.push((content, folder, file));
    }
    for (content, ..) in rest.iter().rev() {
        pack.add(COMMIT, content, &Base::None);
    }
    for (_, folder, file) in &rest {
        pack.add(TREE, folder, &Base::None);
        pack.add(BLOB, file, &Base::None);
    }
    push(&[format!("{old} {tip} refs/heads/agent/x")], ASKS, &pack.finish())
}

/// A push that moves a branch by so many commits, each with a tree and a file.
pub fn moved(commits: usize) -> Vec<u8> {
    let old = "1234567890123456789012345678901234567890".to_owned();
    let (mut pack, mut tip) = (Pack::new(false), old.clone());
    let mut contents = Vec::with_capacity(commits);
    for number in 0..commits {
        let content = commit(&[tip], &format!("commit {number} with a line that says why"), false);
        tip = name(&content, false);
        contents.push(content);
    }
    for content in contents.iter().rev() {
        pack.add(COMMIT, content, &Base::None);
    }
    for number in 0..commits {
        pack.add(TREE, format!("100644 file\0{number:020}").as_bytes(), &Base::None);
        pack.add(BLOB, format!("{number}\n").repeat(200).as_bytes(), &Base::None);
    }
    push(&[format!("{old} {tip} refs/heads/agent/x")], ASKS, &pack.finish())
}

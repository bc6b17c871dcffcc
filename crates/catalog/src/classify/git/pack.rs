//! The commits of a pack (git-scm.com/docs/gitformat-pack), each with its parents, by names that are computed here. Trees and files
//! are inflated to find where they end, and not kept.
//!
//! Nothing is refused: a pack that is odd, or larger than the bounds, gives nothing, and then nothing can be told from it. Its own
//! faults are the server's business.

use std::collections::HashMap;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use flate2::{Decompress, FlushDecompress, Status};
use smallvec::SmallVec;

use super::command::{Format, Id};
use super::delta;

/// What is spent on one pack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Octets that come out of it, deltas applied.
    pub inflated_bytes: usize,
    /// Octets that are kept: commits, and deltas whose base is not seen yet.
    pub kept_bytes: usize,
    /// One commit, or one delta that may make one. The longest messages known are of some hundred KiB.
    pub commit_bytes: usize,
    pub objects: usize,
    /// Deltas on deltas; git itself writes 50, and never more than 4,095.
    pub depth: u16,
}

impl Bounds {
    /// Many times what a day's work is: a thousand commits with their trees and files inflate to some mebibytes.
    pub const HOUSE: Self = Self {
        inflated_bytes: 64 * 1024 * 1024,
        kept_bytes: 16 * 1024 * 1024,
        commit_bytes: 1024 * 1024,
        objects: 131_072,
        depth: 4_095,
    };
}

/// What an object costs besides its octets: making the inflater ready takes as long as so many of them.
const OBJECT_COST_BYTES: usize = 256;
/// Octets that are inflated at a time.
const PIECE: usize = 16 * 1024;

/// Parents of commits.
pub(super) type Commits = HashMap<Id, SmallVec<[Id; 1]>>;

/// An object of the pack.
#[derive(Clone, Copy)]
enum Object {
    /// Where its content is kept.
    Commit(usize),
    /// A delta whose base may still come.
    Waiting,
    /// No commit, or nothing that can be known.
    Other,
}

/// A delta whose base is not known yet.
struct Waiting {
    object: usize,
    delta: Vec<u8>,
}

/// The commits of a pack, where all of it reads as git writes it.
pub(super) fn commits(pack: &[u8], format: Format, bounds: Bounds) -> Option<Commits> {
    let end = pack.len().checked_sub(format.octets())?;
    let (content, trailer) = pack.split_at_checked(end)?;
    let (head, _) = content.split_first_chunk::<12>()?;
    let [b'P', b'A', b'C', b'K', 0, 0, 0, 2 | 3, count @ ..] = *head else { return None };
    let count = u32::from_be_bytes(count) as usize;
    if count > bounds.objects || hash(format, &[content]) != Id::new(trailer) {
        return None;
    }
    let mut reader = Reader::new(content, format, bounds);
    for _ in 0..count {
        reader.object()?;
    }
    (reader.at == content.len()).then_some(reader.parents)
}

/// The name of what these parts make.
fn hash(format: Format, parts: &[&[u8]]) -> Id {
    let mut context = Context::new(match format {
        Format::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
        Format::Sha256 => &SHA256,
    });
    for part in parts {
        context.update(part);
    }
    Id::new(context.finish().as_ref())
}

struct Reader<'a> {
    pack: &'a [u8],
    at: usize,
    format: Format,
    /// What may still be spent.
    left: Bounds,
    inflater: Decompress,
    piece: Vec<u8>,
    /// By where they begin, in order.
    objects: Vec<(usize, Object)>,
    /// Commits with the number of deltas that made them.
    contents: Vec<(Vec<u8>, u16)>,
    by_name: HashMap<Id, usize>,
    on_object: HashMap<usize, Vec<Waiting>>,
    on_name: HashMap<Id, Vec<Waiting>>,
    parents: Commits,
}

impl<'a> Reader<'a> {
    fn new(pack: &'a [u8], format: Format, bounds: Bounds) -> Self {
        Self {
            pack,
            at: 12,
            format,
            left: bounds,
            inflater: Decompress::new(true),
            piece: vec![0; PIECE],
            objects: Vec::new(),
            contents: Vec::new(),
            by_name: HashMap::new(),
            on_object: HashMap::new(),
            on_name: HashMap::new(),
            parents: Commits::new(),
        }
    }

    fn octet(&mut self) -> Option<u8> {
        let octet = *self.pack.get(self.at)?;
        self.at += 1;
        Some(octet)
    }

    /// One object: its kind and size, for a delta its base, then what it holds, deflated.
    fn object(&mut self) -> Option<()> {
        let start = self.at;
        let first = self.octet()?;
        let size = self.size(first)?;
        match first >> 4 & 7 {
            1 => {
                if size > self.left.commit_bytes {
                    return None;
                }
                let content = self.inflate(size, true)?;
                self.objects.push((start, Object::Waiting));
                self.commit(self.objects.len() - 1, content, 0)
            }
            2..=4 => {
                self.inflate(size, false)?;
                self.objects.push((start, Object::Other));
                Some(())
            }
            6 => {
                let place = start.checked_sub(self.back()?)?;
                let base = self.objects.binary_search_by_key(&place, |(begin, _)| *begin).ok()?;
                self.delta(start, size, Base::Object(base))
            }
            7 => {
                let octets = self.format.octets();
                let name = Id::new(self.pack.get(self.at..self.at + octets)?);
                self.at += octets;
                self.delta(start, size, Base::Name(name))
            }
            _ => None,
        }
    }

    /// Four bits of the first octet, then seven of each that follows.
    fn size(&mut self, first: u8) -> Option<usize> {
        let (mut size, mut shift, mut octet) = (usize::from(first & 15), 4u32, first);
        while octet & 0x80 != 0 {
            octet = self.octet()?;
            if shift > 25 {
                return None;
            }
            size |= usize::from(octet & 0x7f) << shift;
            shift += 7;
        }
        Some(size)
    }

    /// How far back a base stands.
    fn back(&mut self) -> Option<usize> {
        let mut octet = self.octet()?;
        let mut back = usize::from(octet & 0x7f);
        while octet & 0x80 != 0 {
            octet = self.octet()?;
            back = (back + 1).checked_mul(128)? | usize::from(octet & 0x7f);
        }
        Some(back)
    }

    fn delta(&mut self, start: usize, size: usize, base: Base) -> Option<()> {
        let kind = match base {
            Base::Object(object) => self.objects.get(object).map_or(Object::Other, |(_, kind)| *kind),
            Base::Name(name) => self.by_name.get(&name).map_or(Object::Waiting, |place| Object::Commit(*place)),
        };
        let keep = !matches!(kind, Object::Other) && size <= self.left.commit_bytes && size <= self.left.kept_bytes;
        let delta = self.inflate(size, keep)?;
        if !keep {
            self.objects.push((start, Object::Other));
            return Some(());
        }
        let object = self.objects.len();
        self.objects.push((start, Object::Waiting));
        match (kind, base) {
            (Object::Commit(place), _) => {
                let (content, depth) = self.contents.get(place)?;
                let depth = *depth;
                let made = delta::apply(content, &delta, self.left.commit_bytes.min(self.left.inflated_bytes))?;
                self.commit(object, made, depth + 1)?;
            }
            (_, base) => {
                self.left.kept_bytes -= delta.len();
                let waiting = Waiting { object, delta };
                match base {
                    Base::Object(base) => self.on_object.entry(base).or_default().push(waiting),
                    Base::Name(name) => self.on_name.entry(name).or_default().push(waiting),
                }
            }
        }
        Some(())
    }

    /// Takes a commit, and every one that waits for it, without recursion.
    fn commit(&mut self, object: usize, content: Vec<u8>, depth: u16) -> Option<()> {
        let mut work = vec![(object, content, depth)];
        while let Some((object, content, depth)) = work.pop() {
            if depth > self.left.depth {
                return None;
            }
            self.left.kept_bytes = self.left.kept_bytes.checked_sub(content.len())?;
            if depth > 0 {
                self.left.inflated_bytes = self.left.inflated_bytes.checked_sub(content.len())?;
            }
            let head = format!("commit {}\0", content.len());
            let name = hash(self.format, &[head.as_bytes(), &content]);
            // The same object twice: nobody writes that.
            if self.parents.insert(name, parents(&content, self.format)?).is_some() {
                return None;
            }
            let waiting = self.on_object.remove(&object).into_iter().chain(self.on_name.remove(&name)).flatten();
            for Waiting { object, delta } in waiting {
                let made = delta::apply(&content, &delta, self.left.commit_bytes.min(self.left.inflated_bytes))?;
                work.push((object, made, depth + 1));
            }
            let place = self.contents.len();
            self.objects.get_mut(object)?.1 = Object::Commit(place);
            self.by_name.insert(name, place);
            self.contents.push((content, depth));
        }
        Some(())
    }

    /// Inflates what comes next, which must be of this size, and gives it where it is to be kept.
    fn inflate(&mut self, size: usize, keep: bool) -> Option<Vec<u8>> {
        self.left.inflated_bytes = self.left.inflated_bytes.checked_sub(size + OBJECT_COST_BYTES)?;
        self.inflater.reset(true);
        let mut kept = Vec::with_capacity(if keep { size } else { 0 });
        let mut made = 0;
        loop {
            let (read, written) = (self.inflater.total_in(), self.inflater.total_out());
            let input = self.pack.get(self.at..)?;
            let status = self.inflater.decompress(input, &mut self.piece, FlushDecompress::None).ok()?;
            let read = usize::try_from(self.inflater.total_in() - read).ok()?;
            let written = usize::try_from(self.inflater.total_out() - written).ok()?;
            self.at += read;
            made += written;
            if made > size {
                return None;
            }
            if keep {
                kept.extend_from_slice(self.piece.get(..written)?);
            }
            match status {
                Status::StreamEnd => return (made == size).then_some(kept),
                _ if read == 0 && written == 0 => return None,
                _ => {}
            }
        }
    }
}

/// What a delta stands on.
#[derive(Clone, Copy)]
enum Base {
    Object(usize),
    Name(Id),
}

/// The parents of a commit: the lines behind `tree`, up to the author. One that stands further down is none for git, and nobody writes it.
fn parents(content: &[u8], format: Format) -> Option<SmallVec<[Id; 1]>> {
    let mut lines = content.split(|byte| *byte == b'\n');
    Id::read(lines.next()?.strip_prefix(b"tree ")?, format)?;
    let mut parents = SmallVec::new();
    let mut authored = false;
    for line in lines.take_while(|line| !line.is_empty()) {
        match line.strip_prefix(b"parent ") {
            Some(name) if !authored => parents.push(Id::read(name, format)?),
            None if authored || line.starts_with(b"author ") => authored = true,
            _ => return None,
        }
    }
    // One that is named twice is one.
    parents.sort_unstable();
    parents.dedup();
    authored.then_some(parents)
}

//! The commits of a pack (git-scm.com/docs/gitformat-pack), each with its parents, and its trees, by names that are computed here. Files
//! are inflated to find where they end, and not kept.
//!
//! Nothing is refused: a pack that is odd, or larger than the bounds, gives nothing, and then nothing can be told from it. Its own
//! faults are the server's business.

use std::collections::{HashMap, HashSet};

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
    /// Octets of all trees; with none, no tree is looked at.
    pub tree_bytes: usize,
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
        // A thousand commits to folders of a hundred entries.
        tree_bytes: 8 * 1024 * 1024,
        objects: 131_072,
        depth: 4_095,
    };
    /// For one who asks for commits alone.
    pub const COMMITS: Self = Self { tree_bytes: 0, ..Self::HOUSE };
}

/// What an object costs besides its octets: making the inflater ready takes as long as so many of them.
const OBJECT_COST_BYTES: usize = 256;
/// Octets that are inflated at a time.
const PIECE: usize = 16 * 1024;

/// A commit.
pub(super) struct Commit {
    pub parents: SmallVec<[Id; 1]>,
    /// The tree of its files.
    pub tree: Id,
}

pub(super) type Commits = HashMap<Id, Commit>;

/// What is known of a pack.
pub(super) struct Pack {
    pub commits: Commits,
    /// Every tree of it was read.
    pub whole: bool,
    by_name: HashMap<Id, Object>,
    contents: Vec<Content>,
    /// Where files begin that are written whole.
    files: Vec<usize>,
}

impl Pack {
    /// Whether a tree is in it.
    pub fn has_tree(&self, id: &Id) -> bool {
        matches!(self.by_name.get(id), Some(Object::Kept(Kind::Tree, _)))
    }

    /// Trees, each with what it holds.
    pub fn trees(&self) -> impl Iterator<Item = (&Id, &[u8])> {
        self.contents.iter().filter_map(|content| Some((content.name.as_ref()?, content.text.as_slice())))
    }
}

/// What is kept of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Commit,
    Tree,
}

/// An object of the pack.
#[derive(Clone, Copy)]
enum Object {
    /// Where its content is kept.
    Kept(Kind, usize),
    /// A delta whose base may still come.
    Waiting,
    /// A file or a tag, or nothing that can be known.
    Other,
}

/// A content with the number of deltas that made it.
struct Content {
    text: Vec<u8>,
    depth: u16,
    /// Of a tree.
    name: Option<Id>,
}

/// A delta whose base is not known yet.
struct Waiting {
    object: usize,
    delta: Vec<u8>,
}

/// What a pack holds, where all of it reads as git writes it.
pub(super) fn read(pack: &[u8], format: Format, bounds: Bounds) -> Option<Pack> {
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
    (reader.at == content.len()).then(|| reader.finish())
}

/// Which of these files a pack holds that was read before. One that is written as a delta is not found.
pub(super) fn files(pack: &[u8], format: Format, known: &Pack, wanted: &HashSet<Id>) -> HashSet<Id> {
    let mut reader = Reader::new(pack, format, Bounds::COMMITS);
    let mut held = HashSet::new();
    for place in &known.files {
        reader.at = *place;
        let Some((_, size)) = reader.head() else { break };
        let Some(content) = reader.inflate(size, true) else { break };
        let name = hash(format, &[format!("blob {size}\0").as_bytes(), &content]);
        if wanted.contains(&name) {
            held.insert(name);
        }
    }
    held
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
    contents: Vec<Content>,
    by_name: HashMap<Id, Object>,
    on_object: HashMap<usize, Vec<Waiting>>,
    on_name: HashMap<Id, Vec<Waiting>>,
    commits: Commits,
    files: Vec<usize>,
    /// Some tree is not kept.
    blind: bool,
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
            commits: Commits::new(),
            files: Vec::new(),
            blind: bounds.tree_bytes == 0,
        }
    }

    fn octet(&mut self) -> Option<u8> {
        let octet = *self.pack.get(self.at)?;
        self.at += 1;
        Some(octet)
    }

    fn finish(self) -> Pack {
        // What still waits stands on something that is not here, and may be a tree.
        let whole = !self.blind && self.on_object.is_empty() && self.on_name.is_empty();
        let Self { commits, by_name, contents, files, .. } = self;
        Pack { commits, whole, by_name, contents, files }
    }

    /// The kind and the size of what comes next.
    fn head(&mut self) -> Option<(u8, usize)> {
        let first = self.octet()?;
        Some((first >> 4 & 7, self.size(first)?))
    }

    /// One object: its kind and size, for a delta its base, then what it holds, deflated.
    fn object(&mut self) -> Option<()> {
        let start = self.at;
        let (kind, size) = self.head()?;
        match kind {
            1 => {
                if size > self.left.commit_bytes {
                    return None;
                }
                let text = self.inflate(size, true)?;
                self.objects.push((start, Object::Waiting));
                self.settle(Kind::Commit, self.objects.len() - 1, text, 0)
            }
            2 if size <= self.left.tree_bytes => {
                let text = self.inflate(size, true)?;
                self.objects.push((start, Object::Waiting));
                self.settle(Kind::Tree, self.objects.len() - 1, text, 0)
            }
            2..=4 => {
                self.inflate(size, false)?;
                self.objects.push((start, Object::Other));
                self.blind |= kind == 2;
                if kind == 3 {
                    self.files.push(start);
                }
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
        let on = match base {
            Base::Object(object) => self.objects.get(object).map_or(Object::Other, |(_, kind)| *kind),
            Base::Name(name) => self.by_name.get(&name).copied().unwrap_or(Object::Waiting),
        };
        let keep = !matches!(on, Object::Other) && size <= self.left.commit_bytes && size <= self.left.kept_bytes;
        let delta = self.inflate(size, keep)?;
        if !keep {
            self.objects.push((start, Object::Other));
            self.blind |= !matches!(on, Object::Other);
            return Some(());
        }
        let object = self.objects.len();
        self.objects.push((start, Object::Waiting));
        match (on, base) {
            (Object::Kept(kind, place), _) => {
                let most = self.most(kind);
                let content = self.contents.get(place)?;
                let depth = content.depth;
                match (delta::apply(&content.text, &delta, most), kind) {
                    (Some(made), _) => self.settle(kind, object, made, depth + 1)?,
                    (None, Kind::Commit) => return None,
                    (None, Kind::Tree) => self.lose(object)?,
                }
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

    /// What one object may still be made of.
    fn most(&self, kind: Kind) -> usize {
        match kind {
            Kind::Commit => self.left.commit_bytes.min(self.left.inflated_bytes),
            Kind::Tree => self.left.tree_bytes,
        }
    }

    /// Gives a tree up: nothing is proven of trees then, and commits are read on.
    fn lose(&mut self, object: usize) -> Option<()> {
        self.objects.get_mut(object)?.1 = Object::Other;
        self.blind = true;
        Some(())
    }

    /// Takes an object, and every one that waits for it, without recursion.
    fn settle(&mut self, kind: Kind, object: usize, text: Vec<u8>, depth: u16) -> Option<()> {
        let mut work = vec![(object, text, depth)];
        while let Some((object, text, depth)) = work.pop() {
            let Some(name) = self.enter(kind, &text, depth) else {
                if kind == Kind::Commit {
                    return None;
                }
                self.lose(object)?;
                continue;
            };
            for Waiting { object, delta } in self.waiting_for(object, &name) {
                match (delta::apply(&text, &delta, self.most(kind)), kind) {
                    (Some(made), _) => work.push((object, made, depth + 1)),
                    (None, Kind::Commit) => return None,
                    (None, Kind::Tree) => self.lose(object)?,
                }
            }
            let kept = Object::Kept(kind, self.contents.len());
            self.objects.get_mut(object)?.1 = kept;
            self.by_name.insert(name, kept);
            self.contents.push(Content { text, depth, name: (kind == Kind::Tree).then_some(name) });
        }
        Some(())
    }

    /// Deltas that wait for an object, by its place or by its name.
    fn waiting_for(&mut self, object: usize, name: &Id) -> impl Iterator<Item = Waiting> + use<> {
        // Most packs have none.
        let by_place = if self.on_object.is_empty() { None } else { self.on_object.remove(&object) };
        let by_name = if self.on_name.is_empty() { None } else { self.on_name.remove(name) };
        by_place.into_iter().chain(by_name).flatten()
    }

    /// Counts an object and gives its name; nothing where it is odd or too much.
    fn enter(&mut self, kind: Kind, text: &[u8], depth: u16) -> Option<Id> {
        if depth > self.left.depth {
            return None;
        }
        if kind == Kind::Tree {
            self.left.tree_bytes = self.left.tree_bytes.checked_sub(text.len())?;
            return Some(hash(self.format, &[format!("tree {}\0", text.len()).as_bytes(), text]));
        }
        self.left.kept_bytes = self.left.kept_bytes.checked_sub(text.len())?;
        if depth > 0 {
            self.left.inflated_bytes = self.left.inflated_bytes.checked_sub(text.len())?;
        }
        let name = hash(self.format, &[format!("commit {}\0", text.len()).as_bytes(), text]);
        // The same object twice: nobody writes that.
        self.commits.insert(name, commit(text, self.format)?).is_none().then_some(name)
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

/// A commit's tree and its parents: the lines up to the author. A parent that stands further down is none for git, and nobody writes it.
fn commit(content: &[u8], format: Format) -> Option<Commit> {
    let mut lines = content.split(|byte| *byte == b'\n');
    let tree = Id::read(lines.next()?.strip_prefix(b"tree ")?, format)?;
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
    authored.then_some(Commit { parents, tree })
}

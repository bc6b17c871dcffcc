//! What a push asks for: `old new ref`, a line each, the first with capabilities behind a NUL; perhaps push options; then the
//! pack (git-scm.com/docs/pack-protocol, "Reference Update Request and Packfile Transfer").
//!
//! Stricter than git, which reads capabilities in any line, takes large hexadecimal digits, and ignores what stands behind the object
//! of a `shallow` line: two readings of one push would be two pushes.

use std::collections::HashSet;

use model::bounds::CALLS_MAX;

use super::packet::{Packet, Packets};

/// Lines `shallow`: a clone has one for each commit at which it was cut.
const SHALLOW_MAX: usize = 4_096;
/// Push options of one push.
const OPTIONS_MAX: usize = 256;
/// A ref's name: the longest path of most systems. GitHub takes 244 octets.
const NAME_BYTES_MAX: usize = 4_096;
/// What a client may ask for. None of these changes how the rest is read but `push-options` and `object-format`; one that we do
/// not know might.
const CAPABILITIES: [&str; 10] = [
    "report-status",
    "report-status-v2",
    "delete-refs",
    "side-band",
    "side-band-64k",
    "quiet",
    "atomic",
    "ofs-delta",
    "no-thin",
    PUSH_OPTIONS,
];
const PUSH_OPTIONS: &str = "push-options";
/// The same with a value of the client's choice.
const NAMES: [&str; 2] = ["agent", "session-id"];

/// Why a push is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It is no push, or could be read in two ways.
    Odd(&'static str),
    /// It goes on behind what was given.
    Ends,
    /// More of something than is looked at.
    TooMany,
    /// Signed: its commands stand inside a certificate.
    Signed,
}

/// How objects are named: SHA-1 or SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Sha1,
    Sha256,
}

impl Format {
    /// Octets of a name.
    pub const fn octets(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// The name of an object; one of SHA-1 has zeros behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id([u8; 32]);

impl Id {
    /// The name with these octets, at most 32.
    pub fn new(octets: &[u8]) -> Self {
        let mut id = [0; 32];
        for (to, from) in id.iter_mut().zip(octets) {
            *to = *from;
        }
        Self(id)
    }

    /// A name as it is written: small hexadecimal digits.
    pub fn read(text: &[u8], format: Format) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, []) = text.as_chunks::<2>() else { return None };
        if pairs.len() != format.octets() {
            return None;
        }
        let mut id = [0; 32];
        for (to, [high, low]) in id.iter_mut().zip(pairs) {
            *to = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(id))
    }

    /// Whether it stands for no object.
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 32]
    }
}

/// One ref that is to change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command<'a> {
    /// What it points at, as the client believes; the server checks it. Zero for a new ref.
    pub old: Id,
    /// What it shall point at; zero for a ref that shall go.
    pub new: Id,
    pub old_text: &'a str,
    pub new_text: &'a str,
    /// The whole name: `refs/heads/main`.
    pub name: &'a str,
}

/// A push, read up to its pack.
#[derive(Debug)]
pub(super) struct Push<'a> {
    pub format: Format,
    /// None for the question whether one may push: git asks it before a push that comes in chunks.
    pub commands: Vec<Command<'a>>,
    /// Commits whose parents the client does not have.
    pub shallow: HashSet<Id>,
    pub options: Vec<&'a str>,
    /// What follows, unread.
    pub pack: &'a [u8],
}

/// Reads a push from its front.
pub(super) fn read(text: &[u8]) -> Result<Push<'_>, Stop> {
    let mut packets = Packets::of(text);
    let (mut lines, mut cut) = (Vec::new(), Vec::new());
    let mut asked = None;
    while let Packet::Line(line) = packets.next()? {
        if let Some(id) = line.strip_prefix(b"shallow ") {
            if !lines.is_empty() {
                return Err(Stop::Odd("a line `shallow` stands behind a ref"));
            }
            if cut.len() >= SHALLOW_MAX {
                return Err(Stop::TooMany);
            }
            cut.push(id);
            continue;
        }
        let mut parts = line.split(|byte| *byte == 0);
        let (line, behind) = (parts.next().unwrap_or_default(), parts.next());
        if line == b"push-cert" {
            return Err(Stop::Signed);
        }
        if parts.next().is_some() || behind.is_some() && !lines.is_empty() {
            return Err(Stop::Odd("capabilities stand where none may"));
        }
        asked = asked.or(behind);
        if lines.len() >= CALLS_MAX {
            return Err(Stop::TooMany);
        }
        lines.push(line);
    }
    let asked = capabilities(asked.unwrap_or_default())?;
    let mut push = Push {
        format: asked.format,
        commands: Vec::with_capacity(lines.len()),
        shallow: HashSet::with_capacity(cut.len()),
        options: Vec::new(),
        pack: &[],
    };
    for id in cut {
        push.shallow.insert(Id::read(id, asked.format).ok_or(Stop::Odd("a line `shallow` names no object"))?);
    }
    let mut names = HashSet::with_capacity(lines.len());
    for line in lines {
        let command = command(line, asked.format)?;
        if !names.insert(command.name) {
            return Err(Stop::Odd("it names a ref twice"));
        }
        push.commands.push(command);
    }
    if push.commands.is_empty() && !push.shallow.is_empty() {
        return Err(Stop::Odd("it has lines `shallow` and no ref"));
    }
    if asked.options {
        options(&mut packets, &mut push.options)?;
    }
    push.pack = packets.rest();
    if !push.pack.is_empty() && push.commands.iter().all(|command| command.new.is_zero()) {
        return Err(Stop::Odd("something follows where no pack may"));
    }
    Ok(push)
}

/// What capabilities change.
struct Asked {
    format: Format,
    options: bool,
}

fn capabilities(text: &[u8]) -> Result<Asked, Stop> {
    let mut asked = Asked { format: Format::Sha1, options: false };
    let text = std::str::from_utf8(text).map_err(|_| Stop::Odd("its capabilities are no text"))?;
    let mut seen = HashSet::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let printed = word.bytes().all(|byte| byte.is_ascii_graphic());
        let known = match value {
            None => CAPABILITIES.contains(&name),
            Some("sha1") if name == "object-format" => true,
            Some("sha256") if name == "object-format" => {
                asked.format = Format::Sha256;
                true
            }
            Some(_) => NAMES.contains(&name),
        };
        if !known || !printed {
            return Err(Stop::Odd("it asks for a capability that is not known here"));
        }
        if !seen.insert(name) {
            return Err(Stop::Odd("it asks for a capability twice"));
        }
        asked.options |= name == PUSH_OPTIONS;
    }
    Ok(asked)
}

fn command(line: &[u8], format: Format) -> Result<Command<'_>, Stop> {
    const ODD: Stop = Stop::Odd("a line is no `old new ref`");
    let line = std::str::from_utf8(line).map_err(|_| Stop::Odd("the name of a ref is no UTF-8"))?;
    let mut parts = line.splitn(3, ' ');
    let (Some(old_text), Some(new_text), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(ODD);
    };
    let read = |text: &str| Id::read(text.as_bytes(), format).ok_or(ODD);
    let (old, new) = (read(old_text)?, read(new_text)?);
    if !is_ref(name) {
        return Err(Stop::Odd("it names a ref that git refuses"));
    }
    if old.is_zero() && new.is_zero() {
        return Err(Stop::Odd("it deletes a ref that is not there"));
    }
    Ok(Command { old, new, old_text, new_text, name })
}

/// Whether git takes this as the whole name of a ref (git-scm.com/docs/git-check-ref-format).
fn is_ref(name: &str) -> bool {
    let refused = |byte: u8| byte <= b' ' || byte == 0x7f || b"~^:?*[\\".contains(&byte);
    name.starts_with("refs/")
        && name.len() <= NAME_BYTES_MAX
        && !name.bytes().any(refused)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none())
}

fn options<'a>(packets: &mut Packets<'a>, out: &mut Vec<&'a str>) -> Result<(), Stop> {
    while let Packet::Line(line) = packets.next()? {
        let text = std::str::from_utf8(line).map_err(|_| Stop::Odd("a push option is no UTF-8"))?;
        if text.chars().any(char::is_control) {
            return Err(Stop::Odd("a push option holds a control character"));
        }
        if out.len() >= OPTIONS_MAX {
            return Err(Stop::TooMany);
        }
        out.push(text);
    }
    Ok(())
}

//! Turns what a terminal sends into keys, for questions.
//!
//! Only plain characters and a few named keys come through. Everything that a terminal may send by itself, in answer to
//! something the agent wrote before (a cursor report, a clipboard, a palette), is swallowed whole, because the agent chooses
//! part of such answers and must not answer a question with them.

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A printable character.
    Char(char),
    /// Return.
    Enter,
    /// Escape alone.
    Escape,
    /// Backspace or delete.
    Backspace,
    /// Tab.
    Tab,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Ctrl-C.
    Interrupt,
    /// The size of the terminal has changed: draw again.
    Resized,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ground,
    Escape,
    Csi,
    Ss3,
    Text,
    TextEscape,
}

/// The parser.
#[derive(Debug)]
pub(crate) struct Keys {
    state: State,
    parameters: Vec<u8>,
    utf8: Vec<u8>,
    pasting: bool,
}

impl Keys {
    pub(crate) const fn new() -> Self {
        Self { state: State::Ground, parameters: Vec::new(), utf8: Vec::new(), pasting: false }
    }

    /// Whether a lone escape may be waiting for more.
    pub(crate) fn is_escape_pending(&self) -> bool {
        self.state == State::Escape
    }

    /// Nothing came after the escape: it was the key.
    pub(crate) fn settle(&mut self) -> Option<Key> {
        let pending = self.is_escape_pending();
        if pending {
            self.state = State::Ground;
        }
        pending.then_some(Key::Escape)
    }

    /// Keys in `bytes`.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        bytes.iter().filter_map(|byte| self.octet(*byte)).collect()
    }

    fn octet(&mut self, byte: u8) -> Option<Key> {
        match (self.state, byte) {
            (State::Text, 0x1b) => self.enter(State::TextEscape),
            (State::Text, 0x07 | 0x9c) | (State::TextEscape, b'\\') => self.enter(State::Ground),
            (State::Text | State::TextEscape, _) | (State::Escape, b']' | b'P' | b'_' | b'^' | b'X') => {
                self.enter(State::Text)
            }
            (State::Escape, b'[') => {
                self.parameters.clear();
                self.enter(State::Csi)
            }
            (State::Escape, b'O') => self.enter(State::Ss3),
            (State::Escape, 0x1b) => Some(Key::Escape),
            // Alt with a key is not the key.
            (State::Escape, _) => self.enter(State::Ground),
            (State::Ss3, _) => {
                self.state = State::Ground;
                self.named(&[], byte)
            }
            (State::Csi, 0x40..=0x7e) => {
                self.state = State::Ground;
                let parameters = std::mem::take(&mut self.parameters);
                self.named(&parameters, byte)
            }
            (State::Csi, _) => {
                if self.parameters.len() < 32 {
                    self.parameters.push(byte);
                }
                None
            }
            (State::Ground, 0x1b) => self.enter(State::Escape),
            (State::Ground, _) if self.pasting => None,
            (State::Ground, _) => self.plain(byte),
        }
    }

    /// A control of one octet: the same as escape and the letter 0x40 below.
    fn control(&mut self, byte: u8) -> Option<Key> {
        self.state = State::Escape;
        self.octet(byte.wrapping_sub(0x40))
    }

    fn enter(&mut self, state: State) -> Option<Key> {
        self.state = state;
        None
    }

    fn named(&mut self, parameters: &[u8], last: u8) -> Option<Key> {
        match (parameters, last) {
            ([], b'A') => Some(Key::Up),
            ([], b'B') => Some(Key::Down),
            (b"5", b'~') => Some(Key::PageUp),
            (b"6", b'~') => Some(Key::PageDown),
            // What is pasted is not typed.
            (b"200", b'~') => {
                self.pasting = true;
                None
            }
            (b"201", b'~') => {
                self.pasting = false;
                None
            }
            _ => None,
        }
    }

    fn plain(&mut self, byte: u8) -> Option<Key> {
        match byte {
            b'\r' | b'\n' => Some(Key::Enter),
            b'\t' => Some(Key::Tab),
            0x7f | 0x08 => Some(Key::Backspace),
            0x03 => Some(Key::Interrupt),
            0x20..=0x7e => {
                self.utf8.clear();
                Some(Key::Char(char::from(byte)))
            }
            // Between characters, one octet is a control (ECMA-48, 5.4): what follows is a terminal's answer.
            0x80..=0x9f if self.utf8.is_empty() => self.control(byte),
            0x80.. => {
                self.utf8.push(byte);
                let character = std::str::from_utf8(&self.utf8).ok().and_then(|text| text.chars().next());
                if character.is_some() || self.utf8.len() >= 4 {
                    self.utf8.clear();
                }
                match character.map(|character| (character, u32::from(character))) {
                    // The same control, written as a character.
                    Some((_, code @ 0x80..=0x9f)) => self.control(u8::try_from(code).unwrap_or_default()),
                    Some((character, _)) if !character.is_control() => Some(Key::Char(character)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let table: &[(&[u8], &[Key])] = &[
            (b"yN", &[Key::Char('y'), Key::Char('N')]),
            ("é".as_bytes(), &[Key::Char('é')]),
            (b"\r\x7f\t\x03", &[Key::Enter, Key::Backspace, Key::Tab, Key::Interrupt]),
            (b"\x1b[A\x1bOB\x1b[5~\x1b[6~", &[Key::Up, Key::Down, Key::PageUp, Key::PageDown]),
            (b"\x1by", &[]),
            (b"\x1b[12;40R\x1b[?1;2c", &[]),
            (b"\x1b]52;c;eXl5eQ==yyy\x07\x1bP>|yyy\x1b\\n", &[Key::Char('n')]),
            (b"\x1bPyy\x1byy\x1b\\n", &[Key::Char('n')]),
            (b"\x1b[200~yyy\x1b[201~n", &[Key::Char('n')]),
            (b"\x1b[<0;1;1M", &[]),
            (b"\x9d52;c;yyy\x07n", &[Key::Char('n')]),
            ("\u{9d}60;yyy\x07n".as_bytes(), &[Key::Char('n')]),
            ("\u{9b}A\u{8f}Bé".as_bytes(), &[Key::Up, Key::Down, Key::Char('é')]),
            (b"\x90yy\x1b\\n", &[Key::Char('n')]),
        ];
        for (bytes, keys) in table {
            assert_eq!(&Keys::new().feed(bytes), keys, "{bytes:?}");
            let mut slow = Keys::new();
            let split: Vec<Key> = bytes.iter().flat_map(|byte| slow.feed(&[*byte])).collect();
            assert_eq!(&split, keys, "{bytes:?} octet by octet");
        }
        let mut lone = Keys::new();
        assert_eq!(lone.feed(b"\x1b"), []);
        assert_eq!(lone.settle(), Some(Key::Escape));
        assert_eq!(lone.settle(), None);
    }
}

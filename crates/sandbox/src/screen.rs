//! Follows what the agent does to the terminal, so that a question can be put on top and everything be as before after it.
//!
//! A state machine over ECMA-48 control sequences that keeps only modes. It never changes what passes. Split writes do not
//! matter: it works octet by octet.

/// Private modes (DECSET) that are followed, each with its value after a reset. Mouse, paste and focus reporting would
/// otherwise send reports into a question; the rest would garble or hide it.
const MODES: &[(u16, bool)] = &[
    (1, false),
    (5, false),
    (6, false),
    (7, true),
    (9, false),
    (25, true),
    (45, false),
    (69, false),
    (1000, false),
    (1001, false),
    (1002, false),
    (1003, false),
    (1004, false),
    (1005, false),
    (1006, false),
    (1007, false),
    (1015, false),
    (1016, false),
    (2004, false),
    (2026, false),
    (2031, false),
    (2048, false),
];
/// The three ways into the alternate screen.
const ALTERNATE: [u16; 3] = [47, 1047, 1049];
/// Parameters of one sequence that are looked at; longer ones are not modes.
const PARAMETER_BYTES_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ground,
    Escape,
    /// `ESC` and an intermediate octet: one more octet ends it.
    Charset,
    Csi,
    /// OSC, DCS, APC, PM or SOS, until BEL or ST.
    Text,
    TextEscape,
}

/// What the agent has set.
#[derive(Debug)]
pub(crate) struct Screen {
    state: State,
    parameters: Vec<u8>,
    changed: Vec<u16>,
    alternate: Option<u16>,
    keypad: bool,
    margins: Option<Vec<u8>>,
    /// Depth of the kitty keyboard stack, and the last xterm `modifyOtherKeys`.
    kitty: u8,
    modify_keys: Option<Vec<u8>>,
}

impl Screen {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Ground,
            parameters: Vec::new(),
            changed: Vec::new(),
            alternate: None,
            keypad: false,
            margins: None,
            kitty: 0,
            modify_keys: None,
        }
    }

    /// Whether the agent draws on the alternate screen.
    pub(crate) const fn is_alternate(&self) -> bool {
        self.alternate.is_some()
    }

    /// Whether the last octet ended a sequence.
    pub(crate) fn at_rest(&self) -> bool {
        self.state == State::Ground
    }

    /// Takes in what is about to be written.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.octet(*byte);
        }
    }

    fn octet(&mut self, byte: u8) {
        // CAN and SUB abort any sequence; ESC begins a new one anywhere but in text, where it may begin ST.
        if matches!(byte, 0x18 | 0x1a) {
            self.state = State::Ground;
            return;
        }
        self.state = match (self.state, byte) {
            (State::Text, 0x1b) => State::TextEscape,
            (State::Text, 0x07) | (State::TextEscape, b'\\') => State::Ground,
            (State::Text, _) => State::Text,
            (State::TextEscape, _) => {
                self.state = State::Escape;
                return self.octet(byte);
            }
            (_, 0x1b) => State::Escape,
            (State::Escape, _) => self.escape(byte),
            (State::Charset, 0x20..=0x2f) => State::Charset,
            (State::Ground | State::Charset, _) => State::Ground,
            (State::Csi, _) => self.csi(byte),
        };
    }

    fn escape(&mut self, byte: u8) -> State {
        match byte {
            b'[' => {
                self.parameters.clear();
                State::Csi
            }
            b']' | b'P' | b'_' | b'^' | b'X' => State::Text,
            0x20..=0x2f => State::Charset,
            b'c' => {
                *self = Self::new();
                State::Ground
            }
            b'=' | b'>' => {
                self.keypad = byte == b'=';
                State::Ground
            }
            _ => State::Ground,
        }
    }

    fn csi(&mut self, byte: u8) -> State {
        match byte {
            0x40..=0x7e => {
                self.sequence(byte);
                State::Ground
            }
            0x20..=0x3f => {
                if self.parameters.len() < PARAMETER_BYTES_MAX {
                    self.parameters.push(byte);
                }
                State::Csi
            }
            // Control characters act inside a sequence without ending it.
            _ => State::Csi,
        }
    }

    fn sequence(&mut self, last: u8) {
        let parameters = std::mem::take(&mut self.parameters);
        match (parameters.first(), last) {
            (Some(b'?'), b'h' | b'l') => {
                for mode in parameters.get(1..).unwrap_or_default().split(|byte| *byte == b';') {
                    let number = std::str::from_utf8(mode).ok().and_then(|text| text.parse::<u16>().ok());
                    if let Some(mode) = number {
                        self.set(mode, last == b'h');
                    }
                }
            }
            (Some(b'!'), b'p') => {
                self.changed.retain(|mode| *mode >= 1000);
                self.margins = None;
                self.keypad = false;
            }
            (Some(b'>'), b'u') => self.kitty = self.kitty.saturating_add(1),
            (Some(b'<'), b'u') => self.kitty = self.kitty.saturating_sub(1),
            (Some(b'>'), b'm') => self.modify_keys = Some(parameters.clone()),
            (None, b'r') => self.margins = None,
            (Some(b'0'..=b'9' | b';'), b'r') => self.margins = Some(parameters.clone()),
            _ => {}
        }
        self.parameters = parameters;
        self.parameters.clear();
    }

    fn set(&mut self, mode: u16, on: bool) {
        if ALTERNATE.contains(&mode) {
            self.alternate = on.then_some(mode);
        }
        if let Some((_, default)) = MODES.iter().find(|(known, _)| *known == mode) {
            self.changed.retain(|known| *known != mode);
            if on != *default {
                self.changed.push(mode);
            }
        }
    }

    /// Octets that take the screen away from the agent: end whatever sequence it left open, undo its modes, go to the
    /// alternate screen, reset attributes, margins, character sets and palette, clear.
    pub(crate) fn cover(&self) -> Vec<u8> {
        // CAN aborts a control sequence, ST ends an open string, whatever terminal.
        let mut out = b"\x18\x1b\\".to_vec();
        self.reset_modes(&mut out);
        if self.kitty > 0 {
            out.extend_from_slice(b"\x1b[>0u");
        }
        if self.modify_keys.is_some() {
            out.extend_from_slice(b"\x1b[>4;0m");
        }
        if self.alternate.is_none() {
            out.extend_from_slice(b"\x1b[?1049h");
        }
        out.extend_from_slice(
            b"\x1b[!p\x1b[r\x1b(B\x0f\x1b[0m\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b[2J\x1b[H\x1b[?25l",
        );
        out
    }

    /// Octets that give it back as it was.
    pub(crate) fn uncover(&self) -> Vec<u8> {
        let mut out = b"\x1b[0m\x1b[2J\x1b[H\x1b[?25h".to_vec();
        if let Some(margins) = &self.margins {
            out.extend_from_slice(b"\x1b[");
            out.extend_from_slice(margins);
            out.push(b'r');
        }
        if self.alternate.is_none() {
            out.extend_from_slice(b"\x1b[?1049l");
        }
        if self.kitty > 0 {
            out.extend_from_slice(b"\x1b[<1u");
        }
        if let Some(keys) = &self.modify_keys {
            out.extend_from_slice(b"\x1b[");
            out.extend_from_slice(keys);
            out.push(b'm');
        }
        self.restore_modes(&mut out);
        out
    }

    /// Octets for the end, or for a suspension: whatever the agent left set is unset.
    pub(crate) fn leave(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.at_rest() {
            out.extend_from_slice(b"\x18\x1b\\");
        }
        self.reset_modes(&mut out);
        if self.margins.is_some() {
            out.extend_from_slice(b"\x1b7\x1b[r\x1b8");
        }
        if let Some(mode) = self.alternate {
            out.extend_from_slice(format!("\x1b[?{mode}l").as_bytes());
        }
        for _ in 0..self.kitty {
            out.extend_from_slice(b"\x1b[<1u");
        }
        if self.modify_keys.is_some() {
            out.extend_from_slice(b"\x1b[>4;0m");
        }
        out
    }

    /// Octets after a suspension: what the agent believes to be set is set again.
    pub(crate) fn come_back(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(mode) = self.alternate {
            out.extend_from_slice(format!("\x1b[?{mode}h").as_bytes());
        }
        if let Some(keys) = &self.modify_keys {
            out.extend_from_slice(b"\x1b[");
            out.extend_from_slice(keys);
            out.push(b'm');
        }
        self.restore_modes(&mut out);
        out
    }

    fn reset_modes(&self, out: &mut Vec<u8>) {
        for mode in &self.changed {
            let default = MODES.iter().any(|(known, default)| known == mode && *default);
            out.extend_from_slice(format!("\x1b[?{mode}{}", if default { 'h' } else { 'l' }).as_bytes());
        }
        if self.keypad {
            out.extend_from_slice(b"\x1b>");
        }
    }

    fn restore_modes(&self, out: &mut Vec<u8>) {
        for mode in &self.changed {
            let default = MODES.iter().any(|(known, default)| known == mode && *default);
            out.extend_from_slice(format!("\x1b[?{mode}{}", if default { 'l' } else { 'h' }).as_bytes());
        }
        if self.keypad {
            out.extend_from_slice(b"\x1b=");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(bytes: &[u8]) -> Screen {
        let mut screen = Screen::new();
        // One octet at a time: splits must not matter.
        for byte in bytes {
            screen.feed(&[*byte]);
        }
        screen
    }

    fn contains(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn follows_modes() {
        let screen = after(b"\x1b[?1049h\x1b[?25l\x1b[?1000;1006hhello\x1b[?2004h\x1b[?2004l");
        assert!(screen.is_alternate());
        assert!(!contains(&screen.cover(), b"?1049h"), "already there");
        assert!(contains(&screen.cover(), b"\x1b[?1000l\x1b[?1006l"));
        let back = screen.uncover();
        assert!(!contains(&back, b"?1049l") && contains(&back, b"\x1b[?25l\x1b[?1000h\x1b[?1006h"));
        assert!(!contains(&back, b"2004"));
        assert!(contains(&screen.leave(), b"\x1b[?25h") && contains(&screen.leave(), b"\x1b[?1049l"));
    }

    #[test]
    fn strings_hide_what_looks_like_modes() {
        let screen = after(b"\x1b]0;\x1b\x1b]2;title [?1049h\x07 \x1bPq[?25l\x1b\\");
        assert!(!screen.is_alternate());
        assert!(screen.at_rest());
        assert!(!after(b"\x1b]52;c;AAAA").at_rest());
        assert!(after(b"\x1b]52;c;AAAA").cover().starts_with(b"\x18\x1b\\"), "an open string is closed before we draw");
    }

    #[test]
    fn reset_forgets() {
        let screen = after(b"\x1b[?1049h\x1b[?25l\x1b=\x1b[3;9r\x1bc");
        assert_eq!(screen.leave(), b"");
        assert_eq!(
            after(&b"\x1b[?".iter().copied().chain(std::iter::repeat_n(b'9', 500)).collect::<Vec<_>>())
                .parameters
                .len(),
            64
        );
    }
}

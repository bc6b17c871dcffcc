//! What keys do while a question is shown. No clock: the time since it was drawn comes in.

use std::sync::Arc;
use std::time::Duration;

use crate::ask::{Ask, Reply};
use crate::render;

/// Keys are ignored this long after the question appears: they were meant for the agent.
const IGNORED_MILLIS: u64 = 300;

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A printable character.
    Char(char),
    /// Escape alone.
    Escape,
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
    /// The size of the terminal has changed.
    Resized,
    /// Anything else; Return too, which is typed too easily.
    Other,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Draw again.
    Redraw,
    /// The person has answered.
    Answer(Reply),
}

/// A question on a screen.
#[derive(Debug)]
pub struct Prompt {
    ask: Arc<Ask>,
    octets: bool,
    top: usize,
    page: usize,
}

impl Prompt {
    /// Just shown.
    #[must_use]
    pub fn new(ask: Arc<Ask>) -> Self {
        Self { ask, octets: false, top: 0, page: 1 }
    }

    /// What stands on a screen of so many columns and rows; call it again after [`Action::Redraw`].
    pub fn lines(&mut self, (columns, rows): (u16, u16)) -> Vec<String> {
        let (columns, rows) = (usize::from(columns), usize::from(rows));
        self.page = rows.saturating_sub(3).max(1);
        if self.octets {
            let (lines, top) = render::octets(&self.ask, columns, rows, self.top);
            self.top = top;
            lines
        } else {
            render::render(&self.ask, columns, rows)
        }
    }

    /// A key that was pressed `shown` after the question appeared.
    pub fn key(&mut self, key: Key, shown: Duration) -> Action {
        if key == Key::Resized {
            return Action::Redraw;
        }
        if shown < Duration::from_millis(IGNORED_MILLIS) {
            return Action::Nothing;
        }
        match key {
            Key::Char('o' | 'O') => Action::Answer(Reply::Once),
            Key::Char('s' | 'S') => Action::Answer(Reply::Session),
            Key::Char('d' | 'D') => Action::Answer(Reply::Deny(String::new())),
            Key::Interrupt => Action::Answer(Reply::Deny("interrupted".into())),
            Key::Char('v' | 'V') => self.turn(!self.octets),
            Key::Escape if self.octets => self.turn(false),
            Key::Up => self.scroll(-1),
            Key::Down => self.scroll(1),
            Key::PageUp => self.scroll(-(self.page.cast_signed())),
            Key::PageDown => self.scroll(self.page.cast_signed()),
            _ => Action::Nothing,
        }
    }

    fn turn(&mut self, octets: bool) -> Action {
        self.octets = octets;
        self.top = 0;
        Action::Redraw
    }

    fn scroll(&mut self, rows: isize) -> Action {
        if !self.octets {
            return Action::Nothing;
        }
        self.top = self.top.saturating_add_signed(rows);
        Action::Redraw
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use model::{AgentName, Digest, SessionId, Tenant};
    use policy::ApprovalNeed;

    use super::*;

    fn prompt() -> Prompt {
        let need = ApprovalNeed {
            key: "k".into(),
            once_per_session: false,
            timeout_seconds: 1,
            count: 1,
            of: vec![],
            rule: "r/1".into(),
            reason: "asks".into(),
        };
        Prompt::new(Arc::new(Ask {
            tenant: Tenant::local(),
            session: SessionId::from_bits(1),
            agent: AgentName::guest(),
            need,
            sentences: vec!["do it".into()],
            method: "GET".into(),
            url: "https://a.test/".into(),
            content_type: None,
            head: Digest::ZERO,
            body: Some(Digest::ZERO),
            preview: Bytes::from("line\n".repeat(100)),
            bytes: 500,
            task: None,
            patience_seconds: None,
        }))
    }

    #[test]
    fn keys_answer() {
        let late = Duration::from_secs(1);
        for (key, action) in [
            (Key::Char('o'), Action::Answer(Reply::Once)),
            (Key::Char('S'), Action::Answer(Reply::Session)),
            (Key::Char('d'), Action::Answer(Reply::Deny(String::new()))),
            (Key::Interrupt, Action::Answer(Reply::Deny("interrupted".into()))),
            (Key::Char('y'), Action::Nothing),
            (Key::Char('\u{43e}'), Action::Nothing),
            (Key::Other, Action::Nothing),
            (Key::Escape, Action::Nothing),
            (Key::Down, Action::Nothing),
            (Key::Resized, Action::Redraw),
        ] {
            assert_eq!(prompt().key(key, late), action, "{key:?}");
            let early = prompt().key(key, Duration::from_millis(299));
            assert_eq!(
                early,
                if key == Key::Resized { Action::Redraw } else { Action::Nothing },
                "typed ahead: {key:?}"
            );
        }
    }

    #[test]
    fn the_octets_can_be_scrolled_and_left() {
        let (late, size) = (Duration::from_secs(1), (60, 10));
        let mut prompt = prompt();
        let question = prompt.lines(size);
        assert_eq!(prompt.key(Key::Char('v'), late), Action::Redraw);
        let first = prompt.lines(size);
        for key in [Key::PageDown, Key::PageDown, Key::Up] {
            assert_eq!(prompt.key(key, late), Action::Redraw);
            assert_ne!(prompt.lines(size), first);
        }
        for _ in 0..100 {
            prompt.key(Key::PageDown, late);
            prompt.lines(size);
        }
        let end = prompt.lines(size);
        assert!(end.iter().any(|line| line.ends_with("to 107 of 107 --")), "{end:#?}");
        assert_eq!(prompt.key(Key::Escape, late), Action::Redraw);
        assert_eq!(prompt.lines(size), question);
    }
}

//! What a question looks like: lines of plain text, made harmless here whatever they hold.

use std::fmt::Write as _;

/// How a line stands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As the terminal writes.
    #[default]
    Plain,
    /// Bold.
    Strong,
    /// Faint.
    Faint,
}

/// One line of text; wrapped where it is too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The text. Anything that is not a visible character is shown as its code point.
    pub text: String,
    /// How it stands out.
    pub style: Style,
}

impl Line {
    /// A plain line.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::Plain }
    }

    /// A bold line.
    #[must_use]
    pub fn strong(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::Strong }
    }

    /// A faint line.
    #[must_use]
    pub fn faint(text: impl Into<String>) -> Self {
        Self { text: text.into(), style: Style::Faint }
    }
}

/// A whole screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// From the top; cut with a note where the screen is too low.
    pub body: Vec<Line>,
    /// At the bottom, never cut before the body is: the answers that may be given.
    pub footer: Vec<Line>,
    /// Rows of the body to skip, for scrolling.
    pub top: usize,
}

/// Whether a character is shown as it is: printable ASCII, letters and digits of any script, and punctuation that no
/// terminal draws as nothing or as something else. Everything else (controls, direction marks, joiners, variation
/// selectors, private use) is shown by number.
fn is_plain(character: char) -> bool {
    match character {
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => false,
        ' '..='~' | '¡'..='ÿ' | '–' | '—' | '‘'..='”' | '…' | '€' | '•' | '→' | '←' | '✓' | '✗' => {
            true
        }
        other => other.is_alphanumeric(),
    }
}

/// The text with everything invisible or deceptive written as `\u{202e}`.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => out.push(' '),
            _ if is_plain(character) => out.push(character),
            _ => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
            }
        }
    }
    out
}

/// Columns that a character takes. East Asian letters take two; where a terminal disagrees a line ends early, no more.
const fn width(character: char) -> usize {
    if character as u32 >= 0x1100
        && !matches!(character, '–' | '—' | '‘'..='”' | '…' | '€' | '•' | '→' | '←' | '✓' | '✗')
    {
        2
    } else {
        1
    }
}

fn wrap(line: &Line, columns: usize) -> Vec<Line> {
    let mut rows = vec![String::new()];
    let mut used = 0;
    for character in visible(&line.text).chars() {
        if used + width(character) > columns {
            rows.push(String::new());
            used = 0;
        }
        used += width(character);
        if let Some(row) = rows.last_mut() {
            row.push(character);
        }
    }
    rows.into_iter().map(|text| Line { text, style: line.style }).collect()
}

/// Octets that draw the page from the top left, row by row.
pub(crate) fn render(page: &Page, (columns, rows): (u16, u16)) -> Vec<u8> {
    let (columns, rows) = (usize::from(columns).max(1), usize::from(rows).max(1));
    let flow = |lines: &[Line]| lines.iter().flat_map(|line| wrap(line, columns)).collect::<Vec<_>>();
    let (body, mut footer) = (flow(&page.body), flow(&page.footer));
    footer.truncate(rows);
    let room = rows - footer.len();
    let top = page.top.min(body.len().saturating_sub(room));
    let mut shown: Vec<Line> = body.iter().skip(top).take(room).cloned().collect();
    let below = body.len().saturating_sub(top + room);
    if below > 0
        && let Some(last) = shown.last_mut()
    {
        *last = Line::faint(format!("... {} more rows, arrow down", below + 1));
    }
    let mut out = b"\x1b[0m\x1b[2J".to_vec();
    let from_bottom = rows - footer.len();
    let placed = shown.iter().enumerate().chain(footer.iter().enumerate().map(|(at, line)| (from_bottom + at, line)));
    for (row, line) in placed {
        let style = match line.style {
            Style::Plain => "",
            Style::Strong => "\x1b[1m",
            Style::Faint => "\x1b[2m",
        };
        out.extend_from_slice(format!("\x1b[{};1H{style}{}\x1b[0m", row + 1, line.text).as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides() {
        for (text, shown) in [
            ("plain é 漢 – ok", "plain é 漢 – ok"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\u{200b}\u{feff}\u{9b}b", "a\\u{200b}\\u{feff}\\u{9b}b"),
            ("two\nlines\r", "two\\u{a}lines\\u{d}"),
            ("\u{e0041}\u{301}", "\\u{e0041}\\u{301}"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn the_footer_is_never_pushed_out() {
        let page = Page {
            body: (0..100).map(|row| Line::plain(format!("row {row} {}", "x".repeat(50)))).collect(),
            footer: vec![Line::strong("y / n")],
            top: 0,
        };
        let drawn = String::from_utf8(render(&page, (20, 10))).expect("text");
        assert!(drawn.contains("\x1b[10;1H\x1b[1my / n"), "{drawn:?}");
        assert!(drawn.contains("more rows"));
        assert!(!drawn.contains("\x1b[11;1H"));
        let end = String::from_utf8(render(&Page { top: 10_000, ..page }, (200, 10))).expect("text");
        assert!(end.contains("row 99") && !end.contains("more rows"));
    }
}

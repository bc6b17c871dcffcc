//! What a person sees of a question: lines that fit the screen, with nothing in them that could move the cursor, hide
//! itself or pass for something else. What matters comes first; what is cut says so, and how much it was.

use std::fmt::Write as _;

use crate::ask::Ask;

/// Rows that one text of the question may take; the view of all octets shows the rest.
const ROWS_PER_TEXT_MAX: usize = 4;
/// Narrower or lower than this nothing can be asked honestly; the lines are cut to fit all the same.
const COLUMNS_MIN: usize = 20;
/// Octets of a body that can be looked at; beyond it only length and digest speak.
const SHOWN_BYTES_MAX: usize = 1024 * 1024;

const KEYS: &str = "[o]nce  [s]ession  [d]eny  [v]iew bytes";

/// Whether a letter is of a script that is not drawn like ASCII: CJK, kana, Hangul syllables.
fn is_wide(letter: char) -> bool {
    matches!(letter, '\u{3041}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}')
}

/// Whether a character may stand as it is: printable ASCII, letters and digits of any script. Controls, spaces other
/// than the plain one, direction marks, joiners, combining marks, symbols and private use are written by number.
fn is_plain(letter: char) -> bool {
    match letter {
        ' '..='~' => true,
        // Fillers that are letters and show nothing; letters that are drawn as ASCII ones in another dress.
        '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ff00}'..='\u{ffef}' | '\u{1d400}'..='\u{1d7ff}' => false,
        other => other.is_alphanumeric() && (other < '\u{1100}' || is_wide(other)),
    }
}

/// Latin letters, which belong together with ASCII.
fn is_latin(letter: char) -> bool {
    matches!(letter, 'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}')
}

fn escape(letter: char, out: &mut String) {
    match letter {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        other => _ = write!(out, "\\u{{{:x}}}", u32::from(other)),
    }
}

/// One run of letters and digits: where ASCII letters stand beside ones of another script that could pass for ASCII
/// (Cyrillic, Greek, ...), those are written by number.
fn word(run: &str, out: &mut String) {
    let mixed = run.chars().any(|letter| letter.is_ascii_alphabetic());
    for letter in run.chars() {
        let foreign = letter.is_alphabetic() && !is_latin(letter) && !is_wide(letter);
        if is_plain(letter) && !(mixed && foreign) { out.push(letter) } else { escape(letter, out) }
    }
}

/// The text with everything invisible, moving or deceptive written as `\u{202e}`, `\n`.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(rest.len());
        if end > 0 {
            let (run, after) = rest.split_at(end);
            word(run, &mut out);
            rest = after;
            continue;
        }
        if is_plain(first) {
            out.push(first);
        } else {
            escape(first, &mut out);
        }
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
    }
    out
}

/// The text with everything but printable ASCII written by number: for URLs, hosts, types.
pub(crate) fn strict(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, ' '..='~') { out.push(letter) } else { escape(letter, &mut out) }
    }
    out
}

/// A text that an agent chose, as long as a list may hold; lists must stay readable whatever is asked.
pub(crate) fn short(mut text: String, max: usize) -> String {
    if text.len() > max {
        let more = text.len() - text.floor_char_boundary(max);
        text.truncate(text.len() - more);
        let _ = write!(text, ".. ({more} octets more)");
    }
    text
}

/// Columns of a character that [`visible`] lets pass.
fn width(letter: char) -> usize {
    if letter >= '\u{1100}' { 2 } else { 1 }
}

/// Cuts into rows of at most `columns`, at spaces where there are some.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut used = 0;
    for piece in text.split_inclusive(' ') {
        let wide: usize = piece.trim_end().chars().map(width).sum();
        if used > 0 && used + wide > columns && wide <= columns {
            rows.push(String::new());
            used = 0;
        }
        for letter in piece.chars() {
            if used + width(letter) > columns {
                if letter == ' ' {
                    continue;
                }
                rows.push(String::new());
                used = 0;
            }
            used += width(letter);
            if let Some(row) = rows.last_mut() {
                row.push(letter);
            }
        }
    }
    for row in &mut rows {
        row.truncate(row.trim_end().len());
    }
    rows
}

fn cut(text: &str, columns: usize) -> String {
    let mut used = 0;
    text.chars()
        .take_while(|letter| {
            used += width(*letter);
            used <= columns
        })
        .collect()
}

/// Rows for one text under a label; cut to [`ROWS_PER_TEXT_MAX`], saying how much is missing.
fn field(label: &str, text: &str, columns: usize, rows: &mut Vec<String>) {
    let indent = label.len();
    let room = columns.saturating_sub(indent).max(1);
    let mut lines = wrap(text, room);
    let missing: usize = lines.iter().skip(ROWS_PER_TEXT_MAX - 1).map(|line| line.chars().count()).sum();
    if lines.len() > ROWS_PER_TEXT_MAX {
        lines.truncate(ROWS_PER_TEXT_MAX - 1);
        lines.push(format!("...{missing} more characters, v shows all"));
    }
    for (at, line) in lines.iter().enumerate() {
        let lead = if at == 0 { label.to_owned() } else { " ".repeat(indent) };
        rows.push(cut(&format!("{lead}{line}"), columns));
    }
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn body_line(ask: &Ask) -> String {
    let Some(digest) = &ask.body else { return "nothing".into() };
    let kind = ask.content_type.as_deref().map_or_else(|| "no stated type".into(), strict);
    format!("{} bytes, {kind}, sha256 {digest}", thousands(ask.bytes))
}

fn why_line(ask: &Ask) -> String {
    format!("{} (rule {})", visible(&ask.need.reason), visible(&ask.need.rule))
}

/// The question on a screen of `width` columns and `height` rows: never wider, never longer, the keys always last.
#[must_use]
pub fn render(ask: &Ask, width: usize, height: usize) -> Vec<String> {
    let columns = width.max(1);
    let mut after = Vec::new();
    field("  sends  ", &format!("{} {}", strict(&ask.method), strict(&ask.url)), columns, &mut after);
    field("  body   ", &body_line(ask), columns, &mut after);
    field("  why    ", &why_line(ask), columns, &mut after);
    if let Some(task) = &ask.task {
        field("  task   ", &visible(task), columns, &mut after);
    }
    let mut top = Vec::new();
    field("", &format!("{} asks to:", visible(ask.agent.as_str())), columns, &mut top);
    let footer = if columns < COLUMNS_MIN { vec![cut(KEYS, columns)] } else { wrap(KEYS, columns) };
    // A blank line before the details and one before the keys, where there is room.
    let spare = height.saturating_sub(top.len() + after.len() + footer.len() + 2);
    let mut rows = top;
    rows.extend(sentences(ask, columns, spare));
    rows.push(String::new());
    rows.append(&mut after);
    rows.push(String::new());
    finish(rows, footer, columns, height)
}

/// As many calls as fit into `spare` rows; the first always.
fn sentences(ask: &Ask, columns: usize, spare: usize) -> Vec<String> {
    let mut rows = Vec::new();
    for (at, sentence) in ask.sentences.iter().enumerate() {
        let mut next = Vec::new();
        field("  * ", &visible(sentence), columns, &mut next);
        let left = ask.sentences.len() - at - 1;
        let room = spare.saturating_sub(usize::from(left > 0));
        if at > 0 && rows.len() + next.len() > room {
            rows.push(cut(&format!("  * and {} more calls, v shows all", left + 1), columns));
            break;
        }
        rows.append(&mut next);
    }
    rows
}

fn finish(mut rows: Vec<String>, footer: Vec<String>, columns: usize, height: usize) -> Vec<String> {
    let room = height.saturating_sub(footer.len());
    if rows.len() > room {
        let missing = rows.len() - room;
        rows.truncate(room);
        if let Some(last) = rows.last_mut() {
            *last = cut(&format!("...{} more rows: make the window larger", missing + 1), columns);
        }
    }
    rows.extend(footer);
    rows.truncate(height);
    rows
}

/// Everything about the question, octet by octet, from row `top` on; and the row it really begins at.
#[must_use]
pub fn octets(ask: &Ask, width: usize, height: usize, top: usize) -> (Vec<String>, usize) {
    let columns = width.max(1);
    let mut rows = Vec::new();
    for sentence in &ask.sentences {
        rows.extend(wrap(&format!("* {}", visible(sentence)), columns));
    }
    rows.extend(wrap(&format!("{} {}", strict(&ask.method), strict(&ask.url)), columns));
    rows.extend(wrap(&format!("head sha256 {}", ask.head), columns));
    rows.extend(wrap(&format!("body {}", body_line(ask)), columns));
    rows.push(String::new());
    let shown = ask.preview.get(..ask.preview.len().min(SHOWN_BYTES_MAX)).unwrap_or_default();
    for line in shown.split_inclusive(|octet| *octet == b'\n') {
        rows.extend(wrap(&octet_line(line), columns));
    }
    if shown.len() < ask.bytes {
        rows.push(cut(&format!("...{} more bytes", thousands(ask.bytes - shown.len())), columns));
    }
    let footer = wrap("[o]nce  [s]ession  [d]eny  [v] back  arrows scroll", columns);
    let room = height.saturating_sub(footer.len() + 1).max(1);
    let top = top.min(rows.len().saturating_sub(room));
    let total = rows.len();
    let mut out: Vec<String> = rows.into_iter().skip(top).take(room).collect();
    out.push(cut(&format!("-- rows {} to {} of {total} --", top + 1, top + out.len()), columns));
    out.extend(footer);
    out.truncate(height);
    (out, top)
}

/// A line of a body: text as [`visible`] shows it, octets that are no UTF-8 as `\xff`.
fn octet_line(line: &[u8]) -> String {
    let mut out = String::new();
    for chunk in line.utf8_chunks() {
        out.push_str(&visible(chunk.valid()));
        for octet in chunk.invalid() {
            let _ = write!(out, "\\x{octet:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use model::{AgentName, Digest, SessionId, Tenant};
    use policy::ApprovalNeed;
    use proptest::prelude::*;

    use super::*;

    fn ask() -> Ask {
        Ask {
            tenant: Tenant::local(),
            session: SessionId::from_bits(1),
            agent: AgentName::new("refactoring-bot").unwrap(),
            need: ApprovalNeed {
                key: "k".into(),
                once_per_session: false,
                timeout_seconds: 300,
                count: 1,
                of: vec![],
                rule: "guarded/3".into(),
                reason: "merging into the default branch always asks".into(),
            },
            sentences: vec!["merge pull request 42 of myorg/myrepo into main".into()],
            method: "PUT".into(),
            url: "https://api.github.com/repos/myorg/myrepo/pulls/42/merge".into(),
            content_type: Some("application/json".into()),
            head: Digest([0xab; 32]),
            body: Some(Digest([0xcd; 32])),
            preview: bytes::Bytes::from_static(b"{\"merge_method\":\"squash\",\n \"note\":\"\x1b[2J\xff\"}"),
            bytes: 42,
            task: Some("tidy the parser".into()),
            patience_seconds: None,
        }
    }

    #[test]
    fn a_question_on_an_ordinary_screen() {
        let shown = render(&ask(), 80, 24).join("\n");
        let cd = "cd".repeat(32);
        assert_eq!(
            shown,
            format!(
                "refactoring-bot asks to:
  * merge pull request 42 of myorg/myrepo into main

  sends  PUT https://api.github.com/repos/myorg/myrepo/pulls/42/merge
  body   42 bytes, application/json, sha256
         {cd}
  why    merging into the default branch always asks (rule guarded/3)
  task   tidy the parser

[o]nce  [s]ession  [d]eny  [v]iew bytes"
            )
        );
    }

    #[test]
    fn the_view_of_all_octets() {
        let (lines, top) = octets(&ask(), 60, 30, 99);
        assert_eq!(top, 0);
        assert!(lines.contains(&r#"{"merge_method":"squash",\n"#.to_owned()), "{lines:#?}");
        assert!(lines.contains(&r#" "note":"\u{1b}[2J\xff"}"#.to_owned()), "{lines:#?}");
        assert!(lines.contains(&"-- rows 1 to 9 of 9 --".to_owned()), "{lines:#?}");
        let (lines, top) = octets(&ask(), 60, 5, 4);
        assert_eq!((lines.len(), top), (5, 4));
    }

    #[test]
    fn hostile_texts() {
        for (text, shown) in [
            ("\u{1b}[2J\u{1b}[H", r"\u{1b}[2J\u{1b}[H"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("a\r\nb\tc\0", r"a\r\nb\tc\u{0}"),
            ("gpj\u{202e}.exe", r"gpj\u{202e}.exe"),
            ("a\u{2066}b\u{2069}", r"a\u{2066}b\u{2069}"),
            ("x\u{200b}y\u{200d}z\u{feff}", r"x\u{200b}y\u{200d}z\u{feff}"),
            ("soft\u{ad}hyphen", r"soft\u{ad}hyphen"),
            ("z\u{334}\u{335}", r"z\u{334}\u{335}"),
            ("tag\u{e0041}", r"tag\u{e0041}"),
            ("fill\u{3164}er", r"fill\u{3164}er"),
            ("no\u{a0}break\u{2028}", r"no\u{a0}break\u{2028}"),
            ("myorg/myr\u{435}po", r"myorg/myr\u{435}po"),
            ("p\u{430}yp\u{430}l", r"p\u{430}yp\u{430}l"),
            ("\u{3b1}bc", r"\u{3b1}bc"),
            ("\u{ff41}dmin \u{1d41a}", r"\u{ff41}dmin \u{1d41a}"),
            ("\u{1f600}", r"\u{1f600}"),
            (
                "Gr\u{fc}\u{df}e, \u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}",
                "Gr\u{fc}\u{df}e, \u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}",
            ),
            ("\u{65e5}\u{672c}\u{8a9e} repo", "\u{65e5}\u{672c}\u{8a9e} repo"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn long_texts_do_not_push_what_matters_away() {
        let mut long = ask();
        long.sentences = (0..256).map(|at| format!("delete {at} {}", "x".repeat(5_000))).collect();
        long.task = Some("y".repeat(100_000));
        long.url = format!("https://api.github.com/{}", "z".repeat(16_000));
        let lines = render(&long, 80, 24);
        assert!(lines.len() <= 24);
        for part in ["delete 0", "more calls, v shows all", "  sends  PUT https://api.github.com/", "  body   42 bytes"]
        {
            assert!(lines.iter().any(|line| line.contains(part)), "{part} in {lines:#?}");
        }
        assert_eq!(lines.last().unwrap(), KEYS);
    }

    proptest! {
        #[test]
        fn never_wider_never_longer_never_active(
            texts in proptest::collection::vec("\\PC{0,80}|[\u{0}-\u{ff}]{0,40}|[\u{200b}-\u{2070}\u{4e00}-\u{4e10}]{0,60}", 1..6),
            body in proptest::collection::vec(any::<u8>(), 0..200),
            (width, height) in (1usize..120, 1usize..50),
            scroll in 0usize..100,
        ) {
            let mut hostile = ask();
            hostile.url.clone_from(&texts[0]);
            hostile.task = texts.last().cloned();
            hostile.need.reason.clone_from(&texts[0]);
            hostile.content_type = texts.first().cloned();
            hostile.sentences = texts;
            hostile.bytes = body.len();
            hostile.preview = body.into();
            for lines in [render(&hostile, width, height), octets(&hostile, width, height, scroll).0] {
                prop_assert!(lines.len() <= height, "{lines:#?}");
                for line in &lines {
                    let columns: usize = line.chars().map(super::width).sum();
                    prop_assert!(columns <= width.max(2), "{line}");
                    prop_assert!(line.chars().all(is_plain), "{line}");
                }
            }
        }
    }
}

//! Questions on the agent's terminal.

use std::time::Duration;

use sandbox::{Exit, Key, Line, Page, PromptTiming};

use crate::user::User;

const SHORT: PromptTiming = PromptTiming { ignore: Duration::from_millis(80), quiet: Duration::from_millis(80) };

fn page(text: &str) -> Page {
    Page { body: vec![Line::strong(text)], footer: vec![Line::plain("[y]es  [n]o")], top: 0 }
}

/// An agent that draws all the time and writes down every key it gets.
const BUSY: &str = r"
import os, select, sys, termios, tty
tty.setraw(0)
print('ready', end='\r\n', flush=True)
n = 0
while True:
    n += 1
    os.write(1, b'AGENT %d\r\n' % n)
    if select.select([0], [], [], 0.005)[0]:
        key = os.read(0, 1)
        os.write(1, b'KEY<' + key + b'>\r\n')
        if key == b'q':
            sys.exit(5)
";

#[tokio::test]
async fn the_agent_neither_draws_nor_types() {
    let user = User::new(80, 24);
    let mut running = user.runs(&["python3", "-c", BUSY]);
    user.sees("ready").await;
    user.presses("a");
    user.sees("KEY<a>").await;
    let prompter = running.prompter().expect("a terminal");
    let mut prompt = prompter.open(SHORT).await.expect("open");
    // Typed before the question could be read.
    user.presses("yyy");
    prompt.draw(page("May it delete everything?")).await.expect("drawn");
    user.presses("yy\r");
    user.sees("May it delete everything?").await;
    user.presses("y");
    assert!(tokio::time::timeout(Duration::from_millis(70), prompt.key()).await.is_err(), "typed-ahead keys count");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let drawn = user.screen();
    let (_, question) = drawn.rsplit_once("May it").expect("drawn");
    assert!(!question.contains("AGENT"), "the agent draws over the question: {question:?}");
    user.presses("n");
    assert_eq!(prompt.key().await, Some(Key::Char('n')));
    assert_eq!(prompt.size(), (80, 24));
    user.forget();
    drop(prompt);
    user.sees("\x1b[?1049l").await;
    user.sees("AGENT").await;
    user.presses("b");
    let screen = user.sees("KEY<b>").await;
    assert!(!screen.contains("KEY<y>") && !screen.contains("KEY<n>"), "keys of the question reached the agent");
    user.presses("q");
    assert_eq!(running.wait().await, Exit::Code(5));
    assert!(user.is_cooked());
}

#[tokio::test]
async fn an_open_string_does_not_swallow_the_question() {
    let user = User::new(80, 24);
    let mut running = user.runs(&["sh", "-c", "stty raw -echo; printf 'ready\\033]0;'; read x; exit 0"]);
    user.sees("ready").await;
    let mut prompt = running.prompter().expect("a terminal").open(SHORT).await.expect("open");
    prompt.draw(page("Question")).await.expect("drawn");
    let screen = user.sees("Question").await;
    let (before, _) = screen.split_once("Question").expect("drawn");
    assert!(before.contains("\x1b]0;\x18\x1b\\"), "{before:?}");
    drop(prompt);
    running.signal(sandbox::Signal::KILL).await;
    running.wait().await;
}

/// Draws a full screen, and again whenever its size changes.
const FULL_SCREEN: &str = r"
import os, signal, sys, time
size = None
os.write(1, b'\033[?1049h\033[?25l\033[?1002h')
while True:
    now = os.get_terminal_size(0)
    if now != size:
        size = now
        os.write(1, b'\033[2JDRAWN %dx%d\r\n' % (now.columns, now.lines))
    time.sleep(0.005)
";

#[tokio::test]
async fn a_full_screen_program_draws_again_afterwards() {
    let user = User::new(60, 20);
    let running = user.runs(&["python3", "-c", FULL_SCREEN]);
    user.sees("DRAWN 60x20").await;
    let prompter = running.prompter().expect("a terminal");
    let mut prompt = prompter.open(SHORT).await.expect("open");
    prompt.draw(page("Question")).await.expect("drawn");
    let screen = user.sees("Question").await;
    assert!(screen.contains("\x1b[?1002l"), "mouse reports are off: {screen:?}");
    user.resize(70, 30);
    running.resize().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(prompt.key().await, Some(Key::Resized));
    assert_eq!(prompt.size(), (70, 30));
    user.forget();
    drop(prompt);
    let screen = user.sees("DRAWN 70x30").await;
    assert!(!screen.contains("\x1b[?1049l") && screen.contains("\x1b[?1002h"), "{screen:?}");
}

#[tokio::test]
async fn questions_take_turns_and_end_with_the_agent() {
    let user = User::new(80, 24);
    let mut running = user.runs(&["sh", "-c", "echo ready; read x; exit 2"]);
    user.sees("ready").await;
    let prompter = running.prompter().expect("a terminal");
    let mut first = prompter.open(SHORT).await.expect("open");
    first.draw(page("First")).await.expect("drawn");
    user.sees("First").await;
    let again = prompter.clone();
    let waiting = tokio::spawn(async move {
        let mut second = again.open(SHORT).await.expect("open");
        second.draw(page("Second")).await.expect("drawn");
        second.key().await
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!user.screen().contains("Second"));
    drop(first);
    user.sees("Second").await;
    running.signal(sandbox::Signal::TERM).await;
    assert_eq!(running.wait().await, Exit::Signal(15));
    assert_eq!(waiting.await.expect("joined"), None);
    assert!(prompter.open(SHORT).await.is_err());
    let screen = user.sees("\x1b[?1049l").await;
    assert!(user.is_cooked(), "{screen:?}");
}

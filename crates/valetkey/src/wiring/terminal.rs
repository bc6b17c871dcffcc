//! The terminal that `run` owns, as the waiting room sees it.

use std::sync::Arc;

use approval::channel::Wait;
use approval::{Key, Screen, Terminal};
use parking_lot::Mutex;
use sandbox::{Line, Page, Prompt, PromptTiming, Prompter};

/// Becomes usable when the agent has started: the prompter is known only then.
#[derive(Default)]
pub struct RunTerminal {
    prompter: Mutex<Option<Prompter>>,
}

impl RunTerminal {
    /// One without an agent yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The agent has started on a terminal.
    pub fn attach(&self, prompter: Option<Prompter>) {
        *self.prompter.lock() = prompter;
    }
}

impl Terminal for RunTerminal {
    fn is_present(&self) -> bool {
        self.prompter.lock().is_some()
    }

    fn open(&self) -> Wait<'_, Option<Box<dyn Screen>>> {
        let prompter = self.prompter.lock().clone();
        Box::pin(async move {
            let prompt = prompter?.open(PromptTiming::default()).await.ok()?;
            Some(Box::new(Covered(prompt)) as Box<dyn Screen>)
        })
    }
}

struct Covered(Prompt);

impl Screen for Covered {
    fn size(&self) -> (u16, u16) {
        self.0.size()
    }

    fn draw(&mut self, lines: Vec<String>) -> Wait<'_, bool> {
        let page = Page { body: lines.into_iter().map(Line::plain).collect(), footer: Vec::new(), top: 0 };
        Box::pin(async move { self.0.draw(page).await.is_ok() })
    }

    fn key(&mut self) -> Wait<'_, Option<Key>> {
        Box::pin(async move { self.0.key().await.map(key) })
    }
}

fn key(key: sandbox::Key) -> Key {
    match key {
        sandbox::Key::Char(letter) => Key::Char(letter),
        sandbox::Key::Escape => Key::Escape,
        sandbox::Key::Up => Key::Up,
        sandbox::Key::Down => Key::Down,
        sandbox::Key::PageUp => Key::PageUp,
        sandbox::Key::PageDown => Key::PageDown,
        sandbox::Key::Interrupt => Key::Interrupt,
        sandbox::Key::Resized => Key::Resized,
        sandbox::Key::Enter | sandbox::Key::Backspace | sandbox::Key::Tab => Key::Other,
    }
}

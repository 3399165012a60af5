//! The terminal, taken for a command that draws on it, and given back whatever happens: at the end, on an error, and when
//! something panics.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::{cursor, execute, terminal};

/// Whether it is taken: given back twice, a terminal would put its cursor where it was before, over the last words.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, taken; given back when dropped, also when something panics.
#[derive(Debug)]
pub struct Screen(());

impl Screen {
    /// Takes it: another screen than the one with the shell's lines, each key by itself, no cursor.
    ///
    /// # Errors
    /// What the terminal says.
    pub fn take() -> io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // First, so that what went wrong is said on the screen that stays.
            give_back();
            before(panic);
        }));
        TAKEN.store(true, Ordering::SeqCst);
        // From here on it is given back whatever happens.
        let screen = Self(());
        terminal::enable_raw_mode()?;
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    /// Whether it still is: a panic on any thread gives it back.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        TAKEN.load(Ordering::SeqCst)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

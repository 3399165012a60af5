//! A real terminal for tests: a tmux server of its own, in which a program runs, gets keys, is resized and looked at.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// A tmux server with one session of one shell; ended when dropped.
#[derive(Debug)]
pub struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Starts one of that size, its socket in `folder`.
    ///
    /// # Panics
    /// If tmux is not here (`scripts/setup --test` installs it), or the shell does not come up.
    #[must_use]
    pub fn new(folder: &Path, columns: u16, lines: u16) -> Self {
        let terminal = Self { socket: folder.join("tmux") };
        let size = [columns.to_string(), lines.to_string()];
        let [columns, lines] = &size;
        // A shell without start files: the prompt is ours, and nothing else is said.
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            columns,
            "-y",
            lines,
            "env",
            "-u",
            "NO_COLOR",
            "PS1=ready> ",
            "LC_ALL=C.UTF-8",
            "TERM=tmux-256color",
            "sh",
        ]);
        terminal.wait_for("ready>");
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).arg("-u").args(arguments).env_remove("TMUX");
        let output = command.output().unwrap_or_else(|error| panic!("tmux: {error}: scripts/setup --test"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "tmux {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Types a line into the shell.
    pub fn line(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.keys(&["Enter"]);
    }

    /// Presses keys, by tmux's names.
    pub fn keys(&self, keys: &[&str]) {
        let mut arguments = vec!["send-keys"];
        arguments.extend(keys);
        self.tmux(&arguments);
    }

    /// What it shows, without colours.
    #[must_use]
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// What it shows, with the sequences of its colours.
    #[must_use]
    pub fn colored(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// One of tmux's variables of the pane, such as `alternate_on`.
    #[must_use]
    pub fn variable(&self, name: &str) -> String {
        self.tmux(&["display-message", "-p", &format!("#{{{name}}}")]).trim().to_owned()
    }

    /// Makes it another size.
    pub fn resize(&self, columns: u16, lines: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &lines.to_string()]);
    }

    /// Waits until it shows a text, and gives what it shows then.
    ///
    /// # Panics
    /// If it does not; shows what it shows.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until what it shows is as wanted.
    ///
    /// # Panics
    /// If it never is; shows what it shows.
    pub fn wait_until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "never seen: {what}\n{screen}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asserts that the terminal is the shell's again: its own screen, a cursor, lines that are edited and echoed.
    ///
    /// # Panics
    /// If it is not.
    pub fn assert_clean(&self) {
        self.wait_until("the shell's screen", |screen| screen.trim_end().ends_with("ready>"));
        assert_eq!(self.variable("alternate_on"), "0", "the screen is the shell's");
        assert_eq!(self.variable("cursor_flag"), "1", "its cursor is shown");
        self.line("stty -a | tr ' ;' '\\n\\n' | grep -cx -e echo -e icanon -e isig -e onlcr");
        // Four modes that a taken terminal lacks.
        self.wait_until("a terminal that echoes and edits", |screen| {
            screen.trim_end().ends_with("\n4\nready>")
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

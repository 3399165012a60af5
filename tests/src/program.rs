//! Runs the program under test: arguments and stdin in, exit code and both outputs out.
//!
//! The program lies beside the tests, where `scripts/test` (or `cargo build -p sonde`) puts it. A run that hangs is
//! ended and fails its test. [`Scratch`] is a folder for the files of one test, and [`shared`] finds real captures.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long one run may take: far more than any needs, so that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(180);

/// The folder that the build writes to, such as `target/debug`.
fn build_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.parent().expect("a file lies in a folder");
    // Tests lie in `deps`, below what is built for use.
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    folder.to_owned()
}

/// The folder that cargo builds in, in which `scripts/setup` keeps what it installs for this checkout alone.
#[must_use]
pub fn target() -> PathBuf {
    let build = build_folder();
    build.parent().unwrap_or(&build).to_owned()
}

/// The program under test.
///
/// # Panics
/// If it was not built.
#[must_use]
pub fn sonde() -> PathBuf {
    let path = build_folder().join(format!("sonde{}", std::env::consts::EXE_SUFFIX));
    assert!(path.is_file(), "{} is missing: build it first with `cargo build -p sonde`", path.display());
    path
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// All of stdout.
    pub stdout: Vec<u8>,
    /// All of stderr.
    pub stderr: String,
}

impl Ran {
    /// Stdout as text.
    ///
    /// # Panics
    /// If it is no UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("the program writes UTF-8")
    }

    /// This run, if it ended with `code`.
    ///
    /// # Panics
    /// If it did not; shows what it said.
    #[must_use]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stderr: {}", self.stderr);
        self
    }
}

/// The program with `arguments`, without what the environment could change.
#[must_use]
pub fn command<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(sonde());
    command.args(arguments).env_remove("SONDE_LOG").env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8");
    command
}

/// Runs the program to its end.
///
/// # Panics
/// If it cannot be started, or hangs.
#[must_use]
pub fn run<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>, stdin: &[u8]) -> Ran {
    let stdin = stdin.to_vec();
    run_with(arguments, move |mut to| {
        // A program that has read enough closes its end.
        let _ = to.write_all(&stdin);
    })
}

/// Runs the program to its end, its stdin written by `feed` from a thread of its own.
///
/// # Panics
/// If it cannot be started, or hangs.
#[must_use]
pub fn run_with<A: AsRef<std::ffi::OsStr>>(
    arguments: impl IntoIterator<Item = A>,
    feed: impl FnOnce(std::process::ChildStdin) + Send + 'static,
) -> Ran {
    let child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    finish(child, feed, |_| {})
}

/// Feeds and reads a child whose three streams are pipes; `look` is called now and then while it runs.
///
/// # Panics
/// If it hangs.
pub fn finish(
    mut child: Child,
    feed: impl FnOnce(std::process::ChildStdin) + Send + 'static,
    mut look: impl FnMut(&Child),
) -> Ran {
    let stdin = child.stdin.take().map(|stdin| std::thread::spawn(move || feed(stdin)));
    let stdout = child.stdout.take().map(gather);
    let stderr = child.stderr.take().map(gather);
    let began = Instant::now();
    let status = loop {
        look(&child);
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if began.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("the program hangs: still running after {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    if let Some(stdin) = stdin {
        stdin.join().expect("the feeding thread does not panic");
    }
    let joined = |reader: Option<JoinHandle<Vec<u8>>>| {
        reader.map_or_else(Vec::new, |reader| reader.join().expect("the reading thread does not panic"))
    };
    let (stdout, stderr) = (joined(stdout), joined(stderr));
    let stderr = String::from_utf8(stderr).expect("the program writes UTF-8");
    Ran { code: status.code().unwrap_or(-1), stdout, stderr }
}

fn gather(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        all
    })
}

/// A folder for the files of one test, below the build's own; it goes when the test succeeds.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty folder; `name` tells whose it is.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = build_folder().join("cases").join(format!("{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the build's folder can be written");
        Self(folder)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Path of a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and gives its path.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.file(name);
        std::fs::write(&path, bytes).expect("the build's folder can be written");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A folder of real captures that are not ours to ship: below the folder named by `SONDE_SHARED`, else below `shared`
/// beside the repository. Says so on stderr where there is none.
#[must_use]
pub fn shared(folder: &str) -> Option<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    // A worktree may lie a folder deeper than the main one.
    let beside = repository.ancestors().skip(1).take(2).map(|above| above.join("shared"));
    let named = std::env::var_os("SONDE_SHARED").map(PathBuf::from);
    let found = named.into_iter().chain(beside).map(|shared| shared.join(folder)).find(|path| path.is_dir());
    if found.is_none() {
        say(&format!(
            "SKIPPED: no real captures here (SONDE_SHARED names no folder with {folder}, nor is one beside the repository)"
        ));
    }
    found
}

/// Says something to whoever runs the tests.
#[expect(clippy::print_stderr, reason = "what a test skips or measures belongs where its reader looks")]
pub fn say(text: &str) {
    eprintln!("{text}");
}

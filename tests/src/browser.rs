//! A real browser without a screen, for pages that the program writes: opened, clicked through, looked at by axe-core.
//!
//! Chromium is Debian's and is spoken to over a pipe by `browser/drive.py`; it has no network, so whatever a page asks for
//! fails and is listed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::program::target;
use crate::servers::binary;

/// The driver.
const DRIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/browser/drive.py");

/// What a visit gave.
#[derive(Clone, Debug, Deserialize)]
pub struct Visit {
    /// What each step gave: milliseconds of an opening, the value of a script, the violations that axe-core found.
    pub steps: Vec<Value>,
    /// What the page asked for besides itself.
    pub requests: Vec<String>,
    /// What the console said: errors, warnings, exceptions.
    pub console: Vec<String>,
}

/// A step that opens a file, at this place in it, in a window so wide.
#[must_use]
pub fn open(file: &Path, fragment: &str, width: u32, dark: bool) -> Value {
    let fragment = if fragment.is_empty() { String::new() } else { format!("#{fragment}") };
    json!({ "open": format!("{}{fragment}", file.display()), "width": width, "dark": dark })
}

/// A step that goes to a page that is served on this machine.
#[must_use]
pub fn go_to(address: &str, width: u32, dark: bool) -> Value {
    json!({ "goto": address, "width": width, "dark": dark })
}

/// A step that waits until an expression holds, so long at most: gives the time of day in milliseconds, or null.
#[must_use]
pub fn until(expression: &str, within: Duration) -> Value {
    json!({ "until": expression, "within": within.as_secs_f64() })
}

/// A step that evaluates a script in the page.
#[must_use]
pub fn js(script: &str) -> Value {
    json!({ "js": script })
}

/// A step that has axe-core look at the page as it is.
///
/// # Panics
/// If axe-core is not there.
#[must_use]
pub fn axe() -> Value {
    let file = target().join("servers/axe/package/axe.min.js");
    assert!(file.is_file(), "{} is missing: run scripts/setup --test", file.display());
    json!({ "axe": file })
}

/// A step that takes a picture of what is in the window.
#[must_use]
pub fn shot(file: &Path) -> Value {
    json!({ "shot": file })
}

/// Takes these steps.
///
/// # Panics
/// If the browser is not there, or a step cannot be taken.
#[must_use]
pub fn visit(steps: &[Value]) -> Visit {
    let mut child = Command::new("python3")
        .arg(DRIVER)
        .arg(chromium())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is installed (scripts/setup --test)");
    let text = serde_json::to_vec(steps).expect("steps are JSON");
    child.stdin.take().expect("it is piped").write_all(&text).expect("the driver reads its steps");
    let done = child.wait_with_output().expect("the driver ends");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "the driver failed: {said}");
    serde_json::from_slice(&done.stdout).expect("the driver answers in JSON")
}

fn chromium() -> PathBuf {
    binary("chromium")
}

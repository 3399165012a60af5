//! Who made a connection: the process instance, and the program identity that a beacon series is keyed by.
//!
//! A pid alone is reused, so a process is (pid, start time). A program outlives its processes: a `curl` loop that starts
//! a new pid each time is one program and so one series.

use serde::{Deserialize, Serialize};

use crate::text::Rule;
use crate::time::Timestamp;

/// Longest text of a process (path, command line, account…) that is kept, in bytes: Windows allows a command line
/// 32,767 characters (`CreateProcessW`), Linux a path 4,096.
pub const MAX_PROCESS_TEXT_BYTES: usize = 32 << 10;
/// Ancestors of the parent that are kept.
pub const MAX_ANCESTORS: usize = 4;
/// How such a text is kept.
pub const PROCESS_TEXT: Rule = Rule { cap: MAX_PROCESS_TEXT_BYTES, lower_case: false, strip_dot: false };

/// One process instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessKey {
    /// Process id as the host counts it.
    pub pid: u32,
    /// When it started.
    pub start: Timestamp,
}

/// How an event got its process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attribution {
    /// Who told.
    pub method: Method,
    /// How sure that is.
    pub quality: Quality,
}

impl Attribution {
    /// Nobody told.
    pub const NONE: Self = Self { method: Method::None, quality: Quality::None };

    /// Whether nobody told.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self.method, Method::None)
    }
}

/// Who told whose a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Method {
    /// Nobody.
    #[default]
    None,
    /// A kernel program, in the context of the process.
    Ebpf,
    /// The kernel was asked for the socket when its first packet left.
    Netlink,
    /// A table of sockets that is read now and then.
    Poll,
    /// The kernel's socket table when the sensor began.
    Seed,
    /// Windows' event tracing, in which the kernel names the socket's process.
    Etw,
}

impl Method {
    /// Name as in events and alerts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ebpf => "ebpf",
            Self::Netlink => "netlink",
            Self::Poll => "poll",
            Self::Seed => "seed",
            Self::Etw => "etw",
        }
    }
}

/// How sure an attribution is. A guess between several is none at all: no process is better than a wrong one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Quality {
    /// Not attributed.
    #[default]
    None,
    /// The only process that it can have been.
    Inferred,
    /// The process that held the socket when it was looked for.
    Exact,
    /// The process in whose context the kernel opened the connection.
    KernelExact,
}

/// Where the executable lies, as far as trust goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum ImageLocation {
    /// The operating system's own folders.
    System,
    /// Where programs are installed by an administrator.
    Programs,
    /// A user's home.
    Home,
    /// A folder that anyone can write to.
    Temporary,
    /// Deleted after start, or never on disk (memfd).
    Memory,
}

/// What kind of program started the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum ParentClass {
    /// The service manager or another service.
    Service,
    /// An interactive shell or desktop.
    Shell,
    /// A job scheduler such as cron.
    Scheduler,
    /// An office program or mail client.
    Office,
    /// A web browser.
    Browser,
    /// A web or application server.
    WebServer,
    /// Something else.
    Other,
}

/// What is known of a process. A field that the source cannot tell is `None` or empty: unknown is not benign.
///
/// Serialised with all its fields, since a form without names (postcard) has no way to leave one out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessInfo {
    /// Path of the executable, or its name where the source has no more.
    pub image: String,
    /// Command line, as started.
    pub command_line: String,
    /// SHA-256 of the executable, lower-case hex.
    pub sha256: String,
    /// Script that an interpreter runs.
    pub script: String,
    /// Path or name of the parent's executable.
    pub parent_image: String,
    /// Account name.
    pub user: String,
    /// Container id.
    pub container: String,
    /// Pod that the container belongs to (Kubernetes UID).
    pub pod: String,
    /// Unit of the service manager that it runs in.
    pub service: String,
    /// Installed package that owns the executable, with its version.
    pub package: String,
    /// Executables of the parent's ancestors, nearest first, at most [`MAX_ANCESTORS`].
    pub ancestors: Vec<String>,
    /// Signed by a trusted publisher, or owned by an installed package and unchanged.
    pub signed: Option<bool>,
    /// Where the executable lies.
    pub location: Option<ImageLocation>,
    /// What kind of program started it.
    pub parent_class: Option<ParentClass>,
    /// Script interpreter or living-off-the-land tool.
    pub script_host: Option<bool>,
    /// Web browser.
    pub browser: Option<bool>,
    /// Days for which this program has been known on this host.
    pub age_days: Option<f64>,
}

/// The file name of an executable's path, of either kind of system; the text itself where it holds no path.
///
/// A backslash may stand in a Unix file name, so it parts a path only where the path does not start with a slash.
#[must_use]
pub fn image_name(image: &str) -> &str {
    let parts_path = |c: char| c == '/' || (c == '\\' && !image.starts_with('/'));
    match image.rsplit_once(parts_path) {
        Some((_, name)) if !name.is_empty() => name,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_name_knows_both_kinds_of_path() {
        assert_eq!(image_name("/usr/bin/curl"), "curl");
        assert_eq!(image_name(r"C:\Windows\System32\svchost.exe"), "svchost.exe");
        assert_eq!(image_name("/tmp/odd\\name"), "odd\\name");
        assert_eq!(image_name("curl"), "curl");
        assert_eq!(image_name("/opt/"), "/opt/");
        assert_eq!(image_name(""), "");
    }
}

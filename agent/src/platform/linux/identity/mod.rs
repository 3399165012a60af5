//! Who a process is: what /proc, the package databases and the executable itself tell.
//!
//! Reading only; what is asked for, when, and what becomes of it is decided in `live::identity`. Texts are parsed by plain
//! functions of bytes, and everything read has a limit: /proc and databases of containers are written by those we watch.

pub mod accounts;
pub mod cgroup;
pub mod digest;
pub mod examine;
pub mod packages;
pub mod places;
pub mod process;
pub mod root;

#[cfg(test)]
mod figures;
#[cfg(test)]
mod tests;

pub use accounts::Accounts;
pub use examine::Examiner;
pub use places::Places;
pub use process::{executable_version, find_process, is_running, process_key, working_folder};

use std::io::Read as _;
use std::path::Path;

/// Lets everything else on this machine go first: for the calling thread alone.
pub fn lower_priority() {
    // On Linux the process 0 is the calling thread. Without the right to it we are a little less polite, that is all.
    let _ = rustix::process::setpriority_process(None, 19);
}

/// Names this boot of the machine.
#[must_use]
pub fn boot_id() -> Option<String> {
    let text = read_capped(Path::new("/proc/sys/kernel/random/boot_id"), 64).ok()?;
    Some(std::str::from_utf8(&text).ok()?.trim().to_owned())
}

/// The first `cap` bytes of a file.
fn read_capped(path: &Path, cap: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(cap).read_to_end(&mut bytes)?;
    Ok(bytes)
}

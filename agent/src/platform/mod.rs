//! What differs between operating systems: same-named functions and types per system, chosen when Sonde is built.
//!
//! The only file with an OS `cfg`. Nothing here knows the pipeline: platform code turns the system's tables and events into
//! the values of `sonde_common::{live, net, process, time}`.

#[cfg(target_os = "linux")]
mod linux;
mod neutral;
#[cfg(target_os = "windows")]
mod windows;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(target_os = "windows")]
pub use windows::*;

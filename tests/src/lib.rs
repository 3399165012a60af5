//! Support for Sonde's tests and benchmarks: a packet builder and a deterministic traffic generator.
//!
//! Bottom to top: [`packet`] and [`payload`] build bytes, [`capture`] writes files, [`conversation`] puts whole
//! exchanges on a timeline, [`mod@scenario`] tells the stories (one per beacon shape and per false-positive class), and
//! its `corpus` streams the benchmark capture. The binary `sonde-gen` is a thin front to it. For the cases, [`wire`] spells
//! out single packets and hears what the tracker says of them, and [`program`] runs the built program. [`logs`] tells days
//! as other tools log them, [`pack`] packs files, [`feeds`] makes feeds, [`golden`] holds outputs against files, and
//! [`words`] tells whether they are safe to look at. [`generated`] makes up names as malware does, [`hostile`] names that
//! break readers. [`servers`] starts the
//! servers that alerts are shipped to, [`browser`] opens pages, and [`mod@fleet`] makes up what many sensors publish.
// Only `emulate::raw` may: system calls that have no safe form.
#![deny(unsafe_code)]

#[cfg(feature = "linux")]
pub mod book;
pub mod browser;
pub mod capture;
pub mod certificates;
pub mod conversation;
mod corpus;
pub mod emulate;
pub mod evtx;
pub mod feeds;
pub mod fleet;
pub mod flood;
pub mod generated;
pub mod golden;
pub mod hostile;
pub mod logs;
#[cfg(feature = "linux")]
pub mod netns;
pub mod pack;
pub mod packet;
pub mod payload;
pub mod program;
pub mod rng;
pub mod scenario;
#[cfg(feature = "linux")]
pub mod servers;
#[cfg(feature = "linux")]
pub mod tmux;
pub mod truth;
pub mod wire;
pub mod words;
pub mod work;

pub use scenario::{scenario, scenario_with_truth};

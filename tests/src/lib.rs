//! Support for Sonde's tests and benchmarks: a packet builder and a deterministic traffic generator.
//!
//! Bottom to top: [`packet`] and [`payload`] build bytes, [`capture`] writes files, [`conversation`] puts whole
//! exchanges on a timeline, [`mod@scenario`] tells the stories (one per beacon shape and per false-positive class), and
//! its `corpus` streams the benchmark capture. The binary `sonde-gen` is a thin front to it. For the cases, [`wire`] spells
//! out single packets and hears what the tracker says of them, and [`program`] runs the built program.
#![forbid(unsafe_code)]

pub mod capture;
pub mod conversation;
mod corpus;
pub mod evtx;
pub mod packet;
pub mod payload;
pub mod program;
pub mod rng;
pub mod scenario;
pub mod truth;
pub mod wire;

pub use scenario::{scenario, scenario_with_truth};

//! The Sonde agent: opens, reads, waits, asks the OS, writes. It holds no detection maths.

pub mod capture;
pub mod cli;
pub mod console;
pub mod control;
mod events;
pub mod exit;
pub mod feeds;
pub mod fleet;
pub mod install;
pub mod knowledge;
pub mod live;
mod log_file;
pub mod platform;
pub mod profiles;
pub mod replay;
mod sensor_id;
pub mod sink;
pub mod state;
pub mod telemetry;

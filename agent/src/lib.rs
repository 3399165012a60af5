//! The Sonde agent: opens, reads, waits, asks the OS, writes.

pub mod cli;

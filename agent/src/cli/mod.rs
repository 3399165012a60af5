//! The commands, and what they share: arguments in, exit code out.

pub mod human;
pub mod output;
pub mod progress;

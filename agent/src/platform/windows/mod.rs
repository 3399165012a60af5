//! Windows: what the sensor asks of the system, by its own libraries alone.
//!
//! What of this was run, and where, stands in docs/windows.md.

pub mod accounts;
pub mod append;
pub mod clock;
pub mod etw;
pub mod files;
pub mod identity;
mod interfaces;
pub mod journal;
mod keep_alive;
pub mod local_socket;
pub mod paths;
pub mod poll;
mod private_file;
pub mod privileges;
mod resolvers;
pub mod sandbox;
mod security;
pub mod service;
pub mod sources;
pub mod tables;
mod token;
pub mod unsent;
pub mod usage;
mod wide;
pub mod wpcap;

pub use self::keep_alive::keep_alive;
pub use self::private_file::open_private;
pub use self::resolvers::resolvers;
pub use self::service::install;

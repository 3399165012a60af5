//! Windows: what the sensor asks of the system, by its own libraries alone.
//!
//! What of this was run, and where, stands in docs/windows.md.

pub mod accounts;
pub mod append;
pub mod clock;
pub mod files;
pub mod identity;
pub mod journal;
mod keep_alive;
pub mod local_socket;
pub mod paths;
mod private_file;
pub mod privileges;
mod resolvers;
mod security;
pub mod service;
pub mod sources;
mod token;
pub mod unsent;
pub mod usage;
mod wide;

pub use self::keep_alive::keep_alive;
pub use self::private_file::open_private;
pub use self::resolvers::resolvers;

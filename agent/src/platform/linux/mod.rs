//! Linux: kernel programs, netlink, packet sockets, `/proc`.

pub mod accounts;
pub mod append;
pub mod clock;
pub mod ebpf;
pub mod files;
pub mod identity;
pub mod install;
pub mod journal;
mod keep_alive;
pub mod local_socket;
pub mod mounts;
pub mod namespaces;
pub mod netlink;
pub mod packets;
pub mod paths;
mod private_file;
pub mod privileges;
mod resolvers;
pub mod sandbox;
pub mod service;
pub mod sources;
pub mod unsent;
pub mod usage;

pub use self::keep_alive::keep_alive;
pub use self::private_file::open_private;
pub use self::resolvers::resolvers;

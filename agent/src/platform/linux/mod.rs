//! Linux: kernel programs, netlink, packet sockets, `/proc`.

pub mod accounts;
pub mod clock;
pub mod ebpf;
pub mod files;
pub mod identity;
pub mod local_socket;
pub mod mounts;
pub mod namespaces;
pub mod netlink;
pub mod packets;
pub mod paths;
pub mod privileges;
mod resolvers;
pub mod service;
pub mod usage;

pub use self::resolvers::resolvers;

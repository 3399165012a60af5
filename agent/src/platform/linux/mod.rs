//! Linux: kernel programs, netlink, packet sockets, `/proc`.

pub mod clock;
pub mod ebpf;
pub mod identity;
pub mod namespaces;
pub mod netlink;
pub mod packets;

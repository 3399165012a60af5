//! Packets of the host, filtered in the kernel: what names connections, and what tells of their begin and end.
//!
//! [`SynWatch`] hears outgoing SYNs at once.

mod bpf;
mod filter;
#[cfg(test)]
mod interpret;
#[cfg(test)]
mod live_tests;
mod socket;
mod syn;

pub use syn::{Syn, SynWatch};

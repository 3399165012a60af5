//! Event Tracing for Windows: records of the providers that tell of sockets, processes and DNS queries -> live events.
//!
//! `network`, `process` and `dns` read the bytes of one record each; [`Assembler`] puts records together. Layouts are those of
//! the providers' manifests (dumps of Windows 10 builds 17134 and 18990) and, for the classic kernel provider, of the MOF
//! classes in Microsoft's documentation. Test records are built from those; none was recorded on Windows.

mod assembler;
mod dns;
#[cfg(test)]
pub(crate) mod fixture;
mod network;
mod process;
mod processes;
mod sockets;

pub use assembler::{Ask, Assembler, Losses};
pub use dns::{Query, Stage};
pub use network::{Deed, Transfer};
pub use process::{Began, Ended, Launched};
pub use sockets::Standing;

use crate::time::Timestamp;

/// A provider's number, as `{xxxxxxxx-xxxx-…}` reads as one hexadecimal number.
pub type Provider = u128;

/// `Microsoft-Windows-Kernel-Network`.
pub const KERNEL_NETWORK: Provider = 0x7dd4_2a49_5329_4832_8dfd_43d9_7915_3a88;
/// `Microsoft-Windows-Kernel-Process`.
pub const KERNEL_PROCESS: Provider = 0x22fb_2cd6_0e7b_422b_a0c7_2fad_1fd0_e716;
/// `Microsoft-Windows-DNS-Client`.
pub const DNS_CLIENT: Provider = 0x1c95_126e_7eea_49a9_a3fe_a378_b03d_db4d;
/// The kernel's own trace of processes (class `Process`), which alone tells command lines.
pub const CLASSIC_PROCESS: Provider = 0x3d6f_a8d0_fe05_11d0_9dda_00c0_4fd7_ba7c;

/// Longest record that is read: an event cannot be longer (Microsoft, "`EVENT_RECORD`").
pub const MAX_RECORD_BYTES: usize = 65_535;

/// One event: what its header says, and its own data.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Who told.
    pub provider: Provider,
    /// Which event of this provider; 0 for classic ones.
    pub id: u16,
    /// Version of its layout.
    pub version: u8,
    /// What a classic event tells of.
    pub opcode: u8,
    /// Process in whose context it was written; for events of the network stack often not the one whose socket it is.
    pub process: u32,
    /// When.
    pub time: Timestamp,
    /// Pointers in it are eight bytes long.
    pub wide: bool,
    /// Its own data.
    pub data: &'a [u8],
}

/// What a record told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Of a socket.
    Network(Transfer),
    /// A process began.
    Began(Began),
    /// A process began, with its command line.
    Launched(Launched),
    /// A process ended.
    Ended(Ended),
    /// Of a DNS query.
    Dns(Query),
}

/// Why a record could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It ends before its fields do, or a text in it has no end.
    #[error("the record ends before its fields do")]
    Short,
    /// A field holds what it cannot.
    #[error("a field holds what it cannot")]
    Invalid,
    /// A version that is older than all that are known.
    #[error("the version of the record is not known")]
    Version,
}

/// Reads a record; `None` if it is of no use here.
///
/// # Errors
/// If it is of use and damaged.
pub fn decode(record: &Record<'_>) -> Result<Option<Told>, Flaw> {
    match record.provider {
        KERNEL_NETWORK => Ok(network::decode(record)?.map(Told::Network)),
        KERNEL_PROCESS => process::decode(record),
        CLASSIC_PROCESS => Ok(process::decode_classic(record)?.map(Told::Launched)),
        DNS_CLIENT => Ok(dns::decode(record)?.map(Told::Dns)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;

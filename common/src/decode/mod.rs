//! Frame -> Packet: headers, then the few payloads that name a connection.

mod cursor;
pub mod dns;
pub mod http;
pub mod ja4;
pub mod name;
pub mod packet;
pub mod quic;
pub mod ssh;
pub mod tls;

/// What a parser makes of the first bytes of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe<T> {
    /// It is this protocol, and this is what it says.
    Parsed(T),
    /// So far it may be; at least so many bytes more are needed, and exactly so many where the length is known.
    NeedMore {
        /// Bytes missing, at least 1.
        at_least: usize,
    },
    /// It is something else.
    Mismatch,
}

impl<T> Probe<T> {
    /// The result, if there is one.
    pub fn parsed(self) -> Option<T> {
        match self {
            Self::Parsed(value) => Some(value),
            Self::NeedMore { .. } | Self::Mismatch => None,
        }
    }
}

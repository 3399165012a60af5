//! Frame -> Packet: headers, then the few payloads that name a connection.

pub mod dns;
pub mod http;
pub mod packet;
pub mod quic;
pub mod tls;

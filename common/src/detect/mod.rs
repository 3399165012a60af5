//! Detectors: what a host did in, findings out. The engine resolves names and programs first, then asks each detector.

pub mod beacon;

use crate::event::{ConnectionEvent, DnsEvent};
use crate::process::ProcessKey;
use crate::program::Program;
use crate::time::Timestamp;

/// An event with everything that the host knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// When the sensor knew it.
    pub time: Timestamp,
    /// The process instance, where the source tells.
    pub process: Option<ProcessKey>,
    /// Its program, where the source tells.
    pub program: Option<&'a Program>,
    /// The name that counts: SNI, else CONNECT host, else what DNS led from; empty for a bare address.
    pub name: &'a str,
    /// What the client resolved; empty if it resolved nothing.
    pub fqdn: &'a str,
    /// Registrable domain of `name`.
    pub registrable: &'a str,
    /// What happened.
    pub what: What<'a>,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// News of a connection.
    Connection(&'a ConnectionEvent<'a>),
    /// A DNS query.
    Query(&'a DnsEvent<'a>),
}

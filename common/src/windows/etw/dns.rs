//! `Microsoft-Windows-DNS-Client`: what programs ask the system's resolver, and what they get.
//!
//! 3006 (a query began), 3008 (it was completed) and 3018 (answered from the cache) are written by the asking process, so their
//! header names it; 3020 (a server answered) may be written by the resolver's own service. A query that is asked without the
//! system's resolver is not among them.

use std::net::IpAddr;

use super::{Flaw, Record};
use crate::format::winlog::{answer, status_code};
use crate::windows::bytes::Bytes;

/// How far a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// It began (3006).
    Asked,
    /// The program has its answer (3008).
    Completed,
    /// The cache answered (3018).
    Cache,
    /// A server answered (3020).
    Server,
}

/// What was told of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// How far it came.
    pub stage: Stage,
    /// Process that wrote the event.
    pub pid: u32,
    /// The name, as asked.
    pub name: String,
    /// Type of the record that is wanted.
    pub query_type: u16,
    /// Response code, `None` where nobody answered.
    pub response_code: Option<u16>,
    /// Addresses of the answer.
    pub addresses: Vec<IpAddr>,
}

pub(super) fn decode(record: &Record<'_>) -> Result<Option<Query>, Flaw> {
    let stage = match record.id {
        3006 => Stage::Asked,
        3008 => Stage::Completed,
        3018 => Stage::Cache,
        3020 => Stage::Server,
        _ => return Ok(None),
    };
    let mut bytes = Bytes::new(record.data);
    let mut read = || {
        let name = bytes.utf16()?;
        let query_type = bytes.u32()?;
        // 3020 has two numbers of networks here, the others have options.
        bytes.u64()?;
        let (status, results) = match stage {
            Stage::Asked => (None, String::new()),
            _ => (Some(bytes.u32()?), bytes.utf16()?),
        };
        Some((name, query_type, status, results))
    };
    let (name, query_type, status, results) = read().ok_or(Flaw::Short)?;
    let query_type = u16::try_from(query_type).map_err(|_| Flaw::Invalid)?;
    if name.is_empty() {
        return Err(Flaw::Invalid);
    }
    Ok(Some(Query {
        stage,
        pid: record.process,
        name,
        query_type,
        response_code: status.and_then(|status| u16::try_from(status).ok()).and_then(status_code),
        addresses: answer(&results).0.to_vec().to_vec(),
    }))
}

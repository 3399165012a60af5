//! Reads a process map from a file, a block at a time. A bad row costs itself alone and is named; a file without a single
//! usable entry is an error, because whoever gives a map expects processes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sonde_common::attribute::{ProcessMap, ProcessMapBuilder};
use sonde_common::format::process_map::{MAP_FORMATS, MapFormat, MapReader};
use sonde_common::format::row::RowError;
use sonde_common::format::split::Splitter;
use sonde_common::text::escape;
use tracing::{debug, warn};

/// Bytes read at a time; the first so many tell the form.
const BLOCK_LEN: usize = 256 << 10;
/// Bad rows that are named; the others are counted.
const MAX_NAMED: u64 = 5;

/// Why a map cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The path leads nowhere.
    #[error("{path}: no such file")]
    NotFound {
        /// The path as printed.
        path: String,
    },
    /// It is there, but not for us.
    #[error("{path}: permission denied")]
    PermissionDenied {
        /// The path as printed.
        path: String,
    },
    /// The operating system refuses for another reason.
    #[error("{path}: cannot read: {error}")]
    Read {
        /// The path as printed.
        path: String,
        /// What it said.
        error: io::Error,
    },
    /// Nothing that is known.
    #[error("{path}: not a process map (tried {MAP_FORMATS})")]
    Unknown {
        /// The path as printed.
        path: String,
    },
    /// No entry in it can be used.
    #[error("{path}: no entry that can be used{}", first(.bad.as_ref()))]
    NoEntry {
        /// The path as printed.
        path: String,
        /// The line and cause of the first bad row.
        bad: Option<(u64, RowError)>,
    },
}

fn first(bad: Option<&(u64, RowError)>) -> String {
    bad.map_or_else(String::new, |(line, error)| format!(": line {line}: {error}"))
}

impl MapError {
    /// What the operator can do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "check the path",
            Self::PermissionDenied { .. } => "run as a user who may read it, or copy it to where you may",
            Self::Read { .. } => "check the file system, or copy the file to a local disk first",
            Self::Unknown { .. } => {
                "unpack it if it is packed, and see docs/process-map.md for what a map looks like"
            }
            Self::NoEntry { .. } => {
                "each entry needs image, and local_port or remote_ip; ss names processes only to root: sudo ss -tunp"
            }
        }
    }
}

/// Reads the map in a file; `-` is stdin.
///
/// # Errors
/// If it cannot be read, is no map, or has no usable entry.
pub fn read(path: &Path) -> Result<ProcessMap, MapError> {
    let name = escape(&path.to_string_lossy()).into_owned();
    if path.as_os_str() == "-" {
        return read_from(name, io::stdin().lock());
    }
    match File::open(path) {
        Ok(file) => read_from(name, file),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound => MapError::NotFound { path: name },
            io::ErrorKind::PermissionDenied => MapError::PermissionDenied { path: name },
            _ => MapError::Read { path: name, error },
        }),
    }
}

fn read_from(path: String, mut source: impl Read) -> Result<ProcessMap, MapError> {
    let mut bytes = Vec::new();
    let mut fill = |bytes: &mut Vec<u8>| -> Result<bool, MapError> {
        let wanted = BLOCK_LEN as u64;
        match source.by_ref().take(wanted).read_to_end(bytes) {
            Ok(len) => Ok((len as u64) < wanted),
            Err(error) => Err(MapError::Read { path: path.clone(), error }),
        }
    };
    let mut complete = fill(&mut bytes)?;
    let Some(format) = MapFormat::detect(&bytes) else { return Err(MapError::Unknown { path }) };
    let mut splitter = Splitter::new(format.framing(&bytes));
    let mut reader = MapReader::new(format);
    let mut builder = ProcessMapBuilder::new();
    let mut records = Vec::new();
    let (mut bad, mut first_bad) = (0u64, None);
    loop {
        let used = splitter.split(&bytes, complete, &mut records);
        for (line, range) in records.drain(..) {
            let record = bytes.get(range).unwrap_or_default();
            if let Err(error) = reader.record(record, &mut |entry| builder.add(entry)) {
                bad += 1;
                if bad <= MAX_NAMED {
                    let error = error.to_string();
                    warn!(file = path, line, error, "entry of the process map left out");
                }
                first_bad.get_or_insert((line, error));
            }
        }
        bytes.drain(..used.min(bytes.len()));
        if complete {
            break;
        }
        complete = fill(&mut bytes)?;
    }
    if bad > MAX_NAMED {
        warn!(file = path, entries = bad, "bad entries of the process map in all");
    }
    let (skipped, first) = splitter.skipped();
    if skipped > 0 {
        warn!(
            file = path,
            entries = skipped,
            first,
            "entries of the process map left out: longer than 1 MiB"
        );
    }
    let (map, counters) = builder.build();
    if counters.left_out > 0 {
        warn!(
            file = path,
            entries = counters.left_out,
            "entries of the process map left out: there are too many"
        );
    }
    if counters.entries == 0 {
        return Err(MapError::NoEntry { path, bad: first_bad });
    }
    debug!(file = path, entries = counters.entries, processes = counters.processes, "process map read");
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<ProcessMap, String> {
        read_from("map".into(), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_map_longer_than_a_block_is_read_to_its_end() {
        let mut text = "local_port,image,command_line\n".to_owned();
        for port in 1..=5000u16 {
            text.push_str(&format!("{port},/opt/x,\"{}\n\"\n", "y".repeat(200)));
        }
        let map = read(text.as_bytes()).unwrap();
        let tuple = |port: u16| sonde_common::net::FiveTuple {
            transport: sonde_common::net::Transport::Tcp,
            local: ([10, 0, 0, 5], port).into(),
            remote: ([192, 0, 2, 7], 443).into(),
        };
        let time = sonde_common::time::Timestamp::ZERO;
        assert!([1, 2500, 5000].iter().all(|port| map.find(&tuple(*port), time).is_some()));
        assert!(map.find(&tuple(5001), time).is_none());
    }

    #[test]
    fn what_is_no_map_says_why() {
        let unknown = read(b"hello").unwrap_err();
        assert!(unknown.starts_with("map: not a process map (tried CSV"), "{unknown}");
        assert_eq!(read(b"").unwrap_err(), unknown);
        assert_eq!(
            read(b"local_port,image\n0,x\n,x\n").unwrap_err(),
            "map: no entry that can be used: line 2: local_port: not a port, found `0`"
        );
        assert_eq!(
            read(b"tcp ESTAB 0 0 10.0.0.5:1 192.0.2.7:443\n").unwrap_err(),
            "map: no entry that can be used"
        );
    }
}

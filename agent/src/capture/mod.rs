//! Where packets and log lines come from. So far: files and standard input, of any supported format and compression.
//!
//! [`Input`] opens and finds out what it has; [`FrameReader`] and [`LineReader`] hand it out piece by piece.

mod blocks;
mod decompress;
mod found;
mod frames;
mod input;
mod lines;

pub use blocks::{Block, BlockReader};
pub use found::{Found, Look, Positions, total_length};
pub use frames::{BATCH, FrameReader};
pub use input::{Input, Progress};
pub use lines::{Line, LineReader, SkippedLines};

use std::io;

use sonde_common::format::{DETECTED, FormatError};

/// Why an input cannot be read, or not to its end. One complete sentence each: the cause stands in the text, so it is not
/// repeated as `source`. Offsets count in the decompressed data.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
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
    /// A directory where a file was expected.
    #[error("{path}: is a directory")]
    Directory {
        /// The path as printed.
        path: String,
    },
    /// The operating system refuses for another reason.
    #[error("{path}: cannot open: {error}")]
    Open {
        /// The path as printed.
        path: String,
        /// What it said.
        error: io::Error,
    },
    /// The operating system fails while reading; what came before it was handed out.
    #[error("{path}: cannot read on at byte {offset}: {error}")]
    Read {
        /// The path as printed.
        path: String,
        /// Bytes read until then.
        offset: u64,
        /// What it said.
        error: io::Error,
    },
    /// Not a single byte.
    #[error("{path}: is empty")]
    Empty {
        /// The path as printed.
        path: String,
    },
    /// A known format that Sonde does not read.
    #[error("{path}: is {format}, which is not read")]
    Foreign {
        /// The path as printed.
        path: String,
        /// Name of the format.
        format: &'static str,
        /// What makes it readable.
        remedy: &'static str,
    },
    /// Nothing that is known.
    #[error("{path}: not a known format (starts with {first:02x?}; tried {DETECTED})")]
    Unknown {
        /// The path as printed.
        path: String,
        /// The first bytes, at most eight.
        first: Vec<u8>,
    },
    /// Compressed again and again, as only a decompression bomb is.
    #[error("{path}: compressed more than {limit} times over")]
    TooDeep {
        /// The path as printed.
        path: String,
        /// Layers that are undone.
        limit: usize,
    },
    /// A damaged or cut compressed file; all that could be decompressed was handed out.
    #[error("{path}: damaged after byte {offset} of the decompressed data: {what}")]
    DamagedCompression {
        /// The path as printed.
        path: String,
        /// Bytes decompressed until then.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A damaged or cut capture; every frame before that was handed out.
    #[error("{path}: damaged at {damage}")]
    Damaged {
        /// The path as printed.
        path: String,
        /// Where and how.
        damage: FormatError,
    },
}

impl CaptureError {
    /// What to say of a failure after so many bytes of the decompressed data.
    #[must_use]
    pub fn of_reading(path: &str, offset: u64, error: io::Error) -> Self {
        input::read_error(path, offset, error)
    }

    /// The input's path, safe to print.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::NotFound { path }
            | Self::PermissionDenied { path }
            | Self::Directory { path }
            | Self::Open { path, .. }
            | Self::Read { path, .. }
            | Self::Empty { path }
            | Self::Foreign { path, .. }
            | Self::Unknown { path, .. }
            | Self::TooDeep { path, .. }
            | Self::DamagedCompression { path, .. }
            | Self::Damaged { path, .. } => path,
        }
    }

    /// Where in the decompressed data reading ended, if it had begun.
    #[must_use]
    pub const fn offset(&self) -> Option<u64> {
        match self {
            Self::Read { offset, .. } | Self::DamagedCompression { offset, .. } => Some(*offset),
            Self::Damaged { damage, .. } => Some(damage.offset()),
            _ => None,
        }
    }

    /// Whether the input was readable up to a point, and only what lies behind it is lost.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.offset().is_some()
    }

    /// What the operator can do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "check the path, and quote patterns that the shell should not expand",
            Self::PermissionDenied { .. } => "run as a user who may read it, or copy it to where you may",
            Self::Directory { .. } => "name the files in it",
            Self::Open { .. } | Self::Read { .. } => {
                "check the file system, or copy the file to a local disk first"
            }
            Self::Empty { .. } => "check whether whatever wrote it has finished",
            Self::Foreign { remedy, .. } => remedy,
            Self::Unknown { .. } => {
                "if it is one of these, name it with --input-format; other captures are converted with editcap -F pcapng"
            }
            Self::TooDeep { .. } => "decompress it first, if you trust where it came from",
            Self::DamagedCompression { .. } | Self::Damaged { .. } => {
                "copy or export it again; everything before the damage was used"
            }
        }
    }
}

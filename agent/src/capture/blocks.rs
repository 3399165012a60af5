//! The records of one log, in blocks that other threads read.

use std::ops::Range;

use sonde_common::format::split::{Framing, Splitter};

use super::input::Window;
use super::{CaptureError, Progress};

/// Bytes of a block, at least: enough to be worth handing to another thread, few enough to stay in its cache.
const BLOCK_LEN: usize = 512 * 1024;

/// Whole records, one after the other.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    records: Vec<(u64, Range<usize>)>,
}

impl Block {
    /// The records, each with the line on which it begins.
    pub fn records(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.records.iter().map(|(line, range)| (*line, self.bytes.get(range.clone()).unwrap_or_default()))
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// Cuts a log into blocks of whole records.
pub struct BlockReader {
    window: Window,
    splitter: Splitter,
    progress: Progress,
    ended: bool,
}

impl std::fmt::Debug for BlockReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockReader").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl BlockReader {
    pub(super) fn new(window: Window, progress: Progress, framing: Framing) -> Self {
        Self { window, splitter: Splitter::new(framing), progress, ended: false }
    }

    /// Fills a block; false at the end.
    ///
    /// # Errors
    /// Once, after every record that could be read: what ended the input early.
    pub fn next_block(&mut self, block: &mut Block) -> Result<bool, CaptureError> {
        block.bytes.clear();
        block.records.clear();
        let mut wanted = BLOCK_LEN;
        loop {
            while self.window.unread().len() < wanted && self.window.more(wanted) {}
            let complete = self.window.unread().len() < wanted;
            if complete && std::mem::replace(&mut self.ended, true) {
                return Ok(false);
            }
            let failure = if complete { self.window.take_failure() } else { None };
            let unread = self.window.unread();
            // A record that damage cut is none.
            let used = self.splitter.split(unread, complete && failure.is_none(), &mut block.records);
            block.bytes.extend_from_slice(unread.get(..used).unwrap_or_default());
            self.window.consume(used);
            if let Some(failure) = failure {
                if block.is_empty() {
                    return Err(failure);
                }
                self.window.put_back(failure);
                self.ended = false;
                return Ok(true);
            }
            if !block.is_empty() {
                return Ok(true);
            }
            block.bytes.clear();
            if complete {
                return Ok(false);
            }
            // Nothing whole in it yet: a longer look, unless records were passed over.
            wanted = if used == 0 { wanted * 2 } else { BLOCK_LEN };
        }
    }

    /// Records left out so far for being too long, and the line of the first.
    #[must_use]
    pub const fn skipped(&self) -> (u64, u64) {
        self.splitter.skipped()
    }

    /// The input's name as it stands in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        self.window.name()
    }

    /// How far the file is read.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }
}

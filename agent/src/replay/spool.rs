//! Sorts the rows of any number of logs by time within bounded memory: sorted runs that do not fit are written to an unnamed
//! temporary file and merged back.
//!
//! Logs are not in the order of time: Zeek writes a connection when it ends, portals export the newest row first, channels
//! and files overlap. Equal times keep the order of the input, so the result does not depend on who sorted what.
//! Rows are parted into buckets by host, and each bucket can be read back by itself.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use sonde_common::format::row::Row;
use sonde_common::time::Timestamp;

/// Bytes of rows that one sorter gathers before it sorts them.
const BATCH_BYTES: usize = 8 << 20;
/// Bytes of sorted rows kept in memory by all sorters together; further ones go to the file.
const MEMORY_BYTES: usize = 32 << 20;
/// Runs of one level before they are merged into one of the next: each takes a buffer when they are read back, and each row
/// is written once per level.
const RUNS_PER_LEVEL: usize = 48;
/// Bytes of all buffers that rows are read back into…
const BUFFERS_BYTES: usize = 16 << 20;
/// …and of one of them, at most and at least.
const BUFFER_BYTES: std::ops::RangeInclusive<usize> = (8 << 10)..=(128 << 10);
/// Bytes of merged rows written at once.
const MERGE_BYTES: usize = 1 << 20;
/// Bytes of a row's header in a run: length, time, source, number.
const HEADER_BYTES: usize = 4 + 8 + 4 + 8;
/// Parts that hosts are dealt into. A part is followed as a whole, so more parts leave more memory to each host; the answer
/// depends on their number only where memory is short.
pub(super) const BUCKETS: usize = 64;

/// Where a row stands in the order: by time, then as the inputs have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// When it is taken up.
    pub(super) time: Timestamp,
    /// Which input it is from.
    pub(super) source: u32,
    /// Which row of that input.
    pub(super) number: u64,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    place: Place,
    bucket: u8,
    at: u32,
    len: u32,
}

/// Rows of one sorter that are not sorted yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    rows: Vec<u8>,
    keys: Vec<Key>,
}

impl Batch {
    /// Adds a row. Full batches go to the spool.
    pub(super) fn push(
        &mut self,
        bucket: usize,
        place: Place,
        row: &Row<'_>,
        spool: &Spool,
    ) -> io::Result<()> {
        self.push_with(bucket, place, |out| row.encode(out), spool)
    }

    /// As [`push`](Self::push), for anything that `encode` appends to what it is given.
    pub(super) fn push_with(
        &mut self,
        bucket: usize,
        place: Place,
        encode: impl FnOnce(Vec<u8>) -> Vec<u8>,
        spool: &Spool,
    ) -> io::Result<()> {
        if self.rows.capacity() == 0 {
            self.rows.reserve(BATCH_BYTES + BATCH_BYTES / 8);
        }
        let before = self.rows.len();
        self.rows = encode(std::mem::take(&mut self.rows));
        let fits =
            |bytes: usize| u32::try_from(bytes).map_err(|_| io::Error::other("a row of more than 4 GiB"));
        let bucket = u8::try_from(bucket.min(BUCKETS - 1)).unwrap_or(0);
        self.keys.push(Key { place, bucket, at: fits(before)?, len: fits(self.rows.len() - before)? });
        if self.rows.len() + self.keys.len() * size_of::<Key>() >= BATCH_BYTES {
            self.flush(spool)
        } else {
            Ok(())
        }
    }

    /// Sorts what is there and hands it to the spool.
    pub(super) fn flush(&mut self, spool: &Spool) -> io::Result<()> {
        if self.keys.is_empty() {
            return Ok(());
        }
        self.keys.sort_unstable_by_key(|key| (key.bucket, key.place));
        let mut run = Run {
            bytes: Vec::with_capacity(self.rows.len() + self.keys.len() * HEADER_BYTES),
            ends: [0; BUCKETS],
        };
        for key in &self.keys {
            let (at, len) = (key.at as usize, key.len as usize);
            let row = self.rows.get(at..at + len).unwrap_or_default();
            write_row(&mut run.bytes, key.place, row);
            if let Some(end) = run.ends.get_mut(usize::from(key.bucket)) {
                *end = run.bytes.len() as u64;
            }
        }
        fill_ends(&mut run.ends);
        self.rows.clear();
        self.keys.clear();
        spool.take(run)
    }
}

fn write_row(out: &mut Vec<u8>, place: Place, row: &[u8]) {
    let len = u32::try_from(row.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&place.time.nanos().to_le_bytes());
    out.extend_from_slice(&place.source.to_le_bytes());
    out.extend_from_slice(&place.number.to_le_bytes());
    out.extend_from_slice(row);
}

/// A bucket without rows ends where the one before it does.
fn fill_ends(ends: &mut [u64; BUCKETS]) {
    let mut last = 0;
    for end in ends {
        last = last.max(*end);
        *end = last;
    }
}

/// Sorted rows, bucket after bucket.
#[derive(Debug)]
struct Run {
    bytes: Vec<u8>,
    /// Where each bucket ends.
    ends: [u64; BUCKETS],
}

/// The same in the file.
#[derive(Clone, Copy, Debug)]
struct FileRun {
    /// How often its rows were merged.
    level: u32,
    start: u64,
    ends: [u64; BUCKETS],
}

/// All rows, once they are sorted.
#[derive(Debug, Default)]
pub(super) struct Spool {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    memory: Vec<Arc<Run>>,
    memory_bytes: usize,
    file: Option<Arc<Mutex<File>>>,
    runs: Vec<FileRun>,
    file_len: u64,
    spilled: u64,
}

impl Spool {
    fn take(&self, run: Run) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.memory_bytes + run.bytes.len() <= MEMORY_BYTES {
            inner.memory_bytes += run.bytes.len();
            inner.memory.push(Arc::new(run));
            return Ok(());
        }
        let file = match &inner.file {
            Some(file) => file.clone(),
            None => {
                let file = Arc::new(Mutex::new(tempfile::tempfile()?));
                inner.file = Some(file.clone());
                file
            }
        };
        let start = inner.file_len;
        {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(start))?;
            file.write_all(&run.bytes)?;
        }
        inner.file_len += run.bytes.len() as u64;
        inner.spilled += run.bytes.len() as u64;
        inner.runs.push(FileRun { level: 0, start, ends: run.ends });
        inner.merge_levels()
    }

    /// Bytes that were written to the temporary file.
    pub(super) fn spilled(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).spilled
    }

    /// Reads the rows of some buckets in their order.
    pub(super) fn rows(&self, buckets: std::ops::Range<usize>) -> io::Result<Rows> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).rows(buckets)
    }
}

impl Inner {
    fn rows(&self, buckets: std::ops::Range<usize>) -> io::Result<Rows> {
        self.merged(buckets, &self.memory, &self.runs)
    }

    fn merged(
        &self,
        buckets: std::ops::Range<usize>,
        memory: &[Arc<Run>],
        runs: &[FileRun],
    ) -> io::Result<Rows> {
        let span = |ends: &[u64; BUCKETS], bucket: usize| {
            let end = ends.get(bucket).copied().unwrap_or_default();
            (bucket.checked_sub(1).and_then(|before| ends.get(before).copied()).unwrap_or(0), end)
        };
        let parts = |run: &FileRun| {
            buckets
                .clone()
                .filter(|&bucket| {
                    let (start, end) = span(&run.ends, bucket);
                    start < end
                })
                .count()
        };
        let files: usize = runs.iter().map(parts).sum();
        let buffer_bytes = (BUFFERS_BYTES / files.max(1)).clamp(*BUFFER_BYTES.start(), *BUFFER_BYTES.end());
        let mut readers = Vec::new();
        for bucket in buckets {
            for run in memory {
                let (start, end) = span(&run.ends, bucket);
                if start < end {
                    readers.push(Reader::of(bucket, Bytes::Memory(run.clone()), start, end)?);
                }
            }
            for run in runs {
                let (start, end) = span(&run.ends, bucket);
                if start < end
                    && let Some(file) = &self.file
                {
                    let base = run.start + start;
                    let bytes = Bytes::File { file: file.clone(), buffer: Vec::new(), buffer_bytes, base };
                    readers.push(Reader::of(bucket, bytes, base, run.start + end)?);
                }
            }
        }
        let mut heap = BinaryHeap::new();
        for (index, reader) in readers.iter().enumerate() {
            if let Some(place) = reader.place {
                heap.push(Reverse((place, index)));
            }
        }
        Ok(Rows { readers, heap, current: None })
    }

    /// Merges the runs of a level that is full into one of the next, behind all others in the file.
    fn merge_levels(&mut self) -> io::Result<()> {
        for level in 0.. {
            let (full, rest): (Vec<_>, Vec<_>) = self.runs.iter().partition(|run| run.level == level);
            if full.len() < RUNS_PER_LEVEL {
                return Ok(());
            }
            let Some(file) = self.file.clone() else { return Ok(()) };
            let start = self.file_len;
            let (mut ends, mut written, mut buffer) = ([0; BUCKETS], 0u64, Vec::new());
            let mut write = |buffer: &mut Vec<u8>| -> io::Result<()> {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(start + written))?;
                file.write_all(buffer)?;
                written += buffer.len() as u64;
                buffer.clear();
                Ok(())
            };
            let mut len = 0;
            for (bucket, end) in ends.iter_mut().enumerate() {
                let mut rows = self.merged(bucket..bucket + 1, &[], &full)?;
                while let Some((place, _, row)) = rows.next_row()? {
                    let before = buffer.len();
                    write_row(&mut buffer, place, row);
                    len += (buffer.len() - before) as u64;
                    if buffer.len() >= MERGE_BYTES {
                        write(&mut buffer)?;
                    }
                }
                *end = len;
            }
            write(&mut buffer)?;
            self.file_len = start + len;
            self.spilled += len;
            self.runs = rest;
            self.runs.push(FileRun { level: level + 1, start, ends });
        }
        Ok(())
    }
}

/// Rows in their order, merged from all runs.
#[derive(Debug)]
pub(super) struct Rows {
    readers: Vec<Reader>,
    heap: BinaryHeap<Reverse<(Place, usize)>>,
    /// The reader whose row was handed out last; it moves on at the next call.
    current: Option<usize>,
}

impl Rows {
    /// Time of the next row.
    pub(super) fn peek_time(&mut self) -> io::Result<Option<Timestamp>> {
        self.advance()?;
        Ok(self.heap.peek().map(|Reverse((place, _))| place.time))
    }

    /// The next row: its place, its bucket, its bytes.
    pub(super) fn next_row(&mut self) -> io::Result<Option<(Place, usize, &[u8])>> {
        self.advance()?;
        let Some(&Reverse((place, index))) = self.heap.peek() else { return Ok(None) };
        self.current = Some(index);
        Ok(self.readers.get(index).map(|reader| (place, reader.bucket, reader.row())))
    }

    fn advance(&mut self) -> io::Result<()> {
        let Some(index) = self.current.take() else { return Ok(()) };
        let Some(reader) = self.readers.get_mut(index) else { return Ok(()) };
        reader.advance()?;
        let Some(mut top) = self.heap.peek_mut() else { return Ok(()) };
        match reader.place {
            Some(place) => *top = Reverse((place, index)),
            None => {
                std::collections::binary_heap::PeekMut::pop(top);
            }
        }
        Ok(())
    }
}

/// One bucket of one run.
#[derive(Debug)]
struct Reader {
    bucket: usize,
    bytes: Bytes,
    /// Where the current row's bytes lie.
    row: (u64, usize),
    end: u64,
    /// Its place; `None` at the end.
    place: Option<Place>,
}

#[derive(Debug)]
enum Bytes {
    Memory(Arc<Run>),
    File {
        file: Arc<Mutex<File>>,
        buffer: Vec<u8>,
        /// Bytes read at once.
        buffer_bytes: usize,
        /// Where in the file the buffer begins.
        base: u64,
    },
}

impl Reader {
    fn of(bucket: usize, bytes: Bytes, start: u64, end: u64) -> io::Result<Self> {
        let mut reader = Self { bucket, bytes, row: (start, 0), end, place: None };
        reader.advance()?;
        Ok(reader)
    }

    fn row(&self) -> &[u8] {
        let (at, len) = self.row;
        self.bytes.get(at, len)
    }

    fn advance(&mut self) -> io::Result<()> {
        let at = self.row.0 + self.row.1 as u64;
        self.place = None;
        if at >= self.end {
            return Ok(());
        }
        self.bytes.load(at, HEADER_BYTES, self.end)?;
        let header = self.bytes.get(at, HEADER_BYTES);
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "the temporary file changed under us");
        let (len, rest) = header.split_first_chunk::<4>().ok_or_else(broken)?;
        let (time, rest) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        let (source, rest) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
        let number = rest.first_chunk::<8>().ok_or_else(broken)?;
        let place = Place {
            time: Timestamp::from_nanos(i64::from_le_bytes(*time)),
            source: u32::from_le_bytes(*source),
            number: u64::from_le_bytes(*number),
        };
        let len = u32::from_le_bytes(*len) as usize;
        let at = at + HEADER_BYTES as u64;
        self.bytes.load(at, len, self.end)?;
        self.row = (at, len);
        self.place = Some(place);
        Ok(())
    }
}

impl Bytes {
    fn get(&self, at: u64, len: usize) -> &[u8] {
        let (bytes, base) = match self {
            Self::Memory(run) => (&run.bytes, 0),
            Self::File { buffer, base, .. } => (buffer, *base),
        };
        let from = usize::try_from(at - base.min(at)).unwrap_or(usize::MAX);
        bytes.get(from..from.saturating_add(len)).unwrap_or_default()
    }

    /// Sees to it that these bytes are in memory.
    fn load(&mut self, at: u64, len: usize, end: u64) -> io::Result<()> {
        let Self::File { file, buffer, buffer_bytes, base } = self else { return Ok(()) };
        if at >= *base && at + len as u64 <= *base + buffer.len() as u64 {
            return Ok(());
        }
        let room = usize::try_from(end - at.min(end)).unwrap_or(usize::MAX);
        buffer.resize(len.max((*buffer_bytes).min(room)), 0);
        *base = at;
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(n: u64) -> Place {
        // A fixed shuffle: every time comes up twice.
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        Place { time: Timestamp::from_nanos((mixed / 2).cast_signed()), source: (n % 3) as u32, number: n }
    }

    fn spool(rows: u64, host: &str) -> Spool {
        let spool = Spool::default();
        let mut batches = [Batch::default(), Batch::default()];
        for n in 0..rows {
            let row = Row { time: place(n).time, host, ..Default::default() };
            batches[(n % 2) as usize].push((n % 5) as usize, place(n), &row, &spool).unwrap();
        }
        for batch in &mut batches {
            batch.flush(&spool).unwrap();
        }
        spool
    }

    fn check(spool: &Spool, rows: u64, host: &str) {
        let mut all = 0;
        for buckets in [0..BUCKETS, 0..1, 3..5] {
            let mut sorted = spool.rows(buckets.clone()).unwrap();
            let (mut last, mut count) = (None, 0);
            while let Some((place, bucket, bytes)) = sorted.next_row().unwrap() {
                assert!(last < Some(place), "{last:?} {place:?}");
                assert_eq!(place.number % 5, bucket as u64);
                assert!(buckets.contains(&bucket));
                let row = Row::decode(bytes).unwrap();
                assert_eq!((row.time, row.host), (place.time, host));
                last = Some(place);
                count += 1;
            }
            all = all.max(count);
        }
        assert_eq!(all, rows);
    }

    #[test]
    fn rows_come_back_in_the_order_of_time_whatever_order_they_came_in() {
        let spool = spool(10_000, "pc");
        assert_eq!(spool.spilled(), 0);
        check(&spool, 10_000, "pc");
    }

    #[test]
    fn what_does_not_fit_in_memory_goes_to_the_file_and_comes_back_in_order() {
        let host = "x".repeat(900);
        let spool = spool(100_000, &host);
        assert!(spool.spilled() > 50 << 20, "{}", spool.spilled());
        assert!(spool.inner.lock().unwrap().memory_bytes <= MEMORY_BYTES);
        check(&spool, 100_000, &host);
    }

    #[test]
    fn many_runs_are_merged_so_that_few_buffers_read_them_back() {
        let host = "y".repeat(9_000);
        let spool = spool(60_000, &host);
        let inner = spool.inner.lock().unwrap();
        assert!(inner.runs.len() < RUNS_PER_LEVEL && inner.runs.iter().any(|run| run.level == 1));
        // No row is written more often than there are levels.
        assert!(inner.spilled < (2 * 600) << 20, "{}", inner.spilled);
        drop(inner);
        check(&spool, 60_000, &host);
    }
}

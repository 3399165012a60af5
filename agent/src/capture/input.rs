//! One input: opened, decompressed and recognised. By content, never by name, because names lie and pipes have none.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sonde_common::format::split::Framing;
use sonde_common::format::{Content, DETECT_LEN, detect};
use sonde_common::text::escape;

use super::decompress::{Compression, DamagedStream, Decompressed};
use super::{BlockReader, CaptureError, FrameReader, LineReader};

/// Layers of compression that are undone: a `.pcap.gz` inside a `.zst` archive happens, more is a bomb.
const MAX_LAYERS: usize = 2;

/// Bytes of a reader's buffer. Fits the L2 cache, so that the kernel fills it and the parser walks it there: a buffer of
/// 256 KiB to 1 MiB reads at 87 to 93 % of `cat`'s speed, a mapped file at half of it.
const BUFFER_LEN: usize = 512 * 1024;

/// How far an input is read, counted in the file as it lies on disk. Clones share the count, so a progress bar may keep one.
#[derive(Clone, Debug)]
pub struct Progress {
    position: Arc<AtomicU64>,
    length: Option<u64>,
}

impl Progress {
    /// Bytes read so far; runs ahead of the frames by what is buffered.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Length of the file when it was opened; `None` for a pipe.
    #[must_use]
    pub const fn length(&self) -> Option<u64> {
        self.length
    }
}

/// An input whose content is known and that is ready to be read.
pub struct Input {
    window: Window,
    content: Content,
    progress: Progress,
    /// Whether it lies on disk as it is read.
    plain: bool,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input")
            .field("name", &self.window.name)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

impl Input {
    /// Opens a file, or standard input if the path is `-`.
    ///
    /// # Errors
    /// A [`CaptureError`] if it cannot be opened, or holds nothing that can be read.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        Self::open_any(path).and_then(Self::known)
    }

    /// The same, where content that is not known is no error.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_any(path: &Path) -> Result<Self, CaptureError> {
        if path == Path::new("-") {
            return Self::any_from_reader("standard input".into(), None, Box::new(io::stdin()));
        }
        let name = escape(&path.to_string_lossy()).into_owned();
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => CaptureError::NotFound { path: name.clone() },
            // Windows denies to open a directory as a file.
            _ if path.is_dir() => CaptureError::Directory { path: name.clone() },
            io::ErrorKind::PermissionDenied => CaptureError::PermissionDenied { path: name.clone() },
            _ => CaptureError::Open { path: name.clone(), error },
        };
        let file = File::open(path).map_err(refused)?;
        let metadata = file.metadata().map_err(refused)?;
        if metadata.is_dir() {
            return Err(CaptureError::Directory { path: name });
        }
        let length = metadata.is_file().then_some(metadata.len());
        Self::any_from_reader(name, length, Box::new(file))
    }

    fn known(self) -> Result<Self, CaptureError> {
        if self.content == Content::Unknown { Err(self.unknown()) } else { Ok(self) }
    }

    /// What to say of content that is not known.
    #[must_use]
    pub fn unknown(&self) -> CaptureError {
        let first = self.window.unread().iter().copied().take(8).collect();
        CaptureError::Unknown { path: self.window.name.clone(), first }
    }

    /// The same for anything that can be read; `name` stands in messages, `length` is for the progress bar.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_reader(
        name: String,
        length: Option<u64>,
        source: Box<dyn Read + Send>,
    ) -> Result<Self, CaptureError> {
        Self::any_from_reader(name, length, source).and_then(Self::known)
    }

    /// The same, where content that is not known is no error.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn any_from_reader(
        name: String,
        length: Option<u64>,
        source: Box<dyn Read + Send>,
    ) -> Result<Self, CaptureError> {
        let progress = Progress { position: Arc::default(), length };
        let mut source: Box<dyn Read + Send> =
            Box::new(Counted { source, position: progress.position.clone() });
        for layer in 0.. {
            let (head, content, failure) = sniff(&name, &mut *source)?;
            if let Some(error) = failure {
                // What came before is used, and the failure told behind it.
                source = Box::new(Broken(Some(error)));
            }
            let compression = match content {
                Content::Gzip => Compression::Gzip,
                Content::Zstd => Compression::Zstd,
                Content::Pcap
                | Content::PcapNg
                | Content::Events
                | Content::Log(_)
                | Content::Zip
                | Content::Tar
                | Content::Json
                | Content::Unknown => {
                    let plain = layer == 0;
                    return Ok(Self { window: Window::new(name, head, source), content, progress, plain });
                }
                Content::Empty => return Err(CaptureError::Empty { path: name }),
                Content::Foreign { name: format, remedy } => {
                    return Err(CaptureError::Foreign { path: name, format, remedy });
                }
            };
            if layer == MAX_LAYERS {
                break;
            }
            source = match Decompressed::spawn(compression, Box::new(io::Cursor::new(head).chain(source))) {
                Ok(decompressed) => Box::new(decompressed),
                Err(error) => return Err(CaptureError::Open { path: name, error }),
            };
        }
        Err(CaptureError::TooDeep { path: name, limit: MAX_LAYERS })
    }

    /// What it holds, once decompressed: anything but a compression.
    #[must_use]
    pub const fn content(&self) -> Content {
        self.content
    }

    /// Whether it lies on disk, uncompressed.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.plain && self.progress.length.is_some()
    }

    /// Its name as it stands in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.window.name
    }

    /// How far it is read.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Reads it as a capture.
    ///
    /// # Errors
    /// [`CaptureError::Damaged`] if it is none.
    pub fn into_frames(self) -> Result<FrameReader, CaptureError> {
        FrameReader::new(self.window, self.progress)
    }

    /// Reads it as the records of a log.
    #[must_use]
    pub fn into_blocks(self, framing: impl FnOnce(&[u8]) -> Framing) -> BlockReader {
        let framing = framing(self.window.unread());
        BlockReader::new(self.window, self.progress, framing)
    }

    /// Reads it as bytes.
    #[must_use]
    pub fn into_bytes(self) -> Box<dyn Read + Send> {
        Box::new(self.window)
    }

    /// Reads it as lines of text.
    #[must_use]
    pub fn into_lines(self) -> LineReader {
        LineReader::new(self.window, self.progress)
    }
}

/// Counts what is read from the disk or pipe.
struct Counted {
    source: Box<dyn Read + Send>,
    position: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.source.read(buf)?;
        self.position.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

/// A source that failed while its first bytes were looked at: fails again, once, for who reads it.
struct Broken(Option<io::Error>);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Reads no more than it takes to know the content, so that a live pipe is recognised by its first write. A source that
/// fails on the way may still have told enough; then the failure is handed back with it.
fn sniff(name: &str, source: &mut dyn Read) -> Result<(Vec<u8>, Content, Option<io::Error>), CaptureError> {
    let mut head = vec![0; DETECT_LEN];
    let (mut len, mut failure) = (0, None);
    loop {
        let read = match head.get_mut(len..).map_or(Ok(0), |room| source.read(room)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                failure = Some(error);
                0
            }
            Ok(read) => read,
        };
        len += read;
        let content = detect(head.get(..len).unwrap_or_default(), read == 0);
        match (content, failure) {
            (Some(Content::Unknown | Content::Empty) | None, Some(error)) => {
                return Err(read_error(name, len as u64, error));
            }
            (Some(content), failure) => {
                head.truncate(len);
                return Ok((head, content, failure));
            }
            (None, None) => failure = None,
        }
    }
}

pub(super) fn read_error(name: &str, offset: u64, error: io::Error) -> CaptureError {
    let path = name.to_owned();
    match error.get_ref().and_then(|inner| inner.downcast_ref::<DamagedStream>()) {
        Some(damage) => CaptureError::DamagedCompression { path, offset, what: damage.to_string() },
        None => CaptureError::Read { path, offset, error },
    }
}

/// The part of an input that is in memory: one buffer, refilled behind what is still unread.
pub(super) struct Window {
    name: String,
    source: Box<dyn Read + Send>,
    buf: Vec<u8>,
    start: usize,
    end: usize,
    /// Offset of the buffer's first byte in the decompressed data.
    base: u64,
    ended: bool,
    failure: Option<io::Error>,
    failed: Option<CaptureError>,
}

impl Read for Window {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.unread().is_empty() && !self.more(1) {
            return self.failure.take().map_or(Ok(0), Err);
        }
        let unread = self.unread();
        let len = unread.len().min(buf.len());
        buf.get_mut(..len).unwrap_or_default().copy_from_slice(unread.get(..len).unwrap_or_default());
        self.consume(len);
        Ok(len)
    }
}

impl Window {
    fn new(name: String, head: Vec<u8>, source: Box<dyn Read + Send>) -> Self {
        let end = head.len();
        Self { name, source, buf: head, start: 0, end, base: 0, ended: false, failure: None, failed: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What is read and not yet consumed.
    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        self.buf.get(self.start..self.end).unwrap_or_default()
    }

    /// Passes over the first bytes of [`unread`](Self::unread). They stay where they are until the next [`more`](Self::more).
    #[inline]
    pub(super) fn consume(&mut self, len: usize) {
        self.start = self.end.min(self.start + len);
    }

    /// The last `len` bytes that were consumed, without `skip` of them at the front.
    #[inline]
    pub(super) fn consumed(&self, len: usize) -> &[u8] {
        self.buf.get(self.start.saturating_sub(len)..self.start).unwrap_or_default()
    }

    /// Reads on so that `needed` unread bytes may come together; true if any came.
    #[cold]
    #[inline(never)]
    pub(super) fn more(&mut self, needed: usize) -> bool {
        if self.ended {
            return false;
        }
        self.buf.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        // Also after one giant record no more than this is read at once: the rest of the file should stay in the cache.
        let limit = needed.max(self.end + 1).max(BUFFER_LEN);
        if self.buf.len() < limit {
            self.buf.resize(limit.next_multiple_of(BUFFER_LEN), 0);
        }
        loop {
            match self.source.read(self.buf.get_mut(self.end..limit).unwrap_or_default()) {
                Ok(0) => self.ended = true,
                Ok(len) => self.end += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.ended = true;
                    self.failure = Some(error);
                }
            }
            return !self.ended;
        }
    }

    /// Keeps a failure to be told later.
    pub(super) fn put_back(&mut self, error: CaptureError) {
        self.failed = Some(error);
    }

    /// What ended the input before its time, told once.
    pub(super) fn take_failure(&mut self) -> Option<CaptureError> {
        if let Some(error) = self.failed.take() {
            return Some(error);
        }
        let offset = self.base + self.end as u64;
        self.failure.take().map(|error| read_error(&self.name, offset, error))
    }
}

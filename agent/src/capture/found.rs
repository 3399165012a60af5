//! What a path leads to: one input, or the members of an archive. Each is looked at and closed again, so that a folder of any
//! number of files takes one descriptor; it is opened when its turn comes.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};
use sonde_common::format::Content;
use sonde_common::text::escape;

use super::decompress::DamagedStream;
use super::input::{self, Input};
use super::{CaptureError, Progress};

/// Members of an archive that are looked at; more is a mistake or a bomb.
const MAX_MEMBERS: usize = 100_000;
/// Bytes that are unpacked of one archive that cannot be read in place, to the temporary folder.
const MAX_UNPACKED: u64 = 64 << 30;

/// An input that was looked at and can be opened.
#[derive(Debug)]
pub struct Found {
    name: String,
    content: Content,
    length: Option<u64>,
    origin: Origin,
}

/// Where it is to be had.
#[derive(Debug)]
enum Origin {
    /// A file.
    File(PathBuf),
    /// Part of another.
    Part(Part),
    /// Only once: a pipe.
    Open(Box<Input>),
}

/// Where a member of an archive lies.
#[derive(Clone, Debug)]
struct Part {
    store: Store,
    start: u64,
    len: u64,
    /// How it is packed.
    packing: Packing,
}

/// What holds the members of an archive.
#[derive(Clone, Debug)]
enum Store {
    /// The archive, as it lies on disk.
    Path(PathBuf),
    /// An unnamed temporary file that all of them share.
    Unpacked(Arc<Mutex<File>>),
}

#[derive(Clone, Copy, Debug)]
enum Packing {
    /// Not at all.
    Plain,
    /// As zip archives have it, with the checksum of what is in it.
    Zip { deflated: bool, crc: u32 },
}

/// What a path leads to, and what in it cannot be read.
#[derive(Debug, Default)]
pub struct Look {
    /// Inputs.
    pub found: Vec<Found>,
    /// Members of an archive that are none.
    pub passed_over: Vec<CaptureError>,
}

impl Found {
    /// Looks at a file, an archive, or standard input if the path is `-`. Content that is not known is an input only if
    /// `any` is, because the user says what it is.
    ///
    /// # Errors
    /// A [`CaptureError`] if it cannot be opened, or holds nothing that can be read.
    pub fn look(path: &Path, any: bool) -> Result<Look, CaptureError> {
        let input = Input::open_any(path)?;
        let name = input.name().to_owned();
        match input.content() {
            Content::Zip if input.is_plain() => zip(&name, Store::Path(path.to_owned()), false),
            Content::Zip => {
                let mut file = tempfile::tempfile().map_err(|error| unpacking(&name, error))?;
                let cut = copy(&mut *input.into_bytes(), &mut file, &mut 0)
                    .map_err(|error| unpacking(&name, error))?;
                let mut look = zip(&name, Store::Unpacked(Arc::new(Mutex::new(file))), false)?;
                look.passed_over.extend(cut.map(|error| input::read_error(&name, 0, error)));
                Ok(look)
            }
            Content::Tar => tar(&name, input),
            Content::Unknown if !any => Err(input.unknown()),
            content => {
                let length = input.progress().length();
                let origin = if length.is_some() {
                    Origin::File(path.to_owned())
                } else {
                    Origin::Open(Box::new(input))
                };
                Ok(Look { found: vec![Self { name, content, length, origin }], passed_over: Vec::new() })
            }
        }
    }

    /// The members of a zip archive on disk, whatever they hold.
    ///
    /// # Errors
    /// A [`CaptureError`] if it cannot be opened or is damaged.
    pub fn in_zip(path: &Path) -> Result<Look, CaptureError> {
        zip(&escape(&path.to_string_lossy()), Store::Path(path.to_owned()), true)
    }

    /// Its name as it stands in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds.
    #[must_use]
    pub const fn content(&self) -> Content {
        self.content
    }

    /// Bytes on disk, where known.
    #[must_use]
    pub const fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether it is a pipe: it is open already, and cannot be opened twice.
    #[must_use]
    pub const fn is_pipe(&self) -> bool {
        matches!(self.origin, Origin::Open(_))
    }

    /// Opens it, to look at it and open it again later; `None` for a pipe.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub fn open_again(&self) -> Option<Result<Input, CaptureError>> {
        match &self.origin {
            Origin::File(path) => Some(Input::open_any(path)),
            Origin::Part(part) => Some(part.open(&self.name)),
            Origin::Open(_) => None,
        }
    }

    /// Opens it for good.
    ///
    /// # Errors
    /// As [`look`](Self::look); the file may have gone since.
    pub fn open(self) -> Result<Input, CaptureError> {
        match self.origin {
            Origin::Open(input) => Ok(*input),
            Origin::File(path) => Input::open_any(&path),
            Origin::Part(part) => part.open(&self.name),
        }
    }
}

impl Part {
    fn open(&self, name: &str) -> Result<Input, CaptureError> {
        let file = match &self.store {
            Store::Path(path) => {
                let file =
                    File::open(path).map_err(|error| CaptureError::Open { path: name.to_owned(), error })?;
                Arc::new(Mutex::new(file))
            }
            Store::Unpacked(file) => file.clone(),
        };
        let bytes = Bytes { file, at: self.start, end: self.start + self.len };
        let packed = io::BufReader::with_capacity(128 * 1024, bytes);
        let source: Box<dyn Read + Send> = match self.packing {
            Packing::Plain => Box::new(packed),
            Packing::Zip { deflated: false, crc } => Box::new(Checked::new(packed, crc)),
            Packing::Zip { deflated: true, crc } => {
                Box::new(Checked::new(flate2::bufread::DeflateDecoder::new(packed), crc))
            }
        };
        Input::any_from_reader(name.to_owned(), Some(self.len), source)
    }
}

/// Bytes of a file that others may read as well.
struct Bytes {
    file: Arc<Mutex<File>>,
    at: u64,
    end: u64,
}

impl Read for Bytes {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let room = buf.len().min(left);
        if room == 0 {
            return Ok(0);
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.at))?;
        let len = file.read(buf.get_mut(..room).unwrap_or_default())?;
        self.at += len as u64;
        Ok(len)
    }
}

/// Compares what was read with the checksum that the archive has of it.
struct Checked<R> {
    inner: R,
    crc: flate2::Crc,
    expected: u32,
}

impl<R> Checked<R> {
    fn new(inner: R, expected: u32) -> Self {
        Self { inner, crc: flate2::Crc::new(), expected }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buf).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                DamagedStream::error(error.to_string())
            }
            _ => error,
        })?;
        if len == 0 && !buf.is_empty() && self.crc.sum() != self.expected {
            return Err(DamagedStream::error("the checksum does not match".to_owned()));
        }
        self.crc.update(buf.get(..len).unwrap_or_default());
        Ok(len)
    }
}

fn unpacking(name: &str, error: io::Error) -> CaptureError {
    CaptureError::Open { path: format!("{name} (unpacked to the temporary folder)"), error }
}

fn keep(look: &mut Look, name: String, part: Part, any: bool) {
    let mut found =
        Found { name, content: Content::Unknown, length: Some(part.len), origin: Origin::Part(part) };
    match found.open_again() {
        Some(Ok(input)) if matches!(input.content(), Content::Zip | Content::Tar) => {
            look.passed_over.push(CaptureError::Foreign {
                path: found.name,
                format: "an archive in an archive",
                remedy: "unpack the outer one first",
            });
        }
        Some(Ok(input)) if input.content() == Content::Unknown && !any => {
            look.passed_over.push(input.unknown())
        }
        Some(Ok(input)) => {
            found.content = input.content();
            look.found.push(found);
        }
        Some(Err(error)) => look.passed_over.push(error),
        None => {}
    }
}

/// The members of a zip archive, read where they lie.
fn zip(name: &str, store: Store, any: bool) -> Result<Look, CaptureError> {
    let damaged = |error: rawzip::Error| CaptureError::DamagedCompression {
        path: name.to_owned(),
        offset: 0,
        what: format!("zip: {error}"),
    };
    let file = match &store {
        Store::Path(path) => File::open(path),
        Store::Unpacked(file) => file.lock().unwrap_or_else(PoisonError::into_inner).try_clone(),
    };
    let file = file.map_err(|error| CaptureError::Open { path: name.to_owned(), error })?;
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(file, &mut buffer).map_err(damaged)?;
    let mut look = Look::default();
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(damaged)? {
        if entry.is_dir() {
            continue;
        }
        let member = format!("{name}/{}", escape(&String::from_utf8_lossy(entry.file_path().as_ref())));
        if look.found.len() + look.passed_over.len() >= MAX_MEMBERS {
            look.passed_over.push(CaptureError::TooDeep { path: member, limit: MAX_MEMBERS });
            break;
        }
        let method = entry.compression_method();
        let readable = method == CompressionMethod::DEFLATE || method == CompressionMethod::STORE;
        if entry.flags().is_encrypted() || !readable {
            let format = if readable {
                "encrypted in its archive"
            } else {
                "packed in its archive in a way that is not known"
            };
            let remedy = "unpack the archive first, with its password if it has one";
            look.passed_over.push(CaptureError::Foreign { path: member, format, remedy });
            continue;
        }
        let (start, end) = match archive.get_entry(entry.wayfinder()) {
            Ok(entry) => entry.compressed_data_range(),
            Err(error) => {
                look.passed_over.push(damaged(error));
                continue;
            }
        };
        let packing = Packing::Zip { deflated: method == CompressionMethod::DEFLATE, crc: entry.crc32() };
        let part = Part { store: store.clone(), start, len: end.saturating_sub(start), packing };
        keep(&mut look, member, part, any);
    }
    Ok(look)
}

/// The members of a tar archive, unpacked into one file: where a member begins is known only once all before it is read,
/// and the archive is mostly compressed.
fn tar(name: &str, input: Input) -> Result<Look, CaptureError> {
    let mut look = Look::default();
    let mut archive = tar::Archive::new(input.into_bytes());
    let damaged = |error: io::Error| input::read_error(name, 0, error);
    let file = tempfile::tempfile().map_err(|error| unpacking(name, error))?;
    let store = Arc::new(Mutex::new(file));
    let mut end = 0;
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                look.passed_over.push(damaged(error));
                break;
            }
        };
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let member = format!("{name}/{}", escape(&String::from_utf8_lossy(&entry.path_bytes())));
        if look.found.len() + look.passed_over.len() >= MAX_MEMBERS {
            look.passed_over.push(CaptureError::TooDeep { path: member, limit: MAX_MEMBERS });
            break;
        }
        let start = end;
        // What could be read of a member that damage cut is used.
        let cut = {
            let mut file = store.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(start)).map_err(|error| unpacking(name, error))?;
            copy(&mut entry, &mut file, &mut end).map_err(|error| unpacking(name, error))?
        };
        let part =
            Part { store: Store::Unpacked(store.clone()), start, len: end - start, packing: Packing::Plain };
        keep(&mut look, member.clone(), part, false);
        if let Some(error) = cut {
            look.passed_over.push(input::read_error(&member, end - start, error));
            break;
        }
    }
    Ok(look)
}

/// Copies until the end or the damage, which is returned, and adds what was copied to `copied`; errors are the writer's.
fn copy(from: &mut dyn Read, to: &mut File, copied: &mut u64) -> io::Result<Option<io::Error>> {
    use std::io::Write as _;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(len) => {
                to.write_all(buffer.get(..len).unwrap_or_default())?;
                *copied += len as u64;
                if *copied > MAX_UNPACKED {
                    return Ok(Some(DamagedStream::error("more than is unpacked of one archive".to_owned())));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Some(error)),
        }
    }
}

/// Bytes on disk of all inputs; `None` if one is a pipe.
#[must_use]
pub fn total_length(found: &[Found]) -> Option<u64> {
    found.iter().map(Found::length).sum()
}

/// Sums the positions of inputs that are read one after the other or at once.
#[derive(Debug, Default)]
pub struct Positions {
    done: u64,
    open: Vec<Progress>,
}

impl Positions {
    /// Counts another input.
    pub fn add(&mut self, progress: Progress) {
        // Where many are read one after the other, those at their end are summed up.
        if self.open.len() >= 64 {
            self.done += self.open.drain(..32).map(|progress| progress.position()).sum::<u64>();
        }
        self.open.push(progress);
    }

    /// Bytes read of all.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.done + self.open.iter().map(Progress::position).sum::<u64>()
    }
}

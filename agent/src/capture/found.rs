//! What a path leads to: one input, or the members of an archive. Each is looked at and closed again, so that a folder of any
//! number of files takes one descriptor; it is opened when its turn comes.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};
use sonde_common::format::Content;
use sonde_common::text::escape;

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
    /// Part of a zip archive.
    Member { archive: Arc<File>, path: PathBuf, start: u64, len: u64, deflated: bool },
    /// Unpacked to an unnamed temporary file.
    Unpacked(File),
    /// Only once: a pipe.
    Open(Box<Input>),
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
    /// Looks at a file, an archive, or standard input if the path is `-`.
    ///
    /// # Errors
    /// A [`CaptureError`] if it cannot be opened, or holds nothing that can be read.
    pub fn look(path: &Path) -> Result<Look, CaptureError> {
        let input = Input::open(path)?;
        let name = input.name().to_owned();
        match input.content() {
            Content::Zip => {
                let file = match (input.is_plain(), File::open(path)) {
                    (true, Ok(file)) => file,
                    (true, Err(error)) => return Err(CaptureError::Open { path: name, error }),
                    (false, _) => unpack(&name, &mut input.into_bytes())?,
                };
                zip(&name, path, file)
            }
            Content::Tar => tar(&name, input),
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
        let opened = match &self.origin {
            Origin::File(path) => Input::open(path),
            Origin::Member { archive, path, start, len, deflated } => {
                member(&self.name, archive, path, *start, *len, *deflated)
            }
            Origin::Unpacked(file) => file
                .try_clone()
                .map_err(|error| CaptureError::Open { path: self.name.clone(), error })
                .and_then(|file| unpacked(&self.name, file, self.length)),
            Origin::Open(_) => return None,
        };
        Some(opened)
    }

    /// Opens it for good.
    ///
    /// # Errors
    /// As [`look`](Self::look); the file may have gone since.
    pub fn open(self) -> Result<Input, CaptureError> {
        match self.origin {
            Origin::Open(input) => Ok(*input),
            Origin::Unpacked(file) => unpacked(&self.name, file, self.length),
            _ => self.open_again().unwrap_or(Err(CaptureError::NotFound { path: self.name })),
        }
    }
}

fn unpacked(name: &str, mut file: File, length: Option<u64>) -> Result<Input, CaptureError> {
    file.seek(SeekFrom::Start(0)).map_err(|error| CaptureError::Open { path: name.to_owned(), error })?;
    Input::from_reader(name.to_owned(), length, Box::new(file))
}

/// Copies what cannot be read twice, or not in place, to an unnamed temporary file. Damage costs what lies behind it.
fn unpack(name: &str, source: &mut dyn Read) -> Result<File, CaptureError> {
    let failed = |error| CaptureError::Open { path: format!("{name} (unpacked)"), error };
    let mut file = tempfile::tempfile().map_err(failed)?;
    io::copy(&mut source.take(MAX_UNPACKED), &mut file).map_err(|error| input::read_error(name, 0, error))?;
    Ok(file)
}

fn keep(look: &mut Look, name: String, length: u64, origin: Origin) {
    let mut found = Found { name, content: Content::Unknown, length: Some(length), origin };
    match found.open_again() {
        Some(Ok(input)) if matches!(input.content(), Content::Zip | Content::Tar) => {
            look.passed_over.push(CaptureError::TooDeep { path: found.name, limit: 1 });
        }
        Some(Ok(input)) => {
            found.content = input.content();
            look.found.push(found);
        }
        Some(Err(error)) => look.passed_over.push(error),
        None => {}
    }
}

/// The members of a zip archive, read in place.
fn zip(name: &str, path: &Path, file: File) -> Result<Look, CaptureError> {
    let damaged = |error: rawzip::Error| CaptureError::DamagedCompression {
        path: name.to_owned(),
        offset: 0,
        what: format!("zip: {error}"),
    };
    let open = |error| CaptureError::Open { path: name.to_owned(), error };
    let shared = Arc::new(file.try_clone().map_err(open)?);
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
        let len = end.saturating_sub(start);
        let deflated = method == CompressionMethod::DEFLATE;
        let origin = Origin::Member { archive: shared.clone(), path: path.to_owned(), start, len, deflated };
        keep(&mut look, member, len, origin);
    }
    Ok(look)
}

fn member(
    name: &str,
    archive: &Arc<File>,
    path: &Path,
    start: u64,
    len: u64,
    deflated: bool,
) -> Result<Input, CaptureError> {
    let open = |error| CaptureError::Open { path: name.to_owned(), error };
    // A handle of its own where the archive has a name, since clones share their position.
    let mut file = File::open(path).or_else(|_| archive.try_clone()).map_err(open)?;
    file.seek(SeekFrom::Start(start)).map_err(open)?;
    let part = io::BufReader::with_capacity(128 * 1024, file.take(len));
    let source: Box<dyn Read + Send> =
        if deflated { Box::new(flate2::bufread::DeflateDecoder::new(part)) } else { Box::new(part) };
    Input::from_reader(name.to_owned(), Some(len), source)
}

/// The members of a tar archive, unpacked: its end is known only once it is read, and it is mostly compressed.
fn tar(name: &str, input: Input) -> Result<Look, CaptureError> {
    let mut look = Look::default();
    let mut archive = tar::Archive::new(input.into_bytes());
    let damaged = |error: io::Error| input::read_error(name, 0, error);
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
        let open = |error| CaptureError::Open { path: format!("{member} (unpacked)"), error };
        let mut file = tempfile::tempfile().map_err(open)?;
        let mut copied = 0;
        // What could be read of a member that damage cut is used.
        let cut = copy(&mut entry, &mut file, &mut copied).map_err(open)?;
        keep(&mut look, member.clone(), copied, Origin::Unpacked(file));
        if let Some(error) = cut {
            look.passed_over.push(input::read_error(&member, copied, error));
            break;
        }
    }
    Ok(look)
}

/// Copies until the end or the damage, which is returned; errors are the writer's.
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
                    return Ok(Some(io::Error::other("more than is unpacked of one archive")));
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

//! The log in a file of its own, for a service that has no stderr: set aside when it has grown, and bounded.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::platform::files;
use crate::platform::service;
use crate::sink::set_aside;

/// Longest file, in bytes.
const MAX_BYTES: u64 = 10 << 20;
/// Files that were set aside and are kept.
const KEPT: u32 = 4;

/// The log in a file. Writing to it never fails: what could not be written is counted, and told of in the first line that can.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    most: u64,
    file: Option<(File, u64)>,
    lost: u64,
}

impl LogFile {
    /// At this path; it is opened when the first line comes.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, most: MAX_BYTES, file: None, lost: 0 }
    }

    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let more = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let (file, length) = match self.file.take() {
            Some(open) => open,
            None => self.open()?,
        };
        let (mut file, mut length) = if length > 0 && length.saturating_add(more) > self.most {
            drop(file);
            set_aside(&self.path, KEPT)?;
            self.open()?
        } else {
            (file, length)
        };
        if self.lost > 0 {
            let told = format!("{} lines of the log could not be written before this one\n", self.lost);
            file.write_all(told.as_bytes())?;
            length += u64::try_from(told.len()).unwrap_or(0);
            self.lost = 0;
        }
        file.write_all(line)?;
        self.file = Some((file, length.saturating_add(more)));
        Ok(())
    }

    fn open(&self) -> io::Result<(File, u64)> {
        let file = files::private_append(&self.path)?;
        service::last_words(&file);
        let length = file.metadata()?.len();
        Ok((file, length))
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.put(line).is_err() {
            self.lost += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_grows_is_set_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sonde.log");
        let mut log = LogFile { most: 100, ..LogFile::new(path.clone()) };
        for number in 0..40 {
            log.write_all(format!("{number:039}\n").as_bytes()).unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["sonde.log", "sonde.log.1", "sonde.log.2", "sonde.log.3", "sonde.log.4"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{:039}\n{:039}\n", 38, 39));
        assert_eq!(std::fs::read(folder.path().join("sonde.log.4")).unwrap().len(), 80);
    }

    #[test]
    fn lines_that_are_lost_are_counted_and_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log").join("sonde.log");
        let mut log = LogFile::new(path.clone());
        log.write_all(b"one\n").unwrap();
        log.write_all(b"two\n").unwrap();
        std::fs::create_dir(folder.path().join("log")).unwrap();
        log.write_all(b"three\n").unwrap();
        drop(log);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "2 lines of the log could not be written before this one\nthree\n");
        // A later sensor goes on with the same file.
        LogFile::new(path.clone()).write_all(b"four\n").unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("three\nfour\n"));
    }
}

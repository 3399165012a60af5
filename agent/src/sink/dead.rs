//! The dead letters of a sink: what its server will never take, with the reason, as NDJSON that people read and may send
//! again. Bounded: when the file is full it becomes the old one, and the old one goes.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde_json::value::RawValue;
use sonde_common::record::Record;
use sonde_common::time::Timestamp;

use crate::platform::files;

/// Bytes of one file: with the old one twice as much.
const MAX_BYTES: u64 = 4 << 20;
/// Longest reason: servers may say much.
const MAX_REASON: usize = 1_000;

/// Writes dead letters.
#[derive(Debug)]
pub struct DeadLetters {
    /// None: nothing is kept on disk.
    path: Option<PathBuf>,
    open: Option<(File, u64)>,
    most: u64,
}

#[derive(serde::Serialize)]
struct Letter<'a> {
    /// When it was given up.
    time: Timestamp,
    sink: &'a str,
    reason: &'a str,
    kind: &'a str,
    id: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a RawValue>,
    /// Where it is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

impl DeadLetters {
    /// To a file, which is made with the first letter. Without one every letter is an error.
    #[must_use]
    pub const fn new(path: Option<PathBuf>) -> Self {
        Self { path, open: None, most: MAX_BYTES }
    }

    /// Writes a letter, and brings it to the disk.
    ///
    /// # Errors
    /// When there is no file, or the disk does not take it.
    pub fn write(&mut self, sink: &str, record: &Record, reason: &str, time: Timestamp) -> io::Result<()> {
        let cut = reason.char_indices().nth(MAX_REASON).map_or(reason.len(), |(at, _)| at);
        let text = String::from_utf8_lossy(&record.body);
        let raw: Option<&RawValue> = serde_json::from_str(&text).ok();
        let letter = Letter {
            time,
            sink,
            reason: reason.get(..cut).unwrap_or_default(),
            kind: record.kind.as_str(),
            id: &record.id,
            key: &record.key,
            record: raw,
            text: raw.is_none().then_some(&text),
        };
        let mut line = serde_json::to_vec(&letter).map_err(io::Error::other)?;
        line.push(b'\n');
        let done = self.append(&line);
        if done.is_err() {
            self.open = None;
        }
        done
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let path = self.path.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let (mut file, mut length) = match self.open.take() {
            Some(open) => open,
            None => {
                let file = files::private_append(path)?;
                let length = file.metadata()?.len();
                (file, length)
            }
        };
        if length > 0 && length + line.len() as u64 > self.most {
            fs::rename(path, path.with_extension("old.ndjson"))?;
            file = files::private_append(path)?;
            length = 0;
        }
        if let Err(error) = file.write_all(line).and_then(|()| file.sync_data()) {
            // Half a line would make the next one unreadable, too.
            let _ = file.set_len(length);
            return Err(error);
        }
        self.open = Some((file, length + line.len() as u64));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sonde_common::alert::Severity;
    use sonde_common::record::Kind;

    use super::*;

    fn record(body: &[u8]) -> Record {
        let time = Timestamp::from_secs_nanos(5, 0);
        let (id, key) = ("id-1".into(), "key".into());
        Record { kind: Kind::Alert, id, key, time, severity: Severity::High, body: body.to_vec() }
    }

    #[test]
    fn a_letter_holds_the_record_and_the_reason_and_the_files_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.dead.ndjson");
        let mut dead = DeadLetters { most: 2_000, ..DeadLetters::new(Some(path.clone())) };
        let time = Timestamp::from_secs_nanos(9, 0);
        for round in 0..100 {
            dead.write("one", &record(b"{\"a\":\"\\n\"}"), &format!("no {round}\n\u{1b}[31m"), time).unwrap();
        }
        dead.write("one", &record(b"\xffno json"), &"\u{e4}".repeat(5_000), time).unwrap();
        let text = fs::read_to_string(&path).unwrap()
            + &fs::read_to_string(path.with_extension("old.ndjson")).unwrap();
        assert!(text.len() < 5_000 && !text.contains('\u{1b}'), "{}", text.len());
        for line in text.lines() {
            let letter: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!((letter["sink"].as_str(), letter["id"].as_str()), (Some("one"), Some("id-1")));
            assert!(letter["record"]["a"] == "\n" || letter["text"] == "\u{fffd}no json", "{line}");
        }
        assert!(DeadLetters::new(None).write("one", &record(b"{}"), "", time).is_err());
    }
}

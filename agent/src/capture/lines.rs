//! The lines of one text, lent from the buffer they were read into.

use std::io::BufRead as _;

use super::input::Window;
use super::{CaptureError, Progress};

/// Longest line in bytes. The longest records known (script blocks in event logs) stay below 100 KiB.
const MAX_LINE_LEN: usize = 1 << 20;

/// One line without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Counted from 1.
    pub number: u64,
    /// Its bytes; whether they are UTF-8 is for the format to judge.
    pub text: &'a [u8],
}

/// Lines that were longer than 1 MiB and therefore left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SkippedLines {
    /// How many.
    pub count: u64,
    /// Number of the first of them; 0 if there is none.
    pub first: u64,
}

/// Hands out the lines of a text, ended by LF or CR LF. After an error it has no more of them.
pub struct LineReader {
    window: Window,
    progress: Progress,
    number: u64,
    skipped: SkippedLines,
    ended: bool,
}

impl std::fmt::Debug for LineReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineReader")
            .field("name", &self.name())
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl LineReader {
    pub(super) const fn new(window: Window, progress: Progress) -> Self {
        Self { window, progress, number: 0, skipped: SkippedLines { count: 0, first: 0 }, ended: false }
    }

    /// The next line; `None` at the end. A last line needs no line end, unless the input broke off there.
    ///
    /// # Errors
    /// Once, after every line that could be read: what ended the input early.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, CaptureError> {
        let Some(len) = self.advance()? else {
            return Ok(None);
        };
        let mut text = self.window.consumed(len);
        text = text.strip_suffix(b"\n").unwrap_or(text);
        text = text.strip_suffix(b"\r").unwrap_or(text);
        if self.number == 1 {
            text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        }
        Ok(Some(Line { number: self.number, text }))
    }

    /// The lines left out so far for being too long.
    #[must_use]
    pub const fn skipped(&self) -> SkippedLines {
        self.skipped
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

    /// Consumes one line and returns its length with its end.
    fn advance(&mut self) -> Result<Option<usize>, CaptureError> {
        let (mut searched, mut too_long) = (0, false);
        loop {
            let unread = self.window.unread();
            let (found, len) = line_len(unread, searched);
            if found || len > MAX_LINE_LEN {
                self.window.consume(len);
                searched = 0;
                if len <= MAX_LINE_LEN && !too_long {
                    self.number += 1;
                    return Ok(Some(len));
                }
                if !std::mem::replace(&mut too_long, !found) {
                    self.skip();
                }
                continue;
            }
            searched = len;
            if self.window.more(len + 1) {
                continue;
            }
            if std::mem::replace(&mut self.ended, true) {
                return Ok(None);
            }
            self.window.consume(len);
            if let Some(failure) = self.window.take_failure() {
                return Err(failure);
            }
            if len == 0 || too_long {
                return Ok(None);
            }
            self.number += 1;
            return Ok(Some(len));
        }
    }

    fn skip(&mut self) {
        self.number += 1;
        self.skipped.count += 1;
        if self.skipped.first == 0 {
            self.skipped.first = self.number;
        }
    }
}

/// Whether there is a line end, the first `searched` bytes being known to have none, and how many bytes lead up to and
/// over it.
fn line_len(bytes: &[u8], searched: usize) -> (bool, usize) {
    let mut rest = bytes.get(searched..).unwrap_or_default();
    // Of all that std offers on bytes, this one searches with memchr. Reading from memory cannot fail.
    let len = searched + rest.skip_until(b'\n').unwrap_or(0);
    (len > searched && bytes.get(len - 1) == Some(&b'\n'), len)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write as _};

    use super::super::Input;
    use super::*;

    fn reader(data: Vec<u8>) -> LineReader {
        Input::from_reader("log".into(), None, Box::new(io::Cursor::new(data))).unwrap().into_lines()
    }

    fn lines(reader: &mut LineReader) -> Vec<(u64, String)> {
        let mut out = Vec::new();
        while let Some(line) = reader.next_line().unwrap() {
            out.push((line.number, String::from_utf8(line.text.to_vec()).unwrap()));
        }
        out
    }

    #[test]
    fn line_ends_and_byte_order_mark_are_no_text() {
        let expected =
            [(1, "{}".to_owned()), (2, String::new()), (3, "b\r".to_owned()), (4, "last".to_owned())];
        assert_eq!(lines(&mut reader(b"\xef\xbb\xbf{}\r\n\nb\r\r\nlast".to_vec())), expected);
        assert_eq!(lines(&mut reader(b"{}\n".to_vec())), [(1, "{}".to_owned())]);
    }

    #[test]
    fn lines_across_buffers_are_whole() {
        let expected: Vec<_> =
            (1..3000u64).map(|n| (n, format!("{{{}}}", n.to_string().repeat(300)))).collect();
        let text = expected.iter().map(|(_, line)| format!("{line}\n")).collect::<String>();
        assert!(text.len() > 3_000_000);
        assert_eq!(lines(&mut reader(text.into_bytes())), expected);
    }

    #[test]
    fn too_long_lines_are_left_out_counted_and_named() {
        let full = "x".repeat(MAX_LINE_LEN - 1);
        let long = "y".repeat(3 * MAX_LINE_LEN);
        let text = format!("{{}}\n{full}\n{full}z\n{long}\nafter\n{long}");
        let mut reader = reader(text.into_bytes());
        let lines: Vec<_> =
            lines(&mut reader).into_iter().map(|(number, line)| (number, line.len())).collect();
        assert_eq!(lines, [(1, 2), (2, MAX_LINE_LEN - 1), (5, 5)]);
        assert_eq!(reader.skipped(), SkippedLines { count: 3, first: 3 });
    }

    #[test]
    fn a_line_that_damage_cut_is_not_handed_out() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        encoder.write_all(b"{\"a\":1}\n{\"a\":2}\n{\"a\":3}").unwrap();
        let packed = encoder.finish().unwrap();
        let mut reader = reader(packed[..packed.len() - 10].to_vec());
        assert_eq!(reader.next_line().unwrap().unwrap().number, 1);
        assert_eq!(reader.next_line().unwrap().unwrap().text, b"{\"a\":2}");
        let error = reader.next_line().map(|_| ()).unwrap_err();
        assert!(matches!(error, CaptureError::DamagedCompression { offset: 21, .. }), "{error}");
        assert_eq!(reader.next_line().unwrap(), None);
    }
}

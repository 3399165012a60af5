//! The frames of one capture, lent from the buffer they were read into.

use sonde_common::format::pcapng::Note;
use sonde_common::format::{CaptureParser, Frame, FrameSpan, Step};
use sonde_common::time::Timestamp;

use super::input::Window;
use super::{CaptureError, Progress};

/// Frames handed out together at most: enough that the memory of several is fetched at a time, few enough to stay in the
/// first cache.
pub const BATCH: usize = 32;

/// Hands out the frames of a capture in file order. After an error it has no more of them.
pub struct FrameReader {
    window: Window,
    parser: CaptureParser,
    /// A frame that was looked at and not yet handed out, with the length of its record.
    peeked: Option<(FrameSpan, usize)>,
    progress: Progress,
    ended: bool,
}

impl std::fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameReader")
            .field("name", &self.name())
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

impl FrameReader {
    pub(super) fn new(window: Window, progress: Progress) -> Result<Self, CaptureError> {
        match CaptureParser::new(window.unread()) {
            Ok(parser) => Ok(Self { window, parser, peeked: None, progress, ended: false }),
            Err(damage) => Err(CaptureError::Damaged { path: window.name().to_owned(), damage }),
        }
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// Once, after every frame that could be read: the damage that ends the capture early.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        let next = match self.peeked.take() {
            None => self.advance()?,
            peeked => peeked,
        };
        Ok(next.and_then(|(span, used)| span.frame(self.window.consumed(used))))
    }

    /// As [`next_frame`](Self::next_frame), with what the capture says beside the frame.
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame).
    #[inline]
    pub fn next_noted(&mut self) -> Result<Option<(Frame<'_>, Option<Note<'_>>)>, CaptureError> {
        let next = match self.peeked.take() {
            None => self.advance()?,
            peeked => peeked,
        };
        let Some((span, used)) = next else { return Ok(None) };
        let record = self.window.consumed(used);
        Ok(span.frame(record).map(|frame| (frame, self.parser.note(record, &span))))
    }

    /// Hands the next frames to `take`, as many as the buffer holds, at most [`BATCH`]; returns how many that were, 0 at the
    /// end. A capture that may say something beside its frames gives one at a time.
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame).
    pub fn next_batch(
        &mut self,
        take: &mut dyn FnMut(&[Frame<'_>], Option<Note<'_>>),
    ) -> Result<usize, CaptureError> {
        if self.peeked.is_some() || !matches!(self.parser, CaptureParser::Pcap(_)) {
            let Some((frame, note)) = self.next_noted()? else { return Ok(0) };
            take(&[frame], note);
            return Ok(1);
        }
        let Some((first, used)) = self.advance()? else { return Ok(0) };
        // Each with where its record begins, counted from the first.
        let mut spans = [(first, 0); BATCH];
        let (mut count, mut bytes) = (1, used);
        for place in spans.iter_mut().skip(1) {
            // What is no frame, or damage, is left for the next call.
            let Ok(Step::Frame { frame, used }) = self.parser.step(self.window.unread()) else { break };
            self.window.consume(used);
            *place = (frame, bytes);
            (count, bytes) = (count + 1, bytes + used);
        }
        let records = self.window.consumed(bytes);
        let nothing = Frame { time: first.time, link: first.link, data: &[], wire_len: 0 };
        let mut frames = [nothing; BATCH];
        for (frame, (span, at)) in frames.iter_mut().zip(&spans).take(count) {
            *frame = records.get(*at..).and_then(|record| span.frame(record)).unwrap_or(nothing);
        }
        take(frames.get(..count).unwrap_or_default(), None);
        Ok(count)
    }

    /// Time of the frame that [`next_frame`](Self::next_frame) will give, for merging captures; `None` at the end.
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame), which will not repeat it.
    #[inline]
    pub fn peek_time(&mut self) -> Result<Option<Timestamp>, CaptureError> {
        if self.peeked.is_none() {
            self.peeked = self.advance()?;
        }
        Ok(self.peeked.map(|(span, _)| span.time))
    }

    /// Looks at the first frames, at most `limit` and no more than one buffer holds, and takes nothing. Only of use before
    /// the first frame is taken.
    pub fn sample(&mut self, limit: usize, mut look: impl FnMut(Frame<'_>)) {
        /// Bytes that should be there to look at; one read brings them, or what there is.
        const SAMPLE_LEN: usize = 256 * 1024;
        while self.window.unread().len() < SAMPLE_LEN && self.window.more(SAMPLE_LEN) {}
        let mut parser = self.parser.clone();
        let (mut at, mut frames) = (0, 0);
        while frames < limit {
            let Some(unread) = self.window.unread().get(at..) else { return };
            match parser.step(unread) {
                Ok(Step::Frame { frame: span, used }) => {
                    if let Some(frame) = unread.get(..used).and_then(|record| span.frame(record)) {
                        look(frame);
                    }
                    frames += 1;
                    at += used;
                }
                Ok(Step::Skip { used }) => at += used,
                Ok(Step::More { .. }) | Err(_) => return,
            }
        }
    }

    /// Start of the next record in the decompressed data.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.parser.offset()
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

    #[inline]
    fn advance(&mut self) -> Result<Option<(FrameSpan, usize)>, CaptureError> {
        loop {
            match self.parser.step(self.window.unread()) {
                Ok(Step::Frame { frame, used }) => {
                    self.window.consume(used);
                    return Ok(Some((frame, used)));
                }
                Ok(Step::Skip { used }) => self.window.consume(used),
                Ok(Step::More { needed }) => {
                    if !self.window.more(needed) {
                        return self.end().map(|()| None);
                    }
                }
                Err(damage) => {
                    if std::mem::replace(&mut self.ended, true) {
                        return Ok(None);
                    }
                    return Err(CaptureError::Damaged { path: self.name().to_owned(), damage });
                }
            }
        }
    }

    /// One error at most: that the input broke off explains the record it cut.
    #[cold]
    fn end(&mut self) -> Result<(), CaptureError> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        if let Some(failure) = self.window.take_failure() {
            return Err(failure);
        }
        let end = self.parser.end(self.window.unread());
        end.map_err(|damage| CaptureError::Damaged { path: self.name().to_owned(), damage })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write as _};
    use std::path::{Path, PathBuf};

    use sonde_common::format::{Content, FormatError, LinkType, MAX_RECORD_LEN};

    use super::super::Input;
    use super::*;

    fn pcap(packets: impl IntoIterator<Item = (u32, Vec<u8>)>) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65535, 1] {
            file.extend(word.to_le_bytes());
        }
        for (secs, data) in packets {
            let len = u32::try_from(data.len()).unwrap();
            for word in [secs, 0, len, len] {
                file.extend(word.to_le_bytes());
            }
            file.extend(data);
        }
        file
    }

    /// Bytes that tell packet `n` from others and do not compress; lengths vary so that records lie across every
    /// buffer's end.
    fn payload(n: u32) -> Vec<u8> {
        let mut state = u64::from(n) + 1;
        let words = 1 + n as usize % 300;
        (0..words)
            .flat_map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 32) as u32).to_le_bytes()
            })
            .collect()
    }

    fn sample(count: u32) -> Vec<u8> {
        pcap((0..count).map(|n| (n, payload(n))))
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        zstd::encode_all(data, 1).unwrap()
    }

    fn input(data: Vec<u8>) -> Result<Input, CaptureError> {
        Input::from_reader("test".into(), None, Box::new(io::Cursor::new(data)))
    }

    /// Reads to the end; checks each frame of [`sample`]; returns their number and the error, which must come once.
    fn count(mut reader: FrameReader) -> (u32, Option<CaptureError>) {
        let mut frames = 0u32;
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    assert_eq!(frame.time, Timestamp::from_secs_nanos(i64::from(frames), 0));
                    assert_eq!(frame.data, payload(frames));
                    assert_eq!(frame.link, LinkType::Ethernet);
                    frames += 1;
                }
                Ok(None) => return (frames, None),
                Err(error) => {
                    assert!(matches!(reader.next_frame(), Ok(None)), "an error comes once");
                    assert!(matches!(reader.peek_time(), Ok(None)));
                    return (frames, Some(error));
                }
            }
        }
    }

    fn read(data: Vec<u8>) -> (u32, Option<CaptureError>) {
        count(input(data).unwrap().into_frames().unwrap())
    }

    struct TempFile(PathBuf);

    impl TempFile {
        fn new(name: &str, data: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("sonde-{}-{name}", std::process::id()));
            std::fs::write(&path, data).unwrap();
            Self(path)
        }
    }

    impl Drop for TempFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn batches_hold_the_frames_that_come_one_by_one_and_the_same_damage() {
        let whole = sample(3000);
        let mut damaged = whole.clone();
        damaged.extend([0xff; 64]);
        for file in [whole.clone(), whole[..whole.len() - 1].to_vec(), damaged, sample(0), sample(31)] {
            let (expected, error) = read(file.clone());
            let mut reader = input(file).unwrap().into_frames().unwrap();
            // One was looked at before.
            let peeked = reader.peek_time().unwrap();
            assert_eq!(peeked.is_some(), expected > 0);
            let (mut next, mut largest) = (0u32, 0);
            let ended = loop {
                let before = next;
                let taken = reader.next_batch(&mut |frames, note| {
                    assert!(note.is_none());
                    largest = largest.max(frames.len());
                    for frame in frames {
                        assert_eq!(frame.time, Timestamp::from_secs_nanos(i64::from(next), 0));
                        assert_eq!(frame.data, payload(next));
                        next += 1;
                    }
                });
                match taken {
                    Ok(0) => break None,
                    Ok(taken) => assert_eq!(taken, (next - before) as usize),
                    Err(error) => break Some(error),
                }
            };
            assert_eq!(next, expected);
            assert_eq!(ended.map(|error| error.to_string()), error.map(|error| error.to_string()));
            assert!(largest <= BATCH && (expected < 100 || largest == BATCH), "{largest}");
        }
    }

    #[test]
    fn every_wrapping_gives_the_same_frames() {
        let plain = sample(5000);
        assert!(plain.len() > 2 * 1024 * 1024, "several buffers full");
        let (first, second) = plain.split_at(1_000_000);
        let files = [
            plain.clone(),
            gzip(&plain),
            zstd(&plain),
            [gzip(first), gzip(second)].concat(),
            [zstd(first), zstd(second)].concat(),
            zstd(&gzip(&plain)),
            gzip(&gzip(&plain)),
        ];
        for (at, file) in files.into_iter().enumerate() {
            let (frames, error) = read(file);
            assert_eq!((frames, error.map(|error| error.to_string())), (5000, None), "file {at}");
        }
    }

    #[test]
    fn pipes_that_give_a_byte_at_a_time_are_read_alike() {
        struct Trickle(io::Cursor<Vec<u8>>, bool);
        impl Read for Trickle {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.1 = !self.1;
                if self.1 {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                self.0.read(&mut buf[..1])
            }
        }
        for file in [sample(50), gzip(&sample(50)), zstd(&sample(50))] {
            let source = Box::new(Trickle(io::Cursor::new(file), false));
            let input = Input::from_reader("pipe".into(), None, source).unwrap();
            assert!(matches!(count(input.into_frames().unwrap()), (50, None)));
        }
    }

    #[test]
    fn cut_file_gives_its_frames_then_one_error_with_offset_and_need() {
        let mut file = sample(3000);
        let whole = file.len();
        file.truncate(whole - 1);
        let (frames, error) = read(file);
        assert_eq!(frames, 2999);
        let record = 16 + 4 * (1 + 2999 % 300);
        let error = error.unwrap();
        assert_eq!(error.offset(), Some((whole - record) as u64));
        assert!(error.is_partial());
        let expected = format!(
            "test: damaged at byte {}: cut short inside a record: {record} bytes needed, {} there",
            whole - record,
            record - 1
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn cut_compression_gives_all_it_held_and_is_the_one_error() {
        let plain = sample(3000);
        for packed in [gzip(&plain), zstd(&plain), zstd(&gzip(&plain)), gzip(&zstd(&plain))] {
            let (frames, error) = read(packed[..packed.len() - 5].to_vec());
            assert!(frames > 2500, "{frames}");
            assert!(
                matches!(error, Some(CaptureError::DamagedCompression { offset, .. }) if offset > 1_000_000)
            );
        }
        let packed = gzip(&plain);
        let (frames, error) = read(packed[..packed.len() - 8].to_vec());
        assert_eq!(frames, 3000, "only the checksum is missing");
        assert_eq!(
            error.unwrap().to_string(),
            format!(
                "test: damaged after byte {} of the decompressed data: gzip member 1 is cut short",
                plain.len()
            )
        );
    }

    #[test]
    fn disk_failure_is_no_damage() {
        struct Failing(io::Cursor<Vec<u8>>);
        impl Read for Failing {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                match self.0.read(buf)? {
                    0 => Err(io::Error::from_raw_os_error(5)),
                    len => Ok(len),
                }
            }
        }
        for file in [sample(100), gzip(&sample(100))] {
            let offset = sample(100).len() as u64;
            let input =
                Input::from_reader("disk".into(), None, Box::new(Failing(io::Cursor::new(file)))).unwrap();
            let (frames, error) = count(input.into_frames().unwrap());
            assert_eq!(frames, 100);
            assert!(matches!(error, Some(CaptureError::Read { offset: at, .. }) if at == offset));
        }
    }

    #[test]
    fn peeking_tells_the_time_and_takes_nothing() {
        let mut reader = input(sample(2000)).unwrap().into_frames().unwrap();
        for n in 0..2000 {
            for _ in 0..2 {
                assert_eq!(reader.peek_time().unwrap(), Some(Timestamp::from_secs_nanos(n, 0)));
            }
            let frame = reader.next_frame().unwrap().unwrap();
            assert_eq!(frame.time, Timestamp::from_secs_nanos(n, 0));
            assert_eq!(frame.data, payload(u32::try_from(n).unwrap()));
        }
        assert!(matches!((reader.peek_time(), reader.peek_time()), (Ok(None), Ok(None))));
        let mut cut = input(pcap([(1, vec![1; 9])])[..48].to_vec()).unwrap().into_frames().unwrap();
        assert!(cut.peek_time().is_err());
        assert!(matches!(cut.next_frame(), Ok(None)));
    }

    #[test]
    fn packet_larger_than_the_buffer_is_read_up_to_the_cap() {
        let big = vec![7; 3_000_000];
        let file =
            pcap([(0, big.clone()), (1, vec![1; 2000]), (2, vec![2; MAX_RECORD_LEN as usize]), (3, vec![3])]);
        for file in [gzip(&file), file] {
            let mut reader = input(file).unwrap().into_frames().unwrap();
            assert_eq!(reader.next_frame().unwrap().unwrap().data, big);
            assert_eq!(reader.next_frame().unwrap().unwrap().data, [1; 2000]);
            assert_eq!(reader.next_frame().unwrap().unwrap().data.len(), MAX_RECORD_LEN as usize);
            assert_eq!(reader.next_frame().unwrap().unwrap().data, [3]);
            assert!(reader.next_frame().unwrap().is_none());
        }
        let over = pcap([(0, vec![0; MAX_RECORD_LEN as usize + 1])]);
        let error = input(over).unwrap().into_frames().unwrap().next_frame().map(|_| ()).unwrap_err();
        assert!(matches!(
            error,
            CaptureError::Damaged { damage: FormatError::Length { offset: 24, .. }, .. }
        ));
    }

    #[test]
    fn progress_counts_the_file_as_it_lies_on_disk() {
        let packed = gzip(&sample(2000));
        let file = TempFile::new("progress.gz", &packed);
        let input = Input::open(&file.0).unwrap();
        assert_eq!(input.content(), Content::Pcap);
        let progress = input.progress().clone();
        assert_eq!(progress.length(), Some(packed.len() as u64));
        let mut reader = input.into_frames().unwrap();
        while reader.next_frame().unwrap().is_some() {}
        assert_eq!(progress.position(), packed.len() as u64);
        assert_eq!(reader.offset(), sample(2000).len() as u64);
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let kind = |path: &Path| Input::open(path).map(|_| ()).unwrap_err();
        assert!(matches!(kind(Path::new("/nonexistent/x.pcap")), CaptureError::NotFound { .. }));
        assert!(matches!(kind(&std::env::temp_dir()), CaptureError::Directory { .. }));
        let empty = TempFile::new("empty\u{202e}.pcap", b"");
        let error = kind(&empty.0);
        assert!(matches!(error, CaptureError::Empty { .. }));
        assert!(error.path().ends_with("empty\\u{202e}.pcap"), "names are printed harmless: {error}");
        let text = TempFile::new("text", b"hello, world");
        let error = kind(&text.0).to_string();
        assert!(
            error.contains("not a known format") && error.contains(sonde_common::format::DETECTED),
            "{error}"
        );
        let xz = input(b"\xfd7zXZ\0\0\x04".to_vec()).map(|_| ()).unwrap_err();
        assert_eq!(
            (xz.to_string().as_str(), xz.remedy()),
            ("test: is xz, which is not read", "unpack it first: xz -d FILE")
        );
    }

    #[test]
    fn empty_and_broken_contents_of_compression_are_told_apart() {
        assert!(matches!(input(gzip(b"")), Err(CaptureError::Empty { .. })));
        assert!(matches!(
            input(gzip(b"")[..12].to_vec()),
            Err(CaptureError::DamagedCompression { offset: 0, .. })
        ));
        assert!(matches!(input(gzip(&zstd(&gzip(b"{}")))), Err(CaptureError::TooDeep { limit: 2, .. })));
        assert!(matches!(input(gzip(b"no capture")), Err(CaptureError::Unknown { .. })));
    }

    #[test]
    fn captures_without_packets_are_fine_and_without_header_are_not() {
        assert!(matches!(read(sample(0)), (0, None)));
        let (frames, error) = read(sample(0)[..20].to_vec());
        assert_eq!(frames, 0);
        assert!(matches!(
            error,
            Some(CaptureError::Damaged {
                damage: FormatError::Truncated { offset: 0, needed: 24, had: 20 },
                ..
            })
        ));
    }
}

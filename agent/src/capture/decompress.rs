//! gzip and Zstandard, undone on a thread of their own: inflating costs twenty times what all later work does.
//!
//! Recycled blocks go over a bounded channel, so memory stays at [`BLOCKS`] blocks (and Zstandard's window) however much
//! comes out: a decompression bomb costs time and nothing else.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, InBuffer, Operation as _, OutBuffer};

/// Bytes of one block: small enough to be still in the cache of the core that parses it.
const BLOCK_LEN: usize = 256 * 1024;
/// Blocks in circulation: one filled, one parsed, two to even out their speeds.
const BLOCKS: usize = 4;
/// Compressed bytes read at once.
const INPUT_LEN: usize = 128 * 1024;
/// Largest Zstandard window, as a power of two: 128 MiB, what `zstd -d` takes without `--long` (RFC 8878 section 3.1.1.1.2
/// leaves the limit to the decoder).
const ZSTD_WINDOW_LOG: u32 = 27;
/// Largest deflate window, as a power of two (RFC 1951 section 2).
const DEFLATE_WINDOW_LOG: u8 = 15;

/// Which compression to undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

/// The compressed data is not what it should be, as opposed to a disk that fails. Travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct DamagedStream(String);

impl DamagedStream {
    pub(super) fn error(what: String) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Self(what))
    }
}

enum Message {
    Block(Vec<u8>, usize),
    End,
    Failed(io::Error),
}

/// The decompressed data. A failure is returned once, after every byte that came out before it.
pub(super) struct Decompressed {
    full: Receiver<Message>,
    empty: SyncSender<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
    filled: usize,
    ended: bool,
}

impl Decompressed {
    /// Starts the thread. It ends by itself: with the data, or when this reader is dropped.
    pub(super) fn spawn(compression: Compression, source: Box<dyn Read + Send>) -> io::Result<Self> {
        let decoder = Decoder::new(compression, source)?;
        // Room for every block and the last word, so that neither side ever waits to send.
        let (to_reader, full) = sync_channel(BLOCKS + 1);
        let (empty, from_reader) = sync_channel(BLOCKS);
        for _ in 1..BLOCKS {
            // Cannot fail: the other end is in this function.
            let _ = empty.send(Vec::new());
        }
        thread::Builder::new()
            .name("decompress".into())
            .spawn(move || run(decoder, &to_reader, &from_reader))?;
        Ok(Self { full, empty, block: Vec::new(), at: 0, filled: 0, ended: false })
    }
}

impl Read for Decompressed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.filled {
            if self.ended {
                return Ok(0);
            }
            // An error means that the thread has ended; what it sent is still to come.
            let _ = self.empty.send(std::mem::take(&mut self.block));
            (self.at, self.filled) = (0, 0);
            match self.full.recv() {
                Ok(Message::Block(block, filled)) => (self.block, self.filled) = (block, filled),
                Ok(Message::End) => self.ended = true,
                Ok(Message::Failed(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                Err(_) => {
                    self.ended = true;
                    return Err(io::Error::other("the decompressing thread ended without a word"));
                }
            }
        }
        let rest = self.block.get(self.at..self.filled).unwrap_or_default();
        let len = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), rest.get(..len)) {
            to.copy_from_slice(from);
        }
        self.at += len;
        Ok(len)
    }
}

fn run(mut decoder: Decoder, full: &SyncSender<Message>, empty: &Receiver<Vec<u8>>) {
    while let Ok(mut block) = empty.recv() {
        block.resize(BLOCK_LEN, 0);
        let (filled, outcome) = decoder.fill(&mut block);
        if filled > 0 && full.send(Message::Block(block, filled)).is_err() {
            return;
        }
        let last = match outcome {
            Ok(false) => continue,
            Ok(true) => Message::End,
            Err(error) => Message::Failed(error),
        };
        // Nobody left to hear it is no failure.
        let _ = full.send(last);
        return;
    }
}

enum Engine {
    Gzip(Decompress),
    Zstd(zstd::stream::raw::Decoder<'static>),
}

/// What one call of an engine did. Output counts even when an error follows it in the same call: inflate tells how much
/// it was, while Zstandard keeps it to itself, so that up to a block of 128 KiB before the damage is lost.
struct Progress {
    consumed: usize,
    produced: usize,
    member_ended: Result<bool, String>,
}

impl Engine {
    const fn name(&self) -> &'static str {
        match self {
            Self::Gzip(_) => "gzip",
            Self::Zstd(_) => "zstd",
        }
    }

    fn begin_member(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(inflate) => {
                inflate.reset(true);
                Ok(())
            }
            Self::Zstd(decoder) => decoder.reinit(),
        }
    }

    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Progress {
        match self {
            Self::Gzip(inflate) => {
                let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
                let status = inflate.decompress(input, out, FlushDecompress::None);
                Progress {
                    consumed: usize::try_from(inflate.total_in() - before_in).unwrap_or(input.len()),
                    produced: usize::try_from(inflate.total_out() - before_out).unwrap_or(out.len()),
                    member_ended: match status {
                        Ok(status) => Ok(status == Status::StreamEnd),
                        Err(error) => Err(error.message().unwrap_or("corrupt data").to_owned()),
                    },
                }
            }
            Self::Zstd(decoder) => {
                let (mut input, mut out) = (InBuffer::around(input), OutBuffer::around(out));
                let hint = decoder.run(&mut input, &mut out);
                Progress {
                    consumed: input.pos(),
                    produced: out.pos(),
                    // A hint of 0 is how Zstandard says that a frame is decoded and all of it handed out.
                    member_ended: hint.map(|hint| hint == 0).map_err(|error| error.to_string()),
                }
            }
        }
    }
}

/// Decodes gzip members or Zstandard frames one after the other, as `cat a.gz b.gz` and parallel compressors make them.
struct Decoder {
    engine: Engine,
    source: Box<dyn Read + Send>,
    input: Vec<u8>,
    at: usize,
    filled: usize,
    /// How the source ended, once it has.
    source_ended: Option<io::Result<()>>,
    inside_member: bool,
    members: u64,
}

impl Decoder {
    fn new(compression: Compression, source: Box<dyn Read + Send>) -> io::Result<Self> {
        let engine = match compression {
            Compression::Gzip => Engine::Gzip(Decompress::new_gzip(DEFLATE_WINDOW_LOG)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::raw::Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
                Engine::Zstd(decoder)
            }
        };
        let input = vec![0; INPUT_LEN];
        Ok(Self {
            engine,
            source,
            input,
            at: 0,
            filled: 0,
            source_ended: None,
            inside_member: false,
            members: 0,
        })
    }

    /// Fills the block as far as it goes; says how far, and whether the data has ended with it.
    fn fill(&mut self, block: &mut [u8]) -> (usize, io::Result<bool>) {
        let mut done = 0;
        loop {
            let Some(room) = block.get_mut(done..).filter(|room| !room.is_empty()) else {
                return (done, Ok(false));
            };
            if self.at == self.filled && self.source_ended.is_none() {
                self.read();
                continue;
            }
            if !self.inside_member {
                if self.members > 0 && matches!(self.engine, Engine::Gzip(_)) {
                    self.skip_padding();
                }
                if self.at == self.filled {
                    match self.source_ended.take() {
                        Some(end) => return (done, end.map(|()| true)),
                        None => continue,
                    }
                }
                if let Err(error) = self.engine.begin_member() {
                    return (done, Err(error));
                }
                self.inside_member = true;
            }
            let input = self.input.get(self.at..self.filled).unwrap_or_default();
            let step = self.engine.step(input, room);
            self.at += step.consumed;
            done += step.produced;
            match step.member_ended {
                Ok(true) => {
                    self.inside_member = false;
                    self.members += 1;
                }
                Ok(false) if step.consumed > 0 || step.produced > 0 => {}
                Ok(false) => return (done, Err(self.cut_short())),
                Err(what) => {
                    let (name, members) = (self.engine.name(), self.members);
                    return (
                        done,
                        Err(DamagedStream::error(format!("{name} member {}: {what}", members + 1))),
                    );
                }
            }
        }
    }

    fn read(&mut self) {
        (self.at, self.filled) = (0, 0);
        match self.source.read(&mut self.input) {
            Ok(0) => self.source_ended = Some(Ok(())),
            Ok(len) => self.filled = len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.source_ended = Some(Err(error)),
        }
    }

    /// Tapes and block devices pad with zeros, which gzip(1) ignores too.
    fn skip_padding(&mut self) {
        let rest = self.input.get(self.at..self.filled).unwrap_or_default();
        self.at += rest.iter().take_while(|&&byte| byte == 0).count();
    }

    /// The source has ended inside a member: its own error if it had one.
    fn cut_short(&mut self) -> io::Error {
        match self.source_ended.take() {
            Some(Err(error)) => error,
            _ => DamagedStream::error(format!(
                "{} member {} is cut short",
                self.engine.name(),
                self.members + 1
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        // With a checksum, as zstd(1) writes it.
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// Text of numbers: compresses, and no two parts are alike.
    fn sample(len: usize) -> Vec<u8> {
        (0u32..).flat_map(|n| n.to_string().into_bytes()).take(len).collect()
    }

    /// A source that gives `step` bytes at a time, as pipes do.
    struct Slow(Vec<u8>, usize, usize);

    impl Read for Slow {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let len = self.2.min(buf.len()).min(self.0.len() - self.1);
            buf[..len].copy_from_slice(&self.0[self.1..self.1 + len]);
            self.1 += len;
            Ok(len)
        }
    }

    fn undo(compression: Compression, data: Vec<u8>, step: usize) -> (Vec<u8>, Option<String>) {
        let mut reader = Decompressed::spawn(compression, Box::new(Slow(data, 0, step))).unwrap();
        let mut out = Vec::new();
        let error = reader.read_to_end(&mut out).err().map(|error| error.to_string());
        assert_eq!(reader.read(&mut [0; 9]).unwrap(), 0, "ended for good");
        (out, error)
    }

    type Pack = fn(&[u8]) -> Vec<u8>;
    const BOTH: [(Compression, Pack); 2] = [(Compression::Gzip, gzip), (Compression::Zstd, zstd)];

    #[test]
    fn members_and_frames_in_a_row_give_one_stream() {
        for (compression, pack) in BOTH {
            let parts = [sample(700_000), Vec::new(), sample(3)];
            let packed: Vec<u8> = parts.iter().flat_map(|part| pack(part)).collect();
            for step in [1, 1000, usize::MAX] {
                assert_eq!(undo(compression, packed.clone(), step), (parts.concat(), None));
            }
        }
    }

    #[test]
    fn a_cut_gives_every_byte_before_it_and_then_one_error() {
        let data = sample(1_000_000);
        for (compression, pack) in BOTH {
            let packed = pack(&data);
            for cut in [packed.len() / 2, packed.len() - 1] {
                let (out, error) = undo(compression, packed[..cut].to_vec(), usize::MAX);
                assert!(data.starts_with(&out));
                let mut reference = Vec::new();
                let failed = match compression {
                    Compression::Gzip => {
                        flate2::read::GzDecoder::new(&packed[..cut]).read_to_end(&mut reference)
                    }
                    Compression::Zstd => {
                        zstd::Decoder::new(&packed[..cut]).unwrap().read_to_end(&mut reference)
                    }
                };
                assert!(failed.is_err() && reference.len() > 100_000);
                assert_eq!(out.len(), reference.len());
                assert!(error.unwrap().ends_with("member 1 is cut short"));
            }
        }
    }

    #[test]
    fn damage_in_the_middle_keeps_what_came_before() {
        let data = sample(1_000_000);
        for (compression, pack) in BOTH {
            let mut packed = pack(&data);
            let middle = packed.len() / 2;
            packed[middle..middle + 64].fill(0xff);
            let (out, error) = undo(compression, packed, usize::MAX);
            assert!(out.len() > 200_000, "{compression:?}: {}", out.len());
            assert_eq!(out[..200_000], data[..200_000]);
            assert!(error.unwrap().contains("member 1: "));
        }
    }

    #[test]
    fn wrong_checksum_is_told_after_all_the_data() {
        let data = sample(5000);
        let mut packed = gzip(&data);
        let crc = packed.len() - 8;
        packed[crc] ^= 1;
        let (out, error) = undo(Compression::Gzip, packed, usize::MAX);
        assert_eq!(out, data);
        assert_eq!(error.unwrap(), "gzip member 1: incorrect data check");
    }

    #[test]
    fn zero_padding_behind_gzip_is_ignored_and_other_bytes_are_not() {
        let padded = [gzip(b"data"), vec![0; 1000]].concat();
        assert_eq!(undo(Compression::Gzip, padded, usize::MAX), (b"data".to_vec(), None));
        let (out, error) = undo(Compression::Gzip, [gzip(b"data"), b"more".to_vec()].concat(), usize::MAX);
        assert_eq!((out.as_slice(), error.unwrap().starts_with("gzip member 2: ")), (&b"data"[..], true));
    }

    #[test]
    fn a_reader_that_is_dropped_early_ends_the_thread() {
        struct Endless {
            packed: Vec<u8>,
            _alive: std::sync::mpsc::Sender<()>,
        }
        impl Read for Endless {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                buf[..self.packed.len()].copy_from_slice(&self.packed);
                Ok(self.packed.len())
            }
        }
        let (alive, ended) = std::sync::mpsc::channel();
        let endless = Endless { packed: gzip(&sample(1000)), _alive: alive };
        let mut reader = Decompressed::spawn(Compression::Gzip, Box::new(endless)).unwrap();
        assert!(reader.read(&mut [0; 100]).unwrap() > 0);
        drop(reader);
        let gone = ended.recv_timeout(std::time::Duration::from_secs(30));
        assert_eq!(
            gone,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected),
            "its source was dropped with it"
        );
    }
}

//! What a pcapng file says beside its packets of the processes behind them: the options of packet blocks, and the process
//! blocks that Apple's tcpdump writes.
//!
//! A [`Note`] is made for a packet that has options, and only where somebody asks. What comments mean is not known here.

use super::super::{ByteOrder, FrameSpan, index};

/// Block type of Apple's process information (libpcap, `pcap-ng.h`: `PCAPNG_BT_PIB`, experimental).
pub(super) const PROCESS_INFORMATION: u32 = 0x8000_0001;

/// Processes that are kept of one section; a later one is passed over. A host runs some hundreds.
const MAX_PROCESSES: usize = 4096;
/// Bytes of a process's name or path that are kept: the longest path of macOS (`MAXPATHLEN`).
const MAX_NAME_BYTES: usize = 1024;
/// Bytes of all of them.
const MAX_NAMES_BYTES: usize = 256 << 10;

const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
/// `PCAPNG_PIB_NAME` and `PCAPNG_PIB_PATH`.
const OPTION_NAME: u16 = 2;
const OPTION_PATH: u16 = 3;
/// `PCAPNG_EPB_PIB_INDEX`: the process that holds the socket.
const OPTION_PROCESS: u16 = 0x8001;
/// `PCAPNG_EPB_E_PIB_INDEX`: the process on whose behalf it works.
const OPTION_EFFECTIVE_PROCESS: u16 = 0x8003;

/// The options of one packet.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    options: Options<'a>,
    processes: &'a Processes,
}

impl<'a> Note<'a> {
    /// The note of a packet, given its whole record; `None` if nothing stands behind the packet.
    #[inline]
    pub(super) fn of(
        record: &'a [u8],
        frame: &FrameSpan,
        order: ByteOrder,
        processes: &'a Processes,
    ) -> Option<Self> {
        /// An option's code and length, then the block's length.
        const LEAST: usize = 4 + 4;
        let behind = frame.at + frame.len.next_multiple_of(4);
        if record.len() < behind + LEAST {
            return None;
        }
        let options = record.get(behind..record.len() - 4)?;
        Some(Self { options: Options { rest: options, order }, processes })
    }

    /// Its comments.
    pub fn comments(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.options.filter(|(code, _)| *code == OPTION_COMMENT).map(|(_, value)| value)
    }

    /// The process that a process block tells of: pid, and path or name. Of two the one on whose behalf the other works.
    #[must_use]
    pub fn process(self) -> Option<(u32, &'a str)> {
        let order = self.options.order;
        let of = |wanted: u16| {
            let (_, value) = self.options.clone().find(|(code, _)| *code == wanted)?;
            let number = order.u32(value.try_into().ok()?);
            self.processes.list.get(index(number)).map(|(pid, name)| (*pid, &**name))
        };
        of(OPTION_EFFECTIVE_PROCESS).or_else(|| of(OPTION_PROCESS)).filter(|(_, name)| !name.is_empty())
    }
}

/// The options of a block, one after the other; a damaged one ends them.
#[derive(Clone, Copy, Debug)]
struct Options<'a> {
    rest: &'a [u8],
    order: ByteOrder,
}

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[a, b, c, d], rest) = self.rest.split_first_chunk::<4>()?;
        let (code, len) = (self.order.u16([a, b]), usize::from(self.order.u16([c, d])));
        let (value, _) = rest.split_at_checked(len).filter(|_| code != OPTION_END)?;
        self.rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((code, value))
    }
}

/// The process blocks of a section, in their order, by which packets name them.
#[derive(Clone, Debug, Default)]
pub(super) struct Processes {
    list: Vec<(u32, Box<str>)>,
    bytes: usize,
}

impl Processes {
    /// A new section begins.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.bytes = 0;
    }

    /// Takes a process block. A damaged one has its place in the order, and nothing to tell.
    #[cold]
    pub(super) fn learn(&mut self, body: &[u8], order: ByteOrder) {
        if self.list.len() >= MAX_PROCESSES {
            return;
        }
        let (pid, rest) = match body.split_first_chunk::<4>() {
            Some((pid, rest)) => (order.u32(*pid), rest),
            None => (0, &[][..]),
        };
        let mut name = &[][..];
        for (code, value) in (Options { rest, order }) {
            match code {
                OPTION_NAME if name.is_empty() => name = value,
                OPTION_PATH => name = value,
                _ => {}
            }
        }
        // Some writers end texts with a zero.
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name.get(..MAX_NAME_BYTES).unwrap_or(name));
        let name: Box<str> = if self.bytes + name.len() > MAX_NAMES_BYTES { "".into() } else { name.into() };
        self.bytes += name.len();
        self.list.push((pid, name));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{CaptureParser, Step};
    use super::*;
    use proptest::prelude::*;

    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let len = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
        [&kind.to_le_bytes()[..], &len, &body, &len].concat()
    }

    fn option(code: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len()).unwrap();
        let mut option = [&code.to_le_bytes()[..], &len.to_le_bytes(), value].concat();
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }

    fn section() -> Vec<u8> {
        let section = [&0x1a2b_3c4du32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
        [block(0x0a0d_0d0a, &section), block(1, &[1, 0, 0, 0, 0, 0, 0, 0])].concat()
    }

    /// A packet of three bytes.
    fn packet(options: &[u8]) -> Vec<u8> {
        let words = [0u32, 0, 0, 3, 3].map(u32::to_le_bytes).concat();
        block(6, &[&words[..], &[7, 7, 7, 0], options].concat())
    }

    type Told = (Vec<String>, Option<(u32, String)>);

    fn notes(file: &[u8]) -> Vec<Option<Told>> {
        let mut parser = CaptureParser::new(file).unwrap();
        let (mut rest, mut all) = (file, Vec::new());
        loop {
            match parser.step(rest) {
                Ok(Step::Frame { frame, used }) => {
                    assert_eq!(frame.frame(rest).unwrap().data, [7; 3]);
                    let note = parser.note(&rest[..used], &frame);
                    all.push(note.map(|note| {
                        let comments = note.comments().map(|text| String::from_utf8_lossy(text).into_owned());
                        (comments.collect(), note.process().map(|(pid, name)| (pid, name.to_owned())))
                    }));
                    rest = &rest[used..];
                }
                Ok(Step::Skip { used }) => rest = &rest[used..],
                _ => return all,
            }
        }
    }

    #[test]
    fn comments_of_a_packet_are_handed_out_in_their_order() {
        let options = [option(1, b"one"), option(2, &[1, 0, 0, 0]), option(1, b"second")].concat();
        let file = [section(), packet(&options), packet(&[&options[..], &[0; 4]].concat()), packet(&[])];
        let told = Some((vec!["one".to_owned(), "second".to_owned()], None));
        assert_eq!(notes(&file.concat()), [told.clone(), told, None]);
    }

    #[test]
    fn a_packet_names_a_process_block_of_its_section_by_number() {
        let process =
            |pid: u32, options: &[u8]| block(PROCESS_INFORMATION, &[&pid.to_le_bytes(), options].concat());
        let of = |code, number: u32| packet(&option(code, &number.to_le_bytes()));
        let file = [
            section(),
            process(7, &option(2, b"curl")),
            process(8, &[option(2, b"agent\0"), option(4, &[9; 16])].concat()),
            process(9, &[option(2, b"x"), option(3, b"/opt/x/bin/x")].concat()),
            of(0x8001, 0),
            of(0x8001, 2),
            of(0x8001, 3),
            packet(&[option(0x8001, &[0; 4]), option(0x8003, &[1, 0, 0, 0])].concat()),
            section(),
            of(0x8001, 0),
        ];
        let processes: Vec<_> =
            notes(&file.concat()).into_iter().map(|note| note.and_then(|note| note.1)).collect();
        let told = |pid, name: &str| Some((pid, name.to_owned()));
        assert_eq!(processes, [told(7, "curl"), told(9, "/opt/x/bin/x"), None, told(8, "agent"), None]);
    }

    #[test]
    fn a_flood_of_process_blocks_stays_within_bounds() {
        let mut processes = Processes::default();
        let body = [&[1, 0, 0, 0][..], &option(2, &[b'x'; 2000])].concat();
        for _ in 0..2 * MAX_PROCESSES {
            processes.learn(&body, ByteOrder::Little);
        }
        assert_eq!(processes.list.len(), MAX_PROCESSES);
        assert!(processes.bytes <= MAX_NAMES_BYTES && processes.bytes > MAX_NAMES_BYTES / 2);
    }

    proptest! {
        #[test]
        fn any_bytes_for_options_return(bytes in proptest::collection::vec(any::<u8>(), 0..64), pid: bool) {
            let mut file = section();
            if pid {
                file.extend(block(PROCESS_INFORMATION, &bytes));
            }
            file.extend(packet(&bytes));
            prop_assert_eq!(notes(&file).len(), 1);
        }
    }
}

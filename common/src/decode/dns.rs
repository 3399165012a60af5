//! DNS messages (RFC 1035): what was asked, and the addresses that the answer leads to.
//!
//! Takes the payload of a UDP packet, or of a TCP stream through [`tcp_message`]. Which port or multicast group it came
//! from, and so whether it is DNS proper, is the caller's business. Nothing is allocated; names leave normalised.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Probe;
use super::cursor::Cursor;
use super::name::{NameBuf, TextBuf};

/// Most addresses that are kept of one answer.
pub const MAX_ADDRESSES: usize = 16;
/// Most CNAME records that are followed, as resolvers do (BIND and Unbound stop between 11 and 17).
pub const MAX_CNAME_LINKS: usize = 16;
/// Most answer records that are looked at.
pub const MAX_ANSWER_RECORDS: usize = 64;
/// Most compression pointers within one name.
pub const MAX_POINTERS: usize = 32;
/// Longest name on the wire, in bytes (RFC 1035 section 3.1).
const MAX_WIRE_NAME_BYTES: usize = 255;
/// Longest name as text, every byte of it escaped.
const MAX_ESCAPED_NAME_BYTES: usize = 4 * MAX_WIRE_NAME_BYTES;

/// Record type A.
const TYPE_A: u16 = 1;
/// Record type CNAME.
const TYPE_CNAME: u16 = 5;
/// Record type AAAA (RFC 3596 section 2.1).
const TYPE_AAAA: u16 = 28;
/// Class IN.
const CLASS_IN: u16 = 1;

/// A message that cannot be told apart from noise: not even its first question can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The message ends too early.
    #[error("DNS message ends at {had} bytes, inside what begins at {offset}")]
    Truncated {
        /// Where the thing that is cut begins.
        offset: usize,
        /// Bytes there are.
        had: usize,
    },
    /// A name with an unknown kind of label, a pointer that does not lead back, or more than is allowed.
    #[error("DNS name at {offset} is malformed")]
    Name {
        /// Where the name begins.
        offset: usize,
    },
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// By which query and answer find each other.
    pub id: u16,
    /// Whether it is an answer.
    pub is_response: bool,
    /// Kind of query, 0 for a standard one.
    pub opcode: u8,
    /// Response code, 0 in a query.
    pub response_code: u16,
    /// Whether the server cut the answer, so that the client will ask again over TCP.
    pub is_truncated: bool,
    /// Name of the first question: lower case, no trailing dot, `.` for the root. Empty without a question.
    pub name: NameBuf,
    /// Type of the first question, 0 without one.
    pub query_type: u16,
    /// Smallest time to live of the answer records that the name leads to, in seconds; 0 without any.
    pub ttl_secs: u32,
    /// Whether the answer section was read to its end; damaged, cut or over-long ones are not.
    pub complete: bool,
    addresses: [IpAddr; MAX_ADDRESSES],
    address_count: usize,
}

impl Message {
    /// Addresses that the name leads to, CNAME records followed, in the order of the answer and without repetition.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        self.addresses.get(..self.address_count).unwrap_or_default()
    }

    fn push_address(&mut self, address: IpAddr) {
        if self.addresses().contains(&address) {
            return;
        }
        match self.addresses.get_mut(self.address_count) {
            Some(room) => {
                *room = address;
                self.address_count += 1;
            }
            None => self.complete = false,
        }
    }
}

/// The first message of a TCP stream, behind its two-byte length (RFC 1035 section 4.2.2), and the stream behind it.
#[must_use]
pub fn tcp_message(stream: &[u8]) -> Probe<(&[u8], &[u8])> {
    let mut cursor = Cursor::new(stream);
    let Some(len) = cursor.u16().map(usize::from) else {
        return Probe::NeedMore { at_least: 2 - stream.len() };
    };
    if len < HEADER_BYTES {
        return Probe::Mismatch;
    }
    match cursor.take(len) {
        Some(message) => Probe::Parsed((message, cursor.rest())),
        None => Probe::NeedMore { at_least: len - cursor.rest().len() },
    }
}

/// Bytes of the fixed header (RFC 1035 section 4.1.1).
const HEADER_BYTES: usize = 12;

/// Reads a message. What is damaged behind the first question is left out and flagged.
///
/// # Errors
/// If the header or the first question cannot be read.
pub fn message(payload: &[u8]) -> Result<Message, DnsError> {
    let mut cursor = Cursor::new(payload);
    let header =
        cursor.array::<HEADER_BYTES>().ok_or(DnsError::Truncated { offset: 0, had: payload.len() })?;
    let [id_0, id_1, flags_0, flags_1, questions_0, questions_1, answers_0, answers_1, ..] = header;
    let questions = u16::from_be_bytes([questions_0, questions_1]);
    let answers = u16::from_be_bytes([answers_0, answers_1]);
    let mut message = Message {
        id: u16::from_be_bytes([id_0, id_1]),
        is_response: flags_0 & 0x80 != 0,
        opcode: flags_0 >> 3 & 15,
        response_code: u16::from(flags_1 & 15),
        is_truncated: flags_0 & 2 != 0,
        name: NameBuf::new(),
        query_type: 0,
        ttl_secs: 0,
        complete: true,
        addresses: [IpAddr::V4(Ipv4Addr::UNSPECIFIED); MAX_ADDRESSES],
        address_count: 0,
    };
    if questions == 0 {
        return Ok(message);
    }
    let question = read_name(payload, HEADER_BYTES, |label| message.name.push_label(label))?;
    if message.name.is_truncated() {
        // Binary labels take up to four characters a byte. Of such a name the end is kept, where its domain stands.
        let mut whole = TextBuf::<MAX_ESCAPED_NAME_BYTES>::new();
        read_name(payload, HEADER_BYTES, |label| whole.push_label(label))?;
        message.name = whole.end();
    }
    if message.name.is_empty() {
        message.name = NameBuf::from_host(b".");
    }
    let mut cursor = Cursor::at(payload, question.end);
    let (Some(query_type), Some(_class)) = (cursor.u16(), cursor.u16()) else {
        return Err(DnsError::Truncated { offset: question.end, had: payload.len() });
    };
    message.query_type = query_type;
    if message.is_response && answers > 0 {
        let sections = Sections { payload, first_record: cursor.offset(), questions, answers };
        let mut records = Records::new();
        let read = sections.read_answers(&question, &mut records);
        message.complete = read.is_some();
        records.follow(&question, &mut message);
    }
    Ok(message)
}

/// A name that was walked over.
#[derive(Clone, Copy)]
struct Name {
    /// Where its text begins, pointers at its very start resolved: equal starts are equal names.
    start: usize,
    /// Hash of its text without regard to case. Names are compared by it: whoever forges a collision wrote the
    /// answer, and could as well have given the name itself.
    hash: u64,
    /// Offset behind it.
    end: usize,
}

/// Walks a name and shows its labels.
fn read_name<'a>(
    payload: &'a [u8],
    offset: usize,
    mut label: impl FnMut(&'a [u8]),
) -> Result<Name, DnsError> {
    let malformed = DnsError::Name { offset };
    let cut = DnsError::Truncated { offset, had: payload.len() };
    // FNV-1a, 64 bit: short input, no set-up.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix =
        |byte: u8| hash = (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3);
    let mut cursor = Cursor::at(payload, offset);
    let mut start = offset;
    let mut end = None;
    let mut wire_len = 1;
    let mut pointers = 0;
    // Every pointer must lead to before the piece that it ends, so that the walk cannot go in circles.
    let mut piece = offset;
    loop {
        let at = cursor.offset();
        let len = cursor.u8().ok_or(cut)?;
        match len >> 6 {
            0 if len == 0 => {
                let end = end.unwrap_or(cursor.offset());
                return Ok(Name { start, hash, end });
            }
            0 => {
                let text = cursor.take(usize::from(len)).ok_or(cut)?;
                wire_len += 1 + text.len();
                if wire_len > MAX_WIRE_NAME_BYTES {
                    return Err(malformed);
                }
                mix(len);
                text.iter().for_each(|&byte| mix(byte));
                label(text);
            }
            3 => {
                let low = cursor.u8().ok_or(cut)?;
                let target = usize::from(u16::from_be_bytes([len & 0x3f, low]));
                pointers += 1;
                if target >= piece || pointers > MAX_POINTERS {
                    return Err(malformed);
                }
                end = end.or(Some(cursor.offset()));
                if at == start {
                    start = target;
                }
                piece = target;
                cursor = Cursor::at(payload, target);
            }
            _ => return Err(malformed),
        }
    }
}

/// Where the answers are.
struct Sections<'a> {
    payload: &'a [u8],
    /// Behind the first question.
    first_record: usize,
    questions: u16,
    answers: u16,
}

impl Sections<'_> {
    /// Notes the answer records; `None` where they break off, are malformed or are too many.
    fn read_answers(&self, question: &Name, records: &mut Records) -> Option<()> {
        let mut cursor = Cursor::at(self.payload, self.first_record);
        for _ in 1..self.questions {
            let name = read_name(self.payload, cursor.offset(), |_| {}).ok()?;
            cursor = Cursor::at(self.payload, name.end);
            cursor.array::<4>()?;
        }
        let mut last = *question;
        for _ in 0..self.answers {
            let owner = self.name_like(cursor.offset(), question, &last)?;
            last = owner;
            cursor = Cursor::at(self.payload, owner.end);
            let kind = cursor.u16()?;
            let class = cursor.u16()?;
            let ttl = cursor.u32()?;
            let data_at = cursor.offset() + 2;
            let data = cursor.vec16()?;
            let data = match kind {
                _ if class != CLASS_IN => Data::Other,
                TYPE_A => Data::Address(IpAddr::V4(Ipv4Addr::from(*data.as_array::<4>()?))),
                TYPE_AAAA => Data::Address(IpAddr::V6(Ipv6Addr::from(*data.as_array::<16>()?))),
                TYPE_CNAME => {
                    last = read_name(self.payload, data_at, |_| {}).ok()?;
                    Data::Alias(last.hash)
                }
                _ => Data::Other,
            };
            // A time to live with the top bit set means 0 (RFC 2181 section 8).
            let ttl_secs = if ttl >> 31 == 0 { ttl } else { 0 };
            records.push(Record { owner: owner.hash, ttl_secs, data })?;
        }
        Some(())
    }

    /// The name at an offset; cheap where it is a pointer to one that is known, as nearly all owners are.
    fn name_like(&self, offset: usize, question: &Name, last: &Name) -> Option<Name> {
        let mut cursor = Cursor::at(self.payload, offset);
        if let Some(pointer) = cursor.u16()
            && pointer >> 14 == 3
        {
            let target = usize::from(pointer & 0x3fff);
            for known in [last, question] {
                if known.start == target {
                    return Some(Name { end: offset + 2, ..*known });
                }
            }
        }
        read_name(self.payload, offset, |_| {}).ok()
    }
}

/// What of an answer record matters here.
#[derive(Clone, Copy)]
struct Record {
    owner: u64,
    ttl_secs: u32,
    data: Data,
}

#[derive(Clone, Copy)]
enum Data {
    Address(IpAddr),
    /// The hash of the name that it is an alias of.
    Alias(u64),
    Other,
}

/// The answer records, at most [`MAX_ANSWER_RECORDS`].
struct Records {
    records: [Record; MAX_ANSWER_RECORDS],
    len: usize,
}

impl Records {
    const fn new() -> Self {
        Self { records: [Record { owner: 0, ttl_secs: 0, data: Data::Other }; MAX_ANSWER_RECORDS], len: 0 }
    }

    fn push(&mut self, record: Record) -> Option<()> {
        *self.records.get_mut(self.len)? = record;
        self.len += 1;
        Some(())
    }

    /// Gives the message what its question leads to. A chain of aliases may stand in any order.
    fn follow(&self, question: &Name, message: &mut Message) {
        let records = self.records.get(..self.len).unwrap_or_default();
        let mut chain = [question.hash; MAX_CNAME_LINKS + 1];
        let mut names = 1;
        let mut current = question.hash;
        while let Some(target) = records.iter().find_map(|record| match record.data {
            Data::Alias(target) if record.owner == current => Some(target),
            _ => None,
        }) {
            let in_circle = chain.get(..names).is_some_and(|chain| chain.contains(&target));
            let Some(room) = chain.get_mut(names).filter(|_| !in_circle) else {
                message.complete = false;
                break;
            };
            *room = target;
            names += 1;
            current = target;
        }
        let chain = chain.get(..names).unwrap_or_default();
        let mut ttl_secs = None::<u32>;
        for record in records.iter().filter(|record| chain.contains(&record.owner)) {
            ttl_secs = Some(ttl_secs.map_or(record.ttl_secs, |smallest| smallest.min(record.ttl_secs)));
            if let Data::Address(address) = record.data {
                message.push_address(address);
            }
        }
        message.ttl_secs = ttl_secs.unwrap_or(0);
    }
}

#[cfg(test)]
mod tests;

//! Binary XML of one record to the texts of an event: tokens, templates and their values.
//!
//! No tree is built. A template is walked anew for each record that is made from it, and the walk ends as soon as the
//! event's number says that nobody wants it, which is a few elements in.
//!
//! Element starts carry a dependency identifier in template definitions and nowhere else ([MS-EVEN6] 2.2.12).

use std::fmt::Write as _;
use std::ops::Range;

use arrayvec::{ArrayString, ArrayVec};

use crate::format::winlog::{Slot, Texts, wanted};

/// Elements within elements; an event of the wanted kinds has three.
const MAX_DEPTH: usize = 32;
/// Fragments within fragments: the record, its template, its data, their template.
const MAX_NESTING: u8 = 6;
/// Work done for one chunk, so that templates that hold each other end: a token is one, and so are 32 bytes of text. A full
/// chunk of Sysmon's events takes some 100,000.
const MAX_WORK: u32 = 500_000;
/// Values of one template; Windows' own have some thirty.
const MAX_VALUES: u32 = 256;
/// Longest name that means something to us.
const MAX_NAME: usize = 24;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Whole,
    Unwanted,
    Damaged,
}

/// Why a walk ends early.
enum Stop {
    Unwanted,
    Damaged,
}

/// Which element the walk is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Root,
    Event,
    System,
    EventData,
    /// A `Data` element of the event's own data.
    Data,
    /// An element whose text or attribute is wanted.
    Leaf(Slot),
    Other,
}

impl Place {
    fn inside(self, name: &str) -> Self {
        match (self, name) {
            (Self::Root, "Event") => Self::Event,
            (Self::Event, "System") => Self::System,
            (Self::Event, "EventData") => Self::EventData,
            (Self::System, "Provider") => Self::Leaf(Slot::Provider),
            (Self::System, "EventID") => Self::Leaf(Slot::Id),
            (Self::System, "TimeCreated") => Self::Leaf(Slot::Created),
            (Self::System, "Channel") => Self::Leaf(Slot::Channel),
            (Self::System, "Computer") => Self::Leaf(Slot::Host),
            (Self::EventData, "Data") => Self::Data,
            _ => Self::Other,
        }
    }

    fn attribute(self, name: &str) -> Option<Slot> {
        match (self, name) {
            (Self::Leaf(Slot::Provider), "Name") => Some(Slot::Provider),
            (Self::Leaf(Slot::Created), "SystemTime") => Some(Slot::Created),
            (Self::Data, "Name") => Some(Slot::DataName),
            _ => None,
        }
    }

    const fn text(self) -> Option<Slot> {
        match self {
            // These say it in an attribute.
            Self::Leaf(Slot::Provider | Slot::Created) => None,
            Self::Leaf(slot) => Some(slot),
            Self::Data => Some(Slot::DataText),
            _ => None,
        }
    }
}

/// One value of a template, as a place in the chunk.
#[derive(Clone, Debug)]
struct Value {
    kind: u8,
    bytes: Range<usize>,
}

/// Walks records. Holds nothing of the last one but room.
#[derive(Clone, Debug, Default)]
pub(super) struct Walk {
    /// Values of the templates that the walk is in, the innermost last.
    values: Vec<Value>,
    work: u32,
}

/// A fragment: a run of tokens up to its end.
#[derive(Clone, Debug)]
struct Fragment {
    at: usize,
    end: usize,
    /// Whether it is a template's definition.
    template: bool,
    /// Where its values begin.
    values: usize,
    nesting: u8,
}

impl Walk {
    /// Begins a chunk.
    pub(super) const fn begin(&mut self) {
        self.work = 0;
    }

    fn charge(&mut self, work: usize) -> Result<(), Stop> {
        self.work = self.work.saturating_add(u32::try_from(work).unwrap_or(u32::MAX));
        if self.work > MAX_WORK { Err(Stop::Damaged) } else { Ok(()) }
    }

    /// Appends a value to what is being read.
    fn write(&mut self, slot: Option<Slot>, kind: u8, bytes: &[u8], texts: &mut Texts) -> Result<(), Stop> {
        let Some(slot) = slot else { return Ok(()) };
        self.charge(bytes.len() / 32)?;
        write(slot, kind, bytes, texts);
        if texts.full() { Err(Stop::Damaged) } else { Ok(()) }
    }

    /// Reads the record whose binary XML is `range` of the chunk.
    pub(super) fn event(&mut self, chunk: &[u8], range: Range<usize>, texts: &mut Texts) -> Read {
        texts.clear();
        self.values.clear();
        let fragment = Fragment { at: range.start, end: range.end, template: false, values: 0, nesting: 0 };
        match self.fragment(chunk, fragment, Place::Root, texts) {
            Ok(()) => Read::Whole,
            Err(Stop::Unwanted) => Read::Unwanted,
            Err(Stop::Damaged) => Read::Damaged,
        }
    }

    fn fragment(&mut self, chunk: &[u8], f: Fragment, outer: Place, texts: &mut Texts) -> Result<(), Stop> {
        if f.nesting > MAX_NESTING {
            return Err(Stop::Damaged);
        }
        let mut bytes = Bytes { chunk, at: f.at, end: f.end.min(chunk.len()) };
        let mut places: ArrayVec<Place, MAX_DEPTH> = ArrayVec::new();
        let mut attribute: Option<Slot> = None;
        let mut in_attributes = false;
        while bytes.at < bytes.end {
            self.charge(1)?;
            let place = places.last().copied().unwrap_or(outer);
            let goal = if in_attributes { attribute } else { place.text() };
            match bytes.u8()? {
                // End of the fragment.
                0x00 => break,
                // Element start, with and without attributes.
                token @ (0x01 | 0x41) => {
                    if f.template {
                        bytes.take(2)?;
                    }
                    bytes.take(4)?;
                    let name = bytes.name()?;
                    if token & 0x40 != 0 {
                        bytes.take(4)?;
                    }
                    places.try_push(place.inside(&name)).map_err(|_| Stop::Damaged)?;
                    (in_attributes, attribute) = (true, None);
                }
                // End of a start tag.
                0x02 => (in_attributes, attribute) = (false, None),
                // End of an element, empty or not.
                0x03 | 0x04 => {
                    (in_attributes, attribute) = (false, None);
                    leave(places.pop().ok_or(Stop::Damaged)?, texts)?;
                }
                0x05 | 0x45 => {
                    let kind = bytes.u8()?;
                    let length = match kind {
                        STRING => usize::from(bytes.u16()?) * 2,
                        ANSI => usize::from(bytes.u16()?),
                        kind => fixed_len(kind).ok_or(Stop::Damaged)?,
                    };
                    let range = bytes.take(length)?;
                    self.write(goal, kind, chunk.get(range).unwrap_or_default(), texts)?;
                }
                0x06 | 0x46 => {
                    let name = bytes.name()?;
                    attribute = place.attribute(&name);
                }
                // CDATA.
                0x07 | 0x47 => {
                    let length = usize::from(bytes.u16()?) * 2;
                    let range = bytes.take(length)?;
                    self.write(goal, STRING, chunk.get(range).unwrap_or_default(), texts)?;
                }
                // Character reference.
                0x08 | 0x48 => {
                    let range = bytes.take(2)?;
                    self.write(goal, STRING, chunk.get(range).unwrap_or_default(), texts)?;
                }
                // Entity reference.
                0x09 | 0x49 => {
                    let name = bytes.name()?;
                    let unit = match &*name {
                        "amp" => "&",
                        "lt" => "<",
                        "gt" => ">",
                        "quot" => "\"",
                        "apos" => "'",
                        _ => "",
                    };
                    if let Some(slot) = goal {
                        texts.add(slot, "", |out| out.push_str(unit));
                    }
                }
                // Processing instruction: target, data.
                0x0a => {
                    bytes.name()?;
                }
                0x0b => {
                    let length = usize::from(bytes.u16()?) * 2;
                    bytes.take(length)?;
                }
                0x0c => self.template(chunk, &mut bytes, &f, place, texts)?,
                0x0d | 0x0e => {
                    let index = usize::from(bytes.u16()?);
                    bytes.take(1)?;
                    let value = self.values.get(f.values + index).cloned();
                    // A value that is not there is as if it were null.
                    let Some(value) = value else { continue };
                    if value.kind == BINXML {
                        let Range { start: at, end } = value.bytes;
                        let inner = Fragment { at, end, template: false, values: 0, nesting: f.nesting + 1 };
                        self.fragment(chunk, inner, place, texts)?;
                    } else {
                        self.write(goal, value.kind, chunk.get(value.bytes).unwrap_or_default(), texts)?;
                    }
                }
                // Fragment header: version and flags.
                0x0f => {
                    bytes.take(3)?;
                }
                _ => return Err(Stop::Damaged),
            }
        }
        // What is still open when a fragment ends was cut off.
        if places.is_empty() { Ok(()) } else { Err(Stop::Damaged) }
    }

    /// An instance of a template: where its definition is, and the values.
    fn template(
        &mut self,
        chunk: &[u8],
        bytes: &mut Bytes<'_>,
        outer: &Fragment,
        place: Place,
        texts: &mut Texts,
    ) -> Result<(), Stop> {
        /// Bytes of a definition's header: offset of the next, GUID, length.
        const HEADER: usize = 24;
        bytes.take(1 + 4)?;
        let definition = bytes.offset()?;
        let header = definition.checked_add(HEADER).ok_or(Stop::Damaged)?;
        let mut length = Bytes { chunk, at: header - 4, end: chunk.len() };
        let length = length.offset()?;
        let end = header.checked_add(length).filter(|&end| end <= chunk.len()).ok_or(Stop::Damaged)?;
        if definition == bytes.at {
            // It stands here, where it is used first.
            bytes.take(HEADER + length)?;
        }
        let count = bytes.u32()?;
        if count > MAX_VALUES {
            return Err(Stop::Damaged);
        }
        let first = self.values.len();
        let mut kinds = Bytes { chunk, at: bytes.at, end: bytes.end };
        for _ in 0..count {
            bytes.take(4)?;
        }
        for _ in 0..count {
            let length = usize::from(kinds.u16()?);
            let kind = kinds.u8()?;
            kinds.take(1)?;
            self.values.push(Value { kind, bytes: bytes.take(length)? });
        }
        let inner = Fragment { at: header, end, template: true, values: first, nesting: outer.nesting + 1 };
        let read = self.fragment(chunk, inner, place, texts);
        self.values.truncate(first);
        read
    }
}

/// An element ends.
fn leave(place: Place, texts: &mut Texts) -> Result<(), Stop> {
    match place {
        Place::Leaf(Slot::Id) if !wanted(texts.get(Slot::Id)) => Err(Stop::Unwanted),
        Place::Data => {
            texts.file_data();
            Ok(())
        }
        _ => Ok(()),
    }
}

// Types of values, [MS-EVEN6] 2.2.12 and 2.2.18.
const STRING: u8 = 0x01;
const ANSI: u8 = 0x02;
const BINXML: u8 = 0x21;

/// Bytes of a value whose type says how long it is.
const fn fixed_len(kind: u8) -> Option<usize> {
    Some(match kind {
        0x00 => 0,
        0x03 | 0x04 => 1,
        0x05 | 0x06 => 2,
        0x07 | 0x08 | 0x0b | 0x0d | 0x14 => 4,
        0x09 | 0x0a | 0x0c | 0x11 | 0x15 => 8,
        0x0f | 0x12 => 16,
        _ => return None,
    })
}

/// Appends a value as a text. Types that no wanted field has are left out.
fn write(slot: Slot, kind: u8, bytes: &[u8], texts: &mut Texts) {
    let number = || {
        let mut all = [0; 8];
        all.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(u64::from_le_bytes(all))
    };
    let signed = |number: u64| {
        let unused_bits = 64u32.saturating_sub(u32::try_from(bytes.len()).unwrap_or(8) * 8);
        number.cast_signed().checked_shl(unused_bits).unwrap_or(0) >> unused_bits.min(63)
    };
    match kind {
        STRING => texts.add(slot, "", |out| utf16(bytes, out)),
        ANSI => texts.add(slot, "", |out| {
            let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
            for chunk in text.utf8_chunks() {
                out.push_str(chunk.valid());
            }
        }),
        0x03 | 0x05 | 0x07 | 0x09 => {
            if let Some(number) = number() {
                texts.add(slot, "", |out| {
                    let _ = write!(out, "{}", signed(number));
                });
            }
        }
        0x04 | 0x06 | 0x08 | 0x0a => {
            if let Some(number) = number() {
                texts.add(slot, "", |out| {
                    let _ = write!(out, "{number}");
                });
            }
        }
        0x0d => texts.add(slot, "", |out| {
            out.push_str(if bytes.iter().any(|&byte| byte != 0) { "true" } else { "false" });
        }),
        0x0f => {
            if let Ok(guid) = <&[u8; 16]>::try_from(bytes) {
                texts.add(slot, "", |out| write_guid(*guid, out));
            }
        }
        // Sizes and pointers, and numbers that are to be shown in hexadecimal.
        0x10 | 0x14 | 0x15 => {
            if let Some(number) = number() {
                texts.add(slot, "", |out| {
                    let _ = write!(out, "{number:#x}");
                });
            }
        }
        0x11 => {
            if let Some(number) = number() {
                texts.add(slot, "", |out| Texts::put_filetime(out, number));
            }
        }
        0x12 => texts.add(slot, "", |out| system_time(bytes, out)),
        _ => {}
    }
}

/// UTF-16 up to its first null; halves of surrogate pairs become replacement characters.
fn utf16(bytes: &[u8], out: &mut String) {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|&pair| u16::from_le_bytes(pair)).take_while(|&unit| unit != 0);
    out.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
}

/// `{297bc33e-65d0-5f2d-8207-000000000400}`
fn write_guid([a, b, c, d, e, f, g, h, rest @ ..]: [u8; 16], out: &mut String) {
    let first = u32::from_le_bytes([a, b, c, d]);
    let (second, third) = (u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
    let _ = write!(out, "{{{first:08x}-{second:04x}-{third:04x}-");
    for (nth, byte) in rest.iter().enumerate() {
        let _ = write!(out, "{}{byte:02x}", if nth == 2 { "-" } else { "" });
    }
    out.push('}');
}

/// SYSTEMTIME: eight words, of which the third is the day of the week.
fn system_time(bytes: &[u8], out: &mut String) {
    let (words, _) = bytes.as_chunks::<2>();
    let mut words = words.iter().map(|&word| u16::from_le_bytes(word));
    let mut word = || words.next().unwrap_or(0);
    let (year, month, _, day) = (word(), word(), word(), word());
    let (hour, minute, second, milli) = (word(), word(), word(), word());
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z");
}

/// Reads forward in a chunk, up to an end. Names and definitions lie elsewhere in it.
struct Bytes<'c> {
    chunk: &'c [u8],
    at: usize,
    end: usize,
}

impl Bytes<'_> {
    fn take(&mut self, length: usize) -> Result<Range<usize>, Stop> {
        let to = self.at.checked_add(length).filter(|&to| to <= self.end).ok_or(Stop::Damaged)?;
        let range = self.at..to;
        self.at = to;
        Ok(range)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let range = self.take(N)?;
        self.chunk.get(range).and_then(|bytes| bytes.try_into().ok()).ok_or(Stop::Damaged)
    }

    fn u8(&mut self) -> Result<u8, Stop> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Stop> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_le_bytes)
    }

    /// A place in the chunk, or a length.
    fn offset(&mut self) -> Result<usize, Stop> {
        usize::try_from(self.u32()?).map_err(|_| Stop::Damaged)
    }

    /// A name, by its place; it stands here where it is used first. One that is longer than any that means something, or
    /// no ASCII, comes back empty.
    fn name(&mut self) -> Result<ArrayString<MAX_NAME>, Stop> {
        /// Offset of the next name, and a hash.
        const LINK: usize = 6;
        let place = self.offset()?;
        let mut name = Bytes { chunk: self.chunk, at: place, end: self.chunk.len() };
        name.take(LINK)?;
        let length = usize::from(name.u16()?) * 2;
        let units = name.take(length)?;
        if place == self.at {
            // With its null.
            self.take(LINK + 2 + length + 2)?;
        }
        let mut text = ArrayString::new();
        let (pairs, _) = self.chunk.get(units).unwrap_or_default().as_chunks::<2>();
        for &[byte, high] in pairs {
            if high != 0 || !byte.is_ascii() || text.try_push(char::from(byte)).is_err() {
                return Ok(ArrayString::new());
            }
        }
        Ok(text)
    }
}

//! One chunk of an EVTX file: records, names and templates, each written where it is used first.
#![expect(clippy::indexing_slicing, reason = "builds test data from test data; a panic is a failing test")]

use std::collections::HashMap;

use super::{Event, utf16};

/// Bytes of a chunk.
const CHUNK: usize = 64 << 10;
/// Bytes of a chunk's header and tables.
const CHUNK_HEADER: usize = 512;
const NAME_TABLE: usize = 128;
const TEMPLATE_TABLE: usize = 384;
pub(super) const STRING: u8 = 0x01;

/// 100 ns since 1601.
pub(super) fn filetime(nanos: i64) -> u64 {
    u64::try_from(nanos / 100 + 116_444_736_000_000_000).unwrap_or(0)
}

pub(super) fn crc32(parts: &[&[u8]]) -> u32 {
    let mut sum = flate2::Crc::new();
    for part in parts {
        sum.update(part);
    }
    sum.sum()
}

#[derive(Clone, Debug)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    first: u64,
    last_record: u32,
    names: HashMap<String, u32>,
    templates: HashMap<String, u32>,
}

impl Chunk {
    pub(super) fn new(first: u64) -> Self {
        Self {
            bytes: vec![0; CHUNK_HEADER],
            first,
            last_record: 0,
            names: HashMap::new(),
            templates: HashMap::new(),
        }
    }

    fn here(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("a chunk is small")
    }

    fn patch(&mut self, at: u32, number: u32) {
        let at = at as usize;
        self.bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.bytes.extend(number.to_le_bytes());
    }

    /// Leaves room for a length, and says where.
    fn room(&mut self) -> u32 {
        let at = self.here();
        self.u32(0);
        at
    }

    /// Fills it with how much was written since.
    fn fill(&mut self, room: u32) {
        self.patch(room, self.here() - room - 4);
    }

    /// False if it does not fit: the chunk is spoilt then.
    pub(super) fn record(&mut self, number: u64, time: u64, body: &impl Fn(&mut Self, u64)) -> bool {
        let start = self.here();
        self.u32(0x2a2a);
        let length = self.room();
        self.bytes.extend(number.to_le_bytes());
        self.bytes.extend(time.to_le_bytes());
        body(self, number);
        // Records begin at multiples of eight.
        while !(self.here() - start + 4).is_multiple_of(8) {
            self.bytes.push(0);
        }
        let all = self.here() - start + 4;
        self.u32(all);
        self.patch(length, all);
        self.last_record = start;
        self.bytes.len() <= CHUNK
    }

    pub(super) fn finish(mut self, last: u64) -> Vec<u8> {
        let free = self.here();
        let records = crc32(&[self.bytes.get(CHUNK_HEADER..).unwrap_or_default()]);
        let mut head = b"ElfChnk\0".to_vec();
        for number in [self.first, last, self.first, last] {
            head.extend(number.to_le_bytes());
        }
        for number in [128, self.last_record, free, records] {
            head.extend(number.to_le_bytes());
        }
        self.bytes[..head.len()].copy_from_slice(&head);
        let sum = crc32(&[&self.bytes[..120], &self.bytes[128..512]]);
        self.patch(124, sum);
        self.bytes.resize(CHUNK, 0);
        self.bytes
    }

    /// A name: where it stands, and there itself if it is new.
    fn name(&mut self, name: &str) {
        if let Some(&at) = self.names.get(name) {
            self.u32(at);
            return;
        }
        let at = self.here() + 4;
        self.u32(at);
        let hash = name
            .encode_utf16()
            .fold(0u32, |hash, unit| hash.wrapping_mul(65_599).wrapping_add(u32::from(unit)))
            & 0xffff;
        let bucket = NAME_TABLE + (hash as usize % 64) * 4;
        let next = self.table(bucket, at);
        self.u32(next);
        self.bytes.extend(hash.to_le_bytes()[..2].iter());
        self.counted(name);
        self.bytes.extend([0, 0]);
        self.names.insert(name.to_owned(), at);
    }

    /// Puts a place into a table of the header; answers with what was there.
    fn table(&mut self, bucket: usize, at: u32) -> u32 {
        let place = &mut self.bytes[bucket..bucket + 4];
        let next = u32::from_le_bytes(place.try_into().expect("four bytes"));
        place.copy_from_slice(&at.to_le_bytes());
        next
    }

    fn counted(&mut self, text: &str) {
        let text = utf16(text);
        self.bytes.extend(u16::try_from(text.len() / 2).expect("a short text").to_le_bytes());
        self.bytes.extend(text);
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend([0x05, STRING]);
        self.counted(text);
    }

    fn substitution(&mut self, index: u16, kind: u8) {
        self.bytes.push(0x0e);
        self.bytes.extend(index.to_le_bytes());
        self.bytes.push(kind);
    }

    /// An element. `template` gives it a dependency identifier.
    fn element(
        &mut self,
        template: bool,
        name: &str,
        attributes: &[(&str, Content<'_>)],
        content: Option<&dyn Fn(&mut Self)>,
    ) {
        self.bytes.push(if attributes.is_empty() { 0x01 } else { 0x41 });
        if template {
            self.bytes.extend([0xff, 0xff]);
        }
        let length = self.room();
        self.name(name);
        if !attributes.is_empty() {
            let list = self.room();
            for (nth, (name, value)) in attributes.iter().enumerate() {
                self.bytes.push(if nth + 1 == attributes.len() { 0x06 } else { 0x46 });
                self.name(name);
                self.content(*value);
            }
            self.fill(list);
        }
        match content {
            None => self.bytes.push(0x03),
            Some(content) => {
                self.bytes.push(0x02);
                content(self);
                self.bytes.push(0x04);
            }
        }
        self.fill(length);
    }

    fn content(&mut self, content: Content<'_>) {
        match content {
            Content::Text(text) => self.text(text),
            Content::Value(index, kind) => self.substitution(index, kind),
        }
    }

    fn fragment(&mut self, content: impl Fn(&mut Self)) {
        self.bytes.extend([0x0f, 1, 1, 0]);
        content(self);
        self.bytes.push(0);
    }

    /// Everything but the event's own data.
    fn envelope(&mut self, template: bool, event: &Event<'_>, parts: &Parts<'_>, data: &dyn Fn(&mut Self)) {
        const NAMESPACE: &str = "http://schemas.microsoft.com/win/2004/08/events/event";
        self.element(
            template,
            "Event",
            &[("xmlns", Content::Text(NAMESPACE))],
            Some(&|chunk| {
                chunk.element(
                    template,
                    "System",
                    &[],
                    Some(&|chunk| {
                        let one = |chunk: &mut Self, name: &str, content: Content<'_>| {
                            chunk.element(template, name, &[], Some(&|chunk| chunk.content(content)));
                        };
                        chunk.element(template, "Provider", &[("Name", Content::Text(event.provider))], None);
                        one(chunk, "EventID", parts.id);
                        one(chunk, "Level", parts.level);
                        chunk.element(template, "TimeCreated", &[("SystemTime", parts.time)], None);
                        one(chunk, "EventRecordID", parts.number);
                        chunk.element(template, "Correlation", &[], None);
                        chunk.element(template, "Execution", &[("ProcessID", parts.writer)], None);
                        one(chunk, "Channel", Content::Text(event.channel));
                        one(chunk, "Computer", Content::Text(event.computer));
                    }),
                );
                data(chunk);
            }),
        );
    }

    pub(super) fn plain(&mut self, event: &Event<'_>, number: u64) {
        let (id, number) = (event.id.to_string(), number.to_string());
        let nanos = u32::try_from(event.nanos.rem_euclid(1_000_000_000)).unwrap_or(0) / 100;
        let time = sonde_common::time::Timestamp::from_nanos(event.nanos).to_string();
        let time = format!("{}.{nanos:07}Z", time.get(..19).unwrap_or_default());
        let parts = Parts {
            id: Content::Text(&id),
            level: Content::Text("4"),
            time: Content::Text(&time),
            number: Content::Text(&number),
            writer: Content::Text("3284"),
        };
        self.fragment(|chunk| {
            chunk.envelope(false, event, &parts, &|chunk| {
                chunk.element(
                    false,
                    "EventData",
                    &[],
                    Some(&|chunk| {
                        for (name, value) in event.data {
                            let text = value.text();
                            let content = |chunk: &mut Self| chunk.text(&text);
                            chunk.element(false, "Data", &[("Name", Content::Text(name))], Some(&content));
                        }
                    }),
                );
            });
        });
    }

    pub(super) fn templated(&mut self, event: &Event<'_>, number: u64) {
        let parts = Parts {
            id: Content::Value(3, 0x06),
            level: Content::Value(0, 0x04),
            time: Content::Value(6, 0x11),
            number: Content::Value(10, 0x0a),
            writer: Content::Value(8, 0x08),
        };
        let key = format!("{}/{}/{}", event.provider, event.channel, event.computer);
        self.fragment(|chunk| {
            chunk.instance(&key, &|chunk| {
                chunk.envelope(true, event, &parts, &|chunk| chunk.substitution(DATA, 0x21));
            });
            // Places as in the templates of Windows' own providers.
            const DATA: u16 = 12;
            let mut values: Vec<(u8, Vec<u8>)> = vec![(0, Vec::new()); usize::from(DATA)];
            values[0] = (0x04, vec![4]);
            values[3] = (0x06, event.id.to_le_bytes().to_vec());
            values[6] = (0x11, filetime(event.nanos).to_le_bytes().to_vec());
            values[8] = (0x08, 3284u32.to_le_bytes().to_vec());
            values[10] = (0x0a, number.to_le_bytes().to_vec());
            chunk.u32(u32::from(DATA) + 1);
            for (kind, bytes) in &values {
                chunk.descriptor(*kind, bytes.len());
            }
            let data = chunk.here();
            chunk.descriptor(0x21, 0);
            for (_, bytes) in &values {
                chunk.bytes.extend(bytes);
            }
            let start = chunk.here();
            chunk.data(event);
            let length = u16::try_from(chunk.here() - start).expect("a short event").to_le_bytes();
            chunk.bytes[data as usize..data as usize + 2].copy_from_slice(&length);
        });
    }

    fn descriptor(&mut self, kind: u8, length: usize) {
        self.bytes.extend(u16::try_from(length).expect("a short value").to_le_bytes());
        self.bytes.extend([kind, 0]);
    }

    /// The event's own data: a fragment with a template of its own.
    fn data(&mut self, event: &Event<'_>) {
        let names: Vec<_> = event.data.iter().map(|(name, _)| *name).collect();
        self.fragment(|chunk| {
            chunk.instance(&names.join(","), &|chunk| {
                chunk.element(
                    true,
                    "EventData",
                    &[],
                    Some(&|chunk| {
                        for (index, (name, value)) in (0u16..).zip(event.data) {
                            let content = |chunk: &mut Self| chunk.substitution(index, value.kind());
                            chunk.element(true, "Data", &[("Name", Content::Text(name))], Some(&content));
                        }
                    }),
                );
            });
            chunk.u32(u32::try_from(event.data.len()).expect("few fields"));
            for (_, value) in event.data {
                chunk.descriptor(value.kind(), value.bytes().len());
            }
            for (_, value) in event.data {
                chunk.bytes.extend(value.bytes());
            }
        });
    }

    /// The head of a template instance, with the definition where it is used first.
    fn instance(&mut self, key: &str, definition: &dyn Fn(&mut Self)) {
        let id = crc32(&[key.as_bytes()]);
        self.bytes.extend([0x0c, 1]);
        self.u32(id);
        if let Some(&at) = self.templates.get(key) {
            self.u32(at);
            return;
        }
        let at = self.here() + 4;
        self.u32(at);
        let next = self.table(TEMPLATE_TABLE + (id as usize % 32) * 4, at);
        self.u32(next);
        // A GUID whose first part is the identifier.
        self.u32(id);
        self.bytes.extend([0; 12]);
        let length = self.room();
        self.fragment(|chunk| definition(chunk));
        self.fill(length);
        self.templates.insert(key.to_owned(), at);
    }
}

/// What stands in an element or attribute.
#[derive(Clone, Copy, Debug)]
enum Content<'a> {
    Text(&'a str),
    /// Index and type of a template's value.
    Value(u16, u8),
}

/// What differs between the two forms.
#[derive(Clone, Copy, Debug)]
struct Parts<'a> {
    id: Content<'a>,
    level: Content<'a>,
    time: Content<'a>,
    number: Content<'a>,
    writer: Content<'a>,
}

//! Any bytes as a file of any log format, the whole way: cut into records in pieces of any size, read, sorted, assembled,
//! through the engines of a few hosts within 1 MiB.
#![no_main]

use sonde_common::assemble::Assembler;
use sonde_common::engine::Engines;
use sonde_common::format::log::{LogFormat, LogParser};
use sonde_common::format::row::{Row, RowError, RowSink};
use sonde_common::format::split::Splitter;

const MEMORY: usize = 1 << 20;

#[derive(Default)]
struct Rows {
    rows: Vec<Vec<u8>>,
}

impl RowSink for Rows {
    fn row(&mut self, row: &Row<'_>) {
        self.rows.push(row.encode(Vec::new()));
    }

    fn bad(&mut self, error: RowError) {
        assert!(error.to_string().len() < 2_500, "{error}");
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&[format, piece], text)) = data.split_first_chunk() else { return };
    let format = LogFormat::ALL[usize::from(format) % LogFormat::ALL.len()];
    let records = |piece: usize| {
        let mut splitter = Splitter::new(format.framing(text));
        let (mut found, mut start, mut given) = (Vec::new(), 0, 0);
        while given < text.len() {
            given = text.len().min(given + piece);
            let mut ranges = Vec::new();
            let used = splitter.split(&text[start..given], given == text.len(), &mut ranges);
            found.extend(
                ranges.into_iter().map(|(line, range)| (line, start + range.start..start + range.end)),
            );
            start += used;
        }
        found
    };
    let whole = records(text.len().max(1));
    assert_eq!(records(usize::from(piece) * 16 + 1), whole, "pieces make no difference");
    let (mut parser, mut ahead, mut sink) = (LogParser::new(format), LogParser::new(format), Rows::default());
    for (_, range) in &whole {
        ahead.pass(&text[range.clone()]);
        parser.record(&text[range.clone()], &mut sink);
    }
    let mut rows: Vec<Row<'_>> = sink.rows.iter().map(|bytes| Row::decode(bytes).expect("a row")).collect();
    rows.sort_by_key(|row| row.time);
    let (mut assembler, mut engines) = (Assembler::new(MEMORY / 4), Engines::with_memory(MEMORY, (1, 2)));
    for row in &rows {
        assembler.take(row, &mut |observation| {
            assert_eq!(observation.time, row.time);
            engines.observe(observation, &mut |_| {});
        });
    }
    for alert in engines.series() {
        assert!(alert.score.is_finite() && alert.host.chars().all(sonde_common::text::is_plain));
    }
});

//! Prints how often each layer of the live sensor names the right process, as Markdown: `scripts/accuracy` runs it.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use sonde_tests::emulate::accuracy::{Kind, Score, matrix};
use sonde_tests::emulate::caller::{Close, Means};
use sonde_tests::emulate::measure::{Cell, Tools, measure};

/// Measures attribution (needs root).
#[derive(Debug, Parser)]
#[command(name = "sonde-accuracy", version)]
struct Arguments {
    /// Layers to measure
    #[arg(long, value_delimiter = ',', default_value = "ebpf,netlink,poll")]
    layers: Vec<String>,
    /// Lives in milliseconds
    #[arg(long, value_delimiter = ',', default_value = "0,1,5,20,50,200,1000")]
    lives: Vec<u64>,
    /// Lives of each kind
    #[arg(long, default_value_t = 100)]
    count: u32,
    /// Lives begun a second
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// The program under test
    #[arg(long)]
    sonde: PathBuf,
    /// Leaves out the harder conditions
    #[arg(long)]
    plain: bool,
    /// Measures only TCP over IPv4, closed in order
    #[arg(long)]
    short: bool,
    /// Folder to keep events, truth and logs in, by layer
    #[arg(long)]
    keep: Option<PathBuf>,
}

const KINDS: [(bool, u8, Close); 14] = [
    (true, 4, Close::Graceful),
    (true, 4, Close::Reset),
    (true, 4, Close::Refused),
    (true, 4, Close::BlackHole),
    (true, 6, Close::Graceful),
    (true, 6, Close::Reset),
    (true, 6, Close::Refused),
    (true, 6, Close::BlackHole),
    (false, 4, Close::Graceful),
    (false, 4, Close::Refused),
    (false, 4, Close::BlackHole),
    (false, 6, Close::Graceful),
    (false, 6, Close::Refused),
    (false, 6, Close::BlackHole),
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let emulator = std::env::current_exe()?.with_file_name("sonde-emulate");
    let tools = Tools { sonde: arguments.sonde.clone(), emulator };
    let mut cells = Vec::new();
    for life_ms in &arguments.lives {
        for (tcp, family, close) in KINDS.iter().take(if arguments.short { 1 } else { KINDS.len() }) {
            let kind =
                Kind { tcp: *tcp, family: *family, close: *close, means: Means::Plain, life_ms: *life_ms };
            let Arguments { count, rate, .. } = arguments;
            cells.push(Cell { kind, count, rate, idle: 0, pids: 0, apart: false });
        }
    }
    let plain = cells.len();
    let mut names = Vec::new();
    if !arguments.plain {
        for (name, cell) in conditions(arguments.count, arguments.rate) {
            names.push(name);
            cells.push(cell);
        }
    }
    let mut out = io::stdout().lock();
    let mut harder: Vec<(String, Vec<Score>)> = Vec::new();
    for layer in &arguments.layers {
        let temporary = tempfile::tempdir()?;
        let folder =
            arguments.keep.as_ref().map_or_else(|| temporary.path().to_owned(), |keep| keep.join(layer));
        fs::create_dir_all(&folder)?;
        let measured = measure(&tools, &folder, &["--attribution", layer], &cells)
            .with_context(|| format!("measuring the layer {layer}"))?;
        fs::write(folder.join("log"), measured.log.join("\n"))?;
        let scores = measured.scores.get(..plain).unwrap_or_default();
        let by_kind = cells.iter().map(|cell| cell.kind).zip(scores.iter().copied()).collect();
        writeln!(out, "### Layer `{layer}`\n\n{}", matrix(&by_kind))?;
        out.flush()?;
        harder.push((layer.clone(), measured.scores.get(plain..).unwrap_or_default().to_vec()));
    }
    if names.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "### Harder conditions\n\nowner right / wrong / none, executable right, in % of the lives\n"
    )?;
    let layers: Vec<&str> = harder.iter().map(|(layer, _)| layer.as_str()).collect();
    writeln!(out, "| condition | {} |\n|---{}|", layers.join(" | "), "|--:".repeat(layers.len()))?;
    for (number, name) in names.iter().enumerate() {
        let cells: Vec<String> = harder
            .iter()
            .map(|(_, scores)| {
                scores.get(number).map_or_else(String::new, |score| {
                    let none = score.lives - score.right - score.wrong;
                    let percent = |count| score.percent(count);
                    let shares =
                        [percent(score.right), percent(score.wrong), percent(none), percent(score.program)];
                    let [right, wrong, none, program] = shares.map(|share| format!("{share:.1}"));
                    format!("{right} / {wrong} / {none}, {program} (n = {})", score.lives)
                })
            })
            .collect();
        writeln!(out, "| {name} | {} |", cells.join(" | "))?;
    }
    Ok(())
}

/// What is harder than a plain life.
fn conditions(count: u32, rate: f64) -> Vec<(String, Cell)> {
    let kind = Kind { tcp: true, family: 4, close: Close::Graceful, means: Means::Plain, life_ms: 0 };
    let cell = Cell { kind, count, rate, idle: 0, pids: 0, apart: false };
    let life = |life_ms| Cell { kind: Kind { life_ms, ..kind }, ..cell };
    let by = |means| Cell { kind: Kind { means, life_ms: 5, ..kind }, ..cell };
    let mut all = Vec::new();
    for life_ms in [0, 5, 50] {
        all.push((format!("3,000 idle processes, {life_ms} ms"), Cell { idle: 3_000, ..life(life_ms) }));
    }
    let storm = Cell { pids: 16, rate: 400.0, count: count * 4, ..life(0) };
    all.push(("16 process ids reused, 0 ms".to_owned(), storm));
    all.push((
        "16 process ids reused, 5 ms".to_owned(),
        Cell { pids: 16, rate: 200.0, count: count * 4, ..life(5) },
    ));
    all.push(("500 lives a second, 0 ms".to_owned(), Cell { rate: 500.0, count: count * 4, ..life(0) }));
    all.push(("from another network namespace, 5 ms".to_owned(), Cell { apart: true, ..life(5) }));
    all.push(("through io_uring, 5 ms".to_owned(), by(Means::Uring)));
    all.push(("socket inherited, 5 ms".to_owned(), by(Means::Inherited)));
    all.push(("socket passed, 5 ms".to_owned(), by(Means::Passed)));
    all
}

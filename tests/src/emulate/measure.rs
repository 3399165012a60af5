//! Measures one layer of the sensor: makes the labs, lets the lives live, and gives back what came of them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::accuracy::{Kind, Score, Sight, boot_time};
use super::caller::{Close, Life, Means};
use super::lifetime;
use super::sensor::Sensor;
use crate::netns::{Caller, Lab};

/// Port of the server; the one above it is closed.
const PORT: u16 = 4433;

/// The programs that take part.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The sensor.
    pub sonde: PathBuf,
    /// The emulator.
    pub emulator: PathBuf,
}

/// Lives of one kind, under one condition.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// What they do.
    pub kind: Kind,
    /// How many.
    pub count: u32,
    /// How many a second.
    pub rate: f64,
    /// Processes that only sit there.
    pub idle: u32,
    /// Process ids to reuse; 0: none.
    pub pids: u32,
    /// From a network namespace of their own.
    pub apart: bool,
}

/// What one layer made of the cells.
#[derive(Debug)]
pub struct Measured {
    /// One for each cell, in their order.
    pub scores: Vec<Score>,
    /// What the sensor said at its start, for the record.
    pub log: Vec<String>,
    /// How it ended.
    pub exit: Option<std::process::ExitStatus>,
}

impl Measured {
    /// The cells that `wanted` wants, by kind.
    #[must_use]
    pub fn by_kind(&self, cells: &[Cell], wanted: impl Fn(&Cell) -> bool) -> BTreeMap<Kind, Score> {
        let mut by_kind: BTreeMap<Kind, Score> = BTreeMap::new();
        for (cell, score) in cells.iter().zip(&self.scores).filter(|(cell, _)| wanted(cell)) {
            by_kind.entry(cell.kind).or_default().add(*score);
        }
        by_kind
    }
}

/// A lab with its server.
struct Stage {
    lab: Lab,
    server: Child,
}

impl Stage {
    fn new(tools: &Tools, caller: Caller) -> io::Result<Self> {
        let lab = Lab::new(caller)?;
        let mut command = lab.at_server(&tools.emulator);
        command.arg("serve");
        for family in [4, 6] {
            let address = SocketAddr::new(lab.server(family), PORT);
            command.args([format!("mute:{address}"), format!("udp:{address}")]);
        }
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = server.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
        // Its first line says that every port is bound.
        if BufReader::new(stdout).read_line(&mut String::new())? == 0 {
            return Err(io::Error::other("the server did not start"));
        }
        Ok(Self { lab, server })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        let _ = self.server.wait();
    }
}

/// Runs the sensor with `options` and the cells one after the other in front of it.
///
/// # Errors
/// A lab that cannot be made, a sensor that does not start (with its log), lives that did not begin.
pub fn measure(tools: &Tools, folder: &Path, options: &[&str], cells: &[Cell]) -> io::Result<Measured> {
    let here = Stage::new(tools, Caller::Here)?;
    let apart = cells.iter().any(|cell| cell.apart).then(|| Stage::new(tools, Caller::Apart)).transpose()?;
    let boot = boot_time();
    let mut sensor = Sensor::start(&tools.sonde, folder, options).map_err(io::Error::other)?;
    let mut truths = Vec::new();
    for (number, cell) in cells.iter().enumerate() {
        let stage = if cell.apart { apart.as_ref().unwrap_or(&here) } else { &here };
        let truth = folder.join(format!("truth-{number}"));
        fs::write(&truth, "")?;
        live(tools, stage, cell, folder, &truth)?;
        truths.push(truth);
    }
    // What is held back and what a worker still reads comes out before the end.
    thread::sleep(Duration::from_secs(3));
    let exit = sensor.stop();
    let events = fs::read_to_string(folder.join("events.ndjson"))?;
    let sight = Sight::read(events.lines());
    let mut scores = Vec::new();
    for truth in truths {
        let mut score = Score::default();
        for line in fs::read_to_string(truth)?.lines() {
            let life: Life = serde_json::from_str(line)?;
            score.add(sight.judge(&life, boot));
        }
        scores.push(score);
    }
    Ok(Measured { scores, log: sensor.log(), exit })
}

fn live(tools: &Tools, stage: &Stage, cell: &Cell, folder: &Path, truth: &Path) -> io::Result<()> {
    let Kind { tcp, family, close, means, life_ms } = cell.kind;
    let server = SocketAddr::new(stage.lab.server(family), PORT);
    let hole: IpAddr = stage.lab.black_hole(family);
    let remote = lifetime::remote(close, server, PORT + 1, hole);
    let mut command: Command = stage.lab.at_caller(&tools.emulator);
    command.arg("lifetime").arg("--to").arg(remote.to_string());
    command.args(["--transport", if tcp { "tcp" } else { "udp" }]);
    command.arg("--life").arg(life_ms.to_string());
    let named = |name: Option<&'static str>| name.unwrap_or_default();
    command
        .arg("--close")
        .arg(named(Close::ALL.iter().find(|(_, known)| *known == close).map(|(name, _)| *name)));
    command
        .arg("--means")
        .arg(named(Means::ALL.iter().find(|(_, known)| *known == means).map(|(name, _)| *name)));
    command.arg("--count").arg(cell.count.to_string()).arg("--rate").arg(cell.rate.to_string());
    command.arg("--idle").arg(cell.idle.to_string()).arg("--pids").arg(cell.pids.to_string());
    command.arg("--truth").arg(truth).arg("--folder").arg(folder);
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

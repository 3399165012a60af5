//! `sonde top`: the running sensor's series in a table that is drawn anew in place, with all that is known of the chosen one.
//!
//! Three parts: [`state`] is what keys and answers make of the view, [`draw`] makes a frame of it, and here they meet the
//! terminal and the sensor.

mod detail;
mod draw;
mod raster;
mod row;
mod state;
#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use crossterm::event::{self, Event, KeyEventKind};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use sonde_common::alert::Severity;

use self::state::{Snapshot, State, Step};
use super::failure::{Failure, written};
use super::output::{Format, Output, Style};
use super::screen::Screen;
use super::source::Sensor;
use crate::control::client::{self, ClientError};
use crate::exit::Exit;
use crate::live::command::{Answer, Request};
use crate::platform::service;

/// Time between two questions.
const REFRESH: Duration = Duration::from_secs(1);
/// A key is noticed at once, an answer or a signal within so long.
const LOOK: Duration = Duration::from_millis(100);
/// How long the view has to give the terminal back when it is told to end.
const GRACE: Duration = Duration::from_secs(1);
/// Series that are asked for: more than anyone scrolls through, and few enough for a question a second.
const MOST_ROWS: usize = 500;

/// Arguments of `sonde top`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys: q ends it, ? shows the others: arrows or j k choose a series, Enter shows what is known of it, / filters, 1 to 8 sort.
Where output is no terminal, the table is printed once.")]
pub(super) struct Arguments {
    #[command(flatten)]
    sensor: Sensor,
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        Failure::tell(self.show())
    }

    fn show(self) -> Result<Exit, Failure> {
        let path = self.sensor.path()?;
        // Whoever may not ask, or has nobody to ask, is told so before the screen is taken.
        let first = ask(&path)?;
        let style = Style::of_stdout();
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        if dumb || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            let mut out = Output::new(BufWriter::new(io::stdout()), Format::Table, style);
            return written(out.write_text(&draw::plain(&first, style)).and_then(|()| out.flush()));
        }
        watch(State::new(first, style), path)
            .map_err(|error| Failure(Exit::Output, format!("the terminal fails: {error}")))
    }
}

fn watch(mut state: State, path: PathBuf) -> io::Result<Exit> {
    let told_to_end = end_on_signal();
    let answers = keep_asking(path)?;
    let screen = Screen::take()?;
    let mut terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
    let mut redraw = true;
    while !told_to_end.load(Ordering::Relaxed) {
        if redraw {
            let mut drawn = draw::Drawn::default();
            terminal.draw(|frame| drawn = draw::draw(&state, frame))?;
            state.note(drawn);
            redraw = false;
        }
        if event::poll(LOOK)? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match state.press(key) {
                    Step::Quit => break,
                    Step::Changed => redraw = true,
                    Step::Same => {}
                },
                Event::Resize(..) => redraw = true,
                _ => {}
            }
        }
        match answers.try_recv() {
            Ok(answer) => redraw |= state.hear(answer.map_err(|error| error.to_string())),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                return Err(io::Error::other("nothing asks the sensor any more"));
            }
        }
        // A panic elsewhere has given the terminal back: it is not ours to draw on.
        if !screen.is_taken() {
            return Ok(Exit::Internal);
        }
    }
    drop(terminal);
    drop(screen);
    Ok(Exit::Done)
}

/// Asks for what is shown.
fn ask(path: &Path) -> Result<Snapshot, ClientError> {
    let status = client::ask(path, Request::Status)?;
    let beacons = client::ask(path, Request::Beacons { least: Severity::Info, most: MOST_ROWS })?;
    let (Answer::Status(health), Answer::Alerts(rows)) = (status, beacons) else {
        return Err(ClientError::Foreign {
            path: path.display().to_string(),
            what: "it does not fit the question".to_owned(),
        });
    };
    Ok(Snapshot { health, rows })
}

/// Asks every second on a thread of its own, so that keys are heard while a sensor is slow to answer; until nobody takes the
/// answers.
fn keep_asking(path: PathBuf) -> io::Result<Receiver<Result<Snapshot, ClientError>>> {
    let (answers, taken) = sync_channel(1);
    std::thread::Builder::new().name("sonde-ask".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(REFRESH);
            if answers.send(ask(&path)).is_err() {
                return;
            }
        }
    })?;
    Ok(taken)
}

/// Notices when the process is told to end, so that the terminal is given back first.
fn end_on_signal() -> Arc<AtomicBool> {
    let told = Arc::new(AtomicBool::new(false));
    let tell = told.clone();
    let listen = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            if let Ok(mut signals) = service::Signals::listen() {
                signals.next().await;
                tell.store(true, Ordering::Relaxed);
                // Of a terminal that is gone crossterm reads the end for ever, inside of its `poll`: nobody would look.
                tokio::time::sleep(GRACE).await;
                std::process::exit(Exit::Done.code().into());
            }
        });
    };
    // Without it a signal ends us as ever, with the screen as it is.
    let _ = std::thread::Builder::new().name("sonde-signals".to_owned()).spawn(listen);
    told
}

//! `sonde top`: the running sensor's series in a table that is drawn anew in place every second.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal::{self, Clear, ClearType};
use crossterm::{cursor, execute, queue};
use sonde_common::alert::{Alert, Severity};
use sonde_common::human;
use sonde_common::process::image_name;
use sonde_common::text::escape;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::failure::Failure;
use super::output::{Style, columns};
use super::source::Sensor;
use super::status;
use crate::control::client::{self, ClientError};
use crate::exit::Exit;
use crate::live::command::{Answer, Request, Rows};
use crate::live::health::Health;
use crate::platform::service;

/// Time between two questions.
const REFRESH: Duration = Duration::from_secs(1);
/// A key or signal is noticed within so long.
const LOOK: Duration = Duration::from_millis(100);
/// Lines above the table: what runs, what it saw.
const HEAD_LINES: usize = 3;

/// Arguments of `sonde top`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Keys: q or Escape ends it. The table is sorted by score.")]
pub(super) struct Arguments {
    #[command(flatten)]
    sensor: Sensor,
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        Failure::tell(self.watch())
    }

    fn watch(self) -> Result<Exit, Failure> {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            let text =
                "sonde top draws on a terminal, and this is none; `sonde beacons` prints the same once";
            return Err(Failure(Exit::Usage, text.to_owned()));
        }
        let path = self.sensor.path()?;
        // Whoever may not ask, or has nobody to ask, is told so before the screen is taken.
        let mut view = View::ask(&path, usize::from(u16::MAX))?;
        let failed = |error: io::Error| Failure(Exit::Output, format!("the terminal fails: {error}"));
        let told_to_end = end_on_signal();
        let screen = Screen::take().map_err(failed)?;
        let mut next = Instant::now() + REFRESH;
        view.draw().map_err(failed)?;
        loop {
            let redraw = match wait(next).map_err(failed)? {
                Woken::Quit => break,
                Woken::Resized => true,
                Woken::Time => {
                    next = Instant::now() + REFRESH;
                    view.refresh(&path);
                    true
                }
                Woken::Nothing => false,
            };
            if told_to_end.load(Ordering::Relaxed) {
                break;
            }
            if redraw {
                view.draw().map_err(failed)?;
            }
        }
        drop(screen);
        Ok(Exit::Done)
    }
}

enum Woken {
    Quit,
    Resized,
    Time,
    Nothing,
}

fn wait(next: Instant) -> io::Result<Woken> {
    let now = Instant::now();
    if now >= next {
        return Ok(Woken::Time);
    }
    if !event::poll(LOOK.min(next - now))? {
        return Ok(Woken::Nothing);
    }
    Ok(match event::read()? {
        Event::Resize(..) => Woken::Resized,
        Event::Key(key) if key.kind != KeyEventKind::Release => match key.code {
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => Woken::Quit,
            // In raw mode the terminal sends these as keys, and no signal.
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Woken::Quit,
            _ => Woken::Nothing,
        },
        _ => Woken::Nothing,
    })
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
            }
        });
    };
    // Without it a signal ends us as ever, with the screen as it is.
    let _ = std::thread::Builder::new().name("sonde-signals".to_owned()).spawn(listen);
    told
}

/// The terminal, taken; given back when dropped, also when something panics.
struct Screen;

impl Screen {
    fn take() -> io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        terminal::enable_raw_mode()?;
        // From here on it is given back whatever happens.
        let screen = Self;
        execute!(io::stdout(), terminal::EnterAlternateScreen, terminal::DisableLineWrap, cursor::Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    let _ = execute!(io::stdout(), cursor::Show, terminal::EnableLineWrap, terminal::LeaveAlternateScreen);
    let _ = terminal::disable_raw_mode();
}

/// What is shown.
struct View {
    health: Box<Health>,
    rows: Rows,
    /// Why it is not fresh.
    error: Option<String>,
}

impl View {
    fn ask(path: &Path, most: usize) -> Result<Self, ClientError> {
        let status = client::ask(path, Request::Status)?;
        let beacons = client::ask(path, Request::Beacons { least: Severity::Info, most })?;
        let (Answer::Status(health), Answer::Alerts(rows)) = (status, beacons) else {
            return Err(ClientError::Foreign {
                path: path.display().to_string(),
                what: "it does not fit the question".to_owned(),
            });
        };
        Ok(Self { health, rows, error: None })
    }

    /// Asks again. A sensor that is gone may come back: what was seen last stays, and that it is old is said.
    fn refresh(&mut self, path: &Path) {
        let lines = terminal::size().map_or(100, |(_, lines)| usize::from(lines));
        match Self::ask(path, lines) {
            Ok(view) => *self = view,
            Err(error) => self.error = Some(error.to_string().lines().next().unwrap_or_default().to_owned()),
        }
    }

    fn draw(&self) -> io::Result<()> {
        let (columns, lines) = terminal::size()?;
        let style = Style { width: usize::from(columns), ..Style::of_stdout() };
        let mut out = io::stdout().lock();
        queue!(out, terminal::BeginSynchronizedUpdate, cursor::MoveTo(0, 0))?;
        let page = self.page(style, usize::from(lines));
        let count = page.len();
        for (index, line) in page.into_iter().enumerate() {
            write!(out, "{line}")?;
            queue!(out, Clear(ClearType::UntilNewLine))?;
            if index + 1 < count {
                write!(out, "\r\n")?;
            }
        }
        queue!(out, Clear(ClearType::FromCursorDown), terminal::EndSynchronizedUpdate)?;
        out.flush()
    }

    /// The lines of the screen: never more or wider than it is.
    fn page(&self, style: Style, lines: usize) -> Vec<String> {
        let health = &self.health;
        let counters = &health.counters;
        let lost: u64 = health.lost.values().sum();
        let second = match (&self.error, health.reasons.first()) {
            (Some(error), _) => format!("not fresh: {error}"),
            (None, Some(reason)) => reason.clone(),
            (None, None) => String::new(),
        };
        let head = [
            status::headline(health),
            second,
            format!(
                "{} series, {} alerts, {} connections ({} open), {} queries, {} lost; {:.1} % CPU, {}",
                human::count(self.rows.series),
                human::count(counters.alerts_emitted),
                human::short_count(counters.connections),
                human::short_count(counters.tracked),
                human::short_count(counters.queries),
                human::short_count(lost),
                health.usage.cpu_percent,
                human::bytes(health.usage.rss_bytes),
            ),
        ];
        let mut page: Vec<String> = head.iter().map(|line| fit(&escape(line), style.width)).collect();
        page.push(String::new());
        let room = lines.saturating_sub(HEAD_LINES + 2);
        let rows: Vec<_> = self.rows.rows.iter().take(room).map(|row| cells(row, health.now)).collect();
        if rows.is_empty() {
            let text =
                "no series yet: one is listed once a program has called the same destination four times";
            page.push(fit(text, style.width));
        } else {
            let (header, rows) = columns_for(style.width, rows);
            let table = columns::table(&header, &rows, style);
            // Where the terminal is too narrow even for the least of each column, the line is cut.
            page.extend(
                table.lines().map(|line| if style.color { line.to_owned() } else { fit(line, style.width) }),
            );
        }
        page.truncate(lines);
        page
    }
}

const COLUMNS: [&str; 9] =
    ["SCORE", "SEVERITY", "PROGRAM", "DESTINATION", "EVERY", "JITTER", "CALLS", "LATEST", "ID"];

/// Columns that a narrow terminal goes without: the score says what the severity does, and `sonde explain` tells the jitter.
const LEFT_OUT: [usize; 2] = [1, 5];
/// A terminal is narrow below so many columns.
const NARROW: usize = 90;

/// The columns that a terminal of this width has room for.
fn columns_for(width: usize, rows: Vec<Vec<String>>) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let keeps = |column: usize| width >= NARROW || !LEFT_OUT.contains(&column);
    let pick = |row: Vec<String>| {
        let kept = row.into_iter().enumerate().filter(|(column, _)| keeps(*column));
        kept.map(|(_, cell)| cell).collect()
    };
    let header = COLUMNS.iter().enumerate().filter(|(column, _)| keeps(*column)).map(|(_, name)| *name);
    (header.collect(), rows.into_iter().map(pick).collect())
}

fn cells(row: &Alert, now: Timestamp) -> Vec<String> {
    let evidence = &row.evidence;
    let clean = |text: &str| escape(text).into_owned();
    let program = match &row.process {
        Some(process) if !process.info.script.is_empty() => {
            format!("{} {}", image_name(&process.info.image), image_name(&process.info.script))
        }
        Some(process) => image_name(&process.info.image).to_owned(),
        None => human::UNKNOWN.to_owned(),
    };
    let name = &row.destination.name;
    let name = if name.contains(':') { format!("[{name}]") } else { name.clone() };
    let port = match row.destination.port {
        0 => String::new(),
        port => format!(":{port}"),
    };
    let jitter = match evidence.interval_median_secs > 0.0 {
        true => format!("{} %", human::percent(evidence.jitter_mad_ratio)),
        false => String::new(),
    };
    let latest = u64::try_from(now.since(evidence.last_seen) / NANOS_PER_SEC).unwrap_or(0);
    let known_good = match (&row.suppressed_by, &row.profile) {
        (Some(_), _) => " (known-good)",
        (None, Some(note)) if note.excused => " (profile)",
        _ => "",
    };
    vec![
        if row.score.is_finite() {
            format!("{:.2}", (row.score * 100.0 + 1e-6).floor() / 100.0)
        } else {
            String::new()
        },
        format!("{}{known_good}", row.severity),
        clean(&program),
        clean(&format!("{name}{port}")),
        human::interval(evidence.interval_median_secs),
        jitter,
        evidence.callbacks.to_string(),
        human::span(latest),
        row.id.to_string().chars().take(8).collect(),
    ]
}

/// At most so many columns of a text that is plain.
fn fit(text: &str, columns: usize) -> String {
    super::output::head(text, columns).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::samples;

    #[test]
    fn the_page_fits_every_terminal_and_shows_the_best_first() {
        let mut health = Health::new("h\u{1b}[2J".into(), Timestamp::ZERO);
        health.judge();
        let rows = Rows { rows: samples::all(), omitted: 0, events: 5, series: 4 };
        let view = View { health: Box::new(health), rows, error: Some("the sensor\u{7} is gone".into()) };
        for columns in [20, 60, 80, 200] {
            for lines in [1, 4, 5, 6, 24] {
                let page = view.page(Style { width: columns, color: false, unicode: true }, lines);
                assert!(page.len() <= lines, "{lines}: {page:#?}");
                for line in &page {
                    assert!(line.chars().all(sonde_common::text::is_plain), "{line:?}");
                    assert!(line.chars().count() <= columns, "{columns}: {line}");
                }
            }
        }
        let page = view.page(Style { width: 120, color: false, unicode: true }, 24);
        assert!(page[0].contains("Sonde") && page[1].contains("not fresh"), "{page:#?}");
        assert!(page[4].starts_with("SCORE") && page[5].contains("0."), "{page:#?}");
    }
}

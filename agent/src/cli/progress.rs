//! The progress bar on stderr: bytes done, rate, time left, records and events so far.
//!
//! Shown only to a person at a terminal. Reporting is cheap: the clock is read once in [`STEP_BYTES`], so a packet loop
//! may report each packet.

use std::fmt;
use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use sonde_common::human;

/// Bytes after which the bar is looked at again.
pub const STEP_BYTES: u64 = 512 * 1024;
/// Events after which it is, too.
const STEP_EVENTS: u64 = 100_000;
/// Draws in a second, at most.
const DRAWS_PER_SEC: u8 = 10;

/// How far a run has come.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    /// Bytes from which the bar is looked at again…
    next: u64,
    /// …and events: once all bytes are read, only they go on.
    next_event: u64,
}

impl Progress {
    /// A bar if `wanted` and stderr is a terminal that can draw one, else nothing at all. Without a total (stdin) there
    /// is no bar, but its figures.
    #[must_use]
    pub fn new(total_bytes: Option<u64>, wanted: bool) -> Self {
        let can_draw = io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|terminal| !terminal.is_empty() && terminal != "dumb");
        if !(wanted && can_draw) {
            return Self::hidden();
        }
        let style = super::output::Style::detect(true, None, |name| std::env::var(name).ok());
        Self::on(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SEC), total_bytes, style.color, style.unicode)
    }

    /// Draws nothing.
    #[must_use]
    pub const fn hidden() -> Self {
        Self { bar: None, next: u64::MAX, next_event: u64::MAX }
    }

    fn on(target: ProgressDrawTarget, total_bytes: Option<u64>, color: bool, unicode: bool) -> Self {
        let total = total_bytes.filter(|&total| total > 0);
        let Ok(style) = ProgressStyle::with_template(template(total.is_some(), color)) else {
            return Self::hidden();
        };
        let style = style
            .progress_chars(if unicode { "━╸─" } else { "=>-" })
            .with_key("done", |state: &ProgressState, out: &mut dyn fmt::Write| {
                put(out, &human::bytes(state.pos()))
            })
            .with_key("total", |state: &ProgressState, out: &mut dyn fmt::Write| {
                put(out, &human::bytes(state.len().unwrap_or(0)));
            })
            .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
                put(out, &human::bytes(whole(state.per_sec())));
            })
            .with_key("left", |state: &ProgressState, out: &mut dyn fmt::Write| {
                put(out, &human::span(state.eta().as_secs()));
            });
        let bar = ProgressBar::with_draw_target(total, target).with_style(style);
        Self { bar: Some(bar), next: 0, next_event: 0 }
    }

    /// Tells what is done by now: call it as often as is handy, with figures that only grow.
    #[inline]
    pub fn tick(&mut self, bytes: u64, records: u64, events: u64) {
        if bytes >= self.next || events >= self.next_event {
            self.show(bytes, records, events);
        }
    }

    #[cold]
    fn show(&mut self, bytes: u64, records: u64, events: u64) {
        if let Some(bar) = &self.bar {
            self.next = bytes.saturating_add(STEP_BYTES);
            self.next_event = events.saturating_add(STEP_EVENTS);
            // A file may grow while it is read.
            if bar.length().is_some_and(|total| total < bytes) {
                bar.set_length(bytes);
            }
            bar.set_message(counts(records, events));
            bar.set_position(bytes);
        }
    }

    /// Runs `work` (such as writing a log line) with the bar out of its way.
    pub fn suspend<R>(&self, work: impl FnOnce() -> R) -> R {
        match &self.bar {
            Some(bar) => bar.suspend(work),
            None => work(),
        }
    }

    /// Takes the bar away, so that results start on a clean line.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

const fn template(has_total: bool, color: bool) -> &'static str {
    match (has_total, color) {
        (true, true) => "{wide_bar:.cyan/dim}  {done} of {total}  {rate}/s  {left} left  {msg}",
        (true, false) => "{wide_bar}  {done} of {total}  {rate}/s  {left} left  {msg}",
        (false, _) => "{done}  {rate}/s  {msg}",
    }
}

/// Logs give no events before they are sorted.
fn counts(records: u64, events: u64) -> String {
    match (human::short_count(records), human::short_count(events)) {
        (read, _) if events == 0 && records > 0 => format!("{read} records"),
        (_, told) if records == 0 => format!("{told} events"),
        (read, told) => format!("{read} records, {told} events"),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates; a rate is never negative"
)]
const fn whole(rate: f64) -> u64 {
    rate as u64
}

/// A bar that cannot be drawn is no reason to stop.
fn put(out: &mut dyn fmt::Write, text: &str) {
    let _ = out.write_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_valid() {
        for has_total in [false, true] {
            for color in [false, true] {
                assert!(ProgressStyle::with_template(template(has_total, color)).is_ok());
            }
        }
    }

    #[test]
    fn bar_is_looked_at_once_a_step() {
        let mut progress = Progress::on(ProgressDrawTarget::hidden(), Some(10 * STEP_BYTES), true, true);
        let position = |progress: &Progress| progress.bar.as_ref().map(ProgressBar::position);
        progress.tick(1, 1, 0);
        assert_eq!(position(&progress), Some(1));
        progress.tick(STEP_BYTES, 2, 0);
        assert_eq!(position(&progress), Some(1), "too early");
        progress.tick(STEP_BYTES + 1, 3, 1);
        assert_eq!(position(&progress), Some(STEP_BYTES + 1));
        progress.tick(20 * STEP_BYTES, 9, 2);
        assert_eq!(
            progress.bar.as_ref().and_then(ProgressBar::length),
            Some(20 * STEP_BYTES),
            "the file grew"
        );
    }

    #[test]
    fn hidden_progress_takes_everything_and_shows_nothing() {
        let mut progress = Progress::hidden();
        progress.tick(u64::MAX, 1, 1);
        assert_eq!(progress.suspend(|| 7), 7);
        progress.finish();
        assert!(progress.bar.is_none());
    }

    #[test]
    fn what_there_is_none_of_is_not_counted() {
        assert_eq!(counts(5_120_000, 45_190), "5.1 M records, 45.1 k events");
        assert_eq!(counts(5_120_000, 0), "5.1 M records");
        assert_eq!(counts(0, 12), "12 events");
    }
}

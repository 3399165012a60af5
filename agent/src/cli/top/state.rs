//! What `sonde top` shows, and what a key or an answer of the sensor makes of it. Nothing here touches terminal or socket.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use sonde_common::alert::{Alert, FindingId};
use sonde_common::explain::facts::is_alert;
use sonde_common::text::is_plain;

use super::super::output::Style;
use super::draw::Drawn;
use super::row::{Column, matches};
use crate::live::command::Rows;
use crate::live::health::Health;

/// Longest filter, in characters.
const MAX_FILTER: usize = 64;
/// Rows that a page key goes.
const PAGE: usize = 10;

/// What the sensor said.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) health: Box<Health>,
    pub(super) rows: Rows,
}

/// What keys are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// They move and choose.
    #[default]
    Table,
    /// They are letters of the filter.
    Filter,
    /// The list of keys is shown; any key takes it away.
    Help,
}

/// What a key came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It ends.
    Quit,
    /// There is something new to draw.
    Changed,
    /// There is not.
    Same,
}

/// All of the view.
#[derive(Debug)]
pub(super) struct State {
    pub(super) snapshot: Snapshot,
    /// Why it is not fresh.
    pub(super) stale: Option<String>,
    pub(super) style: Style,
    pub(super) mode: Mode,
    pub(super) sort: Column,
    pub(super) reversed: bool,
    /// As typed.
    pub(super) filter: String,
    pub(super) alerts_only: bool,
    /// What the sensor says is not taken.
    pub(super) paused: bool,
    /// Whether what is known of the chosen series is shown; `None`: where there is room for it.
    pub(super) detail: Option<bool>,
    /// Lines of it that are above its pane.
    pub(super) scroll: usize,
    /// Rows shown, in their order, by their place in the snapshot.
    order: Vec<usize>,
    /// The chosen series: it stays chosen wherever it moves. `None`: whichever is first.
    chosen: Option<FindingId>,
    /// Its place in the order.
    pub(super) at: usize,
    drawn: Drawn,
}

impl State {
    pub(super) fn new(snapshot: Snapshot, style: Style) -> Self {
        let mut state = Self {
            snapshot,
            stale: None,
            style,
            mode: Mode::Table,
            sort: Column::Score,
            reversed: false,
            filter: String::new(),
            alerts_only: false,
            paused: false,
            detail: None,
            scroll: 0,
            order: Vec::new(),
            chosen: None,
            at: 0,
            drawn: Drawn::default(),
        };
        state.arrange();
        state
    }

    /// Rows shown, in their order.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Alert> {
        self.order.iter().filter_map(|&index| self.snapshot.rows.rows.get(index))
    }

    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.order.len()
    }

    /// The chosen series; none where no row is shown.
    pub(super) fn chosen(&self) -> Option<&Alert> {
        self.order.get(self.at).and_then(|&index| self.snapshot.rows.rows.get(index))
    }

    /// Takes what the sensor said, or why it did not. A sensor that is gone may come back: what was seen last stays, and that
    /// it is old is said. Whether there is something new to draw.
    pub(super) fn hear(&mut self, answer: Result<Snapshot, String>) -> bool {
        if self.paused {
            return false;
        }
        match answer {
            Ok(snapshot) => {
                (self.snapshot, self.stale) = (snapshot, None);
                self.arrange();
            }
            Err(error) => self.stale = Some(error.lines().next().unwrap_or_default().to_owned()),
        }
        true
    }

    /// Takes what the drawing found out: how far the detail can be scrolled.
    pub(super) fn note(&mut self, drawn: Drawn) {
        self.scroll = self.scroll.min(drawn.most_scroll);
        self.drawn = drawn;
    }

    /// Takes a key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Step {
        // In raw mode the terminal sends these as keys, and no signal.
        if key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Step::Quit;
        }
        match self.mode {
            Mode::Table => self.press_table(key),
            Mode::Filter => self.press_filter(key),
            Mode::Help => {
                self.mode = Mode::Table;
                if key.code == KeyCode::Char('q') { Step::Quit } else { Step::Changed }
            }
        }
    }

    fn press_table(&mut self, key: KeyEvent) -> Step {
        match key.code {
            KeyCode::Char('q' | 'Q') => return Step::Quit,
            // What was opened is closed first.
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                self.arrange();
            }
            KeyCode::Esc => return Step::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Up | KeyCode::Char('k') => self.choose(self.at.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose(self.at.saturating_add(1)),
            KeyCode::PageUp => self.choose(self.at.saturating_sub(PAGE)),
            KeyCode::PageDown => self.choose(self.at.saturating_add(PAGE)),
            KeyCode::Home | KeyCode::Char('g') => {
                self.choose(0);
                self.chosen = None;
            }
            KeyCode::End | KeyCode::Char('G') => self.choose(usize::MAX),
            KeyCode::Enter => self.detail = Some(!self.drawn.detail),
            KeyCode::Char('J' | ']') => {
                self.scroll = self.scroll.saturating_add(1).min(self.drawn.most_scroll)
            }
            KeyCode::Char('K' | '[') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Char('a') => {
                self.alerts_only = !self.alerts_only;
                self.arrange();
            }
            KeyCode::Char(' ') => self.paused = !self.paused,
            KeyCode::Char('r') => {
                self.reversed = !self.reversed;
                self.arrange();
            }
            KeyCode::Char('s') => self.sort_by((self.sort as usize + 1) % Column::SORTABLE),
            KeyCode::Char(digit @ '1'..='8') => self.sort_by(digit as usize - '1' as usize),
            _ => return Step::Same,
        }
        Step::Changed
    }

    fn press_filter(&mut self, key: KeyEvent) -> Step {
        match key.code {
            KeyCode::Enter => self.mode = Mode::Table,
            KeyCode::Esc => {
                self.mode = Mode::Table;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => self.filter.clear(),
            KeyCode::Char(letter)
                if is_plain(letter)
                    && !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
                    && self.filter.chars().count() < MAX_FILTER =>
            {
                self.filter.push(letter);
            }
            _ => return Step::Same,
        }
        self.arrange();
        Step::Changed
    }

    /// Sorts by a column; by the same once more turns the order round.
    fn sort_by(&mut self, column: usize) {
        let Some(&column) = Column::ALL.get(column) else { return };
        self.reversed = self.sort == column && !self.reversed;
        self.sort = column;
        self.arrange();
    }

    fn choose(&mut self, at: usize) {
        self.at = at.min(self.order.len().saturating_sub(1));
        self.chosen = self.chosen().map(|row| row.id);
        self.scroll = 0;
    }

    /// Chooses and sorts the rows, and finds the chosen one again.
    fn arrange(&mut self) {
        let filter = self.filter.to_lowercase();
        let rows = &self.snapshot.rows.rows;
        let shown = |row: &Alert| (!self.alerts_only || is_alert(row)) && matches(row, &filter);
        let mut shown: Vec<_> = rows.iter().enumerate().filter(|(_, row)| shown(row)).collect();
        shown.sort_by(|(_, a), (_, b)| match (self.sort.compare(a, b), self.reversed) {
            (order, true) => order.reverse(),
            (order, false) => order,
        });
        let found = self.chosen.and_then(|chosen| shown.iter().position(|(_, row)| row.id == chosen));
        let last = shown.len().saturating_sub(1);
        // A series that is gone leaves its place to the next.
        self.at = found.unwrap_or(if self.chosen.is_some() { self.at.min(last) } else { 0 });
        self.order = shown.into_iter().map(|(index, _)| index).collect();
        if found.is_none() {
            self.scroll = 0;
        }
    }
}

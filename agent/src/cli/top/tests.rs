//! Frames held against the kept ones, what keys do, and what holds for every size and every key.
//!
//! To renew the kept frames after a wanted change, run the tests once with `SONDE_BLESS=1` and read the difference.

use std::path::Path;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use sonde_common::alert::FindingId;
use sonde_common::time::Timestamp;

use super::draw::{self, draw};
use super::row::Column;
use super::state::{Mode, Snapshot, State, Step};
use crate::cli::output::{Style, samples};
use crate::live::command::Rows;
use crate::live::health::Health;

const UNICODE: Style = Style { width: 120, color: true, unicode: true };
const ASCII: Style = Style { width: 120, color: true, unicode: false };

/// The samples, each with an id of its own.
fn snapshot() -> Snapshot {
    let mut rows = samples::all();
    for (at, row) in rows.iter_mut().enumerate() {
        row.id = FindingId(((at as u128 + 1) * 0x1111_1111) << 96);
    }
    let latest = rows.iter().map(|row| row.evidence.last_seen).max().unwrap();
    let mut health = Health::new("web-07".into(), latest.plus_nanos(-3_600_000_000_000));
    (health.now, health.version, health.pid) = (latest.plus_nanos(12_000_000_000), "1.2.3".into(), 4711);
    health.usage.rss_bytes = 48 << 20;
    health.counters.connections = 12_345;
    let series = rows.len() as u64;
    Snapshot { health: Box::new(health), rows: Rows { rows, omitted: 0, events: 20_000, series } }
}

fn state() -> State {
    State::new(snapshot(), UNICODE)
}

fn key(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}

fn press(state: &mut State, keys: &str) {
    for letter in keys.chars() {
        let code = match letter {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            letter => KeyCode::Char(letter),
        };
        assert_ne!(state.press(key(code)), Step::Quit, "{letter:?}");
    }
}

fn drawn(state: &mut State, columns: u16, lines: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    let mut noted = draw::Drawn::default();
    terminal.draw(|frame| noted = draw(state, frame)).unwrap();
    state.note(noted);
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let columns = usize::from(buffer.area.width);
    let mut out = String::new();
    for line in buffer.content().chunks(columns.max(1)) {
        let mut skip = 0;
        let mut text = String::new();
        for cell in line {
            // The cell behind a wide character is its other half.
            if skip == 0 {
                text.push_str(cell.symbol());
                skip = unicode_width::UnicodeWidthStr::width(cell.symbol());
            }
            skip = skip.saturating_sub(1);
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

fn assert_golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/top/golden").join(name);
    if std::env::var_os("SONDE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(golden == found, "{name} differs (SONDE_BLESS=1 renews it):\n{found}");
}

#[test]
fn frames_look_as_the_kept_ones() {
    for (columns, lines) in [(120, 44), (80, 24), (60, 16), (36, 9)] {
        let frame = text(&drawn(&mut state(), columns, lines));
        assert_golden(&format!("{columns}x{lines}.txt"), &frame);
    }
    let frame = text(&drawn(&mut State::new(snapshot(), ASCII), 80, 40));
    assert!(frame.is_ascii(), "{frame}");
    assert_golden("ascii_80x40.txt", &frame);
    let mut help = state();
    press(&mut help, "?");
    assert_golden("help_80x24.txt", &text(&drawn(&mut help, 80, 24)));
    let mut filtered = state();
    press(&mut filtered, "/edge\n2j");
    filtered.hear(Err("the sensor is gone\nand more".into()));
    assert_golden("filtered_100x30.txt", &text(&drawn(&mut filtered, 100, 30)));
    assert_golden("plain.txt", &draw::plain(&snapshot(), UNICODE));
}

#[test]
fn no_color_means_none_and_nothing_is_lost_by_it() {
    let colors = |buffer: &Buffer| {
        let cells = buffer.content().iter();
        cells.filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    let mut bare = State::new(snapshot(), Style { color: false, ..UNICODE });
    for keys in ["", "?", "x/edge\n"] {
        press(&mut bare, keys);
        assert_eq!(colors(&drawn(&mut bare, 120, 44)), 0);
    }
    let mut colored = state();
    let (with, without) = (
        drawn(&mut colored, 120, 44),
        drawn(&mut State::new(snapshot(), Style { color: false, ..UNICODE }), 120, 44),
    );
    assert!(colors(&with) > 20, "there are colours where they are wanted");
    assert_eq!(text(&with), text(&without), "colour says nothing that marks and words do not");
    // Red and green are what most colour-blind eyes confuse: one of them is never used.
    assert!(with.content().iter().all(|cell| !matches!(cell.fg, Color::Green | Color::LightGreen)));
}

#[test]
fn a_chosen_series_stays_chosen_wherever_it_moves() {
    let mut state = state();
    press(&mut state, "jj");
    let chosen = state.chosen().unwrap().id;
    for keys in ["3", "3", "r", "4", "s", "8"] {
        press(&mut state, keys);
        assert_eq!(state.chosen().map(|row| row.id), Some(chosen), "after {keys}");
    }
    let mut fresh = snapshot();
    fresh.rows.rows.reverse();
    assert!(state.hear(Ok(fresh)));
    assert_eq!(state.chosen().map(|row| row.id), Some(chosen));
    let mut without = snapshot();
    without.rows.rows.retain(|row| row.id != chosen);
    state.hear(Ok(without));
    assert!(state.chosen().is_some_and(|row| row.id != chosen), "its place goes to the next");
}

#[test]
fn every_column_sorts_both_ways() {
    let mut state = state();
    for (digit, column) in ('1'..='8').zip(Column::ALL) {
        press(&mut state, &digit.to_string());
        if column != Column::Score {
            assert_eq!((state.sort, state.reversed), (column, false));
        }
        let ids = |state: &State| state.rows().map(|row| row.id).collect::<Vec<_>>();
        let one = ids(&state);
        press(&mut state, "r");
        let other: Vec<_> = ids(&state).into_iter().rev().collect();
        assert_eq!(one, other, "{column:?}");
        press(&mut state, "r");
    }
    press(&mut state, "1");
    let scores: Vec<_> = state.rows().map(|row| row.points).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores.len() > 3, "{scores:?}");
    press(&mut state, "7");
    assert!(state.rows().map(|row| row.evidence.callbacks).is_sorted_by(|a, b| a >= b));
    press(&mut state, "8");
    assert!(state.rows().map(|row| row.evidence.last_seen).is_sorted_by(|a, b| a >= b));
}

#[test]
fn a_filter_finds_words_and_escape_takes_it_back() {
    let mut state = state();
    let all = state.count();
    press(&mut state, "/TELEMETRY-edge");
    assert_eq!(state.mode, Mode::Filter);
    let some = state.count();
    assert!(some > 0 && some < all, "{some} of {all}");
    assert!(state.rows().all(|row| row.destination.name.contains("telemetry-edge")));
    press(&mut state, " nowhere");
    assert_eq!(state.count(), 0);
    assert!(text(&drawn(&mut state, 80, 24)).contains("nothing fits the filter"));
    assert!(text(&drawn(&mut state, 80, 24)).ends_with("/TELEMETRY-edge nowhere\n"));
    // Keys are letters while it is typed.
    press(&mut state, "q");
    assert_eq!(state.filter, "TELEMETRY-edge nowhereq");
    press(&mut state, &"x".repeat(200));
    assert_eq!(state.filter.chars().count(), 64);
    press(&mut state, "\x1b");
    assert_eq!((state.count(), state.mode), (all, Mode::Table));
    press(&mut state, "/edge\n\x1b");
    assert_eq!(state.count(), all, "Escape takes a filter back before it ends anything");
    assert_eq!(state.press(key(KeyCode::Esc)), Step::Quit);
}

#[test]
fn what_ends_it_ends_it() {
    let ctrl = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
    for mode in [Mode::Table, Mode::Filter, Mode::Help] {
        for letter in ['c', 'd'] {
            let mut state = state();
            state.mode = mode;
            assert_eq!(state.press(ctrl(letter)), Step::Quit, "{mode:?}");
        }
    }
    let mut help = state();
    press(&mut help, "?x");
    assert_eq!(help.mode, Mode::Table, "any key takes the help away");
    assert_eq!(help.press(key(KeyCode::Char('q'))), Step::Quit);
}

#[test]
fn a_paused_picture_stands_still_and_an_old_one_says_so() {
    let mut state = state();
    press(&mut state, " ");
    assert!(!state.hear(Err("gone".into())) && state.stale.is_none());
    assert!(text(&drawn(&mut state, 100, 24)).contains("stands still"));
    press(&mut state, " ");
    assert!(state.hear(Err("no sensor \u{1b}[2J\nmore".into())));
    let frame = text(&drawn(&mut state, 100, 24));
    assert!(frame.contains(r"not fresh: no sensor \u{1b}[2J") && state.count() > 0, "{frame}");
    state.hear(Ok(snapshot()));
    assert!(state.stale.is_none());
}

#[test]
fn the_detail_scrolls_to_its_end_and_no_further() {
    let mut state = state();
    drawn(&mut state, 80, 24);
    press(&mut state, &"]".repeat(300));
    let frame = text(&drawn(&mut state, 80, 24));
    assert!(frame.contains("sonde explain"), "the last line of it is shown: {frame}");
    let before = state.scroll;
    press(&mut state, "[");
    assert_eq!(state.scroll, before - 1, "and the way back begins at once");
    press(&mut state, "\n");
    assert!(!text(&drawn(&mut state, 80, 24)).contains("sonde explain"));
    // Where both have no room, it comes when asked for, and takes the table's place.
    let mut short = self::state();
    assert!(text(&drawn(&mut short, 80, 12)).contains("DESTINATION"));
    press(&mut short, "\n");
    let frame = text(&drawn(&mut short, 80, 12));
    assert!(frame.contains("CRITICAL") && !frame.contains("DESTINATION"), "{frame}");
    press(&mut short, "\n");
    assert!(text(&drawn(&mut short, 80, 12)).contains("DESTINATION"));
}

#[test]
fn an_empty_sensor_says_what_it_waits_for() {
    let empty =
        || Snapshot { health: Box::new(Health::new("h".into(), Timestamp::ZERO)), rows: Rows::default() };
    let mut state = State::new(empty(), UNICODE);
    press(&mut state, "jkgG1a");
    assert!(text(&drawn(&mut state, 100, 20)).contains("four times"));
    assert!(draw::plain(&empty(), UNICODE).contains("four times"));
}

fn any_key() -> impl Strategy<Value = KeyEvent> {
    let codes = prop_oneof![
        4 => any::<char>().prop_map(KeyCode::Char),
        8 => prop::sample::select("jkgG12345678sra ?/[]JKh\u{301}\u{202e}設".chars().collect::<Vec<_>>())
            .prop_map(KeyCode::Char),
        4 => prop::sample::select(vec![
            KeyCode::Enter, KeyCode::Backspace, KeyCode::Up, KeyCode::Down, KeyCode::PageUp,
            KeyCode::PageDown, KeyCode::Home, KeyCode::End, KeyCode::Tab, KeyCode::F(1), KeyCode::Esc,
        ]),
    ];
    (codes, prop::sample::select(vec![KeyModifiers::NONE, KeyModifiers::SHIFT, KeyModifiers::ALT]))
        .prop_map(|(code, modifiers)| KeyEvent::new(code, modifiers))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_key_and_no_size_breaks_anything(
        keys in prop::collection::vec(any_key(), 0..40),
        sizes in prop::collection::vec((0u16..220, 0u16..70), 1..4),
        unicode in any::<bool>(),
        kept in 0usize..20,
    ) {
        let mut state = State::new(snapshot(), Style { unicode, ..UNICODE });
        for (at, key) in keys.into_iter().enumerate() {
            let _ = state.press(key);
            if at % 7 == 3 {
                let mut fresh = snapshot();
                fresh.rows.rows.truncate(kept);
                state.hear(Ok(fresh));
            }
            for &(columns, lines) in &sizes {
                let buffer = drawn(&mut state, columns, lines);
                let plain = |cell: &ratatui::buffer::Cell| cell.symbol().chars().all(sonde_common::text::is_plain);
                prop_assert!(buffer.content().iter().all(plain));
            }
        }
    }
}

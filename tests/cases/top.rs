//! `sonde top` in a real terminal, beside a real sensor: what it shows, what keys and sizes do, and that the terminal is the
//! shell's again afterwards, however it ends.
//!
//! A lab needs root; without it the cases say why they skip, and with `CI=true` that is a failure.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

#[path = "live/stage.rs"]
mod stage;

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use sonde::cli::screen::Screen;
use sonde_tests::program::{Scratch, sonde};
use sonde_tests::tmux::Terminal;

use crate::stage::{Stage, about};

/// What a beacon needs until it is found, with room for a slow machine.
const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn top_shows_a_beacon_hears_keys_and_gives_the_terminal_back() {
    let Some(stage) = Stage::new("top", &[("http", 8080)]) else { return };
    let mut sensor = stage.sensor(&[]);
    let folder = stage.folder("hidden");
    let _beacon = stage.dressed("compiled", &folder, "updater", 8080, 1.2);
    let to = stage.to(8080);
    let found = sensor.wait_for_alert(PATIENCE, |alert| about(alert, to)).is_some();
    assert!(found, "no alert; log:\n{}", sensor.log().join("\n"));

    let terminal = Terminal::new(stage.scratch.path(), 120, 40);
    let start = format!("{} top --socket {}", sonde().display(), stage.scratch.file("control").display());
    terminal.line(&start);
    let screen = terminal.wait_for("updater");
    assert!(screen.contains("SCORE ▾") && screen.contains(&format!("{to}")), "{screen}");
    let screen = terminal.wait_for("latest calls");
    assert!(
        screen.contains("calls") && screen.contains("regularity") && screen.contains("sonde allow --finding"),
        "{screen}"
    );
    assert_eq!(terminal.variable("alternate_on"), "1");
    let colored = terminal.colored();
    assert!(colored.contains("[38;5;"), "it is coloured: {colored:?}");

    terminal.keys(&["?"]);
    terminal.wait_for("sort by that column");
    terminal.keys(&["x"]);
    terminal.wait_for("SCORE ▾");
    terminal.keys(&["7"]);
    terminal.wait_for("CALLS ▾");
    terminal.keys(&["/"]);
    terminal.keys(&["-l", "no such thing"]);
    terminal.wait_for("nothing fits the filter");
    terminal.keys(&["Escape"]);
    terminal.wait_for("updater");
    terminal.keys(&["Enter"]);
    terminal.wait_until("no detail", |screen| !screen.contains("regularity"));

    // Each size is drawn whole: the keys stand in its last line.
    for (columns, lines) in [(60, 12), (30, 5), (200, 50), (80, 24)] {
        terminal.resize(columns, lines);
        let screen = terminal.wait_until("the new size", |screen| {
            screen.lines().count() == usize::from(lines)
                && screen.lines().last().is_some_and(|last| last.contains("of "))
        });
        assert!(screen.lines().all(|line| line.chars().count() <= usize::from(columns)), "{screen}");
    }

    terminal.keys(&["q"]);
    terminal.assert_clean();

    // Told to end from outside, and by the terminal's own key.
    terminal.line(&start);
    terminal.wait_for("SCORE");
    let pid = children("sonde", &terminal);
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    terminal.assert_clean();
    terminal.line("clear");
    terminal.line(&start);
    terminal.wait_for("SCORE");
    terminal.keys(&["C-c"]);
    terminal.assert_clean();

    // A sensor that ends is told of, and what was seen stays.
    terminal.line("clear");
    terminal.line(&format!("NO_COLOR=1 {start}"));
    terminal.wait_for("updater");
    let colored = terminal.colored();
    // 39 and 49 are the terminal's own.
    let is_color =
        |code: &str| code.parse().is_ok_and(|code: u8| matches!(code, 30..=38 | 40..=48 | 90..=107));
    let codes = colored.split("\u{1b}[").skip(1).filter_map(|rest| rest.split_once('m'));
    let codes: Vec<_> = codes.flat_map(|(codes, _)| codes.split(';')).collect();
    assert!(codes.len() > 5 && !codes.iter().any(|code| is_color(code)), "no colour was wanted: {colored:?}");
    assert!(sensor.stop().is_some_and(|status| status.success()));
    let screen = terminal.wait_for("not fresh: no sensor is running here");
    assert!(screen.contains("updater"), "{screen}");
    terminal.keys(&["q"]);
    terminal.assert_clean();
    terminal.line("clear");
    terminal.line(&start);
    terminal.wait_for("no one answers on");
    terminal.assert_clean();
}

#[test]
fn in_a_pipe_the_table_is_printed_once() {
    let Some(stage) = Stage::new("top-pipe", &[("http", 8080)]) else { return };
    let _sensor = stage.sensor(&[]);
    let output =
        Command::new(sonde()).args(["top", "--socket"]).arg(stage.scratch.file("control")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.starts_with("Sonde ") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_terminal_that_goes_away_ends_it() {
    let Some(stage) = Stage::new("top-gone", &[("http", 8080)]) else { return };
    let _sensor = stage.sensor(&[]);
    let terminal = Terminal::new(stage.scratch.path(), 100, 30);
    terminal.line(&format!("{} top --socket {}", sonde().display(), stage.scratch.file("control").display()));
    terminal.wait_until("its screen", |_| terminal.variable("alternate_on") == "1");
    let top = children("sonde", &terminal);
    assert!(!top.is_empty(), "it runs");
    drop(terminal);
    let deadline = Instant::now() + Duration::from_secs(10);
    while Path::new("/proc").join(&top).exists() {
        assert!(Instant::now() < deadline, "process {top} goes on without a terminal");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The process of that name that the terminal's shell runs.
fn children(name: &str, terminal: &Terminal) -> String {
    let output =
        Command::new("pgrep").args(["-x", "-P", &terminal.variable("pane_pid"), name]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_panic_gives_the_terminal_back_and_is_read_on_it() {
    let scratch = Scratch::new("crash");
    let terminal = Terminal::new(scratch.path(), 100, 20);
    let own = std::env::current_exe().unwrap();
    terminal
        .line(&format!("{} --ignored --exact --nocapture it_panics_with_the_terminal_taken", own.display()));
    let screen = terminal.wait_for("a fault of our own");
    assert!(screen.contains("panicked at"), "what happened is read where it stays: {screen}");
    terminal.assert_clean();
}

/// What the case above runs in its terminal.
#[test]
#[ignore = "run by a_panic_gives_the_terminal_back_and_is_read_on_it"]
fn it_panics_with_the_terminal_taken() {
    let _screen = Screen::take().unwrap();
    panic!("a fault of our own");
}

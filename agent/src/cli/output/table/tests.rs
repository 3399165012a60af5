//! Golden tables, and what holds for every table.
//!
//! To renew the golden files after a wanted change, run the tests once with `SONDE_BLESS=1` and read the difference.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::cli::output::samples;

/// The page that shows how to read the table.
const DOC: &str = include_str!("../../../../../docs/alerts.md");

fn style(width: usize) -> Style {
    Style { width, color: false, unicode: true }
}

fn table(alerts: &[Alert], style: Style) -> String {
    let mut out = String::new();
    Table::new(style).push_all(alerts, &mut out);
    out
}

fn stream(alerts: &[Alert], style: Style) -> String {
    let (mut table, mut out) = (Table::new(style), String::new());
    alerts.iter().for_each(|alert| table.push_next(alert, &mut out));
    out
}

/// The samples as of one host.
fn one_host() -> Vec<Alert> {
    let mut alerts = samples::all();
    alerts.iter_mut().for_each(|alert| alert.host = "web-07".to_owned());
    alerts
}

/// The text without its colours.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("\x1b[") {
        out.push_str(before);
        rest = behind.split_once('m').unwrap().1;
    }
    out + rest
}

fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/output/table/golden").join(name);
    if std::env::var_os("SONDE_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(golden == text, "{name} differs (SONDE_BLESS=1 renews it):\n{text}");
}

#[test]
fn tables_look_as_the_golden_ones() {
    for width in [80, 120, 200] {
        assert_golden(&format!("{width}.txt"), &table(&one_host(), style(width)));
    }
    assert_golden("hosts_120.txt", &table(&samples::all(), style(120)));
    assert_golden("stream_80.txt", &stream(&samples::all(), style(80)));
    assert_golden("ascii_80.txt", &table(&one_host(), Style { unicode: false, ..style(80) }));
    assert_golden("color_100.txt", &table(&one_host(), Style { color: true, ..style(100) }));
}

#[test]
fn table_of_the_reference_is_what_is_printed() {
    let (_, rest) = DOC.split_once("```text\n").unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let mut alerts = vec![samples::rotation(), samples::implant(), samples::dns()];
    alerts.iter_mut().for_each(|alert| alert.host = "web-07".to_owned());
    let printed = table(&alerts, style(120));
    assert!(shown == printed, "docs/alerts.md is to show:\n{printed}");
}

#[test]
fn nothing_is_wider_than_the_terminal() {
    for columns in 60..=200 {
        for unicode in [true, false] {
            let style = Style { unicode, ..style(columns) };
            for text in [
                table(&samples::all(), style),
                table(&one_host(), style),
                table(&[samples::implant()], style),
                stream(&samples::all(), style),
            ] {
                for line in text.lines() {
                    assert!(width(line) <= columns, "{} > {columns}: {line}", width(line));
                    assert_eq!(line, line.trim_end());
                    assert!(unicode || line.is_ascii(), "{line}");
                }
            }
        }
    }
}

#[test]
fn colour_adds_nothing_but_colour() {
    for columns in [80, 120] {
        let colored = table(&samples::all(), Style { color: true, ..style(columns) });
        let plain_table = table(&samples::all(), style(columns));
        assert!(!plain_table.contains('\x1b') && colored.contains("\x1b[1;31m◆ critical\x1b[0m"));
        assert_eq!(plain(&colored), plain_table);
    }
}

#[test]
fn host_is_a_column_only_where_there_are_several() {
    assert!(!table(&one_host(), style(120)).contains("HOST"));
    assert!(!table(&one_host(), style(120)).contains("web-07"));
    assert!(table(&samples::all(), style(120)).contains("FIN-LAPTOP-3"));
}

#[test]
fn stream_brings_the_host_when_a_second_turns_up() {
    let text = stream(&[samples::implant(), samples::implant(), samples::rotation()], style(100));
    let headers: Vec<_> = text.lines().filter(|line| line.starts_with("SEVERITY")).collect();
    assert_eq!(headers.len(), 2, "{text}");
    assert!(!headers[0].contains("HOST") && headers[1].contains("HOST"), "{text}");
    let (_, behind) = text.split_once("HOST").unwrap();
    assert!(behind.contains("FIN-LAPTOP-3") && text.contains("2026-03-02 11:40:02Z update"), "{text}");
}

#[test]
fn port_and_transport_survive_the_cut() {
    let text = table(&samples::all(), style(60));
    assert!(text.contains(":8443/udp\n"), "{text}");
    assert!(text.contains(":443 +4\n"), "{text}");
}

#[test]
fn address_version_6_is_bracketed_before_its_port() {
    let mut alert = samples::in_connection();
    alert.destination.name = "2001:db8::7".to_owned();
    alert.destination.ip = Some("2001:db8::7".parse().unwrap());
    let text = table(&[alert], style(120));
    assert!(text.contains(" [2001:db8::7]:8443 ") && !text.contains("(2001"), "{text}");
}

#[test]
fn resolver_is_not_shown_as_the_address_of_a_domain() {
    let text = table(&[samples::dns()], style(200));
    assert!(text.contains("kq3z.example (DNS)") && !text.contains("192.0.2.53"), "{text}");
}

#[test]
fn score_below_a_threshold_is_not_rounded_over_it() {
    assert_eq!(format!("{:.2}", cut(0.799_99)), "0.79");
    assert_eq!(format!("{:.2}", cut(0.29)), "0.29");
    assert_eq!(format!("{:.2}", cut(1.0)), "1.00");
}

#[test]
fn no_finding_makes_no_header() {
    assert_eq!(table(&[], style(80)), "");
}

#[test]
fn sparkline_shows_even_one_interval_and_leaves_blanks_blank() {
    let mut counts = [0; HISTOGRAM_BINS];
    (counts[2], counts[3], counts[5]) = (1, u16::MAX, u16::MAX / 2);
    assert_eq!(sparkline(&counts, 24, style(80)), "  ▁█ ▄");
    assert_eq!(sparkline(&counts, 12, style(80)), " █▄");
    assert_eq!(sparkline(&counts, 24, Style { unicode: false, ..style(80) }), "  .# =");
    assert_eq!(sparkline(&[0; HISTOGRAM_BINS], 24, style(80)), "");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_texts_neither_break_out_nor_stick_out(
        chars in proptest::collection::vec(any::<char>(), 0..60),
        columns in 60usize..=200,
        unicode: bool,
    ) {
        let text: String = chars.into_iter().collect();
        let mut alert = samples::implant();
        alert.host.clone_from(&text);
        alert.reason.clone_from(&text);
        alert.destination.name.clone_from(&text);
        alert.destination.group = vec![text.clone(), "b".to_owned()];
        if let Some(process) = &mut alert.process {
            process.info.image.clone_from(&text);
            process.info.script = text;
        }
        let style = Style { unicode, ..style(columns) };
        for out in [table(&[alert.clone(), samples::dns()], style), stream(&[alert, samples::dns()], style)] {
            for line in out.lines() {
                prop_assert!(line.chars().all(sonde_common::text::is_plain), "{:?}", line);
                prop_assert!(width(line) <= columns, "{:?}", line);
            }
        }
    }
}

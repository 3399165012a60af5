//! Tests of the page: everything that is known is said, in lines that fit and do nothing to the terminal.

use super::super::samples;
use super::super::text::width;
use super::*;

fn page(alert: &Alert, width: usize, unicode: bool) -> String {
    text(alert, Style { width, color: false, unicode })
}

/// The page without its line breaks.
fn flat(alert: &Alert) -> String {
    page(alert, 100, true).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn everything_that_is_known_is_said() {
    let alert = samples::implant();
    let text = flat(&alert);
    let process = alert.process.as_ref().unwrap();
    let mut wanted = vec![alert.id.to_string(), alert.reason.clone(), process.info.image.clone()];
    wanted.push(alert.destination.name.clone());
    wanted.extend(alert.parts.iter().map(|part| part.detail.clone()));
    wanted.extend(alert.techniques.iter().map(|technique| technique.id.to_string()));
    wanted.extend(process.info.ancestors.iter().cloned());
    wanted.extend(sonde_common::guide::of(&alert).avoid.into_iter().map(|step| step.text));
    for wanted in wanted {
        let wanted = wanted.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&wanted), "{wanted} is missing in:\n{}", page(&alert, 100, true));
    }
}

#[test]
fn feeds_names_profiles_and_chains_have_their_sections() {
    let on_feed = flat(&samples::on_feed());
    for wanted in ["On a feed", "house list, confidence 90 of 100", "ExampleRAT, G0016, S0154", "look back"] {
        assert!(on_feed.contains(wanted), "{wanted}: {on_feed}");
    }
    let tunnel = flat(&samples::tunnel());
    for wanted in [
        "Names asked for",
        "420 for 412 names",
        "TXT 400, A 20",
        "192.0.2.53:53",
        "started by /usr/sbin/sshd └ /usr/bin/bash",
    ] {
        assert!(tunnel.contains(wanted), "{wanted}: {tunnel}");
    }
    let rotation = flat(&samples::rotation());
    for wanted in
        ["nearly fits", "the destination is not the vendor's", "AS64500 Example Hosting, rents servers"]
    {
        assert!(rotation.contains(wanted), "{wanted}: {rotation}");
    }
}

#[test]
fn what_is_no_alert_asks_for_nothing() {
    let text = flat(&samples::long_names());
    assert!(!text.contains("Contain") && text.contains("It is no alert"), "{text}");
}

#[test]
fn no_page_is_wider_than_the_terminal_or_moves_its_cursor() {
    for alert in samples::all() {
        for columns in [60, 80, 133] {
            for unicode in [true, false] {
                let text = page(&alert, columns, unicode);
                for line in text.lines() {
                    // A command is to be copied whole.
                    assert!(
                        width(line) <= columns || line.starts_with("        "),
                        "{} > {columns}: {line}",
                        width(line)
                    );
                    assert!(line.chars().all(sonde_common::text::is_plain), "{line}");
                    assert!(unicode || line.is_ascii(), "{line}");
                }
            }
        }
    }
}

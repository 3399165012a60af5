//! `sonde allow --suggest`: what looks good for long enough to be known-good, as commands for a person to judge and run.
//!
//! Only what is hard to take over is suggested: a signed program that both is and calls what this host has known for a
//! week, by name. None is ever applied by itself.

use std::fmt::Write as _;

use serde::Serialize;
use sonde_common::alert::{Alert, Class, Severity};
use sonde_common::explain::allow;
use sonde_common::human;
use sonde_common::process::{ImageLocation, image_name};
use sonde_common::time::NANOS_PER_SEC;

use super::explain::TextOrJson;

/// Days for which a series has to have gone on, at least.
const LEAST_DAYS: i64 = 7;
/// Callbacks in them, at least.
const LEAST_CALLBACKS: u32 = 50;
/// Points above which a row is worth an entry: with one fact more (an update, a move) it would be an alert.
const NEAR_POINTS: f64 = -2.0;
/// When a suggested entry ends: so that it is looked at twice a year.
const EXPIRES: &str = "180d";
/// Most suggestions.
const MOST: usize = 50;

/// An entry that may be worth making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Suggestion {
    /// The finding that it would silence.
    finding: String,
    /// Whether it is an alert now.
    alert: bool,
    /// The command that makes it.
    command: String,
    /// Why.
    why: String,
}

/// What may be known-good among these rows, alerts first.
pub(super) fn of(rows: &[Alert]) -> Vec<Suggestion> {
    let mut suggestions: Vec<Suggestion> = rows.iter().filter_map(suggestion).collect();
    suggestions.sort_by_key(|suggestion| !suggestion.alert);
    // Two rows may ask for the same.
    let mut seen = std::collections::BTreeSet::new();
    suggestions.retain(|suggestion| seen.insert(suggestion.command.clone()));
    suggestions.truncate(MOST);
    suggestions
}

fn suggestion(row: &Alert) -> Option<Suggestion> {
    let info = &row.process.as_ref()?.info;
    let (evidence, destination) = (&row.evidence, &row.destination);
    let days = evidence.last_seen.since(evidence.first_seen) / (86_400 * NANOS_PER_SEC);
    let has_part = |name: &str| row.parts.iter().any(|part| part.name == name);
    let harmless =
        matches!(row.class, Class::Beacon | Class::InConnection | Class::Proxied | Class::ProcessBeacon)
            && (Severity::Low..=Severity::Medium).contains(&row.severity)
            && row.indicators.is_empty()
            && row.suppressed_by.is_none();
    // Program and destination known for a week, and the program signed: the score says so itself.
    let established = has_part("established") && !has_part("new_destination");
    let trusted = info.signed == Some(true)
        && info.script_host != Some(true)
        && matches!(info.location, Some(ImageLocation::System | ImageLocation::Programs) | None);
    let lasting = days >= LEAST_DAYS && evidence.callbacks >= LEAST_CALLBACKS;
    let named = !destination.registrable_domain.is_empty() && destination.group.is_empty();
    if !(harmless && established && trusted && lasting && named && row.points > NEAR_POINTS) {
        return None;
    }
    let reason = format!("{} calls {}, regularly for {days} days", image_name(&info.image), destination.name);
    // What could steer a terminal or is no name is not put into a command.
    let command = allow::command(row, &reason, EXPIRES).ok()?;
    let alert = row.severity >= Severity::Medium;
    let verdict = if alert { "an alert of medium severity" } else { "just below an alert" };
    let why = format!(
        "{} in {days} days about every {}, never more than {verdict}; the program is signed, and both are known here for a \
         week or longer",
        human::count(evidence.callbacks.into()),
        human::interval(evidence.period_secs),
    );
    Some(Suggestion { finding: row.id.to_string(), alert, command, why })
}

/// Suggestions as they are printed.
pub(super) fn text(suggestions: &[Suggestion], format: TextOrJson) -> String {
    let mut out = String::new();
    match format {
        TextOrJson::Json => {
            for line in suggestions.iter().filter_map(|suggestion| serde_json::to_string(suggestion).ok()) {
                out.push_str(&line);
                out.push('\n');
            }
        }
        TextOrJson::Text if suggestions.is_empty() => {
            out.push_str("Nothing to suggest: no signed program has called a known name for a week, close to an alert.\n");
        }
        TextOrJson::Text => {
            out.push_str(
                "# Nothing is known-good by itself: read each, and run what you know to be yours.\n",
            );
            for Suggestion { finding, command, why, .. } in suggestions {
                let id: String = finding.chars().take(8).collect();
                let _ = write!(out, "\n# {id}: {why}.\n{command}\n");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::samples;

    /// A row that deserves it.
    fn row() -> Alert {
        let mut row = samples::implant();
        (row.severity, row.points, row.class) = (Severity::Medium, 0.1, Class::Beacon);
        row.destination.group.clear();
        row.evidence.last_seen = row.evidence.first_seen.plus_nanos(9 * 86_400 * NANOS_PER_SEC);
        row.evidence.callbacks = 500;
        row.indicators.clear();
        row.suppressed_by = None;
        row.parts.retain(|part| part.name != "new_destination");
        let mut part = row.parts[0].clone();
        part.name = "established".into();
        row.parts.push(part);
        let info = &mut row.process.as_mut().unwrap().info;
        (info.signed, info.script_host, info.location) =
            (Some(true), Some(false), Some(ImageLocation::Programs));
        (info.image, info.package) = ("/opt/agent/bin/agent".into(), "agent 1.2-3".into());
        row
    }

    #[test]
    fn a_signed_program_that_calls_a_known_name_for_a_week_is_suggested() {
        let suggestions = of(&[row(), row()]);
        let [only] = &suggestions[..] else { panic!("{suggestions:?}") };
        let name = row().destination.name;
        let port = row().destination.port;
        assert_eq!(
            only.command,
            format!(
                "sonde allow --package agent --destination {name} --port {port} --reason 'agent calls {name}, regularly for \
                 9 days' --expires 180d"
            )
        );
        let text = text(&suggestions, TextOrJson::Text);
        assert!(text.contains("500 in 9 days about every") && text.contains(&only.command), "{text}");
    }

    #[test]
    fn what_could_be_an_implant_is_not() {
        type Change = (&'static str, fn(&mut Alert));
        let change: [Change; 9] = [
            ("high", |row| row.severity = Severity::High),
            ("unsigned", |row| row.process.as_mut().unwrap().info.signed = Some(false)),
            ("interpreter", |row| row.process.as_mut().unwrap().info.script_host = Some(true)),
            ("home", |row| row.process.as_mut().unwrap().info.location = Some(ImageLocation::Home)),
            ("new", |row| row.parts.retain(|part| part.name != "established")),
            ("young", |row| row.evidence.last_seen = row.evidence.first_seen),
            ("bare address", |row| row.destination.registrable_domain.clear()),
            ("dead", |row| row.class = Class::DeadCallback),
            ("nobody", |row| row.process = None),
        ];
        for (what, change) in change {
            let mut row = row();
            change(&mut row);
            assert_eq!(of(&[row]), [], "{what}");
        }
    }

    #[test]
    fn a_name_that_steers_a_terminal_is_not_suggested() {
        let mut row = row();
        row.process.as_mut().unwrap().info.package = "evil\u{1b}[2J 1".into();
        assert_eq!(of(&[row]), []);
    }
}

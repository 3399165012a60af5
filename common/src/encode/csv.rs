//! An alert as one row of a spreadsheet: the columns, and the cells as text that no spreadsheet takes for a formula.
//!
//! Quoting and line ends are left to the writer. Strings are escaped, so a row stays one line and shows no surprises.

use std::net::IpAddr;

use super::{native, rounded};
use crate::alert::{Alert, Evidence};
use crate::process::ProcessInfo;
use crate::text::escape;
use crate::time::Timestamp;

/// Names of the columns, in the order of [`row`].
pub const HEADER: [&str; 46] = [
    "severity",
    "score",
    "host",
    "program",
    "destination",
    "port",
    "ip",
    "interval_median_secs",
    "jitter_mad_ratio",
    "callbacks",
    "missed",
    "dwell_secs",
    "first_seen",
    "last_seen",
    "detected",
    "detected_after_callbacks",
    "reason",
    "level",
    "period_secs",
    "bans",
    "shape",
    "points",
    "parts",
    "missing",
    "techniques",
    "registrable_domain",
    "fqdn",
    "sni",
    "connect_host",
    "http_host",
    "user_agent",
    "ja4",
    "transport",
    "protocol",
    "group",
    "bytes_out",
    "bytes_in",
    "refused",
    "unanswered",
    "user",
    "pid",
    "command_line",
    "script",
    "parent",
    "sha256",
    "id",
];

/// The cells of one alert, in the order of [`HEADER`]; empty where nothing is known.
#[must_use]
pub fn row(alert: &Alert) -> [String; HEADER.len()] {
    let unknown = ProcessInfo::default();
    let process = alert.process.as_ref().map_or(&unknown, |process| &process.info);
    let destination = &alert.destination;
    let evidence: &Evidence = &alert.evidence;
    let measured = evidence.interval_median_secs > 0.0;
    [
        alert.severity.to_string(),
        number(native::score(alert), 4),
        cell(&alert.host),
        cell(&process.image),
        cell(&destination.name),
        if destination.port == 0 { String::new() } else { destination.port.to_string() },
        destination.ip.as_ref().map(IpAddr::to_string).unwrap_or_default(),
        if measured { number(evidence.interval_median_secs, 3) } else { String::new() },
        if measured { number(evidence.jitter_mad_ratio, 4) } else { String::new() },
        evidence.callbacks.to_string(),
        evidence.missed.to_string(),
        number(native::dwell_secs(evidence), 3),
        evidence.first_seen.to_string(),
        evidence.last_seen.to_string(),
        alert.detected.as_ref().map(Timestamp::to_string).unwrap_or_default(),
        alert.detected.map(|_| alert.detected_after_callbacks.to_string()).unwrap_or_default(),
        cell(&alert.reason),
        evidence.level.as_str().to_owned(),
        if evidence.period_secs > 0.0 { number(evidence.period_secs, 3) } else { String::new() },
        number(evidence.bans, 3),
        cell(&evidence.shape),
        number(alert.points, 4),
        list(alert.parts.iter().map(|part| format!("{} {}", part.name, number(part.points, 4)))),
        list(&alert.missing),
        list(alert.techniques.iter().map(|technique| &technique.id)),
        cell(&destination.registrable_domain),
        cell(&destination.fqdn),
        cell(&destination.sni),
        cell(&destination.connect_host),
        cell(&destination.http_host),
        cell(&destination.user_agent),
        cell(destination.ja4.as_ref().map_or("", |ja4| ja4.as_str())),
        destination.transport.to_string(),
        native::protocol(evidence.level, destination.protocol).unwrap_or_default().to_owned(),
        list(&destination.group),
        evidence.bytes_out.to_string(),
        evidence.bytes_in.to_string(),
        evidence.refused.to_string(),
        evidence.unanswered.to_string(),
        cell(&process.user),
        alert
            .process
            .as_ref()
            .and_then(|process| process.key)
            .map(|key| key.pid.to_string())
            .unwrap_or_default(),
        cell(&process.command_line),
        cell(&process.script),
        cell(&process.parent_image),
        cell(&process.sha256),
        alert.id.to_string(),
    ]
}

/// Text as a cell: escaped, and with a leading `'` where a spreadsheet would compute it (OWASP, "CSV injection").
///
/// Spreadsheets also take the full-width forms of the operators, and some skip white space before them.
#[must_use]
pub fn cell(text: &str) -> String {
    let computes =
        |c: char| matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠');
    let first = text.chars().find(|&c| c != ' ' && c != '\u{a0}');
    let escaped = escape(text);
    if first.is_some_and(computes) { format!("'{escaped}") } else { escaped.into_owned() }
}

/// A number as a cell: never a formula, so a minus stays as it is. Empty unless finite.
fn number(value: f64, decimals: i32) -> String {
    rounded(value, decimals).map(|value| value.to_string()).unwrap_or_default()
}

/// Several short texts as one cell.
fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(item.as_ref());
    }
    cell(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::samples;

    fn value(alert: &Alert, column: &str) -> String {
        let index = HEADER.iter().position(|&name| name == column).unwrap();
        row(alert)[index].clone()
    }

    #[test]
    fn row_is_the_alert_in_the_order_of_the_header() {
        let row = row(&samples::implant()).join("|");
        assert_eq!(
            row,
            "high|0.9379|web-07|/home/ci/.cache/.font/updater|cdn.telemetry-edge.example|443|203.0.113.24|60.021|0.0613|131|1|\
             7801.918|2026-03-02T09:30:00.120000000Z|2026-03-02T11:40:02.038000000Z|2026-03-02T09:42:11.250000000Z|13|\
             updater, an unsigned program in a user's home, called cdn.telemetry-edge.example:443 every 60 s (jitter 6 %) \
             for 2 h 10 min, a destination that this host did not know before.|connection|60.018|37.218|\
             one interval with small jitter|2.4375|regularity -3; location 2.5; unsigned 1.25; new_destination 1; \
             unpopular 0.75; expected -0.0625|program_history|T1071.001; T1573|telemetry-edge.example|\
             cdn.telemetry-edge.example|cdn.telemetry-edge.example||||t13d190900_9dc949149365_97f8aa674fd9|tcp|tls||\
             71444|452809|0|1|ci|48213|/home/ci/.cache/.font/updater --quiet||/usr/sbin/cron|\
             9f2b6c1d40a8e7f35b1c2d3e4f5061728394a5b6c7d8e9f0a1b2c3d4e5f60718|6f1c0b0e9d274c58a3e47b1258c9d06f"
        );
    }

    #[test]
    fn header_has_no_name_twice() {
        let names: std::collections::BTreeSet<_> = HEADER.into_iter().collect();
        assert_eq!(names.len(), HEADER.len());
    }

    #[test]
    fn formulas_become_text_and_numbers_stay_numbers() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1"] {
            assert!(cell(formula).starts_with('\''), "{formula:?}");
        }
        assert_eq!(cell("a=b"), "a=b");
        assert_eq!(cell(""), "");
        let alert = samples::bare();
        assert_eq!(value(&alert, "points"), "-6.1875");
        assert_eq!(value(&alert, "program"), "");
        assert_eq!(value(&alert, "interval_median_secs"), "");
    }

    #[test]
    fn hostile_strings_stay_on_their_line_as_text() {
        let alert = samples::hostile();
        for text in row(&alert) {
            assert!(text.chars().all(crate::text::is_plain), "{text:?}");
            assert!(!text.starts_with(['=', '+', '@']), "{text:?}");
        }
        assert_eq!(value(&alert, "host"), "'=cmd|' /C calc'!A0");
        assert_eq!(value(&alert, "user_agent"), "'-2+3\\u{d}\\u{a}\\u{200b}<script>");
    }
}

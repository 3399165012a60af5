//! A finding as Markdown, for a ticket or a chat: the same as the page of text, in sections, tables and blocks of code.
//!
//! Texts of others stand in code spans and fenced blocks, whose fences are longer than any run of backticks inside
//! (CommonMark 4.5, 6.1), or with every character escaped that Markdown gives a meaning (2.4).

use std::fmt::Write as _;

use sonde_common::alert::Alert;
use sonde_common::encode::native;
use sonde_common::explain::facts::{cut, destination_text, is_alert, joined, seconds, whole_secs};
use sonde_common::explain::techniques;
use sonde_common::guide;
use sonde_common::human;
use sonde_common::text::escape;

use super::queries::{self, Language};

/// The finding, with the queries of a language if one is asked for.
#[must_use]
pub fn text(alert: &Alert, language: Option<Language>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail; a line that could not be written would be missing, not wrong.
    let _ = write_all(&mut out, alert, language);
    out
}

fn write_all(out: &mut String, alert: &Alert, language: Option<Language>) -> std::fmt::Result {
    writeln!(
        out,
        "# {}: {}\n",
        alert.severity.as_str().to_uppercase(),
        prose(native::rule_name(alert.class))
    )?;
    writeln!(out, "{}\n", prose(&alert.reason))?;
    facts(out, alert)?;
    writeln!(out, "\n## Why this score\n\n| Points | Part | |\n|---:|---|---|")?;
    for part in &alert.parts {
        writeln!(
            out,
            "| {:+.2} | {} | {} |",
            part.points,
            prose(&part.name.replace('_', " ")),
            prose(&part.detail)
        )?;
    }
    writeln!(out, "| **{:+.2}** | **in all** | a score of {:.2} |", alert.points, cut(alert.score))?;
    if !alert.missing.is_empty() {
        writeln!(out, "\nNot known: {}.", prose(&alert.missing.join(", ")))?;
    }
    if !alert.techniques.is_empty() {
        writeln!(out, "\n## Techniques\n")?;
        for technique in &alert.techniques {
            let why =
                techniques::reason(alert, &technique.id).map_or_else(String::new, |why| format!(": {why}"));
            writeln!(out, "- {} {}{}", prose(&technique.id), prose(&technique.name), prose(&why))?;
        }
    }
    if is_alert(alert) {
        for (title, steps) in guide::of(alert).sections().into_iter().filter(|(_, steps)| !steps.is_empty()) {
            writeln!(out, "\n## {title}\n")?;
            for (index, step) in steps.iter().enumerate() {
                writeln!(out, "{}. {}", index + 1, guided(&step.text))?;
                if !step.commands.is_empty() {
                    writeln!(out)?;
                    fenced(out, "", &step.commands.join("\n"), "   ")?;
                }
            }
        }
    }
    for (of, queries) in language.map(|language| queries::of(alert, language)).unwrap_or_default() {
        writeln!(out, "\n## {}", of.title())?;
        for query in queries {
            writeln!(out, "\n{}:\n", prose(&query.title))?;
            fenced(out, if of == Language::Sigma { "yaml" } else { "" }, &query.query, "")?;
        }
    }
    Ok(())
}

/// Who, whom, when, in a table.
fn facts(out: &mut String, alert: &Alert) -> std::fmt::Result {
    let evidence = &alert.evidence;
    let dwell = human::span(whole_secs(native::dwell_secs(evidence)));
    let info = alert.process.as_ref().map(|process| &process.info);
    let text =
        |of: fn(&sonde_common::process::ProcessInfo) -> &String| info.map_or("", |info| of(info).as_str());
    let ip = alert.destination.ip.map(|ip| ip.to_string()).unwrap_or_default();
    let parents = info.map_or_else(Vec::new, |info| {
        std::iter::once(info.parent_image.as_str()).chain(info.ancestors.iter().map(String::as_str)).collect()
    });
    let interval = if evidence.interval_median_secs > 0.0 {
        let jitter = human::percent(evidence.jitter_mad_ratio);
        format!("{} ± {jitter} %", human::interval(evidence.interval_median_secs))
    } else {
        String::new()
    };
    let feeds: Vec<String> =
        alert.indicators.iter().map(|entry| joined(&[&entry.value, &entry.feed, &entry.label])).collect();
    let rows = [
        ("Finding", alert.id.to_string()),
        ("Score", format!("{:.2}", cut(alert.score))),
        ("Host", alert.host.clone()),
        ("Program", text(|info| &info.image).to_owned()),
        ("Script", text(|info| &info.script).to_owned()),
        ("Command line", text(|info| &info.command_line).to_owned()),
        ("User", text(|info| &info.user).to_owned()),
        ("Started by", joined(&parents)),
        ("SHA-256", text(|info| &info.sha256).to_owned()),
        ("Destination", destination_text(alert)),
        ("Address", ip),
        ("In turn", alert.destination.group.join(", ")),
        ("On a feed", feeds.join("; ")),
        ("Interval", interval),
        ("Callbacks", format!("{} in {dwell}", human::count(evidence.callbacks.into()))),
        ("First", seconds(evidence.first_seen)),
        ("Latest", seconds(evidence.last_seen)),
    ];
    writeln!(out, "| | |\n|---|---|")?;
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "| {name} | {} |", code(value))?;
    }
    Ok(())
}

/// A text of others as prose: what Markdown or HTML gives a meaning is escaped, and no address becomes a link by itself.
fn prose(text: &str) -> String {
    let text = escape(text);
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let begins_link = match c {
            ':' => chars.as_str().starts_with("//"),
            '.' => out.get(out.len().saturating_sub(3)..).is_some_and(|end| end.eq_ignore_ascii_case("www")),
            _ => false,
        };
        if begins_link || "\\`*_[]<>#|~&@".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A guide's text: between its backticks it is code already, elsewhere it is ours.
fn guided(text: &str) -> String {
    text.split('`')
        .enumerate()
        .map(|(index, part)| if index % 2 == 1 { code(part) } else { prose(part) })
        .collect()
}

/// A text of others as a span of code in a table: no run of backticks inside is as long as its fence, and a bar is escaped, as
/// tables ask.
fn code(text: &str) -> String {
    let text = escape(text).replace('|', "\\|");
    let fence = "`".repeat(longest_run(&text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// A block of code; each of its lines is set in, so that it belongs to the list's item above.
fn fenced(out: &mut String, language: &str, text: &str, indent: &str) -> std::fmt::Result {
    let fence = "`".repeat(longest_run(text).max(2) + 1);
    writeln!(out, "{indent}{fence}{language}")?;
    for line in text.lines() {
        writeln!(out, "{indent}{}", escape(line))?;
    }
    writeln!(out, "{indent}{fence}")
}

/// Length of the longest run of backticks.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::super::samples;
    use super::*;

    #[test]
    fn all_sections_are_there_and_queries_if_asked_for() {
        let report = text(&samples::implant(), Some(Language::All));
        for title in [
            "# HIGH: ",
            "## Why this score",
            "## Techniques",
            "## Investigate",
            "## What not to do",
            "## Sigma",
            "```yaml",
        ] {
            assert!(report.contains(title), "{title} is missing in:\n{report}");
        }
        assert!(!text(&samples::implant(), None).contains("## Sigma"));
        assert!(!text(&samples::long_names(), None).contains("## Investigate"), "no alert, nothing to do");
    }

    #[test]
    fn names_of_others_mean_nothing_to_markdown() {
        assert_eq!(prose("<b>[x](http://y)*: z"), "\\<b\\>\\[x\\](http\\://y)\\*: z");
        assert_eq!(prose("WWW.x.example"), "WWW\\.x.example");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(code("a|b"), "`a\\|b`");
        let mut out = String::new();
        fenced(&mut out, "", "```\nx", "").unwrap();
        assert_eq!(out, "````\n```\nx\n````\n");
    }

    #[test]
    fn nothing_printed_moves_the_cursor() {
        for alert in samples::all() {
            let text = text(&alert, Some(Language::All));
            assert!(text.chars().all(|c| c == '\n' || sonde_common::text::is_plain(c)), "{text}");
        }
    }
}

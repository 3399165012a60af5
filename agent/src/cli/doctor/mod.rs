//! `sonde doctor`: what works here, what does not, what it costs, how to mend it; without starting the sensor.

pub mod checks;

use std::io;
use std::path::PathBuf;

use serde::Serialize;
use sonde_common::live::Unavailable;
use sonde_common::text::escape;

use self::checks::Check;
use super::explain::TextOrJson;
use super::failure::{Failure, written};
use super::output::{Format, Output, Style, paragraph};
use super::settings;
use crate::exit::Exit;
use crate::live::health::Role;

/// Arguments of `sonde doctor`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 the sensor would see; 1 it would be blind; 78 the configuration is wrong."
)]
pub(super) struct Arguments {
    /// Configuration file (TOML) [default: the system's, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting that lies over the configuration; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How it is written
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    format: TextOrJson,
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        Failure::tell(self.done())
    }

    fn done(self) -> Result<Exit, Failure> {
        let file = settings::file(self.config.as_deref());
        let config = settings::read(file.as_deref(), &self.set)?;
        let report = examine(checks::all(&config));
        let style = Style::of_stdout();
        let text = match self.format {
            TextOrJson::Text => text(&report, style),
            TextOrJson::Json => {
                serde_json::to_string(&report).map_err(|error| Failure(Exit::Internal, error.to_string()))?
                    + "\n"
            }
        };
        let mut out = Output::new(io::stdout(), Format::Ndjson, style);
        let exit = written(out.write_text(&text).and_then(|()| out.flush()))?;
        Ok(if report.blind { Exit::Found } else { exit })
    }
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    /// Nothing here tells of connections.
    blind: bool,
    /// What was looked at, in the order of the checks.
    found: Vec<Finding>,
}

/// What one check found.
#[derive(Debug, Serialize)]
struct Finding {
    name: String,
    role: Role,
    works: bool,
    /// What works, in words; or the system's reason why it does not.
    detail: String,
    /// What the operator can do.
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
    /// What it costs when it is in use, or what is missed without it.
    cost: String,
    /// Parts of it that do not work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lost: Vec<Lost>,
}

#[derive(Debug, Serialize)]
struct Lost {
    what: String,
    reason: String,
    remedy: String,
}

fn examine(checks: Vec<Check>) -> Report {
    let mut found = Vec::new();
    for Check { name, role, cost, without, run } in checks {
        found.push(match run() {
            Ok(works) => Finding {
                name,
                role,
                works: true,
                detail: works.detail,
                remedy: String::new(),
                cost: cost.to_owned(),
                lost: works
                    .lost
                    .into_iter()
                    .map(|Unavailable { what, reason, remedy }| Lost { what, reason, remedy })
                    .collect(),
            },
            Err(Unavailable { what, reason, remedy }) => {
                let detail = if what == name { reason } else { format!("{what}: {reason}") };
                Finding {
                    name,
                    role,
                    works: false,
                    detail,
                    remedy,
                    cost: without.to_owned(),
                    lost: Vec::new(),
                }
            }
        });
    }
    let sees = |finding: &Finding| finding.works && finding.role != Role::Aid;
    Report { blind: !found.iter().any(sees), found }
}

fn text(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for (role, title) in [
        (Role::Connections, "Who calls whom (the first that works is used)"),
        (Role::Packets, "Names of what is called (the first that works is used)"),
        (Role::Aid, "And beside"),
    ] {
        let mut of_role = report.found.iter().filter(|finding| finding.role == role).peekable();
        if of_role.peek().is_none() {
            continue;
        }
        out.push_str(title);
        out.push('\n');
        for finding in of_role {
            let mark = if finding.works { "+" } else { "-" };
            line(&mut out, &format!("  {mark} "), &format!("{}: {}", finding.name, finding.detail), style);
            let notes = [
                ("to mend it: ", &finding.remedy),
                (if finding.works { "costs: " } else { "without it: " }, &finding.cost),
            ];
            for (what, note) in notes {
                if !note.is_empty() {
                    line(&mut out, "      ", &format!("{what}{note}"), style);
                }
            }
            for Lost { what, reason, remedy } in &finding.lost {
                line(&mut out, "    - ", &format!("{what}: {reason}"), style);
                if !remedy.is_empty() {
                    line(&mut out, "      ", &format!("to mend it: {remedy}"), style);
                }
            }
        }
        out.push('\n');
    }
    let connections = |finding: &&Finding| finding.role == Role::Connections && finding.works;
    let verdict = match report.found.iter().find(connections) {
        _ if report.blind => "The sensor would be blind here: nothing tells of connections.".to_owned(),
        Some(finding) => {
            format!("The sensor would work here; connections and their processes come from {}.", finding.name)
        }
        None => "The sensor would see connections here, but not whose they are.".to_owned(),
    };
    line(&mut out, "", &verdict, style);
    out
}

/// A text that is folded behind its head.
fn line(out: &mut String, head: &str, text: &str, style: Style) {
    let indent = head.chars().count();
    let folded = Style { width: style.width.saturating_sub(indent).max(20), ..style };
    for (index, line) in paragraph(&escape(text), folded).lines().enumerate() {
        out.push_str(if index == 0 { head.to_owned() } else { " ".repeat(indent) }.as_str());
        out.push_str(line);
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::checks::Works;
    use super::*;

    fn check(name: &str, role: Role, works: bool) -> Check {
        let lost = Unavailable {
            what: name.to_owned(),
            reason: "Operation not permitted".into(),
            remedy: "start it as root".into(),
        };
        let part = Unavailable { what: "IPv6 hook".into(), ..lost.clone() };
        let run = move || {
            if works { Ok(Works { detail: "self-test passed".into(), lost: vec![part] }) } else { Err(lost) }
        };
        Check {
            name: name.to_owned(),
            role,
            cost: "0.1 µs a connection",
            without: "no owners",
            run: Box::new(run),
        }
    }

    #[test]
    fn a_sensor_that_nothing_tells_of_connections_would_be_blind() {
        let report = examine(vec![check("ebpf", Role::Connections, false), check("state", Role::Aid, true)]);
        assert!(report.blind);
        let report =
            examine(vec![check("ebpf", Role::Connections, false), check("poll", Role::Connections, true)]);
        assert!(!report.blind);
        assert!(!examine(vec![check("ring", Role::Packets, true)]).blind);
    }

    #[test]
    fn what_does_not_work_is_said_with_reason_remedy_and_cost() {
        let report =
            examine(vec![check("ebpf", Role::Connections, false), check("netlink", Role::Connections, true)]);
        let text = text(&report, Style { width: 60, color: false, unicode: true });
        for wanted in [
            "- ebpf: Operation not permitted",
            "to mend it: start it as root",
            "without it: no owners",
            "+ netlink: self-test passed",
            "- IPv6 hook: Operation not permitted",
            "costs: 0.1 µs a connection",
            "come from netlink",
        ] {
            assert!(
                text.split_whitespace().collect::<Vec<_>>().join(" ").contains(wanted),
                "{wanted}:\n{text}"
            );
        }
        let json = serde_json::to_string(&report).unwrap();
        assert!(
            json.contains(r#""blind":false"#) && json.contains(r#""remedy":"start it as root""#),
            "{json}"
        );
    }
}

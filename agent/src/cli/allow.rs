//! `sonde allow`, `sonde unallow`: what is known-good in the running sensor.

use std::io;

use sonde_common::alert::Severity;
use sonde_common::text::escape;

use super::explain::TextOrJson;
use super::failure::{Failure, written};
use super::output::{Format, Output, Style, columns};
use super::source::{Sensor, unexpected};
use super::suggest;
use crate::exit::Exit;
use crate::live::command::{Answer, Entry, MAX_ROWS, Request, Wish};

/// Arguments of `sonde allow`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sonde allow --finding 3f2a --reason 'our backup, ticket 4711' --expires 90d
  sonde allow --package zabbix-agent --destination monitoring.example --reason 'monitoring'
  sonde allow --program /opt/agent/bin/agent --destination 203.0.113.0/24 --port 443 --reason 'licence server'
  sonde allow --program /usr/bin/python3 --script /opt/jobs/push.py --destination push.example --reason 'our job'
  sonde allow --list
  sonde allow --suggest

An entry silences a program only where it calls the destination that is named: neither alone is ever known-good.")]
pub(super) struct Arguments {
    #[command(flatten)]
    sensor: Sensor,
    /// List the entries
    #[arg(long, conflicts_with_all = ["finding", "program", "sha256", "package", "destination", "reason"])]
    list: bool,
    /// Print entries that may be worth making, each as a command with its reasons; none is made
    #[arg(long, conflicts_with_all = ["list", "finding", "program", "sha256", "package", "destination", "reason"])]
    suggest: bool,
    /// Program and destination of this finding, by its id or the beginning of it
    #[arg(long, value_name = "ID", conflicts_with_all = ["program", "sha256", "package", "destination", "port"])]
    finding: Option<String>,
    /// Path of the executable
    #[arg(long, value_name = "PATH")]
    program: Option<String>,
    /// SHA-256 of the executable
    #[arg(long, value_name = "HASH")]
    sha256: Option<String>,
    /// Installed package that owns the executable
    #[arg(long, value_name = "NAME")]
    package: Option<String>,
    /// Only while the program, an interpreter, runs this script
    #[arg(long, value_name = "PATH", conflicts_with = "finding")]
    script: Option<String>,
    /// Name, which stands for those below it, too; address; or block of addresses
    #[arg(long, value_name = "DESTINATION")]
    destination: Option<String>,
    /// Only this port
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Why it is known-good, for whoever reads the list later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Until when: 90m, 12h, 30d, 8w [default: until it is lifted]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    expires: Option<u64>,
    /// How it is written
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    format: TextOrJson,
}

/// Arguments of `sonde unallow`.
#[derive(Debug, clap::Args)]
pub(super) struct Lift {
    #[command(flatten)]
    sensor: Sensor,
    /// Number of the entry, as `sonde allow --list` shows it
    #[arg(value_name = "NUMBER")]
    entry: u64,
    /// How it is written
    #[arg(long, value_enum, default_value_t = TextOrJson::Text)]
    format: TextOrJson,
}

impl Arguments {
    pub(super) fn run(self) -> Exit {
        Failure::tell(self.done())
    }

    fn done(self) -> Result<Exit, Failure> {
        if self.list {
            let entries = entries(self.sensor.ask(Request::Allowed)?)?;
            return show(&entries, self.format);
        }
        if self.suggest {
            let request = Request::Beacons { least: Severity::Low, most: MAX_ROWS };
            let Answer::Alerts(rows) = self.sensor.ask(request)? else { return Err(unexpected()) };
            return print(&suggest::text(&suggest::of(&rows.rows), self.format));
        }
        let usage = |text: &str| Failure(Exit::Usage, text.to_owned());
        let by_hand = self.program.is_some() || self.sha256.is_some() || self.package.is_some();
        if self.finding.is_none() && !(by_hand && self.destination.is_some()) {
            return Err(usage(
                "say what is known-good: --finding ID, or a program (--program, --sha256 or --package) and its \
                 --destination; or --list",
            ));
        }
        let reason = self.reason.filter(|reason| !reason.trim().is_empty());
        let reason = reason.ok_or_else(|| usage("say why: --reason TEXT"))?;
        let wish = Wish {
            finding: self.finding,
            program: self.program,
            sha256: self.sha256,
            package: self.package,
            script: self.script,
            destination: self.destination,
            port: self.port,
            reason,
            expires_secs: self.expires,
            ..Wish::default()
        };
        show(&entries(self.sensor.ask(Request::Allow(wish))?)?, self.format)
    }
}

impl Lift {
    pub(super) fn run(self) -> Exit {
        Failure::tell(self.done())
    }

    fn done(self) -> Result<Exit, Failure> {
        show(&entries(self.sensor.ask(Request::unallow(self.entry))?)?, self.format)
    }
}

fn entries(answer: Answer) -> Result<Vec<Entry>, Failure> {
    match answer {
        Answer::Allowed(entries) => Ok(entries),
        _ => Err(unexpected()),
    }
}

fn show(entries: &[Entry], format: TextOrJson) -> Result<Exit, Failure> {
    let style = Style::of_stdout();
    let text = match format {
        TextOrJson::Json => entries
            .iter()
            .filter_map(|entry| serde_json::to_string(entry).ok())
            .map(|line| line + "\n")
            .collect(),
        TextOrJson::Text => table(entries, style),
    };
    print(&text)
}

fn print(text: &str) -> Result<Exit, Failure> {
    let mut out = Output::new(io::stdout(), Format::Ndjson, Style::of_stdout());
    written(out.write_text(text).and_then(|()| out.flush()))
}

fn table(entries: &[Entry], style: Style) -> String {
    if entries.is_empty() {
        return "Nothing is known-good.\n".to_owned();
    }
    let day = |time: sonde_common::time::Timestamp| time.to_string().chars().take(10).collect::<String>();
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let text = |text: &str| escape(text).into_owned();
            vec![
                entry.entry.to_string(),
                text(&entry.program),
                text(&entry.destination),
                entry.suppressed.to_string(),
                entry.last.map_or_else(|| "never".to_owned(), day),
                day(entry.created),
                entry.expires.map_or_else(|| "never".to_owned(), day),
                text(&entry.by),
                text(&entry.reason),
            ]
        })
        .collect();
    let header = ["ENTRY", "PROGRAM", "DESTINATION", "SILENCED", "LAST", "SINCE", "UNTIL", "BY", "REASON"];
    columns::table(&header, &rows, style)
}

/// `30d` in seconds.
fn duration(text: &str) -> Result<u64, String> {
    const MOST: u64 = 100 * 365 * 86_400;
    let error = || format!("`{text}` is no span of time such as 90m, 12h, 30d or 8w");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(error)?;
    let unit = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(error()),
    };
    let number: u64 = number.parse().map_err(|_| error())?;
    number.checked_mul(unit).filter(|secs| (1..=MOST).contains(secs)).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_read_and_nonsense_is_not() {
        for (text, secs) in [("90m", 5_400), ("12h", 43_200), ("30d", 2_592_000), ("8w", 4_838_400)] {
            assert_eq!(duration(text), Ok(secs));
        }
        for bad in ["", "d", "0d", "-1d", "30", "30 d", "1.5d", "99999999999999d", "30ü"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hostile_names_in_entries_reach_no_terminal() {
        let entry =
            Entry { program: "/tmp/\u{1b}[2Jx".into(), reason: "a\u{202e}b".into(), ..Entry::default() };
        let text = table(&[entry], Style { width: 120, color: false, unicode: true });
        assert!(text.contains("\\u{1b}[2Jx") && text.contains("\\u{202e}"), "{text}");
    }
}

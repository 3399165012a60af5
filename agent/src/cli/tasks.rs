//! `sonde --help`: the commands by what someone wants, in one list, with a few examples.

use clap::builder::Styles;
use clap::{Command, CommandFactory as _};

/// What someone wants, and the commands for it, each in half a line.
const TASKS: [(&str, &[(&str, &str)]); 6] = [
    (
        "Look",
        &[
            ("replay", "what calls on a schedule in captures, logs and event files"),
            ("top", "the running sensor's series in a live table"),
            ("alerts", "its alerts, or those of files"),
            ("beacons", "every series it has scored, alert or not"),
            ("explain", "all that is known of one finding, and what to do about it"),
        ],
    ),
    (
        "Run",
        &[
            ("run", "watch this machine and tell of what calls on a schedule"),
            ("status", "how the running sensor is, what is lost, how to mend it"),
            ("metrics", "its figures, as Prometheus reads them"),
            ("doctor", "what would work on this machine, and what would not"),
            ("service", "have the system start the sensor by itself"),
        ],
    ),
    (
        "Tune",
        &[
            ("allow", "take a program at a destination for known-good; --suggest, --list"),
            ("unallow", "lift such an entry"),
            ("profiles", "programs that tick by nature: list them, check files of them"),
            ("feeds", "lists of known-bad infrastructure: list them, check files of them"),
        ],
    ),
    ("Ship", &[("sinks", "where alerts go, and whether a server takes them")]),
    ("Fleet", &[("fleet", "what many sensors say: carried, counted, told back to them")]),
    (
        "Maintain",
        &[
            ("config", "check a configuration, show what holds, print the default"),
            ("man", "the manual page of a command"),
            ("completions", "completions for a shell"),
        ],
    ),
];

/// Behind the options, and in the manual page.
const EXAMPLES: &str = "\
Examples:
  sonde replay capture.pcapng --report report.html   look into a capture, with pictures
  sudo sonde run                                     watch this machine
  sonde explain 3f2a                                 one finding, by the beginning of its id

`sonde COMMAND --help` tells the rest; docs/first-steps.md leads through the first ten minutes.";

/// Columns of a command's name.
const NAME: usize = 12;

/// The arguments, with the commands by task in their help.
pub(super) fn command() -> Command {
    let styles = Styles::default();
    let (header, name) = (styles.get_header(), styles.get_literal());
    let mut text = String::new();
    for (task, commands) in TASKS {
        text.push_str(&format!("{header}{task}:{header:#}\n"));
        for (command, what) in commands {
            text.push_str(&format!("  {name}{command:NAME$}{name:#} {what}\n"));
        }
        text.push('\n');
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{text}{header}Options:{header:#}\n{{options}}{{after-help}}"
    );
    super::Arguments::command().after_help(EXAMPLES).help_template(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_stands_under_exactly_one_task() {
        let sonde = command();
        let mut known: Vec<_> = sonde.get_subcommands().map(Command::get_name).collect();
        let mut told: Vec<_> =
            TASKS.iter().flat_map(|(_, commands)| *commands).map(|(name, _)| *name).collect();
        known.sort_unstable();
        told.sort_unstable();
        assert_eq!(known, told);
    }

    #[test]
    fn the_help_fits_a_narrow_terminal_and_says_all() {
        let help = command().render_help().to_string();
        for (task, commands) in TASKS {
            assert!(help.contains(&format!("\n{task}:\n")), "{help}");
            for (name, what) in commands {
                let line = format!("  {name:NAME$} {what}");
                assert!(help.lines().any(|found| found == line) && line.len() <= 80, "{line}");
            }
        }
        assert!(help.contains("--verbose") && help.contains("Examples:\n  sonde replay"), "{help}");
        assert!(help.contains("Usage: sonde") && !help.contains('{'), "{help}");
    }

    #[test]
    fn examples_are_commands_that_are_understood() {
        for line in EXAMPLES.lines().filter(|line| line.starts_with("  ")) {
            let words = line.split("   ").find(|part| !part.trim().is_empty()).unwrap_or_default();
            let words: Vec<_> = words.split_whitespace().skip_while(|word| *word == "sudo").collect();
            assert!(command().try_get_matches_from(&words).is_ok(), "{words:?}");
        }
    }
}

//! `sonde man` and `sonde completions`: what a package installs beside the program, made from the same definition of the
//! arguments as `--help`, so that none of them can fall behind.

use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::failure::{Failure, written};
use super::output::{Format, Output, Style};
use crate::exit::Exit;

/// Section of commands that everybody may call. Most of Sonde's may, even where the sensor itself needs rights.
const SECTION: &str = "1";
/// What stands in the middle of the first line of a page.
const MANUAL: &str = "Sonde";

/// Arguments of `sonde man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sonde man | man -l -                       read the page of `sonde`
  sonde man feeds check | man -l -           read that of one command
  sonde man --all /usr/local/share/man/man1  write all of them")]
pub(super) struct Manual {
    /// Command that the page is of [default: sonde itself]
    #[arg(value_name = "COMMAND", conflicts_with = "all")]
    command: Vec<String>,
    /// Write the pages of all commands into this folder
    #[arg(long, value_name = "DIR")]
    all: Option<PathBuf>,
}

/// Arguments of `sonde completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sonde completions bash > ~/.local/share/bash-completion/completions/sonde
  sonde completions zsh  > ~/.zfunc/_sonde
  sonde completions fish > ~/.config/fish/completions/sonde.fish")]
pub(super) struct Completions {
    /// Shell that they are for
    #[arg(value_enum)]
    shell: Shell,
}

impl Manual {
    pub(super) fn run(self) -> Exit {
        Failure::tell(self.done())
    }

    fn done(self) -> Result<Exit, Failure> {
        let mut sonde = super::tasks::command();
        sonde.build();
        if let Some(folder) = &self.all {
            for command in all(&sonde) {
                write(command, folder)?;
            }
            return Ok(Exit::Done);
        }
        let mut command = &sonde;
        for name in &self.command {
            command = command.find_subcommand(name).ok_or_else(|| {
                let name = sonde_common::text::escape(name);
                Failure(Exit::Usage, format!("there is no command `{name}`; `sonde --help` lists them"))
            })?;
        }
        print(&page(command).map_err(|error| Failure(Exit::Internal, error.to_string()))?)
    }
}

impl Completions {
    pub(super) fn run(self) -> Exit {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::tasks::command(), "sonde", &mut script);
        Failure::tell(print(&script))
    }
}

fn print(bytes: &[u8]) -> Result<Exit, Failure> {
    let mut out = Output::new(io::stdout(), Format::Ndjson, Style::of_stdout());
    written(out.write_bytes(bytes).and_then(|()| out.flush()))
}

/// A command with all below it.
fn all(command: &Command) -> Vec<&Command> {
    let mut found = vec![command];
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    found.extend(shown.flat_map(all));
    found
}

fn write(command: &Command, folder: &Path) -> Result<(), Failure> {
    let path = folder.join(format!("{}.{SECTION}", name(command)));
    page(command)
        .and_then(|page| std::fs::write(&path, page))
        .map_err(|error| Failure(Exit::Output, format!("{}: cannot be written: {error}", path.display())))
}

/// What the page of a command is called.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// The page of a command in roff.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let version = concat!("sonde ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).section(SECTION).source(version).manual(MANUAL);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    if let Some(text) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        after_help(&mut rest, &text.to_string());
    }
    if command.get_name() == "sonde" {
        end_of_main_page(&mut rest);
    } else {
        rest.control("SH", ["SEE ALSO"]);
        rest.text([roman("sonde(1)")]);
    }
    rest.to_writer(&mut page)?;
    Ok(page)
}

/// What follows the options in `--help`. Lines that are indented there are examples, and keep their lines.
fn after_help(roff: &mut Roff, text: &str) {
    let (heading, text) = match text.strip_prefix("Examples:\n") {
        Some(rest) => ("EXAMPLES", rest),
        None => ("NOTES", text),
    };
    roff.control("SH", [heading]);
    let mut as_is = false;
    for line in text.lines() {
        let indented = line.starts_with("  ");
        if indented != as_is {
            roff.control(if indented { "nf" } else { "fi" }, []);
            as_is = indented;
        }
        if line.is_empty() {
            roff.control("PP", []);
        } else {
            roff.text([roman(line)]);
        }
    }
    if as_is {
        roff.control("fi", []);
    }
}

fn end_of_main_page(roff: &mut Roff) {
    let list = |roff: &mut Roff, heading: &str, rows: &[(&str, &str)]| {
        roff.control("SH", [heading]);
        for (name, what) in rows {
            roff.control("TP", []);
            roff.text([roman(*name)]);
            roff.text([roman(*what)]);
        }
    };
    list(
        roff,
        "EXIT STATUS",
        &[
            ("0", "done"),
            (
                "1",
                "a finding reached the severity of --exit-on, or doctor found that the sensor would be blind",
            ),
            ("64", "wrong arguments"),
            ("65", "an input is damaged beyond use; what was readable is reported"),
            ("66", "no such input, or no sensor answers"),
            ("70", "a fault of Sonde's own"),
            ("74", "output failed"),
            ("77", "not permitted"),
            ("78", "the configuration is wrong"),
        ],
    );
    list(
        roff,
        "ENVIRONMENT",
        &[
            ("SONDE_LOG", "what is logged, such as debug or sonde::capture=trace"),
            ("NO_COLOR", "if set and not empty, nothing is coloured"),
        ],
    );
    list(
        roff,
        "FILES",
        &[
            (
                "/etc/sonde/sonde.toml",
                "the configuration; `sonde config default` prints it with what each setting means",
            ),
            ("/etc/sonde/profiles.d", "profiles of your own"),
            ("/var/lib/sonde", "what outlives a restart: state, and records that wait for their sink"),
            ("/run/sonde/control.sock", "the socket on which the running sensor is asked"),
        ],
    );
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(
        "Each command has a page of its own, such as sonde-replay(1); systemd(1), journalctl(1)",
    )]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_keep_their_lines_and_other_words_are_filled() {
        let mut roff = Roff::new();
        after_help(&mut roff, "Examples:\n  sonde run   x\n  .hidden\n\nMore in `sonde status`.");
        let mut text = Vec::new();
        roff.to_writer(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<_> =
            text.lines().filter(|line| !line.starts_with(".ie") && !line.starts_with(".el")).collect();
        assert_eq!(
            lines,
            [".SH EXAMPLES", ".nf", "  sonde run   x", "  .hidden", ".fi", ".PP", "More in `sonde status`."]
        );
    }

    #[test]
    fn every_command_has_a_page_with_a_name_of_its_own() {
        let mut sonde = super::super::tasks::command();
        sonde.build();
        let commands = all(&sonde);
        let mut names: Vec<_> = commands.iter().map(|command| name(command)).collect();
        assert!(names.contains(&"sonde") && names.contains(&"sonde-feeds-check"), "{names:?}");
        assert!(commands.iter().all(|command| page(command).is_ok_and(|page| page.len() > 200)));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

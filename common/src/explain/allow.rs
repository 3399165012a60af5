//! The command that would make a finding known-good: for a person to judge and run, never applied by itself.

use std::fmt::Write as _;

use crate::alert::Alert;
use crate::process::ProcessInfo;
use crate::text::is_plain;

/// Why no command can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCommand {
    /// Which program it is, is not known, and a destination alone is never known-good.
    NoProgram,
    /// It names no destination.
    NoDestination,
    /// It calls several in turn.
    Several,
    /// A name in it could steer a terminal, or is no word of a shell.
    Unprintable,
}

impl NoCommand {
    /// The same for people.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::NoProgram => {
                "which program calls is not known, and a destination alone is never known-good: see the process map \
                 (docs/process-map.md), or run the sensor on the host"
            }
            Self::NoDestination => {
                "the finding names no destination, and a program alone is never known-good"
            }
            Self::Several => {
                "it calls several destinations in turn: one entry for each, with the program and --destination"
            }
            Self::Unprintable => {
                "a name in it holds characters that could steer a terminal: nothing to paste, and nothing to trust"
            }
        }
    }
}

/// `sonde allow …` for exactly this program at exactly this destination.
///
/// # Errors
/// If there is none to tell.
pub fn command(alert: &Alert, reason: &str, expires: &str) -> Result<String, NoCommand> {
    let destination = &alert.destination;
    let info = &alert.process.as_ref().ok_or(NoCommand::NoProgram)?.info;
    let program = program(info).ok_or(NoCommand::NoProgram)?;
    if !destination.group.is_empty() {
        return Err(NoCommand::Several);
    }
    if destination.name.is_empty() {
        return Err(NoCommand::NoDestination);
    }
    if [program.1, &info.script, &destination.name, reason].iter().any(|text| !text.chars().all(is_plain)) {
        return Err(NoCommand::Unprintable);
    }
    let mut command = format!("sonde allow {} {}", program.0, quoted(program.1));
    if !info.script.is_empty() {
        let _ = write!(command, " --script {}", quoted(&info.script));
    }
    let _ = write!(command, " --destination {}", quoted(&destination.name));
    if destination.port != 0 {
        let _ = write!(command, " --port {}", destination.port);
    }
    let _ = write!(command, " --reason {} --expires {}", quoted(reason), quoted(expires));
    Ok(command)
}

/// By what is hardest to take over: the package while the file is the package's, else the hash, else the whole path.
fn program(info: &ProcessInfo) -> Option<(&'static str, &str)> {
    let package = info.package.split(' ').next().unwrap_or_default();
    if info.signed == Some(true) && !package.is_empty() {
        Some(("--package", package))
    } else if !info.sha256.is_empty() {
        Some(("--sha256", &info.sha256))
    } else {
        (!info.image.is_empty()).then_some(("--program", info.image.as_str()))
    }
}

/// A text as one word of a POSIX shell.
#[must_use]
pub fn quoted(text: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || b"-_./:+@%".contains(&b);
    if !text.is_empty() && text.bytes().all(is_bare) && !text.starts_with('-') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::samples;

    #[test]
    fn the_program_is_named_by_what_is_hardest_to_take() {
        let mut alert = samples::implant();
        let hash = alert.process.as_ref().unwrap().info.sha256.clone();
        let end =
            "--destination cdn.telemetry-edge.example --port 443 --reason 'it'\\''s ours' --expires 90d";
        assert_eq!(
            command(&alert, "it's ours", "90d"),
            Ok(format!("sonde allow --sha256 {hash} {end}")),
            "unsigned, but its hash is known"
        );
        let info = &mut alert.process.as_mut().unwrap().info;
        (info.package, info.signed) = ("agent 1.2-3".into(), Some(true));
        assert_eq!(command(&alert, "it's ours", "90d"), Ok(format!("sonde allow --package agent {end}")));
        let info = &mut alert.process.as_mut().unwrap().info;
        (info.signed, info.script) = (Some(false), "/opt/my job.py".into());
        info.sha256.clear();
        let text = command(&alert, "ours", "90d").unwrap();
        assert!(
            text.starts_with(
                "sonde allow --program /home/ci/.cache/.font/updater --script '/opt/my job.py' --destination"
            ),
            "{text}"
        );
    }

    #[test]
    fn nothing_is_told_where_an_entry_would_silence_too_much_or_harm() {
        assert_eq!(command(&samples::in_connection(), "x", "90d"), Err(NoCommand::NoProgram));
        assert_eq!(command(&samples::rotation(), "x", "90d"), Err(NoCommand::Several));
        let mut alert = samples::implant();
        alert.destination.name = "evil\u{1b}[2J.example".into();
        assert_eq!(command(&alert, "x", "90d"), Err(NoCommand::Unprintable));
        alert.destination.name.clear();
        assert_eq!(command(&alert, "x", "90d"), Err(NoCommand::NoDestination));
    }

    #[test]
    fn a_hostile_name_stays_one_word_of_the_shell() {
        assert_eq!(quoted("a'; rm -rf /; '"), r"'a'\''; rm -rf /; '\'''");
        assert_eq!((quoted("-x"), quoted("$(id)")), ("'-x'".into(), "'$(id)'".into()));
    }
}

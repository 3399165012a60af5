//! A run of a program -> what is told of it: arguments to text, secrets left out, facts put together.

use std::borrow::Cow;

use sonde_common::classify::classify;
use sonde_common::config::CommandLines;
use sonde_common::process::{ImageLocation, PROCESS_TEXT, ProcessInfo};
use sonde_common::redact::Redactor;
use sonde_common::text::Rule;

use super::facts::{ExecutableFacts, Place};
use super::table::Run;

/// How a command line is kept.
const COMMAND_LINE: Rule = Rule { cap: sonde_common::live::MAX_ARGUMENT_BYTES, ..PROCESS_TEXT };
/// The arguments of a vector in which each ends with a zero byte; text that is not UTF-8 is replaced where it is not.
pub(super) fn arguments(vector: &[u8]) -> Vec<Cow<'_, str>> {
    let vector = vector.strip_suffix(b"\0").unwrap_or(vector);
    if vector.is_empty() {
        return Vec::new();
    }
    vector.split(|b| *b == 0).map(String::from_utf8_lossy).collect()
}

/// Any bytes of the system as kept text.
pub(super) fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut kept = String::new();
    PROCESS_TEXT.append(&text, &mut kept);
    kept
}

/// Arguments as one line: parted by blanks, in quotes where they hold one.
pub(super) fn command_line(vector: &[u8], redact: bool) -> String {
    let mut line = String::new();
    let arguments = arguments(vector);
    let mut redactor = Redactor::new(arguments.first().map_or("", AsRef::as_ref));
    for (at, argument) in arguments.iter().enumerate() {
        if at > 0 {
            line.push(' ');
        }
        let shown =
            if !redact || at == 0 { Cow::Borrowed(argument.as_ref()) } else { redactor.argument(argument) };
        if shown.is_empty() || shown.contains([' ', '\t', '\n', '\'', '"']) {
            line.push('\'');
            line.push_str(&shown.replace('\'', "'\\''"));
            line.push('\'');
        } else {
            line.push_str(&shown);
        }
    }
    let mut kept = String::new();
    COMMAND_LINE.append(&line, &mut kept);
    kept
}

/// What is told of a run.
pub(super) fn describe(
    run: &Run,
    facts: &ExecutableFacts,
    place: &Place,
    user: String,
    command_lines: CommandLines,
) -> ProcessInfo {
    let mut info = ProcessInfo {
        image: run.image.to_string(),
        command_line: match command_lines {
            CommandLines::Whole => command_line(&run.arguments, false),
            CommandLines::Redacted => command_line(&run.arguments, true),
            CommandLines::None => String::new(),
        },
        sha256: facts.sha256.clone(),
        script: run.script.to_string(),
        parent_image: run.parent_image.to_string(),
        user,
        container: text(place.container.as_bytes()),
        pod: text(place.pod.as_bytes()),
        service: text(place.unit.as_bytes()),
        package: text(facts.package.as_bytes()),
        ancestors: run.ancestors.iter().map(ToString::to_string).collect(),
        signed: facts.signed,
        location: facts.in_memory.then_some(ImageLocation::Memory),
        ..Default::default()
    };
    classify(&mut info);
    info
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_command_line_is_one_plain_line() {
        assert_eq!(command_line(b"sh\0-c\0curl it's\0\0", false), r"sh -c 'curl it'\''s' ''");
        assert_eq!(command_line(b"a\0b\x1b[31m\0", false), "a b\\u{1b}[31m");
        assert_eq!(command_line(b"", false), "");
        assert!(command_line(&[b'\xff'; 9000], false).len() <= 4096);
    }

    #[test]
    fn secrets_are_left_out_on_request() {
        let line = |text: &str| command_line(text.replace('|', "\0").as_bytes(), true);
        for (given, kept) in [
            ("curl|-H|Authorization: Bearer x|https://h/", "curl -H 'Authorization: [redacted]' https://h/"),
            ("curl|-u|ann:x|h", "curl -u [redacted] h"),
            ("x|--password|hunter2|-v", "x --password [redacted] -v"),
            ("x|--api-key=hunter2", "x --api-key=[redacted]"),
            ("env|DB_PASSWORD=hunter2|x", "env DB_PASSWORD=[redacted] x"),
            ("git|clone|https://ann:x@h/p@q", "git clone https://[redacted]@h/p@q"),
            ("x|--token|--verbose", "x --token --verbose"),
            ("curl|https://h/?a=b", "curl https://h/?a=b"),
        ] {
            assert_eq!(line(given), kept);
        }
    }

    proptest! {
        #[test]
        fn any_vector_gives_a_bounded_plain_line(vector in proptest::collection::vec(any::<u8>(), 0..600), redact: bool) {
            let line = command_line(&vector, redact);
            prop_assert!(line.len() <= 4096 && line.chars().all(sonde_common::text::is_plain));
        }
    }
}

//! How the service manager starts the program, held against how it should: a path with spaces that is not quoted is tried
//! word by word, so that whoever can put a `C:\Program.exe` there is run as SYSTEM.

use std::path::Path;

use super::install;

/// What is wrong with how the service manager starts this very program; `None`: nothing, or it cannot be told.
pub(super) fn own_fault() -> Option<String> {
    let command = install::command_line().ok()?;
    fault(&command, &super::program().ok()?)
}

/// What is wrong with a command line that is to start the program.
pub(super) fn fault(command: &str, program: &Path) -> Option<String> {
    let (path, quoted) = first_word(command);
    let wanted = program.to_string_lossy();
    if !quoted && command.to_lowercase().starts_with(&wanted.to_lowercase()) && wanted.contains(' ') {
        return Some(format!("its path has spaces and is not quoted: {command}"));
    }
    if !path.eq_ignore_ascii_case(&wanted) {
        return Some(format!("it starts another program: {command}"));
    }
    None
}

/// The path that a command line begins with, and whether it is quoted.
fn first_word(command: &str) -> (&str, bool) {
    match command.trim_start().strip_prefix('"') {
        Some(rest) => (rest.split('"').next().unwrap_or_default(), true),
        None => (command.split_whitespace().next().unwrap_or_default(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_spaces_has_to_be_quoted_and_to_be_ours() {
        let ours = Path::new(r"C:\Program Files\Sonde\sonde.exe");
        assert_eq!(fault(r#""C:\Program Files\Sonde\sonde.exe" run --service"#, ours), None);
        assert_eq!(fault(r#""c:\program files\sonde\SONDE.EXE" run --service"#, ours), None);
        let unquoted = fault(r"C:\Program Files\Sonde\sonde.exe run --service", ours);
        assert!(unquoted.is_some_and(|text| text.contains("not quoted")));
        for other in [r#""C:\Program Files\Sonde\other.exe" run"#, r"C:\Program.exe", "", "\""] {
            assert!(fault(other, ours).is_some_and(|text| text.contains("another program")), "{other}");
        }
        let plain = Path::new(r"D:\sonde.exe");
        assert_eq!(fault(r"D:\sonde.exe run --service", plain), None);
        assert!(fault(r"D:\sonde.exe.bak run --service", plain).is_some());
    }
}

//! Which script an interpreter runs, by its arguments: pure.
//!
//! A beacon written in Python is not Python: its series is keyed by the script. What is given on the command line (`sh -c`,
//! `perl -e`) or on standard input is no script, since it has no name.

use sonde_common::process::image_name;

/// What the arguments say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script<'a> {
    /// A file: absolute, or relative to the folder of the process.
    File(&'a str),
    /// A module or class that the interpreter finds by itself: `-m http.server`, `org.example.Main`.
    Module(String),
}

/// How an interpreter reads its arguments.
struct Reading {
    /// Letters that give code: there is no script.
    code: &'static str,
    /// Letters whose value follows, in the same argument or the next one.
    value: &'static str,
    /// Letters whose value is in the same argument or absent, so that the rest of the argument is not letters.
    attached: &'static str,
    /// Letter that gives a module, if any.
    module: Option<char>,
    /// Letter that gives the script, if any.
    file: Option<char>,
    /// Long options that give code.
    long_code: &'static [&'static str],
    /// Long options whose value is the next argument.
    long_value: &'static [&'static str],
    /// First words that are commands of the interpreter, not scripts.
    commands: &'static [&'static str],
}

const PLAIN: Reading = Reading {
    code: "",
    value: "",
    attached: "",
    module: None,
    file: None,
    long_code: &[],
    long_value: &[],
    commands: &[],
};
const SHELL: Reading = Reading { code: "cs", value: "oO", long_value: &["--rcfile", "--init-file"], ..PLAIN };
const PYTHON: Reading =
    Reading { code: "c", value: "WXQ", module: Some('m'), long_value: &["--check-hash-based-pycs"], ..PLAIN };
const PERL: Reading = Reading { code: "eE", value: "I", attached: "MmxiCdDFl0V", ..PLAIN };
const RUBY: Reading = Reading { code: "e", value: "IrCE", attached: "xiFKTW0", ..PLAIN };
const NODE: Reading = Reading {
    code: "ep",
    value: "rC",
    long_code: &["--eval", "--print"],
    long_value: &["--require", "--import", "--loader", "--experimental-loader", "--conditions", "--env-file"],
    ..PLAIN
};
const DENO: Reading = Reading {
    value: "cL",
    long_value: &["--config", "--import-map", "--lock", "--cert", "--location", "--log-level"],
    commands: &["run", "x", "serve"],
    ..NODE
};
const PHP: Reading = Reading {
    code: "rRBES",
    value: "cdzt",
    file: Some('f'),
    long_code: &["--run", "--server"],
    long_value: &["--php-ini", "--define", "--zend-extension", "--docroot"],
    ..PLAIN
};
const LUA: Reading = Reading { code: "e", value: "l", ..PLAIN };
const R: Reading = Reading { code: "e", ..PLAIN };

/// The script that an interpreter of this image runs with these arguments (the first of which is its own name).
#[must_use]
pub fn script<'a>(image: &str, arguments: &[&'a str]) -> Option<Script<'a>> {
    let name = image_name(image);
    let versionless = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
    let rest = arguments.get(1..)?;
    let reading = match versionless {
        "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" | "mksh" | "fish" | "csh" | "tcsh" | "rbash" => &SHELL,
        // `busybox sh x`, or a link to it named `sh`.
        "busybox" => {
            let called = image_name(arguments.first()?);
            return match called {
                "busybox" => script(rest.first()?, rest),
                "sh" | "ash" | "hush" => read(&SHELL, rest),
                _ => None,
            };
        }
        "python" | "pypy" | "pythonw" => &PYTHON,
        "perl" => &PERL,
        "ruby" | "jruby" | "truffleruby" => &RUBY,
        "node" | "nodejs" => &NODE,
        "deno" | "bun" => &DENO,
        "php" | "php-cgi" | "php-cli" => &PHP,
        "lua" | "luajit" | "texlua" => &LUA,
        "Rscript" => &R,
        "tclsh" | "wish" | "expect" | "guile" | "osascript" => &PLAIN,
        "pwsh" | "powershell" => return powershell(rest),
        "java" => return java(rest),
        "dotnet" | "mono" => return managed(rest),
        _ => return None,
    };
    read(reading, rest)
}

fn read<'a>(reading: &Reading, arguments: &[&'a str]) -> Option<Script<'a>> {
    let mut arguments = arguments.iter().copied();
    let mut commands = reading.commands;
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            return arguments.next().and_then(file);
        }
        if let Some(long) = argument.strip_prefix("--") {
            let option = argument.split_once('=').map_or(argument, |(option, _)| option);
            if reading.long_code.contains(&option) {
                return None;
            }
            if option == "--file" && reading.file.is_some() {
                return match argument.split_once('=') {
                    Some((_, value)) => file(value),
                    None => arguments.next().and_then(file),
                };
            }
            if !long.contains('=') && reading.long_value.contains(&option) {
                arguments.next();
            }
            continue;
        }
        let letters = argument.strip_prefix('-').or_else(|| argument.strip_prefix('+'));
        let Some(letters) = letters.filter(|letters| !letters.is_empty()) else {
            if commands.contains(&argument) {
                commands = &[];
                continue;
            }
            return file(argument);
        };
        for (at, letter) in letters.char_indices() {
            let after = letters.get(at + letter.len_utf8()..).unwrap_or_default();
            if reading.code.contains(letter) {
                return None;
            }
            if Some(letter) == reading.module {
                let module = if after.is_empty() { arguments.next()? } else { after };
                return Some(Script::Module(format!("-m {module}")));
            }
            if Some(letter) == reading.file {
                return file(if after.is_empty() { arguments.next()? } else { after });
            }
            if reading.value.contains(letter) {
                if after.is_empty() {
                    arguments.next();
                }
                break;
            }
            if reading.attached.contains(letter) {
                break;
            }
        }
    }
    None
}

/// A name that may be a file: `-` is standard input.
fn file(name: &str) -> Option<Script<'_>> {
    (!name.is_empty() && name != "-").then_some(Script::File(name))
}

fn java<'a>(arguments: &[&'a str]) -> Option<Script<'a>> {
    const VALUES: [&str; 10] = [
        "-cp",
        "-classpath",
        "--class-path",
        "-p",
        "--module-path",
        "--upgrade-module-path",
        "--add-modules",
        "--add-opens",
        "--add-exports",
        "--source",
    ];
    let mut arguments = arguments.iter().copied();
    while let Some(argument) = arguments.next() {
        match argument {
            "-jar" => return arguments.next().and_then(file),
            "-m" | "--module" => {
                return arguments.next().map(|module| Script::Module(format!("-m {module}")));
            }
            value if VALUES.contains(&value) => {
                arguments.next();
            }
            option if option.starts_with(['-', '@']) => {}
            source if source.ends_with(".java") => return file(source),
            class => return (!class.is_empty()).then(|| Script::Module(class.to_owned())),
        }
    }
    None
}

fn managed<'a>(arguments: &[&'a str]) -> Option<Script<'a>> {
    let is_assembly = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.ends_with(".dll") || name.ends_with(".exe")
    };
    arguments
        .iter()
        .copied()
        .find(|argument| !argument.starts_with('-') && is_assembly(argument))
        .and_then(file)
}

/// PowerShell takes `-File x`, any beginning of an option's name, in any case; a bare name is a file too.
fn powershell<'a>(arguments: &[&'a str]) -> Option<Script<'a>> {
    const VALUES: [&str; 8] = [
        "executionpolicy",
        "inputformat",
        "outputformat",
        "configurationname",
        "settingsfile",
        "version",
        "windowstyle",
        "workingdirectory",
    ];
    let mut arguments = arguments.iter().copied();
    while let Some(argument) = arguments.next() {
        let Some(option) = argument.strip_prefix('-').map(str::to_ascii_lowercase) else {
            return file(argument);
        };
        let option = option.trim_start_matches('-');
        if option.is_empty() {
            return None;
        }
        if "file".starts_with(option) {
            return arguments.next().and_then(file);
        }
        if ["command", "encodedcommand", "ec", "commandwithargs", "cwa"]
            .iter()
            .any(|code| code.starts_with(option))
        {
            return None;
        }
        if option == "ep"
            || option == "ex"
            || option == "wd"
            || VALUES.iter().any(|value| value.starts_with(option))
        {
            arguments.next();
        }
    }
    None
}

/// A path with the folder in front where it has none, without `.` and `..`, as text alone can tell.
#[must_use]
pub fn resolve(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let before = if path.starts_with('/') { "" } else { folder };
    for part in before.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(line: &str) -> String {
        let arguments: Vec<&str> = line.split(' ').collect();
        match script(arguments[0], &arguments) {
            Some(Script::File(name)) => format!("file {name}"),
            Some(Script::Module(name)) => format!("module {name}"),
            None => String::new(),
        }
    }

    #[test]
    fn the_script_is_found_behind_options_and_their_values() {
        for (line, expected) in [
            ("/usr/bin/python3.11 /opt/a.py -c x", "file /opt/a.py"),
            ("python3 -u -W ignore -X dev a.py", "file a.py"),
            ("python3 -uWignore a.py", "file a.py"),
            ("python3 -c print(1) a.py", ""),
            ("python3 -Ic print(1)", ""),
            ("python3 -m http.server 80", "module -m http.server"),
            ("python3 -um pip install", "module -m pip"),
            ("python3 -mpip", "module -m pip"),
            ("python3 -", ""),
            ("python3", ""),
            ("python3 -- a.py", "file a.py"),
            ("perl -w -I lib -MFoo x.pl", "file x.pl"),
            ("perl -Ilib x.pl", "file x.pl"),
            ("perl -ne print x.pl", ""),
            ("perl -i.bak -pe s/a/b/ f", ""),
            ("ruby -rjson -I lib x.rb", "file x.rb"),
            ("ruby -e puts", ""),
            ("node --inspect=0 -r dotenv x.js", "file x.js"),
            ("node --require dotenv --max-old-space-size=9 x.js", "file x.js"),
            ("node -e 1", ""),
            ("nodejs --eval 1 x.js", ""),
            ("deno run --allow-net x.ts", "file x.ts"),
            ("bun x.ts", "file x.ts"),
            ("php8.2 -d memory_limit=1 x.php", "file x.php"),
            ("php -f x.php a", "file x.php"),
            ("php -r 1;", ""),
            ("php -S 127.0.0.1:1", ""),
            ("bash -c curl a", ""),
            ("bash -ec curl a", ""),
            ("sh -s a", ""),
            ("sh", ""),
            ("-bash", ""),
            ("bash -x -o pipefail /opt/x.sh 1", "file /opt/x.sh"),
            ("bash --norc --rcfile f x.sh", "file x.sh"),
            ("dash +e x.sh", "file x.sh"),
            ("busybox sh x.sh", "file x.sh"),
            ("busybox wget u", ""),
            ("java -Xmx1g -cp a:b -jar /opt/x.jar -jar y", "file /opt/x.jar"),
            ("java -cp a:b org.example.Main", "module org.example.Main"),
            ("java -p mods -m app/main", "module -m app/main"),
            ("java -version", ""),
            ("dotnet exec --depsfile d App.dll", "file App.dll"),
            ("pwsh -NoProfile -ep Bypass -File x.ps1", "file x.ps1"),
            ("pwsh -nop -enc aaaa", ""),
            ("pwsh x.ps1", "file x.ps1"),
            ("lua5.4 -l m x.lua", "file x.lua"),
            ("/usr/bin/curl x.sh", ""),
        ] {
            assert_eq!(of(line), expected, "{line}");
        }
    }

    #[test]
    fn a_busybox_called_by_another_name_is_read_as_that() {
        assert_eq!(script("/bin/busybox", &["/bin/sh", "x.sh"]), Some(Script::File("x.sh")));
        assert_eq!(script("/bin/busybox", &["wget", "x.sh"]), None);
        assert_eq!(script("/bin/sh", &[]), None);
    }

    #[test]
    fn paths_are_resolved_by_their_text() {
        assert_eq!(resolve("/home/ann", "./b/../c.py"), "/home/ann/c.py");
        assert_eq!(resolve("/home/ann", "/opt//x/./y"), "/opt/x/y");
        assert_eq!(resolve("/", "../../x"), "/x");
    }

    proptest! {
        #[test]
        fn any_arguments_are_read_without_panic(
            name in "(python3|perl|ruby|node|php|bash|busybox|java|dotnet|pwsh|deno|lua)",
            arguments in proptest::collection::vec("(-[a-zA-Zä]{0,3}|--|--[a-z]{0,4}=?|.{0,4})", 0..6),
        ) {
            let mut all = vec![name.as_str()];
            all.extend(arguments.iter().map(String::as_str));
            if let Some(Script::File(file)) = script(&name, &all) {
                prop_assert!(resolve("/a", file).starts_with('/'));
            }
        }
    }
}

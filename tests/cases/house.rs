//! House rules that no compiler checks: where OS code, I/O and clocks may stand, and what may be in the repository.
//!
//! Each rule is a function over text, first shown to fail on planted text and then held against every tracked file.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

#[path = "house/security.rs"]
mod security;
#[path = "house/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use source::{balanced, blank, code_only, flatten, line_of, test_modules, words};

/// A compressed capture fits in this; what does not is generated, not stored, since every clone carries it for ever.
const MAX_BINARY: usize = 1 << 20;

/// Folders of a developer's home that show up when a tool's output is pasted. A home path as such is no leak: programs
/// in home folders are what this product is about.
const DEVELOPER_FOLDERS: [&str; 9] =
    [".cargo", ".rustup", ".pyenv", "src", "git", "repos", "projects", "workspace", "code"];

// --- The rules -----------------------------------------------------------------------------------------------------

/// Lines of Rust that ask which operating system they are compiled for.
fn os_cfgs(source: &str) -> Vec<usize> {
    const OS_WORDS: [&str; 6] =
        ["unix", "windows", "target_os", "target_family", "target_env", "target_vendor"];
    let code = code_only(source);
    let mut lines = Vec::new();
    for (at, word) in words(&code) {
        let rest = code[at + word.len()..].trim_start_matches('!').trim_start();
        if !matches!(word, "cfg" | "cfg_attr") || !rest.starts_with('(') {
            continue;
        }
        let condition = &rest[..balanced(rest, '(', ')')];
        if words(condition).any(|(_, word)| OS_WORDS.contains(&word)) {
            lines.push(line_of(&code, at));
        }
    }
    lines
}

/// Lines of `common` that reach for the machine: files, sockets, threads, clocks, the environment. Tests may.
fn impurities(source: &str) -> Vec<(usize, String)> {
    const TYPES: [&str; 7] =
        ["Instant", "SystemTime", "TcpStream", "TcpListener", "UdpSocket", "UnixStream", "UnixListener"];
    const MODULES: [&str; 5] = ["std::fs", "std::thread", "std::env", "std::process", "std::os"];
    let mut code = code_only(source);
    for range in test_modules(&code) {
        blank(&mut code, range);
    }
    let mut found = BTreeSet::new();
    for (at, word) in words(&code) {
        if TYPES.contains(&word) {
            found.insert((line_of(&code, at), word.to_owned()));
        }
        if word == "std" {
            let statement_end = code[at..].find([';', '\n']).map_or(code.len(), |end| at + end);
            let tree_end = code[at..]
                .find('{')
                .filter(|open| at + open < statement_end)
                .map_or(statement_end, |open| at + open + balanced(&code[at + open..], '{', '}'));
            for path in flatten(&code[at..tree_end]) {
                if let Some(module) =
                    MODULES.iter().find(|m| path == **m || path.starts_with(&format!("{m}::")))
                {
                    found.insert((line_of(&code, at), (*module).to_owned()));
                }
            }
        }
    }
    found.into_iter().collect()
}

/// Lines of the agent outside its commands that lean on them. Samples of alerts are tests' own.
fn leans_on_commands(source: &str) -> Vec<usize> {
    let code = code_only(source);
    let named = code.match_indices("crate::cli");
    let named = named.filter(|(at, _)| !code[*at..].starts_with("crate::cli::output::samples"));
    named.map(|(at, _)| line_of(&code, at)).collect()
}

/// Whether a Rust file says at its top what it is for.
fn has_header(source: &str) -> bool {
    source
        .strip_prefix("//!")
        .and_then(|rest| rest.lines().next())
        .is_some_and(|line| !line.trim().is_empty())
}

/// Paths that only exist on one developer's machine: this checkout's own, and tool folders in a home.
fn machine_paths(text: &str, checkout: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let plain = line.replace("\\\\", "/").replace('\\', "/");
        let homes = ["/home/", "/Users/", "/root/"].into_iter().any(|home| {
            plain.match_indices(home).any(|(at, _)| {
                let mut parts = plain[at + home.len()..].split('/');
                let folder = if home == "/root/" { parts.next() } else { parts.nth(1) };
                // The last part of a path is a file, or text that goes on.
                parts.next().is_some() && folder.is_some_and(|folder| DEVELOPER_FOLDERS.contains(&folder))
            })
        });
        let own = plain.match_indices(checkout).any(|(at, _)| {
            plain[at + checkout.len()..]
                .chars()
                .next()
                .is_none_or(|next| !next.is_alphanumeric() && next != '-' && next != '_')
        });
        if homes || own {
            lines.push(number + 1);
        }
    }
    lines
}

/// Whether a file is binary, as git judges, and larger than a repository should carry.
fn is_overlong_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(8000).any(|byte| *byte == 0) && bytes.len() > MAX_BINARY
}

/// Relative targets of the links in a Markdown text, without their anchors. Code is left out.
fn relative_links(markdown: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut fenced = false;
    for line in markdown.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        // What stands between backticks is every second part; the text of a link may be code too.
        let prose: Vec<&str> =
            line.split('`').enumerate().map(|(i, part)| if i % 2 == 0 { part } else { "" }).collect();
        let prose = prose.concat();
        for (at, _) in prose.match_indices("](") {
            let target: String =
                prose[at + 2..].chars().take_while(|c| !matches!(c, ')' | ' ' | '#')).collect();
            if !target.is_empty() && !target.contains(':') {
                links.push(target);
            }
        }
    }
    links
}

// --- The repository ------------------------------------------------------------------------------------------------

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every tracked or about-to-be-tracked file, relative to the top.
fn repository_files() -> Vec<String> {
    // CI may own the clone as another user; only names are read.
    let output = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is installed by scripts/setup --test");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    // A file that is tracked but deleted in the work tree has no content to judge.
    let files: Vec<String> =
        names.split_terminator('\0').map(str::to_owned).filter(|name| root().join(name).is_file()).collect();
    assert!(files.iter().any(|name| name == "common/src/lib.rs"), "not the repository of Sonde");
    files
}

fn rust_files() -> impl Iterator<Item = (String, String)> {
    repository_files().into_iter().filter(|name| name.ends_with(".rs")).map(|name| {
        let source = std::fs::read_to_string(root().join(&name)).unwrap();
        (name, source)
    })
}

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}\n  {}", found.join("\n  "));
}

#[test]
fn operating_systems_are_named_only_in_platform() {
    let found: Vec<_> = rust_files()
        .filter(|(name, _)| !name.starts_with("agent/src/platform/"))
        .flat_map(|(name, source)| os_cfgs(&source).into_iter().map(move |line| format!("{name}:{line}")))
        .collect();
    assert_none(&found, "OS code belongs in agent/src/platform:");
}

#[test]
fn common_does_not_touch_the_machine() {
    let found: Vec<_> = rust_files()
        .filter(|(name, _)| name.starts_with("common/src/") && !name.ends_with("/tests.rs"))
        .flat_map(|(name, source)| {
            impurities(&source).into_iter().map(move |(line, what)| format!("{name}:{line}: {what}"))
        })
        .collect();
    assert_none(&found, "common is bytes and times in, values out; this belongs in agent:");
}

#[test]
fn nothing_leans_on_the_commands() {
    let found: Vec<_> = rust_files()
        .filter(|(name, _)| name.starts_with("agent/src/") && !name.starts_with("agent/src/cli/"))
        .flat_map(|(name, source)| {
            leans_on_commands(&source).into_iter().map(move |line| format!("{name}:{line}"))
        })
        .collect();
    assert_none(&found, "commands lean on the rest of the agent, never the reverse:");
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    let found: Vec<_> =
        rust_files().filter(|(_, source)| !has_header(source)).map(|(name, _)| name).collect();
    assert_none(&found, "these begin with no //! header:");
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let checkout = root().to_str().unwrap().to_owned();
    let found: Vec<_> = repository_files()
        .into_iter()
        .flat_map(|name| {
            let bytes = std::fs::read(root().join(&name)).unwrap();
            let lines = machine_paths(&String::from_utf8_lossy(&bytes), &checkout);
            lines.into_iter().map(move |line| format!("{name}:{line}"))
        })
        .collect();
    assert_none(&found, "paths that exist on one machine only:");
}

#[test]
fn no_binary_outgrows_the_repository() {
    let found: Vec<_> = repository_files()
        .into_iter()
        .filter(|name| is_overlong_binary(&std::fs::read(root().join(name)).unwrap()))
        .collect();
    assert_none(&found, "binary files over 1 MiB: generate them, or keep them elsewhere:");
}

#[test]
fn links_in_documents_lead_somewhere() {
    let found: Vec<_> = repository_files()
        .into_iter()
        .filter(|name| name.ends_with(".md"))
        .flat_map(|name| {
            let file = root().join(&name);
            let links = relative_links(&std::fs::read_to_string(&file).unwrap());
            links
                .into_iter()
                .filter(move |link| !file.parent().unwrap().join(link).exists())
                .map(move |link| format!("{name}: {link}"))
        })
        .collect();
    assert_none(&found, "links to nothing:");
}

// --- The rules can fail --------------------------------------------------------------------------------------------

#[test]
fn planted_os_cfgs_are_found_and_look_alikes_are_not() {
    assert_eq!(os_cfgs("#[cfg(unix)]\nfn a() {}\n#[cfg(test)]\nmod tests;"), [1]);
    assert_eq!(os_cfgs("fn a() {\n    if cfg!(windows) {}\n}"), [2]);
    assert_eq!(
        os_cfgs("#![cfg_attr(\n    all(test, not(target_os = \"linux\")),\n    allow(dead_code)\n)]"),
        [1]
    );
    assert!(os_cfgs("// #[cfg(unix)]\n/* cfg!(windows) /* nested */ cfg!(unix) */").is_empty());
    assert!(os_cfgs("let text = \"#[cfg(unix)]\"; let raw = r#\"cfg!(\"windows\")\"#;").is_empty());
    assert!(os_cfgs("#[cfg(feature = \"unix\")]\nfn windows(cfg: u8) {}").is_empty());
    // A quote in a character, and a lifetime, must not swallow what follows.
    assert_eq!(os_cfgs("let quote = '\"';\nfn f<'a>(x: &'a str) {}\n#[cfg(unix)]"), [3]);
}

#[test]
fn planted_impurities_are_found_and_tests_are_let_be() {
    let found = |source: &str| {
        impurities(source).into_iter().map(|(line, what)| format!("{line} {what}")).collect::<Vec<_>>()
    };
    assert_eq!(found("use std::fs;"), ["1 std::fs"]);
    assert_eq!(found("use std::fs::File;\nlet now = std::time::Instant::now();"), ["1 std::fs", "2 Instant"]);
    assert_eq!(
        found("use std::{\n    collections::{BTreeMap, HashMap},\n    thread,\n};"),
        ["1 std::thread"]
    );
    assert_eq!(found("use std::net::{IpAddr, TcpStream};"), ["1 TcpStream"]);
    assert_eq!(found("fn f() -> std::time::SystemTime { todo() }"), ["1 SystemTime"]);
    assert_eq!(found("let home = std::env::var(name);"), ["1 std::env"]);
    assert!(
        found("use std::net::IpAddr;\nuse std::{fmt, hash::Hash};\nuse crate::process::thread;\nfn fs() {}")
            .is_empty()
    );
    assert!(found("//! No std::fs here.\nlet text = \"Instant\";").is_empty());
    let tested =
        "use std::fmt;\n#[cfg(test)]\nmod tests {\n    use std::fs;\n    fn f() {}\n}\nuse std::thread;\n";
    assert_eq!(found(tested), ["7 std::thread"]);
    assert_eq!(found("#[cfg(test)]\nmod tests;\nfn f() { std::fs::read(a); }"), ["3 std::fs"]);
}

#[test]
fn a_planted_use_of_a_command_is_found() {
    let planted =
        "//! See crate::cli.\nuse crate::cli::output::samples;\nfn f() {\n    crate::cli::status::ago();\n}";
    assert_eq!(leans_on_commands(planted), [4]);
}

#[test]
fn a_missing_or_empty_header_is_found() {
    assert!(has_header("//! What it is for.\nuse a;"));
    for bare in ["use a;", "", "//!\n", "// no doc comment", "\n//! too late"] {
        assert!(!has_header(bare), "{bare:?}");
    }
}

#[test]
fn planted_machine_paths_are_found_and_traffic_fixtures_are_not() {
    let found = |text: &str| machine_paths(text, "/build/checkout");
    // Put together here, so that this file is not itself a finding.
    let planted = |parts: [&str; 2]| found(&format!("fine\nat {}", parts.concat()));
    assert_eq!(planted(["/ho", "me/ann/.cargo/registry/lib.rs"]), [2]);
    assert_eq!(planted(["/ro", "ot/.rustup/toolchains/x"]), [2]);
    assert_eq!(planted(["C:\\Us", "ers\\ann\\src\\sonde\\main.rs"]), [2]);
    assert_eq!(planted(["C:\\\\Us", "ers\\\\ann\\\\git\\\\sonde\\\\main.rs"]), [2]);
    assert_eq!(found("see /build/checkout/docs\n/build/checkout-2/docs\n/build/checkout"), [1, 3]);
    assert!(
        found("/home/alice/.cache/updater C:\\Users\\bob\\AppData\\Local\\Temp\\x.exe /root/implant")
            .is_empty()
    );
    assert!(found("write to ~/.cargo/bin or $HOME/src/x").is_empty());
}

#[test]
fn a_long_binary_is_found_and_a_long_text_is_not() {
    let mut file = vec![b'a'; MAX_BINARY + 1];
    assert!(!is_overlong_binary(&file));
    file[10] = 0;
    assert!(is_overlong_binary(&file));
    file.truncate(MAX_BINARY);
    assert!(!is_overlong_binary(&file));
}

#[test]
fn relative_links_are_read_and_code_is_not() {
    let text = "[a](docs/a.md#part) [b](https://b.example) [`c`](c.rs)\n`[d](d.md)`\n```\n[e](e.md)\n```\n[f](#here) [g](g.md)";
    assert_eq!(relative_links(text), ["docs/a.md", "c.rs", "g.md"]);
}

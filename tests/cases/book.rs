//! The book: every page stands in SUMMARY.md, every link leads somewhere, and every command is run, in the order of the pages,
//! in a folder with the files that they name and beside a running sensor; or a comment above it says why it is not.
//!
//! A block of `sh` is run whole, as a script that ends at the first failure. `<!-- not run: reason -->` excuses it; what it calls has to
//! exist all the same. `<!-- runs on -->` starts it before the others. Words that stand for something of the reader's are
//! replaced: see [`WORDS`]. Root is needed; without it the commands are left out, said on stderr, and with `CI=true` that is a failure.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

#[path = "live/stage.rs"]
#[expect(dead_code, reason = "the live cases need more of it")]
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::GzDecoder;
use sonde_tests::book::{Block, Said, anchors, blocks, chapters, links};
use sonde_tests::program::{Scratch, run, say, sonde};

use crate::stage::Stage;

/// The blocks that are not run may be so many of a hundred: what builds, installs, takes minutes or needs another system.
const MOST_EXCUSED_PERCENT: usize = 55;
/// What stands for something of the reader's, page by page (or on any), and what it stands for here. The id is that of what
/// the running sensor has found.
const WORDS: [(&str, &str, &str); 7] = [
    ("feeds.md", "FILE", "ipblocklist.csv"),
    ("feeds.md", "FOLDER", "feeds"),
    ("profiles.md", "FILE…", "profile.toml"),
    ("", "FILE…", "capture.pcapng"),
    ("", "FILE", "capture.pcapng"),
    ("", "NUMBER", "1"),
    ("", "ID", "$ID"),
];
/// Runs in a mount namespace of its own, so that the sensor's folders are the test's. Started with the scratch folder and the
/// number of blocks.
const DRIVER: &str = r#"
set -u
scratch=$1 count=$2
for folder in etc/sonde var/lib/sonde run/sonde; do
    mount --bind "$scratch/$folder" "/$folder" || exit 99
done
cd "$scratch/book" || exit 99
export PATH="$scratch/bin:$PATH" HOME="$scratch" LC_ALL=C.UTF-8
bash -e "$scratch/runs-on.sh" >"$scratch/sensor.out" 2>"$scratch/sensor.log" </dev/null &
sensor=$!
for _ in $(seq 300); do
    ID=$(sonde alerts --format ndjson 2>/dev/null | jq -r 'select(.process) | .sonde.id[:8]' | head -n 1)
    [ -n "$ID" ] && break
    sleep 0.2
done
export ID
for number in $(seq "$count"); do
    timeout 120 bash -eu -o pipefail "$scratch/$number.sh" >"$scratch/$number.out" 2>&1 </dev/null
    echo $? >"$scratch/$number.code"
done
kill -TERM "$sensor" && wait "$sensor"
echo $? >"$scratch/sensor.code"
"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The pages, as paths from the top: the README, then the chapters in their order.
fn pages() -> Vec<String> {
    let chapters = chapters(&read("docs/SUMMARY.md"));
    std::iter::once("README.md".to_owned())
        .chain(chapters.into_iter().map(|page| format!("docs/{page}")))
        .collect()
}

#[test]
fn every_page_is_a_chapter_once() {
    let mut named = chapters(&read("docs/SUMMARY.md"));
    let found = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<_> = found.filter(|name| name.ends_with(".md") && name != "SUMMARY.md").collect();
    named.sort();
    found.sort();
    assert_eq!(named, found, "docs/SUMMARY.md names each page once");
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut wrong = Vec::new();
    for page in pages().iter().chain(&["docs/SUMMARY.md".to_owned()]) {
        let text = read(page);
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() {
                root().join(page)
            } else {
                root().join(page).parent().unwrap().join(path)
            };
            let has_anchor = anchor.is_empty()
                || fs::read_to_string(&target)
                    .is_ok_and(|text| anchors(&text).iter().any(|found| found == anchor));
            if !target.exists() || !has_anchor {
                wrong.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(wrong.is_empty(), "links to nothing:\n  {}", wrong.join("\n  "));
}

/// All blocks, with the page of each.
fn all_blocks() -> Vec<(String, Block)> {
    let of = |page: String| {
        let found = blocks(&read(&page)).unwrap_or_else(|error| panic!("{page}, {error}"));
        found.into_iter().map(move |block| (page.clone(), block))
    };
    pages().into_iter().flat_map(of).collect()
}

#[test]
fn what_is_not_run_is_little_and_exists() {
    let blocks = all_blocks();
    let excused: Vec<_> = blocks.iter().filter(|(_, block)| matches!(block.said, Said::NotRun(_))).collect();
    let (all, not_run) = (blocks.len(), excused.len());
    say(&format!("{all} blocks of commands: {} run, {not_run} excused", all - not_run));
    assert!(all > 30, "{all} blocks: are they still found?");
    assert!(not_run * 100 <= all * MOST_EXCUSED_PERCENT, "{not_run} of {all} blocks are excused");
    let mut wrong = Vec::new();
    for (page, block) in excused {
        for line in block.text.lines() {
            if let Err(why) = exists(line) {
                wrong.push(format!("{page}:{}: {line}: {why}", block.line));
            }
        }
    }
    assert!(wrong.is_empty(), "commands that cannot be:\n  {}", wrong.join("\n  "));
}

/// Whether a command of ours is one, and has the options that it is given.
fn exists(line: &str) -> Result<(), String> {
    // Up to a comment, a pipe, or what is quoted: another program's.
    let line =
        ["#", "|", "'"].iter().fold(line, |line, end| line.split(&format!(" {end}")).next().unwrap_or(line));
    let mut words = line.split_whitespace().filter(|word| *word != "sudo" && !word.contains('='));
    let Some(program) = words.next() else { return Ok(()) };
    let is_name =
        |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && !word.starts_with('-');
    let rest: Vec<_> = words.collect();
    let told = match program.trim_start_matches("./") {
        "sonde" => {
            let names: Vec<_> = rest.iter().copied().take_while(is_name).collect();
            let ran = run(names.iter().copied().chain(["--help"]), b"");
            if ran.code != 0 {
                return Err(ran.stderr);
            }
            ran.text().to_owned()
        }
        path if path.starts_with("scripts/") || path.starts_with("packaging/") => {
            // What it passes on is for another program to know.
            let text = fs::read_to_string(root().join(path)).map_err(|error| error.to_string())?;
            if text.contains("\"$@\"") {
                return Ok(());
            }
            text
        }
        _ => return Ok(()),
    };
    let options = rest.iter().map(|word| word.trim_matches(|c| matches!(c, '[' | ']')));
    let unknown: Vec<_> = options.filter(|word| word.starts_with("--") && !told.contains(*word)).collect();
    if unknown.is_empty() { Ok(()) } else { Err(format!("it knows no {}", unknown.join(", "))) }
}

/// A block's commands with the reader's words replaced.
fn filled(page: &str, text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        // Prompts of `console`.
        let mut line = line.strip_prefix("$ ").unwrap_or(line).to_owned();
        for (of, word, stands_for) in WORDS {
            if of.is_empty() || page.ends_with(of) {
                line = line
                    .split(' ')
                    .map(|found| if found == word { stands_for } else { found })
                    .collect::<Vec<_>>()
                    .join(" ");
            }
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// The first block in that language on a page.
fn example(page: &str, language: &str) -> String {
    let text = read(page);
    let (_, rest) =
        text.split_once(&format!("```{language}\n")).unwrap_or_else(|| panic!("{page} has no {language}"));
    rest.split("```").next().unwrap().to_owned()
}

/// The files that the pages name, in `book`.
fn prepare(scratch: &Scratch) -> PathBuf {
    let book = scratch.file("book");
    for folder in ["book/zeek", "bin", "etc/sonde", "var/lib/sonde", "run/sonde"] {
        fs::create_dir_all(scratch.file(folder)).unwrap();
    }
    for shared in ["packaging", "tests"] {
        std::os::unix::fs::symlink(root().join(shared), book.join(shared)).unwrap();
    }
    std::os::unix::fs::symlink(sonde(), scratch.file("bin/sonde")).unwrap();
    fs::create_dir_all(book.join("scripts")).unwrap();
    for entry in fs::read_dir(root().join("scripts")).unwrap().map(Result::unwrap) {
        if entry.file_name() != "emulate" {
            std::os::unix::fs::symlink(entry.path(), book.join("scripts").join(entry.file_name())).unwrap();
        }
    }
    // What it builds is built; the rest of it is to add the mode.
    let modes = "case ${1:-} in beacon|serve|lifetime|program|shapes) ;; *) set -- lab \"$@\" ;; esac";
    executable(
        &book.join("scripts/emulate"),
        &format!("#!/bin/sh\n{modes}\nexec {} \"$@\"\n", stage::emulator().display()),
    );
    // The test is root already, and its machine may have no sudo.
    executable(&scratch.file("bin/sudo"), "#!/bin/sh\nexec \"$@\"\n");
    let data = root().join("tests/data");
    let mut capture = Vec::new();
    let packed = fs::File::open(data.join("demo.pcapng.gz")).unwrap();
    std::io::copy(&mut GzDecoder::new(packed), &mut capture).unwrap();
    for name in ["capture.pcapng", "capture.pcap", "night.pcap"] {
        fs::write(book.join(name), &capture).unwrap();
    }
    let copy = |from: &str, to: &str| {
        let copied = fs::copy(data.join(from), book.join(to));
        assert!(copied.is_ok(), "{from}: {copied:?}");
    };
    copy("logs/defender-csv/DeviceNetworkEvents.csv", "DeviceNetworkEvents.csv");
    copy("logs/evtx/implant.evtx", "Sysmon.evtx");
    copy("logs/evtx/implant.evtx", "Security.evtx");
    copy("logs/eve/eve.json", "eve.json");
    copy("feeds/feodo-ipblocklist.csv", "ipblocklist.csv");
    fs::create_dir_all(book.join("feeds")).unwrap();
    fs::write(book.join("feeds/own.txt"), "203.0.113.7 # ticket 4711\nbad.example\n").unwrap();
    fs::create_dir_all(book.join("zeek/2026-11-01")).unwrap();
    for log in ["conn.log", "dns.log"] {
        copy(&format!("logs/zeek-tsv/{log}"), &format!("zeek/2026-11-01/{log}"));
    }
    fs::write(book.join("processes.csv"), example("docs/process-map.md", "csv")).unwrap();
    fs::write(book.join("profile.toml"), example("docs/profiles.md", "toml")).unwrap();
    let made = "gzip --keep eve.json && python3 -m zipfile -c collected.zip eve.json && \
                openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=siem.example -keyout key.pem -out server.pem";
    let output = Command::new("bash").args(["-ec", made]).current_dir(&book).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    book
}

fn executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The folders that the sensor uses by default, made where they are not, and removed again if they were.
struct Mountpoints(Vec<&'static Path>);

impl Mountpoints {
    fn new() -> Self {
        let all = ["/etc/sonde", "/var/lib/sonde", "/run/sonde"].map(Path::new);
        let missing: Vec<_> = all.into_iter().filter(|path| !path.exists()).collect();
        missing.iter().for_each(|path| fs::create_dir_all(path).unwrap());
        Self(missing)
    }
}

impl Drop for Mountpoints {
    fn drop(&mut self) {
        // Nothing is lost: one that is not empty stays.
        self.0.iter().for_each(|path| drop(fs::remove_dir(path)));
    }
}

#[test]
fn every_command_works() {
    let Some(stage) = Stage::new("book", &[("http", 8080)]) else { return };
    let scratch = &stage.scratch;
    prepare(scratch);
    let all = all_blocks();
    let running_on: Vec<_> = all.iter().filter(|(_, block)| block.said == Said::RunsOn).collect();
    let [(_, sensor)] = running_on[..] else { panic!("one sensor runs on: {running_on:?}") };
    fs::write(scratch.file("runs-on.sh"), format!("exec {}", sensor.text.trim().trim_start_matches("sudo ")))
        .unwrap();
    let to_run: Vec<_> = all.iter().filter(|(_, block)| block.said == Said::Nothing).collect();
    for (at, (page, block)) in to_run.iter().enumerate() {
        fs::write(scratch.file(&format!("{}.sh", at + 1)), filled(page, &block.text)).unwrap();
    }

    // Something that `ss` can show: a connection of a process that root may name.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let _open = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let folder = stage.folder("hidden");
    let _beacon = stage.dressed("compiled", &folder, "updater", 8080, 1.2);
    let _mountpoints = Mountpoints::new();
    let mut driver = Command::new("unshare");
    driver.args(["--mount", "--propagation", "private", "bash", "-c", DRIVER, "driver"]);
    let output = driver.arg(scratch.path()).arg(to_run.len().to_string()).output().unwrap();
    let log = || fs::read_to_string(scratch.file("sensor.log")).unwrap_or_default();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), log());

    let mut failed = Vec::new();
    for (at, (page, block)) in to_run.iter().enumerate() {
        let said =
            |what: &str| fs::read_to_string(scratch.file(&format!("{}.{what}", at + 1))).unwrap_or_default();
        if said("code").trim() != "0" {
            let code = said("code");
            failed.push(format!(
                "{page}:{}, exit code {}\n{}{}",
                block.line,
                code.trim(),
                block.text,
                said("out")
            ));
        }
    }
    assert!(failed.is_empty(), "commands that do not work:\n\n{}\nthe sensor:\n{}", failed.join("\n"), log());
    let code = fs::read_to_string(scratch.file("sensor.code")).unwrap();
    assert_eq!(code.trim(), "0", "the sensor ran to the end and ended well:\n{}", log());
}

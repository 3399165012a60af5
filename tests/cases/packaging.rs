//! What a package brings beside the program is sound: unit, manual pages, completions. Installing and booting is tried by
//! `scripts/try-package` and `scripts/try-service`, which take minutes.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sonde_tests::program::{Scratch, sonde};

const UNIT: &str = include_str!("../../packaging/linux/sonde.service");
const WITHOUT_EBPF: &str = include_str!("../../packaging/linux/without-ebpf.conf");

/// Runs a program that `scripts/setup --test` installs.
fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| {
        panic!("{}: {error}: scripts/setup --test", command.get_program().to_string_lossy())
    })
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The unit in a folder as it is installed, calling a program that is there, with drop-ins.
fn installed(scratch: &Scratch, drop_in: Option<&str>) -> PathBuf {
    let unit = scratch.file("sonde.service");
    std::fs::write(&unit, UNIT.replace("/usr/bin/sonde", sonde().to_str().unwrap())).unwrap();
    if let Some(text) = drop_in {
        let folder = scratch.file("sonde.service.d");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("own.conf"), text).unwrap();
    }
    unit
}

/// What systemd makes of how far a unit is open, from 0 to 10.
fn exposure(unit: &Path) -> f64 {
    let output =
        run(Command::new("systemd-analyze").args(["security", "--offline=true", "--no-pager"]).arg(unit));
    let text = said(&output);
    let line =
        text.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| panic!("{text}"));
    line.split(": ").nth(1).and_then(|level| level.split(' ').next()).unwrap().parse().unwrap()
}

#[test]
fn the_unit_leaves_little_open() {
    let scratch = Scratch::new("exposure");
    let with = exposure(&installed(&scratch, None));
    let without = exposure(&installed(&scratch, Some(WITHOUT_EBPF)));
    assert!(with <= 2.5 && without <= 2.1, "{with} with kernel programs, {without} without");
    // The measure is one: a unit that is open scores so.
    let open = scratch.file("open.service");
    std::fs::write(&open, "[Service]\nExecStart=/bin/true\n").unwrap();
    assert!(exposure(&open) > 9.0);
}

#[test]
fn systemd_finds_nothing_odd_in_the_unit() {
    let scratch = Scratch::new("unit");
    for drop_in in [None, Some(WITHOUT_EBPF)] {
        let unit = installed(&scratch, drop_in);
        let output = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
        let text = said(&output);
        let ours: Vec<_> = text.lines().filter(|line| line.contains("sonde")).collect();
        assert!(ours.is_empty() && output.status.success(), "{text}");
        std::fs::write(&unit, UNIT.replace("ProtectClock=yes", "ProtectClocks=yes")).unwrap();
        let output = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
        assert!(said(&output).contains("ProtectClocks"), "a wrong line is not noticed");
    }
}

/// What the sensor is made of, as the package says it to scanners.
fn sbom() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let script = "cargo metadata --quiet --locked --offline --format-version 1 --filter-platform x86_64-unknown-linux-gnu |
        python3 scripts/lib/sbom.py sonde 1700000000";
    let output = run(Command::new("bash").args(["-o", "pipefail", "-c", script]).current_dir(root));
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The published schema's word on a document: nothing, if it obeys.
fn cyclonedx(document: &str, scratch: &Scratch) -> String {
    let file = scratch.file("sbom.json");
    std::fs::write(&file, document).unwrap();
    let target = sonde().parent().and_then(Path::parent).map(PathBuf::from).unwrap();
    let ask = "import sys; from cyclonedx.validation.json import JsonStrictValidator as V; from cyclonedx.schema import SchemaVersion as S\n\
               wrong = V(S.V1_5).validate_str(open(sys.argv[1]).read())\n\
               print('obeys' if wrong is None else str(wrong)[:400])";
    let output = run(Command::new(target.join("servers/bin/python")).args(["-c", ask]).arg(&file));
    assert!(output.status.success(), "{}", said(&output));
    said(&output).trim().to_owned()
}

#[test]
fn the_bill_of_materials_obeys_its_schema_and_lists_what_is_linked_in() {
    let scratch = Scratch::new("sbom");
    let text = sbom();
    assert_eq!(cyclonedx(&text, &scratch), "obeys");
    assert_ne!(
        cyclonedx(&text.replace("\"CycloneDX\"", "\"another\""), &scratch),
        "obeys",
        "the schema is one"
    );
    assert_eq!(text, sbom(), "the same sources give the same bytes");
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names = |of: &serde_json::Value| -> Vec<String> {
        let rows = of.as_array().unwrap().iter();
        rows.map(|row| row["purl"].as_str().or(row["ref"].as_str()).unwrap().to_owned()).collect()
    };
    let (components, needs) = (names(&told["components"]), names(&told["dependencies"]));
    assert!(components.iter().any(|name| name.starts_with("pkg:cargo/rustls@")), "{components:?}");
    assert!(!components.iter().any(|name| name.starts_with("pkg:cargo/proptest@")), "tests are not shipped");
    assert_eq!(needs.len(), components.len() + 1, "each is told with what it needs, and the program itself");
    let ours = |row: &&serde_json::Value| row["name"].as_str().is_some_and(|name| name.starts_with("sonde"));
    let rows = told["components"].as_array().unwrap();
    let unhashed = rows.iter().filter(|row| !ours(row) && row["hashes"].is_null()).count();
    assert_eq!(unhashed, 0, "each crate of others has its checksum");
}

#[test]
fn manual_pages_are_set_without_a_warning() {
    let scratch = Scratch::new("man");
    let folder = scratch.file("pages");
    std::fs::create_dir(&folder).unwrap();
    let written = Command::new(sonde()).args(["man", "--all"]).arg(&folder).output().unwrap();
    assert!(written.status.success() && said(&written).is_empty(), "{}", said(&written));
    let pages: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(pages.len() > 20, "{pages:?}");
    for page in &pages {
        let mut command = Command::new("man");
        // What lintian asks of a page; the narrow line shows what cannot be broken.
        command.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(page);
        let output = run(command.env("LC_ALL", "C.UTF-8").env("MANROFFSEQ", "").env("MANWIDTH", "80"));
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && warnings.is_empty(), "{}: {warnings}", page.display());
    }
    let one = Command::new(sonde()).args(["man", "feeds", "check"]).output().unwrap();
    assert_eq!(one.stdout, std::fs::read(folder.join("sonde-feeds-check.1")).unwrap());
    let wrong = Command::new(sonde()).args(["man", "feeds", "chekc"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(64), "{}", said(&wrong));
    let nowhere = Command::new(sonde()).args(["man", "--all", "/nonexistent/folder"]).output().unwrap();
    assert!(
        nowhere.status.code() == Some(74) && said(&nowhere).contains("/nonexistent/folder"),
        "{}",
        said(&nowhere)
    );
}

fn completions(shell: &str, scratch: &Scratch) -> PathBuf {
    let output = Command::new(sonde()).args(["completions", shell]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let file = scratch.file(shell);
    std::fs::File::create(&file).unwrap().write_all(&output.stdout).unwrap();
    file
}

#[test]
fn shells_complete_commands_and_options() {
    let scratch = Scratch::new("completions");
    for shell in ["bash", "zsh", "fish"] {
        let file = completions(shell, &scratch);
        let output = run(Command::new(shell).arg("-n").arg(&file));
        assert!(output.status.success() && said(&output).is_empty(), "{shell}: {}", said(&output));
    }
    let ask = "source \"$0\"; COMP_WORDS=(sonde feeds ch); COMP_CWORD=2; _sonde sonde ch feeds; echo \"${COMPREPLY[@]}\"";
    let output = run(Command::new("bash").args(["-c", ask]).arg(scratch.file("bash")));
    assert_eq!(said(&output).trim(), "check");
    let ask = format!("source {}; complete -C 'sonde replay --min-sev'", scratch.file("fish").display());
    let output = run(Command::new("fish").args(["--no-config", "-c"]).arg(ask));
    assert!(said(&output).starts_with("--min-severity"), "{}", said(&output));
}

//! What docs/security.md says is so: each test that it names exists, each file with `unsafe` stands in it with how much there is, and
//! each such place says why it is sound.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{code_only, line_of, words};
use super::{root, rust_files};

const DOCUMENT: &str = include_str!("../../../docs/security.md");

/// Lines of a source at which the compiler's checks end: blocks, functions, implementations, foreign functions.
fn unsafe_lines(source: &str) -> Vec<usize> {
    let code = code_only(source);
    let begins = |rest: &str| {
        rest.starts_with('{') || ["impl", "fn", "extern"].iter().any(|word| rest.starts_with(word))
    };
    words(&code)
        .filter(|(at, word)| *word == "unsafe" && begins(code[at + word.len()..].trim_start()))
        .map(|(at, _)| line_of(&code, at))
        .collect()
}

/// Lines of them that say nothing of why they are sound: no `SAFETY:` (or `# Safety` of a function that its callers answer for)
/// within the comment before, nor before the statement that they are part of.
fn unexplained(source: &str) -> Vec<usize> {
    const NEAR: usize = 12;
    let lines: Vec<&str> = source.lines().collect();
    let explained = |line: usize| {
        let before = lines[line.saturating_sub(NEAR)..line].iter();
        before.clone().any(|text| text.contains("SAFETY:") || text.contains("# Safety"))
    };
    // The type of a function that is called elsewhere promises nothing by itself.
    let is_type =
        |line: usize| lines[line - 1].contains("unsafe extern") || lines[line - 1].contains("unsafe fn(");
    unsafe_lines(source).into_iter().filter(|line| !is_type(*line) && !explained(*line)).collect()
}

/// Rows of a table of the document, by the heading that it stands under; each cell without its ornaments.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let (_, after) =
        DOCUMENT.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = after.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with('|'));
    lines
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// Texts in back quotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn all_that_is_unsafe_stands_in_the_inventory() {
    let listed: BTreeMap<String, usize> = rows("What is unsafe")
        .into_iter()
        .map(|row| (quoted(&row[0])[0].to_owned(), row[1].parse().unwrap()))
        .collect();
    let counted: BTreeMap<String, usize> = rust_files()
        .map(|(name, source)| (name, unsafe_lines(&source).len()))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(listed, counted, "docs/security.md lists each file with what is unsafe in it");
    let found: Vec<_> = rust_files()
        .flat_map(|(name, source)| unexplained(&source).into_iter().map(move |line| format!("{name}:{line}")))
        .collect();
    assert!(found.is_empty(), "without `// SAFETY:`: {found:#?}");
}

#[test]
fn planted_unsafe_code_is_found() {
    let source =
        "// unsafe { }\nfn a() { \"unsafe { }\" }\nfn b() { unsafe { c() } }\nunsafe impl Send for D {}\n";
    assert_eq!(unsafe_lines(source), [3, 4]);
    assert_eq!(unexplained(source), [3, 4]);
    assert!(unexplained(&source.replace("fn b", "// SAFETY: planted.\nfn b")).is_empty());
}

#[test]
fn every_test_that_the_document_names_exists() {
    let mut defined = BTreeSet::new();
    for (_, source) in rust_files() {
        let code = code_only(&source);
        let mut before = "";
        for (_, word) in words(&code) {
            if before == "fn" {
                defined.insert(word.to_owned());
            }
            before = word;
        }
    }
    let mut named = 0;
    for row in rows("Attacks") {
        let [attack, outcome, tests] = row.as_slice() else { panic!("three cells: {row:?}") };
        assert!(!attack.is_empty() && !outcome.is_empty() && !quoted(tests).is_empty(), "{row:?}");
        for test in quoted(tests) {
            named += 1;
            let exists = if test.contains('/') { root().join(test).exists() } else { defined.contains(test) };
            assert!(exists, "docs/security.md names {test}, which does not exist");
        }
    }
    assert!(named > 20, "{named}");
}

//! The pages of `docs/` as a test reads them: chapters of SUMMARY.md, blocks of shell commands with what is said of them, links
//! and headings.

/// What is said of a block of commands, in a comment above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing: it is run.
    Nothing,
    /// It goes on for ever: it is started, and still runs when all others are done.
    RunsOn,
    /// It is not run, for this reason.
    NotRun(String),
}

/// A block of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Line of its fence, from 1.
    pub line: usize,
    /// What is said of it.
    pub said: Said,
    /// Its commands.
    pub text: String,
}

/// The shell blocks of a page; an error for one that is indented or in a fence without a language, or a comment that is
/// above no block.
///
/// # Errors
/// The line, and what is wrong there.
pub fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut said = Said::Nothing;
    let mut lines = page.lines().enumerate();
    let mut above = "";
    while let Some((at, line)) = lines.next() {
        let at = at + 1;
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| !line.starts_with("```")).collect();
            match language {
                "" => return Err(format!("line {at}: a block without a language: is it to be run?")),
                "sh" | "console" => {
                    let text = text.join("\n") + "\n";
                    found.push(Block { line: at, said: std::mem::replace(&mut said, Said::Nothing), text });
                }
                _ => {}
            }
        } else if let Some(comment) = line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->")) {
            said = match comment.split_once(": ") {
                Some(("not run", reason)) if !reason.trim().is_empty() => Said::NotRun(reason.to_owned()),
                _ if comment == "runs on" => Said::RunsOn,
                _ => said,
            };
        } else if said != Said::Nothing {
            return Err(format!("line {at}: what is said above of a block is above none"));
        } else if above.is_empty() && is_command(line) {
            return Err(format!("line {at}: an indented command: put it into a block of sh"));
        }
        above = line;
    }
    Ok(found)
}

/// Whether an indented line looks like a command of ours.
fn is_command(line: &str) -> bool {
    let Some(line) = line.strip_prefix("    ") else { return false };
    let line = line.strip_prefix("sudo ").unwrap_or(line);
    ["sonde ", "scripts/", "./scripts/", "cargo ", "systemctl ", "apt ", "packaging/"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// The pages that a SUMMARY.md names.
#[must_use]
pub fn chapters(summary: &str) -> Vec<String> {
    let targets = summary
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- [")?.split_once("](")?.1.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// What the headings of a page are called in links, as mdBook and the usual forges make it.
#[must_use]
pub fn anchors(page: &str) -> Vec<String> {
    let mut fence = false;
    let mut found = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            fence = !fence;
        }
        if let Some(heading) = line.strip_prefix('#').filter(|_| !fence) {
            let text = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            found.push(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    found
}

/// The targets of the links of a page, outside of code.
#[must_use]
pub fn links(page: &str) -> Vec<String> {
    let mut fence = false;
    let mut found = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            fence = !fence;
        }
        if fence || line.starts_with("    ") {
            continue;
        }
        // What is between backticks is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        found.extend(targets.map(|(target, _)| target.to_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_with_what_is_said_of_them() {
        let page = "a\n\n<!-- not run: needs root -->\n```sh\nx\n```\n\n```toml\ny\n```\n```console\nz\nw\n```\n<!-- runs on -->\n```sh\nv\n```\n";
        let found = blocks(page).unwrap_or_default();
        let told: Vec<_> = found.iter().map(|block| (block.line, &block.said, block.text.as_str())).collect();
        let reason = Said::NotRun("needs root".to_owned());
        assert_eq!(told, [(4, &reason, "x\n"), (11, &Said::Nothing, "z\nw\n"), (16, &Said::RunsOn, "v\n")]);
    }

    #[test]
    fn what_would_slip_by_is_an_error() {
        for wrong in [
            "```\nsonde run\n```\n",
            "a\n\n    sonde run\n",
            "a\n\n    sudo scripts/run\n",
            "<!-- not run: why -->\n\nand more\n",
        ] {
            assert!(blocks(wrong).is_err(), "{wrong}");
        }
        assert_eq!(blocks("a\n\n    SEVERITY  SCORE\n"), Ok(Vec::new()));
        assert_eq!(
            blocks("<!-- not run: -->\n```sh\nx\n```\n").map(|all| all[0].said.clone()),
            Ok(Said::Nothing)
        );
    }

    #[test]
    fn links_headings_and_chapters_are_read() {
        assert_eq!(links("[a](b.md#c) `[d](e)` [`f`](g)\n```\n[h](i)\n```"), ["b.md#c", "g"]);
        assert_eq!(anchors("# A B\n## What it's: `x`, not-y\n```\n# no\n```"), ["a-b", "what-its-x-not-y"]);
        assert_eq!(chapters("# S\n- [A](a.md)\n    - [B](b.md)\n"), ["a.md", "b.md"]);
    }
}

//! `--report FILE.html`: what a replay found, as one page that needs nothing else.

use std::io::Write as _;
use std::path::Path;

use sonde_common::alert::Alert;
use sonde_page::Report;

use super::super::failure::Failure;
use super::summary;
use crate::exit::Exit;
use crate::replay::Totals;

/// Inputs whose names the report keeps; a folder of years of logs has more, and the rest are counted in the sentence of what was seen.
const MAX_INPUTS: usize = 1_000;

/// Whether a report can be written there at all: asked before an hour is spent on reading.
pub(super) fn check(path: &Path) -> Result<(), Failure> {
    let fail = |why: &str| Err(Failure(Exit::Output, format!("--report {}: {why}", path.display())));
    if path.as_os_str() == "-" {
        return Err(Failure(
            Exit::Usage,
            "--report -: a page is a file; name it, such as report.html".to_owned(),
        ));
    }
    match folder(path).metadata() {
        Ok(folder) if !folder.is_dir() => fail("its folder is none"),
        Ok(_) if path.is_dir() => fail("is a folder; name a file, such as report.html"),
        Ok(_) => Ok(()),
        Err(error) => fail(&format!("its folder cannot be opened: {error}")),
    }
}

/// Writes it: whole, or not at all.
pub(super) fn write(
    path: &Path,
    inputs: &[String],
    findings: &[Alert],
    scored: u64,
    totals: &Totals,
) -> Result<(), Failure> {
    let report = Report {
        inputs: inputs.get(..MAX_INPUTS).unwrap_or(inputs),
        version: env!("CARGO_PKG_VERSION"),
        span: totals.span,
        findings,
        scored,
        hosts: totals.hosts as u64,
        seen: summary::seen(totals),
        left_out: summary::left_out(totals),
        lost: summary::lost(totals),
        activity: totals.activity.as_deref(),
        live: None,
    };
    let html = sonde_page::html(&report);
    let write = || -> std::io::Result<()> {
        let mut file =
            tempfile::Builder::new().prefix(".sonde-report").suffix(".html").tempfile_in(folder(path))?;
        file.write_all(html.as_bytes())?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| {
        let path = path.display();
        Failure(
            Exit::Output,
            format!("--report {path}: {error}; name a file in a folder that you may write to"),
        )
    })?;
    tracing::info!(path = %path.display(), bytes = html.len(), "report written");
    Ok(())
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

//! What tests of sinks share: settings from text, records to send, and the words for what became of them.

use std::path::PathBuf;

use sonde_common::alert::Severity;
use sonde_common::config::Config;
use sonde_common::record::{Kind, Record};

use super::own::OwnSockets;
use super::{Delivery, Outcome, SetupError, Sink, open};
use crate::cli::output::samples;

/// A folder whose files settings name.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A file that only we can read.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = self.folder.path().join(name);
        file.persist(&path).unwrap();
        path
    }
}

/// The sink that these lines below `[sinks.a]` set up.
pub(crate) fn sink(lines: &str) -> Result<Box<dyn Sink>, SetupError> {
    let config = Config::parse(&format!("[sinks.a]\n{lines}"), &[]).unwrap();
    let (name, settings) = config.sinks.into_iter().next().unwrap();
    open(&name, &settings, &OwnSockets::default())
}

/// A record with this body.
pub(crate) fn record(id: &str, body: &str) -> Record {
    Record {
        kind: Kind::Alert,
        id: id.to_owned(),
        key: "finding-1".to_owned(),
        time: "2026-03-02T09:00:00.5Z".parse().unwrap(),
        severity: Severity::High,
        body: body.as_bytes().to_vec(),
    }
}

/// Every made-up alert, those with hostile names among them, in the native form.
pub(crate) fn alerts() -> Vec<Record> {
    let bodies = samples::all().into_iter().map(|alert| sonde_common::encode::native::to_json(&alert));
    bodies.enumerate().map(|(number, body)| record(&format!("alert-{number}"), &body)).collect()
}

/// How many were acknowledged, are refused, are to be tried again.
pub(crate) fn counts(delivery: &Delivery) -> (usize, usize, usize) {
    let count = |wanted: fn(&Outcome) -> bool| delivery.outcomes.iter().filter(|o| wanted(o)).count();
    (
        count(|outcome| *outcome == Outcome::Acknowledged),
        count(|outcome| matches!(outcome, Outcome::Refused(_))),
        count(|outcome| matches!(outcome, Outcome::Retry(_))),
    )
}

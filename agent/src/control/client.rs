//! Asks the running sensor over its control socket.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::protocol::{Asked, Head, MAX_ANSWER_LINE_BYTES};
use crate::live::command::{Answer, MAX_ROWS, Refusal, Request, Rows};
use crate::platform::local_socket;

/// The sensor has so long between two parts of its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Known-good entries that are taken at most.
const MAX_ENTRIES: usize = 65_536;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No sensor.
    #[error(
        "no sensor is running here: no one answers on {path}\n  Start it with `sudo sonde run`, or say with --socket where it listens."
    )]
    Nobody {
        /// The socket.
        path: String,
    },
    /// Not for us.
    #[error(
        "{path}: permission denied\n  Ask as root (sudo), or as a member of the group that the sensor's configuration names (control.group)."
    )]
    Denied {
        /// The socket.
        path: String,
    },
    /// The sensor says no.
    #[error("{0}")]
    Refused(Refusal),
    /// It does not answer in time.
    #[error("the sensor on {path} does not answer within {} s; its log may say why", PATIENCE.as_secs())]
    Late {
        /// The socket.
        path: String,
    },
    /// The answer is none.
    #[error("{path}: the answer cannot be read: {what}\n  Is it a sensor of another version?")]
    Foreign {
        /// The socket.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The connection broke.
    #[error("{path}: {error}")]
    Broken {
        /// The socket.
        path: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// Asks, and waits for the whole answer. A refusal is an error.
///
/// # Errors
/// [`ClientError`] says who did not answer, and why.
pub fn ask(path: &Path, request: Request) -> Result<Answer, ClientError> {
    let shown = || path.display().to_string();
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::Nobody { path: shown() },
        io::ErrorKind::PermissionDenied => ClientError::Denied { path: shown() },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Late { path: shown() },
        _ => ClientError::Broken { path: shown(), error },
    };
    let mut connection = local_socket::connect(path, PATIENCE).map_err(broken)?;
    let mut asked = serde_json::to_vec(&Asked { ask: request })
        .map_err(|error| ClientError::Foreign { path: shown(), what: error.to_string() })?;
    asked.push(b'\n');
    // A sensor that turns us away at once may not have read: its words count, not the broken pipe.
    let sent = connection.write_all(&asked);
    let mut lines = Lines { from: BufReader::new(connection), text: Vec::new() };
    let foreign = |error: LineError| match error {
        LineError::Io(error) => broken(error),
        LineError::Foreign(what) => ClientError::Foreign { path: shown(), what },
    };
    let head = match (lines.next::<Head>(), sent) {
        (Ok(head), _) => head,
        (Err(_), Err(error)) => return Err(broken(error)),
        (Err(error), Ok(())) => return Err(foreign(error)),
    };
    match head {
        Head::Refused(refusal) if refusal.code == crate::live::command::RefusalCode::Denied => {
            tracing::debug!(%refusal, "denied");
            Err(ClientError::Denied { path: shown() })
        }
        Head::Refused(refusal) => Err(ClientError::Refused(refusal)),
        Head::Status => lines.next().map(Answer::Status).map_err(foreign),
        Head::Finding => lines.next().map(Answer::Finding).map_err(foreign),
        Head::Allowed { lines: count } => {
            lines.take(count, MAX_ENTRIES).map(Answer::Allowed).map_err(foreign)
        }
        Head::Alerts { lines: count, omitted, events, series } => {
            let rows = lines.take(count, MAX_ROWS).map_err(foreign)?;
            Ok(Answer::Alerts(Rows { rows, omitted, events, series }))
        }
    }
}

struct Lines<R> {
    from: BufReader<R>,
    text: Vec<u8>,
}

enum LineError {
    Io(io::Error),
    Foreign(String),
}

impl<R: io::Read> Lines<R> {
    fn next<T: DeserializeOwned>(&mut self) -> Result<T, LineError> {
        self.text.clear();
        let limit = MAX_ANSWER_LINE_BYTES as u64;
        (&mut self.from).take(limit).read_until(b'\n', &mut self.text).map_err(LineError::Io)?;
        if self.text.last() != Some(&b'\n') {
            let what =
                if self.text.len() < MAX_ANSWER_LINE_BYTES { "it ends early" } else { "a line is too long" };
            return Err(LineError::Foreign(what.to_owned()));
        }
        serde_json::from_slice(&self.text).map_err(|error| LineError::Foreign(error.to_string()))
    }

    fn take<T: DeserializeOwned>(&mut self, count: usize, most: usize) -> Result<Vec<T>, LineError> {
        if count > most {
            return Err(LineError::Foreign(format!("{count} lines are too many")));
        }
        (0..count).map(|_| self.next()).collect()
    }
}

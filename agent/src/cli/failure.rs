//! Why a command ended early, with its exit code.

use super::complain;
use super::output::OutputError;
use crate::capture::CaptureError;
use crate::control::client::ClientError;
use crate::exit::Exit;
use crate::live::command::{Refusal, RefusalCode};

/// Why a command ended early, with its exit code.
#[derive(Debug)]
pub(super) struct Failure(pub(super) Exit, pub(super) String);

impl Failure {
    /// An input that cannot be used.
    pub(super) fn of_input(error: &CaptureError) -> Self {
        let exit = match error {
            CaptureError::NotFound { .. } => Exit::NoInput,
            CaptureError::PermissionDenied { .. } => Exit::Permission,
            _ => Exit::BadInput,
        };
        Self(exit, format!("{error}\n  {}", error.remedy()))
    }

    /// Says on stderr why a command failed; its exit code.
    pub(super) fn tell(done: Result<Exit, Self>) -> Exit {
        done.unwrap_or_else(|Self(exit, text)| {
            complain(&text);
            exit
        })
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Denied { .. } => Exit::Permission,
            ClientError::Refused(refusal) => return refusal.clone().into(),
            ClientError::Nobody { .. } => Exit::NoInput,
            ClientError::Late { .. } | ClientError::Foreign { .. } | ClientError::Broken { .. } => {
                Exit::Internal
            }
        };
        Self(exit, error.to_string())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let exit = match refusal.code {
            RefusalCode::Bad => Exit::Usage,
            RefusalCode::NotFound => Exit::NoInput,
            RefusalCode::Denied => Exit::Permission,
            RefusalCode::Busy | RefusalCode::Full => Exit::Internal,
        };
        Self(exit, refusal.message)
    }
}

/// What became of the output: a reader that has seen enough is success.
pub(super) fn written(done: Result<(), OutputError>) -> Result<Exit, Failure> {
    match done {
        Ok(()) | Err(OutputError::Closed { .. }) => Ok(Exit::Done),
        Err(error) => Err(Failure(Exit::Output, error.to_string())),
    }
}

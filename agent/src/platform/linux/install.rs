//! The service of systemd: not there yet.

use crate::install::{InstallError, Plan, Status};

/// Makes the service.
///
/// # Errors
/// Always, so far.
pub fn install(_plan: &Plan) -> Result<Vec<String>, InstallError> {
    Err(refused())
}

/// Removes it.
///
/// # Errors
/// Always, so far.
pub fn uninstall(_plan: &Plan) -> Result<Vec<String>, InstallError> {
    Err(refused())
}

/// Starts it.
///
/// # Errors
/// Always, so far.
pub fn start() -> Result<(), InstallError> {
    Err(refused())
}

/// Stops it.
///
/// # Errors
/// Always, so far.
pub fn stop() -> Result<(), InstallError> {
    Err(refused())
}

/// How it is.
///
/// # Errors
/// Always, so far.
pub fn status() -> Result<Status, InstallError> {
    Err(refused())
}

fn refused() -> InstallError {
    InstallError::Unsupported {
        what: "the service of systemd is not made by this command yet".to_owned(),
        remedy: "systemctl starts, stops and shows a unit that calls `sonde run`".to_owned(),
    }
}

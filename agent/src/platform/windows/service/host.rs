//! The sensor as a service: what Windows' service manager tells it, and what it is told.
//!
//! The manager starts `sonde run --service`, which hands its main thread to the manager and does its work on the thread that
//! the manager makes. A service has no terminal: what would go to stderr goes to a file.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::windows::io::AsRawHandle as _;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};
use windows_service::{define_windows_service, service_dispatcher};
use windows_sys::Win32::System::Console::{STD_ERROR_HANDLE, SetStdHandle};

use super::image;
use super::install::{NAME, system_error};
use crate::control::STOP_WITHIN;
use crate::exit::Exit;
use crate::platform::windows::{files, paths};

/// What a service does.
pub type Work = Box<dyn FnOnce() -> Exit + Send>;

/// Longest time that the sensor takes until it runs: reading a large state from a slow disk.
const START_WITHIN: Duration = Duration::from_secs(120);
/// What is added to the time that a stop takes at most.
const SLACK: Duration = Duration::from_secs(5);
/// The log of a service, in the folder that [`log_folder`] names.
const LOG: &str = "sonde.log";

static WORK: Mutex<Option<Work>> = Mutex::new(None);
static MANAGER: OnceLock<ServiceStatusHandle> = OnceLock::new();
static ENDED: Mutex<Exit> = Mutex::new(Exit::Done);
static STDERR: Mutex<Option<File>> = Mutex::new(None);
static STOP: Notify = Notify::const_new();
static RELOAD: Notify = Notify::const_new();

define_windows_service!(called_by_the_manager, service_main);

/// Works as a service, until it is done or told to stop.
///
/// # Errors
/// If the service manager did not start this program.
pub fn host(work: Work) -> io::Result<Exit> {
    *WORK.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
    service_dispatcher::start(NAME, called_by_the_manager).map_err(|error| {
        let error = system_error(error);
        io::Error::new(
            error.kind(),
            format!("only the service manager starts it so (sonde service start): {error}"),
        )
    })?;
    Ok(*ENDED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The file that the log goes to, since nobody reads a service's stderr; `None`: this is none.
#[must_use]
pub fn log_file() -> Option<PathBuf> {
    MANAGER.get()?;
    Some(paths::log_folder().join(LOG))
}

/// Has the last words of the program, such as those of a panic, go to this file too.
pub fn last_words(to: &File) {
    let Ok(file) = to.try_clone() else { return };
    let mut stderr = STDERR.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the handle stays open for as long as it is stderr's: it is kept until another has taken its place.
    unsafe { SetStdHandle(STD_ERROR_HANDLE, file.as_raw_handle()) };
    *stderr = Some(file);
}

/// Told to stop, some time.
pub(super) async fn stopped() {
    STOP.notified().await;
}

/// Told that the configuration has changed, some time.
pub(super) async fn changed() {
    RELOAD.notified().await;
}

/// The sensor runs: the manager is told, and what is amiss with how it starts us.
pub(super) fn runs() {
    if MANAGER.get().is_none() {
        return;
    }
    tell(ServiceState::Running, ServiceExitCode::NO_ERROR);
    if let Some(fault) = image::own_fault() {
        tracing::warn!(fault, "the service is not registered as it should be: sonde service install");
    }
}

/// The sensor ends.
pub(super) fn stops() {
    tell(ServiceState::StopPending, ServiceExitCode::NO_ERROR);
}

fn service_main(_: Vec<OsString>) {
    let Some(work) = WORK.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let Ok(manager) = service_control_handler::register(NAME, control) else { return };
    if MANAGER.set(manager).is_err() {
        return;
    }
    tell(ServiceState::StartPending, ServiceExitCode::NO_ERROR);
    if paths::private_folder(&paths::log_folder()).is_ok()
        && let Ok(file) = files::private_append(&paths::log_folder().join(LOG))
    {
        last_words(&file);
    }
    let exit = std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(Exit::Internal);
    *ENDED.lock().unwrap_or_else(PoisonError::into_inner) = exit;
    let code = match exit {
        Exit::Done => ServiceExitCode::NO_ERROR,
        _ => ServiceExitCode::ServiceSpecific(exit.code().into()),
    };
    tell(ServiceState::Stopped, code);
}

fn control(told: ServiceControl) -> ServiceControlHandlerResult {
    match told {
        ServiceControl::Stop | ServiceControl::Shutdown => {
            // From now on it takes no more of them, for which there would be no handler any more.
            stops();
            STOP.notify_one();
        }
        ServiceControl::ParamChange => RELOAD.notify_one(),
        ServiceControl::Interrogate => {}
        _ => return ServiceControlHandlerResult::NotImplemented,
    }
    ServiceControlHandlerResult::NoError
}

fn tell(state: ServiceState, exit_code: ServiceExitCode) {
    let Some(manager) = MANAGER.get() else { return };
    let (accepts, wait_hint) = match state {
        ServiceState::Running => (
            ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN | ServiceControlAccept::PARAM_CHANGE,
            Duration::ZERO,
        ),
        ServiceState::StartPending => (ServiceControlAccept::empty(), START_WITHIN),
        ServiceState::StopPending => (ServiceControlAccept::empty(), STOP_WITHIN + SLACK),
        _ => (ServiceControlAccept::empty(), Duration::ZERO),
    };
    let told = manager.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: accepts,
        exit_code,
        checkpoint: 0,
        wait_hint,
        process_id: None,
    });
    if let Err(error) = told {
        tracing::warn!(error = %system_error(error), "the service manager does not listen");
    }
}

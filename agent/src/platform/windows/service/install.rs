//! The sensor as a service of Windows: made, removed, started, stopped, asked. Done twice, it is as if done once.
//!
//! The service runs as SYSTEM, with an identifier of its own that rights can be given to. What not every Windows offers is
//! asked for, and said where it is refused.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, thread};

use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl, ServiceExitCode,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceSidType, ServiceStartType,
    ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_SERVICE_ALREADY_RUNNING, ERROR_SERVICE_DOES_NOT_EXIST,
    ERROR_SERVICE_MARKED_FOR_DELETE, ERROR_SERVICE_NOT_ACTIVE,
};
use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_BACKUP_SEMANTICS;

use super::{event_source, image};
use crate::install::{InstallError, Plan, Status};
use crate::platform::windows::identity;
use crate::platform::windows::paths::{self, READ_CONTROL};
use crate::platform::windows::security::{CHANGE, REPLACE, outsider};

/// What the service manager and the Event Log call it.
pub(super) const NAME: &str = "Sonde";
const SHOWN: &str = "Sonde endpoint sensor";
const DESCRIPTION: &str =
    "Finds command-and-control beaconing: connections that programs of this machine make on a schedule.";
/// A service that ended by a fault is started again after so long; the last of them goes for all further times.
const AGAIN_AFTER: [Duration; 3] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(300)];
/// After so long without a fault they are counted anew.
const FORGET_AFTER: Duration = Duration::from_secs(86_400);
/// Longest waits until it runs, and until it has ended.
const STARTS_WITHIN: Duration = Duration::from_secs(120);
const STOPS_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Makes the service, or takes up what has changed; what was done and what was refused, a line each.
///
/// # Errors
/// [`InstallError`]; what was done until then stays.
pub fn install(plan: &Plan) -> Result<Vec<String>, InstallError> {
    let program = super::program().map_err(|error| system("finding this program", error))?;
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager = manager(access)?;
    let mut told = Vec::new();
    for folder in paths::service_folders().map_err(|error| system("making the sensor's folders", error))? {
        told.push(format!("{}: for SYSTEM and administrators alone", folder.display()));
    }
    let info = info(&program, plan);
    let service = match manager.open_service(NAME, ServiceAccess::ALL_ACCESS) {
        Ok(service) => {
            service.change_config(&info).map_err(|error| failed("changing the service", error))?;
            told.push(format!("service {NAME}: changed"));
            service
        }
        Err(error) if code(&error) == Some(ERROR_SERVICE_DOES_NOT_EXIST) => {
            let made = manager.create_service(&info, ServiceAccess::ALL_ACCESS);
            told.push(format!("service {NAME}: made; it starts with the system"));
            made.map_err(|error| failed("making the service", error))?
        }
        Err(error) => return Err(failed("opening the service", error)),
    };
    told.extend(refine(&service));
    told.extend(doubts(&program, plan.config.as_deref()));
    let command = query_command(&service).map_err(|error| system("reading the service back", error))?;
    if let Some(fault) = image::fault(&command, &program) {
        return Err(InstallError::Failed {
            what: format!("the service is not registered as was asked: {fault}"),
            remedy: format!("sc.exe config {NAME} binPath= with the path in quotes"),
        });
    }
    match event_source::register() {
        Ok(()) => told.push(format!("Event Log: source {NAME} of Application")),
        Err(error) => told.push(format!("warning: the Event Log will not know its entries' source: {error}")),
    }
    if plan.start {
        // What runs goes on with the old command line and program.
        stop_and_wait(&service)?;
        start_and_wait(&service)?;
        told.push(format!("service {NAME}: runs"));
    }
    Ok(told)
}

/// Stops the service and removes it. State, configuration and log stay.
///
/// # Errors
/// [`InstallError`]
pub fn uninstall(_plan: &Plan) -> Result<Vec<String>, InstallError> {
    let mut told = Vec::new();
    let service = open(ServiceAccess::STOP | ServiceAccess::QUERY_STATUS | ServiceAccess::DELETE)?;
    stop_and_wait(&service)?;
    match service.delete() {
        Err(error) if code(&error) != Some(ERROR_SERVICE_MARKED_FOR_DELETE) => {
            return Err(failed("removing the service", error));
        }
        _ => told.push(format!("service {NAME}: removed")),
    }
    match event_source::remove() {
        Ok(()) => told.push(format!("Event Log: source {NAME} removed")),
        Err(error) => told.push(format!("warning: the Event Log's source stays: {error}")),
    }
    told.push(format!("kept: {}", paths::folder().display()));
    Ok(told)
}

/// Starts the service, and waits until it runs.
///
/// # Errors
/// [`InstallError`], also if it ends at once.
pub fn start() -> Result<(), InstallError> {
    start_and_wait(&open(ServiceAccess::START | ServiceAccess::QUERY_STATUS)?)
}

/// Stops the service, and waits until it has ended.
///
/// # Errors
/// [`InstallError`]
pub fn stop() -> Result<(), InstallError> {
    stop_and_wait(&open(ServiceAccess::STOP | ServiceAccess::QUERY_STATUS)?)
}

/// How the service is.
///
/// # Errors
/// [`InstallError`]
pub fn status() -> Result<Status, InstallError> {
    let service = match open(ServiceAccess::QUERY_STATUS) {
        Err(InstallError::Absent) => return Ok(Status::Absent),
        service => service?,
    };
    let ServiceStatus { current_state, process_id, .. } = query(&service)?;
    Ok(match current_state {
        ServiceState::Stopped | ServiceState::StopPending => Status::Stopped,
        _ => Status::Running { pid: process_id, since: process_id.and_then(identity::created) },
    })
}

/// The command line by which the service manager starts the service.
pub(super) fn command_line() -> io::Result<String> {
    let manager =
        ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT).map_err(system_error)?;
    query_command(&manager.open_service(NAME, ServiceAccess::QUERY_CONFIG).map_err(system_error)?)
}

/// What the system said, without the library's words around it.
pub(super) fn system_error(error: windows_service::Error) -> io::Error {
    match error {
        windows_service::Error::Winapi(error) => error,
        other => io::Error::other(other),
    }
}

fn query_command(service: &Service) -> io::Result<String> {
    let config = service.query_config().map_err(system_error)?;
    Ok(config.executable_path.to_string_lossy().into_owned())
}

fn info(program: &Path, plan: &Plan) -> ServiceInfo {
    let mut arguments: Vec<OsString> = vec!["run".into(), "--service".into()];
    if let Some(config) = &plan.config {
        arguments.extend(["--config".into(), config.into()]);
    }
    ServiceInfo {
        name: NAME.into(),
        display_name: SHOWN.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program.to_owned(),
        launch_arguments: arguments,
        dependencies: Vec::new(),
        account_name: None,
        account_password: None,
    }
}

/// What a service works without; what of it was refused.
fn refine(service: &Service) -> Vec<String> {
    let restart = |delay| ServiceAction { action_type: ServiceActionType::Restart, delay };
    let actions = ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(FORGET_AFTER),
        reboot_msg: None,
        command: None,
        actions: Some(AGAIN_AFTER.map(restart).to_vec()),
    };
    let done = [
        ("its description", service.set_description(DESCRIPTION)),
        ("starting it after what the machine needs first", service.set_delayed_auto_start(true)),
        ("starting it again after a fault", service.update_failure_actions(actions)),
        ("the same after an exit code", service.set_failure_actions_on_non_crash_failures(true)),
        // Not the restricted kind: whether event tracing can be had with it was never tried on Windows.
        ("an identifier of its own", service.set_config_service_sid_info(ServiceSidType::Unrestricted)),
    ];
    let refused = done.into_iter().filter_map(|(what, done)| Some((what, done.err()?)));
    refused.map(|(what, error)| format!("warning: {what} is refused: {}", system_error(error))).collect()
}

/// Who else could have something run as SYSTEM: by the program, what lies beside it, or the configuration.
fn doubts(program: &Path, config: Option<&Path>) -> Vec<String> {
    let mut looked = vec![(program, CHANGE)];
    looked.extend(program.parent().map(|folder| (folder, REPLACE)));
    looked.extend(config.map(|config| (config, CHANGE)));
    let mut told = Vec::new();
    for (path, rights) in looked {
        let mut options = OpenOptions::new();
        let open = options.access_mode(READ_CONTROL).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path);
        match open.and_then(|open| outsider(&open, rights)) {
            Ok(None) => {}
            Ok(Some(who)) => told.push(format!(
                "warning: {who} may change {}, and so what runs as SYSTEM: leave that to administrators, as below Program Files",
                path.display()
            )),
            Err(error) => {
                told.push(format!("warning: who may change {} is not known: {error}", path.display()));
            }
        }
    }
    told
}

fn start_and_wait(service: &Service) -> Result<(), InstallError> {
    match service.start::<&str>(&[]) {
        Err(error) if code(&error) != Some(ERROR_SERVICE_ALREADY_RUNNING) => {
            return Err(failed("starting the service", error));
        }
        _ => {}
    }
    let log = || format!("its log says why: {}", paths::log_folder().join("sonde.log").display());
    let began = Instant::now();
    loop {
        let status = query(service)?;
        match status.current_state {
            ServiceState::Running => return Ok(()),
            ServiceState::Stopped => {
                let code = match status.exit_code {
                    ServiceExitCode::Win32(code) | ServiceExitCode::ServiceSpecific(code) => code,
                };
                return Err(InstallError::Failed {
                    what: format!("the service ended at once, with exit code {code}"),
                    remedy: log(),
                });
            }
            _ if began.elapsed() > STARTS_WITHIN => {
                let what = format!("the service does not run after {} s", STARTS_WITHIN.as_secs());
                return Err(InstallError::Failed { what, remedy: log() });
            }
            _ => thread::sleep(LOOK_EVERY),
        }
    }
}

fn stop_and_wait(service: &Service) -> Result<(), InstallError> {
    if query(service)?.current_state == ServiceState::Stopped {
        return Ok(());
    }
    match service.stop() {
        Err(error) if code(&error) == Some(ERROR_SERVICE_NOT_ACTIVE) => return Ok(()),
        Err(error) => return Err(failed("stopping the service", error)),
        Ok(_) => {}
    }
    let began = Instant::now();
    while query(service)?.current_state != ServiceState::Stopped {
        if began.elapsed() > STOPS_WITHIN {
            return Err(InstallError::Failed {
                what: format!("the service has not ended after {} s", STOPS_WITHIN.as_secs()),
                remedy: format!("its process: sc.exe queryex {NAME}; taskkill /F /PID ends it"),
            });
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

fn query(service: &Service) -> Result<ServiceStatus, InstallError> {
    let mut status = service.query_status().map_err(|error| failed("asking for the service", error))?;
    // Wine goes on to call a service running whose process was killed.
    if status.process_id == Some(0) {
        status.current_state = ServiceState::Stopped;
    }
    Ok(status)
}

fn open(access: ServiceAccess) -> Result<Service, InstallError> {
    manager(ServiceManagerAccess::CONNECT)?
        .open_service(NAME, access)
        .map_err(|error| failed("opening the service", error))
}

fn manager(access: ServiceManagerAccess) -> Result<ServiceManager, InstallError> {
    ServiceManager::local_computer(None::<&str>, access)
        .map_err(|error| failed("asking the service manager", error))
}

fn code(error: &windows_service::Error) -> Option<u32> {
    match error {
        windows_service::Error::Winapi(error) => error.raw_os_error().map(i32::cast_unsigned),
        _ => None,
    }
}

fn failed(what: &str, error: windows_service::Error) -> InstallError {
    system(what, system_error(error))
}

fn system(what: &str, error: io::Error) -> InstallError {
    let what = what.to_owned();
    match error.raw_os_error().map(i32::cast_unsigned) {
        Some(ERROR_SERVICE_DOES_NOT_EXIST) => InstallError::Absent,
        Some(ERROR_ACCESS_DENIED) => InstallError::Denied {
            what,
            remedy: "run it in a terminal that was started as administrator".to_owned(),
        },
        _ => InstallError::System { what, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_is_told_with_what_helps() {
        let code = |code: u32| io::Error::from_raw_os_error(code.cast_signed());
        assert!(matches!(system("x", code(ERROR_SERVICE_DOES_NOT_EXIST)), InstallError::Absent));
        assert!(system("x", code(ERROR_ACCESS_DENIED)).to_string().contains("administrator"));
        assert!(matches!(system("x", code(2)), InstallError::System { .. }));
    }

    #[test]
    fn the_manager_is_told_to_start_the_sensor_with_its_configuration() {
        let plan = Plan { config: Some(r"C:\a b\sonde.toml".into()), start: true };
        let info = info(Path::new(r"C:\Program Files\Sonde\sonde.exe"), &plan);
        assert_eq!(
            info.launch_arguments,
            ["run", "--service", "--config", r"C:\a b\sonde.toml"].map(OsString::from)
        );
        assert_eq!(info.start_type, ServiceStartType::AutoStart);
    }
}

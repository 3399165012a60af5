//! `sonde service` on Linux: the unit of the package, made for a program that came without one, through systemd's own
//! commands. Where a package brought the unit, that one is used, and left to the package.
//!
//! Everything that is written is told, line by line. What was learnt, the configuration and the account are never removed.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use sonde_common::config::DEFAULT_TEXT;
use sonde_common::time::Timestamp;

use super::{accounts, paths};
use crate::install::{InstallError, Plan, Status};

/// The unit as the package has it.
const UNIT: &str = include_str!("../../../../packaging/linux/sonde.service");
/// What of it changes: where the program and its configuration lie.
const RUN: &str = "ExecStart=/usr/bin/sonde run\n";
const CHECK: &str = "ExecReload=/usr/bin/sonde config check\n";
/// First line of a unit that was written here: only such a one is overwritten and removed.
const MARK: &str = "# Written by `sonde service install`; `sonde service uninstall` removes it.\n";
const SERVICE: &str = "sonde.service";
/// The account that the unit names, with its group.
const ACCOUNT: &str = "sonde";
/// Where the program is put that lies where a service does not find it, or others may change it.
const COPY: &str = "/usr/local/bin/sonde";
/// Folders below which only the system's owner writes, and which the unit does not hide.
const SAFE: [&str; 2] = ["/usr", "/opt"];
/// Folders that the unit hides from the sensor (`ProtectHome=`, `PrivateTmp=`).
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// Makes the service, has it start with the system, and starts it if that is wanted. Done again, it takes up what has changed.
///
/// # Errors
/// [`InstallError`]: not root, no systemd, or what one of its commands says.
pub fn install(plan: &Plan) -> Result<Vec<String>, InstallError> {
    ready()?;
    let mut told = Vec::new();
    let places = Places::of_system();
    if let Some(unit) = places.of_package() {
        if plan.config.is_some() {
            return Err(InstallError::Unsupported {
                what: format!("{} belongs to a package, which names the configuration", unit.display()),
                remedy: format!(
                    "use {}, or say otherwise in `systemctl edit sonde`",
                    paths::config_file().display()
                ),
            });
        }
        told.push(format!("{} is the package's, and used as it is", unit.display()));
    } else {
        let unit = unit(&program(&mut told)?, plan.config.as_deref())?;
        account(&mut told)?;
        places.configuration(plan.config.is_none(), accounts::group(ACCOUNT), &mut told)?;
        places.write_unit(&unit, &mut told)?;
        systemctl(&["daemon-reload"])?;
    }
    systemctl(&["enable", "--quiet", SERVICE])?;
    told.push("it starts with the system".to_owned());
    if plan.start {
        started("restart")?;
        told.push("it runs: `sonde status` asks it, `journalctl -u sonde` is its log".to_owned());
    } else {
        told.push("it is not started yet: sonde service start".to_owned());
    }
    Ok(told)
}

/// Stops and removes what [`install`] made.
///
/// # Errors
/// [`InstallError`]: as there, or a package's unit, which only the package's manager removes.
pub fn uninstall(_plan: &Plan) -> Result<Vec<String>, InstallError> {
    ready()?;
    let places = Places::of_system();
    if !places.written_here() {
        return Err(match places.of_package() {
            Some(unit) => InstallError::Unsupported {
                what: format!("{} belongs to a package", unit.display()),
                remedy: "remove the package, or only keep it from starting: systemctl disable --now sonde"
                    .to_owned(),
            },
            None => InstallError::Absent,
        });
    }
    systemctl(&["disable", "--quiet", "--now", SERVICE])?;
    let unit = places.unit();
    fs::remove_file(&unit).map_err(|error| failed("remove", &unit, error))?;
    systemctl(&["daemon-reload"])?;
    Ok(vec![
        "stopped".to_owned(),
        format!("removed {}", unit.display()),
        format!("kept: the program, {}, /var/lib/sonde, and the account {ACCOUNT}", folder().display()),
    ])
}

/// Starts it.
///
/// # Errors
/// [`InstallError`], with where to look if it ended at once.
pub fn start() -> Result<(), InstallError> {
    there()?;
    started("start")
}

/// Stops it. It starts again with the system.
///
/// # Errors
/// [`InstallError`]
pub fn stop() -> Result<(), InstallError> {
    there()?;
    systemctl(&["stop", SERVICE]).map(drop)
}

/// How it is.
///
/// # Errors
/// [`InstallError`], if systemd does not answer.
pub fn status() -> Result<Status, InstallError> {
    has_systemd()?;
    let properties = "--property=LoadState,ActiveState,MainPID,ActiveEnterTimestamp";
    let show = ["show", "--timestamp=unix", properties, SERVICE];
    // An older systemd does not know that form of a time, and then tells none that can be read.
    systemctl(&show).or_else(|_| systemctl(&["show", properties, SERVICE])).map(|text| parse(&text))
}

fn parse(show: &str) -> Status {
    let value = |name: &str| {
        show.lines()
            .find_map(|line| line.split_once('=').filter(|(key, _)| *key == name))
            .map_or("", |(_, value)| value)
    };
    if value("LoadState") != "loaded" {
        return Status::Absent;
    }
    match value("ActiveState") {
        "active" | "activating" | "reloading" => Status::Running {
            pid: value("MainPID").parse().ok().filter(|pid| *pid != 0),
            since: value("ActiveEnterTimestamp")
                .strip_prefix('@')
                .and_then(|seconds| seconds.parse().ok())
                .map(|seconds: i64| Timestamp::from_secs_nanos(seconds, 0)),
        },
        _ => Status::Stopped,
    }
}

/// Whether this system's services can be changed, by us.
fn ready() -> Result<(), InstallError> {
    has_systemd()?;
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(InstallError::Denied {
        what: "changing the system's services".to_owned(),
        remedy: "do it as root: sudo sonde service …".to_owned(),
    })
}

fn has_systemd() -> Result<(), InstallError> {
    // What sd_booted(3) looks at.
    if Path::new("/run/systemd/system").is_dir() {
        return Ok(());
    }
    Err(InstallError::Unsupported {
        what: "this system was not started by systemd".to_owned(),
        remedy: "have its own service manager call `sonde run` as root: it gives up what it does not need; \
                 in a container, make that the container's command"
            .to_owned(),
    })
}

fn there() -> Result<(), InstallError> {
    if status()? == Status::Absent { Err(InstallError::Absent) } else { ready() }
}

fn started(verb: &str) -> Result<(), InstallError> {
    // Three attempts that failed would block the fourth.
    let _ = systemctl(&["reset-failed", SERVICE]);
    systemctl(&[verb, SERVICE]).map(drop).map_err(|error| match error {
        InstallError::System { error, .. } => InstallError::Failed {
            what: format!("the service did not start: {error}"),
            remedy: "why stands in its log: journalctl -u sonde -n 30; `sonde doctor` says what works here"
                .to_owned(),
        },
        other => other,
    })
}

/// Runs systemd's command; what it printed.
fn systemctl(arguments: &[&str]) -> Result<String, InstallError> {
    run("systemctl", arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<String, InstallError> {
    let what = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .output()
        .map_err(|error| InstallError::System { what: what(), error })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = sonde_common::text::escape(said.trim()).to_string();
    let error =
        if said.is_empty() { io::Error::other(output.status.to_string()) } else { io::Error::other(said) };
    Err(InstallError::System { what: what(), error })
}

/// The program as the service is to call it: this one, if it lies where it is safe, else a copy.
fn program(told: &mut Vec<String>) -> Result<PathBuf, InstallError> {
    let own = std::env::current_exe().map_err(|error| failed("find", Path::new("this program"), error))?;
    if SAFE.iter().any(|folder| own.starts_with(folder)) {
        return Ok(own);
    }
    // Beside it first: a program that runs cannot be written to, but it can be replaced.
    let (copy, new) = (Path::new(COPY), Path::new("/usr/local/bin/.sonde.new"));
    fs::copy(&own, new)
        .and_then(|_| fs::set_permissions(new, fs::Permissions::from_mode(0o755)))
        .and_then(|()| fs::rename(new, copy))
        .map_err(|error| failed("copy the program to", copy, error))?;
    told.push(format!("copied {} to {COPY}, where only root can change it", own.display()));
    Ok(copy.to_owned())
}

/// The account that the unit names.
fn account(told: &mut Vec<String>) -> Result<(), InstallError> {
    if accounts::user(ACCOUNT).is_some() {
        return Ok(());
    }
    let line = format!("u {ACCOUNT} - \"Sonde, endpoint sensor\" /var/lib/sonde");
    let useradd = [
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/var/lib/sonde",
        "--shell",
        "/usr/sbin/nologin",
        ACCOUNT,
    ];
    run("systemd-sysusers", &["--inline", &line]).or_else(|_| run("useradd", &useradd))?;
    told.push(format!("made the account {ACCOUNT}, which owns nothing but its state"));
    Ok(())
}

/// The unit for a program and a configuration that lie elsewhere.
fn unit(program: &Path, config: Option<&Path>) -> Result<String, InstallError> {
    let program = word(program)?;
    let mut run = format!("ExecStart={program} run");
    let mut check = format!("ExecReload={program} config check");
    if let Some(config) = config {
        if let Some(hidden) = HIDDEN.iter().find(|hidden| config.starts_with(hidden)) {
            return Err(InstallError::Unsupported {
                what: format!("{}: the service does not see {hidden}", config.display()),
                remedy: format!("put the configuration into {}", folder().display()),
            });
        }
        let config = word(config)?;
        run.push_str(&format!(" --config {config}"));
        check.push_str(&format!(" {config}"));
    }
    let unit = UNIT.replace(RUN, &format!("{run}\n")).replace(CHECK, &format!("{check}\n"));
    Ok(format!("{MARK}{unit}"))
}

/// A path as one word of a command in a unit (systemd.service(5)).
fn word(path: &Path) -> Result<String, InstallError> {
    let unusable = || InstallError::Unsupported {
        what: format!("{}: a unit cannot name it", path.display()),
        remedy: "choose a path of plain letters".to_owned(),
    };
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control)).ok_or_else(unusable)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    let text = text.replace('%', "%%").replace('$', "$$").replace('\\', "\\\\").replace('"', "\\\"");
    Ok(format!("\"{text}\""))
}

fn folder() -> PathBuf {
    paths::config_file().parent().map(Path::to_owned).unwrap_or_default()
}

fn failed(verb: &str, path: &Path, error: io::Error) -> InstallError {
    InstallError::System { what: format!("cannot {verb} {}", path.display()), error }
}

/// Where units and configuration lie.
#[derive(Debug)]
struct Places {
    root: PathBuf,
}

impl Places {
    fn of_system() -> Self {
        Self { root: PathBuf::from("/") }
    }

    fn unit(&self) -> PathBuf {
        self.root.join("etc/systemd/system").join(SERVICE)
    }

    /// The unit of a package, if there is one.
    fn of_package(&self) -> Option<PathBuf> {
        let folders = ["usr/lib/systemd/system", "lib/systemd/system"];
        folders.iter().map(|folder| self.root.join(folder).join(SERVICE)).find(|unit| unit.exists())
    }

    fn written_here(&self) -> bool {
        fs::read_to_string(self.unit()).is_ok_and(|text| text.starts_with(MARK))
    }

    /// The folder of the configuration, and the default one where the system's is meant and none is there.
    fn configuration(
        &self,
        default: bool,
        group: Option<u32>,
        told: &mut Vec<String>,
    ) -> Result<(), InstallError> {
        let below = |path: &Path| self.root.join(path.strip_prefix("/").unwrap_or(path));
        let (folder, file) = (below(&folder()), below(&paths::config_file()));
        if !folder.exists() {
            fs::create_dir_all(&folder)
                .and_then(|()| owned(&folder, group, 0o750))
                .map_err(|error| failed("make", &folder, error))?;
            told.push(format!("made {}", folder.display()));
        }
        if default && !file.exists() {
            super::files::private(&file)
                .and_then(|mut open| io::Write::write_all(&mut open, DEFAULT_TEXT.as_bytes()))
                .and_then(|()| owned(&file, group, 0o640))
                .map_err(|error| failed("write", &file, error))?;
            told.push(format!("wrote {}, with every setting at its default", file.display()));
        }
        Ok(())
    }

    fn write_unit(&self, unit: &str, told: &mut Vec<String>) -> Result<(), InstallError> {
        let path = self.unit();
        match fs::read_to_string(&path) {
            Ok(old) if old == unit => {
                told.push(format!("{} is as it should be", path.display()));
                return Ok(());
            }
            Ok(old) if !old.starts_with(MARK) => {
                return Err(InstallError::Unsupported {
                    what: format!("{} is there already, and was not written by this command", path.display()),
                    remedy: "remove it, or go on to use it: systemctl enable --now sonde".to_owned(),
                });
            }
            _ => {}
        }
        fs::write(&path, unit)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)))
            .map_err(|error| failed("write", &path, error))?;
        told.push(format!("wrote {}", path.display()));
        Ok(())
    }
}

/// Readable for the sensor's account, writable for root alone.
fn owned(path: &Path, group: Option<u32>, mode: u32) -> io::Result<()> {
    if let Some(group) = group {
        chown(path, None, Some(group))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests;

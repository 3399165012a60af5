//! What `sonde doctor` looks at, in the order in which the sensor would choose.

use std::path::Path;

use sonde_common::config::Config;
use sonde_common::human;
use sonde_common::live::Unavailable;

use crate::control::client::{self, ClientError};
use crate::knowledge;
use crate::live::command::{Answer, Request};
use crate::live::health::Role;
use crate::live::layer::{Layer, PacketSource};
use crate::platform::ebpf::{EbpfLayer, EbpfOptions};
use crate::platform::netlink::{NetlinkLayer, NetlinkOptions, PollLayer};
use crate::platform::packets::{PnetSource, Ring, RingOptions};
use crate::platform::privileges::{self, Capability};
use crate::platform::{self, accounts, paths};

/// One thing to look at.
#[expect(missing_debug_implementations, reason = "it holds a function")]
pub struct Check {
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// What it costs when it is in use.
    pub cost: &'static str,
    /// What is missed without it.
    pub without: &'static str,
    /// Tries it, and leaves nothing behind.
    pub run: Box<dyn FnOnce() -> Result<Works, Unavailable>>,
}

/// Something works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Works {
    /// How, in words.
    pub detail: String,
    /// Parts of it that do not.
    pub lost: Vec<Unavailable>,
}

impl Works {
    /// It works wholly.
    fn wholly(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), lost: Vec::new() }
    }
}

/// All checks. A layer is opened as the sensor would, with its self-test, and closed again.
#[must_use]
pub fn all(config: &Config) -> Vec<Check> {
    let boot = platform::clock::clocks().boot();
    let ring_bytes = u32::try_from(config.attribution.ring_bytes.get()).unwrap_or(u32::MAX);
    let packet_bytes = config.capture.ring_bytes.size();
    vec![
        layer(
            "ebpf",
            "a fraction of a microsecond for each connection, in the kernel",
            "connections of processes that live for less than a few milliseconds have no process",
            move || EbpfLayer::open(&EbpfOptions { ring_bytes, boot }),
        ),
        layer(
            "netlink",
            "a look-up and a search through /proc for each connection: some tenths of a millisecond",
            "connections have a process only if it lives for seconds, by polling",
            move || NetlinkLayer::open(&NetlinkOptions { boot, queue: 1024 }),
        ),
        layer("poll", "a reading of all sockets each second", "connections have no process", move || {
            PollLayer::open(&NetlinkOptions { boot, queue: 1024 })
        }),
        packets(
            "ring",
            "nothing for packets that give no name: a filter in the kernel drops them",
            "packets come from pnet, which is handed every one",
            move || Ring::open(&RingOptions { bytes: packet_bytes, ..RingOptions::default() }),
        ),
        packets(
            "pnet",
            "a copy of every packet: much of a processor on a busy host",
            "connections have no names but those of other sources",
            PnetSource::open,
        ),
        capabilities(),
        packages(),
        feeds(config),
        state(config),
        socket(config),
        user(config),
    ]
}

/// Whether a layer passes its self-test here.
fn layer<L: Layer>(
    name: &'static str,
    cost: &'static str,
    without: &'static str,
    open: impl FnOnce() -> Result<L, Unavailable> + 'static,
) -> Check {
    let run = move || {
        let layer = open()?;
        Ok(Works { detail: "works, its self-test passed".to_owned(), lost: layer.unavailable().to_vec() })
    };
    Check { name: name.to_owned(), role: Role::Connections, cost, without, run: Box::new(run) }
}

/// Whether a source of packets passes its self-test here.
fn packets<P: PacketSource>(
    name: &'static str,
    cost: &'static str,
    without: &'static str,
    open: impl FnOnce() -> Result<P, Unavailable> + 'static,
) -> Check {
    let run = move || {
        let source = open()?;
        Ok(Works { detail: "works, its self-test passed".to_owned(), lost: source.unavailable().to_vec() })
    };
    Check { name: name.to_owned(), role: Role::Packets, cost, without, run: Box::new(run) }
}

fn packages() -> Check {
    let run = || match paths::package_database() {
        Some(path) => Ok(Works::wholly(format!("{path} is read"))),
        None => Err(Unavailable {
            what: "packages".to_owned(),
            reason: "no database of dpkg, rpm or apk can be read".to_owned(),
            remedy: String::new(),
        }),
    };
    Check {
        name: "packages".to_owned(),
        role: Role::Aid,
        cost: "one reading at start, look-ups for new programs",
        without: "programs of the system are not told from others: more alerts, and less sure",
        run: Box::new(run),
    }
}

fn capabilities() -> Check {
    let run = || {
        let wanted = [
            (Capability::Bpf, "kernel programs: owners of short-lived connections"),
            (Capability::Perfmon, "kernel programs that look at processes"),
            (Capability::NetAdmin, "kernel programs on sockets; counters of connections"),
            (Capability::NetRaw, "packets, and with them names"),
            (Capability::Ptrace, "executables and sockets of other users' processes"),
            (Capability::ReadAll, "hashes of executables that only their owner may read"),
        ];
        let lost: Vec<_> = wanted
            .into_iter()
            .filter(|(capability, _)| !privileges::has(*capability))
            .map(|(capability, what)| Unavailable {
                what: capability.name().to_owned(),
                reason: format!("not held; it is for {what}"),
                remedy: "start the sensor as root, or have the service manager give it".to_owned(),
            })
            .collect();
        let detail = format!("{} of {} held", wanted.len() - lost.len(), wanted.len());
        Ok(Works { detail, lost })
    };
    Check {
        name: "capabilities".to_owned(),
        role: Role::Aid,
        cost: "most are given up once the sources are open",
        without: "",
        run: Box::new(run),
    }
}

fn feeds(config: &Config) -> Check {
    let settings = config.feeds.clone();
    let run = move || {
        if settings.paths.is_empty() && settings.asn_database.get().is_none() {
            return Ok(Works::wholly("none, as configured (feeds.paths)"));
        }
        let read = knowledge::read(&settings, &[]);
        let counts = read.index.counts();
        let lost = |reason: &String| Unavailable {
            what: "feeds".to_owned(),
            reason: reason.clone(),
            remedy: "mend or remove it (`sonde feeds check` says more)".to_owned(),
        };
        let mut parts: Vec<_> = read.failures.iter().map(lost).collect();
        if counts.refused > 0 {
            parts.push(Unavailable {
                what: "feeds".to_owned(),
                reason: format!("{} indicators have no room", human::count(counts.refused)),
                remedy: "raise feeds.memory".to_owned(),
            });
        }
        let detail = format!(
            "{} indicators of {} files, {}",
            human::count(counts.entries()),
            human::count(read.files),
            human::bytes(counts.memory_bytes)
        );
        Ok(Works { detail, lost: parts })
    };
    Check {
        name: "feeds".to_owned(),
        role: Role::Aid,
        cost: "some 60 bytes for each indicator, a fraction of a microsecond for each connection",
        without: "known-bad infrastructure is not known",
        run: Box::new(run),
    }
}

fn state(config: &Config) -> Check {
    let dir = config.state.dir.get().map(str::to_owned);
    let run = move || {
        let Some(dir) = dir else { return Ok(Works::wholly("nothing is kept, as configured (state.dir)")) };
        let lost = |error: std::io::Error| Unavailable {
            what: dir.clone(),
            reason: error.to_string(),
            remedy: "make the folder for the sensor's account, or set state.dir".to_owned(),
        };
        let path = Path::new(&dir);
        // A folder that is not there is made by the sensor; here it is only asked whether that would work.
        let there = path.ancestors().find(|above| above.exists()).unwrap_or(path);
        if there == path {
            paths::private_folder(path).map_err(lost)?;
        }
        let probe = tempfile::Builder::new().prefix(".sonde-doctor").tempfile_in(there).map_err(lost)?;
        drop(probe);
        let detail =
            if there == path { format!("{dir} can be written") } else { format!("{dir} can be made") };
        Ok(Works::wholly(detail))
    };
    Check {
        name: "state".to_owned(),
        role: Role::Aid,
        cost: "a file of up to limits.memory, written at each saving",
        without: "every count begins anew at a restart: a slow beacon is found later",
        run: Box::new(run),
    }
}

fn socket(config: &Config) -> Check {
    let path = config.control.socket.get().map(str::to_owned);
    let group = config.control.group.get().map(str::to_owned);
    let run = move || {
        let Some(path) = path else { return Ok(Works::wholly("none, as configured (control.socket)")) };
        let lost = |reason: String, remedy: &str| Unavailable {
            what: path.clone(),
            reason,
            remedy: remedy.to_owned(),
        };
        if let Some(group) = group.filter(|group| accounts::group(group).is_none()) {
            return Err(lost(format!("there is no group `{group}`"), "make the group, or set control.group"));
        }
        match client::ask(Path::new(&path), Request::Status) {
            Ok(Answer::Status(health)) => {
                let verdict = health.verdict.as_str();
                Ok(Works::wholly(format!(
                    "a sensor runs (pid {}), which says of itself: {verdict}",
                    health.pid
                )))
            }
            Ok(_) => Err(lost("it does not answer the question".to_owned(), "stop what listens there")),
            Err(ClientError::Nobody { .. }) => {
                let there = Path::new(&path).ancestors().skip(1).find(|above| above.exists());
                let probe =
                    there.map(|folder| tempfile::Builder::new().prefix(".sonde-doctor").tempfile_in(folder));
                match probe {
                    Some(Err(error)) => {
                        Err(lost(error.to_string(), "start the sensor as root, or set control.socket"))
                    }
                    _ => Ok(Works::wholly(format!("no sensor runs; {path} is free"))),
                }
            }
            Err(ClientError::Denied { .. }) => {
                Err(lost("a sensor runs, and we may not ask it".to_owned(), "run this as root"))
            }
            Err(error) => Err(lost(error.to_string(), "the sensor's log may say more")),
        }
    };
    Check {
        name: "control socket".to_owned(),
        role: Role::Aid,
        cost: "nothing while nobody asks",
        without: "the sensor cannot be asked (status, alerts, top), and nothing be taken for known-good",
        run: Box::new(run),
    }
}

fn user(config: &Config) -> Check {
    let user = config.run.user.get().map(str::to_owned);
    let run = move || match user {
        None => Ok(Works::wholly("stays as it is started (run.user)")),
        Some(name) => match accounts::user(&name) {
            Some(user) => Ok(Works::wholly(format!("changes to {} (uid {})", user.name, user.uid))),
            None => Err(Unavailable {
                what: "run.user".to_owned(),
                reason: format!("there is no user `{name}`"),
                remedy: "make the account, or set run.user".to_owned(),
            }),
        },
    };
    Check {
        name: "account".to_owned(),
        role: Role::Aid,
        cost: "",
        without: "the sensor does not start",
        run: Box::new(run),
    }
}

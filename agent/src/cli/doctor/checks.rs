//! What `sonde doctor` looks at, in the order in which the sensor would choose.

use std::path::Path;

use sonde_common::config::Config;
use sonde_common::human;
use sonde_common::live::Unavailable;

use crate::control::client::{self, ClientError};
use crate::knowledge;
use crate::live::command::{Answer, Request};
use crate::live::health::Role;
use crate::live::layer::{Aid, LayerWay, PacketWay, SourceOptions};
use crate::platform::{self, accounts, paths};

/// Events that a layer queues while it is looked at.
const LAYER_QUEUE: usize = 1024;

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
    let options = SourceOptions {
        layer_bytes: config.attribution.ring_bytes.get(),
        ring_bytes: config.capture.ring_bytes.get(),
        queue: LAYER_QUEUE,
        boot: platform::clock::clocks().boot(),
    };
    let layers = platform::sources::layers(&options).into_iter().map(layer);
    let packets = platform::sources::packets(&options).into_iter().map(packets);
    let aids = platform::sources::AIDS.iter().map(aid);
    let others = [feeds(config), state(config), socket(config), user(config)];
    layers.chain(packets).chain(aids).chain(others).collect()
}

/// Whether a layer passes its self-test here.
fn layer(way: LayerWay) -> Check {
    let run = move || {
        let open = (way.open)()?;
        let lost = [open.layer.unavailable(), &open.unavailable].concat();
        Ok(Works { detail: "works, its self-test passed".to_owned(), lost })
    };
    Check {
        name: way.name.to_owned(),
        role: Role::Connections,
        cost: way.cost,
        without: way.without,
        run: Box::new(run),
    }
}

/// Whether a source of packets passes its self-test here.
fn packets(way: PacketWay) -> Check {
    let run = move || {
        let source = (way.open)()?.source;
        Ok(Works { detail: "works, its self-test passed".to_owned(), lost: source.unavailable().to_vec() })
    };
    Check {
        name: way.name.to_owned(),
        role: Role::Packets,
        cost: way.cost,
        without: way.without,
        run: Box::new(run),
    }
}

/// What helps the sources here.
fn aid(aid: &Aid) -> Check {
    let look = aid.look;
    let run = move || look().map(|(detail, lost)| Works { detail, lost });
    Check {
        name: aid.name.to_owned(),
        role: Role::Aid,
        cost: aid.cost,
        without: aid.without,
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

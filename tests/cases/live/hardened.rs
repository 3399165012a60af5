//! The sensor as its unit starts it: an account of its own, the unit's capabilities and no more, no way to gain others, and a
//! mount namespace in which `/tmp` is not the machine's. It has to see all the same. What the service manager filters
//! besides is tried by `scripts/try-service`, which boots one.

use std::os::unix::fs::{PermissionsExt, chown};
use std::time::{Duration, Instant};

use serde_json::Value;
use sonde_tests::emulate::sensor::Sensor;
use sonde_tests::program::sonde;

use crate::stage::Stage;

const UNIT: &str = include_str!("../../../packaging/linux/sonde.service");
const WITHOUT_EBPF: &str = include_str!("../../../packaging/linux/without-ebpf.conf");
/// An account that owns nothing (Debian's `nobody`).
const NOBODY: u32 = 65_534;

/// The capabilities that a unit gives, as setpriv wants them.
fn capabilities(unit: &str) -> String {
    let mut lines = unit.lines().filter_map(|line| line.strip_prefix("AmbientCapabilities="));
    let names = lines.next_back().unwrap();
    names.split(' ').map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase())).collect()
}

/// A sensor that was started so.
fn start(stage: &Stage, unit: &str, options: &[&str]) -> Sensor {
    let folder = stage.scratch.path();
    chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    let hide = format!("-all{}", capabilities(unit));
    let script = format!(
        "#!/bin/sh\nexec unshare --mount sh -c 'mount -t tmpfs none /home && exec setpriv --reuid={NOBODY} --regid={NOBODY} \
         --clear-groups --inh-caps={hide} --ambient-caps={hide} --bounding-set={hide} --no-new-privs {} \"$@\"' sh \"$@\"\n",
        sonde().display()
    );
    let wrapper = stage.scratch.file("start");
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o755)).unwrap();
    Sensor::start(&wrapper, folder, options).unwrap_or_else(|log| panic!("no sensor:\n{log}"))
}

/// What the kernel says of the sensor.
fn status(sensor: &Sensor, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{}/status", sensor.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().to_owned()
}

/// The first event that fits, within time.
fn event(sensor: &Sensor, fits: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(event) = sensor.events().into_iter().find(&fits) {
            return event;
        }
        assert!(Instant::now() < until, "{:#?}\n{}", sensor.events(), sensor.log().join("\n"));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Lets curl call, a new process each time, and sees whether the sensor knows it for the machine's own program.
fn knows_curl(stage: &Stage, sensor: &Sensor) {
    let _calls = stage.dressed("curl", &stage.folder("curl"), "beacon", 8080, 1.2);
    let to = stage.to(8080).ip().to_string();
    event(sensor, |event| event.to_string().contains(&to));
    let packaged = |event: &Value| event["package"].as_str().is_some_and(|name| name.starts_with("curl "));
    let program = event(sensor, |event| event["type"] == "process" && packaged(event));
    assert_eq!(program["signed"], true, "{program}");
    assert_eq!(program["sha256"].as_str().map(str::len), Some(64), "{program}");
    assert!(program["container"].is_null(), "{program}");
}

#[test]
fn under_its_unit_it_sees_and_keeps_two_capabilities() {
    let Some(stage) = Stage::new("hardened", &[("http", 8080)]) else { return };
    let mut sensor = start(&stage, UNIT, &["--attribution", "ebpf"]);
    assert_eq!(status(&sensor, "Uid").split_whitespace().next(), Some("65534"));
    let kept = 1_u64 << 19 | 1 << 2; // CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH
    for set in ["CapPrm", "CapEff"] {
        assert_eq!(u64::from_str_radix(&status(&sensor, set), 16), Ok(kept), "{set}");
    }
    assert_eq!(status(&sensor, "NoNewPrivs"), "1");
    knows_curl(&stage, &sensor);
    assert!(sensor.stop().is_some_and(|status| status.success()));
}

/// Without CAP_NET_ADMIN the kernel does not tell of processes: whoever calls is read from `/proc` at that moment, and the
/// sensor says so.
#[test]
fn without_kernel_programs_its_unit_leaves_enough_to_see() {
    let Some(stage) = Stage::new("hardened-plain", &[("http", 8080)]) else { return };
    let mut sensor = start(&stage, WITHOUT_EBPF, &["--attribution", "netlink"]);
    assert!(
        !capabilities(WITHOUT_EBPF).contains("net_admin"),
        "the drop-in gives it: this case tries nothing"
    );
    knows_curl(&stage, &sensor);
    // Each call is a curl of its own that lives for some milliseconds.
    let calls = |sensor: &Sensor| {
        let opened = |event: &Value| {
            event["type"] == "connection"
                && event["remote_port"] == 8080
                && matches!(event["phase"].as_str(), Some("opened" | "whole"))
        };
        sensor.events().into_iter().filter(opened).collect::<Vec<_>>()
    };
    let _calls = stage.dressed("curl", &stage.folder("more"), "beacon", 8080, 0.3);
    let until = Instant::now() + Duration::from_secs(30);
    while calls(&sensor).len() < 20 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(200));
    }
    let all = calls(&sensor);
    // A process stands with a call only where its program is known.
    let named = |event: &&Value| event["process"]["pid"].is_u64();
    let known = all.iter().filter(named).count();
    assert!(
        all.len() >= 20 && known * 2 >= all.len(),
        "{known} of {} have their program: {all:#?}",
        all.len()
    );
    let health = sensor.health();
    let parts = health["parts"].as_array().unwrap();
    let connector = parts.iter().find(|part| part["name"] == "events of processes (proc connector)");
    let lost = &connector.unwrap_or_else(|| panic!("{health:#}"))["state"]["lost"];
    assert!(lost["reason"].as_str().unwrap().contains("is read from /proc instead"), "{lost}");
    assert!(lost["remedy"].as_str().unwrap().contains("CAP_NET_ADMIN"), "{lost}");
    assert!(sensor.stop().is_some_and(|status| status.success()));
}

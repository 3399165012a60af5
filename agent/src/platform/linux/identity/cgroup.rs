//! A control group's path -> container, pod and unit: pure, since container managers agree on nothing but hex.

use crate::live::identity::facts::Place;

/// Longest path that is looked at, in bytes.
const MAX_PATH: usize = 4096;
/// Length of the ids that Docker, containerd, CRI-O and Podman give.
const ID_DIGITS: usize = 64;

/// What `/proc/PID/cgroup` tells: the best of its hierarchies (version 2 where it says anything, else those of version 1).
#[must_use]
pub fn place_of_process(text: &[u8]) -> Place {
    let mut best = Place::default();
    for line in text.split(|b| *b == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(_), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let place = place_of_path(path);
        if !place.container.is_empty() && best.container.is_empty() {
            let unit = std::mem::take(&mut best.unit);
            best = place;
            if best.unit.is_empty() {
                best.unit = unit;
            }
        } else if best.unit.is_empty() && best.container.is_empty() {
            best.unit = place.unit;
        }
    }
    if !best.container.is_empty() {
        // The unit of a container's manager, told by another hierarchy, is not the container's.
        best.unit = String::new();
    }
    best
}

/// The path of version 2 in `/proc/PID/cgroup`.
#[must_use]
pub fn unified_path(text: &[u8]) -> Option<&str> {
    let line = text.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    std::str::from_utf8(line).ok()
}

/// What one path tells.
#[must_use]
pub fn place_of_path(path: &str) -> Place {
    let mut place = Place::default();
    if path.len() > MAX_PATH {
        return place;
    }
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    let mut above = "";
    while let Some(part) = parts.next() {
        let name = strip_unit(part);
        if let Some(pod) = pod_uid(name) {
            pod.clone_into(&mut place.pod);
            // `…podUID.slice:cri-containerd:ID`
            place.pod = place.pod.replace('_', "-");
        }
        // What lies deeper wins: containers run inside containers.
        if let Some(container) = container_id(above, name, part, parts.peek().copied()) {
            container.clone_into(&mut place.container);
            place.unit = String::new();
        } else if place.container.is_empty() && (part.ends_with(".service") || part.ends_with(".scope")) {
            part.clone_into(&mut place.unit);
        }
        above = part;
    }
    place
}

fn strip_unit(part: &str) -> &str {
    ["scope", "service", "slice"]
        .iter()
        .find_map(|kind| part.strip_suffix(kind).and_then(|rest| rest.strip_suffix('.')))
        .unwrap_or(part)
}

fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The id of a container in one part of a path.
fn container_id<'p>(above: &str, name: &'p str, part: &'p str, below: Option<&str>) -> Option<&'p str> {
    // `podUID.slice:cri-containerd:ID`, `docker-ID`, `libpod-ID`, `cri-containerd-ID`, `crio-ID`, `ID`
    let (manager, id) = match name.rsplit_once([':', '-']) {
        Some((manager, id)) => (manager, id),
        None => ("", name),
    };
    if is_id(id) {
        // The monitor of a container runs outside it.
        return (!manager.ends_with("conmon")).then_some(id);
    }
    if let Some(name) = part.strip_prefix("lxc.payload.").filter(|name| !name.is_empty()) {
        return Some(name);
    }
    // `/lxc/NAME`, `/lxc.payload/NAME`; the manager's own group is `/lxc.monitor…`, `/lxc/monitor…`
    if matches!(above, "lxc" | "lxc.payload") && !part.starts_with("monitor") {
        return Some(part);
    }
    if let Some(machine) = part.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"))
    {
        // The supervisor beside the payload is of the host.
        return (below != Some("supervisor")).then_some(machine);
    }
    if above == "machine.slice"
        && let Some(machine) = part.strip_prefix("machine-").and_then(|rest| rest.strip_suffix(".scope"))
    {
        // A virtual machine's emulator is a program of the host.
        return (!machine.starts_with("qemu") && !machine.starts_with("libvirt")).then_some(machine);
    }
    None
}

/// The UID of a pod: `podUID`, `kubepods-burstable-podUID`, with dashes or underscores, or 32 digits for static pods.
fn pod_uid(name: &str) -> Option<&str> {
    let name = name.split(':').next().map_or(name, strip_unit);
    let (before, uid) = name.rsplit_once("pod")?;
    let fits = |b: u8| b.is_ascii_hexdigit() || b == b'-' || b == b'_';
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    ((before.is_empty() || before.ends_with('-')) && digits == 32 && uid.len() <= 36 && uid.bytes().all(fits))
        .then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "3b2c6f5d8a9e0714c2d1b0a9f8e7d6c5b4a3928170f6e5d4c3b2a190817263a4";
    const UID: &str = "7f1c0d2e-5b6a-4c3d-9e8f-001122334455";

    fn place(path: &str) -> [String; 3] {
        let uid = UID.replace('-', "_");
        let place = place_of_path(&path.replace("ID", ID).replace("UUU", &uid).replace("UU", UID));
        [place.container.replace(ID, "ID"), place.pod.replace(UID, "UU"), place.unit]
    }

    #[test]
    fn each_container_managers_paths_give_its_container() {
        for (path, expected) in [
            ("/docker/ID", ["ID", "", ""]),
            ("/system.slice/docker-ID.scope", ["ID", "", ""]),
            ("/docker/ID/init.scope", ["ID", "", ""]),
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", ["ID", "", ""]),
            ("/system.slice/nerdctl-ID.scope", ["ID", "", ""]),
            ("/default/ID", ["ID", "", ""]),
            ("/ecs/0a1b2c/ID", ["ID", "", ""]),
            ("/machine.slice/libpod-ID.scope", ["ID", "", ""]),
            ("/machine.slice/libpod-ID.scope/container", ["ID", "", ""]),
            ("/machine.slice/libpod-conmon-ID.scope", ["", "", "libpod-conmon-ID.scope"]),
            ("/libpod_parent/libpod-ID", ["ID", "", ""]),
            ("/libpod_parent/conmon", ["", "", ""]),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
                ["ID", "", ""],
            ),
            ("/lxc/web", ["web", "", ""]),
            ("/lxc.payload.web/system.slice/nginx.service", ["web", "", ""]),
            ("/lxc.payload/web", ["web", "", ""]),
            ("/lxc.monitor.web", ["", "", ""]),
            ("/machine.slice/systemd-nspawn@build.service/payload/system.slice/x.service", ["build", "", ""]),
            (
                "/machine.slice/systemd-nspawn@build.service/supervisor",
                ["", "", "systemd-nspawn@build.service"],
            ),
            ("/machine.slice/machine-build.scope", ["build", "", ""]),
            ("/machine.slice/machine-qemu\\x2d1.scope", ["", "", "machine-qemu\\x2d1.scope"]),
            // Docker in Docker: the inner one.
            (
                "/docker/0000000000000000000000000000000000000000000000000000000000000000/docker/ID",
                ["ID", "", ""],
            ),
        ] {
            let mut found = place(path);
            found[2] = found[2].replace(ID, "ID");
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn pods_are_known_with_both_drivers_and_every_runtime() {
        for path in [
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUUU.slice/cri-containerd-ID.scope",
            "/kubepods.slice/kubepods-podUUU.slice/crio-ID.scope",
            "/kubepods.slice/kubepods-podUUU.slice/crio-ID.scope/container",
            "/kubepods/besteffort/podUU/ID",
            "/kubepods/podUU/ID",
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod.slice/kubelet-kubepods-podUUU.slice/cri-containerd-ID.scope",
            "/system.slice/containerd.service/kubepods-burstable-podUUU.slice:cri-containerd:ID",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUUU.slice/docker-ID.scope",
        ] {
            assert_eq!(place(path), ["ID", "UU", ""], "{path}");
        }
        let fixed = "/kubepods/burstable/pod7f1c0d2e5b6a4c3d9e8f001122334455/ID";
        assert_eq!(place(fixed)[1], "7f1c0d2e5b6a4c3d9e8f001122334455", "a static pod's hash");
        assert_eq!(place("/kubepods.slice/kubepods-podUUU.slice/crio-conmon-ID.scope")[0], "");
    }

    #[test]
    fn units_are_those_of_services_and_sessions() {
        for (path, unit) in [
            ("/system.slice/ssh.service", "ssh.service"),
            ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
            ("/system.slice/foo.service/payload", "foo.service"),
            ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope",
                "vte-spawn-1.scope",
            ),
            ("/init.scope", "init.scope"),
            ("/", ""),
            ("/system.slice", ""),
        ] {
            assert_eq!(place(path), ["", "", unit], "{path}");
        }
    }

    #[test]
    fn a_process_is_placed_by_whichever_hierarchy_tells() {
        let place = |text: &str| place_of_process(text.replace("ID", ID).as_bytes());
        let old =
            place("12:memory:/docker/ID\n1:name=systemd:/docker/ID\n0::/system.slice/containerd.service\n");
        assert_eq!((old.container.as_str(), old.unit.as_str()), (ID, ""));
        let new = place("0::/system.slice/cron.service\n");
        assert_eq!((new.container.as_str(), new.unit.as_str()), ("", "cron.service"));
        let hybrid = place("9:name=systemd:/system.slice/cron.service\n4:memory:/x\n0::/\n");
        assert_eq!(hybrid.unit, "cron.service");
        assert_eq!(place(""), Place::default());
        assert_eq!(unified_path(b"4:memory:/x\n0::/a/b\n"), Some("/a/b"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(/|[a-f0-9]{64}|pod|lxc|-|:|\\.scope|.){0,30}") {
            let _ = place_of_path(&text);
            let _ = place_of_process(format!("0::{text}").as_bytes());
        }
    }
}

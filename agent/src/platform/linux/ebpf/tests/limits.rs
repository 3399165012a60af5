//! Too little room, and a sensor that is killed.

use super::*;

#[test]
fn what_does_not_fit_is_counted() {
    let Some(mut layer) = layer(4096) else { return };
    let lab = Lab::new();
    let listener = lab.listen(V4);
    let to = listener.local_addr().unwrap();
    let before = layer.lost();
    for _ in 0..200 {
        drop(lab.connect(to));
        drop(listener.accept().unwrap());
    }
    let lost = layer.lost() - before;
    let mut events = Vec::new();
    layer.drain(Timestamp::ZERO, &mut events);
    let told = sockets(&events, to).len();
    println!("{told} records told, {lost} lost");
    assert!(lost > 400, "{told} told, {lost} lost");
    // Once there is room again, all is as before. The machine's other processes want room too.
    let since = Instant::now();
    loop {
        drop(lab.connect(to));
        drop(listener.accept().unwrap());
        events.clear();
        layer.drain(Timestamp::ZERO, &mut events);
        if closed(&events, to).is_some() {
            break;
        }
        assert!(since.elapsed() < 10 * SECOND, "nothing is told any more");
    }
}

#[test]
#[ignore = "a part of nothing_stays_in_the_kernel_after_a_kill, which runs it as a process of its own"]
fn hold() {
    let Some(layer) = layer(1 << 16) else { return };
    let ids: Vec<String> =
        layer._programs.programs().map(|(_, program)| program.info().unwrap().id().to_string()).collect();
    std::fs::write(std::env::var("SONDE_HOLD").unwrap(), ids.join(" ") + "\n").unwrap();
    std::thread::sleep(60 * SECOND);
}

#[test]
fn nothing_stays_in_the_kernel_after_a_kill() {
    if layer(1 << 16).is_none() {
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["platform::linux::ebpf::tests::limits::hold", "--exact", "--ignored"])
        .env("SONDE_HOLD", file.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let loaded = || -> Vec<u32> {
        aya::programs::loaded_programs().filter_map(Result::ok).map(|program| program.id()).collect()
    };
    let since = Instant::now();
    let ids: Vec<u32> = loop {
        let text = std::fs::read_to_string(file.path()).unwrap();
        if text.ends_with('\n') {
            break text.split_whitespace().map(|id| id.parse().unwrap()).collect();
        }
        assert!(since.elapsed() < 30 * SECOND);
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(ids.len(), 11);
    assert!(ids.iter().all(|id| loaded().contains(id)));
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    let since = Instant::now();
    while ids.iter().any(|id| loaded().contains(id)) {
        assert!(since.elapsed() < 10 * SECOND, "programs stayed");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_program_that_found_no_room_is_told_with_its_first_call() {
    let Some(mut layer) = layer(4096) else { return };
    let lab = Lab::new();
    let listener = lab.listen(V4);
    let to = listener.local_addr().unwrap();
    for _ in 0..50 {
        drop(lab.connect(to));
        drop(listener.accept().unwrap());
    }
    let lost = layer.lost();
    let script = format!("read && echo x > /dev/tcp/{}/{}", to.ip(), to.port());
    let mut child = lab
        .inside('c', || Command::new("/bin/bash").args(["-c", &script]).stdin(Stdio::piped()).spawn())
        .unwrap();
    std::thread::sleep(SECOND / 5);
    assert!(layer.lost() > lost, "its start found room");
    let mut events = Vec::new();
    layer.drain(Timestamp::ZERO, &mut events);
    assert!(started(&events, child.id()).is_none());
    events.clear();
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    drain_until(&mut layer, &mut events, |seen| started(seen, child.id()).is_some());
    child.wait().unwrap();
    let start = started(&events, child.id()).unwrap();
    let file = std::fs::metadata("/bin/bash").unwrap();
    assert_eq!((start.file.device, start.file.inode), (file.dev(), file.ino()));
    let opened = sockets(&events, to)[0];
    assert!(matches!(opened.news, SocketNews::Opened(Some(owner)) if owner.process == start.process));
}

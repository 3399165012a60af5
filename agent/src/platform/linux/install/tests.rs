//! What is written, in a folder; and the whole of it on a machine that systemd started (`scripts/try-service`).

use super::*;

const PROGRAM: &str = "/usr/bin/sonde";

/// A root folder as a system has it.
fn system() -> (tempfile::TempDir, Places) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("etc/systemd/system")).unwrap();
    let places = Places { root: folder.path().to_owned() };
    (folder, places)
}

#[test]
fn the_unit_calls_this_program_with_this_configuration() {
    // What is replaced has to be there.
    assert!(UNIT.contains(RUN) && UNIT.contains(CHECK) && UNIT.matches(PROGRAM).count() == 2);
    let plain = unit(Path::new("/opt/sonde/bin/sonde"), None).unwrap();
    assert!(plain.contains("\nExecStart=/opt/sonde/bin/sonde run\n"), "{plain}");
    assert!(plain.contains("\nExecReload=/opt/sonde/bin/sonde config check\n"));
    let odd = unit(Path::new("/opt/a b/100%/$x/so\"nde"), Some(Path::new("/etc/sonde/lab 1.toml"))).unwrap();
    let program = r#""/opt/a b/100%%/$$x/so\"nde""#;
    assert!(
        odd.contains(&format!("\nExecStart={program} run --config \"/etc/sonde/lab 1.toml\"\n")),
        "{odd}"
    );
    assert!(odd.contains(&format!("\nExecReload={program} config check \"/etc/sonde/lab 1.toml\"\n")));
    assert!(unit(Path::new("/opt/a\nUser=root"), None).is_err());
    for hidden in ["/home/x/sonde.toml", "/root/sonde.toml", "/tmp/sonde.toml"] {
        let error = unit(Path::new(PROGRAM), Some(Path::new(hidden))).unwrap_err().to_string();
        assert!(error.contains("does not see") && error.contains("/etc/sonde"), "{error}");
    }
}

#[test]
fn what_is_written_is_told_and_what_is_there_stays() {
    let (folder, places) = system();
    let (mut told, mut again) = (Vec::new(), Vec::new());
    places.configuration(true, None, &mut told).unwrap();
    let file = folder.path().join("etc/sonde/sonde.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o750);
    assert_eq!(fs::read_to_string(&file).unwrap(), DEFAULT_TEXT);
    fs::write(&file, "# mine\n").unwrap();
    places.configuration(true, None, &mut again).unwrap();
    assert_eq!((told.len(), again.len(), fs::read_to_string(&file).unwrap().as_str()), (2, 0, "# mine\n"));

    let unit = unit(Path::new(PROGRAM), None).unwrap();
    assert!(!places.written_here() && places.of_package().is_none());
    places.write_unit(&unit, &mut told).unwrap();
    assert!(places.written_here());
    places.write_unit(&unit, &mut told).unwrap();
    assert!(told.last().unwrap().ends_with("as it should be"), "{told:?}");
    // A unit of somebody else's is let be.
    fs::write(places.unit(), "[Service]\nExecStart=/bin/true\n").unwrap();
    assert!(
        places.write_unit(&unit, &mut told).unwrap_err().to_string().contains("not written by this command")
    );
    assert!(!places.written_here());
    let package = folder.path().join("lib/systemd/system");
    fs::create_dir_all(&package).unwrap();
    fs::write(package.join(SERVICE), "").unwrap();
    assert_eq!(places.of_package(), Some(package.join(SERVICE)));
}

#[test]
fn systemds_own_words_are_read() {
    let running = "MainPID=812\nLoadState=loaded\nActiveState=active\nActiveEnterTimestamp=@1700000000\n";
    let since = Some(Timestamp::from_secs_nanos(1_700_000_000, 0));
    assert_eq!(parse(running), Status::Running { pid: Some(812), since });
    let older = "LoadState=loaded\nActiveState=activating\nMainPID=0\nActiveEnterTimestamp=Tue 2023-11-14 22:13:20 UTC\n";
    assert_eq!(parse(older), Status::Running { pid: None, since: None });
    assert_eq!(parse("LoadState=loaded\nActiveState=failed\n"), Status::Stopped);
    assert_eq!(parse("LoadState=not-found\nActiveState=inactive\n"), Status::Absent);
    assert_eq!(parse(""), Status::Absent);
}

#[test]
fn where_systemd_did_not_start_the_system_the_way_out_is_told() {
    if Path::new("/run/systemd/system").is_dir() {
        return;
    }
    for refused in [install(&Plan::default()).unwrap_err(), start().unwrap_err(), status().unwrap_err()] {
        let text = refused.to_string();
        assert!(text.contains("not started by systemd") && text.contains("sonde run"), "{text}");
    }
}

/// On a machine that systemd started, as root, and without a package of Sonde's: `scripts/try-service` has one.
#[test]
#[ignore = "changes the machine's services: run by scripts/try-service in a machine of its own"]
fn on_a_machine_of_its_own() {
    assert_eq!(std::env::var("SONDE_TEST_MACHINE").as_deref(), Ok("disposable"));
    assert_eq!(status().unwrap(), Status::Absent);
    assert!(
        matches!(start(), Err(InstallError::Absent))
            && matches!(uninstall(&Plan::default()), Err(InstallError::Absent))
    );
    // The service is to run Sonde, which this test is not.
    let mut told = Vec::new();
    account(&mut told).unwrap();
    let places = Places::of_system();
    places.configuration(true, accounts::group(ACCOUNT), &mut told).unwrap();
    places.write_unit(&unit(Path::new("/opt/sonde/sonde"), None).unwrap(), &mut told).unwrap();
    systemctl(&["daemon-reload"]).unwrap();
    assert_eq!(status().unwrap(), Status::Stopped);
    start().unwrap();
    let Status::Running { pid: Some(pid), since: Some(_) } = status().unwrap() else {
        panic!("{:?}", status())
    };
    assert_eq!(fs::read_link(format!("/proc/{pid}/exe")).unwrap(), Path::new("/opt/sonde/sonde"));
    stop().unwrap();
    assert_eq!(status().unwrap(), Status::Stopped);
    // As a whole, of this test, which is no sensor and so is not started.
    let told = install(&Plan { config: None, start: false }).unwrap();
    assert!(
        told.iter().any(|line| line.starts_with("copied")) && told.last().unwrap().contains("not started"),
        "{told:?}"
    );
    let unit = fs::read_to_string(places.unit()).unwrap();
    assert!(unit.contains("\nExecStart=/usr/local/bin/sonde run\n") && Path::new(COPY).exists());
    assert!(systemctl(&["is-enabled", SERVICE]).unwrap().starts_with("enabled"));
    let told = uninstall(&Plan::default()).unwrap();
    assert!(told.iter().any(|line| line.starts_with("removed")), "{told:?}");
    assert_eq!(status().unwrap(), Status::Absent);
    assert!(systemctl(&["is-enabled", SERVICE]).is_err());
    assert!(Path::new("/etc/sonde/sonde.toml").exists());
}

//! Known-bad infrastructure: what is on a feed is found in a replay and by the live sensor, also when the feed comes later;
//! the index says what a list searched from top to bottom does; a database of networks is read, and a damaged one refused.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use sonde_common::feed::Networks;
use sonde_tests::emulate::sensor::Sensor;
use sonde_tests::feeds::{agree, asn_database, made_of};
use sonde_tests::program::{Ran, Scratch, run, say, sonde};
use sonde_tests::scenario::scenario;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_says_what_a_list_does(bytes in proptest::collection::vec(any::<u8>(), 0..900)) {
        let (list, questions) = made_of(&bytes);
        agree(&list, &questions);
    }
}

fn rows(ran: &Ran) -> Vec<Value> {
    ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(row: &'a Value, pointer: &str) -> &'a str {
    row.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn replay(capture: &Path, arguments: &[&str]) -> Ran {
    run(
        [&["replay", capture.to_str().unwrap(), "--format", "ndjson", "--no-progress"], arguments].concat(),
        b"",
    )
}

/// A capture of a beacon, and where it calls.
fn beacon(scratch: &Scratch) -> (std::path::PathBuf, String, String) {
    let capture = scratch.write("beacon.pcap", &scenario("fixed-60", 1));
    let alerts = rows(&replay(&capture, &[]).expect(0));
    let alert = alerts.first().expect("the scenario alerts");
    let (name, ip) =
        (text(alert, "/destination/address").to_owned(), text(alert, "/destination/ip").to_owned());
    assert_ne!(text(alert, "/sonde/severity"), "critical", "by its rhythm alone it is not");
    (capture, name, ip)
}

#[test]
fn a_replay_with_a_feed_finds_what_is_on_it() {
    let scratch = Scratch::new("feeds-replay");
    let (capture, name, ip) = beacon(&scratch);
    let feed = scratch.write("house.txt", format!("# ours\n{name}\n{ip}\n").as_bytes());
    let alerts = rows(&replay(&capture, &["--feed", feed.to_str().unwrap()]).expect(0));
    let class = |wanted: &str| {
        let found = alerts.iter().find(|alert| {
            text(alert, "/rule/name").contains(wanted) || alert.to_string().contains(&format!("\"{wanted}\""))
        });
        found.unwrap_or_else(|| panic!("no {wanted} in {alerts:#?}"))
    };
    let found = class("indicator");
    assert_eq!(text(found, "/sonde/severity"), "critical", "{found:#}");
    assert!(text(found, "/message").contains("is on the feed `house`"), "{found:#}");
    // The beacon itself knows it, too.
    let known = alerts.iter().filter(|alert| alert.to_string().contains("T1071.001")).filter(|alert| {
        text(alert, "/message").contains("about every") && text(alert, "/sonde/severity") == "critical"
    });
    assert!(known.count() >= 1, "{alerts:#?}");
    assert!(alerts.iter().all(|alert| !alert.to_string().contains("\"retrospective\":true")));

    // Without the feeds' detector, nothing is looked up.
    let off = replay(&capture, &["--feed", feed.to_str().unwrap(), "--set", "detectors.indicators=false"]);
    assert!(!off.expect(0).text().contains("house"));
}

#[test]
fn a_feed_that_is_none_is_named_with_its_line() {
    let scratch = Scratch::new("feeds-bad");
    let (capture, ..) = beacon(&scratch);
    let feed = scratch.write("bad.txt", b"<html>\nno feed\n");
    let ran = replay(&capture, &["--feed", feed.to_str().unwrap()]);
    assert_eq!(ran.code, 65, "{}", ran.stderr);
    assert!(ran.stderr.contains("bad.txt") && ran.stderr.contains("line 1"), "{}", ran.stderr);
}

#[test]
fn a_feed_that_comes_later_is_held_against_what_the_sensor_remembers() {
    let scratch = Scratch::new("feeds-later");
    let folder = scratch.file("feeds");
    std::fs::create_dir_all(&folder).unwrap();
    let paths = format!("feeds.paths=[\"{}\"]", folder.display());
    let options = ["--set", &paths, "--set", "feeds.check_secs=1"];
    let mut sensor = match Sensor::start(&sonde(), scratch.path(), options) {
        Ok(sensor) => sensor,
        Err(log) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI can run a sensor: {log}");
            return say(&format!("SKIPPED: no sensor: {log}"));
        }
    };
    // One connection, to an address of this machine: refused, and told of all the same.
    let ip = local_address();
    let Some(ip) = ip else { return say("SKIPPED: this machine has no address but loopback") };
    let _ = std::net::TcpStream::connect_timeout(&(ip, 9).into(), Duration::from_secs(1));
    let seen =
        |sensor: &Sensor| sensor.events().iter().any(|event| text(event, "/remote_ip") == ip.to_string());
    let began = std::time::Instant::now();
    while !seen(&sensor) {
        if began.elapsed() > Duration::from_secs(15) {
            return say("SKIPPED: this machine's sources do not tell of connections to itself");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    std::fs::write(folder.join("late.txt"), format!("{ip}\n")).unwrap();
    let found = sensor.wait_for_alert(Duration::from_secs(20), |alert| {
        alert.to_string().contains("\"retrospective\":true")
    });
    let found = found.unwrap_or_else(|| panic!("nothing found:\n{}", sensor.log().join("\n")));
    assert!(text(&found, "/message").contains("is on the feed `late`"), "{found:#}");
    assert!(text(&found, "/message").contains("listed after"), "{found:#}");

    // A broken one changes nothing, and is told.
    std::fs::write(folder.join("broken.txt"), "<html>\n").unwrap();
    assert!(
        sensor.wait_for_log("the feeds in use stay", Duration::from_secs(20)),
        "{}",
        sensor.log().join("\n")
    );
}

/// The address by which this machine reaches others.
fn local_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing: only the route is looked up.
    socket.connect("192.0.2.1:9").ok()?;
    socket
        .local_addr()
        .ok()
        .map(|address| address.ip())
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

fn database() -> Vec<u8> {
    asn_database(&[
        ("203.0.113.0".parse().unwrap(), 24, 64_496, "Example Hosting"),
        ("198.51.100.0".parse().unwrap(), 25, 14_061, "DigitalOcean"),
        ("2001:db8::".parse().unwrap(), 32, 64_497, "Example Six"),
    ])
}

#[test]
fn networks_are_told_from_a_database() {
    let networks = Networks::open(database()).unwrap();
    let of = |ip: &str| {
        networks.of(ip.parse().unwrap()).map(|found| (found.number, found.organization, found.hosting))
    };
    assert_eq!(of("203.0.113.7"), Some((64_496, "Example Hosting".into(), false)));
    assert_eq!(of("198.51.100.127"), Some((14_061, "DigitalOcean".into(), true)));
    assert_eq!(of("198.51.100.128"), None);
    assert_eq!(of("2001:db8:1::1"), Some((64_497, "Example Six".into(), false)));
    assert_eq!(of("::ffff:203.0.113.7"), of("203.0.113.7"));
    assert_eq!(networks.described(), ("Test-ASN", 1_767_225_600));
}

#[test]
fn a_damaged_database_is_refused_or_read_but_never_a_panic() {
    let whole = database();
    for length in 0..whole.len() {
        assert!(Networks::open(whole[..length].to_vec()).is_err(), "cut at {length}");
    }
    let addresses: Vec<IpAddr> = ["203.0.113.7", "198.51.100.1", "2001:db8::1", "255.255.255.255"]
        .map(|ip| ip.parse().unwrap())
        .into();
    for at in 0..whole.len() {
        for value in [0x00, 0xff, 0x5f, 0xe9, whole[at] ^ 1, whole[at] ^ 0x80] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            if let Ok(networks) = Networks::open(bytes) {
                for ip in &addresses {
                    let _ = networks.of(*ip);
                }
            }
        }
    }
}

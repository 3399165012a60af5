//! Hostile names go through every sink: each record is read back from the server as it was told, and what stands there as
//! text holds nothing that steers a terminal, hides, or begins something new.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sonde::sink::Outcome;
use sonde::sink::own::OwnSockets;
use sonde_common::alert::Severity;
use sonde_common::config::Config;
use sonde_common::encode::native;
use sonde_common::record::{Kind as Lane, Record};
use sonde_common::text::is_plain;
use sonde_common::time::Timestamp;
use sonde_tests::hostile;

use super::PATIENCE;
use super::kinds::{Kept, Kind, Way};
use super::sinks::Rig;

/// An alert for each name of the corpus, with that name everywhere.
fn records() -> Vec<(String, Record)> {
    let all = hostile::names().into_iter().map(|hostile| {
        let alert = hostile::alert_with(&hostile.name);
        let record = Record {
            kind: Lane::Alert,
            id: alert.emission_id(),
            key: hostile.name.clone(),
            time: Timestamp::from_secs_nanos(1_795_000_000, 0),
            severity: Severity::High,
            body: native::to_json(&alert).into_bytes(),
        };
        (hostile.name, record)
    });
    all.collect()
}

fn go_through(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("out")).unwrap();
    let rig = Rig::start(kind, folder.path(), Way::default(), |authority| {
        authority.issue(&["localhost", "127.0.0.1"])
    });
    rig.install_types();
    let mut config = rig.config();
    config += match kind {
        Kind::Udp => "udp_bytes = \"63 KiB\"\n",
        Kind::Tcp | Kind::Tls => "max_bytes = \"1 MiB\"\n",
        _ => "",
    };
    let config = Config::parse(&config, &[]).unwrap();
    let (name, settings) = config.sinks.iter().next().unwrap();
    let mut sink = sonde::sink::open(name, settings, &OwnSockets::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let all = records();
    assert!(all.len() >= 200, "{}", all.len());
    let batch: Vec<Record> = all.iter().map(|(_, record)| record.clone()).collect();
    // Datagrams have a receiver's buffer for their only queue.
    let at_once = if kind == Kind::Udp { 1 } else { 10 };
    for part in batch.chunks(at_once) {
        let delivery = runtime.block_on(sink.deliver(part));
        let taken = delivery.outcomes.iter().filter(|outcome| **outcome == Outcome::Acknowledged);
        assert_eq!(taken.count(), part.len(), "{}: {delivery:?}", kind.name());
        if kind == Kind::Udp {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    runtime.block_on(sink.close());
    let since = Instant::now();
    let mut kept = rig.kept();
    while kept.len() < all.len() && since.elapsed() < PATIENCE / 4 {
        std::thread::sleep(Duration::from_millis(200));
        kept = rig.kept();
    }
    let count = kept.len();
    let kept: BTreeMap<&str, &Kept> = kept.iter().map(|kept| (kept.id.as_str(), kept)).collect();
    let lost = all.iter().filter(|(_, record)| !kept.contains_key(record.id.as_str()));
    let lost: Vec<_> =
        lost.map(|(name, record)| (name.chars().take(20).collect::<String>(), record.body.len())).collect();
    assert!(lost.is_empty(), "{}: of {} are missing: {lost:?}", kind.name(), all.len());
    assert_eq!(count, all.len(), "{}: each is there once, and nothing else", kind.name());
    for (name, record) in &all {
        let what = format!("{}: {name:?}", kind.name());
        let there = kept.get(record.id.as_str()).unwrap_or_else(|| panic!("{what} is missing"));
        let told: serde_json::Value = serde_json::from_slice(&record.body).unwrap();
        // By UDP what is too long for a datagram was cut, and says so.
        if !there.text.contains(" cut=\"") {
            assert!(there.body == told, "{what}: {}\nis not\n{told}", there.body);
        }
        assert_eq!(there.body["host"]["name"], name.as_str(), "{what}");
        assert!(there.text.chars().all(is_plain), "{what}: {}", there.text);
    }
}

#[test]
fn hostile_names_are_read_back_from_every_server_as_they_were_and_harmless() {
    std::thread::scope(|scope| {
        let cases = Kind::ALL.map(|kind| (kind, scope.spawn(move || go_through(kind))));
        let failed: Vec<_> =
            cases.into_iter().filter_map(|(kind, case)| case.join().is_err().then(|| kind.name())).collect();
        assert!(failed.is_empty(), "{failed:?}");
    });
}

//! What the syslog sink promises, against a real rsyslog: nothing is lost at a good end, what a dying server lost comes
//! again, who is not who they should be gets nothing, and hostile names arrive as they were.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is a failed test here")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use sonde::sink::own::OwnSockets;
use sonde::sink::{Delivery, Outcome, Sink};
use sonde_common::alert::Severity;
use sonde_common::config::Config;
use sonde_common::encode::native;
use sonde_common::record::{Kind, Record};
use sonde_common::time::Timestamp;
use sonde_tests::certificates::{Authority, Issued};
use sonde_tests::hostile;
use sonde_tests::servers::rsyslog::{CLIENT_NAME, Rsyslog, SERVER_NAME, Stored};
use tokio::runtime::Runtime;

/// Longest that a case tries a delivery again.
const PATIENCE: Duration = Duration::from_secs(120);

/// A sink as the core drives it: one call at a time, dropped when its time is over.
struct Driver {
    runtime: Runtime,
    sink: Box<dyn Sink>,
    timeout: Duration,
}

impl Driver {
    fn new(table: &str) -> Self {
        let config = Config::parse(table, &[]).unwrap();
        let (name, settings) = config.sinks.iter().next().unwrap();
        let sink = sonde::sink::open(name, settings, &OwnSockets::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, sink, timeout: Duration::from_secs(settings.timeout_secs.get().into()) }
    }

    fn deliver(&mut self, batch: &[Record]) -> Delivery {
        let call = async { tokio::time::timeout(self.timeout, self.sink.deliver(batch)).await };
        self.runtime
            .block_on(call)
            .unwrap_or_else(|_| Delivery::all(&Outcome::Retry("timed out".into()), batch.len(), "timed out"))
    }

    /// Delivers a batch, again and again until it is acknowledged; how often it was not.
    fn insist(&mut self, batch: &[Record]) -> usize {
        let since = Instant::now();
        for failed in 0.. {
            let delivery = self.deliver(batch);
            if delivery.outcomes.iter().all(|outcome| *outcome == Outcome::Acknowledged) {
                assert_eq!(delivery.outcomes.len(), batch.len());
                return failed;
            }
            assert!(since.elapsed() < PATIENCE, "never taken: {}", delivery.said);
            std::thread::sleep(Duration::from_millis(100));
        }
        unreachable!("it is tried until it is taken or time is over")
    }

    fn close(&mut self) {
        self.runtime.block_on(self.sink.close());
    }

    /// The reason why a batch is to be tried again.
    fn refused(&mut self, batch: &[Record]) -> String {
        match &self.deliver(batch).outcomes[0] {
            Outcome::Retry(reason) => reason.clone(),
            other => panic!("{other:?}"),
        }
    }
}

/// A server and all that it and its clients have to show.
struct Stage {
    folder: tempfile::TempDir,
    authority: Authority,
    server: Rsyslog,
}

impl Stage {
    fn new() -> Self {
        let authority = Authority::root("Sensors");
        let certificate = authority.issue(&[SERVER_NAME]);
        Self::with(authority, &certificate)
    }

    fn with(authority: Authority, certificate: &Issued) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Rsyslog::start(folder.path(), &authority, certificate);
        Self { folder, authority, server }
    }

    /// The table of a sink that shows this certificate and goes by TLS.
    fn by_tls(&self, client: &Issued, shared: &str, own: &str) -> String {
        tls_table(self.folder.path(), &self.authority.pem(), client, self.server.tls, shared, own)
    }

    fn tls(&self, shared: &str, own: &str) -> Driver {
        let client = self.authority.issue(&[CLIENT_NAME]);
        Driver::new(&self.by_tls(&client, shared, own))
    }
}

fn tls_table(folder: &Path, ca: &str, client: &Issued, port: u16, shared: &str, own: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    for (name, text) in [("trust.pem", ca), ("client.pem", &client.certificate), ("client.key", &client.key)]
    {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let folder = folder.display();
    format!(
        "[sinks.soc]\n{shared}\n[sinks.soc.tls]\nca = \"{folder}/trust.pem\"\ncertificate = \"{folder}/client.pem\"\n\
         key = \"{folder}/client.key\"\n[sinks.soc.syslog]\nurl = \"tls://{SERVER_NAME}:{port}\"\n{own}\n"
    )
}

fn record(number: usize, body: String) -> Record {
    Record {
        kind: Kind::Alert,
        id: format!("r{number}"),
        key: "finding".to_owned(),
        time: Timestamp::from_secs_nanos(1_772_442_000, 0),
        severity: Severity::High,
        body: body.into_bytes(),
    }
}

/// Records with these numbers, each with so many bytes more than it needs.
fn records(numbers: std::ops::Range<usize>, more: usize) -> Vec<Record> {
    numbers.map(|n| record(n, format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(more)))).collect()
}

fn numbers(stored: &[Stored]) -> Vec<usize> {
    stored.iter().map(|line| line.parameter("id").unwrap()[1..].parse().unwrap()).collect()
}

/// How often each number stands there.
fn counted(stored: &[Stored]) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for number in numbers(stored) {
        *counts.entry(number).or_default() += 1;
    }
    counts
}

#[test]
fn five_thousand_records_by_tls_are_stored_in_order_when_the_connection_ends() {
    let stage = Stage::new();
    let mut sink = stage.tls("", "");
    for batch in records(0..5_000, 300).chunks(500) {
        assert_eq!(sink.insist(batch), 0);
    }
    sink.close();
    drop(sink);
    let stored = stage.server.wait(|stored| stored.len() >= 5_000);
    assert_eq!(numbers(&stored), (0..5_000).collect::<Vec<_>>());
    assert_eq!(
        (stored[7].pri.as_str(), stored[7].app.as_str(), stored[7].kind.as_str()),
        ("131", "sonde", "alert")
    );
    assert!(stored[7].time.starts_with("2026-03-02T09:00:00") && !stored[7].host.is_empty());
    assert_eq!(stored[7].message, format!("{{\"n\":7,\"pad\":\"{}\"}}", "x".repeat(300)));
}

#[test]
fn tcp_and_udp_bring_records_too() {
    let stage = Stage::new();
    let mut tcp = Driver::new(&format!("[sinks.soc.syslog]\nurl = \"tcp://127.0.0.1:{}\"", stage.server.tcp));
    assert_eq!(tcp.insist(&records(0..300, 10)), 0);
    tcp.close();
    let stored = stage.server.wait(|stored| stored.len() >= 300);
    assert_eq!(numbers(&stored), (0..300).collect::<Vec<_>>());
    let table =
        format!("[sinks.soc.syslog]\nurl = \"udp://127.0.0.1:{}\"\nfacility = \"local4\"", stage.server.udp);
    let mut udp = Driver::new(&table);
    // Few enough for the receiver's buffer, and one that has to be cut.
    assert_eq!(udp.insist(&records(300..350, 10)), 0);
    assert_eq!(udp.insist(&records(350..351, 5_000)), 0);
    let stored = stage.server.wait(|stored| stored.len() >= 351);
    assert_eq!(counted(&stored).len(), 351);
    let cut = stored.iter().find(|line| line.parameter("id") == Some("r350")).unwrap();
    assert_eq!(
        (cut.message.as_str(), cut.parameter("cut"), cut.pri.as_str()),
        ("{\"n\":350}", Some("5018"), "163")
    );
}

#[test]
fn a_udp_port_where_nobody_listens_is_noticed() {
    let port = sonde_tests::servers::free_port();
    let mut sink = Driver::new(&format!("[sinks.soc.syslog]\nurl = \"udp://127.0.0.1:{port}\""));
    let reason = sink.refused(&records(0..1, 0));
    assert!(reason.contains("refused"), "{reason}");
}

#[test]
fn what_a_killed_server_lost_comes_again_and_nothing_else_twice() {
    let mut stage = Stage::new();
    let mut sink = stage.tls("", "");
    for batch in records(0..1_500, 300).chunks(100) {
        assert_eq!(sink.insist(batch), 0);
    }
    stage.server.kill();
    let reason = sink.refused(&records(1_500..1_600, 300));
    assert!(reason.contains("refused"), "{reason}");
    stage.server.restart();
    for batch in records(1_500..3_000, 300).chunks(100) {
        sink.insist(batch);
    }
    sink.close();
    let stored =
        stage.server.wait(|stored| counted(stored).len() >= 3_000 && numbers(stored).ends_with(&[2_999]));
    let mut first = Vec::new();
    for number in numbers(&stored) {
        if first.len() == number {
            first.push(number);
        }
        assert!(number < first.len(), "{number} came before {}", first.len());
    }
    for (number, count) in counted(&stored) {
        assert!(count == 1 || (count == 2 && number < 1_500), "{number} came {count} times");
    }
}

#[test]
fn a_server_that_stands_still_is_tried_again() {
    let stage = Stage::new();
    let mut sink = stage.tls("timeout_secs = 3", "");
    assert_eq!(sink.insist(&records(0..10, 10)), 0);
    stage.server.freeze(true);
    // Its system takes what its buffers hold; then nothing more.
    let mut next = 10;
    let reason = loop {
        let batch = records(next..next + 50, 20_000);
        match sink.deliver(&batch).outcomes.first() {
            Some(Outcome::Acknowledged) => next += 50,
            Some(Outcome::Retry(reason)) => break reason.clone(),
            other => panic!("{other:?}"),
        }
        assert!(next < 5_000, "100 MB fit in no buffer");
    };
    assert!(reason.contains("timed out"), "{reason}");
    stage.server.freeze(false);
    sink.insist(&records(next..next + 50, 20_000));
    sink.close();
    let all = next + 50;
    let stored = stage.server.wait(|stored| counted(stored).len() >= all);
    assert_eq!(counted(&stored).into_keys().collect::<Vec<_>>(), (0..all).collect::<Vec<_>>());
}

#[test]
fn who_is_not_who_they_should_be_gets_nothing() {
    let stage = Stage::new();
    let stranger = Authority::root("Strangers");
    let batch = records(0..10, 10);
    let folder = tempfile::tempdir().unwrap();
    let try_with = |trust: &Authority, client: &Issued| {
        let table = tls_table(folder.path(), &trust.pem(), client, stage.server.tls, "timeout_secs = 20", "");
        let mut sink = Driver::new(&table);
        // Neither the first time nor later.
        let first = sink.refused(&batch);
        let second = sink.refused(&batch);
        format!("{first}; {second}")
    };
    let good = stage.authority.issue(&[CLIENT_NAME]);
    let said = try_with(&stranger, &good);
    assert!(said.contains("TLS") && said.contains("UnknownIssuer"), "the server is another's: {said}");
    for (what, client) in [
        ("of another authority", stranger.issue(&[CLIENT_NAME])),
        ("expired", stage.authority.issue_expired(&[CLIENT_NAME])),
        // Not one of another name: rsyslog 8.2302 was seen to let one in and to store its records, now and then. That is
        // its own policy and nothing that a sensor can hold.
    ] {
        let said = try_with(&stage.authority, &client);
        assert!(
            said.contains("certificate") || said.contains("Certificate"),
            "our certificate is {what}: {said}"
        );
    }
    assert_eq!(stage.server.stored(), []);
    // It was not for anything else.
    assert_eq!(Driver::new(&stage.by_tls(&good, "", "")).insist(&batch), 0);

    let authority = Authority::root("Sensors");
    let expired = authority.issue_expired(&[SERVER_NAME]);
    let stage = Stage::with(authority, &expired);
    let reason = stage.tls("", "").refused(&batch);
    println!("its certificate is expired: {reason}");
    assert!(reason.contains("expired") || reason.contains("Expired"), "{reason}");
    let authority = Authority::root("Sensors");
    let other = authority.issue(&["another.example"]);
    let stage = Stage::with(authority, &other);
    let reason = stage.tls("", "").refused(&batch);
    println!("its certificate is of another name: {reason}");
    assert!(reason.contains("TLS") && reason.contains("name"), "{reason}");
}

/// Records of alerts that bear hostile names everywhere.
fn hostile_records() -> Vec<(hostile::Hostile, Record)> {
    let all = hostile::names().into_iter().enumerate().map(|(number, hostile)| {
        let alert = hostile::alert_with(&hostile.name);
        let mut record = record(number, native::to_json(&alert));
        record.key = hostile.name.clone();
        (hostile, record)
    });
    all.collect()
}

#[test]
fn hostile_names_arrive_by_syslog_as_they_were_and_harmless() {
    let stage = Stage::new();
    let all = hostile_records();
    assert!(all.len() >= 200, "{}", all.len());
    let batch: Vec<_> = all.iter().map(|(_, record)| record.clone()).collect();
    let mut sink = stage.tls("", "max_bytes = \"1 MiB\"");
    for batch in batch.chunks(50) {
        assert_eq!(sink.insist(batch), 0);
    }
    sink.close();
    let stored = stage.server.wait(|stored| stored.len() >= all.len());
    assert_eq!(numbers(&stored), (0..all.len()).collect::<Vec<_>>());
    for ((hostile, record), line) in all.iter().zip(&stored) {
        let value = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        let read = value(line.message.as_bytes());
        assert!(read == value(&record.body), "{:?}", hostile.name);
        assert!(
            read.to_string().len() > 1_000 && read["host"]["name"] == hostile.name.as_str(),
            "{:?}",
            hostile.name
        );
        assert_eq!(line.parameter("severity"), Some("high"), "{}", line.structured);
        let shown = [&line.message, &line.structured, &line.host];
        for text in shown {
            assert!(text.chars().all(sonde_common::text::is_plain), "{:?}: {text}", hostile.name);
        }
    }
    // The same as sentences.
    let mut sink = stage.tls("", "format = \"text\"");
    assert_eq!(sink.insist(&batch), 0);
    sink.close();
    let stored = stage.server.wait(|stored| stored.len() >= 2 * all.len());
    for ((hostile, _), line) in all.iter().zip(&stored[all.len()..]) {
        let text = line.message.trim_start_matches('\u{feff}');
        assert!(text.chars().all(sonde_common::text::is_plain), "{:?}: {text}", hostile.name);
        assert_eq!(line.parameter("severity"), Some("high"), "{}", line.structured);
    }
}

#[test]
fn hostile_names_stand_in_a_file_as_they_were_and_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts.ndjson");
    let all = hostile_records();
    let batch: Vec<_> = all.iter().map(|(_, record)| record.clone()).collect();
    let mut sink = Driver::new(&format!("[sinks.soc.file]\npath = {:?}", path.to_str().unwrap()));
    assert_eq!(sink.insist(&batch), 0);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.chars().all(|c| sonde_common::text::is_plain(c) || c == '\n'));
    assert_eq!(text.lines().count(), all.len());
    for ((hostile, _), line) in all.iter().zip(text.lines()) {
        let read: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(read["host"]["name"], hostile.name.as_str());
    }
}

/// rsyslogd in namespaces of its own, in which the folders that the shipped configuration names are its own.
struct Shipped(std::process::Child);

impl Drop for Shipped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_shipped_configuration_of_rsyslog_takes_records_as_it_stands() {
    const SCRIPT: &str = "ip link set lo up
        mount -t tmpfs tmpfs /etc/rsyslog.d; mount -t tmpfs tmpfs /var/log; mount -t tmpfs tmpfs /var/spool
        mkdir /etc/rsyslog.d/sonde /var/log/sonde /var/spool/rsyslog
        cp \"$1\" /etc/rsyslog.d/60-sonde.conf
        cp \"$2\"/ca.pem \"$2\"/server.pem \"$2\"/server.key /etc/rsyslog.d/sonde
        exec \"$3\" -n -f /etc/rsyslog.d/60-sonde.conf -i \"$2\"/pid";
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/rsyslog/60-sonde.conf");
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::root("Sensors");
    let server = authority.issue(&[SERVER_NAME]);
    for (name, text) in
        [("ca.pem", &authority.pem()), ("server.pem", &server.certificate), ("server.key", &server.key)]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut process = std::process::Command::new("unshare");
    process.args(["--mount", "--net", "--propagation", "private", "sh", "-ec", SCRIPT, "sh"]);
    process.args([&shipped, folder.path(), &sonde_tests::servers::binary("rsyslogd")]);
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    process.stdin(std::process::Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let rsyslogd = Shipped(process.spawn().unwrap());
    let said = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let root = format!("/proc/{}/root", rsyslogd.0.id());
    let since = Instant::now();
    while !folder.path().join("pid").exists() {
        assert!(since.elapsed() < PATIENCE, "{}", said());
        std::thread::sleep(Duration::from_millis(20));
    }
    let client = authority.issue(&["web-07.sensors.example"]);
    let table = tls_table(folder.path(), &authority.pem(), &client, 6_514, "", "");
    let batch = records(0..500, 20_000);
    let network = std::fs::File::open(format!("/proc/{}/ns/net", rsyslogd.0.id())).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
            use std::os::fd::AsFd as _;
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let mut sink = Driver::new(&table);
            sink.insist(&batch);
            sink.close();
        });
    });
    let wanted: Vec<String> =
        batch.iter().map(|record| String::from_utf8(record.body.clone()).unwrap()).collect();
    let since = Instant::now();
    loop {
        let text =
            std::fs::read_to_string(format!("{root}/var/log/sonde/records.ndjson")).unwrap_or_default();
        if text.lines().count() >= wanted.len() {
            assert!(text.lines().eq(wanted.iter().map(String::as_str)));
            break;
        }
        assert!(since.elapsed() < PATIENCE, "{} stored: {}", text.lines().count(), said());
        std::thread::sleep(Duration::from_millis(100));
    }
}

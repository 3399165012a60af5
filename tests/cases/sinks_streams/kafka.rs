//! Kafka's protocol: tansu, and librdkafka's mock cluster; what they hold is read back by librdkafka.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sonde::sink::Outcome;
use sonde_common::record::Record;
use sonde_tests::servers::kafka;

use super::{Shipping, is_all, is_later, record, records, signal};

fn settings(addresses: &str, topic: &str) -> String {
    let brokers: Vec<&str> = addresses.split(',').collect();
    format!("timeout_secs = 6\n[sinks.a.kafka]\nbrokers = {brokers:?}\ntopic = \"{topic}\"")
}

/// That these are there, each once and as it was sent, and those of one key in order.
fn assert_kept(kept: &[Value], sent: &[Record]) {
    let mut by_id: HashMap<&str, Vec<&Value>> = HashMap::new();
    for message in kept {
        by_id.entry(message["headers"]["id"].as_str().unwrap()).or_default().push(message);
    }
    let mut last: HashMap<&str, (i64, i64)> = HashMap::new();
    for record in sent {
        let found = by_id.get(record.id.as_str()).map(Vec::as_slice).unwrap_or_default();
        assert_eq!(found.len(), 1, "{} is there {} times", record.id, found.len());
        let message = found[0];
        assert_eq!(message["value"].as_str().unwrap().as_bytes(), record.body);
        assert_eq!(message["key"], json!(record.key));
        assert_eq!(message["timestamp"], json!(record.time.millis()));
        let place = (message["partition"].as_i64().unwrap(), message["offset"].as_i64().unwrap());
        if let Some(before) = last.insert(&record.key, place) {
            assert!(before.0 == place.0 && before.1 < place.1, "{} is out of order", record.id);
        }
    }
    assert_eq!(kept.len(), sent.len());
}

#[test]
fn a_topic_keeps_each_record_as_it_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut tansu = kafka::tansu(folder.path(), None);
    tansu.make_topic("sonde", 3);
    let address = format!("127.0.0.1:{}", tansu.port);
    let delivery = Shipping::new(&settings(&address, "missing")).deliver(&records(0..2));
    assert!(is_later(&delivery, "there is no topic missing: create it"), "{delivery:?}");

    let mut shipping = Shipping::new(&settings(&address, "sonde"));
    let sent = records(0..200);
    for batch in sent.chunks(50) {
        let delivery = shipping.deliver(batch);
        assert!(is_all(&delivery, &Outcome::Acknowledged), "{delivery:?}");
    }
    assert_kept(&kafka::read(&address, "sonde", 3), &sent);

    signal(tansu.server.pid(), "STOP");
    let since = Instant::now();
    let delivery = shipping.deliver(&records(200..203));
    assert!(is_later(&delivery, "in time") && since.elapsed() < Duration::from_secs(40), "{delivery:?}");
    signal(tansu.server.pid(), "CONT");
    shipping.deliver_until_acknowledged(&records(200..203));
    tansu.server.kill();
    let delivery = shipping.deliver(&[record(300)]);
    assert!(is_later(&delivery, "conne"), "{delivery:?}");
}

#[test]
fn errors_of_brokers_neither_lose_nor_double() {
    // The mock cluster keeps nothing of what it answers with an error, and does not look at sequence numbers: what happens
    // to what was kept unheard is asked of tansu, below.
    // NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND, COORDINATOR_LOAD_IN_PROGRESS, …
    const CODES: [i16; 6] = [6, 7, 20, 14, 5, 56];
    let mut mock = kafka::mock(3, "sonde", 4);
    let mut shipping = Shipping::new(&settings(&mock.addresses, "sonde"));
    let sent = records(0..600);
    for (at, batch) in sent.chunks(60).enumerate() {
        let code = CODES[at % CODES.len()];
        match at {
            // The answer comes after longer than the call may take.
            3 => mock.tell("late 1 0 7 9000"),
            5 => mock.tell("leader sonde 0 3"),
            _ => mock.tell(&format!("errors 0 {code} {code} {code} {code} {code}")),
        }
        shipping.deliver_until_acknowledged(batch);
    }
    assert_kept(&kafka::read(&mock.addresses, "sonde", 4), &sent);
}

#[test]
fn what_brokers_never_take_is_refused_alone() {
    let mut mock = kafka::mock(1, "sonde", 1);
    let mut shipping = Shipping::new(&settings(&mock.addresses, "sonde"));
    shipping.deliver_until_acknowledged(&records(0..1));
    // MESSAGE_TOO_LARGE for eight, then four, two and the first of them; then no more.
    mock.tell("errors 0 10 10 10 10");
    let delivery = shipping.deliver(&records(1..9));
    assert!(
        matches!(&delivery.outcomes[0], Outcome::Refused(why) if why.contains("MESSAGE_TOO_LARGE")),
        "{delivery:?}"
    );
    assert!(delivery.outcomes[1..].iter().all(|outcome| *outcome == Outcome::Acknowledged), "{delivery:?}");
    // A broker that forgot our producer id: a new one is taken.
    mock.tell("errors 0 59");
    let delivery = shipping.deliver(&records(9..12));
    assert!(is_all(&delivery, &Outcome::Acknowledged), "{delivery:?}");
    let sent: Vec<Record> = records(0..1).into_iter().chain(records(2..12)).collect();
    assert_kept(&kafka::read(&mock.addresses, "sonde", 1), &sent);
}

/// Stands before a broker: passes bytes on, until it is told to swallow the next answer and to hang up.
struct Front {
    port: u16,
    to: Arc<AtomicU16>,
    swallow: Arc<AtomicBool>,
}

impl Front {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (to, swallow) = (Arc::new(AtomicU16::new(0)), Arc::new(AtomicBool::new(false)));
        let front = Self { port, to: to.clone(), swallow: swallow.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let to = (Ipv4Addr::LOCALHOST, to.load(Ordering::SeqCst));
                let Ok(broker) = TcpStream::connect(to) else { continue };
                let (mut from, mut onward) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut onward);
                    let _ = onward.shutdown(Shutdown::Both);
                });
                let (mut answers, mut back, swallow) = (broker, client, swallow.clone());
                std::thread::spawn(move || {
                    let mut buffer = [0; 64 << 10];
                    while let Ok(read @ 1..) = answers.read(&mut buffer) {
                        if swallow.swap(false, Ordering::SeqCst) || back.write_all(&buffer[..read]).is_err() {
                            break;
                        }
                    }
                    let _ = back.shutdown(Shutdown::Both);
                });
            }
        });
        front
    }
}

#[test]
fn a_batch_whose_answer_was_lost_is_not_kept_twice() {
    let folder = tempfile::tempdir().unwrap();
    let front = Front::start();
    let tansu = kafka::tansu(folder.path(), Some(front.port));
    front.to.store(tansu.port, Ordering::SeqCst);
    tansu.make_topic("sonde", 1);
    let address = format!("127.0.0.1:{}", front.port);
    let mut shipping = Shipping::new(&settings(&address, "sonde"));
    shipping.deliver_until_acknowledged(&records(0..5));
    front.swallow.store(true, Ordering::SeqCst);
    shipping.deliver_until_acknowledged(&records(5..10));
    assert!(!front.swallow.load(Ordering::SeqCst), "no answer was swallowed");
    assert_kept(&kafka::read(&address, "sonde", 1), &records(0..10));
}

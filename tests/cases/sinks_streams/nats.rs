//! NATS JetStream: nats-server, alone and as three.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream};
use sonde::sink::Outcome;
use sonde_tests::certificates::Authority;
use sonde_tests::servers::nats;

use super::{PATIENCE, Shipping, is_all, is_later, record, records, signal};

/// The definition that is shipped.
const STREAM: &str = include_str!("../../../packaging/fleet/nats/stream.json");

/// The stream for what is shipped, and the context that made it.
async fn make_stream(url: &str, replicas: usize) -> (jetstream::Context, stream::Stream) {
    let since = Instant::now();
    let client = async_nats::connect(url).await.expect("the server takes us");
    let context = jetstream::new(client);
    loop {
        let mut config: stream::Config = serde_json::from_str(STREAM).expect("it is a stream's definition");
        config.num_replicas = replicas;
        match context.create_stream(config).await {
            Ok(stream) => return (context, stream),
            // A cluster takes a moment to choose who leads.
            Err(error) => assert!(since.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[test]
fn a_stream_keeps_each_record_once_as_it_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = nats::alone(folder.path(), "");
    let mut shipping =
        Shipping::new(&format!("timeout_secs = 4\n[sinks.a.nats]\nurls = [\"{}\"]", node.url()));
    let batch = records(0..8);
    let delivery = shipping.deliver(&batch);
    assert!(is_later(&delivery, "no stream takes sonde."), "{delivery:?}");

    let (_context, stream) = shipping.runtime.block_on(make_stream(&node.url(), 1));
    let delivery = shipping.deliver(&batch);
    assert!(is_all(&delivery, &Outcome::Acknowledged), "{delivery:?}");
    assert_eq!(delivery.said, "stream SONDE took 8, up to sequence 8; 0 it had already");
    let delivery = shipping.deliver(&batch);
    assert_eq!(delivery.said, "stream SONDE took 8, up to sequence 8; 8 it had already");
    shipping.runtime.block_on(async {
        for (sequence, sent) in (1..).zip(&batch) {
            let kept = stream.get_raw_message(sequence).await.unwrap();
            assert_eq!(kept.subject.as_str(), format!("sonde.{}", sent.kind.as_str()));
            assert_eq!(kept.headers.get("Nats-Msg-Id").unwrap().as_str(), sent.id);
            assert_eq!(&kept.payload[..], &sent.body[..]);
        }
    });

    // What the server never takes does not hold up the others.
    let mut batch = records(8..11);
    batch[1].body = vec![b' '; 2 << 20];
    let delivery = shipping.deliver(&batch);
    assert_eq!(
        (&delivery.outcomes[0], &delivery.outcomes[2]),
        (&Outcome::Acknowledged, &Outcome::Acknowledged)
    );
    assert!(
        matches!(&delivery.outcomes[1], Outcome::Refused(why) if why.contains("max_payload")),
        "{delivery:?}"
    );

    // A server that stands still, and one that is gone.
    signal(node.server.pid(), "STOP");
    let since = Instant::now();
    let delivery = shipping.deliver(&records(11..14));
    assert!(is_later(&delivery, "in time") && since.elapsed() < Duration::from_secs(30), "{delivery:?}");
    signal(node.server.pid(), "CONT");
    shipping.deliver_until_acknowledged(&records(11..14));
    node.server.kill();
    let delivery = shipping.deliver(&records(14..15));
    assert!(is_later(&delivery, "conne"), "{delivery:?}");
    shipping.close();
}

#[test]
fn nothing_is_lost_when_the_leader_of_a_cluster_dies() {
    const ALL: u32 = 3_000;
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = nats::cluster(folder.path());
    let urls: Vec<String> = nodes.iter().map(nats::Node::url).collect();
    let mut shipping = Shipping::new(&format!("timeout_secs = 10\n[sinks.a.nats]\nurls = {urls:?}"));
    let (_, mut stream) = shipping.runtime.block_on(make_stream(&urls[0], 3));
    let all = records(0..ALL);
    for (at, batch) in all.chunks(100).enumerate() {
        if at == 10 {
            let info = shipping.runtime.block_on(stream.info()).unwrap();
            let leader = info.cluster.as_ref().and_then(|cluster| cluster.leader.clone()).unwrap();
            let node = nodes.iter_mut().find(|node| node.name == leader).unwrap();
            signal(node.server.pid(), "KILL");
        }
        shipping.deliver_until_acknowledged(batch);
    }
    // What is sent again is known by its id.
    let again = shipping.deliver(&all[..300]);
    assert!(again.said.contains("; 300 it had already"), "{again:?}");

    let url = nodes.iter_mut().find_map(|node| node.server.answers(node.port).then(|| node.url())).unwrap();
    let ids = shipping.runtime.block_on(async {
        let context = jetstream::new(async_nats::connect(url).await.unwrap());
        let stream = context.get_stream("SONDE").await.unwrap();
        let mut ids: HashMap<String, u32> = HashMap::new();
        for sequence in 1..=u64::from(ALL) {
            let kept = stream.get_raw_message(sequence).await.unwrap();
            *ids.entry(kept.headers.get("Nats-Msg-Id").unwrap().to_string()).or_default() += 1;
        }
        assert_eq!(stream.get_info().await.unwrap().state.messages, u64::from(ALL));
        ids
    });
    assert!(all.iter().all(|record| ids.get(&record.id) == Some(&1)), "{} of {ALL} ids", ids.len());
}

#[test]
fn a_server_is_known_by_its_certificate_and_knows_us_by_ours() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let authority = Authority::root("ours");
    let (server, client) = (authority.issue(&["127.0.0.1"]), authority.issue(&["sensor"]));
    let ca = write("ca.pem", &authority.pem());
    let stranger = write("stranger.pem", &Authority::root("another").pem());
    let (certificate, key) = (write("server.pem", &server.certificate), write("server.key", &server.key));
    let (ours, our_key) = (write("sensor.pem", &client.certificate), write("sensor.key", &client.key));
    let password = write("password", "geheim\n");
    let wrong = write("wrong", "falsch\n");
    let node = nats::alone(
        folder.path(),
        &format!(
            "tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca:?}, verify: true }}\n\
             authorization {{ user: sensor, password: geheim }}"
        ),
    );
    let shipping = |ca: &str, identity: bool, password: &str| {
        let identity =
            if identity { format!("certificate = {ours:?}\nkey = {our_key:?}\n") } else { String::new() };
        Shipping::new(&format!(
            "timeout_secs = 4\n[sinks.a.tls]\nca = {ca:?}\n{identity}\
             [sinks.a.nats]\nurls = [\"tls://127.0.0.1:{}\"]\nuser = \"sensor\"\npassword = {{ file = {password:?} }}",
            node.port
        ))
    };
    let batch = [record(0)];
    // Everything fits; all that is missing is a stream.
    let delivery = shipping(&ca, true, &password).deliver(&batch);
    assert!(is_later(&delivery, "no stream takes"), "{delivery:?}");
    let delivery = shipping(&stranger, true, &password).deliver(&batch);
    assert!(is_later(&delivery, "cannot connect") && is_later(&delivery, "ertificate"), "{delivery:?}");
    let delivery = shipping(&ca, false, &password).deliver(&batch);
    assert!(is_later(&delivery, "connect"), "{delivery:?}");
    let delivery = shipping(&ca, true, &wrong).deliver(&batch);
    assert!(is_later(&delivery, "check user"), "{delivery:?}");
}

#[test]
fn a_user_that_may_not_publish_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let node = nats::alone(folder.path(), "authorization { token: geheim }");
    let token = folder.path().join("token");
    std::fs::write(&token, "geheim").unwrap();
    std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let settings =
        |extra: &str| format!("timeout_secs = 4\n[sinks.a.nats]\nurls = [\"{}\"]\n{extra}", node.url());
    let delivery = Shipping::new(&settings("")).deliver(&[record(0)]);
    assert!(is_later(&delivery, "check user, token or credentials"), "{delivery:?}");
    let delivery = Shipping::new(&settings(&format!("token = {{ file = {token:?} }}"))).deliver(&[record(0)]);
    assert!(is_later(&delivery, "no stream takes"), "{delivery:?}");

    let folder = tempfile::tempdir().unwrap();
    let rules = "authorization { users: [{ user: s, password: p, permissions: { publish: \"other.>\" } }] }";
    let node = nats::alone(folder.path(), rules);
    let password = folder.path().join("password");
    std::fs::write(&password, "p").unwrap();
    std::fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let since = Instant::now();
    let delivery = Shipping::new(&format!(
        "timeout_secs = 60\n[sinks.a.nats]\nurls = [\"{}\"]\nuser = \"s\"\npassword = {{ file = {password:?} }}",
        node.url()
    ))
    .deliver(&[record(0)]);
    assert!(is_later(&delivery, "ermissions"), "{delivery:?}");
    assert!(since.elapsed() < Duration::from_secs(50), "it is told at once, not when time is over");
}

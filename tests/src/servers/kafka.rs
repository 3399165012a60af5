//! Brokers of Kafka's protocol: `tansu`, and the mock cluster of librdkafka, which can be told to answer with errors. What
//! they hold is read back by librdkafka.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::{Server, binary, free_port};

/// How often a port is chosen anew when another took it.
const TRIES: usize = 20;

/// A topic's reader, and the mock cluster, as programs of Python.
const READ: &str = include_str!("kafka_read.py");
const MOCK: &str = include_str!("kafka_mock.py");

/// A tansu broker, which keeps everything in memory.
#[derive(Debug)]
pub struct Tansu {
    /// Where it listens.
    pub port: u16,
    /// Its process.
    pub server: Server,
}

/// Starts a broker. `advertised`: the port that it tells clients to come to, where that is not its own.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn tansu(folder: &Path, advertised: Option<u16>) -> Tansu {
    tansu_as(folder, advertised.map(|port| format!("127.0.0.1:{port}")).as_deref())
}

/// The same with the address that clients are told.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn tansu_as(folder: &Path, advertised: Option<&str>) -> Tansu {
    for _ in 0..TRIES {
        let port = free_port();
        let mut command = Command::new(binary("tansu"));
        command.args(["broker", "--storage-engine", "memory://tansu/", "--listener-url"]);
        command.arg(format!("tcp://127.0.0.1:{port}"));
        let own = format!("127.0.0.1:{port}");
        command.arg("--advertised-listener-url").arg(format!("tcp://{}", advertised.unwrap_or(&own)));
        let mut server = Server::start(&mut command, &folder.join("tansu.log"));
        if server.answers(port) {
            return Tansu { port, server };
        }
    }
    panic!("no port was free for tansu");
}

impl Tansu {
    /// Makes a topic.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn make_topic(&self, topic: &str, partitions: u32) {
        let address = format!("tcp://127.0.0.1:{}", self.port);
        let made = Command::new(binary("tansu"))
            .args(["topic", "create", "--broker", &address, "--partitions", &partitions.to_string(), topic])
            .output()
            .expect("tansu runs");
        assert!(made.status.success(), "no topic: {}", String::from_utf8_lossy(&made.stderr));
    }
}

/// librdkafka's mock cluster.
#[derive(Debug)]
pub struct Mock {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Addresses of its brokers, with commas between them.
    pub addresses: String,
}

/// Starts a mock cluster with a topic.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn mock(brokers: u32, topic: &str, partitions: u32) -> Mock {
    let mut child = Command::new(binary("python"))
        .args(["-c", MOCK, &brokers.to_string(), topic, &partitions.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("Python runs");
    let input = child.stdin.take().expect("it is piped");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut mock = Mock { child, input, output, addresses: String::new() };
    mock.addresses = mock.line();
    mock
}

impl Mock {
    /// Has it do what a line says: see `kafka_mock.py`.
    ///
    /// # Panics
    /// When it does not.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it listens");
        let said = self.line();
        assert_eq!(said, "ok", "{line}");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        assert!(!line.is_empty(), "the mock cluster ended");
        line.trim().to_owned()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All messages of a topic, as `READ` tells them.
///
/// # Panics
/// When they cannot be read.
#[must_use]
pub fn read(addresses: &str, topic: &str, partitions: u32) -> Vec<Value> {
    read_by(addresses, topic, partitions, None)
}

/// The same by TLS where an authority is to vouch for the brokers.
///
/// # Panics
/// When they cannot be read.
#[must_use]
pub fn read_by(addresses: &str, topic: &str, partitions: u32, ca: Option<&Path>) -> Vec<Value> {
    let done = Command::new(binary("python"))
        .args(["-c", READ, addresses, topic, &partitions.to_string(), "6"])
        .args(ca)
        .output()
        .expect("Python runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let lines = String::from_utf8(done.stdout).expect("JSON is UTF-8");
    lines.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

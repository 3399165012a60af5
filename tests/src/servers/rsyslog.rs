//! rsyslog, with inputs for UDP, TCP and TLS on loopback and each message stored as one line of JSON with its parts apart.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Server, binary, free_port};
use crate::certificates::{Authority, Issued};

/// Names that the certificates bear.
pub const SERVER_NAME: &str = "localhost";
/// The client that it takes.
pub const CLIENT_NAME: &str = "sensor.example";
/// Longest wait for what was sent to be stored.
const STORED: Duration = Duration::from_secs(120);
/// A port may be taken between our look and the server's.
const ATTEMPTS: usize = 5;

/// A message, as rsyslog read it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Stored {
    /// Priority: facility and severity.
    pub pri: String,
    /// Time of the message.
    pub time: String,
    /// Who sent it.
    pub host: String,
    /// The program.
    pub app: String,
    /// Message id.
    pub kind: String,
    /// The structured data, with its escapes.
    pub structured: String,
    /// What stands behind it.
    pub message: String,
}

impl Stored {
    /// A parameter of the structured data that holds no escapes.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.structured.split_once(&format!(" {name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    }
}

/// rsyslogd, running or not.
#[derive(Debug)]
pub struct Rsyslog {
    folder: PathBuf,
    server: Option<Server>,
    /// Port of UDP.
    pub udp: u16,
    /// Port of TCP.
    pub tcp: u16,
    /// Port of TLS.
    pub tls: u16,
}

impl Rsyslog {
    /// Starts one that works in `folder`, and takes by TLS who shows a certificate of this authority and name.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(folder: &Path, authority: &Authority, certificate: &Issued) -> Self {
        write(&folder.join("ca.pem"), &authority.pem());
        write(&folder.join("server.pem"), &certificate.certificate);
        write(&folder.join("server.key"), &certificate.key);
        for _ in 0..ATTEMPTS {
            let (udp, tcp, tls) = (free_port(), free_port(), free_port());
            let mut rsyslog = Self { folder: folder.to_owned(), server: None, udp, tcp, tls };
            write(&folder.join("rsyslog.conf"), &rsyslog.configuration());
            if rsyslog.run() {
                return rsyslog;
            }
        }
        panic!("rsyslogd did not start");
    }

    /// Shows this certificate from its next start on.
    pub fn show(&self, certificate: &Issued) {
        write(&self.folder.join("server.pem"), &certificate.certificate);
        write(&self.folder.join("server.key"), &certificate.key);
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// Starts it again on the same ports.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        for _ in 0..ATTEMPTS {
            if self.run() {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("rsyslogd did not start again");
    }

    fn run(&mut self) -> bool {
        let _ = std::fs::remove_file(self.folder.join("pid"));
        let mut command = Command::new(binary("rsyslogd"));
        command.arg("-n").arg("-f").arg(self.folder.join("rsyslog.conf"));
        command.arg("-i").arg(self.folder.join("pid"));
        let mut server = Server::start(&mut command, &self.folder.join("rsyslog.log"));
        let answers = server.answers(self.tcp) && server.answers(self.tls);
        // Who took one of the ports answers too: ours says so, and lives on.
        let ours = answers && !server.output().contains("Address already in use");
        self.server = ours.then_some(server);
        ours
    }

    fn configuration(&self) -> String {
        let Self { folder, udp, tcp, tls, .. } = self;
        let folder = folder.display();
        let parts = [
            ("pri", "pri"),
            ("host", "hostname"),
            ("app", "app-name"),
            ("kind", "msgid"),
            ("structured", "structured-data"),
            ("message", "msg"),
        ];
        let parts: String = parts
            .iter()
            .map(|(out, name)| format!("property(outname=\"{out}\" name=\"{name}\" format=\"jsonf\")\n"))
            .collect();
        format!(
            r#"global(workDirectory="{folder}" maxMessageSize="2m" defaultNetstreamDriver="ossl"
defaultNetstreamDriverCAFile="{folder}/ca.pem" defaultNetstreamDriverCertFile="{folder}/server.pem"
defaultNetstreamDriverKeyFile="{folder}/server.key")
module(load="imudp")
module(load="imptcp")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/name"
permittedPeer=["{CLIENT_NAME}"] maxFrameSize="2000000")
template(name="line" type="list" option.jsonf="on") {{
property(outname="time" name="timereported" dateFormat="rfc3339" format="jsonf")
{parts}}}
ruleset(name="store") {{ action(type="omfile" file="{folder}/stored.ndjson" template="line") }}
input(type="imudp" address="127.0.0.1" port="{udp}" ruleset="store")
input(type="imptcp" address="127.0.0.1" port="{tcp}" ruleset="store" maxFrameSize="2000000")
input(type="imtcp" address="127.0.0.1" port="{tls}" ruleset="store")
"#
        )
    }

    /// What it stored, in its order.
    ///
    /// # Panics
    /// When a line is not what it writes.
    #[must_use]
    pub fn stored(&self) -> Vec<Stored> {
        let bytes = std::fs::read(self.folder.join("stored.ndjson")).unwrap_or_default();
        let text = String::from_utf8(bytes).expect("what it stored is UTF-8");
        // The last line may be on its way.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// Waits until what it stored is enough.
    ///
    /// # Panics
    /// When that takes too long; shows what it said.
    pub fn wait(&self, enough: impl Fn(&[Stored]) -> bool) -> Vec<Stored> {
        let since = Instant::now();
        loop {
            let stored = self.stored();
            if enough(&stored) {
                return stored;
            }
            assert!(since.elapsed() < STORED, "{} stored; it said: {}", stored.len(), self.output());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What it wrote of itself.
    #[must_use]
    pub fn output(&self) -> String {
        self.server.as_ref().map(Server::output).unwrap_or_default()
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Stops it without ending it, or lets it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self, frozen: bool) {
        use rustix::process::{Pid, Signal, kill_process};
        let server = self.server.as_ref().expect("it runs");
        let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).expect("it has an id");
        kill_process(pid, if frozen { Signal::STOP } else { Signal::CONT }).expect("it is ours");
    }
}

/// Whether something listens on a port of loopback.
#[must_use]
pub fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn write(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("the folder is there");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
}

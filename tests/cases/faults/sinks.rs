//! The sinks of the table: how each one's server is started, killed and started again, what the sensor is told of it, and how
//! the ids of what arrived are read back from it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use sonde_tests::certificates::{Authority, Issued};
use sonde_tests::servers::hec::TOKEN;
use sonde_tests::servers::kafka::{self, Tansu};
use sonde_tests::servers::nats::{self, Node};
use sonde_tests::servers::nginx::Nginx;
use sonde_tests::servers::osmem::Osmem;
use sonde_tests::servers::otlp::{self, Rotel};
use sonde_tests::servers::rsyslog::{CLIENT_NAME, Rsyslog};
use sonde_tests::servers::{Server, free_port};

use super::PATIENCE;
use super::kinds::{HEC_KEEP, HEC_PORT, Kept, Kind, Way, directives, lines_of, private};
use super::relay::Relay;

/// The definition of the stream that is shipped.
const STREAM: &str = include_str!("../../../packaging/fleet/nats/stream.json");
/// The topic, in parts.
const TOPIC: (&str, u32) = ("sonde", 2);

enum Back {
    File,
    Elastic(Osmem),
    Hec(Server, u16),
    Webhook(Nginx),
    Syslog(Rsyslog),
    Otlp(Rotel),
    Nats(Node),
    Kafka(Tansu),
}

/// A sink's server with what is before it.
pub(crate) struct Rig {
    pub(crate) kind: Kind,
    pub(crate) relay: Option<Relay>,
    folder: PathBuf,
    authority: Authority,
    back: Back,
    front: Option<Nginx>,
    tls: bool,
    /// Where the sink goes.
    port: u16,
    /// How often each id arrived at servers that have forgotten it since.
    before: BTreeMap<String, usize>,
}

impl Rig {
    /// Starts it; a server that speaks TLS shows this certificate.
    pub(crate) fn start(kind: Kind, folder: &Path, way: Way, certificate: fn(&Authority) -> Issued) -> Self {
        let authority = Authority::root("Sinks");
        show(folder, &certificate(&authority));
        let client = authority.issue(&[CLIENT_NAME]);
        for (name, text) in
            [("ca.pem", &authority.pem()), ("client.pem", &client.certificate), ("client.key", &client.key)]
        {
            private(&folder.join(name), text);
        }
        private(&folder.join("token"), TOKEN);
        let tls = way.tls || kind == Kind::Tls;
        // A broker tells its clients where to come to: that port is the first on the way, and chosen before.
        let first = (way.relay || tls).then(free_port);
        let (back, behind) = match kind {
            Kind::File => (Back::File, 0),
            Kind::Elastic => {
                let osmem = Osmem::start(folder, 0);
                let port = osmem.port;
                (Back::Elastic(osmem), port)
            }
            Kind::Hec => {
                let (server, port) = hec_double(folder);
                (Back::Hec(server, port), port)
            }
            Kind::Webhook => {
                let taken = "location = /taken { return 204; }";
                let nginx = Nginx::start(folder, tls, &directives(folder, tls, None, taken));
                let port = nginx.port;
                (Back::Webhook(nginx), port)
            }
            Kind::Udp | Kind::Tcp | Kind::Tls => {
                let rsyslog = Rsyslog::start(folder, &authority, &certificate(&authority));
                let port = match kind {
                    Kind::Udp => rsyslog.udp,
                    Kind::Tcp => rsyslog.tcp,
                    _ => rsyslog.tls,
                };
                (Back::Syslog(rsyslog), port)
            }
            Kind::Otlp => {
                let rotel = otlp::rotel(folder);
                let port = rotel.port;
                (Back::Otlp(rotel), port)
            }
            Kind::Nats => {
                let [certificate, key] = ["server.pem", "server.key"].map(|name| folder.join(name));
                let tls = if tls {
                    format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}")
                } else {
                    String::new()
                };
                let node = nats::alone(folder, &tls);
                let port = node.port;
                (Back::Nats(node), port)
            }
            Kind::Kafka => {
                let told = first.map(|port| format!("127.0.0.1:{port}"));
                let tansu = kafka::tansu_as(folder, told.as_deref());
                let port = tansu.port;
                (Back::Kafka(tansu), port)
            }
        };
        let mut port = behind;
        let mut front = None;
        if kind.speaks_http() && kind != Kind::Webhook && (way.tls || way.status) {
            let nginx = Nginx::start(folder, tls, &directives(folder, tls, Some(behind), ""));
            port = nginx.port;
            front = Some(nginx);
        } else if kind == Kind::Kafka && tls {
            let nginx = Nginx::end_tls(folder, behind);
            port = nginx.port;
            front = Some(nginx);
        }
        // The port that a broker told is the relay's, also where only TLS ends behind it.
        let relay = (way.relay || (kind == Kind::Kafka && tls)).then(|| Relay::start(first, port));
        let port = relay.as_ref().map_or(port, |relay| relay.port);
        let folder = folder.to_owned();
        let mut rig =
            Self { kind, relay, folder, authority, back, front, tls, port, before: BTreeMap::new() };
        // Nobody who looks at certificates speaks to a server that shows a wrong one.
        if !way.tls || kind == Kind::Kafka {
            rig.prepare();
        }
        rig
    }

    /// What the server has to hold before it takes records.
    fn prepare(&mut self) {
        match &self.back {
            Back::Kafka(tansu) => tansu.make_topic(TOPIC.0, TOPIC.1),
            Back::Nats(_) => {
                self.with_stream(|stream| async move { stream.cached_info().state.messages });
            }
            _ => {}
        }
    }

    /// The sink `a` of the sensor's configuration.
    pub(crate) fn config(&self) -> String {
        let (port, folder, s) = (self.port, self.folder.display(), if self.tls { "s" } else { "" });
        let mut text =
            "[sinks.a]\nrecords = [\"alert\", \"summary\"]\nmin_severity = \"info\"\nflush_secs = 0\n\
             timeout_secs = 3\nbatch_records = 50\n"
                .to_owned();
        if self.tls {
            text += &format!("[sinks.a.tls]\nca = \"{folder}/ca.pem\"\n");
        }
        if self.kind == Kind::Tls {
            text += &format!("certificate = \"{folder}/client.pem\"\nkey = \"{folder}/client.key\"\n");
        }
        text += &match self.kind {
            Kind::File => {
                format!("[sinks.a.file]\npath = \"{folder}/out/alerts.ndjson\"\n")
            }
            Kind::Elastic => format!("[sinks.a.elastic]\nurl = \"http{s}://127.0.0.1:{port}\"\n"),
            Kind::Hec => {
                format!(
                    "[sinks.a.hec]\nurl = \"http{s}://127.0.0.1:{port}\"\ntoken.file = \"{folder}/token\"\n"
                )
            }
            // What nginx keeps is read as it is.
            Kind::Webhook => format!("[sinks.a.webhook]\nurl = \"http{s}://127.0.0.1:{port}/\"\n"),
            Kind::Udp => format!("[sinks.a.syslog]\nurl = \"udp://127.0.0.1:{port}\"\n"),
            Kind::Tcp => format!("[sinks.a.syslog]\nurl = \"tcp://127.0.0.1:{port}\"\n"),
            Kind::Tls => format!("[sinks.a.syslog]\nurl = \"tls://localhost:{port}\"\n"),
            Kind::Otlp => format!("[sinks.a.otlp]\nurl = \"http{s}://127.0.0.1:{port}\"\n"),
            Kind::Nats => {
                let scheme = if self.tls { "tls" } else { "nats" };
                format!("[sinks.a.nats]\nurls = [\"{scheme}://127.0.0.1:{port}\"]\n")
            }
            Kind::Kafka => format!(
                "[sinks.a.kafka]\nbrokers = [\"127.0.0.1:{port}\"]\ntopic = \"{}\"\nsecure = {}\n",
                TOPIC.0, self.tls
            ),
        };
        if self.kind == Kind::Webhook {
            text = text.replace("batch_records", "gzip = false\nbatch_records");
        }
        text
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> Option<u32> {
        Some(match &self.back {
            Back::File => return None,
            Back::Elastic(osmem) => osmem.server.pid(),
            Back::Hec(server, _) => server.pid(),
            Back::Webhook(nginx) => nginx.server.pid(),
            Back::Syslog(rsyslog) => return rsyslog.pid(),
            Back::Otlp(rotel) => rotel.server.pid(),
            Back::Nats(node) => node.server.pid(),
            Back::Kafka(tansu) => tansu.server.pid(),
        })
    }

    /// Kills the server. One that forgets is read before: nobody may send to it at that moment.
    pub(crate) fn kill(&mut self) {
        if self.kind.forgets() {
            // What was under way has arrived once nothing comes any more.
            let mut there = self.there();
            loop {
                std::thread::sleep(Duration::from_millis(300));
                let now = self.there();
                if now == there {
                    break;
                }
                there = now;
            }
            if !matches!(self.back, Back::Otlp(_)) {
                for (id, count) in there {
                    *self.before.entry(id).or_default() += count;
                }
            }
        }
        match &mut self.back {
            Back::File => {}
            Back::Elastic(osmem) => osmem.server.kill(),
            Back::Hec(server, _) => server.kill(),
            Back::Webhook(nginx) => nginx.server.kill(),
            Back::Syslog(rsyslog) => rsyslog.kill(),
            Back::Otlp(rotel) => rotel.server.kill(),
            Back::Nats(node) => node.server.kill(),
            Back::Kafka(tansu) => tansu.server.kill(),
        }
    }

    /// Starts it again, where it was.
    pub(crate) fn restart(&mut self) {
        match &mut self.back {
            Back::File => {}
            Back::Elastic(osmem) => *osmem = Osmem::start(&self.folder, osmem.port),
            Back::Hec(server, port) => server.restart(*port),
            Back::Webhook(nginx) => nginx.server.restart(nginx.port),
            Back::Syslog(rsyslog) => rsyslog.restart(),
            Back::Otlp(rotel) => {
                let _ = fs::remove_file(self.folder.join("rotel.pid"));
                rotel.server.restart(rotel.port);
            }
            Back::Nats(node) => node.server.restart(node.port),
            Back::Kafka(tansu) => {
                tansu.server.restart(tansu.port);
                self.prepare();
            }
        }
    }

    /// Who speaks TLS shows another certificate from now on.
    pub(crate) fn show(&mut self, certificate: fn(&Authority) -> Issued) {
        let issued = certificate(&self.authority);
        show(&self.folder, &issued);
        if let Some(nginx) = &mut self.front {
            nginx.server.restart(nginx.port);
            return;
        }
        if let Back::Syslog(rsyslog) = &mut self.back {
            rsyslog.kill();
            rsyslog.show(&issued);
        }
        self.restart();
        self.prepare();
    }

    /// nginx answers with this status from now on; `None`: it leads on.
    pub(crate) fn answer(&self, status: Option<u16>) {
        for known in [429, 503] {
            let flag = self.folder.join(format!("answer-{known}"));
            if status == Some(known) {
                fs::write(flag, "").unwrap();
            } else {
                let _ = fs::remove_file(flag);
            }
        }
    }

    /// How often each id arrived.
    pub(crate) fn arrived(&self) -> BTreeMap<String, usize> {
        let mut all = self.there();
        for (id, count) in &self.before {
            *all.entry(id.clone()).or_default() += count;
        }
        all
    }

    fn there(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for kept in self.kept() {
            *counts.entry(kept.id).or_default() += 1;
        }
        counts
    }

    /// What the server has, in its order where it has one.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        match &self.back {
            Back::File => lines_of(&self.folder.join("out/alerts.ndjson")),
            Back::Elastic(osmem) => {
                let all = osmem.all("sonde-alerts").into_iter();
                all.map(|(id, body)| Kept { id, body, text: String::new() }).collect()
            }
            Back::Hec(..) => {
                let text = fs::read_to_string(self.folder.join("hec.events")).unwrap_or_default();
                let whole = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                whole
                    .map(|mut event| {
                        let id = event["fields"]["id"].as_str().unwrap().to_owned();
                        Kept { id, body: event["event"].take(), text: String::new() }
                    })
                    .collect()
            }
            Back::Webhook(_) => {
                let bodies = fs::read_dir(self.folder.join("nginx/client_body")).unwrap();
                bodies.flatten().flat_map(|body| lines_of(&body.path())).collect()
            }
            Back::Syslog(rsyslog) => {
                let stored = rsyslog.stored().into_iter();
                stored
                    .filter_map(|line| {
                        let (id, body) =
                            (line.parameter("id")?.to_owned(), serde_json::from_str(&line.message));
                        let text = format!("{} {} {}", line.host, line.structured, line.message);
                        Some(Kept { id, body: body.unwrap_or_default(), text })
                    })
                    .collect()
            }
            Back::Otlp(rotel) => {
                let all = rotel.kept().into_iter();
                all.map(|mut kept| {
                    let id = kept["attributes"]["log.record.uid"].as_str().unwrap().to_owned();
                    Kept { id, body: kept["body"].take(), text: String::new() }
                })
                .collect()
            }
            Back::Nats(_) => self.with_stream(|stream| async move {
                let mut all = Vec::new();
                for sequence in 1..=stream.cached_info().state.last_sequence {
                    let kept = stream.get_raw_message(sequence).await.unwrap();
                    let id = kept.headers.get("Nats-Msg-Id").unwrap().as_str().to_owned();
                    let text = String::from_utf8(kept.payload.to_vec()).unwrap();
                    all.push(Kept { id, body: serde_json::from_str(&text).unwrap(), text });
                }
                all
            }),
            Back::Kafka(_) => {
                let ca = self.tls.then(|| self.folder.join("ca.pem"));
                let address = format!("127.0.0.1:{}", self.port);
                let kept = kafka::read_by(&address, TOPIC.0, TOPIC.1, ca.as_deref());
                kept.iter()
                    .map(|kept| {
                        let text = kept["value"].as_str().unwrap().to_owned();
                        let id = kept["headers"]["id"].as_str().unwrap().to_owned();
                        Kept { id, body: serde_json::from_str(&text).unwrap(), text }
                    })
                    .collect()
            }
        }
    }

    /// Gives the server the field types that are shipped, where it is one that has such.
    pub(crate) fn install_types(&self) {
        if let Back::Elastic(osmem) = &self.back {
            let install = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/elastic/install");
            let done =
                Command::new(install).arg(format!("http://127.0.0.1:{}", osmem.port)).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
    }

    /// Asks the stream, which is made if it is not there.
    fn with_stream<F: Future>(
        &self,
        ask: impl FnOnce(async_nats::jetstream::stream::Stream) -> F,
    ) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ca = self.folder.join("ca.pem");
        runtime.block_on(async {
            let since = Instant::now();
            loop {
                let mut options = async_nats::ConnectOptions::new();
                if self.tls {
                    options = options.add_root_certificates(ca.clone()).require_tls(true);
                }
                let made = async {
                    let address = format!("127.0.0.1:{}", self.port);
                    let client = options.connect(address).await.map_err(|error| error.to_string())?;
                    let mut config: async_nats::jetstream::stream::Config =
                        serde_json::from_str(STREAM).unwrap();
                    config.num_replicas = 1;
                    let context = async_nats::jetstream::new(client);
                    context.get_or_create_stream(config).await.map_err(|error| error.to_string())
                };
                match made.await {
                    Ok(stream) => return ask(stream).await,
                    Err(error) => assert!(since.elapsed() < PATIENCE, "no stream: {error}"),
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    }
}

/// The double of the collector, in a process of its own.
fn hec_double(folder: &Path) -> (Server, u16) {
    loop {
        let port = free_port();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--test-threads=1", "--exact", "kinds::hec_double"]);
        command.env(HEC_PORT, port.to_string()).env(HEC_KEEP, folder.join("hec.events"));
        let mut server = Server::start(&mut command, &folder.join("hec.log"));
        // It ends where another took the port.
        if server.answers(port) {
            return (server, port);
        }
    }
}

fn show(folder: &Path, issued: &Issued) {
    private(&folder.join("server.pem"), &issued.certificate);
    private(&folder.join("server.key"), &issued.key);
}

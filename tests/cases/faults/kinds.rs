//! What the rig of a sink is built from: the kinds of sinks, the ways to their servers, and how records stand there.

use std::fs;
use std::path::Path;

use serde_json::Value;
use sonde_tests::servers::hec::{Hec, State};

/// Tell the double of the collector where it listens and what it writes to.
pub(crate) const HEC_PORT: &str = "SONDE_TEST_HEC_PORT";
pub(crate) const HEC_KEEP: &str = "SONDE_TEST_HEC_KEEP";

/// Where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    File,
    Elastic,
    Hec,
    Webhook,
    Udp,
    Tcp,
    Tls,
    Otlp,
    Nats,
    Kafka,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::File,
        Self::Elastic,
        Self::Hec,
        Self::Webhook,
        Self::Udp,
        Self::Tcp,
        Self::Tls,
        Self::Otlp,
        Self::Nats,
        Self::Kafka,
    ];

    /// Name of the sink and of the server.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Elastic => "elastic (osmem-server)",
            Self::Hec => "hec (double)",
            Self::Webhook => "webhook (nginx)",
            Self::Udp => "syslog UDP (rsyslog)",
            Self::Tcp => "syslog TCP (rsyslog)",
            Self::Tls => "syslog TLS (rsyslog)",
            Self::Otlp => "otlp (rotel)",
            Self::Nats => "nats (nats-server)",
            Self::Kafka => "kafka (tansu)",
        }
    }

    pub(crate) const fn speaks_http(self) -> bool {
        matches!(self, Self::Elastic | Self::Hec | Self::Webhook | Self::Otlp)
    }

    pub(crate) const fn speaks_tls(self) -> bool {
        !matches!(self, Self::File | Self::Udp | Self::Tcp)
    }

    /// Whether the server has it in memory alone: killed, it forgets what it acknowledged.
    pub(crate) const fn forgets(self) -> bool {
        matches!(self, Self::Elastic | Self::Otlp | Self::Kafka)
    }
}

/// How the way from the sink to the server is built.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// A relay of ours is in between.
    pub(crate) relay: bool,
    /// By TLS, where the sink has the choice.
    pub(crate) tls: bool,
    /// nginx is in between, which answers as it is told.
    pub(crate) status: bool,
}

/// A record as its server has it.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) id: String,
    /// What was told.
    pub(crate) body: Value,
    /// As it stands there, where that is text.
    pub(crate) text: String,
}

/// What nginx does: it answers with a status while a file says so, else it leads on, or keeps the body in a file.
pub(crate) fn directives(folder: &Path, tls: bool, to: Option<u16>, more: &str) -> String {
    let folder = folder.display();
    let certificate = if tls {
        format!("ssl_certificate {folder}/server.pem;\nssl_certificate_key {folder}/server.key;\n")
    } else {
        String::new()
    };
    let on = to.map_or_else(
        || {
            let scheme = if tls { "https" } else { "http" };
            // Only what leads on reads the body, so it leads to itself.
            format!(
                "client_body_in_file_only on;\nproxy_pass_request_body off;\nproxy_set_header Content-Length \"\";\n\
                 proxy_pass {scheme}://127.0.0.1:$server_port/taken;"
            )
        },
        |to| format!("proxy_pass http://127.0.0.1:{to};"),
    );
    let status = |status: u16| {
        format!("if (-f {folder}/answer-{status}) {{ add_header Retry-After 1 always; return {status}; }}\n")
    };
    let (busy, broken) = (status(429), status(503));
    format!("{certificate}client_max_body_size 64m;\n{more}\nlocation / {{\n{busy}{broken}{on}\n}}\n")
}

/// A file that only we can read.
pub(crate) fn private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The records in a file, one a line; a line that was cut is none.
pub(crate) fn lines_of(path: &Path) -> Vec<Kept> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let one = |line: &str| {
        let body: Value = serde_json::from_str(line).ok()?;
        Some(Kept { id: body["event"]["id"].as_str()?.to_owned(), body, text: line.to_owned() })
    };
    text.lines().filter_map(one).collect()
}

/// The double of the collector in a process of its own; what it takes stands in a file before it answers.
#[test]
#[ignore = "is started, and killed, by the cells of the fault table"]
fn hec_double() {
    let (Ok(port), Some(keep)) = (std::env::var(HEC_PORT), std::env::var_os(HEC_KEEP)) else { return };
    let keep = fs::OpenOptions::new().append(true).create(true).open(keep).unwrap();
    let _hec = Hec::start_on(port.parse().unwrap(), State { keep: Some(keep), ..State::default() });
    loop {
        std::thread::park();
    }
}

//! The whole of Sonde on Windows, as far as Wine goes: installed as a service, it names the program that called, keeps what it
//! tells until servers are there, outlives being killed, and is removed without a trace but its state.
//!
//! `scripts/windows/end-to-end` builds the programs, makes the Wine prefix and says where they are. What Wine cannot show
//! (who is kept out, event tracing, Npcap) is not shown here either: docs/windows.md.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream};
use serde_json::Value;
use sonde_tests::certificates::Authority;
use sonde_tests::netns::{Caller, Lab};
use sonde_tests::servers::nats;
use sonde_tests::servers::rsyslog::{Rsyslog, SERVER_NAME};

const PATIENCE: Duration = Duration::from_secs(120);
/// Where the installer would put the program: the path has a space.
const SONDE: &str = r"C:\Program Files\Sonde\sonde.exe";
/// The program that calls: in a folder that everybody may write to.
const CALLER: &str = r"C:\Users\Public\Libraries\updater.exe";
/// What two programs call, on ports of their own: the second while no server takes what is told.
const PORTS: [u16; 2] = [8081, 8082];
const STREAM: &str = include_str!("../../packaging/fleet/nats/stream.json");

/// Programs for Windows, and how they are run.
struct Wine {
    runner: PathBuf,
    prefix: PathBuf,
    /// Where they were built.
    programs: PathBuf,
}

impl Wine {
    fn new() -> Self {
        let place = |name: &str| {
            let place = std::env::var_os(name);
            PathBuf::from(
                place.unwrap_or_else(|| panic!("{name} is not set: run scripts/windows/end-to-end")),
            )
        };
        let wine = Self {
            runner: Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/windows/wine"),
            prefix: place("SONDE_WINE"),
            programs: place("SONDE_WINDOWS_PROGRAMS"),
        };
        // What an earlier run may have left.
        let _ = wine.sonde(&["service", "uninstall"]);
        for left in [r"C:\ProgramData\Sonde", r"C:\Program Files\Sonde"] {
            let _ = std::fs::remove_dir_all(wine.file(left));
        }
        wine
    }

    fn put(&self, program: &str, place: &str) {
        let place = self.file(place);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(self.programs.join(program), place).unwrap();
    }

    /// A file of the prefix by the name that Windows programs have for it.
    fn file(&self, name: &str) -> PathBuf {
        let below = name.strip_prefix(r"C:\").expect("it lies on C:");
        self.prefix.join("drive_c").join(below.replace('\\', "/"))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(&self.runner);
        command.arg(program).env("SONDE_WINE", &self.prefix).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    fn sonde(&self, arguments: &[&str]) -> Output {
        self.command(SONDE).args(arguments).output().unwrap()
    }

    /// What a command says that has to end with this exit code.
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.sonde(arguments);
        let [out, err] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert_eq!(output.status.code(), Some(code), "sonde {arguments:?}\n{out}{err}{}", self.log());
        out
    }

    /// How the running sensor is.
    fn status(&self) -> Value {
        serde_json::from_str(&self.expect(0, &["status", "--format", "json"])).unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.file(r"C:\ProgramData\Sonde\log\sonde.log")).unwrap_or_default()
    }

    fn until(&self, what: &str, fits: impl Fn() -> bool) {
        let since = Instant::now();
        while !fits() {
            assert!(since.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}; log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A beacon that keeps each connection for two seconds, since tables are read once a second; its process.
    fn beacon(&self, to: SocketAddr) -> Beacon {
        let mut command = self.command(CALLER);
        command.args(["--to", &to.to_string(), "--interval", "4", "--patience", "2"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        let first: Value = serde_json::from_str(&first).expect("the beacon tells of its first call");
        // The server says nothing, which is what keeps the connection open.
        assert_eq!(first.get("outcome").and_then(Value::as_str), Some("unanswered"), "{first}");
        Beacon { child, pid: first.get("pid").and_then(Value::as_u64).unwrap(), _out: out }
    }
}

struct Beacon {
    child: Child,
    pid: u64,
    /// Closed, it would end the beacon.
    _out: BufReader<ChildStdout>,
}

impl Drop for Beacon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The service and what it keeps go, whatever becomes of the test.
struct Installed<'a>(&'a Wine);

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        let _ = self.0.sonde(&["service", "uninstall"]);
    }
}

/// Servers that take what is told.
struct Servers {
    rsyslog: Rsyslog,
    nats: nats::Node,
    runtime: tokio::runtime::Runtime,
    /// What they keep; the last to go.
    _folder: tempfile::TempDir,
}

impl Servers {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::root("CA");
        let rsyslog = Rsyslog::start(folder.path(), &authority, &authority.issue(&[SERVER_NAME]));
        let nats = nats::alone(folder.path(), "");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let config: stream::Config = serde_json::from_str(STREAM).unwrap();
            let config = stream::Config { num_replicas: 1, ..config };
            let client = async_nats::connect(nats.url()).await.unwrap();
            jetstream::new(client).create_stream(config).await.unwrap();
        });
        Self { rsyslog, nats, runtime, _folder: folder }
    }

    /// Alerts that rsyslog stored.
    fn logged(&self) -> Vec<Value> {
        let stored = self.rsyslog.stored();
        let records = stored.iter().filter_map(|line| serde_json::from_str(line.message.trim_start()).ok());
        records.filter(is_alert).collect()
    }

    /// Alerts that the stream keeps.
    fn streamed(&self) -> Vec<Value> {
        self.runtime.block_on(async {
            let client = async_nats::connect(self.nats.url()).await.unwrap();
            let stream = jetstream::new(client).get_stream("SONDE").await.unwrap();
            let last = stream.cached_info().state.last_sequence;
            let mut kept = Vec::new();
            for sequence in 1..=last {
                let message = stream.get_raw_message(sequence).await.unwrap();
                kept.push(serde_json::from_slice(&message.payload).unwrap());
            }
            kept.retain(is_alert);
            kept
        })
    }
}

fn at<'a>(record: &'a Value, place: &str) -> &'a Value {
    record.pointer(place).unwrap_or(&Value::Null)
}

fn is_alert(record: &Value) -> bool {
    at(record, "/event/kind") == "alert"
}

/// Whether one tells that this very process called this port of the server, by its whole path.
fn names(alerts: &[Value], beacon: &Beacon, to: SocketAddr) -> bool {
    alerts.iter().any(|alert| {
        at(alert, "/process/executable") == CALLER
            && at(alert, "/process/pid") == beacon.pid
            && at(alert, "/destination/ip") == to.ip().to_string().as_str()
            && at(alert, "/destination/port") == to.port()
    })
}

#[test]
#[ignore = "needs programs built for Windows, and Wine: scripts/windows/end-to-end runs it"]
fn a_service_under_wine_names_the_caller_and_loses_nothing() {
    let wine = Wine::new();
    wine.put("sonde.exe", SONDE);
    wine.put("sonde-beacon.exe", CALLER);
    let data = wine.file(r"C:\ProgramData\Sonde");
    let lab = Lab::new(Caller::Here).expect("this needs root: a namespace with a server is made");
    let to = PORTS.map(|port| SocketAddr::new(lab.server(4), port));
    let mut server = lab.at_server(Path::new(env!("CARGO_BIN_EXE_sonde-emulate")));
    server.arg("serve").args(to.map(|to| format!("mute:{to}"))).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = server.spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.contains("ready"), "the server did not start");
    let mut servers = Servers::start();

    // Installed before there is a configuration, by an installer, it does not start.
    wine.expect(0, &["service", "install", "--if-configured"]);
    let _installed = Installed(&wine);
    assert_eq!(wine.expect(1, &["service", "status"]), "installed, does not run\n");
    std::fs::write(data.join("bad.txt"), format!("{}\n", to[0].ip())).unwrap();
    let sink = "records = [\"alert\"]\nflush_secs = 0\ntimeout_secs = 3";
    let config = format!(
        "[attribution]\nlayer = \"poll\"\n[capture]\nmode = \"none\"\n[feeds]\npaths = ['C:\\ProgramData\\Sonde\\bad.txt']\n\
         [sinks.siem]\n{sink}\n[sinks.siem.syslog]\nurl = \"tcp://127.0.0.1:{}\"\n\
         [sinks.fleet]\n{sink}\n[sinks.fleet.nats]\nurls = [\"{}\"]\n",
        servers.rsyslog.tcp,
        servers.nats.url()
    );
    std::fs::write(data.join("sonde.toml"), &config).unwrap();
    assert!(wine.expect(0, &["service", "install", "--if-configured"]).ends_with("service Sonde: runs\n"));
    assert!(wine.expect(0, &["service", "status"]).starts_with("runs, process "));

    // The program that called, by its process and path, at both servers.
    let first = wine.beacon(to[0]);
    wine.until("rsyslog has the alert", || names(&servers.logged(), &first, to[0]));
    wine.until("the stream has the alert", || names(&servers.streamed(), &first, to[0]));
    drop(first);

    // The configuration is taken up anew when the service manager says that it changed.
    std::fs::write(data.join("sonde.toml"), format!("{config}[log]\nlevel = \"debug\"\n")).unwrap();
    let told = wine.command(wine.programs.join("paramchange.exe").to_str().unwrap()).status().unwrap();
    assert!(told.success());
    wine.until("the configuration is taken up", || wine.log().contains("the configuration is reloaded"));

    // What is told while nobody listens waits on the disk, and outlives the sensor.
    servers.nats.server.kill();
    servers.rsyslog.kill();
    let second = wine.beacon(to[1]);
    wine.until("an alert waits for each", || {
        let status = wine.status();
        ["siem", "fleet"].iter().all(|name| status["sinks"][name]["counts"]["spooled"].as_u64() >= Some(1))
    });
    let pid = wine.status()["pid"].to_string();
    assert!(wine.command("taskkill.exe").args(["/F", "/PID", &pid]).status().unwrap().success());
    // Wine's service manager takes its time to notice.
    wine.until("it is gone", || !wine.sonde(&["status"]).status.success());
    servers.rsyslog.restart();
    let port = servers.nats.port;
    servers.nats.server.restart(port);
    wine.expect(0, &["service", "start"]);
    wine.until("rsyslog has what waited", || names(&servers.logged(), &second, to[1]));
    wine.until("the stream has what waited", || names(&servers.streamed(), &second, to[1]));
    assert_ne!(wine.status()["pid"].to_string(), pid);
    drop(second);

    wine.expect(0, &["service", "stop"]);
    assert_eq!(wine.expect(1, &["service", "status"]), "installed, does not run\n");
    assert!(wine.log().contains("the sensor stops\n"), "{}", wine.log());
    wine.expect(0, &["service", "uninstall"]);
    assert_eq!(wine.expect(1, &["service", "status"]), "not installed\n");
    wine.expect(66, &["service", "start"]);
    for kept in [r"state\sensor.id", r"state\sensor.state", r"log\sonde.log", "sonde.toml"] {
        assert!(wine.file(&format!(r"C:\ProgramData\Sonde\{kept}")).is_file(), "{kept}");
    }
    let _ = server.kill();
    let _ = server.wait();
}

#[test]
#[ignore = "needs programs built for Windows, and Wine: scripts/windows/end-to-end runs it"]
fn the_installer_starts_what_is_configured_and_leaves_what_was_learnt() {
    let wine = Wine::new();
    let msi = |version: &str| wine.programs.join(format!("sonde-{version}.msi"));
    let [first, second] = ["0.0.1", "0.0.2"].map(msi);
    let installer = |action: &str, package: &Path| {
        // By its place as Windows programs see the whole of this machine.
        let package = format!("Z:{}", package.display()).replace('/', "\\");
        let mut command = wine.command("msiexec.exe");
        command.args([action, &package, "/qn"]);
        assert!(command.status().unwrap().success(), "{action} {package}");
    };
    let registered = |key: &str| {
        let output = wine.command("reg.exe").args(["query", key]).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    const SERVICE: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\Sonde";
    const SOURCE: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\Sonde";

    installer("/i", &first);
    assert_eq!(
        wine.expect(1, &["service", "status"]),
        "installed, does not run\n",
        "nothing is configured yet"
    );
    assert!(registered(SERVICE).unwrap().contains("\"C:\\Program Files\\Sonde\\sonde.exe\" run --service"));
    assert!(registered(SOURCE).unwrap().contains("EventCreate.exe"));

    let config = wine.file(r"C:\ProgramData\Sonde\sonde.toml");
    std::fs::write(&config, "[attribution]\nlayer = \"poll\"\n[capture]\nmode = \"none\"\n").unwrap();
    wine.expect(0, &["service", "start"]);
    let before = wine.status();
    installer("/i", &second);
    assert!(wine.expect(0, &["service", "status"]).starts_with("runs, process "));
    assert_ne!(wine.status()["pid"], before["pid"]);
    let id = std::fs::read(wine.file(r"C:\ProgramData\Sonde\state\sensor.id")).unwrap();
    let products = registered(r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall").unwrap();
    assert_eq!(products.matches('{').count(), 1, "{products}");

    // An older one does not go over a newer one.
    let package = format!("Z:{}", first.display()).replace('/', "\\");
    let refused = wine.command("msiexec.exe").args(["/i", &package, "/qn"]).status().unwrap();
    assert!(!refused.success());
    wine.expect(0, &["service", "status"]);

    installer("/x", &second);
    assert!(!wine.file(SONDE).exists() && registered(SERVICE).is_none() && registered(SOURCE).is_none());
    assert_eq!(std::fs::read(wine.file(r"C:\ProgramData\Sonde\state\sensor.id")).unwrap(), id);
    for kept in [config, wine.file(r"C:\ProgramData\Sonde\state\sensor.state")] {
        assert!(kept.is_file(), "{}", kept.display());
    }
}

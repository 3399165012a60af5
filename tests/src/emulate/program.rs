//! What the caller looks like to a sensor: a script and its interpreter, a compiled program, or `curl` from a loop.
//!
//! Each is made in a folder of the user's choice and given its waits as arguments, so that every timing shape can wear every
//! dress. They speak HTTP, because that is what scripts do.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A dress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dress {
    /// A Python script.
    Python,
    /// A bash script that opens the connection itself.
    Shell,
    /// `curl` started by a shell loop: a new process for each callback.
    Curl,
    /// A copy of the emulator under another name.
    Compiled,
}

impl Dress {
    /// Every dress with its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("python", Self::Python),
        ("shell", Self::Shell),
        ("curl", Self::Curl),
        ("compiled", Self::Compiled),
    ];

    /// A dress by its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, dress)| *dress)
    }
}

const PYTHON: &str = r#"import json, os, socket, sys, time
address, port = sys.argv[1], int(sys.argv[2])
for wait in sys.argv[3:]:
    began = time.time()
    line = {"time": began, "pid": os.getpid(), "outcome": "established"}
    try:
        with socket.create_connection((address, port), timeout=10) as connection:
            line["local_port"] = connection.getsockname()[1]
            connection.sendall(b"GET /api/status HTTP/1.1\r\nHost: " + address.encode() + b"\r\nConnection: close\r\n\r\n")
            while connection.recv(65536):
                pass
    except OSError as error:
        line["outcome"] = str(error)
    print(json.dumps(line), flush=True)
    time.sleep(float(wait))
"#;

const SHELL: &str = r#"address=$1 port=$2
shift 2
for wait; do
    if exec 3<>"/dev/tcp/$address/$port"; then
        printf 'GET /api/status HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$address" >&3
        while read -r _ <&3; do :; done
        exec 3>&-
        printf '{"time":%s,"pid":%d,"outcome":"established"}\n' "$EPOCHREALTIME" $$
    fi
    sleep "$wait"
done
"#;

const CURL: &str = r#"address=$1 port=$2
shift 2
for wait; do
    curl --silent --max-time 10 --noproxy '*' --output /dev/null \
        --write-out '{"outcome":"established","local_port":%{local_port}}\n' "http://$address:$port/api/status"
    sleep "$wait"
done
"#;

/// Makes the program in `folder` (which must exist) and gives the command that runs it; the waits lie between callbacks.
/// `emulator` is the program that a compiled dress copies.
///
/// # Errors
/// What the file system says.
pub fn prepare(
    dress: Dress,
    emulator: &Path,
    folder: &Path,
    name: &str,
    remote: SocketAddr,
    waits: &[Duration],
) -> io::Result<Command> {
    let script = |text: &str, interpreter: &str| -> io::Result<Command> {
        let path = folder.join(name);
        fs::write(&path, text)?;
        let mut command = Command::new(interpreter);
        command.arg(path).arg(remote.ip().to_string()).arg(remote.port().to_string());
        command.args(waits.iter().map(|wait| format!("{:.4}", wait.as_secs_f64())));
        Ok(command)
    };
    match dress {
        Dress::Python => script(PYTHON, &python()),
        Dress::Shell => script(SHELL, "bash"),
        Dress::Curl => script(CURL, "sh"),
        Dress::Compiled => {
            let path = folder.join(name);
            fs::copy(emulator, &path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            let mut command = Command::new(path);
            let seconds: Vec<_> = waits.iter().map(|wait| format!("{:.4}", wait.as_secs_f64())).collect();
            command.args(["beacon", "--transport", "http", "--to", &remote.to_string()]);
            command.args(["--count", &waits.len().to_string(), "--waits", &seconds.join(",")]);
            Ok(command)
        }
    }
}

/// The system's own Python where there is one: a version manager's stand-in is a shell script first.
fn python() -> String {
    let own = PathBuf::from("/usr/bin/python3");
    if own.exists() { own.display().to_string() } else { "python3".to_owned() }
}

//! tinyproxy (Debian): an HTTP proxy that leads on by CONNECT.

use std::path::Path;
use std::process::Command;

use super::{Server, binary, free_port};

/// A running proxy.
#[derive(Debug)]
pub struct Tinyproxy {
    /// Its process.
    pub server: Server,
    /// Its port on loopback.
    pub port: u16,
}

impl Tinyproxy {
    /// Starts one; with a user and password where some are given.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(folder: &Path, user: Option<(&str, &str)>) -> Self {
        for _ in 0..20 {
            let port = free_port();
            let auth = user.map(|(name, word)| format!("BasicAuth {name} {word}\n")).unwrap_or_default();
            let text = format!("Port {port}\nListen 127.0.0.1\nLogLevel Connect\nTimeout 60\n{auth}");
            let file = folder.join("tinyproxy.conf");
            std::fs::write(&file, text).expect("the folder can be written to");
            let mut command = Command::new(binary("tinyproxy"));
            command.arg("-d").arg("-c").arg(&file);
            let mut server = Server::start(&mut command, &folder.join("tinyproxy.log"));
            if server.answers(port) {
                return Self { server, port };
            }
        }
        panic!("tinyproxy finds no free port");
    }
}

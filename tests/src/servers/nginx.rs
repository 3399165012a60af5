//! nginx (Debian): ends TLS before another server, wants client certificates or passwords, answers with any status.

use std::path::Path;
use std::process::Command;

use super::{Server, binary, free_port};

/// What nginx needs to lead on what is no HTTP (Debian: `libnginx-mod-stream`).
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    /// Its process.
    pub server: Server,
    /// Its port on loopback.
    pub port: u16,
}

impl Nginx {
    /// Starts one whose one `server` has these directives; `PORT` in them is its port, `ssl` follows it where TLS is spoken.
    /// What it writes goes below the folder.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(folder: &Path, ssl: bool, directives: &str) -> Self {
        let at = folder.join("nginx").display().to_string();
        let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .collect();
        Self::run(folder, |port| {
            let listen = format!("listen 127.0.0.1:{port}{};", if ssl { " ssl" } else { "" });
            format!(
                "http {{\naccess_log {at}/access.log;\n{temp}\nserver {{\n{listen}\n{directives}\n}}\n}}\n"
            )
        })
    }

    /// Starts one that ends TLS before a port of loopback, whatever is spoken there, with `server.pem` and `server.key` of the
    /// folder.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn end_tls(folder: &Path, to: u16) -> Self {
        let at = folder.display();
        Self::run(folder, |port| {
            format!(
                "stream {{\nserver {{\nlisten 127.0.0.1:{port} ssl;\nssl_certificate {at}/server.pem;\n\
                 ssl_certificate_key {at}/server.key;\nproxy_pass 127.0.0.1:{to};\n}}\n}}\n"
            )
        })
    }

    fn run(folder: &Path, block: impl Fn(u16) -> String) -> Self {
        let folder = folder.join("nginx");
        std::fs::create_dir_all(&folder).expect("the folder is there");
        let at = folder.display();
        for _ in 0..20 {
            let port = free_port();
            let block = block(port);
            let module =
                if block.starts_with("stream") { format!("load_module {STREAM};\n") } else { String::new() };
            let text = format!(
                "{module}daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log stderr info;\nevents {{}}\n{block}"
            );
            let file = folder.join("nginx.conf");
            std::fs::write(&file, text).expect("the folder can be written to");
            let mut command = Command::new(binary("nginx"));
            command.arg("-p").arg(&folder).arg("-c").arg(&file).args(["-e", "stderr"]);
            let mut server = Server::start(&mut command, &folder.join("log"));
            if server.answers(port) {
                return Self { server, port };
            }
            let output = server.output();
            assert!(output.contains("Address already in use"), "nginx does not start:\n{output}");
        }
        panic!("nginx finds no free port");
    }
}

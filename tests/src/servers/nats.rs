//! nats-server with JetStream: alone, or as a cluster of three.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Server, binary, free_port};

/// How often ports are chosen anew when another took one.
const TRIES: usize = 20;

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its name in the cluster.
    pub name: String,
    /// Port for clients.
    pub port: u16,
    /// Its process.
    pub server: Server,
}

/// Starts one node. `extra` stands at the end of its configuration.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn alone(folder: &Path, extra: &str) -> Node {
    for _ in 0..TRIES {
        let port = free_port();
        if let Some(node) = node(folder, "n1", port, extra) {
            return node;
        }
    }
    panic!("no port was free for nats-server");
}

/// Starts a cluster of three.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn cluster(folder: &Path) -> Vec<Node> {
    for _ in 0..TRIES {
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        let routes: Vec<String> =
            ports.iter().map(|(_, route)| format!("nats://127.0.0.1:{route}")).collect();
        let nodes: Vec<Node> = ports
            .iter()
            .zip(["n1", "n2", "n3"])
            .filter_map(|((port, route), name)| {
                let cluster = format!(
                    "cluster {{ name: c, listen: \"127.0.0.1:{route}\", routes: [{}] }}",
                    routes.join(", ")
                );
                node(folder, name, *port, &cluster)
            })
            .collect();
        if nodes.len() == 3 {
            return nodes;
        }
    }
    panic!("no ports were free for a cluster of nats-server");
}

fn node(folder: &Path, name: &str, port: u16, extra: &str) -> Option<Node> {
    let home: PathBuf = folder.join(format!("{name}-{port}"));
    std::fs::create_dir_all(&home).expect("a folder can be made");
    let config = home.join("nats.conf");
    let text = format!(
        "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {:?} }}\n{extra}\n",
        home.join("store")
    );
    std::fs::write(&config, text).expect("a file can be written");
    let mut command = Command::new(binary("nats-server"));
    command.arg("-c").arg(&config);
    let mut server = Server::start(&mut command, &home.join("log"));
    server.answers(port).then(|| Node { name: name.to_owned(), port, server })
}

impl Node {
    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

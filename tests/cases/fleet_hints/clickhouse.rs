//! A ClickHouse with the fleet's schema, on loopback, for one case.

use std::process::Command;

use serde_json::Value;
use sonde::fleet::store::Store;
use sonde_common::config::{ClickHouseSettings, Config};
use sonde_common::record::Kind;
use sonde_tests::servers::{Server, binary, free_port};

/// The schema that is shipped.
const SCHEMA: &str = include_str!("../../../packaging/fleet/clickhouse/schema.sql");
/// How often ports are chosen anew when another took one.
const TRIES: usize = 20;

/// The server, as long as this lives.
pub(crate) struct ClickHouse {
    port: u16,
    _server: Server,
    _folder: tempfile::TempDir,
}

impl ClickHouse {
    /// # Panics
    /// When it does not start, or does not take the schema.
    pub(crate) fn start() -> Self {
        for _ in 0..TRIES {
            if let Some(this) = Self::try_start() {
                let plain: Vec<&str> =
                    SCHEMA.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
                for statement in plain.join("\n").split(';').map(str::trim).filter(|text| !text.is_empty()) {
                    this.ask("default", async |store| store.command(statement, &[]).await);
                }
                return this;
            }
        }
        panic!("no port was free for clickhouse-server");
    }

    fn try_start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        let (port, native) = (free_port(), free_port());
        let users = "<yandex><profiles><default/></profiles><users><default><password></password><networks><ip>127.0.0.1</ip>\
                     </networks><profile>default</profile><quota>default</quota></default></users><quotas><default/></quotas>\
                     </yandex>";
        let config = format!(
            "<yandex><logger><level>warning</level><console>1</console></logger><http_port>{port}</http_port>\
             <tcp_port>{native}</tcp_port><listen_host>127.0.0.1</listen_host><timezone>UTC</timezone>\
             <path>{0}/data/</path><tmp_path>{0}/tmp/</tmp_path><user_files_path>{0}/files/</user_files_path>\
             <format_schema_path>{0}/schemas/</format_schema_path><users_config>{0}/users.xml</users_config>\
             <default_profile>default</default_profile><default_database>default</default_database>\
             <mark_cache_size>67108864</mark_cache_size></yandex>",
            home.display()
        );
        std::fs::write(home.join("users.xml"), users).unwrap();
        std::fs::write(home.join("config.xml"), config).unwrap();
        let mut command = Command::new(binary("clickhouse-server"));
        command.arg(format!("--config-file={}", home.join("config.xml").display())).current_dir(home);
        let mut server = Server::start(&mut command, &home.join("log"));
        server.answers(port).then(|| Self { port, _server: server, _folder: folder })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Inserts rows, which have the columns of the schema.
    pub(crate) fn insert(&self, kind: Kind, rows: impl Iterator<Item = Value>) {
        let lines: String = rows.map(|row| format!("{row}\n")).collect();
        self.ask("sonde", async |store| store.insert(kind, lines.clone().into()).await);
    }

    fn ask(
        &self,
        database: &str,
        what: impl AsyncFn(&mut Store) -> Result<(), sonde::fleet::store::StoreError>,
    ) {
        let text = format!("[fleet.clickhouse]\nurl = \"{}\"\ndatabase = \"{database}\"", self.url());
        let settings: ClickHouseSettings = Config::parse(&text, &[]).unwrap().fleet.clickhouse;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut store = Store::open(&settings).unwrap();
        runtime.block_on(what(&mut store)).unwrap();
    }
}

//! `sonde fleet hints`: makes hints of what the store counted, signs them and puts them where sensors look; shows them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use sonde_common::config::Config;
use sonde_common::hints::document::split;
use sonde_common::hints::{Document, KeyId, SecretKey, issue};
use sonde_common::human;
use sonde_common::time::{NANOS_PER_SEC, Timestamp};

use super::rows::{self, Column, Form, Row, Show};
use super::{lists, runtime};
use crate::cli::failure::Failure;
use crate::cli::settings;
use crate::exit::Exit;
use crate::fleet::bucket::Bucket;
use crate::fleet::hints_file;
use crate::fleet::publish::{self, Counted};
use crate::fleet::store::Store;
use crate::platform::clock::clocks;
use crate::sink::secret;

/// Arguments of `sonde fleet hints`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make hints of what the store counted, sign them with hints.signing_key, and put them into the bucket
    Publish(Publish),
    /// Show hints, of the bucket or of a file, and whether a sensor with this configuration takes them
    Show(ShowHints),
}

#[derive(Debug, clap::Args)]
struct Settings {
    /// Configuration file (TOML) [default: the system's, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Lay a setting over the configuration; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    fn read(&self) -> Result<Config, Failure> {
        settings::read(settings::file(self.config.as_deref()).as_deref(), &self.set)
    }
}

#[derive(Debug, clap::Args)]
struct Publish {
    /// Write the documents to this file, for `sonde replay --hints`, and not into the bucket
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Servers that keep the bucket, if it has to be made
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    replicas: u8,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 a sensor takes them; 65 it does not, and stderr says why; 66 there are none, or nobody answers;
78 the configuration names no key or no server.")]
struct ShowHints {
    /// A file of hints [default: the bucket of [hints], else of [fleet.nats]]
    file: Option<PathBuf>,
    /// Show so many entries at the most
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// How it is written [default: a table on a terminal, else ndjson]
    #[arg(long, value_enum)]
    format: Option<Form>,
    #[command(flatten)]
    settings: Settings,
}

impl Arguments {
    pub(super) fn done(self) -> Result<Exit, Failure> {
        match self.what {
            What::Publish(publish) => publish.done(),
            What::Show(show) => show.done(),
        }
    }
}

const COLUMNS: [Column; 4] = [
    ("kind", "KIND", Show::Text),
    ("value", "VALUE", Show::Text),
    ("hosts", "HOSTS", Show::Text),
    ("share", "SHARE", Show::Share),
];

impl Publish {
    fn done(self) -> Result<Exit, Failure> {
        let config = self.settings.read()?;
        let key = signing_key(&config)?;
        let runtime = runtime()?;
        runtime.block_on(async {
            let clickhouse = &config.fleet.clickhouse;
            let mut store = Store::open(clickhouse).map_err(|error| lists::failed(&error))?;
            let counted = publish::count(&mut store, clickhouse.max_rows.get())
                .await
                .map_err(|error| lists::failed(&error))?;
            if counted.hosts == 0 {
                let text = "the store knows of no host yet: nothing to publish";
                return Err(Failure(Exit::NoInput, text.to_owned()));
            }
            // The one clock here: what is signed holds from now on.
            let now = clocks().wall;
            let bucket = match &self.out {
                Some(_) => None,
                None => Some(self.bucket(&config).await?),
            };
            let serial = match &bucket {
                Some(bucket) => next_serial(bucket, &key, now).await?,
                None => seconds(now),
            };
            self.publish(&config, &key, counted, (serial, now), bucket).await
        })
    }

    async fn bucket(&self, config: &Config) -> Result<Bucket, Failure> {
        let nats = &config.fleet.nats;
        let unreached = |why: String| Failure(Exit::NoInput, format!("fleet.nats: {why}"));
        let bucket =
            Bucket::connect(&nats.reach(), &nats.tls, nats.bucket.as_str()).await.map_err(unreached)?;
        bucket.make(self.replicas.into()).await.map_err(unreached)?;
        Ok(bucket)
    }

    async fn publish(
        &self,
        config: &Config,
        key: &SecretKey,
        counted: Counted,
        (serial, made): (u64, Timestamp),
        bucket: Option<Bucket>,
    ) -> Result<Exit, Failure> {
        let lifetime = i64::from(config.hints.lifetime_hours.get()) * 3_600 * NANOS_PER_SEC;
        let model = Document {
            serial,
            shard: 0,
            of: 1,
            made,
            expires: made.plus_nanos(lifetime),
            hosts: counted.hosts,
            entries: Vec::new(),
        };
        let issue = issue::cut(&model, counted.entries);
        let signed: Result<Vec<_>, _> = issue.documents.iter().map(|one| one.sign(key)).collect();
        let signed = signed.map_err(|error| Failure(Exit::Internal, error.to_string()))?;
        match (&self.out, bucket) {
            (Some(path), _) => write(path, &signed)?,
            (None, Some(bucket)) => {
                bucket.put(&signed).await.map_err(|why| Failure(Exit::Output, why))?;
                bucket.close().await;
            }
            (None, None) => {}
        }
        let entries: usize = issue.documents.iter().map(|one| one.entries.len()).sum();
        tracing::info!(entries, dropped = issue.dropped, odd = counted.odd + issue.unsound, "published");
        if issue.dropped > 0 || !counted.cut.is_empty() {
            tracing::warn!(dropped = issue.dropped, cut = ?counted.cut, "there is more than an issue holds: the first are kept");
        }
        let summary = json!({
            "serial": serial, "issuer": key.public().id().to_string(), "hosts": counted.hosts, "entries": entries,
            "documents": signed.len(), "bytes": signed.iter().map(Vec::len).sum::<usize>(),
            "made": made.to_string(), "expires": model.expires.to_string(), "dropped": issue.dropped,
            "odd": counted.odd + issue.unsound,
        });
        let row: Row = summary.as_object().cloned().unwrap_or_default();
        let columns: [Column; 10] = [
            ("serial", "SERIAL", Show::Text),
            ("issuer", "KEY", Show::Text),
            ("hosts", "HOSTS", Show::Text),
            ("entries", "ENTRIES", Show::Text),
            ("documents", "DOCUMENTS", Show::Text),
            ("bytes", "BYTES", Show::Text),
            ("made", "", Show::Text),
            ("expires", "EXPIRES", Show::Text),
            ("dropped", "", Show::Text),
            ("odd", "", Show::Text),
        ];
        rows::write(&[row], &columns, None, "", false)
    }
}

impl ShowHints {
    fn done(self) -> Result<Exit, Failure> {
        let config = self.settings.read()?;
        let keys = &config.hints.keys;
        if keys.is_empty() {
            let text = "hints.keys names no key, so that nobody's hints are taken: set it (docs/hints.md)";
            return Err(Failure(Exit::Config, text.to_owned()));
        }
        let (documents, place) = self.documents(&config)?;
        if documents.is_empty() {
            return Err(Failure(Exit::NoInput, format!("{place}: there are no hints")));
        }
        let refused = |why: &dyn std::fmt::Display| Failure(Exit::BadInput, format!("{place}: {why}"));
        let mut all = Vec::new();
        for bytes in &documents {
            all.push(Document::verify(bytes, keys).map_err(|error| refused(&error))?);
        }
        let Some((issuer, first)) = all.first() else { return Ok(Exit::Done) };
        let whole = all.len() == usize::from(first.of)
            && all.iter().all(|(by, one)| by == issuer && one.serial == first.serial);
        tell(*issuer, first);
        let rows: Vec<Row> = all.iter().flat_map(|(_, document)| &document.entries).map(|entry| {
            let share = f64::from(entry.hosts) / f64::from(first.hosts);
            let value = json!({
                "kind": entry.subject.kind(), "value": entry.subject.to_string(), "hosts": entry.hosts, "share": share,
            });
            value.as_object().cloned().unwrap_or_default()
        }).collect();
        let shown = rows.get(..self.limit.min(rows.len())).unwrap_or_default();
        let nothing = "The issue has no entries: of nothing there is anything to say yet.";
        rows::write(shown, &COLUMNS, self.format, nothing, shown.len() < rows.len())?;
        if !whole {
            return Err(refused(&"parts of the issue are missing, or are of another one: publish anew"));
        }
        if !first.holds_at(clocks().wall) {
            return Err(refused(&format_args!("expired at {}: publish anew", first.expires)));
        }
        Ok(Exit::Done)
    }

    fn documents(&self, config: &Config) -> Result<(Vec<Vec<u8>>, String), Failure> {
        if let Some(path) = &self.file {
            let place = path.display().to_string();
            let bytes = hints_file::bytes(path).map_err(|why| Failure(Exit::NoInput, why))?;
            let parts =
                split(&bytes).map_err(|error| Failure(Exit::BadInput, format!("{place}: {error}")))?;
            return Ok((parts.into_iter().map(<[u8]>::to_vec).collect(), place));
        }
        let (reach, tls, bucket) = if config.hints.urls.is_empty() {
            let nats = &config.fleet.nats;
            (nats.reach(), &nats.tls, &nats.bucket)
        } else {
            (config.hints.reach(), &config.hints.tls, &config.hints.bucket)
        };
        if reach.urls.is_empty() {
            let text = "neither hints.urls nor fleet.nats.urls names a server; or give a file";
            return Err(Failure(Exit::Config, text.to_owned()));
        }
        let documents = runtime()?.block_on(async {
            let bucket = Bucket::connect(&reach, tls, bucket.as_str()).await?;
            let documents = bucket.read().await;
            bucket.close().await;
            documents
        });
        let documents = documents.map_err(|why| Failure(Exit::NoInput, why))?;
        Ok((documents.iter().map(|bytes| bytes.to_vec()).collect(), format!("bucket {}", bucket.as_str())))
    }
}

/// What the issue says of itself, on stderr: stdout is for its entries.
fn tell(issuer: KeyId, document: &Document) {
    let Document { serial, of, made, expires, hosts, .. } = document;
    let hosts = human::count((*hosts).into());
    super::say(&format!(
        "serial {serial} in {of} documents, signed with {issuer}; a fleet of {hosts} hosts; made {made}, expires {expires}"
    ));
}

fn signing_key(config: &Config) -> Result<SecretKey, Failure> {
    let secret = &config.hints.signing_key;
    if !secret.is_set() {
        let text = "hints.signing_key is not set: make a key with `sonde fleet keys new --out FILE`, and name the file";
        return Err(Failure(Exit::Config, text.to_owned()));
    }
    let text = secret::read(secret)
        .map_err(|error| Failure(Exit::Permission, format!("hints.signing_key: {error}")))?;
    SecretKey::of_text(&text).map_err(|error| Failure(Exit::Config, format!("hints.signing_key: it {error}")))
}

/// One more than the latest issue of the bucket, and no less than the seconds of now: a bucket that was lost does not make
/// sensors take what comes for old.
async fn next_serial(bucket: &Bucket, key: &SecretKey, now: Timestamp) -> Result<u64, Failure> {
    let held = bucket.read().await.map_err(|why| Failure(Exit::NoInput, why))?;
    let serials = held.iter().filter_map(|bytes| Document::verify(bytes, &[key.public()]).ok());
    let latest = serials.map(|(_, document)| document.serial).max().unwrap_or(0);
    Ok(seconds(now).max(latest.saturating_add(1)))
}

fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.nanos() / NANOS_PER_SEC).unwrap_or(0)
}

fn write(path: &Path, documents: &[Vec<u8>]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure(Exit::Output, format!("{}: {error}", path.display()));
    let mut file = std::fs::File::create(path).map_err(failed)?;
    file.write_all(&documents.concat()).map_err(failed)
}

//! The bucket of hints: a key for each document of an issue, `hints.0`, `hints.1`, …

use std::time::Duration;

use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::jetstream::kv::{Config, Store};
use bytes::Bytes;
use sonde_common::config::{NatsSettings, TlsSettings};
use sonde_common::hints::document::{MAX_DOCUMENT_BYTES, MAX_SHARDS};
use sonde_common::text::escape;

use crate::sink::nats::link::{Link, Linked};

/// Longest wait for the servers, or for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages that wait to be written.
const WINDOW: usize = 64;
/// Room of the bucket: two issues, and what a message takes beside its document.
#[expect(clippy::cast_possible_wrap, reason = "a few MiB")]
const MAX_BYTES: i64 = 2 * (MAX_DOCUMENT_BYTES as i64 + 1024) * MAX_SHARDS as i64;

/// The bucket, over one connection.
#[derive(Debug)]
pub struct Bucket {
    linked: Linked,
    context: Context,
    name: String,
}

fn key(shard: u8) -> String {
    format!("hints.{shard}")
}

/// What went wrong, with its cause.
fn said(what: &str, name: &str, error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    escape(&format!("the bucket {name} cannot be {what}: {error}{cause}")).into_owned()
}

impl Bucket {
    /// Connects.
    ///
    /// # Errors
    /// Why not, in words.
    pub async fn connect(settings: &NatsSettings, tls: &TlsSettings, name: &str) -> Result<Self, String> {
        let linked = Link::new(settings, tls)?.connect(PATIENCE, WINDOW).await?;
        let context = ContextBuilder::new().timeout(PATIENCE).build(linked.client.clone());
        Ok(Self { linked, context, name: name.to_owned() })
    }

    /// The documents that it holds.
    ///
    /// # Errors
    /// If it cannot be read, or is not there.
    pub async fn read(&self) -> Result<Vec<Bytes>, String> {
        let store = self.context.get_key_value(&self.name).await;
        let store = store.map_err(|error| said("read", &self.name, &error))?;
        self.documents(&store).await.map(|all| all.into_iter().map(|(_, bytes)| bytes).collect())
    }

    async fn documents(&self, store: &Store) -> Result<Vec<(u8, Bytes)>, String> {
        let mut all = Vec::new();
        for shard in 0..MAX_SHARDS {
            let found = store.get(key(shard)).await.map_err(|error| said("read", &self.name, &error))?;
            all.extend(found.map(|bytes| (shard, bytes)));
        }
        Ok(all)
    }

    /// Makes the bucket if there is none, on so many servers.
    ///
    /// # Errors
    /// If it can be neither read nor made.
    pub async fn make(&self, replicas: usize) -> Result<(), String> {
        if self.context.get_key_value(&self.name).await.is_ok() {
            return Ok(());
        }
        let config = Config {
            bucket: self.name.clone(),
            description: "Hints of Sonde's fleet: signed documents".to_owned(),
            history: 1,
            max_bytes: MAX_BYTES,
            num_replicas: replicas,
            ..Config::default()
        };
        self.context
            .create_key_value(config)
            .await
            .map_err(|error| said("made", &self.name, &error))
            .map(drop)
    }

    /// Puts an issue in the place of what there is.
    ///
    /// # Errors
    /// If the servers do not take it; sensors use an issue only when it is whole.
    pub async fn put(&self, documents: &[Vec<u8>]) -> Result<(), String> {
        let store = self.context.get_key_value(&self.name).await;
        let store = store.map_err(|error| said("read", &self.name, &error))?;
        for (shard, document) in (0..).zip(documents) {
            let put = store.put(key(shard), Bytes::copy_from_slice(document)).await;
            put.map_err(|error| said("written", &self.name, &error))?;
        }
        for (shard, _) in self.documents(&store).await? {
            if usize::from(shard) >= documents.len() {
                store.purge(key(shard)).await.map_err(|error| said("written", &self.name, &error))?;
            }
        }
        Ok(())
    }

    /// Ends well.
    pub async fn close(self) {
        // Everything was acknowledged: this only says goodbye.
        let _ = tokio::time::timeout(PATIENCE / 5, self.linked.client.drain()).await;
    }
}

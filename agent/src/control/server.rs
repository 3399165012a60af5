//! The socket's side of the sensor: who may ask what, and for how long anyone may keep us.
//!
//! Every peer is taken for hostile: requests are short, connections few, waiting is bounded, and root keeps places of its
//! own, so that nobody can shut it out.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::protocol::{Asked, Head, MAX_REQUEST_BYTES};
use crate::live::command::{Answer, Asker, Command, Commander, Refusal, RefusalCode, Reply, Request};
use crate::platform::local_socket::{Accepting, Peer, Stream, describe};

/// Connections at a time.
pub(super) const MAX_CONNECTIONS: usize = 8;
/// … of root, beside these.
pub(super) const MAX_ROOT_CONNECTIONS: usize = 4;
/// A peer that neither sends nor reads for so long is left.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// A whole answer takes at most so long.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(30);
/// Bytes that are written at once.
const CHUNK: usize = 64 << 10;
/// Pause after the system had no room for a connection, so as not to spin.
const PAUSE: Duration = Duration::from_millis(200);

/// Who may ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    /// The sensor's own account.
    pub(super) own_uid: u32,
    /// The group whose members may read.
    pub(super) group: Option<u32>,
}

impl Access {
    /// Whether a peer may ask this.
    pub(super) fn allows(&self, peer: &Peer, request: &Request) -> bool {
        let owner = peer.uid == 0 || peer.uid == self.own_uid;
        owner || (!request.changes() && self.group.is_some_and(|group| peer.groups.contains(&group)))
    }
}

/// Accepts for ever.
pub(super) async fn serve(accepting: Accepting, access: Access, commander: Commander) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let root_places = Arc::new(Semaphore::new(MAX_ROOT_CONNECTIONS));
    loop {
        let (mut stream, peer) = match accepting.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot accept");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let root = if peer.uid == 0 { root_places.clone().try_acquire_owned().ok() } else { None };
        let place = root.or_else(|| places.clone().try_acquire_owned().ok());
        let commander = commander.clone();
        let Some(place) = place else {
            // Written if it fits the socket's buffer, which it does; nobody waits.
            let refusal = Refusal::new(RefusalCode::Busy, "too many ask at a time: try again in a moment");
            let _ = stream.try_write(&line(&Head::Refused(refusal)));
            continue;
        };
        tokio::spawn(async move {
            let done = timeout(MAX_ANSWER_TIME, converse(&mut stream, &peer, access, &commander)).await;
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, uid = peer.uid, "a peer left"),
                Err(_) => tracing::debug!(uid = peer.uid, "a peer was too slow"),
            }
            drop(place);
        });
    }
}

async fn converse(
    stream: &mut Stream,
    peer: &Peer,
    access: Access,
    commander: &Commander,
) -> std::io::Result<()> {
    let (read, mut write) = tokio::io::split(stream);
    let mut text = Vec::new();
    let mut reader = BufReader::new(read).take(MAX_REQUEST_BYTES as u64);
    let answer = match timeout(PATIENCE, reader.read_until(b'\n', &mut text)).await {
        Err(_) => refuse(RefusalCode::Bad, "no request came in time"),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(0)) => return Ok(()),
        Ok(Ok(_)) if text.last() != Some(&b'\n') => {
            refuse(RefusalCode::Bad, "a request is one line of at most 16 KiB")
        }
        Ok(Ok(_)) => ask(&text, peer, access, commander).await,
    };
    send(&mut write, &answer).await
}

/// The answer to a line.
async fn ask(text: &[u8], peer: &Peer, access: Access, commander: &Commander) -> Answer {
    let mut request = match serde_json::from_slice::<Asked>(text) {
        Ok(Asked { ask }) => ask,
        Err(error) => return refuse(RefusalCode::Bad, format!("not a request: {error}")),
    };
    if !access.allows(peer, &request) {
        tracing::warn!(uid = peer.uid, pid = peer.pid, "a request over the control socket was denied");
        let message = if request.changes() {
            "only root and the sensor's own account may change what is known-good"
        } else {
            "only root, the sensor's own account and members of control.group may ask"
        };
        return refuse(RefusalCode::Denied, message);
    }
    match &mut request {
        Request::Allow(wish) => (wish.by, wish.by_uid) = (describe(peer), peer.uid),
        Request::Unallow { by, .. } => *by = Asker { name: describe(peer), uid: peer.uid },
        _ => {}
    }
    if request.changes() {
        tracing::info!(by = %describe(peer), request = ?request, "known-good entries are changed");
    }
    let (reply, answer) = Reply::channel();
    if let Err(error) = commander.send(Command::Ask(Box::new(request), reply)) {
        return refuse(RefusalCode::Busy, error.to_string());
    }
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => refuse(RefusalCode::Busy, "the sensor is stopping"),
        Err(_) => refuse(RefusalCode::Busy, "the sensor does not answer in time; its log may say why"),
    }
}

fn refuse(code: RefusalCode, message: impl Into<String>) -> Answer {
    Answer::Refused(Refusal::new(code, message))
}

fn line(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(value, &mut bytes);
    bytes
}

/// Appends a value as a line.
fn push(value: &impl Serialize, to: &mut Vec<u8>) {
    let before = to.len();
    if serde_json::to_writer(&mut *to, value).is_err() {
        // Nothing of ours is a map with keys that are no texts; should it ever be, the line is empty and the client says so.
        to.truncate(before);
    }
    to.push(b'\n');
}

async fn send(to: &mut (impl AsyncWrite + Unpin), answer: &Answer) -> std::io::Result<()> {
    let mut bytes = line(&Head::of(answer));
    match answer {
        Answer::Status(health) => push(health, &mut bytes),
        Answer::Finding(alert) => push(alert, &mut bytes),
        Answer::Allowed(entries) => entries.iter().for_each(|entry| push(entry, &mut bytes)),
        Answer::Refused(_) => {}
        Answer::Alerts(rows) => {
            for row in &rows.rows {
                push(row, &mut bytes);
                if bytes.len() >= CHUNK {
                    write(to, &bytes).await?;
                    bytes.clear();
                }
            }
        }
    }
    write(to, &bytes).await?;
    to.shutdown().await
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<()> {
    let late = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "it does not read");
    for chunk in bytes.chunks(CHUNK) {
        timeout(PATIENCE, to.write_all(chunk)).await.map_err(late)??;
    }
    Ok(())
}

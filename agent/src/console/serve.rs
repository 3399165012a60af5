//! Connections: how many, how large what they send, how long they may take. One that has shown the token keeps its place; of the
//! others the oldest goes when a new one needs room, so that whoever holds connections open shuts nobody out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::Refused;
use super::routes::Desk;

/// Connections at a time.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// Bytes of a request's head.
pub(super) const MAX_HEAD_BYTES: usize = 16 << 10;
/// Its fields.
const MAX_FIELDS: usize = 64;
/// A head takes at most so long.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(5);
/// A connection that has not shown the token is left after so long.
const STRANGER_TIME: Duration = Duration::from_secs(10);
/// A connection is left alone for so long, however many want its place: time enough to send what it has to say.
const GRACE: Duration = Duration::from_millis(100);
/// Pause after the system had no room for a connection, so as not to spin.
const PAUSE: Duration = Duration::from_millis(200);
/// What is said to who has no place.
const NO_PLACE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n";

/// Connections that are open, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<VecDeque<Place>>);

#[derive(Debug)]
struct Place {
    id: u64,
    since: Instant,
    proven: Arc<AtomicBool>,
    task: AbortHandle,
}

/// What is to be done with a new connection.
enum Room {
    Free,
    /// All that could go are too young: wait so long.
    Soon(Duration),
    Never,
}

impl Places {
    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn make(&self, refused: &Refused) -> Room {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|place| !place.task.is_finished());
        if places.len() < MAX_CONNECTIONS {
            return Room::Free;
        }
        let Some(at) = places.iter().position(|place| !place.proven.load(Ordering::Relaxed)) else {
            return Room::Never;
        };
        let age = places.get(at).map_or(GRACE, |place| place.since.elapsed());
        if age < GRACE {
            return Room::Soon(GRACE - age);
        }
        if let Some(place) = places.remove(at) {
            place.task.abort();
            Refused::count(&refused.slow);
        }
        Room::Free
    }

    fn take(&self, place: Place) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(place);
    }

    fn leave(&self, id: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|place| place.id != id);
    }
}

/// Accepts for ever.
pub(super) async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    let mut id = 0_u64;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, peer)) if peer.ip().is_loopback() => stream,
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(%error, "the console cannot accept");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let room = loop {
            match desk.places.make(&desk.refused) {
                Room::Soon(wait) => tokio::time::sleep(wait).await,
                room => break room,
            }
        };
        if matches!(room, Room::Never) {
            Refused::count(&desk.refused.places);
            // Written if it fits the socket's buffer, which it does; nobody waits.
            let _ = stream.try_write(NO_PLACE);
            continue;
        }
        id += 1;
        let proven = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(connection(stream, id, Arc::clone(&proven), Arc::clone(&desk)));
        desk.places.take(Place { id, since: Instant::now(), proven, task: task.abort_handle() });
        // What is new has its say before the next comes.
        tokio::task::yield_now().await;
    }
}

async fn connection(stream: TcpStream, id: u64, proven: Arc<AtomicBool>, desk: Arc<Desk>) {
    let _ = stream.set_nodelay(true);
    let peer = stream.peer_addr().ok();
    let service = {
        let (desk, proven) = (Arc::clone(&desk), Arc::clone(&proven));
        service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            // Who changes something is told of.
            peer.and_then(|peer| request.extensions_mut().insert(peer));
            let (desk, proven) = (Arc::clone(&desk), Arc::clone(&proven));
            async move { Ok::<_, std::convert::Infallible>(desk.answer(request, &proven).await) }
        })
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_HEAD_BYTES);
    let serving = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = &mut serving => Some(ended),
        () = tokio::time::sleep(STRANGER_TIME) => None,
    };
    let ended = match ended {
        None if !proven.load(Ordering::Relaxed) => {
            Refused::count(&desk.refused.slow);
            Ok(())
        }
        None => serving.await,
        Some(ended) => ended,
    };
    if let Err(error) = ended {
        // A browser closes connections as it likes; what was never a request is told of.
        if error.is_parse_too_large() {
            Refused::count(&desk.refused.size);
        } else if error.is_timeout() && !proven.load(Ordering::Relaxed) {
            Refused::count(&desk.refused.slow);
        } else if error.is_parse() {
            Refused::count(&desk.refused.other);
        }
        tracing::debug!(%error, "a connection to the console ended");
    }
    desk.places.leave(id);
}

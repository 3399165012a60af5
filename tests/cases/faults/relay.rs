//! A relay between a sink and its server, which does what networks do: it slows down, refuses, and swallows what passes
//! without closing anything, as when a peer vanishes.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// How often a thread looks whether something has changed.
const LOOK: Duration = Duration::from_millis(20);
/// A slow way takes so many bytes …
const SLOW_BYTES: usize = 8 << 10;
/// … in this time, each way.
const SLOW_FOR: Duration = Duration::from_millis(100);

/// What becomes of what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Way {
    /// It passes.
    Open,
    /// It passes slowly.
    Slow,
    /// Nobody listens, and what was connected is reset.
    Refusing,
    /// Connections stand, new ones too, and nothing passes, ever again: not even their end.
    Hole,
}

/// A relay. It ends with the test's process.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) port: u16,
    inside: Arc<Inside>,
}

#[derive(Debug)]
struct Inside {
    to: u16,
    way: AtomicU8,
    /// Whether the listener is there.
    listens: AtomicBool,
    ended: AtomicBool,
    /// Both ends of each connection, and whether it has fallen into the hole.
    connections: Mutex<Vec<(TcpStream, TcpStream, Arc<AtomicBool>)>>,
}

impl Relay {
    /// One that leads to this port of loopback; its own is the other, or any.
    pub(crate) fn start(own: Option<u16>, to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, own.unwrap_or(0))).expect("the port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let inside = Arc::new(Inside {
            to,
            way: AtomicU8::new(Way::Open as u8),
            listens: AtomicBool::new(true),
            ended: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let serve = Arc::clone(&inside);
        std::thread::spawn(move || serve.listen(port, listener));
        Self { port, inside }
    }

    /// From now on.
    pub(crate) fn set(&self, way: Way) {
        self.inside.way.store(way as u8, Ordering::SeqCst);
        let mut connections = self.inside.connections.lock().unwrap_or_else(PoisonError::into_inner);
        match way {
            Way::Refusing => {
                for (near, far, _) in connections.drain(..) {
                    let _ = near.shutdown(Shutdown::Both);
                    let _ = far.shutdown(Shutdown::Both);
                }
            }
            Way::Hole => connections.iter().for_each(|(.., fallen)| fallen.store(true, Ordering::SeqCst)),
            Way::Open | Way::Slow => {}
        }
        drop(connections);
        let since = Instant::now();
        while self.inside.listens.load(Ordering::SeqCst) != (way != Way::Refusing) {
            assert!(since.elapsed() < PATIENCE, "the relay's port was taken");
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.inside.ended.store(true, Ordering::SeqCst);
        self.set(Way::Open);
        let connections =
            std::mem::take(&mut *self.inside.connections.lock().unwrap_or_else(PoisonError::into_inner));
        for (near, far, _) in connections {
            let _ = near.shutdown(Shutdown::Both);
            let _ = far.shutdown(Shutdown::Both);
        }
    }
}

impl Inside {
    fn is(&self, way: Way) -> bool {
        self.way.load(Ordering::SeqCst) == way as u8
    }

    fn listen(self: Arc<Self>, port: u16, listener: TcpListener) {
        let mut listener = Some(listener);
        while !self.ended.load(Ordering::SeqCst) {
            if self.is(Way::Refusing) {
                listener = None;
            } else if listener.is_none() {
                listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
            }
            self.listens.store(listener.is_some(), Ordering::SeqCst);
            if let Some(listener) = &listener {
                listener.set_nonblocking(true).expect("a socket need not block");
                while let Ok((near, _)) = listener.accept() {
                    near.set_nonblocking(false).expect("a socket may block");
                    self.join(near);
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Leads a new connection on; one whose server is not there is closed.
    fn join(self: &Arc<Self>, near: TcpStream) {
        let fallen = Arc::new(AtomicBool::new(self.is(Way::Hole)));
        let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.to)) else { return };
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
            let (inside, fallen) = (Arc::clone(self), Arc::clone(&fallen));
            std::thread::spawn(move || inside.pump(from, to, &fallen));
        }
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push((near, far, fallen));
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, fallen: &AtomicBool) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let most = if self.is(Way::Slow) { SLOW_BYTES } else { buffer.len() };
            let read = buffer.get_mut(..most).map_or(Ok(0), |buffer| from.read(buffer));
            if fallen.load(Ordering::SeqCst) {
                // The ends stay as they are: what is left of the connection goes with the relay.
                return;
            }
            if self.is(Way::Slow) {
                std::thread::sleep(SLOW_FOR);
            }
            let passed = match read {
                Ok(0) | Err(_) => None,
                Ok(read) => buffer.get(..read).and_then(|bytes| to.write_all(bytes).ok()),
            };
            if passed.is_none() {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
        }
    }
}

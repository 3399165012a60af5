//! A stream connection to a syslog receiver, and what stands in for the receipts that the protocol lacks.
//!
//! A batch is delivered when the other side's system has confirmed its bytes. Its program may die before it reads them, so
//! the latest records are kept, and sent again on the next connection when one has died; a receiver knows a record that comes
//! twice by its id. A connection that is closed well (all confirmed, our end closed, the other side's end seen) owes nothing.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use sonde_common::config::{SinkSettings, SyslogSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::sink::dial::{Dialer, Stream};

/// How long a new connection has to survive its first batch. A receiver that does not take our certificate says so only
/// after it has let us send (TLS 1.3), and one that does not take our name just closes.
const PROBATION: Duration = Duration::from_secs(2);
/// Time for the system to hear what the other side said since the last batch.
const LISTEN: Duration = Duration::from_millis(2);
/// How often the system is asked what is not confirmed yet.
const ASK: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));
/// Longest wait for the other side's end when we close.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// So much is written at once.
const PIECE: usize = 64 << 10;
/// Most that a receiver may say on one connection: the protocol lets it say nothing.
const MAX_HEARD: usize = 64 << 10;

/// The way to one receiver.
#[derive(Debug)]
pub(super) struct Link {
    dialer: Dialer,
    host: String,
    port: u16,
    patience: Duration,
    session: Option<Session>,
    sent: Sent,
}

#[derive(Debug)]
struct Session {
    stream: Stream,
    heard: usize,
}

/// What was sent lately, oldest first, and may be owed.
#[derive(Debug)]
struct Sent {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl Link {
    pub(super) fn new(
        dialer: Dialer,
        host: String,
        port: u16,
        settings: &SinkSettings,
        syslog: &SyslogSettings,
    ) -> Self {
        let sent = Sent {
            frames: VecDeque::new(),
            bytes: 0,
            most: usize::try_from(syslog.replay.get()).unwrap_or(usize::MAX),
            most_bytes: syslog.replay_bytes.size(),
        };
        let patience = Duration::from_secs(settings.timeout_secs.get().into());
        Self { dialer, host, port, patience, session: None, sent }
    }

    /// Sends frames and waits until the other side's system has them. If this future is dropped, the connection is: half a
    /// frame may have been sent.
    pub(super) async fn send(&mut self, frames: Vec<Vec<u8>>) -> io::Result<String> {
        let (mut session, again) = self.session().await?;
        let sent = async {
            session.write(frames.iter()).await?;
            session.confirmed().await?;
            if again.is_some() { session.prove().await } else { Ok(()) }
        };
        sent.await.map_err(|error| if again.is_some() { early(&error) } else { error })?;
        self.sent.extend(frames);
        self.session = Some(session);
        let again = match again {
            None | Some(0) => String::new(),
            Some(again) => {
                format!("; the last connection had died, so {again} records before were sent again")
            }
        };
        Ok(format!("taken by the system of {}:{}{again}", self.host, self.port))
    }

    /// The connection, if it still is one, else a new one on which what is owed was written; then with how many records.
    async fn session(&mut self) -> io::Result<(Session, Option<usize>)> {
        if let Some(mut session) = self.session.take() {
            match session.is_alive().await {
                Ok(()) => return Ok((session, None)),
                Err(error) => {
                    tracing::info!(host = %self.host, port = self.port, %error, owed = self.sent.frames.len(),
                        "the connection to a syslog receiver died");
                }
            }
        }
        let stream = self.dialer.dial(&self.host, self.port).await?;
        stream.unsent().give_up_after(self.patience)?;
        let mut session = Session { stream, heard: 0 };
        session.write(self.sent.frames.iter()).await.map_err(|error| early(&error))?;
        Ok((session, Some(self.sent.frames.len())))
    }

    /// Ends the connection so that nothing is owed; what an earlier one owes is sent first.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        if self.sent.frames.is_empty() {
            self.session = None;
            return Ok(());
        }
        let (mut session, _) = self.session().await?;
        session.confirmed().await?;
        session.stream.shutdown().await?;
        let end = Instant::now() + LAST_WORDS;
        loop {
            let heard = timeout_at(end, session.hear()).await;
            match heard.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it does not close its end"))? {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                other => other?,
            }
        }
        self.sent.clear();
        Ok(())
    }
}

impl Session {
    /// Writes frames, many at once.
    async fn write(&mut self, frames: impl Iterator<Item = &Vec<u8>>) -> io::Result<()> {
        let mut piece = Vec::with_capacity(PIECE);
        for frame in frames {
            if !piece.is_empty() && piece.len() + frame.len() > PIECE {
                self.stream.write_all(&piece).await?;
                piece.clear();
            }
            piece.extend_from_slice(frame);
        }
        self.stream.write_all(&piece).await?;
        self.stream.flush().await
    }

    /// Waits until the other side's system has confirmed all, listening for the connection's end.
    async fn confirmed(&mut self) -> io::Result<()> {
        let mut pause = ASK.0;
        while self.stream.unsent().bytes()? > 0 {
            tokio::select! {
                heard = self.hear() => heard?,
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(ASK.1);
        }
        // A connection that was reset has nothing waiting either.
        self.is_alive().await
    }

    /// Listens for a while whether a new connection is taken away again.
    async fn prove(&mut self) -> io::Result<()> {
        let end = Instant::now() + PROBATION;
        while let Ok(heard) = timeout_at(end, self.hear()).await {
            heard?;
        }
        Ok(())
    }

    /// Whether the other side has neither closed nor reset the connection.
    async fn is_alive(&mut self) -> io::Result<()> {
        while let Ok(heard) = timeout(LISTEN, self.hear()).await {
            heard?;
        }
        Ok(())
    }

    /// Hears what the other side says, which is nothing; its end is an error.
    async fn hear(&mut self) -> io::Result<()> {
        let mut words = [0; 512];
        let count = self.stream.read(&mut words).await?;
        if count == 0 {
            return Err(ended());
        }
        self.heard = self.heard.saturating_add(count);
        if self.heard > MAX_HEARD {
            return Err(io::Error::other("the other side talks and talks: it is no syslog receiver"));
        }
        Ok(())
    }
}

/// An error before a new connection was proven: more often than not the other side does not want us.
fn early(error: &io::Error) -> io::Error {
    let why = "it took back a new connection: does it take our address and certificate?";
    io::Error::new(error.kind(), format!("{why} ({error})"))
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the other side closed the connection")
}

impl Sent {
    fn extend(&mut self, frames: Vec<Vec<u8>>) {
        for frame in frames {
            self.bytes += frame.len();
            self.frames.push_back(frame);
        }
        // The oldest go: the receiver has had most time for them.
        while self.frames.len() > self.most || self.bytes > self.most_bytes {
            let Some(frame) = self.frames.pop_front() else { break };
            self.bytes -= frame.len();
        }
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}

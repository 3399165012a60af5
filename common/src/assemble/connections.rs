//! Which rows tell of a connection for the first time. Two logs may tell of one connection, a log tells of an open one again
//! and again, and a host that gets no answer sends the same SYN several times: each is one callback.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::event::Outcome;
use crate::format::row::ConnectionRow;
use crate::net::{FiveTuple, Transport};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Starts of one connection as two logs tell them differ by no more than this, in nanoseconds: Windows writes event 5156 with
/// the second only, and hands network events to its readers in batches.
const SAME: i64 = 5 * NANOS_PER_SEC;
/// An attempt from the same port so soon after one that was not answered is the same attempt, in nanoseconds. Windows and
/// Linux give up on a SYN after at most 21 s and 127 s, and the longest pause between two SYNs of the former is 12 s; NjRAT's
/// unanswered SYNs come 9 and 14 s apart and are one attempt every 23 s.
const RETRY: i64 = 30 * NANOS_PER_SEC;
/// Longest that a connection is remembered, in nanoseconds.
const KEPT: i64 = RETRY;
/// What a connection takes: its place in a map that doubles, and in the queue.
const CONNECTION_BYTES: usize =
    2 * size_of::<((u64, FiveTuple), Last)>() + size_of::<(Timestamp, u64, FiveTuple)>();

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A connection that was not told of before.
    New,
    /// One that was, or the retry of an attempt.
    Known,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    start: Timestamp,
    /// When it was told of last, in the order of the rows.
    told: Timestamp,
    answered: bool,
    /// Whether its log says how connections went; one that does not cannot tell a retry.
    judged: bool,
    uid: bool,
}

/// The latest connections, by host and five-tuple.
#[derive(Debug, Default)]
pub(super) struct Connections {
    latest: HashMap<(u64, FiveTuple), Last, foldhash::fast::FixedState>,
    /// In the order in which they were told of; an entry whose time is not that of its connection was told of again.
    order: VecDeque<(Timestamp, u64, FiveTuple)>,
    /// Connections remembered; beyond it the oldest is forgotten.
    capacity: usize,
    pub(super) repeated: u64,
    pub(super) retries: u64,
    pub(super) evicted: u64,
}

impl Connections {
    pub(super) fn new(memory_bytes: usize) -> Self {
        Self { capacity: memory_bytes / CONNECTION_BYTES, ..Self::default() }
    }

    pub(super) fn judge(&mut self, host: u64, now: Timestamp, row: &ConnectionRow<'_>) -> Verdict {
        self.expire(now);
        // A source that does not tell the port cannot tell two connections apart.
        if row.tuple.local.port() == 0 {
            return Verdict::New;
        }
        let key = (host, row.tuple);
        let answered = !matches!(row.outcome, Outcome::Refused | Outcome::Unanswered);
        let this = Last {
            start: row.start,
            told: now,
            answered,
            judged: row.outcome != Outcome::Unknown,
            uid: !row.uid.is_empty(),
        };
        let verdict = self.latest.get(&key).map_or(Verdict::New, |last| {
            let apart = row.start.since(last.start).saturating_abs();
            // Logs that name connections give each its own row, at its exact start.
            let same = if last.uid && this.uid { apart < 1_000_000 } else { apart <= SAME };
            if same && !(last.judged && this.judged && apart >= 1_000_000) {
                self.repeated += 1;
                Verdict::Known
            } else if row.tuple.transport == Transport::Tcp && last.judged && !last.answered && apart <= RETRY
            {
                self.retries += 1;
                Verdict::Known
            } else {
                Verdict::New
            }
        });
        // What is folded belongs to the first of its kind, so that a fold comes to an end however long the repeats go on.
        let kept = match (verdict, self.latest.get(&key)) {
            (Verdict::Known, Some(first)) => Last {
                start: first.start,
                told: now,
                answered: first.answered || (this.answered && this.judged),
                judged: first.judged || this.judged,
                uid: first.uid || this.uid,
            },
            _ => this,
        };
        self.latest.insert(key, kept);
        self.order.push_back((now, host, row.tuple));
        while self.order.len() > self.capacity {
            self.forget_first();
            self.evicted += 1;
        }
        verdict
    }

    fn expire(&mut self, now: Timestamp) {
        while self.order.front().is_some_and(|(told, ..)| now.since(*told) > KEPT) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((told, host, tuple)) = self.order.pop_front()
            && let hashbrown::hash_map::Entry::Occupied(entry) = self.latest.entry((host, tuple))
            && entry.get().told == told
        {
            entry.remove();
        }
    }
}

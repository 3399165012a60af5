//! Exchanges from counters: when a connection spoke after a silence, told by numbers that are read about once a second.
//!
//! As `conntrack` does from packets: payload after at least a second of silence opens an exchange, a second of silence ends it;
//! payload within the first second of a connection is none, and so is the first payload of one that was found open.

use sonde_common::conntrack::EXCHANGE_SILENCE;
use sonde_common::time::Timestamp;

/// Payload counters of a socket at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) bytes_out: u64,
    pub(super) bytes_in: u64,
    /// Segments with payload, each way.
    pub(super) segments_out: u32,
    pub(super) segments_in: u32,
    /// When payload was last sent, received.
    pub(super) sent: Timestamp,
    pub(super) received: Timestamp,
}

/// An exchange that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    pub(super) start: Timestamp,
    pub(super) bytes_out: u64,
    pub(super) bytes_in: u64,
}

/// What is known of one socket's payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activity {
    reading: Reading,
    /// When it was read.
    read: Timestamp,
    /// Last payload, or when the connection was opened.
    last: Timestamp,
    open: Option<Exchange>,
    /// Found open, and nothing was said since.
    joined: bool,
}

impl Activity {
    /// A connection that was opened while the sensor looked.
    pub(super) fn opened(time: Timestamp) -> Self {
        Self { reading: Reading::default(), read: time, last: time, open: None, joined: false }
    }

    /// One that was there when it was first looked at. `fresh`: it was opened since the last look, nobody knows when.
    pub(super) fn found(now: Timestamp, reading: Reading, fresh: bool) -> Self {
        let spoke = reading.bytes_out > 0 || reading.bytes_in > 0;
        let last = if spoke { reading.sent.max(reading.received).min(now) } else { now };
        Self { reading, read: now, last, open: None, joined: !fresh }
    }

    /// Takes a new reading; hands out exchanges that are over.
    pub(super) fn read(&mut self, now: Timestamp, next: Reading, over: &mut dyn FnMut(Exchange)) {
        let since = std::mem::replace(&mut self.read, now);
        let old = std::mem::replace(&mut self.reading, next);
        let sent = Part::new(
            since,
            now,
            next.bytes_out,
            old.bytes_out,
            next.segments_out,
            old.segments_out,
            next.sent,
        );
        let received = Part::new(
            since,
            now,
            next.bytes_in,
            old.bytes_in,
            next.segments_in,
            old.segments_in,
            next.received,
        );
        let both = |out: Option<Part>, inward: Option<Part>| Exchange {
            start: match (out, inward) {
                (Some(a), Some(b)) => a.time.min(b.time),
                (a, b) => a.or(b).map_or(now, |part| part.time),
            },
            bytes_out: out.map_or(0, |part| part.bytes),
            bytes_in: inward.map_or(0, |part| part.bytes),
        };
        match (sent, received) {
            (None, None) => {}
            (Some(a), Some(b)) if a.single && b.single && a.time.since(b.time).abs() >= EXCHANGE_SILENCE => {
                // Two words with a silence between: the answer is an exchange of its own.
                let (a, b) = (both(Some(a), None), both(None, Some(b)));
                let (first, second) = if a.start <= b.start { (a, b) } else { (b, a) };
                self.spoke(since, first.start, first, true, over);
                self.spoke(since, second.start, second, true, over);
            }
            (a, b) => {
                let latest = a.map_or(Timestamp::ZERO, |p| p.time).max(b.map_or(Timestamp::ZERO, |p| p.time));
                let exact = a.is_none_or(|p| p.single) && b.is_none_or(|p| p.single);
                self.spoke(since, latest, both(a, b), exact, over);
            }
        }
        if now.since(self.last) >= EXCHANGE_SILENCE {
            self.end(over);
        }
    }

    /// The connection is over, and with it what was being said.
    pub(super) fn end(&mut self, over: &mut dyn FnMut(Exchange)) {
        if let Some(exchange) = self.open.take() {
            over(exchange);
        }
    }

    /// Payload was exchanged between the readings, at the earliest at `words.start`; `exact`: not earlier for certain.
    fn spoke(
        &mut self,
        since: Timestamp,
        latest: Timestamp,
        words: Exchange,
        exact: bool,
        over: &mut dyn FnMut(Exchange),
    ) {
        let earliest = if exact { words.start } else { since };
        let silence = earliest.since(self.last) >= EXCHANGE_SILENCE;
        if silence {
            self.end(over);
        }
        if let Some(exchange) = &mut self.open {
            exchange.bytes_out = exchange.bytes_out.saturating_add(words.bytes_out);
            exchange.bytes_in = exchange.bytes_in.saturating_add(words.bytes_in);
        } else if silence && !self.joined {
            self.open = Some(words);
        }
        self.joined = false;
        self.last = self.last.max(latest);
    }
}

/// What went one way between two readings.
#[derive(Clone, Copy)]
struct Part {
    bytes: u64,
    /// Of the last segment.
    time: Timestamp,
    /// It was the only one.
    single: bool,
}

impl Part {
    fn new(
        since: Timestamp,
        now: Timestamp,
        bytes: u64,
        old_bytes: u64,
        segments: u32,
        old_segments: u32,
        time: Timestamp,
    ) -> Option<Self> {
        let bytes = bytes.checked_sub(old_bytes).filter(|&bytes| bytes > 0)?;
        let single = segments.wrapping_sub(old_segments) <= 1;
        Some(Self { bytes, time: time.max(since).min(now), single })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_nanos(1_000_000_000_000 + ms * 1_000_000)
    }

    /// Payload as it went over the wire: time in ms, outward, bytes. Read each `step` ms; what the readings gave.
    fn run(words: &[(i64, bool, u64)], opened: bool, step: i64, until: i64) -> Vec<(i64, u64, u64)> {
        let mut told = Vec::new();
        let mut over =
            |e: Exchange| told.push(((e.start.nanos() - at(0).nanos()) / 1_000_000, e.bytes_out, e.bytes_in));
        let reading = |now: i64| {
            let mut reading = Reading::default();
            for &(time, outward, bytes) in words.iter().filter(|w| w.0 <= now) {
                if outward {
                    reading.bytes_out += bytes;
                    reading.segments_out += 1;
                    reading.sent = at(time);
                } else {
                    reading.bytes_in += bytes;
                    reading.segments_in += 1;
                    reading.received = at(time);
                }
            }
            reading
        };
        let mut activity =
            if opened { Activity::opened(at(0)) } else { Activity::found(at(0), reading(0), false) };
        let mut now = step / 3;
        while now < until {
            activity.read(at(now), reading(now), &mut over);
            now += step;
        }
        activity.end(&mut over);
        told
    }

    #[test]
    fn check_ins_over_a_kept_connection_are_told_with_their_times_and_bytes() {
        // Hello within the first second, then a check-in each 5 s: a request, an answer 80 ms later.
        let mut words = vec![(10, true, 300), (40, false, 900)];
        for n in 1..6 {
            words.push((n * 5_000, true, 120));
            words.push((n * 5_000 + 80, false, 64));
        }
        let expected: Vec<_> = (1..6).map(|n| (n * 5_000, 120, 64)).collect();
        assert_eq!(run(&words, true, 1_000, 30_000), expected);
        assert_eq!(run(&words, true, 2_500, 30_000), expected, "also when it is read seldom");
    }

    #[test]
    fn the_first_words_of_a_found_connection_are_none() {
        let words = [(5_000, true, 1), (10_000, true, 2), (15_000, true, 3)];
        assert_eq!(run(&words, false, 1_000, 20_000), [(10_000, 2, 0), (15_000, 3, 0)]);
        assert_eq!(run(&words, true, 1_000, 20_000).len(), 3);
    }

    #[test]
    fn a_late_answer_is_an_exchange_of_its_own() {
        let words = [(4_000, true, 10), (7_200, false, 20)];
        assert_eq!(run(&words, true, 1_000, 20_000), [(4_000, 10, 0), (7_200, 0, 20)]);
        assert_eq!(run(&words, true, 9_000, 30_000), [(4_000, 10, 0), (7_200, 0, 20)]);
    }

    #[test]
    fn a_steady_stream_is_no_exchange() {
        let words: Vec<_> = (0..300).map(|n| (n * 100, n % 2 == 0, 1_000)).collect();
        assert_eq!(run(&words, true, 1_000, 40_000), []);
        assert_eq!(run(&words, true, 5_000, 40_000), []);
    }

    #[test]
    fn many_segments_of_one_check_in_are_one_exchange() {
        let words: Vec<_> = (0..50).map(|n| (8_000 + n * 10, n % 10 == 0, 1_400)).collect();
        let told = run(&words, true, 1_000, 20_000);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].1, told[0].2), (5 * 1_400, 45 * 1_400));
        assert!((8_000..8_500).contains(&told[0].0));
    }

    proptest! {
        #[test]
        fn bytes_are_never_told_twice(
            words in proptest::collection::vec((0i64..60_000, any::<bool>(), 1u64..5_000), 0..60),
            opened: bool,
            step in 200i64..9_000,
        ) {
            let mut words = words;
            words.sort_unstable();
            let told = run(&words, opened, step, 80_000);
            let sum = |outward| words.iter().filter(|w| w.1 == outward).map(|w| w.2).sum::<u64>();
            prop_assert!(told.iter().map(|t| t.1).sum::<u64>() <= sum(true));
            prop_assert!(told.iter().map(|t| t.2).sum::<u64>() <= sum(false));
            prop_assert!(told.windows(2).all(|w| w[0].0 < w[1].0));
        }

        #[test]
        fn wild_readings_never_panic(
            readings in proptest::collection::vec((any::<i64>(), any::<u64>(), any::<u64>(), any::<u32>(), any::<i64>(), any::<i64>()), 0..20),
        ) {
            let mut activity = Activity::opened(at(0));
            for (now, out, inward, segments, sent, received) in readings {
                let t = Timestamp::from_nanos;
                let reading = Reading {
                    bytes_out: out, bytes_in: inward, segments_out: segments, segments_in: segments,
                    sent: t(sent), received: t(received),
                };
                activity.read(t(now), reading, &mut |_| {});
            }
        }
    }
}

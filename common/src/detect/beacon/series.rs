//! One series of callbacks in at most 288 bytes, updated in constant time.
//!
//! It keeps the last 64 intervals and the sizes of the last 16 closed check-ins as [quanta](super::stats::quantise). It does
//! not know whose series it is: that is the cold label beside it in the [table](super::table).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::pace::Pace;
use super::stats::{self, MAX_INTERVALS, MIN_SAMPLE, Timing, dequantise, quantise};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Closed check-ins whose sizes are kept (scorer specification 2.2).
pub const MAX_SIZES: usize = 16;
/// Distinct destinations that are remembered (scorer specification 2.2).
pub const MAX_DESTINATIONS: usize = 6;
/// Latest callbacks that can be told: one more than the intervals between them.
pub const MAX_CALLBACKS: usize = MAX_INTERVALS + 1;

/// Events closer than this to the one before belong to the same check-in (scorer specification 2.3).
const CHECK_IN_GAP: i64 = NANOS_PER_SEC;
/// Marks a size that is not known; known ones stop one below it.
const UNKNOWN_QUANTA: u16 = u16::MAX;
/// Marks sizes of the open check-in that are not known; known ones stop one below it.
const UNKNOWN_BYTES: u32 = u32::MAX;
/// Largest relative error of a quantised interval: half a quantum, 2^(1/2048) - 1.
const QUANTISING_ERROR: f64 = 0.000_338_6;
/// An interval in which the sensor was blind is none. It keeps its place in the ring, because the sizes lie at the same
/// places, as [`PAUSE_TOP`] less a third of its quanta: the longest of all, 2^63 ns, has 44,103.
const PAUSE_TOP: u16 = u16::MAX;
/// Quanta to a step of a pause.
const PAUSE_STEP: u16 = 3;
/// Least value that is a pause.
const PAUSE_BOTTOM: u16 = PAUSE_TOP - 44_103 / PAUSE_STEP;
/// Largest relative error of a pause: one and a half steps and half a quantum, 2^(2/1024) - 1.
const PAUSE_ERROR: f64 = 0.001_354_8;

const _: () = assert!(size_of::<Series>() <= 288, "a series has a budget of 288 bytes");

/// What an event meant for its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// It belongs to the check-in before.
    SameCheckIn,
    /// It opened a new check-in, so there is one interval more.
    NewCheckIn {
        /// Whether the number of intervals is one at which the series is evaluated.
        evaluate: bool,
    },
}

/// Medians of the known sizes of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizeMedians {
    /// Upper median of the bytes sent per check-in.
    pub bytes_out: f64,
    /// Upper median of the bytes received per check-in.
    pub bytes_in: f64,
}

/// A series of callbacks.
#[derive(Clone)]
pub struct Series {
    first: Timestamp,
    /// Start of the open check-in.
    check_in: Timestamp,
    /// Start of the latest event.
    last: Timestamp,
    check_ins: u32,
    /// Sizes of the open check-in, or [`UNKNOWN_BYTES`] in both.
    open_out: u32,
    open_in: u32,
    /// Rings, written in turn: the k-th interval and the sizes of the k-th check-in lie at k modulo the length.
    intervals: [u16; MAX_INTERVALS],
    closed_out: [u16; MAX_SIZES],
    closed_in: [u16; MAX_SIZES],
    destinations: [u16; MAX_DESTINATIONS],
    destination_count: u8,
    /// Intervals that are none, and for how many seconds the sensor was blind in them.
    gaps: u32,
    gap_secs: u32,
    pace: Pace,
}

/// A series as it is saved: what of its rings is written, in the order in which it lies there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    first: Timestamp,
    check_in: Timestamp,
    last: Timestamp,
    check_ins: u32,
    open: (u32, u32),
    intervals: Vec<u16>,
    closed: Vec<(u16, u16)>,
    destinations: Vec<u16>,
    gaps: (u32, u32),
    pace: Pace,
}

/// Whether a series is evaluated when it has so many intervals: often at first, then every 64 (scorer specification
/// 2.3).
#[must_use]
pub const fn is_checkpoint(intervals: u32) -> bool {
    matches!(intervals, 3 | 4 | 5 | 6 | 8 | 10 | 12 | 16 | 20 | 24 | 32 | 40 | 48 | 64)
        || (intervals > 64 && intervals.is_multiple_of(64))
}

impl Series {
    /// A series whose first check-in began at `first`, of unknown sizes.
    #[must_use]
    pub const fn new(first: Timestamp) -> Self {
        Self {
            first,
            check_in: first,
            last: first,
            check_ins: 1,
            open_out: UNKNOWN_BYTES,
            open_in: UNKNOWN_BYTES,
            intervals: [0; MAX_INTERVALS],
            closed_out: [UNKNOWN_QUANTA; MAX_SIZES],
            closed_in: [UNKNOWN_QUANTA; MAX_SIZES],
            destinations: [0; MAX_DESTINATIONS],
            destination_count: 0,
            gaps: 0,
            gap_secs: 0,
            pace: Pace::new(first),
        }
    }

    /// Takes in an event that began at `start`, with the bytes sent and received if they are known already.
    ///
    /// An event less than a second after the one before belongs to the same check-in, and so does one that arrives late:
    /// it cannot be told any more whether it opened a check-in of its own (its bytes still go where they belong, see
    /// [`add_sizes`](Self::add_sizes)). A chain of events has no longest length, as
    /// a limit would turn continuous traffic into a perfect period (scorer specification 2.3).
    pub fn observe(&mut self, start: Timestamp, sizes: Option<(u64, u64)>) -> Update {
        self.observe_behind(start, sizes, None)
    }

    /// The same, where the sensor was `blind` for so many seconds since the [open check-in](Self::check_in_start): the time
    /// between the two is no interval then. It says nothing of a rhythm, and nothing against one.
    pub fn observe_behind(
        &mut self,
        start: Timestamp,
        sizes: Option<(u64, u64)>,
        blind: Option<u32>,
    ) -> Update {
        let update = if start.since(self.last) < CHECK_IN_GAP {
            self.last = self.last.max(start);
            Update::SameCheckIn
        } else {
            self.open_check_in(start, blind);
            Update::NewCheckIn { evaluate: blind.is_none() && is_checkpoint(self.interval_count()) }
        };
        if let Some((bytes_out, bytes_in)) = sizes {
            self.add_sizes(start, bytes_out, bytes_in);
        }
        update
    }

    fn open_check_in(&mut self, start: Timestamp, blind: Option<u32>) {
        let closed = ring_index(self.check_ins - 1);
        let since = start.since(self.check_in);
        let quanta = quantise(nanos_f64(since) / 1e6);
        self.pace.call(start, since, blind.is_some());
        if let Some(interval) = self.intervals.get_mut(closed % MAX_INTERVALS) {
            *interval = if blind.is_some() { PAUSE_TOP - quanta / PAUSE_STEP } else { quanta };
        }
        if let Some(secs) = blind {
            self.gaps = self.gaps.saturating_add(1);
            self.gap_secs = self.gap_secs.saturating_add(secs);
        }
        let sizes = if self.open_out == UNKNOWN_BYTES {
            (UNKNOWN_QUANTA, UNKNOWN_QUANTA)
        } else {
            (quantise_size(self.open_out.into()), quantise_size(self.open_in.into()))
        };
        if let Some((bytes_out, bytes_in)) = self.size_slot(closed % MAX_SIZES) {
            (*bytes_out, *bytes_in) = sizes;
        }
        self.check_ins = self.check_ins.saturating_add(1);
        self.check_in = start;
        self.last = start;
        self.open_out = UNKNOWN_BYTES;
        self.open_in = UNKNOWN_BYTES;
    }

    /// Adds bytes of a connection that began at `start` and was [observed](Self::observe) before, to the check-in that it
    /// belongs to: the open one or one of the last 16. Returns whether that was found.
    ///
    /// Starts of closed check-ins are known only to 0.034 % of their age, so behind a very long interval the bytes may
    /// go to a neighbour.
    pub fn add_sizes(&mut self, start: Timestamp, bytes_out: u64, bytes_in: u64) -> bool {
        let mut began = nanos_f64(start.since(self.check_in));
        // Neighbouring check-ins are at least one gap apart, so half a gap tells them apart in both directions.
        let slack = nanos_f64(CHECK_IN_GAP / 2);
        if began >= -slack {
            let (known_out, known_in) =
                if self.open_out == UNKNOWN_BYTES { (0, 0) } else { (self.open_out, self.open_in) };
            self.open_out = add_bytes(known_out, bytes_out);
            self.open_in = add_bytes(known_in, bytes_in);
            return true;
        }
        let closed = self.check_ins - 1;
        let mut error = 0.0;
        for index in (0..closed).rev().take(MAX_SIZES).map(ring_index) {
            let quanta = self.intervals.get(index % MAX_INTERVALS).copied().unwrap_or_default();
            let (interval, relative) = match pause_quanta(quanta) {
                Some(pause) => (dequantise(pause) * 1e6, PAUSE_ERROR),
                None => (dequantise(quanta) * 1e6, QUANTISING_ERROR),
            };
            error += interval * relative;
            began += interval;
            if began >= -slack.max(error) {
                if let Some((known_out, known_in)) = self.size_slot(index % MAX_SIZES) {
                    let unknown = *known_out == UNKNOWN_QUANTA;
                    for (known, more) in [(known_out, bytes_out), (known_in, bytes_in)] {
                        let base = if unknown || *known == 0 { 0.0 } else { dequantise(*known) };
                        *known = quantise_size(base + bytes_f64(more));
                    }
                }
                return true;
            }
        }
        false
    }

    fn size_slot(&mut self, index: usize) -> Option<(&mut u16, &mut u16)> {
        self.closed_out.get_mut(index).zip(self.closed_in.get_mut(index))
    }

    /// Remembers a destination by its fingerprint; of more than six distinct ones the first six. Returns whether it is
    /// one more.
    pub fn note_destination(&mut self, fingerprint: u16) -> bool {
        if self.destinations().contains(&fingerprint) {
            return false;
        }
        let Some(free) = self.destinations.get_mut(usize::from(self.destination_count)) else { return false };
        *free = fingerprint;
        self.destination_count += 1;
        true
    }

    /// Fingerprints of the distinct destinations, at most six, in order of appearance.
    #[must_use]
    pub fn destinations(&self) -> &[u16] {
        self.destinations.get(..usize::from(self.destination_count)).unwrap_or_default()
    }

    /// Check-ins so far, the open one included.
    #[must_use]
    pub const fn check_ins(&self) -> u32 {
        self.check_ins
    }

    /// Intervals so far, also those no longer kept, but not those in which the sensor was blind.
    #[must_use]
    pub const fn interval_count(&self) -> u32 {
        (self.check_ins - 1).saturating_sub(self.gaps)
    }

    /// Times between two check-ins that are no intervals, because the sensor was blind in them.
    #[must_use]
    pub const fn gaps(&self) -> u32 {
        self.gaps
    }

    /// Seconds for which it was, in all.
    #[must_use]
    pub const fn gap_secs(&self) -> u32 {
        self.gap_secs
    }

    pub(super) fn saved(&self) -> Saved {
        let written = ring_index(self.check_ins - 1);
        Saved {
            first: self.first,
            check_in: self.check_in,
            last: self.last,
            check_ins: self.check_ins,
            open: (self.open_out, self.open_in),
            intervals: self.intervals.iter().copied().take(written).collect(),
            closed: self.closed_out.iter().copied().zip(self.closed_in).take(written).collect(),
            destinations: self.destinations().to_vec(),
            gaps: (self.gaps, self.gap_secs),
            pace: self.pace,
        }
    }

    /// The series that was saved, unless it is one that cannot have been.
    pub(super) fn restored(saved: &Saved) -> Option<Self> {
        let Saved { first, check_in, last, check_ins, open, intervals, closed, destinations, gaps, pace } =
            saved;
        let written = ring_index(check_ins.checked_sub(1)?);
        let sound = first <= check_in
            && check_in <= last
            && intervals.len() == written.min(MAX_INTERVALS)
            && closed.len() == written.min(MAX_SIZES)
            && destinations.len() <= MAX_DESTINATIONS
            && gaps.0 < *check_ins
            && pace.is_sound();
        if !sound {
            return None;
        }
        let mut series = Self {
            check_in: *check_in,
            last: *last,
            check_ins: *check_ins,
            open_out: open.0,
            open_in: open.1,
            gaps: gaps.0,
            gap_secs: gaps.1,
            pace: *pace,
            ..Self::new(*first)
        };
        series.intervals.iter_mut().zip(intervals).for_each(|(place, interval)| *place = *interval);
        let places = series.closed_out.iter_mut().zip(&mut series.closed_in);
        places.zip(closed).for_each(|((bytes_out, bytes_in), sizes)| (*bytes_out, *bytes_in) = *sizes);
        for destination in destinations {
            series.note_destination(*destination);
        }
        Some(series)
    }

    /// Moves all its times, when the clock was set.
    pub fn shift(&mut self, nanos: i64) {
        for time in [&mut self.first, &mut self.check_in, &mut self.last] {
            *time = time.plus_nanos(nanos);
        }
        self.pace.shift(nanos);
    }

    /// Start of the first check-in.
    #[must_use]
    pub const fn first_seen(&self) -> Timestamp {
        self.first
    }

    /// Start of the open check-in.
    #[must_use]
    pub const fn check_in_start(&self) -> Timestamp {
        self.check_in
    }

    /// Start of the latest event.
    #[must_use]
    pub const fn last_seen(&self) -> Timestamp {
        self.last
    }

    /// The intervals kept, in order of arrival, as quanta of milliseconds.
    pub fn intervals<'a>(&self, buffer: &'a mut [u16; MAX_INTERVALS]) -> &'a [u16] {
        let kept = self.ring(buffer).len();
        let mut count = 0;
        for at in 0..kept {
            let Some(&quanta) = buffer.get(at) else { break };
            if pause_quanta(quanta).is_none()
                && let Some(free) = buffer.get_mut(count)
            {
                *free = quanta;
                count += 1;
            }
        }
        buffer.get(..count).unwrap_or_default()
    }

    /// What is kept of the times between check-ins, pauses too, in order of arrival.
    fn ring<'a>(&self, buffer: &'a mut [u16; MAX_INTERVALS]) -> &'a [u16] {
        let count = ring_index(self.check_ins - 1);
        *buffer = self.intervals;
        if count > MAX_INTERVALS {
            buffer.rotate_left(count % MAX_INTERVALS);
        }
        buffer.get(..count.min(MAX_INTERVALS)).unwrap_or_default()
    }

    /// Evidence of a rhythm in the intervals kept.
    #[must_use]
    pub fn rhythm(&self) -> Timing {
        stats::timing(self.intervals(&mut [0; MAX_INTERVALS]))
    }

    /// Timing evidence: that of a rhythm, or, where that is less, that of a steady pace.
    #[must_use]
    pub fn timing(&self) -> Timing {
        let (rhythm, pace) = (self.rhythm(), self.pace.steadiness());
        if pace.bans <= rhythm.bans {
            return rhythm;
        }
        Timing {
            bans: pace.bans,
            test: Some(stats::Test::Steady),
            matched: pace.blocks,
            of: pace.blocks,
            period_secs: pace.interval_secs,
        }
    }

    /// Known sizes sent in the latest 16 closed check-ins, oldest first, as quanta of bytes.
    pub fn sizes_out<'a>(&self, buffer: &'a mut [u16; MAX_SIZES]) -> &'a [u16] {
        self.known_sizes(&self.closed_out, buffer)
    }

    /// Known sizes received in the latest 16 closed check-ins, oldest first, as quanta of bytes.
    pub fn sizes_in<'a>(&self, buffer: &'a mut [u16; MAX_SIZES]) -> &'a [u16] {
        self.known_sizes(&self.closed_in, buffer)
    }

    fn known_sizes<'a>(&self, ring: &[u16; MAX_SIZES], buffer: &'a mut [u16; MAX_SIZES]) -> &'a [u16] {
        let mut ordered = *ring;
        ordered.rotate_left(ring_index(self.check_ins - 1) % MAX_SIZES);
        // Places not written yet are unknown, too.
        let known = ordered.into_iter().filter(|&size| size != UNKNOWN_QUANTA);
        let mut count = 0;
        for (free, size) in buffer.iter_mut().zip(known) {
            *free = size;
            count += 1;
        }
        buffer.get(..count).unwrap_or_default()
    }

    /// Medians of the known sizes of closed check-ins; `None` with fewer than three.
    #[must_use]
    pub fn size_medians(&self) -> Option<SizeMedians> {
        let (mut buffer_out, mut buffer_in) = ([0; MAX_SIZES], [0; MAX_SIZES]);
        let (sizes_out, sizes_in) = (self.sizes_out(&mut buffer_out), self.sizes_in(&mut buffer_in));
        if sizes_out.len() < MIN_SAMPLE {
            return None;
        }
        // Nothing and one byte are the same quanta; nothing is the usual case.
        let bytes = |quanta: u16| if quanta == 0 { 0.0 } else { dequantise(quanta) };
        Some(SizeMedians {
            bytes_out: bytes(stats::upper_median(sizes_out)?),
            bytes_in: bytes(stats::upper_median(sizes_in)?),
        })
    }

    /// Starts of the latest check-ins, newest first, at most [`MAX_CALLBACKS`]: the newest is exact, the others are
    /// reconstructed from the quantised intervals and never before the first.
    pub fn recent_callbacks(&self) -> impl Iterator<Item = Timestamp> {
        let mut buffer = [0; MAX_INTERVALS];
        let count = self.ring(&mut buffer).len();
        let (first, newest) = (self.first, self.check_in);
        let mut age = 0.0;
        let earlier = (0..count).rev().map(move |index| {
            let quanta = buffer.get(index).copied().unwrap_or_default();
            age += dequantise(pause_quanta(quanta).unwrap_or(quanta)) * 1e6;
            #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates, as times do")]
            let nanos = age as i64;
            newest.plus_nanos(-nanos).max(first)
        });
        std::iter::once(newest).chain(earlier)
    }

    /// Bytes sent and received by the open check-in and the [`MAX_SIZES`] before it, newest first, where they are known; to
    /// the precision of [quanta](super::stats::quantise). They stand beside [`recent_callbacks`](Self::recent_callbacks).
    pub fn recent_sizes(&self) -> impl Iterator<Item = Option<(u64, u64)>> {
        let open = (self.open_out != UNKNOWN_BYTES).then(|| (self.open_out.into(), self.open_in.into()));
        let bytes = |quanta: u16| match quanta {
            0 => 0,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a size of at most 2^32, never negative"
            )]
            quanta => dequantise(quanta).round() as u64,
        };
        let closed = (0..self.check_ins - 1).rev().take(MAX_SIZES).map(move |check_in| {
            let index = ring_index(check_in) % MAX_SIZES;
            let (out, into) = self.closed_out.get(index).zip(self.closed_in.get(index))?;
            (*out != UNKNOWN_QUANTA).then(|| (bytes(*out), bytes(*into)))
        });
        std::iter::once(open).chain(closed)
    }

    /// What the series is worth when one has to leave, from 0 to 16: callbacks so far (up to 16), less the longer it
    /// is silent in terms of its own mean interval. So a slow series that is not overdue stays (scorer specification
    /// 2.6).
    #[must_use]
    pub fn value(&self, now: Timestamp) -> f64 {
        if self.check_ins < 2 {
            return 0.0;
        }
        let lifetime = nanos_f64(self.check_in.since(self.first));
        let interval = (lifetime / f64::from(self.check_ins - 1)).max(nanos_f64(NANOS_PER_SEC));
        let idle = nanos_f64(now.since(self.last).max(0));
        f64::from(self.check_ins.min(16)) * interval / (interval + idle)
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Series")
            .field("first", &self.first)
            .field("last", &self.last)
            .field("check_ins", &self.check_ins)
            .field("intervals", &self.intervals(&mut [0; MAX_INTERVALS]))
            .finish_non_exhaustive()
    }
}

/// The quanta of a pause, if it is one: the middle of its step.
const fn pause_quanta(kept: u16) -> Option<u16> {
    if kept < PAUSE_BOTTOM { None } else { Some((PAUSE_TOP - kept) * PAUSE_STEP + PAUSE_STEP / 2) }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a float of nanoseconds is exact to a microsecond over a century"
)]
const fn nanos_f64(nanos: i64) -> f64 {
    nanos as f64
}

#[expect(clippy::cast_precision_loss, reason = "sizes are quantised to 0.07 % next")]
const fn bytes_f64(bytes: u64) -> f64 {
    bytes as f64
}

const fn ring_index(count: u32) -> usize {
    count as usize
}

fn quantise_size(bytes: f64) -> u16 {
    quantise(bytes).min(UNKNOWN_QUANTA - 1)
}

fn add_bytes(known: u32, more: u64) -> u32 {
    let sum = u64::from(known).saturating_add(more);
    u32::try_from(sum).unwrap_or(UNKNOWN_BYTES).min(UNKNOWN_BYTES - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::cast_possible_truncation, reason = "test times are small")]
    fn at(secs: f64) -> Timestamp {
        Timestamp::from_nanos((1_700_000_000e9 + secs * 1e9) as i64)
    }

    fn intervals(series: &Series) -> Vec<u16> {
        series.intervals(&mut [0; MAX_INTERVALS]).to_vec()
    }

    fn beacon(period_secs: f64, check_ins: u32) -> Series {
        let mut series = Series::new(at(0.0));
        for i in 1..check_ins {
            series.observe(at(f64::from(i) * period_secs), None);
        }
        series
    }

    #[test]
    fn events_within_a_second_are_one_check_in_however_long_the_chain() {
        let mut series = Series::new(at(0.0));
        for i in 1..1000 {
            assert_eq!(series.observe(at(f64::from(i) * 0.999), None), Update::SameCheckIn);
        }
        assert_eq!((series.check_ins(), series.last_seen()), (1, at(999.0 * 0.999)));
        assert_eq!(series.observe(at(999.0 * 0.999 + 1.0), None), Update::NewCheckIn { evaluate: false });
        assert_eq!(intervals(&series), [quantise((999.0 * 0.999 + 1.0) * 1000.0)], "from start to start");
    }

    #[test]
    fn evaluation_happens_at_the_checkpoints() {
        let mut series = Series::new(at(0.0));
        let mut evaluated = Vec::new();
        for i in 1..=256u32 {
            if series.observe(at(f64::from(i) * 60.0), None) == (Update::NewCheckIn { evaluate: true }) {
                evaluated.push(series.interval_count());
            }
        }
        assert_eq!(evaluated, [3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 128, 192, 256]);
        assert_eq!(series.timing().of, 64);
    }

    #[test]
    fn ring_keeps_the_latest_intervals_in_order() {
        let mut series = Series::new(at(0.0));
        let mut time = 0.0;
        for i in 1..=150 {
            time += 10.0 + f64::from(i);
            series.observe(at(time), None);
        }
        let expected: Vec<u16> = (87..=150).map(|i| quantise((10.0 + f64::from(i)) * 1000.0)).collect();
        assert_eq!(intervals(&series), expected);
    }

    #[test]
    fn late_events_never_make_a_negative_interval() {
        let mut series = beacon(60.0, 3);
        assert_eq!(series.observe(at(119.0), Some((1, 2))), Update::SameCheckIn);
        assert_eq!(series.observe(at(-4000.0), Some((1, 2))), Update::SameCheckIn);
        assert_eq!((series.last_seen(), series.check_ins()), (at(120.0), 3));
        series.observe(at(180.0), None);
        assert_eq!(intervals(&series), [quantise(60_000.0); 3]);
    }

    #[test]
    fn sizes_of_a_check_in_add_up_and_unknown_ones_do_not_count() {
        let mut series = Series::new(at(0.0));
        series.observe(at(0.5), Some((100, 1000)));
        series.observe(at(0.9), Some((50, 0)));
        for i in 1..=5 {
            series.observe(at(f64::from(i) * 60.0), (i % 2 == 0).then_some((300, 0)));
        }
        // Closed check-ins: 150/1000, unknown, 300/0, unknown, 300/0.
        assert_eq!(
            series.sizes_out(&mut [0; MAX_SIZES]),
            [quantise(150.0), quantise(300.0), quantise(300.0)]
        );
        assert_eq!(series.sizes_in(&mut [0; MAX_SIZES]), [quantise(1000.0), 0, 0]);
        let medians = series.size_medians().unwrap();
        assert!((medians.bytes_out - 300.0).abs() < 0.2);
        assert_eq!(medians.bytes_in, 0.0);
        assert_eq!(beacon(60.0, 20).size_medians(), None);
    }

    #[test]
    fn sizes_known_late_find_their_check_in() {
        let mut series = beacon(3600.0, 40);
        for i in (20u32..40).rev() {
            // Sixteen closed check-ins and the open one can be told.
            let found = series.add_sizes(at(f64::from(i) * 3600.0), 1000 + u64::from(i), 77);
            assert_eq!(found, i >= 23, "{i}");
        }
        series.observe(at(40.0 * 3600.0), None);
        let expected: Vec<u16> = (24..40).map(|i| quantise(1000.0 + f64::from(i))).collect();
        assert_eq!(series.sizes_out(&mut [0; MAX_SIZES]), expected);
        assert!(series.add_sizes(at(39.0 * 3600.0 + 0.7), 961, 0), "a second connection of that check-in");
        assert_eq!(series.sizes_out(&mut [0; MAX_SIZES]).last(), Some(&quantise(2000.0)));
    }

    #[test]
    fn enormous_sizes_stay_known() {
        let mut series = Series::new(at(0.0));
        for i in 0..4 {
            series.observe(at(f64::from(i) * 60.0), Some((u64::MAX, u64::from(u32::MAX))));
        }
        series.add_sizes(at(60.0), u64::MAX, u64::MAX);
        assert_eq!(series.sizes_out(&mut [0; MAX_SIZES]).len(), 3);
        assert!(series.size_medians().unwrap().bytes_out > 4e9);
    }

    #[test]
    fn destinations_are_distinct_and_at_most_six() {
        let mut series = Series::new(at(0.0));
        for fingerprint in [5, 5, 0, 9, 5, 1, 2, 3, 4, 8] {
            series.note_destination(fingerprint);
        }
        assert_eq!(series.destinations(), [5, 0, 9, 1, 2, 3]);
    }

    #[test]
    fn recent_callbacks_are_close_to_the_real_ones() {
        let callbacks: Vec<Timestamp> = beacon(60.0, 100).recent_callbacks().collect();
        assert_eq!((callbacks.len(), callbacks[0]), (65, at(99.0 * 60.0)));
        for (i, time) in callbacks.iter().enumerate() {
            let (age, expected) = (callbacks[0].since(*time) as f64, i as f64 * 60e9);
            assert!((age - expected).abs() <= expected * QUANTISING_ERROR + 1.0, "{i}");
        }
        assert_eq!(beacon(60.0, 3).recent_callbacks().last(), Some(at(0.0)));
    }

    #[test]
    fn recent_sizes_stand_beside_their_callbacks() {
        let mut series = Series::new(at(0.0));
        for call in 1..40u32 {
            let sizes = (call % 5 != 0).then_some((u64::from(call) * 100, 0));
            series.observe(at(f64::from(call) * 60.0), sizes);
        }
        let sizes: Vec<_> = series.recent_sizes().collect();
        assert_eq!((sizes.len(), sizes[0], sizes[4]), (MAX_SIZES + 1, Some((3900, 0)), None));
        let (out, into) = sizes[MAX_SIZES].unwrap();
        assert!(out.abs_diff(2300) <= 2 && into == 0, "{out}");
        assert_eq!(Series::new(at(0.0)).recent_sizes().collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn value_falls_with_silence_in_terms_of_the_own_interval() {
        let slow = beacon(4.0 * 3600.0, 5);
        let fast = beacon(1.0, 5);
        let now = at(4.0 * 4.0 * 3600.0 + 600.0);
        assert!((slow.value(slow.last_seen()) - 5.0).abs() < 1e-9);
        assert!(slow.value(now) > 4.5 && fast.value(now) < 0.01);
        assert_eq!(Series::new(at(0.0)).value(now), 0.0);
        assert_eq!(beacon(60.0, 100).value(at(0.0)), 16.0, "a time before the last event is no silence");
    }

    proptest! {
        #[test]
        fn any_times_and_sizes_are_taken(events in prop::collection::vec((any::<i64>(), any::<bool>(), any::<u64>(), any::<u64>()), 0..200)) {
            let mut series = Series::new(Timestamp::from_nanos(events.first().map_or(0, |event| event.0)));
            for (nanos, known, bytes_out, bytes_in) in events {
                let time = Timestamp::from_nanos(nanos);
                series.observe(time, known.then_some((bytes_out, bytes_in)));
                series.add_sizes(time, bytes_in, bytes_out);
                let value = series.value(time);
                prop_assert!((0.0..=16.0).contains(&value));
            }
            let timing = series.timing();
            prop_assert!(timing.bans.is_finite());
            let callbacks: Vec<Timestamp> = series.recent_callbacks().collect();
            prop_assert!(callbacks.is_sorted_by(|a, b| a >= b) && callbacks.len() <= MAX_CALLBACKS);
            prop_assert!(callbacks.iter().all(|time| *time >= series.first_seen()));
        }
    }
}

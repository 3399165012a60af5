//! What is done when a disk is there again: one that was full or failed is tried, so that health does not go on complaining
//! with nothing to write, and what waited in memory while it was away comes to it.

use std::io;

use super::counts::Fate;
use super::{LANES, Spool, pick};

/// Is written to see whether there is room, and deleted.
pub(super) const PROBE: &str = "probe";
/// Written at once to it.
const PROBE_BYTES: usize = 64 << 10;
/// Records, and bytes of records, that are moved at once.
const MOVED: (usize, usize) = (256, 1 << 20);

impl Spool {
    /// Where the disk did not take what it should: gives back what is done, and sees whether it takes something now.
    pub fn try_disk_again(&mut self) {
        if self.failure.is_none() || !self.dirty.is_empty() {
            return;
        }
        self.remove_done(true);
        if self.probe(PROBE_BYTES as u64).is_ok() {
            self.works();
        }
    }

    /// Whether the disk takes so many bytes more.
    ///
    /// # Errors
    /// Why it does not.
    pub fn probe(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.create(PROBE)?;
        let zeros = vec![0; PROBE_BYTES];
        let done = (0..bytes)
            .step_by(PROBE_BYTES)
            .try_for_each(|at| super::disk::write_all(self.disk.as_mut(), PROBE, at, &zeros))
            .and_then(|()| self.disk.sync(PROBE));
        let removed = self.disk.remove(PROBE);
        done.and(removed)
    }

    /// Takes over the account of another, and what waits there, behind what waits here.
    ///
    /// # Errors
    /// When what waits there cannot be read; this one is then as it was.
    pub fn adopt(&mut self, other: &mut Self) -> io::Result<()> {
        other.rewind();
        let mut moved = Vec::new();
        while other.has_untaken() {
            let more = other.take(MOVED.0, MOVED.1)?;
            if more.is_empty() {
                break;
            }
            moved.extend(more);
        }
        for (which, counts) in LANES.map(|which| (which, other.lane(which).counts())) {
            let lane = pick(&mut self.lanes, which);
            let dropped = counts.dropped.iter().map(|(cause, count)| (Fate::Dropped(*cause), *count));
            let ended = [(Fate::Acknowledged, counts.acknowledged), (Fate::Dead, counts.dead)];
            for (fate, count) in ended.into_iter().chain(dropped).filter(|(_, count)| *count > 0) {
                let from = lane.next;
                lane.next += count;
                lane.settle(from, lane.next, fate);
            }
            // The next record does not follow on the last one.
            lane.retire();
        }
        self.unsaved = true;
        for one in moved {
            // Why there was no room is counted.
            let _ = self.append(&one.record);
        }
        self.sync()
    }
}

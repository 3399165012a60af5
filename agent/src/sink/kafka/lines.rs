//! Sequence numbers: by them a broker knows a batch that it has already, as long as it comes again exactly as it was.
//!
//! So a batch whose fate is not known is remembered by the ids of its records, one for each partition, and is put together
//! again before anything else goes to that partition. Where that cannot be, as after a restart, a new producer id is taken:
//! what had arrived unnoticed arrives twice then, under the same id in its header.

use std::collections::HashMap;

use sonde_common::record::Record;

use super::batch::Stamp;

/// The state of a producer.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    producer: Option<(i64, i16)>,
    /// By partition; as many as the topic has.
    lines: HashMap<i32, Line>,
}

/// One partition's.
#[derive(Clone, Debug)]
struct Line {
    /// The number of the next record.
    next: i32,
    /// Records of the batch whose fate is not known; it begins at `next`.
    pending: Vec<String>,
    /// Most records of a batch, after one was too large.
    most: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { next: 0, pending: Vec::new(), most: usize::MAX }
    }
}

impl Lines {
    /// Whether a producer id is wanted.
    pub(super) const fn is_nameless(&self) -> bool {
        self.producer.is_none()
    }

    /// Begins anew under an id.
    pub(super) fn named(&mut self, id: i64, epoch: i16) {
        self.forget();
        self.producer = Some((id, epoch));
    }

    /// Gives the id up, with all that was counted below it. How large batches may be is remembered.
    pub(super) fn forget(&mut self) {
        self.producer = None;
        for line in self.lines.values_mut() {
            line.next = 0;
            line.pending.clear();
        }
    }

    /// Which of a partition's records (places in the batch, in order) are to be sent next; `None`: what is pending is not
    /// among them, so that a new id is wanted.
    pub(super) fn choose(&self, partition: i32, group: &[usize], batch: &[Record]) -> Option<Vec<usize>> {
        let Some(line) = self.lines.get(&partition) else { return Some(group.to_vec()) };
        if line.pending.is_empty() {
            return Some(group.iter().copied().take(line.most).collect());
        }
        let by_id: HashMap<&str, usize> =
            group.iter().filter_map(|at| batch.get(*at).map(|record| (record.id.as_str(), *at))).collect();
        line.pending.iter().map(|id| by_id.get(id.as_str()).copied()).collect()
    }

    /// Notes that these go out now, and says under which number.
    pub(super) fn begin(&mut self, partition: i32, records: &[&Record]) -> Option<Stamp> {
        let (producer, epoch) = self.producer?;
        let line = self.lines.entry(partition).or_default();
        line.pending = records.iter().map(|record| record.id.clone()).collect();
        Some(Stamp { producer, epoch, sequence: line.next })
    }

    /// They are there.
    pub(super) fn acknowledged(&mut self, partition: i32) {
        if let Some(line) = self.lines.get_mut(&partition) {
            let count = i32::try_from(line.pending.len()).unwrap_or_default();
            // Behind the greatest number comes 0.
            line.next = line.next.wrapping_add(count) & i32::MAX;
            line.pending.clear();
            line.most = line.most.saturating_mul(2);
        }
    }

    /// They were refused: their numbers are free again. Of more than one only half is tried next.
    pub(super) fn refused(&mut self, partition: i32) {
        if let Some(line) = self.lines.get_mut(&partition) {
            line.most = (line.pending.len() / 2).max(1);
            line.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use sonde_common::alert::Severity;
    use sonde_common::record::Kind;
    use sonde_common::time::Timestamp;

    use super::*;

    fn records(ids: &[&str]) -> Vec<Record> {
        let record = |id: &&str| Record {
            kind: Kind::Alert,
            id: (*id).to_owned(),
            key: String::new(),
            time: Timestamp::from_nanos(0),
            severity: Severity::High,
            body: Vec::new(),
        };
        ids.iter().map(record).collect()
    }

    fn begin(lines: &mut Lines, partition: i32, batch: &[Record], chosen: &[usize]) -> i32 {
        let chosen: Vec<&Record> = chosen.iter().map(|at| &batch[*at]).collect();
        lines.begin(partition, &chosen).unwrap().sequence
    }

    #[test]
    fn a_batch_of_unknown_fate_comes_again_as_it_was_and_under_its_number() {
        let mut lines = Lines::default();
        assert!(lines.is_nameless());
        lines.named(7, 0);
        let batch = records(&["a", "b", "c"]);
        assert_eq!(begin(&mut lines, 0, &batch, &[0, 1]), 0);
        lines.acknowledged(0);
        assert_eq!(begin(&mut lines, 0, &batch, &[2]), 2);
        // Nothing was heard. The next call brings other records before and behind it.
        let batch = records(&["x", "c", "d"]);
        let chosen = lines.choose(0, &[0, 1, 2], &batch).unwrap();
        assert_eq!(chosen, [1]);
        assert_eq!(begin(&mut lines, 0, &batch, &chosen), 2);
        lines.acknowledged(0);
        assert_eq!(lines.choose(0, &[0, 2], &batch), Some(vec![0, 2]));
        assert_eq!(begin(&mut lines, 0, &batch, &[0, 2]), 3);
        // Another partition counts for itself.
        assert_eq!(begin(&mut lines, 5, &batch, &[0]), 0);
    }

    #[test]
    fn what_cannot_be_put_together_again_wants_a_new_id() {
        let mut lines = Lines::default();
        lines.named(7, 0);
        let batch = records(&["a", "b"]);
        begin(&mut lines, 0, &batch, &[0, 1]);
        assert_eq!(lines.choose(0, &[0], &records(&["a"])), None);
        lines.forget();
        assert!(lines.is_nameless() && lines.begin(0, &[]).is_none());
        lines.named(8, 0);
        assert_eq!(lines.choose(0, &[0], &records(&["a"])), Some(vec![0]));
        assert_eq!(begin(&mut lines, 0, &batch, &[0]), 0);
    }

    #[test]
    fn a_refused_batch_is_halved_until_the_one_is_found() {
        let mut lines = Lines::default();
        lines.named(7, 0);
        let batch = records(&["a", "b", "c", "d", "e"]);
        let all: Vec<usize> = (0..5).collect();
        begin(&mut lines, 0, &batch, &all);
        lines.refused(0);
        assert_eq!(lines.choose(0, &all, &batch), Some(vec![0, 1]));
        assert_eq!(begin(&mut lines, 0, &batch, &[0, 1]), 0);
        lines.refused(0);
        assert_eq!(lines.choose(0, &all, &batch), Some(vec![0]));
        assert_eq!(begin(&mut lines, 0, &batch, &[0]), 0);
        lines.acknowledged(0);
        assert_eq!(lines.choose(0, &[1, 2, 3, 4], &batch), Some(vec![1, 2]));
    }

    #[test]
    fn numbers_go_round() {
        let mut lines = Lines::default();
        lines.named(7, 0);
        let batch = records(&["a", "b", "c"]);
        begin(&mut lines, 0, &batch, &[0]);
        lines.lines.get_mut(&0).unwrap().next = i32::MAX - 1;
        assert_eq!(begin(&mut lines, 0, &batch, &[0, 1, 2]), i32::MAX - 1);
        lines.acknowledged(0);
        assert_eq!(begin(&mut lines, 0, &batch, &[0]), 1);
    }
}

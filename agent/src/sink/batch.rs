//! A batch under way to a server that may take it only in parts: which records are still to be sent, and what became of the
//! others.

use std::collections::VecDeque;
use std::ops::Range;

use super::{Delivery, Outcome};

/// A batch of which parts are sent one after the other.
#[derive(Debug)]
pub(super) struct Parts {
    outcomes: Vec<Option<Outcome>>,
    todo: VecDeque<Range<usize>>,
}

impl Parts {
    /// All of a batch, as one part.
    pub(super) fn of(count: usize) -> Self {
        let todo = if count == 0 { VecDeque::new() } else { VecDeque::from([0..count]) };
        Self { outcomes: vec![None; count], todo }
    }

    /// The indices of the next part, without those whose outcome is known.
    pub(super) fn next(&mut self) -> Option<Vec<usize>> {
        while let Some(range) = self.todo.pop_front() {
            let open: Vec<_> =
                range.filter(|at| self.outcomes.get(*at).is_some_and(Option::is_none)).collect();
            if !open.is_empty() {
                return Some(open);
            }
        }
        None
    }

    /// Says what became of a record.
    pub(super) fn set(&mut self, at: usize, outcome: Outcome) {
        if let Some(slot) = self.outcomes.get_mut(at) {
            *slot = Some(outcome);
        }
    }

    /// Says the same of several.
    pub(super) fn set_all(&mut self, part: &[usize], outcome: &Outcome) {
        for at in part {
            self.set(*at, outcome.clone());
        }
    }

    /// Sends a part again, without what is known by now.
    pub(super) fn again(&mut self, part: &[usize]) {
        if let (Some(first), Some(last)) = (part.first(), part.last()) {
            self.todo.push_front(*first..last + 1);
        }
    }

    /// Sends a part again in two halves; `false`: it is a single record, and cannot be halved.
    pub(super) fn halve(&mut self, part: &[usize]) -> bool {
        let (first, second) = part.split_at(part.len() / 2);
        if first.is_empty() {
            return false;
        }
        self.again(second);
        self.again(first);
        true
    }

    /// Ends: what is not known yet is tried again later, for this reason.
    pub(super) fn rest(&mut self, reason: &str) {
        self.todo.clear();
        for slot in &mut self.outcomes {
            slot.get_or_insert_with(|| Outcome::Retry(reason.to_owned()));
        }
    }

    /// What became of all.
    pub(super) fn delivery(mut self, retry_after: Option<std::time::Duration>, said: String) -> Delivery {
        self.rest("it was not sent");
        Delivery { outcomes: self.outcomes.into_iter().flatten().collect(), retry_after, said }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_come_in_order_and_each_record_ends_once() {
        let mut parts = Parts::of(5);
        let all = parts.next().unwrap();
        assert!(parts.halve(&all));
        assert_eq!(parts.next().unwrap(), [0, 1]);
        parts.set_all(&[0, 1], &Outcome::Acknowledged);
        let second = parts.next().unwrap();
        assert_eq!(second, [2, 3, 4]);
        parts.set(3, Outcome::Refused("bad".into()));
        parts.again(&second);
        assert_eq!(parts.next().unwrap(), [2, 4]);
        assert!(!parts.halve(&[2]), "one record has no halves");
        assert_eq!(parts.next(), None);
        let delivery = parts.delivery(None, String::new());
        let retry = Outcome::Retry("it was not sent".into());
        assert_eq!(delivery.outcomes[1..4], [Outcome::Acknowledged, retry, Outcome::Refused("bad".into())]);
        assert_eq!(delivery.outcomes.len(), 5);
        assert_eq!(Parts::of(0).next(), None);
    }
}

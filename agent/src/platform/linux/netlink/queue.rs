//! What a thread found, until the sensor drains it: bounded, and what had no room is counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A bounded queue. What comes when it is full is dropped: what waits already has its place in the order of time.
#[derive(Debug)]
pub(super) struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    capacity: usize,
    lost: AtomicU64,
}

impl<T> Queue<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { items: Mutex::default(), capacity, lost: AtomicU64::new(0) }
    }

    pub(super) fn push(&self, item: T) {
        let mut items = lock(&self.items);
        if items.len() >= self.capacity {
            self.count_lost(1);
        } else {
            items.push_back(item);
        }
    }

    /// Takes all that waits.
    pub(super) fn take(&self) -> VecDeque<T> {
        std::mem::take(&mut *lock(&self.items))
    }

    pub(super) fn count_lost(&self, n: u64) {
        self.lost.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Locks, also after a thread panicked while it held the lock: what is guarded here is whole after every step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_counts_what_it_drops() {
        let queue = Queue::new(2);
        (0..5).for_each(|n| queue.push(n));
        assert_eq!((queue.take(), queue.lost()), (VecDeque::from([0, 1]), 3));
        queue.push(9);
        assert_eq!(queue.take(), [9]);
    }
}

//! Counts bytes against a limit. It measures what input can make grow, not what the allocator really does.

/// Bytes used, of so many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    used: usize,
    limit: usize,
}

impl Budget {
    pub(super) const fn new(limit: usize) -> Self {
        Self { used: 0, limit }
    }

    /// Takes so many bytes; false, and nothing taken, if that is more than is left.
    pub(super) const fn take(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.limit.saturating_sub(self.used);
        if fits {
            self.used += bytes;
        }
        fits
    }

    /// Gives back what was taken.
    pub(super) const fn give_back(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }
}

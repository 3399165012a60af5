//! Networks -> tags, frozen: for an address the longest prefix, and those around it.
//!
//! Nested networks are laid flat: the address space is cut where a network begins or ends, and each piece knows the smallest
//! network that holds it. A look-up is one binary search over the pieces; networks know which one is around them.

use super::exact::MAX_PER_KEY;

/// From so many pieces on, the search begins among those with the address's first sixteen bits. The places of these take a
/// quarter of a megabyte, no more than the pieces do.
const MANY_PIECES: usize = 32_768;
/// No network.
const NONE: u32 = u32::MAX;

/// An address as a number.
pub(super) trait Number: Copy + Ord {
    /// The last address of the network that begins here.
    fn last(self, prefix: u8) -> Self;
    /// The address behind this one, if there is one.
    fn next(self) -> Option<Self>;
    /// Its first sixteen bits.
    fn top(self) -> usize;
}

impl Number for u32 {
    fn last(self, prefix: u8) -> Self {
        self | Self::MAX.checked_shr(prefix.into()).unwrap_or(0)
    }

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn top(self) -> usize {
        (self >> 16) as usize
    }
}

impl Number for u128 {
    fn last(self, prefix: u8) -> Self {
        self | Self::MAX.checked_shr(prefix.into()).unwrap_or(0)
    }

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }

    fn top(self) -> usize {
        usize::try_from(self >> 112).unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug)]
struct Network<N> {
    start: N,
    prefix: u8,
    /// The smallest network around it.
    parent: u32,
    /// Where its tags begin; they end where those of the next begin.
    tags: u32,
}

/// What one network takes: itself, its tag, and two pieces with their part of the places of first bits.
pub(super) const fn bytes_per_network<N>() -> usize {
    // At most eight bytes for each piece are places of first bits.
    size_of::<Network<N>>() + 4 + 2 * (size_of::<N>() + 4 + 8)
}

/// Frozen networks.
#[derive(Debug)]
pub(super) struct Ranges<N> {
    /// Where the pieces begin…
    starts: Box<[N]>,
    /// …and the smallest network that holds each.
    owners: Box<[u32]>,
    /// For each first sixteen bits, how many pieces begin below them, and the number of all; empty where they are few.
    jumps: Box<[u32]>,
    networks: Box<[Network<N>]>,
    tags: Box<[u32]>,
}

impl<N> Default for Ranges<N> {
    fn default() -> Self {
        Self {
            starts: Box::default(),
            owners: Box::default(),
            jumps: Box::default(),
            networks: Box::default(),
            tags: Box::default(),
        }
    }
}

impl<N: Number> Ranges<N> {
    /// Freezes networks (address with the bits behind the prefix zero, prefix, tag); of several entries for one the best by
    /// `rank` (least first) are kept. Returns how many were let go of.
    pub(super) fn of<R: Ord>(mut entries: Vec<(N, u8, u32)>, rank: impl Fn(u32) -> R) -> (Self, u64) {
        // What is around comes before what is inside.
        entries.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| rank(a.2).cmp(&rank(b.2))));
        let before = entries.len();
        let mut networks: Vec<Network<N>> = Vec::new();
        let mut tags: Vec<u32> = Vec::new();
        for (start, prefix, tag) in entries {
            let place = u32::try_from(tags.len()).unwrap_or(NONE);
            match networks.last() {
                Some(last) if last.start == start && last.prefix == prefix => {
                    let of_key = tags.get(last.tags as usize..).unwrap_or_default();
                    if of_key.len() >= MAX_PER_KEY || of_key.contains(&tag) {
                        continue;
                    }
                }
                _ => networks.push(Network { start, prefix, parent: NONE, tags: place }),
            }
            tags.push(tag);
        }
        let dropped = (before - tags.len()) as u64;
        let mut this = Self { tags: tags.into(), ..Self::default() };
        this.lay_flat(networks);
        (this, dropped)
    }

    fn lay_flat(&mut self, mut networks: Vec<Network<N>>) {
        let mut pieces: Vec<(N, u32)> = Vec::with_capacity(networks.len() * 2);
        let mut cut = |at: N, owner: u32| match pieces.last_mut() {
            Some(last) if last.0 == at => last.1 = owner,
            _ => pieces.push((at, owner)),
        };
        // The networks that are open, with their last addresses, outermost first.
        let mut open: Vec<(N, u32)> = Vec::new();
        let close = |open: &mut Vec<(N, u32)>, cut: &mut dyn FnMut(N, u32)| {
            if let Some((last, _)) = open.pop()
                && let Some(behind) = last.next()
            {
                cut(behind, open.last().map_or(NONE, |(_, owner)| *owner));
            }
        };
        for (number, network) in networks.iter_mut().enumerate() {
            while open.last().is_some_and(|(last, _)| *last < network.start) {
                close(&mut open, &mut cut);
            }
            let number = u32::try_from(number).unwrap_or(NONE);
            network.parent = open.last().map_or(NONE, |(_, owner)| *owner);
            cut(network.start, number);
            open.push((network.start.last(network.prefix), number));
        }
        while !open.is_empty() {
            close(&mut open, &mut cut);
        }
        self.starts = pieces.iter().map(|(start, _)| *start).collect();
        self.owners = pieces.iter().map(|(_, owner)| *owner).collect();
        self.networks = networks.into();
        if self.starts.len() >= MANY_PIECES {
            let mut jumps = vec![0u32; (1 << 16) + 1];
            for start in &self.starts {
                if let Some(count) = jumps.get_mut(start.top() + 1) {
                    *count += 1;
                }
            }
            let mut sum = 0;
            for count in &mut jumps {
                sum += *count;
                *count = sum;
            }
            self.jumps = jumps.into();
        }
    }

    /// How many pieces begin at or below the address.
    #[inline]
    fn pieces_to(&self, address: N) -> usize {
        let top = address.top();
        let (from, to) = match (self.jumps.get(top), self.jumps.get(top + 1)) {
            (Some(from), Some(to)) => (*from as usize, *to as usize),
            _ => (0, self.starts.len()),
        };
        let near = self.starts.get(from..to).unwrap_or_default();
        from + near.partition_point(|start| *start <= address)
    }

    /// Calls `found` with each network that holds the address, smallest first: its address, prefix and tag.
    #[inline]
    pub(super) fn get(&self, address: N, found: &mut impl FnMut(N, u8, u32)) {
        let piece = self.pieces_to(address);
        let owner = piece.checked_sub(1).and_then(|piece| self.owners.get(piece));
        let mut next = owner.copied().unwrap_or(NONE);
        while let Some(network) = self.networks.get(next as usize) {
            let end = self.networks.get(next as usize + 1).map_or(self.tags.len(), |next| next.tags as usize);
            for tag in self.tags.get(network.tags as usize..end).unwrap_or_default() {
                found(network.start, network.prefix, *tag);
            }
            next = network.parent;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tags.len()
    }

    /// Bytes on the heap.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.starts)
            + size_of_val(&*self.owners)
            + size_of_val(&*self.jumps)
            + size_of_val(&*self.networks)
            + size_of_val(&*self.tags)
    }
}

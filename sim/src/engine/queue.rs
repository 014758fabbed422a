//! The queue of events, in the order of their moments and, within one, of their making.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// What is to happen. Links are named by index and generation: news of a dead one is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes or the end sent by `side` arrive.
    Arrive(At),
    /// The writer at `side` learns that there is room.
    Room(At),
    /// The first packet of a dial reaches the host dialled.
    Syn(At),
    /// Its answer reaches the dialler.
    SynAck(At),
    /// The answer to that reaches the host dialled.
    Ack(At),
    /// The dialler learns that it was refused.
    Refusal(At),
    /// A reset reaches `side`.
    Reset(At),
    /// A host's timer.
    Timer {
        host: u16,
        /// Only the last one that was armed counts.
        stamp: u32,
    },
    /// A host's commit ends.
    Commit {
        host: u16,
        /// Only the last one that began counts.
        stamp: u32,
    },
    /// A host looks at the queue of a door.
    Accept { host: u16, door: u8 },
}

/// A side of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) link: u32,
    pub(super) generation: u32,
    pub(super) side: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    at: u64,
    sequence: u64,
    kind: Kind,
}

impl Ord for Entry {
    /// The earliest is the greatest, as the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Events to come.
#[derive(Debug)]
pub(super) struct Queue {
    heap: BinaryHeap<Entry>,
    sequence: u64,
}

impl Queue {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            heap: BinaryHeap::with_capacity(capacity),
            sequence: 0,
        }
    }

    #[inline]
    pub(super) fn push(&mut self, at: u64, kind: Kind) {
        let sequence = self.sequence;
        self.sequence += 1;
        self.heap.push(Entry { at, sequence, kind });
    }

    #[inline]
    pub(super) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|entry| entry.at)
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Kind> {
        self.heap.pop().map(|entry| entry.kind)
    }
}

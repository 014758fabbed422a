//! What a driver knows of a machine's connections and listeners.

use super::rule::Rule;
use crate::{Conn, Door};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// How far a machine is in the life of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Also of a handle that was never given out.
    Dead,
    Dialling,
    Open,
    /// The peer sends no more.
    Finished,
}

/// One slot.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// `None` until the slot was used.
    generation: Option<u32>,
    pub(super) stage: Stage,
    pub(super) paused: bool,
    /// A `Send` was polled, and bytes have been pending since.
    pub(super) announced: bool,
    /// A `Send` was polled since the last drain, and nothing was pending.
    pub(super) idle: bool,
    /// Bytes were sent since the last drain.
    pub(super) sent: bool,
    /// The first of the bytes pending, as they were when last looked at.
    pub(super) shown: Vec<u8>,
}

impl Entry {
    const fn new() -> Self {
        Self {
            generation: None,
            stage: Stage::Dead,
            paused: false,
            announced: false,
            idle: false,
            sent: false,
            shown: Vec::new(),
        }
    }
}

/// The most slots that are given out in actions that were not polled yet: what lies further ahead
/// is no dense handle.
const AHEAD: usize = 1024;

/// The connections by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    /// How many of them were ever used.
    used: usize,
}

impl Table {
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The connection that holds a slot.
    pub(super) fn at(&self, slot: usize) -> Option<Conn> {
        let entry = self.entries.get(slot)?;
        let generation = entry.generation.filter(|_| entry.stage != Stage::Dead)?;
        Some(Conn::new(u32::try_from(slot).ok()?, generation))
    }

    #[inline]
    pub(super) fn stage(&self, conn: Conn) -> Stage {
        match self.entries.get(conn.slot()) {
            Some(entry) if entry.generation == Some(conn.generation()) => entry.stage,
            Some(_) | None => Stage::Dead,
        }
    }

    /// The entry of a connection that is not dead.
    #[inline]
    pub(super) fn get(&mut self, conn: Conn) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(conn.slot())?;
        (entry.generation == Some(conn.generation()) && entry.stage != Stage::Dead).then_some(entry)
    }

    /// A machine names a new connection. It is noted unless its slot lies too far ahead.
    pub(super) fn begin(&mut self, conn: Conn, stage: Stage) -> Result<(), (Rule, String)> {
        let slot = conn.slot();
        let known = self.entries.len();
        if slot > known + AHEAD {
            let detail = format!("it named a connection {conn}, and used {known} slots before");
            return Err((Rule::SlotsNotDense, detail));
        }
        if known <= slot {
            self.entries.resize_with(slot + 1, Entry::new);
        }
        let before = self.at(slot);
        let entry = &mut self.entries[slot];
        let last = entry.generation;
        self.used += usize::from(last.is_none());
        entry.generation = Some(conn.generation());
        entry.stage = stage;
        entry.paused = false;
        entry.announced = false;
        entry.idle = false;
        entry.sent = false;
        entry.shown.clear();
        if let Some(before) = before {
            let detail = format!("it named a connection {conn} while {before} is open");
            return Err((Rule::SlotInUse, detail));
        }
        match last {
            Some(last) if last >= conn.generation() => {
                let detail = format!("it named a connection {conn} after {slot}.{last}");
                Err((Rule::GenerationReused, detail))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The lowest slot that was passed over, if one was. It counts as used from now on.
    pub(super) fn passed_over(&mut self) -> Option<usize> {
        if self.used >= self.entries.len() {
            return None;
        }
        self.used = self.entries.len();
        self.entries.iter().position(|e| e.generation.is_none())
    }

    /// Every handle is dead.
    pub(super) fn end_all(&mut self) {
        for entry in &mut self.entries {
            entry.stage = Stage::Dead;
        }
    }

    pub(super) fn entry(&mut self, slot: usize) -> &mut Entry {
        &mut self.entries[slot]
    }
}

/// A set of listeners.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Listeners([u64; 4]);

impl Listeners {
    const fn place(door: Door) -> (usize, u64) {
        (door.0 as usize / 64, 1 << (door.0 % 64))
    }

    pub(super) const fn contains(self, door: Door) -> bool {
        let (word, bit) = Self::place(door);
        self.0[word] & bit != 0
    }

    /// False if it was in the set.
    pub(super) const fn insert(&mut self, door: Door) -> bool {
        let (word, bit) = Self::place(door);
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    /// False if it was not in the set.
    pub(super) const fn remove(&mut self, door: Door) -> bool {
        let (word, bit) = Self::place(door);
        let known = self.0[word] & bit != 0;
        self.0[word] &= !bit;
        known
    }

    /// Takes the lowest out of the set.
    pub(super) fn pop(&mut self) -> Option<Door> {
        let word = self.0.iter().position(|word| *word != 0)?;
        let bit = self.0[word].trailing_zeros();
        self.0[word] &= self.0[word] - 1;
        u8::try_from(word as u32 * 64 + bit).ok().map(Door)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_listeners_gives_them_back_ascending() {
        let mut set = Listeners::default();
        for door in [255, 0, 64, 63] {
            assert!(set.insert(Door(door)));
        }
        assert!(!set.insert(Door(64)));
        assert!(set.remove(Door(0)) && !set.remove(Door(0)) && !set.contains(Door(0)));
        let all: Vec<_> = core::iter::from_fn(|| set.pop()).collect();
        assert_eq!(all, [Door(63), Door(64), Door(255)]);
    }
}

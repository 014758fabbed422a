//! What a driver takes from a machine, to be made durable at once.

use crate::format::{OVERHEAD, encode_header, encode_record};
use alloc::vec::Vec;
use chatroom_machine::{Machine, Volume, VolumeId, VolumeKind};

/// Bytes from which on a batch takes no further record.
const BATCH: usize = 4 << 20;

/// Records to be made durable together, and what may be discarded after that.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) parts: Vec<Part>,
}

/// What a batch does to one volume.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) volume: VolumeId,
    pub(crate) kind: VolumeKind,
    /// The number of the first record.
    pub(crate) first: u64,
    /// How many records: none if there is only something to discard.
    pub(crate) count: usize,
    /// As they go into the file: a log's records, or a snapshot's whole file.
    pub(crate) bytes: Vec<u8>,
    pub(crate) discard: Option<u64>,
}

impl Batch {
    /// Bytes that go into files.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes.len()).sum()
    }

    /// By volume, how many records there are and the number of the first.
    pub fn records(&self) -> impl Iterator<Item = (VolumeId, u64, usize)> {
        let parts = self.parts.iter().filter(|part| part.count > 0);
        parts.map(|part| (part.volume, part.first, part.count))
    }
}

/// A driver's book of a machine's volumes: which have unsaved records, and what number the next
/// one gets. One batch is under way at a time; what is unsaved meanwhile goes into the next, which
/// is all there is to group commit.
#[derive(Debug, Default)]
pub struct Intake {
    volumes: Vec<State>,
    busy: bool,
    /// Buffers of former batches.
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct State {
    volume: Volume,
    next: u64,
    unsaved: bool,
    discard: Option<u64>,
}

impl Intake {
    /// A book of the volumes of a machine, in which nothing was stored yet.
    #[must_use]
    pub fn new(volumes: &[Volume]) -> Self {
        let state = |volume: &Volume| State {
            volume: *volume,
            next: 0,
            unsaved: false,
            discard: None,
        };
        Self {
            volumes: volumes.iter().map(state).collect(),
            busy: false,
            spare: Vec::new(),
        }
    }

    /// Takes down that the next record of a volume has this number, as was found in its files.
    pub fn set_next(&mut self, volume: VolumeId, next: u64) {
        if let Some(state) = self.volumes.get_mut(volume.index()) {
            state.next = next;
        }
    }

    /// Takes down an [`Action::Store`](chatroom_machine::Action::Store); `false` if there is no
    /// such volume.
    pub fn store(&mut self, volume: VolumeId) -> bool {
        let state = self.volumes.get_mut(volume.index());
        state.map(|state| state.unsaved = true).is_some()
    }

    /// Takes down an [`Action::Discard`](chatroom_machine::Action::Discard); `false` if there is
    /// no such volume, or it is no log, or the record was not stored yet.
    pub fn discard(&mut self, volume: VolumeId, through: u64) -> bool {
        match self.volumes.get_mut(volume.index()) {
            Some(state) if state.volume.kind == VolumeKind::Log && through < state.next => {
                state.discard = state.discard.max(Some(through));
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether a batch is under way.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.busy
    }

    /// Whether [`take`](Intake::take) has something to give.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.busy
            && self
                .volumes
                .iter()
                .any(|state| state.unsaved || state.discard.is_some())
    }

    /// The next batch: all that is unsaved, up to some 4 MiB. `None` if there is nothing, or one is
    /// under way.
    pub fn take<M: Machine + ?Sized>(&mut self, machine: &M) -> Option<Batch> {
        if !self.is_ready() {
            return None;
        }
        let mut batch = Batch::default();
        for (id, state) in (0..).map(VolumeId).zip(&mut self.volumes) {
            let mut part = Part {
                volume: id,
                kind: state.volume.kind,
                first: state.next,
                count: 0,
                bytes: Vec::new(),
                discard: state.discard.take(),
            };
            if state.unsaved {
                part.bytes = self.spare.pop().unwrap_or_default();
                match state.volume.kind {
                    VolumeKind::Log => state.unsaved = !part.fill(machine),
                    VolumeKind::Snapshot => {
                        state.unsaved = false;
                        part.replace(machine, &state.volume);
                    }
                }
            }
            if part.count > 0 || part.discard.is_some() {
                batch.parts.push(part);
            } else {
                self.spare.push(part.bytes);
            }
        }
        self.busy = !batch.parts.is_empty();
        self.busy.then_some(batch)
    }

    /// Ends a batch that was made durable, and gives for each volume how many records are to be
    /// reported with [`Machine::handle_stored`]. After that call, [`recheck`](Intake::recheck).
    pub fn finish(&mut self, batch: Batch) -> Vec<(VolumeId, usize)> {
        self.busy = false;
        let mut stored = Vec::with_capacity(batch.parts.len());
        for mut part in batch.parts {
            if part.count > 0 {
                stored.push((part.volume, part.count));
            }
            if let Some(state) = self.volumes.get_mut(part.volume.index()) {
                state.next += part.count as u64;
            }
            if part.bytes.capacity() > 0 && part.bytes.capacity() <= 2 * BATCH {
                part.bytes.clear();
                self.spare.push(part.bytes);
            }
        }
        stored
    }

    /// Looks whether a volume has further unsaved records: a machine says so only of one that had
    /// none.
    pub fn recheck<M: Machine + ?Sized>(&mut self, machine: &M, volume: VolumeId) {
        if let Some(state) = self.volumes.get_mut(volume.index()) {
            state.unsaved |= machine.unsaved(volume, 0).is_some();
        }
    }
}

impl Part {
    /// Takes unsaved records of a log; whether it took all.
    fn fill<M: Machine + ?Sized>(&mut self, machine: &M) -> bool {
        while self.bytes.len() < BATCH {
            let Some(record) = machine.unsaved(self.volume, self.count) else {
                return true;
            };
            if self.count > 0 && self.bytes.len() + record.len() + OVERHEAD > BATCH {
                return false;
            }
            encode_record(self.first + self.count as u64, record, &mut self.bytes);
            self.count += 1;
        }
        machine.unsaved(self.volume, self.count).is_none()
    }

    /// Takes the newest content of a snapshot, in place of all before it.
    fn replace<M: Machine + ?Sized>(&mut self, machine: &M, volume: &Volume) {
        let mut newest = None;
        while let Some(content) = machine.unsaved(self.volume, self.count) {
            newest = Some(content);
            self.count += 1;
        }
        if let Some(content) = newest {
            let number = self.first + self.count as u64 - 1;
            encode_header(volume, number, &mut self.bytes);
            encode_record(number, content, &mut self.bytes);
        }
    }
}

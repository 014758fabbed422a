//! What a protocol stores: records that the driver has not reported as durable, volume by volume.

use crate::news::News;
use crate::outputs::Outputs;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use chatroom_machine::{Action, Misuse, RECORD_MAX, Volume, VolumeId};

/// What a record costs beside its bytes: its place in the queue, and an allocation.
const OVERHEAD: usize = 64;

/// The unsaved records of one volume.
#[derive(Clone, Debug, Default, Hash)]
struct Unsaved {
    /// The number of the next record.
    next: u64,
    records: VecDeque<Vec<u8>>,
}

/// The unsaved records of all volumes of a protocol. Bounded by its clients, who are not read from
/// while more than [`Limits::high_water`](crate::Limits::high_water) bytes are unsaved, and by what
/// peers have it store.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Volumes {
    volumes: Vec<Unsaved>,
    /// What it costs to keep all that is unsaved.
    cost: usize,
}

impl Volumes {
    pub(crate) fn new(list: &'static [Volume]) -> Self {
        Self {
            volumes: list.iter().map(|_| Unsaved::default()).collect(),
            cost: 0,
        }
    }

    /// What it costs to keep all that is unsaved, in bytes.
    pub(crate) const fn cost(&self) -> usize {
        self.cost
    }

    /// Takes in where a volume stands.
    pub(crate) fn continue_at(&mut self, volume: VolumeId, next: u64) {
        if let Some(unsaved) = self.volumes.get_mut(volume.index()) {
            unsaved.next = next;
        }
    }

    /// Queues a record, and gives its number.
    pub(crate) fn store<E>(
        &mut self,
        out: &mut Outputs<E>,
        volume: VolumeId,
        record: &[u8],
    ) -> u64 {
        assert!(
            record.len() <= RECORD_MAX,
            "a record of {} bytes: expected at most {RECORD_MAX}",
            record.len()
        );
        let unsaved = &mut self.volumes[volume.index()];
        if unsaved.records.is_empty() {
            out.push(Action::<News<E>>::Store(volume));
        }
        unsaved.records.push_back(record.to_vec());
        self.cost += record.len() + OVERHEAD;
        unsaved.next += 1;
        unsaved.next - 1
    }

    pub(crate) fn unsaved(&self, volume: VolumeId, skip: usize) -> Option<&[u8]> {
        let unsaved = self.volumes.get(volume.index())?;
        unsaved.records.get(skip).map(Vec::as_slice)
    }

    /// Takes in that the first `count` unsaved records are durable. Gives the number of the first
    /// record that is not.
    pub(crate) fn stored(&mut self, volume: VolumeId, count: usize) -> Result<u64, Misuse> {
        let unsaved = self.volumes.get_mut(volume.index());
        let unsaved = unsaved.ok_or(Misuse::TooMuch)?;
        if count > unsaved.records.len() {
            return Err(Misuse::TooMuch);
        }
        for record in unsaved.records.drain(..count) {
            self.cost -= record.len() + OVERHEAD;
        }
        Ok(unsaved.next - unsaved.records.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use chatroom_machine::VolumeKind;

    static LIST: [Volume; 1] = [Volume {
        name: "log",
        kind: VolumeKind::Log,
    }];
    const LOG: VolumeId = VolumeId(0);

    #[test]
    fn records_are_numbered_from_where_the_volume_stood_and_leave_when_stored() {
        let mut out = Outputs::<()>::new(&Config::<()>::new(0, 1));
        let mut volumes = Volumes::new(&LIST);
        volumes.continue_at(LOG, 7);
        assert_eq!(volumes.store(&mut out, LOG, b"a"), 7);
        assert_eq!(volumes.store(&mut out, LOG, b"bc"), 8);
        assert_eq!(out.actions.len(), 1, "the driver is told once");
        assert_eq!(volumes.cost(), 3 + 2 * OVERHEAD);
        assert_eq!(volumes.unsaved(LOG, 1), Some(&b"bc"[..]));
        assert_eq!(volumes.stored(LOG, 3), Err(Misuse::TooMuch));
        assert_eq!(volumes.stored(VolumeId(1), 0), Err(Misuse::TooMuch));
        assert_eq!(volumes.stored(LOG, 1), Ok(8));
        assert_eq!(volumes.unsaved(LOG, 0), Some(&b"bc"[..]));
        assert_eq!(volumes.stored(LOG, 1), Ok(9));
        assert_eq!((volumes.unsaved(LOG, 0), volumes.cost()), (None, 0));
        volumes.store(&mut out, LOG, b"d");
        assert_eq!(out.actions.len(), 2);
    }
}

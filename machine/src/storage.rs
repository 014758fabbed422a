//! What a machine keeps across its incarnations: volumes, and the names of their parts.

use core::fmt;

/// Something that a machine keeps across its incarnations, as [`Machine::volumes`] declares it.
///
/// [`Machine::volumes`]: crate::Machine::volumes
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Volume {
    /// Its name, of which a driver makes file names: 1 to 32 bytes, each a lower-case letter of
    /// ASCII, a digit or `-`. No two volumes of one machine have the same.
    pub name: &'static str,
    /// What becomes of older records.
    pub kind: VolumeKind,
}

/// What becomes of a volume's older records when newer ones are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VolumeKind {
    /// They stay until [`Action::Discard`](crate::Action::Discard): an append-only log.
    Log,
    /// They are replaced, atomically: after a crash there is the old one or the new one, whole.
    /// Only the newest is ever recovered, and a driver may skip those that were replaced before
    /// their turn came.
    Snapshot,
}

/// One of a machine's volumes: an index into [`Machine::volumes`](crate::Machine::volumes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(pub u8);

impl VolumeId {
    /// The index into the list of volumes.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The most bytes of one record. A driver may treat a longer one as it treats a full disk.
pub const RECORD_MAX: usize = 64 << 20;

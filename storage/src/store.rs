//! A machine's volumes on a disk: what is found there, and how records become durable.

use crate::batch::{Batch, Part};
use crate::disk::Disk;
use crate::error::Error;
use crate::format::{Damage, Header, NAME_MAX, Scan, encode_header};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use chatroom_machine::{Volume, VolumeId, VolumeKind};

/// The bytes of a segment from which on the next batch begins another.
pub const SEGMENT: u64 = 8 << 20;

/// Behind the name of a file that is to replace another, until it does.
const NEW: &str = ".new";

/// What was found in a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A record, for [`Machine::handle_recovered`](chatroom_machine::Machine::handle_recovered).
    Record {
        /// The volume.
        volume: VolumeId,
        /// The record's number in it.
        number: u64,
        /// The record.
        bytes: &'a [u8],
    },
    /// There is no more, for
    /// [`Machine::handle_recovery_done`](chatroom_machine::Machine::handle_recovery_done).
    End {
        /// The volume.
        volume: VolumeId,
        /// The number of the next record.
        next: u64,
    },
}

/// Volumes on a disk.
#[derive(Debug)]
pub struct Store<D> {
    disk: D,
    volumes: &'static [Volume],
    /// By volume; empty for snapshots.
    logs: Vec<Log>,
    segment: u64,
}

/// The segments of a log.
#[derive(Debug, Default)]
struct Log {
    /// The numbers of their first records.
    segments: VecDeque<u64>,
    /// Whether there is one to append to: the last.
    open: bool,
    /// The bytes of the last one.
    length: u64,
    next: u64,
}

/// Checks the names that a machine gave to its volumes.
///
/// # Panics
/// If one is empty, too long, has other characters than `a` to `z`, digits and `-`, or is given
/// twice: that is a fault in the machine.
pub fn check_volumes(volumes: &[Volume]) {
    assert!(volumes.len() <= 256, "a machine has at most 256 volumes");
    for (at, Volume { name, .. }) in volumes.iter().enumerate() {
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        assert!(
            (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(fine),
            "{name:?} is no name for a volume: expected 1 to {NAME_MAX} of a-z, 0-9 and -"
        );
        let twice = volumes[..at].iter().any(|other| other.name == *name);
        assert!(!twice, "two volumes have the name {name:?}");
    }
}

impl<D: Disk> Store<D> {
    /// Opens what is on `disk`, and hands what is found to `tell`: volume by volume in their order,
    /// all records of one, then its end.
    ///
    /// What is told is durable. A process that was killed may have left records that were written
    /// and not synced; and after a sync that failed, a system may show bytes that are not on the
    /// disk and that no later sync would write. So the end of each log is written once more, and
    /// synced; a torn end is cut off by a copy that takes the file's place.
    ///
    /// # Errors
    /// If the disk fails, or a file is not as it was written: see the front page for what is a
    /// torn end, which is cut off, and what is corruption.
    ///
    /// # Panics
    /// As [`check_volumes`].
    pub fn open(
        disk: D,
        volumes: &'static [Volume],
        tell: &mut dyn FnMut(Found<'_>),
    ) -> Result<Self, Error<D::Error>> {
        check_volumes(volumes);
        let mut store = Self {
            disk,
            volumes,
            logs: Vec::new(),
            segment: SEGMENT,
        };
        let mut names = store.disk.list().map_err(Error::Disk)?;
        names.sort_unstable();
        for name in names.iter().filter(|name| name.ends_with(NEW)) {
            store.disk.remove(name).map_err(Error::Disk)?;
        }
        for (id, volume) in (0..=255).map(VolumeId).zip(volumes) {
            let log = match volume.kind {
                VolumeKind::Log => store.open_log(id, volume, &names, tell)?,
                VolumeKind::Snapshot => {
                    let next = store.open_snapshot(id, volume, &names, tell)?;
                    Log {
                        next,
                        ..Log::default()
                    }
                }
            };
            tell(Found::End {
                volume: id,
                next: log.next,
            });
            store.logs.push(log);
        }
        store.disk.sync_names().map_err(Error::Disk)?;
        Ok(store)
    }

    /// Begins new segments from so many bytes on instead of [`SEGMENT`]: for tests that want to
    /// see many.
    #[must_use]
    pub fn with_segment(mut self, bytes: u64) -> Self {
        self.segment = bytes;
        self
    }

    /// The disk.
    pub fn disk(&mut self) -> &mut D {
        &mut self.disk
    }

    fn open_log(
        &mut self,
        id: VolumeId,
        volume: &Volume,
        names: &[String],
        tell: &mut dyn FnMut(Found<'_>),
    ) -> Result<Log, Error<D::Error>> {
        let mut log = Log::default();
        let files: Vec<(&String, u64)> = names
            .iter()
            .filter_map(|name| Some((name, segment_of(volume, name)?)))
            .collect();
        for (at, (name, first)) in files.iter().enumerate() {
            let last = at + 1 == files.len();
            let begins = at == 0 || *first == log.next;
            if !begins {
                return Err(Error::Missing {
                    file: (*name).clone(),
                    from: log.next,
                });
            }
            let bytes = self.disk.read(name).map_err(Error::Disk)?;
            let damaged = |damage| Error::Damaged {
                file: (*name).clone(),
                damage,
            };
            let mut scan = match Scan::new(&bytes) {
                Ok(scan) => scan,
                // The last thing that was done was to make it: nothing in it was ever stored.
                Err(Damage::TornHeader) if last && (at > 0 || *first == 0) => {
                    self.disk.remove(name).map_err(Error::Disk)?;
                    break;
                }
                Err(damage) => return Err(damaged(damage)),
            };
            check_header(scan.header(), volume, *first, name)?;
            while let Some(record) = scan.next().map_err(damaged)? {
                tell(Found::Record {
                    volume: id,
                    number: record.number,
                    bytes: record.bytes,
                });
            }
            if scan.rest() > 0 && !last {
                return Err(damaged(Damage::Corrupt {
                    offset: scan.sound(),
                    what: "it ends within a record, and another file follows",
                }));
            }
            log.segments.push_back(*first);
            log.length = scan.sound() as u64;
            log.next = scan.number();
            if last {
                log.open = true;
                let sound = &bytes[..scan.sound()];
                if scan.rest() > 0 {
                    self.replace(name, sound)?;
                } else {
                    self.disk.write(name, 0, sound).map_err(Error::Disk)?;
                    self.disk.sync(name).map_err(Error::Disk)?;
                }
            }
        }
        Ok(log)
    }

    /// Gives a file new bytes, atomically. Durable once the names are.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error<D::Error>> {
        let new = format!("{name}{NEW}");
        self.disk.write(&new, 0, bytes).map_err(Error::Disk)?;
        self.disk.sync(&new).map_err(Error::Disk)?;
        self.disk.rename(&new, name).map_err(Error::Disk)
    }

    fn open_snapshot(
        &mut self,
        id: VolumeId,
        volume: &Volume,
        names: &[String],
        tell: &mut dyn FnMut(Found<'_>),
    ) -> Result<u64, Error<D::Error>> {
        let name = snapshot_name(volume);
        if !names.contains(&name) {
            return Ok(0);
        }
        let bytes = self.disk.read(&name).map_err(Error::Disk)?;
        let damaged = |damage| Error::Damaged {
            file: name.clone(),
            damage,
        };
        let mut scan = Scan::new(&bytes).map_err(damaged)?;
        let first = scan.number();
        check_header(scan.header(), volume, first, &name)?;
        let record = scan.next().map_err(damaged)?;
        let (Some(record), 0) = (record, scan.rest()) else {
            return Err(damaged(Damage::Corrupt {
                offset: scan.sound(),
                what: "a snapshot is one record, whole",
            }));
        };
        tell(Found::Record {
            volume: id,
            number: record.number,
            bytes: record.bytes,
        });
        Ok(first + 1)
    }

    /// Makes a batch durable, then removes what may be discarded. When it returns without an
    /// error all of its records survive a power cut.
    ///
    /// # Errors
    /// If the disk failed. What is durable is then unknown, and the store is not to be used any
    /// more: whoever owns it ends, and finds out by opening it again.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), Error<D::Error>> {
        let mut names = false;
        let mut written = Vec::new();
        for part in batch.parts.iter().filter(|part| part.count > 0) {
            match part.kind {
                VolumeKind::Log => {
                    let (name, made) = self.append(part)?;
                    names |= made;
                    written.push(name);
                }
                VolumeKind::Snapshot => {
                    let name = snapshot_name(&self.volumes[part.volume.index()]);
                    self.replace(&name, &part.bytes)?;
                    names = true;
                }
            }
        }
        for name in &written {
            self.disk.sync(name).map_err(Error::Disk)?;
        }
        if names {
            self.disk.sync_names().map_err(Error::Disk)?;
        }
        for part in &batch.parts {
            if let Some(through) = part.discard {
                self.discard(part.volume, through)?;
            }
        }
        Ok(())
    }

    /// Writes the records of a log: the file's name, and whether it was made.
    fn append(&mut self, part: &Part) -> Result<(String, bool), Error<D::Error>> {
        let volume = &self.volumes[part.volume.index()];
        let log = &mut self.logs[part.volume.index()];
        debug_assert_eq!(log.next, part.first, "records are in order");
        log.next = part.first + part.count as u64;
        if let Some(first) = log.segments.back()
            && log.open
            // One that is still empty has the name that another would get.
            && (log.length < self.segment || *first == part.first)
        {
            let name = segment_name(volume, *first);
            let offset = log.length;
            log.length += part.bytes.len() as u64;
            self.disk
                .write(&name, offset, &part.bytes)
                .map_err(Error::Disk)?;
            return Ok((name, false));
        }
        let mut bytes = Vec::with_capacity(part.bytes.len() + crate::HEADER);
        encode_header(volume, part.first, &mut bytes);
        bytes.extend_from_slice(&part.bytes);
        log.segments.push_back(part.first);
        log.open = true;
        log.length = bytes.len() as u64;
        let name = segment_name(volume, part.first);
        self.disk.write(&name, 0, &bytes).map_err(Error::Disk)?;
        Ok((name, true))
    }

    /// Removes the segments of which every record may go, but for the last.
    fn discard(&mut self, volume: VolumeId, through: u64) -> Result<(), Error<D::Error>> {
        let log = &mut self.logs[volume.index()];
        while let (Some(first), Some(next)) = (log.segments.front(), log.segments.get(1))
            && *next <= through.saturating_add(1)
        {
            let name = segment_name(&self.volumes[volume.index()], *first);
            self.disk.remove(&name).map_err(Error::Disk)?;
            log.segments.pop_front();
        }
        Ok(())
    }
}

fn segment_name(volume: &Volume, first: u64) -> String {
    format!("{}-{first:020}.log", volume.name)
}

/// The first number of a segment of `volume`, if `name` is one's.
fn segment_of(volume: &Volume, name: &str) -> Option<u64> {
    let number = name.strip_prefix(volume.name)?.strip_prefix('-')?;
    let number = number.strip_suffix(".log")?;
    let digits = number.len() == 20 && number.bytes().all(|b| b.is_ascii_digit());
    number.parse().ok().filter(|_| digits)
}

fn snapshot_name(volume: &Volume) -> String {
    format!("{}.snapshot", volume.name)
}

fn check_header<E>(
    header: &Header,
    volume: &Volume,
    first: u64,
    file: &str,
) -> Result<(), Error<E>> {
    if header.name == volume.name && header.kind == volume.kind && header.first == first {
        return Ok(());
    }
    let said = |kind: VolumeKind, name: &str, first: u64| {
        let kind = match kind {
            VolumeKind::Log => "log",
            VolumeKind::Snapshot => "snapshot",
        };
        format!("the {kind} {name:?} from record {first} on")
    };
    Err(Error::Foreign {
        file: file.to_string(),
        found: said(header.kind, &header.name, header.first),
        expected: said(volume.kind, volume.name, first),
    })
}

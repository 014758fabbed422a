//! Stores and disks that go wrong: something stands between a store and its disk and does what a
//! store that were wrong would do.

use chatroom_machine::{Volume, VolumeKind};
use chatroom_sim::disk::{DiskError, SimDisk};
use chatroom_storage::{Damage, Disk, Scan, encode_record};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Nothing,
    /// Files are never synced.
    SyncSkipped,
    /// The directory is never synced.
    NamesNotSynced,
    /// A snapshot is written over the old one.
    SnapshotInPlace,
    /// A torn record is taken for one that was stored.
    TornTaken,
    /// What is found is not written again before it is believed.
    NotWrittenAgain,
    /// A torn end is left in place, and written behind.
    TornLeft,
    /// What is corrupt is cut off as if it were torn.
    CorruptCutOff,
}

/// A disk with something wrong.
pub(crate) struct Wrongly {
    disk: SimDisk,
    wrong: Wrong,
}

impl Wrongly {
    pub(crate) const fn new(disk: SimDisk, wrong: Wrong) -> Self {
        Self { disk, wrong }
    }
}

/// A file with its torn end made into a record, by who believes its length.
fn completed(file: Vec<u8>) -> Vec<u8> {
    let Ok(mut scan) = Scan::new(&file) else {
        return file;
    };
    while let Ok(Some(_)) = scan.next() {}
    let (sound, number) = (scan.sound(), scan.number());
    let Some(bytes) = file.get(sound + 8..) else {
        return file;
    };
    let mut whole = file[..sound].to_vec();
    let mut record = bytes.to_vec();
    record.resize(64, 0);
    encode_record(number, &record, &mut whole);
    whole
}

/// What is sound of a file.
fn cut(file: Vec<u8>) -> Vec<u8> {
    let Ok(mut scan) = Scan::new(&file) else {
        return file;
    };
    loop {
        match scan.next() {
            Ok(Some(_)) => {}
            Ok(None) => return file,
            Err(Damage::Corrupt { .. }) => return file[..scan.sound()].to_vec(),
            Err(_) => return file,
        }
    }
}

impl Disk for Wrongly {
    type Error = DiskError;

    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        self.disk.list()
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, DiskError> {
        let file = self.disk.read(name)?;
        Ok(match self.wrong {
            Wrong::TornTaken if name.ends_with(".log") => completed(file),
            Wrong::CorruptCutOff if name.ends_with(".log") => cut(file),
            _ => file,
        })
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        match self.wrong {
            Wrong::SnapshotInPlace if name.ends_with("snapshot.new") => {
                let name = &name[..name.len() - 4];
                if self.disk.list()?.iter().any(|each| each == name) {
                    self.disk.remove(name)?;
                }
                self.disk.write(name, offset, bytes)
            }
            Wrong::TornLeft if name.ends_with("log.new") => Ok(()),
            // Only a recovery writes a file from its beginning that is there.
            Wrong::NotWrittenAgain
                if offset == 0 && self.disk.read(name).is_ok_and(|there| !there.is_empty()) =>
            {
                Ok(())
            }
            _ => self.disk.write(name, offset, bytes),
        }
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        match self.wrong {
            Wrong::SyncSkipped => Ok(()),
            Wrong::TornLeft if name.ends_with("log.new") => Ok(()),
            Wrong::SnapshotInPlace if name.ends_with("snapshot.new") => {
                self.disk.sync(&name[..name.len() - 4])
            }
            _ => self.disk.sync(name),
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        match self.wrong {
            Wrong::SnapshotInPlace if to.ends_with("snapshot") => Ok(()),
            Wrong::TornLeft if to.ends_with("log") => Ok(()),
            _ => self.disk.rename(from, to),
        }
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.disk.remove(name)
    }

    fn sync_names(&mut self) -> Result<(), DiskError> {
        match self.wrong {
            Wrong::NamesNotSynced => Ok(()),
            _ => self.disk.sync_names(),
        }
    }
}

#[test]
fn a_torn_record_is_completed_by_who_believes_it() {
    let volume = Volume {
        name: "adds",
        kind: VolumeKind::Log,
    };
    let mut file = Vec::new();
    chatroom_storage::encode_header(&volume, 0, &mut file);
    encode_record(0, b"one", &mut file);
    let sound = file.len();
    encode_record(1, &[7; 64], &mut file);
    let whole = completed(file[..sound + 30].to_vec());
    let mut scan = Scan::new(&whole).unwrap();
    assert_eq!(scan.next().unwrap().unwrap().bytes, b"one");
    assert_eq!(scan.next().unwrap().unwrap().bytes[..22], [7; 22]);
    assert_eq!(scan.next(), Ok(None));
}

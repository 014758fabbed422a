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

    /// The snapshot that is written where it is, if this is the name of its next content.
    fn in_place<'a>(&self, name: &'a str) -> Option<&'a str> {
        let snapshot = name.strip_suffix(".new")?;
        let wrong = self.wrong == Wrong::SnapshotInPlace && snapshot.ends_with(".snapshot");
        wrong.then_some(snapshot)
    }

    /// Whether this is the copy of a log's file that is to take the place of a torn one.
    fn is_left(&self, name: &str) -> bool {
        self.wrong == Wrong::TornLeft && name.ends_with(".log.new")
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
        if !name.ends_with(".log") {
            return Ok(file);
        }
        Ok(match self.wrong {
            Wrong::TornTaken => completed(file),
            Wrong::CorruptCutOff => cut(file),
            Wrong::Nothing
            | Wrong::SyncSkipped
            | Wrong::NamesNotSynced
            | Wrong::SnapshotInPlace
            | Wrong::NotWrittenAgain
            | Wrong::TornLeft => file,
        })
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        if let Some(name) = self.in_place(name) {
            if self.disk.list()?.iter().any(|each| each == name) {
                self.disk.remove(name)?;
            }
            return self.disk.write(name, offset, bytes);
        }
        // Only a recovery writes a file from its beginning that is there.
        let again = || {
            self.disk
                .clone()
                .read(name)
                .is_ok_and(|there| !there.is_empty())
        };
        let skipped = self.wrong == Wrong::NotWrittenAgain && offset == 0 && again();
        if skipped || self.is_left(name) {
            return Ok(());
        }
        self.disk.write(name, offset, bytes)
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        if self.wrong == Wrong::SyncSkipped || self.is_left(name) {
            return Ok(());
        }
        let name = self.in_place(name).unwrap_or(name);
        self.disk.sync(name)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        if self.in_place(from).is_some() || self.is_left(from) {
            return Ok(());
        }
        self.disk.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.disk.remove(name)
    }

    fn sync_names(&mut self) -> Result<(), DiskError> {
        if self.wrong == Wrong::NamesNotSynced {
            return Ok(());
        }
        self.disk.sync_names()
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

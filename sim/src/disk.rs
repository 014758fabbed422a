//! A host's disk: what a process sees in its files, and what of that survives a power cut.

use crate::random::Choice;
use chatroom_storage::Disk;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

/// A simulated directory of files, shared by the engine and by the life that uses it.
///
/// It does to files what a careful reading of POSIX allows:
///
/// - what was written and not synced survives a power cut as a prefix in bytes; where it would have
///   made the file longer, zeros may stand for a part of the rest;
/// - names that were made, given to another file, or removed, and not synced, survive as a prefix
///   of these changes, whatever becomes of the files' bytes;
/// - the death of a process loses nothing that it wrote, but may come in the middle of a write;
/// - a sync that fails leaves the bytes for all to see, and no later sync writes them: only a new
///   write does (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Rc<RefCell<Image>>);

/// Why a call on a simulated disk failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskError {
    /// There is no room.
    Full,
    /// The sync failed.
    SyncFailed,
    /// There is no such file.
    NoFile,
    /// The process is dead: nobody hears of this.
    Dead,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "there is no space left on the disk",
            Self::SyncFailed => "the sync failed",
            Self::NoFile => "there is no such file",
            Self::Dead => "the process is dead",
        })
    }
}

impl std::error::Error for DiskError {}

#[derive(Debug, Default)]
struct Image {
    files: Vec<Content>,
    /// What a process sees.
    names: BTreeMap<String, usize>,
    /// What survives.
    durable: BTreeMap<String, usize>,
    /// What was done to `names` and not yet to `durable`.
    changes: Vec<NameChange>,
    full: bool,
    sync_fails: bool,
    /// How much may be done until the process dies, a byte that is written or a call for one.
    fuse: Option<u64>,
    /// How many choices were drawn.
    drawn: u64,
    choice: Option<Choice>,
}

#[derive(Debug, Default)]
struct Content {
    /// What a process sees.
    bytes: Vec<u8>,
    /// What survives.
    durable: Vec<u8>,
    /// What was done to `bytes` and not yet to `durable`.
    changes: Vec<ByteChange>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Give(String, usize),
    Remove(String),
}

/// Bytes that were written at an offset.
#[derive(Clone, Debug)]
struct ByteChange(usize, Vec<u8>);

fn write(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

impl ByteChange {
    /// Does as much of it as the budget allows.
    fn apply(&self, bytes: &mut Vec<u8>, budget: usize) {
        write(bytes, self.0, &self.1[..self.1.len().min(budget)]);
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Give(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Content {
    fn lose_power(&mut self, choice: Choice) {
        let total: usize = self.changes.iter().map(|change| change.1.len()).sum();
        let below = |choice: Choice, bound: usize| {
            usize::try_from(choice.below(bound as u64 + 1)).unwrap_or(0)
        };
        // All and nothing are as likely as anything between.
        let mut left = match choice.on("how").below(4) {
            0 => 0,
            1 => total,
            _ => below(choice.on("kept"), total),
        };
        let whole = self.bytes.len();
        for change in std::mem::take(&mut self.changes) {
            if left > 0 {
                change.apply(&mut self.durable, left);
            }
            left = left.saturating_sub(change.1.len());
        }
        let missing = whole.saturating_sub(self.durable.len());
        if missing > 0 && choice.on("zeros").chance(250) {
            let zeros = below(choice.on("length"), missing);
            self.durable.resize(self.durable.len() + zeros, 0);
        }
        self.bytes.clone_from(&self.durable);
    }
}

impl Image {
    fn draw(&mut self) -> Choice {
        self.drawn += 1;
        let choice = self.choice.unwrap_or(Choice::seed(0));
        choice.at(self.drawn)
    }

    /// Takes from the fuse; how much of `cost` may still be done.
    fn burn(&mut self, cost: usize) -> usize {
        let Some(fuse) = &mut self.fuse else {
            return cost;
        };
        let done = usize::try_from(*fuse).unwrap_or(usize::MAX).min(cost);
        *fuse -= done as u64;
        done
    }

    /// Whether a call that costs one may be made.
    fn call(&mut self) -> Result<(), DiskError> {
        match self.burn(1) {
            0 => Err(DiskError::Dead),
            _ => Ok(()),
        }
    }

    fn file(&mut self, name: &str) -> Result<&mut Content, DiskError> {
        let file = self.names.get(name).ok_or(DiskError::NoFile)?;
        Ok(&mut self.files[*file])
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }
}

impl SimDisk {
    /// An empty disk whose choices are drawn from `choice`.
    #[must_use]
    pub fn new(choice: Choice) -> Self {
        let disk = Self::default();
        disk.0.borrow_mut().choice = Some(choice);
        disk
    }

    /// A choice of its own.
    pub(crate) fn draw(&self) -> Choice {
        self.0.borrow_mut().draw()
    }

    /// Loses what was not synced, by a draw.
    pub fn lose_power(&self) {
        let mut image = self.0.borrow_mut();
        let choice = image.draw();
        let image = &mut *image;
        for (at, file) in (0..).zip(&mut image.files) {
            file.lose_power(choice.on("file").at(at));
        }
        let changes = std::mem::take(&mut image.changes);
        let kept = choice.on("names").below(changes.len() as u64 + 1);
        for change in changes.iter().take(usize::try_from(kept).unwrap_or(0)) {
            change.apply(&mut image.durable);
        }
        image.names.clone_from(&image.durable);
    }

    /// Writes fail from now on, in the middle, or go through again.
    pub fn set_full(&self, full: bool) {
        self.0.borrow_mut().full = full;
    }

    /// The next sync of a file fails, or no longer.
    pub fn fail_sync(&self, fails: bool) {
        self.0.borrow_mut().sync_fails = fails;
    }

    /// Flips a bit of what is stored: bit `number` of all, counted round if there are fewer.
    pub fn flip(&self, number: u64) {
        let image = &mut *self.0.borrow_mut();
        let sizes = image
            .names
            .values()
            .map(|file| image.files[*file].bytes.len());
        let total = sizes.sum::<usize>() as u64 * 8;
        if total == 0 {
            return;
        }
        let mut bit = usize::try_from(number % total).unwrap_or(0);
        for file in image.names.values() {
            let content = &mut image.files[*file];
            let size = content.bytes.len() * 8;
            if bit < size {
                for bytes in [&mut content.bytes, &mut content.durable] {
                    if let Some(byte) = bytes.get_mut(bit / 8) {
                        *byte ^= 1 << (bit % 8);
                    }
                }
                return;
            }
            bit -= size;
        }
    }

    /// Has the process die after so much more was done; `None`: it lives.
    pub(crate) fn set_fuse(&self, fuse: Option<u64>) {
        self.0.borrow_mut().fuse = fuse;
    }
}

impl Disk for SimDisk {
    type Error = DiskError;

    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        Ok(self.0.borrow().names.keys().cloned().collect())
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, DiskError> {
        Ok(self.0.borrow_mut().file(name)?.bytes.clone())
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut image = self.0.borrow_mut();
        if !image.names.contains_key(name) {
            image.call()?;
            let file = image.files.len();
            image.files.push(Content::default());
            image.change(NameChange::Give(name.to_owned(), file));
        }
        let mut count = bytes.len();
        if image.full {
            let choice = image.draw();
            count = usize::try_from(choice.below(count as u64)).unwrap_or(0);
        }
        let done = image.burn(count);
        let (full, offset) = (image.full, usize::try_from(offset).unwrap_or(usize::MAX));
        let file = image.file(name)?;
        write(&mut file.bytes, offset, &bytes[..done]);
        let change = ByteChange(offset, bytes[..done].to_vec());
        file.changes.push(change);
        match done < count {
            true => Err(DiskError::Dead),
            false if full => Err(DiskError::Full),
            false => Ok(()),
        }
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        let mut image = self.0.borrow_mut();
        image.call()?;
        let fails = std::mem::take(&mut image.sync_fails);
        let file = image.file(name)?;
        let changes = std::mem::take(&mut file.changes);
        if fails {
            return Err(DiskError::SyncFailed);
        }
        for change in changes {
            change.apply(&mut file.durable, usize::MAX);
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        let mut image = self.0.borrow_mut();
        image.call()?;
        let file = *image.names.get(from).ok_or(DiskError::NoFile)?;
        // One change of the directory: never is there none of the two.
        image.change(NameChange::Give(to.to_owned(), file));
        image.change(NameChange::Remove(from.to_owned()));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        let mut image = self.0.borrow_mut();
        image.call()?;
        image.file(name)?;
        image.change(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_names(&mut self) -> Result<(), DiskError> {
        let image = &mut *self.0.borrow_mut();
        image.call()?;
        for change in std::mem::take(&mut image.changes) {
            change.apply(&mut image.durable);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> SimDisk {
        SimDisk::new(Choice::seed(3))
    }

    #[test]
    fn what_was_synced_survives_and_of_the_rest_a_prefix() {
        let (mut all, mut some, mut none, mut zeros) = (0, 0, 0, 0);
        for seed in 0..400 {
            let mut disk = SimDisk::new(Choice::seed(seed));
            disk.write("a", 0, b"synced").unwrap();
            disk.sync("a").unwrap();
            disk.sync_names().unwrap();
            disk.write("a", 6, b", and not").unwrap();
            disk.lose_power();
            let left = disk.read("a").unwrap();
            let text: Vec<u8> = left.iter().copied().take_while(|b| *b != 0).collect();
            assert!(text.starts_with(b"synced") && b"synced, and not".starts_with(&text));
            all += u32::from(text.len() == 15);
            none += u32::from(text.len() == 6);
            some += u32::from((7..15).contains(&text.len()));
            zeros += u32::from(left.len() > text.len());
        }
        assert!(all > 50 && none > 50 && some > 50 && zeros > 10);
    }

    #[test]
    fn names_that_were_not_synced_may_be_lost_and_never_both_of_a_rename() {
        let (mut old, mut new) = (0, 0);
        for seed in 0..100 {
            let mut disk = SimDisk::new(Choice::seed(seed));
            for (name, bytes) in [("a", b"old"), ("b", b"new")] {
                disk.write(name, 0, bytes).unwrap();
                disk.sync(name).unwrap();
            }
            disk.sync_names().unwrap();
            disk.rename("b", "a").unwrap();
            disk.write("c", 0, b"gone or empty").unwrap();
            disk.lose_power();
            match &*disk.read("a").unwrap() {
                b"old" => old += 1,
                b"new" => new += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(old > 10 && new > 10);
    }

    #[test]
    fn after_a_failed_sync_the_next_one_writes_nothing() {
        let mut disk = disk();
        disk.write("a", 0, b"bytes").unwrap();
        disk.sync_names().unwrap();
        disk.fail_sync(true);
        assert_eq!(disk.sync("a"), Err(DiskError::SyncFailed));
        assert_eq!(disk.sync("a"), Ok(()));
        assert_eq!(disk.read("a").unwrap(), b"bytes");
        disk.write("a", 2, b"t").unwrap();
        disk.sync("a").unwrap();
        disk.lose_power();
        assert_eq!(disk.read("a").unwrap(), b"\0\0t");
    }

    #[test]
    fn a_process_that_dies_in_a_write_leaves_a_prefix() {
        let mut disk = disk();
        disk.write("a", 0, b"").unwrap();
        disk.set_fuse(Some(4));
        assert_eq!(disk.write("a", 0, b"many bytes"), Err(DiskError::Dead));
        assert_eq!(disk.sync("a"), Err(DiskError::Dead));
        disk.set_fuse(None);
        assert_eq!(disk.read("a").unwrap(), b"many");
    }

    #[test]
    fn a_full_disk_takes_less_than_all() {
        let mut disk = disk();
        disk.set_full(true);
        assert_eq!(disk.write("a", 0, b"four"), Err(DiskError::Full));
        assert!(disk.read("a").unwrap().len() < 4);
        disk.set_full(false);
        assert_eq!(disk.write("a", 0, b"four"), Ok(()));
    }

    #[test]
    fn a_flipped_bit_stays_flipped() {
        let mut disk = disk();
        disk.flip(9);
        disk.write("a", 0, b"a").unwrap();
        disk.write("b", 0, b"b").unwrap();
        disk.sync("b").unwrap();
        disk.sync_names().unwrap();
        disk.flip(8);
        assert_eq!(disk.read("a").unwrap(), b"a");
        assert_eq!(disk.read("b").unwrap(), b"c");
        disk.lose_power();
        assert_eq!(disk.read("b").unwrap(), b"c");
    }
}

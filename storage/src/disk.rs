//! What a store asks of whoever has the files.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// A flat directory of files: a real one, or a simulated one that loses what was not synced.
///
/// Calls may block. After a call that failed, the store makes no further one.
pub trait Disk {
    /// Why a call failed.
    type Error;

    /// The names of all files, in any order.
    ///
    /// # Errors
    /// If the directory can't be read.
    fn list(&mut self) -> Result<Vec<String>, Self::Error>;

    /// All bytes of a file.
    ///
    /// # Errors
    /// If it can't be read.
    fn read(&mut self, name: &str) -> Result<Vec<u8>, Self::Error>;

    /// Writes `bytes` at `offset`, which is at most the file's length. Makes the file if there is
    /// none.
    ///
    /// # Errors
    /// If not all could be written, as on a full disk.
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Makes all that was written to a file durable, though not its name.
    ///
    /// # Errors
    /// If that failed. What is on the disk is then unknown, and stays so.
    fn sync(&mut self, name: &str) -> Result<(), Self::Error>;

    /// Gives a file another name, in place of the file that had it. Atomic, and not durable before
    /// [`sync_names`](Disk::sync_names).
    ///
    /// # Errors
    /// If that can't be done.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), Self::Error>;

    /// Removes a file.
    ///
    /// # Errors
    /// If that can't be done.
    fn remove(&mut self, name: &str) -> Result<(), Self::Error>;

    /// Makes durable which files there are.
    ///
    /// # Errors
    /// If that failed.
    fn sync_names(&mut self) -> Result<(), Self::Error>;
}

impl<D: Disk + ?Sized> Disk for Box<D> {
    type Error = D::Error;

    fn list(&mut self) -> Result<Vec<String>, D::Error> {
        (**self).list()
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, D::Error> {
        (**self).read(name)
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), D::Error> {
        (**self).write(name, offset, bytes)
    }

    fn sync(&mut self, name: &str) -> Result<(), D::Error> {
        (**self).sync(name)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), D::Error> {
        (**self).rename(from, to)
    }

    fn remove(&mut self, name: &str) -> Result<(), D::Error> {
        (**self).remove(name)
    }

    fn sync_names(&mut self) -> Result<(), D::Error> {
        (**self).sync_names()
    }
}

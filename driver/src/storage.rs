//! A machine's files: a directory that one process has to itself, and blocking calls on it.

use crate::error::Error;
use chatroom_machine::Volume;
use chatroom_storage::{Batch, Disk, Found, Store};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The file that a process holds a lock on, with its id in it.
const LOCK: &str = "lock";
/// Files that are kept open: one for each volume would do.
const OPEN: usize = 16;

/// A machine's volumes on file. Every call blocks.
///
/// A runtime takes it from [`Shell::take_files`](crate::Shell::take_files) and calls
/// [`commit`](Files::commit) where blocking harms nobody.
#[derive(Debug)]
pub struct Files {
    store: Store<Directory>,
    path: PathBuf,
}

impl Files {
    /// Locks the directory, which is made if there is none, and hands what is found to `tell`.
    pub(crate) fn open(
        directory: Directory,
        volumes: &'static [Volume],
        tell: &mut dyn FnMut(Found<'_>),
    ) -> Result<Self, Error> {
        let path = directory.path.clone();
        match Store::open(directory, volumes, tell) {
            Ok(store) => Ok(Self { store, path }),
            Err(cause) => Err(Error::Storage { path, cause }),
        }
    }

    /// Makes a batch durable. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`Error::Storage`], with the file and the system's reason. The run is to end: nobody knows
    /// what is on the disk, and to try again could hide that something is not (Rebello et al.,
    /// "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
    pub fn commit(&mut self, batch: &Batch) -> Result<(), Error> {
        self.store.commit(batch).map_err(|cause| Error::Storage {
            path: self.path.clone(),
            cause,
        })
    }
}

/// What a system said to a call on a file.
#[derive(Debug)]
#[non_exhaustive]
pub struct DiskError {
    /// What was tried, as in "write to".
    pub doing: &'static str,
    /// The file, or the directory.
    pub path: PathBuf,
    /// The system's reason.
    pub cause: io::Error,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} {}: {}",
            self.doing,
            self.path.display(),
            self.cause
        )
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// A directory that this process has locked.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    handle: File,
    /// The lock ends with it, also when the process is killed.
    _lock: File,
    open: BTreeMap<String, File>,
}

impl Directory {
    /// Makes the directory if there is none, and locks it.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process has it.
    pub(crate) fn lock(path: &Path) -> Result<Self, Error> {
        let failed = |doing, at: &Path| {
            let at = at.to_owned();
            move |cause| Error::Storage {
                path: path.to_owned(),
                cause: chatroom_storage::Error::Disk(DiskError {
                    doing,
                    path: at,
                    cause,
                }),
            }
        };
        if !path.is_dir() {
            std::fs::create_dir_all(path).map_err(failed("make the directory", path))?;
            let above = path.parent().filter(|above| *above != Path::new(""));
            let above = above.unwrap_or(Path::new("."));
            File::open(above)
                .and_then(|above| above.sync_all())
                .map_err(failed("sync the directory", above))?;
        }
        let handle = File::open(path).map_err(failed("open the directory", path))?;
        let at = path.join(LOCK);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&at)
            .map_err(failed("open", &at))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Who just locked it may not have written its id yet.
                let _ = lock.read_to_string(&mut pid);
                return Err(Error::Locked {
                    path: path.to_owned(),
                    pid: pid.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(cause)) => return Err(failed("lock", &at)(cause)),
        }
        let pid = format!("{}\n", std::process::id());
        lock.set_len(0)
            .and_then(|()| lock.write_all(pid.as_bytes()))
            .map_err(failed("write to", &at))?;
        Ok(Self {
            path: path.to_owned(),
            handle,
            _lock: lock,
            open: BTreeMap::new(),
        })
    }

    fn tried<T>(
        &self,
        doing: &'static str,
        name: &str,
        done: io::Result<T>,
    ) -> Result<T, DiskError> {
        done.map_err(|cause| DiskError {
            doing,
            path: self.path.join(name),
            cause,
        })
    }

    /// Does something with a file that is kept open, and made if there is none.
    fn with<T>(
        &mut self,
        doing: &'static str,
        name: &str,
        call: impl FnOnce(&File) -> io::Result<T>,
    ) -> Result<T, DiskError> {
        if !self.open.contains_key(name) {
            let options = &mut OpenOptions::new();
            let opened = options
                .write(true)
                .create(true)
                .truncate(false)
                .open(self.path.join(name));
            let file = self.tried("open", name, opened)?;
            if self.open.len() >= OPEN {
                self.open.clear();
            }
            self.open.insert(name.to_owned(), file);
        }
        let done = call(&self.open[name]);
        self.tried(doing, name, done)
    }
}

impl Disk for Directory {
    type Error = DiskError;

    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        let names = std::fs::read_dir(&self.path).and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name().into_string().ok()))
                .collect::<io::Result<Vec<_>>>()
        });
        let names = self.tried("read the directory", "", names)?;
        Ok(names.into_iter().flatten().collect())
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, DiskError> {
        let bytes = std::fs::read(self.path.join(name));
        self.tried("read", name, bytes)
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.with("write to", name, |file| file.write_all_at(bytes, offset))
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        self.with("sync", name, File::sync_data)
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.open.remove(from);
        self.open.remove(to);
        let renamed = std::fs::rename(self.path.join(from), self.path.join(to));
        self.tried("rename", from, renamed)
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.open.remove(name);
        let removed = std::fs::remove_file(self.path.join(name));
        self.tried("remove", name, removed)
    }

    fn sync_names(&mut self) -> Result<(), DiskError> {
        let synced = self.handle.sync_all();
        self.tried("sync the directory", "", synced)
    }
}

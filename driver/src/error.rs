//! Why a runtime could not begin or go on.

use crate::storage::DiskError;
use chatroom_machine::Door;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What kept a runtime from running. Nothing that a peer does leads here.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A door's address could not be listened on.
    Bind {
        /// The door.
        door: Door,
        /// Its address.
        address: SocketAddr,
        /// The system's reason.
        cause: io::Error,
    },
    /// The machine has volumes, and no directory was given for them.
    NoState,
    /// Another process has locked the directory for the machine's files.
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other process, if it could be read.
        pid: Option<u32>,
    },
    /// The machine's files can't be used, or could not be made durable. It is never tried again.
    Storage {
        /// The directory.
        path: PathBuf,
        /// What is wrong, with the file's name.
        cause: chatroom_storage::Error<DiskError>,
    },
    /// The system denied something that a runtime cannot do without.
    System {
        /// What was tried, as in "make a timer".
        doing: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
}

impl Error {
    /// For `map_err`: the system denied `doing`.
    pub fn system<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::System {
            doing,
            cause: cause.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, cause, .. } => {
                write!(f, "cannot listen on {address}: {cause}")
            }
            Self::NoState => f.write_str(
                "the machine stores records, and has no directory for them: give it one",
            ),
            Self::Locked { path, pid } => {
                write!(f, "another server uses the directory {}", path.display())?;
                match pid {
                    Some(pid) => write!(f, ": process {pid}"),
                    None => Ok(()),
                }
            }
            Self::Storage { path, cause } => {
                // An error of the disk has the whole path.
                if let chatroom_storage::Error::Disk(error) = cause {
                    error.fmt(f)
                } else {
                    write!(f, "in {}: {cause}", path.display())
                }
            }
            Self::System { doing, cause } => write!(f, "cannot {doing}: {cause}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { cause, .. } | Self::System { cause, .. } => Some(cause),
            Self::Storage { cause, .. } => cause.source(),
            Self::NoState | Self::Locked { .. } => None,
        }
    }
}

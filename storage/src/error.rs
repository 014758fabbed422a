//! Why a store can't be opened or written to.

use crate::format::Damage;
use alloc::string::String;
use core::fmt;

/// Why a store could not be opened, or could not make records durable. `E` is the disk's own
/// error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The disk failed.
    Disk(E),
    /// A file is not as it was written.
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        damage: Damage,
    },
    /// A file belongs to another volume, or to another place in its own, than its name says.
    Foreign {
        /// The file.
        file: String,
        /// What its header says, as in "the log `votes` from record 7 on".
        found: String,
        /// What its name says.
        expected: String,
    },
    /// Records are missing between two files.
    Missing {
        /// The file behind the gap.
        file: String,
        /// The number of the first missing record.
        from: u64,
    },
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Damaged { file, damage } => {
                write!(f, "cannot use the file {file}: {damage}")?;
                match damage {
                    Damage::Corrupt { .. } | Damage::TornHeader => f.write_str(
                        "; records that were stored may be lost, so nothing is repaired: \
                         restore the directory from a copy, or begin anew with an empty one",
                    ),
                    Damage::NotAVolume | Damage::Version(_) => Ok(()),
                }
            }
            Self::Foreign {
                file,
                found,
                expected,
            } => write!(
                f,
                "cannot use the file {file}: it holds {found}, expected {expected}"
            ),
            Self::Missing { file, from } => write!(
                f,
                "cannot use the file {file}: the records from number {from} on, which belong \
                 before it, are missing"
            ),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Disk(error) => error.source(),
            Self::Damaged { damage, .. } => Some(damage),
            Self::Foreign { .. } | Self::Missing { .. } => None,
        }
    }
}

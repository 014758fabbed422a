//! What the platform's poller is told and what it tells: the same on every platform.

use rustix::event::Timespec;
use std::os::fd::AsFd;

/// No time at all.
pub(crate) const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
/// The longest that a timer is set to.
pub(crate) const DAY: Timespec = Timespec {
    tv_sec: 24 * 60 * 60,
    tv_nsec: 0,
};

/// What can be waited for: a socket that several threads may hold.
pub trait Source: AsFd + Send + Sync + 'static {}

impl<T: AsFd + Send + Sync + 'static> Source for T {}

/// What is waited for on a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Input, or the end of input.
    pub read: bool,
    /// Room for output, or the end of a dial.
    pub write: bool,
}

impl Interest {
    /// Nothing.
    pub const NONE: Self = Self {
        read: false,
        write: false,
    };
    /// Input alone.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };
    /// Room for output alone.
    pub const WRITE: Self = Self {
        read: false,
        write: true,
    };

    /// Whether nothing is waited for.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// What either waits for.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            read: self.read || other.read,
            write: self.write || other.write,
        }
    }

    /// What this waits for and `other` does not.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self {
            read: self.read && !other.read,
            write: self.write && !other.write,
        }
    }
}

/// How often a source that is ready is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollMode {
    /// In one wait. After that nothing is waited for on it until it is modified.
    Oneshot,
    /// In every wait, as long as it is ready.
    Level,
}

/// What a wait tells of one source, or of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The key that it was added with.
    pub key: u64,
    /// What came true of what was waited for. Of a timer: reading.
    pub ready: Interest,
    /// The connection has ended or broke. May also come true where nothing is waited for.
    pub broken: bool,
}

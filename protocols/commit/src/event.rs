//! What the protocol tells logs, metrics and checkers.

use crate::servers::Servers;
use crate::transaction::{Decision, Pending};
use chatroom_machine::{Level, Notice};
use core::fmt;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// This server is the coordinator from now on, and told its masters.
    Coordinator,
    /// After a total failure it waits for servers of which one may have failed last.
    Waits {
        /// Those of them that are not back.
        missing: Servers,
    },
    /// It is a member, together with these.
    Member {
        /// All members.
        members: Servers,
    },
    /// It is no member any more: it met servers that went on without it.
    Left,
    /// It voted on a transaction, or took in a pre-commit, and has that on disk.
    Recorded {
        /// How far the transaction has come.
        pending: Pending,
    },
    /// A transaction is decided, and the decision is on disk.
    Decided {
        /// How.
        decision: Decision,
    },
    /// It took over the whole playlist of another server, which is on disk.
    Copied {
        /// The last decision in it.
        last: Option<Decision>,
    },
    /// A record of an earlier incarnation that this version cannot read was passed over.
    Unreadable {
        /// Its number.
        number: u64,
    },
}

impl Notice for Event {
    fn level(&self) -> Level {
        match self {
            Self::Recorded { .. } | Self::Decided { .. } => Level::Debug,
            Self::Coordinator | Self::Member { .. } | Self::Copied { .. } => Level::Info,
            Self::Waits { .. } => Level::Info,
            Self::Left | Self::Unreadable { .. } => Level::Warn,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator => f.write_str("this server is the coordinator"),
            Self::Waits { missing } => write!(
                f,
                "all servers had failed: waiting for {missing}, of which one may have failed last"
            ),
            Self::Member { members } => write!(f, "members are {members}"),
            Self::Left => f.write_str("other servers went on without this one: joining them"),
            Self::Recorded { pending } => write!(f, "{pending}"),
            Self::Decided { decision } => write!(f, "{decision}"),
            Self::Copied { last: Some(last) } => write!(f, "copied a playlist as of {last}"),
            Self::Copied { last: None } => f.write_str("copied an empty playlist"),
            Self::Unreadable { number } => write!(f, "record {number} cannot be read"),
        }
    }
}

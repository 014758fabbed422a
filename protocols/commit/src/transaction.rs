//! What transactions are about: their names, what they do, and how far they have come.

use crate::servers::Servers;
use alloc::string::String;
use core::fmt;

/// How often the office of the coordinator has been taken: the coordinator of turn `t` is server
/// `t` modulo the number of servers, so that turns go round, and no two servers share one.
/// `number` counts what that coordinator assembled its servers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// Whose turn it is.
    pub turn: u64,
    /// Counts within the turn.
    pub number: u64,
}

impl Rank {
    /// The coordinator of that turn in a grid of `servers`.
    #[must_use]
    pub const fn coordinator(self, servers: u32) -> u32 {
        (self.turn % servers as u64) as u32
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.turn, self.number)
    }
}

/// The name of a transaction: its place in the order of all, and the turn in which it began. One
/// coordinator gives each name once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Txn {
    /// 1 for the first.
    pub seq: u64,
    /// The turn of the coordinator that began it.
    pub turn: u64,
}

impl fmt::Display for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.seq, self.turn)
    }
}

/// What a transaction does to the playlist.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Gives a song a URL, also one that has another.
    Add {
        /// The song.
        song: String,
        /// Where it is.
        url: String,
    },
    /// Removes a song, if it is there.
    Delete {
        /// The song.
        song: String,
    },
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add { song, url } => write!(f, "add {song} {url}"),
            Self::Delete { song } => write!(f, "delete {song}"),
        }
    }
}

/// A transaction that a server has a record of and no decision on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pending {
    /// Which.
    pub txn: Txn,
    /// What it does.
    pub op: Op,
    /// The servers that vote on it.
    pub participants: Servers,
    /// Whether a pre-commit came: all have voted YES. Else the server is uncertain.
    pub committable: bool,
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.committable {
            "committable"
        } else {
            "uncertain"
        };
        let Self {
            txn,
            op,
            participants,
            ..
        } = self;
        write!(f, "{state} {txn} {participants} {op}")
    }
}

/// A transaction that is decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Which.
    pub txn: Txn,
    /// What it does.
    pub op: Op,
    /// Whether it was committed; else it was aborted.
    pub commit: bool,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.commit { "commit" } else { "abort" };
        write!(f, "{word} {} {}", self.txn, self.op)
    }
}

/// How far a server has come: what termination and recovery are decided by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Report {
    /// The last decision it knows. It knows all before.
    pub last: Option<Decision>,
    /// The transaction behind that, if it has a record of it.
    pub pending: Option<Pending>,
}

impl Report {
    /// The last transaction it knows the decision on: of two reports the one with the greater
    /// position has the later playlist.
    pub(crate) fn position(&self) -> Option<Txn> {
        self.last.as_ref().map(|last| last.txn)
    }

    /// The place of the next transaction.
    pub(crate) fn next_seq(&self) -> u64 {
        self.last.as_ref().map_or(1, |last| last.txn.seq + 1)
    }

    /// Whether it has a record of `txn`, undecided.
    pub(crate) fn has_pending(&self, txn: Txn) -> bool {
        self.pending.as_ref().is_some_and(|p| p.txn == txn)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.last {
            Some(last) => write!(f, "{last} ")?,
            None => f.write_str("- ")?,
        }
        match &self.pending {
            Some(pending) => write!(f, "{pending}"),
            None => f.write_str("-"),
        }
    }
}

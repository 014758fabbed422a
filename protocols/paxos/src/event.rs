//! What the protocol tells logs, metrics and checkers.

use crate::ballot::Ballot;
use crate::value::Value;
use chatroom_machine::{Level, Notice};
use core::fmt;

/// What happened in the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PaxosEvent {
    /// This server leads: a majority promised it its ballot.
    Leading {
        /// With which ballot.
        ballot: Ballot,
    },
    /// This server leads no more, or failed to.
    Deposed {
        /// With which ballot.
        ballot: Ballot,
    },
    /// A slot was learned to be decided. Only with
    /// [`Config::observe`](chatroom_core::Config::observe).
    Decided {
        /// Which.
        slot: u64,
        /// What it holds.
        value: Value,
    },
    /// A peer says that a slot was decided otherwise than this server has learned: what is
    /// promised of the protocol does not hold. The first value is kept.
    Disagreement {
        /// Which slot.
        slot: u64,
        /// Who says so.
        peer: u32,
    },
}

impl Notice for PaxosEvent {
    fn level(&self) -> Level {
        match self {
            Self::Leading { .. } | Self::Deposed { .. } => Level::Info,
            Self::Decided { .. } => Level::Debug,
            Self::Disagreement { .. } => Level::Warn,
        }
    }
}

impl fmt::Display for PaxosEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leading { ballot } => write!(f, "leading with ballot {ballot}"),
            Self::Deposed { ballot } => write!(f, "no longer leading with ballot {ballot}"),
            Self::Decided { slot, value } => write!(f, "decided {slot} {value}"),
            Self::Disagreement { slot, peer } => write!(
                f,
                "peer {peer} says that slot {slot} was decided otherwise: the first value is kept"
            ),
        }
    }
}

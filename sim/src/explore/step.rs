//! What can happen next, and which two of these things commute.

use std::fmt;

/// A connection between two servers: who dialled whom, and how many such dials came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wire {
    /// Who dialled.
    pub from: u8,
    /// Whom.
    pub to: u8,
    /// How many dials of this pair came before.
    pub number: u8,
}

impl Wire {
    /// The server at a side: the dialler's is 0.
    pub(super) const fn host(self, side: usize) -> u8 {
        if side == 0 { self.from } else { self.to }
    }
}

/// Written `2>0#1`: server 2's second connection to server 0.
impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{}#{}", self.from, self.to, self.number)
    }
}

/// One thing that happens. The order of the variants is the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The outcome of a dial reaches the dialler: a connection if the other server is up.
    Dialled(Wire),
    /// The next thing in flight to a side arrives: the connection itself, a line, or its end.
    Deliver(Wire, u8),
    /// Of what is still in flight to a side from a dead end, nothing arrives but a reset.
    Cut(Wire, u8),
    /// Of what is still in flight to a side from a dead end, only the beginning of a line arrives,
    /// then the end.
    Tear(Wire, u8),
    /// Time passes for a server until it dials again.
    Tick(u8),
    /// A master broadcasts.
    Broadcast(u8),
    /// A server starts, for the first time or again.
    Start(u8),
    /// A server is killed.
    Crash(u8),
    /// A connection between two live servers breaks.
    Break(Wire),
}

impl Step {
    /// Whether it is the world's doing, and not what must happen sooner or later.
    pub(super) const fn is_optional(self) -> bool {
        match self {
            Self::Broadcast(_) | Self::Start(_) | Self::Crash(_) | Self::Break(_) => true,
            Self::Dialled(_)
            | Self::Deliver(..)
            | Self::Cut(..)
            | Self::Tear(..)
            | Self::Tick(_) => false,
        }
    }

    /// The servers whose state it changes.
    const fn actors(self) -> (u8, u8) {
        let one = match self {
            Self::Dialled(wire) => wire.from,
            Self::Deliver(wire, side) | Self::Cut(wire, side) | Self::Tear(wire, side) => {
                wire.host(side as usize)
            }
            Self::Tick(host) | Self::Broadcast(host) | Self::Start(host) | Self::Crash(host) => {
                host
            }
            Self::Break(wire) => return (wire.from, wire.to),
        };
        (one, one)
    }

    /// Whether the order of two steps that are both possible may matter. If it says no, neither
    /// disables the other and both orders lead to the same state: one takes from the head of a
    /// stream what the other appends to at its tail, at most.
    #[must_use]
    pub const fn depends_on(self, other: Self) -> bool {
        let ((a, b), (c, d)) = (self.actors(), other.actors());
        if a == c || a == d || b == c || b == d {
            return true;
        }
        match (self, other) {
            // They draw on one budget.
            (Self::Broadcast(_), Self::Broadcast(_))
            | (Self::Start(_), Self::Start(_))
            | (Self::Crash(_), Self::Crash(_))
            | (Self::Break(_), Self::Break(_))
            // How a dial ends is up to whether the other server is up.
            | (Self::Dialled(_), Self::Start(_) | Self::Crash(_))
            | (Self::Start(_) | Self::Crash(_), Self::Dialled(_)) => true,
            (
                Self::Dialled(_)
                | Self::Deliver(..)
                | Self::Cut(..)
                | Self::Tear(..)
                | Self::Tick(_)
                | Self::Broadcast(_)
                | Self::Start(_)
                | Self::Crash(_)
                | Self::Break(_),
                _,
            ) => false,
        }
    }
}

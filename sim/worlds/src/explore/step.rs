//! What can happen next, and which two of these things commute.

use chatroom_sim::plan::{PlanError, wrong};
use std::fmt;
use std::str::FromStr;

/// A connection between two servers: who dialled whom, and how many such dials came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wire {
    /// Who dialled.
    pub from: u8,
    /// Whom.
    pub to: u8,
    /// How many dials of this pair came before: below 255, and a server that dials once more is
    /// out of bounds.
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

/// Reads what [`Display`](fmt::Display) writes.
impl FromStr for Wire {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let parts = text.split_once('>');
        let parts = parts.and_then(|(from, rest)| Some((from, rest.split_once('#')?)));
        if let Some((from, (to, number))) = parts
            && let (Ok(from), Ok(to), Ok(number)) = (from.parse(), to.parse(), number.parse())
        {
            return Ok(Self { from, to, number });
        }
        wrong(0, "a connection such as 2>0#1", text)
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
    /// The first unsaved record of a server's volume becomes durable, and the server is told.
    Store(u8, u8),
}

/// Written as in a plan: `deliver 2>0#1 to 0`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Dialled(wire) => write!(f, "dialled {wire}"),
            Self::Deliver(wire, side) => write!(f, "deliver {wire} to {}", wire.host(side.into())),
            Self::Cut(wire, side) => write!(f, "cut {wire} to {}", wire.host(side.into())),
            Self::Tear(wire, side) => write!(f, "tear {wire} to {}", wire.host(side.into())),
            Self::Tick(host) => write!(f, "tick {host}"),
            Self::Broadcast(host) => write!(f, "broadcast {host}"),
            Self::Start(host) => write!(f, "start {host}"),
            Self::Crash(host) => write!(f, "crash {host}"),
            Self::Break(wire) => write!(f, "break {wire}"),
            Self::Store(host, volume) => write!(f, "store {host} {volume}"),
        }
    }
}

/// Reads what [`Display`](fmt::Display) writes.
impl FromStr for Step {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let words: Vec<&str> = text.split(' ').collect();
        let side = |wire: &str, to: &str| {
            let wire: Wire = wire.parse()?;
            let to = to.parse().ok();
            match [wire.from, wire.to]
                .iter()
                .position(|host| Some(*host) == to)
            {
                Some(side) => Ok((wire, side as u8)),
                None => wrong(0, "one of the connection's two servers", text),
            }
        };
        let host = |host: &str| {
            host.parse()
                .or_else(|_| wrong(0, "a server's number", text))
        };
        Ok(match words[..] {
            ["dialled", wire] => Self::Dialled(wire.parse()?),
            ["deliver", wire, "to", to] => side(wire, to).map(|(w, s)| Self::Deliver(w, s))?,
            ["cut", wire, "to", to] => side(wire, to).map(|(w, s)| Self::Cut(w, s))?,
            ["tear", wire, "to", to] => side(wire, to).map(|(w, s)| Self::Tear(w, s))?,
            ["tick", id] => Self::Tick(host(id)?),
            ["broadcast", id] => Self::Broadcast(host(id)?),
            ["start", id] => Self::Start(host(id)?),
            ["crash", id] => Self::Crash(host(id)?),
            ["break", wire] => Self::Break(wire.parse()?),
            ["store", id, volume] => Self::Store(host(id)?, host(volume)?),
            _ => {
                return wrong(
                    0,
                    "a step such as \"crash 1\" or \"deliver 2>0#1 to 0\"",
                    text,
                );
            }
        })
    }
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
            | Self::Tick(_)
            | Self::Store(..) => false,
        }
    }

    /// The servers whose state it changes: two, or twice the same one.
    const fn actors(self) -> [u8; 2] {
        let one = match self {
            Self::Dialled(wire) => wire.from,
            Self::Deliver(wire, side) | Self::Cut(wire, side) | Self::Tear(wire, side) => {
                wire.host(side as usize)
            }
            Self::Tick(host)
            | Self::Broadcast(host)
            | Self::Start(host)
            | Self::Crash(host)
            | Self::Store(host, _) => host,
            Self::Break(wire) => return [wire.from, wire.to],
        };
        [one, one]
    }

    /// Whether the order of two steps that are both possible may matter. If it says no, neither
    /// disables the other and both orders lead to the same state: one takes from the head of a
    /// stream what the other appends to at its tail, at most.
    #[must_use]
    pub fn depends_on(self, other: Self) -> bool {
        let theirs = other.actors();
        if self.actors().iter().any(|host| theirs.contains(host)) {
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
                | Self::Break(_)
                | Self::Store(..),
                _,
            ) => false,
        }
    }
}

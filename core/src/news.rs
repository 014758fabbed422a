//! What a server tells people, metrics and checkers, and why a connection ended.

use alloc::boxed::Box;
use chatroom_machine::Span;
use chatroom_machine::{Conn, Door, Level, Notice};
use core::fmt;

/// One piece of news; `E` is the protocol's event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum News<E> {
    /// A peer is up: its first valid line came in on `conn`.
    Up {
        /// Who.
        peer: u32,
        /// The link of the new session.
        conn: Conn,
    },
    /// A peer is down: the session on `conn` is over.
    Down {
        /// Who.
        peer: u32,
        /// The link of the session.
        conn: Conn,
        /// Why.
        why: Why,
        /// How long nothing had come from it.
        silence: Span,
    },
    /// A connection without a session ended: a dial, a nameless link, a master.
    Closed {
        /// Which.
        conn: Conn,
        /// Why.
        why: Why,
    },
    /// A line of an unknown kind from a known peer was skipped. Told for the first, second,
    /// fourth, eighth… of a session.
    Skipped {
        /// Who sent it.
        peer: u32,
        /// How many there were in this session.
        count: u64,
    },
    /// A peer is of another protocol, or of a grid of another size. Told once, until it is one
    /// that fits.
    Misfit {
        /// Who.
        peer: u32,
        /// The word of its protocol.
        word: Box<str>,
        /// How many servers it takes the grid to have.
        servers: u32,
    },
    /// A peer said from which of its broadcasts on they follow.
    Following {
        /// Who.
        peer: u32,
        /// The link of the session.
        conn: Conn,
        /// How many broadcasts of its incarnation lie before.
        count: u64,
        /// Whether the session goes on with an earlier one of the same two incarnations.
        resumed: bool,
        /// How many of those before are lost to this server: the link broke, and the peer no longer
        /// kept them.
        lost: u64,
    },
    /// A connection could not be accepted for want of a resource. Told once an episode.
    Starved {
        /// Where.
        door: Door,
    },
    /// The server ends in good order.
    Ending,
    /// The protocol's own.
    Protocol(E),
}

/// The event of a protocol that has nothing to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoEvent {}

impl fmt::Display for NoEvent {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl Notice for NoEvent {
    fn level(&self) -> Level {
        match *self {}
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Why {
    /// The other side finished in good order.
    Finished,
    /// The transport broke.
    Broken,
    /// Nothing came for the suspicion time.
    Silent,
    /// The same peer came back on a newer link.
    Replaced,
    /// A new link said nothing valid for the greeting time.
    NoGreeting,
    /// The dial failed.
    Refused,
    /// The dial took longer than the dial time.
    DialTimeout,
    /// It was the oldest of too many.
    Crowded,
    /// It fell further behind than its limit.
    FellBehind,
    /// A line was longer than its limit.
    TooLong,
    /// A line was not UTF-8.
    NotUtf8,
    /// A line was not of the form its kind has.
    Malformed,
    /// An id lay outside the grid.
    OutsideGrid,
    /// The line carried our own id.
    OwnId,
    /// The id was not the one of this link.
    OtherId,
    /// An id below ours came in, where only ids above ours dial.
    ShouldNotDial,
    /// A line of no known kind came before any identity.
    NoIdentity,
    /// Its peer is up on another link, and is heard there.
    Contested,
    /// It runs another protocol.
    OtherProtocol,
    /// It takes the grid to have another number of servers.
    OtherSize,
    /// A web browser or another HTTP client came to the masters' door.
    Http,
    /// Every place for a master was taken.
    Full,
    /// An idle master gave its place to a newcomer.
    Idle,
    /// The server ends.
    Ending,
}

impl Why {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 24] = [
        Self::Finished,
        Self::Broken,
        Self::Silent,
        Self::Replaced,
        Self::NoGreeting,
        Self::Refused,
        Self::DialTimeout,
        Self::Crowded,
        Self::FellBehind,
        Self::TooLong,
        Self::NotUtf8,
        Self::Malformed,
        Self::OutsideGrid,
        Self::OwnId,
        Self::OtherId,
        Self::ShouldNotDial,
        Self::NoIdentity,
        Self::Contested,
        Self::OtherProtocol,
        Self::OtherSize,
        Self::Http,
        Self::Full,
        Self::Idle,
        Self::Ending,
    ];

    /// A word for it, fit for a label of a metric.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Broken => "broken",
            Self::Silent => "silent",
            Self::Replaced => "replaced",
            Self::NoGreeting => "no_greeting",
            Self::Refused => "refused",
            Self::DialTimeout => "dial_timeout",
            Self::Crowded => "crowded",
            Self::FellBehind => "fell_behind",
            Self::TooLong => "too_long",
            Self::NotUtf8 => "not_utf8",
            Self::Malformed => "malformed",
            Self::OutsideGrid => "outside_grid",
            Self::OwnId => "own_id",
            Self::OtherId => "other_id",
            Self::ShouldNotDial => "should_not_dial",
            Self::NoIdentity => "no_identity",
            Self::Contested => "contested",
            Self::OtherProtocol => "other_protocol",
            Self::OtherSize => "other_size",
            Self::Http => "http",
            Self::Full => "full",
            Self::Idle => "idle",
            Self::Ending => "ending",
        }
    }

    /// Whether the other side broke the rules.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        match self {
            Self::TooLong
            | Self::NotUtf8
            | Self::Malformed
            | Self::OutsideGrid
            | Self::OwnId
            | Self::OtherId
            | Self::ShouldNotDial
            | Self::NoIdentity
            | Self::Contested
            | Self::OtherProtocol
            | Self::OtherSize
            | Self::Http => true,
            Self::Finished
            | Self::Broken
            | Self::Silent
            | Self::Replaced
            | Self::NoGreeting
            | Self::Refused
            | Self::DialTimeout
            | Self::Crowded
            | Self::FellBehind
            | Self::Full
            | Self::Idle
            | Self::Ending => false,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "the other side finished",
            Self::Broken => "the connection broke",
            Self::Silent => "silent for too long",
            Self::Replaced => "it came back on a newer link",
            Self::NoGreeting => "no valid line in time",
            Self::Refused => "the dial failed",
            Self::DialTimeout => "the dial took too long",
            Self::Crowded => "the oldest of too many",
            Self::FellBehind => "fell too far behind",
            Self::TooLong => "a line too long",
            Self::NotUtf8 => "a line that is not UTF-8",
            Self::Malformed => "a malformed line",
            Self::OutsideGrid => "an id outside the grid",
            Self::OwnId => "our own id",
            Self::OtherId => "an id that is not this link's",
            Self::ShouldNotDial => "an id that ought not to dial us",
            Self::NoIdentity => "no identity",
            Self::Contested => "its peer is up on another link",
            Self::OtherProtocol => "a server of another protocol",
            Self::OtherSize => "a server of a grid of another size",
            Self::Http => "an HTTP request: this is no web server",
            Self::Full => "a master was refused: the limit of masters is reached",
            Self::Idle => "an idle master gave way to a newcomer",
            Self::Ending => "the server ends",
        })
    }
}

/// The reasons of which there would be too many: an absent peer is dialled many times a second, and
/// of one that does not fit [`News::Misfit`] tells, once.
const QUIET: [Why; 4] = [
    Why::Refused,
    Why::DialTimeout,
    Why::OtherProtocol,
    Why::OtherSize,
];
/// The reasons that show a limit at work.
const LIMITS: [Why; 4] = [Why::FellBehind, Why::Crowded, Why::Full, Why::Idle];

impl<E: Notice> Notice for News<E> {
    fn level(&self) -> Level {
        match self {
            Self::Up { .. } | Self::Ending => Level::Info,
            Self::Down { why, .. } => match why.is_fault() || *why == Why::FellBehind {
                true => Level::Warn,
                false => Level::Info,
            },
            Self::Closed { why, .. } => {
                if QUIET.contains(why) {
                    Level::Debug
                } else if why.is_fault() || LIMITS.contains(why) {
                    Level::Warn
                } else {
                    Level::Info
                }
            }
            Self::Following { resumed, lost, .. } => match (*lost, resumed) {
                (0, false) => Level::Debug,
                (0, true) => Level::Info,
                (_, _) => Level::Warn,
            },
            Self::Skipped { .. } => Level::Info,
            Self::Starved { .. } | Self::Misfit { .. } => Level::Warn,
            Self::Protocol(event) => event.level(),
        }
    }
}

impl<E: fmt::Display> fmt::Display for News<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up { peer, conn } => write!(f, "peer {peer} up on {conn}"),
            Self::Down {
                peer,
                conn,
                why,
                silence,
            } => write!(
                f,
                "peer {peer} down on {conn}: {why}, last heard {silence} ago"
            ),
            Self::Closed { conn, why } => write!(f, "connection {conn} closed: {why}"),
            Self::Skipped { peer, count } => {
                write!(
                    f,
                    "peer {peer} sent {count} lines of an unknown kind: skipped"
                )
            }
            Self::Misfit {
                peer,
                word,
                servers,
            } => write!(
                f,
                "peer {peer} does not fit: it runs {word:?} in a grid of {servers} servers"
            ),
            Self::Following {
                peer,
                conn,
                count,
                resumed,
                lost,
            } => {
                write!(f, "peer {peer} ")?;
                f.write_str(if *resumed { "goes on" } else { "begins" })?;
                write!(f, " behind its broadcast {count} on {conn}")?;
                match lost {
                    0 => Ok(()),
                    lost => write!(f, ": {lost} are lost, which it no longer kept"),
                }
            }
            Self::Starved { door } => write!(
                f,
                "no resources to accept a connection at door {}: trying again in a while",
                door.0
            ),
            Self::Protocol(event) => event.fmt(f),
            Self::Ending => f.write_str("ending in good order"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_number_with_a_label_of_its_own() {
        for (i, why) in Why::ALL.iter().enumerate() {
            assert_eq!(*why as usize, i);
            assert!(Why::ALL[..i].iter().all(|w| w.label() != why.label()));
        }
    }
}

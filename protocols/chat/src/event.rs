//! What the chat tells logs, metrics and checkers.

use alloc::boxed::Box;
use chatroom_machine::{Conn, Level, Notice};
use core::fmt;

/// What happened in the chat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ChatEvent {
    /// A text went into the log. Only with [`Config::observe`](chatroom_core::Config::observe).
    Delivered {
        /// Who broadcast it.
        sender: u32,
        /// The link it came on; none for an own one.
        conn: Option<Conn>,
        /// The text.
        text: Box<str>,
    },
    /// The log reached its limit of `bytes`: what is new is refused.
    LogFull {
        /// The limit.
        bytes: u64,
    },
    /// Messages of a peer were not kept.
    Gap {
        /// Whose.
        peer: u32,
        /// How many there were since the last such event.
        count: u64,
    },
}

impl Notice for ChatEvent {
    fn level(&self) -> Level {
        match self {
            Self::Delivered { .. } => Level::Debug,
            Self::LogFull { .. } | Self::Gap { .. } => Level::Warn,
        }
    }
}

impl fmt::Display for ChatEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered { sender, conn, text } => match conn {
                Some(conn) => write!(f, "delivered {sender} on {conn}: {text}"),
                None => write!(f, "delivered {sender}: {text}"),
            },
            Self::LogFull { bytes } => {
                write!(f, "the log is full ({bytes} bytes): what is new is refused")
            }
            Self::Gap { peer, count } => {
                write!(
                    f,
                    "{count} messages of peer {peer} were not kept: the log is full"
                )
            }
        }
    }
}

//! What a slot of the log can hold.

use alloc::sync::Arc;
use core::fmt;

/// The value of one slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Nothing: fills a hole that a leader found.
    Noop,
    /// A command for the [state machine](crate::StateMachine): one line, at least one byte.
    Command(Arc<str>),
}

/// `-` or `=COMMAND`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Noop => f.write_str("-"),
            Self::Command(command) => write!(f, "={command}"),
        }
    }
}

impl Value {
    /// Reads what [`Display`](fmt::Display) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix('=') {
            Some("") => None,
            Some(command) => Some(Self::Command(command.into())),
            None => (text == "-").then_some(Self::Noop),
        }
    }

    /// The command, if it is one.
    #[must_use]
    pub fn command(&self) -> Option<&str> {
        match self {
            Self::Noop => None,
            Self::Command(command) => Some(command),
        }
    }
}

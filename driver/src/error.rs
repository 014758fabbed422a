//! Why a runtime could not begin or go on.

use chatroom_machine::Door;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// What kept a runtime from running. Nothing that a peer does leads here.
#[derive(Debug)]
pub enum Error {
    /// A door's address could not be listened on.
    Bind {
        /// The door.
        door: Door,
        /// Its address.
        address: SocketAddr,
        /// The system's reason.
        cause: io::Error,
    },
    /// The system denied something that a runtime cannot do without.
    System {
        /// What was tried, as in "make a timer".
        doing: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
}

impl Error {
    /// For `map_err`: the system denied `doing`.
    pub fn system<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::System {
            doing,
            cause: cause.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, cause, .. } => {
                write!(f, "cannot listen on {address}: {cause}")
            }
            Self::System { doing, cause } => write!(f, "cannot {doing}: {cause}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { cause, .. } | Self::System { cause, .. } => Some(cause),
        }
    }
}

//! What things are called in plans, facts and traces: hosts, their lives, and outside clients.

use std::fmt;

/// A host of the simulated grid, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(pub u16);

impl Host {
    /// The host as an index into a table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life (incarnation) of a host: the first one is life 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who {
    /// The host.
    pub host: Host,
    /// How many lives of it came before.
    pub life: u32,
}

/// Written `host.life`, as in `2.0`.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.host, self.life)
    }
}

/// A client from outside the grid, named by the host that it talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    /// The host that it connects to.
    pub host: Host,
    /// Which of that host's clients it is.
    pub number: u8,
}

/// Written `host/number`, as in `2/0`.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.number)
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// A life of a host.
    Host(Who),
    /// A client from outside.
    Client(Client),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(who) => who.fmt(f),
            Self::Client(client) => client.fmt(f),
        }
    }
}

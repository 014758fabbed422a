//! Ballots: who may have values accepted, in a total order.

use core::fmt;
use core::str::FromStr;

/// A ballot: a round, and the server whose it is. No two servers share one, and a server never uses
/// one again after a restart, as it stores it before it asks anybody for a promise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// Counts attempts to lead. 0 is below every round that is used.
    pub round: u64,
    /// Whose it is; decides between ballots of one round.
    pub server: u32,
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.round, self.server)
    }
}

/// A text is not of the form `ROUND.SERVER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoBallot;

impl fmt::Display for NoBallot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a ballot as in 3.1, a round and a server")
    }
}

impl core::error::Error for NoBallot {}

impl FromStr for Ballot {
    type Err = NoBallot;

    fn from_str(text: &str) -> Result<Self, NoBallot> {
        let (round, server) = text.split_once('.').ok_or(NoBallot)?;
        Ok(Self {
            round: round.parse().map_err(|_| NoBallot)?,
            server: server.parse().map_err(|_| NoBallot)?,
        })
    }
}

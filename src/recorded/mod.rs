//! Recordings of one grid's servers as one run that can be drawn: each is read whole ([`reading`]),
//! the two ends of each link are found ([`matching`]), the clocks are aligned ([`clocks`]), and
//! what happened is told in one order ([`mod@merge`]).

mod clocks;
mod matching;
mod merge;
mod reading;
#[cfg(test)]
mod tests;

pub(crate) use merge::{Merged, merge};
pub(crate) use reading::{Recording, read};

use chatroom_sim::plan::MAX_HOSTS;

/// The most recordings in one picture.
pub(crate) const MAX_RECORDINGS: usize = MAX_HOSTS as usize;
/// The most bytes of all recordings of one picture. What they hold is held in memory, which takes
/// some fifty times as much where all records are short.
pub(crate) const MAX_BYTES: u64 = 32 << 20;

//! A real grid for minutes or hours: random kills, crashes, stops, restarts, bursts, masters that
//! do not read, and strangers that break every rule, while the log of every life is judged entry
//! by entry against the contract, and memory, descriptors and processor time are sampled.
//!
//! The checks on the logs are certain, since every text says which broadcast it is. What depends on
//! the machine (how fast a death was noticed, whether a live server was suspected) is measured, and
//! is a violation only where [`Settings::strict`] says so. Its own memory is bounded: logs are
//! judged as they are read and never kept.

mod chronicle;
mod grid;
mod judge;
mod life;
mod report;
mod sample;
mod strangers;
mod text;

pub use chronicle::{Chronicle, Times};
pub use report::{Report, Series};
pub use sample::Usage;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What the servers run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtimes {
    /// All on threads.
    Std,
    /// All on smol.
    Smol,
    /// Each life on one of them, by chance.
    Mixed,
}

/// What a soak is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program to run as `BINARY serve ...`.
    pub binary: PathBuf,
    /// How many servers, from 2.
    pub servers: usize,
    /// How long, not counting the checks at the end.
    pub time: Duration,
    /// The time between two checkpoints, at which the grid must become whole and every log is
    /// compared to the byte.
    pub checkpoint: Duration,
    /// What the servers run on.
    pub runtimes: Runtimes,
    /// Decides what is done; not what comes of it.
    pub seed: u64,
    /// Whether a bound on time that is not kept is a violation: for a calm machine.
    pub strict: bool,
}

/// Runs a soak.
///
/// # Errors
/// If processes cannot be started or looked at. What the servers do wrong is in the report.
pub fn run(settings: &Settings) -> io::Result<Report> {
    grid::Grid::new(settings).run()
}

//! The contract between a protocol and whatever drives it: a runtime on real sockets, a recorder,
//! a simulator. `no_std`, without a dependency; nothing here knows what a peer or a chat is.
//!
//! A protocol implements [`Machine`]. A driver owns sockets and a clock, calls `handle_*` with what
//! happened, does each [`Action`] that [`Machine::poll`] returns, and waits for as long as
//! [`Machine::poll_timeout`] says.
#![no_std]
#![deny(clippy::float_arithmetic)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod checked;
mod contract;
mod storage;
mod time;

pub use checked::{Breach, Checked, Checks, Rule, Side};
pub use contract::*;
pub use storage::{RECORD_MAX, Volume, VolumeId, VolumeKind};
pub use time::{Span, Time};

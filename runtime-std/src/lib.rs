//! A machine on plain threads and blocking sockets.
//!
//! One thread, the caller's, keeps house: it accepts, dials, goes on with blocked writes and keeps
//! the time, all in one wait. It also reads from every connection that has not spoken since
//! it was opened, so that one which comes and goes, or comes and says nothing, costs no thread.
//!
//! With its first bytes a connection gets a thread of its own, its reader, which sleeps until
//! there is more, then reads and passes on under one lock what has come, together with all that
//! follows from it: writing never blocks. Readers wake the keeper only when a deadline has moved
//! forward. If the system has no thread left, the keeper goes on reading for those without one,
//! and the doors rest for a moment at each newcomer that gets none.
//!
//! Nothing here knows what travels over a connection.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod house;
mod waiting;

use chatroom_driver::{Addresses, Error, Observer, Outcome, Reads, Shell, Stop};
use chatroom_machine::Machine;
use house::House;

/// Runs `machine` until it comes to its end, by itself or because of `stop`.
///
/// Takes one thread for each connection that has spoken, besides the caller's, and one that stores
/// if the machine has volumes.
///
/// # Errors
/// [`Error::Bind`] if a door's address is taken, [`Error::System`] if the system denies a timer or
/// the like, and what [`Error`] says of the machine's files.
pub fn run<M, O>(
    machine: M,
    addresses: Addresses,
    observer: O,
    stop: &Stop,
) -> Result<Outcome, Error>
where
    M: Machine + Send,
    O: Observer<M> + Send,
{
    let shell = Shell::new(machine, addresses, observer, Reads::Blocking)?;
    let house = House::new(shell, stop)?;
    std::thread::scope(|scope| house.keep(scope))
}

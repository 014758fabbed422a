//! A machine on plain threads and blocking sockets.
//!
//! Each connection has a thread that sleeps until there is input, then reads and passes on under
//! one lock what has come, together with all that follows from it: writing never blocks. One more
//! thread, the caller's, keeps house: it accepts, dials, goes on with blocked writes and keeps the
//! time. It sleeps in one call, and the others wake it only when a deadline has moved forward.
//!
//! Nothing here knows what travels over a connection.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod house;
mod waiting;

use chatroom_core::machine::Machine;
use chatroom_driver::{Addresses, Error, Observer, Outcome, Reads, Shell, Stop};
use house::House;

/// Runs `machine` until it comes to its end, by itself or because of `stop`.
///
/// Takes one thread a connection besides the caller's.
///
/// # Errors
/// [`Error::Bind`] if a door's address is taken, [`Error::System`] if the system denies a timer or
/// the like.
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

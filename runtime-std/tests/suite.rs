//! The suite of all runtimes, on this one.

use chatroom_driver::testing::Runtime;
use chatroom_driver::{Addresses, Error, Observer, Outcome, Stop};
use chatroom_machine::Machine;

struct Threads;

impl Runtime for Threads {
    fn run<M, O>(
        machine: M,
        addresses: Addresses,
        observer: O,
        stop: &Stop,
    ) -> Result<Outcome, Error>
    where
        M: Machine + Send,
        O: Observer<M> + Send,
    {
        chatroom_runtime_std::run(machine, addresses, observer, stop)
    }
}

chatroom_driver::suite!(Threads);
chatroom_driver::storage_suite!(Threads);

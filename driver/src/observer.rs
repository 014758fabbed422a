//! Who is told what a machine has to say, besides its peers.

use chatroom_machine::Machine;
use chatroom_machine::Time;

/// Hears a machine's notices and may look at it now and then: logs, metrics, tests.
///
/// It is called while the machine is held: it must not block.
pub trait Observer<M: Machine> {
    /// Hears one notice.
    fn notice(&mut self, now: Time, notice: &M::Notice);

    /// Looks at the machine, for gauges: after a pass, at most four times a second.
    fn look(&mut self, now: Time, machine: &M);
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl<M: Machine> Observer<M> for Silent {
    fn notice(&mut self, _now: Time, _notice: &M::Notice) {}
    fn look(&mut self, _now: Time, _machine: &M) {}
}

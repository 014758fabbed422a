//! The engine: a heap of events, jumping from one to the next, and the hosts, links and clients
//! that they change. It follows a [`Plan`] and shows an [`Observer`] what happens.

use crate::names::Host;
use crate::observer::{Observer, Violation};
use crate::plan::{Change, Plan};
use chatroom_core::machine::{Door, Machine, Place};
use chatroom_core::time::Time;
use std::marker::PhantomData;

/// What is put on the simulator: how to make a machine, and who stands where.
pub trait World {
    /// The protocol.
    type Machine: Machine;

    /// Makes the machine of a life.
    fn spawn(&self, birth: &Birth) -> Self::Machine;

    /// Whom a host reaches at a place. By default place `i` is host `i`'s door 0.
    fn route(&self, from: Host, to: Place) -> Option<(Host, Door)> {
        let _ = from;
        u16::try_from(to.0).ok().map(|host| (Host(host), Door(0)))
    }
}

/// The beginning of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// The host.
    pub host: Host,
    /// How many lives of it came before.
    pub life: u32,
    /// How many hosts the grid has.
    pub hosts: u16,
    /// A seed of its own, for the machine's jitter.
    pub seed: u64,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome<O> {
    /// What broke, if anything did.
    pub violation: Option<Violation>,
    /// A hash of everything that happened: two runs of one plan have the same, on any machine.
    pub hash: u64,
    /// How many facts there were.
    pub steps: u64,
    /// How many events the engine handled.
    pub events: u64,
    /// The moment at which it ended.
    pub ended: Time,
    /// The observer that saw it.
    pub observer: O,
}

/// One run of one plan.
///
/// The properties that it checks by itself are the driver's contract: `panic`, `misuse`,
/// `timeout-not-ahead`, `livelock`, `bad-handle`, `action-after-halt`.
pub struct Engine<'a, W: World, O> {
    world: &'a W,
    plan: &'a Plan,
    observer: O,
    _m: PhantomData<W>,
}

impl<'a, W: World, O: Observer<W::Machine>> Engine<'a, W, O> {
    /// Prepares a run. Nothing has happened yet.
    ///
    /// # Panics
    /// If the plan breaks its bounds: see [`Plan::check`].
    #[must_use]
    pub fn new(world: &'a W, plan: &'a Plan, observer: O) -> Self {
        Self {
            world,
            plan,
            observer,
            _m: PhantomData,
        }
    }

    /// Runs to the plan's end, or to the first violation. No panic of a machine or an observer
    /// gets through: it is a violation of `panic`.
    pub fn run(self) -> Outcome<O> {
        unimplemented!()
    }

    /// Runs until `at` (the events of that moment included), or to the plan's end, or to the first
    /// violation. Returns false when the run is over.
    pub fn run_until(&mut self, at: Time) -> bool {
        let _ = at;
        unimplemented!()
    }

    /// Handles one event. Returns false when the run is over.
    pub fn step(&mut self) -> bool {
        unimplemented!()
    }

    /// Makes something happen now that is not in the plan: for clients that react to what they
    /// hear. The caller answers for determinism.
    ///
    /// # Panics
    /// If the change breaks the plan's bounds.
    pub fn apply(&mut self, change: &Change) {
        let _ = change;
        unimplemented!()
    }

    /// The current moment.
    #[must_use]
    pub fn now(&self) -> Time {
        unimplemented!()
    }

    /// The observer.
    pub fn observer(&mut self) -> &mut O {
        &mut self.observer
    }

    /// Ends the run where it stands.
    pub fn finish(self) -> Outcome<O> {
        let _ = (self.world, self.plan);
        unimplemented!()
    }
}

/// Runs a plan to its end.
pub fn run<W: World, O: Observer<W::Machine>>(world: &W, plan: &Plan, observer: O) -> Outcome<O> {
    Engine::new(world, plan, observer).run()
}

//! The engine: a queue of events, jumping from one to the next, and the hosts, links and clients
//! that they change. It follows a [`Plan`] and shows an [`Observer`] what happens.

mod change;
mod client;
mod clock;
mod contract;
mod dial;
mod disk;
mod host;
mod queue;
mod stream;
mod watch;

use crate::disk::{DiskError, SimDisk};
use crate::names::Host;
use crate::net::link::Link;
use crate::net::way::WayState;
use crate::observer::{Fact, Observer, Violation};
use crate::plan::{Change, Plan};
use crate::random::Choice;
use chatroom_machine::Time;
use chatroom_machine::{Checked, Door, Machine, Place};
use chatroom_storage::Disk;
use host::HostState;
use queue::{At, Kind, Queue};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use watch::Watch;

pub use contract::violation;

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

    /// What stands between a host's disk and the store of a life: nothing, unless a test wants
    /// something to be wrong there.
    fn disk(&self, host: Host, disk: SimDisk) -> Box<dyn Disk<Error = DiskError>> {
        let _ = host;
        Box::new(disk)
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
#[non_exhaustive]
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
/// What it checks by itself is the contract between a machine and its driver, by a quick
/// [`Checked`]. The properties' names: `panic` (a machine or an observer panicked), `misuse` (a
/// right call was called a [`Misuse`](chatroom_machine::Misuse)), `bad-handle` (an action or an
/// accepted connection names a handle, a volume or a record that can't be), and else the name of
/// the [`Rule`](chatroom_machine::Rule), such as `timeout-not-ahead`, `livelock` or `accepts-on`.
pub struct Engine<'a, W: World, O> {
    world: &'a W,
    plan: &'a Plan,
    /// The plan's events in the order of their moments.
    order: Vec<u32>,
    /// How many of them took place.
    done: usize,
    /// The moment of the next of them, or of the heal; `u64::MAX` if there is none.
    change_at: u64,
    healed: bool,
    now: u64,
    queue: Queue,
    /// Apart from `hosts`, as observers may look at them.
    machines: Vec<Option<Checked<W::Machine>>>,
    hosts: Vec<HostState>,
    links: Vec<Link>,
    free: Vec<u32>,
    serials: u64,
    /// By `from * hosts + to`.
    ways: Vec<WayState>,
    watch: Watch<O>,
    events: u64,
    /// Whose machine was called last, and how: what a panic is put down to.
    doing: (u16, &'static str),
    violation: Option<Violation>,
    over: bool,
}

/// Goes on, or ends the run.
type Flow = Result<(), Box<Violation>>;

impl<'a, W: World, O: Observer<W::Machine>> Engine<'a, W, O> {
    /// Prepares a run. Nothing has happened yet.
    ///
    /// # Panics
    /// If the plan breaks its bounds: see [`Plan::check`].
    #[must_use]
    pub fn new(world: &'a W, plan: &'a Plan, observer: O) -> Self {
        if let Err(error) = plan.check() {
            panic!("the plan can't be run: {error}");
        }
        let mut order: Vec<u32> = (0..).take(plan.events.len()).collect();
        order.sort_by_key(|index| plan.events[*index as usize].at);
        let count = usize::from(plan.hosts);
        let mut engine = Self {
            world,
            plan,
            order,
            done: 0,
            change_at: 0,
            healed: false,
            now: 0,
            queue: Queue::with_capacity(1024),
            machines: (0..count).map(|_| None).collect(),
            hosts: (0..count).map(|_| HostState::new()).collect(),
            links: Vec::new(),
            free: Vec::new(),
            serials: 0,
            ways: vec![WayState::new(); count * count],
            watch: Watch::new(observer),
            events: 0,
            doing: (0, "handle_start"),
            violation: None,
            over: false,
        };
        engine.find_next_change();
        engine
    }

    /// Runs to the plan's end, or to the first violation. No panic of a machine or an observer
    /// gets through (where panics unwind): it is a violation of `panic`.
    pub fn run(mut self) -> Outcome<O> {
        self.run_until(Time::from_micros(u64::MAX));
        self.finish()
    }

    /// Runs until `at` (the events of that moment included), or to the plan's end, or to the first
    /// violation. Returns false when the run is over.
    pub fn run_until(&mut self, at: Time) -> bool {
        self.guarded(|engine| {
            while !engine.over && engine.next_at() <= at.as_micros() {
                engine.once()?;
            }
            Ok(())
        });
        if !self.over {
            self.now = self.now.max(at.as_micros());
        }
        !self.over
    }

    /// Handles one event. Returns false when the run is over.
    pub fn step(&mut self) -> bool {
        if !self.over {
            self.guarded(Self::once);
        }
        !self.over
    }

    /// Makes something happen now that is not in the plan: for clients that react to what they
    /// hear. The caller answers for determinism.
    ///
    /// # Panics
    /// If the change breaks the plan's bounds.
    pub fn apply(&mut self, change: &Change) {
        if let Err(error) = self.plan.check_change(change) {
            panic!("the change can't be made: {error}");
        }
        if !self.over {
            self.guarded(|engine| engine.change(change));
        }
    }

    /// The current moment.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::from_micros(self.now)
    }

    /// The observer.
    pub fn observer(&mut self) -> &mut O {
        &mut self.watch.observer
    }

    /// What broke, if anything did.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Ends the run where it stands.
    pub fn finish(self) -> Outcome<O> {
        Outcome {
            violation: self.violation,
            hash: self.watch.hash(),
            steps: self.watch.steps,
            events: self.events,
            ended: Time::from_micros(self.now),
            observer: self.watch.observer,
        }
    }

    /// Does a part of the run; a violation or a panic ends it.
    fn guarded(&mut self, part: impl FnOnce(&mut Self) -> Flow) {
        // What a panic leaves half done is never used again: the run is over.
        let result = catch_unwind(AssertUnwindSafe(|| part(self)));
        match result {
            Ok(Ok(())) => {}
            Ok(Err(violation)) => {
                self.violation = Some(*violation);
                self.over = true;
            }
            Err(panic) => {
                let (host, call) = self.doing;
                self.violation = Some(Violation {
                    property: "panic",
                    text: format!("{} (in or after {call} of host {host})", said(&*panic)),
                    events: self.watch.steps.checked_sub(1).into_iter().collect(),
                });
                self.over = true;
            }
        }
    }

    /// When something happens next.
    #[inline]
    fn next_at(&self) -> u64 {
        self.change_at
            .min(self.queue.next_at().unwrap_or(u64::MAX))
            .min(self.plan.phases.end.as_micros())
    }

    #[inline]
    fn once(&mut self) -> Flow {
        let at = self.queue.next_at().unwrap_or(u64::MAX);
        let end = self.plan.phases.end.as_micros();
        if self.change_at.min(at) > end {
            self.now = self.now.max(end);
            self.over = true;
            return self.watch.see(self.now, &self.machines, &Fact::Over);
        }
        self.events += 1;
        if self.change_at <= at {
            return self.next_change();
        }
        self.now = at;
        match self.queue.pop() {
            Some(kind) => self.dispatch(kind),
            None => Ok(()),
        }
    }

    fn find_next_change(&mut self) {
        let event = self.order.get(self.done);
        let event = event.map_or(u64::MAX, |index| {
            self.plan.events[*index as usize].at.as_micros()
        });
        let heal = if self.healed {
            u64::MAX
        } else {
            self.plan.phases.heal.as_micros()
        };
        self.change_at = event.min(heal);
    }

    /// The next event of the plan, or the heal, which comes before the events of its moment.
    fn next_change(&mut self) -> Flow {
        self.now = self.change_at;
        if !self.healed && self.now == self.plan.phases.heal.as_micros() {
            self.healed = true;
            self.find_next_change();
            return self.change(&Change::Heal);
        }
        let plan = self.plan;
        let index = self.order[self.done];
        self.done += 1;
        self.find_next_change();
        self.change(&plan.events[index as usize].change)
    }

    #[inline]
    fn dispatch(&mut self, kind: Kind) -> Flow {
        match kind {
            Kind::Arrive(at) => match self.find(at) {
                Some(link) => self.arrive(link, usize::from(at.side)),
                None => Ok(()),
            },
            Kind::Timer { host, stamp } => self.timer(host, stamp),
            Kind::Room(at) => match self.find(at) {
                Some(link) => self.room(link, usize::from(at.side)),
                None => Ok(()),
            },
            Kind::Syn(at) => match self.find(at) {
                Some(link) => self.syn(link),
                None => Ok(()),
            },
            Kind::SynAck(at) => match self.find(at) {
                Some(link) => self.syn_ack(link),
                None => Ok(()),
            },
            Kind::Ack(at) => match self.find(at) {
                Some(link) => self.ack(link),
                None => Ok(()),
            },
            Kind::Refusal(at) => match self.find(at) {
                Some(link) => self.refusal(link),
                None => Ok(()),
            },
            Kind::Reset(at) => match self.find(at) {
                Some(link) => self.reset(link, usize::from(at.side)),
                None => Ok(()),
            },
            Kind::Accept { host, door } => self.accept(host, Door(door)),
            Kind::Commit { host, stamp } => self.commit_ends(host, stamp),
        }
    }

    /// The index of a link that is still the one meant.
    #[inline]
    fn find(&self, at: At) -> Option<usize> {
        let index = at.link as usize;
        let link = &self.links[index];
        (link.used && link.generation == at.generation).then_some(index)
    }

    #[inline]
    fn at(&self, link: usize, side: usize) -> At {
        At {
            link: u32::try_from(link).unwrap_or(u32::MAX),
            generation: self.links[link].generation,
            side: u8::from(side != 0),
        }
    }

    /// The state of the way away from a side; `None` if one of the two is a client.
    #[inline]
    fn way(&self, link: usize, side: usize) -> Option<&WayState> {
        let link = &self.links[link];
        let from = link.host(side)?;
        let to = link.host(1 - side)?;
        Some(&self.ways[self.between(from, to)])
    }

    /// The place of a direction among the ways.
    #[inline]
    fn between(&self, from: Host, to: Host) -> usize {
        from.index() * self.hosts.len() + to.index()
    }

    /// Whether nothing that leaves a side gets through for now.
    #[inline]
    fn blocked(&self, link: usize, side: usize) -> bool {
        self.way(link, side).is_some_and(WayState::blocked)
    }

    /// When something that leaves a side now arrives: a choice of that direction.
    #[inline]
    fn arrival(&mut self, link: usize, side: usize) -> u64 {
        let choice = self.links[link].pipes[side].draw();
        self.flight(link, side, choice)
    }

    /// When something that leaves a side now arrives, by a given choice.
    #[inline]
    fn flight(&self, link: usize, side: usize, choice: Choice) -> u64 {
        let net = &self.plan.net;
        let (latency, jitter) = match self.way(link, side) {
            Some(way) => (net.latency.as_micros() + way.lag, net.jitter),
            None => (net.client_latency.as_micros(), net.client_jitter),
        };
        self.now + latency + choice.below(jitter.as_micros() + 1)
    }

    fn broken<T>(&self, property: &'static str, text: String) -> Result<T, Box<Violation>> {
        Err(Box::new(Violation {
            property,
            text,
            events: self.watch.steps.checked_sub(1).into_iter().collect(),
        }))
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without words".to_owned()
    }
}

/// Runs a plan to its end.
pub fn run<W: World, O: Observer<W::Machine>>(world: &W, plan: &Plan, observer: O) -> Outcome<O> {
    Engine::new(world, plan, observer).run()
}

//! What every layer needs while it handles one call: the moment, and where its outputs go.

use crate::config::Config;
use crate::counters::Counters;
use crate::gate::Gate;
use crate::news::{News, Why};
use crate::slots::{Owner, Slots};
use crate::timers::{Timer, Timers};
use alloc::collections::VecDeque;
use chatroom_machine::{Action, Conn, Door, Time};
use core::hash::{Hash, Hasher};

/// The outputs of a node, and the moment of the call that makes them. `E` is the protocol's event.
#[derive(Clone, Debug)]
pub(crate) struct Outputs<E> {
    /// The latest moment that a driver gave.
    pub(crate) now: Time,
    /// What the driver is to do. Drained after every call: its bound is what one call can cause.
    pub(crate) actions: VecDeque<Action<News<E>>>,
    pub(crate) slots: Slots,
    pub(crate) timers: Timers,
    pub(crate) counters: Counters,
    /// By listener.
    gates: [Gate; 2],
    /// Whether a gate was touched since the driver was told.
    gates_changed: bool,
    pub(crate) observe: bool,
    /// Whether the protocol asked for a crash in this call.
    pub(crate) crashed: bool,
    /// Whether it asked for the end in good order.
    pub(crate) shutdown: bool,
}

/// Leaves the counters out: they are statistics, and no later behaviour depends on them. Two nodes
/// that differ in nothing else are the same state to an explorer.
impl<E: Hash> Hash for Outputs<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            now,
            actions,
            slots,
            timers,
            counters: _,
            gates,
            gates_changed,
            observe,
            crashed,
            shutdown,
        } = self;
        (now, actions, slots, timers).hash(state);
        (gates, gates_changed, observe, crashed, shutdown).hash(state);
    }
}

impl<E> Outputs<E> {
    pub(crate) fn new<O>(config: &Config<O>) -> Self {
        Self {
            now: Time::ZERO,
            actions: VecDeque::new(),
            slots: Slots::default(),
            timers: Timers::default(),
            counters: Counters::default(),
            gates: [0, 1].map(|number| Gate::new(Door(number), &config.times, &config.limits)),
            gates_changed: false,
            observe: config.observe,
            crashed: false,
            shutdown: false,
        }
    }

    /// The gate through which the connections of `owner` are accepted.
    pub(crate) const fn gate(&mut self, owner: Owner) -> &mut Gate {
        self.gates_changed = true;
        match owner {
            Owner::Mesh => &mut self.gates[0],
            Owner::Clients => &mut self.gates[1],
        }
    }

    pub(crate) const fn gates(&self) -> &[Gate; 2] {
        &self.gates
    }

    /// Has the next [`settle_gates`](Self::settle_gates) look at the gates.
    pub(crate) const fn touch_gates(&mut self) {
        self.gates_changed = true;
    }

    /// Tells the driver at which listeners to pause or to resume accepting, and sets the timers of
    /// the gates.
    pub(crate) fn settle_gates(&mut self) {
        if !core::mem::take(&mut self.gates_changed) {
            return;
        }
        let now = self.now;
        for gate in &mut self.gates {
            self.actions.extend(gate.action(now));
        }
        let reopens = self.gates.iter().filter_map(|gate| gate.reopens_at(now));
        self.timers.set(Timer::Door, reopens.min());
        let evicts = self.gates.iter().filter_map(Gate::evicts_at);
        self.timers.set(Timer::Evict, evicts.min());
    }

    pub(crate) fn push(&mut self, action: Action<News<E>>) {
        self.actions.push_back(action);
    }

    pub(crate) fn emit(&mut self, news: News<E>) {
        self.push(Action::Notice(news));
    }

    /// Ends a connection: its handle dies, and the driver closes it unless it is `gone` already.
    pub(crate) fn end(&mut self, conn: Conn, why: Why, gone: bool) {
        if let Ok(owner) = self.slots.owner(conn) {
            let by_itself = matches!(why, Why::Finished | Why::Broken);
            self.gate(owner).remove(conn, !by_itself);
        }
        self.slots.release(conn);
        self.counters.closes[why as usize] += 1;
        if gone {
            self.slots.free(conn);
        } else {
            self.push(Action::Close(conn));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::DefaultHasher;

    fn hash(out: &Outputs<()>) -> u64 {
        let mut hasher = DefaultHasher::new();
        out.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn counters_do_not_tell_states_apart_and_all_else_does() {
        let out = Outputs::new(&Config::<()>::new(0, 1));
        let mut counted = out.clone();
        counted.counters.dials += 1;
        counted.counters.bytes_in += 7;
        assert_eq!(hash(&out), hash(&counted));
        let later = Outputs {
            now: Time::from_micros(1),
            ..out.clone()
        };
        let mut busy = out.clone();
        busy.emit(News::Ending);
        let mut timed = out.clone();
        timed.timers.set(Timer::Heartbeat, Some(Time::ZERO));
        let mut taken = out.clone();
        taken.slots.take(Owner::Mesh);
        let observed = Outputs {
            observe: true,
            ..out.clone()
        };
        let crashed = Outputs {
            crashed: true,
            ..out.clone()
        };
        let shutdown = Outputs {
            shutdown: true,
            ..out.clone()
        };
        for other in [later, busy, timed, taken, observed, crashed, shutdown] {
            assert_ne!(hash(&out), hash(&other), "{other:?}");
        }
    }
}

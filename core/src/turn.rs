//! What every layer needs while it handles one call: the moment, and where its outputs go.

use crate::config::Config;
use crate::counters::Counters;
use crate::gate::Gate;
use crate::news::{News, Why};
use crate::slots::{Owner, Slots};
use crate::timers::{Timer, Timers};
use alloc::collections::VecDeque;
use chatroom_machine::Time;
use chatroom_machine::{Action, Conn, Door};
use core::hash::{Hash, Hasher};

/// The outputs of a machine, and the moment of the call that makes them.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// The latest moment that a driver told.
    pub(crate) now: Time,
    /// What the driver is to do. Drained after every call: its bound is what one call can cause.
    pub(crate) actions: VecDeque<Action<News>>,
    pub(crate) slots: Slots,
    pub(crate) timers: Timers,
    pub(crate) counters: Counters,
    /// By door.
    gates: [Gate; 2],
    /// Whether a gate was touched since the driver was told.
    gates_changed: bool,
    pub(crate) observe: bool,
}

/// Leaves the counters out: they are statistics, and no later behaviour depends on them. Two
/// servers that differ in nothing else are the same state to an explorer.
impl Hash for Turn {
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
        } = self;
        (now, actions, slots, timers).hash(state);
        (gates, gates_changed, observe).hash(state);
    }
}

impl Turn {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            now: Time::ZERO,
            actions: VecDeque::new(),
            slots: Slots::default(),
            timers: Timers::default(),
            counters: Counters::default(),
            gates: [0, 1].map(|number| Gate::new(Door(number), config)),
            gates_changed: false,
            observe: config.observe,
        }
    }

    /// The gate behind which the connections of `owner` are accepted.
    pub(crate) const fn gate(&mut self, owner: Owner) -> &mut Gate {
        self.gates_changed = true;
        match owner {
            Owner::Mesh => &mut self.gates[0],
            Owner::Desk => &mut self.gates[1],
        }
    }

    pub(crate) const fn gates(&self) -> &[Gate; 2] {
        &self.gates
    }

    /// Has the next [`settle_gates`](Self::settle_gates) look at the gates.
    pub(crate) const fn touch_gates(&mut self) {
        self.gates_changed = true;
    }

    /// Tells the driver which doors to shut or open, and sets the timers of the gates.
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

    pub(crate) fn act(&mut self, action: Action<News>) {
        self.actions.push_back(action);
    }

    pub(crate) fn tell(&mut self, news: News) {
        self.act(Action::Notice(news));
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
            self.act(Action::Close(conn));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::DefaultHasher;

    fn hash(turn: &Turn) -> u64 {
        let mut hasher = DefaultHasher::new();
        turn.hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn counters_do_not_tell_states_apart_and_all_else_does() {
        let turn = Turn::new(&Config::new(0, 1));
        let mut counted = turn.clone();
        counted.counters.dials += 1;
        counted.counters.bytes_in += 7;
        assert_eq!(hash(&turn), hash(&counted));
        let later = Turn {
            now: Time::from_micros(1),
            ..Turn::new(&Config::new(0, 1))
        };
        let mut busy = turn.clone();
        busy.tell(News::Ending);
        let mut timed = turn.clone();
        timed
            .timers
            .set(crate::timers::Timer::Heartbeat, Some(Time::ZERO));
        let mut taken = turn.clone();
        taken.slots.take(crate::slots::Owner::Mesh);
        let observed = Turn {
            observe: true,
            ..Turn::new(&Config::new(0, 1))
        };
        for other in [later, busy, timed, taken, observed] {
            assert_ne!(hash(&turn), hash(&other), "{other:?}");
        }
    }
}

//! What every layer needs while it handles one call: the moment, and where its outputs go.

use crate::counters::Counters;
use crate::machine::{Action, Conn};
use crate::news::{News, Why};
use crate::slots::Slots;
use crate::time::Time;
use crate::timers::Timers;
use alloc::collections::VecDeque;
use core::hash::{Hash, Hasher};

/// The outputs of a machine, and the moment of the call that makes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    /// The latest moment that a driver told.
    pub(crate) now: Time,
    /// What the driver is to do. Drained after every call: its bound is what one call can cause.
    pub(crate) actions: VecDeque<Action<News>>,
    pub(crate) slots: Slots,
    pub(crate) timers: Timers,
    pub(crate) counters: Counters,
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
            observe,
        } = self;
        (now, actions, slots, timers, observe).hash(state);
    }
}

impl Turn {
    pub(crate) fn act(&mut self, action: Action<News>) {
        self.actions.push_back(action);
    }

    pub(crate) fn tell(&mut self, news: News) {
        self.act(Action::Notice(news));
    }

    /// Ends a connection: its handle dies, and the driver closes it unless it is `gone` already.
    pub(crate) fn end(&mut self, conn: Conn, why: Why, gone: bool) {
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
        let turn = Turn::default();
        let mut counted = turn.clone();
        counted.counters.dials += 1;
        counted.counters.bytes_in += 7;
        assert_eq!(hash(&turn), hash(&counted));
        let later = Turn {
            now: Time::from_micros(1),
            ..Turn::default()
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
            ..Turn::default()
        };
        for other in [later, busy, timed, taken, observed] {
            assert_ne!(hash(&turn), hash(&other), "{other:?}");
        }
    }
}

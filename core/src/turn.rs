//! What every layer needs while it handles one call: the moment, and where its outputs go.

use crate::counters::Counters;
use crate::machine::{Action, Conn};
use crate::news::{News, Why};
use crate::slots::Slots;
use crate::time::Time;
use crate::timers::Timers;
use alloc::collections::VecDeque;

/// The outputs of a machine, and the moment of the call that makes them.
#[derive(Clone, Debug, Default, Hash)]
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

//! The one timer.

use async_io::Timer;
use chatroom_driver::Clock;
use chatroom_machine::Time;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A timer that may ring too early and never too late: to set it anew wakes async-io's thread, so
/// it is moved only to an earlier moment.
pub(crate) struct Alarm {
    clock: Clock,
    timer: Timer,
    set_for: Time,
}

impl Alarm {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            timer: Timer::never(),
            set_for: Time::ZERO,
        }
    }

    /// Sees to it that it rings at `at` at the latest.
    pub(crate) fn set(&mut self, at: Time) {
        if at < self.set_for || self.set_for <= self.clock.now() {
            self.timer.set_after(self.clock.until(at));
            self.set_for = at;
        }
    }

    /// Whether it rings; if it does not, the task is woken when it does.
    pub(crate) fn rings(&mut self, cx: &mut Context<'_>) -> bool {
        matches!(Pin::new(&mut self.timer).poll(cx), Poll::Ready(_))
    }
}

//! The one timer.

use async_io::Timer;
use chatroom_core::time::Time;
use chatroom_driver::{Clock, Error};

/// A timer that may ring too early and never too late: setting it anew wakes async-io's thread,
/// so it is moved only to an earlier moment.
pub(crate) struct Alarm {
    clock: Clock,
    timer: Timer,
    set_for: Option<Time>,
}

impl Alarm {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            timer: Timer::never(),
            set_for: None,
        }
    }

    /// Sees to it that it rings at `at` at the latest.
    pub(crate) fn set(&mut self, at: Time) {
        if self.set_for.is_none_or(|set_for| at < set_for) {
            self.timer.set_after(self.clock.until(at));
            self.set_for = Some(at);
        }
    }

    /// Waits until it rings. After that it is not set.
    pub(crate) async fn ring(&mut self) -> Result<(), Error> {
        (&mut self.timer).await;
        self.set_for = None;
        Ok(())
    }
}

//! The one clock of a process.

use chatroom_machine::Time;
use std::time::{Duration, Instant};

/// Turns the system's monotonic clock into the core's [`Time`]. Its origin is its making.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that stands at zero now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// The present moment. Never decreases.
    #[must_use]
    pub fn now(&self) -> Time {
        let micros = self.origin.elapsed().as_micros();
        Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// How long it is until `at`; zero if it has come.
    #[must_use]
    pub fn until(&self, at: Time) -> Duration {
        let at = Duration::from_micros(at.as_micros());
        at.saturating_sub(self.origin.elapsed())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

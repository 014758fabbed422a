//! A host's own clock: it begins at zero with each life, may drift and may jump ahead.

use chatroom_machine::Time;

const MILLION: i128 = 1_000_000;

/// Maps the simulator's time to a host's, and back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    global: u64,
    local: u64,
    ppm: i32,
}

impl Clock {
    /// A clock that shows zero at `now`.
    pub(super) const fn new(now: u64) -> Self {
        Self {
            global: now,
            local: 0,
            ppm: 0,
        }
    }

    /// What the clock shows at a moment that is not before the last change.
    #[inline]
    pub(super) fn local(&self, now: u64) -> Time {
        let passed = now - self.global;
        if self.ppm == 0 {
            return Time::from_micros(self.local + passed);
        }
        let passed = i128::from(passed) * (MILLION + i128::from(self.ppm)) / MILLION;
        Time::from_micros(
            self.local
                .saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)),
        )
    }

    /// The first moment at which the clock shows `local`; the last change if it did before.
    #[inline]
    pub(super) fn global(&self, local: Time) -> u64 {
        let ahead = local.as_micros().saturating_sub(self.local);
        if self.ppm == 0 {
            return self.global.saturating_add(ahead);
        }
        let rate = MILLION + i128::from(self.ppm);
        let passed = (i128::from(ahead) * MILLION + rate - 1) / rate;
        self.global
            .saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Jumps ahead.
    pub(super) fn jump(&mut self, now: u64, by: u64) {
        self.local = self.local(now).as_micros().saturating_add(by);
        self.global = now;
    }

    /// Runs at another rate from now on.
    pub(super) fn drift(&mut self, now: u64, ppm: i32) {
        self.jump(now, 0);
        self.ppm = ppm;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_for_a_reading_is_the_first_that_shows_it() {
        for ppm in [-500_000, -37, 0, 1, 250_000, 500_000] {
            let mut clock = Clock::new(100);
            clock.drift(1_000, ppm);
            clock.jump(5_000, 7);
            for local in (clock.local(5_000).as_micros()..).step_by(997).take(500) {
                let at = clock.global(Time::from_micros(local));
                assert!(clock.local(at).as_micros() >= local);
                assert!(at == 5_000 || clock.local(at - 1).as_micros() < local);
            }
        }
    }
}

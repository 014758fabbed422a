//! When to look again: one moment for each kind of deadline, and their minimum.
//!
//! A moment is a lower bound: hearing from a peer moves its deadline away without touching the
//! timer, so that the cost of a message does not grow with the number of links. When a timer is
//! due, its kind is looked through and the moment set anew.

use chatroom_machine::Time;

/// The kinds of deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Timer {
    /// A round of heartbeats.
    Heartbeat,
    /// A peer has been silent for too long.
    Silence,
    /// A new link has said nothing for too long.
    Greeting,
    /// A dial takes too long.
    Dial,
    /// A peer is to be dialled again.
    Redial,
    /// A door is to be opened again.
    Door,
    /// A peer that takes nothing may no longer hold up the masters.
    Stall,
    /// A shutdown takes too long.
    Shutdown,
    /// A newcomer may be closed to make room for the next.
    Evict,
    /// A link that names a peer which is up elsewhere is to be decided on.
    Contest,
    /// A newcomer has waited for a place for too long.
    Place,
    /// A link waits for a `hello` before broadcasts go out on it.
    Hello,
    /// The protocol has something to do.
    Protocol,
}

impl Timer {
    pub(crate) const ALL: [Self; 13] = [
        Self::Heartbeat,
        Self::Silence,
        Self::Greeting,
        Self::Dial,
        Self::Redial,
        Self::Door,
        Self::Stall,
        Self::Shutdown,
        Self::Evict,
        Self::Contest,
        Self::Place,
        Self::Hello,
        Self::Protocol,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Silence => "silence",
            Self::Greeting => "greeting",
            Self::Dial => "dial",
            Self::Redial => "redial",
            Self::Door => "door",
            Self::Stall => "stall",
            Self::Shutdown => "shutdown",
            Self::Evict => "evict",
            Self::Contest => "contest",
            Self::Place => "place",
            Self::Hello => "hello",
            Self::Protocol => "protocol",
        }
    }
}

/// The moment of a timer that is not set: the minimum of all is asked for after every call, and
/// needs no other case so.
const UNSET: Time = Time::from_micros(u64::MAX);

#[derive(Clone, Debug, Hash)]
pub(crate) struct Timers([Time; Timer::ALL.len()]);

impl Default for Timers {
    fn default() -> Self {
        Self([UNSET; Timer::ALL.len()])
    }
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Option<Time>) {
        self.0[timer as usize] = at.unwrap_or(UNSET);
    }

    /// Sets the timer to `at` unless it is due before.
    pub(crate) fn by(&mut self, timer: Timer, at: Time) {
        let slot = &mut self.0[timer as usize];
        *slot = at.min(*slot);
    }

    /// Whether the timer is due; a due timer is cleared.
    pub(crate) fn fired(&mut self, timer: Timer, now: Time) -> bool {
        let due = self.0[timer as usize] <= now;
        if due {
            self.set(timer, None);
        }
        due
    }

    /// The first of `timers` to be due.
    pub(crate) fn first(&self, timers: &[Timer]) -> Option<Time> {
        let at = timers.iter().map(|&timer| self.0[timer as usize]);
        at.min().filter(|&at| at < UNSET)
    }

    /// The first of all to be due.
    pub(crate) fn next(&self) -> Option<(Time, Timer)> {
        let at = self.first(&Timer::ALL)?;
        let timer = Timer::ALL.into_iter().find(|&t| self.0[t as usize] == at)?;
        Some((at, timer))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_is_next_and_a_timer_fires_at_its_moment_not_before() {
        let (a, b) = (Time::from_micros(5), Time::from_micros(7));
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.by(Timer::Dial, b);
        timers.by(Timer::Silence, a);
        timers.by(Timer::Silence, b);
        assert_eq!(timers.next(), Some((a, Timer::Silence)));
        assert!(!timers.fired(Timer::Silence, Time::from_micros(4)));
        assert!(timers.fired(Timer::Silence, a));
        assert_eq!(timers.next(), Some((b, Timer::Dial)));
        for (i, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timer as usize, i);
            assert!(Timer::ALL[..i].iter().all(|t| t.name() != timer.name()));
        }
    }
}

//! Admission at one listener: connections that were accepted and have not said who they are, how
//! many may be accepted in a second, and when accepting pauses. Who waits meanwhile waits in the
//! operating system's queue.
//!
//! A newcomer is closed only under pressure: when the table is full, and only if the driver has
//! just handed over all that had arrived and the newcomer had sent nothing for [`GRACE`], or
//! nothing valid for the greeting time. The source with the most newcomers pays first, then the
//! oldest.

use crate::config::{EPISODE, GRACE, Limits, STARVED, Times};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use chatroom_machine::{Action, Conn, Door};
use chatroom_machine::{Span, Time};

const SECOND: Span = Span::from_millis(1000);

/// A connection without an identity.
#[derive(Clone, Debug, Hash)]
struct Newcomer {
    conn: Conn,
    source: u128,
    since: Time,
    heard: Time,
    /// It said what it wants and waits for a place: it is not closed here.
    waits: bool,
    /// It was refused, and is closed once it took the reason.
    refused: bool,
}

impl Newcomer {
    /// From when on it may be closed under pressure; never while it waits for a place. Who was
    /// refused has [`GRACE`] to take the reason.
    fn expendable_at(&self, greeting: Span) -> Option<Time> {
        let silent = self.heard + GRACE;
        let at = match self.refused {
            true => silent,
            false => silent.min(self.since + greeting),
        };
        (!self.waits).then_some(at)
    }
}

/// The admission at one listener.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Gate {
    door: Door,
    max_newcomers: usize,
    max_accepts: u32,
    greeting: Span,
    /// Oldest first: at most `max_newcomers`.
    newcomers: VecDeque<Newcomer>,
    /// When the present second of accepts began, and how many of it still count.
    window: Time,
    accepts: u32,
    starved_at: Option<Time>,
    /// Nothing is accepted any more.
    closed: bool,
    /// Whether the driver was told to pause.
    paused: bool,
}

impl Gate {
    pub(crate) fn new(door: Door, times: &Times, limits: &Limits) -> Self {
        Self {
            door,
            max_newcomers: limits.nameless,
            max_accepts: limits.accepts,
            greeting: times.greeting,
            newcomers: VecDeque::new(),
            window: Time::ZERO,
            accepts: 0,
            starved_at: None,
            closed: false,
            paused: false,
        }
    }

    pub(crate) fn newcomers(&self) -> usize {
        self.newcomers.len()
    }

    /// Whether it can take one more: false if the driver accepted although it was told to pause.
    pub(crate) fn has_room(&self) -> bool {
        !self.closed && !self.is_full()
    }

    /// Takes in a connection that was accepted.
    pub(crate) fn admit(&mut self, now: Time, conn: Conn, source: u128) {
        if now.since(self.window) >= SECOND {
            self.window = now;
            self.accepts = 0;
        }
        self.accepts += 1;
        self.newcomers.push_back(Newcomer {
            conn,
            source,
            since: now,
            heard: now,
            waits: false,
            refused: false,
        });
    }

    fn position(&self, conn: Conn) -> Option<usize> {
        self.newcomers.iter().rposition(|n| n.conn == conn)
    }

    /// Something came from a newcomer.
    pub(crate) fn hear(&mut self, now: Time, conn: Conn) {
        if let Some(at) = self.position(conn) {
            self.newcomers[at].heard = now;
        }
    }

    /// A newcomer waits for a place from now on.
    pub(crate) fn wait(&mut self, conn: Conn) {
        if let Some(at) = self.position(conn) {
            self.newcomers[at].waits = true;
        }
    }

    /// A newcomer was refused: it is about to be closed, and no longer waits for a place.
    pub(crate) fn refuse(&mut self, now: Time, conn: Conn) {
        if let Some(at) = self.position(conn) {
            let newcomer = &mut self.newcomers[at];
            (newcomer.heard, newcomer.waits, newcomer.refused) = (now, false, true);
        }
    }

    /// Forgets a newcomer. One that said who it is, or left by itself, no longer counts as
    /// accepted in its second: only those that stay and say nothing use up the rate. Gives its
    /// source if it was known.
    pub(crate) fn remove(&mut self, conn: Conn, counts: bool) -> Option<u128> {
        let newcomer = self.newcomers.remove(self.position(conn)?)?;
        if !counts && newcomer.since >= self.window {
            self.accepts = self.accepts.saturating_sub(1);
        }
        Some(newcomer.source)
    }

    /// An accept failed for want of a resource. Whether that is to be told: once an episode.
    pub(crate) fn starve(&mut self, now: Time) -> bool {
        let again = self.starved_at.is_some_and(|at| now.since(at) < EPISODE);
        self.starved_at = Some(now);
        !again
    }

    /// Accepts nothing from now on.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Until when accepting pauses for the rate or for want of a resource.
    fn pauses_until(&self, now: Time) -> Option<Time> {
        let rate = (self.accepts >= self.max_accepts).then_some(self.window + SECOND);
        let starved = self.starved_at.map(|at| at + STARVED);
        rate.max(starved).filter(|&until| until > now)
    }

    fn is_full(&self) -> bool {
        self.newcomers.len() >= self.max_newcomers
    }

    /// When accepting may go on, if it pauses for the rate or for want of a resource.
    pub(crate) fn reopens_at(&self, now: Time) -> Option<Time> {
        self.pauses_until(now).filter(|_| !self.closed)
    }

    /// When a newcomer may be closed to make room, if there is none.
    pub(crate) fn evicts_at(&self) -> Option<Time> {
        if self.closed || !self.is_full() {
            return None;
        }
        let expendable = |n: &Newcomer| n.expendable_at(self.greeting);
        self.newcomers.iter().filter_map(expendable).min()
    }

    /// What the driver is to be told, if that changed.
    pub(crate) fn action<N>(&mut self, now: Time) -> Option<Action<N>> {
        let pause = self.closed || self.is_full() || self.pauses_until(now).is_some();
        if pause == self.paused {
            return None;
        }
        self.paused = pause;
        Some(if pause {
            Action::Shut(self.door)
        } else {
            Action::Open(self.door)
        })
    }

    /// Which newcomers are to be closed now to make room: enough to empty half of the table if
    /// so many may be closed, so that a flood costs one look through it for each half.
    pub(crate) fn evict(&self, now: Time) -> Vec<Conn> {
        if !self.is_full() {
            return Vec::new();
        }
        let mut sources: Vec<u128> = self.newcomers.iter().map(|n| n.source).collect();
        sources.sort_unstable();
        let count_of = |source| {
            sources.partition_point(|&s| s <= source) - sources.partition_point(|&s| s < source)
        };
        let mut expendable: Vec<_> = (self.newcomers.iter())
            .filter(|n| n.expendable_at(self.greeting).is_some_and(|at| at <= now))
            .map(|n| (core::cmp::Reverse(count_of(n.source)), n.conn))
            .collect();
        // Stable: the oldest of a source come first.
        expendable.sort_by_key(|&(count, _)| count);
        let excess = self.newcomers.len() - self.max_newcomers / 2;
        expendable.truncate(excess.max(1));
        expendable.into_iter().map(|(_, conn)| conn).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn gate(nameless: usize, accepts: u32) -> Gate {
        let limits = Limits {
            nameless,
            accepts,
            ..Limits::default()
        };
        Gate::new(Door(0), &Times::default(), &limits)
    }

    const fn conn(slot: u32) -> Conn {
        Conn::new(slot, 0)
    }

    const fn ms(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    #[test]
    fn a_full_gate_pauses_until_the_oldest_that_said_nothing_can_go() {
        let mut gate = gate(2, 100);
        gate.admit(ms(0), conn(0), 1);
        assert_eq!((gate.action::<()>(ms(0)), gate.evicts_at()), (None, None));
        gate.admit(ms(1), conn(1), 1);
        assert_eq!(gate.action::<()>(ms(1)), Some(Action::Shut(Door(0))));
        assert_eq!(gate.evicts_at(), Some(Time::ZERO + GRACE));
        assert_eq!(gate.evict(Time::from_micros(GRACE.as_micros() - 1)), vec![]);
        assert_eq!(gate.evict(Time::ZERO + GRACE), vec![conn(0)]);
        gate.hear(ms(5), conn(0));
        assert_eq!(gate.evicts_at(), Some(ms(1) + GRACE));
        gate.wait(conn(1));
        assert_eq!(gate.evicts_at(), Some(ms(5) + GRACE));
        assert_eq!(gate.remove(conn(0), true), Some(1));
        assert_eq!(gate.remove(conn(0), true), None);
        assert_eq!(gate.action::<()>(ms(6)), Some(Action::Open(Door(0))));
    }

    #[test]
    fn bytes_that_name_nobody_do_not_keep_a_newcomer_past_the_greeting_time() {
        let mut gate = gate(1, 100);
        gate.admit(ms(0), conn(0), 1);
        let late = Time::ZERO + crate::config::GREETING;
        gate.hear(Time::from_micros(late.as_micros() - 1), conn(0));
        assert_eq!(gate.evicts_at(), Some(late));
        assert_eq!(gate.evict(late), vec![conn(0)]);
    }

    #[test]
    fn one_that_was_refused_is_given_the_time_to_take_the_reason() {
        let mut gate = gate(1, 100);
        gate.admit(ms(0), conn(0), 1);
        gate.wait(conn(0));
        assert_eq!(gate.evicts_at(), None);
        gate.refuse(ms(5000), conn(0));
        assert_eq!(gate.evict(ms(5000)), vec![]);
        assert_eq!(gate.evicts_at(), Some(ms(5000) + GRACE));
        assert_eq!(gate.evict(ms(5000) + GRACE), vec![conn(0)]);
    }

    #[test]
    fn the_source_with_the_most_newcomers_pays_first() {
        let mut gate = gate(8, 100);
        gate.admit(ms(0), conn(0), 7);
        for slot in 1..8 {
            gate.admit(ms(1), conn(slot), 3);
        }
        assert_eq!(gate.evict(ms(99)), vec![conn(1), conn(2), conn(3), conn(4)]);
    }

    #[test]
    fn only_those_that_stay_and_say_nothing_use_up_the_rate() {
        let mut gate = gate(100, 2);
        gate.admit(ms(1000), conn(0), 1);
        gate.admit(ms(1001), conn(1), 1);
        assert_eq!(gate.action::<()>(ms(1001)), Some(Action::Shut(Door(0))));
        assert_eq!(gate.reopens_at(ms(1999)), Some(ms(2000)));
        gate.remove(conn(0), false);
        assert_eq!(gate.action::<()>(ms(1002)), Some(Action::Open(Door(0))));
        gate.admit(ms(1003), conn(2), 1);
        assert_eq!(gate.action::<()>(ms(1003)), Some(Action::Shut(Door(0))));
        gate.remove(conn(1), true);
        assert_eq!(gate.action::<()>(ms(1999)), None);
        assert_eq!(gate.action::<()>(ms(2000)), Some(Action::Open(Door(0))));
        // One of an earlier second gives nothing back.
        gate.admit(ms(2000), conn(3), 1);
        gate.admit(ms(2001), conn(4), 1);
        gate.remove(conn(2), false);
        assert_eq!(gate.action::<()>(ms(2001)), Some(Action::Shut(Door(0))));
    }

    #[test]
    fn a_failed_accept_pauses_and_is_told_once_an_episode() {
        let mut gate = gate(2, 100);
        assert!(gate.starve(ms(1)));
        assert_eq!(gate.action::<()>(ms(1)), Some(Action::Shut(Door(0))));
        assert_eq!(gate.reopens_at(ms(1)), Some(ms(1) + STARVED));
        assert!(!gate.starve(ms(2)));
        assert_eq!(
            gate.action::<()>(ms(2) + STARVED),
            Some(Action::Open(Door(0)))
        );
        assert!(gate.starve(ms(2) + EPISODE));
        gate.close();
        assert_eq!((gate.reopens_at(ms(3)), gate.evicts_at()), (None, None));
    }
}

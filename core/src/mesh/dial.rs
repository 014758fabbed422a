//! Whom to dial, and when: the ids below the own one, with pauses between two dials of the same
//! peer that grow with failure, with sessions that never last, and with the number of peers that
//! are missing.

use super::Mesh;
use crate::config::{
    BACKOFF_CROWD, BACKOFF_CROWD_MAX, BACKOFF_FLAPPING, BACKOFF_MISFIT, BACKOFF_RETURNING,
};
use crate::link::{Link, Role};
use crate::news::Why;
use crate::outputs::Outputs;
use crate::slots::Owner;
use crate::timers::Timer;
use chatroom_machine::{Action, Conn, Dialled, Misuse, Place};
use chatroom_machine::{Span, Time};

/// The longest pause before a peer is dialled again while so many are missing: the more they are,
/// the longer, so that the rate of all dials is bounded.
fn crowd_pause(missing: u32, was_up: bool) -> Span {
    let most = if was_up {
        BACKOFF_RETURNING
    } else {
        BACKOFF_CROWD_MAX
    };
    BACKOFF_CROWD.times(u64::from(missing)).min(most)
}

impl Mesh {
    /// Begins: dials all ids below the own one.
    pub(crate) fn start<E>(&mut self, out: &mut Outputs<E>) {
        out.timers
            .by(Timer::Heartbeat, out.now + self.times.heartbeat);
        for peer in 0..self.id {
            self.dial(out, peer);
        }
    }

    pub(super) fn dial<E>(&mut self, out: &mut Outputs<E>, peer: u32) {
        let conn = out.slots.take(Owner::Mesh);
        out.counters.dials += 1;
        self.peers[peer as usize].redial = None;
        self.insert(Link::new(
            conn,
            Role::Dialling(peer),
            out.now,
            self.longest(),
        ));
        out.timers.by(Timer::Dial, out.now + self.times.dial);
        out.push(Action::Dial {
            conn,
            to: Place(peer),
        });
    }

    /// Plans the next dial of a peer that we are the one to dial. `flapping` says that a session
    /// with it ended before it had settled.
    pub(super) fn redial_later<E>(&mut self, out: &mut Outputs<E>, peer: u32, flapping: bool) {
        if peer >= self.id || self.left {
            return;
        }
        if self.peers[peer as usize].misfit {
            let at = out.now + BACKOFF_MISFIT;
            self.peers[peer as usize].redial = Some(at);
            return out.timers.by(Timer::Redial, at);
        }
        let was_up = self.peers[peer as usize].latest > 0;
        let crowd = crowd_pause(self.id - self.dialled_up, was_up);
        let most = self.times.backoff_max.max(if flapping {
            crowd.max(BACKOFF_FLAPPING)
        } else {
            crowd
        });
        let entry = &mut self.peers[peer as usize];
        // In a crowd the first pauses are longer, too: four doublings lead to the longest.
        let least = Span::from_micros(crowd.as_micros() / 16);
        let bound = entry.backoff.max(least).min(most);
        entry.backoff = bound.times(2).min(most);
        let bound = bound.as_micros();
        let mut at = out.now.as_micros() + self.rng.between(bound.div_ceil(2), bound);
        if crowd.times(4) > self.times.backoff_max.times(3) {
            // With many missing, pauses are long and need to be apart only a little; those that
            // are due at nearly the same time are dialled together. A pause drawn from the upper
            // half of its range is three quarters of it in the mean, which would be too short here.
            let tick = (bound / 64).max(1);
            at = out.now.as_micros() + self.rng.between(bound - bound / 8, bound);
            at -= at % tick;
        }
        let at = Time::from_micros(at);
        entry.redial = Some(at);
        out.timers.by(Timer::Redial, at);
    }

    pub(crate) fn handle_dialled<E>(
        &mut self,
        out: &mut Outputs<E>,
        conn: Conn,
        outcome: Dialled,
    ) -> Result<(), Misuse> {
        let link = self.links[conn.slot()].as_mut().ok_or(Misuse::WrongState)?;
        let Role::Dialling(peer) = link.role else {
            return Err(Misuse::WrongState);
        };
        match outcome {
            Dialled::Failed => self.end(out, conn, Why::Refused, true),
            Dialled::Connected => {
                let greeting = self.greeting(peer);
                let Some(link) = self.links[conn.slot()].as_mut() else {
                    return Err(Misuse::WrongState);
                };
                link.role = Role::Outbound(peer);
                link.since = out.now;
                self.own += link.send(out, &[&greeting], &self.log);
                out.timers
                    .by(Timer::Greeting, out.now + self.times.greeting);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_grows_up_to_its_most_and_no_further() {
        let ms = Span::from_millis;
        let us = Span::from_micros;
        for (missing, pause) in [
            (0, Span::ZERO),
            (1, us(2500)),
            (999, us(2_497_500)),
            (1000, ms(2500)),
            (1001, ms(2500)),
            (1023, ms(2500)),
        ] {
            assert_eq!(crowd_pause(missing, false), pause, "{missing}");
        }
        for (missing, pause) in [
            (1, us(2500)),
            (359, us(897_500)),
            (360, ms(900)),
            (361, ms(900)),
            (1023, ms(900)),
        ] {
            assert_eq!(crowd_pause(missing, true), pause, "{missing}");
        }
    }
}

//! Messages by their identity: properties 1 to 4, 6 to 8.

use super::life::{Next, Own, Side};
use super::{
    EMPTY_START, FIFO, Judge, Judgement, LIVES, NO_CREATION, NO_DUPLICATION, PREFIX, SETTLED,
    STALL, VALIDITY, broken, cases, past,
};
use chatroom_chat::HEARTBEAT;
use chatroom_machine::{Conn, Time};
use chatroom_sim::names::Who;
use chatroom_sim::observer::{Ending, Violation};
use core::fmt;

/// What stands around a text on its link: `msg`, an id of one or two digits, two blanks, a newline.
const AROUND: u64 = 7;
/// The longest heartbeat: `ping`, a blank, two digits, a newline, or `ack` with eight digits; and
/// what a session begins with, spread over the first two.
const BEAT: u64 = 64;

/// A delivery in words, made only if somebody reads them, which is rare.
struct Took<'a> {
    who: Who,
    text: &'a str,
    from: Who,
}

impl fmt::Display for Took<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, text, from } = self;
        write!(f, "server {who} took {} from {from}", shown(text))
    }
}

impl Judge {
    /// A life accepted a broadcast.
    pub(super) fn own_message(&mut self, now: Time, step: u64, who: Who, text: &str) -> Judgement {
        self.attribute(step, who, text)?;
        let life = &mut self.lives[who.host.index()][who.life as usize];
        let sessions: Vec<usize> = life.up.iter().copied().flatten().collect();
        let number = life.own.len() as u64;
        life.broadcast_bytes += text.len() as u64 + AROUND;
        let written = life.broadcast_bytes;
        life.own.push(Own {
            text: text.into(),
            at: now,
            step,
            sessions: u32::try_from(sessions.len()).unwrap_or(u32::MAX),
            arrived: 0,
            end: written,
        });
        life.append(text);
        life.last[who.host.index()] = Some((who.life, number));
        self.tell_watchers(now, who, |_| {
            super::master::Told::Delivered(who.host.index(), text.into())
        });
        for link in sessions {
            self.lag(step, who, link, written, text.len())?;
        }
        Ok(())
    }

    /// A life delivered a message of a peer.
    pub(super) fn message(
        &mut self,
        now: Time,
        step: u64,
        who: Who,
        conn: Conn,
        sender: u32,
        text: &str,
    ) -> Judgement {
        let (link, side) = self.named(who, conn, step)?;
        let life = &mut self.lives[who.host.index()][who.life as usize];
        life.append(text);
        life.deliveries += 1;
        self.tell_watchers(now, who, |_| {
            super::master::Told::Delivered(sender as usize, text.into())
        });
        if self.damaged {
            return Ok(());
        }
        let [ours, theirs] = match side {
            0 => [0, 1],
            _ => [1, 0],
        };
        let Some(from) = self.links[link].sides[theirs].who else {
            let text = format!("server {who} took a message from a master's connection {conn}");
            return broken(NO_CREATION, text, &[step]);
        };
        let at = Took { who, text, from };
        if from.host.0 != u16::try_from(sender).unwrap_or(u16::MAX) {
            return broken(
                NO_CREATION,
                format!("{at} as if it were server {sender}'s"),
                &[step],
            );
        }
        let Some((first, began)) = self.links[link].sides[theirs].first else {
            return broken(
                EMPTY_START,
                format!("{at} before its session began"),
                &[step],
            );
        };
        if self.life(who).missed[from.host.index()] > 0 {
            let text = format!("{at}, and did not keep an earlier message of it");
            return broken(FIFO, text, &[step, began]);
        }
        let up = self.links[link].sides[ours].up;
        let number = self.next(link, ours, first);
        self.links[link].sides[ours].delivered += 1;
        if let Some(next) = &mut self.life_mut(who).next[from.host.index()] {
            next.set(now, next.number + 1);
        }
        let expected = self.life(from).own.get(number as usize);
        let same = expected.is_some_and(|own| *own.text == *text);
        if !up {
            let last = self.life(who).last[from.host.index()];
            let newer = last.is_some_and(|(life, _)| life > from.life);
            let property = if newer { LIVES } else { FIFO };
            let text = format!("{at} on a link that is not the session's");
            return broken(property, text, &[step, began]);
        }
        if !same {
            return self.explain(step, began, from, (first, number), &at, text);
        }
        self.order(step, who, from, number, &at)?;
        self.count(link, from, number, text);
        Ok(())
    }

    /// The number of the broadcast that is to come next on a session, to one side of it: what the
    /// other side said, or else, if it said nothing, where its session begins.
    fn next(&self, link: usize, ours: usize, first: u64) -> u64 {
        let sides = &self.links[link].sides;
        let said = (sides[ours].who.zip(sides[1 - ours].who)).and_then(|(who, from)| {
            let next = self.life(who).next[from.host.index()].as_ref()?;
            (next.life == from.life).then_some(next.number)
        });
        said.unwrap_or(first + sides[ours].delivered)
    }

    /// A life was told which broadcast of a peer is the next: the one behind those that it has, and
    /// where it has none, the first of their session. If some are lost it says so, and that comes of
    /// a small limit of the lag alone.
    pub(super) fn following(
        &mut self,
        now: Time,
        step: u64,
        (who, conn): (Who, Conn),
        count: u64,
        lost: u64,
    ) -> Judgement {
        let (link, side) = self.named(who, conn, step)?;
        let theirs = 1 - side;
        let other = &self.links[link].sides[theirs];
        let (Some(from), Some((first, began))) = (other.who, other.first) else {
            return match self.damaged {
                true => Ok(()),
                false => {
                    let text = format!("server {who} was told of broadcasts before the session");
                    broken(EMPTY_START, text, &[step])
                }
            };
        };
        let index = from.host.index();
        if lost > 0 {
            self.life_mut(who).lost += lost;
            self.tell_watchers(now, who, |_| super::master::Told::Gap(index, lost));
        }
        let before = (count as usize).checked_sub(1);
        let before = before.and_then(|last| self.life(from).own.get(last));
        self.links[link].sides[theirs].base = before.map_or(0, |own| own.end);
        let known = (self.life(who).next[index].clone()).filter(|next| next.life == from.life);
        if let Some(mut next) = known.clone()
            && self.life(who).log_was_full
        {
            // Those that it has no room for count as well, and are announced later.
            next.set(now, next.number + lost);
            self.life_mut(who).next[index] = Some(next);
            return Ok(());
        }
        let expected = known.as_ref().map_or(first, |next| next.number + lost);
        if !self.damaged && (count != expected || known.is_none() && lost > 0) {
            let text = format!(
                "server {who} goes on behind broadcast {count} of {from}, {lost} of them lost: {expected} was to be"
            );
            return broken(FIFO, text, &[step, began]);
        }
        if lost > 0 {
            self.sometimes.hit(cases::GAP);
            let life = self.life(from);
            let ends = known.and_then(|next| {
                let last = next.known.checked_sub(1)?;
                life.own.get(last as usize).map(|own| own.end)
            });
            let kept = life.broadcast_bytes - ends.unwrap_or(0);
            if kept <= self.limits.lag as u64 && !self.damaged {
                let text = format!(
                    "{lost} broadcasts of {from} are lost to {who}, which are among its last {kept} bytes"
                );
                return broken(FIFO, text, &[step, began]);
            }
        } else if known.is_some() {
            self.sometimes.hit(cases::RESUMED);
        }
        let next = &mut self.life_mut(who).next[index];
        match next {
            Some(next) if next.life == from.life => next.set(now, count),
            _ => *next = Some(Next::new(from.life, count, now)),
        }
        Ok(())
    }

    /// A message that is not the one that must come now: says which property that breaks.
    fn explain(
        &self,
        step: u64,
        began: u64,
        from: Who,
        (first, number): (u64, u64),
        at: &impl fmt::Display,
        text: &str,
    ) -> Judgement {
        let own = &self.life(from).own;
        let (first, number) = (first as usize, number as usize);
        let expected = own.get(number);
        let due = match expected {
            Some(own) => format!(
                "broadcast {number} of that life, {}, was to come",
                shown(&own.text)
            ),
            None => format!("that life made only {} broadcasts", own.len()),
        };
        let mut events = vec![step, began];
        events.extend(expected.map(|own| own.step));
        let dead = self.life(from).ended.is_some();
        if let Some(expected) = expected
            && expected.text.starts_with(text)
        {
            let property = if dead { PREFIX } else { NO_CREATION };
            return broken(property, format!("{at}, cut short: {due}"), &events);
        }
        let found = |from: usize, to: usize| {
            let range = from.min(own.len())..to.min(own.len());
            own[range.clone()]
                .iter()
                .position(|own| *own.text == *text)
                .map(|place| range.start + place)
        };
        let (property, what, place) = if let Some(place) = found(number, own.len()) {
            let property = if dead { PREFIX } else { FIFO };
            (property, "too early", place)
        } else if let Some(place) = found(first, number) {
            (NO_DUPLICATION, "again", place)
        } else if let Some(place) = found(0, first) {
            (EMPTY_START, "from before the session", place)
        } else {
            let text = format!("{at}, which that life never broadcast: {due}");
            return broken(NO_CREATION, text, &events);
        };
        events.push(own[place].step);
        let text = format!("{at}, its broadcast {place}, {what}: {due}");
        broken(property, text, &events)
    }

    /// The place of a message in the log, after what is there already.
    fn order(
        &mut self,
        step: u64,
        who: Who,
        from: Who,
        number: u64,
        at: &impl fmt::Display,
    ) -> Judgement {
        let known = self.life(who).next[from.host.index()].as_ref();
        let known = known.is_some_and(|next| next.life == from.life);
        let strict = self.strict;
        let life = &mut self.lives[who.host.index()][who.life as usize];
        let last = life.last[from.host.index()].replace((from.life, number));
        let Some((life, last)) = last else {
            return Ok(());
        };
        if life > from.life {
            let text = format!("{at} after messages of its next life {life}");
            return broken(LIVES, text, &[step]);
        }
        if life < from.life {
            self.sometimes.hit(cases::TWO_LIVES);
            return Ok(());
        }
        if number <= last {
            let property = if number == last { NO_DUPLICATION } else { FIFO };
            let text = format!("{at}, its broadcast {number}, after its broadcast {last}");
            return broken(property, text, &[step]);
        }
        if number > last + 1 {
            if strict && !known {
                let text = format!(
                    "{at}, its broadcast {number}, after its broadcast {last}: a gap without a broken link"
                );
                return broken(FIFO, text, &[step]);
            }
            self.sometimes.hit(cases::GAP);
        }
        Ok(())
    }

    /// Notes an arrival that was right.
    fn count(&mut self, link: usize, from: Who, number: u64, text: &str) {
        let life = &mut self.lives[from.host.index()][from.life as usize];
        let (before, own) = life.own.split_at_mut(number as usize);
        own[0].arrived += 1;
        if before
            .last()
            .is_some_and(|before| before.arrived > 0 && *before.text == *text)
        {
            self.sometimes.hit(cases::SAME_TEXT);
        }
        if text.starts_with("ping ") || text.starts_with("msg ") {
            self.sometimes.hit(cases::WIRE_TEXT);
        }
        if text.len() + 3 >= self.limits.text {
            self.sometimes.hit(cases::LONGEST);
        }
        if self.links[link].again {
            self.sometimes.hit(cases::AGAIN);
        }
    }

    /// What was broadcast on sessions that still stand has arrived.
    pub(super) fn validity(&mut self, now: Time, step: u64) -> Judgement {
        if self.damaged {
            return Ok(());
        }
        let mut whole = 0;
        for (number, link) in self.links.iter().enumerate() {
            let [one, other] = &link.sides;
            if !one.up || !other.up {
                continue;
            }
            for (from, to) in [(one, other), (other, one)] {
                let (Some(sender), Some(receiver), Some((first, began))) =
                    (from.who, to.who, from.first)
                else {
                    continue;
                };
                whole += u64::from(to.delivered > 0);
                // What was not kept was announced.
                let missed = self.life(receiver).missed[sender.host.index()];
                let ours = usize::from(core::ptr::eq(to, other));
                let next = self.next(number, ours, first) + missed;
                let due = self.life(sender).own.get(next as usize);
                let late = due.filter(|own| past(own.at, SETTLED, now));
                if let Some(own) = late
                    && !under_way(to, from.went, own.end.saturating_sub(from.base), now)
                    && !self.trouble.is_paused(sender.host)
                    && !self.trouble.is_paused(receiver.host)
                    && past(
                        self.trouble.between(sender.host, receiver.host, now),
                        SETTLED,
                        now,
                    )
                {
                    let text = format!(
                        "server {sender} broadcast {} at {}, the session with {receiver} stood to the end, and it did not arrive",
                        shown(&own.text),
                        own.at
                    );
                    return broken(VALIDITY, text, &[began, own.step, step]);
                }
            }
        }
        self.sometimes.add(cases::WHOLE_SESSION, whole);
        Ok(())
    }

    /// No session of a host stands still while messages are due on it: whatever another peer does,
    /// bytes go on arriving.
    pub(super) fn stalls(&self, now: Time, step: u64, host: usize) -> Judgement {
        let Some(life) = self.running(host).filter(|life| !life.leaving) else {
            return Ok(());
        };
        for link in life.up.iter().copied().flatten() {
            let [one, other] = &self.links[link].sides;
            let (to, from) = match one.who == Some(life.who) {
                true => (one, other),
                false => (other, one),
            };
            let (Some(sender), Some((first, began))) = (from.who, from.first) else {
                continue;
            };
            let own = &self.life(sender).own;
            let missed = life.missed[sender.host.index()];
            let ours = usize::from(one.who != Some(life.who));
            let due = own.get((self.next(link, ours, first) + missed) as usize);
            if let Some(due) = due
                && from.up
                && !life.log_was_full
                && past(due.at, STALL, now)
                && past(to.heard.max(life.resumed), STALL, now)
                && !self.damaged
                && past(
                    self.trouble.between(sender.host, life.who.host, now),
                    SETTLED,
                    now,
                )
            {
                let text = format!(
                    "server {sender} broadcast {} at {}, and {} has heard nothing on their session since {}",
                    shown(&due.text),
                    due.at,
                    life.who,
                    to.heard
                );
                return broken(VALIDITY, text, &[began, due.step, step]);
            }
        }
        Ok(())
    }

    /// Counts the broadcasts that some peers got and some did not, of lives that were killed.
    pub(super) fn count_partial_arrivals(&mut self) {
        let mut partial = 0;
        for life in self.lives.iter().flatten() {
            if matches!(life.ended, Some(Ending::Killed(_) | Ending::Crashed)) {
                let some = |own: &&Own| own.arrived > 0 && own.arrived < own.sessions;
                partial += life.own.iter().filter(some).count() as u64;
            }
        }
        self.sometimes.add(cases::SOME_GOT_IT, partial);
    }

    /// Whether nobody broadcast lately: all that follows from it has happened.
    fn is_quiet(&self, now: Time) -> bool {
        let mut own = self
            .lives
            .iter()
            .flatten()
            .filter_map(|life| life.own.last());
        own.all(|own| past(own.at, SETTLED + STALL, now)) && self.trouble.is_over(now)
    }

    /// Sums that a server keeps agree with what was seen of it.
    pub(super) fn sums<M: super::Chat>(
        &self,
        scene: &super::Scene<'_, M>,
    ) -> Result<(), Violation> {
        for lives in &self.lives {
            let Some(life) = lives.last().filter(|life| life.ended.is_none()) else {
                continue;
            };
            let Some(machine) = scene.machine(life.who.host) else {
                continue;
            };
            let counters = machine.counters();
            let counted = [counters.broadcasts, counters.deliveries, counters.missed];
            // The latest that were not kept are announced a little later.
            let announced: u64 = life.missed.iter().sum();
            let missed = if self.is_quiet(scene.now) {
                announced + life.lost
            } else {
                counters.missed
            };
            let seen = [life.own.len() as u64, life.deliveries, missed];
            if counted != seen {
                let text = format!(
                    "server {} counted {counted:?} broadcasts, deliveries and messages not kept, and told of {seen:?}",
                    life.who
                );
                return broken(super::BOUNDS, text, &[scene.step]);
            }
        }
        Ok(())
    }
}

/// Whether the broadcast that ends with the `end`-th byte of all on its session may still be under
/// way to a side, from one that sent it `went` bytes: much takes its time on a narrow link.
fn under_way(to: &Side, went: u64, end: u64, now: Time) -> bool {
    let more = to.within_line || to.came < went;
    let beats = now.as_micros() / HEARTBEAT.as_micros() + 2;
    more && !past(to.heard, STALL, now) && to.came < end + beats * BEAT
}

/// A text, shortened for a reader.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 40;
    if text.chars().nth(MOST).is_none() {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(MOST).collect();
    format!("{head:?}… ({} bytes)", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcast_is_under_way_while_bytes_come_that_may_be_before_its_last() {
        let now = Time::ZERO + HEARTBEAT.times(5);
        let heard = now - STALL;
        let side = |within_line, came, heard| Side {
            within_line,
            came,
            heard,
            ..Side::default()
        };
        // Seven heartbeats may be among the bytes before it.
        let last = 1000 + 7 * BEAT;
        let under_way = |side, went| under_way(&side, went, 1000, now);
        assert!(under_way(side(true, last - 1, heard), 0));
        assert!(!under_way(side(true, last, heard), 0));
        assert!(under_way(side(false, 10, heard), 11));
        assert!(!under_way(side(false, 10, heard), 10));
        assert!(!under_way(side(false, 10, heard), 9));
        let before = Time::from_micros(heard.as_micros() - 1);
        assert!(!under_way(side(true, 10, before), 11));
    }
}

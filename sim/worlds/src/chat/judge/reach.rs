//! Who is up for whom, and when: properties 10 and 11, and the limits of 12.

use super::master::Told;
use super::{
    ACCURACY, AFTERMATH, BOUNDS, COMPLETENESS, Chat, Judge, Judgement, NOTICE, REUNION, Scene,
    broken, cases, past,
};
use chatroom_chat::{Gauges, Limits, Why};
use chatroom_machine::{Conn, Time};
use chatroom_sim::names::{Host, Who};

/// Bytes of one reply beside the log.
const REPLY: u64 = 1024;
/// A limit on the lag below this is one that a run may reach.
const SMALL_LAG: usize = 1 << 20;

impl Judge {
    pub(super) fn resumed(&mut self, who: Who) {
        let now_up = (0..self.hosts).any(|host| {
            self.running(host)
                .and_then(|life| life.up[who.host.index()])
                .is_some_and(|link| {
                    self.links[link]
                        .sides
                        .iter()
                        .any(|side| side.who == Some(who))
                })
        });
        if now_up {
            self.sometimes.hit(cases::PAUSE_SURVIVED);
        }
    }

    /// A life is up for another one.
    pub(super) fn up(
        &mut self,
        now: Time,
        step: u64,
        who: Who,
        peer: u32,
        conn: Conn,
    ) -> Judgement {
        let (link, side) = self.named(who, conn, step)?;
        let other = self.links[link].sides[1 - side].who;
        let index = peer as usize;
        let right = other.is_some_and(|other| other.host.index() == index);
        if (!right && !self.damaged) || index >= self.hosts {
            let text = format!(
                "server {who} says that server {peer} is up on a link to {}",
                other.map_or_else(|| "a master".to_owned(), |other| other.to_string())
            );
            return broken(ACCURACY, text, &[step]);
        }
        let life = self.life(who);
        if life.up[index].is_some() {
            let text = format!("server {who} says twice that server {peer} is up");
            return broken(ACCURACY, text, &[step]);
        }
        if let Some(before) = life.before[index]
            && self.links[before]
                .sides
                .iter()
                .any(|side| side.who == other)
        {
            self.sometimes.hit(cases::REUNION);
            self.links[link].again = self.links[before].again
                || self.links[before]
                    .sides
                    .iter()
                    .any(|side| side.delivered > 0);
        }
        let life = &mut self.lives[who.host.index()][who.life as usize];
        life.before[index] = Some(link);
        life.set_up(index, Some(link));
        let ours = &mut self.links[link].sides[side];
        ours.first = Some((life.own.len() as u64, step));
        ours.base = life.broadcast_bytes;
        ours.up = true;
        ours.heard = now;
        self.tell_watchers(now, who, |_| Told::Up(index));
        Ok(())
    }

    /// Whether a server may give up a link to another, for what happened to one of them or
    /// between them.
    fn excused(&self, now: Time, who: Who, other: Who) -> bool {
        let gone = |who: Who| {
            let lives = &self.lives[who.host.index()];
            let life = &lives[who.life as usize];
            life.ended.is_some() || life.leaving
        };
        // An identity that was damaged can speak for any server.
        self.damaged
            || gone(other)
            || gone(who)
            || !past(
                self.trouble.between(who.host, other.host, now),
                AFTERMATH,
                now,
            )
    }

    /// Whether nothing happened between two servers lately but that both stood still, from one
    /// moment to another: neither was away from the other.
    fn only_frozen(&self, now: Time, who: Who, other: Who) -> bool {
        let lives = [who, other].map(|who| self.life(who));
        let ends = lives
            .iter()
            .any(|life| life.ended.is_some() || life.leaving);
        !self.damaged
            && !ends
            && self
                .trouble
                .frozen_together(who.host, other.host, now)
                .is_some_and(|(before, since)| past(before, AFTERMATH, since))
    }

    /// A life is not up for another one any more.
    pub(super) fn down(
        &mut self,
        now: Time,
        step: u64,
        who: Who,
        peer: u32,
        conn: Conn,
        why: Why,
    ) -> Judgement {
        let (link, side) = self.named(who, conn, step)?;
        let index = peer as usize;
        if index >= self.hosts || self.life(who).up[index] != Some(link) {
            let text =
                format!("server {who} says that server {peer} is down, which was not up on {conn}");
            return broken(ACCURACY, text, &[step]);
        }
        let began = self.links[link].sides[side]
            .first
            .map_or(step, |first| first.1);
        let life = &mut self.lives[who.host.index()][who.life as usize];
        life.set_up(index, None);
        if let Some(next) = &mut life.next[index] {
            next.breaks(now);
        }
        self.tell_watchers(now, who, |_| Told::Down(index));
        self.links[link].sides[side].up = false;
        self.in_time(now, step, who, link, side)?;
        let Some(other) = self.links[link].sides[1 - side].who else {
            return Ok(());
        };
        let excused = self.excused(now, who, other);
        if self.damaged {
            self.trouble.loss(who.host, other.host, now);
        }
        let right = match why {
            Why::Silent => {
                self.sometimes.hit(cases::SILENT);
                excused && !self.only_frozen(now, who, other)
            }
            Why::Finished | Why::Broken | Why::Replaced => {
                if why == Why::Replaced {
                    self.sometimes.hit(cases::REPLACED);
                } else if self.life(other).ended.is_some() {
                    self.sometimes.hit(cases::NOTICED);
                }
                excused
            }
            Why::FellBehind => {
                self.sometimes.hit(cases::FELL_BEHIND);
                self.trouble.loss(who.host, other.host, now);
                self.limits.lag < SMALL_LAG
            }
            Why::Ending => self.life(who).leaving,
            Why::TooLong
            | Why::NotUtf8
            | Why::Malformed
            | Why::OutsideGrid
            | Why::OwnId
            | Why::OtherId
            | Why::ShouldNotDial
            | Why::OtherProtocol
            | Why::OtherSize
            | Why::NoIdentity => {
                self.sometimes.hit(cases::BROKEN_LINE);
                self.trouble.loss(who.host, other.host, now);
                self.damaged
            }
            Why::NoGreeting
            | Why::Refused
            | Why::DialTimeout
            | Why::Crowded
            | Why::Contested
            | Why::Http
            | Why::Full
            | Why::Idle => false,
        };
        if right {
            return Ok(());
        }
        let text = format!("server {who} gave up {other}, which is up and reachable: {why}");
        broken(ACCURACY, text, &[began, step])
    }

    /// A link without a session ended, or a master's connection.
    pub(super) fn closed_early(
        &mut self,
        now: Time,
        step: u64,
        who: Who,
        conn: Conn,
        why: Why,
    ) -> Judgement {
        let (link, side) = self.named(who, conn, step)?;
        if self.links[link].master.is_some() {
            return self.master_closed(now, step, who, link, why);
        }
        for (case, came) in [
            (cases::NO_GREETING, why == Why::NoGreeting),
            (cases::DIAL_TIMEOUT, why == Why::DialTimeout),
            (cases::BROKEN_LINE, why.is_fault()),
        ] {
            if came {
                self.sometimes.hit(case);
            }
        }
        // A dial that nobody accepted was meant for whoever lives there now.
        let held = &self.links[link];
        let there = held.target.and_then(|host| self.running(host.index()));
        let Some(other) = held.sides[1 - side].who.or(there.map(|life| life.who)) else {
            return Ok(());
        };
        let young = |who: Who| !past(self.life(who).began, AFTERMATH, now);
        let late = self.excused(now, who, other) || young(who) || young(other);
        let right = if why == Why::Contested {
            // Its peer is up on another link.
            self.sometimes.hit(cases::CONTESTED);
            self.damaged || self.life(who).up[other.host.index()].is_some()
        } else if why.is_fault() {
            self.trouble.loss(who.host, other.host, now);
            self.damaged
        } else {
            late || !matches!(why, Why::NoGreeting | Why::DialTimeout)
        };
        if right {
            return Ok(());
        }
        let text =
            format!("server {who} gave up a link to {other}, which is up and reachable: {why}");
        broken(ACCURACY, text, &[step])
    }

    /// A silence was noticed in time, or may still be.
    fn in_time(&self, now: Time, step: u64, who: Who, link: usize, side: usize) -> Judgement {
        let ours = &self.links[link].sides[side];
        let since = ours.heard.max(self.life(who).resumed);
        if past(since, NOTICE, now) {
            let text = format!(
                "server {who} heard nothing from {} since {}, and it was up until {now}",
                self.links[link].sides[1 - side]
                    .who
                    .map_or_else(|| "nobody".to_owned(), |other| other.to_string()),
                ours.heard
            );
            return broken(
                COMPLETENESS,
                text,
                &[ours.first.map_or(step, |first| first.1), step],
            );
        }
        Ok(())
    }

    /// No peer of a host is up that it has not heard of for too long.
    pub(super) fn silences(&mut self, now: Time, step: u64, host: usize) -> Judgement {
        let Some(life) = self.running(host) else {
            return Ok(());
        };
        let who = life.who;
        if self.trouble.is_paused(who.host) {
            self.life_mut(who).resumed = now;
            return Ok(());
        }
        for link in life.up.iter().copied().flatten() {
            let side = usize::from(self.links[link].sides[1].who == Some(who));
            self.in_time(now, step, who, link, side)?;
        }
        Ok(())
    }

    /// Two servers that can reach each other are up for each other.
    pub(super) fn reunion(&mut self, now: Time, step: u64, one: usize, other: usize) -> Judgement {
        let (Some(one), Some(other)) = (self.running(one), self.running(other)) else {
            return Ok(());
        };
        if one.leaving || other.leaving {
            return Ok(());
        }
        let (a, b) = (one.who, other.who);
        let able = one.began.max(other.began);
        let able = able.max(self.trouble.between(a.host, b.host, now));
        if !past(able, REUNION, now) {
            return Ok(());
        }
        let seen = one.up[b.host.index()];
        let back = other.up[a.host.index()];
        if seen.is_some() && seen == back {
            return Ok(());
        }
        let word = |seen: Option<usize>| match seen {
            Some(link) => format!("up on link {link}"),
            None => "not up".to_owned(),
        };
        let text = format!(
            "servers {a} and {b} could reach each other since {able}: at {now} {b} is {} for {a}, and {a} is {} for {b}",
            word(seen),
            word(back)
        );
        broken(ACCURACY, text, &[step])
    }

    /// A peer that is owed more than the limit is given up.
    pub(super) fn lag(
        &mut self,
        step: u64,
        who: Who,
        link: usize,
        written: u64,
        last: usize,
    ) -> Judgement {
        let side = usize::from(self.links[link].sides[1].who == Some(who));
        let ours = &self.links[link].sides[side];
        // Heartbeats and the greeting count against it: it is owed this much at least.
        let owed = (written - ours.base).saturating_sub(ours.went);
        let limit = self.limits.lag as u64 + last as u64 + REPLY;
        if owed > limit {
            let text = format!("server {who} owes a peer {owed} bytes, more than {limit}");
            return broken(BOUNDS, text, &[step]);
        }
        Ok(())
    }

    /// The log is full.
    pub(super) fn log_full(&mut self, step: u64, who: Who) -> Judgement {
        let limit = self.log_limit;
        let longest = self.limits.text as u64 + 1;
        let life = self.life_mut(who);
        life.log_was_full = true;
        let bytes = life.log.len() as u64;
        if bytes + longest <= limit {
            let text = format!("server {who} says that its log of {bytes} bytes is full");
            return broken(BOUNDS, text, &[step]);
        }
        self.sometimes.hit(cases::LOG_FULL);
        Ok(())
    }

    /// Messages of a peer were not kept, and the server says so.
    pub(super) fn gap(
        &mut self,
        now: Time,
        step: u64,
        who: Who,
        peer: u32,
        count: u64,
    ) -> Judgement {
        let index = peer as usize;
        let life = self.life_mut(who);
        if !life.log_was_full || count == 0 || index >= life.missed.len() {
            let text = format!(
                "server {who} says that it did not keep {count} messages of {peer}, and its log is not full"
            );
            return broken(BOUNDS, text, &[step]);
        }
        life.missed[index] += count;
        self.sometimes.hit(cases::MISSED);
        self.tell_watchers(now, who, |_| Told::Gap(index, count));
        Ok(())
    }

    /// What a server holds is within its limits.
    pub(super) fn gauges<M: Chat>(&mut self, scene: &Scene<'_, M>, host: Host) -> Judgement {
        let Some(machine) = scene.machine(host) else {
            return Ok(());
        };
        let (gauges, log) = (machine.gauges(), (machine.log_bytes(), self.log_limit));
        if let Some((name, value, most)) = excess(&gauges, log, &self.limits, self.hosts) {
            let text = format!("server {host} has {value} {name}, more than {most}");
            return broken(BOUNDS, text, &[scene.step]);
        }
        for case in full(&gauges, &self.limits) {
            self.sometimes.hit(case);
        }
        Ok(())
    }
}

/// The first thing that a server has more of than it may: its name, how much, and what it may.
/// `log` is how many bytes its log has and may have.
fn excess(
    gauges: &Gauges,
    log: (u64, u64),
    limits: &Limits,
    hosts: usize,
) -> Option<(&'static str, u64, u64)> {
    let masters = gauges.masters as u64;
    let reply = log.0 + REPLY;
    let things = [
        (
            "links without a name",
            gauges.nameless as u64,
            limits.nameless as u64,
        ),
        (
            "masters",
            masters,
            (limits.masters + limits.nameless) as u64,
        ),
        ("bytes of log", log.0, log.1),
        (
            "bytes kept for a slow peer",
            gauges.lag_bytes,
            limits.lag as u64,
        ),
        (
            "bytes owed to masters",
            gauges.owed_bytes,
            masters * (limits.replies as u64 + limits.watch as u64 + reply),
        ),
        ("peers", gauges.peers as u64, hosts as u64 - 1),
    ];
    things.into_iter().find(|(_, value, most)| value > most)
}

/// Past which of its softer limits a server is.
fn full(gauges: &Gauges, limits: &Limits) -> impl Iterator<Item = &'static str> {
    let congested = gauges.lag_bytes > limits.high_water as u64;
    let stuffed = gauges.owed_bytes > limits.replies as u64;
    let cases = [(congested, cases::CONGESTED), (stuffed, cases::STUFFED)];
    cases
        .into_iter()
        .filter_map(|(so, case)| so.then_some(case))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        text: 1,
        nameless: 2,
        masters: 3,
        accepts: 4,
        high_water: 50,
        lag: 60,
        replies: 700,
        watch: 8000,
    };
    const LOG: (u64, u64) = (90_000, 90_000);
    /// As much as five servers with these limits may have.
    const MOST: Gauges = Gauges {
        peers: 4,
        nameless: 2,
        masters: 5,
        lag_bytes: 60,
        owed_bytes: 5 * (700 + 8000 + 90_000 + REPLY),
    };

    type More = fn(&mut Gauges);

    #[test]
    fn a_server_may_have_as_much_as_its_limits_say_and_no_more() {
        assert_eq!(excess(&MOST, LOG, &LIMITS, 5), None);
        let more: [(&str, More); 5] = [
            ("links without a name", |gauges| gauges.nameless += 1),
            ("bytes kept for a slow peer", |gauges| gauges.lag_bytes += 1),
            ("bytes owed to masters", |gauges| gauges.owed_bytes += 1),
            ("peers", |gauges| gauges.peers += 1),
            ("masters", |gauges| gauges.masters += 1),
        ];
        for (name, more) in more {
            let mut gauges = MOST;
            more(&mut gauges);
            let excess =
                excess(&gauges, LOG, &LIMITS, 5).map(|(name, value, most)| (name, value - most));
            assert_eq!(excess, Some((name, 1)));
        }
        let excess = excess(&MOST, (LOG.0 + 1, LOG.1), &LIMITS, 5);
        assert_eq!(excess, Some(("bytes of log", LOG.1 + 1, LOG.1)));
    }

    #[test]
    fn a_server_is_past_a_softer_limit_with_the_first_byte_more() {
        let past = |lag_bytes, owed_bytes| {
            let gauges = Gauges {
                lag_bytes,
                owed_bytes,
                ..MOST
            };
            full(&gauges, &LIMITS).collect::<Vec<_>>()
        };
        assert_eq!(past(50, 700), [""; 0]);
        assert_eq!(past(51, 700), [cases::CONGESTED]);
        assert_eq!(past(50, 701), [cases::STUFFED]);
    }
}

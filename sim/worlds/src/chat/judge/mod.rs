//! The judge: an observer with a checker for each property of the contract. It knows a broadcast
//! by its identity (server, life, number) and never by its text.
//!
//! A life numbers the broadcasts that it accepts. When it comes up on a link, the session's first
//! number is the count so far; a link is a stream in order, so the r-th message that the other
//! side takes from that link must be number first + r. That tells apart equal texts, and shows
//! each gap, repetition, swap, late copy and cut text at the message where it happens.

mod life;
mod master;
mod property;
mod reach;
mod replies;
mod sessions;
mod trouble;

pub use property::*;

use super::{Chat, Setup, cases};
use chatroom_chat::{ChatEvent, Limits, News, Options};
use chatroom_machine::{Conn, Span, Time};
use chatroom_sim::names::{Client, Host, Who};
use chatroom_sim::observer::{Ending, Fact, Observer, Scene, Violation};
use chatroom_sim::plan::{Change, Plan};
use chatroom_sim::sometimes::Sometimes;
use life::{Handles, Life, Link, host_of};
use master::Ask;
use std::collections::BTreeMap;
use trouble::Trouble;

/// How long a dead or silent peer may be thought alive, from the last byte that came of it.
pub const NOTICE: Span = Span::from_millis(1000);
/// How long two servers that can reach each other may take to be up for each other.
pub const REUNION: Span = Span::from_millis(1000);
/// How long after a trouble a link may still be lost for it: a silence that began with it, and a
/// greeting that went wrong.
pub const AFTERMATH: Span = Span::from_millis(2000);
/// How old a broadcast must be at the end of a run to have arrived, and a question to have been
/// answered, when nothing is wrong.
pub const SETTLED: Span = Span::from_millis(1000);
/// How long nothing may arrive on a session on which messages are due, when nothing is wrong
/// between its two servers.
pub const STALL: Span = Span::from_millis(300);
/// How often properties about time are looked at, besides every event that concerns them.
const SCAN: Span = Span::from_millis(20);

/// Checks the twelve properties while a run goes on, and counts the interesting cases.
#[derive(Clone, Debug)]
pub struct Judge {
    limits: Limits,
    /// Bytes of a log.
    log_limit: u64,
    hosts: usize,
    /// Nothing but crashes happens: no gaps at all.
    strict: bool,
    /// Servers that say no `hello`, by their bits.
    no_hello: u64,
    /// Bytes are damaged: what arrives is not what was sent, and identities may lie.
    damaged: bool,
    /// By host, by life.
    lives: Vec<Vec<Life>>,
    links: Vec<Link>,
    /// By host.
    handles: Vec<Handles>,
    masters: BTreeMap<Client, usize>,
    trouble: Trouble,
    /// Links with replies that were not judged, since all news of that moment was not seen.
    unjudged: Vec<usize>,
    unjudged_at: Time,
    next_scan: Time,
    sometimes: Sometimes,
}

/// Whether more than `span` went by since a moment.
fn past(since: Time, span: Span, now: Time) -> bool {
    since + span < now
}

/// Says what broke; the steps are put in order.
fn broken<T>(
    property: &'static str,
    text: impl Into<String>,
    events: &[u64],
) -> Result<T, Violation> {
    let mut events = events.to_vec();
    events.sort_unstable();
    events.dedup();
    Err(Violation {
        property,
        text: text.into(),
        events,
    })
}

/// What a checker says.
type Judgement = Result<(), Violation>;

impl Judge {
    /// A judge for a run of `plan` with servers set up by `setup`.
    #[must_use]
    pub fn new(plan: &Plan, setup: Setup) -> Self {
        let hosts = usize::from(plan.hosts);
        let only_crashes = plan.events.iter().all(|event| {
            matches!(event.change, Change::Start(_) | Change::Kill(..))
                || event.change.client().is_some()
        });
        let damaged = |change: &Change| matches!(change, Change::Damage(_, share) if *share > 0);
        let mut sometimes = Sometimes::new();
        for case in cases::expected(setup.profile) {
            sometimes.expect(case);
        }
        let usual = Limits::default();
        Self {
            hosts,
            strict: only_crashes
                && setup.limits.lag >= usual.lag
                && setup.options.log >= Options::default().log,
            damaged: plan.events.iter().any(|event| damaged(&event.change)),
            limits: setup.limits,
            log_limit: setup.options.log,
            no_hello: setup.no_hello,
            lives: vec![Vec::new(); hosts],
            links: Vec::new(),
            handles: vec![Handles::default(); hosts],
            masters: BTreeMap::new(),
            trouble: Trouble::new(hosts),
            unjudged: Vec::new(),
            unjudged_at: Time::ZERO,
            next_scan: Time::ZERO,
            sometimes,
        }
    }

    /// The interesting cases that came up.
    #[must_use]
    pub fn into_sometimes(self) -> Sometimes {
        self.sometimes
    }

    fn link(&mut self, number: u64) -> &mut Link {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        if self.links.len() <= index {
            self.links.resize_with(index + 1, Link::default);
        }
        &mut self.links[index]
    }

    fn life(&self, who: Who) -> &Life {
        &self.lives[who.host.index()][who.life as usize]
    }

    fn life_mut(&mut self, who: Who) -> &mut Life {
        &mut self.lives[who.host.index()][who.life as usize]
    }

    /// The present life of a host, if it is up.
    fn running(&self, host: usize) -> Option<&Life> {
        self.lives[host].last().filter(|life| life.ended.is_none())
    }

    /// The link of a handle that a machine just named.
    fn named(&self, who: Who, conn: Conn, step: u64) -> Result<(usize, usize), Violation> {
        match self.handles[who.host.index()].get(conn) {
            Some(found) => Ok(found),
            None => broken(
                BOUNDS,
                format!("server {who} has news of {conn}, which it never had"),
                &[step],
            ),
        }
    }

    fn started(&mut self, now: Time, who: Who) {
        let host = who.host.index();
        if who.life > 0
            && (0..self.hosts).any(|i| self.running(i).is_some_and(|l| !l.own.is_empty()))
        {
            self.sometimes.hit(cases::RETURN);
        }
        self.handles[host].clear();
        self.trouble.renewed(who.host);
        self.lives[host].push(Life::new(who, now, self.hosts));
    }

    fn ended(&mut self, step: u64, who: Who, how: Ending) -> Judgement {
        self.trouble.renewed(who.host);
        let life = &mut self.lives[who.host.index()][who.life as usize];
        life.ended = Some(how);
        if how == Ending::Done {
            self.sometimes.hit(cases::ENDED);
        }
        let sessions: Vec<usize> = life.up.iter().copied().flatten().collect();
        let masters = std::mem::take(&mut life.masters);
        let told = |link: &usize| {
            let master = self.links[*link].master.as_ref();
            master.is_some_and(|master| master.obeyed().any(|asked| asked.ask == Ask::Crash))
        };
        if how == Ending::Crashed && !masters.iter().any(told) {
            let text = format!("server {who} crashed, and no master had told it to");
            return broken(REPLIES, text, &[step]);
        }
        for link in sessions {
            for side in &mut self.links[link].sides {
                if side.who == Some(who) {
                    side.up = false;
                }
            }
        }
        Ok(())
    }

    fn changed(&mut self, now: Time, change: &Change) {
        self.trouble.change(now, change);
        match change {
            Change::Deaf(client, deaf) => {
                if let Some(link) = self.masters.get(client)
                    && let Some(master) = &mut self.links[*link].master
                {
                    master.deaf = *deaf;
                    master.deaf_until = now;
                }
            }
            // By its clock it was away.
            Change::Jump(host, _) => {
                if let Some(who) = self.running(host.index()).map(|life| life.who) {
                    self.life_mut(who).resumed = now;
                }
            }
            Change::Starve(_, true) => self.sometimes.hit(cases::STARVED),
            Change::Starve(_, false)
            | Change::Start(_)
            | Change::Kill(..)
            | Change::Pause(_)
            | Change::Resume(_)
            | Change::Stop(_)
            | Change::Drift(..)
            | Change::Cut(_)
            | Change::Mend(_)
            | Change::Clog(_)
            | Change::Unclog(_)
            | Change::Lag(..)
            | Change::Connects(..)
            | Change::Reset(_)
            | Change::HalfOpen(_)
            | Change::Damage(..)
            | Change::Buffer(..)
            | Change::Disk(..)
            | Change::Heal
            | Change::Open(..)
            | Change::Say(..)
            | Change::Finish(_)
            | Change::Leave(_) => {}
        }
    }

    fn notice<M: Chat>(&mut self, scene: &Scene<'_, M>, who: Who, news: &News) -> Judgement {
        let (now, step) = (scene.now, scene.step);
        match news {
            News::Protocol(ChatEvent::Delivered {
                sender: _,
                conn: None,
                text,
            }) => self.own_message(now, step, who, text)?,
            News::Protocol(ChatEvent::Delivered {
                sender,
                conn: Some(conn),
                text,
            }) => return self.message(now, step, who, *conn, *sender, text),
            News::Up { peer, conn } => self.up(now, step, who, *peer, *conn)?,
            News::Down {
                peer,
                conn,
                why,
                silence: _,
            } => self.down(now, step, who, *peer, *conn, *why)?,
            News::Closed { conn, why } => self.closed_early(now, step, who, *conn, *why)?,
            News::Protocol(ChatEvent::LogFull { bytes: _ }) => self.log_full(step, who)?,
            News::Protocol(ChatEvent::Gap { peer, count }) => {
                self.gap(now, step, who, *peer, *count)?
            }
            News::Ending => self.life_mut(who).leaving = true,
            News::Skipped { peer, count: _ } => {
                let known = self.no_hello >> (who.host.0 % 64) & 1 == 0;
                if known && !self.damaged {
                    let text = format!("server {who} skipped a line of server {peer}");
                    return broken(NO_CREATION, text, &[step]);
                }
            }
            News::Misfit { peer, .. } if !self.damaged => {
                let text = format!("server {who} takes server {peer} for a stranger");
                return broken(ACCURACY, text, &[step]);
            }
            News::Following {
                peer: _,
                conn,
                count,
                resumed: _,
                lost,
            } => self.following(now, step, (who, *conn), *count, *lost)?,
            News::Misfit { .. } | News::Starved { door: _ } => {}
        }
        self.gauges(scene, who.host)
    }

    /// Looks at all that must be so by now.
    fn scan<M: Chat>(&mut self, scene: &Scene<'_, M>) -> Judgement {
        self.next_scan = scene.now + SCAN;
        for host in 0..self.hosts {
            self.silences(scene.now, scene.step, host)?;
            self.stalls(scene.now, scene.step, host)?;
            for other in 0..host {
                self.reunion(scene.now, scene.step, host, other)?;
            }
            if let Ok(host) = u16::try_from(host) {
                self.gauges(scene, Host(host))?;
            }
        }
        Ok(())
    }

    fn over<M: Chat>(&mut self, scene: &Scene<'_, M>) -> Judgement {
        self.validity(scene.now, scene.step)?;
        self.all_answered(scene.now, scene.step)?;
        self.all_told(scene.step)?;
        self.sums(scene)?;
        self.count_partial_arrivals();
        Ok(())
    }
}

impl<M: Chat> Observer<M> for Judge {
    #[inline]
    fn see(&mut self, scene: &Scene<'_, M>, fact: &Fact<'_, News>) -> Judgement {
        let (now, step) = (scene.now, scene.step);
        if !self.unjudged.is_empty()
            && (now != self.unjudged_at
                || matches!(
                    fact,
                    Fact::Received { .. } | Fact::Change { .. } | Fact::Ended { .. } | Fact::Over
                ))
        {
            self.judge_replies()?;
        }
        if now >= self.next_scan {
            self.scan(scene)?;
        }
        match fact {
            Fact::Received {
                who,
                conn: _,
                link,
                offset: _,
                bytes,
            } => self.received(now, step, *who, *link, bytes),
            Fact::Sent {
                who,
                conn: _,
                link,
                offset: _,
                bytes,
            } => self.sent(now, step, *who, *link, bytes),
            Fact::Notice {
                who,
                local: _,
                notice,
            } => return self.notice(scene, *who, notice),
            Fact::Change { change } => self.changed(now, change),
            Fact::Started { who } => self.started(now, *who),
            Fact::Ended { who, how } => return self.ended(step, *who, *how),
            Fact::Paused { who } => {
                self.trouble.paused(who.host, now, true);
                self.life_mut(*who).paused = now;
            }
            Fact::Resumed { who } => {
                self.trouble.paused(who.host, now, false);
                let life = self.life_mut(*who);
                let span = now.since(life.paused);
                life.next
                    .iter_mut()
                    .flatten()
                    .for_each(|next| next.stood_still(span));
                self.resumed(*who);
            }
            Fact::Dialling {
                who,
                conn,
                to: _,
                host,
                link,
            } => {
                let held = self.link(*link);
                held.sides[0].who = Some(*who);
                held.target = *host;
                self.handles[who.host.index()].set(*conn, *link as usize, 0);
            }
            Fact::Opened {
                who,
                conn,
                link,
                peer,
                door: Some(_),
            } => {
                self.link(*link).sides[1].who = Some(*who);
                self.handles[who.host.index()].set(*conn, *link as usize, 1);
                if host_of(*peer).is_none() {
                    self.master_opened(*who, *link, *peer);
                }
            }
            Fact::ClientSaid {
                client: _,
                link,
                offset,
                bytes,
            } => {
                let held = self.link(*link);
                held.said = offset + bytes.len() as u64;
                held.said_at = now;
            }
            Fact::Lost { link, .. } => {
                if let Some(master) = &mut self.link(*link).master {
                    master.lost = true;
                }
            }
            Fact::TurnedAway { who, door, link: _ } => {
                return self.turned_away(step, *who, *door);
            }
            Fact::Opened { door: None, .. }
            | Fact::DialFailed { .. }
            | Fact::Closed { .. }
            | Fact::ClientOpened { .. }
            | Fact::ClientHeard { .. }
            | Fact::ClientLost { .. }
            | Fact::ClientLeft { .. }
            | Fact::Disk { .. } => {}
            Fact::Over => return self.over(scene),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_past_with_the_first_microsecond_more() {
        let since = Time::from_micros(700);
        let now = |micros| past(since, Span::from_micros(30), Time::from_micros(micros));
        assert_eq!([729, 730, 731].map(now), [false, false, true]);
    }
}

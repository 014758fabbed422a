//! What one server must do, written from the contract alone and as plainly as can be: no slots,
//! no cursors, no timers, whole copies of everything.

mod masters;

use chatroom_chat::{Limits, Why};
use chatroom_machine::{Conn, Span, Time};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    Dialling(u32),
    Dialled(u32),
    Stranger,
    /// It named this peer, which is up on another link.
    Contender(u32),
    Peer(u32),
}

#[derive(Debug)]
struct Link {
    who: Who,
    order: usize,
    since: Time,
    heard: Time,
    excused: Option<Time>,
    rest: Vec<u8>,
    /// What a contender sent.
    kept: Vec<u8>,
}

#[derive(Debug)]
struct Master {
    order: usize,
    since: Time,
    heard: Time,
    busy: Time,
    rest: Vec<u8>,
    watches: bool,
    placed: bool,
    /// The order in which it began to wait, until when, and what it said meanwhile.
    waits: Option<(usize, Time)>,
    held: Vec<u8>,
    finished: bool,
    dismissed: bool,
}

/// What is due next, in the order in which what is due at the same moment is done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    Silent(Conn),
    NoGreeting(Conn),
    Contest(u32, Conn),
    DialTimeout(Conn),
    Dial,
    Heartbeat,
    Evict,
    Place,
    Gap,
}

/// The expected lines to a connection; an error's words are the server's own business.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) enum Told {
    Line(String),
    Error,
}

enum Said {
    Ping(u32),
    Msg(u32, String),
    Unknown,
}

pub(crate) struct Reference {
    id: u32,
    servers: u32,
    pub(crate) log: Vec<String>,
    links: BTreeMap<Conn, Link>,
    /// By peer: the order of the latest link that named it.
    latest: BTreeMap<u32, usize>,
    masters: BTreeMap<Conn, Master>,
    made: usize,
    now: Time,
    next_heartbeat: Time,
    /// For each id below: the bound of the next pause, and when the next dial is due.
    pauses: BTreeMap<u32, (u64, Option<(Time, Time)>)>,
    pub(crate) told: BTreeMap<Conn, Vec<Told>>,
    pub(crate) ended: BTreeMap<Conn, Why>,
    /// Who is closed once it was told what it is owed.
    leaving: BTreeMap<Conn, Why>,
    limits: Limits,
    log_limit: u64,
    /// When places are looked at.
    place_at: Option<Time>,
    /// By peer, in the order of their first: messages that were not kept and not announced.
    gaps: Vec<(u32, u64)>,
    gap_at: Option<Time>,
    pub(crate) missed: u64,
    pub(crate) crashed: bool,
}

const HEARTBEAT: Span = Span::from_millis(450);
const SUSPICION: Span = Span::from_millis(900);
const GREETING: Span = Span::from_millis(650);
const DIAL: Span = Span::from_millis(400);
const SETTLED: Span = Span::from_millis(250);
const OVERDUE: Span = Span::from_millis(600);
const GRACE: Span = Span::from_millis(10);
const IDLE: Span = Span::from_millis(10_000);
const PLACE: Span = Span::from_millis(500);
const GAPS: Span = Span::from_millis(500);
const AWAY: Span = Span::from_millis(500);

impl Reference {
    pub(crate) fn new(id: u32, servers: u32, limits: Limits, log_limit: u64) -> Self {
        let at_once = Some((Time::ZERO, Time::ZERO));
        Self {
            id,
            servers,
            log: vec![],
            links: BTreeMap::new(),
            latest: BTreeMap::new(),
            masters: BTreeMap::new(),
            made: 0,
            now: Time::ZERO,
            next_heartbeat: Time::ZERO + HEARTBEAT,
            pauses: (0..id).map(|p| (p, (10_000, at_once))).collect(),
            told: BTreeMap::new(),
            ended: BTreeMap::new(),
            leaving: BTreeMap::new(),
            limits,
            log_limit,
            place_at: None,
            gaps: vec![],
            gap_at: None,
            missed: 0,
            crashed: false,
        }
    }

    pub(crate) fn alive(&self) -> Vec<u32> {
        let peers = self.links.values().filter_map(|link| match link.who {
            Who::Peer(peer) => Some(peer),
            Who::Dialling(_) | Who::Dialled(_) | Who::Stranger | Who::Contender(_) => None,
        });
        let ids: BTreeSet<u32> = peers.chain([self.id]).collect();
        ids.into_iter().collect()
    }

    fn tell(&mut self, conn: Conn, line: String) {
        self.told.entry(conn).or_default().push(Told::Line(line));
    }

    fn tell_watchers(&mut self, line: &str) {
        let watchers: Vec<Conn> = self
            .masters
            .iter()
            .filter(|m| m.1.watches)
            .map(|m| *m.0)
            .collect();
        for conn in watchers {
            self.tell(conn, line.to_string());
        }
    }

    fn insert(&mut self, conn: Conn, who: Who, at: Time) {
        self.made += 1;
        let link = Link {
            who,
            order: self.made,
            since: at,
            heard: at,
            excused: None,
            rest: vec![],
            kept: vec![],
        };
        assert!(self.links.insert(conn, link).is_none());
    }

    pub(crate) fn accepted(&mut self, conn: Conn) {
        self.insert(conn, Who::Stranger, self.now);
    }

    /// The server dials: allowed only when a dial is due.
    fn dials(&mut self, peer: u32, conn: Conn, at: Time, away: bool) {
        let pause = self
            .pauses
            .get_mut(&peer)
            .expect("only ids below are dialled");
        let (from, to) = pause.1.take().expect("no second dial of a peer");
        assert!(
            from <= at && (at <= to || away),
            "dialled at {at}, due {from} to {to}"
        );
        self.insert(conn, Who::Dialling(peer), at);
    }

    pub(crate) fn dialled(&mut self, conn: Conn, connected: bool) {
        let Who::Dialling(peer) = self.links[&conn].who else {
            panic!("not dialling");
        };
        if connected {
            let now = self.now;
            let link = self.links.get_mut(&conn).expect("open");
            (link.who, link.since) = (Who::Dialled(peer), now);
            self.tell(conn, format!("ping {}", self.id));
        } else {
            self.end(conn, Why::Refused);
        }
    }

    pub(crate) fn end(&mut self, conn: Conn, why: Why) {
        self.told.remove(&conn);
        self.leaving.remove(&conn);
        self.ended.insert(conn, why);
        if self.masters.remove(&conn).is_some() {
            return;
        }
        let link = self.links.remove(&conn).expect("open");
        let peer = match link.who {
            Who::Stranger | Who::Contender(_) => return,
            Who::Dialling(peer) | Who::Dialled(peer) | Who::Peer(peer) => peer,
        };
        let was_up = link.who == Who::Peer(peer);
        if was_up {
            self.tell_watchers(&format!("down {peer}"));
        }
        if let Some((bound, due)) = self.pauses.get_mut(&peer) {
            let settled = self.now.since(link.since) >= SETTLED;
            if was_up && settled {
                *bound = 10_000;
            }
            let most = if was_up && !settled { 400_000 } else { 80_000 };
            let us = Span::from_micros;
            let pause = (*bound).min(most);
            *due = Some((self.now + us(pause.div_ceil(2)), self.now + us(pause)));
            *bound = (*bound * 2).min(most);
        }
        if was_up && let Some(contender) = self.first_contender(peer) {
            let link = self.links.get_mut(&contender).expect("open");
            link.who = Who::Stranger;
            link.rest = std::mem::take(&mut link.kept);
            self.link_lines(contender);
        }
    }

    fn link_of(&self, who: Who) -> Option<Conn> {
        self.links.iter().find(|l| l.1.who == who).map(|l| *l.0)
    }

    /// Of those that contend for a peer the one that was made first.
    fn first_contender(&self, peer: u32) -> Option<Conn> {
        let all = self.links.iter();
        let all = all.filter(|l| l.1.who == Who::Contender(peer));
        all.min_by_key(|l| l.1.order).map(|l| *l.0)
    }

    /// Whether a door is shut: of links, or of masters.
    pub(crate) fn shut(&self, masters: bool) -> bool {
        self.newcomers(masters).len() >= self.limits.nameless
    }

    /// Oldest first: order, handle, and from when on it may be closed to make room.
    fn newcomers(&self, masters: bool) -> Vec<(usize, Conn, Option<Time>)> {
        let by = |since: Time, heard: Time| (heard + GRACE).min(since + GREETING);
        let mut all: Vec<_> = match masters {
            false => {
                let strangers = (self.links.iter())
                    .filter(|l| matches!(l.1.who, Who::Stranger | Who::Contender(_)));
                let at = |l: &Link| Some(by(l.since, l.heard));
                strangers.map(|(c, l)| (l.order, *c, at(l))).collect()
            }
            true => {
                let unplaced = self
                    .masters
                    .iter()
                    .filter(|m| !m.1.placed && !self.idle(*m.0));
                let at = |m: &Master| m.waits.is_none().then(|| by(m.since, m.heard));
                unplaced.map(|(c, m)| (m.order, *c, at(m))).collect()
            }
        };
        all.sort_unstable();
        all
    }

    /// Whether it gave up its place to another.
    fn idle(&self, conn: Conn) -> bool {
        self.leaving.get(&conn) == Some(&Why::Idle)
    }

    /// Whether somebody was told something or has ended, and it was not looked at.
    pub(crate) fn has_news(&self) -> bool {
        !self.told.is_empty() || !self.ended.is_empty()
    }

    /// All that was told was read.
    pub(crate) fn all_read(&mut self) {
        for (conn, why) in std::mem::take(&mut self.leaving) {
            self.end(conn, why);
        }
        self.settle();
    }

    /// The lines that `bytes` complete, and whether what is left is too long already.
    fn lines(rest: &mut Vec<u8>, bytes: &[u8]) -> Vec<Vec<u8>> {
        rest.extend_from_slice(bytes);
        let mut lines: Vec<Vec<u8>> = rest.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        *rest = lines.pop().expect("split gives one piece at least");
        lines
    }

    pub(crate) fn link_bytes(&mut self, conn: Conn, bytes: &[u8]) {
        let now = self.now;
        let link = self.links.get_mut(&conn).expect("open");
        link.heard = now;
        if let Who::Contender(_) = link.who {
            link.kept.extend(bytes);
        } else {
            link.rest.extend(bytes);
            self.link_lines(conn);
        }
        if let Some(link) = self.links.get_mut(&conn)
            && let Who::Peer(_) = link.who
        {
            link.excused = None;
        }
        self.settle();
    }

    fn link_lines(&mut self, conn: Conn) {
        while let Some(link) = self.links.get_mut(&conn)
            && let Some(end) = link.rest.iter().position(|b| *b == b'\n')
        {
            let line: Vec<u8> = link.rest[..end].to_vec();
            if let Some(peer) = self.contends(conn, &line) {
                return self.contend(conn, peer);
            }
            self.links.get_mut(&conn).expect("open").rest.drain(..=end);
            if let Err(why) = self.link_line(conn, &line) {
                return self.end(conn, why);
            }
        }
    }

    /// Whom the line of a stranger names, if that one is up on an earlier link.
    fn contends(&self, conn: Conn, line: &[u8]) -> Option<u32> {
        let link = &self.links[&conn];
        let (Ok(Said::Ping(peer) | Said::Msg(peer, _)), Who::Stranger) =
            (self.understand(line), link.who)
        else {
            return None;
        };
        self.link_of(Who::Peer(peer))?;
        (peer > self.id && link.order > self.latest[&peer]).then_some(peer)
    }

    fn contend(&mut self, conn: Conn, peer: u32) {
        let now = self.now;
        let link = self.links.get_mut(&conn).expect("open");
        (link.who, link.since) = (Who::Contender(peer), now);
        link.kept = std::mem::take(&mut link.rest);
    }

    fn number(&self, word: Option<&str>) -> Result<u32, Why> {
        let word = word.ok_or(Why::Malformed)?;
        let canonical = word == "0" || !word.starts_with('0');
        if word.is_empty() || !canonical || word.chars().any(|c| !c.is_ascii_digit()) {
            return Err(Why::Malformed);
        }
        match word.parse::<u32>() {
            Ok(id) if id < self.servers => Ok(id),
            _ => Err(Why::OutsideGrid),
        }
    }

    fn understand(&self, line: &[u8]) -> Result<Said, Why> {
        let line = std::str::from_utf8(line).map_err(|_| Why::NotUtf8)?;
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        match words[0] {
            "ping" if words.len() == 3 => Err(Why::Malformed),
            "ping" => Ok(Said::Ping(self.number(words.get(1).copied())?)),
            "msg" => match words.get(2) {
                None => Err(Why::Malformed),
                Some(text) => {
                    let sender = self.number(words.get(1).copied())?;
                    if text.is_empty() {
                        return Err(Why::Malformed);
                    }
                    Ok(Said::Msg(sender, text.to_string()))
                }
            },
            _ => Ok(Said::Unknown),
        }
    }

    fn link_line(&mut self, conn: Conn, line: &[u8]) -> Result<(), Why> {
        let said = self.understand(line)?;
        let who = self.links[&conn].who;
        let sender = match (&said, who) {
            (Said::Unknown, Who::Peer(_)) => return Ok(()),
            (Said::Unknown, _) => return Err(Why::NoIdentity),
            (Said::Ping(sender) | Said::Msg(sender, _), _) => *sender,
        };
        if sender == self.id {
            return Err(Why::OwnId);
        }
        match who {
            Who::Peer(peer) | Who::Dialled(peer) if peer != sender => return Err(Why::OtherId),
            Who::Stranger if sender < self.id => return Err(Why::ShouldNotDial),
            Who::Peer(_) => {}
            Who::Dialled(_) | Who::Stranger => self.up(conn, who, sender)?,
            Who::Dialling(_) | Who::Contender(_) => panic!("not to be read"),
        }
        if let Said::Msg(sender, text) = said {
            let missed = self.gaps.iter().position(|g| g.0 == sender);
            if missed.is_none() && self.record(sender, &text) {
                return Ok(());
            }
            let (at, due) = match missed {
                Some(at) => (at, self.now + GAPS),
                None => (self.gaps.len(), self.now),
            };
            if missed.is_none() {
                self.gaps.push((sender, 0));
            }
            self.gaps[at].1 += 1;
            self.missed += 1;
            self.gap_at = Some(self.gap_at.map_or(due, |t| t.min(due)));
        }
        Ok(())
    }

    /// False if the log has no room for it.
    fn record(&mut self, sender: u32, text: &str) -> bool {
        let length = self.log.join(",").len() + usize::from(!self.log.is_empty()) + text.len();
        if length as u64 > self.log_limit {
            return false;
        }
        self.log.push(text.to_string());
        self.tell_watchers(&format!("delivered {sender} {text}"));
        true
    }

    fn up(&mut self, conn: Conn, who: Who, peer: u32) -> Result<(), Why> {
        let order = self.links[&conn].order;
        let latest = self.latest.entry(peer).or_insert(order);
        if *latest > order {
            return Err(Why::Replaced);
        }
        *latest = order;
        assert_eq!(self.link_of(Who::Peer(peer)), None, "it contends");
        let now = self.now;
        let link = self.links.get_mut(&conn).expect("open");
        (link.who, link.since) = (Who::Peer(peer), now);
        if who == Who::Stranger {
            self.tell(conn, format!("ping {}", self.id));
        }
        self.tell_watchers(&format!("up {peer}"));
        Ok(())
    }

    /// When something is to be done about a link, and what.
    fn deadline(&self, conn: Conn, link: &Link) -> Option<(Time, Due)> {
        let excused = link.excused.unwrap_or(Time::ZERO);
        Some(match link.who {
            Who::Dialling(_) => (link.since + DIAL, Due::DialTimeout(conn)),
            Who::Dialled(_) | Who::Stranger => {
                ((link.since + GREETING).max(excused), Due::NoGreeting(conn))
            }
            Who::Contender(peer) => {
                if self.first_contender(peer) != Some(conn) {
                    return None;
                }
                let present = self.link_of(Who::Peer(peer)).expect("else it takes over");
                let present = &self.links[&present];
                let patience = link.since.max(present.since) + GREETING;
                let at = patience.min(present.heard + OVERDUE);
                (at, Due::Contest(peer, conn))
            }
            Who::Peer(_) => {
                let began = link.since + Span::from_micros(1);
                let at = (link.heard + SUSPICION).max(began).max(excused);
                (at, Due::Silent(conn))
            }
        })
    }

    /// When somebody is closed to make room at a door that is full.
    fn evicts_at(&self, masters: bool) -> Option<Time> {
        let all = self.newcomers(masters);
        let first = all.iter().filter_map(|n| n.2).min();
        first.filter(|_| all.len() >= self.limits.nameless)
    }

    /// Time goes on to `to`, during which the server dialled as `dials` says. If it was `away` it
    /// did nothing until then.
    pub(crate) fn advance(&mut self, to: Time, dials: &[(u32, Conn, Time)], away: bool) {
        if away {
            if to.since(self.now) > AWAY {
                for link in self.links.values_mut() {
                    link.excused.get_or_insert(to + HEARTBEAT);
                }
            }
            self.now = to;
        }
        let mut dials = dials.iter().peekable();
        let mut beaten = false;
        loop {
            let evicts = [false, true].map(|masters| self.evicts_at(masters));
            let links = self.links.iter().filter_map(|(c, l)| self.deadline(*c, l));
            let others = [
                (dials.peek().map(|d| d.2), Due::Dial),
                (Some(self.next_heartbeat), Due::Heartbeat),
                (evicts.into_iter().flatten().min(), Due::Evict),
                (self.place_at, Due::Place),
                (self.gap_at, Due::Gap),
            ];
            let others = others.into_iter().filter_map(|(at, due)| Some((at?, due)));
            let due = links.chain(others).filter(|d| d.0 <= to);
            let next = match away {
                // All at once, each kind in its turn.
                true => due.min_by_key(|d| d.1),
                false => due.min(),
            };
            let at = next.map(|n| n.0.max(self.now));
            if at.is_none_or(|at| at > self.now) {
                self.settle();
            }
            let (Some((_, due)), Some(at)) = (next, at) else {
                break;
            };
            self.now = at;
            match due {
                Due::Silent(conn) => self.end(conn, Why::Silent),
                Due::NoGreeting(conn) => self.end(conn, Why::NoGreeting),
                Due::DialTimeout(conn) => self.end(conn, Why::DialTimeout),
                Due::Contest(peer, conn) => {
                    let present = self.link_of(Who::Peer(peer)).expect("it is up");
                    match self.links[&present].heard + OVERDUE > at {
                        true => self.end(conn, Why::Contested),
                        false => self.end(present, Why::Replaced),
                    }
                }
                Due::Dial => {
                    let &(peer, conn, at) = dials.next().expect("peeked");
                    self.dials(peer, conn, at, away);
                }
                Due::Heartbeat => {
                    assert!(!std::mem::replace(&mut beaten, away), "one is enough");
                    let peers = (self.links.iter()).filter(|l| matches!(l.1.who, Who::Peer(_)));
                    // Who is owed something already, as one that was just named, needs no heartbeat.
                    let owed = |conn: &Conn| self.told.get(conn).is_some_and(|t| !t.is_empty());
                    let peers = peers.map(|l| *l.0).filter(|conn| !owed(conn));
                    for conn in peers.collect::<Vec<_>>() {
                        self.tell(conn, format!("ping {}", self.id));
                    }
                    self.next_heartbeat = at + HEARTBEAT;
                }
                Due::Evict => {
                    for masters in [false, true] {
                        if self.evicts_at(masters).is_none_or(|t| t > at) {
                            continue;
                        }
                        let all = self.newcomers(masters);
                        let excess = all.len() - self.limits.nameless / 2;
                        let old = all.into_iter().filter(|n| n.2.is_some_and(|t| t <= at));
                        for (_, conn, _) in old.take(excess) {
                            self.end(conn, Why::Crowded);
                        }
                    }
                }
                Due::Place => self.judge_places(),
                Due::Gap => {
                    self.gap_at = None;
                    for at in 0..self.gaps.len() {
                        let count = std::mem::take(&mut self.gaps[at].1);
                        if count > 0 {
                            self.tell_watchers(&format!("gap {} {count}", self.gaps[at].0));
                        }
                    }
                }
            }
        }
        assert_eq!(dials.next(), None);
        self.now = to;
        for (peer, (_, due)) in &self.pauses {
            assert!(
                due.is_none_or(|(_, latest)| latest > to),
                "{peer} was not dialled"
            );
        }
    }
}

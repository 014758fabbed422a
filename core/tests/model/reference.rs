//! What one server must do, written from the contract alone and as plainly as can be: no slots,
//! no cursors, no timers, whole copies of everything.

use chatroom_core::{Conn, Span, Time, Why};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    Dialling(u32),
    Dialled(u32),
    Stranger,
    Peer(u32),
}

#[derive(Debug)]
struct Link {
    who: Who,
    order: usize,
    since: Time,
    heard: Time,
    rest: Vec<u8>,
}

#[derive(Debug, Default)]
struct Master {
    rest: Vec<u8>,
    watches: bool,
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
    pub(crate) crashed: bool,
}

const HEARTBEAT: Span = Span::from_millis(450);
const SUSPICION: Span = Span::from_millis(900);
const GREETING: Span = Span::from_millis(650);
const DIAL: Span = Span::from_millis(400);
const SETTLED: Span = Span::from_millis(250);

impl Reference {
    pub(crate) fn new(id: u32, servers: u32) -> Self {
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
            crashed: false,
        }
    }

    pub(crate) fn alive(&self) -> Vec<u32> {
        let peers = self.links.values().filter_map(|link| match link.who {
            Who::Peer(peer) => Some(peer),
            Who::Dialling(_) | Who::Dialled(_) | Who::Stranger => None,
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
            rest: vec![],
        };
        assert!(self.links.insert(conn, link).is_none());
    }

    pub(crate) fn accepted(&mut self, conn: Conn) {
        self.insert(conn, Who::Stranger, self.now);
    }

    pub(crate) fn master(&mut self, conn: Conn) {
        assert!(self.masters.insert(conn, Master::default()).is_none());
    }

    /// The server dials: allowed only when a dial is due.
    pub(crate) fn dials(&mut self, peer: u32, conn: Conn, at: Time) {
        let pause = self
            .pauses
            .get_mut(&peer)
            .expect("only ids below are dialled");
        let (from, to) = pause.1.take().expect("no second dial of a peer");
        assert!(
            from <= at && at <= to,
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
        self.ended.insert(conn, why);
        if self.masters.remove(&conn).is_some() {
            return;
        }
        let link = self.links.remove(&conn).expect("open");
        let peer = match link.who {
            Who::Stranger => return,
            Who::Dialling(peer) | Who::Dialled(peer) | Who::Peer(peer) => peer,
        };
        if let Some((bound, due)) = self.pauses.get_mut(&peer) {
            if link.who == Who::Peer(peer) && self.now.since(link.since) >= SETTLED {
                *bound = 10_000;
            }
            let us = Span::from_micros;
            *due = Some((self.now + us(bound.div_ceil(2)), self.now + us(*bound)));
            *bound = (*bound * 2).min(80_000);
        }
        if link.who == Who::Peer(peer) {
            self.tell_watchers(&format!("down {peer}"));
        }
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
        for line in Self::lines(&mut link.rest, bytes) {
            if let Err(why) = self.link_line(conn, &line) {
                return self.end(conn, why);
            }
        }
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
            Who::Dialling(_) => panic!("bytes before the connection"),
        }
        if let Said::Msg(sender, text) = said {
            self.tell_watchers(&format!("delivered {sender} {text}"));
            self.log.push(text);
        }
        Ok(())
    }

    fn up(&mut self, conn: Conn, who: Who, peer: u32) -> Result<(), Why> {
        let order = self.links[&conn].order;
        let latest = self.latest.entry(peer).or_insert(order);
        if *latest > order {
            return Err(Why::Replaced);
        }
        *latest = order;
        let present = self.links.iter().find(|l| l.1.who == Who::Peer(peer));
        if let Some((&present, _)) = present {
            self.end(present, Why::Replaced);
        }
        let now = self.now;
        let link = self.links.get_mut(&conn).expect("open");
        (link.who, link.since) = (Who::Peer(peer), now);
        if who == Who::Stranger {
            self.tell(conn, format!("ping {}", self.id));
        }
        self.tell_watchers(&format!("up {peer}"));
        Ok(())
    }

    pub(crate) fn master_bytes(&mut self, conn: Conn, bytes: &[u8]) {
        let master = self.masters.get_mut(&conn).expect("open");
        for line in Self::lines(&mut master.rest, bytes) {
            self.command(conn, &line);
            if self.crashed {
                return;
            }
        }
    }

    fn command(&mut self, conn: Conn, line: &[u8]) {
        let line = String::from_utf8_lossy(line).into_owned();
        let line = line.trim_matches([' ', '\t', '\r', '\x0b', '\x0c']);
        match line {
            "get" => self.tell(conn, format!("messages {}", self.log.join(","))),
            "alive" => {
                let ids: Vec<String> = self.alive().iter().map(u32::to_string).collect();
                self.tell(conn, format!("alive {}", ids.join(",")));
            }
            "crash" => self.crashed = true,
            "watch" => self.masters.get_mut(&conn).expect("open").watches = true,
            _ => match line.strip_prefix("broadcast ") {
                Some(text) if !text.contains('\u{fffd}') => {
                    self.log.push(text.to_string());
                    self.tell_watchers(&format!("delivered {} {text}", self.id));
                    let peers = self
                        .links
                        .iter()
                        .filter(|l| matches!(l.1.who, Who::Peer(_)));
                    for conn in peers.map(|l| *l.0).collect::<Vec<_>>() {
                        self.tell(conn, format!("msg {} {text}", self.id));
                    }
                }
                Some(_) | None => self.told.entry(conn).or_default().push(Told::Error),
            },
        }
    }

    /// When a link ends of itself, and why.
    fn deadline(link: &Link) -> (Time, Why) {
        match link.who {
            Who::Dialling(_) => (link.since + DIAL, Why::DialTimeout),
            Who::Dialled(_) | Who::Stranger => (link.since + GREETING, Why::NoGreeting),
            Who::Peer(_) => (link.heard + SUSPICION, Why::Silent),
        }
    }

    /// Time goes on to `to`, during which the server dialled as `dials` says.
    pub(crate) fn advance(&mut self, to: Time, dials: &[(u32, Conn, Time)]) {
        let mut dials = dials.iter().peekable();
        loop {
            let deadlines = self
                .links
                .iter()
                .map(|(conn, link)| (Self::deadline(link), *conn));
            let first = deadlines.min_by_key(|d| d.0.0);
            let end = first.map(|((at, why), conn)| (at, why, conn));
            let dial = dials.peek().map(|d| d.2);
            let times = [end.map(|e| e.0), dial, Some(self.next_heartbeat)];
            let at = times.into_iter().flatten().min().expect("a heartbeat");
            if at > to {
                break;
            }
            self.now = at;
            if let Some((_, why, conn)) = end.filter(|e| e.0 == at) {
                self.end(conn, why);
            } else if dial == Some(at) {
                let &(peer, conn, at) = dials.next().expect("peeked");
                self.dials(peer, conn, at);
            } else {
                let peers = self
                    .links
                    .iter()
                    .filter(|l| matches!(l.1.who, Who::Peer(_)));
                for conn in peers.map(|l| *l.0).collect::<Vec<_>>() {
                    self.tell(conn, format!("ping {}", self.id));
                }
                self.next_heartbeat = at + HEARTBEAT;
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

//! A chat server of the tests, small and slow, written apart from the one that ships. With
//! [`Fault::None`] it keeps the contract; any other fault makes it break one part of it.

mod desk;
mod links;
mod machine;

use chatroom_chat::{Config, Counters, Gauges, LATE, LINKS, MASTERS, News, SETTLED, Why};
use chatroom_machine::{Action, Conn, Door, Halt, Place, Span, Time};
use chatroom_worlds::chat::Chat;
use std::collections::VecDeque;

/// What is wrong with a server. The table of mutants says what each does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Interleave,
    OldCloseKillsNew,
    OldBytesCount,
    ResendLog,
    ResendLast,
    DropSameText,
    TextAsCommand,
    TextAsLine,
    BlanksCollapse,
    Relay,
    RestAtEnd,
    SilenceSinceConnect,
    SilenceSinceSend,
    BacklogIsFresh,
    OwnLate,
    OwnTwice,
    StopAtFirstDead,
    OneHoldsUpAll,
    HoldLast,
    NumbersWithoutLife,
    KeepOldLink,
    AliveByArrival,
    GetCutShort,
    StaleDeadline,
    SpinOnBlockedWrite,
    ShortWriteIsMisuse,
    PanicOnCommas,
    ForgetResume,
    DeadSpeakLast,
    SilentGap,
    GapTooSmall,
    GapTooLarge,
    KeepsAfterGap,
    ObeysWebPages,
    NoExcuse,
    ExcusedForEver,
    ClosesOldest,
    TurnsAway,
    DialsTwice,
    ContendsForEver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Dialling(u32),
    Outbound(u32),
    Inbound,
    Peer(u32),
    /// A link that was replaced and that a fault keeps open.
    Old(u32),
    Master,
}

#[derive(Debug)]
struct Link {
    conn: Conn,
    role: Role,
    number: u64,
    since: Time,
    heard: Time,
    /// Until when it is not suspected, since this server was itself away.
    excused_until: Option<Time>,
    /// The unfinished line.
    input: Vec<u8>,
    skipping: bool,
    /// Of a master: what was read and must wait.
    held: Vec<u8>,
    out: Vec<u8>,
    /// Messages of this session so far.
    messages: u64,
    valid: bool,
    watching: bool,
    paused: bool,
    finished: bool,
}

#[derive(Debug)]
struct Peer {
    link: Option<Conn>,
    redial: Option<Time>,
    backoff: Span,
    /// For a fault: the highest number of a message, whatever the session.
    highest: u64,
}

#[derive(Debug)]
pub(crate) struct Broken {
    config: Config,
    fault: Fault,
    now: Time,
    actions: VecDeque<Action<News>>,
    links: Vec<Option<Link>>,
    generations: Vec<u32>,
    free: Vec<usize>,
    made: u64,
    peers: Vec<Peer>,
    /// Peers that are up, in the order in which they came.
    order: Vec<u32>,
    log: Vec<u8>,
    texts: Vec<(u32, String)>,
    log_was_full: bool,
    beat: Option<Time>,
    /// By door: until when nothing is accepted for want of descriptors, and whether the driver
    /// was told to accept nothing.
    shut_until: [Option<Time>; 2],
    shut: [bool; 2],
    /// By peer: whether a message of it was not kept.
    missed: Vec<bool>,
    /// For a fault: by peer, whether a link that named it while it was up still waits.
    contenders: Vec<bool>,
    started: bool,
    ending: Option<Time>,
    left: bool,
    halted: bool,
    counters: Counters,
    /// For faults: what was put off, and deadlines that outlive their links.
    late: Vec<String>,
    backlog: VecDeque<(Vec<Conn>, Vec<u8>)>,
    tails: Vec<Option<(Conn, String)>>,
    deadlines: Vec<(Time, Conn)>,
}

impl Chat for Broken {
    fn gauges(&self) -> Gauges {
        let masters = || self.all().filter(|link| link.role == Role::Master);
        let count = |role: fn(&Role) -> bool| self.all().filter(|link| role(&link.role)).count();
        Gauges {
            peers: self.order.len(),
            nameless: count(|role| *role == Role::Inbound),
            masters: masters().count(),
            lag_bytes: self
                .sessions()
                .map(|link| link.out.len() as u64)
                .max()
                .unwrap_or(0),
            owed_bytes: masters().map(|link| link.out.len() as u64).sum(),
        }
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn log_bytes(&self) -> u64 {
        self.log.len() as u64
    }
}

impl Broken {
    pub(crate) fn new(config: Config, fault: Fault) -> Self {
        let peer = |_| Peer {
            link: None,
            redial: None,
            backoff: config.times.backoff_min,
            highest: 0,
        };
        Self {
            fault,
            now: Time::ZERO,
            actions: VecDeque::new(),
            links: Vec::new(),
            generations: Vec::new(),
            free: Vec::new(),
            made: 0,
            peers: (0..config.servers).map(peer).collect(),
            order: Vec::new(),
            log: Vec::new(),
            texts: Vec::new(),
            log_was_full: false,
            beat: None,
            shut_until: [None; 2],
            shut: [false; 2],
            missed: vec![false; config.servers as usize],
            contenders: vec![false; config.servers as usize],
            started: false,
            ending: None,
            left: false,
            halted: false,
            counters: Counters::default(),
            late: Vec::new(),
            backlog: VecDeque::new(),
            tails: vec![None; config.servers as usize],
            deadlines: Vec::new(),
            config,
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn enter(&mut self, now: Time) {
        let away = now.since(self.now) > self.config.times.heartbeat + LATE;
        self.now = self.now.max(now);
        if away && self.started && !self.is(Fault::NoExcuse) {
            let chance = if self.is(Fault::ExcusedForEver) {
                Span::from_millis(3_600_000)
            } else {
                self.config.times.heartbeat
            };
            let until = self.now + chance;
            for link in self.links.iter_mut().flatten() {
                link.excused_until.get_or_insert(until);
            }
        }
    }

    fn tell(&mut self, news: News) {
        self.actions.push_back(Action::Notice(news));
    }

    fn all(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().flatten()
    }

    fn sessions(&self) -> impl Iterator<Item = &Link> {
        self.all().filter(|link| matches!(link.role, Role::Peer(_)))
    }

    fn conns(&self, which: impl Fn(&Link) -> bool) -> Vec<Conn> {
        self.all()
            .filter(|link| which(link))
            .map(|link| link.conn)
            .collect()
    }

    fn at(&self, conn: Conn) -> Option<&Link> {
        self.links
            .get(conn.slot())?
            .as_ref()
            .filter(|link| link.conn == conn)
    }

    fn at_mut(&mut self, conn: Conn) -> Option<&mut Link> {
        self.links
            .get_mut(conn.slot())?
            .as_mut()
            .filter(|link| link.conn == conn)
    }

    fn take(&mut self, role: Role) -> Conn {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.generations.push(0);
            self.links.push(None);
            self.links.len() - 1
        });
        let conn = Conn::new(
            u32::try_from(slot).unwrap_or(u32::MAX),
            self.generations[slot],
        );
        self.made += 1;
        self.links[slot] = Some(Link {
            conn,
            role,
            number: self.made,
            since: self.now,
            heard: self.now,
            excused_until: None,
            input: Vec::new(),
            skipping: false,
            held: Vec::new(),
            out: Vec::new(),
            messages: 0,
            valid: false,
            watching: false,
            paused: false,
            finished: false,
        });
        conn
    }

    fn push(&mut self, conn: Conn, bytes: &[u8]) {
        let interleave = self.is(Fault::Interleave);
        let Some(link) = self.at_mut(conn) else {
            return;
        };
        let first = link.out.is_empty();
        if interleave && link.role != Role::Master {
            link.out.splice(0..0, bytes.iter().copied());
        } else {
            link.out.extend_from_slice(bytes);
        }
        if first {
            self.actions.push_back(Action::Send(conn));
        }
    }

    fn dial(&mut self, peer: u32) {
        self.peers[peer as usize].redial = None;
        let conn = self.take(Role::Dialling(peer));
        self.counters.dials += 1;
        self.actions.push_back(Action::Dial {
            conn,
            to: Place(peer),
        });
    }

    fn redial_later(&mut self, peer: u32) {
        if peer < self.config.id && !self.left {
            let entry = &mut self.peers[peer as usize];
            entry.redial = Some(self.now + entry.backoff);
            entry.backoff = entry.backoff.times(2).min(self.config.times.backoff_max);
        }
    }

    /// Ends a connection; `gone` says that the driver knows already.
    fn end(&mut self, conn: Conn, why: Why, gone: bool) {
        if self.at(conn).is_none() {
            return;
        }
        let slot = conn.slot();
        let Some(link) = self.links[slot].take() else {
            return;
        };
        self.generations[slot] += 1;
        self.counters.closes[why as usize] += 1;
        if gone {
            self.free.push(slot);
        } else {
            self.actions.push_back(Action::Close(conn));
        }
        match link.role {
            Role::Peer(peer) => self.down(peer, &link, why),
            Role::Old(peer) => {
                if self.is(Fault::OldCloseKillsNew)
                    && let Some(present) = self.peers[peer as usize].link
                {
                    self.end(present, why, false);
                }
            }
            Role::Dialling(peer) | Role::Outbound(peer) => {
                self.tell(News::Closed { conn, why });
                self.redial_later(peer);
            }
            Role::Inbound | Role::Master => self.tell(News::Closed { conn, why }),
        }
        self.unblock();
    }

    /// The session on a link is over.
    fn down(&mut self, peer: u32, link: &Link, why: Why) {
        self.peers[peer as usize].link = None;
        self.order.retain(|id| *id != peer);
        if self.now.since(link.since) >= SETTLED {
            self.peers[peer as usize].backoff = self.config.times.backoff_min;
        }
        let silence = self.now.since(link.heard);
        self.tell(News::Down {
            peer,
            conn: link.conn,
            why,
            silence,
        });
        self.tell_watchers(&format!("down {peer}\n"));
        self.redial_later(peer);
    }

    /// For faults: the session on a link is over, and the link stays open.
    fn replace(&mut self, peer: u32, conn: Conn, why: Why) {
        if let Some(old) = self.links[conn.slot()].take() {
            self.down(peer, &old, why);
            let role = Role::Old(peer);
            self.links[conn.slot()] = Some(Link { role, ..old });
        }
    }

    fn end_where(&mut self, why: Why, which: impl Fn(&Link) -> bool) {
        for conn in self.conns(which) {
            self.end(conn, why, false);
        }
    }

    fn leave(&mut self, why: Why, which: impl Fn(&Link) -> bool) {
        self.left = true;
        self.peers.iter_mut().for_each(|peer| peer.redial = None);
        self.end_where(why, |link| link.role != Role::Master && which(link));
    }

    fn silent_at(&self, link: &Link) -> Time {
        let from = if self.is(Fault::SilenceSinceConnect) {
            link.since
        } else {
            link.heard
        };
        let at = from + self.config.times.suspicion;
        link.excused_until.map_or(at, |until| until.max(at))
    }

    fn greets_by(&self, link: &Link) -> Time {
        let at = link.since + self.config.times.greeting;
        link.excused_until.map_or(at, |until| until.max(at))
    }

    /// When something is due on a link, and what.
    fn due(&self, link: &Link) -> Option<(Time, Why)> {
        let times = &self.config.times;
        match link.role {
            Role::Peer(_) | Role::Old(_) => Some((self.silent_at(link), Why::Silent)),
            Role::Outbound(_) | Role::Inbound => Some((self.greets_by(link), Why::NoGreeting)),
            Role::Dialling(_) => Some((link.since + times.dial, Why::DialTimeout)),
            Role::Master => None,
        }
    }

    fn heartbeat(&mut self) {
        self.beat = Some(self.now + self.config.times.heartbeat);
        let last = self.texts.iter().rfind(|(id, _)| *id == self.config.id);
        let line = match last {
            Some((_, text)) if self.is(Fault::ResendLast) => self.msg(text),
            Some(_) | None => self.ping(),
        };
        if self.is(Fault::OneHoldsUpAll) {
            let conns = self.listeners();
            self.backlog.push_back((conns, line));
            return self.unblock();
        }
        let eager = self.is(Fault::Interleave);
        let free =
            |link: &Link| matches!(link.role, Role::Peer(_)) && (eager || link.out.is_empty());
        self.conns(free)
            .into_iter()
            .for_each(|conn| self.push(conn, &line));
        if self.is(Fault::DialsTwice) {
            let up = (0..self.config.id).filter(|id| self.peers[*id as usize].link.is_some());
            up.collect::<Vec<_>>()
                .into_iter()
                .for_each(|id| self.dial(id));
        }
    }

    fn finish(&mut self) {
        self.leave(Why::Ending, |_| true);
        self.end_where(Why::Ending, |_| true);
        self.actions.push_back(Action::Halt(Halt::Done));
        self.halted = true;
    }

    fn settle(&mut self) {
        if self.ending.is_some() && !self.halted && self.all().all(|link| link.out.is_empty()) {
            self.finish();
        }
        if !self.halted {
            self.settle_doors();
        }
    }

    /// Whether a door can take no more.
    fn is_full(&self, door: Door) -> bool {
        let limits = &self.config.limits;
        let count = |role: Role| self.all().filter(|link| link.role == role).count();
        match door {
            LINKS => count(Role::Inbound) >= limits.nameless,
            _ => count(Role::Master) >= limits.masters + limits.nameless,
        }
    }

    /// Tells the driver at which doors to accept.
    fn settle_doors(&mut self) {
        for door in [LINKS, MASTERS] {
            let index = usize::from(door.0);
            let full = self.is_full(door) && !self.is(Fault::TurnsAway);
            let shut = self.ending.is_some() || self.shut_until[index].is_some() || full;
            if std::mem::replace(&mut self.shut[index], shut) != shut {
                self.actions.push_back(match shut {
                    true => Action::Shut(door),
                    false => Action::Open(door),
                });
            }
        }
    }
}

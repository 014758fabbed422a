//! Who is linked, who is to be dialled and when, who is suspected: the links of one server to
//! all others. Carries messages and knows nothing of what they mean, nor of clients.
//!
//! Failure detection is by heartbeats and a fixed timeout on a synchronous enough network
//! (Chandra and Toueg, "Unreliable failure detectors", 1996): completeness, because a silent
//! link is dropped; accuracy, as long as a peer's bytes arrive within the suspicion time.

mod contest;
mod dial;
mod resume;
mod send;

use crate::config::{Config, LATE, Limits, SETTLED, Times};
use crate::frame::Framer;
use crate::link::{Link, Resumes, Role, Stream};
use crate::news::{News, Why};
use crate::outputs::Outputs;
use crate::rng::Rng;
use crate::send_log::SendLog;
use crate::slots::Owner;
use crate::timers::Timer;
use crate::wire::{self, Line, Position};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use chatroom_machine::{Conn, Loss, Misuse, Remote};
use chatroom_machine::{Span, Time};

/// What the node is told of links, in the order in which it happened.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) enum Report {
    /// A session with this peer began.
    Up(u32),
    /// So many broadcasts of this peer are lost.
    Lost(u32, u64),
    /// The session with this peer ended.
    Down(u32),
    /// This link waited, and what came on it is to be read now.
    Promoted(Conn),
}

/// A message: who sent it, and its body.
pub(crate) type Message<'a> = (u32, &'a [u8]);

/// A link that is being read: its unfinished line is taken out of it meanwhile.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) framer: Framer,
    /// Whether the link has not said who it is.
    pub(crate) unidentified: bool,
    /// Whether its dialler had left by the time it was accepted.
    pub(crate) gone: bool,
}

/// What is known of one other server.
#[derive(Clone, Debug, Hash)]
struct Peer {
    /// The link of the present session.
    link: Option<Conn>,
    /// The latest link that named it, by its number: older ones are of its past.
    latest: u64,
    /// Later links that name it, in the order in which they were made; only while there is a
    /// present one.
    contenders: VecDeque<Conn>,
    /// Which incarnation said the last `hello`; 0 if none did.
    incarnation: u64,
    /// What of that incarnation's broadcasts was received in sessions that ended.
    received: Option<Position>,
    /// From where on what is broadcast is kept for that incarnation.
    keep: Option<u64>,
    /// Its last `hello` was of another protocol or of a grid of another size.
    misfit: bool,
    /// When to dial; none while linked, while dialling, and for ids above our own.
    redial: Option<Time>,
    /// The upper bound of the next pause before a dial.
    backoff: Span,
}

/// All links of one server.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Mesh {
    id: u32,
    servers: u32,
    /// The own incarnation; 0 if no `hello` is said.
    incarnation: u64,
    /// Whether sessions resume.
    resumes: bool,
    /// The protocol's word.
    word: &'static str,
    times: Times,
    limits: Limits,
    /// By slot; a slot that a client has is empty here.
    links: Vec<Option<Link>>,
    /// How many links were made so far.
    made: u64,
    /// By id; the own entry stays empty.
    peers: Vec<Peer>,
    /// What is broadcast.
    log: SendLog,
    /// How many broadcasts went into it.
    count: u64,
    /// No session has read less of it, if any lags.
    slowest: u64,
    /// Peers for which it is kept.
    kept: usize,
    /// Bytes for single links that are pending.
    own: usize,
    /// Nothing waits here between two calls of the node.
    reports: VecDeque<Report>,
    /// Sessions that have not read all of the log.
    lagging: usize,
    /// Sessions.
    up: usize,
    /// Sessions with peers that we are the one to dial.
    dialled_up: u32,
    prefix: Vec<u8>,
    ping: Vec<u8>,
    rng: Rng,
    /// Whether it left the grid: it makes no more links.
    left: bool,
}

impl Mesh {
    pub(crate) fn new<O>(config: &Config<O>, word: &'static str, resumes: bool) -> Self {
        let peer = |_| Peer {
            link: None,
            latest: 0,
            contenders: VecDeque::new(),
            incarnation: 0,
            received: None,
            keep: None,
            misfit: false,
            redial: None,
            backoff: config.times.backoff_min,
        };
        Self {
            id: config.id,
            servers: config.servers,
            incarnation: config.incarnation,
            resumes: resumes && config.incarnation != 0,
            word,
            times: config.times.clone(),
            limits: config.limits.clone(),
            links: Vec::new(),
            made: 0,
            peers: (0..config.servers).map(peer).collect(),
            log: SendLog::default(),
            count: 0,
            slowest: 0,
            kept: 0,
            own: 0,
            reports: VecDeque::new(),
            lagging: 0,
            up: 0,
            dialled_up: 0,
            prefix: wire::prefix(word, config.id),
            ping: wire::ping(config.id),
            rng: Rng::new(config.seed ^ u64::from(config.id).rotate_left(32)),
            left: false,
        }
    }

    /// The ids of the peers that are up, ascending.
    pub(crate) fn up(&self) -> impl Iterator<Item = u32> {
        (0..)
            .zip(&self.peers)
            .filter_map(|(id, p)| p.link.map(|_| id))
    }

    /// The own id and those of the peers that are up, ascending.
    pub(crate) fn alive(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.up().collect();
        let (Ok(at) | Err(at)) = ids.binary_search(&self.id);
        ids.insert(at, self.id);
        ids
    }

    pub(crate) const fn up_count(&self) -> usize {
        self.up
    }

    /// Bytes kept for the peer that is furthest behind.
    pub(crate) const fn lag(&self) -> u64 {
        self.log.held()
    }

    /// The place of a link in the order in which links were made.
    fn number(&self, conn: Conn) -> u64 {
        self.links[conn.slot()].as_ref().map_or(0, |l| l.number)
    }

    fn insert(&mut self, mut link: Link) {
        let slot = link.conn.slot();
        self.made += 1;
        link.number = self.made;
        if self.links.len() <= slot {
            self.links.resize_with(slot + 1, || None);
        }
        self.links[slot] = Some(link);
    }

    /// Takes in a link that was accepted. One whose dialler has left while it waited would be up
    /// for a moment only: it is a session only for what it broadcast.
    pub(crate) fn handle_accepted<E>(
        &mut self,
        out: &mut Outputs<E>,
        remote: Remote,
    ) -> Option<Conn> {
        if self.left {
            return None;
        }
        let conn = out.slots.take(Owner::Mesh);
        let now = out.now;
        out.gate(Owner::Mesh).admit(now, conn, remote.source);
        let longest = self.longest();
        let mut link = Link::new(conn, Role::Inbound, out.now, longest);
        link.gone = remote.gone;
        self.insert(link);
        out.timers
            .by(Timer::Greeting, out.now + self.times.greeting);
        Some(conn)
    }

    /// Takes in that `bytes` came on a link. Whether they are to be read now; if not, the mesh
    /// keeps them.
    pub(crate) fn handle_bytes<E>(
        &mut self,
        out: &mut Outputs<E>,
        conn: Conn,
        bytes: &[u8],
    ) -> Result<bool, Misuse> {
        let link = self.links[conn.slot()].as_mut().ok_or(Misuse::WrongState)?;
        if let Role::Dialling(_) = link.role {
            return Err(Misuse::WrongState);
        }
        link.heard = out.now;
        match link.role {
            Role::Inbound | Role::Contender(_) => {
                let now = out.now;
                out.gate(Owner::Mesh).hear(now, conn);
            }
            Role::Dialling(_) | Role::Peer(_) | Role::Outbound(_) => {}
        }
        // Read before the pause was heard of: it waits with the rest.
        let waits = matches!(link.role, Role::Contender(_));
        if waits {
            link.unprocessed.extend_from_slice(bytes);
        }
        Ok(!waits)
    }

    /// Begins to read a link.
    pub(crate) fn reader(&mut self, conn: Conn) -> Option<Reader> {
        let link = self.links[conn.slot()].as_mut()?;
        Some(Reader {
            framer: core::mem::take(&mut link.framer),
            unidentified: link.role == Role::Inbound,
            gone: link.gone,
        })
    }

    /// Ends reading a link whose bytes were all valid.
    pub(crate) fn put_back(&mut self, conn: Conn, reader: Reader) {
        if let Some(link) = self.links[conn.slot()].as_mut() {
            link.framer = reader.framer;
        }
    }

    /// Bytes that came were read. Until a link has named its peer, bytes put nothing off, and end
    /// no excuse.
    pub(crate) fn end_excuse(&mut self, conn: Conn) {
        if let Some(link) = self.links[conn.slot()].as_mut()
            && link.peer().is_some()
        {
            link.excused_until = None;
        }
    }

    /// The next thing that the node is to be told.
    pub(crate) fn report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    pub(crate) fn has_reports(&self) -> bool {
        !self.reports.is_empty()
    }

    /// Handles one line, and gives the message that it carries, if it does; `clean` says that it is
    /// known to be UTF-8.
    #[inline]
    pub(crate) fn handle_line<'a, E>(
        &mut self,
        out: &mut Outputs<E>,
        conn: Conn,
        line: &'a [u8],
        clean: bool,
    ) -> Result<Option<Message<'a>>, Why> {
        let Some(link) = self.links[conn.slot()].as_mut() else {
            return Ok(None);
        };
        if let (true, Role::Peer(peer), Some(body)) =
            (clean, link.role, line.strip_prefix(&link.expect[..]))
            && !body.is_empty()
        {
            link.received.count += 1;
            link.received.offset += line.len() as u64 + 1;
            if link.received.offset >= link.ack_at {
                self.acknowledge(out, conn);
            }
            return self.message(peer, body);
        }
        self.handle_other_line(out, conn, line)
    }

    /// A line that is not just the next message of a session.
    fn handle_other_line<'a, E>(
        &mut self,
        out: &mut Outputs<E>,
        conn: Conn,
        line: &'a [u8],
    ) -> Result<Option<Message<'a>>, Why> {
        let Some(link) = self.links[conn.slot()].as_mut() else {
            return Ok(None);
        };
        let length = line.len() as u64 + 1;
        let line = wire::parse(line, self.word, self.servers)?;
        if link.refused.is_some() {
            return Ok(None);
        }
        let sender = match line {
            Line::Ping(sender) | Line::Message(sender, _) => sender,
            Line::Hello(_) | Line::From(_) | Line::Ack(_) | Line::Unknown => {
                self.handle_control(out, conn, &line)?;
                return Ok(None);
            }
        };
        if sender == self.id {
            return Err(Why::OwnId);
        }
        match link.role {
            Role::Peer(peer) | Role::Outbound(peer) | Role::Dialling(peer) if peer != sender => {
                return Err(Why::OtherId);
            }
            Role::Inbound if sender < self.id => return Err(Why::ShouldNotDial),
            // Nobody is there any more to be up: only what it broadcast makes it a session.
            Role::Inbound if link.gone && matches!(line, Line::Ping(_)) => return Ok(None),
            // Its `hello` is to come, and to fit this time.
            Role::Inbound | Role::Outbound(_)
                if self.peers[sender as usize].misfit
                    && link.held.is_none()
                    && matches!(line, Line::Ping(_)) =>
            {
                link.held = Some(sender);
                return Ok(None);
            }
            Role::Inbound | Role::Outbound(_) => {
                self.identify(out, conn, sender)?;
                if matches!(line, Line::Message(..)) {
                    self.go_without_hello(out, conn, sender);
                }
            }
            Role::Peer(_) if link.resumes == Resumes::Unknown => {
                self.go_without_hello(out, conn, sender);
            }
            Role::Peer(_) | Role::Dialling(_) | Role::Contender(_) => {}
        }
        let Line::Message(_, body) = line else {
            return Ok(None);
        };
        if let Some(link) = self.links[conn.slot()].as_mut() {
            link.received.count += 1;
            link.received.offset += length;
        }
        self.message(sender, body.as_bytes())
    }

    /// Handles a line that is neither a `ping` nor a message.
    fn handle_control<E>(
        &mut self,
        out: &mut Outputs<E>,
        conn: Conn,
        line: &Line<'_>,
    ) -> Result<(), Why> {
        let Some(link) = self.links[conn.slot()].as_mut() else {
            return Ok(());
        };
        let peer = match link.peer().or(link.held) {
            Some(peer) => peer,
            // Its `ping` was told to nobody either.
            None if link.gone && matches!(line, Line::Hello(_)) => return Ok(()),
            None => return Err(Why::NoIdentity),
        };
        match line {
            Line::Hello(hello) if self.incarnation != 0 && !link.greeted => {
                link.greeted = true;
                let known = link.peer().is_some();
                if !self.fits(out, conn, peer, hello)? {
                    return Ok(());
                }
                if !known {
                    self.identify(out, conn, peer)?;
                }
                self.greet(out, conn, peer, hello)
            }
            _ if link.peer().is_none() => Err(Why::NoIdentity),
            Line::From(at) if link.resumes == Resumes::Yes => {
                self.handle_from(out, conn, peer, *at)
            }
            Line::Ack(offset) if link.resumes == Resumes::Yes => {
                self.handle_ack(conn, peer, *offset)
            }
            Line::Ping(_)
            | Line::Message(..)
            | Line::Hello(_)
            | Line::From(_)
            | Line::Ack(_)
            | Line::Unknown => {
                link.skipped += 1;
                let count = link.skipped;
                out.counters.skipped += 1;
                if count.is_power_of_two() {
                    out.emit(News::Skipped { peer, count });
                }
                Ok(())
            }
        }
    }

    #[inline]
    const fn message<'a>(&self, peer: u32, body: &'a [u8]) -> Result<Option<Message<'a>>, Why> {
        if body.len() > self.limits.text {
            return Err(Why::TooLong);
        }
        Ok(Some((peer, body)))
    }

    /// This server was itself away: nobody could be heard meanwhile, and all of a machine that
    /// stood still wake at once. Whoever was not excused since it was last heard gets one more
    /// chance.
    pub(crate) fn excuse(&mut self, now: Time) {
        let until = now + self.times.heartbeat;
        for link in self.links.iter_mut().flatten() {
            link.excused_until.get_or_insert(until);
        }
    }

    /// Whether a gap between two calls means that this server was away.
    pub(crate) fn was_away(&self, gap: Span) -> bool {
        gap > self.times.heartbeat + LATE
    }

    /// The link said who it is: its session begins, unless it is older than one that its peer has
    /// had since.
    ///
    /// Which is older is a matter of which was made first, not of which was read first: else what
    /// waits unread in the link of an earlier life would come after the present life's messages.
    fn identify<E>(&mut self, out: &mut Outputs<E>, conn: Conn, peer: u32) -> Result<(), Why> {
        out.gate(Owner::Mesh).remove(conn, false);
        let number = self.number(conn);
        let known = &mut self.peers[peer as usize];
        if number < known.latest {
            return Err(Why::Replaced);
        }
        // A link that names a peer which is up is a contender, and not named before that link ends.
        debug_assert!(known.link.is_none());
        known.latest = number;
        let end = self.log.end();
        let stream = self.waits_for_hello(out, peer);
        let greeting = self.greeting(peer);
        if stream != Stream::Runs && self.peers[peer as usize].keep.is_none() {
            self.keep(peer, Some(end));
        }
        if let Some(link) = self.links[conn.slot()].as_mut() {
            // The dialler spoke first; this is what it waits for.
            if link.role == Role::Inbound {
                self.own += link.send(out, &[&greeting], &self.log);
            }
            link.identify(peer, out.now, end, stream);
            if link.resumes == Resumes::No {
                link.expect = wire::prefix(self.word, peer);
            }
            let suspected_at = link.suspected_at(self.times.suspicion);
            out.timers.by(Timer::Silence, suspected_at);
        }
        self.peers[peer as usize].link = Some(conn);
        self.up += 1;
        self.dialled_up += u32::from(peer < self.id);
        out.counters.ups += 1;
        out.emit(News::Up { peer, conn });
        self.reports.push_back(Report::Up(peer));
        Ok(())
    }

    pub(crate) fn handle_lost<E>(
        &mut self,
        out: &mut Outputs<E>,
        conn: Conn,
        loss: Loss,
    ) -> Result<(), Misuse> {
        let link = self.links[conn.slot()].as_ref().ok_or(Misuse::WrongState)?;
        if let Role::Dialling(_) = link.role {
            return Err(Misuse::WrongState);
        }
        match loss {
            Loss::Finished => self.end(out, conn, Why::Finished, false),
            Loss::Broken => self.end(out, conn, Why::Broken, true),
        }
        Ok(())
    }

    /// Ends one link; `gone` says that the driver knows already.
    pub(crate) fn end<E>(&mut self, out: &mut Outputs<E>, conn: Conn, why: Why, gone: bool) {
        let Some(link) = self.links[conn.slot()].take() else {
            return;
        };
        out.end(conn, why, gone);
        self.own -= link.own_left();
        match link.role {
            Role::Peer(peer) => {
                self.up -= 1;
                self.dialled_up -= u32::from(peer < self.id);
                if link.offset < self.log.end() {
                    self.lagging -= 1;
                    self.trim();
                }
                let entry = &mut self.peers[peer as usize];
                entry.link = None;
                if link.based {
                    entry.received = Some(link.received);
                }
                let contenders = match self.left {
                    true => core::mem::take(&mut entry.contenders),
                    false => VecDeque::new(),
                };
                let next = entry.contenders.pop_front();
                let settled = out.now.since(link.since) >= SETTLED;
                if settled {
                    entry.backoff = self.times.backoff_min;
                }
                out.emit(News::Down {
                    peer,
                    conn,
                    why,
                    silence: out.now.since(link.heard),
                });
                self.reports.push_back(Report::Down(peer));
                self.redial_later(out, peer, !settled);
                if let Some(next) = next {
                    self.promote(out, next);
                }
                for contender in contenders {
                    self.end(out, contender, why, false);
                }
            }
            Role::Dialling(peer) | Role::Outbound(peer) => {
                out.emit(News::Closed { conn, why });
                self.redial_later(out, peer, false);
            }
            Role::Contender(peer) => {
                let contenders = &mut self.peers[peer as usize].contenders;
                contenders.retain(|&other| other != conn);
                out.emit(News::Closed { conn, why });
            }
            Role::Inbound => out.emit(News::Closed { conn, why }),
        }
    }

    /// Ends every link for which `which` gives a reason.
    fn end_where<E>(&mut self, out: &mut Outputs<E>, which: impl Fn(&Self, &Link) -> Option<Why>) {
        for slot in 0..self.links.len() {
            if let Some(link) = &self.links[slot]
                && let Some(why) = which(self, link)
            {
                self.end(out, link.conn, why, false);
            }
        }
    }

    pub(crate) fn handle_timeout<E>(&mut self, out: &mut Outputs<E>) {
        let now = out.now;
        if out.timers.fired(Timer::Silence, now) {
            let suspicion = self.times.suspicion;
            self.end_where(out, |_, link| {
                let silent = link.peer().is_some() && link.suspected_at(suspicion) <= now;
                silent.then_some(Why::Silent)
            });
            self.watch_silence(out);
        }
        if out.timers.fired(Timer::Greeting, now) {
            let greeting = self.times.greeting;
            let waits = |link: &Link| matches!(link.role, Role::Inbound | Role::Outbound(_));
            self.end_where(out, |_, link| {
                let late = waits(link) && link.greets_by(greeting) <= now;
                late.then_some(Why::NoGreeting)
            });
            let next = self.links.iter().flatten().filter(|l| waits(l));
            let next = next.map(|l| l.greets_by(greeting)).min();
            out.timers.set(Timer::Greeting, next);
        }
        if out.timers.fired(Timer::Contest, now) {
            self.decide(out);
        }
        if out.timers.fired(Timer::Hello, now) {
            self.handle_hello_timeout(out);
        }
        if out.timers.fired(Timer::Dial, now) {
            let dial = self.times.dial;
            let dials = |link: &Link| matches!(link.role, Role::Dialling(_));
            self.end_where(out, |_, link| {
                let late = dials(link) && link.since + dial <= now;
                late.then_some(Why::DialTimeout)
            });
            let next = self.links.iter().flatten().filter(|l| dials(l));
            let next = next.map(|l| l.since + dial).min();
            out.timers.set(Timer::Dial, next);
        }
        if out.timers.fired(Timer::Redial, now) {
            for peer in 0..self.id {
                if (self.peers[peer as usize].redial).is_some_and(|at| at <= now) {
                    self.dial(out, peer);
                }
            }
            let next = self.peers.iter().filter_map(|p| p.redial).min();
            out.timers.set(Timer::Redial, next);
        }
        if out.timers.fired(Timer::Heartbeat, now) {
            for slot in 0..self.links.len() {
                let Some(link) = self.links[slot].as_mut().filter(|l| l.peer().is_some()) else {
                    continue;
                };
                // Bytes that are still owed are a sign of life themselves, once they get through.
                if link.unacknowledged() > 0 {
                    let conn = link.conn;
                    self.acknowledge(out, conn);
                } else if link.owed(&self.log) == 0 {
                    self.own += link.send(out, &[&self.ping], &self.log);
                }
            }
            out.timers.by(Timer::Heartbeat, now + self.times.heartbeat);
            self.watch_silence(out);
        }
    }

    /// Sets the timer to the first moment at which a peer could be suspected.
    fn watch_silence<E>(&self, out: &mut Outputs<E>) {
        let sessions = self.links.iter().flatten().filter(|l| l.peer().is_some());
        let next = sessions.map(|l| l.suspected_at(self.times.suspicion)).min();
        out.timers.set(Timer::Silence, next);
    }

    /// Leaves the grid: ends every link and makes no more.
    pub(crate) fn leave<E>(&mut self, out: &mut Outputs<E>, why: Why) {
        self.left = true;
        self.peers.iter_mut().for_each(|peer| peer.redial = None);
        self.end_where(out, |_, _| Some(why));
    }

    /// Makes no more links and ends those without a session; the others go on.
    pub(crate) fn retire<E>(&mut self, out: &mut Outputs<E>) {
        self.left = true;
        self.peers.iter_mut().for_each(|peer| peer.redial = None);
        self.end_where(out, |_, link| match link.peer() {
            Some(_) => None,
            None => Some(Why::Ending),
        });
    }

    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    pub(crate) const fn servers(&self) -> u32 {
        self.servers
    }

    /// Bytes of the longest line between servers.
    fn longest(&self) -> usize {
        let message = wire::longest(self.word, self.limits.text);
        match self.incarnation {
            0 => message,
            _ => message.max(wire::CONTROL),
        }
    }

    /// Whether something is still owed to a peer, or will be once it has said `hello`.
    pub(crate) fn owes(&self) -> bool {
        let end = self.log.end();
        let mut links = self.links.iter().flatten();
        links.any(|link| link.sending || link.peer().is_some() && link.offset < end)
    }
}

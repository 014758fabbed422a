//! Who is linked, who is to be dialled and when, who is suspected: the links of one server to
//! all others. Carries texts and knows nothing of logs or masters; those lie above.
//!
//! Failure detection is by heartbeats and a fixed timeout on a synchronous enough network
//! (Chandra and Toueg, "Unreliable failure detectors", 1996): completeness, because a silent
//! link is dropped; accuracy, as long as a peer's bytes arrive within the suspicion time.

mod contest;
mod dial;
mod send;

use crate::config::{Config, LATE, Limits, SETTLED, Times};
use crate::frame::TooLong;
use crate::link::{Link, Role};
use crate::news::{News, Why};
use crate::rng::Rng;
use crate::slots::Owner;
use crate::stream::Stream;
use crate::timers::Timer;
use crate::turn::Turn;
use crate::wire::{self, Line};
use alloc::vec::Vec;
use chatroom_machine::{Action, Conn, Loss, Misuse, Remote};
use chatroom_machine::{Span, Time};

/// The layer above: what it is told.
pub(crate) trait Above {
    /// `peer` broadcast `text`, which is UTF-8 and not empty. False if it was not kept.
    fn deliver(&mut self, turn: &mut Turn, peer: u32, conn: Conn, text: &[u8]) -> bool;
    /// A session with `peer` began.
    fn up(&mut self, turn: &mut Turn, peer: u32);
    /// The session with `peer` ended.
    fn down(&mut self, turn: &mut Turn, peer: u32);
}

/// What is known of one other server.
#[derive(Clone, Debug, Hash)]
struct Peer {
    /// The link of the present session.
    link: Option<Conn>,
    /// The latest link that named it, by its number: older ones are of its past.
    latest: u64,
    /// A later link that names it; only while there is a present one.
    contender: Option<Conn>,
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
    times: Times,
    limits: Limits,
    /// By slot; a slot that the desk holds is empty here.
    links: Vec<Option<Link>>,
    /// How many links were made so far.
    made: u64,
    /// By id; the own entry stays empty.
    peers: Vec<Peer>,
    stream: Stream,
    /// Sessions that have not read all of the stream.
    behind: usize,
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
    pub(crate) fn new(config: &Config) -> Self {
        let peer = |_| Peer {
            link: None,
            latest: 0,
            contender: None,
            redial: None,
            backoff: config.times.backoff_min,
        };
        Self {
            id: config.id,
            servers: config.servers,
            times: config.times.clone(),
            limits: config.limits.clone(),
            links: Vec::new(),
            made: 0,
            peers: (0..config.servers).map(peer).collect(),
            stream: Stream::default(),
            behind: 0,
            up: 0,
            dialled_up: 0,
            prefix: wire::msg_prefix(config.id),
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

    pub(crate) const fn up_count(&self) -> usize {
        self.up
    }

    /// Bytes kept for the peer that is furthest behind.
    pub(crate) const fn lag(&self) -> u64 {
        self.stream.held()
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
    pub(crate) fn handle_accepted(&mut self, turn: &mut Turn, remote: Remote) -> Option<Conn> {
        if self.left {
            return None;
        }
        let conn = turn.slots.take(Owner::Mesh);
        let now = turn.now;
        turn.gate(Owner::Mesh).admit(now, conn, remote.source);
        let longest = wire::longest(self.limits.text);
        let mut link = Link::new(conn, Role::Inbound, turn.now, longest);
        link.gone = remote.gone;
        self.insert(link);
        turn.timers
            .by(Timer::Greeting, turn.now + self.times.greeting);
        Some(conn)
    }

    pub(crate) fn handle_bytes(
        &mut self,
        turn: &mut Turn,
        above: &mut impl Above,
        conn: Conn,
        bytes: &[u8],
    ) -> Result<(), Misuse> {
        let link = self.links[conn.slot()].as_mut().ok_or(Misuse::WrongState)?;
        if let Role::Dialling(_) = link.role {
            return Err(Misuse::WrongState);
        }
        link.heard = turn.now;
        match link.role {
            // Read before the pause was heard of: it waits with the rest.
            Role::Contender(_) => {
                link.unprocessed.extend_from_slice(bytes);
                return Ok(());
            }
            Role::Inbound => {
                let now = turn.now;
                turn.gate(Owner::Mesh).hear(now, conn);
            }
            Role::Dialling(_) | Role::Peer(_) | Role::Outbound(_) => {}
        }
        self.handle_lines(turn, above, conn, bytes);
        // Until a link has named its peer, bytes put nothing off, and end no excuse.
        if let Some(link) = self.links[conn.slot()].as_mut()
            && link.peer().is_some()
        {
            link.excused_until = None;
        }
        Ok(())
    }

    /// Does what the lines say that `bytes` complete.
    #[inline]
    fn handle_lines(
        &mut self,
        turn: &mut Turn,
        above: &mut impl Above,
        conn: Conn,
        mut bytes: &[u8],
    ) {
        let Some(link) = self.links[conn.slot()].as_mut() else {
            return;
        };
        let (mut unnamed, gone) = (link.role == Role::Inbound, link.gone);
        let mut framer = core::mem::take(&mut link.framer);
        // Nearly always all of it is UTF-8; then no line that lies in it needs a look of its own.
        let clean = core::str::from_utf8(bytes).is_ok();
        let outcome = loop {
            let within = clean && framer.is_empty();
            match framer.next(&mut bytes) {
                Ok(Some(line)) => {
                    if unnamed
                        && !(gone && line.starts_with(b"ping "))
                        && core::mem::take(&mut unnamed)
                        && let Some(peer) = self.contends(conn, line)
                    {
                        let unprocessed = [line, b"\n", bytes].concat();
                        return self.contend(turn, above, conn, peer, unprocessed);
                    }
                    match self.handle_line(turn, above, conn, line, within) {
                        Ok(()) => framer.done(),
                        Err(why) => break Err(why),
                    }
                }
                Ok(None) => break Ok(()),
                Err(TooLong) => break Err(Why::TooLong),
            }
        };
        match outcome {
            Ok(()) => {
                if let Some(link) = self.links[conn.slot()].as_mut() {
                    link.framer = framer;
                }
            }
            Err(why) => self.end(turn, above, conn, why, false),
        }
    }

    /// One line; `clean` says that it is known to be UTF-8.
    fn handle_line(
        &mut self,
        turn: &mut Turn,
        above: &mut impl Above,
        conn: Conn,
        line: &[u8],
        clean: bool,
    ) -> Result<(), Why> {
        let Some(link) = self.links[conn.slot()].as_mut() else {
            return Ok(());
        };
        if let (true, Role::Peer(peer), Some(text)) =
            (clean, link.role, line.strip_prefix(&link.expect[..]))
            && !text.is_empty()
        {
            return self.deliver(turn, above, peer, conn, text);
        }
        let line = wire::parse(line, self.servers)?;
        let sender = match line {
            Line::Ping(sender) | Line::Msg(sender, _) => sender,
            Line::Unknown => {
                let peer = link.peer().ok_or(Why::NoIdentity)?;
                link.skipped += 1;
                let count = link.skipped;
                turn.counters.skipped += 1;
                if count.is_power_of_two() {
                    turn.tell(News::Skipped { peer, count });
                }
                return Ok(());
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
            Role::Inbound if link.gone && matches!(line, Line::Ping(_)) => return Ok(()),
            Role::Inbound | Role::Outbound(_) => self.name(turn, above, conn, sender)?,
            Role::Peer(_) | Role::Dialling(_) | Role::Contender(_) => {}
        }
        match line {
            Line::Msg(_, text) => self.deliver(turn, above, sender, conn, text.as_bytes()),
            Line::Ping(_) | Line::Unknown => Ok(()),
        }
    }

    fn deliver(
        &mut self,
        turn: &mut Turn,
        above: &mut impl Above,
        peer: u32,
        conn: Conn,
        text: &[u8],
    ) -> Result<(), Why> {
        if text.len() > self.limits.text {
            return Err(Why::TooLong);
        }
        if above.deliver(turn, peer, conn, text) {
            turn.counters.deliveries += 1;
        } else {
            turn.counters.missed += 1;
        }
        Ok(())
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
    fn name(
        &mut self,
        turn: &mut Turn,
        above: &mut impl Above,
        conn: Conn,
        peer: u32,
    ) -> Result<(), Why> {
        turn.gate(Owner::Mesh).remove(conn, false);
        let number = self.number(conn);
        let known = &mut self.peers[peer as usize];
        if number < known.latest {
            return Err(Why::Replaced);
        }
        // A link that names a peer which is up is a contender, and not named before that link ends.
        debug_assert!(known.link.is_none() && known.contender.is_none());
        known.latest = number;
        let end = self.stream.end();
        if let Some(link) = self.links[conn.slot()].as_mut() {
            // The dialler spoke first; this is what it waits for.
            if link.role == Role::Inbound {
                link.push(&self.ping, turn.now);
                turn.act(Action::Send(conn));
            }
            link.name(peer, turn.now, end);
            let suspected_at = link.suspected_at(self.times.suspicion);
            turn.timers.by(Timer::Silence, suspected_at);
        }
        self.peers[peer as usize].link = Some(conn);
        self.up += 1;
        self.dialled_up += u32::from(peer < self.id);
        turn.counters.ups += 1;
        turn.tell(News::Up { peer, conn });
        above.up(turn, peer);
        Ok(())
    }

    pub(crate) fn handle_lost(
        &mut self,
        turn: &mut Turn,
        above: &mut impl Above,
        conn: Conn,
        loss: Loss,
    ) -> Result<(), Misuse> {
        let link = self.links[conn.slot()].as_ref().ok_or(Misuse::WrongState)?;
        if let Role::Dialling(_) = link.role {
            return Err(Misuse::WrongState);
        }
        match loss {
            Loss::Finished => self.end(turn, above, conn, Why::Finished, false),
            Loss::Broken => self.end(turn, above, conn, Why::Broken, true),
        }
        Ok(())
    }

    /// Ends one link; `gone` says that the driver knows already.
    fn end(&mut self, turn: &mut Turn, above: &mut impl Above, conn: Conn, why: Why, gone: bool) {
        let Some(link) = self.links[conn.slot()].take() else {
            return;
        };
        turn.end(conn, why, gone);
        match link.role {
            Role::Peer(peer) => {
                self.up -= 1;
                self.dialled_up -= u32::from(peer < self.id);
                if link.cursor < self.stream.end() {
                    self.behind -= 1;
                    self.trim();
                }
                let entry = &mut self.peers[peer as usize];
                entry.link = None;
                let contender = entry.contender.take();
                let settled = turn.now.since(link.since) >= SETTLED;
                if settled {
                    entry.backoff = self.times.backoff_min;
                }
                turn.tell(News::Down {
                    peer,
                    conn,
                    why,
                    silence: turn.now.since(link.heard),
                });
                above.down(turn, peer);
                self.redial_later(turn, peer, !settled);
                match contender {
                    Some(contender) if self.left => {
                        self.end(turn, above, contender, why, false);
                    }
                    Some(contender) => self.promote(turn, above, contender),
                    None => {}
                }
            }
            Role::Dialling(peer) | Role::Outbound(peer) => {
                turn.tell(News::Closed { conn, why });
                self.redial_later(turn, peer, false);
            }
            Role::Contender(peer) => {
                let known = &mut self.peers[peer as usize].contender;
                if *known == Some(conn) {
                    *known = None;
                }
                turn.tell(News::Closed { conn, why });
            }
            Role::Inbound => turn.tell(News::Closed { conn, why }),
        }
    }

    /// Ends a link that has not said who it is, to make room.
    pub(crate) fn crowd_out(&mut self, turn: &mut Turn, above: &mut impl Above, conn: Conn) {
        self.end(turn, above, conn, Why::Crowded, false);
    }

    /// Ends every link for which `which` gives a reason.
    fn end_where(
        &mut self,
        turn: &mut Turn,
        above: &mut impl Above,
        which: impl Fn(&Self, &Link) -> Option<Why>,
    ) {
        for slot in 0..self.links.len() {
            if let Some(link) = &self.links[slot]
                && let Some(why) = which(self, link)
            {
                self.end(turn, above, link.conn, why, false);
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, turn: &mut Turn, above: &mut impl Above) {
        let now = turn.now;
        if turn.timers.fired(Timer::Silence, now) {
            let suspicion = self.times.suspicion;
            self.end_where(turn, above, |_, link| {
                let silent = link.peer().is_some() && link.suspected_at(suspicion) <= now;
                silent.then_some(Why::Silent)
            });
            self.watch_silence(turn);
        }
        if turn.timers.fired(Timer::Greeting, now) {
            let greeting = self.times.greeting;
            let waits = |link: &Link| matches!(link.role, Role::Inbound | Role::Outbound(_));
            self.end_where(turn, above, |_, link| {
                let late = waits(link) && link.greets_by(greeting) <= now;
                late.then_some(Why::NoGreeting)
            });
            let next = self.links.iter().flatten().filter(|l| waits(l));
            let next = next.map(|l| l.greets_by(greeting)).min();
            turn.timers.set(Timer::Greeting, next);
        }
        if turn.timers.fired(Timer::Contest, now) {
            self.decide(turn, above);
        }
        if turn.timers.fired(Timer::Dial, now) {
            let dial = self.times.dial;
            let dials = |link: &Link| matches!(link.role, Role::Dialling(_));
            self.end_where(turn, above, |_, link| {
                let late = dials(link) && link.since + dial <= now;
                late.then_some(Why::DialTimeout)
            });
            let next = self.links.iter().flatten().filter(|l| dials(l));
            let next = next.map(|l| l.since + dial).min();
            turn.timers.set(Timer::Dial, next);
        }
        if turn.timers.fired(Timer::Redial, now) {
            for peer in 0..self.id {
                if (self.peers[peer as usize].redial).is_some_and(|at| at <= now) {
                    self.dial(turn, peer);
                }
            }
            let next = self.peers.iter().filter_map(|p| p.redial).min();
            turn.timers.set(Timer::Redial, next);
        }
        if turn.timers.fired(Timer::Heartbeat, now) {
            for link in self.links.iter_mut().flatten() {
                // Bytes that are still owed are a sign of life themselves, once they get through.
                if link.peer().is_some() && link.owed(&self.stream) == 0 {
                    link.push(&self.ping, now);
                    turn.act(Action::Send(link.conn));
                }
            }
            turn.timers.by(Timer::Heartbeat, now + self.times.heartbeat);
            self.watch_silence(turn);
        }
    }

    /// Sets the timer to the first moment at which a peer could be suspected.
    fn watch_silence(&self, turn: &mut Turn) {
        let sessions = self.links.iter().flatten().filter(|l| l.peer().is_some());
        let next = sessions.map(|l| l.suspected_at(self.times.suspicion)).min();
        turn.timers.set(Timer::Silence, next);
    }

    /// Leaves the grid: ends every link and makes no more.
    pub(crate) fn leave(&mut self, turn: &mut Turn, above: &mut impl Above, why: Why) {
        self.left = true;
        self.peers.iter_mut().for_each(|peer| peer.redial = None);
        self.end_where(turn, above, |_, _| Some(why));
    }

    /// Makes no more links and ends those without a session; the others go on.
    pub(crate) fn retire(&mut self, turn: &mut Turn, above: &mut impl Above) {
        self.left = true;
        self.peers.iter_mut().for_each(|peer| peer.redial = None);
        self.end_where(turn, above, |_, link| match link.peer() {
            Some(_) => None,
            None => Some(Why::Ending),
        });
    }

    /// Whether something is still owed to a peer.
    pub(crate) fn owes(&self) -> bool {
        self.links.iter().flatten().any(|link| link.sending)
    }
}

//! Who is linked, who is to be dialled and when, who is suspected: the links of one server to
//! all others. Carries texts and knows nothing of logs or masters; those lie above.
//!
//! Failure detection is by heartbeats and a fixed timeout on a synchronous enough network
//! (Chandra and Toueg, "Unreliable failure detectors", 1996): completeness, because a silent
//! link is dropped; accuracy, as long as a peer's bytes arrive within the suspicion time.

use crate::config::{Config, Limits, SETTLED, STALL, Times};
use crate::frame::TooLong;
use crate::link::{Link, Role};
use crate::machine::{Action, Conn, Dialled, Loss, Misuse, Place};
use crate::news::{News, Why};
use crate::rng::Rng;
use crate::slots::Owner;
use crate::stream::Stream;
use crate::time::{Span, Time};
use crate::timers::Timer;
use crate::turn::Turn;
use crate::wire::{self, Line};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The layer above: what it is told.
pub(crate) trait Above {
    /// `peer` broadcast `text`, which is UTF-8 and not empty. False if there is no room for it.
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
    /// Inbound links that have not said who they are, oldest first: at most `limits.nameless`.
    nameless: VecDeque<Conn>,
    stream: Stream,
    /// Sessions that have not read all of the stream.
    behind: usize,
    /// Sessions.
    up: usize,
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
            nameless: VecDeque::new(),
            stream: Stream::default(),
            behind: 0,
            up: 0,
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

    pub(crate) fn nameless_count(&self) -> usize {
        self.nameless.len()
    }

    /// Bytes kept for the peer that is furthest behind.
    pub(crate) const fn lag(&self) -> u64 {
        self.stream.held()
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

    /// Begins: dials all ids below the own one.
    pub(crate) fn start(&mut self, turn: &mut Turn) {
        turn.timers
            .by(Timer::Heartbeat, turn.now + self.times.heartbeat);
        for peer in 0..self.id {
            self.dial(turn, peer);
        }
    }

    fn dial(&mut self, turn: &mut Turn, peer: u32) {
        let conn = turn.slots.take(Owner::Mesh);
        turn.counters.dials += 1;
        self.peers[peer as usize].redial = None;
        self.insert(Link::new(
            conn,
            Role::Dialling(peer),
            turn.now,
            wire::longest(self.limits.text),
        ));
        turn.timers.by(Timer::Dial, turn.now + self.times.dial);
        turn.act(Action::Dial {
            conn,
            to: Place(peer),
        });
    }

    /// Plans the next dial of a peer that we are the one to dial.
    fn redial_later(&mut self, turn: &mut Turn, peer: u32) {
        if peer >= self.id || self.left {
            return;
        }
        let entry = &mut self.peers[peer as usize];
        let bound = entry.backoff.as_micros();
        let pause = Span::from_micros(self.rng.between(bound.div_ceil(2), bound));
        let doubled = entry.backoff.times(2);
        entry.backoff = doubled.min(self.times.backoff_max);
        let at = turn.now + pause;
        entry.redial = Some(at);
        turn.timers.by(Timer::Redial, at);
    }

    /// Takes a link from a stranger, at the cost of the oldest that never spoke.
    pub(crate) fn handle_accepted(
        &mut self,
        turn: &mut Turn,
        above: &mut impl Above,
    ) -> Option<Conn> {
        if self.left {
            return None;
        }
        if self.nameless.len() >= self.limits.nameless {
            let oldest = self.nameless[0];
            self.end(turn, above, oldest, Why::Crowded, false);
        }
        let conn = turn.slots.take(Owner::Mesh);
        let longest = wire::longest(self.limits.text);
        self.insert(Link::new(conn, Role::Inbound, turn.now, longest));
        self.nameless.push_back(conn);
        turn.timers
            .by(Timer::Greeting, turn.now + self.times.greeting);
        Some(conn)
    }

    pub(crate) fn handle_dialled(
        &mut self,
        turn: &mut Turn,
        above: &mut impl Above,
        conn: Conn,
        outcome: Dialled,
    ) -> Result<(), Misuse> {
        let link = self.links[conn.slot()].as_mut().ok_or(Misuse::WrongState)?;
        let Role::Dialling(peer) = link.role else {
            return Err(Misuse::WrongState);
        };
        match outcome {
            Dialled::Failed => self.end(turn, above, conn, Why::Refused, true),
            Dialled::Connected => {
                link.role = Role::Outbound(peer);
                link.since = turn.now;
                link.push(&self.ping, turn.now);
                link.sending = true;
                turn.act(Action::Send(conn));
                turn.timers
                    .by(Timer::Greeting, turn.now + self.times.greeting);
            }
        }
        Ok(())
    }

    pub(crate) fn handle_bytes(
        &mut self,
        turn: &mut Turn,
        above: &mut impl Above,
        conn: Conn,
        mut bytes: &[u8],
    ) -> Result<(), Misuse> {
        let link = self.links[conn.slot()].as_mut().ok_or(Misuse::WrongState)?;
        if let Role::Dialling(_) = link.role {
            return Err(Misuse::WrongState);
        }
        link.heard = turn.now;
        let mut framer = core::mem::take(&mut link.framer);
        // Nearly always all of it is UTF-8; then no line that lies in it needs a look of its own.
        let clean = core::str::from_utf8(bytes).is_ok();
        let outcome = loop {
            let within = clean && framer.is_empty();
            match framer.next(&mut bytes) {
                Ok(Some(line)) => match self.handle_line(turn, above, conn, line, within) {
                    Ok(()) => framer.done(),
                    Err(why) => break Err(why),
                },
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
        Ok(())
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
        // The log was full one line ago, and every link was closed.
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
            Role::Inbound | Role::Outbound(_) => self.name(turn, above, conn, sender)?,
            Role::Peer(_) | Role::Dialling(_) => {}
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
            self.leave(turn, above, Why::LogFull);
        }
        Ok(())
    }

    /// The link said who it is: its session begins, and an older one of the same peer ends.
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
        let number = self.links[conn.slot()]
            .as_ref()
            .map_or(0, |link| link.number);
        let known = &mut self.peers[peer as usize];
        if number < known.latest {
            return Err(Why::Replaced);
        }
        known.latest = number;
        if let Some(present) = known.link {
            self.end(turn, above, present, Why::Replaced, false);
        }
        self.nameless.retain(|&c| c != conn);
        let end = self.stream.end();
        if let Some(link) = self.links[conn.slot()].as_mut() {
            // The dialler spoke first; this is what it waits for.
            if link.role == Role::Inbound {
                link.push(&self.ping, turn.now);
                link.sending = true;
                turn.act(Action::Send(conn));
            }
            link.name(peer, turn.now, end);
        }
        self.peers[peer as usize].link = Some(conn);
        self.up += 1;
        turn.timers
            .by(Timer::Silence, turn.now + self.times.suspicion);
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
                if link.cursor < self.stream.end() {
                    self.behind -= 1;
                    self.trim();
                }
                let entry = &mut self.peers[peer as usize];
                entry.link = None;
                if turn.now.since(link.since) >= SETTLED {
                    entry.backoff = self.times.backoff_min;
                }
                turn.tell(News::Down {
                    peer,
                    conn,
                    why,
                    silence: turn.now.since(link.heard),
                });
                above.down(turn, peer);
                self.redial_later(turn, peer);
            }
            Role::Dialling(peer) | Role::Outbound(peer) => {
                turn.tell(News::Closed { conn, why });
                self.redial_later(turn, peer);
            }
            Role::Inbound => {
                self.nameless.retain(|&c| c != conn);
                turn.tell(News::Closed { conn, why });
            }
        }
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

    /// Sends `text` to every peer that is up.
    pub(crate) fn broadcast(&mut self, turn: &mut Turn, above: &mut impl Above, text: &[u8]) {
        if self.up == 0 {
            return;
        }
        let start = self.stream.end();
        self.stream.append(&self.prefix);
        self.stream.append(text);
        self.stream.append(b"\n");
        if self.behind != self.up {
            self.behind = self.up;
            for link in self.links.iter_mut().flatten() {
                if link.peer().is_some() && link.cursor == start && !link.sending {
                    link.sending = true;
                    link.progress = turn.now;
                    turn.act(Action::Send(link.conn));
                }
            }
        }
        let lag = self.limits.lag as u64;
        if self.stream.held() > lag {
            self.end_where(turn, above, |mesh, link| {
                let behind = link.peer().is_some() && mesh.stream.end() - link.cursor > lag;
                behind.then_some(Why::FellBehind)
            });
        }
    }

    pub(crate) fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        self.links[conn.slot()]
            .as_ref()
            .map_or(&[], |link| link.pending(skip, &self.stream))
    }

    pub(crate) fn handle_sent(
        &mut self,
        turn: &mut Turn,
        conn: Conn,
        count: usize,
    ) -> Result<(), Misuse> {
        let link = self.links[conn.slot()].as_mut().ok_or(Misuse::WrongState)?;
        if count as u64 > link.owed(&self.stream) {
            return Err(Misuse::TooMuch);
        }
        if count == 0 {
            return Ok(());
        }
        let streamed = link.took(count, turn.now);
        link.sending = link.owed(&self.stream) > 0;
        if streamed > 0 {
            let (from, to) = (link.cursor - streamed, link.cursor);
            self.behind -= usize::from(to == self.stream.end());
            // Only at its end can a block have become free, or when nobody is behind any more.
            // Looking after each link would be quadratic.
            if self.behind == 0 || self.stream.block_ends(from, to) {
                self.trim();
            }
        }
        Ok(())
    }

    /// Frees what every session has read.
    fn trim(&mut self) {
        let end = self.stream.end();
        let least = match self.behind {
            0 => end,
            _ => (self.links.iter().flatten())
                .filter(|link| link.peer().is_some())
                .map(|link| link.cursor)
                .min()
                .unwrap_or(end),
        };
        self.stream.trim(least);
    }

    /// Until when those that broadcast are to wait for a peer that lags behind but goes on
    /// reading. One that takes nothing for [`STALL`] holds up nobody.
    pub(crate) fn congested(&self, now: Time) -> Option<Time> {
        if self.stream.held() <= self.limits.high_water as u64 {
            return None;
        }
        (self.links.iter().flatten())
            .filter(|link| link.peer().is_some())
            .filter(|link| self.stream.end() - link.cursor > self.limits.high_water as u64)
            .map(|link| link.progress + STALL)
            .filter(|&until| until > now)
            .max()
    }

    pub(crate) fn handle_timeout(&mut self, turn: &mut Turn, above: &mut impl Above) {
        let now = turn.now;
        if turn.timers.fired(Timer::Silence, now) {
            let suspicion = self.times.suspicion;
            self.end_where(turn, above, |_, link| {
                let silent = link.peer().is_some() && link.heard + suspicion <= now;
                silent.then_some(Why::Silent)
            });
            self.watch_silence(turn);
        }
        if turn.timers.fired(Timer::Greeting, now) {
            let greeting = self.times.greeting;
            let waits = |link: &Link| matches!(link.role, Role::Inbound | Role::Outbound(_));
            self.end_where(turn, above, |_, link| {
                let late = waits(link) && link.since + greeting <= now;
                late.then_some(Why::NoGreeting)
            });
            let next = self.links.iter().flatten().filter(|l| waits(l));
            let next = next.map(|l| l.since + greeting).min();
            turn.timers.set(Timer::Greeting, next);
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
                    link.sending = true;
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
        let next = sessions.map(|l| l.heard + self.times.suspicion).min();
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

//! What the judge knows: lives with what they broadcast and logged, and links with their sessions.

use super::master::Master;
use chatroom_chat::{HEARTBEAT, SUSPICION};
use chatroom_machine::{Conn, Span, Time};
use chatroom_sim::names::{Host, Peer, Who};
use chatroom_sim::observer::Ending;
use std::collections::VecDeque;

/// A broadcast of a life, at its number.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) text: Box<str>,
    pub(super) at: Time,
    pub(super) step: u64,
    /// How many sessions it was sent on, and on how many it arrived.
    pub(super) sessions: u32,
    pub(super) arrived: u32,
    /// How much its life had broadcast with it, in bytes.
    pub(super) end: u64,
}

/// How far a life has got in the broadcasts of another.
#[derive(Clone, Debug)]
pub(super) struct Next {
    /// The other's life.
    pub(super) life: u32,
    /// The number of the broadcast that is to come next.
    pub(super) number: u64,
    /// The number that the other knew of at least when their last link broke.
    pub(super) known: u64,
    /// Since when which was the next: the latest that is older than [`Next::UNSURE`], and those
    /// after it.
    since: VecDeque<(Time, u64)>,
}

impl Next {
    /// The other may not know yet of what came in so long a time before a link broke: a heartbeat
    /// until it is acknowledged, the suspicion time in which a link that broke still seems to
    /// stand, and what a clock is off and a network takes.
    const UNSURE: Span = Span::from_micros(2 * HEARTBEAT.as_micros() + SUSPICION.as_micros());

    pub(super) fn new(life: u32, number: u64, now: Time) -> Self {
        Self {
            life,
            number,
            known: number,
            since: VecDeque::from([(now, number)]),
        }
    }

    /// The next is another one from now on.
    pub(super) fn set(&mut self, now: Time, number: u64) {
        self.number = number;
        self.since.push_back((now, number));
        while self
            .since
            .get(1)
            .is_some_and(|next| next.0 + Self::UNSURE < now)
        {
            self.since.pop_front();
        }
    }

    /// The life that counts so stood still for `span`, and acknowledged nothing meanwhile.
    pub(super) fn stood_still(&mut self, span: Span) {
        self.since
            .iter_mut()
            .for_each(|next| next.0 = next.0 + span);
    }

    /// The link breaks.
    pub(super) fn breaks(&mut self, now: Time) {
        let old = |next: &&(Time, u64)| next.0 + Self::UNSURE < now;
        let last = self.since.iter().take_while(old).last();
        let known = last
            .or(self.since.front())
            .map_or(self.number, |next| next.1);
        self.known = known.max(self.known);
    }
}

/// One life of a server.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) who: Who,
    pub(super) began: Time,
    pub(super) ended: Option<Ending>,
    pub(super) own: Vec<Own>,
    /// The log as a `get` shows it.
    pub(super) log: Vec<u8>,
    /// Where each entry ends in it.
    pub(super) ends: Vec<usize>,
    /// By server: the life and the number of the last broadcast in the log.
    pub(super) last: Vec<Option<(u32, u64)>>,
    /// By server: the link of the session.
    pub(super) up: Vec<Option<usize>>,
    /// Every set of servers that were up, as bits, the latest last.
    pub(super) alive: Vec<u64>,
    /// Links of its masters that are open.
    pub(super) masters: Vec<usize>,
    /// Broadcasts that were taken for another master's with the same text, and not made up for:
    /// each comes yet, from that master.
    pub(super) mixed_up: Vec<Box<str>>,
    /// It is about to end in good order.
    pub(super) leaving: bool,
    pub(super) log_was_full: bool,
    /// By server: how many of its messages it said that it did not keep.
    pub(super) missed: Vec<u64>,
    pub(super) deliveries: u64,
    /// By server: which of its broadcasts is the next, once it said from which on they follow.
    pub(super) next: Vec<Option<Next>>,
    /// How many broadcasts of others are lost to it, as it said.
    pub(super) lost: u64,
    /// Bytes of all its broadcasts, as they go out on each link.
    pub(super) broadcast_bytes: u64,
    /// By server: the link of the last session, over or not.
    pub(super) before: Vec<Option<usize>>,
    pub(super) paused: Time,
    pub(super) resumed: Time,
}

impl Life {
    pub(super) fn new(who: Who, began: Time, hosts: usize) -> Self {
        Self {
            who,
            began,
            ended: None,
            own: Vec::new(),
            log: Vec::new(),
            ends: Vec::new(),
            last: vec![None; hosts],
            up: vec![None; hosts],
            alive: vec![1 << who.host.index()],
            masters: Vec::new(),
            mixed_up: Vec::new(),
            leaving: false,
            log_was_full: false,
            missed: vec![0; hosts],
            deliveries: 0,
            next: vec![None; hosts],
            lost: 0,
            broadcast_bytes: 0,
            before: vec![None; hosts],
            paused: began,
            resumed: began,
        }
    }

    pub(super) fn append(&mut self, text: &str) {
        if !self.ends.is_empty() {
            self.log.push(b',');
        }
        self.log.extend_from_slice(text.as_bytes());
        self.ends.push(self.log.len());
    }

    pub(super) fn set_up(&mut self, peer: usize, link: Option<usize>) {
        self.up[peer] = link;
        let now = self.alive.last().copied().unwrap_or(0);
        // It was the other way before.
        self.alive.push(now ^ 1 << peer);
    }
}

/// One side's view of a link.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    pub(super) who: Option<Who>,
    /// Where its session begins in the numbers of its own broadcasts, with the step.
    pub(super) first: Option<(u64, u64)>,
    pub(super) up: bool,
    /// How many messages of the other side it delivered.
    pub(super) delivered: u64,
    /// When bytes last came in, or it came up.
    pub(super) heard: Time,
    /// How many bytes came in, and how many the transport took, since it was opened.
    pub(super) came: u64,
    pub(super) went: u64,
    /// Whether what came in last ended no line.
    pub(super) within_line: bool,
    /// How much its life had broadcast, in bytes, when it came up.
    pub(super) base: u64,
}

/// A link, by its number in the run. Side 0 dialled.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) sides: [Side; 2],
    /// The host that was dialled.
    pub(super) target: Option<Host>,
    /// The master at side 0, if it is one.
    pub(super) master: Option<Box<Master>>,
    /// How much the master said, when last, and how much of it the server was handed.
    pub(super) said: u64,
    pub(super) said_at: Time,
    pub(super) handed: u64,
    /// Whether its lives had an earlier session that carried messages.
    pub(super) again: bool,
}

/// Which link each handle of a host's present machine stands for.
#[derive(Clone, Debug, Default)]
pub(super) struct Handles(Vec<Option<(Conn, usize, usize)>>);

impl Handles {
    pub(super) fn set(&mut self, conn: Conn, link: usize, side: usize) {
        if self.0.len() <= conn.slot() {
            self.0.resize(conn.slot() + 1, None);
        }
        self.0[conn.slot()] = Some((conn, link, side));
    }

    /// The link and the side.
    #[inline]
    pub(super) fn get(&self, conn: Conn) -> Option<(usize, usize)> {
        let (held, link, side) = self.0.get(conn.slot()).copied().flatten()?;
        (held == conn).then_some((link, side))
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The host at the other end, or `None` for a client.
pub(super) const fn host_of(peer: Peer) -> Option<Who> {
    match peer {
        Peer::Host(who) => Some(who),
        Peer::Client(_) => None,
    }
}

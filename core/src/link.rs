//! One link: who is at its other end, when it was last heard, and what is owed to it. Knows its
//! own state only; who else is linked is the mesh's business.

use crate::config::{FIRST_PATIENCE, OVERDUE, PATIENCE, STALL, STEP};
use crate::frame::Framer;
use crate::stream::Stream;
use crate::wire;
use alloc::vec::Vec;
use chatroom_machine::Conn;
use chatroom_machine::{Span, Time};

/// What a link knows of its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// We are dialling this peer.
    Dialling(u32),
    /// We dialled this peer and wait for its first line.
    Outbound(u32),
    /// It dialled us and has not said who it is.
    Inbound,
    /// It dialled us and named this peer, which is up on another link: it is not read from until
    /// that one ends or falls silent.
    Contender(u32),
    /// A session with this peer.
    Peer(u32),
}

/// One connection of the mesh.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Link {
    pub(crate) conn: Conn,
    pub(crate) role: Role,
    /// Its place in the order in which links were made.
    pub(crate) number: u64,
    /// Whether the dialler had left by the time the link was accepted.
    pub(crate) gone: bool,
    /// When the role was taken.
    pub(crate) since: Time,
    /// When the last byte came in.
    pub(crate) heard: Time,
    pub(crate) framer: Framer,
    /// `msg PEER `, once the peer is known: what its messages begin with.
    pub(crate) expect: Vec<u8>,
    /// Lines of unknown kinds so far.
    pub(crate) skipped: u64,
    /// Our own lines: heartbeats. They go out before the stream, and get in only when all of the
    /// stream so far has gone out, so that they never cut a line of it.
    own: Vec<u8>,
    taken: usize,
    /// How far the link has read the stream of broadcasts. Meaningful in a session.
    pub(crate) cursor: u64,
    /// When the transport last took bytes, or when bytes were first owed to it.
    pub(crate) progress: Time,
    /// When it last completed a [`STEP`], and how much it took since.
    stepped: Time,
    taken_since: u64,
    /// Whether it went on after it had stood still in this step, and whether it ever completed a
    /// step in which it had.
    resumed: bool,
    proven: bool,
    /// Until when it is not suspected after this server was itself away: one more chance, until
    /// it is heard again.
    pub(crate) excused_until: Option<Time>,
    /// What a contender sent: its first line and what came with it, at most what the driver read
    /// before it heard of the pause.
    pub(crate) unprocessed: Vec<u8>,
    /// Whether the driver was told that there are bytes to send, and has not sent all of them.
    pub(crate) sending: bool,
}

impl Link {
    pub(crate) const fn new(conn: Conn, role: Role, now: Time, longest: usize) -> Self {
        Self {
            conn,
            role,
            number: 0,
            gone: false,
            since: now,
            heard: now,
            framer: Framer::new(longest),
            expect: Vec::new(),
            skipped: 0,
            own: Vec::new(),
            taken: 0,
            cursor: 0,
            progress: now,
            stepped: now,
            taken_since: 0,
            resumed: false,
            proven: false,
            excused_until: None,
            unprocessed: Vec::new(),
            sending: false,
        }
    }

    /// The peer of the session, if there is one.
    pub(crate) const fn peer(&self) -> Option<u32> {
        match self.role {
            Role::Peer(peer) => Some(peer),
            Role::Dialling(_) | Role::Outbound(_) | Role::Inbound | Role::Contender(_) => None,
        }
    }

    /// Begins the session: from here on it reads what is broadcast.
    pub(crate) fn name(&mut self, peer: u32, now: Time, end: u64) {
        self.role = Role::Peer(peer);
        self.since = now;
        self.cursor = end;
        self.expect = wire::msg_prefix(peer);
    }

    pub(crate) fn pending<'a>(&'a self, skip: usize, stream: &'a Stream) -> &'a [u8] {
        let own = &self.own[self.taken..];
        if skip < own.len() {
            return &own[skip..];
        }
        match self.role {
            Role::Peer(_) => stream.piece(self.cursor + (skip - own.len()) as u64),
            Role::Dialling(_) | Role::Outbound(_) | Role::Inbound | Role::Contender(_) => &[],
        }
    }

    /// Begins to owe it something, after everything before was taken.
    pub(crate) fn owe_first(&mut self, now: Time) {
        self.sending = true;
        self.progress = now;
        self.stepped = now;
        self.taken_since = 0;
        self.resumed = false;
    }

    /// Until when it may hold up the masters that broadcast, if it lags behind; `near` says that
    /// it is near the limit of its lag.
    pub(crate) fn holds_up_until(&self, near: bool) -> Time {
        let until = self.progress + STALL;
        if !near {
            return until;
        }
        let patience = if self.proven {
            PATIENCE
        } else {
            FIRST_PATIENCE
        };
        until.max((self.stepped + patience).min(self.heard + OVERDUE))
    }

    /// From when on it is suspected if nothing more comes: never in the very moment in which its
    /// session began, for it may have waited till then without being read.
    pub(crate) fn suspected_at(&self, suspicion: Span) -> Time {
        let at = (self.heard + suspicion).max(self.since + Span::from_micros(1));
        self.excused_until.map_or(at, |until| until.max(at))
    }

    /// When it is closed if it has not said anything valid by then.
    pub(crate) fn greets_by(&self, greeting: Span) -> Time {
        let at = self.since + greeting;
        self.excused_until.map_or(at, |until| until.max(at))
    }

    /// How many bytes are pending.
    pub(crate) const fn owed(&self, stream: &Stream) -> u64 {
        let own = (self.own.len() - self.taken) as u64;
        match self.role {
            Role::Peer(_) => own + stream.end() - self.cursor,
            Role::Dialling(_) | Role::Outbound(_) | Role::Inbound | Role::Contender(_) => own,
        }
    }

    /// Queues a line of our own; to be called only when nothing is pending.
    pub(crate) fn push(&mut self, line: &[u8], now: Time) {
        self.own.extend_from_slice(line);
        self.owe_first(now);
    }

    /// The transport took `count` of the pending bytes. How many of them were the stream's.
    pub(crate) fn took(&mut self, count: usize, now: Time) -> u64 {
        self.resumed |= now.since(self.progress) >= STALL;
        self.progress = now;
        self.taken_since += count as u64;
        if self.taken_since >= u64::from(STEP) {
            self.proven |= self.resumed;
            self.stepped = now;
            self.taken_since = 0;
            self.resumed = false;
        }
        let own = count.min(self.own.len() - self.taken);
        self.taken += own;
        if self.taken == self.own.len() {
            self.own.clear();
            self.taken = 0;
        }
        let streamed = (count - own) as u64;
        self.cursor += streamed;
        streamed
    }
}

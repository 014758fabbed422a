//! One link: who is at its other end, when it was last heard, and what is owed to it. Knows its
//! own state only; who else is linked is the mesh's business.

use crate::config::{FIRST_PATIENCE, OVERDUE, PATIENCE, STALL, STEP};
use crate::frame::Framer;
use crate::send_log::SendLog;
use alloc::collections::VecDeque;
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

/// Lines for one link alone, which go out once it has read the send log up to `at`: so they keep
/// their place among the broadcasts, and cut none.
#[derive(Clone, Debug, Hash)]
struct Segment {
    at: u64,
    bytes: Vec<u8>,
}

/// From this size on a segment grows no more: what was sent of one is freed only when all of it
/// was.
const SEGMENT: usize = 64 << 10;

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
    /// `WORD PEER `, once the peer is known: what its messages begin with.
    pub(crate) expect: Vec<u8>,
    /// Lines of unknown kinds so far.
    pub(crate) skipped: u64,
    /// Lines for this link alone, in the order in which they are sent: heartbeats, and messages to
    /// one peer. Bounded by the peer's lag, to which it counts.
    own: VecDeque<Segment>,
    /// How much of the first segment was sent.
    taken: usize,
    /// Bytes of all segments that were not sent.
    own_left: usize,
    /// How far the link has read the send log. Meaningful in a session.
    pub(crate) offset: u64,
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
            own: VecDeque::new(),
            taken: 0,
            own_left: 0,
            offset: 0,
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
    pub(crate) fn identify(&mut self, peer: u32, expect: Vec<u8>, now: Time, end: u64) {
        self.role = Role::Peer(peer);
        self.since = now;
        self.offset = end;
        self.expect = expect;
    }

    pub(crate) fn pending<'a>(&'a self, mut skip: usize, log: &'a SendLog) -> &'a [u8] {
        let (mut offset, mut taken) = (self.offset, self.taken);
        for segment in &self.own {
            let before = segment.at.saturating_sub(offset) as usize;
            if skip < before {
                let piece = log.piece(offset + skip as u64);
                return &piece[..piece.len().min(before - skip)];
            }
            skip -= before;
            offset += before as u64;
            let bytes = &segment.bytes[taken..];
            if skip < bytes.len() {
                return &bytes[skip..];
            }
            skip -= bytes.len();
            taken = 0;
        }
        match self.role {
            Role::Peer(_) => log.piece(offset + skip as u64),
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

    /// Until when it may hold up the clients that broadcast, if it lags behind; `near` says that
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
    pub(crate) const fn owed(&self, log: &SendLog) -> u64 {
        let own = self.own_left as u64;
        match self.role {
            Role::Peer(_) => own + log.end() - self.offset,
            Role::Dialling(_) | Role::Outbound(_) | Role::Inbound | Role::Contender(_) => own,
        }
    }

    /// Bytes for this link alone that are pending.
    pub(crate) const fn own_left(&self) -> usize {
        self.own_left
    }

    /// Queues a line for this link alone, behind all that is in the send log.
    pub(crate) fn queue(&mut self, line: &[&[u8]], log: &SendLog) {
        let at = match self.role {
            Role::Peer(_) => log.end(),
            Role::Dialling(_) | Role::Outbound(_) | Role::Inbound | Role::Contender(_) => 0,
        };
        match self.own.back_mut() {
            Some(last) if last.at == at && last.bytes.len() < SEGMENT => {
                line.iter()
                    .for_each(|piece| last.bytes.extend_from_slice(piece));
            }
            Some(_) | None => {
                let bytes = line.concat();
                self.own.push_back(Segment { at, bytes });
            }
        }
        self.own_left += line.iter().map(|piece| piece.len()).sum::<usize>();
    }

    /// The transport took `count` of the pending bytes. How many of them were the send log's.
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
        let (begin, mut left) = (self.offset, count);
        while left > 0 {
            match self.own.front() {
                Some(segment) if segment.at <= self.offset => {
                    let all = segment.bytes.len();
                    let now = left.min(all - self.taken);
                    left -= now;
                    self.own_left -= now;
                    self.taken += now;
                    if self.taken == all {
                        self.own.pop_front();
                        self.taken = 0;
                    }
                }
                next => {
                    let now = next.map_or(left as u64, |s| (s.at - self.offset).min(left as u64));
                    left -= now as usize;
                    self.offset += now;
                }
            }
        }
        self.offset - begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(link: &Link, log: &SendLog) -> Vec<u8> {
        let mut all = Vec::new();
        while let piece @ [_, ..] = link.pending(all.len(), log) {
            all.extend_from_slice(piece);
        }
        all
    }

    #[test]
    fn lines_for_one_link_keep_their_place_among_broadcasts_however_they_are_taken() {
        for step in 1..9 {
            let mut log = SendLog::default();
            log.append(b"earlier\n");
            let mut link = Link::new(Conn::new(0, 0), Role::Outbound(1), Time::ZERO, 100);
            link.queue(&[b"ping 0\n"], &log);
            link.identify(1, Vec::new(), Time::ZERO, log.end());
            link.queue(&[b"a", b"1\n"], &log);
            log.append(b"b1\n");
            log.append(b"b2\n");
            link.queue(&[b"a2\n"], &log);
            link.queue(&[b"a3\n"], &log);
            log.append(b"b3\n");
            let whole = b"ping 0\na1\nb1\nb2\na2\na3\nb3\n";
            let mut taken = 0;
            while taken < whole.len() {
                assert_eq!(read(&link, &log), whole[taken..]);
                assert_eq!(link.owed(&log), (whole.len() - taken) as u64);
                let now = step.min(whole.len() - taken);
                link.took(now, Time::ZERO);
                taken += now;
            }
            assert_eq!((link.owed(&log), link.own_left()), (0, 0));
        }
    }
}

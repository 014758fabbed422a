//! One link: who is at its other end, when it was last heard, and what is owed to it. Knows its
//! own state only; who else is linked is the mesh's business.

use crate::config::{ACK_EVERY, FIRST_PATIENCE, OVERDUE, PATIENCE, STALL, STEP};
use crate::frame::Framer;
use crate::news::Why;
use crate::outputs::Outputs;
use crate::send_log::SendLog;
use crate::wire::Position;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use chatroom_machine::{Action, Conn};
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

/// Whether the send log goes out on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stream {
    /// There is no session.
    Off,
    /// From the link's offset on.
    Runs,
    /// Not before the peer has said a second line, or this moment has come. So many broadcasts were
    /// made before the link's offset.
    Waits { until: Time, count: u64 },
}

/// Whether the peer of a session resumes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Resumes {
    /// It has said its first `ping` only.
    Unknown,
    /// It said a `hello` of ours.
    Yes,
    /// It did not, or this server itself does not.
    No,
}

/// Where lines for one link alone stand among the broadcasts: they go out once the link has read
/// the send log up to `at`, so that they keep their order and cut none.
#[derive(Clone, Copy, Debug, Hash)]
struct Mark {
    at: u64,
    /// How many bytes of them were not sent.
    left: usize,
}

/// What no line begins with.
pub(crate) const NO_LINE: &[u8] = b"\n";

/// From so many bytes on, those of [`Link::own`] that were sent are let go before all are.
const SENT_MOST: usize = 64 << 10;

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
    /// `WORD PEER `, once the peer is known and said more than a `ping`: what its messages begin with.
    pub(crate) expect: Vec<u8>,
    /// Lines of unknown kinds so far.
    pub(crate) skipped: u64,
    /// Lines for this link alone, in the order in which they are sent: heartbeats, and messages to
    /// one peer. Bounded by the peer's lag, to which it counts. Keeps its room when all were sent.
    own: Vec<u8>,
    /// How much of it was sent.
    own_sent: usize,
    /// Where the rest of it stands.
    marks: VecDeque<Mark>,
    /// How far the link has read the send log. Meaningful in a session.
    pub(crate) offset: u64,
    /// Whether the send log goes out.
    pub(crate) stream: Stream,
    /// What was received of the peer's broadcasts: since the session began, or, once it said
    /// `from`, since its incarnation did.
    pub(crate) received: Position,
    /// Whether the peer said `from`.
    pub(crate) based: bool,
    /// From which offset on what was received is acknowledged at once.
    pub(crate) ack_at: u64,
    /// Whether it said a `hello`.
    pub(crate) greeted: bool,
    /// Whether the session resumes.
    pub(crate) resumes: Resumes,
    /// From where on the send log went out on it.
    pub(crate) began: u64,
    /// The peer does not fit: why the link ends once it took what is owed.
    pub(crate) refused: Option<Why>,
    /// Whom a first `ping` named that does not count alone, as the peer did not fit the last time.
    pub(crate) held: Option<u32>,
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
    pub(crate) fn new(conn: Conn, role: Role, now: Time, longest: usize) -> Self {
        Self {
            conn,
            role,
            number: 0,
            gone: false,
            since: now,
            heard: now,
            framer: Framer::new(longest),
            expect: NO_LINE.to_vec(),
            skipped: 0,
            own: Vec::new(),
            own_sent: 0,
            marks: VecDeque::new(),
            offset: 0,
            stream: Stream::Off,
            received: Position {
                count: 0,
                offset: 0,
            },
            based: false,
            ack_at: u64::MAX,
            greeted: false,
            resumes: Resumes::No,
            began: 0,
            refused: None,
            held: None,
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

    /// Begins the session: from here on it reads what is broadcast, as `stream` says.
    pub(crate) fn identify(&mut self, peer: u32, now: Time, end: u64, stream: Stream) {
        self.role = Role::Peer(peer);
        self.stream = stream;
        self.since = now;
        self.offset = end;
        self.began = end;
        self.resumes = match stream {
            Stream::Off | Stream::Runs => Resumes::No,
            Stream::Waits { .. } => Resumes::Unknown,
        };
    }

    pub(crate) fn pending<'a>(&'a self, skip: usize, log: &'a SendLog) -> &'a [u8] {
        // Nearly always: nothing is for this link alone.
        if self.streams() && self.marks.is_empty() {
            return log.piece(self.offset + skip as u64);
        }
        self.pending_among(skip, log)
    }

    fn pending_among<'a>(&'a self, mut skip: usize, log: &'a SendLog) -> &'a [u8] {
        let (mut offset, mut own) = (self.offset, self.own_sent);
        for mark in &self.marks {
            let before = mark.at.saturating_sub(offset) as usize;
            if skip < before {
                let piece = log.piece(offset + skip as u64);
                return &piece[..piece.len().min(before - skip)];
            }
            skip -= before;
            offset += before as u64;
            if skip < mark.left {
                return &self.own[own + skip..own + mark.left];
            }
            skip -= mark.left;
            own += mark.left;
        }
        match self.streams() {
            true => log.piece(offset + skip as u64),
            false => &[],
        }
    }

    /// Whether the send log goes out on it.
    pub(crate) const fn streams(&self) -> bool {
        matches!(self.stream, Stream::Runs)
    }

    /// Has the driver send what is owed, unless it is about to.
    pub(crate) fn wake<E>(&mut self, out: &mut Outputs<E>) {
        if !self.sending {
            self.owe_first(out.now);
            out.push(Action::Send(self.conn));
        }
    }

    /// Begins to owe it something, after everything before was taken.
    fn owe_first(&mut self, now: Time) {
        self.sending = true;
        self.progress = now;
        self.stepped = now;
        self.taken_since = 0;
        self.resumed = false;
    }

    /// What was received of the peer's broadcasts and not acknowledged, in bytes; 0 if the peer does
    /// not want to know.
    pub(crate) const fn unacknowledged(&self) -> u64 {
        match self.based {
            true => self.received.offset + ACK_EVERY - self.ack_at,
            false => 0,
        }
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
        let own = self.own_left() as u64;
        match self.streams() {
            true => own + log.end() - self.offset,
            false => own,
        }
    }

    /// Bytes for this link alone that are pending.
    pub(crate) const fn own_left(&self) -> usize {
        self.own.len() - self.own_sent
    }

    /// Sends a line on this link alone, behind all that is in the send log. How many bytes it has.
    #[must_use]
    pub(crate) fn send<E>(&mut self, out: &mut Outputs<E>, line: &[&[u8]], log: &SendLog) -> usize {
        let before = self.own.len();
        self.queue(line, log);
        self.wake(out);
        self.own.len() - before
    }

    fn queue(&mut self, line: &[&[u8]], log: &SendLog) {
        let at = if self.streams() { log.end() } else { 0 };
        let before = self.own.len();
        line.iter()
            .for_each(|piece| self.own.extend_from_slice(piece));
        let left = self.own.len() - before;
        match self.marks.back_mut() {
            Some(last) if last.at == at => last.left += left,
            Some(_) | None => self.marks.push_back(Mark { at, left }),
        }
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
        // Nearly always: nothing is for this link alone.
        if self.marks.is_empty() {
            self.offset += count as u64;
            return count as u64;
        }
        let (begin, mut left) = (self.offset, count);
        while left > 0 {
            match self.marks.front_mut() {
                Some(mark) if mark.at <= self.offset => {
                    let now = left.min(mark.left);
                    left -= now;
                    mark.left -= now;
                    self.own_sent += now;
                    if mark.left == 0 {
                        self.marks.pop_front();
                    }
                }
                next => {
                    let now = next.map_or(left as u64, |it| (it.at - self.offset).min(left as u64));
                    left -= now as usize;
                    self.offset += now;
                }
            }
        }
        if self.marks.is_empty() {
            self.own.clear();
            self.own_sent = 0;
        } else if self.own_sent >= SENT_MOST {
            self.own.drain(..self.own_sent);
            self.own_sent = 0;
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
            link.identify(1, Time::ZERO, log.end(), Stream::Runs);
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

    #[test]
    fn a_link_that_is_always_a_little_behind_keeps_no_more_than_it_is_owed() {
        let log = SendLog::default();
        let mut link = Link::new(Conn::new(0, 0), Role::Outbound(1), Time::ZERO, 100);
        link.identify(1, Time::ZERO, log.end(), Stream::Runs);
        for _ in 0..1000 {
            link.queue(&[&[b'x'; 4000]], &log);
            while link.own_left() > 6000 {
                link.took(1000, Time::ZERO);
            }
        }
        assert!(link.own.len() <= SENT_MOST + 10_000);
    }
}

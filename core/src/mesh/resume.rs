//! What two servers of ours say to each other after their first `ping`: whether they fit, and where
//! the broadcasts of each go on when an earlier session of the same two incarnations ended.
//!
//! A receiver counts what it has of the peer's broadcasts and acknowledges it, at each heartbeat and
//! whenever [`ACK_EVERY`] bytes came. A sender keeps what was not acknowledged, within the limit of
//! the lag, also while the peer is down. When the two are linked again the receiver's `hello` says
//! what it has, and the sender's `from` says where it goes on: there, or, if it no longer keeps that,
//! further on, and then the receiver knows how many it has lost.

use super::{Mesh, Report};
use crate::config::{ACK_EVERY, HELLO};
use crate::link::{Resumes, Role, Stream};
use crate::news::{News, Why};
use crate::outputs::Outputs;
use crate::send_log::BLOCK;
use crate::timers::Timer;
use crate::wire::{self, Hello, Position};
use alloc::vec::Vec;
use chatroom_machine::{Conn, Time};

impl Mesh {
    /// The `ping` and the `hello` that begin what is said to a peer.
    pub(super) fn greeting(&self, peer: u32) -> Vec<u8> {
        let mut lines = self.ping.clone();
        if self.incarnation != 0 {
            let known = &self.peers[peer as usize];
            let hello = Hello {
                word: self.word,
                servers: self.servers,
                incarnation: self.incarnation,
                resumes: self.resumes,
                has: known.received.map(|at| (known.incarnation, at)),
            };
            wire::push_hello(&mut lines, &hello);
        }
        lines
    }

    /// Whether the sender of a `hello` fits into this grid.
    fn misfit(&self, hello: &Hello<'_>) -> Option<Why> {
        if hello.word != self.word {
            return Some(Why::OtherProtocol);
        }
        (hello.servers != self.servers).then_some(Why::OtherSize)
    }

    /// Handles a `hello` on a link that named `peer`. Whether its sender fits; if not, the link ends,
    /// but not before the own `hello` was sent: the peer is to know it too.
    pub(super) fn fits<E>(
        &mut self,
        out: &mut Outputs<E>,
        conn: Conn,
        peer: u32,
        hello: &Hello<'_>,
    ) -> Result<bool, Why> {
        let misfit = self.misfit(hello);
        let known = &mut self.peers[peer as usize];
        let was_misfit = core::mem::replace(&mut known.misfit, misfit.is_some());
        let Some(why) = misfit else {
            return Ok(true);
        };
        if !was_misfit {
            out.emit(News::Misfit {
                peer,
                word: hello.word.into(),
                servers: hello.servers,
            });
        }
        let greeting = self.greeting(peer);
        let Some(link) = self.links[conn.slot()].as_mut() else {
            return Ok(false);
        };
        if link.role == Role::Inbound {
            self.own += link.send(out, &[&greeting], &self.log);
        }
        if link.own_left() == 0 {
            return Err(why);
        }
        link.refused = Some(why);
        Ok(false)
    }

    /// Goes on with the session on which a fitting `hello` came.
    pub(super) fn greet<E>(
        &mut self,
        out: &mut Outputs<E>,
        conn: Conn,
        peer: u32,
        hello: &Hello<'_>,
    ) -> Result<(), Why> {
        if !(self.resumes && hello.resumes) {
            self.go_without_hello(out, conn, peer);
            return Ok(());
        }
        let oldest = self.log.start();
        let known = &mut self.peers[peer as usize];
        let is_new = known.incarnation != hello.incarnation;
        if is_new {
            known.incarnation = hello.incarnation;
            known.received = None;
        }
        let Some(link) = self.links[conn.slot()].as_mut() else {
            return Ok(());
        };
        link.resumes = Resumes::Yes;
        link.expect = wire::prefix(self.word, peer);
        let (began, stream) = (link.began, link.stream);
        let has = hello
            .has
            .filter(|(of, at)| *of == self.incarnation && (oldest..=began).contains(&at.offset));
        match (stream, has) {
            (Stream::Waits { count, .. }, has) => {
                let offset = began;
                let at = has.map_or(Position { count, offset }, |(_, at)| at);
                self.begin_stream(out, conn, at);
                self.keep(peer, Some(at.offset));
                self.trim();
            }
            // Broadcasts went out before it came, and not from where they ought to: once more.
            (_, Some((_, at))) if at.offset < began => return Err(Why::NoGreeting),
            (_, _) if is_new => self.keep(peer, Some(began)),
            (_, _) => {}
        }
        Ok(())
    }

    /// Goes on with a session whose peer says no `hello`, or one that does not resume.
    pub(super) fn go_without_hello<E>(&mut self, out: &mut Outputs<E>, conn: Conn, peer: u32) {
        if !self.resumes {
            return;
        }
        let known = &mut self.peers[peer as usize];
        known.incarnation = 0;
        known.received = None;
        self.keep(peer, None);
        let Some(link) = self.links[conn.slot()].as_mut() else {
            return;
        };
        link.resumes = Resumes::No;
        link.expect = wire::prefix(self.word, peer);
        let offset = link.offset;
        if let Stream::Waits { count, .. } = link.stream {
            self.begin_stream(out, conn, Position { count, offset });
        }
        self.trim();
    }

    /// How long a new session waits for the peer's second line before broadcasts go out on it; not
    /// at all if this server's sessions do not resume. A peer that said a `hello` before will say
    /// one again.
    pub(super) fn waits_for_hello<E>(&self, out: &mut Outputs<E>, peer: u32) -> Stream {
        if !self.resumes {
            return Stream::Runs;
        }
        let until = match self.peers[peer as usize].incarnation {
            0 => out.now + HELLO,
            _ => Time::from_micros(u64::MAX),
        };
        out.timers.by(Timer::Hello, until);
        let count = self.count;
        Stream::Waits { until, count }
    }

    /// Has broadcasts go out on a link, from `at` on.
    fn begin_stream<E>(&mut self, out: &mut Outputs<E>, conn: Conn, at: Position) {
        let Some(link) = self.links[conn.slot()].as_mut() else {
            return;
        };
        let mut line = Vec::new();
        wire::push_from(&mut line, at);
        self.own += link.send(out, &[&line], &self.log);
        let end = self.log.end();
        self.lagging -= usize::from(link.offset < end);
        if self.lagging == 0 {
            self.slowest = end;
        }
        self.lagging += usize::from(at.offset < end);
        self.slowest = self.slowest.min(at.offset);
        link.offset = at.offset;
        link.began = at.offset;
        link.stream = Stream::Runs;
    }

    /// Begins to send broadcasts to those that have said nothing more in time. What follows is kept:
    /// the `hello` may be late.
    pub(super) fn handle_hello_timeout<E>(&mut self, out: &mut Outputs<E>) {
        for slot in 0..self.links.len() {
            if let Some(link) = &self.links[slot]
                && link.peer().is_some()
                && let Stream::Waits { until, count } = link.stream
            {
                let (conn, offset) = (link.conn, link.offset);
                if until <= out.now {
                    self.begin_stream(out, conn, Position { count, offset });
                } else {
                    out.timers.by(Timer::Hello, until);
                }
            }
        }
    }

    /// Handles a `from` of a peer: what it broadcasts goes on at `at`.
    pub(super) fn handle_from<E>(
        &mut self,
        out: &mut Outputs<E>,
        conn: Conn,
        peer: u32,
        at: Position,
    ) -> Result<(), Why> {
        let Some(link) = self.links[conn.slot()].as_mut() else {
            return Ok(());
        };
        let before = match link.based {
            true => Some(link.received),
            false => self.peers[peer as usize].received,
        };
        let expected = before.unwrap_or(at);
        if at.count < expected.count || at.offset < expected.offset {
            return Err(Why::Malformed);
        }
        let lost = at.count - expected.count;
        if lost > 0 {
            self.reports.push_back(Report::Lost(peer, lost));
        }
        out.emit(News::Following {
            peer,
            conn,
            count: at.count,
            resumed: before.is_some(),
            lost,
        });
        link.received = at;
        link.based = true;
        link.ack_at = at.offset + ACK_EVERY;
        Ok(())
    }

    /// Acknowledges what was received on a link, if anything is to be.
    #[cold]
    pub(super) fn acknowledge<E>(&mut self, out: &mut Outputs<E>, conn: Conn) {
        let Some(link) = self.links[conn.slot()].as_mut() else {
            return;
        };
        let mut line = Vec::new();
        wire::push_ack(&mut line, link.received.offset);
        link.ack_at = link.received.offset + ACK_EVERY;
        self.own += link.send(out, &[&line], &self.log);
    }

    /// Handles an `ack`: the peer has what lies before `offset`.
    pub(super) fn handle_ack(&mut self, conn: Conn, peer: u32, offset: u64) -> Result<(), Why> {
        let Some(link) = self.links[conn.slot()].as_ref() else {
            return Ok(());
        };
        if offset > link.offset {
            return Err(Why::Malformed);
        }
        let kept = self.peers[peer as usize].keep;
        if kept.is_some_and(|kept| kept < offset) {
            self.keep(peer, Some(offset));
            if offset == self.log.end() || self.log.held() >= BLOCK as u64 {
                self.trim();
            }
        }
        Ok(())
    }

    /// Keeps what is broadcast for a peer, from an offset on.
    pub(super) fn keep(&mut self, peer: u32, from: Option<u64>) {
        let known = &mut self.peers[peer as usize];
        self.kept -= usize::from(known.keep.is_some());
        self.kept += usize::from(from.is_some());
        known.keep = from;
    }

    /// Keeps nothing more for peers that have not acknowledged so much that the limit of the lag is
    /// passed: what they lack then is lost to them if their link breaks, or when they come back.
    pub(super) fn forget_the_farthest(&mut self) {
        let lag = self.limits.lag as u64;
        if self.kept == 0 || self.log.held() <= lag {
            return;
        }
        let end = self.log.end();
        for peer in 0..self.servers {
            let known = &self.peers[peer as usize];
            if known.keep.is_some_and(|kept| end - kept > lag) {
                let link = known.link.and_then(|conn| self.links[conn.slot()].as_ref());
                let from = link.map(|link| link.offset);
                self.keep(peer, from);
            }
        }
        self.trim();
    }
}

//! Further links that name a peer which is up already: the peer may have come back before its
//! death was noticed, or somebody else may speak in its name.
//!
//! Such a link waits as a *contender*: it is not read from, and what came on it is kept. If the
//! peer came back, its present link ends or falls silent, and the contender that was made first
//! takes its place, then the next, so that the messages of a peer that comes and goes keep their
//! order. If neither happens, contenders are closed. Which link is heard is judged by a timeout, so
//! that a driver has read all of them before.
//!
//! Contenders count as newcomers at the gate, which bounds them.

use super::{Mesh, Peer, Report};
use crate::config::OVERDUE;
use crate::frame::Framer;
use crate::link::Role;
use crate::news::Why;
use crate::outputs::Outputs;
use crate::timers::Timer;
use crate::wire::{self, Line};
use alloc::vec::Vec;
use chatroom_machine::Time;
use chatroom_machine::{Action, Conn};

impl Mesh {
    /// The peer that the first line of a new link names, if that peer is up on an earlier link.
    pub(crate) fn contends(&self, conn: Conn, line: &[u8]) -> Option<u32> {
        let (Line::Ping(peer) | Line::Message(peer, _)) =
            wire::parse(line, self.word, self.servers).ok()?
        else {
            return None;
        };
        let known = &self.peers[peer as usize];
        let link = self.links[conn.slot()].as_ref()?;
        // Only ids above our own dial us: another one is a fault, whoever is up.
        let valid = peer > self.id && link.number > known.latest;
        (valid && known.link.is_some()).then_some(peer)
    }

    /// Has a new link wait that names a peer which is up, behind those that were made before it.
    pub(crate) fn contend<E>(
        &mut self,
        out: &mut Outputs<E>,
        conn: Conn,
        peer: u32,
        unprocessed: Vec<u8>,
    ) {
        let longest = self.longest();
        let Some(link) = self.links[conn.slot()].as_mut() else {
            return;
        };
        link.role = Role::Contender(peer);
        link.since = out.now;
        link.framer = Framer::new(longest);
        link.unprocessed = unprocessed;
        out.push(Action::Pause(conn));
        let number = link.number;
        let contenders = &self.peers[peer as usize].contenders;
        let at = contenders.partition_point(|&other| self.number(other) < number);
        self.peers[peer as usize].contenders.insert(at, conn);
        self.watch_contenders(out);
    }

    /// Goes on with a contender, now that the link before it has ended.
    ///
    /// It counts as heard when its bytes came, not now: its peer may have died while it waited, and
    /// is to be suspected as soon as any other.
    pub(super) fn promote<E>(&mut self, out: &mut Outputs<E>, conn: Conn) {
        let Some(link) = self.links[conn.slot()].as_mut() else {
            return;
        };
        link.role = Role::Inbound;
        out.push(Action::Resume(conn));
        self.reports.push_back(Report::Promoted(conn));
    }

    /// Takes what came on a link while it waited.
    pub(crate) fn unprocessed(&mut self, conn: Conn) -> Vec<u8> {
        let link = self.links[conn.slot()].as_mut();
        link.map_or_else(Vec::new, |link| core::mem::take(&mut link.unprocessed))
    }

    /// When the first contender is to be decided on: once the present link of its peer is overdue,
    /// or once it has waited for the greeting time behind that link.
    fn decides_at(&self, peer: &Peer) -> Option<Time> {
        let contender = self.links[peer.contenders.front()?.slot()].as_ref()?;
        let present = self.links[peer.link?.slot()].as_ref()?;
        let given_up = contender.since.max(present.since) + self.times.greeting;
        Some(given_up.min(present.heard + OVERDUE))
    }

    fn watch_contenders<E>(&self, out: &mut Outputs<E>) {
        let next = self.peers.iter().filter_map(|peer| self.decides_at(peer));
        out.timers.set(Timer::Contest, next.min());
    }

    /// Decides on the contenders whose moment has come.
    pub(super) fn decide<E>(&mut self, out: &mut Outputs<E>) {
        let now = out.now;
        for id in 0..self.peers.len() {
            let peer = &self.peers[id];
            if self.decides_at(peer).is_none_or(|at| at > now) {
                continue;
            }
            let (Some(present), Some(&contender)) = (peer.link, peer.contenders.front()) else {
                continue;
            };
            let link = self.links[present.slot()].as_ref();
            if link.is_some_and(|link| link.heard + OVERDUE > now) {
                self.end(out, contender, Why::Contested, false);
            } else {
                self.end(out, present, Why::Replaced, false);
            }
        }
        self.watch_contenders(out);
    }
}

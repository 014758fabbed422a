//! A second link that names a peer which is up already: the peer may have come back before its
//! death was noticed, or somebody else may speak in its name.
//!
//! The new link waits as a *contender*: it is not read from, and what came on it is kept. If the
//! peer came back, its present link ends or falls silent, and the contender takes its place; if not,
//! neither happens, and the contender is closed. Which of them is heard is judged by a timeout, so
//! that a driver has read both before.

use super::{Mesh, Peer, Report};
use crate::config::OVERDUE;
use crate::frame::Framer;
use crate::link::Role;
use crate::news::Why;
use crate::outputs::Outputs;
use crate::slots::Owner;
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

    /// Has a new link wait that names a peer which is up. The latest such link is kept.
    pub(crate) fn contend<E>(
        &mut self,
        out: &mut Outputs<E>,
        conn: Conn,
        peer: u32,
        unprocessed: Vec<u8>,
    ) {
        out.gate(Owner::Mesh).remove(conn, false);
        let number = self.number(conn);
        let earlier = self.peers[peer as usize].contender;
        if earlier.is_some_and(|other| self.number(other) > number) {
            // It was made before the contender, so it is of the contender's past.
            return self.end(out, conn, Why::Replaced, false);
        }
        let longest = self.longest();
        let Some(link) = self.links[conn.slot()].as_mut() else {
            return;
        };
        link.role = Role::Contender(peer);
        link.since = out.now;
        link.framer = Framer::new(longest);
        link.unprocessed = unprocessed;
        out.push(Action::Pause(conn));
        self.peers[peer as usize].contender = Some(conn);
        if let Some(earlier) = earlier {
            self.end(out, earlier, Why::Contested, false);
        }
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

    /// When a contender is to be decided on: once the present link of its peer is overdue, or once
    /// it has waited for the greeting time.
    fn decides_at(&self, peer: &Peer) -> Option<Time> {
        let contender = self.links[peer.contender?.slot()].as_ref()?;
        let present = self.links[peer.link?.slot()].as_ref()?;
        let given_up = contender.since + self.times.greeting;
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
            let (Some(present), Some(contender)) = (peer.link, peer.contender) else {
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

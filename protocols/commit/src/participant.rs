//! What a member does that a coordinator tells it to.

use crate::message::{Message, Mode};
use crate::pending::{Point, Then};
use crate::servers::Servers;
use crate::transaction::{Decision, Op, Pending, Rank};
use crate::{Commit, Cx, Vote};

impl Commit {
    /// Whether to do what `from` says as the coordinator of `rank`. A coordinator of the past is
    /// told that others went on without it.
    pub(crate) fn obeys(&mut self, cx: &mut Cx<'_>, from: u32, rank: Rank) -> bool {
        if Some(rank) < self.ledger.rank {
            self.after(cx, Then::Tell(Some(from)));
            return false;
        }
        let member = self.mode == Mode::Member;
        if rank.coordinator(self.servers) != from || (member && !self.members.has(from)) {
            return false;
        }
        if Some(rank) > self.ledger.rank {
            // Whatever it did itself as a coordinator is over.
            self.work = None;
            self.ledger.rank = Some(rank);
            self.claimed = false;
            if !member {
                self.mode = Mode::Out;
            }
        }
        true
    }

    /// Whether it votes YES.
    pub(crate) fn votes_yes(&mut self, op: &Op) -> bool {
        let no = core::mem::take(&mut self.vote_no);
        let too_long = match (op, self.options.vote) {
            (Op::Add { url, .. }, Vote::Length) => url.len() > self.id as usize + 5,
            (Op::Add { .. } | Op::Delete { .. }, _) => false,
        };
        !no && !too_long && self.ledger.has_room(op)
    }

    pub(crate) fn vote_req(&mut self, cx: &mut Cx<'_>, from: u32, rank: Rank, pending: Pending) {
        if !self.obeys(cx, from, rank) || self.mode != Mode::Member {
            return;
        }
        if self.armed.before_vote {
            return cx.crash();
        }
        let txn = pending.txn;
        let (seq, free) = (
            self.ledger.report.next_seq(),
            self.ledger.report.pending.is_none(),
        );
        let yes = self.votes_yes(&pending.op) && txn.seq == seq && free;
        if yes {
            self.record(cx, pending);
        }
        let vote = Message::Vote(txn, yes);
        self.after(cx, Then::Send(from, vote, Some(Point::Vote)));
    }

    pub(crate) fn pre_commit(&mut self, cx: &mut Cx<'_>, from: u32, rank: Rank, pending: Pending) {
        let report = &self.ledger.report;
        if pending.txn.seq != report.next_seq() || !self.obeys(cx, from, rank) {
            return;
        }
        let txn = pending.txn;
        if self.ledger.report.pending.as_ref() != Some(&pending) {
            self.record(cx, pending);
        }
        let ack = Message::Ack(rank, txn);
        self.after(cx, Then::Send(from, ack, Some(Point::Ack)));
    }

    pub(crate) fn decided(&mut self, cx: &mut Cx<'_>, from: u32, rank: Rank, decision: Decision) {
        if !self.obeys(cx, from, rank) {
            return;
        }
        if decision.txn.seq == self.ledger.report.next_seq() {
            self.decide(cx, decision);
        } else if self.ledger.report.last.as_ref() != Some(&decision) {
            return;
        }
        self.disarm_participant();
        self.after(cx, Then::Send(from, Message::Done(rank), None));
    }

    /// The transaction is over for which crashes of a participant were armed.
    pub(crate) const fn disarm_participant(&mut self) {
        self.armed.before_vote = false;
        self.armed.after_vote = false;
        self.armed.after_ack = false;
    }

    /// The next coordinator asks how far this member has come. It is answered once the link of the
    /// one before has ended here too: what that one sent before its death counts.
    pub(crate) fn state_req(&mut self, cx: &mut Cx<'_>, from: u32, rank: Rank) {
        let present = self.coordinator().filter(|&it| it != from && it != self.id);
        if Some(rank) > self.ledger.rank && present.is_some_and(|it| self.members.has(it)) {
            self.held_question = Some((from, rank));
            return;
        }
        if self.obeys(cx, from, rank) && self.mode == Mode::Member {
            let report = Message::Report(rank, self.ledger.report.clone());
            self.after(cx, Then::Send(from, report, None));
            self.pump(cx);
        }
    }

    pub(crate) fn pull(&mut self, cx: &mut Cx<'_>, from: u32, rank: Rank) {
        if self.obeys(cx, from, rank) {
            self.after(cx, Then::SendState(from, rank));
        }
    }

    pub(crate) fn install(&mut self, cx: &mut Cx<'_>, from: u32, rank: Rank, servers: Servers) {
        if servers.has(self.id) && self.obeys(cx, from, rank) {
            self.ledger.store_up(cx, rank, servers.clone());
            self.installing = Some((rank, servers));
            self.after(cx, Then::Send(from, Message::Installed(rank), None));
        }
    }

    pub(crate) fn begin(&mut self, cx: &mut Cx<'_>, from: u32, rank: Rank) {
        let ours = |(known, _): &(Rank, Servers)| *known == rank;
        if rank.coordinator(self.servers) != from || !self.installing.as_ref().is_some_and(ours) {
            return;
        }
        if let Some((_, servers)) = self.installing.take() {
            self.become_member(cx, servers);
        }
    }
}

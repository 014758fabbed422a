//! What a coordinator does: the transactions that masters ask for, one at a time, and the steps
//! that it shares with [assembling](crate::assembly): pre-commit and decision.

use crate::message::{Message, Mode};
use crate::pending::Then;
use crate::servers::Servers;
use crate::transaction::{Decision, Op, Pending, Rank, Report, Txn};
use crate::{Commit, Cx, REQUESTS_MAX};
use alloc::collections::BTreeMap;
use alloc::format;
use chatroom_machine::Conn;

/// Who asked for a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// A client of this server.
    Client(Conn),
    /// One of another server, which numbers its requests.
    Peer(u32, u64),
}

/// A transaction that was asked for and was not begun.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Request {
    pub(crate) origin: Origin,
    pub(crate) op: Op,
}

/// What the coordinator is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A transaction; whether a vote is missing or NO.
    Transaction { origin: Origin, no: bool },
    /// It has just become the coordinator, and ends what the one before has begun.
    Elect,
    /// It makes members of those that came back from a total failure, or that start.
    Form,
    /// It makes members of servers that came back; whether one of them told its masters that it is
    /// the coordinator.
    Admit { claimed: bool },
}

/// How far it has come. Each step begins once the coordinator has its own part on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// It waits for the reports of members.
    Reports,
    /// It waits for its own record of a transaction that begins.
    Begin,
    /// It waits for votes.
    Votes,
    /// It waits until servers have the latest playlist.
    CatchUp,
    /// It waits for acknowledgements of the pre-commit.
    PreCommit,
    /// It waits until the decision is on every disk.
    Decide,
    /// It waits until the set of members is on every disk.
    Install,
}

/// What the coordinator does at one time.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Work {
    pub(crate) kind: Kind,
    pub(crate) rank: Rank,
    /// Whom it does it with, itself included.
    pub(crate) servers: Servers,
    pub(crate) step: Step,
    /// Who has not answered in this step.
    pub(crate) waiting: Servers,
    /// What servers have reported, for those kinds that begin with it.
    pub(crate) reports: BTreeMap<u32, Report>,
    /// Whose playlist it waits for.
    pub(crate) donor: Option<u32>,
}

/// What the coordinator has on its own disk, so that the next step can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Own {
    Begun,
    PreCommitted,
    Decided,
    CaughtUp,
    Installed,
}

impl Commit {
    /// A client asks for a transaction.
    pub(crate) fn request(&mut self, cx: &mut Cx<'_>, client: Conn, op: Op) {
        if self.requests.len() + self.forwarded.len() >= REQUESTS_MAX {
            let reason = format!("{REQUESTS_MAX} requests wait already: try again later");
            return cx.refuse(client, &reason);
        }
        let origin = Origin::Client(client);
        self.requests.push_back(Request { origin, op });
        self.pump(cx);
    }

    /// Another server passes on what its client asked for.
    pub(crate) fn proposed(&mut self, cx: &mut Cx<'_>, from: u32, number: u64, op: Op) {
        if self.is_coordinator() && self.requests.len() < REQUESTS_MAX {
            let origin = Origin::Peer(from, number);
            self.requests.push_back(Request { origin, op });
            self.pump(cx);
        } else {
            self.send(cx, from, &Message::Outcome(number, false));
        }
    }

    /// The coordinator says what became of a request that was passed on to it.
    pub(crate) fn outcome(&mut self, cx: &mut Cx<'_>, number: u64, commit: bool) {
        if let Some(client) = self.forwarded.remove(&number) {
            self.answer(cx, Origin::Client(client), commit);
        }
    }

    fn answer(&mut self, cx: &mut Cx<'_>, origin: Origin, commit: bool) {
        let verdict = if commit { "commit" } else { "abort" };
        match origin {
            Origin::Client(client) => self.reply(cx, client, &format!("ack {verdict}")),
            Origin::Peer(peer, number) => self.send(cx, peer, &Message::Outcome(number, commit)),
        }
    }

    /// Goes on with what waits: servers to be admitted first, then requests. A member that is not
    /// the coordinator passes them on.
    pub(crate) fn pump(&mut self, cx: &mut Cx<'_>) {
        if self.mode != Mode::Member || self.work.is_some() || self.ended {
            return;
        }
        match self.coordinator() {
            Some(coordinator) if coordinator != self.id => {
                while let Some(Request { origin, op }) = self.requests.pop_front() {
                    match origin {
                        Origin::Client(client) => {
                            self.forwards += 1;
                            self.forwarded.insert(self.forwards, client);
                            self.send(cx, coordinator, &Message::Propose(self.forwards, op));
                        }
                        Origin::Peer(..) => self.answer(cx, origin, false),
                    }
                }
            }
            Some(_) => {
                if !self.admit(cx)
                    && let Some(request) = self.requests.pop_front()
                {
                    self.begin_transaction(cx, request);
                }
            }
            None => {}
        }
    }

    fn begin_transaction(&mut self, cx: &mut Cx<'_>, Request { origin, op }: Request) {
        let Some(rank) = self.ledger.rank else {
            return;
        };
        let no = !self.votes_yes(&op);
        let participants = self.members.clone();
        self.work = Some(Work {
            kind: Kind::Transaction { origin, no },
            rank,
            servers: participants.clone(),
            step: Step::Begin,
            waiting: Servers::default(),
            reports: BTreeMap::new(),
            donor: None,
        });
        let (seq, turn) = (self.ledger.report.next_seq(), rank.turn);
        self.record(
            cx,
            Pending {
                txn: Txn { seq, turn },
                op,
                participants,
                committable: false,
            },
        );
        self.after(cx, Then::Own(rank, Own::Begun));
    }

    /// The own part of a step is on disk: the others are told theirs.
    pub(crate) fn own(&mut self, cx: &mut Cx<'_>, rank: Rank, own: Own) {
        let Some(work) = self.work.as_ref().filter(|work| work.rank == rank) else {
            return;
        };
        let mut others = work.servers.without(self.id);
        let report = self.ledger.report.clone();
        let (message, step, partly) = match own {
            Own::Begun => {
                let Some(pending) = report.pending else {
                    return;
                };
                let partly = self.armed.vote_req.take();
                (Message::VoteReq(rank, pending), Step::Votes, partly)
            }
            Own::PreCommitted => {
                let Some(pending) = report.pending else {
                    return;
                };
                let has = |server: &u32| work.has_committable(*server, pending.txn);
                others = others.iter().filter(|server| !has(server)).collect();
                let partly = self.armed.pre_commit.take();
                (Message::PreCommit(rank, pending), Step::PreCommit, partly)
            }
            Own::Decided => {
                let Some(decision) = report.last else { return };
                let partly = match decision.commit {
                    true => self.armed.commit.take(),
                    false => None,
                };
                (Message::Decide(rank, decision), Step::Decide, partly)
            }
            Own::CaughtUp => return self.evaluate(cx),
            Own::Installed => {
                if let Some(work) = &mut self.work {
                    work.waiting.remove(self.id);
                }
                return self.advance(cx);
            }
        };
        let to = match &partly {
            Some(ids) => others.and(ids),
            None => others.clone(),
        };
        for server in to.iter() {
            self.send(cx, server, &message);
        }
        if partly.is_some() {
            return self.crash_after_sending(cx);
        }
        self.enter(cx, step, others);
    }

    /// Begins a step that ends once all of `waiting` have answered.
    pub(crate) fn enter(&mut self, cx: &mut Cx<'_>, step: Step, waiting: Servers) {
        if let Some(work) = &mut self.work {
            (work.step, work.waiting) = (step, waiting);
            self.advance(cx);
        }
    }

    /// Takes in the answer of a server to what it was told in `step`.
    pub(crate) fn answered(&mut self, cx: &mut Cx<'_>, from: u32, rank: Rank, steps: &[Step]) {
        if let Some(work) = &mut self.work
            && work.rank == rank
            && steps.contains(&work.step)
            && work.waiting.remove(from)
        {
            self.advance(cx);
        }
    }

    pub(crate) fn acked(&mut self, cx: &mut Cx<'_>, from: u32, rank: Rank, txn: Txn) {
        if self.ledger.report.has_pending(txn) {
            self.answered(cx, from, rank, &[Step::PreCommit]);
        }
    }

    pub(crate) fn voted(&mut self, cx: &mut Cx<'_>, from: u32, txn: Txn, yes: bool) {
        if let Some(work) = &mut self.work
            && work.step == Step::Votes
            && self.ledger.report.has_pending(txn)
            && work.waiting.remove(from)
        {
            work.count(yes);
            self.advance(cx);
        }
    }

    /// Goes on to the next step if all have answered in this one.
    pub(crate) fn advance(&mut self, cx: &mut Cx<'_>) {
        let Some(work) = self.work.as_ref().filter(|work| work.waiting.is_empty()) else {
            return;
        };
        match work.step {
            // It begins once the own record is durable.
            Step::Begin => {}
            Step::Reports => self.evaluate(cx),
            Step::Votes => match work.kind {
                Kind::Transaction { no: false, .. } => {
                    if let Some(pending) = self.ledger.report.pending.clone() {
                        self.prepare(cx, pending);
                    }
                }
                Kind::Transaction { .. } | Kind::Elect | Kind::Form | Kind::Admit { .. } => {
                    self.conclude_own(cx, false);
                }
            },
            Step::CatchUp => self.resolve(cx),
            Step::PreCommit => self.conclude_own(cx, true),
            Step::Decide => self.decided_everywhere(cx),
            Step::Install => self.installed_everywhere(cx),
        }
    }

    /// All have voted YES: makes a transaction committable, here first.
    pub(crate) fn prepare(&mut self, cx: &mut Cx<'_>, mut pending: Pending) {
        let Some(work) = &mut self.work else {
            return;
        };
        let rank = work.rank;
        (work.step, work.waiting) = (Step::PreCommit, Servers::from_iter([self.id]));
        pending.committable = true;
        if self.ledger.report.pending.as_ref() != Some(&pending) {
            self.record(cx, pending);
        }
        self.after(cx, Then::Own(rank, Own::PreCommitted));
    }

    fn conclude_own(&mut self, cx: &mut Cx<'_>, commit: bool) {
        if let Some(Pending { txn, op, .. }) = self.ledger.report.pending.clone() {
            self.conclude(cx, Decision { txn, op, commit });
        }
    }

    /// Decides a transaction, here first.
    pub(crate) fn conclude(&mut self, cx: &mut Cx<'_>, decision: Decision) {
        let Some(work) = &mut self.work else {
            return;
        };
        let rank = work.rank;
        (work.step, work.waiting) = (Step::Decide, Servers::from_iter([self.id]));
        self.decide(cx, decision);
        self.after(cx, Then::Own(rank, Own::Decided));
    }

    /// The decision is on every disk.
    fn decided_everywhere(&mut self, cx: &mut Cx<'_>) {
        (
            self.armed.vote_req,
            self.armed.pre_commit,
            self.armed.commit,
        ) = (None, None, None);
        let Some(Kind::Transaction { origin, .. }) = self.work.as_ref().map(|work| work.kind)
        else {
            return self.install_or_end(cx);
        };
        self.work = None;
        let commit = self
            .ledger
            .report
            .last
            .as_ref()
            .is_some_and(|last| last.commit);
        self.answer(cx, origin, commit);
        self.pump(cx);
    }
}

impl Work {
    /// Whether a server has reported that `txn` is committable there.
    fn has_committable(&self, server: u32, txn: Txn) -> bool {
        let report = self.reports.get(&server);
        let pending = report.and_then(|report| report.pending.as_ref());
        pending.is_some_and(|pending| pending.txn == txn && pending.committable)
    }

    /// Counts a vote.
    pub(crate) const fn count(&mut self, yes: bool) {
        if let (Kind::Transaction { no, .. }, false) = (&mut self.kind, yes) {
            *no = true;
        }
    }
}

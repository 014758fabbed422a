//! What a coordinator does with servers whose logs may say different things: it brings all of them
//! to one playlist and decides what was left undecided. After an election that is the termination
//! protocol; after a total failure it is recovery; for a server that comes back it is catching up.

use crate::coordinator::{Kind, Own, Step, Work};
use crate::message::{Message, Mode};
use crate::pending::Then;
use crate::servers::Servers;
use crate::transaction::{Decision, Rank, Report};
use crate::{Commit, Cx, Event};
use alloc::collections::BTreeMap;

impl Commit {
    /// The office is this server's: it asks the members how far they have come.
    pub(crate) fn elect(&mut self, cx: &mut Cx<'_>) {
        let Some(rank) = self.ledger.rank else {
            return;
        };
        let servers = self.members.clone();
        for server in servers.without(self.id).iter() {
            self.send(cx, server, &Message::StateReq(rank));
        }
        self.assemble(Kind::Elect, rank, servers, BTreeMap::new());
        let waiting = self.members.without(self.id);
        self.enter(cx, Step::Reports, waiting);
    }

    /// The same after one of them has died meanwhile: answers to the first question are void.
    pub(crate) fn elect_again(&mut self, cx: &mut Cx<'_>) {
        if let Some(rank) = &mut self.ledger.rank {
            rank.number += 1;
        }
        self.elect(cx);
    }

    pub(crate) fn assemble(
        &mut self,
        kind: Kind,
        rank: Rank,
        servers: Servers,
        reports: BTreeMap<u32, Report>,
    ) {
        self.work = Some(Work {
            kind,
            rank,
            servers,
            step: Step::Reports,
            waiting: Servers::default(),
            reports,
            donor: None,
        });
    }

    pub(crate) fn reported(&mut self, cx: &mut Cx<'_>, from: u32, rank: Rank, report: Report) {
        if let Some(work) = &mut self.work
            && work.rank == rank
            && work.step == Step::Reports
        {
            work.reports.insert(from, report);
            self.answered(cx, from, rank, &[Step::Reports]);
        }
    }

    /// Looks at all reports: gets the latest playlist first, then brings the others to it.
    pub(crate) fn evaluate(&mut self, cx: &mut Cx<'_>) {
        let own = self.ledger.report.clone();
        let Some(work) = &mut self.work else {
            return;
        };
        let (kind, rank) = (work.kind, work.rank);
        work.reports.insert(self.id, own.clone());
        // Members that are at work know better than whoever comes back.
        let best = match kind {
            Kind::Admit { .. } | Kind::Transaction { .. } => None,
            Kind::Elect | Kind::Form => {
                let reports = work.reports.iter();
                reports.max_by_key(|(_, report)| report.position())
            }
        };
        if let Some((&donor, best)) = best
            && best.position() > own.position()
        {
            (work.step, work.waiting) = (Step::CatchUp, Servers::from_iter([self.id]));
            match &best.last {
                // T1 and T2: it takes over what another has decided.
                Some(last) if follows(kind, &own, best) => {
                    let last = last.clone();
                    self.decide(cx, last);
                    self.after(cx, Then::Own(rank, Own::CaughtUp));
                }
                Some(_) | None => {
                    work.donor = Some(donor);
                    self.send(cx, donor, &Message::Pull(rank));
                }
            }
            return;
        }
        let mut behind = Servers::default();
        let mut messages = BTreeMap::new();
        for (&server, report) in &mut work.reports {
            let admitted = matches!(kind, Kind::Admit { .. }) && report.pending.is_some();
            if report.position() == own.position() && !admitted {
                continue;
            }
            behind.insert(server);
            messages.insert(server, follows(kind, report, &own));
            *report = Report {
                last: own.last.clone(),
                pending: None,
            };
        }
        for (server, decision) in messages {
            let then = match (&own.last, decision) {
                (Some(last), true) => Then::Send(server, Message::Decide(rank, last.clone()), None),
                (Some(_) | None, _) => Then::SendState(server, rank),
            };
            self.after(cx, then);
        }
        self.enter(cx, Step::CatchUp, behind);
    }

    /// All have the same playlist: decides the transaction that some have a record of, by the rules
    /// of the crate's documentation.
    pub(crate) fn resolve(&mut self, cx: &mut Cx<'_>) {
        let Some(work) = &mut self.work else {
            return;
        };
        let pending = work.reports.values().filter_map(|r| r.pending.as_ref());
        let Some(latest) = pending.max_by_key(|pending| (pending.txn, pending.committable)) else {
            return self.install_or_end(cx);
        };
        let (latest, txn) = (latest.clone(), latest.txn);
        let voters = latest.participants.and(&work.servers);
        let has = |server: u32| {
            work.reports
                .get(&server)
                .is_some_and(|r| r.has_pending(txn))
        };
        // T1: a participant without a record has not voted, or has voted NO.
        let all_voted = voters.iter().all(has);
        if all_voted && latest.committable {
            // T4: some are committable.
            self.prepare(cx, latest);
        } else {
            // T1, or T3: all are uncertain.
            let op = latest.op;
            let commit = false;
            self.conclude(cx, Decision { txn, op, commit });
        }
    }

    /// All have the same playlist and nothing is pending.
    pub(crate) fn install_or_end(&mut self, cx: &mut Cx<'_>) {
        let Some(work) = &mut self.work else {
            return;
        };
        let rank = work.rank;
        if work.kind == Kind::Elect {
            return self.end_assembly(cx);
        }
        let servers = work.servers.clone();
        (work.step, work.waiting) = (Step::Install, servers.clone());
        let message = Message::Install(rank, servers.clone());
        for server in servers.without(self.id).iter() {
            self.send(cx, server, &message);
        }
        self.ledger.store_up(cx, rank, servers);
        self.after(cx, Then::Own(rank, Own::Installed));
    }

    /// Every server has on disk who the members are: from now on each may go on without the others.
    pub(crate) fn installed_everywhere(&mut self, cx: &mut Cx<'_>) {
        let Some(work) = &self.work else {
            return;
        };
        let (rank, servers) = (work.rank, work.servers.clone());
        // Those that are members already first: they are the ones to elect the next coordinator.
        let (old, new): (Servers, Servers) = (servers.and(&self.members), servers.clone());
        for server in old
            .iter()
            .chain(new.iter().filter(|&server| !old.has(server)))
        {
            if server != self.id {
                self.send(cx, server, &Message::Begin(rank));
            }
        }
        self.end_assembly(cx);
    }

    fn end_assembly(&mut self, cx: &mut Cx<'_>) {
        let Some(Work { kind, servers, .. }) = self.work.take() else {
            return;
        };
        let announces = match kind {
            Kind::Transaction { .. } => false,
            Kind::Elect => true,
            Kind::Form => !self.claimed,
            Kind::Admit { claimed } => claimed,
        };
        match kind {
            // Those that are no members have to ask the new coordinator.
            Kind::Elect => self.after(cx, Then::Tell(None)),
            Kind::Transaction { .. } | Kind::Form | Kind::Admit { .. } => {
                self.become_member(cx, servers);
            }
        }
        if announces {
            self.announce(cx);
        }
        self.pump(cx);
    }

    /// Takes part from now on.
    pub(crate) fn become_member(&mut self, cx: &mut Cx<'_>, servers: Servers) {
        let alive: Servers = cx.alive().into_iter().collect();
        self.members = servers.and(&alive);
        self.mode = Mode::Member;
        self.grace = None;
        if let Some(rank) = self.ledger.rank
            && self.ledger.up != self.members
        {
            self.ledger.store_up(cx, rank, self.members.clone());
        }
        let members = self.members.clone();
        cx.emit(Event::Member { members });
        self.after(cx, Then::Tell(None));
        if self.coordinator().is_some_and(|it| !self.members.has(it)) {
            return self.elect_next(cx);
        }
        self.pump(cx);
    }
}

/// Whether a server with the report `behind` needs only the last decision of `ahead` to come to the
/// same playlist.
fn follows(kind: Kind, behind: &Report, ahead: &Report) -> bool {
    ahead.last.as_ref().is_some_and(|last| {
        // Members differ by one transaction at most. Of another server only its vote on it shows
        // that it has all before.
        let next = kind == Kind::Elect && behind.next_seq() == last.txn.seq;
        behind.has_pending(last.txn) || next
    })
}

//! The acceptor: what it promised and accepted, and the answers that wait until that is durable.

use crate::ballot::Ballot;
use crate::message::Message;
use crate::record::Record;
use crate::rules::{Defect, Rules};
use crate::state_machine::StateMachine;
use crate::value::Value;
use crate::{Cx, Paxos, STATE};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::ToString;
use alloc::vec::Vec;

/// What one acceptor must never forget, and what it has yet to say.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Acceptor {
    /// The highest ballot that was promised.
    pub(crate) promised: Ballot,
    /// By slot, what was accepted last. Only open slots: what was decided is in the log.
    pub(crate) accepted: BTreeMap<u64, (Ballot, Value)>,
    /// Answers in the order of the records that they wait for.
    answers: VecDeque<(u64, Answer)>,
}

/// An answer that waits for a record.
#[derive(Clone, Debug, Hash)]
enum Answer {
    P1b { to: u32, ballot: Ballot, from: u64 },
    P2b { to: u32, ballot: Ballot, slot: u64 },
}

impl<S: StateMachine, R: Rules> Paxos<S, R> {
    /// Phase 1: promises the ballot of `peer` and tells what was accepted from `from` on, once the
    /// promise is durable.
    pub(crate) fn prepare(&mut self, cx: &mut Cx<'_>, peer: u32, ballot: Ballot, from: u64) {
        let promised = self.acceptor.promised;
        if ballot < promised && !self.rules.breaks(Defect::StalePromised) {
            self.tell(cx, peer, &Message::Nack { promised });
            return;
        }
        self.acceptor.promised = promised.max(ballot);
        let to = peer;
        let answer = Answer::P1b { to, ballot, from };
        let own = peer == self.id;
        if self.rules.breaks(Defect::PromiseUnstored) && !own
            || self.rules.breaks(Defect::BallotReused) && own
        {
            self.store(cx, &Record::Promised(ballot));
            return self.answer(cx, answer);
        }
        // A ballot that was promised before is stored again: whether the first is durable yet does
        // not matter then, and it is rare.
        let number = self.store(cx, &Record::Promised(ballot));
        self.acceptor.answers.push_back((number, answer));
    }

    /// Phase 2: accepts a value of `peer`, and says so once that is durable.
    pub(crate) fn accept(
        &mut self,
        cx: &mut Cx<'_>,
        peer: u32,
        ballot: Ballot,
        slot: u64,
        value: Value,
    ) {
        if let Some(value) = self.log.get(slot) {
            let value = value.clone();
            self.tell(cx, peer, &Message::Decide { slot, value });
            return;
        }
        let promised = self.acceptor.promised;
        if ballot < promised && !self.rules.breaks(Defect::StaleAccepted) {
            self.tell(cx, peer, &Message::Nack { promised });
            return;
        }
        self.acceptor.promised = promised.max(ballot);
        self.record_decisions(cx);
        let record = Record::Accepted(slot, ballot, value.clone());
        let number = self.store(cx, &record);
        self.acceptor.accepted.insert(slot, (ballot, value));
        let to = peer;
        let answer = Answer::P2b { to, ballot, slot };
        if self.rules.breaks(Defect::AcceptUnstored) {
            return self.answer(cx, answer);
        }
        self.acceptor.answers.push_back((number, answer));
    }

    pub(crate) fn store(&mut self, cx: &mut Cx<'_>, record: &Record) -> u64 {
        cx.store(STATE, record.to_string().as_bytes())
    }

    /// Gives the answers that waited for records below `next`.
    pub(crate) fn answer_stored(&mut self, cx: &mut Cx<'_>, next: u64) {
        let is_due = |(number, _): &(u64, Answer)| *number < next;
        while !self.exiting && self.acceptor.answers.front().is_some_and(is_due) {
            if let Some((_, answer)) = self.acceptor.answers.pop_front() {
                self.answer(cx, answer);
            }
        }
    }

    fn answer(&mut self, cx: &mut Cx<'_>, answer: Answer) {
        match answer {
            Answer::P1b { to, ballot, from } => {
                let promised = self.acceptor.promised;
                if ballot < promised && !self.rules.breaks(Defect::StalePromised) {
                    self.tell(cx, to, &Message::Nack { promised });
                    return;
                }
                self.tell_accepted(cx, to, ballot, from);
                self.tell(cx, to, &Message::P1b { ballot });
                self.crash_after_p1b(cx);
            }
            // A promise that was made meanwhile changes nothing: this was accepted before it.
            Answer::P2b { to, ballot, slot } => {
                self.tell(cx, to, &Message::P2b { ballot, slot });
                self.crash_after_p2b(cx);
            }
        }
    }

    /// Everything from `from` on that this acceptor knows to be decided or has accepted. With the
    /// P1b behind it, on one link, in one session: who has the P1b has all of it.
    fn tell_accepted(&mut self, cx: &mut Cx<'_>, to: u32, ballot: Ballot, from: u64) {
        for slot in from..self.log.frontier() {
            if let Some(value) = self.log.get(slot) {
                let value = value.clone();
                self.tell(cx, to, &Message::Decide { slot, value });
            }
        }
        if self.rules.breaks(Defect::AcceptedHidden) && to != self.id {
            return;
        }
        let open = self.acceptor.accepted.range(from..);
        let open: Vec<_> = open.map(|(s, a)| (*s, a.clone())).collect();
        for (slot, (at, value)) in open {
            self.tell(
                cx,
                to,
                &Message::Pvalue {
                    ballot,
                    slot,
                    at,
                    value,
                },
            );
        }
    }

    /// Stores which slots were decided since the last time. Nobody waits for that: it spares a
    /// server that restarts to learn them again.
    pub(crate) fn record_decisions(&mut self, cx: &mut Cx<'_>) {
        while self.recorded < self.log.frontier() {
            let slot = self.recorded;
            self.recorded += 1;
            let Some(value) = self.log.get(slot) else {
                continue;
            };
            let record = match self.acceptor.accepted.remove(&slot) {
                Some((_, accepted)) if accepted == *value => Record::Decided(slot),
                Some(_) | None => Record::DecidedAs(slot, value.clone()),
            };
            self.store(cx, &record);
        }
    }

    /// Takes in a record of an earlier life.
    ///
    /// # Panics
    /// If the records contradict each other: another program wrote them.
    pub(crate) fn recover(&mut self, record: Record) {
        let acceptor = &mut self.acceptor;
        let (slot, value) = match record {
            Record::Promised(ballot) => {
                if !self.rules.breaks(Defect::PromiseForgotten) {
                    acceptor.promised = acceptor.promised.max(ballot);
                }
                return;
            }
            Record::Accepted(slot, ballot, value) => {
                if !self.rules.breaks(Defect::PromiseForgotten) {
                    acceptor.promised = acceptor.promised.max(ballot);
                }
                acceptor.accepted.insert(slot, (ballot, value));
                return;
            }
            Record::Decided(slot) => match acceptor.accepted.remove(&slot) {
                Some((_, value)) => (slot, value),
                None => panic!("slot {slot} was decided as accepted, and nothing was accepted"),
            },
            Record::DecidedAs(slot, value) => {
                acceptor.accepted.remove(&slot);
                (slot, value)
            }
        };
        self.log.learn(slot, value);
        self.recorded = self.log.frontier();
    }
}

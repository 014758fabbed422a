//! The leader: its scout, which runs phase 1 once for all open slots, and its commanders, one for
//! each slot that it proposed and that is not decided yet.

use crate::ballot::Ballot;
use crate::command::Step;
use crate::event::PaxosEvent;
use crate::message::Message;
use crate::rules::{Defect, Rules};
use crate::state_machine::StateMachine;
use crate::value::Value;
use crate::{Cx, Paxos};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use chatroom_machine::Time;

/// What a server does beside accepting and learning.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Role<I> {
    /// It follows a leader, or waits for one.
    Follower,
    /// It asks whether a majority would promise it a ballot: the question carries the number.
    Canvassing {
        number: u64,
        yes: BTreeSet<u32>,
    },
    Scouting(Scout),
    Leading(Leader<I>),
}

/// Phase 1 under way.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Scout {
    pub(crate) ballot: Ballot,
    /// The first slot that is open.
    pub(crate) from: u64,
    /// Whether the own promise is durable: only then others are asked, so that no ballot is used
    /// by two lives of a server.
    pub(crate) sent: bool,
    pub(crate) since: Time,
    promised: BTreeSet<u32>,
    /// By slot, what was accepted in which ballot. Of an acceptor that has not promised there may
    /// be a part, which does no harm: more is known of lower ballots than need be.
    accepted: BTreeMap<u64, Accepted>,
}

/// What a scout knows of one slot.
#[derive(Clone, Debug, Hash)]
struct Accepted {
    at: Ballot,
    value: Value,
    /// How many acceptors told of it. Nothing but a defect asks for it.
    told: usize,
}

/// Phase 2 of all open slots.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Leader<I> {
    pub(crate) ballot: Ballot,
    /// The next slot for a command.
    next: u64,
    commanders: BTreeMap<u64, Commander>,
    /// The commands that are proposed and not decided.
    proposed: BTreeSet<I>,
}

/// Phase 2 of one slot.
#[derive(Clone, Debug, Hash)]
struct Commander {
    value: Value,
    /// Who accepted it.
    accepted: Vec<u32>,
}

impl<S: StateMachine, R: Rules> Paxos<S, R> {
    /// How many servers are a majority of all, whether they were ever started or not.
    pub(crate) fn majority(&self) -> usize {
        let servers = self.peers.len();
        match self.rules.breaks(Defect::HalfIsEnough) {
            true => servers.div_ceil(2),
            false => servers / 2 + 1,
        }
    }

    /// Begins phase 1 with a ballot above every one that was heard of.
    pub(crate) fn stand(&mut self, cx: &mut Cx<'_>) {
        self.seen = self.seen.max(self.acceptor.promised.round) + 1;
        let (round, server) = (self.seen, self.id);
        let (ballot, from) = (Ballot { round, server }, self.log.frontier());
        self.role = Role::Scouting(Scout {
            ballot,
            from,
            sent: false,
            since: cx.now(),
            promised: BTreeSet::new(),
            accepted: BTreeMap::new(),
        });
        self.prepare(cx, self.id, ballot, from);
    }

    pub(crate) fn handle_pvalue(&mut self, ballot: Ballot, slot: u64, at: Ballot, value: Value) {
        let lowest = self.rules.breaks(Defect::LowestAdopted);
        let Role::Scouting(scout) = &mut self.role else {
            return;
        };
        if scout.ballot != ballot {
            return;
        }
        let told = Accepted { at, value, told: 0 };
        let known = scout.accepted.entry(slot).or_insert_with(|| told.clone());
        if (at > known.at && !lowest) || (at < known.at && lowest) {
            (known.at, known.value) = (at, told.value);
        }
        known.told += 1;
    }

    pub(crate) fn handle_p1b(&mut self, cx: &mut Cx<'_>, peer: u32, ballot: Ballot) {
        let (own, majority) = (peer == self.id, self.majority());
        let Role::Scouting(scout) = &mut self.role else {
            return;
        };
        if scout.ballot != ballot {
            return;
        }
        scout.promised.insert(peer);
        let from = scout.from;
        let complete = scout.promised.len() >= majority;
        if own && !scout.sent {
            scout.sent = true;
            self.tell_all_or_crash(cx, Step::P1a, &Message::P1a { ballot, from });
        }
        if complete && !self.exiting {
            self.lead(cx, ballot, from);
        }
    }

    /// A majority promised: proposes what may have been decided, fills the holes between, and goes
    /// on with new commands.
    fn lead(&mut self, cx: &mut Cx<'_>, ballot: Ballot, from: u64) {
        let leader = Role::Leading(Leader {
            ballot,
            next: from,
            commanders: BTreeMap::new(),
            proposed: BTreeSet::new(),
        });
        let Role::Scouting(mut scout) = core::mem::replace(&mut self.role, leader) else {
            return;
        };
        cx.emit(PaxosEvent::Leading { ballot });
        if self.rules.breaks(Defect::NothingAdopted) {
            scout
                .accepted
                .values_mut()
                .for_each(|a| a.value = Value::Noop);
        }
        if self.rules.breaks(Defect::HoleOverAccepted) {
            let majority = self.majority();
            let few = scout.accepted.values_mut().filter(|a| a.told < majority);
            few.for_each(|a| a.value = Value::Noop);
        }
        let last = scout.accepted.last_key_value().map(|(slot, _)| *slot);
        if let Some(last) = last {
            for slot in from..=last {
                let accepted = scout.accepted.remove(&slot);
                self.propose(cx, accepted.map_or(Value::Noop, |a| a.value));
            }
        }
        let waiting: Vec<_> = self.pending.values().map(|p| p.command.clone()).collect();
        for command in waiting {
            self.propose(cx, Value::Command(command));
        }
    }

    /// Proposes a value in the next slot that is not known to be decided, unless it is proposed or
    /// applied already. A no-op, and the value of a slot that turns out to be decided, are
    /// proposed for that slot only.
    pub(crate) fn propose(&mut self, cx: &mut Cx<'_>, value: Value) {
        let id = value.command().and_then(S::id);
        let Role::Leading(leader) = &mut self.role else {
            return;
        };
        let slot = leader.next;
        if self.exiting {
            return;
        }
        leader.next += 1;
        let ballot = leader.ballot;
        if self.log.get(slot).is_some() {
            return;
        }
        leader.proposed.extend(id);
        let accepted = Vec::new();
        let commander = Commander {
            value: value.clone(),
            accepted,
        };
        leader.commanders.insert(slot, commander);
        let message = Message::P2a {
            ballot,
            slot,
            value: value.clone(),
        };
        self.tell_all_or_crash(cx, Step::P2a, &message);
        if self.exiting {
            return;
        }
        self.accept(cx, self.id, ballot, slot, value);
        if self.rules.breaks(Defect::DecidedAtOnce) {
            self.decide(cx, slot);
        }
    }

    /// A command is to be decided: proposes it, unless that is under way or done.
    pub(crate) fn propose_command(&mut self, cx: &mut Cx<'_>, command: &str) {
        let Some(id) = S::id(command) else {
            return;
        };
        let Role::Leading(leader) = &mut self.role else {
            return;
        };
        if leader.proposed.contains(&id) || self.applied.contains_key(&id) {
            return;
        }
        while self.log.get(leader.next).is_some() {
            leader.next += 1;
        }
        self.propose(cx, Value::Command(command.into()));
    }

    pub(crate) fn handle_p2b(&mut self, cx: &mut Cx<'_>, peer: u32, ballot: Ballot, slot: u64) {
        let (majority, twice) = (self.majority(), self.rules.breaks(Defect::CountedTwice));
        let Role::Leading(leader) = &mut self.role else {
            return;
        };
        let Some(commander) = leader.commanders.get_mut(&slot) else {
            return;
        };
        if leader.ballot != ballot {
            return;
        }
        if twice || !commander.accepted.contains(&peer) {
            commander.accepted.push(peer);
        }
        if commander.accepted.len() >= majority {
            self.decide(cx, slot);
        }
    }

    /// A slot is decided: tells everybody.
    fn decide(&mut self, cx: &mut Cx<'_>, slot: u64) {
        let Role::Leading(leader) = &self.role else {
            return;
        };
        let Some(commander) = leader.commanders.get(&slot) else {
            return;
        };
        let value = commander.value.clone();
        let message = Message::Decide {
            slot,
            value: value.clone(),
        };
        self.tell_all_or_crash(cx, Step::Decision, &message);
        if !self.exiting {
            self.learn(cx, self.id, slot, value);
        }
    }

    /// A slot is known to be decided: nothing more is to be done for it.
    pub(crate) fn forget_commander(&mut self, slot: u64) {
        if let Role::Leading(leader) = &mut self.role
            && let Some(commander) = leader.commanders.remove(&slot)
            && let Some(id) = commander.value.command().and_then(S::id)
        {
            leader.proposed.remove(&id);
        }
    }

    /// A peer came up: what it was asked may be lost, so it is asked again.
    pub(crate) fn ask_again(&mut self, cx: &mut Cx<'_>, peer: u32) {
        let mut messages = Vec::new();
        match &self.role {
            Role::Follower => {}
            Role::Canvassing { number, .. } => messages.push(Message::Ask(*number)),
            Role::Scouting(scout) => {
                let (ballot, from) = (scout.ballot, scout.from);
                if scout.sent {
                    messages.push(Message::P1a { ballot, from });
                }
            }
            Role::Leading(_) if self.rules.breaks(Defect::NotResent) => {}
            Role::Leading(leader) => {
                let open = leader.commanders.iter();
                let twice = self.rules.breaks(Defect::CountedTwice);
                let open = open.filter(|(_, c)| twice || !c.accepted.contains(&peer));
                messages.extend(open.map(|(slot, commander)| Message::P2a {
                    ballot: leader.ballot,
                    slot: *slot,
                    value: commander.value.clone(),
                }));
            }
        }
        for message in messages {
            self.tell(cx, peer, &message);
        }
    }

    /// Something higher was promised: the own ballot gets nowhere.
    pub(crate) fn handle_nack(&mut self, cx: &mut Cx<'_>, promised: Ballot) {
        self.seen = self.seen.max(promised.round);
        if self.own_ballot().is_some_and(|own| own < promised) {
            self.depose(cx);
        }
    }

    /// The ballot that it leads with or wants to lead with.
    pub(crate) const fn own_ballot(&self) -> Option<Ballot> {
        match &self.role {
            Role::Follower | Role::Canvassing { .. } => None,
            Role::Scouting(scout) => Some(scout.ballot),
            Role::Leading(leader) => Some(leader.ballot),
        }
    }

    /// Leads no more. What was proposed and is not decided is left to the next leader; the servers
    /// whose clients asked for it ask again.
    pub(crate) fn depose(&mut self, cx: &mut Cx<'_>) {
        if let Some(ballot) = self.own_ballot() {
            cx.emit(PaxosEvent::Deposed { ballot });
        }
        self.role = Role::Follower;
    }
}

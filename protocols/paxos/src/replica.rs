//! The replica: what clients of this server wait for, what it learned, and the state machine that
//! applies it.

use crate::event::PaxosEvent;
use crate::leader::Role;
use crate::log::Learned;
use crate::message::Message;
use crate::rules::{Defect, Rules};
use crate::state_machine::StateMachine;
use crate::value::Value;
use crate::{Cx, Paxos};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use chatroom_machine::{Conn, Span, Time};

/// How long a command may wait for its decision before it is sent to the leader again.
const RETRY: Span = Span::from_millis(300);
/// How long the answer to a [`Message::Learn`] may take before another peer is asked.
const ANSWER: Span = Span::from_millis(500);
/// How many slots are told in one answer, and from how many bytes on it is ended.
const RANGE: (u64, usize) = (1_024, 64 << 10);
/// How many commands of its own clients a server keeps waiting.
pub(crate) const PENDING: usize = 1 << 16;

/// A command of a client of this server that is not decided, as far as it knows.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Pending {
    pub(crate) command: Arc<str>,
    /// When it was last sent to somebody.
    sent: Time,
}

impl<S: StateMachine, R: Rules> Paxos<S, R> {
    /// A client wants a command decided.
    pub(crate) fn handle_command(&mut self, cx: &mut Cx<'_>, client: Conn, command: &str) {
        let Some(id) = S::id(command) else {
            return;
        };
        if let Some(slot) = self.applied.get(&id) {
            let line = S::acknowledgement(&id, *slot);
            return self.reply(cx, client, &line);
        }
        if !self.pending.contains_key(&id) && self.pending.len() >= PENDING {
            let reason = format!("{PENDING} commands wait to be decided: try again later");
            return cx.refuse(client, &reason);
        }
        if self.rules.breaks(Defect::AckEarly) {
            let line = S::acknowledgement(&id, self.log.frontier());
            self.reply(cx, client, &line);
        }
        let sent = cx.now();
        let pending = self.pending.entry(id).or_insert_with(|| Pending {
            command: command.into(),
            sent,
        });
        pending.sent = sent;
        let command = pending.command.clone();
        self.request(cx, &command);
    }

    /// Has a command decided: by this server if it leads, else by the leader, else by whom a peer
    /// knows to lead.
    fn request(&mut self, cx: &mut Cx<'_>, command: &str) {
        if matches!(self.role, Role::Leading(_)) {
            return self.propose_command(cx, command);
        }
        if matches!(self.role, Role::Scouting(_)) {
            // It leads in a moment, or retries.
            return;
        }
        let led = |peer: &crate::election::Peer| peer.up && peer.status.led;
        let relay = || self.peers.iter().position(led);
        let to = self.leader().map(|id| id as usize).or_else(relay);
        if let Some(to) = to.and_then(|to| u32::try_from(to).ok()) {
            self.tell(cx, to, &Message::Request { hops: 1, command });
        }
    }

    /// A peer wants a command decided.
    pub(crate) fn handle_request(&mut self, cx: &mut Cx<'_>, peer: u32, hops: u8, command: &str) {
        match self.leader() {
            _ if matches!(self.role, Role::Leading(_)) => self.propose_command(cx, command),
            Some(leader) if leader != peer && hops > 0 => {
                self.tell(cx, leader, &Message::Request { hops: 0, command });
            }
            // It asks again in a while.
            Some(_) | None => {}
        }
    }

    /// There may be a new leader: it is sent all that waits.
    pub(crate) fn request_all(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        self.request_where(cx, now, |_| true);
    }

    fn request_where(&mut self, cx: &mut Cx<'_>, now: Time, which: impl Fn(&Pending) -> bool) {
        if self.rules.breaks(Defect::NeverRetries) {
            return;
        }
        let mut commands = Vec::new();
        for pending in self.pending.values_mut().filter(|p| which(p)) {
            pending.sent = now;
            commands.push(pending.command.clone());
        }
        for command in commands {
            self.request(cx, &command);
        }
    }

    /// What is to be done once in a while.
    pub(crate) fn tick(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        self.request_where(cx, now, |pending| now.since(pending.sent) >= RETRY);
        self.record_decisions(cx);
        if (self.learning).is_some_and(|(_, since)| now.since(since) >= ANSWER) {
            self.learning = None;
        }
        // Who has a session with the leader hears of every decision, unless a link broke.
        if !self.led() || self.log.has_gap() {
            let count = self.peers.len();
            let next = (1..=count).map(|step| (self.polled + step) % count);
            if let Some(peer) = { next }.find(|peer| self.peers[*peer].up) {
                self.polled = peer;
                self.seek(cx, u32::try_from(peer).unwrap_or(0));
            }
        }
    }

    /// Asks a peer for what was decided, unless somebody was asked and has not answered.
    pub(crate) fn seek(&mut self, cx: &mut Cx<'_>, peer: u32) {
        if self.learning.is_some() || self.rules.breaks(Defect::NeverLearns) {
            return;
        }
        self.learning = Some((peer, cx.now()));
        let from = self.log.frontier();
        self.tell(cx, peer, &Message::Learn { from });
    }

    /// A peer asks for what was decided: a piece of it, which it asks to be continued.
    pub(crate) fn handle_learn(&mut self, cx: &mut Cx<'_>, peer: u32, from: u64) {
        let frontier = self.log.frontier();
        let mut bytes = 0;
        for slot in from..frontier.min(from.saturating_add(RANGE.0)) {
            let Some(value) = self.log.get(slot) else {
                break;
            };
            bytes += value.command().map_or(0, str::len);
            let value = value.clone();
            self.tell(cx, peer, &Message::Decide { slot, value });
            if bytes >= RANGE.1 {
                break;
            }
        }
        self.tell(cx, peer, &Message::Tip { frontier });
    }

    pub(crate) fn handle_tip(&mut self, cx: &mut Cx<'_>, peer: u32, frontier: u64) {
        if self.learning.is_some_and(|(asked, _)| asked == peer) {
            self.learning = None;
        }
        self.peers[peer as usize].status.frontier = frontier;
        if frontier > self.log.frontier() {
            self.seek(cx, peer);
        }
    }

    /// `peer` says that a slot was decided.
    pub(crate) fn learn(&mut self, cx: &mut Cx<'_>, peer: u32, slot: u64, value: Value) {
        if self.rules.breaks(Defect::GapSkipped) {
            for gap in self.log.frontier()..slot {
                self.learn_one(cx, peer, gap, Value::Noop);
            }
        }
        self.learn_one(cx, peer, slot, value);
        if self.log.has_gap() && peer != self.id {
            self.seek(cx, peer);
        }
    }

    fn learn_one(&mut self, cx: &mut Cx<'_>, peer: u32, slot: u64, value: Value) {
        match self.log.learn(slot, value.clone()) {
            Learned::Known => return,
            Learned::Differs => {
                cx.emit(PaxosEvent::Disagreement { slot, peer });
                return;
            }
            Learned::New => {}
        }
        if cx.observes() {
            cx.emit(PaxosEvent::Decided { slot, value });
        }
        self.forget_commander(slot);
        while self.next_applied < self.log.frontier() {
            let slot = self.next_applied;
            self.next_applied += 1;
            let Some((id, line)) = self.apply(slot) else {
                continue;
            };
            self.pending.remove(&id);
            self.tell_clients(cx, &line);
        }
    }

    /// Applies a slot. Gives the identity of its command, and what is told of it; nothing if it was
    /// applied before.
    pub(crate) fn apply(&mut self, slot: u64) -> Option<(S::Id, alloc::string::String)> {
        let command = self.log.get(slot)?.command()?;
        let id = S::id(command)?;
        if self.applied.contains_key(&id) && !self.rules.breaks(Defect::AppliedTwice) {
            return None;
        }
        self.machine.apply(command);
        let line = S::acknowledgement(&id, slot);
        self.applied.insert(id.clone(), slot);
        Some((id, line))
    }
}

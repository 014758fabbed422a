//! Multi-Paxos as a protocol on a [`Node`]: servers agree on one log of commands, and each applies
//! it to a [`StateMachine`]. The first one is the lab's replicated [`ChatRoom`].
//!
//! # Parts
//! The roles are those of van Renesse and Altinbuken:
//! - an *acceptor* promises ballots and accepts values. It stores both, and answers once they are
//!   durable; one sync of the disk serves all that queued while the last one ran;
//! - a *leader* has a scout, which runs phase 1 once for all open slots, and a commander for each
//!   slot that it proposed. It does not wait for one slot before it proposes the next;
//! - a *replica* sends the commands of its clients to the leader, again if need be, learns what was
//!   decided, and applies it.
//!
//! Every server has all three. Who leads is told in `election`: one server that a majority
//! sees, for as long as it sees a majority.
//!
//! # What is promised
//! No two servers ever learn different values for one slot. A command is applied once on every
//! server, whatever its clients and servers send again. What was acknowledged is durable on a
//! majority. All of that whatever messages are lost, links break, processes stop or lose their
//! power, as long as a disk keeps what it reported as durable. While a majority of servers is up
//! and connected, commands are decided.
//!
//! # What is unbounded as yet
//! The log, in memory and on the disk: there are neither snapshots nor truncation. The set of the
//! commands' identities. What a leader has proposed is bounded by what waits on all servers.
//!
//! # Sources
//! - Lamport, "The Part-Time Parliament", TOCS 1998, and "Paxos Made Simple", 2001: the protocol.
//! - van Renesse and Altinbuken, "Paxos Made Moderately Complex", ACM Computing Surveys 2015: the
//!   roles.
//! - Liskov and Cowling, "Viewstamped Replication Revisited", 2012: catching up by range.
//! - Ng, Haridi and Carbone, "Omni-Paxos: Breaking the Barriers of Partial Connectivity", EuroSys
//!   2023: a leader has a majority or steps down.
#![no_std]
#![deny(clippy::float_arithmetic)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod acceptor;
mod ballot;
mod chat_room;
mod command;
mod election;
mod event;
mod leader;
mod log;
mod message;
mod record;
mod replica;
mod rules;
mod state_machine;
mod value;

pub use ballot::{Ballot, NoBallot};
pub use chat_room::{ChatRoom, GetChatLog};
pub use chatroom_core::*;
pub use command::{Command, Crash, Step};
pub use event::PaxosEvent;
pub use rules::{Broken, Defect, Rules, Sound};
pub use state_machine::{Answer, Order, StateMachine};
pub use value::Value;

use crate::acceptor::Acceptor;
use crate::election::Peer;
use crate::leader::Role;
use crate::log::Log;
use crate::message::{AROUND, Message, Status};
use crate::record::Record;
use crate::replica::Pending;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use chatroom_machine::{Conn, Span, Time, Volume, VolumeId, VolumeKind};

/// One server of a replicated chat room.
pub type PaxosServer = Node<Paxos<ChatRoom>>;
/// Who such a server is and how it behaves.
pub type Config = chatroom_core::Config<Options>;
/// What such a server tells people, metrics and checkers.
pub type News = chatroom_core::News<PaxosEvent>;

/// The one volume: everything that an acceptor must not forget.
pub(crate) const STATE: VolumeId = VolumeId(0);
/// How often a server looks after what waits, while anything does.
const TICK: Span = Span::from_millis(100);
/// Room for white space around a command: it counts to the line, not to the command.
const SLACK: usize = 64;

/// How replies to clients are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Framing {
    /// A newline behind each.
    #[default]
    Lines,
    /// The length before each, in decimal and with a `-`: `5-ack 1`.
    Length,
}

/// What is configured of the protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options<R = Sound> {
    /// How replies are told apart.
    pub framing: Framing,
    /// The rules: [`Sound`] but for tests.
    pub rules: R,
}

/// One server of a replicated log.
#[derive(Clone, Debug, Hash)]
pub struct Paxos<S: StateMachine, R = Sound> {
    id: u32,
    framing: Framing,
    rules: R,
    /// By id. The own entry is never up.
    peers: Vec<Peer>,
    acceptor: Acceptor,
    role: Role<S::Id>,
    /// The highest round that was heard of.
    seen: u64,
    /// How often it asked whether it may lead.
    asked: u64,
    leaderless_since: Option<Time>,
    /// Until when it does not try to lead again.
    stands_after: Time,
    /// What it told its peers of itself.
    announced: Status,
    log: Log,
    /// Slots below it are stored as decided.
    recorded: u64,
    machine: S,
    /// The first slot that is not applied.
    next_applied: u64,
    /// The commands that were applied, and where.
    applied: BTreeMap<S::Id, u64>,
    /// The commands of its own clients that wait.
    pending: BTreeMap<S::Id, Pending>,
    /// Who was asked for what it has missed, and when.
    learning: Option<(u32, Time)>,
    /// Who was asked last without a reason.
    polled: usize,
    ticks_at: Option<Time>,
    /// Where it is to crash.
    armed: Vec<Crash>,
    /// Whether it ends as soon as all is sent: nothing more happens.
    exiting: bool,
}

pub(crate) type Cx<'a> = Context<'a, PaxosEvent>;

impl<S: StateMachine, R: Rules> Paxos<S, R> {
    /// The state machine, as far as this server has applied the log.
    #[must_use]
    pub const fn machine(&self) -> &S {
        &self.machine
    }

    /// The first slot that this server does not know to be decided.
    #[must_use]
    pub const fn frontier(&self) -> u64 {
        self.log.frontier()
    }

    /// The ballot with which this server leads, if it does.
    #[must_use]
    pub const fn leads(&self) -> Option<Ballot> {
        match &self.role {
            Role::Leading(leader) => Some(leader.ballot),
            Role::Follower | Role::Canvassing { .. } | Role::Scouting(_) => None,
        }
    }

    /// Tells one server something; itself at once.
    pub(crate) fn tell(&mut self, cx: &mut Cx<'_>, to: u32, message: &Message<'_>) {
        if self.exiting {
            return;
        }
        if to == self.id {
            self.handle(cx, to, message.clone());
        } else {
            cx.send(to, message.to_string().as_bytes());
        }
    }

    /// Tells every peer that is up something.
    pub(crate) fn tell_all(&self, cx: &mut Cx<'_>, message: &Message<'_>) {
        if !self.exiting {
            cx.broadcast(message.to_string().as_bytes());
        }
    }

    /// Tells every peer that is up something; or some of them, if this is where it is to crash.
    pub(crate) fn tell_all_or_crash(&mut self, cx: &mut Cx<'_>, step: Step, message: &Message<'_>) {
        let armed = self.armed.iter().find_map(|crash| match crash {
            Crash::Sending(at, ids) if *at == step => Some(ids.clone()),
            Crash::Sending(..) | Crash::AfterP1b | Crash::AfterP2b => None,
        });
        let Some(ids) = armed else {
            return self.tell_all(cx, message);
        };
        let own = self.id;
        for id in ids.into_iter().filter(|id| *id != own) {
            self.tell(cx, id, message);
        }
        self.exit(cx);
    }

    /// Ends as soon as all was sent; does nothing more until then.
    fn exit(&mut self, cx: &mut Cx<'_>) {
        self.exiting = true;
        cx.shut_down();
    }

    pub(crate) fn crash_after_p1b(&mut self, cx: &mut Cx<'_>) {
        if self.armed.contains(&Crash::AfterP1b) {
            self.exit(cx);
        }
    }

    pub(crate) fn crash_after_p2b(&mut self, cx: &mut Cx<'_>) {
        if self.armed.contains(&Crash::AfterP2b) {
            self.exit(cx);
        }
    }

    /// What comes before and after a reply of so many bytes.
    fn frame(&self, length: u64) -> (String, &'static [u8]) {
        match self.framing {
            Framing::Lines => (String::new(), b"\n"),
            Framing::Length => (format!("{length}-"), b""),
        }
    }

    pub(crate) fn reply(&self, cx: &mut Cx<'_>, client: Conn, text: &str) {
        let (before, after) = self.frame(text.len() as u64);
        cx.reply(
            client,
            &[before.as_bytes(), text.as_bytes(), after].concat(),
        );
    }

    /// Tells every client.
    pub(crate) fn tell_clients(&self, cx: &mut Cx<'_>, text: &str) {
        let (before, after) = self.frame(text.len() as u64);
        cx.announce(&[before.as_bytes(), text.as_bytes(), after].concat());
    }

    /// A step at which this server is to crash may be one of a leader: so that it comes, the server
    /// stands before it has its client's next command decided, and keeps that to itself until then.
    fn stand_to_crash(&mut self, cx: &mut Cx<'_>, command: &str) {
        let leads = matches!(self.role, Role::Leading(_));
        let stands = self.armed.iter().any(|crash| match crash {
            Crash::AfterP1b | Crash::AfterP2b => false,
            Crash::Sending(Step::P1a, _) => true,
            Crash::Sending(Step::P2a | Step::Decision, _) => !leads,
        });
        let is_new = S::id(command).is_some_and(|id| !self.applied.contains_key(&id));
        if stands && is_new && !matches!(self.role, Role::Scouting(_)) {
            self.stand(cx);
        }
    }

    /// Does what a message asks for, be it a peer's or an own one.
    fn handle(&mut self, cx: &mut Cx<'_>, peer: u32, message: Message<'_>) {
        match message {
            Message::Status(status) => self.handle_status(cx, peer, status),
            Message::Ask(number) => self.handle_ask(cx, peer, number),
            Message::Yes(number) => self.handle_yes(cx, peer, number),
            Message::P1a { ballot, from } => {
                self.seen = self.seen.max(ballot.round);
                self.prepare(cx, peer, ballot, from);
            }
            Message::Pvalue {
                ballot,
                slot,
                at,
                value,
            } => self.handle_pvalue(ballot, slot, at, value),
            Message::P1b { ballot } => self.handle_p1b(cx, peer, ballot),
            Message::P2a {
                ballot,
                slot,
                value,
            } => {
                self.seen = self.seen.max(ballot.round);
                self.accept(cx, peer, ballot, slot, value);
            }
            Message::P2b { ballot, slot } => self.handle_p2b(cx, peer, ballot, slot),
            Message::Nack { promised } => self.handle_nack(cx, promised),
            Message::Decide { slot, value } => self.learn(cx, peer, slot, value),
            Message::Learn { from } => self.handle_learn(cx, peer, from),
            Message::Tip { frontier } => self.handle_tip(cx, peer, frontier),
            Message::Request { hops, command } => self.handle_request(cx, peer, hops, command),
        }
    }

    /// At the end of each call: looks whether to lead, tells how it stands, and sees to the timer.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        if self.exiting {
            return;
        }
        self.consider(cx);
        self.announce(cx);
        let waits = !self.pending.is_empty()
            || !self.led()
            || self.log.has_gap()
            || self.learning.is_some()
            || self.recorded < self.log.frontier();
        if waits && self.ticks_at.is_none() {
            self.ticks_at = Some(cx.now() + TICK);
        }
    }
}

/// Whether a message names a ballot of a server that there is, and commands of the service.
fn check<S: StateMachine>(message: &Message<'_>, servers: usize) -> Result<(), Why> {
    let (ballot, command) = match message {
        Message::Status(status) => (status.leading, None),
        Message::P1a { ballot, .. } | Message::P1b { ballot } | Message::P2b { ballot, .. } => {
            (Some(*ballot), None)
        }
        Message::Nack { promised } => (Some(*promised), None),
        Message::Pvalue { ballot, value, .. } | Message::P2a { ballot, value, .. } => {
            (Some(*ballot), value.command())
        }
        Message::Decide { value, .. } => (None, value.command()),
        Message::Request { command, .. } => (None, Some(*command)),
        Message::Ask(_) | Message::Yes(_) | Message::Learn { .. } | Message::Tip { .. } => {
            (None, None)
        }
    };
    if ballot.is_some_and(|ballot| ballot.server as usize >= servers) {
        return Err(Why::OutsideGrid);
    }
    match command {
        Some(command) if S::id(command).is_none() => Err(Why::Malformed),
        Some(_) | None => Ok(()),
    }
}

impl<S: StateMachine, R: Rules> Protocol for Paxos<S, R> {
    const WORD: &'static str = "paxos";
    const VOLUMES: &'static [Volume] = &[Volume {
        name: "paxos",
        kind: VolumeKind::Log,
    }];

    type Event = PaxosEvent;
    type Options = Options<R>;
    type Command<'a> = Command<'a, S::Query<'a>>;

    fn new(config: &chatroom_core::Config<Options<R>>) -> Self {
        Self {
            id: config.id,
            framing: config.protocol.framing,
            rules: config.protocol.rules.clone(),
            peers: (0..config.servers).map(|_| Peer::default()).collect(),
            acceptor: Acceptor::default(),
            role: Role::Follower,
            seen: 0,
            asked: 0,
            leaderless_since: None,
            stands_after: Time::ZERO,
            announced: Status::default(),
            log: Log::default(),
            recorded: 0,
            machine: S::default(),
            next_applied: 0,
            applied: BTreeMap::new(),
            pending: BTreeMap::new(),
            learning: None,
            polled: 0,
            ticks_at: None,
            armed: Vec::new(),
            exiting: false,
        }
    }

    fn longest_command(limits: &Limits) -> usize {
        limits.text + SLACK
    }

    fn longest_message() -> usize {
        AROUND + 1
    }

    fn parse<'a>(limits: &Limits, line: &'a str) -> Result<Self::Command<'a>, String> {
        command::parse::<S>(line, limits.text.saturating_sub(AROUND))
    }

    fn recovered(&mut self, _: VolumeId, _: u64, record: &[u8]) {
        self.recover(Record::read(record));
    }

    fn start(&mut self, cx: &mut Cx<'_>) {
        while self.next_applied < self.log.frontier() {
            // Nobody is there to be told.
            self.apply(self.next_applied);
            self.next_applied += 1;
        }
        self.settle(cx);
    }

    fn stored(&mut self, cx: &mut Cx<'_>, _: VolumeId, next: u64) {
        self.answer_stored(cx, next);
        self.settle(cx);
    }

    fn peer_up(&mut self, cx: &mut Cx<'_>, peer: u32) {
        if self.exiting {
            return;
        }
        self.peers[peer as usize] = Peer {
            up: true,
            status: Status::default(),
        };
        let status = self.status();
        self.tell(cx, peer, &Message::Status(status));
        self.ask_again(cx, peer);
        self.settle(cx);
    }

    fn peer_down(&mut self, cx: &mut Cx<'_>, peer: u32) {
        self.peers[peer as usize] = Peer::default();
        if self.learning.is_some_and(|(asked, _)| asked == peer) {
            self.learning = None;
        }
        self.settle(cx);
    }

    fn message(
        &mut self,
        cx: &mut Cx<'_>,
        peer: u32,
        _: Conn,
        body: &[u8],
    ) -> Result<Receipt, Why> {
        let message = message::parse(body)?;
        check::<S>(&message, self.peers.len())?;
        if !self.exiting {
            self.handle(cx, peer, message);
            self.settle(cx);
        }
        Ok(Receipt::Kept)
    }

    fn command(&mut self, cx: &mut Cx<'_>, client: Conn, command: Self::Command<'_>) {
        if self.exiting {
            return;
        }
        match command {
            Command::Crash => return cx.crash(),
            Command::Arm(crash) => self.armed.push(crash),
            Command::Order(Order::Query(query)) => {
                let answer = self.machine.answer(&query);
                let length = answer.head.len() as u64 + (answer.to - answer.from);
                let (before, after) = self.frame(length);
                cx.reply(client, format!("{before}{}", answer.head).as_bytes());
                cx.reply_shared(client, answer.from, answer.to);
                cx.reply(client, after);
            }
            Command::Order(Order::Command(command)) => {
                self.stand_to_crash(cx, command);
                self.handle_command(cx, client, command);
            }
        }
        self.settle(cx);
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) {
        self.ticks_at = None;
        if self.exiting {
            return;
        }
        self.tick(cx);
        self.settle(cx);
    }

    fn next_timeout(&self) -> Option<Time> {
        self.ticks_at
    }

    fn shared(&self, from: u64, to: u64) -> &[u8] {
        self.machine.shared(from, to)
    }
}

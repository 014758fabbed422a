//! The workload on our engine: a small machine, not the chat.

use crate::Run;
use crate::workload::{Lines, MAX_LATENCY, MIN_LATENCY, NODES, PERIOD, expected, line, rounds};
use chatroom_machine::{
    Action, Conn, Dialled, Door, Halt, Level, Loss, Machine, Remote, Misuse, Notice, Place, Refused,
    Timeout,
};
use chatroom_machine::{Span, Time};
use chatroom_sim::engine::{Birth, World, run};
use chatroom_sim::names::Host;
use chatroom_sim::observer::{Fact, Observer, Scene, Violation};
use chatroom_sim::plan::{Change, Plan};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

pub(crate) fn span(duration: Duration) -> Span {
    Span::from_micros(u64::try_from(duration.as_micros()).expect("a short time"))
}

/// Five hosts on the workload's network for a while.
pub(crate) fn plan(end: Duration) -> Plan {
    let nodes = u16::try_from(NODES).expect("a small grid");
    let mut plan = Plan::new(1, nodes, Time::ZERO + span(end));
    plan.net.latency = span(MIN_LATENCY);
    plan.net.jitter = span(MAX_LATENCY - MIN_LATENCY);
    for host in 0..nodes {
        plan.push(Time::ZERO, Change::Start(Host(host)));
    }
    plan
}

/// It has nothing to tell.
#[derive(Debug)]
enum Nothing {}

impl fmt::Display for Nothing {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl Notice for Nothing {
    fn level(&self) -> Level {
        match *self {}
    }
}

#[derive(Default)]
struct Stream {
    owed: Vec<u8>,
    lines: Lines,
}

/// A node. Nothing goes wrong here, so a connection's slot is its whole name.
struct Node {
    me: usize,
    rounds: u64,
    round: u64,
    tick: Time,
    streams: Vec<Stream>,
    actions: VecDeque<Action<Nothing>>,
}

impl Node {
    fn conn(slot: usize) -> Conn {
        Conn::new(u32::try_from(slot).expect("a small grid"), 0)
    }

    fn begin(&mut self) -> Conn {
        self.streams.push(Stream::default());
        Self::conn(self.streams.len() - 1)
    }
}

impl Machine for Node {
    type Notice = Nothing;

    fn handle_start(&mut self, now: Time) {
        // By then all are connected.
        self.tick = now + span(PERIOD);
        for place in (0..).take(self.me) {
            let conn = self.begin();
            let to = Place(place);
            self.actions.push_back(Action::Dial { conn, to });
        }
    }

    fn handle_accepted(&mut self, _: Time, _: Door, _: Remote) -> Result<Conn, Refused> {
        Ok(self.begin())
    }

    fn handle_starved(&mut self, _: Time, _: Door) {}

    fn handle_dialled(&mut self, _: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse> {
        assert_eq!(outcome, Dialled::Connected, "{conn}");
        Ok(())
    }

    fn handle_bytes(&mut self, _: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        self.streams[conn.slot()].lines.take(bytes);
        Ok(())
    }

    fn handle_sent(&mut self, _: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        self.streams[conn.slot()].owed.drain(..count);
        Ok(())
    }

    fn handle_lost(&mut self, _: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        panic!("{conn} was lost: {loss:?}");
    }

    fn handle_timeout(&mut self, now: Time) {
        if now < self.tick || self.round == self.rounds {
            return;
        }
        let line = line(self.me, self.round);
        self.round += 1;
        self.tick = self.tick + span(PERIOD);
        assert_eq!(self.streams.len(), NODES - 1, "a full mesh");
        for (slot, stream) in self.streams.iter_mut().enumerate() {
            if stream.owed.is_empty() {
                self.actions.push_back(Action::Send(Self::conn(slot)));
            }
            stream.owed.extend_from_slice(line.as_bytes());
        }
    }

    fn handle_shutdown(&mut self, _: Time) {
        self.actions.push_back(Action::Halt(Halt::Done));
    }

    fn poll(&mut self) -> Option<Action<Nothing>> {
        self.actions.pop_front()
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        let owed = &self.streams[conn.slot()].owed;
        owed.get(skip..).unwrap_or(&[])
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        (self.round < self.rounds).then_some(Timeout {
            at: self.tick,
            why: "tick",
            judges_at: None,
        })
    }
}

struct Mesh {
    rounds: u64,
}

impl World for Mesh {
    type Machine = Node;

    fn spawn(&self, birth: &Birth) -> Node {
        Node {
            me: birth.host.index(),
            rounds: self.rounds,
            round: 0,
            tick: Time::ZERO,
            streams: Vec::new(),
            actions: VecDeque::new(),
        }
    }
}

/// Asks the nodes in the end how many lines they read.
struct Count(u64);

impl Observer<Node> for Count {
    fn see(&mut self, scene: &Scene<'_, Node>, fact: &Fact<'_, Nothing>) -> Result<(), Violation> {
        if let Fact::Over = fact {
            let nodes = (0..).map_while(|host| scene.machine(Host(host)));
            let streams = nodes.flat_map(|node| &node.streams);
            self.0 = streams.map(|stream| stream.lines.count).sum();
        }
        Ok(())
    }
}

pub(crate) fn engine(seconds: u64) -> Run {
    let world = Mesh {
        rounds: rounds(seconds),
    };
    let end = Duration::from_secs(seconds) + PERIOD + MAX_LATENCY;
    let outcome = run(&world, &plan(end), Count(0));
    assert_eq!(outcome.violation, None);
    assert_eq!(outcome.observer.0, expected(seconds));
    Run {
        simulated: end,
        lines: outcome.observer.0,
        events: Some(outcome.events),
    }
}

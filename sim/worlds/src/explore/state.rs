//! One state of the model: the servers, what is in flight between them, what may still happen, and
//! what the checkers remember.

use super::step::{Step, Wire};
use super::{Bounds, Explorable};
use chatroom_machine::{Checked, Conn, Loss, Time, VolumeId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// A broadcast: the server, its life, the number in that life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id {
    pub(super) host: u8,
    pub(super) life: u8,
    pub(super) number: u8,
}

/// A running server.
#[derive(Clone)]
pub(super) struct Live<M> {
    pub(super) machine: Checked<M>,
    /// Its own clock.
    pub(super) now: Time,
    /// Its handles that are in use, with the connection and its side.
    pub(super) conns: BTreeMap<Conn, (Wire, u8)>,
    /// Those that are not read from. The machine knows them too, so they are not hashed.
    pub(super) paused: BTreeSet<Conn>,
    pub(super) master: Conn,
    /// By server: the connection of the session.
    pub(super) sessions: Vec<Option<Wire>>,
    /// What a `get` answers, and what that means.
    pub(super) reply: Vec<u8>,
    pub(super) log: Vec<Id>,
    pub(super) fingerprint: u64,
}

/// A server through its lives.
#[derive(Clone)]
pub(super) struct Node<M> {
    /// How many broadcasts each life made so far.
    pub(super) lives: Vec<u8>,
    pub(super) live: Option<Rc<Live<M>>>,
    /// By volume: what is durable. Empty for servers without volumes.
    pub(super) disk: Vec<Stored>,
}

/// What is durable of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Stored {
    /// How many records there were before those that are left.
    pub(super) gone: u64,
    pub(super) records: VecDeque<Rc<[u8]>>,
}

impl Stored {
    /// The number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.gone + self.records.len() as u64
    }

    /// Drops the first records, up to a number.
    pub(super) fn discard(&mut self, through: u64) {
        while self.gone <= through && self.records.pop_front().is_some() {
            self.gone += 1;
        }
    }
}

impl<M> Node<M> {
    /// The number of the present life.
    pub(super) const fn life(&self) -> u8 {
        self.lives.len().saturating_sub(1) as u8
    }
}

/// One thing in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Item {
    /// The connection, on its way to be accepted.
    Open,
    /// A line, with its newline.
    Line(Rc<[u8]>),
}

/// How a stream goes on behind what is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    Flowing,
    /// It ends, and the reader is to be told so.
    Ending(Loss),
    /// The reader was told.
    Over,
}

/// What is in flight to one side.
#[derive(Clone, Debug)]
pub(super) struct Pipe {
    pub(super) items: VecDeque<Item>,
    pub(super) tail: Tail,
    /// How many bytes went in and came out: for traces only.
    pub(super) sent: u64,
    pub(super) read: u64,
}

/// One side of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct End {
    pub(super) life: u8,
    /// Whether its kernel still holds it.
    pub(super) open: bool,
    pub(super) conn: Option<Conn>,
    /// How many broadcasts its life had made when the session began here; none before it did.
    pub(super) first: Option<u8>,
    /// Whether the session stands.
    pub(super) up: bool,
    /// How many messages were delivered here.
    pub(super) got: u8,
}

/// A connection. Side 0 dialled.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) wire: Wire,
    pub(super) dialling: bool,
    pub(super) ends: [End; 2],
    /// By the side that reads.
    pub(super) pipes: [Pipe; 2],
}

impl Link {
    pub(super) fn new(wire: Wire, life: u8) -> Self {
        let end = |open| End {
            life,
            open,
            conn: None,
            first: None,
            up: false,
            got: 0,
        };
        let pipe = || Pipe {
            items: VecDeque::new(),
            tail: Tail::Flowing,
            sent: 0,
            read: 0,
        };
        Self {
            wire,
            dialling: true,
            ends: [end(true), end(false)],
            pipes: [pipe(), pipe()],
        }
    }

    /// One side lets go: what is in flight to it is lost, and the other side will read an end.
    pub(super) fn close(&mut self, side: usize) {
        self.ends[side].open = false;
        self.ends[side].up = false;
        self.pipes[side].items.clear();
        self.pipes[side].tail = Tail::Over;
        let out = &mut self.pipes[1 - side];
        if out.tail == Tail::Flowing {
            out.tail = Tail::Ending(Loss::Finished);
        }
    }

    pub(super) fn push(&mut self, from: usize, item: Item) {
        let open = self.ends[1 - from].open;
        let pipe = &mut self.pipes[1 - from];
        if let Item::Line(line) = &item {
            pipe.sent += line.len() as u64;
        }
        if open && pipe.tail == Tail::Flowing {
            pipe.items.push_back(item);
        }
    }

    fn hash(&self, into: &mut DefaultHasher) {
        (self.wire, self.dialling, &self.ends).hash(into);
        for pipe in &self.pipes {
            pipe.items.hash(into);
            let tail = match pipe.tail {
                Tail::Flowing => 0,
                Tail::Ending(Loss::Finished) => 1,
                Tail::Ending(Loss::Broken) => 2,
                Tail::Over => 3_u8,
            };
            tail.hash(into);
        }
    }
}

/// How often each optional thing may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) messages: u8,
    pub(super) crashes: u8,
    pub(super) restarts: u8,
    pub(super) losses: u8,
}

/// A state of the model.
#[derive(Clone)]
pub(super) struct State<M> {
    pub(super) nodes: Vec<Node<M>>,
    /// Ascending by wire.
    pub(super) links: Vec<Rc<Link>>,
    /// By dialler and dialled: how many dials there were, and whether one was refused since either
    /// of them last started.
    pub(super) dials: Vec<(u8, bool)>,
    pub(super) budget: Budget,
}

impl<M: Explorable> State<M> {
    /// Nobody was started yet.
    pub(super) fn new(bounds: &Bounds) -> Self {
        let servers = usize::from(bounds.servers);
        let node = Node {
            lives: Vec::new(),
            live: None,
            disk: Vec::new(),
        };
        Self {
            nodes: vec![node; servers],
            links: Vec::new(),
            dials: vec![(0, false); servers * servers],
            budget: Budget {
                messages: bounds.messages,
                crashes: bounds.crashes,
                restarts: bounds.restarts,
                losses: bounds.losses,
            },
        }
    }

    pub(super) fn live(&self, host: u8) -> Option<&Live<M>> {
        self.nodes[usize::from(host)].live.as_deref()
    }

    pub(super) fn find(&self, wire: Wire) -> Option<usize> {
        self.links.binary_search_by_key(&wire, |l| l.wire).ok()
    }

    pub(super) const fn pair(&self, from: u8, to: u8) -> usize {
        from as usize * self.nodes.len() + to as usize
    }

    /// Forgets connections that nobody holds any more.
    pub(super) fn sweep(&mut self) {
        self.links.retain(|link| link.ends.iter().any(|e| e.open));
    }

    fn is_paused(&self, host: u8, link: &Link, side: usize) -> bool {
        let conn = link.ends[side].conn;
        let live = self.live(host);
        live.is_some_and(|live| conn.is_some_and(|conn| live.paused.contains(&conn)))
    }

    /// Everything that can happen now, ascending.
    pub(super) fn enabled(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut broken = Vec::new();
        for link in &self.links {
            let wire = link.wire;
            if link.dialling {
                let refused = self.dials[self.pair(wire.from, wire.to)].1;
                if self.live(wire.to).is_some() || !refused {
                    steps.push(Step::Dialled(wire));
                }
                continue;
            }
            for (side, pipe) in (0..).zip(&link.pipes) {
                if !link.ends[usize::from(side)].open {
                    continue;
                }
                let ending = matches!(pipe.tail, Tail::Ending(_));
                // Of one that is not read from, only a break is noticed.
                let paused = self.is_paused(wire.host(side.into()), link, side.into());
                let breaks = pipe.items.is_empty() && pipe.tail == Tail::Ending(Loss::Broken);
                if (!paused && (!pipe.items.is_empty() || ending)) || breaks {
                    steps.push(Step::Deliver(wire, side));
                }
                // What was not accepted yet is accepted before its end is seen.
                let front = pipe.items.front();
                if ending && let Some(Item::Line(line)) = front {
                    steps.push(Step::Cut(wire, side));
                    if line.len() > 2 && !paused {
                        steps.push(Step::Tear(wire, side));
                    }
                }
            }
            let flows = |pipe: &Pipe| pipe.tail == Tail::Flowing;
            if self.budget.losses > 0 && link.pipes.iter().all(flows) {
                broken.push(Step::Break(wire));
            }
        }
        for (host, node) in (0..).zip(&self.nodes) {
            match &node.live {
                Some(live) => {
                    let due = live.machine.poll_timeout();
                    if due.is_some_and(|due| due.at < super::act::HORIZON) {
                        steps.push(Step::Tick(host));
                    }
                    for (volume, _) in (0..).zip(live.machine.volumes()) {
                        if live.machine.unsaved(VolumeId(volume), 0).is_some() {
                            steps.push(Step::Store(host, volume));
                        }
                    }
                    if self.budget.messages > 0 {
                        steps.push(Step::Broadcast(host));
                    }
                    if self.budget.crashes > 0 {
                        steps.push(Step::Crash(host));
                    }
                }
                None => {
                    if node.lives.is_empty() || self.budget.restarts > 0 {
                        steps.push(Step::Start(host));
                    }
                }
            }
        }
        steps.append(&mut broken);
        steps.sort_unstable();
        steps
    }

    /// What tells this state from others, but for a chance of 2^-64 a pair.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for node in &self.nodes {
            node.lives.hash(&mut hasher);
            node.live.as_ref().map(|l| l.fingerprint).hash(&mut hasher);
            if !node.disk.is_empty() {
                node.disk.hash(&mut hasher);
            }
        }
        for link in &self.links {
            link.hash(&mut hasher);
        }
        (&self.dials, self.budget).hash(&mut hasher);
        hasher.finish()
    }
}

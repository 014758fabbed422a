//! A plan: everything that one run of the simulator does, as plain data. It can be printed, saved,
//! read back, edited by hand and shrunk.

mod disk;
mod limits;
mod text;

pub use disk::{DiskFault, DiskTrouble, disk_trouble};
pub use limits::{
    MAX_EVENTS, MAX_HOSTS, MAX_MOMENT, MAX_NOTE, MAX_NOTES, MAX_SAY, MAX_TEXT, PlanError, fault,
};
pub use text::{excerpt, wrong};

use crate::names::{Client, Host};
use chatroom_machine::Door;
use chatroom_machine::{Span, Time};
use std::collections::BTreeMap;

/// Everything that one run does.
///
/// Any list of events is a valid plan: one that makes no sense when its time comes (a second start,
/// the death of a dead host) does nothing. That is what lets a shrinker take out any of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What every choice is drawn from that is not written in the plan.
    pub seed: u64,
    /// How many hosts there are; 1 to [`MAX_HOSTS`].
    pub hosts: u16,
    /// When the parts of the run begin and end.
    pub phases: Phases,
    /// How the network behaves when nothing is wrong with it.
    pub net: Net,
    /// What the protocol's own part of the simulator wants to remember (a profile, a variant):
    /// the engine doesn't look at them. Keys are words, values are the rest of a line.
    pub notes: BTreeMap<String, String>,
    /// What happens. Those of one moment happen in the order of the list.
    pub events: Vec<Event>,
}

/// The moments that divide a run. Only [`heal`](Phases::heal) and [`end`](Phases::end) mean
/// something to the engine; all of them are there for judges and generators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// Until then the grid comes up undisturbed.
    pub warm_up: Time,
    /// Until then things go wrong.
    pub trouble: Time,
    /// At this moment the engine ends every fault of the network and resumes paused hosts, as
    /// [`Change::Heal`] does. Dead hosts stay dead: starting them is the plan's work.
    pub heal: Time,
    /// The end of the run, and the deadline of what must come true in the end.
    pub end: Time,
}

/// How the network behaves by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    /// The shortest way from host to host; at least 1 µs.
    pub latency: Span,
    /// What a chunk may need on top, drawn evenly.
    pub jitter: Span,
    /// The same pair for clients.
    pub client_latency: Span,
    /// See [`client_latency`](Net::client_latency).
    pub client_jitter: Span,
    /// Of 1000 writes, how many fall apart into chunks that travel on their own.
    pub split: u32,
    /// Of 1000 writes, how many the transport takes only a part of at once.
    pub short_write: u32,
    /// How many bytes fit between a writer and the reader's machine: both kernels' buffers
    /// together, one direction of one connection; at least 1.
    pub buffer: u32,
    /// The most a machine is handed at once; at least 1.
    pub read: u32,
    /// How long a connection may need to send again what a cut swallowed, once it is mended.
    pub resend: Span,
    /// How late a timer may fire.
    pub timer_late: Span,
    /// How many connections may wait to be accepted at one door.
    pub backlog: u32,
}

/// Something that happens at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Time,
    /// What.
    pub change: Change,
}

/// What may happen from outside: to hosts, to the network between them, by clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A host that is down begins its next life.
    Start(Host),
    /// A host dies at once. Of the bytes that it sent and that are still under way, any prefix
    /// arrives, and then its connections end by the fate.
    Kill(Host, Fate),
    /// A host stands still (SIGSTOP): its kernel goes on, its machine hears nothing.
    Pause(Host),
    /// A paused host goes on: first with what has come in, then with its timers, late.
    Resume(Host),
    /// A host is asked to end in good order (SIGTERM).
    Stop(Host),
    /// A host's clock jumps ahead.
    Jump(Host, Span),
    /// A host's clock runs fast (positive) or slow by parts per million, at most ±500,000.
    Drift(Host, i32),
    /// A host can't accept connections for want of descriptors, while the flag is on.
    Starve(Host, bool),
    /// Nothing passes from one host to the other; TCP sends it again after
    /// [`Mend`](Change::Mend).
    Cut(Way),
    /// A cut ends.
    Mend(Way),
    /// What passes from one host to the other piles up until [`Unclog`](Change::Unclog).
    Clog(Way),
    /// A clog ends: all at once comes through what had piled up.
    Unclog(Way),
    /// The way takes longer by this much; zero ends it.
    Lag(Way, Span),
    /// How dials that go this way fare from now on.
    Connects(Way, Connects),
    /// All connections between the two hosts break; both sides are told.
    Reset(Way),
    /// All connections between the two hosts break; only `to` is told, and what `from` sends
    /// on them vanishes.
    HalfOpen(Way),
    /// Of 1000 chunks that go this way, so many have a bit flipped; zero ends it. Only for tests
    /// of robustness: TCP's checksum keeps such damage rare.
    Damage(Way, u32),
    /// Connections that go this way hold only so many bytes from now on; zero stands for the
    /// default. What is already under way is not lost.
    Buffer(Way, u32),
    /// Something happens to a host's disk.
    Disk(Host, DiskFault),
    /// Every fault of the network ends, and paused hosts go on; clocks run true, disks are quick
    /// and have room.
    Heal,
    /// A client connects to a door of its host. One that is connected leaves first.
    Open(Client, Door),
    /// A client sends bytes. If it is not connected, nothing happens.
    Say(Client, Vec<u8>),
    /// A client says that it will send no more (a FIN), and reads on until the host closes.
    Finish(Client),
    /// A client closes its connection, reading nothing more.
    Leave(Client),
    /// A client reads nothing from now on, while the flag is on: back-pressure.
    Deaf(Client, bool),
}

/// A direction between two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Way {
    /// Whence.
    pub from: Host,
    /// Whither.
    pub to: Host,
    /// Whether the opposite direction is meant too.
    pub both: bool,
}

/// What others see of the connections of a host that died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// They end in order (the kernel closes them).
    Fin,
    /// They are reset.
    Rst,
    /// Nothing, not even an answer to a dial: the cable is out. The next life answers again.
    Silence,
}

/// How dials fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Connects {
    /// As they ought to.
    Work,
    /// They are refused.
    Refused,
    /// They get no answer.
    Hang,
}

impl Default for Net {
    /// A quiet local network: 1 to 5 ms, nothing split, 64 KiB of buffers.
    fn default() -> Self {
        Self {
            latency: Span::from_micros(1000),
            jitter: Span::from_micros(4000),
            client_latency: Span::from_micros(50),
            client_jitter: Span::from_micros(50),
            split: 0,
            short_write: 0,
            buffer: 65_536,
            read: 16_384,
            resend: Span::from_micros(200_000),
            timer_late: Span::ZERO,
            backlog: 128,
        }
    }
}

impl Plan {
    /// A plan for `hosts` hosts in which nothing happens until it ends after `end`.
    #[must_use]
    pub fn new(seed: u64, hosts: u16, end: Time) -> Self {
        Self {
            seed,
            hosts,
            phases: Phases {
                warm_up: end,
                trouble: end,
                heal: end,
                end,
            },
            net: Net::default(),
            notes: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    /// Adds an event at the end of the list. The list needs no order: the engine sorts it by
    /// moment and keeps the order of the list within one.
    pub fn push(&mut self, at: Time, change: Change) {
        self.events.push(Event { at, change });
    }
}

impl Change {
    /// Whether it is done by a client rather than to the grid.
    #[must_use]
    pub fn client(&self) -> Option<Client> {
        match self {
            Self::Open(client, _)
            | Self::Say(client, _)
            | Self::Finish(client)
            | Self::Leave(client)
            | Self::Deaf(client, _) => Some(*client),
            Self::Start(_)
            | Self::Kill(..)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Stop(_)
            | Self::Jump(..)
            | Self::Drift(..)
            | Self::Starve(..)
            | Self::Cut(_)
            | Self::Mend(_)
            | Self::Clog(_)
            | Self::Unclog(_)
            | Self::Lag(..)
            | Self::Connects(..)
            | Self::Reset(_)
            | Self::HalfOpen(_)
            | Self::Damage(..)
            | Self::Buffer(..)
            | Self::Disk(..)
            | Self::Heal => None,
        }
    }

    /// The hosts it names: none, one, or two.
    #[must_use]
    pub fn hosts(&self) -> [Option<Host>; 2] {
        match self {
            Self::Start(host)
            | Self::Kill(host, _)
            | Self::Pause(host)
            | Self::Resume(host)
            | Self::Stop(host)
            | Self::Jump(host, _)
            | Self::Drift(host, _)
            | Self::Starve(host, _)
            | Self::Disk(host, _) => [Some(*host), None],
            Self::Cut(way)
            | Self::Mend(way)
            | Self::Clog(way)
            | Self::Unclog(way)
            | Self::Lag(way, _)
            | Self::Connects(way, _)
            | Self::Reset(way)
            | Self::HalfOpen(way)
            | Self::Damage(way, _)
            | Self::Buffer(way, _) => [Some(way.from), Some(way.to)],
            Self::Heal => [None, None],
            Self::Open(client, _)
            | Self::Say(client, _)
            | Self::Finish(client)
            | Self::Leave(client)
            | Self::Deaf(client, _) => [Some(client.host), None],
        }
    }
}

//! What a run shows of itself: facts, as they happen, to an observer that may end it.

use crate::names::{Client, Host, Peer, Who};
use crate::plan::{Change, Fate};
use chatroom_machine::Time;
use chatroom_machine::{Checked, Conn, Door, Loss, Machine, Place, VolumeId};
use std::fmt;

/// Sees everything that happens in a run, in order, and may end it.
///
/// Observers compose: a pair of them is one, and the first to object wins.
pub trait Observer<M: Machine> {
    /// Looks at one fact. What a machine is told, an observer sees just before it.
    ///
    /// # Errors
    /// A [`Violation`] ends the run.
    fn see(&mut self, scene: &Scene<'_, M>, fact: &Fact<'_, M::Notice>) -> Result<(), Violation>;
}

/// Sees nothing.
impl<M: Machine> Observer<M> for () {
    fn see(&mut self, _: &Scene<'_, M>, _: &Fact<'_, M::Notice>) -> Result<(), Violation> {
        Ok(())
    }
}

impl<M: Machine, A: Observer<M>, B: Observer<M>> Observer<M> for (A, B) {
    #[inline]
    fn see(&mut self, scene: &Scene<'_, M>, fact: &Fact<'_, M::Notice>) -> Result<(), Violation> {
        self.0.see(scene, fact)?;
        self.1.see(scene, fact)
    }
}

impl<M: Machine, A: Observer<M>> Observer<M> for &mut A {
    #[inline]
    fn see(&mut self, scene: &Scene<'_, M>, fact: &Fact<'_, M::Notice>) -> Result<(), Violation> {
        (**self).see(scene, fact)
    }
}

/// Where and when a fact was seen.
pub struct Scene<'a, M> {
    /// The simulator's time; a host's own clock may say something else.
    pub now: Time,
    /// The number of the fact in the run, from 0: what [`Violation::events`] refers to.
    pub step: u64,
    pub(crate) machines: &'a [Option<Checked<M>>],
}

impl<M> Scene<'_, M> {
    /// A scene without machines, for an observer of something else than the engine's runs.
    #[must_use]
    pub const fn without_machines(now: Time, step: u64) -> Self {
        Self {
            now,
            step,
            machines: &[],
        }
    }

    /// The machine of a host; `None` while the host is down, or is just starting or ending.
    #[must_use]
    pub fn machine(&self, host: Host) -> Option<&M> {
        let machine = self.machines.get(host.index())?.as_ref()?;
        Some(machine.machine())
    }
}

/// A broken property, and what a reader needs to see why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The name of the property: what a shrunk plan must break too.
    pub property: &'static str,
    /// What went wrong, in a sentence.
    pub text: String,
    /// The [`Scene::step`]s of the facts that break it, ascending.
    pub events: Vec<u64>,
}

impl Violation {
    /// A violation of `property` if it does not hold.
    ///
    /// # Errors
    /// It, if `holds` is false.
    pub fn unless(
        holds: bool,
        property: &'static str,
        events: impl IntoIterator<Item = u64>,
        text: impl FnOnce() -> String,
    ) -> Result<(), Self> {
        if holds {
            return Ok(());
        }
        let mut events: Vec<u64> = events.into_iter().collect();
        events.sort_unstable();
        Err(Self {
            property,
            text: text(),
            events,
        })
    }
}

/// Something that happened. `link` numbers connections within a run, from 0, the same on both
/// sides; `offset` counts the bytes of one direction of one link.
#[derive(Clone, Debug)]
pub enum Fact<'a, N> {
    /// An event of the plan takes place (also when it turns out to do nothing).
    Change {
        /// What.
        change: &'a Change,
    },
    /// A life begins.
    Started {
        /// Whose.
        who: Who,
    },
    /// A life ends.
    Ended {
        /// Whose.
        who: Who,
        /// How.
        how: Ending,
    },
    /// A host stands still.
    Paused {
        /// Which.
        who: Who,
    },
    /// A host goes on, and is about to be given what came in meanwhile.
    Resumed {
        /// Which.
        who: Who,
    },
    /// A machine has news.
    Notice {
        /// Whose.
        who: Who,
        /// The moment on the host's own clock.
        local: Time,
        /// The news.
        notice: &'a N,
    },
    /// A machine dials.
    Dialling {
        /// Whose.
        who: Who,
        /// The machine's name for the connection.
        conn: Conn,
        /// What it asked for.
        to: Place,
        /// The host that stands there; `None` if there is none.
        host: Option<Host>,
        /// The connection's number.
        link: u64,
    },
    /// A dial came to nothing, and the machine was told.
    DialFailed {
        /// Whose.
        who: Who,
        /// The machine's name for the connection.
        conn: Conn,
        /// The connection's number.
        link: u64,
    },
    /// A side of a connection stands: the dialler's first, then, once accepted, the other.
    Opened {
        /// Whose side.
        who: Who,
        /// The machine's name for the connection.
        conn: Conn,
        /// The connection's number.
        link: u64,
        /// The other side. The host that a dialler reached may have a new life before it accepts,
        /// but then the connection breaks.
        peer: Peer,
        /// Where it was accepted; `None` on the dialler's side.
        door: Option<Door>,
    },
    /// A machine refused a stranger, or the door's queue was full.
    TurnedAway {
        /// Whose door.
        who: Who,
        /// The door.
        door: Door,
        /// The connection's number.
        link: u64,
    },
    /// The transport took bytes from a machine.
    Sent {
        /// Whose.
        who: Who,
        /// The machine's name for the connection.
        conn: Conn,
        /// The connection's number.
        link: u64,
        /// How many bytes went before.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A machine was handed bytes.
    Received {
        /// Whose.
        who: Who,
        /// The machine's name for the connection.
        conn: Conn,
        /// The connection's number.
        link: u64,
        /// How many bytes came before.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A machine was told that nothing more will come.
    Lost {
        /// Whose.
        who: Who,
        /// The machine's name for the connection.
        conn: Conn,
        /// The connection's number.
        link: u64,
        /// What it was told.
        loss: Loss,
        /// What was behind it.
        cause: Cause,
    },
    /// A machine closed a connection, or called a dial off.
    Closed {
        /// Whose.
        who: Who,
        /// The machine's name for the connection.
        conn: Conn,
        /// The connection's number.
        link: u64,
    },
    /// A client is connected.
    ClientOpened {
        /// Which.
        client: Client,
        /// The connection's number.
        link: u64,
    },
    /// Bytes of a client went out.
    ClientSaid {
        /// Which.
        client: Client,
        /// The connection's number.
        link: u64,
        /// How many bytes went before.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Bytes reached a client.
    ClientHeard {
        /// Which.
        client: Client,
        /// The connection's number.
        link: u64,
        /// How many bytes came before.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A client's connection came to nothing, or ended from the host's side.
    ClientLost {
        /// Which.
        client: Client,
        /// The connection's number.
        link: u64,
        /// `Finished`: the host will say no more. `Broken`: no connection any more.
        loss: Loss,
    },
    /// A client left by its own will.
    ClientLeft {
        /// Which.
        client: Client,
        /// The connection's number.
        link: u64,
    },
    /// Something happens between a machine and its disk.
    Disk {
        /// Whose.
        who: Who,
        /// What.
        event: DiskEvent<'a>,
    },
    /// The run is over: the plan's end was reached.
    Over,
}

/// Something between a machine and its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskEvent<'a> {
    /// The machine is told of a record that was found.
    Recovered {
        /// The volume.
        volume: VolumeId,
        /// The record's number.
        number: u64,
        /// The record.
        bytes: &'a [u8],
    },
    /// The machine is told that a volume holds no more.
    RecoveryDone {
        /// The volume.
        volume: VolumeId,
        /// The number of the next record.
        next: u64,
    },
    /// Records are on their way to the disk.
    Storing {
        /// The volume.
        volume: VolumeId,
        /// The number of the first.
        first: u64,
        /// How many.
        count: usize,
    },
    /// The machine is told that records are durable.
    Stored {
        /// The volume.
        volume: VolumeId,
        /// The number of the first.
        first: u64,
        /// How many.
        count: usize,
    },
    /// The disk failed, or what is on it can't be used: the driver ends the life.
    Failed {
        /// What the driver says of it.
        error: &'a str,
    },
}

impl DiskEvent<'_> {
    /// A word for it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Recovered { .. } | Self::RecoveryDone { .. } => "recovered",
            Self::Storing { .. } => "storing",
            Self::Stored { .. } => "stored",
            Self::Failed { .. } => "disk-failed",
        }
    }
}

impl fmt::Display for DiskEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovered {
                volume,
                number,
                bytes,
            } => {
                let bytes = bytes.escape_ascii();
                write!(f, "volume {volume} record {number} {bytes}")
            }
            Self::RecoveryDone { volume, next } => {
                write!(f, "volume {volume} up to record {next}")
            }
            Self::Storing {
                volume,
                first,
                count,
            }
            | Self::Stored {
                volume,
                first,
                count,
            } => write!(f, "volume {volume} from record {first} on: {count}"),
            Self::Failed { error } => f.write_str(error),
        }
    }
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The plan killed it.
    Killed(Fate),
    /// The machine ended itself at once.
    Crashed,
    /// The machine came to an end in good order.
    Done,
    /// Its disk failed, or what was found on it can't be used: the driver ended it.
    Failed,
}

/// What was behind a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The other side's machine or client closed it or will send no more.
    Closed,
    /// The other side's life ended.
    Ended(Ending),
    /// The other side knows nothing of the connection (any more): it was sent bytes after its end.
    Unknown,
    /// The plan broke it.
    Plan,
}

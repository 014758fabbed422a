//! A connection between two ends, as both kernels and the wire between them know it.

use super::pipe::Pipe;
use crate::names::{Host, Peer, Who};
use crate::observer::Cause;
use crate::random::Choice;
use chatroom_machine::{Conn, Door};

/// How far one side of a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The dialler before the outcome; the other side before it heard of it.
    Waiting,
    /// The other side, from the moment when the dialler stands.
    Coming,
    /// The other side in the door's queue.
    Queued,
    /// A machine or a client holds it.
    Live,
    /// Nobody holds it any more: the kernel answers with a reset.
    Gone,
    /// Its host fell silent: no answer.
    Dark,
}

/// One side of a link. Side 0 dialled.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) peer: Peer,
    pub(crate) conn: Conn,
    pub(crate) state: State,
    /// The machine reads.
    pub(crate) reading: bool,
    /// The kernel knows that the link is broken; the machine was not told yet.
    pub(crate) broken: bool,
    /// The dial succeeded; the machine was not told yet. Or it failed.
    pub(crate) dialled: Option<bool>,
    /// What will be said to be behind the end of the link.
    pub(crate) cause: Cause,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// How many links held the entry before: makes events of a dead one stale.
    pub(crate) generation: u32,
    pub(crate) used: bool,
    pub(crate) serial: u64,
    pub(crate) door: Door,
    pub(crate) sides: [Side; 2],
    /// `pipes[s]` leads away from side `s`.
    pub(crate) pipes: [Pipe; 2],
    /// How often the handshake was tried again.
    pub(crate) tries: u32,
    /// `resets[s]`: a reset is on its way to side `s`.
    pub(crate) resets: [bool; 2],
}

impl Side {
    fn new(peer: Peer) -> Self {
        Self {
            peer,
            conn: Conn::new(0, 0),
            state: State::Waiting,
            reading: true,
            broken: false,
            dialled: None,
            cause: Cause::Closed,
        }
    }
}

impl Link {
    pub(crate) fn new() -> Self {
        let nobody = Peer::Host(Who {
            host: Host(0),
            life: 0,
        });
        Self {
            generation: 0,
            used: false,
            serial: 0,
            door: Door(0),
            sides: [Side::new(nobody), Side::new(nobody)],
            pipes: [Pipe::new(), Pipe::new()],
            tries: 0,
            resets: [false; 2],
        }
    }

    /// Begins a new link in this entry.
    pub(crate) fn begin(
        &mut self,
        serial: u64,
        peers: [Peer; 2],
        door: Door,
        capacities: [usize; 2],
        choice: Choice,
    ) {
        self.used = true;
        self.serial = serial;
        self.door = door;
        self.sides = peers.map(Side::new);
        for (side, pipe) in self.pipes.iter_mut().enumerate() {
            pipe.reset(capacities[side], choice.at(side as u64));
        }
        self.tries = 0;
        self.resets = [false; 2];
    }

    /// Whether anybody could still be told anything through it.
    pub(crate) fn matters(&self) -> bool {
        let [dialler, other] = &self.sides;
        matches!(dialler.state, State::Waiting | State::Live)
            || matches!(other.state, State::Coming | State::Queued | State::Live)
    }

    /// The hosts of side 0 and side 1; `None` for a client.
    #[inline]
    pub(crate) fn host(&self, side: usize) -> Option<Host> {
        match self.sides[side].peer {
            Peer::Host(who) => Some(who.host),
            Peer::Client(_) => None,
        }
    }
}

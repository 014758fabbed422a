//! A machine with its sockets.

mod connections;
mod doors;
mod storing;

use crate::leaving::Leaving;
use crate::observer::Observer;
use crate::storage::{Directory, Files};
use crate::{Addresses, Clock, Error};
use chatroom_machine::{Conn, Dialled, Door, Machine};
use chatroom_machine::{Span, Time};
use chatroom_storage::{Intake, check_volumes};
use connections::{Seat, Stage, used};
use doors::Listener;
use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Bytes read in one call, from one connection.
const READ: usize = 64 * 1024;
/// How long it may take from a request to stop until everything that was sent has arrived; what
/// the machine needs of it to send everything is counted.
const END: Span = Span::from_millis(1750);
/// The least of it that is left for what was sent last.
const FAREWELL: Span = Span::from_millis(250);

/// A machine with its sockets, all calls on both of them, and none of the waiting.
///
/// Every call reads the clock once, tells the machine, and does all that the machine asks for.
/// No call blocks, except [`farewell`](Shell::farewell), within its bound. News of a connection
/// that is gone does nothing, so a runtime need not be careful about the order of its events.
#[derive(Debug)]
pub struct Shell<M, O> {
    machine: M,
    observer: O,
    clock: Clock,
    reads: Reads,
    doors: Vec<Listener>,
    places: Vec<SocketAddr>,
    seats: Vec<Option<Seat>>,
    /// Those that were accepted last and had said nothing yet, the latest first: at most 16.
    fresh: VecDeque<Conn>,
    /// Those that the machine has just resumed, to be read at once.
    resumed: VecDeque<Conn>,
    leaving: Leaving,
    changes: Vec<Change>,
    buffer: Box<[u8]>,
    look_at: Time,
    /// When the machine was first asked to stop.
    stopping: Option<Time>,
    outcome: Option<Outcome>,
    /// Until the start.
    directory: Option<Directory>,
    /// From the start until the runtime takes them.
    files: Option<Files>,
    intake: Intake,
    /// Whether a [`Change::Store`] was said that no batch was taken for.
    store_told: bool,
}

/// How a runtime waits for a socket to become readable, hence the mode of the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// In a call that blocks: sockets are in blocking mode once they are connected.
    Blocking,
    /// By readiness: sockets never block.
    Ready,
}

/// What a runtime is to wait for from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The connection stands: call [`Shell::readable`] whenever it has input, until it is closed.
    Opened(Conn),
    /// Wait until the socket takes bytes, once, then call [`Shell::writable`]. Also said of a
    /// connection that is being dialled, before it is opened.
    Write(Conn),
    /// Do not wait for input.
    Paused(Conn),
    /// Wait for input again.
    Resumed(Conn),
    /// The connection is gone, [`Shell::socket`] no longer knows it: wait for nothing.
    Closed(Conn),
    /// Accept nothing at the door.
    Shut(Door),
    /// Accept at the door again. Doors are open in the beginning.
    Reopened(Door),
    /// There is a [batch](Shell::take_batch) to be made durable.
    Store,
}

/// Whether a call left something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// There is probably more: call again, after giving others their turn.
    More,
    /// There is nothing more now: wait until the socket is ready.
    Wait,
    /// Nothing is wanted from it now: wait for the [`Change`] that says otherwise.
    Idle,
    /// Nothing more will come: the connection is gone, or its peer has finished.
    Over,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As if the process had been killed: end it at once.
    Crash,
    /// In good order: peers have taken all that they were owed.
    Done,
    /// In good order, but the bound of the shutdown passed before peers had taken all that they
    /// were owed.
    Unfinished,
}

impl<M: Machine, O: Observer<M>> Shell<M, O> {
    /// Locks the directory for the machine's files if it has any, listens on every door, and makes
    /// the clock.
    ///
    /// # Errors
    /// [`Error::Bind`] for the first door that cannot be listened on, [`Error::NoState`],
    /// [`Error::Locked`], or [`Error::Storage`] if the directory can't be made.
    pub fn new(machine: M, addresses: Addresses, observer: O, reads: Reads) -> Result<Self, Error> {
        let volumes = machine.volumes();
        check_volumes(volumes);
        let directory = match (volumes, &addresses.state) {
            ([], _) => None,
            (_, None) => return Err(Error::NoState),
            (_, Some(path)) => Some(Directory::lock(path)?),
        };
        let mut doors = Vec::with_capacity(addresses.doors.len());
        for (i, &address) in addresses.doors.iter().enumerate() {
            let listener = Listener::new(address).map_err(|cause| Error::Bind {
                door: Door(u8::try_from(i).unwrap_or(u8::MAX)),
                address,
                cause,
            })?;
            doors.push(listener);
        }
        Ok(Self {
            machine,
            observer,
            clock: Clock::new(),
            reads,
            doors,
            places: addresses.places,
            seats: Vec::new(),
            fresh: VecDeque::new(),
            resumed: VecDeque::new(),
            leaving: Leaving::default(),
            changes: Vec::new(),
            buffer: vec![0; READ].into_boxed_slice(),
            look_at: Time::ZERO,
            stopping: None,
            outcome: None,
            directory,
            files: None,
            intake: Intake::new(volumes),
            store_told: false,
        })
    }

    /// Begins: the machine is told what was found in its volumes, then that it may start. To be
    /// called once, before anything else. Blocks while files are read.
    ///
    /// # Errors
    /// [`Error::Storage`] if the machine's files can't be used.
    pub fn start(&mut self) -> Result<(), Error> {
        self.recover()?;
        let now = self.clock.now();
        self.machine.handle_start(now);
        self.drain(now);
        Ok(())
    }

    /// The clock whose readings the machine is given.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The sockets that listen, in the order of the doors.
    pub fn doors(&self) -> impl Iterator<Item = (Door, &Arc<TcpListener>)> {
        (0..).map(Door).zip(self.doors.iter().map(|d| &d.socket))
    }

    /// Where a door listens; `None` if there is no such door.
    #[must_use]
    pub fn address(&self, door: Door) -> Option<SocketAddr> {
        self.doors.get(usize::from(door.0)).map(|d| d.address)
    }

    /// The socket of a connection; `None` once it is closed.
    #[must_use]
    pub fn socket(&self, conn: Conn) -> Option<&Arc<TcpStream>> {
        self.seat(conn).map(|seat| &seat.socket)
    }

    /// Whether the machine wants nothing read from the connection for now.
    #[must_use]
    pub fn is_paused(&self, conn: Conn) -> bool {
        self.seat(conn).is_some_and(|seat| seat.paused)
    }

    /// How the run ended; `None` while it goes on. Calls after the end do nothing.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// When to call [`expire`](Shell::expire); at once if the run has ended.
    #[must_use]
    pub fn deadline(&self) -> Time {
        if self.outcome.is_some() {
            return Time::ZERO;
        }
        let never = Time::from_micros(u64::MAX);
        let machine = self.machine.poll_timeout().map(|t| t.at);
        [machine, self.leaving.sweep_at(), self.rested_at()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(never)
    }

    /// What changed since the last time, in order; `None` if nothing did, as after most calls.
    /// Ask again after calls that were made because of it.
    pub fn take_changes(&mut self) -> Option<Vec<Change>> {
        (!self.changes.is_empty()).then(|| std::mem::take(&mut self.changes))
    }

    /// Accepts who waits at `door`, a bounded number, and hands over what each has already sent.
    pub fn accept(&mut self, door: Door) -> Progress {
        let now = self.clock.now();
        let progress = self.accept_some(now, door);
        self.drain(now);
        progress
    }

    /// Reads what waits on `conn`, a bounded amount.
    pub fn readable(&mut self, conn: Conn) -> Progress {
        let now = self.clock.now();
        let progress = self.read(now, conn);
        self.drain(now);
        progress
    }

    /// Goes on with a socket that takes bytes again, or whose dial has ended.
    pub fn writable(&mut self, conn: Conn) {
        let now = self.clock.now();
        if self.outcome.is_some() {
            return;
        }
        match self.seat_mut(conn) {
            Some(seat) if seat.stage == Stage::Dialling => self.end_dial(now, conn),
            Some(seat) if seat.blocked && !seat.mute => {
                seat.blocked = false;
                self.send(now, conn);
            }
            Some(_) | None => return,
        }
        self.drain(now);
    }

    /// Gives up a connection that broke, or that the runtime cannot wait for.
    pub fn abandon(&mut self, conn: Conn) {
        let now = self.clock.now();
        if self.outcome.is_some() {
            return;
        }
        match self.seat(conn).map(|seat| seat.stage) {
            Some(Stage::Dialling) => {
                self.unsit(conn);
                used(self.machine.handle_dialled(now, conn, Dialled::Failed));
            }
            Some(Stage::Open | Stage::Finished) => self.lose(now, conn),
            None => return,
        }
        self.drain(now);
    }

    /// Tells that the runtime lacks what it needs to serve connections as it should (a thread):
    /// every door rests, as after an accept that failed.
    pub fn starve(&mut self) {
        let now = self.clock.now();
        for door in self.door_names() {
            if self.outcome.is_none() {
                self.starved(now, door);
            }
        }
    }

    /// Does what the clock says is due, which may be nothing.
    ///
    /// Input that has arrived is read first if the machine would otherwise judge a peer silent
    /// whose bytes wait in a socket.
    pub fn expire(&mut self) {
        let now = self.clock.now();
        self.leaving.sweep(now, &mut self.buffer);
        self.end_rests(now);
        let Some(timeout) = self.machine.poll_timeout().filter(|t| t.at <= now) else {
            return;
        };
        if timeout.judges_at.is_some_and(|at| at <= now) {
            self.read_all(now);
        }
        self.machine.handle_timeout(now);
        self.drain(now);
    }

    /// Asks the machine to come to its end.
    pub fn stop(&mut self) {
        let now = self.clock.now();
        self.stopping.get_or_insert(now);
        self.machine.handle_shutdown(now);
        self.drain(now);
    }

    /// Closes what is left after the end of the run, and tells how the run ended after all.
    ///
    /// Unless it crashed, waits until the hosts of all peers have everything that was sent, and
    /// their processes have finished or were given a moment to: at most until 1.75 s after the
    /// request to stop, or 250 ms if less is left. What has not arrived by then makes the outcome
    /// [`Outcome::Unfinished`]; the system still goes on with it while it can.
    pub fn farewell(&mut self) -> Outcome {
        let now = self.clock.now();
        let outcome = self.outcome.unwrap_or(Outcome::Unfinished);
        let stopping = *self.stopping.get_or_insert(now);
        self.doors.clear();
        let seats = std::mem::take(&mut self.seats);
        for seat in seats.into_iter().flatten() {
            self.changes.push(Change::Closed(seat.conn));
            self.part(now, seat);
        }
        if outcome == Outcome::Crash {
            while self.leaving.let_go() {}
            return outcome;
        }
        let until = (stopping + END).max(now + FAREWELL);
        if self.leaving.wait(self.clock, until, &mut self.buffer) {
            outcome
        } else {
            Outcome::Unfinished
        }
    }
}

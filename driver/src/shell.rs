//! A machine with its sockets.

use crate::leaving::Leaving;
use crate::observer::Observer;
use crate::socket::{self, Came};
use crate::{Addresses, Clock, Error};
use chatroom_core::machine::{
    Action, Conn, Dialled, Door, Halt, Loss, Machine, Place, Remote, pieces,
};
use chatroom_core::time::{Span, Time};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Bytes read in one call, from one connection.
const READ: usize = 64 * 1024;
/// Bytes written to one connection before the others have their turn.
const WRITE: usize = 1024 * 1024;
/// Bytes from which on one send takes no further piece.
const BATCH: usize = 64 * 1024;
/// Pieces that one send takes.
const PIECES: usize = 16;
/// Connections accepted in one call.
const ACCEPTS: usize = 32;
/// Time between two looks of the observer.
const LOOK: Span = Span::from_millis(250);
/// How long the end waits for peers to take what was sent.
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
    leaving: Leaving,
    changes: Vec<Change>,
    buffer: Box<[u8]>,
    look_at: Time,
    outcome: Option<Outcome>,
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

#[derive(Debug)]
struct Listener {
    socket: Arc<TcpListener>,
    address: SocketAddr,
    open: bool,
}

/// One connection.
#[derive(Debug)]
struct Seat {
    conn: Conn,
    socket: Arc<TcpStream>,
    stage: Stage,
    paused: bool,
    /// The socket took no more, and a [`Change::Write`] was said.
    blocked: bool,
    /// Writing to it failed: it is read to its end, then lost.
    mute: bool,
    /// Something was sent, which the peer may not have read.
    spoke: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Dialling,
    Open,
    /// The peer has finished; there may be bytes owed to it.
    Finished,
}

impl Seat {
    fn new(conn: Conn, socket: TcpStream, stage: Stage) -> Self {
        Self {
            conn,
            socket: Arc::new(socket),
            stage,
            paused: false,
            blocked: false,
            mute: false,
            spoke: false,
        }
    }
}

impl<M: Machine, O: Observer<M>> Shell<M, O> {
    /// Listens on every door, and makes the clock.
    ///
    /// # Errors
    /// [`Error::Bind`] for the first door that cannot be listened on.
    pub fn new(machine: M, addresses: Addresses, observer: O, reads: Reads) -> Result<Self, Error> {
        let mut doors = Vec::with_capacity(addresses.doors.len());
        for (i, &address) in addresses.doors.iter().enumerate() {
            let bound = |cause| Error::Bind {
                door: Door(u8::try_from(i).unwrap_or(u8::MAX)),
                address,
                cause,
            };
            let socket = socket::listen(address).map_err(bound)?;
            let address = socket.local_addr().map_err(bound)?;
            doors.push(Listener {
                socket: Arc::new(socket),
                address,
                open: true,
            });
        }
        Ok(Self {
            machine,
            observer,
            clock: Clock::new(),
            reads,
            doors,
            places: addresses.places,
            seats: Vec::new(),
            leaving: Leaving::default(),
            changes: Vec::new(),
            buffer: vec![0; READ].into_boxed_slice(),
            look_at: Time::ZERO,
            outcome: None,
        })
    }

    /// Begins. To be called once, before anything else.
    pub fn start(&mut self) {
        let now = self.clock.now();
        self.machine.handle_start(now);
        self.drain(now);
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
        let machine = self.machine.poll_timeout().map_or(never, |t| t.at);
        machine.min(self.leaving.sweep_at().unwrap_or(never))
    }

    /// What changed since the last time, in order; `None` if nothing did, as after most calls.
    /// Ask again after calls that were made because of it.
    pub fn take_changes(&mut self) -> Option<Vec<Change>> {
        (!self.changes.is_empty()).then(|| std::mem::take(&mut self.changes))
    }

    /// Accepts who waits at `door`, a bounded number.
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

    /// Gives up a connection that broke, or that the runtime cannot serve (no thread, no memory).
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

    /// Does what the clock says is due, which may be nothing.
    ///
    /// Input that has arrived is read first if the machine would otherwise judge a peer silent
    /// whose bytes wait in a socket.
    pub fn expire(&mut self) {
        let now = self.clock.now();
        self.leaving.sweep(now, &mut self.buffer);
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
        self.machine.handle_shutdown(now);
        self.drain(now);
    }

    /// Closes what is left after the end of the run. After [`Outcome::Done`] peers get a moment
    /// (at most 250 ms) to take what was sent to them.
    pub fn farewell(&mut self) {
        let now = self.clock.now();
        let crashed = self.outcome == Some(Outcome::Crash);
        self.doors.clear();
        for slot in 0..self.seats.len() {
            if let Some(seat) = self.seats[slot].take() {
                self.changes.push(Change::Closed(seat.conn));
                if crashed || !seat.spoke {
                    socket::end(&seat.socket);
                } else {
                    self.leaving.take(now, seat.socket);
                }
            }
        }
        let most = if crashed { Span::ZERO } else { FAREWELL };
        self.leaving.wait(self.clock, most, &mut self.buffer);
    }

    fn seat(&self, conn: Conn) -> Option<&Seat> {
        let seat = self.seats.get(conn.slot())?.as_ref()?;
        (seat.conn == conn).then_some(seat)
    }

    fn seat_mut(&mut self, conn: Conn) -> Option<&mut Seat> {
        let seat = self.seats.get_mut(conn.slot())?.as_mut()?;
        (seat.conn == conn).then_some(seat)
    }

    fn sit(&mut self, now: Time, seat: Seat) {
        let slot = seat.conn.slot();
        // A machine may close a connection to make room for this one, and give it the slot before
        // it has said so.
        if let Some(Some(before)) = self.seats.get(slot) {
            self.close(now, before.conn);
        }
        if self.seats.len() <= slot {
            self.seats.resize_with(slot + 1, || None);
        }
        self.seats[slot] = Some(seat);
    }

    fn unsit(&mut self, conn: Conn) -> Option<Seat> {
        let seat = self.seats.get_mut(conn.slot())?;
        let seat = seat.take_if(|seat| seat.conn == conn)?;
        self.changes.push(Change::Closed(conn));
        Some(seat)
    }

    fn accept_some(&mut self, now: Time, door: Door) -> Progress {
        for _ in 0..ACCEPTS {
            let Some(listener) = self.doors.get(usize::from(door.0)) else {
                return Progress::Over;
            };
            if !listener.open || self.outcome.is_some() {
                return Progress::Idle;
            }
            match listener.socket.accept() {
                Ok((socket, from)) => self.admit(now, door, socket, from),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Progress::Wait,
                Err(e) if is_want(&e) => {
                    self.machine.handle_starved(now, door);
                    self.drain(now);
                    return Progress::Wait;
                }
                // A stranger who left while waiting.
                Err(_) => {}
            }
            // The machine may shut the door after any of them.
            self.drain(now);
        }
        Progress::More
    }

    fn admit(&mut self, now: Time, door: Door, socket: TcpStream, from: SocketAddr) {
        let source = match from.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let remote = Remote {
            source: source.to_bits(),
            gone: false,
        };
        let mode = match self.reads {
            Reads::Blocking => Ok(()),
            Reads::Ready => socket.set_nonblocking(true),
        };
        if mode.and_then(|()| socket.set_nodelay(true)).is_err() {
            return;
        }
        if let Ok(conn) = self.machine.handle_accepted(now, door, remote) {
            self.sit(now, Seat::new(conn, socket, Stage::Open));
            self.changes.push(Change::Opened(conn));
        }
    }

    fn read(&mut self, now: Time, conn: Conn) -> Progress {
        if self.outcome.is_some() {
            return Progress::Over;
        }
        let Some(Some(seat)) = self.seats.get_mut(conn.slot()) else {
            return Progress::Over;
        };
        if seat.conn != conn || seat.stage == Stage::Finished {
            return Progress::Over;
        }
        if seat.paused || seat.stage == Stage::Dialling {
            return Progress::Idle;
        }
        match socket::receive(&seat.socket, &mut self.buffer) {
            Came::Done(0) if seat.mute => {
                self.lose(now, conn);
                Progress::Over
            }
            Came::Done(0) => {
                seat.stage = Stage::Finished;
                used(self.machine.handle_lost(now, conn, Loss::Finished));
                Progress::Over
            }
            Came::Done(count) => {
                used(self.machine.handle_bytes(now, conn, &self.buffer[..count]));
                if count == self.buffer.len() {
                    Progress::More
                } else {
                    Progress::Wait
                }
            }
            Came::Blocked => Progress::Wait,
            Came::Broken => {
                self.lose(now, conn);
                Progress::Over
            }
        }
    }

    /// Reads once from every connection that has input and is being read.
    fn read_all(&mut self, now: Time) {
        let (conns, sockets): (Vec<_>, Vec<_>) = self
            .seats
            .iter()
            .flatten()
            .filter(|seat| seat.stage == Stage::Open && !seat.paused)
            .map(|seat| (seat.conn, &*seat.socket))
            .unzip();
        let ready = socket::ready(&sockets);
        for i in ready {
            // Whether there is more does not matter: one byte is proof of life.
            let _ = self.read(now, conns[i]);
            self.drain(now);
        }
    }

    fn end_dial(&mut self, now: Time, conn: Conn) {
        let reads = self.reads;
        let Some(seat) = self.seat_mut(conn) else {
            return;
        };
        let mut came = socket::dialled(&seat.socket);
        if matches!(came, Came::Done(()))
            && reads == Reads::Blocking
            && seat.socket.set_nonblocking(false).is_err()
        {
            came = Came::Broken;
        }
        match came {
            Came::Done(()) => {
                seat.stage = Stage::Open;
                self.changes.push(Change::Opened(conn));
                used(self.machine.handle_dialled(now, conn, Dialled::Connected));
            }
            Came::Blocked => self.changes.push(Change::Write(conn)),
            Came::Broken => {
                self.unsit(conn);
                used(self.machine.handle_dialled(now, conn, Dialled::Failed));
            }
        }
    }

    /// The connection broke, and there is nothing to be saved.
    fn lose(&mut self, now: Time, conn: Conn) {
        if let Some(seat) = self.unsit(conn) {
            socket::end(&seat.socket);
            used(self.machine.handle_lost(now, conn, Loss::Broken));
        }
    }

    /// Does what the machine asks for until it asks for nothing more.
    fn drain(&mut self, now: Time) {
        while self.outcome.is_none()
            && let Some(action) = self.machine.poll()
        {
            match action {
                Action::Dial { conn, to } => self.dial(now, conn, to),
                Action::Send(conn) => self.send(now, conn),
                Action::Pause(conn) => {
                    if let Some(seat) = self.seat_mut(conn) {
                        seat.paused = true;
                        if seat.mute {
                            self.lose(now, conn);
                        } else {
                            self.changes.push(Change::Paused(conn));
                        }
                    }
                }
                Action::Resume(conn) => {
                    if let Some(seat) = self.seat_mut(conn) {
                        seat.paused = false;
                        self.changes.push(Change::Resumed(conn));
                    }
                }
                Action::Close(conn) => self.close(now, conn),
                Action::Shut(door) => self.set_open(door, false),
                Action::Open(door) => self.set_open(door, true),
                Action::Notice(notice) => self.observer.notice(now, &notice),
                Action::Halt(Halt::Crash) => self.outcome = Some(Outcome::Crash),
                Action::Halt(Halt::Done) => self.outcome = Some(Outcome::Done),
                Action::Halt(Halt::Unfinished) => self.outcome = Some(Outcome::Unfinished),
            }
        }
        if now >= self.look_at {
            self.look_at = now + LOOK;
            self.observer.look(now, &self.machine);
        }
    }

    fn dial(&mut self, now: Time, conn: Conn, to: Place) {
        let address = usize::try_from(to.0).ok().and_then(|i| self.places.get(i));
        let Some(Ok((socket, stands))) = address.map(|&a| socket::dial(a)) else {
            used(self.machine.handle_dialled(now, conn, Dialled::Failed));
            return;
        };
        self.sit(now, Seat::new(conn, socket, Stage::Dialling));
        if stands {
            self.end_dial(now, conn);
        } else {
            self.changes.push(Change::Write(conn));
        }
    }

    fn send(&mut self, now: Time, conn: Conn) {
        let Some(Some(seat)) = self.seats.get_mut(conn.slot()) else {
            return;
        };
        if seat.conn != conn || seat.stage == Stage::Dialling || seat.blocked {
            return;
        }
        let mut budget = WRITE;
        loop {
            let (slices, count) = slices(&self.machine, conn, budget);
            let came = match count {
                0 if budget > 0 || self.machine.pending(conn, 0).is_empty() => return,
                0 => Came::Blocked,
                _ => socket::send(&seat.socket, &slices[..count]),
            };
            match came {
                Came::Done(count) => {
                    seat.spoke = true;
                    budget -= count;
                    used(self.machine.handle_sent(now, conn, count));
                }
                Came::Blocked => {
                    seat.blocked = true;
                    self.changes.push(Change::Write(conn));
                    return;
                }
                Came::Broken => {
                    // What it sent before it broke may wait unread: its reader finds the end.
                    if seat.paused || seat.stage == Stage::Finished {
                        self.lose(now, conn);
                    } else {
                        seat.blocked = true;
                        seat.mute = true;
                    }
                    return;
                }
            }
        }
    }

    fn close(&mut self, now: Time, conn: Conn) {
        let Some(seat) = self.unsit(conn) else {
            return;
        };
        if seat.spoke && seat.stage == Stage::Open {
            self.leaving.take(now, seat.socket);
        } else {
            socket::end(&seat.socket);
        }
    }

    fn set_open(&mut self, door: Door, open: bool) {
        if let Some(listener) = self.doors.get_mut(usize::from(door.0)) {
            listener.open = open;
            self.changes.push(if open {
                Change::Reopened(door)
            } else {
                Change::Shut(door)
            });
        }
    }
}

/// What one send is to take of the bytes pending on `conn`, `most` of them at most.
fn slices<M: Machine>(machine: &M, conn: Conn, most: usize) -> ([IoSlice<'_>; PIECES], usize) {
    let mut slices = [IoSlice::new(&[]); PIECES];
    let (mut count, mut length) = (0, 0);
    for (slice, piece) in slices.iter_mut().zip(pieces(machine, conn, most)) {
        *slice = IoSlice::new(piece);
        count += 1;
        length += piece.len();
        if length >= BATCH {
            break;
        }
    }
    (slices, count)
}

/// The shell makes no call that the machine could object to: that would be a fault of ours.
fn used(told: Result<(), chatroom_core::machine::Misuse>) {
    debug_assert_eq!(told, Ok(()), "the driver misused the machine");
}

/// Whether accepting failed for want of descriptors or memory.
fn is_want(e: &io::Error) -> bool {
    use rustix::io::Errno;
    e.raw_os_error().is_some_and(|code| {
        [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
            .iter()
            .any(|want| want.raw_os_error() == code)
    })
}

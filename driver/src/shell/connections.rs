//! A machine's connections, and what it asks to do with them.

use super::{Change, Observer, Outcome, Progress, Reads, Shell};
use crate::socket::{self, Came};
use chatroom_machine::{Action, Conn, Dialled, Halt, Loss, Machine, Place, pieces};
use chatroom_machine::{Span, Time};
use std::io::IoSlice;
use std::net::TcpStream;
use std::sync::Arc;

/// Bytes written to one connection before the others have their turn.
const WRITE: usize = 1024 * 1024;
/// Bytes from which on one send takes no further piece.
const BATCH: usize = 64 * 1024;
/// Pieces that one send takes.
const PIECES: usize = 16;
/// Connections that are read at once after they were resumed, before the others have their turn.
const RESUMED: usize = 16;
/// Time between two looks of the observer.
const LOOK: Span = Span::from_millis(250);

/// One connection.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) conn: Conn,
    pub(super) socket: Arc<TcpStream>,
    pub(super) stage: Stage,
    pub(super) paused: bool,
    /// The socket took no more, and a [`Change::Write`] was said.
    pub(super) blocked: bool,
    /// Writing to it failed: it is read to its end, then lost.
    pub(super) mute: bool,
    /// Something was sent, which the peer may not have read.
    pub(super) spoke: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Dialling,
    Open,
    /// The peer has finished; there may be bytes owed to it.
    Finished,
}

impl Seat {
    pub(super) fn new(conn: Conn, socket: TcpStream, stage: Stage) -> Self {
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

    /// Whether the machine is told what it sends.
    pub(super) fn is_read(&self) -> bool {
        self.stage == Stage::Open && !self.paused
    }
}

impl<M: Machine, O: Observer<M>> Shell<M, O> {
    pub(super) fn seat(&self, conn: Conn) -> Option<&Seat> {
        let seat = self.seats.get(conn.slot())?.as_ref()?;
        (seat.conn == conn).then_some(seat)
    }

    pub(super) fn seat_mut(&mut self, conn: Conn) -> Option<&mut Seat> {
        let seat = self.seats.get_mut(conn.slot())?.as_mut()?;
        (seat.conn == conn).then_some(seat)
    }

    pub(super) fn sit(&mut self, seat: Seat) {
        let slot = seat.conn.slot();
        if self.seats.len() <= slot {
            self.seats.resize_with(slot + 1, || None);
        }
        self.seats[slot] = Some(seat);
    }

    pub(super) fn unsit(&mut self, conn: Conn) -> Option<Seat> {
        let seat = self.seats.get_mut(conn.slot())?;
        let seat = seat.take_if(|seat| seat.conn == conn)?;
        self.changes.push(Change::Closed(conn));
        Some(seat)
    }

    pub(super) fn read(&mut self, now: Time, conn: Conn) -> Progress {
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
    pub(super) fn read_all(&mut self, now: Time) {
        let (conns, sockets): (Vec<_>, Vec<_>) = self
            .seats
            .iter()
            .flatten()
            .filter(|seat| seat.is_read())
            .map(|seat| (seat.conn, &*seat.socket))
            .unzip();
        let ready = socket::ready(&sockets);
        for i in ready {
            // Whether there is more does not matter: one byte is proof of life.
            let _ = self.read(now, conns[i]);
            self.drain(now);
        }
    }

    pub(super) fn end_dial(&mut self, now: Time, conn: Conn) {
        let reads = self.reads;
        let Some(seat) = self.seat_mut(conn) else {
            return;
        };
        let mut came = socket::dialled(&seat.socket);
        if matches!(came, Came::Done(())) && socket::configure(&*seat.socket).is_err() {
            came = Came::Broken;
        }
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
                // A `Send` may have come while it was dialled.
                self.send(now, conn);
            }
            Came::Blocked => self.changes.push(Change::Write(conn)),
            Came::Broken => {
                self.unsit(conn);
                used(self.machine.handle_dialled(now, conn, Dialled::Failed));
            }
        }
    }

    /// The connection broke, and there is nothing to be saved.
    pub(super) fn lose(&mut self, now: Time, conn: Conn) {
        if let Some(seat) = self.unsit(conn) {
            socket::end(&seat.socket);
            used(self.machine.handle_lost(now, conn, Loss::Broken));
        }
    }

    /// Does what the machine asks for until it asks for nothing more.
    ///
    /// Connections that it resumes are read at once: a peer that comes and goes makes one for each
    /// time, and each is resumed by the end of the one before.
    pub(super) fn drain(&mut self, now: Time) {
        let mut budget = RESUMED;
        loop {
            self.act(now);
            let Some(conn) = self.resumed.pop_front().filter(|_| budget > 0) else {
                break;
            };
            budget -= 1;
            // The runtime finds out whether there is more.
            let _ = self.read(now, conn);
        }
        self.resumed.clear();
        self.tell_store();
        if now >= self.look_at {
            self.look_at = now + LOOK;
            self.observer.look(now, &self.machine);
        }
    }

    fn act(&mut self, now: Time) {
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
                        self.resumed.push_back(conn);
                        self.changes.push(Change::Resumed(conn));
                    }
                }
                Action::Close(conn) => self.close(now, conn),
                Action::Shut(door) => self.set_open(door, false),
                Action::Open(door) => self.set_open(door, true),
                Action::Store(volume) => {
                    let known = self.intake.store(volume);
                    debug_assert!(known, "the machine has no volume {volume}");
                }
                Action::Discard { volume, through } => {
                    let known = self.intake.discard(volume, through);
                    debug_assert!(known, "record {through} of volume {volume} is not stored");
                }
                Action::Notice(notice) => self.observer.notice(now, &notice),
                Action::Halt(Halt::Crash) => self.outcome = Some(Outcome::Crash),
                Action::Halt(Halt::Done) => self.outcome = Some(Outcome::Done),
                Action::Halt(Halt::Unfinished) => self.outcome = Some(Outcome::Unfinished),
            }
        }
    }

    fn dial(&mut self, now: Time, conn: Conn, to: Place) {
        let address = usize::try_from(to.0).ok().and_then(|i| self.places.get(i));
        let Some(Ok((socket, stands))) = address.map(|&a| socket::dial(a)) else {
            used(self.machine.handle_dialled(now, conn, Dialled::Failed));
            return;
        };
        self.sit(Seat::new(conn, socket, Stage::Dialling));
        if stands {
            self.end_dial(now, conn);
        } else {
            self.changes.push(Change::Write(conn));
        }
    }

    pub(super) fn send(&mut self, now: Time, conn: Conn) {
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

    pub(super) fn close(&mut self, now: Time, conn: Conn) {
        let Some(seat) = self.unsit(conn) else {
            return;
        };
        self.part(now, seat);
    }

    /// Lets go of a connection that the machine is done with.
    pub(super) fn part(&mut self, now: Time, seat: Seat) {
        // From who has finished no more input can come: the system goes on with what is left.
        if seat.stage != Stage::Open || !seat.spoke {
            socket::end(&seat.socket);
            return;
        }
        self.leaving.take(now, seat.socket);
        if self.stopping.is_none() {
            self.leaving.bound();
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

/// Passes over the answer to a right call: an `Err` can only be `Stale`, of a connection that the
/// machine has closed while its `Close` waits to be polled. `Checked` sees to the rest.
pub(super) fn used(_answer: Result<(), chatroom_machine::Misuse>) {}

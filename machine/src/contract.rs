//! The trait between a protocol and whatever drives it: a runtime on real sockets, or a simulator.
//! Nothing here knows what a chat is.

use crate::{Span, Time, Volume, VolumeId};
use alloc::borrow::Cow;
use core::fmt;

/// A protocol as a state machine: it is told what happened and asked what to do.
///
/// The loop of every driver is the same:
///
/// 1. tell what happened (`handle_*`), with one fresh reading of the clock;
/// 2. drain [`poll`](Machine::poll) until it says `None`, doing each [`Action`];
/// 3. ask [`poll_timeout`](Machine::poll_timeout) when to call
///    [`handle_timeout`](Machine::handle_timeout), and wait for that or for news.
///
/// A driver may drain late, after more calls: output waits, and makes `poll_timeout` due at once.
///
/// A machine never reads a clock, never draws entropy, and gives the same outputs for the same
/// inputs.
///
/// # Storage
///
/// A machine that must remember declares [`volumes`](Machine::volumes). Storing mirrors sending:
/// [`Action::Store`] says that there are unsaved records, the driver takes them with
/// [`unsaved`](Machine::unsaved), makes them durable, many at a time, and reports it with
/// [`handle_stored`](Machine::handle_stored). Until then they stay in the machine, which can count
/// and bound them.
///
/// **A machine promises nothing that depends on a record before `handle_stored` covers it**: no
/// reply, no message, no [`Action::Discard`] of what the record replaces. The driver can't know
/// which bytes depend on which record, so this is the machine's duty.
///
/// The order of two volumes is not kept: a record of one may be durable while an earlier one of
/// the other is lost. Where it matters, store the second after the first is reported.
///
/// A write or a sync that fails is not reported: the driver ends the run with an error, and never
/// tries again. After a failed sync nobody knows what is on the disk, and the next sync may succeed
/// without writing it (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC
/// 2020).
///
/// # The rules
///
/// What follows is the whole contract. [`Checked`](crate::Checked) executes it: it stands between a
/// machine and its driver and names the [`Rule`](crate::Rule) that one of them breaks, by the names
/// given here.
///
/// **Begin and end.** A driver calls `handle_start` before it tells anything
/// (`call-before-start`). [`Action::Halt`] is the last action: after it was polled every handle is
/// dead, the machine asks for nothing, accepts nobody and wants no timeout (`active-after-halt`),
/// and the driver tells it nothing (`call-after-halt`). A start, a timeout or a shutdown may still
/// come then, as a request to stop may cross the end. [`Halt::Done`] and [`Halt::Unfinished`]
/// follow a `handle_shutdown`, or a machine's own choice to come to an end.
///
/// **Time.** Moments never decrease (`time-went-back`). `poll_timeout` says when to call
/// `handle_timeout`; `None` says that nothing is pending: the driver then waits for its sockets
/// alone, with no timer set, for as long as it takes. A call that comes too early does nothing.
/// While output waits to be polled, a timeout is due (`undrained-not-due`). After `handle_timeout`
/// and a drain, the next timeout lies strictly ahead (`timeout-not-ahead`). A drain comes to an
/// end: without time passing there are at most four million actions (`livelock`).
///
/// **Handles.** A machine gives out a handle with [`Action::Dial`] or from `handle_accepted`. It is
/// dead once its [`Action::Close`] was polled, once the driver reported [`Dialled::Failed`] or
/// [`Loss::Broken`], or after the halt. Its slot may then be given out again, and not before
/// (`slot-in-use`), with a generation that no earlier user of the slot had and that is higher than
/// theirs (`generation-reused`). Slots are dense: one that was never used is given out only if
/// those below it were used (`slots-not-dense`). Actions name handles that are not dead
/// (`dead-handle`); one that was queued before the driver reported the end may still come, and the
/// driver passes over it.
///
/// **Calls.** A right call is never an `Err` (`right-call-refused`), but for `handle_accepted`,
/// which may always refuse. The exception is [`Misuse::Stale`] of a connection that the machine has
/// closed while the `Close` waits to be polled. A wrong call is an `Err` (`wrong-call-taken`) of
/// the right kind (`wrong-error`) and changes nothing; neither does a repeated start or shutdown, a
/// timeout that is not due, or any call after the halt (`output-for-nothing`). Wrong are: a call
/// with a handle that is dead or was never given out (`call-on-dead`); bytes, an end or bytes sent
/// before a dial was reported, a second report of a dial, bytes or a second end after
/// [`Loss::Finished`] (`call-in-wrong-state`); more bytes sent than were pending, or more records of a log stored than
/// were unsaved (`sent-too-much`); what was recovered after the start
/// (`call-in-wrong-state`).
///
/// **Reading.** While a connection is paused, a driver tells of no bytes and of no
/// [`Loss::Finished`] (`read-while-paused`). A pause and a resume each change something
/// (`repeated-action`).
///
/// **Writing.** When bytes become pending on a connection that had none, an [`Action::Send`] says
/// so (`silent-bytes`), and it says nothing else (`send-without-bytes`). It may come while the
/// connection is still being dialled: the driver writes once it stands. What is pending stays as
/// it is until it is sent; more may be added behind it (`pending-changed`). However many bytes are
/// skipped, what lies behind them is the same (`pieces-disagree`). Nothing is pending on a handle
/// that is dead (`pending-on-dead`).
///
/// **Listeners.** They are open in the beginning. At one that is shut nobody is accepted
/// (`accepted-while-shut`). After `handle_starved` and a drain the listener is shut until the
/// machine opens it (`accepts-on`), with a timeout of its own. A shut and an open each change
/// something (`repeated-action`).
///
/// **Notices** are one line each (`notice-of-lines`).
pub trait Machine {
    /// News for people and checkers: what came of it, never something a driver must act on.
    type Notice: Notice;

    /// The volumes of this machine, in the order of their [`VolumeId`]s: none unless said
    /// otherwise. Always the same ones; at most 256.
    ///
    /// A driver without a place for files refuses to run a machine that has any.
    #[must_use]
    fn volumes(&self) -> &'static [Volume] {
        &[]
    }

    /// Handles a record that was found in `volume`: of a log each that was not discarded, in
    /// order, of a snapshot the newest. Called before [`handle_start`](Machine::handle_start); what
    /// it leads to is polled after that.
    ///
    /// `number` counts the records of the volume from 0, over all incarnations. Records that were
    /// discarded may still be found, and records that were never reported as stored may be too:
    /// the last incarnation ended before it could be told.
    fn handle_recovered(&mut self, now: Time, volume: VolumeId, number: u64, record: &[u8]) {
        let _ = (now, volume, number, record);
    }

    /// Handles the end of what was found in `volume`: `next` is the number of the next record that
    /// will be stored there. Called once for each volume, after its records, before
    /// [`handle_start`](Machine::handle_start). A log whose records were all discarded has no
    /// other way to learn where it stands.
    fn handle_recovery_done(&mut self, now: Time, volume: VolumeId, next: u64) {
        let _ = (now, volume, next);
    }

    /// Tells that the driver listens on every door and that the machine may begin. Called once,
    /// before anything else but what was recovered; repeated calls do nothing.
    fn handle_start(&mut self, now: Time);

    /// Handles a connection that was accepted on `door`; the result is its handle.
    ///
    /// The driver then hands over what the connection has already sent before it accepts the next
    /// one, so that the machine never judges a newcomer by bytes that wait in a socket.
    ///
    /// # Errors
    /// [`Refused`] if the machine takes no more there: the driver closes the socket at once.
    fn handle_accepted(&mut self, now: Time, door: Door, remote: Remote) -> Result<Conn, Refused>;

    /// Handles that a connection could not be accepted on `door` for want of a resource (file
    /// descriptors, memory, threads). The machine must answer with [`Action::Shut`], unless the door
    /// is shut already, and open it again after a while: otherwise a driver that waits for readiness
    /// would spin.
    fn handle_starved(&mut self, now: Time, door: Door);

    /// Tells how a dial that [`Action::Dial`] asked for ended.
    ///
    /// # Errors
    /// [`Misuse`] if `conn` is not being dialled.
    fn handle_dialled(&mut self, now: Time, conn: Conn, outcome: Dialled) -> Result<(), Misuse>;

    /// Tells of bytes that arrived on `conn`, in order. `bytes` may be any piece of the stream.
    ///
    /// # Errors
    /// [`Misuse`] if `conn` is not open. A peer's fault is never an error here: it closes the
    /// connection.
    fn handle_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse>;

    /// Tells that the first `count` of the bytes [`pending`](Machine::pending) on `conn`, be they
    /// in one piece or in more, were taken by the transport.
    ///
    /// # Errors
    /// [`Misuse`] if `conn` is not open or fewer bytes were pending.
    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse>;

    /// Tells that nothing more will arrive on `conn`, and why.
    ///
    /// After [`Loss::Finished`] the connection may stay open for what is still owed to it; after
    /// [`Loss::Broken`] the handle is dead and the driver drops the socket.
    ///
    /// # Errors
    /// [`Misuse`] if `conn` is not open.
    fn handle_lost(&mut self, now: Time, conn: Conn, loss: Loss) -> Result<(), Misuse>;

    /// Handles that the first `count` of the [`unsaved`](Machine::unsaved) records of `volume` are
    /// durable, or, of a snapshot, were replaced by a later one of them that is.
    ///
    /// # Errors
    /// [`Misuse::TooMuch`] if fewer records were unsaved, or there is no such volume.
    fn handle_stored(&mut self, now: Time, volume: VolumeId, count: usize) -> Result<(), Misuse> {
        let _ = (now, volume);
        if count == 0 {
            Ok(())
        } else {
            Err(Misuse::TooMuch)
        }
    }

    /// Tells that time has passed. Early and repeated calls do nothing.
    fn handle_timeout(&mut self, now: Time);

    /// Asks the machine to come to an end in good order: what was accepted is sent within a
    /// bound of its own, then it says [`Action::Halt`]. Repeated calls do nothing.
    fn handle_shutdown(&mut self, now: Time);

    /// The next thing to do, or `None` when there is nothing more.
    #[must_use]
    fn poll(&mut self) -> Option<Action<Self::Notice>>;

    /// A piece of the bytes owed to `conn`, from behind the first `skip` of them on; empty when
    /// there are no more or `conn` is not open. A driver that gathers pieces for one send skips
    /// those that it has.
    #[must_use]
    fn pending(&self, conn: Conn, skip: usize) -> &[u8];

    /// The record of `volume` behind the first `skip` unsaved ones; `None` when there are no more.
    /// Records do not change while they are unsaved, and have at most
    /// [`RECORD_MAX`](crate::RECORD_MAX) bytes.
    #[must_use]
    fn unsaved(&self, volume: VolumeId, skip: usize) -> Option<&[u8]> {
        let _ = (volume, skip);
        None
    }

    /// When to call [`handle_timeout`](Machine::handle_timeout) next, and why; `None` if nothing
    /// is pending, as after [`Action::Halt`]. A driver then waits for its sockets alone.
    #[must_use]
    fn poll_timeout(&self) -> Option<Timeout>;
}

/// The first bytes pending on `conn`, `most` of them at most, piece by piece. No piece is empty.
pub fn pieces<M: Machine + ?Sized>(
    machine: &M,
    conn: Conn,
    most: usize,
) -> impl Iterator<Item = &[u8]> {
    let mut left = most;
    core::iter::from_fn(move || {
        let piece = machine.pending(conn, most - left);
        let piece = &piece[..piece.len().min(left)];
        left -= piece.len();
        (!piece.is_empty()).then_some(piece)
    })
}

/// The first bytes pending on `conn`, in one piece: `most` of them, or all if there are fewer.
/// Copies only if the machine has them in several.
#[must_use]
pub fn gather<M: Machine + ?Sized>(machine: &M, conn: Conn, most: usize) -> Cow<'_, [u8]> {
    let mut all = Cow::Borrowed(&[][..]);
    for piece in pieces(machine, conn, most) {
        if all.is_empty() {
            all = Cow::Borrowed(piece);
        } else {
            all.to_mut().extend_from_slice(piece);
        }
    }
    all
}

/// News of a machine, for people, metrics and checkers: one line.
pub trait Notice: fmt::Debug + fmt::Display {
    /// How much an operator should care.
    #[must_use]
    fn level(&self) -> Level;
}

/// How much an operator should care about a [`Notice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something that goes on all the time.
    Debug,
    /// Something an operator wants to find in the log.
    Info,
    /// Something an operator should look into.
    Warn,
}

/// One of the places where a machine listens: an index into the driver's table of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Door(pub u8);

/// What a driver knows of whoever connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Remote {
    /// Where it connects from: equal for connections of one source (for TCP the IP address,
    /// without the port), and nothing else. 0 if the driver cannot tell.
    pub source: u128,
    /// Whether it had already finished or reset the connection by the time it was accepted. What
    /// it sent before can still be read.
    pub gone: bool,
}

/// One of the places that a machine may dial: an index into the driver's table of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub u32);

/// The name of one connection of one machine, for as long as it is open.
///
/// Slots are reused, generations are not: news of a dead connection can't touch the one that took
/// its slot. Slots are small and dense, so that a driver may index a table with them. When one is
/// given out again: see [`Machine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conn {
    slot: u32,
    generation: u32,
}

impl Conn {
    /// The `generation`-th user of `slot`.
    #[must_use]
    pub const fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// The index of the table entry that the connection holds.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot as usize
    }

    /// How many connections held the slot before.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// Written `slot.generation`, as in `3.0`.
impl fmt::Display for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// What a driver is to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Action<N> {
    /// Connect to `to` and report with [`Machine::handle_dialled`]. The handle is the machine's
    /// choice; a [`Close`](Action::Close) before the report calls the attempt off.
    Dial {
        /// The new connection.
        conn: Conn,
        /// Whom to connect to.
        to: Place,
    },
    /// There are bytes [`pending`](Machine::pending) on a connection that had none: write them
    /// until none are left, going on whenever the transport takes more.
    Send(Conn),
    /// Read nothing from the connection until told to [`Resume`](Action::Resume).
    Pause(Conn),
    /// Read from the connection again.
    Resume(Conn),
    /// Close the connection, both ways. Its handle is dead: no more calls with it.
    Close(Conn),
    /// Accept nothing at this door until told to [`Open`](Action::Open). Whoever comes waits in
    /// the operating system's queue.
    Shut(Door),
    /// Accept at this door again.
    Open(Door),
    /// There are [`unsaved`](Machine::unsaved) records in a volume that had none: make them durable
    /// in order, until none are left, and report with [`Machine::handle_stored`].
    Store(VolumeId),
    /// The records of a log up to this number are no longer needed. A driver frees what it can,
    /// when it can.
    Discard {
        /// The log.
        volume: VolumeId,
        /// The number of the last record that is not needed.
        through: u64,
    },
    /// News; nothing to do.
    Notice(N),
    /// The end: nothing comes after it.
    Halt(Halt),
}

/// How a machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Halt {
    /// At once, as if the process had been killed: nothing is flushed.
    Crash,
    /// In good order, after a [`Machine::handle_shutdown`] or by itself: all that was owed has been
    /// sent.
    Done,
    /// The same, but the bound passed before all that was owed could be
    /// sent.
    Unfinished,
}

/// How a dial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// There is a connection.
    Connected,
    /// There is none, and the handle is dead.
    Failed,
}

/// How the incoming half of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The other side said that it will send no more (a FIN): it may still read.
    Finished,
    /// The transport broke (a reset, an error): nothing can be sent either.
    Broken,
}

/// A connection that the machine does not want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the machine takes no more connections at this door")
    }
}

impl core::error::Error for Refused {}

/// A call that a correct driver does not make. The machine is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// The handle names no open connection: it was closed, or was never given out.
    Stale,
    /// The connection is not in a state for this call (a report of a dial that was not asked
    /// for, bytes before the connection stands, bytes after its end).
    WrongState,
    /// More bytes were reported as sent than were pending, or more records as stored than were
    /// unsaved.
    TooMuch,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stale => "the handle names no open connection",
            Self::WrongState => "the connection is not in a state for this call",
            Self::TooMuch => "more was reported as sent or stored than was pending",
        })
    }
}

impl core::error::Error for Misuse {}

/// When a machine wants to be called next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// The moment from which [`Machine::handle_timeout`] has something to do.
    pub at: Time,
    /// What is due then, for logs and traces.
    pub why: &'static str,
    /// From this moment on, [`Machine::handle_timeout`] passes judgement on connections that
    /// were silent. Before a call at or after it, a driver hands over what has arrived on all
    /// connections that are being read: bytes that wait in a socket are no silence.
    pub judges_at: Option<Time>,
}

impl Timeout {
    /// How long from `now` until it is due; zero if it already is.
    #[must_use]
    pub fn after(&self, now: Time) -> Span {
        self.at.since(now)
    }
}

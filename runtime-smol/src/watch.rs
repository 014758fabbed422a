//! The one wait for all sockets of a machine.

use crate::alarm::Alarm;
use crate::commits::Commits;
use crate::sockets::Sockets;
use chatroom_driver::{
    Change, Error, Event, Events, Interest, Observer, PollMode, Progress, Shell, Stop,
};
use chatroom_machine::Span;
use chatroom_machine::{Conn, Door, Machine};
use smol::future;
use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// Sockets that are served in one turn; the others have the next.
const TURN: usize = 256;

/// How long a turn that lingers waits for the first socket.
pub(crate) const LINGER: Span = Span::from_millis(10);

/// What a turn found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No socket was ready.
    Nothing,
    /// One was, and there is probably nothing more by now.
    Little,
    /// There is probably more by now, and to ask costs less than to wait.
    Much,
}

/// Knows which sockets are ready, and waits for what the shell wants to know.
pub(crate) struct Watch<'a> {
    sockets: Sockets,
    stop: &'a Stop,
    doors: Vec<Arc<TcpListener>>,
    seats: Vec<Option<Seat>>,
    /// What the last turn found.
    events: Option<Events>,
}

/// A connection that is waited for.
struct Seat {
    conn: Conn,
    /// Kept until it is taken out of the poller.
    socket: Arc<TcpStream>,
    wanted: Interest,
    /// What the poller knows. A socket of which nothing is wanted is taken out of it, as it would go
    /// on and on about one that broke.
    watched: Interest,
}

/// What an event is about.
#[derive(Clone, Copy)]
enum Key {
    Stop,
    Door(Door),
    Conn(Conn),
}

impl Key {
    const DOORS: u32 = 1;
    const CONNS: u32 = Self::DOORS + 256;

    /// Slots are small and dense: they leave room below for the few others.
    fn value(self) -> u64 {
        let (low, high) = match self {
            Self::Stop => (0, 0),
            Self::Door(door) => (u64::from(Self::DOORS) + u64::from(door.0), 0),
            Self::Conn(conn) => {
                let slot = u64::from(Self::CONNS) + conn.slot() as u64;
                (slot, u64::from(conn.generation()))
            }
        };
        high << 32 | low
    }

    fn of(value: u64) -> Self {
        let (low, high) = (value as u32, (value >> 32) as u32);
        match low {
            0 => Self::Stop,
            Self::DOORS..Self::CONNS => Self::Door(Door((low - Self::DOORS) as u8)),
            _ => Self::Conn(Conn::new(low - Self::CONNS, high)),
        }
    }
}

impl<'a> Watch<'a> {
    /// Waits for the doors of `shell`, and for `stop`.
    pub(crate) fn new<M: Machine, O: Observer<M>>(
        shell: &Shell<M, O>,
        stop: &'a Stop,
    ) -> Result<Self, Error> {
        let sockets = Sockets::new(stop)?;
        let always = PollMode::Level;
        sockets
            .add(stop.source(), Key::Stop.value(), Interest::READ, always)
            .map_err(Error::system("watch for a request to stop"))?;
        let mut doors = Vec::new();
        for (door, socket) in shell.doors() {
            sockets
                .add(socket, Key::Door(door).value(), Interest::READ, always)
                .map_err(Error::system("watch a listening socket"))?;
            doors.push(Arc::clone(socket));
        }
        Ok(Self {
            sockets,
            stop,
            doors,
            seats: Vec::new(),
            events: None,
        })
    }

    /// Waits until some socket is ready, `alarm` rings or a commit ends. May return too early.
    pub(crate) async fn wait(&self, alarm: &mut Alarm, commits: &mut Commits) -> Result<(), Error> {
        let mut ready = pin!(self.sockets.ready());
        let mut asked = false;
        let waited = future::poll_fn(|cx| {
            // Whatever woke the task, a turn finds out. Asking again would have async-io wait
            // once more: it does not trust news from a wait that was under way when we asked.
            let again = std::mem::replace(&mut asked, true);
            if again || alarm.rings(cx) || commits.has_ended(cx) {
                return Poll::Ready(Ok(()));
            }
            ready.as_mut().poll(cx)
        });
        waited.await.map_err(Error::system("wait for sockets"))
    }

    /// Serves the sockets that are ready, each a bounded amount and at most `TURN` of them.
    /// If none is and it `lingers`, waits at most `LINGER` for the first.
    pub(crate) fn turn<M: Machine, O: Observer<M>>(
        &mut self,
        shell: &mut Shell<M, O>,
        lingers: bool,
    ) -> Result<Found, Error> {
        let wait = if lingers { LINGER } else { Span::ZERO };
        let wait = Duration::from_micros(wait.as_micros());
        let events = self.events.take();
        let mut events = events.unwrap_or_else(|| Events::with_capacity(TURN));
        self.sockets
            .wait(&mut events, Some(wait))
            .map_err(Error::system("ask which sockets are ready"))?;
        let mut much = events.len() > 1;
        for event in events.iter() {
            let progress = match Key::of(event.key) {
                Key::Stop => {
                    // It stays readable, and asking the machine once is enough.
                    let _ = self.sockets.delete(self.stop.source(), Key::Stop.value());
                    shell.stop();
                    Progress::Over
                }
                Key::Door(door) => shell.accept(door),
                Key::Conn(conn) => self.serve(shell, conn, event),
            };
            much |= progress == Progress::More;
            self.follow(shell);
        }
        let found = events.len();
        self.events = Some(events);
        Ok(match found {
            0 => Found::Nothing,
            _ if much => Found::Much,
            _ => Found::Little,
        })
    }

    /// Waits from now on for what `shell` wants to know.
    pub(crate) fn follow<M: Machine, O: Observer<M>>(&mut self, shell: &mut Shell<M, O>) {
        // Giving a connection up makes for more changes, and for fewer connections.
        while let Some(changes) = shell.take_changes() {
            for change in changes {
                match change {
                    Change::Opened(conn) | Change::Resumed(conn) => {
                        self.want(shell, conn, Interest::READ);
                    }
                    Change::Write(conn) => self.want(shell, conn, Interest::WRITE),
                    Change::Paused(conn) => self.unwant(conn, Interest::READ),
                    Change::Closed(conn) => self.forget(conn),
                    Change::Shut(door) => self.set_open(door, false),
                    Change::Reopened(door) => self.set_open(door, true),
                    // The loop looks for that after each turn.
                    Change::Store => {}
                }
            }
        }
    }

    fn serve<M: Machine, O: Observer<M>>(
        &mut self,
        shell: &mut Shell<M, O>,
        conn: Conn,
        event: Event,
    ) -> Progress {
        let Some(seat) = self.seat(conn) else {
            return Progress::Over;
        };
        let Interest { read, write } = event.ready;
        let reads = seat.wanted.read && (event.broken || read);
        let writes = seat.wanted.write && (event.broken || write);
        if writes {
            // It is waited for once. The poller is told after the call, which may want it again.
            seat.wanted.write = false;
            shell.writable(conn);
            self.follow(shell);
            self.tell(conn);
        }
        if !reads {
            return Progress::Wait;
        }
        let progress = shell.readable(conn);
        if matches!(progress, Progress::Idle | Progress::Over) {
            self.unwant(conn, Interest::READ);
        }
        progress
    }

    fn want<M: Machine, O: Observer<M>>(
        &mut self,
        shell: &mut Shell<M, O>,
        conn: Conn,
        what: Interest,
    ) {
        // One that is closed in the same breath is unknown by now.
        let Some(socket) = shell.socket(conn) else {
            return;
        };
        let slot = conn.slot();
        if self.seats.len() <= slot {
            self.seats.resize_with(slot + 1, || None);
        }
        let seat = self.seats[slot].get_or_insert_with(|| Seat {
            conn,
            socket: Arc::clone(socket),
            wanted: Interest::NONE,
            watched: Interest::NONE,
        });
        seat.wanted = seat.wanted.with(what);
        if !self.tell(conn) {
            shell.abandon(conn);
        }
    }

    fn unwant(&mut self, conn: Conn, what: Interest) {
        if let Some(seat) = self.seat(conn) {
            seat.wanted = seat.wanted.without(what);
            self.tell(conn);
        }
    }

    fn forget(&mut self, conn: Conn) {
        self.unwant(
            conn,
            Interest {
                read: true,
                write: true,
            },
        );
        if self.seat(conn).is_some() {
            self.seats[conn.slot()] = None;
        }
    }

    /// Tells the poller what is wanted of a connection; `false` if the system denies it.
    fn tell(&mut self, conn: Conn) -> bool {
        let seat = self.seats.get_mut(conn.slot()).and_then(Option::as_mut);
        let Some(seat) = seat.filter(|seat| seat.conn == conn) else {
            return true;
        };
        if seat.wanted == seat.watched {
            return true;
        }
        let (key, wanted) = (Key::Conn(conn).value(), seat.wanted);
        let told = if seat.watched.is_none() {
            self.sockets.add(&seat.socket, key, wanted, PollMode::Level)
        } else if wanted.is_none() {
            self.sockets.delete(&seat.socket, key)
        } else {
            self.sockets
                .modify(&seat.socket, key, wanted, PollMode::Level)
        };
        if told.is_ok() {
            seat.watched = seat.wanted;
        }
        told.is_ok()
    }

    fn seat(&mut self, conn: Conn) -> Option<&mut Seat> {
        let seat = self.seats.get_mut(conn.slot())?.as_mut()?;
        (seat.conn == conn).then_some(seat)
    }

    fn set_open(&mut self, door: Door, open: bool) {
        let Some(socket) = self.doors.get(usize::from(door.0)) else {
            return;
        };
        // Adding what is there and deleting what is not are errors that change nothing.
        let key = Key::Door(door).value();
        let _ = if open {
            self.sockets
                .add(socket, key, Interest::READ, PollMode::Level)
        } else {
            self.sockets.delete(socket, key)
        };
    }
}

/// Sees that async-io, which panics otherwise, finds room for the three descriptors that it begins
/// with.
pub(crate) fn make_room(stop: &Stop) -> Result<(), Error> {
    for room in [(); 3].map(|()| stop.as_fd().try_clone_to_owned()) {
        room.map_err(Error::system("watch a poller"))?;
    }
    Ok(())
}

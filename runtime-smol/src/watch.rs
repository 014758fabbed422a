//! The epoll instance over all sockets of a machine.

use crate::alarm::Alarm;
use crate::commits::Commits;
use async_io::Async;
use chatroom_driver::{Change, Error, Observer, Progress, Shell, Stop};
use chatroom_machine::Span;
use chatroom_machine::{Conn, Door, Machine};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use smol::future;
use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

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
    epoll: Async<OwnedFd>,
    stop: &'a Stop,
    doors: Vec<Arc<TcpListener>>,
    seats: Vec<Option<Seat>>,
    events: Vec<Event>,
}

/// A connection that is waited for.
struct Seat {
    conn: Conn,
    /// Kept until it is taken out of the epoll instance.
    socket: Arc<TcpStream>,
    wanted: EventFlags,
    /// What the epoll instance knows. A socket of which nothing is wanted is taken out of it, as
    /// epoll would go on and on about one that broke.
    watched: EventFlags,
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
    fn data(self) -> EventData {
        let (low, high) = match self {
            Self::Stop => (0, 0),
            Self::Door(door) => (u64::from(Self::DOORS) + u64::from(door.0), 0),
            Self::Conn(conn) => {
                let slot = u64::from(Self::CONNS) + conn.slot() as u64;
                (slot, u64::from(conn.generation()))
            }
        };
        EventData::new_u64(high << 32 | low)
    }

    fn of(data: EventData) -> Self {
        let (low, high) = (data.u64() as u32, (data.u64() >> 32) as u32);
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
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(Error::system("make an epoll"))?;
        // async-io panics if there is no room for the three descriptors that it begins with.
        for room in [(); 3].map(|()| epoll.try_clone()) {
            room.map_err(Error::system("watch an epoll"))?;
        }
        // Its own mode does not matter: each wait says how long it may take.
        let epoll = Async::new_nonblocking(epoll).map_err(Error::system("watch an epoll"))?;
        epoll::add(&epoll, stop, Key::Stop.data(), EventFlags::IN)
            .map_err(Error::system("watch for a request to stop"))?;
        let mut doors = Vec::new();
        for (door, socket) in shell.doors() {
            epoll::add(&epoll, &**socket, Key::Door(door).data(), EventFlags::IN)
                .map_err(Error::system("watch a listening socket"))?;
            doors.push(Arc::clone(socket));
        }
        Ok(Self {
            epoll,
            stop,
            doors,
            seats: Vec::new(),
            events: Vec::with_capacity(TURN),
        })
    }

    /// Waits until some socket is ready, `alarm` rings or a commit ends. May return too early.
    pub(crate) async fn wait(&self, alarm: &mut Alarm, commits: &mut Commits) -> Result<(), Error> {
        let mut readable = pin!(self.epoll.readable());
        let mut asked = false;
        let waited = future::poll_fn(|cx| {
            // Whatever woke the task, a turn finds out. Asking again would have async-io wait
            // once more: it does not trust news from a wait that was under way when we asked.
            let again = std::mem::replace(&mut asked, true);
            if again || alarm.rings(cx) || commits.has_ended(cx) {
                return Poll::Ready(Ok(()));
            }
            readable.as_mut().poll(cx)
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
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: wait.as_micros() as i64 * 1000,
        };
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::system("ask which sockets are ready")(error)),
        }
        let mut much = events.len() > 1;
        for event in &events {
            let progress = match Key::of(event.data) {
                Key::Stop => {
                    // It stays readable, and asking the machine once is enough.
                    let _ = epoll::delete(&self.epoll, self.stop);
                    shell.stop();
                    Progress::Over
                }
                Key::Door(door) => shell.accept(door),
                Key::Conn(conn) => self.serve(shell, conn, event.flags),
            };
            much |= progress == Progress::More;
            self.follow(shell);
        }
        self.events = events;
        Ok(match self.events.len() {
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
                        self.want(shell, conn, EventFlags::IN);
                    }
                    Change::Write(conn) => self.want(shell, conn, EventFlags::OUT),
                    Change::Paused(conn) => self.unwant(conn, EventFlags::IN),
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
        flags: EventFlags,
    ) -> Progress {
        let Some(seat) = self.seat(conn) else {
            return Progress::Over;
        };
        let broken = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let ready = |what| seat.wanted.contains(what) && (broken || flags.contains(what));
        let (reads, writes) = (ready(EventFlags::IN), ready(EventFlags::OUT));
        if writes {
            // It is waited for once. Epoll is told after the call, which may want it again.
            seat.wanted.remove(EventFlags::OUT);
            shell.writable(conn);
            self.follow(shell);
            self.tell(conn);
        }
        if !reads {
            return Progress::Wait;
        }
        let progress = shell.readable(conn);
        if matches!(progress, Progress::Idle | Progress::Over) {
            self.unwant(conn, EventFlags::IN);
        }
        progress
    }

    fn want<M: Machine, O: Observer<M>>(
        &mut self,
        shell: &mut Shell<M, O>,
        conn: Conn,
        what: EventFlags,
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
            wanted: EventFlags::empty(),
            watched: EventFlags::empty(),
        });
        seat.wanted.insert(what);
        if !self.tell(conn) {
            shell.abandon(conn);
        }
    }

    fn unwant(&mut self, conn: Conn, what: EventFlags) {
        if let Some(seat) = self.seat(conn) {
            seat.wanted.remove(what);
            self.tell(conn);
        }
    }

    fn forget(&mut self, conn: Conn) {
        self.unwant(conn, EventFlags::all());
        if self.seat(conn).is_some() {
            self.seats[conn.slot()] = None;
        }
    }

    /// Tells epoll what is wanted of a connection; `false` if the system denies it.
    fn tell(&mut self, conn: Conn) -> bool {
        let epoll = &self.epoll;
        let seat = self.seats.get_mut(conn.slot()).and_then(Option::as_mut);
        let Some(seat) = seat.filter(|seat| seat.conn == conn) else {
            return true;
        };
        if seat.wanted == seat.watched {
            return true;
        }
        let (socket, data) = (&*seat.socket, Key::Conn(conn).data());
        let told = if seat.watched.is_empty() {
            epoll::add(epoll, socket, data, seat.wanted)
        } else if seat.wanted.is_empty() {
            epoll::delete(epoll, socket)
        } else {
            epoll::modify(epoll, socket, data, seat.wanted)
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
        let _ = if open {
            epoll::add(
                &self.epoll,
                &**socket,
                Key::Door(door).data(),
                EventFlags::IN,
            )
        } else {
            epoll::delete(&self.epoll, &**socket)
        };
    }
}

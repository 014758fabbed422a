//! What threads wait in: one call for all that concerns the house, one for a single socket.

use chatroom_driver::{Error, Stop};
use chatroom_machine::{Conn, Door};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Events taken in one wait.
const BATCH: usize = 64;

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Timer,
    Stop,
    Door(Door),
    Conn(Conn),
}

/// The keeper's wait. Any thread may add to it.
#[derive(Debug)]
pub(crate) struct Waiting {
    epoll: OwnedFd,
    timer: OwnedFd,
}

impl Waiting {
    pub(crate) fn new(stop: &Stop) -> Result<Self, Error> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(Error::system("make an epoll"))?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)
            .map_err(Error::system("make a timer"))?;
        // It stays readable once it is due, until it is set again or read. An edge is told once.
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &timer, Event::Timer.data(), edge)
            .map_err(Error::system("wait for a timer"))?;
        // Its descriptor stays readable, one event is enough.
        let once = EventFlags::IN | EventFlags::ONESHOT;
        epoll::add(&epoll, stop, Event::Stop.data(), once)
            .map_err(Error::system("wait for a stop"))?;
        Ok(Self { epoll, timer })
    }

    pub(crate) fn add_door(&self, door: Door, socket: &TcpListener) -> Result<(), Error> {
        epoll::add(
            &self.epoll,
            socket,
            Event::Door(door).data(),
            EventFlags::IN,
        )
        .map_err(Error::system("wait for connections"))
    }

    pub(crate) fn set_door(
        &self,
        door: Door,
        socket: &TcpListener,
        open: bool,
    ) -> Result<(), Errno> {
        let flags = if open {
            EventFlags::IN
        } else {
            EventFlags::empty()
        };
        epoll::modify(&self.epoll, socket, Event::Door(door).data(), flags)
    }

    /// Waits once for what `wants` names on `socket`, instead of what was waited for there before.
    /// The socket drops out by itself when it is closed.
    pub(crate) fn watch(
        &self,
        conn: Conn,
        socket: &TcpStream,
        wants: EventFlags,
    ) -> Result<(), Errno> {
        let flags = wants | EventFlags::ONESHOT;
        let data = Event::Conn(conn).data();
        match epoll::modify(&self.epoll, socket, data, flags) {
            Err(Errno::NOENT) => epoll::add(&self.epoll, socket, data, flags),
            done => done,
        }
    }

    /// Sets the timer, to no less than a moment from now.
    pub(crate) fn set_timer(&self, after: Duration) -> Result<(), Error> {
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // Zero would stop the timer.
        let after = after.clamp(Duration::from_nanos(1), Duration::from_hours(24));
        let it_value = after.try_into().unwrap_or(Timespec { tv_sec: 1, ..zero });
        let once = Itimerspec {
            it_interval: zero,
            it_value,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)
            .map(|_| ())
            .map_err(Error::system("set a timer"))
    }

    /// Waits until something happens, and puts it into `events`.
    pub(crate) fn wait(&self, events: &mut Vec<epoll::Event>) -> Result<(), Error> {
        events.clear();
        events.reserve(BATCH);
        loop {
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), None) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(e) => return Err(Error::system("wait")(e)),
            }
        }
    }
}

impl Event {
    // Slots are small: the last ones stand for what is no connection.
    const TIMER: u32 = u32::MAX;
    const STOP: u32 = u32::MAX - 1;
    const DOORS: u32 = u32::MAX - 2;

    fn data(self) -> EventData {
        let (slot, generation) = match self {
            Self::Timer => (Self::TIMER, 0),
            Self::Stop => (Self::STOP, 0),
            Self::Door(Door(i)) => (Self::DOORS, u32::from(i)),
            Self::Conn(conn) => (
                u32::try_from(conn.slot()).expect("slots are 32 bits wide"),
                conn.generation(),
            ),
        };
        EventData::new_u64(u64::from(slot) << 32 | u64::from(generation))
    }

    pub(crate) fn of(event: &epoll::Event) -> Self {
        let data = event.data.u64();
        let slot = (data >> 32) as u32;
        let generation = (data & u64::from(u32::MAX)) as u32;
        match slot {
            Self::TIMER => Self::Timer,
            Self::STOP => Self::Stop,
            Self::DOORS => Self::Door(Door(generation as u8)),
            _ => Self::Conn(Conn::new(slot, generation)),
        }
    }
}

/// Blocks until `socket` has input or its end; false if it broke.
pub(crate) fn until_readable(socket: &TcpStream) -> bool {
    let mut first = [0];
    loop {
        match rustix::net::recv(socket, &mut first, RecvFlags::PEEK) {
            Ok(_) => return true,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

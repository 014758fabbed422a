//! What threads wait in: one call for all that concerns the house, one for a single socket.

use chatroom_driver::{Error, Events, Interest, PollMode, Poller, Stop, Timer};
use chatroom_machine::{Conn, Door};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Events taken in one wait.
pub(crate) const BATCH: usize = 64;

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
    poller: Poller,
    timer: Timer,
}

impl Waiting {
    pub(crate) fn new(stop: &Stop) -> Result<Self, Error> {
        let poller = Poller::new().map_err(Error::system("make a poller"))?;
        let timer = poller
            .timer(Event::Timer.key())
            .map_err(Error::system("make a timer"))?;
        // It stays readable, one event is enough.
        let (key, once) = (Event::Stop.key(), PollMode::Oneshot);
        poller
            .add(stop.source(), key, Interest::READ, once)
            .map_err(Error::system("wait for a stop"))?;
        Ok(Self { poller, timer })
    }

    pub(crate) fn add_door(&self, door: Door, socket: &Arc<TcpListener>) -> Result<(), Error> {
        let (key, always) = (Event::Door(door).key(), PollMode::Level);
        self.poller
            .add(socket, key, Interest::READ, always)
            .map_err(Error::system("wait for connections"))
    }

    pub(crate) fn set_door(
        &self,
        door: Door,
        socket: &Arc<TcpListener>,
        open: bool,
    ) -> io::Result<()> {
        let interest = if open { Interest::READ } else { Interest::NONE };
        let (key, always) = (Event::Door(door).key(), PollMode::Level);
        self.poller.modify(socket, key, interest, always)
    }

    /// Waits once for what `wants` names on `socket`, instead of what was waited for there before.
    pub(crate) fn watch(
        &self,
        conn: Conn,
        socket: &Arc<TcpStream>,
        wants: Interest,
    ) -> io::Result<()> {
        let (key, once) = (Event::Conn(conn).key(), PollMode::Oneshot);
        match self.poller.modify(socket, key, wants, once) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.poller.add(socket, key, wants, once)
            }
            done => done,
        }
    }

    /// Waits no more for what is closed, or is about to be.
    pub(crate) fn forget(&self, source: Event) {
        self.poller.forget(source.key());
    }

    /// Sets the timer, to no less than a moment from now.
    pub(crate) fn set_timer(&self, after: Duration) -> Result<(), Error> {
        self.timer.set(after).map_err(Error::system("set a timer"))
    }

    /// Waits until something happens, and puts it into `events`.
    pub(crate) fn wait(&self, events: &mut Events) -> Result<(), Error> {
        loop {
            self.poller
                .wait(events, None)
                .map_err(Error::system("wait"))?;
            if !events.is_empty() {
                return Ok(());
            }
        }
    }
}

impl Event {
    // Slots are small: the last ones stand for what is no connection.
    const TIMER: u32 = u32::MAX;
    const STOP: u32 = u32::MAX - 1;
    const DOORS: u32 = u32::MAX - 2;

    fn key(self) -> u64 {
        let (slot, generation) = match self {
            Self::Timer => (Self::TIMER, 0),
            Self::Stop => (Self::STOP, 0),
            Self::Door(Door(i)) => (Self::DOORS, u32::from(i)),
            Self::Conn(conn) => (
                u32::try_from(conn.slot()).expect("slots are 32 bits wide"),
                conn.generation(),
            ),
        };
        u64::from(slot) << 32 | u64::from(generation)
    }

    pub(crate) fn of(key: u64) -> Self {
        let slot = (key >> 32) as u32;
        let generation = (key & u64::from(u32::MAX)) as u32;
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

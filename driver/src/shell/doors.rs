//! Where a machine listens, and who is let in.

use super::connections::{Seat, Stage};
use super::{Change, Observer, Progress, Shell};
use crate::{socket, system};
use chatroom_machine::{Door, Machine, Remote};
use chatroom_machine::{Span, Time};
use rustix::io::Errno;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// How many of those accepted last are read from before the next is let in.
const FRESH: usize = 16;
/// Connections accepted in one call.
const ACCEPTS: usize = 32;
/// How long nobody is accepted at a door after accepting failed, whatever the machine says: who
/// waits there makes the door ready, so that a runtime would try again and again.
const REST: Span = Span::from_millis(100);

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: Arc<TcpListener>,
    pub(super) address: SocketAddr,
    /// What the machine wants.
    open: bool,
    /// Until when nobody is accepted.
    rests: Option<Time>,
}

impl Listener {
    pub(super) fn new(address: SocketAddr) -> std::io::Result<Self> {
        let socket = socket::listen(address)?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket: Arc::new(socket),
            address,
            open: true,
            rests: None,
        })
    }

    fn accepts(&self) -> bool {
        self.open && self.rests.is_none()
    }
}

impl<M: Machine, O: Observer<M>> Shell<M, O> {
    pub(super) fn accept_some(&mut self, now: Time, door: Door) -> Progress {
        for _ in 0..ACCEPTS {
            let Some(listener) = self.doors.get(usize::from(door.0)) else {
                return Progress::Over;
            };
            if !listener.accepts() || self.outcome.is_some() {
                return Progress::Idle;
            }
            match socket::accept(&listener.socket, self.reads) {
                Ok((socket, from)) => {
                    self.hear_fresh(now);
                    self.admit(now, door, socket, from);
                }
                Err(Errno::AGAIN) => return Progress::Wait,
                Err(error) if is_of_one(error) => {}
                // A descriptor is of more use to a newcomer than to one who leaves.
                Err(Errno::MFILE | Errno::NFILE) if self.leaving.let_go() => {}
                Err(_) => {
                    self.starved(now, door);
                    return Progress::Idle;
                }
            }
            // The machine may shut the door after any of them.
            self.drain(now);
        }
        Progress::More
    }

    /// Takes a connection in, with what it sent before it was accepted: one piece, and the end of
    /// the stream behind it. One who came, spoke and left is served by this alone.
    fn admit(&mut self, now: Time, door: Door, socket: TcpStream, from: IpAddr) {
        let source = match from {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let remote = Remote {
            source: source.to_bits(),
            gone: system::gone(&socket),
        };
        let Ok(conn) = self.machine.handle_accepted(now, door, remote) else {
            return;
        };
        self.sit(Seat::new(conn, socket, Stage::Open));
        self.changes.push(Change::Opened(conn));
        self.drain(now);
        let progress = self.read(now, conn);
        self.drain(now);
        if progress != Progress::Wait {
            return;
        }
        if remote.gone {
            let _ = self.read(now, conn);
            self.drain(now);
        } else {
            self.fresh.truncate(FRESH - 1);
            self.fresh.push_front(conn);
        }
    }

    /// Reads what those sent that were accepted a moment ago, before the next is let in: whoever
    /// waited for one of them to be done before it connected finds that done.
    fn hear_fresh(&mut self, now: Time) {
        if self.fresh.is_empty() {
            return;
        }
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.retain(|&conn| self.seat(conn).is_some_and(Seat::is_read));
        let sockets = fresh.iter().filter_map(|&conn| self.socket(conn));
        let sockets: Vec<&TcpStream> = sockets.map(|socket| &**socket).collect();
        // The oldest stands last.
        for i in socket::ready(&sockets).into_iter().rev() {
            if let Some(conn) = fresh.remove(i) {
                let _ = self.read(now, conn);
                self.drain(now);
            }
        }
        self.fresh = fresh;
    }

    /// Tells the machine that it lacks something to accept at `door`, and lets the door rest.
    pub(super) fn starved(&mut self, now: Time, door: Door) {
        self.set_door(door, |listener| listener.rests = Some(now + REST));
        self.machine.handle_starved(now, door);
        self.drain(now);
    }

    /// When the first door that rests is to go on.
    pub(super) fn rested_at(&self) -> Option<Time> {
        self.doors.iter().filter_map(|door| door.rests).min()
    }

    /// Lets every door go on that has rested.
    pub(super) fn end_rests(&mut self, now: Time) {
        if self.rested_at().is_none_or(|at| now < at) {
            return;
        }
        for door in self.door_names() {
            self.set_door(door, |listener| {
                listener.rests = listener.rests.filter(|&until| now < until);
            });
        }
    }

    pub(super) fn door_names(&self) -> impl Iterator<Item = Door> + use<M, O> {
        (0..).map(Door).take(self.doors.len())
    }

    pub(super) fn set_open(&mut self, door: Door, open: bool) {
        self.set_door(door, |listener| listener.open = open);
    }

    fn set_door(&mut self, door: Door, set: impl FnOnce(&mut Listener)) {
        let Some(listener) = self.doors.get_mut(usize::from(door.0)) else {
            return;
        };
        let before = listener.accepts();
        set(listener);
        match (before, listener.accepts()) {
            (true, false) => self.changes.push(Change::Shut(door)),
            (false, true) => self.changes.push(Change::Reopened(door)),
            _ => {}
        }
    }
}

/// Whether an error of accepting is about one connection alone, so that the next may be fine:
/// those that accept(2) names. Any other, such as a want of descriptors or memory, stays for a
/// while.
fn is_of_one(error: Errno) -> bool {
    [
        Errno::INTR,
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::NETDOWN,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
        Errno::TIMEDOUT,
        Errno::PERM,
    ]
    .contains(&error)
}

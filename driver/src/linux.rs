//! What is particular to Linux: epoll and timerfd, sockets that begin non-blocking, `RDHUP`,
//! `TCP_NOTSENT_LOWAT`, and the kernel's socket diagnostics. The same interface as `unix`.

use crate::poller::{AT_ONCE, DAY, Event, Interest, PollMode, Source};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// How bytes are sent: without waiting, and without a SIGPIPE.
pub(crate) const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
/// Bytes that the system takes beyond what it has sent already. The rest waits in the machine,
/// which knows what it owes and to whom. The socket takes more as soon as half of it is sent,
/// where without a bound it waits for a third of a send buffer of megabytes.
const UNSENT: u32 = 128 * 1024;

/// Whether [`gone`] tells of one that finished with input unread.
#[cfg(feature = "testing")]
pub(crate) const TELLS_WHO_LEFT: bool = true;
/// Whether [`Unacknowledged`] tells.
#[cfg(feature = "testing")]
pub(crate) const TELLS_WHAT_ARRIVED: bool = true;

/// A TCP socket that does not block.
pub(crate) fn socket(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))
}

/// The options of a connection that this system has besides those of all systems.
pub(crate) fn configure(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_notsent_lowat(UNSENT)
}

/// Takes the next connection that waits, blocking or not, with all options of its listener.
pub(crate) fn accept(
    listener: &TcpListener,
    blocks: bool,
) -> Result<(TcpStream, Option<SocketAddr>), Errno> {
    let mode = if blocks {
        SocketFlags::empty()
    } else {
        SocketFlags::NONBLOCK
    };
    let (socket, from) = rustix::net::acceptfrom_with(listener, SocketFlags::CLOEXEC | mode)?;
    let from = from.and_then(|from| SocketAddr::try_from(from).ok());
    Ok((TcpStream::from(socket), from))
}

/// Whether the other side has finished or reset the connection already.
pub(crate) fn gone(socket: &TcpStream) -> bool {
    let ends = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    let mut polled = [PollFd::new(socket, ends)];
    matches!(poll(&mut polled, Some(&AT_ONCE)), Ok(1..))
}

/// Waits for many sources at a time, each known by a key that its owner chose. Any thread may add,
/// modify and delete while another waits.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// One that waits for nothing yet.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll })
    }

    /// Begins to wait for `interest` on `source`.
    ///
    /// # Errors
    /// `AlreadyExists` if it was added before, otherwise what the system says.
    pub fn add<S: Source>(
        &self,
        source: &Arc<S>,
        key: u64,
        interest: Interest,
        mode: PollMode,
    ) -> io::Result<()> {
        let (data, flags) = (EventData::new_u64(key), flags(interest, mode));
        Ok(epoll::add(&self.epoll, source, data, flags)?)
    }

    /// Waits for something else on `source` from now on.
    ///
    /// # Errors
    /// `NotFound` if it was not added or has been deleted, otherwise what the system says.
    pub fn modify<S: Source>(
        &self,
        source: &Arc<S>,
        key: u64,
        interest: Interest,
        mode: PollMode,
    ) -> io::Result<()> {
        let (data, flags) = (EventData::new_u64(key), flags(interest, mode));
        Ok(epoll::modify(&self.epoll, source, data, flags)?)
    }

    /// Waits for nothing more on `source`, which was added with `key`.
    ///
    /// # Errors
    /// `NotFound` if it was not added or has been deleted, otherwise what the system says.
    pub fn delete<S: Source>(&self, source: &Arc<S>, key: u64) -> io::Result<()> {
        let _ = key;
        Ok(epoll::delete(&self.epoll, source)?)
    }

    /// Lets go of the source that was added with `key`, if there is one; to be called when a
    /// source that may not have been deleted is closed.
    pub fn forget(&self, key: u64) {
        // Epoll lets go of what is closed by itself.
        let _ = key;
    }

    /// A timer whose events have `key`. There is one at most for each poller.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn timer(&self, key: u64) -> io::Result<Timer> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // It stays readable once it is due, until it is set again or read. An edge is told once.
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&self.epoll, &timer, EventData::new_u64(key), edge)?;
        Ok(Timer { timer })
    }

    /// Waits until something is ready, for no longer than `most` if that is given, and puts what
    /// is into `events` instead of what was there. May come back with nothing too early.
    ///
    /// # Errors
    /// What the system says; nothing that happens on a connection.
    pub fn wait(&self, events: &mut Events, most: Option<Duration>) -> io::Result<()> {
        let most = most.map(|most| Timespec::try_from(most).unwrap_or(DAY));
        events.list.clear();
        events.list.reserve(events.most);
        let room = rustix::buffer::spare_capacity(&mut events.list);
        match epoll::wait(&self.epoll, room, most.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// It becomes readable when something that it waits for is ready.
impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn flags(interest: Interest, mode: PollMode) -> EventFlags {
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, interest.read);
    flags.set(EventFlags::OUT, interest.write);
    flags.set(EventFlags::ONESHOT, mode == PollMode::Oneshot);
    flags
}

/// What wakes a [`Poller`] at a moment.
#[derive(Debug)]
pub struct Timer {
    timer: OwnedFd,
}

impl Timer {
    /// Has it ring once, `after` from now, a day at most, instead of when it was to ring before.
    ///
    /// # Errors
    /// What the system says.
    pub fn set(&self, after: Duration) -> io::Result<()> {
        // Zero would stop the timer.
        let after = after.clamp(Duration::from_nanos(1), Duration::from_secs(24 * 60 * 60));
        let once = Itimerspec {
            it_interval: AT_ONCE,
            it_value: after.try_into().unwrap_or(DAY),
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

/// What a wait of a [`Poller`] found.
pub struct Events {
    list: Vec<epoll::Event>,
    most: usize,
}

impl Events {
    /// Room for what one wait finds: about `most` events, the others come with the next.
    #[must_use]
    pub fn with_capacity(most: usize) -> Self {
        let list = Vec::with_capacity(most);
        Self { list, most }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = Event> {
        self.list.iter().map(|&event| {
            let (key, flags) = (event.data.u64(), event.flags);
            Event {
                key,
                ready: Interest {
                    read: flags.contains(EventFlags::IN),
                    write: flags.contains(EventFlags::OUT),
                },
                broken: flags.intersects(EventFlags::ERR | EventFlags::HUP),
            }
        })
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
/// A netlink header, then an `inet_diag_req_v2`.
const ASKED: usize = 16 + 56;
const TCP: u8 = 6;
/// `-ENOENT`: no such connection.
const NONE: i32 = -2;
/// The states of a connection, as the kernel counts them, in which the other side has
/// acknowledged our FIN and hence everything before it.
const FIN_WAIT_2: u8 = 5;
const TIME_WAIT: u8 = 6;
const CLOSED: u8 = 7;

/// A way to ask the kernel whether the other host has everything that was sent over a socket.
///
/// The socket's own calls do not tell without `unsafe`; the kernel's socket diagnostics do
/// (`sock_diag(7)`), at the cost of two calls a socket, however many sockets the system has.
#[derive(Debug)]
pub(crate) struct Unacknowledged {
    netlink: Option<OwnedFd>,
}

impl Unacknowledged {
    pub(crate) fn new() -> Self {
        let netlink = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        );
        Self {
            netlink: netlink.ok(),
        }
    }

    /// Whether nothing that was sent over `socket`, which has been finished, waits for an
    /// acknowledgement any more, be it that the connection is gone. `None` if the kernel
    /// does not tell.
    pub(crate) fn is_empty(&self, socket: &TcpStream) -> Option<bool> {
        let netlink = self.netlink.as_ref()?;
        let (Ok(here), Ok(there)) = (socket.local_addr(), socket.peer_addr()) else {
            // Not connected any more.
            return Some(true);
        };
        let question = question(here, there);
        send(netlink, &question, SendFlags::DONTWAIT).ok()?;
        let mut answer = [0; 512];
        // The kernel has answered by the time the question is sent.
        let (count, _) = recv(netlink, &mut answer[..], RecvFlags::DONTWAIT).ok()?;
        acknowledged(&answer[..count])
    }
}

/// What to ask for the connection between two ends.
fn question(here: SocketAddr, there: SocketAddr) -> [u8; ASKED] {
    let mut bytes = [0; ASKED];
    let mut at = 0;
    let mut put = |piece: &[u8]| {
        bytes[at..at + piece.len()].copy_from_slice(piece);
        at += piece.len();
    };
    let family = match here {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    put(&(ASKED as u32).to_ne_bytes());
    put(&BY_FAMILY.to_ne_bytes());
    put(&REQUEST.to_ne_bytes());
    // Sequence number and sender.
    put(&[0; 8]);
    put(&[family.as_raw() as u8, TCP, 0, 0]);
    // In every state.
    put(&u32::MAX.to_ne_bytes());
    put(&here.port().to_be_bytes());
    put(&there.port().to_be_bytes());
    put(&octets(here.ip()));
    put(&octets(there.ip()));
    // On any interface, without a cookie.
    put(&0_u32.to_ne_bytes());
    put(&[0xff; 8]);
    bytes
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn acknowledged(answer: &[u8]) -> Option<bool> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    match kind {
        // After the family.
        BY_FAMILY => {
            let state = *answer.get(17)?;
            Some(matches!(state, FIN_WAIT_2 | TIME_WAIT | CLOSED))
        }
        ERROR => {
            let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
            (code == NONE).then_some(true)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};
    use std::time::{Duration, Instant};

    fn until(what: Option<bool>, mut is: impl FnMut() -> Option<bool>) {
        let begin = Instant::now();
        while is() != what {
            assert!(begin.elapsed() < Duration::from_secs(30), "never {what:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn follows_one_connection(address: &str) {
        let kernel = Unacknowledged::new();
        let listener = TcpListener::bind(address).unwrap();
        let mut there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut here, _) = listener.accept().unwrap();
        assert_eq!(kernel.is_empty(&here), Some(false), "it is not finished");
        // More than the other host takes while nobody reads.
        here.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(count) = here.write(&[7; 1 << 16]) {
            sent += count;
        }
        here.shutdown(Shutdown::Write).unwrap();
        assert_eq!(kernel.is_empty(&here), Some(false), "nobody reads");
        let mut bytes = vec![0; sent];
        there.read_exact(&mut bytes).unwrap();
        until(Some(true), || kernel.is_empty(&here));
        drop(there);
        until(Some(true), || kernel.is_empty(&here));
    }

    #[test]
    fn little_lies_unsent_on_both_sides() {
        let listener = crate::socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        crate::socket::configure(&here).unwrap();
        let begin = Instant::now();
        let (there, _) = loop {
            match accept(&listener, true) {
                Ok(accepted) => break accepted,
                Err(error) => assert_eq!(error, Errno::AGAIN),
            }
            assert!(begin.elapsed() < Duration::from_secs(30));
        };
        for socket in [&here, &there] {
            let bound = SockRef::from(socket).tcp_notsent_lowat().unwrap();
            assert_eq!(bound, UNSENT);
        }
    }

    #[test]
    fn the_kernel_tells_when_everything_was_acknowledged() {
        follows_one_connection("127.0.0.1:0");
        if TcpListener::bind("[::1]:0").is_ok() {
            follows_one_connection("[::1]:0");
        }
    }

    #[test]
    fn a_connection_that_is_gone_waits_for_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut here, _) = listener.accept().unwrap();
        here.write_all(b"unread").unwrap();
        // With input unread: a reset.
        drop(there);
        let kernel = Unacknowledged::new();
        until(Some(true), || kernel.is_empty(&here));
    }

    #[test]
    fn an_answer_that_is_cut_short_tells_nothing() {
        for length in 0..16 {
            assert_eq!(acknowledged(&[0; 16][..length]), None);
        }
    }
}

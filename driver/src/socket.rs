//! The system calls on one socket. Sends never block, whatever the socket's mode.

use crate::{Reads, system};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer};
use socket2::{Domain, SockRef, Socket, TcpKeepalive};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Connections that wait to be accepted before the system turns more away, which then come again
/// after a second at the soonest. Linux takes no more than `net.core.somaxconn`, 4,096 unless set.
const BACKLOG: i32 = 4096;
/// How long a connection carries nothing before the system asks whether the other host is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// The time between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Questions without an answer after which the connection is broken: 25 s after the last byte.
const KEEPALIVE_PROBES: u32 = 3;
/// Attempts to connect without meeting oneself.
const DIALS: usize = 4;

const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// What a call on a socket came to.
pub(crate) enum Came<T> {
    /// It did something.
    Done(T),
    /// It would have had to wait.
    Blocked,
    /// The connection is broken.
    Broken,
}

/// A TCP socket with all that a connection needs, on the accepting and on the dialling side.
///
/// `SO_REUSEADDR` on a listening socket: a server that comes back finds the connections of its
/// last life in TIME_WAIT. On a dialling one: the system draws a source port on which another
/// process may want to listen later. With the option on both, the later `bind` succeeds as long
/// as nobody listens there. That is safe: a connection is told from others by both its ends, and
/// the system never gives two connections the same two ends; segments of an established connection
/// never reach a listener; and two listeners on one address still exclude each other, as the
/// option does not apply to a port on which somebody listens.
///
/// There is no `TCP_USER_TIMEOUT`: on Linux it also ends a connection whose reader pauses for that
/// long, though its host answers every probe.
fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = system::socket(Domain::for_address(address))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Sets what a connection needs once it stands: a dial of a peer that is away costs little so.
pub(crate) fn configure<'a>(socket: impl Into<SockRef<'a>>) -> io::Result<()> {
    let socket = socket.into();
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    system::configure(&socket)
}

/// A socket that listens on `address` and whose accepting does not block.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    configure(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Takes the next connection that waits, and tells where it comes from.
pub(crate) fn accept(listener: &TcpListener, reads: Reads) -> Result<(TcpStream, IpAddr), Errno> {
    let (socket, from) = system::accept(listener, reads == Reads::Blocking)?;
    let from = from.map_or(Ipv4Addr::UNSPECIFIED.into(), |from| from.ip());
    Ok((socket, from))
}

/// Begins to connect; the second part tells whether the connection already stands. On one machine a
/// dial is answered before the call returns, so that it never has to be waited for.
///
/// While nobody listens on `address`, the system may draw its port as the source port, and TCP then
/// connects the socket to itself. That one is thrown away here, before anybody hears of it, and
/// kept until there is another, so that the port is not drawn again. It is aborted: no TIME_WAIT
/// is left on a port that belongs to somebody else. (To bind a source port first would prevent
/// it, but the system then keeps that port from every other process that dials, whomever it
/// dials, and a host has only some 28,000.)
pub(crate) fn dial(address: SocketAddr) -> io::Result<(TcpStream, bool)> {
    let mut thrown_away = Vec::new();
    while thrown_away.len() < DIALS {
        let socket = socket(address)?;
        let stands = match socket.connect(&address.into()) {
            Ok(()) => true,
            Err(e) if e.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {
                if let Some(error) = socket.take_error()? {
                    return Err(error);
                }
                false
            }
            Err(e) => return Err(e),
        };
        if socket.local_addr()?.as_socket() != Some(address) {
            return Ok((socket.into(), stands));
        }
        socket.set_linger(Some(Duration::ZERO))?;
        thrown_away.push(socket);
    }
    Err(io::ErrorKind::AddrNotAvailable.into())
}

/// Whether a connection that was begun stands by now.
pub(crate) fn dialled(socket: &TcpStream) -> Came<()> {
    match socket.take_error() {
        Ok(None) => match rustix::net::getpeername(socket) {
            Ok(_) => Came::Done(()),
            Err(Errno::NOTCONN) => Came::Blocked,
            Err(_) => Came::Broken,
        },
        Ok(Some(_)) | Err(_) => Came::Broken,
    }
}

/// Sends as much of `pieces`, one after the other, as the system takes now.
pub(crate) fn send(socket: &TcpStream, pieces: &[IoSlice<'_>]) -> Came<usize> {
    let flags = system::SEND;
    loop {
        let sent = match pieces {
            [piece] => rustix::net::send(socket, piece, flags),
            _ => rustix::net::sendmsg(socket, pieces, &mut SendAncillaryBuffer::default(), flags),
        };
        match sent {
            Ok(0) => return Came::Blocked,
            Ok(count) => return Came::Done(count),
            Err(Errno::INTR) => {}
            // Without buffers the system says so instead of "would block"; both pass.
            Err(Errno::AGAIN | Errno::NOBUFS) => return Came::Blocked,
            Err(_) => return Came::Broken,
        }
    }
}

/// Reads what is there now. No byte at all means that the other side has finished.
pub(crate) fn receive(socket: &TcpStream, buffer: &mut [u8]) -> Came<usize> {
    loop {
        match rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((count, _)) => return Came::Done(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Came::Blocked,
            Err(_) => return Came::Broken,
        }
    }
}

/// Says that nothing more will be sent.
pub(crate) fn finish(socket: &TcpStream) {
    // It fails only on a connection that is gone already.
    let _ = socket.shutdown(Shutdown::Write);
}

/// Ends both halves, which also wakes whoever waits for the socket.
pub(crate) fn end(socket: &TcpStream) {
    let _ = socket.shutdown(Shutdown::Both);
}

/// Which of `sockets` have something to read right now, by index.
pub(crate) fn ready(sockets: &[&TcpStream]) -> Vec<usize> {
    ready_within(sockets, Duration::ZERO)
}

/// Waits at most `most` until one of `sockets` has something to read, and tells which have.
pub(crate) fn ready_within(sockets: &[&TcpStream], most: Duration) -> Vec<usize> {
    let mut polled: Vec<_> = sockets
        .iter()
        .map(|socket| PollFd::new(*socket, PollFlags::IN))
        .collect();
    let most = most.try_into().unwrap_or(AT_ONCE);
    match rustix::event::poll(&mut polled, Some(&most)) {
        Ok(0) => Vec::new(),
        Ok(_) => (0..sockets.len())
            .filter(|&i| !polled[i].revents().is_empty())
            .collect(),
        // If the system cannot tell, trying each is the safe answer.
        Err(_) => (0..sockets.len()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn has_its_options(socket: &TcpStream) {
        let socket = SockRef::from(socket);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
    }

    #[test]
    fn connections_have_their_options_on_both_sides() {
        for reads in [Reads::Blocking, Reads::Ready] {
            let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let (dialled, _) = dial(listener.local_addr().unwrap()).unwrap();
            let begin = std::time::Instant::now();
            let (accepted, from) = loop {
                match accept(&listener, reads) {
                    Ok(accepted) => break accepted,
                    Err(error) => assert_eq!(error, Errno::AGAIN),
                }
                assert!(begin.elapsed() < Duration::from_secs(30));
            };
            assert_eq!(from, Ipv4Addr::LOCALHOST);
            configure(&dialled).unwrap();
            has_its_options(&dialled);
            has_its_options(&accepted);
            let nonblocking = SockRef::from(&accepted).nonblocking().unwrap();
            assert_eq!(nonblocking, reads == Reads::Ready);
            assert!(!system::gone(&accepted));
            drop(dialled);
            while !system::gone(&accepted) {
                assert!(begin.elapsed() < Duration::from_secs(30));
            }
        }
    }

    /// The system draws source ports one after the other, of one parity: every one of them, that of
    /// the destination too, in this many dials.
    #[test]
    fn a_dial_never_connects_to_itself() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let drawn = || dial(listener.local_addr().unwrap()).unwrap().0;
        // One that is free, and that the system draws for a dial.
        let port = drawn().local_addr().unwrap().port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for _ in 0..33_000 {
            assert!(dial(address).is_err(), "nobody listens there");
        }
        let ends = format!("0100007F:{port:04X} 0100007F:{port:04X}");
        let left = fs::read_to_string("/proc/self/net/tcp").unwrap();
        assert!(!left.contains(&ends), "something is left of it");
    }
}

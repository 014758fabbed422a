//! The system calls on one socket. Sends never block, whatever the socket's mode.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

/// Connections that wait to be accepted, before the system turns more away.
const BACKLOG: i32 = 1024;

/// What a call on a socket came to.
pub(crate) enum Came<T> {
    /// It did something.
    Done(T),
    /// It would have had to wait.
    Blocked,
    /// The connection is broken.
    Broken,
}

/// A socket that listens on `address` and whose accepting does not block.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A server that comes back finds the connections of its last life in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Begins to connect; the second part tells whether the connection already stands.
pub(crate) fn dial(address: SocketAddr) -> io::Result<(TcpStream, bool)> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    let stands = match socket.connect(&address.into()) {
        Ok(()) => true,
        Err(e) if e.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => false,
        Err(e) => return Err(e),
    };
    Ok((socket.into(), stands))
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
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
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
    let mut polled: Vec<_> = sockets
        .iter()
        .map(|socket| PollFd::new(*socket, PollFlags::IN))
        .collect();
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // If the system cannot tell, trying each is the safe answer.
    if rustix::event::poll(&mut polled, Some(&at_once)).is_err() {
        return (0..sockets.len()).collect();
    }
    (0..sockets.len())
        .filter(|&i| !polled[i].revents().is_empty())
        .collect()
}

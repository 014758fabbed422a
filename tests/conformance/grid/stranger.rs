//! A connection that says whatever a test wants it to.

use super::LONG;
use rustix::fd::OwnedFd;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType, connect, socket_with};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// A connection to any port of a server.
pub(crate) struct Stranger {
    pub(crate) socket: TcpStream,
}

impl Stranger {
    pub(crate) fn new(host: Ipv4Addr, port: u16) -> Self {
        let socket = TcpStream::connect((host, port)).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket.set_write_timeout(Some(LONG)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket }
    }

    /// Sends `bytes`, as far as the other side takes them.
    pub(crate) fn sends(&mut self, bytes: &[u8]) {
        // It may close in the middle of them.
        let _ = self.socket.write_all(bytes);
    }

    /// Reads one line of the other side; empty at its end.
    pub(crate) fn hears(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while let Ok(1) = self.socket.read(&mut byte) {
            if byte[0] == b'\n' {
                break;
            }
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// Reads until the other side has closed.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn is_closed(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the connection stays open")
                }
                Err(_) => return,
            }
        }
    }

    /// Resets the connection.
    pub(crate) fn resets(self) {
        set_socket_linger(&self.socket, Some(Duration::ZERO)).unwrap();
    }
}

/// Begins a connection and does not wait until it is made: a full queue holds up nobody.
pub(crate) fn begin_to_connect(host: Ipv4Addr, port: u16) -> OwnedFd {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    // In progress, or refused: the other side's right.
    let _ = connect(&socket, &SocketAddrV4::new(host, port));
    socket
}

//! Whether the other host has everything that was sent over a socket.
//!
//! The socket's own calls do not tell without `unsafe`; the kernel's socket diagnostics do
//! (`sock_diag(7)`), at the cost of two calls a socket, however many sockets the system has.

use std::net::TcpStream;

/// A way to ask the kernel.
#[derive(Debug)]
pub(crate) struct Unacknowledged {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    netlink: Option<rustix::fd::OwnedFd>,
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Unacknowledged {
    pub(crate) fn new() -> Self {
        Self {}
    }

    pub(crate) fn is_empty(&self, _socket: &TcpStream) -> Option<bool> {
        None
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use super::{TcpStream, Unacknowledged};
    use rustix::net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send,
        socket_with,
    };
    use std::net::{IpAddr, SocketAddr};

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
}

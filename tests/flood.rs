//! Figures: how long an honest newcomer waits for its first reply while one process does nothing
//! but connect, so many times a second, at the port that the newcomer comes to.
//!
//! ```text
//! ./build
//! CHATROOM_TEST_BINARY=target/release/chatroom \
//!     cargo test --test flood -- --ignored --nocapture
//! ```
//!
//! `CHATROOM_STRICT=1` also asserts that each newcomer from another source address than the flood's
//! is served within a second, at rates that were reached. Without `--ignored` a short run sees that
//! newcomers are served at all.

#[path = "conformance/grid/mod.rs"]
#[allow(dead_code, reason = "the other suites use the rest of it")]
mod grid;

use grid::stranger::begin_to_connect;
use grid::{Kind, LONG, binary, strict, until, within};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_reuseaddr, set_socket_timeout};
use rustix::net::{
    AddressFamily, SocketAddrV4, SocketFlags, SocketType, bind, connect, socket_with,
};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio, id};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// Where a server of a grid listens.
const LINKS: u16 = 3000;
const MASTERS: u16 = 10_000;
/// Connections that the flood keeps; then it closes the oldest for each new one.
const HELD: usize = 2000;
/// What a server of ours gives a dial, and a new link, before it tries again.
const DIAL: Duration = Duration::from_millis(400);
const GREETING: Duration = Duration::from_millis(650);
/// How soon a newcomer must be served.
const BOUND: Duration = Duration::from_secs(1);

/// Who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newcomer {
    /// Connects, asks `alive`, leaves with the reply.
    Master,
    /// Identifies itself by a `ping`, leaves with the `ping` of the other side; with the times of
    /// a server of ours, so that each is a peer that starts again.
    Peer,
}

impl Newcomer {
    const fn port(self) -> u16 {
        match self {
            Self::Master => MASTERS,
            Self::Peer => LINKS,
        }
    }

    /// Comes until it is served; gives how long that took.
    fn comes(self, host: Ipv4Addr, source: Option<Ipv4Addr>) -> Duration {
        let (line, expected, most) = match self {
            Self::Master => ("alive\n", "alive 0", (LONG, LONG)),
            Self::Peer => ("ping 1\n", "ping 0\n", (DIAL, GREETING)),
        };
        let begin = Instant::now();
        while begin.elapsed() < LONG {
            let Some(mut socket) = dial(host, self.port(), source, most.0) else {
                // The longest pause between two dials, where few peers are missing.
                sleep(Duration::from_millis(80));
                continue;
            };
            socket.set_nodelay(true).unwrap();
            socket.set_read_timeout(Some(most.1)).unwrap();
            let mut reply = String::new();
            let sent = socket.write_all(line.as_bytes());
            let read = sent.and_then(|()| BufReader::new(&socket).read_line(&mut reply));
            if read.is_ok_and(|length| length > 0) {
                assert!(reply.starts_with(expected), "{reply}");
                return begin.elapsed();
            }
            assert_eq!(
                self,
                Self::Peer,
                "a master was closed, or waited for {most:?}"
            );
        }
        panic!("{self:?} was not served within {LONG:?}");
    }
}

/// A connection from `source`, if there is one in time.
fn dial(host: Ipv4Addr, port: u16, source: Option<Ipv4Addr>, most: Duration) -> Option<TcpStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    if let Some(source) = source {
        set_socket_reuseaddr(&socket, true).unwrap();
        bind(&socket, &SocketAddrV4::new(source, 0)).unwrap();
    }
    set_socket_timeout(&socket, Timeout::Send, Some(most)).unwrap();
    connect(&socket, &SocketAddrV4::new(host, port)).ok()?;
    Some(TcpStream::from(socket))
}

/// Connects so many times a second until told to stop; gives how many times a second it did.
fn flood(host: Ipv4Addr, port: u16, a_second: u32, stop: &AtomicBool) -> f64 {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let mut held = VecDeque::new();
    let (mut tried, mut made) = (0, 0);
    let begin = Instant::now();
    while !stop.load(Relaxed) {
        let due = (begin.elapsed().as_secs_f64() * f64::from(a_second)) as u32;
        while tried < due && !stop.load(Relaxed) {
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
            tried += 1;
            match connect(&socket, &SocketAddrV4::new(host, port)) {
                Ok(()) | Err(Errno::INPROGRESS) => made += 1,
                // No source port is left: what is not made is not counted.
                Err(Errno::ADDRNOTAVAIL) => {}
                Err(error) => panic!("the flood cannot connect: {error}"),
            }
            held.push_back(socket);
            if held.len() > HELD {
                held.pop_front();
            }
        }
        sleep(Duration::from_millis(1));
    }
    f64::from(made) / begin.elapsed().as_secs_f64()
}

/// A process that ends with its test.
struct Server(Child);

impl Server {
    /// Server 0 of 2 with every default.
    fn start(kind: Kind, host: Ipv4Addr) -> Self {
        let runtime = if kind == Kind::Std { "std" } else { "smol" };
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHATROOM_") {
                command.env_remove(name);
            }
        }
        command.args(["serve", "0", "2", &MASTERS.to_string()]);
        command.args([
            "--base-port",
            &LINKS.to_string(),
            "--host",
            &host.to_string(),
        ]);
        command.args(["--runtime", runtime, "--log", "error"]);
        let server = Self(command.stdin(Stdio::null()).spawn().unwrap());
        until("the server listens", || {
            dial(host, MASTERS, None, LONG).is_some()
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a server listens, and from where honest newcomers come, for one measurement. The flood
/// does not choose its source address, which makes it 127.0.0.1.
fn addresses() -> (Ipv4Addr, Ipv4Addr) {
    static USED: AtomicU8 = AtomicU8::new(0);
    let [.., a, b] = id().to_be_bytes();
    let used = USED.fetch_add(2, Relaxed);
    let address = |last| Ipv4Addr::new(127, 128 | (a & 63), b, last);
    (address(used + 1), address(used + 2))
}

/// Lets `number` newcomers come one after the other under a flood; prints how long they took.
fn measure(kind: Kind, newcomer: Newcomer, same_source: bool, a_second: u32, number: usize) {
    let (host, source) = addresses();
    let source = (!same_source).then_some(source);
    let mut server = Server::start(kind, host);
    let stop = AtomicBool::new(false);
    let (mut took, reached) = thread::scope(|scope| {
        let stop = &stop;
        let flood = scope.spawn(move || flood(host, newcomer.port(), a_second, stop));
        sleep(Duration::from_secs(1));
        let took: Vec<_> = (0..number)
            .map(|n| {
                let took = newcomer.comes(host, source);
                // At any moment of a server's round.
                sleep(Duration::from_millis(7 + n as u64 * 11 % 13));
                took
            })
            .collect();
        stop.store(true, Relaxed);
        (took, flood.join().unwrap())
    });
    assert_eq!(server.0.try_wait().unwrap(), None, "the server has ended");
    took.sort();
    let at = |hundredth: usize| took[(took.len() * hundredth).div_ceil(100).max(1) - 1];
    let runtime = if kind == Kind::Std { "std" } else { "smol" };
    let who = if newcomer == Newcomer::Master {
        "master"
    } else {
        "peer"
    };
    let from = if same_source { "the same" } else { "another" };
    println!(
        "| {runtime} | {who} | {from} | {a_second} | {reached:.0} | {:.1} | {:.1} | {:.1} |",
        at(50).as_secs_f64() * 1e3,
        at(99).as_secs_f64() * 1e3,
        at(100).as_secs_f64() * 1e3,
    );
    if strict() && !same_source && reached > 0.95 * f64::from(a_second) {
        assert!(at(100) <= BOUND, "a newcomer waited for {:?}", at(100));
    }
}

/// Whom the system turns away tries again after a second at the soonest, so its queue has room for
/// as many as come while a server is away for a tenth of a second.
#[test]
fn three_thousand_who_wait_do_not_keep_the_next_from_the_systems_queue() {
    const WAITING: usize = 3000;
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    if most.trim().parse::<usize>().unwrap() <= WAITING {
        eprintln!("left out: net.core.somaxconn is {}", most.trim());
        return;
    }
    for kind in [Kind::Std, Kind::Smol] {
        let (host, source) = addresses();
        let server = Server::start(kind, host);
        let pid = Pid::from_raw(server.0.id() as i32).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        let waiting: Vec<_> = (0..WAITING)
            .map(|_| begin_to_connect(host, MASTERS))
            .collect();
        let next = dial(host, MASTERS, Some(source), Duration::from_millis(900));
        kill_process(pid, Signal::CONT).unwrap();
        assert!(next.is_some(), "{kind:?}: the queue was full");
        let took = Newcomer::Master.comes(host, Some(source));
        within("a newcomer behind 3,000 is served", took, BOUND);
        drop(waiting);
    }
}

#[test]
#[ignore = "figures for a calm machine: some minutes"]
fn figures() {
    println!(
        "| runtime | newcomer | source address | connects a second | reached | p50, ms | p99, ms | most, ms |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for kind in [Kind::Std, Kind::Smol] {
        for newcomer in [Newcomer::Master, Newcomer::Peer] {
            for same_source in [false, true] {
                for a_second in [1000, 5000, 20_000] {
                    measure(kind, newcomer, same_source, a_second, 200);
                }
            }
        }
    }
}

#[test]
fn newcomers_are_served_beside_a_process_that_only_connects() {
    for kind in [Kind::Std, Kind::Smol] {
        for newcomer in [Newcomer::Master, Newcomer::Peer] {
            measure(kind, newcomer, false, 1000, 10);
        }
    }
}

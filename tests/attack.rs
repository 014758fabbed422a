//! Hostile connections and lines of every kind, against each port of each server of a grid that
//! goes on and delivers everything meanwhile; memory stays flat. On each runtime.
//!
//! `CHATROOM_ATTACKS` is the number of attacks on each kind of port: 2,000 by default, which takes
//! a few seconds; the long run has 200,000:
//!
//! ```text
//! CHATROOM_ATTACKS=200000 cargo test --release --test attack -- --nocapture --test-threads=1
//! ```

#[path = "conformance/grid/mod.rs"]
#[allow(dead_code, reason = "the other suites use the rest of it")]
mod grid;

use grid::pump::Pump;
use grid::turn::{Turn, Weight};
use grid::{Grid, Kind, all, patient, until};
use rustix::net::sockopt::set_socket_linger;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How much a server may grow under attack.
const FLAT: usize = 16 << 20;
/// Attackers at one time, at each kind of port.
const ATTACKERS: usize = 2;
/// Connections that each attacker keeps open; the oldest is let go of.
const HOARD: usize = 40;

/// What is thrown at the port of the links. The place of id 3 is free, so it is a stranger's to
/// take.
const AT_LINKS: [&[u8]; 20] = [
    b"",
    b"\n",
    b"ping\n",
    b"ping 3",
    b"ping 3\n",
    b"ping 4\n",
    b"ping 0\nping 1\nping 2\n",
    b"ping -3\nping 03\n",
    b"ping 3\nping 2\n",
    b"ping 3\nmsg 2 forged\n",
    b"ping 3\nmsg 3\n",
    b"ping 3\nnonsense\n\n\n\nmore of it\n",
    b"ping 3\nmsg 3 \xff\xfe\n",
    b"msg\n",
    b"msg 3 ",
    b"msg 77777777777777777777777777777 text\n",
    b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00\x00\x00\x00\n\x00\n",
    b"\xff\xfe\xfd\n",
];

/// What is thrown at the port of the masters: all but `broadcast` and `crash`, which are theirs to
/// say.
const AT_MASTERS: [&[u8]; 16] = [
    b"",
    b"\n\n\n\n",
    b"get",
    b"get\n",
    b"get\nget\nget\nget\nget\nget\nget\nget\n",
    b"alive\nalive\nalive now\n",
    b"watch\nwatch\nwatch\n",
    b"broadcast\n",
    b"broadcast \n",
    b"broadcast \xc3\x28\n",
    b"broadcast never ended",
    b"crash now\nCRASH\n",
    b"ping 1\nmsg 1 text\n",
    b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00\xff\n\x00\n",
];

#[test]
fn a_grid_on_std_delivers_everything_under_attack() {
    withstands(Kind::Std);
}

#[test]
fn a_grid_on_smol_delivers_everything_under_attack() {
    withstands(Kind::Smol);
}

fn attacks() -> usize {
    let set = std::env::var("CHATROOM_ATTACKS").ok();
    set.map_or(2000, |text| text.parse().expect("a number"))
}

fn withstands(kind: Kind) {
    let _turn = Turn::take(Weight::Heavy);
    let mut grid = Grid::new(&all(kind, 4), patient());
    (0..3).for_each(|id| grid.start(id));
    grid.agree(&[0, 1, 2]);
    let pump = Pump::start(&grid, &[0, 1, 2]);
    let count = attacks();
    // A tenth of it shows how much memory an attack takes at one time.
    attack(&grid, count.div_ceil(10));
    let before = [0, 1, 2].map(|id| grid.memory(id));
    let begin = Instant::now();
    attack(&grid, count);
    let took = begin.elapsed();
    let after = [0, 1, 2].map(|id| grid.memory(id));
    eprintln!(
        "{count} attacks on each kind of port in {took:.1?}; {before:?} bytes, then {after:?}"
    );
    // A master that asks is served, and the grid has lost nothing.
    until("all are there", || grid.master(1).alive() == [0, 1, 2]);
    pump.arrives(&grid);
    for (before, after) in before.into_iter().zip(after) {
        assert!(after <= before + FLAT, "grew from {before} to {after}");
    }
}

/// Makes `count` attacks on the ports of the links, and as many on those of the masters.
fn attack(grid: &Grid, count: usize) {
    let made = [AtomicUsize::new(0), AtomicUsize::new(0)];
    thread::scope(|scope| {
        for _ in 0..ATTACKERS {
            for (made, port, lines) in [
                (&made[0], Grid::link_port as fn(usize) -> u16, &AT_LINKS[..]),
                (&made[1], Grid::master_port, &AT_MASTERS[..]),
            ] {
                scope.spawn(move || {
                    let mut hoard = VecDeque::new();
                    loop {
                        let number = made.fetch_add(1, Relaxed);
                        if number >= count {
                            return;
                        }
                        hoard.extend(strike(grid, port(number % 3), lines, number / 3));
                        if hoard.len() > HOARD {
                            hoard.pop_front();
                        }
                    }
                });
            }
        }
    });
}

/// One attack: what it says and how it ends follow from its number. Gives the connection if it is
/// to stay.
fn strike(grid: &Grid, port: u16, lines: &[&[u8]], number: usize) -> Option<TcpStream> {
    let mut connected = None;
    until("a port takes connections", || {
        connected = TcpStream::connect((grid.host, port)).ok();
        connected.is_some()
    });
    let mut socket = connected?;
    socket
        .set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    // The server may have closed already: that is its right. So is not to read.
    let line = lines[number % lines.len()];
    let _ = match number / lines.len() % 5 {
        // A line without an end, past every limit.
        0 if number.is_multiple_of(7) => socket.write_all(&[line, &[b'x'; 100_000]].concat()),
        // Byte by byte.
        1 => line
            .iter()
            .take(12)
            .try_for_each(|&byte| socket.write_all(&[byte])),
        // A line many times.
        2 => socket.write_all(&line.repeat(100)),
        _ => socket.write_all(line),
    };
    match number % 4 {
        0 => set_socket_linger(&socket, Some(Duration::ZERO)).unwrap(),
        1 => {
            let _ = socket.shutdown(Shutdown::Write);
            let _ = socket.read(&mut [0; 512]);
        }
        2 if number.is_multiple_of(3) => return Some(socket),
        _ => {}
    }
    None
}

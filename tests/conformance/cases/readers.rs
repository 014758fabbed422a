//! Peers and masters that read slowly, or nothing: who goes on reading keeps its session, who takes
//! nothing holds up nobody, and nobody costs more than its limit.

use crate::grid::stranger::Stranger;
use crate::grid::{Grid, Kind, all, binary, patient, until};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

/// Bytes of each text, without its number.
const FILLER: usize = 4000;
/// A server's limits of what a peer may lag behind are reached soon.
const NARROW: &str = "--max-lag 8000000 --max-high-water 500000";

/// A peer that the test plays: it pings, and reads at a rate of its own.
struct Reader {
    id: usize,
    socket: TcpStream,
    /// Messages of server 0 read so far.
    count: AtomicUsize,
    /// What is wrong with what it read, or that its link has ended.
    fault: Mutex<Option<String>>,
}

impl Reader {
    /// Links itself to server 0. `buffer` is what its kernel may take for it; else the default.
    fn new(grid: &Grid, id: usize, buffer: Option<usize>) -> Self {
        let mut stranger = Stranger::new(grid.host, Grid::link_port(0));
        if let Some(bytes) = buffer {
            set_socket_recv_buffer_size(&stranger.socket, bytes).unwrap();
        }
        stranger.sends(format!("ping {id}\n").as_bytes());
        let socket = stranger.socket;
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        Self {
            id,
            socket,
            count: AtomicUsize::new(0),
            fault: Mutex::new(None),
        }
    }

    /// Pings until it is to stop.
    fn pings(&self, stop: &AtomicBool) {
        let ping = format!("ping {}\n", self.id);
        while !stop.load(Relaxed) && (&self.socket).write_all(ping.as_bytes()).is_ok() {
            sleep(Duration::from_millis(100));
        }
    }

    /// Reads `rate` bytes a second until it is to stop. The messages of server 0 are numbered;
    /// none may be missing.
    fn reads(&self, rate: f64, stop: &AtomicBool) {
        let begin = Instant::now();
        let mut had = 0.0;
        let (mut piece, mut line) = (vec![0; 64 << 10], Vec::new());
        while !stop.load(Relaxed) {
            let due = begin.elapsed().as_secs_f64() * rate - had;
            if due < 1000.0 {
                sleep(Duration::from_millis(2));
                continue;
            }
            let most = piece.len().min(due as usize);
            let count = match (&self.socket).read(&mut piece[..most]) {
                Ok(0) => return self.fails("its link was closed".to_owned()),
                Ok(count) => count,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    continue;
                }
                Err(e) => return self.fails(format!("its link broke: {e}")),
            };
            had += count as f64;
            for part in piece[..count].split_inclusive(|&byte| byte == b'\n') {
                line.extend_from_slice(part);
                if line.ends_with(b"\n") {
                    self.judges(&line);
                    line.clear();
                }
            }
        }
    }

    fn judges(&self, line: &[u8]) {
        let Some(text) = line.strip_prefix(b"msg 0 ") else {
            return;
        };
        let text = String::from_utf8_lossy(text);
        let number = text.split(' ').next().and_then(|n| n.parse().ok());
        let expected = self.count.fetch_add(1, Relaxed);
        if number != Some(expected) {
            self.fails(format!("{number:?} instead of {expected}"));
        }
    }

    fn fails(&self, fault: String) {
        self.fault.lock().unwrap().get_or_insert(fault);
    }
}

/// A server that runs, in a grid whose other `peers` places are the test's to play.
fn alone(kind: Kind, peers: usize, options: &str) -> Grid {
    let mut grid = Grid::new(&all(kind, 1 + peers), &format!("{} {options}", patient()));
    grid.start(0);
    grid.agree(&[0]);
    grid
}

/// Broadcasts at server 0 until `enough` is true, 40 texts at a time; gives their number.
fn pours(grid: &Grid, mut enough: impl FnMut(usize) -> bool) -> usize {
    let mut master = grid.master(0);
    // What it is held up for is not the master's to wait for.
    let held_up = Some(Duration::from_millis(100));
    master.socket().set_write_timeout(held_up).unwrap();
    let filler = "x".repeat(FILLER);
    let mut count = 0;
    while !enough(count) {
        let texts = (count..count + 40).map(|number| format!("broadcast {number} {filler}\n"));
        let block = texts.collect::<String>().into_bytes();
        let mut rest = &block[..];
        while !rest.is_empty() {
            match master.socket().write(rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => panic!("the master's connection broke: {e}"),
            }
        }
        count += 40;
    }
    count
}

/// Two readers of `rate` bytes a second, one with a small and one with a large receive buffer, and
/// one that reads all it can: whoever broadcasts is held up, nobody is dropped.
fn steady(kind: Kind, rate: f64) {
    const TIME: Duration = Duration::from_secs(3);
    let grid = alone(kind, 3, NARROW);
    let watch = grid.watch(0);
    let fast = Reader::new(&grid, 1, None);
    let slow = [
        Reader::new(&grid, 2, Some(16 << 10)),
        Reader::new(&grid, 3, Some(1 << 20)),
    ];
    grid.agree_at(0, &[0, 1, 2, 3]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for reader in slow.iter().chain([&fast]) {
            scope.spawn(|| reader.pings(&stop));
        }
        scope.spawn(|| fast.reads(1e12, &stop));
        for reader in &slow {
            scope.spawn(|| reader.reads(rate, &stop));
        }
        let _stops = Stops(&stop);
        let begin = Instant::now();
        let count = pours(&grid, |count| begin.elapsed() > TIME || count >= 25_000);
        let read = [&fast, &slow[0], &slow[1]].map(|reader| reader.count.load(Relaxed));
        eprintln!(
            "{count} broadcasts of 4 kB in {:.1?}: {read:?} were read",
            begin.elapsed()
        );
        assert_eq!(grid.master(0).alive(), [0, 1, 2, 3]);
    });
    for reader in slow.iter().chain([&fast]) {
        let fault = reader.fault.lock().unwrap().clone();
        assert_eq!(fault, None, "reader {}", reader.id);
        assert!(reader.count.load(Relaxed) > 0, "{} read nothing", reader.id);
    }
    assert!(watch.told("down").is_empty(), "{:?}", watch.told("down"));
}

/// Ends the threads of a case also when it fails.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

pub(crate) fn steady_readers_of_100_kb_a_second_keep_their_sessions(kind: Kind) {
    steady(kind, 0.1e6);
}

pub(crate) fn steady_readers_of_1_mb_a_second_keep_their_sessions(kind: Kind) {
    steady(kind, 1e6);
}

pub(crate) fn steady_readers_of_3_mb_a_second_keep_their_sessions(kind: Kind) {
    steady(kind, 3e6);
}

pub(crate) fn steady_readers_of_6_mb_a_second_keep_their_sessions(kind: Kind) {
    steady(kind, 6e6);
}

pub(crate) fn steady_readers_of_50_mb_a_second_keep_their_sessions(kind: Kind) {
    steady(kind, 50e6);
}

/// They ping, so they are alive; they take nothing, so they are dropped, and the one that reads
/// gets everything as if they were not there.
pub(crate) fn peers_that_ping_and_take_nothing_hold_up_nobody(kind: Kind) {
    const COUNT: usize = 8000;
    let grid = alone(kind, 3, NARROW);
    let fast = Reader::new(&grid, 1, None);
    let deaf = OnceLock::new();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stops = Stops(&stop);
        scope.spawn(|| fast.pings(&stop));
        scope.spawn(|| fast.reads(1e12, &stop));
        grid.agree_at(0, &[0, 1]);
        let pour = || {
            // The numbers begin again.
            fast.count.store(0, Relaxed);
            let begin = Instant::now();
            pours(&grid, |count| count >= COUNT);
            until("the reader has all of it", || {
                fast.count.load(Relaxed) >= COUNT || fast.fault.lock().unwrap().is_some()
            });
            begin.elapsed()
        };
        let alone = pour();
        for reader in deaf.get_or_init(|| [2, 3].map(|id| Reader::new(&grid, id, None))) {
            scope.spawn(|| reader.pings(&stop));
        }
        grid.agree_at(0, &[0, 1, 2, 3]);
        let beside = pour();
        eprintln!("32 MB: {alone:.1?} alone, {beside:.1?} beside two that take nothing");
        assert!(beside <= 4 * alone + Duration::from_secs(3), "{beside:?}");
        grid.agree_at(0, &[0, 1]);
    });
    assert_eq!(*fast.fault.lock().unwrap(), None);
}

/// Limits that contradict each other are refused, with both names; at the least that fits, the
/// longest text reaches watchers and peers that owe nothing.
pub(crate) fn the_longest_text_fits_any_limits_that_are_not_refused(kind: Kind) {
    const TEXT: usize = 1_000_000;
    let mut options = format!("--max-text {TEXT} --max-high-water 1");
    for name in ["--max-watch", "--max-lag"] {
        let refused = Command::new(binary())
            .args(["serve", "0", "2", "10000", "--host", "127.0.0.1"])
            .args(options.split(' ').chain([name, "4000"]))
            .output()
            .unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("--max-text") && said.contains(name), "{said}");
        let least = said.split("at least ").nth(1).expect(&said);
        let least = least.split([' ', ',']).next().unwrap();
        options += &format!(" {name} {least}");
    }
    let grid = Grid::up(&all(kind, 2), &format!("{} {options}", patient()));
    let watches = [0, 1].map(|id| grid.watch(id));
    let mut master = grid.master(0);
    for round in 1..=3 {
        let text = round.to_string().repeat(TEXT);
        master.tell(&format!("broadcast {text}"));
        for watch in &watches {
            until("a watcher is told the longest text", || {
                watch.told("delivered 0").len() >= round
            });
            assert!(watch.told("delivered 0")[round - 1] == text);
        }
    }
    assert_eq!(master.alive(), [0, 1]);
}

/// Requests of a few bytes whose replies nobody reads cost what PROTOCOL.md says: 256 KiB a master.
pub(crate) fn masters_that_ask_and_do_not_read_cost_little(kind: Kind) {
    const MASTERS: usize = 32;
    const MOST: usize = 16 << 20;
    let grid = Grid::up(&all(kind, 1), patient());
    let before = grid.memory(0);
    let mut masters: Vec<_> = (0..MASTERS)
        .map(|_| {
            let master = Stranger::new(grid.host, Grid::master_port(0));
            set_socket_recv_buffer_size(&master.socket, 2048).unwrap();
            master.socket.set_nonblocking(true).unwrap();
            master
        })
        .collect();
    let asks = b"get\n".repeat(8000);
    let mut quiet = Instant::now();
    // Until all of them were not read from for a while.
    while quiet.elapsed() < Duration::from_millis(500) {
        for master in &mut masters {
            if master.socket.write(&asks).is_ok() {
                quiet = Instant::now();
            }
        }
        let grown = grid.memory(0).saturating_sub(before);
        assert!(grown < MOST, "32 masters cost {grown} bytes");
        sleep(Duration::from_millis(5));
    }
    eprintln!("{} bytes", grid.memory(0).saturating_sub(before));
}

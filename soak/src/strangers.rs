//! Who else connects during a soak: strangers that break every rule, and masters that do not
//! read. None of them takes the place of a peer: any process of the machine could, and the
//! contract gives it the place.

use fastrand::Rng;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

/// Strangers held open at one time.
const HELD: usize = 24;
/// The longest that one is held.
const HOLD: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(30);
const PATIENCE: Duration = Duration::from_millis(200);

/// The strangers of one soak.
pub(crate) struct Strangers {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    rests: AtomicBool,
    /// All are gone, while they rest.
    gone: AtomicBool,
    to_links: AtomicU64,
    to_masters: AtomicU64,
    slow: AtomicU64,
}

impl Strangers {
    pub(crate) fn new(host: Ipv4Addr, links: Vec<u16>, masters: Vec<u16>, seed: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || theirs.run(host, &links, &masters, seed));
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Sends them away, and waits until they are gone; or lets them come again.
    pub(crate) fn rest(&self, rest: bool) {
        self.shared.gone.store(false, Ordering::Release);
        self.shared.rests.store(rest, Ordering::Release);
        while rest && !self.shared.gone.load(Ordering::Acquire) {
            sleep(Duration::from_millis(5));
        }
    }

    /// How many came to the link ports, to the master ports, and as masters that do not read.
    pub(crate) fn counts(&self) -> [u64; 3] {
        let Shared {
            to_links,
            to_masters,
            slow,
            ..
        } = &*self.shared;
        [to_links, to_masters, slow].map(|count| count.load(Ordering::Relaxed))
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, host: Ipv4Addr, links: &[u16], masters: &[u16], seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let mut held: Vec<(TcpStream, Instant)> = Vec::new();
        while !self.ends.load(Ordering::Acquire) {
            sleep(PAUSE);
            if self.rests.load(Ordering::Acquire) {
                held.clear();
                self.gone.store(true, Ordering::Release);
                continue;
            }
            let server = rng.usize(..links.len());
            let kind = rng.usize(..8);
            let (port, counter, line) = match kind {
                0 => (masters[server], &self.slow, b"get\n".repeat(50)),
                1 | 2 => (masters[server], &self.to_masters, to_master(&mut rng)),
                _ => (
                    links[server],
                    &self.to_links,
                    to_link(&mut rng, server, links.len()),
                ),
            };
            let address = SocketAddr::from((host, port));
            let Ok(mut socket) = TcpStream::connect_timeout(&address, PATIENCE) else {
                continue;
            };
            counter.fetch_add(1, Ordering::Relaxed);
            let _ = socket.set_write_timeout(Some(PATIENCE));
            // It may be refused in the middle, which is the point.
            let _ = socket.write_all(&line);
            if kind == 0 || rng.bool() {
                let until = Instant::now() + HOLD.mul_f64(rng.f64());
                held.push((socket, until));
            } else if rng.bool() {
                // Read a little, so that the rest is unread and the end is a reset.
                let _ = socket.set_read_timeout(Some(Duration::from_millis(5)));
                let _ = socket.read(&mut [0; 16]);
            }
            held.retain(|(_, until)| *until > Instant::now());
            if held.len() > HELD {
                held.swap_remove(rng.usize(..held.len()));
            }
        }
    }
}

/// What breaks a rule of the link port of `server` of `n`.
fn to_link(rng: &mut Rng, server: usize, n: usize) -> Vec<u8> {
    match rng.usize(..12) {
        0 => Vec::new(),
        1 => b"ping\n".to_vec(),
        2 => b"ping ".to_vec(),
        3 => format!("ping {}\n", n + rng.usize(..1000)).into_bytes(),
        4 => format!("ping {server}\n").into_bytes(),
        5 => b"ping -1\nping 01\n".to_vec(),
        6 => format!("msg {}\n", n - 1).into_bytes(),
        7 => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        8 => vec![b'x'; 200_000],
        9 => b"msg \xff\xfe\n".to_vec(),
        10 if server > 0 => format!("ping {}\n", rng.usize(..server)).into_bytes(),
        _ => {
            // Nothing that could be a valid line: its first byte is no letter.
            let mut noise: Vec<u8> = (0..rng.usize(1..2000)).map(|_| rng.u8(..)).collect();
            noise[0] = 0;
            noise.retain(|&byte| byte != b'\n');
            noise.push(b'\n');
            noise
        }
    }
}

/// What a master must not say.
fn to_master(rng: &mut Rng) -> Vec<u8> {
    match rng.usize(..8) {
        0 => b"broadcast\n".to_vec(),
        1 => b"get all\nalive 1\ncrash now\n".to_vec(),
        2 => vec![b'y'; 300_000],
        3 => b"\xff\xfe\n".to_vec(),
        4 => b"\n\n\n \n".to_vec(),
        5 => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        6 => b"ge".to_vec(),
        _ => b"alive\nnonsense\n".repeat(500),
    }
}

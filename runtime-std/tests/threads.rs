//! What costs a thread, and what happens when there is none left: one case in a process of its
//! own, whose threads it counts and whose memory it limits.

use chatroom_driver::testing::{Plan, Told, Toy, checked};
use chatroom_driver::{Addresses, Observer, Outcome, Stop};
use chatroom_machine::Checked;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(30);

struct Teller(Sender<Told>);

impl Observer<Checked<Toy>> for Teller {
    fn notice(&mut self, _now: chatroom_machine::Time, told: &Told) {
        let _ = self.0.send(*told);
    }

    fn look(&mut self, _now: chatroom_machine::Time, _machine: &Checked<Toy>) {}
}

fn dial(door: SocketAddr) -> TcpStream {
    let begin = Instant::now();
    loop {
        match TcpStream::connect(door) {
            Ok(socket) => {
                socket.set_read_timeout(Some(LONG)).unwrap();
                return socket;
            }
            Err(e) => assert!(begin.elapsed() < LONG, "no door: {e}"),
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn echoes(socket: &mut TcpStream) {
    socket.write_all(b"word").unwrap();
    let mut back = [0; 4];
    socket.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"word");
}

fn hears(told: &Receiver<Told>, what: Told, times: usize) {
    let mut left = times;
    while left > 0 {
        left -= usize::from(told.recv_timeout(LONG) == Ok(what));
    }
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Waits until there are so many.
fn has_threads(count: usize) {
    let begin = Instant::now();
    while threads() != count {
        assert!(begin.elapsed() < LONG, "{} instead of {count}", threads());
        thread::sleep(Duration::from_millis(2));
    }
}

/// Leaves room for no more threads.
fn limit_memory() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|l| l.strip_prefix("VmSize:"));
    let size = size.and_then(|l| l.trim().strip_suffix(" kB")).unwrap();
    let bytes = (size.parse::<u64>().unwrap() + 128) * 1024;
    set_limit(Some(bytes));
}

fn set_limit(current: Option<u64>) {
    let maximum = getrlimit(Resource::As).maximum;
    setrlimit(Resource::As, Rlimit { current, maximum }).unwrap();
}

#[test]
fn a_thread_is_for_who_speaks_and_who_gets_none_is_served_all_the_same() {
    let [.., a, b] = process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, 128 | a, b, 255);
    let doors = [20_000, 20_001].map(|port| SocketAddr::from((host, port)));
    let addresses = Addresses {
        doors: doors.to_vec(),
        places: Vec::new(),
        state: None,
    };
    let (tell, told) = channel();
    let (stopper, stop) = Stop::new().unwrap();
    let plan = Plan {
        accepts_on: true,
        ..Plan::default()
    };
    let counts = Arc::clone(&plan.counts);
    let run = thread::spawn(move || {
        chatroom_runtime_std::run(checked(plan), addresses, Teller(tell), &stop)
    });
    let accepted = Told::Accepted(chatroom_driver::testing::ECHO);
    drop(dial(doors[0]));
    hears(&told, accepted, 1);
    let before = threads();

    let mut silent: Vec<_> = (0..100).map(|_| dial(doors[0])).collect();
    for _ in 0..100 {
        dial(doors[0]).write_all(b"word").unwrap();
    }
    hears(&told, accepted, 200);
    has_threads(before);

    echoes(&mut silent[0]);
    echoes(&mut silent[0]);
    has_threads(before + 1);

    limit_memory();
    for socket in &mut silent[1..11] {
        echoes(socket);
        echoes(socket);
    }
    let mut newcomer = dial(doors[0]);
    echoes(&mut newcomer);
    echoes(&mut newcomer);
    // Each had no thread for it, told once at both doors; or one after all, where memory came free.
    let begin = Instant::now();
    let failed = || counts.handle_starved.load(Relaxed);
    while failed() / 2 + threads() - (before + 1) < 11 {
        assert!(begin.elapsed() < LONG, "told {} times", failed());
    }
    assert!((2..=22).contains(&failed()), "told {} times", failed());

    set_limit(None);
    thread::sleep(Duration::from_millis(150));
    for socket in silent[1..11].iter_mut().chain([&mut newcomer]) {
        echoes(socket);
        echoes(socket);
    }
    has_threads(before + 12);
    stopper.request();
    assert_eq!(run.join().unwrap().unwrap(), Outcome::Done);
}

//! One suite for every runtime, over real sockets: what [`suite!`](crate::suite) turns into
//! tests of the runtime that it is given.

mod arrivals;
mod ends;
mod storage;
mod toy;

pub use arrivals::*;
pub use ends::*;
pub use storage::*;
pub use toy::{Counts, ECHO, FLOOD, Plan, Told, Toy};

use crate::{Addresses, Error, Observer, Outcome, Stop, Stopper};
use chatroom_machine::{Checked, Checks, Dialled, Loss, Machine, Place, Side};
use chatroom_machine::{Span, Time};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A condition that does not come true by then never will.
const LONG: Duration = Duration::from_secs(30);

/// A runtime, for the suite.
pub trait Runtime {
    /// Runs a machine to its end.
    ///
    /// # Errors
    /// As the runtime has them.
    fn run<M, O>(
        machine: M,
        addresses: Addresses,
        observer: O,
        stop: &Stop,
    ) -> Result<Outcome, Error>
    where
        M: Machine + Send,
        O: Observer<M> + Send;
}

/// Makes a test of each case of the suite, for a runtime.
#[macro_export]
macro_rules! suite {
    ($runtime:ty) => {
        $crate::suite!($runtime:
            ten_megabytes_come_back_in_order,
            a_dial_stands_and_carries_bytes,
            what_is_owed_before_a_dial_stands_is_sent_then,
            a_dial_that_nobody_takes_fails,
            who_does_not_read_holds_up_nobody_and_misses_nothing,
            what_is_owed_still_arrives_after_a_fin,
            a_stop_ends_a_blocked_write_in_time,
            a_stop_at_rest_ends_in_good_order,
            a_crash_ends_the_run,
            a_crash_waits_for_nobody,
            a_taken_door_is_named,
            the_last_words_arrive_though_input_was_not_read,
            a_shut_door_lets_nobody_in_until_it_opens,
            bytes_that_wait_in_a_socket_are_no_silence,
            silence_is_noticed,
            a_slot_may_pass_from_one_connection_to_the_next_at_once,
            a_reset_is_told_and_harms_nobody_else,
            what_came_before_a_reset_is_read_though_writing_fails,
            a_hundred_connections_at_once_are_served,
            what_a_newcomer_has_sent_is_heard_before_the_next_is_let_in,
            a_machine_without_a_timeout_is_left_alone,
            a_machine_without_a_timeout_is_left_alone_with_its_connections,
            a_door_that_cannot_accept_rests,
            the_end_waits_for_a_slow_reader,
            the_end_waits_for_many_slow_readers,
            the_end_does_not_wait_for_who_has_everything
        );
    };
    ($runtime:ty: $($case:ident),*) => {
        $(
            #[test]
            fn $case() {
                $crate::testing::$case::<$runtime>();
            }
        )*
    };
}

/// A toy on a runtime, in a thread of its own.
struct Running {
    host: Ipv4Addr,
    told: Receiver<Told>,
    stopper: Stopper,
    thread: JoinHandle<Result<Outcome, Error>>,
}

struct Teller(Sender<Told>);

impl Observer<Checked<Toy>> for Teller {
    fn notice(&mut self, _now: Time, told: &Told) {
        // The test may have seen enough.
        let _ = self.0.send(*told);
    }

    fn look(&mut self, _now: Time, _machine: &Checked<Toy>) {}
}

/// A toy whose contract with the driver is checked: a breach of either ends the run by a panic.
#[must_use]
pub fn checked(plan: Plan) -> Checked<Toy> {
    let mut checks = Checks::thorough().panicking();
    if plan.accepts_on {
        checks = checks.only(Side::Driver);
    }
    Checked::new(Toy::new(plan), checks)
}

/// An address of this test alone.
fn host() -> Ipv4Addr {
    static USED: AtomicU8 = AtomicU8::new(1);
    let [.., a, b] = process::id().to_be_bytes();
    Ipv4Addr::new(127, 128 | a, b, USED.fetch_add(1, Ordering::Relaxed))
}

fn door(host: Ipv4Addr, at: u16) -> SocketAddr {
    (host, 20_000 + at).into()
}

fn addresses(host: Ipv4Addr) -> Addresses {
    Addresses {
        doors: vec![door(host, 0), door(host, 1)],
        places: vec![door(host, 2)],
        state: None,
    }
}

impl Running {
    fn new<R: Runtime>(plan: Plan) -> Self {
        let (tell, told) = channel();
        Self::with::<R, _>(host(), plan, Teller(tell), told)
    }

    fn with<R: Runtime, O: Observer<Checked<Toy>> + Send + 'static>(
        host: Ipv4Addr,
        plan: Plan,
        observer: O,
        told: Receiver<Told>,
    ) -> Self {
        let (stopper, stop) = Stop::new().unwrap();
        let thread = thread::spawn(move || R::run(checked(plan), addresses(host), observer, &stop));
        Self {
            host,
            told,
            stopper,
            thread,
        }
    }

    /// Connects to a door, once it is there.
    fn dial(&self, at: u16) -> TcpStream {
        let begin = Instant::now();
        loop {
            match TcpStream::connect(door(self.host, at)) {
                Ok(socket) => {
                    socket.set_read_timeout(Some(LONG)).unwrap();
                    socket.set_write_timeout(Some(LONG)).unwrap();
                    return socket;
                }
                Err(e) => assert!(begin.elapsed() < LONG, "no door {at}: {e}"),
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits to be told something.
    fn hears(&self, what: Told) {
        let begin = Instant::now();
        while self.told.recv_timeout(LONG) != Ok(what) {
            assert!(begin.elapsed() < LONG, "was not told {what}");
        }
    }

    /// Waits for its end.
    fn ends(self, outcome: Outcome) {
        assert_eq!(self.thread.join().unwrap().unwrap(), outcome);
    }

    fn stops(self) {
        self.stopper.request();
        self.ends(Outcome::Done);
    }
}

fn echoes(socket: &mut TcpStream, text: &[u8]) {
    socket.write_all(text).unwrap();
    let mut back = vec![0; text.len()];
    socket.read_exact(&mut back).unwrap();
    assert_eq!(back, text);
}

/// `count` bytes that show where they belong.
fn pattern(count: usize) -> Vec<u8> {
    (0..=250).cycle().take(count).collect()
}

#[allow(missing_docs)]
pub fn ten_megabytes_come_back_in_order<R: Runtime>() {
    let running = Running::new::<R>(Plan::default());
    let mut socket = running.dial(0);
    let bytes = pattern(10 << 20);
    let mut writes = socket.try_clone().unwrap();
    let sent = bytes.clone();
    let writer = thread::spawn(move || writes.write_all(&sent).unwrap());
    // Reading begins only when the other side has stopped to.
    running.hears(Told::Paused);
    let mut back = vec![0; bytes.len()];
    socket.read_exact(&mut back).unwrap();
    writer.join().unwrap();
    assert!(back == bytes, "bytes were lost, changed or swapped");
    running.hears(Told::Resumed);
    running.stops();
}

#[allow(missing_docs)]
pub fn a_dial_stands_and_carries_bytes<R: Runtime>() {
    let host = host();
    let listener = TcpListener::bind(door(host, 2)).unwrap();
    let (tell, told) = channel();
    let plan = Plan {
        dial: Some(Place(0)),
        ..Plan::default()
    };
    let running = Running::with::<R, _>(host, plan, Teller(tell), told);
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let mut hello = [0; 5];
    socket.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
    echoes(&mut socket, b"and back");
    running.hears(Told::Dialled(Dialled::Connected));
    running.stops();
}

/// The machine says so once, while it dials.
#[allow(missing_docs)]
pub fn what_is_owed_before_a_dial_stands_is_sent_then<R: Runtime>() {
    let host = host();
    let listener = TcpListener::bind(door(host, 2)).unwrap();
    let plan = Plan {
        dial: Some(Place(0)),
        eager: true,
        ..Plan::default()
    };
    let (tell, told) = channel();
    let running = Running::with::<R, _>(host, plan, Teller(tell), told);
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let mut hello = [0; 5];
    socket.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
    running.stops();
}

#[allow(missing_docs)]
pub fn a_dial_that_nobody_takes_fails<R: Runtime>() {
    let running = Running::new::<R>(Plan {
        dial: Some(Place(0)),
        ..Plan::default()
    });
    running.hears(Told::Dialled(Dialled::Failed));
    echoes(&mut running.dial(0), b"goes on");
    running.stops();
}

#[allow(missing_docs)]
pub fn who_does_not_read_holds_up_nobody_and_misses_nothing<R: Runtime>() {
    let flood = 20 << 20;
    let running = Running::new::<R>(Plan {
        flood,
        ..Plan::default()
    });
    let mut slow = running.dial(1);
    running.hears(Told::Accepted(FLOOD));
    let mut quick = running.dial(0);
    for _ in 0..100 {
        echoes(&mut quick, b"meanwhile");
    }
    let mut all = vec![0; flood];
    slow.read_exact(&mut all).unwrap();
    assert!(all == pattern(flood), "bytes were lost, changed or swapped");
    running.stops();
}

#[allow(missing_docs)]
pub fn what_is_owed_still_arrives_after_a_fin<R: Runtime>() {
    let running = Running::new::<R>(Plan {
        flood: 20 << 20,
        ..Plan::default()
    });
    let mut socket = running.dial(1);
    socket.shutdown(Shutdown::Write).unwrap();
    running.hears(Told::Lost(Loss::Finished));
    let mut all = Vec::new();
    socket.read_to_end(&mut all).unwrap();
    assert!(all == pattern(20 << 20), "{} bytes came", all.len());
    running.stops();
}

#[allow(missing_docs)]
pub fn a_taken_door_is_named<R: Runtime>() {
    let host = host();
    let _taken = TcpListener::bind(door(host, 1)).unwrap();
    let (tell, told) = channel();
    let running = Running::with::<R, _>(host, Plan::default(), Teller(tell), told);
    match running.thread.join().unwrap() {
        Err(Error::Bind {
            door: at,
            address,
            cause,
        }) => {
            assert_eq!((at, address), (FLOOD, door(host, 1)));
            assert_eq!(cause.kind(), std::io::ErrorKind::AddrInUse);
        }
        other => panic!("{other:?}"),
    }
}

#[allow(missing_docs)]
pub fn a_shut_door_lets_nobody_in_until_it_opens<R: Runtime>() {
    let running = Running::new::<R>(Plan {
        most: 1,
        ..Plan::default()
    });
    let mut first = running.dial(0);
    // The door is shut before that is told.
    running.hears(Told::Accepted(ECHO));
    let mut second = running.dial(0);
    second.write_all(b"let me in").unwrap();
    echoes(&mut first, b"alone");
    while let Ok(told) = running.told.try_recv() {
        assert_ne!(told, Told::Accepted(ECHO), "in though it was shut");
    }
    drop(first);
    let mut back = [0; 9];
    second.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"let me in");
    running.stops();
}

/// Blocks the machine at its first bytes, as a starved process would stand still.
struct Standstill {
    tell: Sender<Told>,
    go_on: Option<Receiver<()>>,
}

impl Observer<Checked<Toy>> for Standstill {
    fn notice(&mut self, _now: Time, told: &Told) {
        let _ = self.tell.send(*told);
        if matches!(told, Told::Bytes(_))
            && let Some(go_on) = self.go_on.take()
        {
            go_on.recv_timeout(LONG).unwrap();
        }
    }

    fn look(&mut self, _now: Time, _machine: &Checked<Toy>) {}
}

/// A toy that stands still at its first bytes, until told to go on.
fn standstill<R: Runtime>(plan: Plan) -> (Running, Sender<()>) {
    let (tell, told) = channel();
    let (go, go_on) = channel();
    let observer = Standstill {
        tell,
        go_on: Some(go_on),
    };
    (Running::with::<R, _>(host(), plan, observer, told), go)
}

#[allow(missing_docs)]
pub fn bytes_that_wait_in_a_socket_are_no_silence<R: Runtime>() {
    let silence = Duration::from_millis(1000);
    for _ in 0..3 {
        let (running, go) = standstill::<R>(Plan {
            silence: Some(Span::from_millis(1000)),
            ..Plan::default()
        });
        let mut sockets: Vec<_> = (0..8).map(|_| running.dial(0)).collect();
        sockets[0].write_all(b"stand still").unwrap();
        running.hears(Told::Bytes(11));
        for socket in &mut sockets {
            socket.write_all(b"x").unwrap();
        }
        // Silence is due by the clock for each of them, were it not for those bytes.
        thread::sleep(silence + Duration::from_millis(100));
        go.send(()).unwrap();
        let mut bytes = 0;
        while bytes < sockets.len() {
            let told = running.told.recv_timeout(LONG).unwrap();
            if let Told::Bytes(count) = told {
                bytes += count;
            } else {
                assert_eq!(told, Told::Accepted(ECHO));
            }
        }
        running.stops();
    }
}

#[allow(missing_docs)]
pub fn silence_is_noticed<R: Runtime>() {
    let running = Running::new::<R>(Plan {
        silence: Some(Span::from_millis(50)),
        ..Plan::default()
    });
    let mut socket = running.dial(0);
    running.hears(Told::Silent);
    assert_eq!(socket.read(&mut [0]).unwrap(), 0);
    running.stops();
}

#[allow(missing_docs)]
pub fn a_slot_may_pass_from_one_connection_to_the_next_at_once<R: Runtime>() {
    let running = Running::new::<R>(Plan {
        crowd: 1,
        ..Plan::default()
    });
    let mut before = running.dial(0);
    echoes(&mut before, b"here");
    for _ in 0..200 {
        let mut next = running.dial(0);
        echoes(&mut next, b"and gone");
        assert_eq!(before.read(&mut [0]).unwrap(), 0);
        before = next;
    }
    running.stops();
}

#[allow(missing_docs)]
pub fn a_reset_is_told_and_harms_nobody_else<R: Runtime>() {
    let running = Running::new::<R>(Plan {
        flood: 20 << 20,
        ..Plan::default()
    });
    let mut sound = running.dial(0);
    let mut resets = running.dial(1);
    resets.read_exact(&mut [0; 1000]).unwrap();
    // Closed with input unread, so that the system resets it.
    drop(resets);
    running.hears(Told::Lost(Loss::Broken));
    echoes(&mut sound, b"unharmed");
    running.stops();
}

#[allow(missing_docs)]
pub fn what_came_before_a_reset_is_read_though_writing_fails<R: Runtime>() {
    for _ in 0..5 {
        let (running, go) = standstill::<R>(Plan {
            flood: 20 << 20,
            ..Plan::default()
        });
        let mut other = running.dial(0);
        let mut resets = running.dial(1);
        running.hears(Told::Accepted(FLOOD));
        other.write_all(b"stand still").unwrap();
        running.hears(Told::Bytes(11));
        resets.write_all(b"the last word").unwrap();
        // Closed with input unread, so that the system resets it.
        drop(resets);
        go.send(()).unwrap();
        running.hears(Told::Bytes(13));
        running.hears(Told::Lost(Loss::Broken));
        running.stops();
    }
}

#[allow(missing_docs)]
pub fn a_hundred_connections_at_once_are_served<R: Runtime>() {
    let running = Running::new::<R>(Plan::default());
    let mut sockets: Vec<_> = (0..100).map(|_| running.dial(0)).collect();
    for (i, socket) in sockets.iter_mut().enumerate() {
        echoes(socket, format!("this is {i}").as_bytes());
    }
    drop(sockets);
    for _ in 0..100 {
        running.hears(Told::Lost(Loss::Finished));
    }
    echoes(&mut running.dial(0), b"once more");
    running.stops();
}

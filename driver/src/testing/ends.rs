//! How runs and connections end.

use super::{LONG, Plan, Running, Runtime, pattern};
use crate::Outcome;
use crate::system;
use crate::testing::{FLOOD, Told};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

#[allow(missing_docs)]
pub fn a_stop_ends_a_blocked_write_in_time<R: Runtime>() {
    let running = Running::new::<R>(Plan {
        flood: 1 << 30,
        ..Plan::default()
    });
    let _kept = running.dial(1);
    running.hears(Told::Accepted(FLOOD));
    let begin = Instant::now();
    running.stopper.request();
    running.ends(Outcome::Unfinished);
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(5), "it took {took:?}");
}

#[allow(missing_docs)]
pub fn a_stop_at_rest_ends_in_good_order<R: Runtime>() {
    let running = Running::new::<R>(Plan::default());
    let mut socket = running.dial(0);
    super::echoes(&mut socket, b"there");
    running.stops();
    assert_eq!(socket.read(&mut [0]).unwrap(), 0);
}

#[allow(missing_docs)]
pub fn a_crash_ends_the_run<R: Runtime>() {
    let running = Running::new::<R>(Plan::default());
    let _others: Vec<_> = (0..5).map(|_| running.dial(0)).collect();
    running.dial(0).write_all(b"crash").unwrap();
    running.ends(Outcome::Crash);
}

/// One connection is on its way out, and goes on sending: a stop would wait for it.
#[allow(missing_docs)]
pub fn a_crash_waits_for_nobody<R: Runtime>() {
    let at_once = || {
        let running = Running::new::<R>(Plan::default());
        let mut leaving = running.dial(0);
        leaving.write_all(b"bye").unwrap();
        leaving.read_exact(&mut [0; 7]).unwrap();
        leaving.set_nodelay(true).unwrap();
        let sender = thread::spawn(move || {
            while leaving.write_all(b"and another thing").is_ok() {
                thread::sleep(Duration::from_millis(1));
            }
        });
        let mut socket = running.dial(0);
        let begin = Instant::now();
        socket.write_all(b"crash").unwrap();
        running.ends(Outcome::Crash);
        let took = begin.elapsed();
        sender.join().unwrap();
        took < Duration::from_millis(100)
    };
    // A busy machine may hold up one of them.
    assert!((0..5).any(|_| at_once()));
}

#[allow(missing_docs)]
pub fn the_last_words_arrive_though_input_was_not_read<R: Runtime>() {
    let running = Running::new::<R>(Plan::default());
    let mut socket = running.dial(0);
    let mut sent = b"bye".to_vec();
    sent.resize(300_000, b'.');
    socket.write_all(&sent).unwrap();
    let mut words = String::new();
    socket.read_to_string(&mut words).unwrap();
    assert_eq!(words, "so long");
    running.stops();
}

/// `count` readers that take nothing until a while after the stop, and speak all the time: a
/// connection that is closed too early is reset, and loses what waits to be sent.
fn slow<R: Runtime>(count: usize) {
    // It fits into the sockets' buffers: the machine has sent everything.
    let flood = 30_000;
    let running = Running::new::<R>(Plan {
        flood,
        ..Plan::default()
    });
    drop(running.dial(0));
    let mut sockets = Vec::new();
    for _ in 0..count {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket
            .connect(&super::door(running.host, 1).into())
            .unwrap();
        let socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(LONG)).unwrap();
        sockets.push(socket);
    }
    for _ in 0..count {
        running.hears(Told::Accepted(FLOOD));
    }
    running.stopper.request();
    for _ in 0..15 {
        thread::sleep(Duration::from_millis(20));
        for socket in &mut sockets {
            socket.write_all(b"still there").unwrap();
        }
    }
    assert!(!running.thread.is_finished(), "it did not wait");
    let readers: Vec<_> = sockets
        .into_iter()
        .map(|mut socket| {
            thread::spawn(move || {
                let mut all = Vec::new();
                socket.read_to_end(&mut all).unwrap();
                let came = all.len();
                assert!(all.starts_with(&pattern(flood)), "{came} bytes came");
            })
        })
        .collect();
    for reader in readers {
        reader.join().unwrap();
    }
    running.ends(Outcome::Done);
}

#[allow(missing_docs)]
pub fn the_end_waits_for_a_slow_reader<R: Runtime>() {
    slow::<R>(1);
}

#[allow(missing_docs)]
pub fn the_end_waits_for_many_slow_readers<R: Runtime>() {
    slow::<R>(70);
}

/// The other side neither reads nor closes; its host has taken everything. Where the system does
/// not tell that, the end waits for the 250 ms that it gives every peer.
#[allow(missing_docs)]
pub fn the_end_does_not_wait_for_who_has_everything<R: Runtime>() {
    let at_once = || {
        let running = Running::new::<R>(Plan::default());
        let mut socket = running.dial(0);
        socket.write_all(b"there").unwrap();
        // It is there, and not read.
        let socket = SockRef::from(&socket);
        let begin = Instant::now();
        while socket
            .peek(&mut [std::mem::MaybeUninit::uninit(); 5])
            .unwrap()
            < 5
        {
            assert!(begin.elapsed() < LONG);
        }
        let begin = Instant::now();
        running.stops();
        let bound = if system::TELLS_WHAT_ARRIVED { 200 } else { 450 };
        begin.elapsed() < Duration::from_millis(bound)
    };
    // A busy machine may hold up one of them.
    assert!((0..5).any(|_| at_once()));
}

//! How runs and connections end.

use super::{LONG, Plan, Running, Runtime, pattern};
use crate::Outcome;
use crate::testing::{FLOOD, Told};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
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

/// Each of them is still sending, so that a connection that is closed too early is reset.
#[allow(missing_docs)]
pub fn the_last_words_arrive_at_everybody<R: Runtime>() {
    let running = Running::new::<R>(Plan {
        parting: true,
        ..Plan::default()
    });
    let mut sockets: Vec<_> = (0..300).map(|_| running.dial(0)).collect();
    for socket in &mut sockets {
        super::echoes(socket, b"here");
    }
    let talkers: Vec<_> = sockets.iter().map(|s| s.try_clone().unwrap()).collect();
    let talking = thread::spawn(move || {
        let mut talkers = talkers;
        while !talkers.is_empty() {
            talkers.retain_mut(|talker| talker.write_all(b".").is_ok());
            thread::sleep(Duration::from_millis(1));
        }
    });
    running.stopper.request();
    for socket in &mut sockets {
        let mut words = String::new();
        socket.read_to_string(&mut words).expect("it is not reset");
        assert!(words.ends_with("so long"), "{words}");
        // Nobody reads any more, but each waits a moment before it goes.
        let _ = socket.shutdown(Shutdown::Both);
    }
    talking.join().unwrap();
    running.ends(Outcome::Done);
}

/// Reads nothing for a while after the stop, then everything, and speaks all the time.
#[allow(missing_docs)]
pub fn the_end_waits_for_a_slow_reader<R: Runtime>() {
    // It fits into the sockets' buffers: the machine has sent everything.
    let flood = 100_000;
    let running = Running::new::<R>(Plan {
        flood,
        ..Plan::default()
    });
    let begin = Instant::now();
    let mut socket = loop {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        if socket.connect(&super::door(running.host, 1).into()).is_ok() {
            break TcpStream::from(socket);
        }
        assert!(begin.elapsed() < LONG, "no door");
    };
    socket.set_read_timeout(Some(LONG)).unwrap();
    running.hears(Told::Accepted(FLOOD));
    running.stopper.request();
    for _ in 0..15 {
        thread::sleep(Duration::from_millis(20));
        socket.write_all(b"still there").unwrap();
    }
    assert!(!running.thread.is_finished(), "it did not wait");
    let mut all = Vec::new();
    socket.read_to_end(&mut all).unwrap();
    assert!(all.starts_with(&pattern(flood)), "{} bytes came", all.len());
    drop(socket);
    running.ends(Outcome::Done);
}

/// The other side neither reads nor closes; its host has taken everything.
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
        begin.elapsed() < Duration::from_millis(200)
    };
    // A busy machine may hold up one of them.
    assert!((0..5).any(|_| at_once()));
}

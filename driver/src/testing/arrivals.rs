//! Who comes, and what it costs while nothing happens.

use super::{Plan, Running, Runtime, echoes, standstill};
use crate::system;
use crate::testing::{ECHO, Told};
use chatroom_machine::Span;
use socket2::SockRef;
use std::fs::File;
use std::io::Write;
use std::process;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

/// Set for the process in which one case runs alone.
const ALONE: &str = "CHATROOM_TEST_ALONE";

/// Runs the calling case once more, in a process of its own that may have `descriptors`; true in
/// that process.
fn alone(descriptors: u32) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let current = thread::current();
    let case = current.name().expect("a test's thread has its name");
    let ran = process::Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -n {descriptors}; exec \"$0\" \"$@\""),
        ])
        .arg(std::env::current_exe().unwrap())
        .args([case, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .stdin(process::Stdio::null())
        .output()
        .unwrap();
    std::io::stderr().write_all(&ran.stderr).unwrap();
    assert!(ran.status.success(), "it failed in a process of its own");
    let passed = b"1 passed";
    let mut said = ran.stdout.windows(passed.len());
    assert!(said.any(|words| words == passed), "it did not run");
    false
}

/// The machine keeps one connection at a time. Forty come, speak and leave while it stands still.
#[allow(missing_docs)]
pub fn what_a_newcomer_has_sent_is_heard_before_the_next_is_let_in<R: Runtime>() {
    for reset in [false, true] {
        let (running, go) = standstill::<R>(Plan {
            crowd: 1,
            ..Plan::default()
        });
        let mut first = running.dial(0);
        first.write_all(b"stand still").unwrap();
        running.hears(Told::Bytes(11));
        for _ in 0..40 {
            let mut socket = running.dial(0);
            socket.write_all(b"one word").unwrap();
            if reset {
                SockRef::from(&socket)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
        }
        go.send(()).unwrap();
        for _ in 0..40 {
            running.hears(Told::Accepted(ECHO));
            let mut next = running.told.recv_timeout(super::LONG);
            if system::TELLS_WHO_LEFT || reset || next == Ok(Told::Gone) {
                assert_eq!(next, Ok(Told::Gone));
                next = running.told.recv_timeout(super::LONG);
            }
            assert_eq!(next, Ok(Told::Bytes(8)));
        }
        running.stops();
    }
}

#[allow(missing_docs)]
pub fn a_machine_without_a_timeout_is_left_alone<R: Runtime>() {
    let plan = Plan {
        silence: Some(Span::from_millis(20)),
        ..Plan::default()
    };
    let counts = Arc::clone(&plan.counts);
    let running = Running::new::<R>(plan);
    // A timer has been due before.
    let _silent = running.dial(0);
    running.hears(Told::Silent);
    // Time for what follows from it.
    thread::sleep(Duration::from_secs(1));
    let before = counts.poll_timeout.load(Relaxed);
    thread::sleep(Duration::from_millis(300));
    let calls = counts.poll_timeout.load(Relaxed) - before;
    assert!(calls <= 10, "it was asked {calls} times");
    running.stops();
}

/// `None` of `poll_timeout` means: wait for the sockets alone, though a timer has been due.
#[allow(missing_docs)]
pub fn a_machine_without_a_timeout_is_left_alone_with_its_connections<R: Runtime>() {
    let plan = Plan {
        once: Some(Span::from_millis(50)),
        ..Plan::default()
    };
    let counts = Arc::clone(&plan.counts);
    let running = Running::new::<R>(plan);
    let mut open = running.dial(0);
    echoes(&mut open, b"there");
    running.hears(Told::Once);
    // Time for what follows from it.
    thread::sleep(Duration::from_millis(300));
    let before = counts.poll_timeout.load(Relaxed);
    thread::sleep(Duration::from_millis(300));
    let calls = counts.poll_timeout.load(Relaxed) - before;
    assert!(calls <= 10, "it was asked {calls} times");
    echoes(&mut open, b"still there");
    running.stops();
}

#[allow(missing_docs)]
pub fn a_door_that_cannot_accept_rests<R: Runtime>() {
    if !alone(64) {
        return;
    }
    // A driver must not spin for a machine that leaves the door open.
    let plan = Plan {
        accepts_on: true,
        ..Plan::default()
    };
    let counts = Arc::clone(&plan.counts);
    let running = Running::new::<R>(plan);
    // It stays: its descriptor must not come free meanwhile.
    let mut first = running.dial(0);
    echoes(&mut first, b"here");
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    // For the client; there is none for the other end.
    files.pop();
    let mut waits = running.dial(0);
    thread::sleep(Duration::from_millis(500));
    let failed = counts.handle_starved.load(Relaxed);
    assert!((1..=6).contains(&failed), "accepting failed {failed} times");
    drop(files);
    echoes(&mut waits, b"let in");
    running.stops();
}

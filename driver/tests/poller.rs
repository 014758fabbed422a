//! The poller, on this system's ways and, with the feature `portable`, on those of every Unix.

use chatroom_driver::{Events, Interest, PollMode, Poller, Stop};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(30);
const BOTH: Interest = Interest {
    read: true,
    write: true,
};

fn pair() -> (Arc<UnixStream>, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    (Arc::new(here), there)
}

/// What is ready now.
fn now(poller: &Poller) -> Vec<Event> {
    let mut events = Events::with_capacity(8);
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    assert_eq!(events.is_empty(), events.iter().next().is_none());
    let mut found = all(&events);
    assert_eq!(found.len(), events.len());
    found.sort_by_key(|&(key, ..)| key);
    found
}

/// Waits until something is ready.
fn some(poller: &Poller) -> Vec<Event> {
    let mut events = Events::with_capacity(8);
    let begin = Instant::now();
    while events.is_empty() {
        poller.wait(&mut events, Some(LONG)).unwrap();
        assert!(begin.elapsed() < LONG, "nothing came");
    }
    all(&events)
}

/// Key, what is ready, whether it is broken.
type Event = (u64, Interest, bool);

fn event(key: u64, ready: Interest) -> Event {
    (key, ready, false)
}

fn all(events: &Events) -> Vec<Event> {
    let all = events.iter();
    all.map(|event| (event.key, event.ready, event.broken))
        .collect()
}

#[test]
fn a_level_is_told_of_until_it_is_gone_and_a_oneshot_until_it_was_told_of() {
    let poller = Poller::new().unwrap();
    let ((level, mut one), (once, mut other)) = (pair(), pair());
    poller
        .add(&level, 1, Interest::READ, PollMode::Level)
        .unwrap();
    poller
        .add(&once, u64::MAX, Interest::READ, PollMode::Oneshot)
        .unwrap();
    assert_eq!(now(&poller), []);
    one.write_all(b"x").unwrap();
    other.write_all(b"x").unwrap();
    let (first, second) = (event(1, Interest::READ), event(u64::MAX, Interest::READ));
    assert_eq!(now(&poller), [first, second]);
    assert_eq!(now(&poller), [first]);
    (&*level).read_exact(&mut [0]).unwrap();
    assert_eq!(now(&poller), []);
    poller
        .modify(&once, u64::MAX, BOTH, PollMode::Oneshot)
        .unwrap();
    assert_eq!(now(&poller), [event(u64::MAX, BOTH)]);
    assert_eq!(now(&poller), []);
}

#[test]
fn what_was_deleted_or_is_not_wanted_is_not_told_of() {
    let poller = Poller::new().unwrap();
    let (source, mut there) = pair();
    let added = |interest| poller.add(&source, 5, interest, PollMode::Level);
    added(Interest::WRITE).unwrap();
    let again = added(Interest::WRITE).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    there.write_all(b"x").unwrap();
    assert_eq!(now(&poller), [event(5, Interest::WRITE)]);
    poller
        .modify(&source, 5, Interest::NONE, PollMode::Level)
        .unwrap();
    assert_eq!(now(&poller), []);
    poller
        .modify(&source, 5, Interest::READ, PollMode::Level)
        .unwrap();
    assert_eq!(now(&poller), [event(5, Interest::READ)]);
    poller.delete(&source, 5).unwrap();
    assert_eq!(now(&poller), []);
    let gone = poller.modify(&source, 5, BOTH, PollMode::Level);
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(
        poller.delete(&source, 5).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    added(Interest::READ).unwrap();
    assert_eq!(now(&poller), [event(5, Interest::READ)]);
}

#[test]
fn a_source_that_was_let_go_is_closed() {
    let poller = Poller::new().unwrap();
    let (source, mut there) = pair();
    poller
        .add(&source, 5, Interest::READ, PollMode::Level)
        .unwrap();
    drop(source);
    poller.forget(5);
    poller.forget(6);
    assert_eq!(there.read(&mut [0]).unwrap(), 0, "the other end is closed");
    assert_eq!(now(&poller), []);
}

#[test]
fn an_end_is_told_of() {
    let poller = Poller::new().unwrap();
    let (source, there) = pair();
    poller
        .add(&source, 5, Interest::READ, PollMode::Level)
        .unwrap();
    drop(there);
    let [(5, ready, broken)] = some(&poller)[..] else {
        panic!("not the source's end")
    };
    assert!(ready.read || broken);
}

#[test]
fn a_wait_notices_what_another_thread_changes() {
    let poller = Poller::new().unwrap();
    let ((added, mut one), (modified, _other)) = (pair(), pair());
    one.write_all(b"x").unwrap();
    poller
        .add(&modified, 2, Interest::READ, PollMode::Level)
        .unwrap();
    for (key, ready) in [
        (1, Interest::READ),
        (2, Interest::WRITE),
        (3, Interest::READ),
    ] {
        thread::scope(|scope| {
            let waits = scope.spawn(|| some(&poller));
            thread::sleep(Duration::from_millis(20));
            match key {
                1 => poller.add(&added, key, ready, PollMode::Oneshot).unwrap(),
                2 => poller
                    .modify(&modified, key, ready, PollMode::Oneshot)
                    .unwrap(),
                _ => {
                    // A timer that is set while somebody waits.
                    let timer = poller.timer(key).unwrap();
                    timer.set(Duration::from_millis(1)).unwrap();
                    assert_eq!(waits.join().unwrap(), [event(key, ready)]);
                    return;
                }
            }
            assert_eq!(waits.join().unwrap(), [event(key, ready)]);
        });
    }
}

#[test]
fn a_timer_rings_once_and_not_before_its_time() {
    let poller = Poller::new().unwrap();
    let timer = poller.timer(7).unwrap();
    assert_eq!(now(&poller), []);
    let begin = Instant::now();
    timer.set(Duration::from_secs(3600)).unwrap();
    timer.set(Duration::from_millis(20)).unwrap();
    assert_eq!(some(&poller), [event(7, Interest::READ)]);
    assert!(begin.elapsed() >= Duration::from_millis(20));
    assert_eq!(now(&poller), [], "it rang twice");
    // Set anew before anybody asked.
    timer.set(Duration::ZERO).unwrap();
    timer.set(Duration::from_secs(3600)).unwrap();
    assert_eq!(now(&poller), []);
    timer.set(Duration::ZERO).unwrap();
    assert_eq!(some(&poller), [event(7, Interest::READ)]);
    for long in [Duration::MAX, Duration::from_secs(24 * 60 * 60)] {
        timer.set(long).unwrap();
        assert_eq!(now(&poller), []);
    }
}

#[test]
fn a_stop_wakes_who_waits_for_its_source() {
    let poller = Poller::new().unwrap();
    let (stopper, stop) = Stop::new().unwrap();
    poller
        .add(stop.source(), 0, Interest::READ, PollMode::Oneshot)
        .unwrap();
    assert_eq!(now(&poller), []);
    stopper.request();
    assert_eq!(some(&poller), [event(0, Interest::READ)]);
    assert_eq!(now(&poller), []);
}

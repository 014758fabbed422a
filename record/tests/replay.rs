//! What is recorded replays; what differs is named; what is broken is recognised.

mod echo;

use chatroom_machine::Time;
use chatroom_machine::{Conn, Dialled, Door, Loss, Machine, Misuse, Remote};
use chatroom_record::{Failure, FormatError, Record, Recorder, Records, Report, replay};
use echo::Echo;
use proptest::prelude::*;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A file in memory.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Vec<u8>>>);

impl Disk {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn recorder(greeting: &str, disk: &Disk) -> Recorder<Echo, Disk> {
    Recorder::new(
        Echo::new(greeting),
        disk.clone(),
        greeting.as_bytes(),
        |error| panic!("{error}"),
    )
    .unwrap()
}

fn drain<M: Machine>(machine: &mut M) {
    while machine.poll().is_some() {}
}

/// A recording that has every kind of record, drained after each call.
fn sample() -> Vec<u8> {
    let disk = Disk::default();
    let mut machine = recorder("hello\n", &disk);
    let mut us = 1_000;
    let mut tick = || {
        us += 60_000;
        Time::from_micros(us)
    };
    machine.handle_start(tick());
    drain(&mut machine);
    machine.handle_timeout(tick());
    drain(&mut machine);
    let dialled = Conn::new(1, 1);
    assert_eq!(
        machine.handle_dialled(tick(), Conn::new(9, 9), Dialled::Failed),
        Err(Misuse::WrongState)
    );
    machine
        .handle_dialled(tick(), dialled, Dialled::Connected)
        .unwrap();
    let accepted = machine
        .handle_accepted(tick(), Door(0), Remote::default())
        .unwrap();
    for conn in [dialled, accepted] {
        assert_eq!(machine.handle_sent(tick(), conn, 99), Err(Misuse::TooMuch));
        machine.handle_sent(tick(), conn, 6).unwrap();
        drain(&mut machine);
        drain(&mut machine);
    }
    machine
        .handle_bytes(tick(), dialled, "größer? \u{0} ".as_bytes())
        .unwrap();
    machine
        .handle_bytes(tick(), accepted, b"\xff\xfe!")
        .unwrap();
    drain(&mut machine);
    assert_eq!(
        machine.handle_bytes(tick(), accepted, b"late"),
        Err(Misuse::Stale)
    );
    while machine
        .handle_accepted(tick(), Door(0), Remote::default())
        .is_ok()
    {}
    machine.handle_starved(tick(), Door(1));
    machine
        .handle_lost(tick(), dialled, Loss::Finished)
        .unwrap();
    machine.handle_lost(tick(), dialled, Loss::Broken).unwrap();
    machine.handle_timeout(tick());
    drain(&mut machine);
    machine
        .handle_dialled(tick(), Conn::new(1, 4), Dialled::Failed)
        .unwrap_err();
    machine.handle_shutdown(tick());
    drain(&mut machine);
    drop(machine);
    disk.bytes()
}

fn again(bytes: &[u8]) -> Result<Report, Failure> {
    replay(bytes, Echo::build)
}

/// The records of a recording, as debug text, and how many bytes were torn.
fn records(bytes: &[u8]) -> (Vec<String>, u64) {
    let mut records = Records::open(bytes).unwrap();
    let mut all = Vec::new();
    while let Some(record) = records.next_record().unwrap() {
        all.push(format!("{record:?}"));
    }
    (all, records.torn())
}

#[test]
fn a_recording_can_be_read_without_a_machine_as_far_as_it_goes() {
    let bytes = sample();
    let records_of = Records::open(&bytes[..]).unwrap();
    assert_eq!(records_of.header(), b"hello\n");
    let (all, torn) = records(&bytes);
    let report = replay(&bytes[..], Echo::build).unwrap();
    let calls = all.iter().filter(|each| each.starts_with("Call"));
    assert_eq!((calls.count() as u64, torn), (report.calls, 0));
    let first = Record::Call(Time::from_micros(61_000), chatroom_record::Call::Start);
    assert_eq!(all[0], format!("{first:?}"));
    let opening = 9 + 1 + b"hello\n".len() + 2;
    for end in opening..bytes.len() {
        let (some, torn) = records(&bytes[..end]);
        assert!(some.len() < all.len() && all.starts_with(&some));
        assert!(torn as usize <= end - opening);
    }
}

#[test]
fn a_recording_with_every_kind_of_record_replays() {
    let report = again(&sample()).unwrap();
    assert_eq!(report.torn, 0);
    assert!(report.calls > 15 && report.outputs > report.calls);
    assert!(report.to_string().contains("the same"), "{report}");
}

#[test]
fn the_format_is_the_documented_one() {
    let disk = Disk::default();
    let mut machine = recorder("ab", &disk);
    machine.handle_start(Time::from_micros(300));
    drain(&mut machine);
    let mut expected = b"chatrec\n\x03\x02ab".to_vec();
    // FNV-1a of the version and "ab", then with the bodies that follow, folded.
    let mut hash: u32 = 0x811c_9dc5;
    let mut sum = |bytes: &[u8]| {
        for &byte in bytes {
            hash = (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
        }
        [(hash ^ hash >> 16) as u8, (hash >> 8 ^ hash >> 24) as u8]
    };
    expected.extend(sum(b"\x03ab"));
    for body in [
        &b"\x01\xac\x02"[..], // start at 300
        b"\x29\x01",          // open door 1
        b"\x2d\x00\x00tick",  // nothing until now, never judging, for "tick"
    ] {
        expected.push(body.len() as u8);
        expected.extend_from_slice(body);
        expected.extend(sum(body));
    }
    assert_eq!(disk.bytes(), expected);
}

#[test]
fn a_file_torn_at_any_byte_replays_up_to_its_last_whole_record() {
    let whole = sample();
    let opening = "chatrec\n\u{1}\u{6}hello\n".len() + 2;
    let mut before = 0;
    let mut boundaries = 0;
    for end in 0..whole.len() {
        let result = again(&whole[..end]);
        if end < opening {
            assert!(matches!(result, Err(Failure::Format(_))), "{end}");
            continue;
        }
        let report = result.unwrap();
        let records = report.calls + report.outputs;
        assert!(records >= before, "{end}");
        assert_eq!(report.to_string().contains("torn"), report.torn > 0);
        if report.torn == 0 {
            boundaries += 1;
        } else {
            assert_eq!(records, before, "{end}");
        }
        before = records;
    }
    assert!(boundaries > 40);
}

#[test]
fn a_changed_bit_is_never_taken_for_a_sound_recording() {
    let whole = sample();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(report) = again(&bytes) {
            assert!(report.torn > 0, "bit {bit}");
        }
    }
}

#[test]
fn a_record_that_is_missing_or_moved_is_recognised() {
    let whole = sample();
    let start = "chatrec\n\u{1}\u{6}hello\n".len() + 2;
    let first = start + usize::from(whole[start]) + 3;
    let second = first + usize::from(whole[first]) + 3;
    let missing = [&whole[..first], &whole[second..]].concat();
    let swapped = [
        &whole[..start],
        &whole[first..second],
        &whole[start..first],
        &whole[second..],
    ]
    .concat();
    for bytes in [missing, swapped] {
        assert!(matches!(
            again(&bytes),
            Err(Failure::Format(FormatError::Damaged { .. }))
        ));
    }
}

#[test]
fn another_machine_is_told_apart_at_its_first_different_output() {
    let bytes = sample();
    let failure = replay(&bytes[..], |_| Ok(Echo::new("hellO\n"))).unwrap_err();
    let Failure::Differs(difference) = &failure else {
        panic!("{failure}");
    };
    assert!(difference.call.starts_with("sent 99 on 1.1"), "{failure}");
    assert!(difference.recorded.contains("hello"), "{failure}");
    assert!(difference.got.contains("hellO"), "{failure}");
}

#[test]
fn a_call_that_was_misuse_only_once_is_told_apart() {
    let disk = Disk::default();
    let mut machine = recorder("hello", &disk);
    let conn = machine
        .handle_accepted(Time::ZERO, Door(0), Remote::default())
        .unwrap();
    machine.handle_sent(Time::ZERO, conn, 5).unwrap();
    machine.handle_sent(Time::ZERO, conn, 0).unwrap();
    drop(machine);
    let silent = replay(&disk.bytes()[..], |_| Ok(Echo::new(""))).unwrap_err();
    assert!(matches!(silent, Failure::Differs(_)), "{silent}");
}

#[test]
fn other_files_are_refused_by_what_is_wrong_with_them() {
    let refused = |bytes: &[u8]| match again(bytes).unwrap_err() {
        Failure::Format(error) => error.to_string(),
        other @ (Failure::Differs(_) | _) => panic!("{other}"),
    };
    assert!(refused(b"").contains("no recording"));
    assert!(refused(b"\x7fELF\x01\x01\x01\0\0\0\0\0").contains("no recording"));
    assert!(refused(b"chatrec\n\x01\x00").contains("version 1"));
    assert!(refused(b"chatrec\n\x02\x09").contains("header"));
    let error = replay(&sample()[..], |_| Err::<Echo, _>("no such port".into())).unwrap_err();
    assert!(error.to_string().contains("no such port"));
}

#[test]
fn a_length_that_claims_much_costs_no_memory() {
    let mut bytes = sample();
    bytes.extend_from_slice(b"\xff\xff\xff\x07");
    assert_eq!(again(&bytes).unwrap().torn, 4);
    bytes.extend_from_slice(b"\xff");
    let report = again(&bytes).unwrap();
    assert_eq!(report.torn, 5);
    bytes.truncate(bytes.len() - 5);
    bytes.extend_from_slice(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    assert!(matches!(
        again(&bytes),
        Err(Failure::Format(FormatError::Damaged { .. }))
    ));
}

/// A disk with room for so many bytes.
struct Full(usize, Disk);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0);
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0 -= taken;
        self.1.write(&bytes[..taken])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_recording_and_not_the_machine() {
    for room in 40..120 {
        let disk = Disk::default();
        let complaints = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&complaints);
        let out = Full(room, disk.clone());
        let mut machine = Recorder::new(Echo::new(""), out, b"", move |error| {
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            count.fetch_add(1, Ordering::Relaxed);
        })
        .unwrap();
        let conn = machine
            .handle_accepted(Time::ZERO, Door(0), Remote::default())
            .unwrap();
        for round in 0..20 {
            let now = Time::from_micros(round);
            machine.handle_bytes(now, conn, b"more").unwrap();
            assert_eq!(machine.pending(conn, 0), b"more");
            machine.handle_sent(now, conn, 4).unwrap();
            drain(&mut machine);
        }
        assert_eq!(complaints.load(Ordering::Relaxed), 1);
        assert_eq!(disk.bytes().len(), room);
        assert!(again(&disk.bytes()).unwrap().calls >= 1);
    }
}

#[test]
fn what_was_recorded_before_the_end_of_a_turn_can_be_rescued() {
    let disk = Disk::default();
    let mut machine = recorder("", &disk);
    let rescue = machine.rescue();
    machine.handle_start(Time::ZERO);
    assert_eq!(again(&disk.bytes()).unwrap().calls, 0);
    rescue.flush();
    assert_eq!(again(&disk.bytes()).unwrap().calls, 1);
}

#[test]
fn the_same_bytes_to_many_are_written_once() {
    let greeting = "x".repeat(1000);
    let disk = Disk::default();
    let mut machine = recorder(&greeting, &disk);
    for _ in 0..3 {
        let conn = machine
            .handle_accepted(Time::ZERO, Door(0), Remote::default())
            .unwrap();
        machine.handle_sent(Time::ZERO, conn, 1000).unwrap();
    }
    drain(&mut machine);
    let bytes = disk.bytes();
    // Once in the header, once in the first record.
    assert!(bytes.len() < 2_300, "{}", bytes.len());
    assert_eq!(again(&bytes).unwrap().torn, 0);
}

/// One call with few handles, so that it often names a live one.
fn any_call() -> impl Strategy<Value = (u8, u32, Vec<u8>)> {
    let bytes = prop::collection::vec(
        prop_oneof![4 => any::<u8>(), 1 => Just(b'!'), 1 => Just(b'?')],
        0..40,
    );
    (0u8..10, 0u32..12, bytes)
}

fn apply(machine: &mut Recorder<Echo, Disk>, now: Time, (kind, n, bytes): &(u8, u32, Vec<u8>)) {
    let conn = Conn::new(n % 3, *n);
    // Misuse is part of what is recorded.
    match kind {
        0 => machine.handle_start(now),
        1 | 2 => drop(machine.handle_accepted(now, Door(*n as u8), Remote::default())),
        3 => machine.handle_starved(now, Door(*n as u8)),
        4 => drop(machine.handle_dialled(now, conn, Dialled::Connected)),
        5 => drop(machine.handle_bytes(now, conn, bytes)),
        6 => drop(machine.handle_sent(now, conn, bytes.len())),
        7 => drop(machine.handle_lost(now, conn, Loss::Broken)),
        8 => machine.handle_timeout(now),
        _ => drain(machine),
    }
}

proptest! {
    #[test]
    fn any_run_replays(
        greeting in ".{0,20}",
        calls in prop::collection::vec((any_call(), 0u64..200_000), 0..60),
    ) {
        let disk = Disk::default();
        let mut machine = recorder(&greeting, &disk);
        let mut us = 0;
        for (call, later) in &calls {
            us += later;
            apply(&mut machine, Time::from_micros(us), call);
        }
        drop(machine);
        let report = again(&disk.bytes()).unwrap();
        prop_assert_eq!(report.torn, 0);
        prop_assert!(report.calls <= calls.len() as u64);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = again(&bytes);
        let mut behind = sample();
        behind.extend_from_slice(&bytes);
        let _ = again(&behind);
    }

    #[test]
    fn arbitrary_sound_records_never_panic(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..20),
        tags in prop::collection::vec(0u8..50, 20),
    ) {
        let mut hash: u32 = 0x811c_9dc5;
        let mut bytes = b"chatrec\n\x01\x00".to_vec();
        let mut seal = |bytes: &mut Vec<u8>, body: &[u8]| {
            for &byte in body {
                hash = (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
            }
            bytes.extend_from_slice(&((hash ^ hash >> 16) as u16).to_le_bytes());
        };
        seal(&mut bytes, b"");
        for (mut body, tag) in bodies.into_iter().zip(tags) {
            body.insert(0, tag);
            bytes.push(body.len() as u8);
            bytes.extend_from_slice(&body);
            seal(&mut bytes, &body);
        }
        if let Err(failure) = again(&bytes) {
            prop_assert!(!failure.to_string().is_empty());
        }
    }
}

//! What a machine stores and what it finds is recorded and replayed, and recordings from before
//! there was storage still replay.

mod echo;

use chatroom_machine::{Door, Machine, Remote, Time, VolumeId};
use chatroom_record::{Failure, Recorder, Records, replay};
use chatroom_storage::testing::{ADDS, Counter, Flaw, Plan, TOTAL};
use echo::Echo;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Tape {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const PLAN: Plan = Plan {
    every: 3,
    keep: true,
    flaw: Flaw::None,
};

fn drain<M: Machine>(machine: &mut M) {
    while machine.poll().is_some() {}
}

/// A counter that finds two additions, adds two more, takes a snapshot and discards.
fn sample() -> Vec<u8> {
    let tape = Tape::default();
    let complain = |error| panic!("{error}");
    let mut machine = Recorder::new(Counter::new(PLAN), tape.clone(), b"", complain).unwrap();
    assert_eq!(machine.volumes().len(), 2);
    let now = Time::from_micros(5);
    let mut record = [0; 64];
    for id in 0..2 {
        record[0] = id;
        machine.handle_recovered(now, ADDS, id.into(), &record);
    }
    machine.handle_recovery_done(now, ADDS, 2);
    machine.handle_recovery_done(now, TOTAL, 0);
    machine.handle_start(now);
    drain(&mut machine);
    let conn = machine
        .handle_accepted(now, Door(0), Remote::default())
        .unwrap();
    machine
        .handle_bytes(now, conn, b"add 7 70\nadd 8 80\n")
        .unwrap();
    drain(&mut machine);
    assert!(machine.handle_stored(now, ADDS, 3).is_err());
    assert!(machine.handle_stored(now, VolumeId(9), 1).is_err());
    machine.handle_stored(now, ADDS, 2).unwrap();
    drain(&mut machine);
    machine.handle_stored(now, TOTAL, 1).unwrap();
    drain(&mut machine);
    drop(machine);
    tape.bytes()
}

#[test]
fn what_is_found_and_what_is_stored_replays() {
    let bytes = sample();
    let report = replay(&bytes[..], |_| Ok(Counter::new(PLAN))).unwrap();
    assert_eq!((report.calls, report.torn), (11, 0));
    let mut records = Records::open(&bytes[..]).unwrap();
    let mut all = String::new();
    while let Some(record) = records.next_record().unwrap() {
        all.push_str(&format!("{record:?}\n"));
    }
    for kind in [
        "Recovered(",
        "RecoveryDone(",
        "Stored(",
        "Store(",
        "Discard(",
    ] {
        assert!(all.contains(kind), "{kind} in {all}");
    }
}

#[test]
fn a_machine_that_stores_something_else_is_told_apart() {
    let never = Plan { every: 0, ..PLAN };
    let failure = replay(&sample()[..], |_| Ok(Counter::new(never))).unwrap_err();
    let Failure::Differs(difference) = &failure else {
        panic!("{failure}");
    };
    assert!(difference.recorded.contains("store volume 1"), "{failure}");

    // It gives the same actions, but has other records.
    let tape = Tape::default();
    let complain = |error| panic!("{error}");
    let mut machine = Recorder::new(Counter::new(PLAN), tape.clone(), b"", complain).unwrap();
    let conn = machine
        .handle_accepted(Time::ZERO, Door(0), Remote::default())
        .unwrap();
    machine
        .handle_bytes(Time::ZERO, conn, b"add 7 70\n")
        .unwrap();
    machine.handle_stored(Time::ZERO, ADDS, 1).unwrap();
    drop(machine);
    let mut bytes = tape.bytes();
    let at = bytes.windows(3).position(|w| w == b" 70").unwrap();
    bytes[at + 1] = b'6';
    let sums = with_sums(&bytes, 3);
    let failure = replay(&sums[..], |_| Ok(Counter::new(PLAN))).unwrap_err();
    assert!(
        failure.to_string().contains("stored 1 in volume 0"),
        "{failure}"
    );
}

/// A recording with its version and all its sums written anew, as the format says.
fn with_sums(recording: &[u8], version: u8) -> Vec<u8> {
    let mut sum: u32 = 0x811c_9dc5;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            sum = (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        ((sum >> 16) ^ (sum & 0xffff)) as u16
    };
    if version > 2 {
        add(&[version]);
    }
    let mut out = [b"chatrec\n".as_slice(), &[version]].concat();
    let mut rest = &recording[9..];
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let length = rest[..end].iter().rev();
        let length = length.fold(0, |all, byte| all << 7 | usize::from(byte & 0x7f));
        let body = &rest[end..end + length];
        out.extend_from_slice(&rest[..end + length]);
        out.extend_from_slice(&add(body).to_le_bytes());
        rest = &rest[end + length + 2..];
    }
    out
}

/// Version 2 is the same without storage, and the version not in the sums.
#[test]
fn recordings_of_version_2_still_replay() {
    let tape = Tape::default();
    let complain = |error| panic!("{error}");
    let mut machine = Recorder::new(Echo::new("hi"), tape.clone(), b"hi", complain).unwrap();
    machine.handle_start(Time::ZERO);
    drain(&mut machine);
    let conn = machine
        .handle_accepted(Time::ZERO, Door(0), Remote::default())
        .unwrap();
    machine.handle_bytes(Time::ZERO, conn, b"echo").unwrap();
    machine.handle_sent(Time::ZERO, conn, 6).unwrap();
    drain(&mut machine);
    drop(machine);
    let now = tape.bytes();
    assert_eq!(now[8], 3);
    assert_eq!(with_sums(&now, 3), now);
    let before = with_sums(&now, 2);
    let report = replay(&before[..], Echo::build).unwrap();
    assert_eq!((report.calls, report.torn), (4, 0));
    let mut mixed = now;
    mixed[8] = 2;
    assert!(replay(&mixed[..], Echo::build).is_err());
}

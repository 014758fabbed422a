//! The chat with a volume: it stores what its master broadcasts, and says how much it found. It
//! promises nothing by that; the explorer is to show when a record is durable.

use chatroom_chat::{ChatServer, Config, Counters, Gauges, News};
use chatroom_machine::{
    Action, Conn, Dialled, Door, Loss, Machine, Misuse, Refused, Remote, Time, Timeout, Volume,
    VolumeId, VolumeKind,
};
use chatroom_sim::trace::Record;
use chatroom_worlds::chat::{Chat, server};
use chatroom_worlds::explore::{Reduction, Step, walk};
use std::collections::VecDeque;

const LOG: VolumeId = VolumeId(0);
const VOLUMES: &[Volume] = &[Volume {
    name: "said",
    kind: VolumeKind::Log,
}];

#[derive(Clone, Hash)]
struct Durable {
    inner: ChatServer,
    unsaved: VecDeque<Vec<u8>>,
    next: u64,
    actions: VecDeque<Action<News>>,
    /// Discards everything as soon as it is stored.
    forgets: bool,
    /// Calls it a misuse that a record was stored.
    rejects: bool,
}

impl Durable {
    fn make(forgets: bool, rejects: bool) -> impl Fn(Config) -> Self {
        move |config| Self {
            inner: server(config),
            unsaved: VecDeque::new(),
            next: 0,
            actions: VecDeque::new(),
            forgets,
            rejects,
        }
    }
}

impl Chat for Durable {
    fn log_bytes(&self) -> u64 {
        Chat::log_bytes(&self.inner)
    }

    fn gauges(&self) -> Gauges {
        self.inner.gauges()
    }

    fn counters(&self) -> &Counters {
        self.inner.counters()
    }
}

impl Machine for Durable {
    type Notice = News;

    fn volumes(&self) -> &'static [Volume] {
        VOLUMES
    }

    fn handle_recovered(&mut self, _: Time, volume: VolumeId, number: u64, record: &[u8]) {
        assert!(volume == LOG && record.starts_with(b"broadcast ") && number == self.next);
        self.next = number + 1;
    }

    fn handle_recovery_done(&mut self, _: Time, volume: VolumeId, next: u64) {
        assert!(volume == LOG && (next == self.next || self.forgets));
        self.next = next;
    }

    fn handle_start(&mut self, now: Time) {
        self.inner.handle_start(now);
    }

    fn handle_accepted(&mut self, now: Time, door: Door, from: Remote) -> Result<Conn, Refused> {
        self.inner.handle_accepted(now, door, from)
    }

    fn handle_starved(&mut self, now: Time, door: Door) {
        self.inner.handle_starved(now, door);
    }

    fn handle_dialled(&mut self, now: Time, conn: Conn, how: Dialled) -> Result<(), Misuse> {
        self.inner.handle_dialled(now, conn, how)
    }

    fn handle_bytes(&mut self, now: Time, conn: Conn, bytes: &[u8]) -> Result<(), Misuse> {
        if bytes.starts_with(b"broadcast ") {
            if self.unsaved.is_empty() {
                self.actions.push_back(Action::Store(LOG));
            }
            self.unsaved.push_back(bytes.to_vec());
        }
        self.inner.handle_bytes(now, conn, bytes)
    }

    fn handle_sent(&mut self, now: Time, conn: Conn, count: usize) -> Result<(), Misuse> {
        self.inner.handle_sent(now, conn, count)
    }

    fn handle_lost(&mut self, now: Time, conn: Conn, loss: Loss) -> Result<(), Misuse> {
        self.inner.handle_lost(now, conn, loss)
    }

    fn handle_stored(&mut self, _: Time, volume: VolumeId, count: usize) -> Result<(), Misuse> {
        if self.rejects || volume != LOG || count > self.unsaved.len() {
            return Err(Misuse::TooMuch);
        }
        self.unsaved.drain(..count);
        self.next += count as u64;
        if self.forgets && count > 0 {
            self.actions.push_back(Action::Discard {
                volume,
                through: self.next - 1,
            });
        }
        Ok(())
    }

    fn handle_timeout(&mut self, now: Time) {
        self.inner.handle_timeout(now);
    }

    fn handle_shutdown(&mut self, now: Time) {
        self.inner.handle_shutdown(now);
    }

    fn poll(&mut self) -> Option<Action<News>> {
        self.actions.pop_front().or_else(|| self.inner.poll())
    }

    fn pending(&self, conn: Conn, skip: usize) -> &[u8] {
        self.inner.pending(conn, skip)
    }

    fn unsaved(&self, volume: VolumeId, skip: usize) -> Option<&[u8]> {
        let records = (volume == LOG).then_some(&self.unsaved)?;
        records.get(skip).map(Vec::as_slice)
    }

    fn poll_timeout(&self) -> Option<Timeout> {
        self.inner.poll_timeout()
    }
}

/// What server 0 found when it started again.
fn found(steps: &[Step], forgets: bool) -> Vec<String> {
    let bounds = super::bounds(2, 2, 1, 1, 0);
    let steps = [steps, &[Step::Crash(0), Step::Start(0)]].concat();
    let walked = walk(Durable::make(forgets, false), &bounds, &steps);
    assert_eq!((walked.violation, walked.stopped), (None, None));
    let again = |record: &&Record| record.life == Some(1) && record.kind == "recovered";
    let records = walked.recorder.records.iter().filter(again);
    records.map(|record| record.text.clone()).collect()
}

#[test]
fn a_crash_loses_what_was_not_stored_and_a_start_finds_the_rest() {
    let (say, store) = (Step::Broadcast(0), Step::Store(0, 0));
    let none = "volume 0 up to record 0";
    assert_eq!(found(&[say, say], false), [none]);
    let first = "volume 0 record 0 broadcast s0l0n0.\\n";
    let expected = [first, "volume 0 up to record 1"];
    assert_eq!(found(&[say, store, say], false), expected);
    assert_eq!(found(&[say, say, store], false), expected);
    // The numbers go on, though there is nothing left.
    assert_eq!(found(&[say, store], true), ["volume 0 up to record 1"]);
}

#[test]
fn every_order_of_stores_crashes_and_starts_is_tried() {
    let bounds = super::bounds(2, 2, 1, 1, 0);
    let full = |reduction| super::search(Durable::make(false, false), &bounds, reduction);
    let (reduced, broken) = full(Reduction::SleepSets);
    assert_eq!(broken, None);
    let (all, broken) = full(Reduction::None);
    assert_eq!(broken, None);
    assert_eq!((all.states, all.digest), (reduced.states, reduced.digest));
    assert!(reduced.transitions < all.transitions && all.exhausted);
    let (plain, _) = super::search(server, &bounds, Reduction::SleepSets);
    // Each of two records is unsaved, durable, or lost.
    assert!(
        all.states > 2 * plain.states,
        "{} {}",
        all.states,
        plain.states
    );
}

#[test]
fn a_step_that_stores_is_written_and_read() {
    let step = Step::Store(1, 0);
    assert_eq!(step.to_string(), "store 1 0");
    assert_eq!("store 1 0".parse(), Ok(step));
}

#[test]
fn a_machine_that_rejects_what_was_stored_is_caught() {
    let bounds = super::bounds(2, 1, 0, 0, 0);
    let make = Durable::make(false, true);
    let (_, broken) = super::search(make, &bounds, Reduction::SleepSets);
    let broken = broken.expect("it is caught");
    assert!(
        broken.violation.text.contains("handle_stored(0, 1)"),
        "{:?}",
        broken.violation
    );
    assert!(matches!(broken.steps.last(), Some(Step::Store(_, 0))));
}

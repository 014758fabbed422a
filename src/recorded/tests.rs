//! Grids on the simulated network, recorded, with clocks that know nothing of each other: which
//! ends belong together, and how the clocks stand, is known of them.

use super::clocks::{Bounds, align};
use super::matching::links;
use super::merge::{Merged, merge};
use super::reading::{Recording, What, read};
use crate::settings;
use chatroom_chat::ChatServer;
use chatroom_machine::Conn;
use chatroom_machine::{Span, Time};
use chatroom_record::Recorder;
use chatroom_sim::engine::{Birth, World, run};
use chatroom_sim::generate::Profile;
use chatroom_sim::names::{Peer, Who};
use chatroom_sim::observer::{Fact, Observer, Scene, Violation};
use chatroom_sim::plan::Plan;
use chatroom_sim::trace::Lane;
use chatroom_sim::view::{ArrowKind, Diagram};
use chatroom_worlds::chat::{Grid, Setup, generate, server};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::rc::Rc;

/// A file in memory.
#[derive(Clone, Default)]
struct Disk(Rc<RefCell<Vec<u8>>>);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The chat with a recorder around each life of a server.
struct Recorded {
    grid: Grid<fn(chatroom_chat::Config) -> ChatServer>,
    setup: Setup,
    disks: RefCell<BTreeMap<Who, Disk>>,
}

impl World for Recorded {
    type Machine = Recorder<ChatServer, Disk>;

    fn spawn(&self, birth: &Birth) -> Self::Machine {
        let mut disks = self.disks.borrow_mut();
        let who = Who {
            host: birth.host,
            life: birth.life,
        };
        let disk = disks.entry(who).or_default().clone();
        let header = settings::header(&self.setup.config(birth));
        let machine = self.grid.spawn(birth);
        Recorder::new(machine, disk, header.as_bytes(), |error| panic!("{error}")).unwrap()
    }
}

/// The two sides of each link, as the engine knows them.
#[derive(Default)]
struct Truth {
    sides: BTreeMap<u64, Vec<(Who, Conn)>>,
    received: BTreeSet<(Who, Conn)>,
    /// The simulator's time minus each life's own, in microseconds; at first, where it drifts.
    behind: BTreeMap<Who, i128>,
}

impl Observer<Recorder<ChatServer, Disk>> for Truth {
    fn see(
        &mut self,
        scene: &Scene<'_, Recorder<ChatServer, Disk>>,
        fact: &Fact<'_, chatroom_chat::News>,
    ) -> Result<(), Violation> {
        if let Fact::Opened {
            who,
            conn,
            link,
            peer: Peer::Host(_),
            ..
        } = fact
        {
            self.sides.entry(*link).or_default().push((*who, *conn));
        }
        if let Fact::Notice { who, local, .. } = fact {
            let behind = i128::from(scene.now.as_micros()) - i128::from(local.as_micros());
            self.behind.entry(*who).or_insert(behind);
        }
        if let Fact::Received { who, conn, .. } = fact {
            self.received.insert((*who, *conn));
        }
        Ok(())
    }
}

impl Truth {
    /// The links between these lives that both sides read something from.
    fn pairs(&self, lives: &[Who]) -> BTreeSet<[(Who, Conn); 2]> {
        let sides = self.sides.values();
        let both = sides.filter_map(|sides| <[_; 2]>::try_from(&sides[..]).ok());
        both.filter(|sides| {
            sides
                .iter()
                .all(|side| lives.contains(&side.0) && self.received.contains(side))
        })
        .collect()
    }
}

/// Runs a plan; gives what its servers recorded, one life of each, and what is true of them.
fn record(plan: &Plan, last: bool) -> (Vec<Recording>, Vec<Who>, Truth) {
    let setup = Setup::of(plan).unwrap();
    let world = Recorded {
        grid: Grid::new(setup.clone(), server),
        setup,
        disks: RefCell::default(),
    };
    let outcome = run(&world, plan, Truth::default());
    assert_eq!(outcome.violation, None);
    let disks = world.disks.into_inner();
    let mut lives: BTreeMap<_, Who> = BTreeMap::new();
    for who in disks.keys() {
        match last {
            true => drop(lives.insert(who.host, *who)),
            false => drop(lives.entry(who.host).or_insert(*who)),
        }
    }
    let lives: Vec<Who> = lives.into_values().collect();
    let recordings = lives.iter().map(|who| {
        let bytes = disks[who].0.borrow();
        read(who.to_string(), &bytes[..]).unwrap()
    });
    (recordings.collect(), lives.clone(), outcome.observer)
}

/// Sets a server's clock on by `by` microseconds.
fn shift(recording: &mut Recording, by: u64) {
    let on = |at: &mut Time| *at = *at + Span::from_micros(by);
    recording
        .events
        .iter_mut()
        .for_each(|each| on(&mut each.at));
    for each in &mut recording.connections {
        on(&mut each.began);
        for stream in [&mut each.sent, &mut each.received] {
            stream.pieces.iter_mut().for_each(|(at, _)| on(at));
        }
    }
}

/// Asserts that in a picture nothing comes before its cause, and that no arrow is missing.
fn assert_ordered(merged: &Merged, recordings: &[Recording]) {
    let records = &merged.recorder.records;
    assert!(records.is_sorted_by_key(|record| record.at));
    let events: usize = recordings.iter().map(|each| each.events.len()).sum();
    assert!(records.len() >= events);
    let diagram = Diagram::new(None, &merged.recorder);
    let mut arrived = BTreeSet::new();
    for arrow in &diagram.arrows {
        if let Some(to) = arrow.to {
            assert!(arrow.from < to && records[arrow.from].at <= records[to].at);
            if arrow.kind == ArrowKind::Bytes {
                arrived.insert(to);
            }
        }
    }
    for (index, record) in records.iter().enumerate() {
        let masters = matches!(record.peer, Some(Lane::Client(_)));
        if record.kind == "received" && (merged.single == 0 || masters) {
            assert!(arrived.contains(&index), "{record:?}");
        }
    }
}

/// So many cases, unless the environment says otherwise; a failing one is in the message.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn both_ends_are_found_and_nothing_comes_before_its_cause_whatever_the_clocks_say(
        seed in any::<u64>(),
        crash in any::<bool>(),
        last in any::<bool>(),
        shifts in prop::collection::vec(0..10_000_000_000_u64, 64),
    ) {
        let profile = if crash { Profile::Crash } else { Profile::Calm };
        let (mut recordings, lives, truth) = record(&generate(seed, profile), last);
        for (recording, by) in recordings.iter_mut().zip(&shifts) {
            shift(recording, *by);
        }
        let found: BTreeSet<[(Who, Conn); 2]> = links(&recordings)
            .pairs
            .iter()
            .map(|(one, other)| [one, other].map(|(at, index)| {
                (lives[*at], recordings[*at].connections[*index].conn)
            }))
            .collect();
        let wanted = truth.pairs(&lives);
        prop_assert!(found.is_superset(&wanted), "missing {:?}", wanted.difference(&found));
        for pair in &found {
            let known = truth.sides.values().any(|sides| sides[..] == pair[..]);
            prop_assert!(known, "{pair:?} is no link");
        }
        let merged = merge(&recordings);
        assert_ordered(&merged, &recordings);
        // The simulated clocks stand exactly for what happens: nothing has to be moved.
        prop_assert_eq!(merged.moved, 0);
        // How far the clocks of one group are from each other is known within the error.
        let zero = |at: usize| Some(truth.behind.get(&lives[at])? - i128::from(shifts[at]));
        for (at, aligned) in merged.aligned.iter().enumerate() {
            let group = &merged.aligned[aligned.group];
            if let (Some(own), Some(first)) = (zero(at), zero(aligned.group)) {
                let off = (aligned.zero - group.zero - (own - first)).abs();
                prop_assert!(aligned.error.is_none_or(|error| off <= error), "{}", lives[at]);
            }
        }
    }

    #[test]
    fn clocks_are_within_the_error_and_within_all_bounds(
        clocks in prop::collection::vec(-1_000_000_000..1_000_000_000_i128, 2..9),
        delays in prop::collection::vec((any::<bool>(), any::<bool>(), 0..5_000_i128, 0..5_000_i128), 36),
    ) {
        let mut bounds = BTreeMap::new();
        let mut delays = delays.into_iter();
        for j in 0..clocks.len() {
            for i in 0..j {
                let (there, back, up, down) = delays.next().unwrap();
                let ahead = clocks[j] - clocks[i];
                let low = back.then_some(ahead - down);
                let high = there.then_some(ahead + up);
                bounds.insert((i, j), Bounds { low, high });
            }
        }
        let aligned = align(clocks.len(), &bounds);
        for ((i, j), between) in &bounds {
            let ahead = aligned[*j].ahead - aligned[*i].ahead;
            if aligned[*i].group == aligned[*j].group {
                prop_assert!(between.low.is_none_or(|low| ahead >= low));
                prop_assert!(between.high.is_none_or(|high| ahead <= high));
            } else {
                prop_assert_eq!(*between, Bounds::default());
            }
        }
        for (each, clock) in aligned.iter().zip(&clocks) {
            let off = (each.ahead - (clock - clocks[each.group])).abs();
            prop_assert!(each.error.is_none_or(|error| off <= error));
        }
    }

    #[test]
    fn clocks_that_contradict_each_other_are_aligned_all_the_same(
        count in 2..6_usize,
        given in prop::collection::vec((-1_000_000..1_000_000_i128, -1_000_000..1_000_000_i128), 15),
    ) {
        let mut given = given.into_iter();
        let mut bounds = BTreeMap::new();
        for j in 0..count {
            for i in 0..j {
                let (low, high) = given.next().unwrap();
                bounds.insert((i, j), Bounds { low: Some(low), high: Some(high) });
            }
        }
        for clock in align(count, &bounds) {
            prop_assert!(clock.ahead.abs() < 20_000_000 && clock.group == 0);
        }
    }
}

#[test]
fn half_a_round_trip_is_the_error_where_one_link_joins_two_clocks() {
    let between = Bounds {
        low: Some(900),
        high: Some(1_300),
    };
    let clocks = align(3, &BTreeMap::from([((0, 1), between)]));
    assert_eq!((clocks[1].ahead, clocks[1].error), (1_100, Some(200)));
    assert_eq!((clocks[2].ahead, clocks[2].group), (0, 2));
}

/// A read clock may stand for a moment that is a little later. What it is late by must not
/// turn an arrow round.
#[test]
fn a_receipt_whose_clock_was_read_early_is_moved_behind_its_sending() {
    let (mut recordings, ..) = record(&generate(3, Profile::Calm), false);
    let early = Span::from_micros(20_000);
    let mut moved = 0;
    for recording in &mut recordings {
        let mut before = Time::ZERO;
        for event in &mut recording.events {
            if let What::Received(index, range) = &event.what
                && event.at > before
            {
                moved += 1;
                let read = event.at.as_micros().saturating_sub(early.as_micros());
                event.at = before.max(Time::from_micros(read));
                let received = &mut recording.connections[*index].received;
                let piece = received
                    .pieces
                    .iter_mut()
                    .find(|(_, end)| *end == range.end);
                piece.unwrap().0 = event.at;
            }
            before = event.at;
        }
    }
    assert!(moved > 20);
    let merged = merge(&recordings);
    assert!(merged.moved > 0);
    assert_ordered(&merged, &recordings);
}

#[test]
fn a_recording_that_is_cut_off_anywhere_is_drawn_as_far_as_it_goes() {
    let (recordings, ..) = record(&generate(5, Profile::Crash), false);
    let whole = merge(&recordings);
    for keep in [0, 1, 2, 7, 40] {
        let mut cut = recordings.clone();
        let events = &mut cut[0].events;
        events.truncate(keep);
        let kept = merge(&cut);
        assert!(kept.recorder.records.len() < whole.recorder.records.len());
        let records = &kept.recorder.records;
        assert!(records.is_sorted_by_key(|record| record.at));
    }
}

proptest! {
    #![proptest_config(config(16))]

    /// Pauses, cuts, resets, clocks that jump and drift: what is drawn may be moved, never turned
    /// round.
    #[test]
    fn what_went_wrong_in_a_grid_is_drawn_in_order(seed in any::<u64>(), last in any::<bool>()) {
        let (recordings, ..) = record(&generate(seed, Profile::Swarm), last);
        assert_ordered(&merge(&recordings), &recordings);
    }
}

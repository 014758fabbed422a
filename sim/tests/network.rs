//! What the simulated network promises to every protocol: streams in order and without loss inside
//! a session, ends after bytes, silence where a host is paused or cut off, the same run for the
//! same plan; and that a machine which breaks the driver's contract is found out.

mod toy;
#[path = "toy/transport.rs"]
mod transport;

use chatroom_machine::{Door, Place};
use chatroom_machine::{Span, Time};
use chatroom_sim::engine::{Birth, Engine, Outcome, World, run};
use chatroom_sim::names::{Client, Host, Peer, Who};
use chatroom_sim::observer::{Fact, Observer, Scene, Violation};
use chatroom_sim::plan::{Change, Connects, Event, Fate, Plan, Way};
use chatroom_sim::random::Choice;
use chatroom_sim::trace::{Lane, Recorder};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::panic_any;
use toy::{ECHO, Quirk, Toy, Toys};
use transport::Transport;

const SECOND: u64 = 1_000_000;

fn secs(count: u64) -> Time {
    Time::from_micros(count * SECOND)
}

fn millis(count: u64) -> Time {
    Time::from_micros(count * 1000)
}

fn way(from: u16, to: u16, both: bool) -> Way {
    Way {
        from: Host(from),
        to: Host(to),
        both,
    }
}

fn client(host: u16) -> Client {
    Client {
        host: Host(host),
        number: 0,
    }
}

/// All hosts start at once, and nothing goes wrong.
fn calm(seed: u64, hosts: u16, end: Time) -> Plan {
    let mut plan = Plan::new(seed, hosts, end);
    for host in 0..hosts {
        plan.push(Time::ZERO, Change::Start(Host(host)));
    }
    plan
}

/// Everything goes wrong, by a seed. With `damage` also bytes do.
fn chaos(seed: u64) -> Plan {
    let choice = Choice::seed(seed).on("chaos");
    let hosts = choice.on("hosts").between(2, 5) as u16;
    let mut plan = calm(seed, hosts, secs(12));
    plan.phases.warm_up = Time::ZERO;
    plan.phases.trouble = secs(8);
    plan.phases.heal = secs(8);
    plan.net.split = choice.on("split").between(0, 500) as u32;
    plan.net.short_write = choice.on("short").between(0, 300) as u32;
    plan.net.buffer = choice.on("buffer").between(1, 3000) as u32;
    plan.net.timer_late = Span::from_micros(choice.on("late").between(0, 2000));
    for index in 0..40 {
        let choice = choice.at(index);
        let at = Time::from_micros(choice.on("at").below(8 * SECOND));
        let host = Host(choice.on("host").below(hosts.into()) as u16);
        let next = Host((host.0 + 1) % hosts);
        let way = Way {
            from: host,
            to: next,
            both: choice.on("both").chance(500),
        };
        let client = Client { host, number: 0 };
        let on = choice.on("on").chance(500);
        plan.push(
            at,
            match choice.on("what").below(22) {
                0 => Change::Kill(host, Fate::Fin),
                1 => Change::Kill(host, Fate::Rst),
                2 => Change::Kill(host, Fate::Silence),
                3..=5 => Change::Start(host),
                6 => Change::Pause(host),
                7 => Change::Resume(host),
                8 => Change::Stop(host),
                9 => Change::Jump(host, Span::from_millis(choice.on("by").below(3000))),
                10 => Change::Drift(host, choice.on("ppm").below(400_000) as i32 - 200_000),
                11 => Change::Cut(way),
                12 => Change::Mend(way),
                13 => Change::Clog(way),
                14 => Change::Unclog(way),
                15 => Change::Lag(way, Span::from_millis(choice.on("by").below(500))),
                16 => Change::Connects(
                    way,
                    if on {
                        Connects::Refused
                    } else {
                        Connects::Hang
                    },
                ),
                17 => Change::Reset(way),
                18 => Change::HalfOpen(way),
                19 => Change::Open(client, ECHO),
                20 => Change::Say(client, vec![b'x'; 500]),
                _ => Change::Deaf(client, on),
            },
        );
    }
    for host in 0..hosts {
        plan.push(secs(8), Change::Start(Host(host)));
    }
    plan
}

fn quirky(quirk: Quirk) -> Toys {
    Toys {
        quirk,
        ..Toys::default()
    }
}

fn watched(plan: &Plan) -> Outcome<Transport> {
    run(&Toys::default(), plan, Transport::default())
}

#[test]
fn on_a_calm_network_every_pair_has_one_link_and_loses_nothing() {
    let outcome = watched(&calm(1, 5, secs(10)));
    assert_eq!(outcome.violation, None);
    let seen = outcome.observer;
    assert_eq!(
        (seen.opened, seen.finished, seen.broken, seen.failed),
        (20, 0, 0, 0)
    );
    assert!(seen.sent > 5 * 4 * 90 * 20, "{}", seen.sent);
    assert!(
        seen.sent - seen.received <= 5 * 4 * 20,
        "{} of {}",
        seen.received,
        seen.sent
    );
}

#[test]
fn under_chaos_streams_stay_in_order_and_whole_until_their_session_breaks() {
    let (mut finished, mut broken, mut failed) = (0, 0, 0);
    for seed in 0..300 {
        let outcome = watched(&chaos(seed));
        assert_eq!(outcome.violation, None, "seed {seed}");
        assert_eq!(outcome.ended, secs(12));
        finished += outcome.observer.finished;
        broken += outcome.observer.broken;
        failed += outcome.observer.failed;
    }
    assert!(
        finished > 100 && broken > 100 && failed > 100,
        "{finished} {broken} {failed}"
    );
}

#[test]
fn after_the_heal_every_pair_talks_again() {
    struct Pairs(BTreeMap<(Host, Host), u64>);
    impl Observer<Toy> for Pairs {
        fn see(
            &mut self,
            scene: &Scene<'_, Toy>,
            fact: &Fact<'_, toy::Says>,
        ) -> Result<(), Violation> {
            // Half-open links are the protocol's business, and the toy has no heartbeat.
            if let Fact::Opened {
                who,
                peer: Peer::Host(peer),
                ..
            } = fact
            {
                *self.0.entry((who.host, peer.host)).or_default() += 1;
            }
            if matches!(fact, Fact::Over) {
                assert!(scene.machine(Host(0)).is_some());
            }
            Ok(())
        }
    }
    for seed in 0..100 {
        let mut plan = chaos(seed);
        // All lives begin anew after the heal.
        for host in 0..plan.hosts {
            plan.push(secs(9), Change::Kill(Host(host), Fate::Fin));
            plan.push(secs(9), Change::Start(Host(host)));
        }
        let world = Toys::default();
        let mut engine = Engine::new(&world, &plan, Pairs(BTreeMap::new()));
        assert!(engine.run_until(Time::from_micros(9 * SECOND)));
        engine.observer().0.clear();
        let outcome = engine.run();
        assert_eq!(outcome.violation, None);
        let pairs = u64::from(plan.hosts) * u64::from(plan.hosts - 1);
        assert_eq!(outcome.observer.0.len() as u64, pairs, "seed {seed}");
    }
}

#[test]
fn one_plan_gives_one_run_and_another_seed_another() {
    for seed in 0..50 {
        let plan = chaos(seed);
        let (one, two) = (watched(&plan), watched(&plan));
        assert_eq!(
            (one.hash, one.steps, one.events),
            (two.hash, two.steps, two.events)
        );
        let mut other = plan;
        other.seed += 1;
        assert_ne!(watched(&other).hash, one.hash, "seed {seed}");
    }
}

#[test]
fn the_hash_is_the_same_in_every_build() {
    let hashes = (1..=80).map(|seed| watched(&chaos(seed)).hash);
    let all = hashes.fold(0_u64, |all, hash| all.rotate_left(7) ^ hash);
    assert_eq!(all, PINNED);
}

/// Changes only when the engine, the toy or the choices of these plans do.
const PINNED: u64 = 575_891_459_776_128_116;

#[test]
fn going_by_steps_is_the_same_run() {
    let plan = chaos(5);
    let world = Toys::default();
    let mut engine = Engine::new(&world, &plan, ());
    while engine.step() {}
    assert_eq!(engine.finish().hash, run(&world, &plan, ()).hash);
}

#[test]
fn an_observer_that_is_lent_sees_the_same() {
    let plan = chaos(5);
    let mut lent = Transport::default();
    let outcome = run(&Toys::default(), &plan, &mut lent);
    let owned = watched(&plan);
    assert_eq!(outcome.hash, owned.hash);
    assert_eq!(lent.received, owned.observer.received);
}

#[test]
fn what_is_done_to_a_run_that_is_over_changes_nothing() {
    let (world, plan) = (Toys::default(), chaos(5));
    let mut engine = Engine::new(&world, &plan, ());
    assert!(!engine.run_until(secs(12)));
    engine.apply(&Change::Kill(Host(0), Fate::Fin));
    let (over, whole) = (engine.finish(), run(&world, &plan, ()));
    assert_eq!((over.hash, over.steps), (whole.hash, whole.steps));
}

#[test]
#[should_panic(expected = "the plan can't be run: hosts is 0, expected 1 to 64")]
fn a_plan_out_of_its_bounds_is_not_run() {
    let _ = run(&Toys::default(), &calm(1, 0, secs(1)), ());
}

#[test]
#[should_panic(expected = "the change can't be made: host 2 is outside 0 to 1")]
fn a_change_out_of_the_plans_bounds_is_not_made() {
    let (world, plan) = (Toys::default(), calm(1, 2, secs(1)));
    Engine::new(&world, &plan, ()).apply(&Change::Start(Host(2)));
}

#[test]
fn taking_out_an_event_moves_no_choice_of_other_links() {
    struct Arrivals(Vec<(Time, Who, u64)>);
    impl Observer<Toy> for Arrivals {
        fn see(
            &mut self,
            scene: &Scene<'_, Toy>,
            fact: &Fact<'_, toy::Says>,
        ) -> Result<(), Violation> {
            if let Fact::Received { who, offset, .. } = fact
                && who.host < Host(2)
            {
                self.0.push((scene.now, *who, *offset));
            }
            Ok(())
        }
    }
    let mut with = calm(3, 5, secs(5));
    with.net.split = 300;
    // Hosts 0 and 1 talk to each other only.
    for far in 2..5 {
        for near in 0..2 {
            with.events.insert(
                0,
                Event {
                    at: Time::ZERO,
                    change: Change::Connects(way(far, near, false), Connects::Hang),
                },
            );
        }
    }
    let without = with.clone();
    with.push(secs(1), Change::Reset(way(2, 3, true)));
    with.push(secs(2), Change::Kill(Host(4), Fate::Rst));
    let seen = |plan: &Plan| run(&Toys::default(), plan, Arrivals(Vec::new()));
    let (one, two) = (seen(&with), seen(&without));
    assert_ne!(one.hash, two.hash);
    assert!(one.observer.0.len() > 90);
    assert_eq!(one.observer.0, two.observer.0);
}

#[test]
fn a_paused_host_is_told_nothing_and_then_everything() {
    let mut plan = calm(1, 3, secs(10));
    plan.push(secs(2), Change::Pause(Host(1)));
    plan.push(secs(5), Change::Resume(Host(1)));
    let outcome = watched(&plan);
    assert_eq!(outcome.violation, None);
    let seen = outcome.observer;
    assert_eq!((seen.finished, seen.broken), (0, 0));
    assert!(seen.sent - seen.received <= 3 * 2 * 20);
}

#[test]
fn a_backlog_is_read_before_a_timeout_passes_judgement() {
    /// What host 1 was told and what it sent (which it does at its timeouts) as it went on.
    #[derive(Default)]
    struct Resumption(Vec<(bool, u64)>);
    impl Observer<Toy> for Resumption {
        fn see(
            &mut self,
            scene: &Scene<'_, Toy>,
            fact: &Fact<'_, toy::Says>,
        ) -> Result<(), Violation> {
            if scene.now == secs(5)
                && let Fact::Received { who, link, .. } | Fact::Sent { who, link, .. } = fact
                && who.host == Host(1)
            {
                let sent = matches!(fact, Fact::Sent { .. });
                self.0.push((sent, *link));
            }
            Ok(())
        }
    }
    for seed in 0..20 {
        let mut plan = calm(seed, 4, secs(6));
        plan.push(secs(2), Change::Pause(Host(1)));
        plan.push(secs(5), Change::Resume(Host(1)));
        let seen = run(&Toys::default(), &plan, Resumption::default())
            .observer
            .0;
        let first_sent = seen.iter().position(|(sent, _)| *sent);
        let read = &seen[..first_sent.unwrap_or_else(|| panic!("seed {seed}: nothing sent"))];
        let links: std::collections::BTreeSet<u64> = read.iter().map(|(_, link)| *link).collect();
        assert_eq!(links.len(), 3, "seed {seed}");
        assert!(
            seen[read.len()..].iter().all(|(sent, _)| *sent),
            "seed {seed}"
        );
    }
}

#[test]
fn a_panicking_observer_ends_the_run_with_a_violation() {
    /// Panics after a second, and how.
    struct Nervous(fn());
    impl Observer<Toy> for Nervous {
        fn see(
            &mut self,
            scene: &Scene<'_, Toy>,
            _: &Fact<'_, toy::Says>,
        ) -> Result<(), Violation> {
            if scene.now >= secs(1) {
                self.0();
            }
            Ok(())
        }
    }
    let ways: [(fn(), &str); 3] = [
        (|| panic!("enough"), "enough"),
        (|| panic_any("enough".repeat(2)), "enoughenough"),
        (|| panic_any(7), "a panic without words"),
    ];
    for (panics, said) in ways {
        let (world, plan) = (Toys::default(), calm(1, 2, secs(5)));
        let mut engine = Engine::new(&world, &plan, Nervous(panics));
        assert_eq!(engine.violation(), None);
        while engine.step() {}
        let seen = engine.violation().cloned();
        let broken = engine.finish().violation.unwrap();
        assert_eq!(seen.as_ref(), Some(&broken));
        assert_eq!(broken.property, "panic");
        assert!(
            broken.text.starts_with(&format!("{said} (in or after ")),
            "{}",
            broken.text
        );
    }
}

#[test]
fn a_cut_holds_bytes_up_and_loses_none() {
    for clog in [false, true] {
        let mut plan = calm(1, 2, secs(10));
        let ways = way(0, 1, false);
        plan.push(
            secs(2),
            if clog {
                Change::Clog(ways)
            } else {
                Change::Cut(ways)
            },
        );
        let cut = watched(&plan).observer;
        plan.push(
            secs(5),
            if clog {
                Change::Unclog(ways)
            } else {
                Change::Mend(ways)
            },
        );
        let mended = watched(&plan).observer;
        assert!(
            cut.sent - cut.received > 70 * 20,
            "{} {}",
            cut.sent,
            cut.received
        );
        assert!(mended.sent - mended.received <= 40);
        assert_eq!((cut.broken, mended.broken, mended.finished), (0, 0, 0));
    }
}

#[test]
fn the_dead_are_noticed_by_their_fate() {
    let losses = |fate| {
        let mut plan = calm(1, 3, secs(3));
        plan.push(secs(1), Change::Kill(Host(0), fate));
        let seen = watched(&plan).observer;
        (seen.finished, seen.broken)
    };
    assert_eq!(losses(Fate::Fin), (2, 0));
    assert_eq!(losses(Fate::Rst), (0, 2));
    assert_eq!(losses(Fate::Silence), (0, 0));
}

#[test]
fn a_silent_host_that_comes_back_resets_its_former_links() {
    let mut plan = calm(1, 3, secs(4));
    plan.push(secs(1), Change::Kill(Host(0), Fate::Silence));
    plan.push(secs(2), Change::Start(Host(0)));
    let seen = watched(&plan).observer;
    assert_eq!((seen.finished, seen.broken), (0, 2));
    // Both dial it again.
    assert_eq!(seen.opened, 6 + 4);
}

#[test]
fn one_end_of_a_half_open_link_hears_nothing() {
    let mut plan = calm(1, 2, secs(3));
    plan.push(secs(1), Change::HalfOpen(way(0, 1, false)));
    let seen = watched(&plan).observer;
    assert_eq!((seen.finished, seen.broken), (0, 1));
    plan.events.last_mut().unwrap().change = Change::Reset(way(0, 1, false));
    let seen = watched(&plan).observer;
    assert_eq!((seen.finished, seen.broken), (0, 2));
}

#[test]
fn dials_are_refused_or_hang_and_work_again() {
    let mut plan = calm(1, 2, secs(10));
    plan.events.insert(
        0,
        Event {
            at: Time::ZERO,
            change: Change::Connects(way(1, 0, false), Connects::Refused),
        },
    );
    plan.push(secs(1), Change::Connects(way(1, 0, false), Connects::Hang));
    let seen = watched(&plan).observer;
    assert!((8..=11).contains(&seen.failed), "{}", seen.failed);
    assert_eq!(seen.opened, 0);
    plan.push(secs(2), Change::Connects(way(1, 0, false), Connects::Work));
    assert_eq!(watched(&plan).observer.opened, 2);
}

#[test]
fn a_dial_that_gets_no_answer_fails_at_its_last_try() {
    /// When dials failed.
    struct Failed(Vec<Time>);
    impl Observer<Toy> for Failed {
        fn see(
            &mut self,
            scene: &Scene<'_, Toy>,
            fact: &Fact<'_, toy::Says>,
        ) -> Result<(), Violation> {
            if let Fact::DialFailed { .. } = fact {
                self.0.push(scene.now);
            }
            Ok(())
        }
    }
    let mut plan = calm(1, 2, secs(120));
    let hang = Change::Connects(way(1, 0, false), Connects::Hang);
    plan.events.insert(
        0,
        Event {
            at: Time::ZERO,
            change: hang,
        },
    );
    let failed = run(&Toys::default(), &plan, Failed(Vec::new())).observer.0;
    // Tries after 1, 2, 4, 8, 16 and 32 seconds more.
    let [at] = failed[..] else {
        panic!("{failed:?}");
    };
    assert!((secs(63)..secs(63) + Span::from_millis(5)).contains(&at));
}

#[test]
fn a_dial_of_a_place_where_nobody_is_fails() {
    struct Nowhere(Option<(Host, Door)>);
    impl World for Nowhere {
        type Machine = Toy;
        fn spawn(&self, birth: &Birth) -> Toy {
            Toys::default().spawn(birth)
        }
        fn route(&self, _: Host, _: Place) -> Option<(Host, Door)> {
            self.0
        }
    }
    for nobody in [None, Some((Host(2), Door(0)))] {
        let observer = (Transport::default(), Recorder::default());
        let outcome = run(&Nowhere(nobody), &calm(1, 2, secs(1)), observer);
        assert_eq!(outcome.violation, None);
        let (seen, recorder) = outcome.observer;
        assert!((8..=10).contains(&seen.failed), "{}", seen.failed);
        assert_eq!(seen.opened, 0);
        let mut dials = recorder.records.iter().filter(|r| r.kind == "dialling");
        assert!(dials.all(|dial| dial.text.ends_with(" to place 0, where nobody is")));
    }
}

#[test]
fn a_deaf_client_holds_the_writer_up_and_then_hears_all() {
    let mut plan = calm(1, 1, secs(5));
    plan.net.buffer = 100;
    plan.net.split = 200;
    plan.push(secs(1), Change::Open(client(0), ECHO));
    plan.push(millis(1500), Change::Deaf(client(0), true));
    for part in 0..50_u8 {
        plan.push(secs(2), Change::Say(client(0), vec![part; 40]));
    }
    let deaf = watched(&plan);
    assert_eq!(deaf.violation, None);
    assert!(deaf.observer.heard.is_empty());
    // The echo is in the toy; what the transport took of it is bounded.
    assert_eq!(deaf.observer.sent, 100);
    plan.push(secs(3), Change::Deaf(client(0), false));
    let heard = watched(&plan).observer.heard;
    let all: Vec<u8> = (0..50).flat_map(|part| [part; 40]).collect();
    assert_eq!(heard[&client(0)], all);
}

#[test]
fn what_a_dying_host_sent_to_a_client_is_heard_before_the_break() {
    let heard = |seed| {
        let mut plan = calm(seed, 1, secs(2));
        plan.net.client_latency = Span::from_millis(1);
        plan.net.client_jitter = Span::ZERO;
        plan.push(secs(1), Change::Open(client(0), ECHO));
        for late in [0, 100] {
            let at = millis(1100) + Span::from_micros(late);
            plan.push(at, Change::Say(client(0), b"hello".to_vec()));
        }
        // Both came, and both answers are under way: the break comes with the last that does.
        let dies = millis(1101) + Span::from_micros(500);
        plan.push(dies, Change::Kill(Host(0), Fate::Rst));
        watched(&plan).observer.heard.values().map(Vec::len).sum()
    };
    let heard: BTreeSet<usize> = (0..200).map(heard).collect();
    assert_eq!(heard, (0..=10).collect());
}

/// The host ends in good order; what reaches it later is answered with a reset, which comes behind
/// all that it sent, and often at the moment of the last of that.
#[test]
fn what_comes_at_the_moment_of_a_break_is_heard() {
    let mut broken = 0;
    for seed in 0..1000 {
        let mut plan = calm(seed, 1, secs(2));
        plan.net.client_latency = Span::from_micros(100);
        plan.net.client_jitter = Span::from_millis(5);
        plan.push(secs(1), Change::Open(client(0), ECHO));
        for millis in 0..10 {
            let at = secs(1) + Span::from_millis(20 + millis);
            plan.push(at, Change::Say(client(0), b"x".to_vec()));
        }
        plan.push(millis(1026), Change::Stop(Host(0)));
        let seen = watched(&plan).observer;
        let heard: usize = seen.heard.values().map(Vec::len).sum();
        assert_eq!(heard as u64, seen.sent, "seed {seed}");
        broken += seen.broken_clients;
    }
    assert!(broken > 100, "{broken}");
}

#[test]
fn an_end_that_nobody_waits_for_breaks_nothing() {
    let mut plan = calm(1, 1, secs(4));
    plan.push(secs(1), Change::Open(client(0), ECHO));
    plan.push(millis(1100), Change::Deaf(client(0), true));
    plan.push(millis(1200), Change::Say(client(0), b"hello".to_vec()));
    plan.push(secs(2), Change::Stop(Host(0)));
    plan.push(millis(2500), Change::Finish(client(0)));
    plan.push(secs(3), Change::Deaf(client(0), false));
    let seen = watched(&plan).observer;
    assert_eq!(seen.heard[&client(0)], b"hello");
}

#[test]
fn a_client_that_leaves_at_once_is_still_read() {
    let mut plan = calm(1, 1, secs(2));
    plan.push(secs(1), Change::Open(client(0), ECHO));
    plan.push(secs(1), Change::Say(client(0), b"bye".to_vec()));
    plan.push(secs(1), Change::Finish(client(0)));
    let seen = watched(&plan).observer;
    assert_eq!((seen.received, seen.finished), (3 + 3, 1));
}

#[test]
fn a_starved_host_accepts_once_its_door_opens_again() {
    let mut plan = calm(1, 1, secs(3));
    plan.push(millis(500), Change::Starve(Host(0), true));
    plan.push(secs(1), Change::Open(client(0), Door(1)));
    let outcome = watched(&plan);
    assert_eq!(
        outcome.violation.map(|broken| broken.text),
        Some("0.0 says starved".into())
    );
}

#[test]
fn damaged_bytes_are_noticed_by_the_reader() {
    let mut plan = calm(1, 2, secs(3));
    plan.push(secs(1), Change::Damage(way(0, 1, false), 200));
    let outcome = watched(&plan);
    assert_eq!(
        outcome.violation.map(|broken| broken.property),
        Some("integrity")
    );
}

#[test]
fn a_machine_that_breaks_the_contract_is_found_out() {
    let found = |quirk| {
        let mut plan = calm(1, 3, secs(5));
        plan.push(secs(4), Change::Kill(Host(0), Fate::Fin));
        run(&quirky(quirk), &plan, ()).violation
    };
    assert_eq!(found(Quirk::None), None);
    for (quirk, property, text) in [
        (
            Quirk::Panic,
            "panic",
            "ten bytes are too many (in or after handle_bytes of host 2)",
        ),
        (
            Quirk::Insist,
            "timeout-not-ahead",
            "host 2: after a timeout at 1.100000s and a drain, the next one is due at 1.100000s (tick)",
        ),
        (
            Quirk::Asks(u32::MAX),
            "livelock",
            "host 2: it asks for ever more without time moving",
        ),
        (
            Quirk::Ghost,
            "bad-handle",
            "host 2: it wants to send on 0.0, which is not open",
        ),
        (
            Quirk::Twice,
            "bad-handle",
            "host 2: it named a connection 0.1 while 0.0 is open",
        ),
        (
            Quirk::Large,
            "bad-handle",
            "host 2: it named a connection 65536.0, and used 0 slots before",
        ),
        (
            Quirk::Object,
            "misuse",
            "host 2: handle_bytes(1.0, 20 bytes): the connection is not in a state for this call",
        ),
        (
            Quirk::ObjectToDials,
            "misuse",
            "host 2: handle_dialled(1.0, Connected): the connection is not in a state for this call",
        ),
        (
            Quirk::ObjectToSent,
            "misuse",
            "host 2: handle_sent(0.0, 20): more was reported as sent or stored than was pending",
        ),
        (
            Quirk::ObjectToEnds,
            "misuse",
            "host 2: handle_lost(0.0, Finished): the handle names no open connection",
        ),
    ] {
        let broken = found(quirk).unwrap_or_else(|| panic!("{quirk:?} lives"));
        assert_eq!((broken.property, &*broken.text), (property, text));
    }
    let mut plan = calm(1, 1, secs(1));
    plan.push(Time::ZERO, Change::Open(client(0), ECHO));
    let broken = run(&quirky(Quirk::Large), &plan, ()).violation;
    assert_eq!(
        broken.map(|broken| broken.text),
        Some("host 0: it named a connection 65536.0, and used 0 slots before".to_owned()),
        "one that it accepted"
    );
}

#[test]
fn a_machine_may_ask_for_four_million_things_at_once() {
    let asks = |count| {
        let plan = calm(1, 1, secs(1));
        let violation = run(&quirky(Quirk::Asks(count)), &plan, ()).violation;
        violation.map(|broken| broken.property)
    };
    assert_eq!(asks(4_000_000), None);
    assert_eq!(asks(4_000_001), Some("livelock"));
}

#[test]
fn a_machine_may_close_at_once_what_it_was_given() {
    for paused in [false, true] {
        let mut plan = calm(1, 3, secs(3));
        if paused {
            // It has dialled, and no answer has come.
            plan.push(Time::from_micros(100), Change::Pause(Host(2)));
            plan.push(secs(1), Change::Resume(Host(2)));
        }
        plan.push(secs(2), Change::Open(client(2), ECHO));
        let observer = (Recorder::default(), Transport::default());
        let outcome = run(&quirky(Quirk::Shy), &plan, observer);
        assert_eq!(outcome.violation, None);
        let mut told = BTreeMap::<_, Vec<_>>::new();
        for record in &outcome.observer.0.records {
            let link = record.link.filter(|_| record.kind != "dialling");
            if let Some(link) = link.filter(|_| record.lane == Lane::Host(Host(2))) {
                told.entry(link).or_default().push((record.kind, record.at));
            }
        }
        assert!(told.len() > 10, "two dials each 100 ms: {}", told.len());
        for told in told.values() {
            let at = told[0].1;
            assert_eq!(told[..], [("opened", at), ("closed", at)]);
            assert!(!paused || at >= secs(1));
        }
    }
}

#[test]
fn a_machine_without_a_timeout_is_told_what_comes() {
    let mut plan = calm(1, 2, secs(2));
    plan.push(millis(500), Change::Open(client(1), ECHO));
    plan.push(secs(1), Change::Say(client(1), b"are you there".to_vec()));
    let outcome = run(&quirky(Quirk::Timeless), &plan, Transport::default());
    assert_eq!(outcome.violation, None);
    assert_eq!(outcome.observer.heard[&client(1)], b"are you there");
}

#[test]
fn a_host_with_a_wrong_clock_keeps_the_time_that_it_shows() {
    struct Ticks(u64);
    impl Observer<Toy> for Ticks {
        fn see(&mut self, _: &Scene<'_, Toy>, fact: &Fact<'_, toy::Says>) -> Result<(), Violation> {
            if let Fact::Sent { who, .. } = fact
                && who.host == Host(1)
            {
                self.0 += 1;
            }
            Ok(())
        }
    }
    let ticks = |change: Option<Change>| {
        let mut plan = calm(1, 2, secs(11));
        if let Some(change) = change {
            plan.push(secs(1), change);
        }
        run(&Toys::default(), &plan, Ticks(0)).observer.0
    };
    let plain = ticks(None);
    let fast = ticks(Some(Change::Drift(Host(1), 500_000)));
    let slow = ticks(Some(Change::Drift(Host(1), -500_000)));
    assert!((49..=50).contains(&(fast - plain)), "{fast} {plain}");
    assert!((50..=51).contains(&(plain - slow)), "{slow} {plain}");
    let jumped = ticks(Some(Change::Jump(Host(1), Span::from_millis(350))));
    assert!((plain..=plain + 1).contains(&jumped), "{jumped} {plain}");
}

#[test]
fn a_dial_that_was_reset_while_its_host_was_paused_has_failed() {
    for micros in [110, 150, 1_000, 5_000, 20_000, 49_000] {
        let mut plan = calm(1, 2, secs(3));
        let reset = Change::Reset(way(0, 1, true));
        plan.push(Time::from_micros(100), Change::Pause(Host(1)));
        plan.push(Time::from_micros(micros), reset);
        plan.push(millis(50), Change::Resume(Host(1)));
        let outcome = run(&Toys::default(), &plan, Recorder::default());
        assert_eq!(outcome.violation, None);
        let records = outcome.observer.records;
        let on = |kind: &str, link| {
            records
                .iter()
                .any(|r| r.kind == kind && r.link == Some(link))
        };
        // Whoever thought that it had the first link was told before it had anything to say.
        assert!(!on("sent", 0) && on("received", 1), "{micros}");
    }
}

//! What is stored survives: a counter on simulated disks with every fault they have, a checker of
//! what it acknowledged, and the mistakes in machine, store and disk that the checker finds.

#[path = "storage/checker.rs"]
mod checker;
#[path = "storage/wrongs.rs"]
mod wrongs;

use chatroom_machine::{Door, Span, Time};
use chatroom_sim::disk::{DiskError, SimDisk};
use chatroom_sim::engine::{Birth, Outcome, World, run};
use chatroom_sim::names::{Client, Host};
use chatroom_sim::plan::{Change, DiskFault, DiskTrouble, Fate, Plan, disk_trouble};
use chatroom_sim::random::Choice;
use chatroom_sim::trace::{Format, Recorder};
use chatroom_storage::Disk;
use chatroom_storage::testing::{self, Counter, Flaw};
use checker::Checker;
use wrongs::{Wrong, Wrongly};

/// A grid of counters that know nothing of each other.
struct Counters {
    every: u64,
    flaw: Flaw,
    wrong: Wrong,
}

impl World for Counters {
    type Machine = Counter;

    fn spawn(&self, _: &Birth) -> Counter {
        Counter::new(testing::Plan {
            every: self.every,
            keep: true,
            flaw: self.flaw,
        })
    }

    fn disk(&self, _: Host, disk: SimDisk) -> Box<dyn Disk<Error = DiskError>> {
        Box::new(Wrongly::new(disk, self.wrong))
    }
}

fn counters(seed: u64) -> Counters {
    Counters {
        every: Choice::seed(seed).on("every").between(2, 30),
        flaw: Flaw::None,
        wrong: Wrong::Nothing,
    }
}

const SECOND: u64 = 1_000_000;

fn at(micros: u64) -> Time {
    Time::from_micros(micros)
}

/// Clients that add all the time, and come again when their connection broke.
fn adding(plan: &mut Plan, host: Host, choice: Choice) {
    let mut id = u64::from(host.0) << 32;
    for number in 0..2 {
        let client = Client { host, number };
        let choice = choice.at(number.into());
        let mut moment = 1_000;
        while moment < plan.phases.end.as_micros() - 300_000 {
            let choice = choice.at(moment);
            if choice.on("open").chance(300) || moment == 1_000 {
                plan.push(at(moment), Change::Open(client, Door(0)));
            }
            let mut lines = String::new();
            for _ in 0..choice.on("count").between(1, 6) {
                lines += &format!("add {id} {}\n", id % 7);
                id += 1;
            }
            plan.push(at(moment + 200), Change::Say(client, lines.into_bytes()));
            moment += choice.on("next").between(500, 60_000);
        }
    }
}

fn plan(seed: u64, trouble: impl Fn(Choice) -> DiskTrouble) -> Plan {
    let choice = Choice::seed(seed).on("counters");
    let hosts = choice.on("hosts").between(1, 2) as u16;
    let mut plan = Plan::new(seed, hosts, at(3 * SECOND));
    plan.phases.warm_up = at(200_000);
    plan.phases.trouble = at(2 * SECOND);
    plan.phases.heal = at(2 * SECOND);
    plan.net.split = 200;
    for host in (0..hosts).map(Host) {
        let choice = choice.on("host").at(host.0.into());
        plan.push(Time::ZERO, Change::Start(host));
        adding(&mut plan, host, choice.on("adding"));
        let trouble = trouble(choice.on("families"));
        disk_trouble(&mut plan, host, trouble, choice.on("trouble"));
    }
    plan
}

/// What a seed does: some of the faults, or all.
fn swarm(seed: u64) -> Plan {
    plan(seed, |choice| match choice.chance(300) {
        true => DiskTrouble::ALL,
        false => DiskTrouble::some(choice),
    })
}

fn checked(world: &Counters, plan: &Plan) -> Outcome<Checker> {
    run(world, plan, Checker::default())
}

/// How many seeds a sweep has; `CHATROOM_STORAGE_SEEDS` says otherwise.
fn seeds(usual: u64) -> u64 {
    let asked = std::env::var("CHATROOM_STORAGE_SEEDS").ok();
    asked.map_or(usual, |text| text.parse().expect("a number of seeds"))
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_invented() {
    let mut seen = checker::Seen::default();
    for seed in 0..seeds(1_000) {
        let outcome = checked(&counters(seed), &swarm(seed));
        assert_eq!(outcome.violation, None, "seed {seed}");
        seen.add(&outcome.observer.seen);
    }
    println!("{seen:?}");
    assert!(seen.has_everything(), "a case never came up: {seen:?}");
}

#[test]
fn the_same_plan_is_the_same_run() {
    for seed in 0..20 {
        let plan = swarm(seed);
        let again = Plan::parse(plan.to_string().as_bytes()).unwrap();
        let hashes = [&plan, &again].map(|plan| checked(&counters(seed), plan).hash);
        assert_eq!(hashes[0], hashes[1]);
    }
}

/// The first seed at which the checker finds something wrong.
fn killed(what: &str, world: impl Fn(u64) -> Counters) -> &'static str {
    for seed in 0..3_000 {
        if let Some(violation) = checked(&world(seed), &swarm(seed)).violation {
            println!(
                "{what}: seed {seed}: {}: {}",
                violation.property, violation.text
            );
            return violation.property;
        }
    }
    panic!("{what}: nobody noticed");
}

#[test]
fn a_machine_that_goes_wrong_is_found_out() {
    for (flaw, properties) in [
        (Flaw::AcknowledgesEarly, ["durability"].as_slice()),
        (
            Flaw::Renumbers,
            &["bad-handle", "no-duplicate", "durability"],
        ),
        (Flaw::DiscardsTooMuch, &["durability"]),
        (Flaw::AddsTwice, &["no-duplicate"]),
    ] {
        let found = killed(&format!("{flaw:?}"), |seed| Counters {
            flaw,
            ..counters(seed)
        });
        assert!(properties.contains(&found), "{flaw:?}: {found}");
    }
}

#[test]
fn a_store_or_a_disk_that_goes_wrong_is_found_out() {
    for (wrong, properties) in [
        (Wrong::SyncSkipped, ["durability", "starts"].as_slice()),
        (Wrong::NamesNotSynced, &["durability", "starts"]),
        (Wrong::SnapshotInPlace, &["starts", "durability"]),
        (Wrong::TornTaken, &["no-creation", "durability"]),
        (Wrong::NotWrittenAgain, &["durability", "starts"]),
        (Wrong::TornLeft, &["starts"]),
        (Wrong::CorruptCutOff, &["durability"]),
    ] {
        let found = killed(&format!("{wrong:?}"), |seed| Counters {
            wrong,
            ..counters(seed)
        });
        assert!(properties.contains(&found), "{wrong:?}: {found}");
    }
}

/// One counter, one addition each millisecond.
fn steady() -> Plan {
    let mut plan = Plan::new(5, 1, at(SECOND));
    plan.push(Time::ZERO, Change::Start(Host(0)));
    let client = Client {
        host: Host(0),
        number: 0,
    };
    plan.push(at(500), Change::Open(client, Door(0)));
    for id in 0..100 {
        let line = format!("add {id} 1\n").into_bytes();
        plan.push(at(1_000 + id * 1_000), Change::Say(client, line));
    }
    plan
}

fn traced(plan: &Plan) -> String {
    let outcome = run(
        &counters(1),
        plan,
        (Recorder::default(), Checker::default()),
    );
    assert_eq!(outcome.violation, None);
    outcome.observer.0.write(Format::Text)
}

#[test]
fn a_slow_disk_commits_many_at_once() {
    let mut plan = steady();
    let counts = |text: &str| {
        let stored = text.lines().filter(|line| line.contains(" stored: "));
        let counts = stored.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap());
        counts.collect::<Vec<u32>>()
    };
    let quick = counts(&traced(&plan));
    assert!(quick.len() > 60, "{quick:?}");
    let slow = DiskFault::Slow(Span::from_millis(20));
    plan.push(Time::ZERO, Change::Disk(Host(0), slow));
    let slow = counts(&traced(&plan));
    assert!(slow.len() < 30 && slow.iter().max() > Some(&10), "{slow:?}");
}

#[test]
fn a_failed_sync_or_a_full_disk_ends_the_life_and_the_trace_says_why() {
    for (fault, why) in [
        (DiskFault::FailSync, "disk-failed: the sync failed"),
        (
            DiskFault::Full(true),
            "disk-failed: there is no space left on the disk",
        ),
    ] {
        let mut plan = steady();
        plan.push(at(50_000), Change::Disk(Host(0), fault));
        plan.push(at(60_000), Change::Disk(Host(0), DiskFault::Full(false)));
        plan.push(at(200_000), Change::Start(Host(0)));
        let text = traced(&plan);
        assert!(text.contains(why), "{text}");
        assert!(text.contains(" failed: ended by its disk"), "{text}");
        let after = text.split(" failed: ").nth(1).unwrap();
        assert!(after.contains(" recovered: volume 1 record "), "{after}");
    }
}

#[test]
fn a_flipped_bit_keeps_a_host_down_and_the_file_is_named() {
    let mut plan = steady();
    plan.push(at(150_000), Change::Kill(Host(0), Fate::Fin));
    plan.push(at(160_000), Change::Disk(Host(0), DiskFault::Flip(777)));
    plan.push(at(170_000), Change::Start(Host(0)));
    let text = traced(&plan);
    let said = text.lines().find(|line| line.contains(" disk-failed: "));
    let said = said.expect("it failed");
    assert!(
        said.contains("cannot use the file adds-000000000000000"),
        "{said}"
    );
    assert!(said.contains(".log: corrupt at byte "), "{said}");
}

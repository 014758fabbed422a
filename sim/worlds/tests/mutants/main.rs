//! Servers broken on purpose, on the simulator, before the judge: each is caught by the checker
//! that it is meant for, and servers that are not broken live on the same seeds.
//!
//! The table stands in `docs/MUTANTS.md`, and what the checkers say in `said.txt`. With
//! `CHATROOM_GOLDEN=write` in the environment they are written anew; otherwise they must be
//! so.

mod bent;
mod broken;
#[path = "../committed/mod.rs"]
mod committed;
mod list;
mod reports;

use bent::{Bend, Bent};
use broken::{Broken, Fault};
use chatroom_chat::Config;
use chatroom_sim::generate::Profile;
use chatroom_sim::observer::Violation;
use chatroom_sim::plan::{Change, Plan};
use chatroom_sim::sweep::{Sweep, Verdict};
use chatroom_worlds::chat::broken::Broken as Taught;
use chatroom_worlds::chat::{Chat, generate, judge, server};
use committed::compare;
use list::{CHECKERS, How, Mutant, mutants};
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Within so many seeds a mutant is caught.
const SEEDS: u64 = 500;
/// Servers that are not broken live on so many seeds of each profile at least.
const HEALTHY: u64 = 60;
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/MUTANTS.md");
const SAID: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mutants/said.txt");

/// How a mutant died.
#[derive(Clone, Debug)]
struct Death {
    /// How many seeds it took.
    seeds: u64,
    text: String,
    /// The events that broke the property.
    events: Vec<u64>,
    /// Other checkers that had caught it before.
    before: Vec<&'static str>,
}

/// The plan of a seed.
fn plan(seed: u64, profile: Profile, only_pauses: bool) -> Plan {
    let mut plan = generate(seed, profile);
    if only_pauses {
        plan.net.buffer = 256;
        plan.events.retain(|event| {
            let change = &event.change;
            change.client().is_some()
                || matches!(
                    change,
                    Change::Start(_) | Change::Pause(_) | Change::Resume(_)
                )
        });
    }
    plan
}

fn run<M: Chat>(make: impl Fn(Config) -> M + Clone, plan: &Plan) -> Verdict {
    judge(make, plan)
        .expect("the plan is within its bounds")
        .verdict
}

fn violation(mutant: &Mutant, seed: u64) -> Option<Violation> {
    let plan = plan(seed, mutant.profile, mutant.only_pauses);
    let verdict = match mutant.how {
        How::Config(change) => {
            let make = |mut config| {
                change(&mut config);
                server(config)
            };
            run(make, &plan)
        }
        How::Bent(bend) => run(|config| Bent::new(config, bend), &plan),
        How::Taught(defect) => run(|config| Taught::new(config, defect), &plan),
        How::Broken(fault) => run(|config| Broken::new(config, fault), &plan),
    };
    verdict.violation
}

/// Runs a mutant until its checker catches it.
fn hunt(mutant: &Mutant) -> Result<Death, Vec<&'static str>> {
    let mut before = Vec::new();
    for seed in 0..SEEDS {
        match violation(mutant, seed) {
            Some(violation) if violation.property == mutant.checker => {
                return Ok(Death {
                    seeds: seed + 1,
                    text: violation.text,
                    events: violation.events,
                    before,
                });
            }
            Some(violation) if !before.contains(&violation.property) => {
                before.push(violation.property);
            }
            Some(_) | None => {}
        }
    }
    Err(before)
}

/// Hunts all of them, on two threads.
fn hunt_all(mutants: &[Mutant]) -> Vec<Result<Death, Vec<&'static str>>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(vec![None; mutants.len()]);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mutant) = mutants.get(index) else {
                        break;
                    };
                    let result = hunt(mutant);
                    results.lock().expect("the other thread is well")[index] = Some(result);
                }
            });
        }
    });
    let results = results.into_inner().expect("the threads are well");
    results.into_iter().flatten().collect()
}

fn table(deaths: &[(Mutant, Death)]) -> String {
    let mut text = String::from(
        "# Mutants\n\n\
         Servers broken on purpose, on the simulator, before the judge. Each row says which checker \
         catches the mutant, and how many seeds of the profile, from 0 on, that takes; other checkers \
         may have caught it on an earlier seed. *Config* is the server that ships, wrongly \
         configured; *bent* is the server that ships with something bent between it and its driver; \
         *broken* is a second, simple server of the tests with one defect. The three without a \
         defect live on the same seeds.\n\n\
         `sim/worlds/tests/mutants/` makes this table: with `CHATROOM_GOLDEN=write` in the \
         environment, `cargo test -p chatroom-worlds --test mutants` writes it anew, and without it \
         the test fails if a mutant lives or if anything here is not so. `said.txt` beside it has \
         what the checkers say.\n\n\
         | mutant | server | profile | checker | seeds | caught before by |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for (mutant, death) in deaths {
        let server = match mutant.how {
            How::Config(_) => "config",
            How::Bent(_) | How::Taught(_) => "bent",
            How::Broken(_) => "broken",
        };
        writeln!(
            text,
            "| {} | {server} | {} | {} | {} | {} |",
            mutant.what,
            match mutant.only_pauses {
                true => format!("{}, only pauses", mutant.profile),
                false => mutant.profile.to_string(),
            },
            mutant.checker,
            death.seeds,
            death.before.join(", ")
        )
        .expect("a string takes everything");
    }
    text
}

/// What each checker said, and of which events.
fn said(deaths: &[(Mutant, Death)]) -> String {
    let lines = deaths.iter().map(|(mutant, death)| {
        let Death { text, events, .. } = death;
        format!(
            "{}\n  {}: {text}\n  {events:?}\n",
            mutant.what, mutant.checker
        )
    });
    lines.collect()
}

/// One test, since what is not broken must live on the seeds on which the broken ones died.
#[test]
fn every_mutant_dies_by_its_checker_and_servers_without_a_defect_live_on_the_same_seeds() {
    let mutants = mutants();
    let mut deaths = Vec::new();
    let mut living = String::new();
    for (mutant, result) in mutants.iter().zip(hunt_all(&mutants)) {
        match result {
            Ok(death) => {
                println!(
                    "{} after {}: {}: {}",
                    mutant.checker, death.seeds, mutant.what, death.text
                );
                deaths.push((*mutant, death));
            }
            Err(before) => writeln!(
                living,
                "{} seeds, and {} did not catch: {} (these did: {})",
                SEEDS,
                mutant.checker,
                mutant.what,
                before.join(", ")
            )
            .expect("a string takes everything"),
        }
    }
    assert!(living.is_empty(), "mutants live:\n{living}");
    for profile in Profile::ALL {
        for only_pauses in [false, true] {
            let same =
                |mutant: &Mutant| (mutant.profile, mutant.only_pauses) == (profile, only_pauses);
            let seeds = deaths.iter().filter(|(mutant, _)| same(mutant));
            let seeds = seeds.map(|(_, death)| death.seeds.max(HEALTHY)).max();
            let plan = |seed| plan(seed, profile, only_pauses);
            let seeds = seeds.unwrap_or(0);
            live("the server that ships", seeds, |seed| {
                run(server, &plan(seed))
            });
            live("the bent server, unbent", seeds, |seed| {
                run(|config| Bent::new(config, Bend::None), &plan(seed))
            });
            live("the broken server, whole", seeds, |seed| {
                run(|config| Broken::new(config, Fault::None), &plan(seed))
            });
        }
    }
    compare(TABLE, &table(&deaths));
    compare(SAID, &said(&deaths));
}

fn live(name: &str, seeds: u64, run: impl Fn(u64) -> Verdict + Sync) {
    let sweep = Sweep {
        seeds: 0..seeds,
        jobs: 2,
        time: None,
    };
    let swept = sweep.run(run, &mut |_| {});
    assert_eq!(swept.first, None, "{name} was found guilty");
}

#[test]
fn every_checker_kills_a_mutant_and_no_mutant_is_meant_for_a_checker_that_is_not_there() {
    let meant: Vec<&str> = mutants().iter().map(|mutant| mutant.checker).collect();
    for checker in CHECKERS {
        assert!(meant.contains(&checker), "no mutant is meant for {checker}");
    }
    assert!(meant.iter().all(|checker| CHECKERS.contains(checker)));
}

//! The replicated log on the simulator: what ships breaks nothing, and each rule that is broken on
//! purpose is noticed by the checker that is there for it.

use chatroom_core::MASTERS;
use chatroom_machine::Time;
use chatroom_sim::generate::Profile;
use chatroom_sim::names::{Client, Host};
use chatroom_sim::plan::{Change, Plan, Way};
use chatroom_sim::sometimes::Sometimes;
use chatroom_sim::subject::{judge, run_seed};
use chatroom_worlds::paxos::{ACKNOWLEDGED, AGREEMENT, Defect, PROGRESS, broken_servers, servers};

#[test]
fn nothing_breaks_and_every_interesting_case_is_met() {
    let mut sometimes = Sometimes::new();
    for profile in Profile::ALL {
        for seed in 0..120 {
            let judged = run_seed(&servers(), seed, profile);
            assert_eq!(judged.verdict.violation, None, "{profile} {seed}");
            sometimes.merge(&judged.verdict.sometimes);
        }
    }
    assert_eq!(sometimes.missing(), [""; 0]);
}

/// What is broken, and the property that tells. For each there is a shrunk plan in
/// tests/paxos.
const MUTANTS: [(Defect, &str); 14] = [
    (Defect::AcceptUnstored, AGREEMENT),
    (Defect::StaleAccepted, AGREEMENT),
    (Defect::AcceptedHidden, AGREEMENT),
    (Defect::LowestAdopted, AGREEMENT),
    (Defect::NothingAdopted, AGREEMENT),
    (Defect::HoleOverAccepted, AGREEMENT),
    (Defect::HalfIsEnough, AGREEMENT),
    (Defect::DecidedAtOnce, AGREEMENT),
    (Defect::GapSkipped, AGREEMENT),
    (Defect::AckEarly, ACKNOWLEDGED),
    (Defect::AppliedTwice, ACKNOWLEDGED),
    (Defect::NeverLearns, PROGRESS),
    (Defect::NeverRetries, PROGRESS),
    (Defect::NotResent, PROGRESS),
];

/// Those of which protocols/paxos/tests/durable_first.rs sees every line. No seed of 1,500 showed
/// them here: a server that comes back finds its peers two ballots further on.
const SEEN_ALONE: [Defect; 5] = [
    Defect::PromiseUnstored,
    Defect::PromiseForgotten,
    Defect::BallotReused,
    Defect::StalePromised,
    Defect::CountedTwice,
];

#[test]
fn every_broken_rule_is_noticed_by_its_checker_and_what_ships_breaks_nothing() {
    for (defect, property) in MUTANTS {
        let path = format!("{}/tests/paxos/{defect}.plan", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read(&path).expect("each defect has a plan");
        let plan = Plan::parse(&text).expect("it is a plan");
        let broken = judge(&broken_servers(defect), &plan).expect("it is in bounds");
        let broken = broken.verdict.violation.map(|violation| violation.property);
        assert_eq!(broken, Some(property), "{defect}");
        let sound = judge(&servers(), &plan).expect("it is in bounds");
        assert_eq!(sound.verdict.violation, None, "{defect}");
    }
    let mut tried: Vec<_> = MUTANTS.iter().map(|(defect, _)| *defect).collect();
    tried.extend(SEEN_ALONE);
    tried.sort_unstable();
    assert_eq!(tried, Defect::ALL);
}

/// A grid in which only some pairs of servers see each other, from half a second on and for good.
fn partial(hosts: u16, seed: u64, sees: impl Fn(u16, u16) -> bool) -> Plan {
    let at = |ms: u64| Time::from_micros(ms * 1000);
    let mut plan = Plan::new(seed, hosts, at(7_500));
    (plan.phases.warm_up, plan.phases.trouble) = (at(400), at(3_000));
    plan.phases.heal = at(3_000);
    for host in (0..hosts).map(Host) {
        plan.push(at(10 * u64::from(host.0)), Change::Start(host));
        let client = Client { host, number: 2 };
        let id = u64::from(host.0);
        plan.push(at(4_500), Change::Open(client, MASTERS));
        let message = format!("msg {id} w{id}\n").into_bytes();
        plan.push(at(5_000), Change::Say(client, message));
        plan.push(at(7_200), Change::Say(client, b"get chatLog\n".to_vec()));
    }
    for from in 0..hosts {
        for to in 0..from {
            if !sees(from, to) {
                let (from, to, both) = (Host(from), Host(to), true);
                plan.push(
                    at(500 + 90 * (seed % 7)),
                    Change::Cut(Way { from, to, both }),
                );
            }
        }
    }
    plan.events.sort_by_key(|event| event.at);
    plan
}

#[test]
fn messages_are_decided_while_only_some_servers_see_each_other() {
    for seed in 0..30 {
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            let cut = |x: u16, y: u16| (x.max(y), x.min(y)) != (b, a);
            let judged = judge(&servers(), &partial(3, seed, cut)).expect("a plan");
            assert_eq!(
                judged.verdict.violation, None,
                "{a} and {b} are cut, seed {seed}"
            );
            assert!(judged.verdict.sometimes.get("acknowledged") >= 3);
        }
        // Only one server sees a majority.
        for hub in 0..5 {
            let star = |x, y| x == hub || y == hub;
            let judged = judge(&servers(), &partial(5, seed, star)).expect("a plan");
            assert_eq!(
                judged.verdict.violation, None,
                "all see {hub} only, seed {seed}"
            );
            assert!(judged.verdict.sometimes.get("acknowledged") >= 5);
        }
        // A chain.
        let chain = |x: u16, y: u16| x.abs_diff(y) == 1;
        let judged = judge(&servers(), &partial(3, seed, chain)).expect("a plan");
        assert_eq!(judged.verdict.violation, None, "a chain, seed {seed}");
    }
}

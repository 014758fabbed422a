//! How fast the simulator is: five hosts, a full mesh, a small message to every peer each 100 ms,
//! one write in ten split, the hash on. First the engine by itself, with toys; then five chat
//! servers under all checkers, with a broadcast a second. Prints simulated seconds and events a
//! second for runs of growing length: the cost of an event must not grow.

#[path = "../tests/toy/mod.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod toy;

use chatroom_core::time::{Span, Time};
use chatroom_sim::chat;
use chatroom_sim::engine::run;
use chatroom_sim::names::{Client, Host};
use chatroom_sim::plan::{Change, Plan};
use std::time::Instant;
use toy::Toys;

fn plan(seconds: u64) -> Plan {
    let mut plan = Plan::new(1, 5, Time::from_micros(seconds * 1_000_000));
    plan.net.split = 100;
    for host in 0..5 {
        plan.push(Time::ZERO, Change::Start(Host(host)));
    }
    plan
}

fn report(seconds: u64, begin: Instant, events: u64, hash: u64) {
    let took = begin.elapsed().as_micros().max(1);
    let rate = |count: u64| u128::from(count) * 1_000_000 / took;
    println!(
        "{seconds:>7} s simulated: {:>7} s/s, {:>8} events/s, hash {hash:016x}",
        rate(seconds),
        rate(events),
    );
}

fn main() {
    let world = Toys {
        size: 7,
        ..Toys::default()
    };
    println!("the engine");
    for seconds in [1_000, 10_000, 100_000] {
        let begin = Instant::now();
        let outcome = run(&world, &plan(seconds), ());
        report(seconds, begin, outcome.events, outcome.hash);
    }
    println!("chat servers, judged");
    for seconds in [1_000, 4_000, 16_000] {
        let mut plan = plan(seconds);
        let master = Client {
            host: Host(0),
            number: 0,
        };
        plan.push(
            Time::from_micros(1_000_000),
            Change::Open(master, chatroom_core::MASTERS),
        );
        for second in 2..seconds.min(2_000) {
            let said = b"broadcast hello\n".to_vec();
            plan.push(
                Time::from_micros(second * 1_000_000),
                Change::Say(master, said),
            );
        }
        let begin = Instant::now();
        let judged = chat::judge(
            |mut config| {
                config.times.heartbeat = Span::from_millis(100);
                chat::server(config)
            },
            &plan,
        )
        .expect("a sound plan");
        if let Some(violation) = judged.verdict.violation {
            println!("broke {violation:?}");
        }
        report(seconds, begin, judged.verdict.events, judged.hash);
    }
}

//! How fast the engine is by itself: five toys, a full mesh, a small message to every peer each
//! 100 ms, one write in ten split, the hash on. Prints simulated seconds and events a second for
//! runs of growing length: the cost of an event must not grow.

#[path = "../tests/toy/mod.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod toy;

use chatroom_core::time::Time;
use chatroom_sim::engine::run;
use chatroom_sim::names::Host;
use chatroom_sim::plan::{Change, Plan};
use std::time::Instant;
use toy::Toys;

fn main() {
    let world = Toys {
        size: 7,
        ..Toys::default()
    };
    for seconds in [1_000, 10_000, 100_000] {
        let mut plan = Plan::new(1, 5, Time::from_micros(seconds * 1_000_000));
        plan.net.split = 100;
        for host in 0..5 {
            plan.push(Time::ZERO, Change::Start(Host(host)));
        }
        let begin = Instant::now();
        let outcome = run(&world, &plan, ());
        let took = begin.elapsed().as_micros().max(1);
        let rate = |count: u64| u128::from(count) * 1_000_000 / took;
        println!(
            "{seconds:>7} s simulated: {:>7} s/s, {:>8} events/s, {:>8} facts/s, hash {:016x}",
            rate(seconds),
            rate(outcome.events),
            rate(outcome.steps),
            outcome.hash,
        );
    }
}

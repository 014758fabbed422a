//! The same hot paths by the wall clock: nanoseconds a message, the best of many rounds. For a
//! look at one machine; `instructions.rs` is what CI compares.

use chatroom_bench::Hub;
use std::hint::black_box;
use std::time::{Duration, Instant};

const ROUNDS: usize = 200;
const MESSAGES: usize = 1000;

fn best(mut round: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default()
}

fn timed(f: impl FnOnce() -> usize) -> Duration {
    let begin = Instant::now();
    black_box(f());
    begin.elapsed()
}

fn main() {
    let (messages, broadcasts) = (Hub::messages(MESSAGES), Hub::broadcasts(MESSAGES));
    println!("{:24} {:>10} {:>10} {:>10}", "ns", "2 links", "15", "127");
    let row = |name: &str, each: usize, f: &dyn Fn(&mut Hub) -> Duration| {
        print!("{name:24}");
        for peers in [2, 15, 127] {
            let mut hub = Hub::new(peers);
            let took = best(|| f(&mut hub));
            print!(" {:>10.1}", took.as_nanos() as f64 / each as f64);
        }
        println!();
    };
    row("a delivery of 1000", MESSAGES, &|hub| {
        timed(|| hub.deliver(&messages))
    });
    row("a broadcast of 1000", MESSAGES, &|hub| {
        timed(|| hub.broadcast(&broadcasts))
    });
    row("a round of heartbeats", 1, &|hub| {
        timed(|| hub.heartbeats())
    });
    row("a timeout's scan", 1, &|hub| timed(|| hub.scan()));
}

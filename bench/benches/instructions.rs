//! Instructions of the core's hot paths, counted by callgrind: the same on every run, so that CI
//! can compare them (`python3 bench/instructions.py`).
#![expect(missing_docs, reason = "the macros write items without docs")]

use chatroom_bench::Hub;
use gungraun::{library_benchmark, library_benchmark_group, main};
use std::hint::black_box;

fn with(peers: u32, bytes: Vec<u8>) -> (Hub, Vec<u8>) {
    (Hub::new(peers), bytes)
}

fn full(peers: u32) -> Hub {
    let mut hub = Hub::new(peers);
    hub.deliver(&Hub::messages(10_000));
    hub
}

#[library_benchmark]
#[bench::links_2(with(2, Hub::messages(1000)))]
#[bench::links_15(with(15, Hub::messages(1000)))]
#[bench::links_127(with(127, Hub::messages(1000)))]
fn deliver_1000((mut hub, bytes): (Hub, Vec<u8>)) -> (Hub, usize) {
    let sent = hub.deliver(black_box(&bytes));
    (hub, sent)
}

#[library_benchmark]
#[bench::links_2(with(2, Hub::messages(1)))]
#[bench::links_15(with(15, Hub::messages(1)))]
#[bench::links_127(with(127, Hub::messages(1)))]
fn deliver_1((mut hub, bytes): (Hub, Vec<u8>)) -> (Hub, usize) {
    let sent = hub.deliver(black_box(&bytes));
    (hub, sent)
}

#[library_benchmark]
#[bench::links_2(with(2, Hub::broadcasts(1000)))]
#[bench::links_15(with(15, Hub::broadcasts(1000)))]
#[bench::links_127(with(127, Hub::broadcasts(1000)))]
fn broadcast_1000((mut hub, bytes): (Hub, Vec<u8>)) -> (Hub, usize) {
    let sent = hub.broadcast(black_box(&bytes));
    (hub, sent)
}

#[library_benchmark]
#[bench::links_2(with(2, Hub::broadcasts(1)))]
#[bench::links_15(with(15, Hub::broadcasts(1)))]
#[bench::links_127(with(127, Hub::broadcasts(1)))]
fn broadcast_1((mut hub, bytes): (Hub, Vec<u8>)) -> (Hub, usize) {
    let sent = hub.broadcast(black_box(&bytes));
    (hub, sent)
}

#[library_benchmark]
#[bench::links_2(Hub::new(2))]
#[bench::links_15(Hub::new(15))]
#[bench::links_127(Hub::new(127))]
fn heartbeats(mut hub: Hub) -> (Hub, usize) {
    let sent = hub.heartbeats();
    (hub, sent)
}

#[library_benchmark]
#[bench::links_2(Hub::new(2))]
#[bench::links_15(Hub::new(15))]
#[bench::links_127(Hub::new(127))]
fn scan(mut hub: Hub) -> (Hub, usize) {
    let sent = hub.scan();
    (hub, sent)
}

#[library_benchmark]
#[bench::texts_10000(full(2))]
fn get(mut hub: Hub) -> (Hub, usize) {
    let sent = hub.get();
    (hub, sent)
}

library_benchmark_group!(
    name = core,
    benchmarks = [
        deliver_1000,
        deliver_1,
        broadcast_1000,
        broadcast_1,
        heartbeats,
        scan,
        get
    ]
);
main!(library_benchmark_groups = core);

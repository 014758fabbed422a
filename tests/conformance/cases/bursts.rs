//! Many messages at once, and receivers that fail under them.

use crate::grid::master::Master;
use crate::grid::pump::{complete, numbers, outrun, text};
use crate::grid::{Grid, Kind, all, long, patient, strict, within};
use std::thread;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// `count` broadcasts of server 0, of `length` bytes each.
fn burst(count: usize, length: usize) -> Vec<u8> {
    let mut lines = Vec::with_capacity(count * (length + 11));
    for number in 0..count {
        let begin = format!("{} ", text(0, number));
        let filler = "x".repeat(length - begin.len());
        lines.extend_from_slice(format!("broadcast {begin}{filler}\n").as_bytes());
    }
    lines
}

/// Sends a burst, and waits until the server has taken in all of it.
fn pour(master: &mut Master, burst: &[u8]) -> Duration {
    let begin = Instant::now();
    master.sends(burst);
    master.alive();
    begin.elapsed()
}

pub(crate) fn ten_thousand_broadcasts_in_one_write_arrive_in_order(kind: Kind) {
    let grid = Grid::up(&all(kind, 8), patient());
    let begin = Instant::now();
    pour(&mut grid.master(0), &burst(10_000, 64));
    for id in grid.ids() {
        complete(&grid, id, &[(0, 10_000)]);
    }
    eprintln!("10,000 broadcasts in 8 logs: {:?}", begin.elapsed());
    for id in grid.ids() {
        assert_eq!(grid.master(id).get().len(), 10_000);
    }
}

pub(crate) fn a_receiver_killed_in_a_burst_costs_the_others_nothing(kind: Kind) {
    const COUNT: usize = 20_000;
    let lines = burst(COUNT, 64);
    for round in 0..if long() { 100 } else { 1 } {
        let mut grid = Grid::up(&all(kind, 4), patient());
        let mut master = grid.master(0);
        let mut victim = grid.master(2);
        thread::scope(|scope| {
            scope.spawn(|| pour(&mut master, &lines));
            // At another place of the burst in each round.
            victim.log_where("some of it is there", |log| log.len() > round * 100);
            grid.kill(2);
        });
        for id in grid.others(2) {
            complete(&grid, id, &[(0, COUNT)]);
        }
        grid.agree(&grid.others(2));
        grid.start(2);
        within("all is whole after a burst", grid.whole(), SECOND);
        assert!(grid.master(2).get().is_empty());
    }
}

/// Twenty million bytes; the one that is stopped stays within what it may lag behind.
pub(crate) fn a_receiver_stopped_under_a_burst_holds_up_nobody_and_catches_up(kind: Kind) {
    const COUNT: usize = 5000;
    let lines = burst(COUNT, 4096);
    let run = |stopped: bool| {
        let grid = Grid::up(&all(kind, 4), patient());
        if stopped {
            grid.stop(2);
        }
        let begin = Instant::now();
        pour(&mut grid.master(0), &lines);
        let took = healthy(&grid, begin, COUNT);
        (grid, took)
    };
    if strict() {
        // By turns, since the machine is faster at one time than at another.
        let mut times: Vec<_> = (0..7).map(|_| [run(false).1, run(true).1]).collect();
        let [undisturbed, stopped] = [0, 1].map(|which| {
            times.sort_unstable_by_key(|pair| pair[which]);
            times[times.len() / 2][which]
        });
        eprintln!("20 MB in three logs: {stopped:?}, undisturbed {undisturbed:?}");
        within(
            "one stopped receiver holds up nobody",
            stopped,
            undisturbed * 12 / 10,
        );
    }
    let (grid, _) = run(true);
    grid.resume(2);
    within("a resumed receiver is back", grid.whole(), SECOND);
    if !strict() {
        complete(&grid, 2, &[(0, COUNT)]);
    }
    grid.reaches(0, &[1, 2, 3]);
}

fn healthy(grid: &Grid, begin: Instant, count: usize) -> Duration {
    for id in [1, 3] {
        complete(grid, id, &[(0, count)]);
    }
    begin.elapsed()
}

pub(crate) fn a_receiver_past_its_limit_is_dropped_and_heals(kind: Kind) {
    let options = format!("{} --max-lag 1000000 --max-high-water 200000", patient());
    let grid = Grid::up(&all(kind, 4), &options);
    grid.stop(2);
    let count = outrun(&grid, 2, &[1, 3], || {});
    for id in [1, 3] {
        complete(&grid, id, &[(0, count)]);
    }
    grid.resume(2);
    within("a dropped receiver is back", grid.whole(), SECOND);
    grid.reaches(0, &[1, 2, 3]);
    let had = numbers(&grid.master(2).get(), 0);
    assert!(had.iter().copied().eq(0..had.len()), "a gap in a session");
    assert!(had.len() < count);
}

//! How servers end and come back: killed, stopped, asked to, all at once.

use crate::grid::pump::{Pump, ascends, complete, numbers, text};
use crate::grid::{Grid, Kind, all, long, patient, until, within};
use rustix::process::Signal;
use std::io::Write;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn each_server_killed_is_noticed_and_comes_back_empty(kind: Kind) {
    let mut grid = Grid::up(&all(kind, 3), patient());
    for id in grid.ids() {
        let others = grid.others(id);
        grid.reaches(id, &others);
        grid.kill(id);
        within("a killed server is noticed", grid.agree(&others), SECOND);
        grid.reaches(others[0], &others[1..]);
        grid.start(id);
        within(
            "a restarted server is known to all",
            grid.whole(),
            3 * SECOND,
        );
        assert!(grid.master(id).get().is_empty());
        grid.reaches(id, &others);
        grid.reaches(others[1], &[id]);
    }
}

pub(crate) fn each_server_stopped_is_noticed_and_comes_back(kind: Kind) {
    let grid = Grid::up(&all(kind, 3), "");
    for id in grid.ids() {
        let others = grid.others(id);
        let begin = Instant::now();
        grid.stop(id);
        within("a stopped server is noticed", grid.agree(&others), SECOND);
        grid.reaches(others[0], &others[1..]);
        if long() {
            sleep(Duration::from_secs(5).saturating_sub(begin.elapsed()));
        }
        grid.resume(id);
        within("a resumed server is known to all", grid.whole(), SECOND);
        grid.reaches(id, &others);
        grid.reaches(others[1], &[id]);
    }
}

/// Both live, and only their link broke: the session resumes.
pub(crate) fn a_server_that_was_stopped_misses_nothing(kind: Kind) {
    let grid = Grid::up(&all(kind, 3), "");
    let watch = grid.watch(2);
    let pump = Pump::start(&grid, &[0, 1]);
    for _ in 0..3 {
        grid.stop(2);
        grid.agree(&[0, 1]);
        grid.resume(2);
        grid.whole();
    }
    let counts = pump.stops();
    for id in grid.ids() {
        complete(&grid, id, &counts);
    }
    assert!(watch.told("gap").is_empty(), "{:?}", watch.told("gap"));
}

/// Its peers dial it again and again meanwhile: connections that are over by the time they are read
/// are no sessions, and a watcher is told of none.
pub(crate) fn a_server_that_was_stopped_tells_of_no_sessions_that_never_were(kind: Kind) {
    let grid = Grid::up(&all(kind, 4), "");
    let watch = grid.watch(0);
    grid.stop(0);
    sleep(3 * SECOND);
    grid.resume(0);
    grid.whole();
    for id in [1, 2, 3] {
        grid.reaches(id, &[0]);
        let told = ["up", "down"].map(|word| watch.told(&format!("{word} {id}")).len());
        eprintln!("ups and downs of {id}: {told:?}");
        assert!(told.iter().all(|&count| count <= 3), "of {id}: {told:?}");
    }
}

/// Its peers wait for it longer than it sleeps, it waits for them less long: only the bytes that
/// wait in its sockets tell it that they live.
pub(crate) fn an_observer_that_slept_accuses_nobody(kind: Kind) {
    let mut grid = Grid::new(&all(kind, 3), "");
    for id in [0, 2] {
        grid.set_options(id, "--suspicion 25000");
    }
    grid.set_options(1, "--suspicion 3000");
    grid.start_all();
    grid.whole();
    let watch = grid.watch(1);
    grid.stop(1);
    sleep(Duration::from_millis(3700));
    grid.resume(1);
    grid.reaches(0, &[1]);
    grid.reaches(1, &[0, 2]);
    let downs = watch.told("down");
    assert!(downs.is_empty(), "it accuses {downs:?}");
}

pub(crate) fn a_server_that_comes_back_before_its_death_was_noticed_is_taken_in(kind: Kind) {
    let mut grid = Grid::up(&all(kind, 3), patient());
    // The stopped one notices nothing of what happens meanwhile.
    for (observer, victim) in [(0, 2), (2, 1)] {
        grid.stop(observer);
        let mut master = grid.master(victim);
        for number in 0..200 {
            master.tell(&format!("broadcast {}", text(victim, number)));
        }
        let witness = 3 - observer - victim;
        complete(&grid, witness, &[(victim, 200)]);
        grid.kill(victim);
        let has = |ids: Vec<usize>| !ids.contains(&victim);
        let mut other = grid.master(witness);
        until("the death is noticed by one", || has(other.alive()));
        grid.start(victim);
        until("the new life is known to one", || !has(other.alive()));
        grid.resume(observer);
        grid.whole();
        grid.reaches(victim, &[observer, witness]);
        let log = grid.master(observer).get();
        let of_old = numbers(&log, victim);
        // A prefix of the old life, and after it the new life alone.
        assert!(of_old.iter().copied().eq(0..of_old.len()), "{of_old:?}");
        let begins = |text: &String| text.starts_with(&format!("reach.{victim}."));
        let new = log.iter().position(begins).unwrap();
        assert!(numbers(&log[new..], victim).is_empty());
    }
}

pub(crate) fn a_signal_under_load_loses_nothing_that_was_accepted(kind: Kind) {
    for signal in [Signal::TERM, Signal::INT] {
        let mut grid = Grid::up(&all(kind, 3), patient());
        let watch = grid.watch(0);
        let mut master = grid.master(0);
        let flood = thread::spawn(move || {
            for number in 0.. {
                // Until nobody takes them any more.
                let line = format!("broadcast {}\n", text(0, number));
                if master.socket().write_all(line.as_bytes()).is_err() {
                    return;
                }
                sleep(Duration::from_micros(200));
            }
        });
        let accepted = || watch.told("delivered 0").len();
        until("it is under load", || accepted() >= 300);
        let begin = Instant::now();
        grid.signal(0, signal);
        assert_eq!(grid.ended(0), Some(0));
        within("a server under load ends", begin.elapsed(), 2 * SECOND);
        flood.join().unwrap();
        // What the watcher was told was accepted; the others have that and perhaps more.
        let told = accepted();
        for id in [1, 2] {
            let log = grid
                .master(id)
                .log_where("what was accepted", |log| numbers(log, 0).len() >= told);
            let of_0 = numbers(&log, 0);
            assert!(of_0.iter().copied().eq(0..of_0.len()), "{of_0:?}");
        }
        grid.agree(&[1, 2]);
    }
}

pub(crate) fn a_taken_port_ends_the_newcomer_alone(kind: Kind) {
    let grid = Grid::up(&all(kind, 2), patient());
    let pump = Pump::start(&grid, &[0, 1]);
    for id in grid.ids() {
        assert_eq!(grid.rival(id), Some(1));
    }
    grid.whole();
    pump.arrives(&grid);
}

pub(crate) fn twenty_kills_and_restarts_leave_a_whole_grid(kind: Kind) {
    let mut grid = Grid::up(&all(kind, 4), patient());
    let mut steady = grid.master(3);
    let rounds = if long() { 5 } else { 1 };
    let mut sent = 0;
    for round in 0..rounds * 20 {
        let victim = (round * 2) % 3;
        steady.tell(&format!("broadcast {}", text(3, sent)));
        sent += 1;
        grid.kill(victim);
        if round % 3 == 0 {
            sleep(Duration::from_millis(20));
        }
        grid.start(victim);
        if long() {
            sleep(Duration::from_millis(200));
        }
    }
    within(
        "20 kills and restarts later all is whole",
        grid.whole(),
        SECOND,
    );
    // What came before a session is not sent in it; what comes now reaches all.
    for id in grid.ids() {
        grid.reaches(id, &grid.others(id));
        let log = grid.master(id).get();
        assert!(ascends(&numbers(&log, 3)), "{log:?}");
    }
    complete(&grid, 3, &[(3, sent)]);
}

pub(crate) fn sixteen_restarted_at_once_become_whole(kind: Kind) {
    let mut grid = Grid::new(&all(kind, 16), patient());
    grid.start_all();
    within("16 servers start", grid.whole(), 3 * SECOND);
    grid.ids().into_iter().for_each(|id| grid.kill(id));
    grid.start_all();
    within("16 servers start again", grid.whole(), 3 * SECOND);
    grid.reaches(0, &grid.others(0));
    grid.reaches(15, &grid.others(15));
}

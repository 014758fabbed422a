//! Grids of several kinds: both runtimes, and a server that shares no code with ours.

use crate::grid::pump::{Pump, ascends, numbers, text};
use crate::grid::{Grid, Kind, all, patient, until};

pub(crate) fn both_runtimes_live_in_one_grid(kind: Kind) {
    let other = if kind == Kind::Std {
        Kind::Smol
    } else {
        Kind::Std
    };
    let mut grid = Grid::up(&[kind, other, other, kind], patient());
    let pump = Pump::start(&grid, &[0, 1]);
    for id in [2, 3] {
        grid.kill(id);
        grid.agree(&grid.others(id));
        grid.start(id);
        grid.whole();
        grid.reaches(id, &grid.others(id));
    }
    pump.arrives(&grid);
    for id in grid.ids() {
        let log = grid.master(id).get();
        assert!(ascends(&numbers(&log, 0)) && ascends(&numbers(&log, 1)));
    }
}

/// One foreign server among three: all are heard, whoever crashes and comes back. Its times are
/// its own, so a session of it may break on a busy machine: what must hold then is the order.
fn works_at(place: usize, foreign: Kind, kind: Kind) {
    let mut kinds = all(kind, 3);
    kinds[place] = foreign;
    let mut grid = Grid::up(&kinds, "");
    let exchange = |grid: &Grid, round: usize| {
        for id in grid.ids() {
            let mut master = grid.master(id);
            for number in 0..20 {
                let number = round * 20 + number;
                master.tell(&format!("broadcast {}", text(id, number)));
            }
            assert!(!master.alive().is_empty());
        }
        for id in grid.ids() {
            grid.reaches(id, &grid.others(id));
        }
        for id in grid.ids() {
            let log = grid.master(id).get();
            for sender in grid.ids() {
                let of = numbers(&log, sender);
                assert!(ascends(&of), "{sender} at {id}: {of:?}");
            }
        }
    };
    exchange(&grid, 0);
    let own = (place + 1) % 3;
    for (round, victim) in [place, own].into_iter().enumerate() {
        grid.kill(victim);
        grid.agree(&grid.others(victim));
        grid.start(victim);
        grid.whole();
        exchange(&grid, round + 1);
    }
}

pub(crate) fn a_foreign_server_in_the_first_place_works(kind: Kind) {
    works_at(0, Kind::Foreign, kind);
}

pub(crate) fn a_foreign_server_in_the_middle_works(kind: Kind) {
    works_at(1, Kind::Foreign, kind);
}

pub(crate) fn a_foreign_server_in_the_last_place_works(kind: Kind) {
    works_at(2, Kind::Foreign, kind);
}

/// It broadcasts as soon as its links are up, long before its first ping.
pub(crate) fn a_foreign_server_that_speaks_before_its_ping_works(kind: Kind) {
    let mut kinds = all(kind, 3);
    kinds[2] = Kind::MsgFirst;
    let mut grid = Grid::new(&kinds, patient());
    grid.start(0);
    grid.start(1);
    grid.agree(&[0, 1]);
    // On a busy machine it may be late and ping first, or break the session: then again.
    until("what it says first arrives", || {
        grid.start(2);
        let mut master = grid.master(2);
        until("it counts its links as up", || master.alive() == [0, 1, 2]);
        let text = format!("first of {}", grid.pid(2));
        master.tell(&format!("broadcast {text}"));
        grid.whole();
        grid.reaches(2, &[0, 1]);
        let arrived = [0, 1].map(|id| grid.master(id).get().contains(&text));
        grid.kill(2);
        arrived == [true, true]
    });
    drop(grid);
    works_at(1, Kind::MsgFirst, kind);
}

//! Masters that come and go, come in numbers, do not read, watch.

use crate::grid::master::texts;
use crate::grid::pump::{Pump, ascends, complete, numbers, text};
use crate::grid::{Grid, Kind, all, patient, until};
use std::thread;

pub(crate) fn masters_that_leave_and_return_disturb_nobody(kind: Kind) {
    let grid = Grid::up(&all(kind, 3), patient());
    let pump = Pump::start(&grid, &[0, 1, 2]);
    for round in 0..60 {
        let mut master = grid.master(round % 3);
        match round % 4 {
            0 => {}
            1 => master.sends(b"broad"),
            2 => master.tell("get"),
            _ => assert_eq!(master.alive(), [0, 1, 2]),
        }
    }
    grid.whole();
    pump.arrives(&grid);
}

pub(crate) fn masters_in_numbers_each_have_their_order(kind: Kind) {
    const MASTERS: usize = 20;
    const EACH: usize = 50;
    let grid = Grid::up(&all(kind, 2), patient());
    thread::scope(|scope| {
        for number in 0..MASTERS {
            let mut master = grid.master(0);
            scope.spawn(move || {
                for count in 0..EACH {
                    let own = text(100 + number, count);
                    master.tell(&format!("broadcast {own}"));
                    let log = master.get();
                    assert!(log.contains(&own), "its own message is missing");
                }
            });
        }
    });
    let counts: Vec<_> = (0..MASTERS).map(|number| (100 + number, EACH)).collect();
    for id in grid.ids() {
        complete(&grid, id, &counts);
    }
    assert_eq!(grid.master(0).get(), grid.master(1).get());
}

pub(crate) fn a_master_that_does_not_read_holds_up_nobody_and_gets_every_reply(kind: Kind) {
    const ASKED: usize = 400;
    let grid = Grid::up(&all(kind, 3), patient());
    let mut other = grid.master(0);
    // Replies of 100 kB: far more of them than socket buffers take.
    let filler = "x".repeat(5000);
    for number in 0..20 {
        other.tell(&format!("broadcast {} {filler}", text(9, number)));
    }
    // In the log before another master asks for it.
    assert_eq!(other.get().len(), 20);
    let pump = Pump::start(&grid, &[0, 1, 2]);
    let mut lazy = grid.master(0);
    for _ in 0..ASKED {
        lazy.tell("get");
    }
    lazy.tell("broadcast after all of it");
    for _ in 0..50 {
        assert_eq!(other.alive(), [0, 1, 2]);
    }
    pump.arrives(&grid);
    let mut before = Vec::new();
    for _ in 0..ASKED {
        let log = texts(&lazy.hears().expect("every reply that is owed"));
        assert!(log.starts_with(&before), "a reply took something back");
        before = log;
    }
    let log = lazy.get();
    assert_eq!(log.last().unwrap(), "after all of it");
}

pub(crate) fn a_master_that_is_done_speaking_gets_its_answers(kind: Kind) {
    let grid = Grid::up(&all(kind, 2), patient());
    for id in grid.ids() {
        let mut master = grid.master(id);
        let count = 200;
        for number in 0..count {
            master.tell(&format!("broadcast {}", text(id, number)));
            master.tell("alive");
        }
        master.tell("what");
        master.tell("get");
        // A line without its end never happened.
        master.sends(b"broadcast unfinished");
        let rest = master.finish();
        let lines: Vec<_> = rest.lines().collect();
        assert_eq!(lines.len(), count + 2);
        assert!(lines[..count].iter().all(|&line| line == "alive 0,1"));
        assert!(lines[count].starts_with("error "));
        let log = texts(lines[count + 1]);
        assert!(numbers(&log, id).into_iter().eq(0..count));
        complete(&grid, 1 - id, &[(id, count)]);
        assert!(!grid.master(id).get().contains(&"unfinished".to_owned()));
    }
}

pub(crate) fn a_watcher_is_told_what_happens_as_it_happens(kind: Kind) {
    let mut grid = Grid::new(&all(kind, 3), patient());
    grid.start(1);
    let watch = grid.watch(1);
    let told = |lines: &[&str]| {
        let what = format!("a watcher is told {lines:?}");
        until(&what, || {
            watch
                .lines()
                .ends_with(&lines.iter().map(|&l| l.to_owned()).collect::<Vec<_>>())
        });
    };
    grid.start(0);
    told(&["up 0"]);
    grid.start(2);
    told(&["up 0", "up 2"]);
    grid.whole();
    let mut masters: Vec<_> = (0..3).map(|id| grid.master(id)).collect();
    masters[0].tell("broadcast of the first");
    told(&["delivered 0 of the first"]);
    masters[1].tell("broadcast  of its own, with a comma");
    told(&["delivered 1  of its own, with a comma"]);
    grid.kill(2);
    told(&["down 2"]);
    grid.start(2);
    told(&["up 2"]);
    let mut third = grid.master(2);
    until("the third sees the second", || third.alive().contains(&1));
    third.tell("broadcast back");
    told(&[
        "up 0",
        "up 2",
        "delivered 0 of the first",
        "delivered 1  of its own, with a comma",
        "down 2",
        "up 2",
        "delivered 2 back",
    ]);
}

pub(crate) fn each_get_extends_the_one_before_while_messages_pour_in(kind: Kind) {
    const COUNT: usize = 2000;
    let grid = Grid::up(&all(kind, 3), patient());
    thread::scope(|scope| {
        for id in grid.ids() {
            let mut master = grid.master(id);
            scope.spawn(move || {
                for number in 0..COUNT {
                    master.tell(&format!("broadcast {}", text(id, number)));
                }
                master.alive();
            });
        }
        let mut master = grid.master(1);
        let mut before = Vec::new();
        let mut replies = 0;
        until("all of it is there", || {
            let log = master.get();
            assert!(log.starts_with(&before), "a reply took something back");
            replies += 1;
            before = log;
            before.len() == 3 * COUNT
        });
        for id in grid.ids() {
            assert!(ascends(&numbers(&before, id)));
        }
        eprintln!("{replies} replies while messages poured in");
    });
}

//! Peers that do not do their part, and strangers in numbers.

use crate::grid::pump::{Pump, complete, outrun};
use crate::grid::stranger::Stranger;
use crate::grid::{Grid, Kind, all, patient, until};
use std::time::Instant;

pub(crate) fn a_peer_that_never_reads_is_dropped_and_holds_up_nobody(kind: Kind) {
    let options = format!("{} --max-lag 1000000 --max-high-water 200000", patient());
    let mut grid = Grid::new(&all(kind, 4), &options);
    for id in 0..3 {
        grid.start(id);
    }
    grid.agree(&[0, 1, 2]);
    let mut deaf = Stranger::new(grid.host, Grid::link_port(0));
    deaf.sends(b"ping 3\n");
    let mut master = grid.master(0);
    until("the fourth is up", || master.alive() == [0, 1, 2, 3]);
    let count = outrun(&grid, 3, &[1, 2], || deaf.sends(b"ping 3\n"));
    for id in 0..3 {
        complete(&grid, id, &[(0, count)]);
    }
}

pub(crate) fn silent_connections_make_room_for_those_that_speak(kind: Kind) {
    let mut grid = Grid::up(&all(kind, 3), &format!("{} --greeting 300", patient()));
    let pump = Pump::start(&grid, &[0, 1]);
    let begin = Instant::now();
    let port = Grid::link_port(0);
    let mut silent: Vec<_> = (0..100).map(|_| Stranger::new(grid.host, port)).collect();
    let doors = Grid::master_port(0);
    let idle: Vec<_> = (0..50).map(|_| Stranger::new(grid.host, doors)).collect();
    grid.kill(2);
    grid.agree(&[0, 1]);
    grid.start(2);
    grid.whole();
    assert_eq!(grid.master(0).alive(), [0, 1, 2]);
    silent.iter_mut().for_each(Stranger::is_closed);
    eprintln!("100 silent links were closed in {:?}", begin.elapsed());
    drop(idle);
    pump.arrives(&grid);
}

pub(crate) fn a_second_link_of_a_peer_replaces_the_first(kind: Kind) {
    // The test plays the second of two, which never pings again.
    let mut grid = Grid::new(&all(kind, 2), "--suspicion 60000 --greeting 25000");
    grid.start(0);
    let mut master = grid.master(0);
    let port = Grid::link_port(0);
    let mut old = Stranger::new(grid.host, port);
    old.sends(b"ping 1\nmsg 1 one\n");
    master.log_where("the first message", |log| log == ["one"]);
    let mut new = Stranger::new(grid.host, port);
    new.sends(b"ping 1\n");
    assert_eq!(new.hears(), "ping 0");
    old.is_closed();
    old.sends(b"msg 1 ghost\n");
    new.sends(b"msg 1 two\n");
    master.log_where("the second message", |log| log.len() > 1);
    old.sends(b"msg 1 ghost\n");
    new.sends(b"msg 1 three\n");
    let log = master.log_where("the third message", |log| log.len() > 2);
    assert_eq!(log, ["one", "two", "three"]);
    assert_eq!(master.alive(), [0, 1]);
}

pub(crate) fn a_flood_past_the_descriptors_leaves_links_and_masters_working(kind: Kind) {
    let mut grid = Grid::new(&all(kind, 3), patient());
    grid.set_descriptors(0, 40);
    grid.start_all();
    grid.whole();
    let mut master = grid.master(0);
    assert_eq!(master.alive(), [0, 1, 2]);
    let pump = Pump::start(&grid, &[0, 1, 2]);
    // Its limits of links and masters lie above what the system gives it.
    let port = Grid::link_port(0);
    let flood: Vec<_> = (0..120).map(|_| Stranger::new(grid.host, port)).collect();
    let doors = Grid::master_port(0);
    let more: Vec<_> = (0..60).map(|_| Stranger::new(grid.host, doors)).collect();
    for _ in 0..20 {
        assert_eq!(master.alive(), [0, 1, 2]);
    }
    drop((flood, more));
    until("new masters are served", || {
        grid.master(0).alive() == [0, 1, 2]
    });
    pump.arrives(&grid);
}

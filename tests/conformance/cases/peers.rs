//! Peers that do not do their part, and strangers in numbers.

use crate::grid::pump::{Pump, complete, outrun};
use crate::grid::stranger::Stranger;
use crate::grid::{Grid, Kind, all, patient, until};
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

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

/// A second link that names a peer which is up waits; it takes over once the first has ended or was
/// silent for 600 ms.
pub(crate) fn a_second_link_takes_over_from_one_that_ends_or_falls_silent(kind: Kind) {
    // The test plays the second of two. A link that waits is not closed early on a busy machine.
    let mut grid = Grid::new(&all(kind, 2), "--suspicion 60000 --greeting 25000");
    grid.start(0);
    let mut master = grid.master(0);
    let port = Grid::link_port(0);
    let mut old = Stranger::new(grid.host, port);
    old.sends(b"ping 1\nmsg 1 one\n");
    master.log_where("the first message", |log| log == ["one"]);
    // It says nothing any more.
    let mut new = Stranger::new(grid.host, port);
    new.sends(b"ping 1\nmsg 1 two\n");
    old.is_closed();
    assert_eq!(new.hears(), "ping 0");
    old.sends(b"msg 1 ghost\n");
    master.log_where("the second message", |log| log.len() > 1);
    old.sends(b"msg 1 ghost\n");
    // Nor can it come back: what names a peer first on an older link is of its past.
    let mut newest = Stranger::new(grid.host, port);
    newest.sends(b"ping 1\nmsg 1 four\n");
    new.sends(b"msg 1 three\n");
    drop(new);
    // The end of the link before is waited for, so nothing of it is lost.
    let log = master.log_where("what the third link said", |log| log.len() > 3);
    assert_eq!(log, ["one", "two", "three", "four"]);
    assert_eq!(newest.hears(), "ping 0");
    assert_eq!(master.alive(), [0, 1]);
}

/// As long as the first is heard, the second does not count, and is closed in the end.
pub(crate) fn a_second_link_does_not_replace_one_that_is_heard(kind: Kind) {
    let mut grid = Grid::new(&all(kind, 2), "--suspicion 60000");
    grid.start(0);
    let mut master = grid.master(0);
    let watch = grid.watch(0);
    let port = Grid::link_port(0);
    let mut true_one = Stranger::new(grid.host, port);
    true_one.sends(b"ping 1\n");
    until("it is up", || master.alive() == [0, 1]);
    let mut sent = 0;
    for round in 0..3 {
        let mut other = Stranger::new(grid.host, port);
        other.sends(b"ping 1\nmsg 1 a lie\n");
        other.socket.set_nonblocking(true).unwrap();
        let begin = Instant::now();
        until("the second link is closed", || {
            true_one.sends(format!("msg 1 {sent}\n").as_bytes());
            sent += 1;
            let mut byte = [0];
            match other.socket.read(&mut byte) {
                Ok(count) => assert_eq!(count, 0, "round {round}: it was answered"),
                Err(e) => return e.kind() != ErrorKind::WouldBlock,
            }
            true
        });
        // It had the time that a newcomer has to greet.
        assert!(begin.elapsed() >= Duration::from_millis(500));
    }
    let log = master.log_where("all of the true one", |log| log.len() >= sent);
    assert!(log.into_iter().eq((0..sent).map(|n| n.to_string())));
    assert!(watch.told("down").is_empty());
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

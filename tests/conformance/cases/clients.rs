//! Clients that connect, say something and leave at once: what they sent counts, whoever is busy or
//! stopped when they come.

use crate::grid::stranger::Stranger;
use crate::grid::{Grid, Kind, all, patient, until};
use std::sync::Barrier;
use std::thread::{self, sleep};
use std::time::Duration;

/// Clients at one time.
const CROWD: usize = 40;
/// Time for what was sent to reach the kernel of the other side, before a reset that may overtake
/// it.
const ARRIVAL: Duration = Duration::from_millis(5);

/// Every so many clients reset their connection instead of closing it.
#[derive(Clone, Copy)]
struct Resets {
    every: usize,
}

impl Resets {
    const NEVER: Self = Self { every: 0 };

    const fn includes(self, number: usize) -> bool {
        self.every != 0 && number.is_multiple_of(self.every)
    }
}

/// Connects, says `line` and leaves.
fn visit(grid: &Grid, port: u16, line: &str, resets: bool) {
    let mut client = Stranger::new(grid.host, port);
    client.sends(line.as_bytes());
    if resets {
        sleep(ARRIVAL);
        client.resets();
    }
}

/// The door that clients come to, and what one says there.
#[derive(Clone, Copy)]
enum Says {
    /// A master's broadcast.
    Broadcast,
    /// A session of always the same peer.
    AsOnePeer,
    /// A session of a peer of its own.
    AsPeers,
}

impl Says {
    fn visit(self, grid: &Grid, number: usize, resets: Resets) {
        let resets = resets.includes(number);
        let peer = match self {
            Self::Broadcast => {
                let line = format!("broadcast m{number}\n");
                return visit(grid, Grid::master_port(0), &line, resets);
            }
            Self::AsOnePeer => 1,
            Self::AsPeers => 1 + number % CROWD,
        };
        let line = format!("ping {peer}\nmsg {peer} m{number}\n");
        visit(grid, Grid::link_port(0), &line, resets);
    }
}

/// One server, in a grid whose other places are the test's to play.
fn alone(kind: Kind) -> Grid {
    let mut grid = Grid::new(&all(kind, 1 + CROWD), patient());
    grid.start(0);
    grid.agree(&[0]);
    grid
}

/// Waits until the log has `count` texts, then judges it: each once, and in order if `ordered`.
fn all_arrived(grid: &Grid, count: usize, ordered: bool) {
    let mut master = grid.master(0);
    let mut had = 0;
    let mut log = Vec::new();
    until(&format!("{count} messages of clients"), || {
        log = master.get();
        if log.len() != had {
            eprintln!("{} of {count}", log.len());
        }
        had = log.len();
        had >= count
    });
    let mut numbers: Vec<usize> = (log.iter())
        .map(|text| text.strip_prefix('m').expect(text).parse().unwrap())
        .collect();
    if !ordered {
        numbers.sort_unstable();
    }
    assert!(numbers.iter().copied().eq(0..count), "{numbers:?}");
}

fn one_after_another(kind: Kind, says: Says, resets: Resets) {
    const COUNT: usize = 2000;
    let grid = alone(kind);
    for number in 0..COUNT {
        says.visit(&grid, number, resets);
    }
    all_arrived(&grid, COUNT, true);
}

fn at_once(kind: Kind, says: Says, resets: Resets) {
    const ROUNDS: usize = 5;
    let grid = alone(kind);
    for round in 0..ROUNDS {
        let start = Barrier::new(CROWD);
        thread::scope(|scope| {
            for number in 0..CROWD {
                let (grid, start) = (&grid, &start);
                scope.spawn(move || {
                    start.wait();
                    says.visit(grid, round * CROWD + number, resets);
                });
            }
        });
        all_arrived(&grid, (round + 1) * CROWD, false);
    }
}

fn while_stopped(kind: Kind, says: Says, resets: Resets) {
    let grid = alone(kind);
    for round in 0..2 {
        grid.stop(0);
        for number in 0..CROWD {
            says.visit(&grid, round * CROWD + number, resets);
        }
        sleep(Duration::from_millis(500));
        grid.resume(0);
        all_arrived(&grid, (round + 1) * CROWD, true);
    }
}

pub(crate) fn masters_that_come_and_go_are_all_heard(kind: Kind) {
    one_after_another(kind, Says::Broadcast, Resets::NEVER);
}

pub(crate) fn masters_that_come_and_go_at_once_are_all_heard(kind: Kind) {
    at_once(kind, Says::Broadcast, Resets::NEVER);
}

pub(crate) fn masters_that_come_and_go_while_a_server_is_stopped_are_all_heard(kind: Kind) {
    while_stopped(kind, Says::Broadcast, Resets::NEVER);
}

pub(crate) fn masters_that_reset_once_they_spoke_are_all_heard(kind: Kind) {
    one_after_another(kind, Says::Broadcast, Resets { every: 20 });
    at_once(kind, Says::Broadcast, Resets { every: 3 });
    while_stopped(kind, Says::Broadcast, Resets { every: 3 });
}

pub(crate) fn peers_that_come_and_go_are_all_heard(kind: Kind) {
    one_after_another(kind, Says::AsOnePeer, Resets::NEVER);
    at_once(kind, Says::AsPeers, Resets::NEVER);
}

pub(crate) fn peers_that_come_and_go_while_a_server_is_stopped_are_all_heard(kind: Kind) {
    while_stopped(kind, Says::AsPeers, Resets::NEVER);
}

/// The link of a peer that came back is waited for until the one before has ended: none of them is
/// lost, and none overtakes another.
pub(crate) fn a_peer_that_comes_back_again_and_again_to_a_stopped_server_is_heard(kind: Kind) {
    while_stopped(kind, Says::AsOnePeer, Resets::NEVER);
}

pub(crate) fn peers_that_reset_once_they_spoke_are_all_heard(kind: Kind) {
    one_after_another(kind, Says::AsOnePeer, Resets { every: 20 });
    at_once(kind, Says::AsPeers, Resets { every: 3 });
    while_stopped(kind, Says::AsPeers, Resets { every: 3 });
}

//! Broadcasts that go on in the background, and the judgement of the logs they end up in.

use super::{Grid, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Between two broadcasts of one server.
const PAUSE: Duration = Duration::from_millis(2);

/// Numbered broadcasts `ID.K` by some servers of a grid, until it is stopped.
pub(crate) struct Pump {
    stop: Arc<AtomicBool>,
    senders: Vec<(usize, JoinHandle<usize>)>,
}

impl Pump {
    pub(crate) fn start(grid: &Grid, ids: &[usize]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let senders = ids.iter().map(|&id| {
            let mut master = grid.master(id);
            // One that was served has a place, and keeps it while it is not idle.
            master.alive();
            let stop = Arc::clone(&stop);
            let sender = thread::spawn(move || {
                let mut count = 0;
                // At least one, however late its turn comes.
                while count == 0 || !stop.load(Ordering::Relaxed) {
                    master.tell(&format!("broadcast {}", text(id, count)));
                    count += 1;
                    thread::sleep(PAUSE);
                }
                // Answered: all of them were accepted.
                master.alive();
                count
            });
            (id, sender)
        });
        Self {
            senders: senders.collect(),
            stop,
        }
    }

    /// Stops, and says how many broadcasts each server made.
    pub(crate) fn stops(self) -> Vec<(usize, usize)> {
        self.stop.store(true, Ordering::Relaxed);
        let counts: Vec<_> = (self.senders.into_iter())
            .map(|(id, sender)| (id, sender.join().expect("a sender")))
            .collect();
        assert!(counts.iter().all(|&(_, count)| count > 0));
        counts
    }

    /// Stops, and waits until each of its servers has every broadcast of all of them, in order,
    /// once.
    pub(crate) fn arrives(self, grid: &Grid) {
        let counts = self.stops();
        for &(id, _) in &counts {
            complete(grid, id, &counts);
        }
    }
}

/// Broadcasts 4 KB at a time at server 0 until it has dropped `deaf`, however much the system's
/// own buffers take; gives the number of broadcasts. `readers` are never behind by more than a
/// piece, or a busy machine would do to them what the test does to the deaf one.
pub(crate) fn outrun(
    grid: &Grid,
    deaf: usize,
    readers: &[usize],
    mut each_piece: impl FnMut(),
) -> usize {
    let filler = "x".repeat(4096);
    let mut master = grid.master(0);
    let watches: Vec<_> = readers.iter().map(|&id| grid.watch(id)).collect();
    let mut count = 0;
    until("the deaf one is dropped", || {
        each_piece();
        for _ in 0..100 {
            master.tell(&format!("broadcast {} {filler}", text(0, count)));
            count += 1;
        }
        until("those that read have it", || {
            watches.iter().all(|watch| watch.delivered() >= count)
        });
        !master.alive().contains(&deaf)
    });
    count
}

pub(crate) fn text(id: usize, number: usize) -> String {
    format!("{id}.{number}")
}

/// Waits until the log of `id` has the broadcasts of every sender in full, then judges it.
pub(crate) fn complete(grid: &Grid, id: usize, counts: &[(usize, usize)]) {
    let mut master = grid.master(id);
    for &(sender, count) in counts {
        let what = format!("{count} messages of {sender} at {id}");
        let mut had = 0;
        let log = loop {
            let mut log = Vec::new();
            // A deadline for each message, not for all of them.
            until(&what, || {
                log = numbers(&master.get(), sender);
                log.len() > had || log.len() >= count
            });
            had = log.len();
            if had >= count {
                break log;
            }
        };
        assert!(log.iter().copied().eq(0..count), "{what}: {log:?}");
    }
}

/// The numbers of the broadcasts of `sender` in a log, in order.
pub(crate) fn numbers(log: &[String], sender: usize) -> Vec<usize> {
    let prefix = format!("{sender}.");
    let own = log.iter().filter_map(|text| text.strip_prefix(&prefix));
    own.map(|number| number.split(' ').next().unwrap().parse().unwrap())
        .collect()
}

/// Whether numbers only grow: nothing twice, nothing out of order.
pub(crate) fn ascends(numbers: &[usize]) -> bool {
    numbers.is_sorted_by(|a, b| a < b)
}

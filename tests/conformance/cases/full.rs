//! A full log: what is new is refused, the gap is announced, the server stays.

use crate::grid::master::Watch;
use crate::grid::pump::{complete, numbers, text};
use crate::grid::{Grid, Kind, all, patient, until};

const LOG: usize = 20_000;

/// How many messages of `sender` a watcher was told of, as delivered and as missing.
fn told(watch: &Watch, sender: usize) -> (usize, usize) {
    let delivered = watch.told(&format!("delivered {sender} ")).len();
    let gaps = watch.told(&format!("gap {sender} "));
    let missing = gaps.iter().map(|count| count.parse::<usize>().unwrap());
    (delivered, missing.sum())
}

/// The server in the middle keeps little. It stays in the grid and says how much it did not keep;
/// the others miss nothing.
pub(crate) fn a_full_log_announces_its_gaps_and_stays_in_the_grid(kind: Kind) {
    const COUNT: usize = 3000;
    let mut grid = Grid::new(&all(kind, 3), patient());
    grid.set_options(1, &format!("--max-log {LOG}"));
    grid.start_all();
    grid.whole();
    let watches = [0, 1, 2].map(|id| grid.watch(id));
    let mut senders = [0, 2].map(|id| grid.master(id));
    for number in 0..COUNT {
        for (sender, id) in senders.iter_mut().zip([0, 2]) {
            sender.tell(&format!("broadcast {} of some length", text(id, number)));
        }
    }
    for id in [0, 2] {
        complete(&grid, id, &[(0, COUNT), (2, COUNT)]);
        until("the counts add up", || {
            let (delivered, missing) = told(&watches[1], id);
            delivered + missing == COUNT
        });
    }
    // Its log is what it said: of each sender the first ones.
    let mut middle = grid.master(1);
    let log = middle.get();
    for id in [0, 2] {
        let (delivered, missing) = told(&watches[1], id);
        eprintln!("{delivered} of {id} were kept, {missing} were not");
        assert!(delivered > 0 && missing > 0);
        assert!(numbers(&log, id).into_iter().eq(0..delivered));
    }
    let length: usize = log.iter().map(|text| text.len() + 1).sum();
    assert!(length <= LOG + 1, "a log of {length} bytes");
    // What is its own is refused, with a reason; a text that would fit could not come after a gap
    // of its own, since there is none.
    let reply = middle.ask(&format!("broadcast {}", "x".repeat(LOG)));
    assert!(reply.starts_with("error "), "{reply}");
    // What is sent later is announced too, and nobody left meanwhile.
    senders[0].tell("broadcast one more");
    until("the next gap is told", || {
        let (delivered, missing) = told(&watches[1], 0);
        delivered + missing == COUNT + 1
    });
    grid.whole();
    for (id, watch) in watches.iter().enumerate() {
        assert!(watch.told("down").is_empty(), "{id} lost somebody");
        assert!(
            id == 1 || watch.told("gap").is_empty(),
            "{id} told of a gap"
        );
    }
    assert_eq!(middle.get(), log);
}

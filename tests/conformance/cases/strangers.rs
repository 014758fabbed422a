//! Strangers: web browsers, idle masters, floods, and those that speak in another's name.

use crate::grid::pump::{Pump, complete, text};
use crate::grid::stranger::{Stranger, begin_to_connect};
use crate::grid::{Grid, Kind, all, patient, until, within};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// What a web page can make a browser send is closed at its first line; nothing of it is obeyed,
/// however it is cut into pieces.
pub(crate) fn an_http_request_is_closed_and_not_obeyed(kind: Kind) {
    let requests = [
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n\
         Content-Length: 36\r\n\r\nbroadcast of a web page\r\ncrash\r\n",
        "GET /crash HTTP/1.1\r\nHost: here\r\n\r\ncrash\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\ncrash\r\n",
        "GET http://here/ HTTP/1.0\r\n\r\ncrash\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ncrash\r\n",
        "Host: here\r\ncrash\r\n",
        "host:here\ncrash\n",
    ];
    let grid = Grid::up(&all(kind, 2), patient());
    let pump = Pump::start(&grid, &[0, 1]);
    for request in requests {
        for id in grid.ids() {
            let mut whole = Stranger::new(grid.host, Grid::master_port(id));
            whole.sends(request.as_bytes());
            whole.is_closed();
            let mut pieces = Stranger::new(grid.host, Grid::master_port(id));
            for byte in request.as_bytes() {
                pieces.sends(&[*byte]);
            }
            pieces.is_closed();
            // One that has a place is closed as well.
            let mut master = grid.master(id);
            assert_eq!(master.alive(), [0, 1]);
            master.sends(request.as_bytes());
            assert_eq!(master.hears(), None, "{request:?}");
        }
    }
    for id in grid.ids() {
        let log = grid.master(id).get();
        assert!(!log.iter().any(|text| text.contains("web page")), "{log:?}");
    }
    // What only looks a little like it is answered.
    let mut master = grid.master(0);
    for line in ["GET", "POST it", "Hostile: no", "hostname"] {
        assert!(master.ask(line).starts_with("error "), "{line}");
    }
    pump.arrives(&grid);
}

/// Every place for a master is taken: the next is told so. Once they were idle for ten seconds it
/// gets a place, and the one that loses it is told so.
pub(crate) fn idle_masters_give_way_and_who_is_refused_is_told(kind: Kind) {
    const MASTERS: usize = 32;
    let grid = Grid::up(&all(kind, 1), patient());
    let mut idle: Vec<_> = (0..MASTERS).map(|_| grid.master(0)).collect();
    // The one of the start has left by the time it is read before these.
    for master in &mut idle {
        until("each gets a place", || {
            let reply = master.ask("alive");
            reply == "alive 0"
        });
    }
    let since = Instant::now();
    let mut refused = grid.master(0);
    let reply = refused.ask("alive");
    assert!(reply.starts_with("error "), "{reply}");
    assert_eq!(refused.hears(), None, "it is closed");
    assert!(since.elapsed() < 8 * SECOND, "a place came free too early");
    until("an idle master gives way", || {
        grid.master(0).ask("alive") == "alive 0"
    });
    assert!(since.elapsed() > 5 * SECOND, "it was not idle for long");
    // The one that was idle longest.
    let told = idle[0].hears();
    assert!(told.is_some_and(|line| line.starts_with("error ")));
    assert_eq!(idle[0].hears(), None, "it is closed");
    assert_eq!(idle[MASTERS - 1].ask("alive"), "alive 0");
}

/// Somebody speaks in the name of a peer that is up, again and again: the true pair stays up and
/// loses nothing.
fn impersonated(kind: Kind, a_second: u32) {
    // Nobody is suspected on a busy machine; whoever claims to be a peer is judged as ever.
    let grid = Grid::up(&all(kind, 3), "--suspicion 25000 --dial 25000");
    let watches = [0, 1, 2].map(|id| grid.watch(id));
    let pump = Pump::start(&grid, &[0, 1, 2]);
    let begin = Instant::now();
    let mut liars = VecDeque::new();
    for number in 0..2 * a_second {
        sleep((number * SECOND / a_second).saturating_sub(begin.elapsed()));
        let mut liar = Stranger::new(grid.host, Grid::link_port(number as usize % 2));
        liar.sends(b"ping 2\nmsg 2 a lie\n");
        liars.push_back(liar);
        if liars.len() > 20 {
            liars.pop_front();
        }
    }
    drop(liars);
    pump.arrives(&grid);
    for (id, watch) in watches.iter().enumerate() {
        let downs = watch.told("down");
        assert!(downs.is_empty(), "{id} was told of {downs:?}");
        let lies = watch.told("delivered 2 a lie");
        assert!(lies.is_empty(), "{id} heard {} lies", lies.len());
    }
}

pub(crate) fn a_peer_impersonated_10_times_a_second_stays_up(kind: Kind) {
    impersonated(kind, 10);
}

pub(crate) fn a_peer_impersonated_100_times_a_second_stays_up(kind: Kind) {
    impersonated(kind, 100);
}

/// Connections that say nothing, so many a second at both doors: who speaks is served, and a
/// server that starts again is taken in.
fn flooded(kind: Kind, a_second: u32) {
    const TIME: Duration = Duration::from_secs(3);
    const HELD: usize = 2000;
    let mut grid = Grid::up(&all(kind, 3), patient());
    let mut steady = grid.master(0);
    assert_eq!(steady.alive(), [0, 1, 2]);
    let stop = AtomicBool::new(false);
    let (slowest, served, made) = thread::scope(|scope| {
        let (host, stop) = (grid.host, &stop);
        let flood = scope.spawn(move || {
            let begin = Instant::now();
            let mut silent = VecDeque::new();
            let mut made = 0;
            while !stop.load(Relaxed) && begin.elapsed() < 3 * TIME {
                let due = (begin.elapsed().as_secs_f64() * f64::from(a_second)) as u32;
                for number in made..due {
                    let port = [Grid::master_port(0), Grid::link_port(0)][number as usize % 2];
                    silent.push_back(begin_to_connect(host, port));
                    if silent.len() > HELD {
                        silent.pop_front();
                    }
                }
                made = made.max(due);
                sleep(Duration::from_millis(1));
            }
            made
        });
        let begin = Instant::now();
        let (mut slowest, mut served) = (Duration::ZERO, 0);
        while begin.elapsed() < TIME {
            let came = Instant::now();
            let mut master = grid.master(0);
            assert!(master.alive().contains(&0));
            slowest = slowest.max(came.elapsed());
            served += 1;
            steady.tell(&format!("broadcast {}", text(0, served - 1)));
            assert!(steady.alive().contains(&0));
            sleep(Duration::from_millis(10));
        }
        grid.kill(2);
        grid.agree(&[0, 1]);
        grid.start(2);
        within("a restarted peer is taken in", grid.whole(), SECOND);
        stop.store(true, Relaxed);
        (slowest, served, flood.join().expect("the flood"))
    });
    eprintln!("{made} silent connections; {served} masters, the slowest in {slowest:.1?}");
    within("a newcomer is served", slowest, SECOND);
    assert!(slowest < 3 * SECOND, "a newcomer waited for {slowest:?}");
    complete(&grid, 1, &[(0, served)]);
}

pub(crate) fn a_thousand_silent_connections_a_second_keep_nobody_out(kind: Kind) {
    flooded(kind, 1000);
}

pub(crate) fn five_thousand_silent_connections_a_second_keep_nobody_out(kind: Kind) {
    flooded(kind, 5000);
}

/// Few connections are accepted in a second, and many servers dial: each finds its turn.
fn whole_with_accepts(kind: Kind, accepts: u32) {
    let mut grid = Grid::new(&all(kind, 16), &format!("--max-accepts {accepts}"));
    grid.start_all();
    let took = grid.whole();
    within("16 servers are whole", took, 5 * SECOND);
    assert!(took < 20 * SECOND, "{took:?}");
    grid.reaches(0, &grid.others(0));
    grid.reaches(15, &grid.others(15));
}

pub(crate) fn one_accept_a_second_makes_a_whole_grid(kind: Kind) {
    whole_with_accepts(kind, 1);
}

pub(crate) fn two_accepts_a_second_make_a_whole_grid(kind: Kind) {
    whole_with_accepts(kind, 2);
}

pub(crate) fn five_accepts_a_second_make_a_whole_grid(kind: Kind) {
    whole_with_accepts(kind, 5);
}

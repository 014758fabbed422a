//! The rules of the protocol, one at a time, on servers that a test drives by hand.

mod grid;

use chatroom_commit::{Framing, Mode, Options, Vote};
use grid::Grid;

/// A grid of which all servers run, and a master at each.
fn started(servers: usize) -> (Grid, Vec<usize>) {
    let mut grid = Grid::new(servers);
    let masters = start_all(&mut grid, servers);
    (grid, masters)
}

fn start_all(grid: &mut Grid, servers: usize) -> Vec<usize> {
    let mut masters = vec![];
    for at in 0..servers {
        grid.start(at);
        masters.push(grid.master(at));
        grid.run(1000);
    }
    assert_eq!(grid.hear(masters[0]), "coordinator 0\n");
    for &master in &masters[1..] {
        assert_eq!(grid.hear(master), "");
    }
    masters
}

/// What every server that runs has.
fn has(grid: &Grid, expected: &[(&str, &str)]) {
    let mut any = false;
    for at in 0..grid.servers() {
        if let Some(server) = grid.server(at) {
            let songs: Vec<_> = server.protocol().songs().collect();
            assert_eq!(songs, expected, "server {at}");
            any = true;
        }
    }
    assert!(any, "no server runs");
}

#[test]
fn a_server_alone_takes_commands() {
    let mut grid = Grid::new(3);
    grid.start(1);
    let master = grid.master(1);
    grid.say(master, "alive");
    grid.run(400);
    assert_eq!(grid.hear(master), "alive \n");
    grid.run(200);
    assert_eq!(grid.hear(master), "coordinator 1\n");
    assert_eq!(grid.ask(master, "alive"), "alive 1\n");
    assert_eq!(grid.ask(master, "add s u"), "ack commit\n");
    assert_eq!(grid.ask(master, "get s"), "resp u\n");
    assert_eq!(grid.ask(master, "add s v"), "ack commit\n");
    assert_eq!(grid.ask(master, "get s"), "resp v\n");
    assert_eq!(grid.ask(master, "delete s"), "ack commit\n");
    assert_eq!(grid.ask(master, "get s"), "resp NONE\n");
}

#[test]
fn what_is_committed_is_on_every_server_and_a_late_one_catches_up() {
    let mut grid = Grid::new(3);
    grid.start(1);
    let one = grid.master(1);
    grid.run(1000);
    assert_eq!(grid.hear(one), "coordinator 1\n");
    assert_eq!(grid.ask(one, "add s u"), "ack commit\n");
    grid.start(0);
    grid.start(2);
    let zero = grid.master(0);
    grid.run(1000);
    // It does not take the office.
    assert_eq!(grid.hear(zero), "");
    assert_eq!(grid.ask(zero, "get s"), "resp u\n");
    assert_eq!(grid.ask(one, "add t v"), "ack commit\n");
    has(&grid, &[("s", "u"), ("t", "v")]);
    // Whoever is not the coordinator passes a request on.
    assert_eq!(grid.ask(zero, "delete s"), "ack commit\n");
    has(&grid, &[("t", "v")]);
}

#[test]
fn a_no_of_anyone_aborts_once() {
    for voter in 0..3 {
        let (mut grid, masters) = started(3);
        assert_eq!(grid.ask(masters[0], "add s u"), "ack commit\n");
        assert_eq!(grid.ask(masters[voter], "vote NO"), "");
        assert_eq!(grid.ask(masters[0], "add s v"), "ack abort\n");
        has(&grid, &[("s", "u")]);
        assert_eq!(grid.ask(masters[0], "add s v"), "ack commit\n");
        has(&grid, &[("s", "v")]);
    }
}

#[test]
fn votes_by_length_and_framed_replies() {
    let options = Options {
        vote: Vote::Length,
        framing: Framing::Length,
    };
    let mut grid = Grid::with(2, options, None);
    grid.start(1);
    let one = grid.master(1);
    grid.run(1000);
    assert_eq!(grid.hear(one), "13-coordinator 1");
    assert_eq!(grid.ask(one, "add s URL345"), "10-ack commit");
    grid.start(0);
    grid.run(1000);
    // Six are too many for server 0, also as a participant.
    assert_eq!(grid.ask(one, "add s URL346"), "9-ack abort");
    assert_eq!(grid.ask(one, "add s URL34"), "10-ack commit");
    assert_eq!(grid.ask(one, "get s"), "10-resp URL34");
    assert_eq!(grid.ask(one, "delete s"), "10-ack commit");
    assert_eq!(grid.ask(one, "get s"), "9-resp NONE");
}

#[test]
fn the_office_goes_round_and_skips_the_dead() {
    let (mut grid, masters) = started(4);
    assert_eq!(grid.ask(masters[0], "add s u"), "ack commit\n");
    grid.kill(1);
    grid.kill(0);
    grid.run(1000);
    assert_eq!(grid.hear(masters[2]), "coordinator 2\n");
    assert_eq!(grid.hear(masters[3]), "");
    // It comes back as a participant.
    grid.start(0);
    let zero = grid.master(0);
    grid.run(1000);
    assert_eq!(grid.hear(zero), "");
    grid.kill(2);
    grid.run(1000);
    assert_eq!(grid.hear(masters[3]), "coordinator 3\n");
    grid.kill(3);
    grid.run(1000);
    assert_eq!(grid.hear(zero), "coordinator 0\n");
    assert_eq!(grid.ask(zero, "get s"), "resp u\n");
}

/// How a transaction ends in which server 0 of 3 is the coordinator and a crash is armed: what its
/// master hears, and whether the song is there in the end.
fn crashing(at: usize, arm: &str) -> (String, bool) {
    let (mut grid, masters) = started(3);
    assert_eq!(grid.ask(masters[at], arm), "");
    let said = grid.ask(masters[0], "add s u");
    grid.run(1000);
    assert!(!grid.is_up(at), "{arm}");
    let next = (at == 0).then(|| grid.hear(masters[1]));
    assert!(next.is_none_or(|said| said == "coordinator 1\n"), "{arm}");
    let live = (0..3).find(|&live| grid.is_up(live)).expect("two live");
    let there = grid
        .server(live)
        .and_then(|s| s.protocol().url("s"))
        .is_some();
    let expected: &[_] = if there { &[("s", "u")] } else { &[] };
    has(&grid, expected);
    // It comes back to the same.
    grid.start(at);
    grid.run(1000);
    has(&grid, expected);
    let coordinator = masters[usize::from(at == 0)];
    assert_eq!(grid.ask(coordinator, "add t v"), "ack commit\n");
    assert_eq!(
        grid.server(at).map(|s| s.protocol().mode()),
        Some(Mode::Member)
    );
    (said, there)
}

#[test]
fn every_crash_point_ends_as_the_rules_say() {
    for (at, arm, said, there) in [
        // The coordinator dies: no ack, and what the others know decides.
        (0, "crashVoteREQ", "", false),
        (0, "crashVoteREQ 1", "", false),
        (0, "crashVoteREQ 1 2", "", false),
        (0, "crashPartialPreCommit", "", false),
        (0, "crashPartialPreCommit 1", "", true),
        (0, "crashPartialPreCommit 2", "", true),
        (0, "crashPretialPreCommit 1 2", "", true),
        (0, "crashPartialCommit", "", true),
        (0, "crashPartialCommit 1", "", true),
        (0, "crashPartialCommit 2", "", true),
        (0, "crashPretialCommit 1 2", "", true),
        // A participant dies: before its vote that is a NO, later it changes nothing.
        (1, "crashBeforeVote", "ack abort\n", false),
        (1, "crashAfterVote", "ack commit\n", true),
        (2, "crashAfterAck", "ack commit\n", true),
    ] {
        assert_eq!(crashing(at, arm), (said.to_owned(), there), "{at} {arm}");
    }
}

#[test]
fn a_crash_is_armed_for_one_transaction() {
    let (mut grid, masters) = started(2);
    grid.say(masters[1], "crashAfterAck");
    grid.say(masters[0], "crashPartialCommit");
    grid.say(masters[1], "vote NO");
    grid.run(100);
    assert_eq!(grid.ask(masters[0], "add s u"), "ack abort\n");
    assert_eq!(grid.ask(masters[0], "add s u"), "ack commit\n");
    assert!(grid.is_up(0) && grid.is_up(1));
}

#[test]
fn a_cascade_of_coordinators_ends_the_transaction() {
    // 0 pre-commits 2 alone; 1 takes over and dies when it has told nobody of the pre-commit, or of
    // the commit.
    for arm in ["crashPartialPreCommit", "crashPartialCommit"] {
        let (mut grid, masters) = started(4);
        grid.say(masters[0], "crashPartialPreCommit 2");
        grid.say(masters[1], arm);
        grid.run(100);
        assert_eq!(grid.ask(masters[0], "add s u"), "");
        grid.run(1000);
        assert!(!grid.is_up(0) && !grid.is_up(1), "{arm}");
        assert_eq!(grid.hear(masters[2]), "coordinator 2\n");
        has(&grid, &[("s", "u")]);
        grid.start(0);
        grid.start(1);
        grid.run(1000);
        has(&grid, &[("s", "u")]);
    }
}

#[test]
fn after_a_total_failure_nothing_goes_on_without_the_last_to_fail() {
    let (mut grid, masters) = started(2);
    assert_eq!(grid.ask(masters[0], "add s u"), "ack commit\n");
    grid.kill(1);
    grid.run(100);
    assert_eq!(grid.ask(masters[0], "add s v"), "ack commit\n");
    grid.kill(0);
    grid.start(1);
    let one = grid.master(1);
    grid.run(1000);
    assert_eq!(grid.hear(one), "coordinator 1\n");
    assert_eq!(grid.ask(one, "alive"), "alive 1\n");
    // It holds back the ack, and answers from what it has.
    assert_eq!(grid.ask(one, "add t w"), "");
    assert_eq!(grid.ask(one, "get s"), "resp u\n");
    grid.start(0);
    let zero = grid.master(0);
    grid.run(1000);
    assert_eq!(grid.hear(one), "ack commit\n");
    assert_eq!(grid.hear(zero), "");
    has(&grid, &[("s", "v"), ("t", "w")]);
}

#[test]
fn three_that_failed_in_turn_come_back_in_every_order() {
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let (mut grid, masters) = started(3);
        assert_eq!(grid.ask(masters[0], "add a 1"), "ack commit\n");
        grid.kill(0);
        grid.run(100);
        assert_eq!(
            grid.ask(masters[1], "add b 2"),
            "coordinator 1\nack commit\n"
        );
        grid.kill(1);
        grid.run(100);
        assert_eq!(
            grid.ask(masters[2], "add c 3"),
            "coordinator 2\nack commit\n"
        );
        grid.kill(2);
        grid.run(100);
        for (i, &at) in order.iter().enumerate() {
            grid.start(at);
            let master = grid.master(at);
            grid.run(1500);
            // Server 2 failed last: with it, and not before, things go on.
            let back = order[..=i].contains(&2);
            let member = grid.server(at).map(|s| s.protocol().mode()) == Some(Mode::Member);
            assert_eq!(member, back, "{order:?} {at}");
            let first = format!("coordinator {at}\n");
            assert_eq!(
                grid.hear(master),
                if i == 0 { &first } else { "" },
                "{order:?}"
            );
        }
        has(&grid, &[("a", "1"), ("b", "2"), ("c", "3")]);
    }
}

#[test]
fn what_a_coordinator_sent_before_its_death_counts_in_whatever_order_it_arrives() {
    for seed in 0..60 {
        let mut grid = Grid::with(3, Options::default(), Some(seed));
        let masters = start_all(&mut grid, 3);
        grid.say(masters[0], "crashPartialPreCommit 2");
        grid.run(100);
        grid.say(masters[0], "add s u");
        grid.run(2000);
        // Server 1 may have asked 2 before the pre-commit came there.
        assert_eq!(grid.hear(masters[1]), "coordinator 1\n", "seed {seed}");
        has(&grid, &[("s", "u")]);
    }
}

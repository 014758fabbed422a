//! Newcomers: how many there may be, who is closed when there are too many, and when a door shuts.

mod harness;

use chatroom_chat::*;
use chatroom_machine::*;
use harness::solo::Solo;
use harness::{at_ms, ms, us};

fn limited(change: impl FnOnce(&mut Limits)) -> Solo {
    let mut config = Config::new(0, 9);
    change(&mut config.limits);
    Solo::with(config)
}

#[test]
fn a_full_table_shuts_its_door_and_closes_nobody_before_the_grace_is_over() {
    for door in [LINKS, MASTERS] {
        let mut s = limited(|l| l.nameless = 4);
        let mut all = vec![];
        for _ in 0..4 {
            assert!(s.shut.is_empty());
            all.push(s.accept(door));
            s.advance(ms(1));
        }
        assert!(s.shut.contains(&door) && s.shut.len() == 1);
        assert_eq!(s.try_accept(door), Err(Refused));
        let due = s.server.poll_timeout().expect("due");
        let bound = Time::ZERO + GRACE;
        assert_eq!(
            (due.at, due.why, due.judges_at),
            (bound, "evict", Some(bound))
        );
        s.advance_to(bound - us(1));
        assert!(s.closed.is_empty());
        s.advance(us(1));
        // Only one of them has been silent for so long.
        assert_eq!((s.why(all[0]), s.closed.len()), (Some(Why::Crowded), 1));
        assert!(s.shut.is_empty());
        s.accept(door);
        s.advance(ms(20));
        assert_eq!(
            s.closed,
            [all[0], all[1]],
            "one at its moment, as it makes room"
        );
    }
}

#[test]
fn a_full_table_is_emptied_by_half_the_oldest_of_the_largest_source_first() {
    for door in [LINKS, MASTERS] {
        let mut s = limited(|l| l.nameless = 6);
        let lone = s.accept_from(door, 1);
        let crowd = [(); 4].map(|()| s.accept_from(door, 2));
        s.advance(ms(50));
        s.accept_from(door, 3);
        s.judge();
        assert_eq!(s.closed, crowd[..3]);
        assert_eq!((s.why(lone), s.shut.len()), (None, 0));
    }
}

#[test]
fn what_a_newcomer_sent_is_read_before_it_is_judged_and_puts_it_off() {
    let mut s = limited(|l| l.nameless = 2);
    let (a, b) = (s.accept(LINKS), s.accept(LINKS));
    s.advance_to(Time::ZERO + GRACE - us(1));
    s.bytes(a, b"ping ");
    s.bytes(b, b"ping 3\n");
    assert!(s.shut.is_empty(), "it is no newcomer any more");
    let c = s.accept(LINKS);
    s.advance_to(Time::ZERO + GRACE + GRACE - us(2));
    assert!(s.closed.is_empty());
    s.advance(us(1));
    assert_eq!(s.closed, [a]);
    assert_eq!((s.why(b), s.why(c)), (None, None));
}

#[test]
fn a_newcomer_that_says_nothing_valid_can_stay_for_the_greeting_time_under_pressure() {
    let mut s = limited(|l| l.nameless = 2);
    let talker = s.master();
    s.advance_to(Time::ZERO + GREETING - ms(5));
    s.bytes(talker, b"x");
    let young = s.master();
    s.advance_to(Time::ZERO + GREETING - us(1));
    s.bytes(talker, b"x");
    s.bytes(young, b"x");
    assert!(s.closed.is_empty() && s.shut.contains(&MASTERS));
    s.advance(us(1));
    assert_eq!(
        (s.closed.clone(), s.why(talker)),
        (vec![talker], Some(Why::Crowded))
    );
    s.advance(ms(5000));
    assert_eq!(s.why(young), None, "there is room");
}

#[test]
fn a_newcomer_that_waits_for_a_place_is_not_closed_to_make_room() {
    let mut s = limited(|l| (l.nameless, l.masters) = (2, 1));
    let placed = s.master();
    s.ask(placed, "alive");
    let waits = s.master();
    s.bytes(waits, b"alive\n");
    let silent = s.master();
    assert!(s.shut.contains(&MASTERS));
    s.advance(GRACE);
    assert_eq!((s.why(waits), s.why(silent)), (None, Some(Why::Crowded)));
    s.lost(placed, Loss::Broken);
    assert_eq!(s.read(waits), "alive 0\n");
}

#[test]
fn only_accepts_of_those_that_stay_and_say_nothing_count_in_their_second() {
    let mut s = limited(|l| (l.accepts, l.nameless) = (2, 100));
    for round in 0..10 {
        let (link, master) = (s.accept(LINKS), s.master());
        match round % 2 {
            0 => {
                s.lost(link, Loss::Finished);
                s.lost(master, Loss::Broken);
            }
            _ => {
                s.bytes(link, format!("ping {}\n", 1 + round / 2).as_bytes());
                s.ask(master, "alive");
            }
        }
    }
    assert!(s.shut.is_empty());
    for _ in 0..2 {
        assert!(s.shut.is_empty());
        s.accept(LINKS);
        s.master();
    }
    assert_eq!(s.shut.len(), 2);
    s.advance_to(at_ms(1000) - us(1));
    assert_eq!(s.shut.len(), 2);
    s.advance(us(1));
    assert!(s.shut.is_empty());
}

#[test]
fn a_link_whose_dialler_has_left_is_a_session_only_for_what_it_broadcast() {
    let mut s = limited(|l| l.accepts = 1);
    let gone = Remote {
        source: 1,
        gone: true,
    };
    for _ in 0..3 {
        let link = s.try_accept_from(LINKS, gone).expect("accepted");
        s.bytes(link, b"ping 1\n");
        s.lost(link, Loss::Finished);
        assert_eq!(s.why(link), Some(Why::Finished));
    }
    // It gave its place in the rate back.
    assert!(s.shut.is_empty());
    assert_eq!(s.server.counters().ups, 0);
    let link = s.try_accept_from(LINKS, gone).expect("accepted");
    s.bytes(link, b"ping 1\nping 1\nmsg 1 a\nmsg 1 b\n");
    assert_eq!(s.server.counters().ups, 1);
    s.lost(link, Loss::Finished);
    let m = s.try_accept_from(MASTERS, gone).expect("accepted");
    s.bytes(m, b"broadcast c\n");
    s.lost(m, Loss::Finished);
    assert_eq!(s.log(), "a,b,c");
    assert_eq!(s.server.alive(), [0]);
}

#[test]
fn a_dialler_that_has_left_does_not_contend_with_a_peer_that_is_up() {
    let mut s = Solo::start(0, 3);
    let up = s.peer(1);
    let gone = Remote {
        source: 1,
        gone: true,
    };
    let late = s.try_accept_from(LINKS, gone).expect("accepted");
    s.bytes(late, b"ping 1\n");
    s.lost(late, Loss::Finished);
    assert_eq!((s.why(up), s.why(late)), (None, Some(Why::Finished)));
}

#[test]
fn a_crash_is_the_end_also_at_a_full_door() {
    let mut s = limited(|l| (l.nameless, l.masters) = (2, 1));
    let placed = s.master();
    s.ask(placed, "alive");
    let (waits, _silent) = (s.master(), s.master());
    s.bytes(waits, b"alive\ncrash\n");
    s.lost(placed, Loss::Broken);
    assert_eq!(s.halt, Some(Halt::Crash));
    assert_eq!(s.try_accept(MASTERS), Err(Refused));
}
